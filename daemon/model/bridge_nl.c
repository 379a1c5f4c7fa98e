/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/bridge_nl.h"

#include <errno.h>
#include <string.h>

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "daemon/model/config.h"

struct walk {
	bridge_vlans_fn fn;
	void *data;
	uint16_t first; /* of a range whose end is to come; 0: there is none */
	int n;
};

static int on_entry(struct walk *w, const struct bridge_vlan_info *info)
{
	uint16_t first = info->flags & BRIDGE_VLAN_INFO_RANGE_END ? w->first : info->vid;

	if (info->flags & BRIDGE_VLAN_INFO_RANGE_BEGIN) {
		w->first = info->vid;
		return 0;
	}
	w->first = 0;
	if (first < 1 || first > info->vid || info->vid > VNIC_VLAN_MAX)
		return -EBADMSG;
	w->fn(w->data, first, info->vid, info->flags);
	w->n++;
	return 0;
}

static int walk_spec(struct walk *w, const struct nlattr *spec)
{
	struct bridge_vlan_info info;
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, spec)
	{
		if (mnl_attr_get_type(a) != IFLA_BRIDGE_VLAN_INFO ||
		    mnl_attr_get_payload_len(a) < sizeof(info))
			continue;
		memcpy(&info, mnl_attr_get_payload(a), sizeof(info));
		if (on_entry(w, &info) < 0)
			return -EBADMSG;
	}
	return 0;
}

int bridge_vlans_parse(const struct nlmsghdr *nlh, bridge_vlans_fn fn, void *data)
{
	struct walk w = { .fn = fn, .data = data };
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(a) == IFLA_AF_SPEC && walk_spec(&w, a) < 0)
			return -EBADMSG;
	}
	return w.n;
}
