// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest asks of its device through the control queue, granted or refused as the host's policy says: the mailbox of
 * the VMDq agency. A refusal is answered with VIRTIO_NET_ERR and counted, with the MAC asked, for the host to see.
 *
 * Commands are carried out in a work item, under dev->lock; rtnl is never taken: the driver may hold it while it waits.
 */
#include <linux/rtnetlink.h>

#include "vnic.h"

#define F(name) BIT_ULL(VIRTIO_NET_F_##name)

/* Commands of one run of the work item: others want the lock, too. */
#define VNIC_CTRL_BURST 64
/*
 * Each may make a new sorting table, in a thread of the host's. So many are done in this time; the next ones stay in the ring
 * until it is over.
 */
#define VNIC_CTRL_MAX 100
#define VNIC_CTRL_TIME (HZ / 10)

static struct vnic_filter *vnic_filter(struct vnic_dev *d)
{
	return rcu_dereference_protected(d->filter, lockdep_is_held(&d->lock));
}

/* A copy of the filter in force, to be changed and handed to vnic_filter_set(). */
static struct vnic_filter *vnic_filter_copy(struct vnic_dev *d)
{
	return kmemdup(vnic_filter(d), sizeof(struct vnic_filter), GFP_KERNEL);
}

/* Put @new in force, which is taken or, where the uplink refuses it, freed. */
static int vnic_filter_set(struct vnic_dev *d, struct vnic_filter *new)
{
	struct vnic_filter *old = vnic_filter(d);
	int err = 0;

	rcu_assign_pointer(d->filter, new);
	if (d->port_up)
		err = vnic_port_update(d);
	if (err) {
		rcu_assign_pointer(d->filter, old);
		old = new;
	}
	kfree_rcu(old, rcu);
	return err;
}

void vnic_filter_reset(struct vnic_dev *d)
{
	struct vnic_filter *f = vnic_filter(d);

	/* Out of the table: nobody else reads it. */
	lockdep_assert_held(&d->lock);
	WARN_ON_ONCE(d->port_up);
	memset(f, 0, sizeof(*f));
	ether_addr_copy(f->mac, d->policy.mac);
	/* A driver that cannot choose gets all that it may. */
	f->promisc = d->policy.allow & VNIC_ALLOW_PROMISC && !(d->features & F(CTRL_RX));
	f->allmulti = !(d->policy.allow & VNIC_ALLOW_MULTICAST) || !(d->features & F(CTRL_RX));
	if (d->policy.allow & VNIC_ALLOW_VLAN && !(d->features & F(CTRL_VLAN)))
		bitmap_copy(f->vlans, d->allowed_vlans, VLAN_N_VID);
}

/**
 * vnic_policy_changed() - the host changed what its guest may
 * @d: dev->lock held
 *
 * Takes back from the guest what it may have no more.
 * Return: 0, or an error; what was in force still is, the policy is the caller's to restore.
 */
int vnic_policy_changed(struct vnic_dev *d)
{
	struct vnic_filter *f = vnic_filter_copy(d);
	u32 allow = d->policy.allow;
	int err;

	lockdep_assert_held(&d->lock);
	if (!f)
		return -ENOMEM;
	if (!(allow & VNIC_ALLOW_PROMISC))
		f->promisc = f->alluni = false;
	if (!(allow & VNIC_ALLOW_MAC)) {
		ether_addr_copy(f->mac, d->policy.mac);
		f->n_uni = 0;
	}
	if (!(allow & VNIC_ALLOW_MULTICAST))
		f->allmulti = true;
	if (!(allow & VNIC_ALLOW_VLAN))
		bitmap_zero(f->vlans, VLAN_N_VID);
	else if (!(d->features & F(CTRL_VLAN)))
		bitmap_copy(f->vlans, d->allowed_vlans, VLAN_N_VID);
	else
		bitmap_and(f->vlans, f->vlans, d->allowed_vlans, VLAN_N_VID);
	err = vnic_filter_set(d, f);
	if (!err)
		vnic_config_update(d);
	return err;
}

/**
 * vnic_mac_of_host() - the uplink's own MAC, or its bridge's
 * @up: the uplink
 * @mac: the MAC
 *
 * Frames for it are the host's, whoever asks for it.
 */
