/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a bridge knows of its ports: the VLANs let through, and which MACs are behind them. */
#include <errno.h>
#include <string.h>

#include <net/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "api/errors.h"
#include "daemon/exec/exec_priv.h"
#include "daemon/exec/function.h"
#include "daemon/model/bridge_nl.h"
#include "daemon/model/config.h"

struct port_vlans {
	int ifindex;
	uint16_t vlan; /* asked for */
	bool has_vlan, vlan_untagged;
	uint16_t pvid; /* 0: none */
	bool pvid_untagged;
	struct vlan_set all;
	bool malformed;
};

static void on_vlans(void *data, uint16_t first, uint16_t last, uint16_t flags)
{
	struct port_vlans *pv = data;

	if (pv->vlan >= first && pv->vlan <= last) {
		pv->has_vlan = true;
		pv->vlan_untagged = flags & BRIDGE_VLAN_INFO_UNTAGGED;
	}
	if (flags & BRIDGE_VLAN_INFO_PVID) {
		pv->pvid = last;
		pv->pvid_untagged = flags & BRIDGE_VLAN_INFO_UNTAGGED;
	}
	for (uint16_t v = first; v <= last; v++)
		vlan_set_add(&pv->all, v);
}

static void parse_vlans(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct port_vlans *pv = data;

	if (nlh->nlmsg_type == RTM_NEWLINK && mnl_nlmsg_get_payload_len(nlh) >= sizeof(*ifi) &&
	    ifi->ifi_index == pv->ifindex)
		pv->malformed |= bridge_vlans_parse(nlh, on_vlans, pv) < 0;
}

/* A port's VLANs. The kernel answers for one port with a dump of all only: it is asked for that. */
static int get_vlans(struct exec *exec, int ifindex, uint16_t vlan, struct port_vlans *ret,
		     struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_BRIDGE };
	struct port_vlans pv;
	struct nl_request req;
	int r, tries = 5;

	do {
		pv = (struct port_vlans){ .ifindex = ifindex, .vlan = vlan };
		nl_start(&req, RTM_GETLINK, NLM_F_DUMP, &ifi, sizeof(ifi));
		mnl_attr_put_u32(req.nlh, IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED);
		r = nl_call(exec->nl, &req, parse_vlans, &pv, err);
	} while (r == -EINTR && --tries > 0);
	if (r == 0 && pv.malformed)
		return vnic_err_set(err, -EBADMSG, VNIC_E_STEP_FAILED,
				    "what the kernel says of VLANs of ifindex %d is malformed",
				    ifindex);
	if (r == 0)
		*ret = pv;
	return r;
}

/*
 * Is @link the one that @step means? Numbers of links are given out again: an uplink that the step names the MAC
 * of must have it (the one it was made with, where it has been given another), any other is a tap of ours.
 */
static bool is_meant(const struct step *step, const struct nl_link *link)
{
	if (mac_is_zero(step->mac) || step->kind == STEP_FDB)
		return tap_is_meant(link);
	return !memcmp(link->mac, step->mac, VNIC_MAC_LEN) ||
	       !memcmp(link->perm_mac, step->mac, VNIC_MAC_LEN);
}

/* The link of @step, which must be in a bridge, and that bridge. */
static int port_of_step(struct exec *exec, const struct step *step, struct nl_link *ret_port,
			struct nl_link *ret_bridge, struct vnic_err *err)
{
	struct nl_link port, bridge;
	int r;

	if (step->ifindex <= 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED, "the step names no link");
	r = nl_get_link(exec->nl, step->ifindex, NULL, &port, err);
	if (r == 0 && *step->dev)
		r = representor_check(exec, step, err);
	if (r < 0)
		return r;
	if (!*step->dev && !is_meant(step, &port))
		return vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED,
				    "ifindex %d is %s by now, another link than was meant",
				    port.ifindex, port.name);
	if (port.master == 0)
		return vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED, "%s is in no bridge any more",
				    port.name);
	r = nl_get_link(exec->nl, port.master, NULL, &bridge, err);
	if (r < 0)
		return r;
	if (step->master && step->master != port.master)
		return vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED,
				    "%s is in another bridge by now, %s", port.name, bridge.name);
	if (!bridge.bridge)
		return vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED,
				    "%s is in %s by now, which is no bridge", port.name,
				    bridge.name);
	*ret_port = port;
	*ret_bridge = bridge;
	return 0;
}

