/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the PF's driver is told of a VF, and what its switch is told of MACs behind the bridge. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "api/errors.h"
#include "daemon/exec/exec_priv.h"
#include "daemon/exec/function.h"
#include "daemon/model/vf_nl.h"

/* addr_assign_type in sysfs: NET_ADDR_* of linux/netdevice.h, which does not go with net/if.h. */
enum { MAC_RANDOM = 1, MAC_SET = 3 };

struct wanted_vf {
	int vf;
	bool found;
	uint32_t known;
	int64_t value[VF_ATTR_COUNT];
};

static void on_vf(void *data, int vf, uint32_t known, const int64_t *value)
{
	struct wanted_vf *wanted = data;

	if (vf != wanted->vf)
		return;
	wanted->found = true;
	wanted->known = known;
	memcpy(wanted->value, value, sizeof(wanted->value));
}

static void on_answer(const struct nlmsghdr *nlh, void *data)
{
	if (nlh->nlmsg_type == RTM_NEWLINK)
		vf_parse_link(nlh, on_vf, data);
}

/*
 * The PF's netdev and the value that @step is about.
 * Return: the ifindex, -EOPNOTSUPP where the driver does not tell the value.
 */
static int get_value(struct exec *exec, const struct step *step, int64_t *ret, struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct wanted_vf wanted = { .vf = step->vf };
	struct nl_request req;
	int r;

	if (*step->vf_addr) {
		_cleanup_(closep) int fd = vf_open(exec, step, err);

		if (fd < 0)
			return fd;
	}
	ifi.ifi_index = pf_ifindex(exec, step, err);
	if (ifi.ifi_index < 0)
		return ifi.ifi_index;
	nl_start(&req, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	mnl_attr_put_u32(req.nlh, IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS);
	r = nl_call(exec->nl, &req, on_answer, &wanted, err);
	if (r < 0)
		return r;
	if (!wanted.found)
		return vnic_err_set(err, -ENODEV, VNIC_E_STEP_FAILED,
				    "the driver of %s does not know its VF %d", step->dev,
				    step->vf);
	if (!(wanted.known & 1u << step->attr))
		return vnic_err_set(err, -EOPNOTSUPP, VNIC_E_STEP_FAILED,
				    "the driver of %s does not tell '%s' of its VFs", step->dev,
				    vf_attr_str(step->attr));
	*ret = wanted.value[step->attr];
	return ifi.ifi_index;
}

/*
 * igb and ixgbe tell the MAC that the VF's own driver has asked for as if it had been given to it. Given back
 * as one, the VF could not change it any more: what its interface has invented, or was set to, is none.
 */
static int64_t given_mac(struct exec *exec, const struct step *step, int64_t told)
{
	_cleanup_(closep) int fd = *step->vf_addr ? vf_open(exec, step, NULL) : -1;
	char file[64];
	struct nl_link link;
	int ifindex = fd < 0 ? 0 : function_ifindex(fd), from;

	if (!ifindex || nl_get_link(exec->nl, ifindex, NULL, &link, NULL) < 0 ||
	    vf_mac_value(link.mac) != told)
		return told;
	snprintf(file, sizeof(file), "net/%s/addr_assign_type", link.name);
	from = function_number(fd, file);
	return from == MAC_RANDOM || from == MAC_SET ? 0 : told;
}

static int set_value(struct exec *exec, const struct step *step, int ifindex, int64_t value,
		     struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = ifindex };
	struct nl_request req;
	int r;

	nl_start(&req, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	r = vf_put(req.nlh, step->vf, step->attr, value);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "there is no such value");
	r = nl_call(exec->nl, &req, NULL, NULL, err);
	/* Drivers that know the link's speed only while there is one (igb) say no more than this. */
	if (r == -EINVAL && step->attr == VF_RATE)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED,
				    "the driver of %s refuses the rate: is there no carrier, is it "
				    "more than the link's speed, or a min_tx_rate?",
				    step->dev);
	return r;
}

int vf_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	int64_t value;
	int r = get_value(exec, step, &value, err);

	if (r < 0)
		return r;
	step->prev = step->attr == VF_MAC ? given_mac(exec, step, value) : value;
	step->has_prev = true;
	return 0;
}

int vf_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	int64_t value;
	int ifindex = get_value(exec, step, &value, err);

	if (ifindex < 0)
		return ifindex;
	return value == step->value ? 0 : set_value(exec, step, ifindex, step->value, err);
}

