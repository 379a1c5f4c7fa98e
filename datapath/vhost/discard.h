/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Getting rid of descriptors that a front end has chosen.
 *
 * Theory of operation. close(2) may wait for somebody: of a FUSE file it asks the file's server to flush, and
 * does not return before that has answered, even when killed; of a TCP socket with SO_LINGER it waits for the
 * other end. A front end can pass both. So what is neither memory nor an eventfd (fd_harmless()) is closed by a
 * process of its own that shares our table of descriptors: the entry is gone at once, and who waits is not us.
 * The same goes for a socket with descriptors in its queue: they end with it, where it is closed.
 *
 * A front end whose descriptors are still being closed is not served (fd_discarding()): so there are never
 * more of these processes than ports, and what they hold.
 *
 * What remains: a keeper that is killed meanwhile is gone, but its sockets are held open by that process until
 * the file's server answers or ends. vnicd binds its ports' sockets anew then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/**
 * fd_discard() - close @fds, which may take for ever
 * @owner: whose they are; a key, never looked at
 *
 * Returns when they are closed, or after some 10 ms, or (on a host that is short of CPU) when the descriptors
 * are free, but for 250 ms at most.
 */
void fd_discard(const void *owner, const int *fds, size_t n);

/* Close a connection's socket: with what its peer has sent and we have not read. */
void fd_discard_socket(const void *owner, int fd);

/**
 * fd_discard_socket_held() - the same where somebody else has the socket too
 *
 * Who closes it last waits for what is in it: that is to be us, and not the service manager. So it stays, shut down,
 * until fd_discard_release() says that the other one has let go. An empty one is closed at once.
 * Return: true where it is held.
 */
bool fd_discard_socket_held(const void *owner, int fd);
void fd_discard_release(const void *owner);

/* Is something of @owner's still being closed? */
bool fd_discarding(const void *owner);
