/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port's VF: reserved when the port is made, prepared and plugged in once the domain runs, put back as it was
 * at the end. It is an owner beside the port's own: whatever becomes of it, the virtio NIC carries the guest.
 *
 *	NONE -> RESERVED -> ATTACHING -> ATTACHED -> DETACHING -> NONE
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/manager_priv.h"
#include "daemon/core/path_sriov.h"
#include "daemon/core/path_vmdq.h"

/* Which VF a key had last; the oldest is forgotten. */
#define MEMORY_MAX 4096

/* The guest's driver has to find its VF first: so long its frames still come by the virtio NIC, too. */
#define SETTLE_IN (5 * SEC)

struct memory {
	struct port_key key;
	char vf_addr[DEV_ADDR_MAX];
	UT_hash_handle hh;
};

static void remember(struct manager *m, const struct port_key *key, const char *vf_addr)
{
	struct memory *old;

	HASH_FIND(hh, m->memory, key, sizeof(*key), old);
	if (old) {
		HASH_DEL(m->memory, old);
	} else if (HASH_COUNT(m->memory) >= MEMORY_MAX) {
		old = m->memory;
		HASH_DEL(m->memory, old);
	} else {
		old = calloc(1, sizeof(*old));
	}
	if (!old)
		return; /* next time it gets another one: no harm */
	old->key = *key;
	str_copy(old->vf_addr, sizeof(old->vf_addr), vf_addr);
	HASH_ADD(hh, m->memory, key, sizeof(old->key), old);
}

const char *device_before(const struct manager *m, const struct port_key *key)
{
	const struct memory *old;

	HASH_FIND(hh, m->memory, key, sizeof(*key), old);
	return old ? old->vf_addr : NULL;
}

void device_forget_all(struct manager *m)
{
	struct memory *old, *tmp;

	HASH_ITER(hh, m->memory, old, tmp)
	{
		HASH_DEL(m->memory, old);
		free(old);
	}
}

void device_reason(struct managed_port *p, const char *text)
{
	struct port_device *d = &p->port.device;

	if (strncmp(d->reason, text, sizeof(d->reason) - 1) == 0)
		return;
	snprintf(d->reason, sizeof(d->reason), "%.*s", PORT_REASON_MAX - 1, text);
	str_make_utf8(d->reason);
	manager_tell_port(p->own.m, &p->port);
}

static void set_state(struct managed_port *p, enum device_state state)
{
	if (p->port.device.state == state)
		return;
	p->port.device.state = state;
	manager_tell_port(p->own.m, &p->port);
}

void device_say(struct managed_port *p, const char *what)
{
	char text[DEV_ADDR_MAX + 100];

	snprintf(text, sizeof(text), "VF %s: %.90s", p->port.device.vf_addr, what);
	port_event(p, text);
}

void device_take(struct port_device *d, const struct vf_choice *choice, enum device_state state)
{
	memcpy(d->pf, choice->pf, sizeof(d->pf));
	memcpy(d->vf_addr, choice->vf_addr, sizeof(d->vf_addr));
	d->vf = choice->vf;
	d->state = state;
}

void device_let_go(struct managed_port *p)
{
	struct port_device *d = &p->port.device;
	struct manager *m = p->own.m;
	char addr[DEV_ADDR_MAX];

	memcpy(addr, d->vf_addr, sizeof(addr));
	*d->pf = *d->vf_addr = '\0';
	d->vf = 0;
	d->state = DEVICE_NONE;
	for (struct manager_observer *o = m->observers; o; o = o->next)
		if (o->vf_given_back)
			o->vf_given_back(o->data, addr);
	manager_index_port(m, &p->port);
	m->devices_stale = true;
	nics_stale(m);
}

void device_reserve(struct managed_port *p, const struct vf_choice *choice)
{
	struct port_device *d = &p->port.device;

	device_take(d, choice, DEVICE_RESERVED);
	d->reason[0] = '\0';
	p->device_drop = p->device_lost = false;
	manager_index_port(p->own.m, &p->port);
	remember(p->own.m, &p->port.spec.key, d->vf_addr);
}

static bool in_guest(const struct port_device *d)
{
	const struct step *attach = plan_find(&d->plan, STEP_VF_ATTACH);

	return attach && attach->state == STEP_DONE;
}

/* What carries the frames: the VF from when it is in the guest until it is out again. */
static void set_path(struct managed_port *p)
{
	enum vnic_path path = in_guest(&p->port.device) ? VNIC_PATH_SRIOV : VNIC_PATH_SOFTWARE;

	if (p->port.path == path)
		return;
	p->port.path = path;
	manager_tell_port(p->own.m, &p->port);
	manager_kick(p->own.m); /* where the bridge looks for its MAC changes with it */
}

