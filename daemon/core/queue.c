/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port of path vmdq while it lives: its VF's netdev is waited for, told to the datapath, and made anew where it
 * was taken away. Its steps are in the port's own plan.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/manager_priv.h"
#include "daemon/core/path_software.h"

/* Drivers make a netdev when they are bound, or, where they first talk to the PF, somewhat later. */
#define NETDEV_MAX (10 * SEC)
/* The inventory may show what is there no more: no oftener than this the step is tried. */
#define NETDEV_LOOK (SEC / 20)
/* VFs that are made anew are there again within this: then the port stays with its own. */
#define VF_BACK (5 * SEC)

static const struct vnic_vf *vf_there(const struct managed_port *p)
{
	const struct port_device *d = &p->port.device;

	return pf_vf(inventory_pf(p->own.m->inv, d->pf), d->vf, d->vf_addr);
}

/* What was done to the netdev went with it, and perhaps to the VF: it is bound anew. */
static void do_anew(struct managed_port *p)
{
	bool reached = false;

	for (size_t i = 0; i < p->port.plan.n; i++) {
		struct step *step = &p->port.plan.step[i];

		reached |= step->kind == STEP_VF_DRIVER;
		if (!reached || step->state != STEP_DONE)
			continue;
		step->state = STEP_BEGUN;
		step->seen = false;
		if (step->kind == STEP_DP_QUEUE)
			break;
	}
	manager_kick(p->own.m);
}

bool queue_retry(struct managed_port *p)
{
	uint64_t now = manager_now(p->own.m);

	if (p->own.error != -EAGAIN || p->own.cur.kind != STEP_QUEUE_NETDEV || p->own.undoing)
		return false;
	if (!p->netdev_until)
		p->netdev_until = now + NETDEV_MAX;
	if (now >= p->netdev_until) {
		p->netdev_until = 0;
		return false;
	}
	p->own.error = 0;
	/* It was set down on the way to being unbound: then there is more to do again. */
	if (p->port.state != PORT_PREPARING && vf_there(p) && !*vf_there(p)->driver)
		do_anew(p);
	p->own.retry_at = now + NETDEV_LOOK;
	manager_wake_before(p->own.m, p->own.retry_at);
	return true;
}

bool queue_waits(struct managed_port *p, struct step *step)
{
	const struct step *netdev;
	const struct vnic_vf *vf;

	if (step->kind == STEP_DP_QUEUE) {
		netdev = plan_find(&p->port.plan, STEP_QUEUE_NETDEV);
		step->ifindex = netdev ? netdev->ifindex : 0;
		memcpy(step->ifname, netdev ? netdev->ifname : "", netdev ? IFNAMSIZ : 1);
		p->netdev_until = 0;
		return false;
	}
	/* The first try is at once: it asks the kernel itself. Then with each event, and last at the deadline. */
	if (step->kind != STEP_QUEUE_NETDEV || !p->netdev_until ||
	    manager_now(p->own.m) >= p->netdev_until)
		return false;
	vf = vf_there(p);
	if (vf && vf->ifindex)
		return false;
	manager_wake_before(p->own.m, p->netdev_until);
	return true;
}

void queue_datapath_back(struct managed_port *p)
{
	struct step *step = plan_find(&p->port.plan, STEP_DP_QUEUE);

	if (step && step->state == STEP_DONE)
		step->state = STEP_BEGUN;
}

void queue_look(struct managed_port *p)
{
	struct step *netdev = plan_find(&p->port.plan, STEP_QUEUE_NETDEV);
	struct manager *m = p->own.m;
	const struct vnic_vf *vf = vf_there(p);
	const struct vnic_link *link;

	if (p->port.device.state != DEVICE_QUEUE || !m->inv->complete || !netdev ||
	    netdev->state != STEP_DONE)
		return;
	link = inventory_find(m->inv, netdev->ifindex);
	if (vf && vf->ifindex == netdev->ifindex && link && link->up) {
		netdev->seen = true;
		if (contest_over(m, &p->device_contest))
			port_remark(p, "%s", "");
		return;
	}
	/* While they are being looked at or made, nothing is missing yet. */
	if (vf && !inventory_pf(m->inv, p->port.device.pf)->vfs_complete)
		return;
	if (!p->own.settled_at) /* as another vnicd left it */
		p->own.settled_at = manager_now(m);
	if (!owner_drifted(&p->own, netdev, false))
		return;
	if (!vf) {
		port_remark(p,
			    "its VF %s has gone: where it does not come back, vnicd goes on in "
			    "software",
			    p->port.device.vf_addr);
		return;
	}
	if (contest_waits(m, &p->device_contest))
		return;
	contest_lose(m, &p->device_contest);
	if (vf->ifindex == netdev->ifindex && link) {
		port_remark(p, "the netdev %s of its VF was set down: vnicd sets it up again",
			    link->name);
		netdev->state = STEP_BEGUN;
		netdev->seen = false;
		manager_kick(m);
		return;
	}
	port_remark(p, "the netdev of its VF %s was taken from it: vnicd makes it again",
		    p->port.device.vf_addr);
	do_anew(p);
}

static bool gone_for_good(struct managed_port *p)
{
	struct manager *m = p->own.m;

	if (p->port.device.state != DEVICE_QUEUE || !m->inv->complete)
		return false;
	if (vf_there(p)) {
		p->vf_gone_since = 0;
		return false;
	}
	if (!p->vf_gone_since)
		p->vf_gone_since = manager_now(m);
	if (manager_now(m) < p->vf_gone_since + VF_BACK) {
		manager_wake_before(m, p->vf_gone_since + VF_BACK);
		return false;
	}
	/* The guest is hung up on, and comes again: somebody must be there then. */
	return m->dp_state == MANAGER_DP_UP;
}

/* All of the old way is undone: what is left is a software port to be made. */
static void go_on_in_software(struct managed_port *p)
{
	struct plan plan = { 0 };

	p->port.path = VNIC_PATH_SOFTWARE;
	if (path_software_port(&p->port, &plan) < 0) {
		p->port.path = VNIC_PATH_VMDQ;
		owner_back_off(&p->own);
		return;
	}
	plan_clear(&p->port.plan);
	p->port.plan = plan;
	p->leaving = false;
	p->vf_gone_since = 0;
	device_let_go(p);
	p->own.unrecorded = true;
	port_remark(p, "its VF has gone: in software, until its domain starts anew");
	manager_tell_port(p->own.m, &p->port);
	manager_kick(p->own.m);
}

bool queue_leaves(struct managed_port *p)
{
	struct owner *o = &p->own;
	ssize_t last;

	if (!p->leaving) {
		if (!gone_for_good(p))
			return false;
		p->leaving = true;
		o->error = 0;
		o->retry_at = o->backoff = 0;
		port_event(p, "its VF does not come back: it goes on in software");
	}
	if (o->error) {
		o->error = 0;
		port_remark(p, "%s", o->err.message);
		owner_back_off(o);
	}
	if (owner_waits(o)) {
		manager_wake_before(o->m, o->retry_at);
		return true;
	}
	last = owner_last(o);
	if (last >= 0)
		owner_begin(o, (size_t)last, true);
	else
		go_on_in_software(p);
	return true;
}