static int vlan_request(struct exec *exec, const struct step *step, uint16_t type, uint16_t vlan,
			uint16_t flags, struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_BRIDGE, .ifi_index = step->ifindex };
	struct bridge_vlan_info info = { .vid = vlan, .flags = flags };
	struct nl_request req;
	struct nlattr *nest;

	nl_start(&req, type, 0, &ifi, sizeof(ifi));
	nest = mnl_attr_nest_start(req.nlh, IFLA_AF_SPEC);
	mnl_attr_put_u16(req.nlh, IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_MASTER);
	mnl_attr_put(req.nlh, IFLA_BRIDGE_VLAN_INFO, sizeof(info), &info);
	mnl_attr_nest_end(req.nlh, nest);
	return nl_call(exec->nl, &req, NULL, NULL, err);
}

/* What the port of @step lets through, with all checked that a write relies on. */
static int vlans_of_step(struct exec *exec, const struct step *step, struct port_vlans *ret,
			 struct vnic_err *err)
{
	struct nl_link port, bridge;
	int r;

	if (step->vlan < 1 || step->vlan > VNIC_VLAN_MAX)
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED, "there is no VLAN %u",
				    step->vlan);
	r = port_of_step(exec, step, &port, &bridge, err);
	return r < 0 ? r : get_vlans(exec, step->ifindex, step->vlan, ret, err);
}

int vlan_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct port_vlans pv;
	int r = vlans_of_step(exec, step, &pv, err);

	if (r < 0)
		return r;
	step->prev = pv.has_vlan;
	step->has_prev = true;
	return 0;
}

int vlan_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct port_vlans pv;
	int r = vlans_of_step(exec, step, &pv, err);

	/* There already, perhaps untagged or as PVID: it is let through, and those are not ours to change. */
	if (r < 0 || pv.has_vlan)
		return r;
	return vlan_request(exec, step, RTM_SETLINK, step->vlan, 0, err);
}

int vlan_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	struct port_vlans pv;
	int r;

	if (!step->has_prev || step->prev)
		return 0;
	r = vlans_of_step(exec, step, &pv, err);
	/* Out of the bridge, or another link by now: its VLANs are gone with the membership. */
	if (r == -ENODEV || r == -ESTALE)
		return 0;
	if (r < 0 || !pv.has_vlan)
		return r;
	return vlan_request(exec, step, RTM_DELLINK, step->vlan, 0, err);
}

/* What STEP_BRIDGE_PVID found, as step->prev: the PVID in the lowest bits, and these. */
enum {
	PREV_PVID_UNTAGGED = 1 << 12,
	PREV_HAS_VLAN = 1 << 13,
	PREV_VLAN_UNTAGGED = 1 << 14,
};

static uint16_t prev_pvid(const struct step *step)
{
	return step->has_prev ? step->prev & 0xfff : 0;
}

static uint16_t flags_of(bool pvid, bool untagged)
{
	return (uint16_t)((pvid ? BRIDGE_VLAN_INFO_PVID : 0) |
			  (untagged ? BRIDGE_VLAN_INFO_UNTAGGED : 0));
}

static int pvid_of_step(struct exec *exec, const struct step *step, struct port_vlans *ret,
			struct nl_link *ret_port, struct vnic_err *err)
{
	struct nl_link bridge;
	int r = port_of_step(exec, step, ret_port, &bridge, err);

	return r < 0 ? r : get_vlans(exec, step->ifindex, step->vlan, ret, err);
}

int pvid_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct port_vlans pv;
	struct nl_link port;
	int r = pvid_of_step(exec, step, &pv, &port, err);

	if (r < 0)
		return r;
	step->prev = pv.pvid | (pv.pvid_untagged ? PREV_PVID_UNTAGGED : 0) |
		     (step->vlan && pv.has_vlan ? PREV_HAS_VLAN : 0) |
		     (step->vlan && pv.vlan_untagged ? PREV_VLAN_UNTAGGED : 0);
	step->has_prev = true;
	return 0;
}

/* A guest that could tag its frames would get out of its VLAN. */
static int only_vlans(const struct port_vlans *pv, const struct nl_link *port, uint16_t a,
		      uint16_t b, struct vnic_err *err)
{
	for (uint16_t v = 1; v <= VNIC_VLAN_MAX; v++)
		if (vlan_set_has(&pv->all, v) && v != a && v != b)
			return vnic_err_set(err, -EBUSY, VNIC_E_STEP_FAILED,
					    "VLAN %u is let through it by somebody else: 'bridge "
					    "vlan del dev %s vid %u'",
					    v, port->name, v);
	return 0;
}

