/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/representor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/model/ovsdb.h"

const char *representor_why_not(const struct inventory *inv, const struct vnic_segment *segment,
				const struct vnic_pf *pf, uint16_t vlan, char *buf, size_t size)
{
	const struct vnic_link *bridge = inventory_find_name(inv, segment->bridge);

	if (pf->eswitch != ESWITCH_SWITCHDEV || !vlan || (bridge && bridge->vlan_filtering) ||
	    inventory_is_ovs(inv, segment->bridge))
		return NULL;
	snprintf(buf, size,
		 "it is in switchdev mode, where the bridge gives VFs their VLANs: 'ip link set %s "
		 "type bridge vlan_filtering 1'",
		 segment->bridge);
	return buf;
}

bool representor_free(const struct inventory *inv, const struct vnic_segment *segment,
		      const struct vnic_pf *pf, const struct vnic_vf *vf)
{
	const struct vnic_link *link = inventory_find(inv, vf->representor);
	const struct ovs_port *port;

	if (pf->eswitch != ESWITCH_SWITCHDEV)
		return true;
	/* Open vSwitch's ports are vnicd's or somebody's; those are left alone. */
	port = link ? inventory_ovs_port(inv, link->name) : NULL;
	if (port)
		return *port->ours && str_eq(port->bridge, segment->bridge);
	return link && (!link->master || inventory_bridged(inv, link, segment->bridge));
}

int representor_steps(const struct inventory *inv, const struct vnic_segment *segment,
		      const struct vnic_pf *pf, const struct vnic_vf *vf, uint16_t vlan,
		      struct plan *plan)
{
	const struct vnic_link *bridge = inventory_find_name(inv, segment->bridge);
	const struct vnic_link *link = inventory_find(inv, vf->representor);
	bool ovs = inventory_is_ovs(inv, segment->bridge);
	struct step step = { .vf = vf->index, .vlan = vlan };
	int r;

	if (pf->eswitch != ESWITCH_SWITCHDEV)
		return 0;
	if (!link || (!ovs && (!bridge || bridge->kind != LINK_BRIDGE)))
		return -ENODEV;
	step.ifindex = link->ifindex;
	memcpy(step.ifname, link->name, sizeof(step.ifname));
	memcpy(step.dev, pf->addr, sizeof(step.dev));
	memcpy(step.vf_addr, vf->addr, sizeof(step.vf_addr));
	step.mtu = segment->mtu ? segment->mtu : bridge ? bridge->mtu : 0;

	/* The MTU goes first: a bridge takes the least of its ports'. */
	step.kind = STEP_LINK_MTU;
	r = step.mtu ? plan_add(plan, &step) : 0;
	if (!ovs) {
		step.kind = STEP_LINK_MASTER;
		step.master = bridge->ifindex;
		if (r == 0)
			r = plan_add(plan, &step);
		step.kind = STEP_BRIDGE_PVID;
		if (r == 0 && bridge->vlan_filtering)
			r = plan_add(plan, &step);
	}
	step.kind = STEP_LINK_UP;
	if (r == 0)
		r = plan_add(plan, &step);
	/* Up before: ovs-vswitchd reads flags, sets promiscuous and writes them all. */
	step.kind = STEP_OVS_PORT;
	memcpy(step.bridge, segment->bridge, sizeof(step.bridge));
	if (r == 0 && ovs)
		r = plan_add(plan, &step);
	return r;
}
