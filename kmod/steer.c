// SPDX-License-Identifier: GPL-2.0
/*
 * Which of the NIC's queues receives a device's frames: a rule of the NIC's classifier (ethtool's ntuple) for its MAC, where the
 * NIC has such rules. Then one CPU has all frames of a device, which is what lets it take them in batches; and no other's wait
 * before them. Nothing depends on it: what is not steered comes from any queue.
 *
 * Rules are the NIC's, and others make some, too. So each of ours is looked at before it is taken back, and nobody else's is
 * touched. They are made as ethtool's command would make them: at the place that the NIC chooses where it does, else at the
 * last free one, where an administrator's own come first.
 *
 * A NIC that refuses a rule is not asked for it again until something has changed: it may tell the log each time.
 */
#include <linux/ethtool.h>
#include <linux/pm_runtime.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "switch.h"

#define PLACES_MAX 65536 /* of the NIC's table: as many of the last ones are looked at */

/* Errors of our own, beyond the kernel's. */
enum {
	STEER_NOT_UP = -5000, /* 0 would be a queue */
	STEER_SEVERAL,
	STEER_NO_RULES,
	STEER_OFF,
	STEER_ONE_QUEUE,
};

void vnic_steer_init(struct vnic_dev *d)
{
	d->steer.queue = STEER_NOT_UP;
}

/**
 * vnic_steer_show() - which queue of the NIC receives a device's frames, or why any
 * @d: the device
 * @buf: of a page
 *
 * Return: as sysfs_emit().
 */
ssize_t vnic_steer_show(struct vnic_dev *d, char *buf)
{
	const int queue = READ_ONCE(d->steer.queue);
	const char *why;

	if (queue >= 0)
		return sysfs_emit(buf, "%d\n", queue);
	switch (queue) {
	case STEER_NOT_UP:
		why = "the device does not run";
		break;
	case STEER_SEVERAL:
		why = "several queue pairs are in use: the NIC spreads their frames";
		break;
	case STEER_NO_RULES:
		why = "the NIC has no rules for it";
		break;
	case STEER_OFF:
		why = "ntuple-filters are off: ethtool -K NETDEV ntuple on";
		break;
	case STEER_ONE_QUEUE:
		why = "the NIC has one receive queue";
		break;
	case -ENOSPC:
		why = "the NIC has no room for another rule";
		break;
	default:
		return sysfs_emit(buf, "any: the NIC refuses the rule: error %d\n", -queue);
	}
	return sysfs_emit(buf, "any: %s\n", why);
}

/* ---- the NIC's rules. As ethtool's ioctl() calls them: the netdev present, awake and begun ---- */

static int begin(struct net_device *netdev)
{
	const struct ethtool_ops *ops = netdev->ethtool_ops;
	int err = -ENODEV;

	if (netdev->dev.parent)
		pm_runtime_get_sync(netdev->dev.parent);
	if (netif_device_present(netdev))
		err = ops->begin ? ops->begin(netdev) : 0;
	if (err && netdev->dev.parent)
		pm_runtime_put(netdev->dev.parent);
	return err;
}

static void end(struct net_device *netdev)
{
	if (netdev->ethtool_ops->complete)
		netdev->ethtool_ops->complete(netdev);
	if (netdev->dev.parent)
		pm_runtime_put(netdev->dev.parent);
}

/* True: the rule at our place is the one that we made. */
static bool is_ours(struct net_device *netdev, const struct vnic_steer *s)
{
	struct ethtool_rxnfc info = { .cmd = ETHTOOL_GRXCLSRULE, .fs.location = s->place };
	u8 mac[ETH_ALEN];

	if (netdev->ethtool_ops->get_rxnfc(netdev, &info, NULL))
		return false;
	vnic_mac_bytes(s->mac, mac);
	return (info.fs.flow_type & ~(FLOW_EXT | FLOW_MAC_EXT)) == ETHER_FLOW && info.fs.ring_cookie == s->queue &&
	       ether_addr_equal(info.fs.h_u.ether_spec.h_dest, mac);
}