int pvid_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	uint16_t old = prev_pvid(step);
	struct port_vlans pv;
	struct nl_link port;
	int r = pvid_of_step(exec, step, &pv, &port, err);

	if (r == 0)
		r = only_vlans(&pv, &port, step->vlan, step->vlan ? old : pv.pvid, err);
	if (r < 0 || !step->vlan)
		return r;
	if (pv.pvid != step->vlan || !pv.vlan_untagged)
		r = vlan_request(exec, step, RTM_SETLINK, step->vlan, flags_of(true, true), err);
	if (r == 0 && old && old != step->vlan && vlan_set_has(&pv.all, old))
		r = vlan_request(exec, step, RTM_DELLINK, old, 0, err);
	return r;
}

int pvid_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	uint16_t old = prev_pvid(step);
	struct port_vlans pv;
	struct nl_link port;
	int r;

	if (!step->has_prev || !step->vlan)
		return 0;
	r = pvid_of_step(exec, step, &pv, &port, err);
	/* Out of the bridge, or no representor of that VF any more: its VLANs went with that. */
	if (r == -ENODEV || r == -ESTALE)
		return 0;
	if (r < 0)
		return r;
	/* Somebody gave it another one since. */
	if (pv.pvid && pv.pvid != step->vlan && pv.pvid != old)
		return 0;
	/* In this order, so that it can be done again from anywhere in between. */
	if (old && old != step->vlan && pv.pvid != old)
		r = vlan_request(exec, step, RTM_SETLINK, old,
				 flags_of(true, step->prev & PREV_PVID_UNTAGGED), err);
	if (r < 0 || !pv.has_vlan)
		return r;
	if (!(step->prev & PREV_HAS_VLAN))
		return vlan_request(exec, step, RTM_DELLINK, step->vlan, 0, err);
	return vlan_request(exec, step, RTM_SETLINK, step->vlan,
			    flags_of(old == step->vlan, step->prev & PREV_VLAN_UNTAGGED), err);
}

/*
 * What tells an entry of ours from others wherever it is: the kernel keeps this flag
 * where a frame moves the entry, and takes it off where somebody replaces it (net/bridge/br_fdb.c).
 */
static void put_mark(struct nlmsghdr *nlh)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, NDA_FDB_EXT_ATTRS);

	mnl_attr_put_u8(nlh, NFEA_ACTIVITY_NOTIFY, FDB_NOTIFY_BIT);
	mnl_attr_nest_end(nlh, nest);
}

static bool has_mark(const struct nlattr *nest)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, nest)
	{
		if (mnl_attr_get_type(a) == NFEA_ACTIVITY_NOTIFY &&
		    mnl_attr_validate(a, MNL_TYPE_U8) >= 0)
			return mnl_attr_get_u8(a) & FDB_NOTIFY_BIT;
	}
	return false;
}

static int fdb_request(struct exec *exec, const struct step *step, uint16_t type, uint16_t flags,
		       uint16_t vlan, struct vnic_err *err)
{
	/* NUD_NOARP: static, but it follows a guest that migrates: frames from elsewhere move it, unless sticky. */
	struct ndmsg ndm = { .ndm_family = AF_BRIDGE,
			     .ndm_ifindex = step->ifindex,
			     .ndm_state = NUD_NOARP,
			     .ndm_flags = NTF_MASTER };
	struct nl_request req;

	if (step->value)
		ndm.ndm_flags |= NTF_STICKY;
	nl_start(&req, type, flags, &ndm, sizeof(ndm));
	mnl_attr_put(req.nlh, NDA_LLADDR, VNIC_MAC_LEN, step->mac);
	if (vlan)
		mnl_attr_put_u16(req.nlh, NDA_VLAN, vlan);
	if (type == RTM_NEWNEIGH)
		put_mark(req.nlh);
	return nl_call(exec->nl, &req, NULL, NULL, err);
}

/* The entry of a MAC and VLAN in a bridge. */
struct fdb_entry {
	int ifindex; /* behind which it is; 0: there is none */
	bool ours;
};

