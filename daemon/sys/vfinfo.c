/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/vfinfo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "daemon/sys/genl.h"

struct nlmsghdr *vfinfo_ask(char *buf, int ifindex)
{
	struct nlmsghdr *nlh;
	struct ifinfomsg *ifi;

	memset(buf, 0, VFINFO_REQUEST_MAX);
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = RTM_GETLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = ifindex;
	/* Without the statistics a third more VFs fit. */
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS);
	return nlh;
}

static void set(struct vf_info *info, enum vf_attr attr, int64_t value)
{
	info->known |= 1u << attr;
	info->value[attr] = value;
}

/* Each struct of IFLA_VF_* begins with the VF's number, and most go on with one number of 32 bits. */
static const void *body(const struct nlattr *attr, size_t size, uint32_t vf)
{
	uint32_t v;

	if (!attr || mnl_attr_get_payload_len(attr) < size)
		return NULL;
	memcpy(&v, mnl_attr_get_payload(attr), sizeof(v));
	return v == vf ? mnl_attr_get_payload(attr) : NULL;
}

static void take_setting(struct vf_info *info, enum vf_attr attr, const struct nlattr *a,
			 uint32_t vf, uint32_t max)
{
	const struct ifla_vf_trust *t = body(a, sizeof(*t), vf);
	uint32_t setting;

	if (!t)
		return;
	memcpy(&setting, (const char *)t + offsetof(struct ifla_vf_trust, setting),
	       sizeof(setting));
	/* -1: the driver does not say. */
	if (setting <= max)
		set(info, attr, setting);
}

static int64_t vlan_value(uint32_t vlan, uint32_t qos, uint16_t proto)
{
	if (!vlan && !qos)
		return 0;
	return (int64_t)vlan | (int64_t)qos << 12 |
	       (proto == ETH_P_8021Q ? 0 : (int64_t)proto << 16);
}

static void take_vlan(struct vf_info *info, const struct nlattr *const *tb, uint32_t vf)
{
	const struct nlattr *list = tb[IFLA_VF_VLAN_LIST], *a;
	struct ifla_vf_vlan_info one;
	struct ifla_vf_vlan old;
	const void *p;

	/* Drivers know one VLAN; the list is there for its protocol. */
	if (list)
		mnl_attr_for_each_nested(a, list)
		{
			p = mnl_attr_get_type(a) == IFLA_VF_VLAN_INFO ? body(a, sizeof(one), vf)
								      : NULL;
			if (!p)
				continue;
			memcpy(&one, p, sizeof(one));
			if (one.vlan <= 0xfff && one.qos <= 7)
				set(info, VF_VLAN,
				    vlan_value(one.vlan, one.qos, ntohs(one.vlan_proto)));
			return;
		}
	p = body(tb[IFLA_VF_VLAN], sizeof(old), vf);
	if (!p)
		return;
	memcpy(&old, p, sizeof(old));
	if (old.vlan <= 0xfff && old.qos <= 7)
		set(info, VF_VLAN, vlan_value(old.vlan, old.qos, ETH_P_8021Q));
}

static void take_rate(struct vf_info *info, const struct nlattr *const *tb, uint32_t vf)
{
	const void *p = body(tb[IFLA_VF_RATE], sizeof(struct ifla_vf_rate), vf);
	struct ifla_vf_rate rate;

	if (!p)
		return;
	memcpy(&rate, p, sizeof(rate));
	set(info, VF_RATE,
	    (int64_t)((uint64_t)rate.min_tx_rate << 32 | (uint64_t)rate.max_tx_rate));
}

/* Return: 1 where a VF was told of, else 0. */
static int take_vf(const struct nlattr *nest, struct vf_info *vfs, int max)
{
	const struct nlattr *tb[IFLA_VF_MAX + 1] = { 0 };
	struct vf_info info = { .told = true };
	uint32_t vf;

	/* Every kernel tells the MAC, whose struct has room for longer ones; the VF's number is in it. */
	if (genl_parse_nested(nest, tb, IFLA_VF_MAX) < 0 || !tb[IFLA_VF_MAC] ||
	    mnl_attr_get_payload_len(tb[IFLA_VF_MAC]) < sizeof(struct ifla_vf_mac))
		return 0;
	memcpy(&vf, mnl_attr_get_payload(tb[IFLA_VF_MAC]), sizeof(vf));
	if (vf >= (uint32_t)max || vfs[vf].told)
		return 0;
	set(&info, VF_MAC,
	    vf_mac_value((const uint8_t *)mnl_attr_get_payload(tb[IFLA_VF_MAC]) +
			 offsetof(struct ifla_vf_mac, mac)));
	take_vlan(&info, tb, vf);
	take_rate(&info, tb, vf);
	take_setting(&info, VF_SPOOFCHK, tb[IFLA_VF_SPOOFCHK], vf, 1);
	take_setting(&info, VF_TRUST, tb[IFLA_VF_TRUST], vf, 1);
	take_setting(&info, VF_RSS_QUERY, tb[IFLA_VF_RSS_QUERY_EN], vf, 1);
	take_setting(&info, VF_LINK_STATE, tb[IFLA_VF_LINK_STATE], vf, IFLA_VF_LINK_STATE_DISABLE);
	vfs[vf] = info;
	return 1;
}

struct found {
	const struct nlattr *list, *count;
};

static int find(const struct nlattr *attr, void *data)
{
	struct found *f = data;

	/* The first of each: what follows a list that an older kernel cut is no attribute. */
	if (mnl_attr_get_type(attr) == IFLA_VFINFO_LIST && !f->list)
		f->list = attr;
	else if (mnl_attr_get_type(attr) == IFLA_NUM_VF && !f->count)
		f->count = attr;
	return MNL_CB_OK;
}

int vfinfo_parse(const struct nlmsghdr *nlh, int ifindex, struct vf_info *vfs, int max,
		 int *ret_count)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct found f = { 0 };
	const struct nlattr *a;
	uint32_t count = 0;
	int told = 0;

	if (nlh->nlmsg_type != RTM_NEWLINK || nlh->nlmsg_len < mnl_nlmsg_size(sizeof(*ifi)) ||
	    ifi->ifi_index != ifindex || mnl_attr_parse(nlh, sizeof(*ifi), find, &f) < 0)
		return -EBADMSG;
	if (f.list)
		mnl_attr_for_each_nested(a, f.list) if (mnl_attr_get_type(a) == IFLA_VF_INFO)
			told += take_vf(a, vfs, max);
	if (!nla_u32(f.count, &count) || count > INT32_MAX)
		count = (uint32_t)told;
	*ret_count = (int)count;
	return told;
}
