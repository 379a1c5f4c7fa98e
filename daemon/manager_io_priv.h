/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the manager's outside share; nobody else includes it. */
#pragma once

#include <sys/queue.h>

#include "daemon/datapath_client.h"
#include "daemon/manager_io.h"
#include "daemon/slow_steps.h"
#include "daemon/vdpa_counters.h"

struct outside {
	struct loop *loop;
	struct exec *exec;
	struct records *records;
	struct manager *manager;
	struct dp_client *dp;
	struct slow_steps *slow;
	struct vdpa_counters *vdpa_counters;
	void (*written)(void *data, const struct step *step);
	void *written_data;
	struct outside_plug plug;
	struct loop_source *wake;
	void (*ask_domains)(void *data);
	void *ask_data;
	struct dp_tap *taps; /* uthash by segment */
	LIST_HEAD(, dp_call) calls; /* not answered yet */
};

/* manager_dp.c: the datapath */
int outside_dp_start(struct outside *o, const char *dp_sock, struct vnic_err *err);
void outside_dp_free(struct outside *o);
/* Do (or @undo) @step, where it is one of the datapath's; false: it is none. */
bool outside_dp_step(struct outside *o, const struct step *step, const struct vnic_segment *segment,
		     const struct vnic_port *port, bool undo, manager_step_done done, void *arg);
void outside_dp_io(struct manager_io *io);

/* manager_records.c */
int outside_records_load(struct outside *o, struct vnic_err *err);
void outside_records_io(struct manager_io *io);
