// SPDX-License-Identifier: GPL-2.0
/*
 * A device's place in the switch: into the sorting table and the scheduler, out of them, and what is in flight.
 *
 * The table is replaced as a whole, by one writer at a time (sort_mutex, inside of dev->lock), and so are its ports: a frame
 * sees an old state or a new one, never half of each.
 */
#include <linux/etherdevice.h>
#include <linux/if_arp.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <net/arp.h>

#include "switch.h"

static DEFINE_MUTEX(sort_mutex);

/*
 * A guest changes its filters as often as it likes, each time for a new table: how many of the old ones wait for RCU is
 * bounded. A large one is waited for each time, one of the small ones now and then.
 */
#define TABLE_LARGE 4096 /* slots */
#define TABLES_WAITING 64

static void put_table(struct vnic_sort *old)
{
	static unsigned int n; /* under sort_mutex */

	if (old->mask < TABLE_LARGE && ++n % TABLES_WAITING) {
		kvfree_rcu(old, rcu);
		return;
	}
	synchronize_rcu();
	kvfree(old);
}

static u32 offloads_of_guest(const struct vnic_dev *d)
{
	static const struct {
		u8 feature;
		u32 offload;
	} map[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, VNIC_OFF_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, VNIC_OFF_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, VNIC_OFF_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, VNIC_OFF_ECN },
		{ VIRTIO_NET_F_GUEST_USO4, VNIC_OFF_USO4 }, { VIRTIO_NET_F_GUEST_USO6, VNIC_OFF_USO6 },
	};
	const u64 have = READ_ONCE(d->guest_offloads);
	u32 offloads = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (have & BIT_ULL(map[i].feature))
			offloads |= map[i].offload;
	return offloads;
}

/* What the table keeps of @d's policy and filter. */
static struct vnic_port *port_new(struct vnic_dev *d)
{
	const struct vnic_filter *f = rcu_dereference_protected(d->filter, lockdep_is_held(&d->lock));
	struct vnic_port *port = kzalloc(sizeof(*port), GFP_KERNEL);

	if (!port)
		return NULL;
	port->dev = d;
	port->vlan = d->policy.vlan;
	port->link = d->policy.link;
	port->spoof = d->policy.allow & VNIC_ALLOW_SPOOF;
	port->rate = DIV_ROUND_UP_ULL(d->policy.rate, 8); /* 0 is no limit: not what a very low one becomes */
	port->weight = clamp(d->policy.weight, 1U, 1000U);
	port->hdr_len = d->hdr_len;
	port->mergeable = d->features & BIT_ULL(VIRTIO_NET_F_MRG_RXBUF);
	port->offloads = offloads_of_guest(d);
	port->mac = vnic_mac(f->mac);
	port->promisc = f->promisc;
	port->allmulti = f->allmulti;
	port->alluni = f->alluni;
	port->nomulti = f->nomulti;
	port->nouni = f->nouni;
	port->nobcast = f->nobcast;
	while (port->n_uni < min_t(u16, f->n_uni, VNIC_FILTERS)) {
		port->uni[port->n_uni] = vnic_mac(f->uni[port->n_uni]);
		port->n_uni++;
	}
	while (port->n_multi < min_t(u16, f->n_multi, VNIC_FILTERS)) {
		port->multi[port->n_multi] = vnic_mac(f->multi[port->n_multi]);
		port->n_multi++;
	}
	bitmap_copy(port->vlans, f->vlans, VLAN_N_VID);
	clear_bit(0, port->vlans);
	clear_bit(VNIC_TRUNK, port->vlans);
	port->trunk = !bitmap_empty(port->vlans, VLAN_N_VID);
	return port;
}

/*
 * A table with @new (or NULL) in the place of @old (or NULL). Taking a port out does not fail. The ports are the caller's.
 */
