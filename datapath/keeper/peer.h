/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is at the other end of a guest's socket? Sockets are open to all; this is the check behind it. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/**
 * peer_check() - does process @pid hold the lock on its domain's pidfile?
 *
 * QEMU started by libvirt has held an fcntl lock on its pidfile since before exec. The pid's start time is
 * read before and after, so that a pid used again in between is not taken for it.
 * Return: 0, or a negative errno with @err.
 */
int peer_check(pid_t pid, const char *pidfile, struct vnic_err *err);
