/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/step.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
	[STEP_TAP_CREATE] = "tap-create",
	[STEP_LINK_MASTER] = "link-master",
	[STEP_LINK_MTU] = "link-mtu",
	[STEP_LINK_UP] = "link-up",
	[STEP_BRIDGE_VLAN] = "bridge-vlan",
	[STEP_DP_SEGMENT] = "datapath-segment",
	[STEP_SOCK_LISTEN] = "sock-listen",
	[STEP_DP_PORT] = "datapath-port",
	[STEP_FDB] = "fdb",
	[STEP_NIC_AUTOPROBE] = "nic-autoprobe",
	[STEP_NIC_NUMVFS] = "nic-numvfs",
	[STEP_VF_NETDEV_MAC] = "vf-netdev-mac",
	[STEP_VF_ATTR] = "vf-attr",
	[STEP_VF_DRIVER] = "vf-driver",
	[STEP_VF_RESET] = "vf-reset",
	[STEP_VF_ATTACH] = "vf-attach",
	[STEP_QUEUE_NETDEV] = "queue-netdev",
	[STEP_DP_QUEUE] = "datapath-queue",
	[STEP_NIC_FDB] = "nic-fdb",
	[STEP_BRIDGE_PVID] = "bridge-pvid",
	[STEP_OVS_PORT] = "ovs-port",
	[STEP_OVS_VLAN] = "ovs-vlan",
	[STEP_NIC_UPLINK] = "nic-uplink",
	[STEP_VDPA_ADD] = "vdpa-add",
	[STEP_VDPA_POLICY] = "vdpa-policy",
	[STEP_VDPA_DRIVER] = "vdpa-driver",
	[STEP_VDPA_NODE] = "vdpa-node",
};
static_assert(ARRAY_SIZE(kinds) == STEP_KIND_COUNT, "a word for each kind of step");

static const char *const states[] = {
	[STEP_PLANNED] = "planned",
	[STEP_BEGUN] = "begun",
	[STEP_DONE] = "done",
	[STEP_UNDONE] = "undone",
};

const char *step_kind_str(enum step_kind kind)
{
	return kind > 0 && kind < STEP_KIND_COUNT ? kinds[kind] : "unknown";
}

int step_kind_parse(const char *s, enum step_kind *ret)
{
	for (size_t i = 1; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(s, kinds[i])) {
			*ret = (enum step_kind)i;
			return 0;
		}
	return -EINVAL;
}

const char *step_state_str(enum step_state state)
{
	return state < ARRAY_SIZE(states) ? states[state] : "unknown";
}

int step_state_parse(const char *s, enum step_state *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (str_eq(s, states[i])) {
			*ret = (enum step_state)i;
			return 0;
		}
	return -EINVAL;
}

int plan_add(struct plan *plan, const struct step *step)
{
	return plan_insert(plan, plan->n, step);
}

int plan_insert(struct plan *plan, size_t i, const struct step *step)
{
	struct step *more;

	if (plan->n >= PLAN_STEPS_LIMIT)
		return -E2BIG;
	more = reallocarray(plan->step, plan->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	plan->step = more;
	memmove(more + i + 1, more + i, (plan->n - i) * sizeof(*more));
	more[i] = *step;
	plan->n++;
	return 0;
}

void plan_remove(struct plan *plan, size_t i)
{
	memmove(plan->step + i, plan->step + i + 1, (plan->n - i - 1) * sizeof(*plan->step));
	plan->n--;
}

int plan_copy(struct plan *dst, const struct plan *src)
{
	struct step *copy = NULL;

	if (src->n) {
		copy = reallocarray(NULL, src->n, sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, src->step, src->n * sizeof(*copy));
	}
	free(dst->step);
	dst->step = copy;
	dst->n = src->n;
	return 0;
}

void plan_clear(struct plan *plan)
{
	free(plan->step);
	*plan = (struct plan){ 0 };
}

struct step *plan_find(const struct plan *plan, enum step_kind kind)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->step[i].kind == kind)
			return &plan->step[i];
	return NULL;
}

struct step *plan_find_attr(const struct plan *plan, enum vf_attr attr)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->step[i].kind == STEP_VF_ATTR && plan->step[i].attr == attr)
			return &plan->step[i];
	return NULL;
}