bool vnic_mac_of_host(struct vnic_uplink *up, const u8 *mac)
{
	struct net_device *netdev, *master;
	bool own = false;

	rcu_read_lock();
	netdev = rcu_dereference(up->netdev);
	if (netdev) {
		master = netdev_master_upper_dev_get_rcu(netdev);
		own = ether_addr_equal(netdev->dev_addr, mac) || (master && ether_addr_equal(master->dev_addr, mac));
	}
	rcu_read_unlock();
	return own;
}

/**
 * vnic_dev_has_mac() - the host gave @mac to a device, or its guest was granted it
 * @d: takes dev->lock
 * @mac: the MAC
 */
bool vnic_dev_has_mac(struct vnic_dev *d, const u8 *mac)
{
	const struct vnic_filter *f;
	bool has;

	mutex_lock(&d->lock);
	f = vnic_filter(d);
	has = ether_addr_equal(mac, d->policy.mac) || ether_addr_equal(mac, f->mac);
	for (u16 i = 0; i < f->n_uni && !has; i++)
		has = ether_addr_equal(mac, f->uni[i]);
	mutex_unlock(&d->lock);
	return has;
}

/**
 * vnic_policy_set_mac() - the host gives a device its MAC
 * @d: dev->lock held
 * @mac: the MAC
 *
 * Return: 0, -EADDRNOTAVAIL: not one that a NIC can have, -EADDRINUSE: the host's own, -EBUSY: a driver runs, which would
 * not notice.
 */
int vnic_policy_set_mac(struct vnic_dev *d, const u8 *mac)
{
	lockdep_assert_held(&d->lock);
	if (!is_valid_ether_addr(mac))
		return -EADDRNOTAVAIL;
	if (d->status & VIRTIO_CONFIG_S_DRIVER_OK)
		return ether_addr_equal(mac, d->policy.mac) ? 0 : -EBUSY;
	if (vnic_mac_of_host(d->up, mac))
		return -EADDRINUSE;
	ether_addr_copy(d->policy.mac, mac);
	ether_addr_copy(vnic_filter(d)->mac, mac); /* not in the table: nobody reads it */
	vnic_config_update(d);
	return 0;
}

static u8 vnic_deny(struct vnic_dev *d, const u8 *mac)
{
	d->denied++;
	if (mac)
		ether_addr_copy(d->mac_asked, mac);
	return VIRTIO_NET_ERR;
}

/**
 * vnic_mac_ask() - the guest, or its emulator, asks for a MAC
 * @d: dev->lock held
 * @mac: the MAC
 *
 * Its own it may always have back. Return: VIRTIO_NET_OK or VIRTIO_NET_ERR.
 */
u8 vnic_mac_ask(struct vnic_dev *d, const u8 *mac)
{
	struct vnic_filter *f;

	lockdep_assert_held(&d->lock);
	if (ether_addr_equal(mac, vnic_filter(d)->mac))
		return VIRTIO_NET_OK;
	if (!is_valid_ether_addr(mac))
		return vnic_deny(d, mac);
	if (!ether_addr_equal(mac, d->policy.mac) &&
	    (!(d->policy.allow & VNIC_ALLOW_MAC) || vnic_mac_of_host(d->up, mac)))
		return vnic_deny(d, mac);
	f = vnic_filter_copy(d);
	if (!f)
		return VIRTIO_NET_ERR;
	ether_addr_copy(f->mac, mac);
	if (vnic_filter_set(d, f))
		return vnic_deny(d, mac); /* a neighbour's */
	vnic_config_update(d);
	if (d->port_up) {
		/* By the uplink's work item: a guest may ask as often as it likes. */
		WRITE_ONCE(d->announce_due, true);
		vnic_nic_update(d->up);
	}
	return VIRTIO_NET_OK;
}

/* ---- commands ---- */

struct vnic_cmd {
	const struct vnic_chain *chain;
	struct virtio_net_ctrl_hdr hdr;
	u32 len; /* of what follows the header */
};

static bool vnic_arg(const struct vnic_cmd *cmd, u32 off, void *to, u32 len)
{
	return vnic_seg_read(cmd->chain->seg, cmd->chain->nr, sizeof(cmd->hdr) + off, to, len) == len;
}

