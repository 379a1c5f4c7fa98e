// SPDX-License-Identifier: GPL-2.0
/*
 * Frames to the NIC, and to this host's stack.
 *
 * Not through the uplink's queueing discipline: fairness between devices is the scheduler's, which must know when the NIC is
 * full, and a qdisc's enqueue and dequeue are a third of what a small frame costs on this way. Not by __dev_direct_xmit()
 * either: it drops what must be segmented or checksummed in software. So: what the stack does behind its qdisc, in batches
 * that share the queue's lock and the doorbell.
 */
#include <linux/etherdevice.h>
#include <linux/netdevice.h>

#include "switch.h"

/* True: there is nothing in @skb that a NIC might not be able to do. */
static bool is_plain(const struct sk_buff *skb)
{
	return !skb_is_nonlinear(skb) && skb->ip_summed == CHECKSUM_NONE && !skb_vlan_tag_present(skb);
}

struct sk_buff *vnic_wire_fit(struct vnic_uplink *up, struct net_device *netdev, struct sk_buff *list)
{
	struct sk_buff *head = NULL, **tail = &head, *skb;
	bool again = false;

	while ((skb = list)) {
		list = skb->next;
		skb_mark_not_on_list(skb);
		if (!is_plain(skb)) {
			skb = validate_xmit_skb_list(skb, netdev, &again);
			if (unlikely(!skb)) {
				vnic_count(up, dropped);
				continue;
			}
		}
		*tail = skb;
		while (skb->next)
			skb = skb->next;
		tail = &skb->next;
	}
	return head;
}

struct sk_buff *vnic_wire_send(struct vnic_uplink *up, struct net_device *netdev, u16 index, struct sk_buff *list, bool *seen)
{
	struct netdev_queue *txq = netdev_get_tx_queue(netdev, index);
	const bool tapped = dev_nit_active(netdev);
	struct sk_buff *skb;

	HARD_TX_LOCK(netdev, txq, smp_processor_id());
	while ((skb = list)) {
		netdev_tx_t rc;

		if (netif_xmit_frozen_or_stopped(txq))
			break;
		list = skb->next;
		skb_mark_not_on_list(skb);
		skb_set_queue_mapping(skb, index);
		if (unlikely(tapped) && !*seen)
			dev_queue_xmit_nit(skb, netdev);
		rc = netdev_start_xmit(skb, netdev, txq, list);
		*seen = unlikely(!dev_xmit_complete(rc));
		if (unlikely(*seen)) {
			skb->next = list;
			list = skb;
			break;
		}
		vnic_count(up, to_wire);
	}
	HARD_TX_UNLOCK(netdev, txq);
	if (list)
		vnic_count(up, busy);
	return list;
}

void vnic_wire_to_stack(struct vnic_uplink *up, struct net_device *netdev, struct sk_buff *skb)
{
	vnic_count(up, to_stack);
	skb->dev = netdev;
	skb->protocol = eth_type_trans(skb, netdev);
	skb->napi_id = vnic_mark(netdev);
	netif_receive_skb(skb);
}
