/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters of vDPA devices. Of cards' a child asks the kernel, one device after the other: it waits there while
 * somebody deletes a device that is in use.
 */
#pragma once

#include "base/cleanup.h"
#include "daemon/core/manager.h"
#include "daemon/exec/exec.h"
#include "daemon/sys/loop.h"

struct vdpa_counters;

/* @loop, @exec and @manager outlive it. */
int vdpa_counters_new(struct loop *loop, struct exec *exec, struct manager *manager,
		      struct vdpa_counters **ret);
/* Nobody is called any more. */
struct vdpa_counters *vdpa_counters_free(struct vdpa_counters *counters);

/* Put those of port @key into it, or why there are none; @done once, possibly before this returns. */
void vdpa_counters_ask(struct vdpa_counters *counters, const struct port_key *key,
		       manager_step_done done, void *arg);