static u8 vnic_ctrl_rx(struct vnic_dev *d, const struct vnic_cmd *cmd)
{
	bool allmulti = d->policy.allow & VNIC_ALLOW_ALLMULTI || !(d->policy.allow & VNIC_ALLOW_MULTICAST);
	struct vnic_filter *f;
	u8 on;

	if (cmd->len < 1 || !vnic_arg(cmd, 0, &on, 1))
		return VIRTIO_NET_ERR;
	f = vnic_filter_copy(d);
	if (!f)
		return VIRTIO_NET_ERR;
	switch (cmd->hdr.cmd) {
	case VIRTIO_NET_CTRL_RX_PROMISC:
		if (on && !(d->policy.allow & VNIC_ALLOW_PROMISC))
			goto deny;
		f->promisc = on;
		break;
	case VIRTIO_NET_CTRL_RX_ALLMULTI:
		if (on && !allmulti)
			goto deny;
		/* Who may not choose its groups has all of them. */
		f->allmulti = on || !(d->policy.allow & VNIC_ALLOW_MULTICAST);
		break;
	case VIRTIO_NET_CTRL_RX_ALLUNI:
		if (on && !(d->policy.allow & VNIC_ALLOW_PROMISC))
			goto deny;
		f->alluni = on;
		break;
	/* To hear less every guest may ask for. */
	case VIRTIO_NET_CTRL_RX_NOMULTI:
		f->nomulti = on;
		break;
	case VIRTIO_NET_CTRL_RX_NOUNI:
		f->nouni = on;
		break;
	case VIRTIO_NET_CTRL_RX_NOBCAST:
		f->nobcast = on;
		break;
	default:
		kfree(f);
		return VIRTIO_NET_ERR;
	}
	return vnic_filter_set(d, f) ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
deny:
	kfree(f);
	return vnic_deny(d, NULL);
}

/* A table of the command at @off: how many entries it says to have. Negative: it is not all there. */
static int vnic_mac_table(const struct vnic_cmd *cmd, u32 off, u32 *ret_next)
{
	__le32 n;

	if (off > cmd->len || cmd->len - off < sizeof(n) || !vnic_arg(cmd, off, &n, sizeof(n)))
		return -EINVAL;
	off += sizeof(n);
	if (le32_to_cpu(n) > (cmd->len - off) / ETH_ALEN)
		return -EINVAL;
	*ret_next = off + le32_to_cpu(n) * ETH_ALEN;
	return le32_to_cpu(n);
}

/*
 * Both tables are taken as far as the class allows it: a guest that may not have more unicast addresses keeps its groups.
 * Where something of it was refused, the answer says so.
 */
static u8 vnic_ctrl_mac_table(struct vnic_dev *d, const struct vnic_cmd *cmd)
{
	u32 allow = d->policy.allow, uni_at = 0, multi_at, end, i, keep;
	int uni = vnic_mac_table(cmd, uni_at, &multi_at), multi;
	struct vnic_filter *f;
	bool denied = false;
	u8 mac[ETH_ALEN];

	if (uni < 0)
		return VIRTIO_NET_ERR;
	multi = vnic_mac_table(cmd, multi_at, &end);
	if (multi < 0)
		return VIRTIO_NET_ERR;
	f = vnic_filter_copy(d);
	if (!f)
		return VIRTIO_NET_ERR;
	f->n_uni = 0;
	f->n_multi = 0;

	for (i = 0, keep = min(uni, VNIC_FILTERS); i < keep; i++) {
		if (!vnic_arg(cmd, uni_at + sizeof(__le32) + i * ETH_ALEN, mac, ETH_ALEN))
			goto bad;
		if (ether_addr_equal(mac, f->mac) || f->promisc)
			continue;
		if (!is_valid_ether_addr(mac) || !(allow & VNIC_ALLOW_MAC) || vnic_mac_of_host(d->up, mac)) {
			ether_addr_copy(d->mac_asked, mac);
			denied = true;
			continue;
		}
		ether_addr_copy(f->uni[f->n_uni++], mac);
	}
	if (uni > VNIC_FILTERS && !f->promisc) {
		if (allow & VNIC_ALLOW_PROMISC)
			f->promisc = true;
		else
			denied = true;
	}
	for (i = 0, keep = min(multi, VNIC_FILTERS); i < keep; i++) {
		if (!vnic_arg(cmd, multi_at + sizeof(__le32) + i * ETH_ALEN, mac, ETH_ALEN))
			goto bad;
		/* No group: the NIC would be told to take in a station's frames, which no class allows this way. */
		if (!is_multicast_ether_addr(mac)) {
			ether_addr_copy(d->mac_asked, mac);
			denied = true;
			continue;
		}
		ether_addr_copy(f->multi[f->n_multi++], mac);
	}
	if (multi > VNIC_FILTERS && !f->allmulti) {
		if (allow & VNIC_ALLOW_ALLMULTI)
			f->allmulti = true;
		else
			denied = true;
	}
	if (vnic_filter_set(d, f))
		denied = true; /* a neighbour's address among them: nothing was taken */
	return denied ? vnic_deny(d, NULL) : VIRTIO_NET_OK;
bad:
	kfree(f);
	return VIRTIO_NET_ERR;
}