/* A place for a new rule. */
static int find_place(struct net_device *netdev, u32 *ret_place)
{
	const struct ethtool_ops *ops = netdev->ethtool_ops;
	struct ethtool_rxnfc count = { .cmd = ETHTOOL_GRXCLSRLCNT }, all = { .cmd = ETHTOOL_GRXCLSRLALL };
	u32 *taken, size, first, place;
	unsigned long *map;
	int err = ops->get_rxnfc(netdev, &count, NULL);

	if (err)
		return err;
	if (count.data & RX_CLS_LOC_SPECIAL) {
		*ret_place = RX_CLS_LOC_ANY;
		return 0;
	}
	taken = kvcalloc(count.rule_cnt + 1, sizeof(*taken), GFP_KERNEL);
	map = bitmap_zalloc(PLACES_MAX, GFP_KERNEL);
	if (!taken || !map) {
		err = -ENOMEM;
		goto out;
	}
	all.rule_cnt = count.rule_cnt;
	err = ops->get_rxnfc(netdev, &all, taken);
	if (err < 0)
		goto out;
	err = -ENOSPC;
	size = all.data ?: count.data;
	first = size > PLACES_MAX ? size - PLACES_MAX : 0;
	for (u32 i = 0; i < min(all.rule_cnt, count.rule_cnt); i++)
		if (taken[i] >= first && taken[i] < size)
			set_bit(taken[i] - first, map);
	for (place = size; place-- > first;)
		if (!test_bit(place - first, map)) {
			*ret_place = place;
			err = 0;
			break;
		}
out:
	bitmap_free(map);
	kvfree(taken);
	return err;
}

static int add_rule(struct net_device *netdev, struct vnic_steer *s, u32 queue, u16 vid)
{
	struct ethtool_rxnfc info = { .cmd = ETHTOOL_SRXCLSRLINS };
	struct ethtool_rx_flow_spec *fs = &info.fs;
	u8 mac[ETH_ALEN];
	int err = find_place(netdev, &fs->location);

	if (err)
		return err;
	vnic_mac_bytes(s->mac, mac);
	fs->flow_type = ETHER_FLOW;
	fs->ring_cookie = queue;
	ether_addr_copy(fs->h_u.ether_spec.h_dest, mac);
	eth_broadcast_addr(fs->m_u.ether_spec.h_dest);
	if (vid) {
		fs->flow_type |= FLOW_EXT;
		fs->h_ext.vlan_tci = htons(vid);
		fs->m_ext.vlan_tci = htons(VLAN_VID_MASK);
	}
	err = netdev->ethtool_ops->set_rxnfc(netdev, &info);
	if (err)
		return err < 0 ? err : -EIO;
	if (fs->location & RX_CLS_LOC_SPECIAL) {
		netdev_warn(netdev, "vnic: the driver does not say where it put the rule for %pM\n", mac);
		return -EIO;
	}
	s->place = fs->location;
	return 0;
}

static void del_rule(struct net_device *netdev, const struct vnic_steer *s)
{
	struct ethtool_rxnfc info = { .cmd = ETHTOOL_SRXCLSRLDEL, .fs.location = s->place };
	int err;

	if (!is_ours(netdev, s))
		return;
	err = netdev->ethtool_ops->set_rxnfc(netdev, &info);
	if (err)
		netdev_warn(netdev, "vnic: rule %u cannot be taken back: %d\n", s->place, err);
}

/* ---- what is wanted ---- */

/* What the rule for @d would match. False: there is to be none, with why. */
static bool wanted(struct vnic_dev *d, u64 *mac, u16 *vid, int *why)
{
	const struct vnic_port *port;

	*why = STEER_NOT_UP;
	rcu_read_lock();
	port = rcu_dereference(d->port);
	if (port) {
		*mac = port->mac;
		/* Who tags has frames in many VLANs. */
		*vid = port->trunk ? 0 : port->vlan;
		*why = READ_ONCE(d->pairs) > 1 ? STEER_SEVERAL : 0;
	}
	rcu_read_unlock();
	return !*why;
}

/* Why the NIC steers nothing; 0: it does. */
static int cannot(const struct net_device *netdev)
{
	const struct ethtool_ops *ops = netdev->ethtool_ops;

	if (!ops || !ops->set_rxnfc || !ops->get_rxnfc)
		return STEER_NO_RULES;
	if (!(netdev->features & NETIF_F_NTUPLE))
		return netdev->hw_features & NETIF_F_NTUPLE ? STEER_OFF : STEER_NO_RULES;
	return netdev->real_num_rx_queues > 1 ? 0 : STEER_ONE_QUEUE;
}

static void unmake(struct net_device *netdev, struct vnic_steer *s, int why)
{
	if (s->made) {
		del_rule(netdev, s);
		s->made = false;
		s->last = s->queue;
	}
	WRITE_ONCE(s->queue, why);
}

