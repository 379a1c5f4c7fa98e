/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/path_software.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TAP_PREFIX "vn0-"

/* FNV-1a, 32 bits: https://www.rfc-editor.org/rfc/rfc9923 */
static uint32_t hash(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return h;
}

const char *path_software_tap(const char *segment, char buf[IFNAMSIZ])
{
	if (strlen(TAP_PREFIX) + strlen(segment) < IFNAMSIZ)
		snprintf(buf, IFNAMSIZ, TAP_PREFIX "%.11s", segment);
	else
		snprintf(buf, IFNAMSIZ, TAP_PREFIX "%.4s.%06x", segment, hash(segment) & 0xffffff);
	return buf;
}

/* Through the bridge the segment is reached; what can be said of the way out. */
static bool uplinks_bridged(const struct inventory *inv, const struct vnic_segment *segment,
			    const char *what, struct path_reason *ret)
{
	for (int i = 0; i < segment->n_uplinks; i++) {
		const struct vnic_link *uplink = inventory_find_name(inv, segment->uplink[i]);

		if (uplink && inventory_bridged(inv, uplink, segment->bridge))
			continue;
		snprintf(ret->text, sizeof(ret->text),
			 "through %s %s; its uplink %s %s, so that way out is closed", what,
			 segment->bridge, segment->uplink[i],
			 uplink ? "is not in the bridge" : "does not exist");
		return true;
	}
	snprintf(ret->text, sizeof(ret->text), "through %s %s", what, segment->bridge);
	return true;
}

bool path_software_eligible(const struct inventory *inv, const struct vnic_segment *segment,
			    struct path_reason *ret)
{
	const struct vnic_link *bridge = inventory_find_name(inv, segment->bridge);

	if (inventory_is_ovs(inv, segment->bridge))
		return uplinks_bridged(inv, segment, "Open vSwitch's bridge", ret);
	if (bridge && bridge->kind == LINK_OVS) {
		snprintf(ret->text, sizeof(ret->text),
			 "bridge %s of segment %.40s is Open vSwitch's, and ovsdb-server has not "
			 "told "
			 "of it: see 'systemctl status openvswitch-switch'",
			 segment->bridge, segment->name);
		return false;
	}
	if (!bridge) {
		snprintf(ret->text, sizeof(ret->text),
			 "bridge %s of segment %.40s does not exist: make it, for example with "
			 "'ip link add %s type bridge'",
			 segment->bridge, segment->name, segment->bridge);
		return false;
	}
	if (bridge->kind != LINK_BRIDGE) {
		snprintf(ret->text, sizeof(ret->text),
			 "%s of segment %.40s is no bridge but of kind %s: correct bridge= of the "
			 "segment",
			 segment->bridge, segment->name, link_kind_str(bridge->kind));
		return false;
	}
	if (!bridge->up) {
		snprintf(ret->text, sizeof(ret->text),
			 "bridge %s of segment %.40s is down: 'ip link set %s up'", segment->bridge,
			 segment->name, segment->bridge);
		return false;
	}
	return uplinks_bridged(inv, segment, "bridge", ret);
}

/* A VLAN passes the tap and the segment's own uplinks; other ports of the bridge are their owners' affair. */
static int add_vlan(const struct inventory *inv, const struct vnic_segment *segment,
		    const struct vnic_link *bridge, uint16_t vlan, const struct step *tap,
		    struct plan *plan)
{
	struct step step = { .kind = STEP_BRIDGE_VLAN,
			     .vlan = vlan,
			     .master = bridge->ifindex,
			     .ifindex = tap->ifindex };
	int r;

	memcpy(step.ifname, tap->ifname, sizeof(step.ifname));
	r = plan_add(plan, &step);
	for (int i = 0; r == 0 && i < segment->n_uplinks; i++) {
		const struct vnic_link *uplink = inventory_find_name(inv, segment->uplink[i]);

		if (!uplink || uplink->master != bridge->ifindex)
			continue;
		step.ifindex = uplink->ifindex;
		memcpy(step.ifname, uplink->name, sizeof(step.ifname));
		memcpy(step.mac, mac_is_zero(uplink->perm_mac) ? uplink->mac : uplink->perm_mac,
		       sizeof(step.mac));
		r = plan_add(plan, &step);
	}
	return r;
}

/* Other ports of such a bridge let all VLANs through unless their owners say otherwise. */
static int add_ovs_vlans(const struct vnic_segment *segment, const struct vlan_set *vlans,
			 const struct step *tap, struct plan *plan)
{
	struct step step = *tap;
	int r = 0;

	step.kind = STEP_OVS_VLAN;
	memcpy(step.bridge, segment->bridge, sizeof(step.bridge));
	for (uint16_t v = 1; r == 0 && v <= VNIC_VLAN_MAX; v++) {
		step.vlan = v;
		if (vlan_set_has(vlans, v))
			r = plan_add(plan, &step);
	}
	return r;
}