static u8 vnic_ctrl_vlan(struct vnic_dev *d, const struct vnic_cmd *cmd)
{
	struct vnic_filter *f;
	__le16 arg;
	u16 id;

	if (!vnic_arg(cmd, 0, &arg, sizeof(arg)))
		return VIRTIO_NET_ERR;
	id = le16_to_cpu(arg);
	if (id >= VLAN_N_VID)
		return VIRTIO_NET_ERR;
	if (!id)
		return VIRTIO_NET_OK; /* priority tags: Linux asks for them on every NIC */
	if (cmd->hdr.cmd == VIRTIO_NET_CTRL_VLAN_ADD &&
	    (!(d->policy.allow & VNIC_ALLOW_VLAN) || !test_bit(id, d->allowed_vlans)))
		return vnic_deny(d, NULL);
	f = vnic_filter_copy(d);
	if (!f)
		return VIRTIO_NET_ERR;
	if (cmd->hdr.cmd == VIRTIO_NET_CTRL_VLAN_ADD)
		__set_bit(id, f->vlans);
	else
		__clear_bit(id, f->vlans);
	return vnic_filter_set(d, f) ? vnic_deny(d, NULL) : VIRTIO_NET_OK;
}

static u8 vnic_ctrl_mac_addr(struct vnic_dev *d, const struct vnic_cmd *cmd)
{
	u8 mac[ETH_ALEN];

	return vnic_arg(cmd, 0, mac, ETH_ALEN) ? vnic_mac_ask(d, mac) : VIRTIO_NET_ERR;
}

static u8 vnic_ctrl_announce_ack(struct vnic_dev *d, const struct vnic_cmd *cmd)
{
	vnic_config_announced(d);
	return VIRTIO_NET_OK;
}

static u8 vnic_ctrl_mq(struct vnic_dev *d, const struct vnic_cmd *cmd)
{
	u16 pairs, was = d->pairs, i;
	__le16 arg;
	int err = 0;

	if (!vnic_arg(cmd, 0, &arg, sizeof(arg)))
		return VIRTIO_NET_ERR;
	pairs = le16_to_cpu(arg);
	if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > d->pairs_max)
		return VIRTIO_NET_ERR;
	WRITE_ONCE(d->pairs, pairs);
	for (i = 0; i < vnic_data_vqs(d) && !err; i++)
		err = vnic_vq_start(&d->vq[i]);
	if (!err && d->port_up)
		err = vnic_port_update(d);
	if (err) {
		WRITE_ONCE(d->pairs, was);
		for (i = 0; i < vnic_data_vqs(d); i++)
			vnic_vq_start(&d->vq[i]);
		return VIRTIO_NET_ERR;
	}
	for (i = 0; i < 2 * pairs; i++)
		vnic_vq_kick(&d->vq[i]);
	return VIRTIO_NET_OK;
}

static u8 vnic_ctrl_offloads(struct vnic_dev *d, const struct vnic_cmd *cmd)
{
	__le64 arg;
	u64 was;

	if (!vnic_arg(cmd, 0, &arg, sizeof(arg)) || le64_to_cpu(arg) & ~vnic_dev_offloads(d->features))
		return VIRTIO_NET_ERR;
	was = d->guest_offloads;
	WRITE_ONCE(d->guest_offloads, le64_to_cpu(arg));
	if (d->port_up && vnic_port_update(d) == -ENOMEM) {
		WRITE_ONCE(d->guest_offloads, was);
		return VIRTIO_NET_ERR;
	}
	return VIRTIO_NET_OK;
}

