/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/vf_nl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#define PROTO_OF(value) ((uint16_t)((value) >> 16))

/* The payload of @a, where it is at least @size bytes. The kernel has made these structs longer before. */
static bool get(const struct nlattr *a, void *dst, size_t size)
{
	if (mnl_attr_get_payload_len(a) < size)
		return false;
	memcpy(dst, mnl_attr_get_payload(a), size);
	return true;
}

static int64_t vlan_value(uint32_t vlan, uint32_t qos, uint16_t proto)
{
	int64_t v = (vlan & 0xfff) | (int64_t)(qos & 7) << 12;

	return v && proto && proto != ETH_P_8021Q ? v | (int64_t)proto << 16 : v;
}

/* Several lists are possible, no driver has more than one VLAN: the first counts. */
static bool get_vlan_list(const struct nlattr *list, int64_t *ret)
{
	struct ifla_vf_vlan_info info;
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, list)
	{
		if (mnl_attr_get_type(a) != IFLA_VF_VLAN_INFO || !get(a, &info, sizeof(info)))
			continue;
		*ret = vlan_value(info.vlan, info.qos, ntohs(info.vlan_proto));
		return true;
	}
	return false;
}

static void set(enum vf_attr attr, int64_t value, uint32_t *known, int64_t *values)
{
	*known |= 1u << attr;
	values[attr] = value;
}

/* Attributes of {vf, setting}: the kernel says -1 where the driver does not tell. */
static void get_setting(const struct nlattr *a, enum vf_attr attr, uint32_t *known, int64_t *values)
{
	struct ifla_vf_spoofchk setting; /* link_state, rss_query_en and trust have its form */

	if (get(a, &setting, sizeof(setting)) && setting.setting != UINT32_MAX)
		set(attr, setting.setting, known, values);
}

int vf_parse(const struct nlattr *info, int *ret_vf, uint32_t *ret_known,
	     int64_t ret_value[VF_ATTR_COUNT])
{
	int64_t value[VF_ATTR_COUNT] = { 0 };
	bool has_list = false, found = false;
	uint32_t known = 0, index = 0;
	const struct nlattr *a;
	struct ifla_vf_mac mac;
	struct ifla_vf_vlan vlan;
	struct ifla_vf_rate rate;
	int64_t v;

	mnl_attr_for_each_nested(a, info)
	{
		switch (mnl_attr_get_type(a)) {
		case IFLA_VF_MAC:
			if (!get(a, &mac, sizeof(mac)))
				break;
			index = mac.vf;
			found = true;
			set(VF_MAC, vf_mac_value(mac.mac), &known, value);
			break;
		case IFLA_VF_VLAN:
			if (!has_list && get(a, &vlan, sizeof(vlan)))
				set(VF_VLAN, vlan_value(vlan.vlan, vlan.qos, 0), &known, value);
			break;
		case IFLA_VF_VLAN_LIST:
			has_list = get_vlan_list(a, &v);
			if (has_list)
				set(VF_VLAN, v, &known, value);
			break;
		case IFLA_VF_RATE:
			if (get(a, &rate, sizeof(rate)) && rate.min_tx_rate <= INT32_MAX)
				set(VF_RATE, (int64_t)rate.min_tx_rate << 32 | rate.max_tx_rate,
				    &known, value);
			break;
		case IFLA_VF_SPOOFCHK:
			get_setting(a, VF_SPOOFCHK, &known, value);
			break;
		case IFLA_VF_LINK_STATE:
			get_setting(a, VF_LINK_STATE, &known, value);
			break;
		case IFLA_VF_RSS_QUERY_EN:
			get_setting(a, VF_RSS_QUERY, &known, value);
			break;
		case IFLA_VF_TRUST:
			get_setting(a, VF_TRUST, &known, value);
			break;
		default:
			break;
		}
	}
	if (!found || index >= PF_VFS_MAX)
		return -EBADMSG;
	*ret_vf = (int)index;
	*ret_known = known;
	memcpy(ret_value, value, sizeof(value));
	return 0;
}

int vf_parse_link(const struct nlmsghdr *nlh,
		  void (*fn)(void *data, int vf, uint32_t known, const int64_t *value), void *data)
{
	const struct nlattr *a, *info;
	int n = 0;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct ifinfomsg))
		return -EBADMSG;
	mnl_attr_for_each(a, nlh, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(a) != IFLA_VFINFO_LIST)
			continue;
		mnl_attr_for_each_nested(info, a)
		{
			int64_t value[VF_ATTR_COUNT];
			uint32_t known;
			int vf;

			if (mnl_attr_get_type(info) != IFLA_VF_INFO ||
			    vf_parse(info, &vf, &known, value) < 0)
				continue;
			fn(data, vf, known, value);
			n++;
		}
	}
	return n;
}

static void put_vlan(struct nlmsghdr *nlh, int vf, int64_t value)
{
	struct ifla_vf_vlan vlan = { .vf = (uint32_t)vf,
				     .vlan = (uint32_t)(value & 0xfff),
				     .qos = (uint32_t)(value >> 12 & 7) };
	struct ifla_vf_vlan_info info = { .vf = vlan.vf,
					  .vlan = vlan.vlan,
					  .qos = vlan.qos,
					  .vlan_proto = htons(PROTO_OF(value)) };
	struct nlattr *list;

	/* Drivers from before 2016's lists know the old form only: it serves whatever is 802.1Q. */
	if (!PROTO_OF(value)) {
		mnl_attr_put(nlh, IFLA_VF_VLAN, sizeof(vlan), &vlan);
		return;
	}
	list = mnl_attr_nest_start(nlh, IFLA_VF_VLAN_LIST);
	mnl_attr_put(nlh, IFLA_VF_VLAN_INFO, sizeof(info), &info);
	mnl_attr_nest_end(nlh, list);
}

int vf_put(struct nlmsghdr *nlh, int vf, enum vf_attr attr, int64_t value)
{
	static const uint16_t types[VF_ATTR_COUNT] = {
		[VF_SPOOFCHK] = IFLA_VF_SPOOFCHK,
		[VF_TRUST] = IFLA_VF_TRUST,
		[VF_LINK_STATE] = IFLA_VF_LINK_STATE,
		[VF_RSS_QUERY] = IFLA_VF_RSS_QUERY_EN,
	};
	struct ifla_vf_spoofchk setting = { .vf = (uint32_t)vf, .setting = (uint32_t)value };
	struct ifla_vf_mac mac = { .vf = (uint32_t)vf };
	struct ifla_vf_rate rate = { .vf = (uint32_t)vf,
				     .min_tx_rate = (uint32_t)(value >> 32),
				     .max_tx_rate = (uint32_t)value };
	struct nlattr *list, *info;

	if (vf < 0 || value < 0 || attr >= VF_ATTR_COUNT)
		return -EINVAL;
	list = mnl_attr_nest_start(nlh, IFLA_VFINFO_LIST);
	info = mnl_attr_nest_start(nlh, IFLA_VF_INFO);
	switch (attr) {
	case VF_MAC:
		vf_value_mac(value, mac.mac);
		mnl_attr_put(nlh, IFLA_VF_MAC, sizeof(mac), &mac);
		break;
	case VF_VLAN:
		put_vlan(nlh, vf, value);
		break;
	case VF_RATE:
		mnl_attr_put(nlh, IFLA_VF_RATE, sizeof(rate), &rate);
		break;
	default:
		mnl_attr_put(nlh, types[attr], sizeof(setting), &setting);
	}
	mnl_attr_nest_end(nlh, info);
	mnl_attr_nest_end(nlh, list);
	return 0;
}
