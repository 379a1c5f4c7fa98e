/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kind of descriptor did a front end pass? Nothing is mapped, read or written here, and nothing is asked
 * of a file system before it is known to be the kernel's own: fstat(2), fstatfs(2) and close(2) of a FUSE file
 * wait for its server, a process of the front end's choice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/**
 * fd_harmless() - memory of the kernel's own or an eventfd: can be looked at and closed without waiting
 *
 * Told by F_GET_SEALS, which fcntl(2) answers itself from what kind of file it is (shared memory or hugetlbfs,
 * any other is EINVAL), and by the name in /proc/self/fd, made without asking the file's file system.
 */
bool fd_harmless(int fd);

/**
 * fd_check_memory() - a memfd, tmpfs or hugetlbfs file, open for writing, that covers @end bytes
 *
 * Other file systems could make whoever touches the mapping wait (a network, a FUSE server).
 * Return: 0, or -EPROTO with @err saying what it is instead; @what ("SET_LOG_BASE") begins it.
 */
int fd_check_memory(int fd, uint64_t end, const char *what, struct vnic_err *err);

/**
 * fd_check_event() - an eventfd, made non-blocking
 *
 * O_NONBLOCK belongs to the open file, which the front end shares; who waits in read(2) of an
 * eventfd that it passes away would see EAGAIN. QEMU makes its own non-blocking.
 * Return: 0 or -EPROTO.
 */
int fd_check_event(int fd, const char *what, struct vnic_err *err);

/**
 * fd_event_signal() - count an eventfd of a front end up by 1
 * @fd: -1: nothing is done
 * It never waits longer than 10 ms: the front end has the same open file, and may take O_NONBLOCK away and
 * fill the counter at any time, to stop whoever writes to it.
 * Return: false where it had to wait, and so where the front end did just that.
 */
bool fd_event_signal(int fd);
