// SPDX-License-Identifier: GPL-2.0
/*
 * The two places where the uplink's frames are seen: netfilter's netdev hooks. Ingress: before bridge, VLAN devices and
 * stack (an rx_handler would do, but a netdev has one, and a bridge port has given it away). Egress: what host and software
 * ports send towards the wire, before the qdisc. What is not for a device passes on as it came.
 */
#include <linux/skbuff.h>

#include "switch.h"

/* Off the wire: @skb is at its network header, its tag taken out by the core. */
unsigned int vnic_hook_ingress(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct vnic_uplink *up = priv;
	const struct vnic_sort *sort = rcu_dereference(up->sort);
	struct vnic_port *port;
	const u8 *mac = skb_mac_header(skb);
	u16 vid = 0;
	u64 dst;

	if (unlikely(!sort->n))
		return NF_ACCEPT;
	if (unlikely(skb->napi_id == vnic_mark(skb->dev))) {
		skb->napi_id = 0;
		return NF_ACCEPT;
	}
	dst = vnic_mac_of_frame(mac);
	if (skb_vlan_tag_present(skb)) {
		/* A provider's tag is no VLAN of ours. */
		if (skb->vlan_proto != htons(ETH_P_8021Q))
			return NF_ACCEPT;
		vid = skb_vlan_tag_get_id(skb);
	}
	vnic_station_learn(up->stations, vnic_mac_of_frame(mac + ETH_ALEN), vid, VNIC_WIRE, vnic_now());

	port = vnic_mac_is_multicast(dst) ? NULL : vnic_sort_find(sort, dst, vid);
	if (port) {
		/* A tap beside us (tcpdump) may hold the same skb. */
		skb = skb_share_check(skb, GFP_ATOMIC);
		if (unlikely(!skb))
			return NF_STOLEN;
		__skb_push(skb, ETH_HLEN);
		vnic_count(up, taken);
		vnic_rx_port(up, port, skb, false);
		return NF_STOLEN;
	}
	if (!vnic_sort_floods(sort, dst, vid) || vnic_mac_is_link_local(dst))
		return NF_ACCEPT;
	if (!vnic_mac_is_multicast(dst) &&
	    (dst == vnic_mac_of_frame(skb->dev->dev_addr) ||
	     vnic_station_find(up->stations, dst, vid, vnic_now()) == VNIC_STACK))
		return NF_ACCEPT;
	/* Copies share the frame's bytes: none of them is written without a copy of its own. */
	__skb_push(skb, ETH_HLEN);
	vnic_rx_flood(up, sort, skb, dst, vid, NULL, false);
	__skb_pull(skb, ETH_HLEN);
	return NF_ACCEPT;
}

/* A tag in the frame of a software port's guest comes out, as on the wire side. False: @skb is consumed. */
static bool untag(struct sk_buff *skb)
{
	u16 tci;

	if (__skb_vlan_pop(skb, &tci)) {
		kfree_skb(skb);
		return false;
	}
	__vlan_hwaccel_put_tag(skb, htons(ETH_P_8021Q), tci);
	return true;
}

/* Out of the host's stack, on its way to the wire: @skb is at its MAC header. */
unsigned int vnic_hook_egress(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct vnic_uplink *up = priv;
	const struct vnic_sort *sort = rcu_dereference(up->sort);
	bool inband = false;
	struct vnic_port *port, *from;
	u16 vid = 0;
	u64 dst, src;

	if (unlikely(!sort->n) || unlikely(skb_headlen(skb) < ETH_HLEN))
		return NF_ACCEPT;
	if (skb_vlan_tag_present(skb)) {
		if (skb->vlan_proto != htons(ETH_P_8021Q))
			return NF_ACCEPT;
		vid = skb_vlan_tag_get_id(skb);
	} else if (skb->protocol == htons(ETH_P_8021Q)) {
		if (!pskb_may_pull(skb, VLAN_ETH_HLEN))
			return NF_ACCEPT;
		inband = true;
		vid = ntohs(((struct vlan_ethhdr *)skb->data)->h_vlan_TCI) & VLAN_VID_MASK;
	}
	dst = vnic_mac_of_frame(skb->data);
	src = vnic_mac_of_frame(skb->data + ETH_ALEN);
	/* What we announce for a device ourselves is no station's, and not for that device. */
	from = vnic_sort_find(sort, src, vid);
	if (likely(!from))
		vnic_station_learn(up->stations, src, vid, VNIC_STACK, vnic_now());

	port = vnic_mac_is_multicast(dst) ? NULL : vnic_sort_find(sort, dst, vid);
	if (port) {
		skb = skb_share_check(skb, GFP_ATOMIC);
		if (unlikely(!skb) || (inband && !untag(skb)))
			return NF_STOLEN;
		vnic_count(up, taken_host);
		vnic_rx_port(up, port, skb, true);
		return NF_STOLEN;
	}
	if (!vnic_sort_floods(sort, dst, vid) || vnic_mac_is_link_local(dst))
		return NF_ACCEPT;
	if (inband) {
		struct sk_buff *copy = skb_copy(skb, GFP_ATOMIC);

		if (copy && untag(copy)) {
			vnic_rx_flood(up, sort, copy, dst, vid, from, true);
			consume_skb(copy);
		}
		return NF_ACCEPT;
	}
	vnic_rx_flood(up, sort, skb, dst, vid, from, true);
	return NF_ACCEPT;
}
