// SPDX-License-Identifier: GPL-2.0
/*
 * ntnic: a NIC for tests, since no emulated one sorts by rules (ntuple). Two netdevs on one wire: nt0, the NIC, has four
 * receive queues, each with a NAPI of its own, and a table of rules that send frames to a queue by destination MAC and, where
 * a rule says so, VLAN; what no rule is for goes to queue 0. nt1 is whoever is at the other end.
 *
 *   /sys/module/ntnic/parameters/   what kind of NIC it is, changed at any time
 *   ethtool -S nt0                  frames of each queue
 */
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/if_vlan.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>

#define QUEUES	4
#define RULES	64
#define BACKLOG 1024

static unsigned int rules = 8;
module_param(rules, uint, 0644);
MODULE_PARM_DESC(rules, "places in its table, 64 at most");
static bool special = true;
module_param(special, bool, 0644);
MODULE_PARM_DESC(special, "the NIC chooses a rule's place; else who makes it must");
static bool vlans = true;
module_param(vlans, bool, 0644);
MODULE_PARM_DESC(vlans, "rules may say a VLAN");
static bool forget;
module_param(forget, bool, 0644);
MODULE_PARM_DESC(forget, "rules are lost when the NIC goes down");
static unsigned int busy;
module_param(busy, uint, 0644);
MODULE_PARM_DESC(busy, "every nth frame to send is refused at first (NETDEV_TX_BUSY); 0: none");

struct queue {
	struct napi_struct napi;
	struct sk_buff_head frames;
	u64 packets;
};

struct rule {
	bool used;
	struct ethtool_rx_flow_spec fs;
};

struct nic {
	struct net_device *nic, *wire;
	spinlock_t lock; /* rules, for who classifies */
	struct rule rule[RULES];
	unsigned int offered;
	struct queue queue[QUEUES];
};

static struct nic *the;

/* ---- receive ---- */

static unsigned int classify(struct nic *n, const struct sk_buff *skb)
{
	const struct vlan_ethhdr *eth = (const void *)skb->data;
	u16 vid = 0;
	unsigned int queue = 0;

	if (skb_vlan_tag_present(skb))
		vid = skb_vlan_tag_get_id(skb);
	else if (skb_headlen(skb) >= VLAN_ETH_HLEN && eth->h_vlan_proto == htons(ETH_P_8021Q))
		vid = ntohs(eth->h_vlan_TCI) & VLAN_VID_MASK;
	spin_lock_bh(&n->lock);
	for (int i = 0; i < RULES; i++) {
		const struct ethtool_rx_flow_spec *fs = &n->rule[i].fs;

		if (!n->rule[i].used ||
		    !ether_addr_equal_unaligned(fs->h_u.ether_spec.h_dest, eth->h_dest))
			continue;
		if (fs->flow_type & FLOW_EXT && (ntohs(fs->h_ext.vlan_tci) & VLAN_VID_MASK) != vid)
			continue;
		queue = fs->ring_cookie;
		break;
	}
	spin_unlock_bh(&n->lock);
	return queue;
}

static int poll(struct napi_struct *napi, int budget)
{
	struct queue *q = container_of(napi, struct queue, napi);
	struct sk_buff *skb;
	int done = 0;

	while (done < budget && (skb = skb_dequeue(&q->frames))) {
		skb_record_rx_queue(skb, q - the->queue);
		dev_sw_netstats_rx_add(napi->dev, skb->len);
		q->packets++;
		napi_gro_receive(napi, skb);
		done++;
	}
	if (done < budget && napi_complete_done(napi, done) && !skb_queue_empty(&q->frames))
		napi_schedule(napi);
	return done;
}

static netdev_tx_t wire_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct queue *q = &the->queue[classify(the, skb)];
	unsigned int len = skb->len;

	dev_sw_netstats_tx_add(dev, 1, len);
	if (!netif_running(the->nic) || skb_queue_len(&q->frames) >= BACKLOG) {
		kfree_skb(skb);
		return NETDEV_TX_OK;
	}
	/* Frees what it refuses. */
	if (__dev_forward_skb(the->nic, skb))
		return NETDEV_TX_OK;
	skb_queue_tail(&q->frames, skb);
	napi_schedule(&q->napi);
	return NETDEV_TX_OK;
}

/* ---- transmit ---- */