/* Which way the guest's neighbours have to it. */
static void set_standby(struct managed_port *p)
{
	enum port_standby standby = STANDBY_NO;

	if (p->was_attached && p->port.device.state == DEVICE_ATTACHING)
		standby = STANDBY_AWAY;
	else if (in_guest(&p->port.device))
		standby = device_carries(p) ? STANDBY_AWAY : STANDBY_LEARN;
	if (p->port.standby == standby)
		return;
	p->port.standby = standby;
	owner_redo(&p->own, STEP_DP_PORT);
	manager_kick(p->own.m);
}

/* A recorded device after a restart: whether the guest has it is asked again, since it may have changed. */
void device_adopt(struct managed_port *p)
{
	struct port_device *d = &p->port.device;
	struct step *attach = plan_find(&d->plan, STEP_VF_ATTACH);

	owner_init(&p->device_own, p->own.m, &d->plan, p->own.segment, &p->port);
	if (attach && attach->state == STEP_DONE)
		attach->state = STEP_BEGUN;
	p->was_attached = d->state == DEVICE_ATTACHED;
	if (p->was_attached)
		d->state = DEVICE_ATTACHING;
	if (d->state == DEVICE_DETACHING)
		p->device_drop = true;
	if (d->state != DEVICE_NONE)
		remember(p->own.m, &p->port.spec.key, d->vf_addr);
}

static const struct vnic_pf *pf_there(const struct manager *m, const struct port_device *d)
{
	const struct vnic_pf *pf = inventory_pf(m->inv, d->pf);

	return pf_vf(pf, d->vf, d->vf_addr) ? pf : NULL;
}

/* It is put back: the port has none, and others may take it. */
static void given_back(struct managed_port *p)
{
	struct port_device *d = &p->port.device;
	struct manager *m = p->own.m;

	device_say(p, "given back");
	plan_clear(&d->plan);
	*d->asked = '\0';
	memset(&p->device_contest, 0, sizeof(p->device_contest));
	p->device_drop = p->device_lost = false;
	device_let_go(p);
	if (!p->gone || owner_last(&p->own) >= 0)
		owner_record(&p->device_own);
	manager_tell_port(m, &p->port);
	manager_kick(m);
}

static void pump_back(struct managed_port *p)
{
	ssize_t last = owner_last(&p->device_own);

	if (last < 0) {
		given_back(p);
		return;
	}
	if (p->port.device.state != DEVICE_RESERVED)
		set_state(p, DEVICE_DETACHING);
	owner_begin(&p->device_own, (size_t)last, true);
}

static int make_plan(const struct managed_port *p, const struct vnic_pf *pf, struct plan *ret)
{
	return path_sriov_device(p->own.m->inv, &p->port, pf, p->own.segment, ret);
}

bool device_carries(struct managed_port *p)
{
	uint64_t when = p->attached_at + SETTLE_IN;

	if (p->port.device.state != DEVICE_ATTACHED || p->device_drop || p->gone)
		return false;
	if (manager_now(p->own.m) >= when)
		return true;
	manager_wake_before(p->own.m, when);
	return false;
}

/* Have @step set @value, again where it is done. */
static void step_follow(struct step *step, int64_t value)
{
	if (step->value == value)
		return;
	if (step->state == STEP_DONE) {
		step->state = STEP_BEGUN;
		step->old = step->value;
		step->has_old = true;
	}
	step->value = value;
	step->seen = false;
}

int plan_follow_attrs(struct plan *held, const struct plan *wanted)
{
	struct step *step = plan_find(held, STEP_VF_RESET);
	size_t at = step ? (size_t)(step - held->step) + 1 : held->n;

	for (size_t i = 0; i < wanted->n; i++) {
		const struct step *want = &wanted->step[i];
		int r;

		if (want->kind != STEP_VF_ATTR)
			continue;
		step = plan_find_attr(held, want->attr);
		if (step) {
			step_follow(step, want->value);
			at = (size_t)(step - held->step) + 1;
			continue;
		}
		r = plan_insert(held, at++, want);
		if (r < 0)
			return r;
	}
	step = plan_find_attr(held, VF_RATE);
	if (step && !plan_find_attr(wanted, VF_RATE))
		step_follow(step, 0);
	step = plan_find_attr(held, VF_LINK_STATE);
	if (step && step->has_prev && !plan_find_attr(wanted, VF_LINK_STATE))
		step_follow(step, step->prev);
	return 0;
}