static int replace(struct vnic_uplink *up, struct vnic_port *old, struct vnic_port *new)
{
	const gfp_t gfp = new ? GFP_KERNEL : GFP_KERNEL | __GFP_NOFAIL;
	struct vnic_sort *cur, *sort;
	struct vnic_port **ports;
	u32 n = 0;
	int err = -ENOMEM;

	mutex_lock(&sort_mutex);
	cur = rcu_dereference_protected(up->sort, lockdep_is_held(&sort_mutex));
	ports = kvmalloc_array(cur->n + 1, sizeof(*ports), gfp);
	if (!ports)
		goto out;
	for (u32 i = 0; i < cur->n; i++) {
		if (cur->port[i] == old)
			continue;
		if (new && vnic_port_conflict(cur->port[i], new)) {
			err = -EADDRINUSE;
			goto out;
		}
		ports[n++] = cur->port[i];
	}
	if (new)
		ports[n++] = new;
	sort = vnic_sort_new(ports, n, get_random_u64(), gfp);
	if (!sort)
		goto out;
	rcu_assign_pointer(up->sort, sort);
	put_table(cur);
	err = 0;
out:
	mutex_unlock(&sort_mutex);
	kvfree(ports);
	return err;
}

static int take_place(struct vnic_dev *d)
{
	struct vnic_port *old = rcu_dereference_protected(d->port, lockdep_is_held(&d->lock));
	struct vnic_port *port;
	int err;

	port = port_new(d);
	if (!port)
		return -ENOMEM;
	err = replace(d->up, old, port);
	if (err) {
		kfree(port);
		return err;
	}
	rcu_assign_pointer(d->port, port);
	if (old) {
		kfree_rcu(old, rcu);
		vnic_nic_update(d->up);
	} else {
		vnic_nic_update_now(d->up);
	}
	return 0;
}

/**
 * vnic_port_up() - take a device into the switch
 * @d: its running queues run from here on; dev->lock held
 *
 * Also where the netdev has gone: what the device sends is taken and dropped, or its guest's stack would wait for good.
 * Return: 0, -EADDRINUSE, -ENOMEM.
 */
int vnic_port_up(struct vnic_dev *d)
{
	int err;

	lockdep_assert_held(&d->lock);
	memset(d->flow_pair, 0, sizeof(d->flow_pair));
	err = take_place(d);
	if (!err)
		vnic_tx_open(d);
	return err;
}

/**
 * vnic_port_update() - policy, filter, offloads or link changed
 * @d: in the switch; dev->lock held
 *
 * Return: as vnic_port_up(); on an error the old state stays in force.
 */
int vnic_port_update(struct vnic_dev *d)
{
	lockdep_assert_held(&d->lock);
	if (WARN_ON_ONCE(!rcu_access_pointer(d->port)))
		return -EINVAL;
	return take_place(d);
}

/**
 * vnic_port_down() - out of the switch
 * @d: dev->lock held. May not have been in it
 *
 * When it returns no softirq is at its queues any more. Zero-copy frames may still be with the NIC.
 */
void vnic_port_down(struct vnic_dev *d)
{
	struct vnic_port *port = rcu_dereference_protected(d->port, lockdep_is_held(&d->lock));

	lockdep_assert_held(&d->lock);
	if (!port)
		return;
	replace(d->up, port, NULL);
	/* Waits for all that look at the old table, then for the scheduler; what is in the bins by then goes out or is dropped. */
	vnic_tx_close(d);
	vnic_rx_settle(d);
	RCU_INIT_POINTER(d->port, NULL);
	kfree_rcu(port, rcu);
	vnic_nic_update(d->up);
}

/**
 * vnic_vq_open() - a transmit queue's ring was set up
 * @vq: nobody uses it yet; dev->lock held
 *
 * Where memory is short its frames are copied.
 */
void vnic_vq_open(struct vnic_vq *vq)
{
	vnic_zc_open(vq);
}

/**
 * vnic_vq_drain() - wait until the NIC has sent every zero-copy frame of a queue
 * @vq: runs no more; dev->lock held
 * @ms: how long
 *
 * Return: 0: all buffers are back in the ring; -ETIMEDOUT: some are not.
 */
int vnic_vq_drain(struct vnic_vq *vq, unsigned int ms)
{
	const unsigned long deadline = jiffies + msecs_to_jiffies(ms);
	bool busy;

	for (;;) {
		spin_lock_bh(&vq->lock);
		if (vnic_zc_reap(vq) && vnic_ring_publish(&vq->ring))
			vnic_vq_interrupt(vq);
		busy = vnic_zc_busy(vq);
		spin_unlock_bh(&vq->lock);
		if (!busy)
			return 0;
		if (time_after(jiffies, deadline))
			return -ETIMEDOUT;
		usleep_range(200, 1000);
	}
}