static void parse_entry(const struct nlmsghdr *nlh, void *data)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	struct fdb_entry *entry = data;
	const struct nlattr *a;

	if (nlh->nlmsg_type != RTM_NEWNEIGH || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ndm) ||
	    ndm->ndm_family != AF_BRIDGE)
		return;
	entry->ifindex = ndm->ndm_ifindex;
	mnl_attr_for_each(a, nlh, sizeof(*ndm))
	{
		if (mnl_attr_get_type(a) == NDA_FDB_EXT_ATTRS)
			entry->ours = ndm->ndm_state == NUD_NOARP && has_mark(a);
	}
}

/* Where the bridge of @step's tap has its MAC now. */
static int get_entry(struct exec *exec, const struct step *step, uint16_t vlan,
		     struct fdb_entry *ret, struct vnic_err *err)
{
	struct ndmsg ndm = { .ndm_family = AF_BRIDGE,
			     .ndm_ifindex = step->ifindex,
			     .ndm_flags = NTF_MASTER };
	struct nl_request req;
	int r;

	*ret = (struct fdb_entry){ 0 };
	nl_start(&req, RTM_GETNEIGH, 0, &ndm, sizeof(ndm));
	mnl_attr_put(req.nlh, NDA_LLADDR, VNIC_MAC_LEN, step->mac);
	if (vlan)
		mnl_attr_put_u16(req.nlh, NDA_VLAN, vlan);
	r = nl_call(exec->nl, &req, parse_entry, ret, err);
	return r == -ENOENT ? 0 : r;
}

/*
 * A frame of that MAC from elsewhere (its guest's, that has migrated or has another way out) took the entry there: it
 * never ages, so it would stay for good. Behind another tap of ours it is another port's by now.
 */
static int drop_moved(struct exec *exec, const struct step *step, uint16_t vlan,
		      struct vnic_err *err)
{
	struct step there = *step;
	struct fdb_entry entry;
	struct nl_link port;
	int r;

	/* It may move on, or back, in between. */
	for (int tries = 0; tries < 5; tries++) {
		r = get_entry(exec, step, vlan, &entry, err);
		if (r < 0 || !entry.ours)
			return r;
		if (entry.ifindex != step->ifindex) {
			r = nl_get_link(exec->nl, entry.ifindex, NULL, &port, err);
			if (r < 0 || tap_is_meant(&port))
				return r == -ENODEV ? 0 : r;
		}
		there.ifindex = entry.ifindex;
		r = fdb_request(exec, &there, RTM_DELNEIGH, 0, vlan, err);
		if (r != -ENOENT)
			return r;
	}
	return 0;
}

/* The VLAN of @step's entry as the bridge counts: 0 where it does not, the port's PVID for untagged. */
static int fdb_vlan(struct exec *exec, const struct step *step, const struct nl_link *bridge,
		    uint16_t *ret, struct vnic_err *err)
{
	struct port_vlans pv;
	int r;

	*ret = 0;
	if (!bridge->vlan_filtering)
		return 0;
	r = get_vlans(exec, step->ifindex, step->vlan, &pv, err);
	if (r == 0)
		*ret = step->vlan ? step->vlan : pv.pvid;
	return r;
}

int fdb_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct nl_link tap, port, bridge;
	uint16_t vlan;
	int r;

	if (!mac_valid_guest(step->mac))
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED,
				    "not the MAC of a guest's NIC");
	r = tap_of_step(exec, step, &tap, err);
	if (r == 0)
		r = port_of_step(exec, step, &port, &bridge, err);
	if (r == 0)
		r = fdb_vlan(exec, step, &bridge, &vlan, err);
	if (r < 0)
		return r;
	return fdb_request(exec, step, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, vlan, err);
}

int fdb_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	struct nl_link tap, port, bridge;
	uint16_t vlan;
	int r;

	r = tap_of_step(exec, step, &tap, err);
	if (r == 0)
		r = port_of_step(exec, step, &port, &bridge, err);
	/* No tap of ours, or in no bridge: no entry either. */
	if (r == -ENODEV || r == -ESTALE)
		return 0;
	if (r == 0)
		r = fdb_vlan(exec, step, &bridge, &vlan, err);
	if (r < 0)
		return r;
	/* Success says little: without VLANs it was one of several entries (see fdb_do()'s request). */
	r = fdb_request(exec, step, RTM_DELNEIGH, 0, vlan, err);
	return r < 0 && r != -ENOENT ? r : drop_moved(exec, step, vlan, err);
}
