/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Children that do for a process what may hang in the kernel. */
#pragma once

#include <sys/types.h>

/* What the child has of its parent's descriptors beside 0 to 2. */
#define CHILD_FD 3

/**
 * child_fork() - a child that may hang without harm to anybody
 * @keep: its CHILD_FD, a descriptor of ours; -1: none
 *
 * It is killed when its parent ends, and holds no descriptor of its parent's open but standard ones and @keep.
 * Return: 0 in the child, which ends by _exit(2); else its pid, or a negative errno.
 */
pid_t child_fork(int keep);