/*
 * The host itself, where VFs look for it: a card's switch knows the PF's own MAC only, and a bridge may have
 * another one.
 */
static int add_host(const struct inventory *inv, const struct vnic_segment *segment,
		    const struct vnic_link *bridge, struct plan *plan)
{
	int r = 0;

	for (int i = 0; r == 0 && i < segment->n_uplinks; i++) {
		const struct vnic_link *uplink = inventory_find_name(inv, segment->uplink[i]);
		const struct vnic_pf *pf =
			inventory_uplink_switch(inv, segment->uplink[i], segment->bridge);
		struct step step = { .kind = STEP_NIC_FDB };

		if (!pf || memcmp(uplink->mac, bridge->mac, sizeof(uplink->mac)) == 0)
			continue;
		memcpy(step.dev, pf->addr, sizeof(step.dev));
		memcpy(step.mac, bridge->mac, sizeof(step.mac));
		r = plan_add(plan, &step);
	}
	return r;
}

uint32_t path_software_mtu(const struct vnic_segment *segment, const struct vnic_link *bridge)
{
	return segment->mtu ? segment->mtu : bridge && bridge->mtu ? bridge->mtu : 1500;
}

int path_software_shared(const struct inventory *inv, const struct vnic_segment *segment,
			 const struct vlan_set *vlans, int tap_ifindex, struct plan *ret)
{
	const struct vnic_link *bridge = inventory_find_name(inv, segment->bridge);
	struct step base = { .ifindex = tap_ifindex }, step;
	bool ovs = inventory_is_ovs(inv, segment->bridge);
	struct plan plan = { 0 };
	int r;

	if (bridge && bridge->kind != LINK_BRIDGE && !ovs)
		bridge = NULL;
	path_software_tap(segment->name, base.ifname);
	memcpy(base.name, segment->name, sizeof(base.name));
	base.mtu = path_software_mtu(segment, bridge);

	step = base;
	step.kind = STEP_TAP_CREATE;
	r = plan_add(&plan, &step);
	/* The MTU goes first: a bridge takes the least of its ports'. */
	step.kind = STEP_LINK_MTU;
	if (r == 0)
		r = plan_add(&plan, &step);
	if (r == 0 && bridge && !ovs) {
		step.kind = STEP_LINK_MASTER;
		step.master = bridge->ifindex;
		r = plan_add(&plan, &step);
	}
	step = base;
	step.kind = STEP_LINK_UP;
	if (r == 0)
		r = plan_add(&plan, &step);
	/* Up before: ovs-vswitchd reads flags, sets promiscuous and writes them all. */
	if (r == 0 && ovs) {
		step.kind = STEP_OVS_PORT;
		memcpy(step.bridge, segment->bridge, sizeof(step.bridge));
		r = plan_add(&plan, &step);
	}
	step = base;
	step.kind = STEP_DP_SEGMENT;
	if (r == 0)
		r = plan_add(&plan, &step);
	if (ovs)
		r = r == 0 ? add_ovs_vlans(segment, vlans, &base, &plan) : r;
	else if (bridge && bridge->vlan_filtering)
		for (uint16_t v = 1; r == 0 && v <= VNIC_VLAN_MAX; v++)
			if (vlan_set_has(vlans, v))
				r = add_vlan(inv, segment, bridge, v, &base, &plan);
	if (r == 0 && bridge)
		r = add_host(inv, segment, bridge, &plan);
	if (r < 0) {
		plan_clear(&plan);
		return r;
	}
	*ret = plan;
	return 0;
}

int path_software_socket(const struct vnic_port *port, struct step *ret_step, struct plan *plan)
{
	struct step step = { .kind = STEP_SOCK_LISTEN, .vlan = port->vlan };
	int r;

	memcpy(step.mac, port->spec.key.mac, sizeof(step.mac));
	memcpy(step.class_name, port->spec.class_name, sizeof(step.class_name));
	memcpy(step.name, port->spec.name, sizeof(step.name));
	r = plan_add(plan, &step);
	step.kind = STEP_DP_PORT;
	if (r == 0)
		r = plan_add(plan, &step);
	*ret_step = step;
	return r;
}

int path_software_port(const struct vnic_port *port, struct plan *ret)
{
	struct plan plan = { 0 };
	struct step step;
	int r;

	r = path_software_socket(port, &step, &plan);
	step.kind = STEP_FDB;
	path_software_tap(port->segment, step.ifname);
	if (r == 0)
		r = plan_add(&plan, &step);
	if (r < 0) {
		plan_clear(&plan);
		return r;
	}
	*ret = plan;
	return 0;
}