static netdev_tx_t nic_xmit(struct sk_buff *skb, struct net_device *dev)
{
	const unsigned int every = READ_ONCE(busy);

	if (every && !(++the->offered % every))
		return NETDEV_TX_BUSY;
	dev_sw_netstats_tx_add(dev, 1, skb->len);
	skb_tx_timestamp(skb);
	dev_forward_skb(the->wire, skb);
	return NETDEV_TX_OK;
}

/* ---- rules; rtnl held ---- */

static u32 places(void)
{
	return min_t(u32, READ_ONCE(rules), RULES);
}

static void clear_rules(struct nic *n)
{
	spin_lock_bh(&n->lock);
	memset(n->rule, 0, sizeof(n->rule));
	spin_unlock_bh(&n->lock);
}

static int check_rule(const struct ethtool_rx_flow_spec *fs)
{
	const struct ethhdr *mask = &fs->m_u.ether_spec;

	if ((fs->flow_type & ~FLOW_EXT) != ETHER_FLOW || fs->ring_cookie >= QUEUES)
		return -EINVAL;
	if (!is_broadcast_ether_addr(mask->h_dest) || !is_zero_ether_addr(mask->h_source) ||
	    mask->h_proto)
		return -EINVAL;
	if (fs->flow_type & FLOW_EXT &&
	    (!vlans || fs->m_ext.vlan_tci != htons(VLAN_VID_MASK) || fs->m_ext.vlan_etype))
		return -EINVAL;
	return 0;
}

static int add_rule(struct nic *n, struct ethtool_rx_flow_spec *fs)
{
	int err = n->nic->features & NETIF_F_NTUPLE ? check_rule(fs) : -EOPNOTSUPP;

	if (err)
		return err;
	if (special != (fs->location == RX_CLS_LOC_ANY))
		return -EINVAL;
	if (special)
		for (fs->location = 0; fs->location < places() && n->rule[fs->location].used;)
			fs->location++;
	if (fs->location >= places())
		return -ENOSPC;
	spin_lock_bh(&n->lock);
	n->rule[fs->location] = (struct rule){ .used = true, .fs = *fs };
	spin_unlock_bh(&n->lock);
	return 0;
}

static int nic_set_rxnfc(struct net_device *dev, struct ethtool_rxnfc *info)
{
	struct nic *n = the;

	switch (info->cmd) {
	case ETHTOOL_SRXCLSRLINS:
		return add_rule(n, &info->fs);
	case ETHTOOL_SRXCLSRLDEL:
		if (info->fs.location >= RULES || !n->rule[info->fs.location].used)
			return -ENOENT;
		spin_lock_bh(&n->lock);
		n->rule[info->fs.location].used = false;
		spin_unlock_bh(&n->lock);
		return 0;
	}
	return -EOPNOTSUPP;
}

static int nic_get_rxnfc(struct net_device *dev, struct ethtool_rxnfc *info, u32 *locations)
{
	struct nic *n = the;
	u32 count = 0;

	switch (info->cmd) {
	case ETHTOOL_GRXRINGS:
		info->data = dev->real_num_rx_queues;
		return 0;
	case ETHTOOL_GRXCLSRULE:
		if (info->fs.location >= RULES || !n->rule[info->fs.location].used)
			return -ENOENT;
		info->fs = n->rule[info->fs.location].fs;
		return 0;
	case ETHTOOL_GRXCLSRLCNT:
	case ETHTOOL_GRXCLSRLALL:
		for (u32 i = 0; i < RULES; i++) {
			if (!n->rule[i].used)
				continue;
			if (info->cmd == ETHTOOL_GRXCLSRLALL) {
				if (count == info->rule_cnt)
					return -EMSGSIZE;
				locations[count] = i;
			}
			count++;
		}
		info->rule_cnt = count;
		info->data = places();
		if (special && info->cmd == ETHTOOL_GRXCLSRLCNT)
			info->data |= RX_CLS_LOC_SPECIAL;
		return 0;
	}
	return -EOPNOTSUPP;
}

static int nic_set_features(struct net_device *dev, netdev_features_t features)
{
	if (!(features & NETIF_F_NTUPLE))
		clear_rules(the);
	return 0;
}

/* ---- netdevs ---- */

static void carrier(struct net_device *dev, struct net_device *peer, bool up)
{
	if (!up) {
		netif_carrier_off(dev);
		netif_carrier_off(peer);
	} else if (peer->flags & IFF_UP) {
		netif_carrier_on(dev);
		netif_carrier_on(peer);
	}
}

static int nic_open(struct net_device *dev)
{
	for (int i = 0; i < QUEUES; i++)
		napi_enable(&the->queue[i].napi);
	netif_tx_start_all_queues(dev);
	carrier(dev, the->wire, true);
	return 0;
}

