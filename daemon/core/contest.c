/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FDB entries and VLANs that somebody else takes away are put back: the first time at once, then later and later, so
 * that two managers of one bridge do not fight for ever; the ports concerned say so.
 *
 * A notification may be about an entry that was put back meanwhile, or about our own undoing of one that is wanted
 * again: doing a done step again is harmless, so it is not asked which. Only a third time within a while is a contest.
 */
#include <string.h>

#include "daemon/core/manager_priv.h"

/* After this long without a loss it is over. */
#define QUIET	  (60 * SEC)
#define DELAY_MAX (30 * SEC)

static uint64_t delay(const struct contest *c)
{
	uint64_t d = c->n > 1 ? SEC << (c->n - 2 < 5 ? c->n - 2 : 5) : DRIFT_LOOK;

	return d < DELAY_MAX ? d : DELAY_MAX;
}

void contest_lose(struct manager *m, struct contest *c)
{
	uint64_t now = manager_now(m);

	if (c->n && now >= c->last + QUIET)
		c->n = 0;
	c->n++;
	c->last = now;
	c->until = now + delay(c);
	manager_wake_before(m, c->until);
}

bool contest_waits(struct manager *m, struct contest *c)
{
	if (manager_now(m) >= c->until)
		return false;
	manager_wake_before(m, c->until);
	return true;
}

bool contest_over(struct manager *m, struct contest *c)
{
	if (c->n && manager_now(m) < c->last + QUIET) {
		manager_wake_before(m, c->last + QUIET);
		return false;
	}
	c->n = 0;
	return true;
}

void contest_look(struct managed_port *p)
{
	if (p->contest.n >= CONTEST_TOLD_FROM && contest_over(p->own.m, &p->contest))
		port_remark(p, "%s", "");
}

static void tell(struct managed_port *p, const char *what, const char *see)
{
	if (p->contest.n < CONTEST_TOLD_FROM)
		return;
	port_remark(
		p,
		"somebody keeps taking its %s (%u times by now): see who with 'bridge monitor %s'; "
		"vnicd puts it back every %llu s",
		what, p->contest.n, see, (unsigned long long)(delay(&p->contest) / SEC));
}

static void fdb_gone(struct managed_port *p, const struct bridge_gone *what)
{
	for (size_t i = 0; i < p->port.plan.n; i++) {
		struct step *step = &p->port.plan.step[i];

		if (step->kind != STEP_FDB || step->state != STEP_DONE || p->gone)
			continue;
		if (!what->ifindex) {
			step->state = STEP_BEGUN;
			continue;
		}
		if (step->ifindex != what->ifindex ||
		    memcmp(step->mac, what->mac, sizeof(step->mac)) != 0 ||
		    (step->vlan && what->vlan && step->vlan != what->vlan))
			continue;
		step->state = STEP_BEGUN;
		contest_lose(p->own.m, &p->contest);
		tell(p, "address out of the bridge's forwarding table", "fdb");
	}
}

static void vlans_gone(struct managed_share *s, const struct bridge_gone *what)
{
	struct manager *m = s->own.m;
	bool any = false;

	for (size_t i = 0; i < s->share.plan.n; i++) {
		struct step *step = &s->share.plan.step[i];

		if (step->kind != STEP_BRIDGE_VLAN || step->state != STEP_DONE ||
		    (what->ifindex && step->ifindex != what->ifindex) ||
		    vlan_set_has(&what->has, step->vlan))
			continue;
		step->state = STEP_BEGUN;
		any = true;
	}
	if (!any)
		return;
	s->stale = true;
	if (!what->ifindex)
		return;
	contest_lose(m, &s->contest);
	for (struct vnic_port *p = m->ports; p; p = p->hh.next) {
		if (!str_eq(p->segment, s->share.segment.name) || !p->vlan ||
		    vlan_set_has(&what->has, p->vlan))
			continue;
		managed(p)->contest = s->contest;
		tell(managed(p), "VLAN from a port of the bridge", "vlan");
	}
}

void manager_bridge_gone(struct manager *m, const struct bridge_gone *what)
{
	for (struct vnic_port *p = what->kind == BRIDGE_FDB ? m->ports : NULL; p; p = p->hh.next)
		fdb_gone(managed(p), what);
	for (struct segment_share *s = what->kind == BRIDGE_VLANS ? m->shares : NULL; s;
	     s = s->hh.next)
		vlans_gone(managed_share(s), what);
	manager_kick(m);
}
