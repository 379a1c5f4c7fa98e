/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a benchmark's two sides waited for a CPU that somebody else had: the kernel's run delay
 * (/proc/PID/task/TID/schedstat) of this thread, and of all threads of the backend and its children.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define WATCH_MAX 32

struct watch {
	int fd[WATCH_MAX];
	unsigned int n;
};

/* Watch this thread and the process behind the unix socket @sock, as it is now. */
void watch_open(struct watch *w, int sock);
void watch_close(struct watch *w);

/* Nanoseconds waited so far; grows only when a waiting thread gets its CPU. */
uint64_t watch_waited(const struct watch *w);
