/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/vfinfo.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "daemon/model/vf_nl.h"
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

/* The highest value of each attribute that makes sense; above it, it counts as not told. */
static const int64_t value_max[VF_ATTR_COUNT] = {
	[VF_MAC] = INT64_MAX, [VF_VLAN] = INT64_MAX, [VF_RATE] = INT64_MAX,
	[VF_SPOOFCHK] = 1,    [VF_TRUST] = 1,	     [VF_LINK_STATE] = IFLA_VF_LINK_STATE_DISABLE,
	[VF_RSS_QUERY] = 1,
};

/* Return: 1 where a VF was told of that is not known yet, else 0. */
static int take_vf(const struct nlattr *nest, struct vf_info *vfs, int max)
{
	struct vf_info info = { .told = true };
	int vf;

	if (vf_parse(nest, &vf, &info.known, info.value) < 0 || vf >= max || vfs[vf].told)
		return 0;
	for (size_t i = 0; i < VF_ATTR_COUNT; i++)
		if (info.value[i] > value_max[i]) {
			info.known &= ~(1u << i);
			info.value[i] = 0;
		}
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
	    ifi->ifi_index != ifindex || nla_parse(nlh, sizeof(*ifi), find, &f) < 0)
		return -EBADMSG;
	if (f.list)
		mnl_attr_for_each_nested(a, f.list) if (mnl_attr_get_type(a) == IFLA_VF_INFO)
			told += take_vf(a, vfs, max);
	if (!nla_u32(f.count, &count) || count > INT32_MAX)
		count = (uint32_t)told;
	*ret_count = (int)count;
	return told;
}