static int nic_stop(struct net_device *dev)
{
	carrier(dev, the->wire, false);
	netif_tx_stop_all_queues(dev);
	/* Whoever saw it running has put his frame into a queue. */
	synchronize_net();
	for (int i = 0; i < QUEUES; i++) {
		napi_disable(&the->queue[i].napi);
		skb_queue_purge(&the->queue[i].frames);
	}
	if (forget)
		clear_rules(the);
	return 0;
}

static int wire_open(struct net_device *dev)
{
	netif_tx_start_all_queues(dev);
	carrier(dev, the->nic, true);
	return 0;
}

static int wire_stop(struct net_device *dev)
{
	carrier(dev, the->nic, false);
	netif_tx_stop_all_queues(dev);
	return 0;
}

static void nic_strings(struct net_device *dev, u32 set, u8 *to)
{
	for (int i = 0; set == ETH_SS_STATS && i < QUEUES; i++)
		ethtool_sprintf(&to, "rx_queue_%d_packets", i);
}

static int nic_sset_count(struct net_device *dev, int set)
{
	return set == ETH_SS_STATS ? QUEUES : -EOPNOTSUPP;
}

static void nic_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *to)
{
	for (int i = 0; i < QUEUES; i++)
		to[i] = READ_ONCE(the->queue[i].packets);
}

static const struct ethtool_ops nic_ethtool_ops = {
	.get_link = ethtool_op_get_link,
	.get_rxnfc = nic_get_rxnfc,
	.set_rxnfc = nic_set_rxnfc,
	.get_strings = nic_strings,
	.get_sset_count = nic_sset_count,
	.get_ethtool_stats = nic_stats,
};

static const struct net_device_ops nic_ops = {
	.ndo_open = nic_open,
	.ndo_stop = nic_stop,
	.ndo_start_xmit = nic_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_set_features = nic_set_features,
};

static const struct net_device_ops wire_ops = {
	.ndo_open = wire_open,
	.ndo_stop = wire_stop,
	.ndo_start_xmit = wire_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

static struct net_device *make(const char *name, unsigned int queues)
{
	struct net_device *dev = alloc_netdev_mqs(0, name, NET_NAME_USER, ether_setup, 1, queues);

	if (!dev)
		return NULL;
	eth_hw_addr_random(dev);
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	dev->features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_TSO | NETIF_F_TSO6 |
			NETIF_F_FRAGLIST;
	dev->hw_features = dev->features;
	dev->vlan_features = dev->features;
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	dev->priv_flags |= IFF_UNICAST_FLT | IFF_LIVE_ADDR_CHANGE;
	dev->max_mtu = ETH_MAX_MTU;
	return dev;
}

static int __init nt_init(void)
{
	int err = -ENOMEM;

	the = kzalloc(sizeof(*the), GFP_KERNEL);
	if (!the)
		return err;
	spin_lock_init(&the->lock);
	the->nic = make("nt0", QUEUES);
	the->wire = make("nt1", 1);
	if (!the->nic || !the->wire)
		goto free;
	the->nic->netdev_ops = &nic_ops;
	the->nic->ethtool_ops = &nic_ethtool_ops;
	the->nic->features |= NETIF_F_NTUPLE;
	the->nic->hw_features |= NETIF_F_NTUPLE;
	the->wire->netdev_ops = &wire_ops;
	for (int i = 0; i < QUEUES; i++) {
		skb_queue_head_init(&the->queue[i].frames);
		netif_napi_add(the->nic, &the->queue[i].napi, poll);
	}
	rtnl_lock();
	err = register_netdevice(the->nic);
	if (!err) {
		err = register_netdevice(the->wire);
		if (err)
			unregister_netdevice(the->nic);
	}
	if (!err) {
		netif_carrier_off(the->nic);
		netif_carrier_off(the->wire);
	}
	rtnl_unlock();
	if (!err)
		return 0;
free:
	if (the->nic)
		free_netdev(the->nic);
	if (the->wire)
		free_netdev(the->wire);
	kfree(the);
	return err;
}

static void __exit nt_exit(void)
{
	/* The wire first: it is what puts frames into the NIC's queues. */
	unregister_netdev(the->wire);
	unregister_netdev(the->nic);
	free_netdev(the->wire);
	free_netdev(the->nic);
	kfree(the);
}

module_init(nt_init);
module_exit(nt_exit);

MODULE_DESCRIPTION("A NIC with queues and rules, for tests");
MODULE_LICENSE("GPL");