void device_settings(struct managed_port *p)
{
	struct port_device *d = &p->port.device;
	bool queue = d->state == DEVICE_QUEUE;
	struct owner *o = queue ? &p->own : &p->device_own;
	const struct vnic_pf *pf = pf_there(p->own.m, d);
	struct plan wanted = { 0 };
	int r;

	if (!o->plan->n || p->device_drop || !o->segment || (!pf && !queue))
		return;
	/* The plan may not change under the step: once it has ended. And a queue's VF may come back. */
	p->device_stale = o->busy || !pf;
	if (p->device_stale)
		return;
	r = queue ? path_vmdq_port(p->own.m->inv, p->own.segment, &p->port, &wanted)
		  : make_plan(p, pf, &wanted);
	if (r == 0)
		r = plan_follow_attrs(o->plan, &wanted);
	if (r == -ENOMEM)
		device_reason(p, "out of memory");
	plan_clear(&wanted);
	manager_kick(p->own.m);
}

/* What the guest asked of its VF and, being trusted, was given. */
static void note_asked(struct managed_port *p, const struct step *step, int64_t value)
{
	struct port_device *d = &p->port.device;
	char text[sizeof(d->asked)] = "";

	if (value != step->value)
		vf_attr_format(step->attr, value, text, sizeof(text));
	if (str_eq(text, d->asked))
		return;
	memcpy(d->asked, text, sizeof(d->asked));
	device_say(p,
		   *text ? "the guest gave it another MAC" : "the guest gave it its own MAC again");
	manager_tell_port(p->own.m, &p->port);
}

/* What was done to it went with it; another one at its address has nothing of that. libvirt is to be told still. */
static void vf_lost(struct port_device *d)
{
	for (size_t i = 0; i < d->plan.n; i++)
		if (d->plan.step[i].kind != STEP_VF_ATTACH)
			d->plan.step[i].state = STEP_UNDONE;
}

/* Is it bound to what we bound it to? */
static bool bound(struct managed_port *p, const struct vnic_vf *vf)
{
	struct step *step = plan_find(&p->port.device.plan, STEP_VF_DRIVER);

	return !step || step->state != STEP_DONE ||
	       !owner_drifted(&p->device_own, step, str_eq(vf->driver, step->driver));
}

/* The representor that the plan is about is still that of the VF, or the VF needs none. */
static bool represented(const struct managed_port *p, const struct vnic_vf *vf)
{
	const struct plan *plan = &p->port.device.plan;

	for (size_t i = 0; i < plan->n; i++)
		if (plan->step[i].kind == STEP_LINK_UP && plan->step[i].ifindex != vf->representor)
			return false;
	return true;
}

/* Is @step's effect on the representor there? What somebody changed since is to be done again. */
static bool representor_kept(struct managed_port *p, struct step *step)
{
	struct manager *m = p->own.m;
	const struct vnic_link *link = inventory_find(m->inv, step->ifindex);
	bool shown = link &&
		     (step->kind == STEP_LINK_MASTER ? link->master == step->master
		      : step->kind == STEP_LINK_UP   ? link->up
						   : inventory_bridged(m->inv, link, step->bridge));

	return !owner_drifted(&p->device_own, step, shown) || contest_waits(m, &p->device_contest);
}

/* Somebody undid @step: it is done again, which its history tells until that is nothing new any more. */
static void do_again(struct managed_port *p, struct step *step, const char *text)
{
	contest_lose(p->own.m, &p->device_contest);
	if (p->device_contest.n <= CONTEST_TOLD_FROM)
		device_say(p, text);
	step->seen = false;
	step->state = STEP_BEGUN;
	manager_kick(p->own.m);
}

/* Return: true where something of it is to be done again. */
static bool repair_representor(struct managed_port *p)
{
	struct plan *plan = &p->port.device.plan;

	for (size_t i = 0; i < plan->n; i++) {
		struct step *step = &plan->step[i];

		if ((step->kind != STEP_LINK_MASTER && step->kind != STEP_LINK_UP &&
		     step->kind != STEP_OVS_PORT) ||
		    representor_kept(p, step))
			continue;
		do_again(p, step, "its representor was taken out of the bridge, or down: put back");
		/* Its VLANs went with its place in the bridge. */
		for (size_t j = i; step->kind == STEP_LINK_MASTER && j < plan->n; j++)
			if (plan->step[j].kind == STEP_BRIDGE_PVID) {
				plan->step[j].state = STEP_PLANNED;
				plan->step[j].has_prev = false;
			}
		return true;
	}
	return false;
}

/*
 * Somebody else may have set an attribute: it is set again, later and later where that goes on. The MAC of a
 * trusted VF is its guest's to change.
 */
