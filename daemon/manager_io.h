/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The outside of the manager (struct manager_io): steps go to exec or the datapath, records to their files,
 * the clock and the loop are asked for. Errors come back; what the manager cannot tell anybody is logged here.
 */
#pragma once

#include "base/cleanup.h"
#include "daemon/core/manager.h"
#include "daemon/exec/exec.h"
#include "daemon/sys/loop.h"
#include "daemon/sys/records.h"

struct outside;

/* @exec and @records stay the caller's and outlive it. */
int outside_new(struct loop *loop, struct exec *exec, struct records *records,
		struct outside **ret);
/* Requests under way are forgotten. Free it before the manager. */
struct outside *outside_free(struct outside *outside);
DEFINE_CLEANUP(struct outside *, outside_free)

/**
 * struct outside_plug - plugs a VF into a running domain, or unplugs it
 * @plug: do (or @undo) a STEP_VF_ATTACH of @port; both are idempotent; @done once
 */
struct outside_plug {
	void *data;
	void (*plug)(void *data, const struct step *step, const struct vnic_port *port, bool undo,
		     manager_step_done done, void *arg);
};

/* Before that, such steps fail. */
void outside_set_plug(struct outside *outside, const struct outside_plug *plug);

/*
 * @written: a step has written to a PF or VF, which the kernel may tell nobody: driver_override, autoprobe, and
 * attributes while the PF is down.
 */
void outside_set_written(struct outside *outside,
			 void (*written)(void *data, const struct step *step), void *data);

/* What manager_new() takes. */
struct manager_io outside_io(struct outside *outside);

/**
 * outside_start() - give the records to @manager, and connect it with the datapath
 * @dp_sock: the keeper's socket
 * @ask_domains: who asks libvirt, and calls manager_domains() later
 * After it, the caller calls manager_start().
 */
int outside_start(struct outside *outside, struct manager *manager, const char *dp_sock,
		  void (*ask_domains)(void *data), void *ask_data, struct vnic_err *err);
