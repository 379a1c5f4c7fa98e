/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Steps that may take seconds (exec_slow()), followed on the loop. */
#pragma once

#include "base/cleanup.h"
#include "daemon/core/manager.h"
#include "daemon/exec/exec.h"
#include "daemon/sys/loop.h"

struct slow_steps;

/* @loop and @exec outlive it. */
int slow_steps_new(struct loop *loop, struct exec *exec, struct slow_steps **ret);
/* What is under way is given up; nobody is called any more. */
struct slow_steps *slow_steps_free(struct slow_steps *slow);
DEFINE_CLEANUP(struct slow_steps *, slow_steps_free)

/* @ended: a step has been done or undone, or has failed; called before its own @done. */
void slow_steps_tell(struct slow_steps *slow, void (*ended)(void *data, const struct step *step),
		     void *data);

/* Do or undo @step, which is copied; @done once, with -ETIMEDOUT where the driver hangs. */
void slow_step(struct slow_steps *slow, const struct step *step, bool undo, manager_step_done done,
	       void *arg);
