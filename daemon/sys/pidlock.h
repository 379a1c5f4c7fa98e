/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a domain lives: QEMU started by libvirt holds an fcntl lock on its pidfile from before exec to its
 * end, whatever it is doing. Asking takes a read-only descriptor and waits for nothing.
 */
#pragma once

#include <sys/types.h>

/**
 * pidlock_holder() - does a process hold the lock on @file?
 * @ret_pid: who, or 0 where the holder is in a process namespace that we cannot see; may be NULL
 *
 * Return: 1 where the lock is held; 0 where it is free or there is no such file; -ELOOP for a symbolic link,
 * -EINVAL for what is no regular file, or another negative errno where it cannot be told.
 */
int pidlock_holder(const char *file, pid_t *ret_pid);