/* Of a nic and its VFs. */
static void describe_function(const struct step *step, char *buf, size_t size)
{
	char text[64];

	switch (step->kind) {
	case STEP_NIC_AUTOPROBE:
		snprintf(buf, size, "%s the host's drivers for new VFs of %s",
			 step->value ? "let in" : "keep out", step->dev);
		break;
	case STEP_NIC_NUMVFS:
		snprintf(buf, size, "give %s %d VFs", step->dev, (int)step->value);
		break;
	case STEP_VF_NETDEV_MAC:
		snprintf(buf, size, "remember the MAC of VF %d of %s (%s)", step->vf, step->dev,
			 step->vf_addr);
		break;
	case STEP_VF_ATTR:
		snprintf(buf, size, "set VF %d of %s to %s", step->vf, step->dev,
			 vf_attr_format(step->attr, step->value, text, sizeof(text)));
		break;
	case STEP_VF_DRIVER:
		snprintf(buf, size, "bind VF %d of %s (%s) to %s", step->vf, step->dev,
			 step->vf_addr, *step->driver ? step->driver : "no driver");
		break;
	case STEP_VF_RESET:
		snprintf(buf, size, "reset VF %d of %s (%s)", step->vf, step->dev, step->vf_addr);
		break;
	case STEP_VF_ATTACH:
		snprintf(buf, size, "plug VF %d of %s (%s) into the domain", step->vf, step->dev,
			 step->vf_addr);
		break;
	case STEP_QUEUE_NETDEV:
		snprintf(buf, size, "set up the netdev of VF %d of %s (%s), MTU %u", step->vf,
			 step->dev, step->vf_addr, step->mtu);
		break;
	case STEP_DP_QUEUE:
		snprintf(buf, size, "give the datapath the netdev of VF %d of %s (%s) for its port",
			 step->vf, step->dev, step->vf_addr);
		break;
	case STEP_NIC_FDB:
		snprintf(buf, size, "tell the switch of %s that %s is behind it", step->dev,
			 mac_format(step->mac, text));
		break;
	default:
		snprintf(buf, size, "unknown step %d", (int)step->kind);
	}
}

/* Of a vDPA device. */
static void describe_vdpa(const struct step *step, char *buf, size_t size)
{
	char mac[VNIC_MAC_STR];

	switch (step->kind) {
	case STEP_VDPA_ADD:
		snprintf(buf, size, "make vDPA device %s with MAC %s on %s", step->dev,
			 mac_format(step->mac, mac), step->mgmtdev);
		break;
	case STEP_VDPA_POLICY:
		snprintf(buf, size, "set vDPA device %s to VLAN %u, %lld bit/s, weight %u",
			 step->dev, step->vlan, (long long)step->value, step->weight);
		break;
	case STEP_VDPA_DRIVER:
		snprintf(buf, size, "bind vDPA device %s to %s", step->dev, step->driver);
		break;
	case STEP_VDPA_NODE:
		snprintf(buf, size, "link %s/%s to the node of vDPA device %s", step->class_name,
			 step->name, step->dev);
		break;
	default:
		describe_function(step, buf, size);
	}
}

const char *step_describe(const struct step *step, char *buf, size_t size)
{
	char link[IFNAMSIZ + 24], mac[VNIC_MAC_STR];

	if (step->ifindex > 0)
		snprintf(link, sizeof(link), "%s (ifindex %d)",
			 *step->ifname ? step->ifname : "link", step->ifindex);
	else
		snprintf(link, sizeof(link), "%s", *step->ifname ? step->ifname : "the tap");
	switch (step->kind) {
	case STEP_TAP_CREATE:
		snprintf(buf, size, "create tap %s", step->ifname);
		break;
	case STEP_LINK_MASTER:
		snprintf(buf, size, "put %s into the bridge with ifindex %d", link, step->master);
		break;
	case STEP_LINK_MTU:
		snprintf(buf, size, "set the MTU of %s to %u", link, step->mtu);
		break;
	case STEP_LINK_UP:
		snprintf(buf, size, "set %s up", link);
		break;
	case STEP_BRIDGE_VLAN:
		snprintf(buf, size, "let VLAN %u through the bridge port %s", step->vlan, link);
		break;
	case STEP_BRIDGE_PVID:
		if (step->vlan)
			snprintf(buf, size, "let through %s VLAN %u only, without tags", link,
				 step->vlan);
		else
			snprintf(buf, size, "let through %s no VLAN but its own", link);
		break;
	case STEP_OVS_PORT:
		if (*step->dev)
			snprintf(buf, size, "make %s a port of Open vSwitch's bridge %s, VLAN %u",
				 link, step->bridge, step->vlan);
		else
			snprintf(buf, size, "make %s a port of Open vSwitch's bridge %s", link,
				 step->bridge);
		break;
	case STEP_OVS_VLAN:
		snprintf(buf, size, "let VLAN %u through the Open vSwitch port %s", step->vlan,
			 link);
		break;
	case STEP_DP_SEGMENT:
		snprintf(buf, size, "give the datapath segment %s with tap %s, MTU %u", step->name,
			 step->ifname, step->mtu);
		break;
	case STEP_SOCK_LISTEN:
		snprintf(buf, size, "listen on socket %s/%s.sock", step->class_name, step->name);
		break;
	case STEP_DP_PORT:
		snprintf(buf, size, "give the datapath port %s on VLAN %u", step->name, step->vlan);
		break;
	case STEP_FDB:
		snprintf(buf, size, "tell the bridge that %s on VLAN %u is behind %s",
			 mac_format(step->mac, mac), step->vlan, link);
		break;
	case STEP_NIC_UPLINK:
		snprintf(buf, size, "make %s an uplink of vnic.ko", link);
		break;
	default:
		describe_vdpa(step, buf, size);
	}
	return buf;
}
