/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unix sockets with packets and passed file descriptors: what vnicd's programs talk over. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Largest message of a control socket, bytes. Below the default wmem of unix sockets. */
#define VNIC_MSG_MAX 65536
/* Linux takes SCM_MAX_FD = 253 descriptors in a message. */
#define VNIC_MSG_FDS_MAX 253

/**
 * sock_listen() - a listening unix socket at @file
 * @type: SOCK_STREAM or SOCK_SEQPACKET; non-blocking and close-on-exec are added
 * @mode: the socket file's permissions, set before it listens
 *
 * A file left by a killed predecessor is replaced; a socket that answers is -EADDRINUSE; anything
 * that is not a socket is -EEXIST.
 * Return: the descriptor, or a negative errno.
 */
int sock_listen(const char *file, int type, mode_t mode);

/**
 * sock_answers() - does anybody listen at @file? Asked with a connect, which a listener sees as a hang-up.
 * Return: 1, 0, or a negative errno where it cannot be told: then it is not ours to take away.
 */
int sock_answers(const char *file, int type);

/* Connect; blocking socket, close-on-exec. Return: the descriptor or a negative errno. */
int sock_connect(const char *file, int type);

/**
 * sock_send() - one message with descriptors
 * Return: 0, -EAGAIN where it would block, or a negative errno. Never raises SIGPIPE.
 */
int sock_send(int fd, const void *data, size_t size, const int *fds, size_t n_fds);

/**
 * sock_recv() - one message
 * @ret_fds: room for @max_fds descriptors (close-on-exec); they belong to the caller
 * Return: bytes read, 0 at end of stream (or for a packet without bytes: its descriptors are closed);
 * -EAGAIN; -EMSGSIZE where data or descriptors were cut off (what arrived of them is closed).
 */
ssize_t sock_recv(int fd, void *data, size_t size, int *ret_fds, size_t max_fds, size_t *ret_n_fds);

struct sock_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

int sock_peer(int fd, struct sock_peer *ret);

int fd_set_nonblock(int fd, bool on);
