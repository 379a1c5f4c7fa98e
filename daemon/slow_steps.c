/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/slow_steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "api/errors.h"
#include "base/log.h"

/* Drivers make hundreds of VFs in some seconds; what takes longer hangs. */
#define SLOW_MAX_USEC 60000000

struct slow_call {
	struct slow_steps *slow;
	struct exec_job *job;
	struct loop_source *wait;
	struct step step;
	manager_step_done done;
	void *arg;
	LIST_ENTRY(slow_call) link;
};

struct slow_steps {
	struct loop *loop;
	struct exec *exec;
	LIST_HEAD(, slow_call) calls;
	void (*ended)(void *data, const struct step *step);
	void *data;
};

static void call_free(struct slow_call *call)
{
	loop_source_free(call->wait);
	LIST_REMOVE(call, link);
	free(call);
}

static void end(void *userdata)
{
	struct slow_call *call = userdata;
	struct vnic_err err = VNIC_ERR_INIT;
	manager_step_done done = call->done;
	void *arg = call->arg;
	int r;

	/* Its descriptor is closed by the job's end: the loop must have let go of it. */
	call->wait = loop_source_free(call->wait);
	r = exec_job_end(call->slow->exec, call->job, &err);
	if (call->slow->ended)
		call->slow->ended(call->slow->data, &call->step);
	call_free(call);
	done(arg, r, r < 0 ? &err : NULL);
}

static int start(struct slow_call *call, bool undo, struct vnic_err *err)
{
	struct slow_steps *slow = call->slow;
	int r;

	r = exec_start(slow->exec, &call->step, undo, &call->job, err);
	if (r < 0)
		return r;
	r = loop_add_answer(slow->loop, exec_job_fd(call->job), SLOW_MAX_USEC, end, call,
			    &call->wait);
	if (r == 0)
		return 0;
	exec_job_end(slow->exec, call->job, NULL);
	return vnic_err_set(err, r, VNIC_E_INTERNAL, "waiting for a step: %s", strerror(-r));
}

void slow_step(struct slow_steps *slow, const struct step *step, bool undo, manager_step_done done,
	       void *arg)
{
	struct slow_call *call = calloc(1, sizeof(*call));
	struct vnic_err err = VNIC_ERR_INIT;
	int r;

	if (!call) {
		done(arg, -ENOMEM, NULL);
		return;
	}
	call->slow = slow;
	call->step = *step;
	call->done = done;
	call->arg = arg;
	LIST_INSERT_HEAD(&slow->calls, call, link);
	r = start(call, undo, &err);
	if (r == 0)
		return;
	call_free(call);
	done(arg, r, &err);
}

int slow_steps_new(struct loop *loop, struct exec *exec, struct slow_steps **ret)
{
	struct slow_steps *slow = calloc(1, sizeof(*slow));

	if (!slow)
		return -ENOMEM;
	slow->loop = loop;
	slow->exec = exec;
	LIST_INIT(&slow->calls);
	*ret = slow;
	return 0;
}

void slow_steps_tell(struct slow_steps *slow, void (*ended)(void *data, const struct step *step),
		     void *data)
{
	slow->ended = ended;
	slow->data = data;
}

struct slow_steps *slow_steps_free(struct slow_steps *slow)
{
	if (!slow)
		return NULL;
	/* Each ends in its own time; its record says "begun", so that the next vnicd looks. */
	while (!LIST_EMPTY(&slow->calls)) {
		struct slow_call *call = LIST_FIRST(&slow->calls);

		call->wait = loop_source_free(call->wait);
		exec_job_end(slow->exec, call->job, NULL);
		call_free(call);
	}
	free(slow);
	return NULL;
}