/**
 * vnic_vq_abandon() - forget a queue's frames in flight: their completions touch no ring any more
 * @vq: runs no more; dev->lock held
 */
void vnic_vq_abandon(struct vnic_vq *vq)
{
	if (!vq->zc)
		return;
	vnic_zc_abandon(vq);
	/* A completion that saw the queue alive may still be about to wake its device. */
	synchronize_net();
}

/** vnic_port_drain() - vnic_vq_drain() for all transmit queues, within @ms in all */
int vnic_port_drain(struct vnic_dev *d, unsigned int ms)
{
	const unsigned long deadline = jiffies + msecs_to_jiffies(ms);

	for (u16 i = 1; i < 2 * d->pairs_max; i += 2) {
		unsigned long now = jiffies;
		int err = vnic_vq_drain(&d->vq[i], time_before(now, deadline) ? jiffies_to_msecs(deadline - now) : 0);

		if (err)
			return err;
	}
	return 0;
}

/** vnic_port_abandon() - vnic_vq_abandon() for all transmit queues */
void vnic_port_abandon(struct vnic_dev *d)
{
	bool any = false;

	for (u16 i = 1; i < 2 * d->pairs_max; i += 2) {
		any |= !!d->vq[i].zc;
		vnic_zc_abandon(&d->vq[i]);
	}
	if (any)
		synchronize_net();
}

/* ---- announcements ---- */

#define ANNOUNCE_VLANS 64 /* of a port that tags: a whole range of them is not worth a storm */

static void announce_in(struct vnic_uplink *up, struct net_device *netdev, const u8 *mac, u16 vid)
{
	struct sk_buff *skb, *copy;

	skb = arp_create(ARPOP_RREQUEST, ETH_P_RARP, 0, netdev, 0, NULL, mac, mac);
	if (!skb)
		return;
	skb_reset_mac_header(skb);
	if (vid)
		__vlan_hwaccel_put_tag(skb, htons(ETH_P_8021Q), vid);
	/* A bridge above the uplink learns it too. Neighbours hear it by the egress hook, the device itself does not. */
	copy = skb_copy(skb, GFP_ATOMIC);
	if (copy)
		vnic_wire_to_stack(up, netdev, copy);
	dev_queue_xmit(skb);
}

void vnic_port_announce(struct vnic_dev *d)
{
	const struct vnic_port *port;
	struct net_device *netdev;
	u8 mac[ETH_ALEN];
	int n = 0, vid;

	local_bh_disable();
	rcu_read_lock();
	port = rcu_dereference(d->port);
	netdev = rcu_dereference(d->up->netdev);
	if (!port || !netdev || !port->link || !netif_running(netdev) || !netif_carrier_ok(netdev))
		goto out;
	vnic_mac_bytes(port->mac, mac);
	announce_in(d->up, netdev, mac, port->vlan);
	if (port->trunk)
		for_each_set_bit(vid, port->vlans, VLAN_N_VID) {
			if (vid == port->vlan)
				continue;
			if (n++ == ANNOUNCE_VLANS)
				break;
			announce_in(d->up, netdev, mac, vid);
		}
out:
	rcu_read_unlock();
	local_bh_enable();
}

int vnic_sort_init(struct vnic_uplink *up)
{
	struct vnic_sort *sort = vnic_sort_new(NULL, 0, get_random_u64(), GFP_KERNEL);

	up->stations = kvzalloc(sizeof(*up->stations), GFP_KERNEL);
	if (!sort || !up->stations) {
		kvfree(sort);
		kvfree(up->stations);
		up->stations = NULL;
		return -ENOMEM;
	}
	up->stations->mul = get_random_u64() | 1;
	up->stations->age = VNIC_STATION_AGE;
	RCU_INIT_POINTER(up->sort, sort);
	return 0;
}

/* Nobody looks at it any more. */
void vnic_sort_exit(struct vnic_uplink *up)
{
	kvfree(rcu_dereference_protected(up->sort, true));
	kvfree(up->stations);
}
