/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker process as its keeper sees it: started, spoken to, watched, replaced.
 *
 * Theory of operation. The worker's memory of what it is doing (struct worker_state) belongs to this
 * struct and outlives the process. Death is seen by pidfd. A hang is a worker that is busy and whose beat
 * has not changed for HANG_US of wall time; where it runs, it must have had half of that as CPU time too, so
 * that a crowded host is not taken for a hang. Nobody looks at a worker that sleeps (see state.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/event.h>

#include "datapath/state.h"
#include "datapath/wire.h"

struct worker;

struct worker_death {
	pid_t pid;
	bool guilty; /* it crashed or hung, and was not just killed from outside */
	uint32_t port; /* index + 1 of the port whose fault it seems to be, 0: none; unchecked */
	char reason[DP_REASON_MAX];
};

struct worker_ops {
	void (*message)(void *userdata, const union wire_message *m);
	/* What worker_send() did not take may be taken now. */
	void (*writable)(void *userdata);
	void (*died)(void *userdata, const struct worker_death *d);
	/* A few times a second while the worker works, and once when it has gone to sleep. */
	void (*tick)(void *userdata);
};

/**
 * worker_new() - no process yet
 * @state_fd: of a predecessor's struct worker_state, borrowed; -1: none
 * Return: 0 or a negative errno; as of shm_map() for @state_fd.
 */
int worker_new(struct event_base *base, const struct worker_ops *ops, void *userdata, int state_fd,
	       struct worker **ret);
/* What a successor is to be given, borrowed. */
int worker_state_fd(const struct worker *w);
/* Kills the process, where one runs, and waits for it. */
struct worker *worker_free(struct worker *w);

/* Start a process. 0 or a negative errno; ops->died() is not called for a process that never was. */
int worker_start(struct worker *w);
pid_t worker_pid(const struct worker *w); /* 0: none */

/* 0, -EAGAIN, or another negative errno (the process is dying: ops->died() comes). */
int worker_send(struct worker *w, const void *msg, size_t size, const int *fds, size_t n_fds);

/* Answers are awaited: look at the worker until told otherwise, and kill it after ACK_US of silence. */
void worker_expect(struct worker *w, bool answers);

/* SIGCHLD came: see whether this worker was stopped. */
void worker_check_stopped(struct worker *w);