/* Drivers tell the MAC that a trusted VF has taken for itself: while it is trusted, another one is the guest's. */
static bool guests_own(struct exec *exec, const struct step *step)
{
	struct step trust = *step;
	int64_t value;

	trust.attr = VF_TRUST;
	return step->attr == VF_MAC && get_value(exec, &trust, &value, NULL) > 0 && value == 1;
}

int vf_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	int64_t value;
	int ifindex;

	if (!step->has_prev || (step->prev == step->value && !step->has_old))
		return 0;
	ifindex = get_value(exec, step, &value, err);
	if (ifindex == -ENODEV || ifindex == -ESTALE)
		return 0;
	if (ifindex < 0)
		return ifindex;
	/* Somebody set it since, or it never acted: not ours to put back. */
	if (value != step->value && !(step->has_old && value == step->old) &&
	    !guests_own(exec, step))
		return 0;
	return set_value(exec, step, ifindex, step->prev, err);
}

struct wanted_neigh {
	int ifindex;
	const uint8_t *mac;
	bool found;
};

static void on_neigh(const struct nlmsghdr *nlh, void *data)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	struct wanted_neigh *wanted = data;
	const struct nlattr *a;

	if (nlh->nlmsg_type != RTM_NEWNEIGH || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ndm) ||
	    ndm->ndm_ifindex != wanted->ifindex || !(ndm->ndm_flags & NTF_SELF))
		return;
	mnl_attr_for_each(a, nlh, sizeof(*ndm)) if (mnl_attr_get_type(a) == NDA_LLADDR &&
						    mnl_attr_get_payload_len(a) == VNIC_MAC_LEN &&
						    !memcmp(mnl_attr_get_payload(a), wanted->mac,
							    VNIC_MAC_LEN)) wanted->found = true;
}

/* Does the nic's own table have the MAC? 1, 0, or a negative errno. There is no asking for one entry. */
static int has_neigh(struct exec *exec, const struct step *step, int ifindex, struct vnic_err *err)
{
	struct wanted_neigh wanted = { .ifindex = ifindex, .mac = step->mac };
	struct ndmsg ndm = { .ndm_family = AF_BRIDGE };
	struct nl_request req;
	int r, tries = 5;

	do {
		nl_start(&req, RTM_GETNEIGH, NLM_F_DUMP, &ndm, sizeof(ndm));
		r = nl_call(exec->nl, &req, on_neigh, &wanted, err);
	} while (r == -EINTR && !wanted.found && --tries > 0);
	return wanted.found ? 1 : r;
}

/* Permanent, since that is all that nics take: ndo_dflt_fdb_add() of net/core/rtnetlink.c. */
static int set_neigh(struct exec *exec, const struct step *step, int ifindex, uint16_t type,
		     struct vnic_err *err)
{
	struct ndmsg ndm = { .ndm_family = AF_BRIDGE,
			     .ndm_ifindex = ifindex,
			     .ndm_state = NUD_PERMANENT,
			     .ndm_flags = NTF_SELF };
	struct nl_request req;

	nl_start(&req, type, type == RTM_NEWNEIGH ? NLM_F_CREATE | NLM_F_EXCL : 0, &ndm,
		 sizeof(ndm));
	mnl_attr_put(req.nlh, NDA_LLADDR, VNIC_MAC_LEN, step->mac);
	return nl_call(exec->nl, &req, NULL, NULL, err);
}

int nic_fdb_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	int ifindex = pf_ifindex(exec, step, err);
	int r = ifindex < 0 ? ifindex : has_neigh(exec, step, ifindex, err);

	if (r < 0)
		return r;
	step->prev = r;
	step->has_prev = true;
	return 0;
}

int nic_fdb_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	int ifindex = pf_ifindex(exec, step, err), r;

	if (ifindex < 0)
		return ifindex;
	if (!mac_valid_guest(step->mac))
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED,
				    "not the MAC of a guest's NIC");
	r = set_neigh(exec, step, ifindex, RTM_NEWNEIGH, err);
	if (r == -ENOMEM || r == -ENOSPC)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED,
				    "the card's table of MACs is full: see 'bridge fdb show'");
	/* A driver that has no such table lets its PF have what nobody else claims. */
	return r == -EEXIST || r == -EOPNOTSUPP ? 0 : r;
}

int nic_fdb_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	int ifindex, r;

	if (!step->has_prev || step->prev)
		return 0;
	ifindex = pf_ifindex(exec, step, err);
	if (ifindex < 0)
		return ifindex == -ENODEV ? 0 : ifindex;
	r = set_neigh(exec, step, ifindex, RTM_DELNEIGH, err);
	return r == -ENOENT ? 0 : r;
}
