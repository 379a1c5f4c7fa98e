/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Master, MTU and administrative state of the segment's tap, or of a VF's representor. */
#include <errno.h>
#include <string.h>

#include <net/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "api/errors.h"
#include "daemon/exec/exec_priv.h"
#include "daemon/exec/function.h"

/* The value of @link that @step is about. */
static int64_t value_of(const struct step *step, const struct nl_link *link)
{
	switch (step->kind) {
	case STEP_LINK_MASTER:
		return link->master;
	case STEP_LINK_MTU:
		return link->mtu;
	default:
		return link->up;
	}
}

/* The value that @step sets. */
static int64_t value_wanted(const struct step *step)
{
	switch (step->kind) {
	case STEP_LINK_MASTER:
		return step->master;
	case STEP_LINK_MTU:
		return step->mtu;
	default:
		return 1;
	}
}

static int set_value(struct exec *exec, const struct step *step, int64_t value,
		     struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = step->ifindex };
	struct nl_request req;

	if (step->kind == STEP_LINK_UP) {
		ifi.ifi_change = IFF_UP;
		ifi.ifi_flags = value ? IFF_UP : 0;
	}
	nl_start(&req, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	if (step->kind == STEP_LINK_MASTER)
		mnl_attr_put_u32(req.nlh, IFLA_MASTER, (uint32_t)value);
	else if (step->kind == STEP_LINK_MTU)
		mnl_attr_put_u32(req.nlh, IFLA_MTU, (uint32_t)value);
	return nl_call(exec->nl, &req, NULL, NULL, err);
}

/* As tap_of_step(), where it may be the representor of a VF that the step names instead. */
static int link_of_step(struct exec *exec, const struct step *step, struct nl_link *ret,
			struct vnic_err *err)
{
	struct nl_link link;
	int r;

	if (!*step->dev)
		return tap_of_step(exec, step, ret, err);
	r = representor_check(exec, step, err);
	if (r == 0)
		r = nl_get_link(exec->nl, step->ifindex, NULL, &link, err);
	if (r == 0)
		*ret = link;
	return r;
}

int link_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct nl_link link;
	int r;

	r = link_of_step(exec, step, &link, err);
	if (r < 0)
		return r;
	step->prev = value_of(step, &link);
	step->has_prev = true;
	return 0;
}

/*
 * A bridge without ports has a MAC that the kernel invented, takes over that of its first port, and has none
 * at all once that is out again; one with ports takes the least of theirs, which a representor's may be. Setting
 * the one it has keeps it.
 */
static int pin_mac(struct exec *exec, const struct nl_link *bridge, const struct nl_link *port,
		   struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = bridge->ifindex };
	struct nl_request req;
	int r;

	if (memcmp(port->mac, bridge->mac, sizeof(port->mac)) > 0) {
		r = nl_bridge_has_ports(exec->nl, bridge->ifindex, err);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	nl_start(&req, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	mnl_attr_put(req.nlh, IFLA_ADDRESS, sizeof(bridge->mac), bridge->mac);
	return nl_call(exec->nl, &req, NULL, NULL, err);
}

static int get_bridge(struct exec *exec, int ifindex, struct nl_link *ret, struct vnic_err *err)
{
	struct nl_link bridge;
	int r;

	if (ifindex <= 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED, "the step names no bridge");
	r = nl_get_link(exec->nl, ifindex, NULL, &bridge, err);
	if (r < 0)
		return r;
	if (!bridge.bridge)
		return vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED,
				    "ifindex %d is %s by now, which is no bridge", bridge.ifindex,
				    bridge.name);
	*ret = bridge;
	return 0;
}

int link_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct nl_link link, bridge;
	int r;

	r = link_of_step(exec, step, &link, err);
	if (r < 0)
		return r;
	if (step->kind == STEP_LINK_MASTER) {
		r = get_bridge(exec, step->master, &bridge, err);
		if (r < 0)
			return r;
	}
	if (value_of(step, &link) == value_wanted(step))
		return 0;
	if (step->kind == STEP_LINK_MASTER) {
		/* Of the tap it is a repair; a representor may be somebody else's to place. */
		if (*step->dev && link.master)
			return vnic_err_set(
				err, -EBUSY, VNIC_E_STEP_FAILED,
				"%s is in another bridge: take it out with 'ip link set "
				"%s nomaster'",
				link.name, link.name);
		r = pin_mac(exec, &bridge, &link, err);
		if (r < 0)
			return r;
	}
	return set_value(exec, step, value_wanted(step), err);
}

int link_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	struct nl_link link;
	int r;

	/* Without a previous value it was never begun. */
	if (!step->has_prev)
		return 0;
	r = link_of_step(exec, step, &link, err);
	if (r == -ENODEV || (r == -ESTALE && *step->dev))
		return 0;
	if (r < 0)
		return r;
	/* Somebody changed it since, or it never acted: not ours to put back. */
	if (value_of(step, &link) != value_wanted(step) || step->prev == value_wanted(step))
		return 0;
	return set_value(exec, step, step->prev, err);
}
