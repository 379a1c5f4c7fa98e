/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the ports of a segment share: kept as it should be while there are ports, undone after the last.
 *
 * Each look compares the steps wanted with those held and begins the first that differs. The inventory
 * lags behind what we do, so a difference counts as somebody else's doing only once the inventory has shown
 * our effect, or has had time to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/manager_priv.h"
#include "daemon/core/path_software.h"
#include "daemon/model/ovsdb.h"

bool share_used(const struct manager *m, const char *segment)
{
	for (const struct vnic_port *p = m->ports; p; p = p->hh.next)
		if (!p->spec.vdpa && str_eq(p->segment, segment))
			return true;
	return false;
}

void shares_stale(struct manager *m)
{
	for (struct segment_share *s = m->shares; s; s = s->hh.next) {
		struct managed_share *ms = managed_share(s);

		ms->stale = true;
		if (!ms->own.undoing)
			ms->own.retry_at = 0;
	}
	manager_kick(m);
}

bool share_told(const struct segment_share *share)
{
	const struct step *told = plan_find(&share->plan, STEP_DP_SEGMENT);

	return told && told->state == STEP_DONE;
}

/* Is there nothing more to expect of it, for now? */
bool share_settled(struct manager *m, const char *segment)
{
	struct segment_share *share = manager_share(m, segment);
	struct managed_share *s;

	if (!share)
		return true;
	s = managed_share(share);
	if (owner_waits(&s->own))
		return !s->own.busy;
	return share_used(m, segment) && (!s->stale || m->dp_state != MANAGER_DP_UP);
}

struct managed_share *share_get(struct manager *m, const struct vnic_segment *segment)
{
	struct segment_share *old = manager_share(m, segment->name);
	struct managed_share *s;

