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
/* What a successor is to be given, borrowed; the socket is -1 where no process runs. */
int worker_state_fd(const struct worker *w);
int worker_socket(const struct worker *w);
/* Kills the process, where one runs, and waits for it. */
struct worker *worker_free(struct worker *w);
/* Leaves the process to whoever else has its socket. */
struct worker *worker_leave(struct worker *w);

/**
 * worker_start() - start a process
 * @outlives: it ends when nobody has our end of its socket any more, and not with us, unless worker_bind() says so
 * Return: 0 or a negative errno; ops->died() is not called for a process that never was.
 */
int worker_start(struct worker *w, bool outlives);
void worker_bind(struct worker *w, bool bound);
pid_t worker_pid(const struct worker *w); /* 0: none */

/**
 * worker_end_others() - kill who works on the rings that the state behind @state_fd is of, other than @own
 * @wait_ms: and wait so long for its end
 */
void worker_end_others(int state_fd, pid_t own, int wait_ms);

/* 0, -EAGAIN, or another negative errno (the process is dying: ops->died() comes). */
int worker_send(struct worker *w, const void *msg, size_t size, const int *fds, size_t n_fds);

/* Answers are awaited: look at the worker until told otherwise, and kill it after ACK_US of silence. */
void worker_expect(struct worker *w, bool answers);

/* SIGCHLD came: see whether this worker was stopped. */
void worker_check_stopped(struct worker *w);
