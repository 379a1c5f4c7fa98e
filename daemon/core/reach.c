/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where others look for a port's MAC: the bridge behind the segment's tap, and each card with VFs behind its
 * PF, since its embedded switch sends what it does not know to the wire only. So while the port runs by
 * software, and only then: a guest that is being migrated away or has not arrived yet is claimed by the other
 * host, and one with a VF is found by its VF.
 */
#include <string.h>

#include "daemon/core/manager_priv.h"

bool reach_step(const struct step *step)
{
	return step->kind == STEP_FDB || step->kind == STEP_NIC_FDB;
}

static bool acted(const struct step *step)
{
	return step->state == STEP_DONE || step->state == STEP_BEGUN;
}

/* Is a card with VFs among the uplinks? */
static bool behind_switch(const struct inventory *inv, const struct segment_share *share,
			  const struct vnic_link *bridge)
{
	for (int u = 0; u < share->segment.n_uplinks; u++)
		if (inventory_uplink_switch(inv, share->segment.uplink[u], bridge->name))
			return true;
	return false;
}

/* Return: true where a step was begun. */
static bool pump_bridge(struct managed_port *p, const struct segment_share *share,
			const struct vnic_link *bridge, bool wanted)
{
	struct manager *m = p->own.m;
	uint16_t vlan = bridge && bridge->vlan_filtering ? p->port.vlan : 0;
	/* Some cards bring a PF its own broadcasts back: they must not move the entry. */
	bool sticky = wanted && behind_switch(m->inv, share, bridge);
	struct step *step = plan_find(&p->port.plan, STEP_FDB);
	const struct vnic_link *tap;
	size_t i;

	if (!step)
		return false;
	i = (size_t)(step - p->port.plan.step);
	if (acted(step) && bridge &&
	    (step->ifindex != share->tap_ifindex || step->master != bridge->ifindex)) {
		/* The old entry went with the tap's place in the old bridge. */
		step->state = STEP_PLANNED;
		step->has_prev = false;
	}
	if (acted(step) && (!wanted || step->vlan != vlan || step->value != sticky)) {
		owner_begin(&p->own, i, true);
		return true;
	}
	if (!wanted || step->state == STEP_DONE)
		return false;
	tap = inventory_find(m->inv, share->tap_ifindex);
	/* On its way into the bridge, it is looked at again once it is there. */
	if (!tap || tap->master != bridge->ifindex || contest_waits(m, &p->contest))
		return false;
	step->ifindex = share->tap_ifindex;
	step->master = bridge->ifindex;
	step->vlan = vlan;
	step->value = sticky;
	owner_begin(&p->own, i, false);
	return true;
}

static struct step *nic_step(struct managed_port *p, const char *pf, size_t *ret_i)
{
	for (size_t i = 0; i < p->port.plan.n; i++)
		if (p->port.plan.step[i].kind == STEP_NIC_FDB &&
		    str_eq(p->port.plan.step[i].dev, pf)) {
			*ret_i = i;
			return &p->port.plan.step[i];
		}
	return NULL;
}

/* Take out what is not wanted any more. Return: true where an undo was begun. */
static bool drop_nics(struct managed_port *p, const struct vnic_link *bridge, bool wanted)
{
	const struct inventory *inv = p->own.m->inv;

	for (size_t i = p->port.plan.n; i-- > 0;) {
		struct step *step = &p->port.plan.step[i];
		const struct vnic_pf *pf;

		if (step->kind != STEP_NIC_FDB)
			continue;
		pf = inventory_pf(inv, step->dev);
		if (wanted && pf && inventory_switches(inv, pf, bridge->name))
			continue;
		if (acted(step)) {
			owner_begin(&p->own, i, true);
			return true;
		}
		plan_remove(&p->port.plan, i);
	}
	return false;
}

/* Return: true where a step was begun. */
static bool pump_nics(struct managed_port *p, const struct segment_share *share,
		      const struct vnic_link *bridge, bool wanted)
{
	const struct manager *m = p->own.m;
	struct step want = { .kind = STEP_NIC_FDB };

	if (!m->inv->complete)
		return false;
	if (drop_nics(p, bridge, wanted))
		return true;
	memcpy(want.mac, p->port.spec.key.mac, sizeof(want.mac));
	for (int u = 0; wanted && u < share->segment.n_uplinks; u++) {
		const struct vnic_pf *pf =
			inventory_uplink_switch(m->inv, share->segment.uplink[u], bridge->name);
		struct step *step;
		size_t i = 0;

		if (!pf)
			continue;
		step = nic_step(p, pf->addr, &i);
		if (step && step->state == STEP_DONE)
			continue;
		if (!step) {
			memcpy(want.dev, pf->addr, sizeof(want.dev));
			if (plan_add(&p->port.plan, &want) < 0)
				return false;
			i = p->port.plan.n - 1;
		}
		owner_begin(&p->own, i, false);
		return true;
	}
	return false;
}

bool reach_pump(struct managed_port *p)
{
	struct manager *m = p->own.m;
	const struct segment_share *share = manager_share(m, p->port.segment);
	const struct vnic_link *bridge =
		share && share->ready ? inventory_find(m->inv, share->bridge_ifindex) : NULL;
	/* Behind a queue of its own the card knows it, as it knows VFs' guests. */
	bool wanted = p->port.state == PORT_RUNNING && bridge && p->port.path != VNIC_PATH_VMDQ;

	/*
	 * Where it may be either way the bridge goes by what it hears, and the card brings it both ways: what comes to
	 * the one that the guest does not use is dropped there.
	 */
	return pump_bridge(p, share, bridge, wanted && p->port.standby == STANDBY_NO) ||
	       pump_nics(p, share, bridge, wanted && !device_carries(p));
}

/* Its place in the bridge is a new one: what the bridge had learned is gone. */
void port_fdb_lost(struct managed_port *p)
{
	struct step *step = plan_find(&p->port.plan, STEP_FDB);

	if (!step || step->state != STEP_DONE)
		return;
	step->state = STEP_PLANNED;
	step->has_prev = false;
}