	if (old) {
		/* Its undoing may be waiting for another try, for longer than whoever needs it now does. */
		managed_share(old)->own.retry_at = 0;
		return managed_share(old);
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->share.segment = *segment;
	s->stale = true;
	path_software_tap(segment->name, s->share.tap);
	owner_init(&s->own, m, &s->share.plan, &s->share.segment, NULL);
	HASH_ADD_STR(m->shares, segment.name, &s->share);
	manager_kick(m);
	return s;
}

struct managed_share *share_free(struct managed_share *s)
{
	if (s) {
		plan_clear(&s->share.plan);
		free(s);
	}
	return NULL;
}

int share_wanted(const struct manager *m, const struct vnic_segment *segment,
		 const struct vnic_port *and_this, int tap_ifindex, struct plan *ret)
{
	struct vlan_set vlans = { 0 };

	for (const struct vnic_port *p = m->ports; p; p = p->hh.next)
		if (!p->spec.vdpa && str_eq(p->segment, segment->name))
			vlan_set_add(&vlans, p->vlan);
	if (and_this)
		vlan_set_add(&vlans, and_this->vlan);
	return path_software_shared(m->inv, segment, &vlans, tap_ifindex, ret);
}

/* A step of the tap is known by the tap's name, since its ifindex may change; of others by ifindex. */
static bool same_step(const struct managed_share *s, const struct step *a, const struct step *b)
{
	bool a_tap = str_eq(a->ifname, s->share.tap), b_tap = str_eq(b->ifname, s->share.tap);

	if (a->kind != b->kind || a->vlan != b->vlan || a_tap != b_tap)
		return false;
	if (a->kind == STEP_NIC_FDB)
		return str_eq(a->dev, b->dev) && memcmp(a->mac, b->mac, sizeof(a->mac)) == 0;
	return a_tap || a->ifindex == b->ifindex;
}

static ssize_t find_step(const struct managed_share *s, const struct plan *plan,
			 const struct step *step)
{
	for (size_t i = 0; i < plan->n; i++)
		if (same_step(s, &plan->step[i], step))
			return (ssize_t)i;
	return -1;
}

/* While Open vSwitch's database is away nothing is known to have changed. */
static bool ovs_shows(const struct inventory *inv, const struct step *step)
{
	const struct ovs_port *port = inventory_ovs_port(inv, step->ifname);

	if (!inv->ovs || !inv->ovs->synced)
		return true;
	if (!port || !*port->ours || !str_eq(port->bridge, step->bridge))
		return false;
	return step->kind == STEP_OVS_PORT || vlan_set_has(port->trunks, step->vlan);
}

/* Does the inventory show @step's effect? */
static bool shown(const struct inventory *inv, const struct step *step)
{
	const struct vnic_link *link = inventory_find(inv, step->ifindex);

	switch (step->kind) {
	case STEP_TAP_CREATE:
		return link && str_eq(link->name, step->ifname);
	case STEP_LINK_MASTER:
	case STEP_BRIDGE_VLAN: /* a port's VLANs vanish when it leaves its bridge */
		return link && link->master == step->master;
	case STEP_LINK_MTU:
		return link && link->mtu == step->mtu;
	case STEP_LINK_UP:
		return link && link->up;
	case STEP_OVS_PORT:
	case STEP_OVS_VLAN:
		return ovs_shows(inv, step);
	default:
		return true;
	}
}

/* Was @step done and has somebody else changed its effect since? */
static bool drifted(struct managed_share *s, struct step *step)
{
	if (step->state != STEP_DONE)
		return false;
	if (owner_drifted(&s->own, step, shown(s->own.m->inv, step)))
		return true;
	s->stale |= !step->seen;
	return false;
}

/* Its effect is gone with its link; what the datapath was told is not. */
static void do_anew(struct step *step)
{
	if (step->kind == STEP_DP_SEGMENT) {
		step->state = STEP_BEGUN;
		return;
	}
	step->has_prev = false;
	step->state = STEP_PLANNED;
}

/* The tap is made anew: all that was done to the old one is to be done again. */
static void tap_lost(struct managed_share *s)
{
	s->share.tap_ifindex = 0;
	for (size_t i = 0; i < s->share.plan.n; i++) {
		struct step *step = &s->share.plan.step[i];

		if (!str_eq(step->ifname, s->share.tap))
			continue;
		step->ifindex = 0;
		do_anew(step);
	}
}

/* Its trunk went with it. */
static void ovs_port_lost(struct managed_share *s)
{
	for (size_t i = 0; i < s->share.plan.n; i++)
		if (s->share.plan.step[i].kind == STEP_OVS_VLAN)
			do_anew(&s->share.plan.step[i]);
}

static void left_bridge(struct managed_share *s)
{
	for (struct vnic_port *p = s->own.m->ports; p; p = p->hh.next)
		if (str_eq(p->segment, s->share.segment.name))
			port_fdb_lost(managed(p));
}

static bool of_ovs(const struct step *step)
{
	return step->kind == STEP_OVS_PORT || step->kind == STEP_OVS_VLAN;
}

/*
 * Take out what is not wanted any more.
 * Return: 1 where an undo was begun, else 0.
 */
static int drop_unwanted(struct managed_share *s, const struct plan *wanted)
{
	struct plan *held = &s->share.plan;

	for (size_t i = held->n; i-- > 0;) {
		struct step *step = &held->step[i];

		if (find_step(s, wanted, step) >= 0)
			continue;
		/* It cannot be told what the bridge is while the database of Open vSwitch is away. */
		if (of_ovs(step) && (!s->own.m->inv->ovs || !s->own.m->inv->ovs->synced))
			continue;
		/* An orphan's VLAN is not known: it may be this one. */
		if ((step->kind == STEP_BRIDGE_VLAN || step->kind == STEP_OVS_VLAN) &&
		    orphans_in(s->own.m, s->share.segment.name))
			continue;
		/* Undone with its link or its place in the bridge, it needs nothing of us. */
		if ((step->state == STEP_DONE && (step->seen || s->own.settled_at == 0) &&
		     !shown(s->own.m->inv, step)) ||
		    step->state == STEP_PLANNED || step->state == STEP_UNDONE) {
			plan_remove(held, i);
			continue;
		}
		owner_begin(&s->own, i, true);
		return 1;
	}
	return 0;
}

/* Bring the parameters of @step to those of @want; a done step that differs is to be done again. */
static void follow(struct managed_share *s, struct step *step, const struct step *want)
{
	bool differs = step->mtu != want->mtu || step->master != want->master ||
		       !str_eq(step->bridge, want->bridge);

	step->mtu = want->mtu;
	step->master = want->master;
	memcpy(step->bridge, want->bridge, sizeof(step->bridge));
	if (step->ifindex == 0 || str_eq(step->ifname, s->share.tap))
		step->ifindex = step->kind == STEP_TAP_CREATE ? step->ifindex : want->ifindex;
	if (step->kind == STEP_BRIDGE_VLAN && memcmp(step->mac, want->mac, sizeof(step->mac))) {
		/* By the same name it has another MAC; by another it is another link with that number. */
		differs |= !mac_is_zero(step->mac) && !str_eq(step->ifname, want->ifname);
		memcpy(step->mac, want->mac, sizeof(step->mac));
		memcpy(step->ifname, want->ifname, sizeof(step->ifname));
		s->own.unrecorded = true;
	}
	if (!differs || step->state != STEP_DONE)
		return;
	if (step->kind == STEP_BRIDGE_VLAN)
		do_anew(step); /* another bridge, or another port of it: other VLANs */
	else
		step->state = STEP_BEGUN;
}

/* Something is to be repaired: is it too early for that? Looks again in time where it is. */
static bool not_yet(struct managed_share *s)
{
	uint64_t now = manager_now(s->own.m), when;

	if (!s->drifted_at)
		s->drifted_at = now;
	when = s->drifted_at + DRIFT_LOOK;
	if (when < s->repaired_at + SETTLE)
		when = s->repaired_at + SETTLE;
	if (now < when) {
		s->stale = true;
		manager_wake_before(s->own.m, when);
		return true;
	}
	s->repaired_at = now;
	s->drifted_at = 0;
	return false;
}

/*
 * Begin the first step of @wanted that is not done.
 * Return: 1 where one was begun or there is to wait, 0 where all are done, or a negative errno.
 */
static int do_missing(struct managed_share *s, const struct plan *wanted)
{
	struct manager *m = s->own.m;

	for (size_t w = 0; w < wanted->n; w++) {
		struct step *step;
		ssize_t i = find_step(s, &s->share.plan, &wanted->step[w]);
		int r;

		if (i < 0) {
			r = plan_add(&s->share.plan, &wanted->step[w]);
			if (r < 0)
				return r;
			i = (ssize_t)s->share.plan.n - 1;
		}
		step = &s->share.plan.step[i];
		follow(s, step, &wanted->step[w]);
		if (drifted(s, step)) {
			if (not_yet(s))
				return 1;
			if (step->kind == STEP_TAP_CREATE) {
				tap_lost(s);
				s->stale = true;
				manager_kick(m);
				return 1;
			}
			if (step->kind == STEP_LINK_MASTER)
				left_bridge(s);
			if (step->kind == STEP_OVS_PORT)
				ovs_port_lost(s);
			if (step->kind == STEP_BRIDGE_VLAN)
				do_anew(step);
			else
				step->state = STEP_BEGUN;
		}
		if (step->state == STEP_DONE ||
		    (step->kind == STEP_BRIDGE_VLAN && step->state == STEP_BEGUN &&
		     step->has_prev && contest_waits(m, &s->contest)))
			continue;
		if (step->kind == STEP_DP_SEGMENT && m->dp_state != MANAGER_DP_UP)
			return 1; /* hello-end looks again */
		owner_begin(&s->own, (size_t)i, false);
		return 1;
	}
	s->drifted_at = 0;
	return 0;
}

static void ovs_reason(const struct managed_share *s, char *text, size_t size)
{
	const struct inventory *inv = s->own.m->inv;
	const struct ovs_port *port = inventory_ovs_port(inv, s->share.tap);

	*text = '\0';
	if (!inv->ovs->synced)
		snprintf(text, size,
			 "ovsdb-server does not answer: bridge %s stays as it is; see 'systemctl "
			 "status openvswitch-switch'",
			 s->share.segment.bridge);
	else if (port && *port->error)
		snprintf(text, size, "Open vSwitch does not serve %s: %s", s->share.tap,
			 port->error);
}

/* What can be said of the share as it stands. */
static void set_ready(struct managed_share *s, bool ready, const char *reason)
{
	const struct vnic_link *bridge =
		inventory_find_name(s->own.m->inv, s->share.segment.bridge);
	bool ovs = inventory_is_ovs(s->own.m->inv, s->share.segment.bridge);
	int bridge_ifindex = bridge && (ovs || bridge->kind == LINK_BRIDGE) ? bridge->ifindex : 0;
	char text[VNIC_ERR_MESSAGE_MAX];

	if (ready && ovs)
		ovs_reason(s, text, sizeof(text));
	else if (ready && !bridge_ifindex)
		snprintf(text, sizeof(text), "bridge %s is missing: ports reach each other only",
			 s->share.segment.bridge);
	else
		snprintf(text, sizeof(text), "%s", reason);
	if (s->share.ready == ready && s->share.bridge_ifindex == bridge_ifindex &&
	    str_eq(s->share.reason, text))
		return;
	s->share.ready = ready;
	s->share.bridge_ifindex = bridge_ifindex;
	memcpy(s->share.reason, text, sizeof(s->share.reason));
	manager_tell_segment(s->own.m, s->share.segment.name);
	manager_kick(s->own.m); /* ports wait for it */
}

/* Those who wait for the share cannot have it. Others keep what there is; it is tried again. */
static void share_failed(struct managed_share *s)
{
	struct vnic_port *p, *tmp;
	int error = s->own.error;

	s->own.error = 0;
	set_ready(s, false, s->own.err.message);
	HASH_ITER(hh, s->own.m->ports, p, tmp)
	{
		if (!p->spec.vdpa && str_eq(p->segment, s->share.segment.name) &&
		    p->state == PORT_PREPARING)
			port_fail(managed(p), error, &s->own.err);
	}
	s->stale = true;
	owner_back_off(&s->own);
}

static void undo_all(struct managed_share *s)
{
	struct manager *m = s->own.m;
	char name[VNIC_NAME_MAX];
	ssize_t last;

	/* A link that has left the bridge has left its VLANs behind: there is nothing to put back. */
	while ((last = owner_last(&s->own)) >= 0) {
		struct step *step = &s->share.plan.step[last];

		/* The VLANs of Open vSwitch's port go with it. */
		if (step->kind != STEP_OVS_VLAN &&
		    (step->kind != STEP_BRIDGE_VLAN || shown(m->inv, step)))
			break;
		step->state = STEP_UNDONE;
	}
	if (last >= 0) {
		set_ready(s, false, "");
		owner_begin(&s->own, (size_t)last, true);
		return;
	}
	memcpy(name, s->share.segment.name, sizeof(name));
	if (m->io.erase_shared(m->io.data, name) < 0) {
		snprintf(s->share.reason, sizeof(s->share.reason), "its record cannot be removed");
		owner_back_off(&s->own);
		return;
	}
	HASH_DEL(m->shares, &s->share);
	share_free(s);
	manager_tell_segment(m, name);
	manager_kick(m);
}

/* The tap's ifindex, as its step found it; another one than before means another tap. */
static void find_tap(struct managed_share *s)
{
	int ifindex = 0;

	for (size_t i = 0; i < s->share.plan.n; i++) {
		const struct step *step = &s->share.plan.step[i];

		if (step->kind == STEP_TAP_CREATE && step->state != STEP_UNDONE)
			ifindex = step->ifindex;
	}
	if (s->share.tap_ifindex && ifindex != s->share.tap_ifindex)
		for (size_t i = 0; i < s->share.plan.n; i++) {
			struct step *step = &s->share.plan.step[i];

			if (step->kind == STEP_TAP_CREATE || !str_eq(step->ifname, s->share.tap))
				continue;
			do_anew(step);
		}
	s->share.tap_ifindex = ifindex;
}

void share_pump(struct managed_share *s)
{
	struct manager *m = s->own.m;
	struct plan wanted = { 0 };
	int r;

	if (s->own.busy)
		return;
	if (s->own.error) {
		share_failed(s);
		return;
	}
	if (owner_waits(&s->own)) {
		manager_wake_before(m, s->own.retry_at);
		return;
	}
	if (!share_used(m, s->share.segment.name)) {
		if (manager_dp_unmet(m))
			return;
		undo_all(s);
		return;
	}
	if (s->contest.until && !contest_waits(m, &s->contest)) {
		s->contest.until = 0;
		s->stale = true;
	}
	if (!s->stale)
		return;
	find_tap(s);
	r = share_wanted(m, &s->share.segment, NULL, s->share.tap_ifindex, &wanted);
	if (r == 0) {
		s->stale = false;
		r = drop_unwanted(s, &wanted);
		if (r == 0)
			r = do_missing(s, &wanted);
		if (s->own.busy || s->own.error || r == 1)
			s->stale = true;
	}
	plan_clear(&wanted);
	if (r < 0) {
		if (!s->own.error) {
			s->own.error = r;
			vnic_err_set(&s->own.err, r, VNIC_E_INTERNAL, "segment %s: %s",
				     s->share.segment.name, strerror(-r));
		}
		manager_kick(m);
		return;
	}
	if (r == 0 && !s->own.busy) {
		if (s->own.unrecorded)
			owner_record(&s->own);
		set_ready(s, true, "");
		if (!s->stale)
			manager_kick(m); /* a request may wait for it to settle */
	}
}