/* Where the fewest devices are; the first is last, since all that the NIC knows no queue for comes there. */
static u32 choose(const u32 *load, u32 queues, const struct vnic_steer *s)
{
	u32 best = queues - 1;

	/* One that was steered before stays where it was. */
	if (s->steered && s->last < queues)
		return s->last;
	for (u32 i = 1; i < queues; i++)
		if (load[i] < load[best] || (load[i] == load[best] && i < best))
			best = i;
	return load[0] < load[best] ? 0 : best;
}

static void make(struct net_device *netdev, struct vnic_steer *s, u64 mac, u16 vid, u32 *load)
{
	const u32 queue = choose(load, netdev->real_num_rx_queues, s);
	int err;

	s->mac = mac;
	s->vid = vid;
	s->tried = true;
	err = add_rule(netdev, s, queue, vid);
	/* Not every classifier knows VLANs. The MAC alone is enough, but where another has it in another VLAN. */
	if (vid && (err == -EINVAL || err == -EOPNOTSUPP || err == -ENOTSUPP))
		err = add_rule(netdev, s, queue, 0);
	WRITE_ONCE(s->queue, err ?: (int)queue);
	if (err)
		return;
	s->made = s->steered = true;
	s->last = queue;
	load[queue]++;
}

/* The rules that are there no more, or are to be others. */
static void unmake_some(struct vnic_uplink *up, struct net_device *netdev, bool look, u32 *load)
{
	const u32 queues = netdev->real_num_rx_queues;
	bool room = false;
	struct vnic_dev *d;

	list_for_each_entry(d, &up->devs, node) {
		struct vnic_steer *s = &d->steer;
		int why;
		u64 mac;
		u16 vid;

		if (!wanted(d, &mac, &vid, &why)) {
			room |= s->made;
			unmake(netdev, s, why);
			s->tried = false;
		} else if (mac != s->mac || vid != s->vid || (s->made && (s->queue >= queues || (look && !is_ours(netdev, s))))) {
			room |= s->made;
			unmake(netdev, s, STEER_NOT_UP);
			s->tried = false;
		}
		if (s->made)
			load[s->queue]++;
	}
	if (room || look)
		list_for_each_entry(d, &up->devs, node)
			d->steer.tried = false;
}

/**
 * vnic_steer() - bring the NIC's rules up to date
 * @up: whose devices
 * @netdev: its netdev; rtnl held
 */
void vnic_steer(struct vnic_uplink *up, struct net_device *netdev)
{
	const bool look = up->steer_anew;
	int why = cannot(netdev);
	u32 *load = NULL;
	struct vnic_dev *d;

	ASSERT_RTNL();
	up->steer_anew = false;
	if (!why) {
		load = kcalloc(netdev->real_num_rx_queues, sizeof(*load), GFP_KERNEL);
		why = load ? begin(netdev) : -ENOMEM;
	}
	if (why) {
		/* What the driver did not drop itself is taken back as far as it lets us. */
		vnic_steer_forget(up, netdev, NULL, why);
		goto out;
	}
	unmake_some(up, netdev, look, load);
	list_for_each_entry(d, &up->devs, node) {
		u64 mac;
		u16 vid;

		if (!d->steer.made && !d->steer.tried && wanted(d, &mac, &vid, &why))
			make(netdev, &d->steer, mac, vid, load);
	}
	end(netdev);
out:
	kfree(load);
}

/**
 * vnic_steer_forget() - rules are taken back
 * @up: whose devices
 * @netdev: its netdev; NULL: it has gone, and the rules with it; rtnl held
 * @only: this device's rule alone; NULL: all
 * @why: what is shown for it
 */
void vnic_steer_forget(struct vnic_uplink *up, struct net_device *netdev, struct vnic_dev *only, int why)
{
	struct vnic_dev *d;
	bool begun = false, any = false;
	int none;
	u64 mac;
	u16 vid;

	ASSERT_RTNL();
	list_for_each_entry(d, &up->devs, node)
		any |= d->steer.made && (!only || d == only);
	if (any && netdev)
		begun = !begin(netdev);
	list_for_each_entry(d, &up->devs, node) {
		if (only && d != only)
			continue;
		if (!begun)
			d->steer.made = false;
		unmake(netdev, &d->steer, wanted(d, &mac, &vid, &none) ? why : none);
		d->steer.tried = false;
	}
	if (begun)
		end(netdev);
}