static const struct {
	u8 class, cmd;
	u64 feature;
	u8 (*run)(struct vnic_dev *d, const struct vnic_cmd *cmd);
} vnic_cmds[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, F(CTRL_RX), vnic_ctrl_rx },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, F(CTRL_RX), vnic_ctrl_rx },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, F(CTRL_RX_EXTRA), vnic_ctrl_rx },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, F(CTRL_RX_EXTRA), vnic_ctrl_rx },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, F(CTRL_RX_EXTRA), vnic_ctrl_rx },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, F(CTRL_RX_EXTRA), vnic_ctrl_rx },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, F(CTRL_RX), vnic_ctrl_mac_table },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, F(CTRL_MAC_ADDR), vnic_ctrl_mac_addr },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, F(CTRL_VLAN), vnic_ctrl_vlan },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, F(CTRL_VLAN), vnic_ctrl_vlan },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, F(GUEST_ANNOUNCE), vnic_ctrl_announce_ack },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, F(MQ), vnic_ctrl_mq },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, F(CTRL_GUEST_OFFLOADS), vnic_ctrl_offloads },
};

static u8 vnic_ctrl_command(struct vnic_dev *d, const struct vnic_chain *chain)
{
	struct vnic_cmd cmd = { .chain = chain };
	unsigned int i;

	if (chain->rlen < sizeof(cmd.hdr) ||
	    vnic_seg_read(chain->seg, chain->nr, 0, &cmd.hdr, sizeof(cmd.hdr)) != sizeof(cmd.hdr))
		return VIRTIO_NET_ERR;
	cmd.len = chain->rlen - sizeof(cmd.hdr);
	for (i = 0; i < ARRAY_SIZE(vnic_cmds); i++)
		if (cmd.hdr.class == vnic_cmds[i].class && cmd.hdr.cmd == vnic_cmds[i].cmd)
			return d->features & vnic_cmds[i].feature ? vnic_cmds[i].run(d, &cmd) : VIRTIO_NET_ERR;
	return VIRTIO_NET_ERR;
}

/* The next command; false: there is none, or the ring is broken. */
static bool vnic_ctrl_pull(struct vnic_vq *vq, struct vnic_chain *chain)
{
	struct vnic_ring *ring = &vq->ring;
	int r = 0;

	spin_lock_bh(&vq->lock);
	if (vq->running)
		r = vnic_ring_pull(ring, chain);
	if (r < 0)
		vnic_dev_broken(vq);
	else if (vq->running && !r && !vnic_ring_needs_poll(ring))
		queue_delayed_work(vnic_wq, &vq->dev->ctrl_work, 0); /* came in between; never to be chased under the lock */
	spin_unlock_bh(&vq->lock);
	return r > 0;
}

static void vnic_ctrl_push(struct vnic_vq *vq, struct vnic_chain *chain, u8 ack)
{
	struct vnic_ring *ring = &vq->ring;
	u32 len = vnic_seg_write(chain->seg + chain->nr, chain->nw, 0, &ack, sizeof(ack));

	spin_lock_bh(&vq->lock);
	vq->stats.frames++;
	vnic_ring_push(ring, chain->id, chain->slots, len);
	if (vnic_ring_publish(ring))
		vnic_vq_interrupt(vq);
	spin_unlock_bh(&vq->lock);
}

void vnic_ctrl_work(struct work_struct *work)
{
	struct vnic_dev *d = container_of(to_delayed_work(work), struct vnic_dev, ctrl_work);
	struct vnic_chain chain = { .seg = d->ctrl_seg };
	struct vnic_vq *vq;
	u16 limit, n;
	long left;

	mutex_lock(&d->lock);
	vq = &d->vq[vnic_data_vqs(d)];
	if (vq->running && vnic_vq_is_ctrl(vq)) {
		left = d->ctrl_until - jiffies;
		if (left <= 0) {
			left = VNIC_CTRL_TIME;
			d->ctrl_until = jiffies + left;
			d->ctrl_left = VNIC_CTRL_MAX;
		}
		limit = min(VNIC_CTRL_BURST, d->ctrl_left);
		for (n = 0; n < limit && vnic_ctrl_pull(vq, &chain); n++)
			vnic_ctrl_push(vq, &chain, vnic_ctrl_command(d, &chain));
		d->ctrl_left -= n;
		/* A kick that came meanwhile has it run at once, and find that it is too early. */
		if (n == limit)
			queue_delayed_work(vnic_wq, &d->ctrl_work, d->ctrl_left ? 0 : left);
	}
	mutex_unlock(&d->lock);
}