static void pump_attached(struct managed_port *p, const struct vnic_pf *pf)
{
	struct manager *m = p->own.m;
	struct port_device *d = &p->port.device;
	const struct vnic_vf *vf = &pf->vf[d->vf];

	if (repair_representor(p))
		return;
	for (size_t i = 0; i < d->plan.n; i++) {
		struct step *step = &d->plan.step[i];
		char text[VNIC_ERR_MESSAGE_MAX];

		if (step->kind != STEP_VF_ATTR || !(vf->known & 1u << step->attr))
			continue;
		if (step->attr == VF_MAC && p->port.trust && step->seen) {
			note_asked(p, step, vf->value[VF_MAC]);
			continue;
		}
		if (!owner_drifted(&p->device_own, step, vf->value[step->attr] == step->value) ||
		    contest_waits(m, &p->device_contest))
			continue;
		snprintf(text, sizeof(text), "somebody changed '%s' of it: set again",
			 vf_attr_str(step->attr));
		do_again(p, step, text);
		if (p->device_contest.n == CONTEST_TOLD_FROM)
			device_reason(p, "somebody keeps changing its VF's attributes: see "
					 "'ip monitor link'; vnicd sets them again and again");
		return;
	}
	if (contest_over(m, &p->device_contest))
		device_reason(p, "");
}

static void pump_forth(struct managed_port *p, const struct vnic_pf *pf)
{
	struct port_device *d = &p->port.device;
	struct owner *o = &p->device_own;
	int r = d->plan.n ? 0 : make_plan(p, pf, &d->plan);

	if (r == -ENODEV) {
		device_reason(p, "the bridge or the representor that its VF would need has gone");
		p->device_drop = true;
		manager_kick(p->own.m);
		return;
	}
	if (r < 0) {
		device_reason(p, "out of memory");
		return;
	}
	for (size_t i = 0; i < d->plan.n; i++)
		if (d->plan.step[i].state != STEP_DONE) {
			if (!in_guest(d))
				set_state(p, DEVICE_ATTACHING);
			owner_begin(o, i, false);
			return;
		}
	if (d->state != DEVICE_ATTACHED) {
		p->attached_at = manager_now(p->own.m);
		p->was_attached = false;
		set_state(p, DEVICE_ATTACHED);
		device_say(p, "the guest has it");
	}
	o->backoff = 0;
	if (o->unrecorded)
		owner_record(o);
	pump_attached(p, pf);
}

/* A step failed: what there is of the plan is put back, and later another VF, or the same, is tried. */
static void failed(struct managed_port *p)
{
	struct owner *o = &p->device_own;

	o->error = 0;
	device_reason(p, o->err.message);
	if (strncmp(p->device_said, o->err.message, sizeof(p->device_said) - 1) != 0) {
		/* Once, and not at each try. */
		snprintf(p->device_said, sizeof(p->device_said), "%.*s", PORT_REASON_MAX - 1,
			 o->err.message);
		device_say(p, o->err.message);
	}
	owner_back_off(o);
	/* What is in the guest stays there, though an attribute of it cannot be changed. */
	if (!o->undoing && !in_guest(&p->port.device)) {
		p->device_drop = true;
		p->device_retry_at = o->retry_at;
		o->retry_at = 0; /* putting back does not wait */
	}
}

void device_pump(struct managed_port *p)
{
	struct port_device *d = &p->port.device;
	struct manager *m = p->own.m;
	const struct vnic_pf *pf;

	if (d->state == DEVICE_QUEUE)
		return;
	set_standby(p);
	if (p->device_own.busy) {
		/* When the step has ended another one may stand at its address. */
		p->device_lost |= d->state != DEVICE_NONE && m->inv->complete && !pf_there(m, d);
		return;
	}
	set_path(p);
	if (p->device_own.error)
		failed(p);
	if (d->state == DEVICE_NONE || !m->inv->complete)
		return;
	if (owner_waits(&p->device_own)) {
		manager_wake_before(m, p->device_own.retry_at);
		return;
	}
	if (p->device_stale)
		device_settings(p);
	pf = p->device_lost ? NULL : pf_there(m, d);
	if (p->device_lost)
		vf_lost(d);
	p->device_lost = false;
	if (!p->gone && !p->device_drop && (!pf || !bound(p, &pf->vf[d->vf]))) {
		device_reason(p,
			      pf ? "its VF was taken from it by another driver: the guest goes on "
				   "with its virtio NIC"
				 : "its VF has gone: the guest goes on with its virtio NIC");
		device_say(p, pf ? "taken by another driver" : "gone from the host");
		p->device_drop = true;
		if (!pf)
			vf_lost(d);
	}
	p->device_drop |= d->hold || nic_is_drained(m, d->pf);
	if (pf && !p->gone && !p->device_drop && !represented(p, &pf->vf[d->vf])) {
		device_reason(
			p, "the representor of its VF is another one now: it is plugged in anew");
		p->device_drop = true;
	}
	if (p->gone || p->device_drop)
		pump_back(p);
	else if (p->port.started && p->port.state != PORT_PREPARING)
		pump_forth(p, pf);
}
