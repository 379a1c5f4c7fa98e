/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rtnetlink's part of the played kernel: links, and what a PF's driver tells of its VFs. */
#include "tests/unit/fake_netlink_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#define PACK_SIZE 32768

/* Drivers leave what they do not tell at -1. */
static uint32_t setting_of(const struct vf_info *vf, enum vf_attr attr)
{
	return vf->known & 1u << attr ? (uint32_t)vf->value[attr] : UINT32_MAX;
}

static void put_setting(struct nlmsghdr *nlh, uint16_t type, int index, uint32_t value)
{
	struct ifla_vf_trust s = { (uint32_t)index, value };

	mnl_attr_put(nlh, type, sizeof(s), &s);
}

static void put_vf(struct nlmsghdr *nlh, int index, const struct vf_info *vf)
{
	const int64_t vlan = vf->value[VF_VLAN], rate = vf->value[VF_RATE];
	struct ifla_vf_mac mac = { .vf = (uint32_t)index };
	struct ifla_vf_vlan v = { (uint32_t)index, vlan & 0xfff, vlan >> 12 & 7 };
	struct ifla_vf_vlan_info info = { v.vf, v.vlan, v.qos,
					  htons(vlan >> 16 ? (uint16_t)(vlan >> 16) : 0x8100) };
	struct ifla_vf_rate r = { (uint32_t)index, (uint32_t)(rate >> 32), (uint32_t)rate };
	struct nlattr *nest = mnl_attr_nest_start(nlh, IFLA_VF_INFO), *list;

	vf_value_mac(vf->value[VF_MAC], mac.mac);
	mnl_attr_put(nlh, IFLA_VF_MAC, sizeof(mac), &mac);
	mnl_attr_put(nlh, IFLA_VF_BROADCAST, 32, mac.mac);
	mnl_attr_put(nlh, IFLA_VF_VLAN, sizeof(v), &v);
	mnl_attr_put(nlh, IFLA_VF_RATE, sizeof(r), &r);
	put_setting(nlh, IFLA_VF_TX_RATE, index, r.max_tx_rate);
	put_setting(nlh, IFLA_VF_SPOOFCHK, index, setting_of(vf, VF_SPOOFCHK));
	put_setting(nlh, IFLA_VF_LINK_STATE, index, (uint32_t)vf->value[VF_LINK_STATE]);
	put_setting(nlh, IFLA_VF_RSS_QUERY_EN, index, setting_of(vf, VF_RSS_QUERY));
	put_setting(nlh, IFLA_VF_TRUST, index, setting_of(vf, VF_TRUST));
	list = mnl_attr_nest_start(nlh, IFLA_VF_VLAN_LIST);
	mnl_attr_put(nlh, IFLA_VF_VLAN_INFO, sizeof(info), &info);
	mnl_attr_nest_end(nlh, list);
	mnl_attr_nest_end(nlh, nest);
}

static void put_vfs(struct nlmsghdr *nlh, const struct fake_link *link)
{
	int n = kernel.cut ? link->n_vf / 2 : link->n_vf;
	struct nlattr *list;

	mnl_attr_put_u32(nlh, IFLA_NUM_VF, (uint32_t)link->n_vf);
	if (!n)
		return;
	list = mnl_attr_nest_start(nlh, IFLA_VFINFO_LIST);
	for (int i = 0; i < n; i++)
		put_vf(nlh, i, &link->vf[i]);
	mnl_attr_nest_end(nlh, list);
}

static struct nlmsghdr *link_message(const struct fake_link *link, uint16_t type, bool vfs,
				     const struct nlmsghdr *request, const struct fake_queue *q)
{
	static const uint8_t mac[6] = { 2 };
	struct nlmsghdr *nlh = fake_begin(type, request, q);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	struct nlattr *nest;

	ifi->ifi_index = link->ifindex;
	ifi->ifi_flags = link->up ? IFF_UP | IFF_LOWER_UP : 0;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, link->name);
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(nlh, IFLA_MTU, 1500);
	if (link->master)
		mnl_attr_put_u32(nlh, IFLA_MASTER, (uint32_t)link->master);
	if (link->lower)
		mnl_attr_put_u32(nlh, IFLA_LINK, (uint32_t)link->lower);
	if (*link->dev) {
		mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_NAME, link->dev);
		mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_BUS_NAME, link->bus);
	}
	if (link->kind) {
		nest = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
		mnl_attr_put_strz(nlh, IFLA_INFO_KIND, link->kind);
		mnl_attr_nest_end(nlh, nest);
	}
	if (vfs)
		put_vfs(nlh, link);
	return nlh;
}

/* As the kernel: as many messages in a datagram as fit. */
static void dump_links(struct fake_queue *q, const struct nlmsghdr *request)
{
	char *pack = malloc(PACK_SIZE);
	size_t used = 0;

	for (int i = 0; pack && i < kernel.n_links; i++) {
		struct nlmsghdr *nlh = link_message(kernel.link[i], RTM_NEWLINK, false, request, q);

		nlh->nlmsg_flags |= NLM_F_MULTI;
		if (used + nlh->nlmsg_len > PACK_SIZE) {
			fake_push(q, pack, used);
			used = 0;
		}
		memcpy(pack + used, nlh, nlh->nlmsg_len);
		used += NLMSG_ALIGN(nlh->nlmsg_len);
	}
	if (used)
		fake_push(q, pack, used);
	free(pack);
	fake_end(q, request, 0);
}

void fake_on_route(struct fake_queue *q, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct fake_link *link;

	if (nlh->nlmsg_flags & NLM_F_DUMP) {
		dump_links(q, nlh);
		return;
	}
	kernel.info_requests++;
	if (kernel.silent)
		return;
	link = fake_link_find(ifi->ifi_index);
	if (link && !kernel.emsgsize)
		fake_answer(q, link_message(link, RTM_NEWLINK, true, nlh, q));
	fake_end(q, nlh, !link ? -ENODEV : kernel.emsgsize ? -EMSGSIZE : 0);
}

struct fake_link *fake_link_find(int ifindex)
{
	for (int i = 0; i < kernel.n_links; i++)
		if (kernel.link[i]->ifindex == ifindex)
			return kernel.link[i];
	return NULL;
}

void fake_link_notify(int ifindex)
{
	fake_multicast(NETLINK_ROUTE,
		       link_message(fake_link_find(ifindex), RTM_NEWLINK, false, NULL, NULL));
}

struct fake_link *fake_link_set(const struct fake_link *link, bool notify)
{
	struct fake_link *old = notify ? fake_link_find(link->ifindex) : NULL;

	/* Without notification many are made, which are all new. */
	if (!old) {
		kernel.link = reallocarray(kernel.link, (size_t)kernel.n_links + 1,
					   sizeof(struct fake_link *));
		old = calloc(1, sizeof(*old));
		if (!kernel.link || !old)
			abort();
		kernel.link[kernel.n_links++] = old;
	}
	if (old->vf != link->vf)
		free(old->vf);
	*old = *link;
	if (notify)
		fake_link_notify(link->ifindex);
	return old;
}

void fake_link_del(int ifindex)
{
	for (int i = 0; i < kernel.n_links; i++) {
		struct fake_link *link = kernel.link[i];

		if (link->ifindex != ifindex)
			continue;
		fake_multicast(NETLINK_ROUTE, link_message(link, RTM_DELLINK, false, NULL, NULL));
		kernel.link[i] = kernel.link[--kernel.n_links];
		free(link->vf);
		free(link);
		return;
	}
}
