// SPDX-License-Identifier: GPL-2.0
/*
 * A device's life: made, negotiated with, started, suspended, reset, deleted. Its queues are queue.c's.
 *
 * One mutex, vnic_dev.lock, orders all that is done to a device; nobody waits for rtnl or for a driver while holding it. The
 * driver may be this kernel's own (virtio_vdpa) and hold rtnl while it waits for our control queue.
 */
#include <linux/dma-mapping.h>
#include <linux/rtnetlink.h>
#include <uapi/linux/vhost_types.h>
#include <uapi/linux/virtio_ids.h>

#include "vnic.h"

#define F(name) BIT_ULL(VIRTIO_NET_F_##name)

#define VNIC_GUEST_OFFLOADS \
	(F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN) | F(GUEST_USO4) | F(GUEST_USO6))

const u64 vnic_features = BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) | BIT_ULL(VIRTIO_F_RING_PACKED) |
			  BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) | BIT_ULL(VIRTIO_RING_F_EVENT_IDX) | VNIC_GUEST_OFFLOADS |
			  F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(HOST_USO) | F(MRG_RXBUF) | F(MAC) |
			  F(STATUS) | F(MTU) | F(SPEED_DUPLEX) | F(MQ) | F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) |
			  F(CTRL_MAC_ADDR) | F(GUEST_ANNOUNCE) | F(CTRL_GUEST_OFFLOADS);

/* Without these there is no device: no legacy driver, and addresses are translated (or the DMA API's). */
#define VNIC_FEATURES_NEEDED (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM))

/* Of each: with any of @these goes one of @need at least (virtio 1.2, 5.1.3.1). */
static const struct {
	u64 these, need;
} vnic_needs[] = {
	{ F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_USO4) | F(GUEST_USO6), F(GUEST_CSUM) },
	{ F(GUEST_ECN), F(GUEST_TSO4) | F(GUEST_TSO6) },
	{ F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_USO), F(CSUM) },
	{ F(HOST_ECN), F(HOST_TSO4) | F(HOST_TSO6) },
	{ F(MQ) | F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR) | F(GUEST_ANNOUNCE) | F(CTRL_GUEST_OFFLOADS),
	  F(CTRL_VQ) },
};

static bool vnic_features_sound(u64 f)
{
	unsigned int i;

	if ((f & VNIC_FEATURES_NEEDED) != VNIC_FEATURES_NEEDED)
		return false;
	for (i = 0; i < ARRAY_SIZE(vnic_needs); i++)
		if (f & vnic_needs[i].these && !(f & vnic_needs[i].need))
			return false;
	return true;
}

bool vnic_dev_live(const struct vnic_dev *d)
{
	return d->status & VIRTIO_CONFIG_S_DRIVER_OK && !(d->status & VIRTIO_CONFIG_S_NEEDS_RESET) && !d->suspended;
}

/* ---- running ---- */

static void vnic_dev_pause(struct vnic_dev *d)
{
	u16 i;

	if (d->port_up) {
		vnic_port_down(d);
		d->port_up = false;
	}
	for (i = 0; i < d->nvqs; i++)
		vnic_vq_pause(&d->vq[i]);
}

/**
 * vnic_dev_fail() - the device cannot go on: it asks for a reset
 * @d: dev->lock held
 * @fmt: why
 */
void vnic_dev_fail(struct vnic_dev *d, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	lockdep_assert_held(&d->lock);
	va_start(args, fmt);
	vaf.va = &args;
	if (net_ratelimit())
		dev_warn(&d->vdpa.dev, "needs a reset: %pV\n", &vaf);
	va_end(args);
	vnic_dev_pause(d);
	WRITE_ONCE(d->status, d->status | VIRTIO_CONFIG_S_NEEDS_RESET);
	vnic_config_interrupt(d);
}

static void vnic_broken_work(struct work_struct *work)
{
	struct vnic_dev *d = container_of(work, struct vnic_dev, broken_work);
	u16 i;

	mutex_lock(&d->lock);
	for (i = 0; i < d->nvqs; i++)
		if (d->vq[i].set_up && d->vq[i].ring.broken) /* a reset may have come first */
			break;
	if (i < d->nvqs && !(d->status & VIRTIO_CONFIG_S_NEEDS_RESET))
		vnic_dev_fail(d, "queue %u: %s", i, d->vq[i].ring.broken);
	mutex_unlock(&d->lock);
}

void vnic_dev_broken(struct vnic_vq *vq)
{
	lockdep_assert_held(&vq->lock);
	WRITE_ONCE(vq->running, false);
	queue_work(vnic_wq, &vq->dev->broken_work);
}

/*
 * Take part in the uplink and let the queues run that are enabled. A device whose netdev is gone runs as well, without a
 * link. What fails is the caller's to report.
 */
static int vnic_dev_run(struct vnic_dev *d)
{
	int err;
	u16 i;

	for (i = 0; i < d->nvqs; i++) {
		err = vnic_vq_start(&d->vq[i]);
		if (err)
			return err;
	}
	err = vnic_port_up(d);
	if (err)
		return err;
	d->port_up = true;
	for (i = 0; i < d->nvqs; i++)
		if (d->vq[i].running)
			vnic_vq_kick(&d->vq[i]);
	vnic_port_announce(d);
	return 0;
}

static void vnic_dev_start(struct vnic_dev *d)
{
	int err;

	vnic_filter_reset(d); /* what it is by default follows from the features */
	err = vnic_dev_run(d);
	if (err == -EADDRINUSE)
		vnic_dev_fail(d, "another device of this uplink has its MAC and VLAN");
	else if (err)
		vnic_dev_fail(d, "cannot start: %d", err);
}

static int vnic_suspend(struct vdpa_device *vdpa)
{
	struct vnic_dev *d = vnic_of(vdpa);
	int err = 0;

	mutex_lock(&d->lock);
	if (!vnic_dev_live(d))
		goto out;
	vnic_dev_pause(d);
	err = vnic_port_drain(d, VNIC_DRAIN_MS);
	if (!err) {
		d->suspended = true;
	} else {
		int again = vnic_dev_run(d);

		if (again)
			vnic_dev_fail(d, "neither suspends nor goes on: %d", again);
	}
out:
	mutex_unlock(&d->lock);
	return err;
}

static int vnic_resume(struct vdpa_device *vdpa)
{
	struct vnic_dev *d = vnic_of(vdpa);
	int err = 0;

	mutex_lock(&d->lock);
	if (d->suspended) {
		d->suspended = false;
		if (vnic_dev_live(d))
			err = vnic_dev_run(d);
		if (err)
			vnic_dev_fail(d, "cannot resume: %d", err);
	}
	mutex_unlock(&d->lock);
	return err;
}

/* ---- features, status, reset ---- */

static u64 vnic_get_device_features(struct vdpa_device *vdpa)
{
	return vnic_of(vdpa)->offered;
}

static u64 vnic_get_backend_features(const struct vdpa_device *vdpa)
{
	return BIT_ULL(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK);
}

static int vnic_set_driver_features(struct vdpa_device *vdpa, u64 features)
{
	struct vnic_dev *d = vnic_of(vdpa);
	int err = 0;

	mutex_lock(&d->lock);
	if (d->status & VIRTIO_CONFIG_S_FEATURES_OK) {
		err = -EBUSY;
	} else if (features & ~d->offered || !vnic_features_sound(features)) {
		d->features = 0;
		err = -EINVAL;
	} else {
		d->features = features;
		WRITE_ONCE(d->guest_offloads, features & VNIC_GUEST_OFFLOADS);
	}
	mutex_unlock(&d->lock);
	return err;
}

static u64 vnic_get_driver_features(struct vdpa_device *vdpa)
{
	return vnic_of(vdpa)->features;
}

/** vnic_dev_offloads() - which offloads a driver may set that negotiated @features */
u64 vnic_dev_offloads(u64 features)
{
	return features & VNIC_GUEST_OFFLOADS;
}

static u8 vnic_get_status(struct vdpa_device *vdpa)
{
	return READ_ONCE(vnic_of(vdpa)->status);
}

static void vnic_do_reset(struct vnic_dev *d, u32 flags)
{
	unsigned int i;

	lockdep_assert_held(&d->lock);
	vnic_dev_pause(d);
	if (vnic_port_drain(d, VNIC_DRAIN_MS))
		dev_warn_ratelimited(&d->vdpa.dev, "frames are still with the NIC after %d ms: reset without them\n", VNIC_DRAIN_MS);
	vnic_port_abandon(d);
	for (i = 0; i < d->nvqs; i++)
		vnic_vq_reset(&d->vq[i]);
	memset(&d->config_cb, 0, sizeof(d->config_cb));
	memset(d->group_as, 0, sizeof(d->group_as));
	if (flags & VDPA_RESET_F_CLEAN_MAP)
		for (i = 0; i < ARRAY_SIZE(d->as); i++)
			vnic_drop_map(d, i);
	d->suspended = false;
	d->features = 0;
	d->guest_offloads = 0;
	d->pairs = 1;
	WRITE_ONCE(d->status, 0);
	vnic_filter_reset(d);
	d->generation++;
	vnic_config_reset(d);
	vnic_dev_unhold(d);
}

static int vnic_compat_reset(struct vdpa_device *vdpa, u32 flags)
{
	struct vnic_dev *d = vnic_of(vdpa);

	mutex_lock(&d->lock);
	vnic_do_reset(d, flags);
	mutex_unlock(&d->lock);
	return 0;
}

static int vnic_reset(struct vdpa_device *vdpa)
{
	return vnic_compat_reset(vdpa, 0);
}

static void vnic_set_status(struct vdpa_device *vdpa, u8 status)
{
	struct vnic_dev *d = vnic_of(vdpa);
	u8 new;

	mutex_lock(&d->lock);
	if (!status) {
		vnic_do_reset(d, 0);
		goto out;
	}
	if (vnic_status_used(status) && !vnic_dev_hold(d))
		goto out;
	/* That one is the device's to set: a driver that did would be left with queues that run in a device that does not. */
	status &= d->status | (u8)~VIRTIO_CONFIG_S_NEEDS_RESET;
	/* What cannot be accepted is not shown as set: that is how a driver finds out. */
	if (!vnic_features_sound(d->features))
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK))
		status &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	new = status & ~d->status;
	WRITE_ONCE(d->status, d->status | status);
	if (new & VIRTIO_CONFIG_S_DRIVER_OK && !(d->status & VIRTIO_CONFIG_S_NEEDS_RESET))
		vnic_dev_start(d);
out:
	mutex_unlock(&d->lock);
}

/* ---- what does not change ---- */

static struct vdpa_iova_range vnic_get_iova_range(struct vdpa_device *vdpa)
{
	return (struct vdpa_iova_range){ .first = 0, .last = U64_MAX };
}

static u32 vnic_get_vq_align(struct vdpa_device *vdpa)
{
	return SMP_CACHE_BYTES;
}

static u16 vnic_get_vq_num_max(struct vdpa_device *vdpa)
{
	return VNIC_RING_MAX;
}

static u16 vnic_get_vq_num_min(struct vdpa_device *vdpa)
{
	return VNIC_RING_MIN;
}

static u32 vnic_get_device_id(struct vdpa_device *vdpa)
{
	return VIRTIO_ID_NET;
}

static u32 vnic_get_vendor_id(struct vdpa_device *vdpa)
{
	return VNIC_VENDOR_ID;
}

static void vnic_free(struct vdpa_device *vdpa)
{
	struct vnic_dev *d = vnic_of(vdpa);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(d->as); i++)
		vnic_drop_map(d, i);
	vnic_mem_put(d->identity);
	kfree(rcu_dereference_protected(d->filter, true)); /* out of the table for a grace period and more */
	kvfree(d->ctrl_seg);
	kfree(d->name);
	mutex_destroy(&d->lock);
	put_device(&d->up->dev);
	vnic_object_freed();
}

static const struct vdpa_config_ops vnic_ops = {
	.set_vq_address = vnic_set_vq_address,
	.set_vq_num = vnic_set_vq_num,
	.kick_vq = vnic_kick_vq,
	.set_vq_cb = vnic_set_vq_cb,
	.set_vq_ready = vnic_set_vq_ready,
	.get_vq_ready = vnic_get_vq_ready,
	.set_vq_state = vnic_set_vq_state,
	.get_vq_state = vnic_get_vq_state,
	.get_vendor_vq_stats = vnic_get_vendor_vq_stats,
	.get_vq_size = vnic_get_vq_size,
	.get_vq_align = vnic_get_vq_align,
	.get_vq_group = vnic_get_vq_group,
	.get_device_features = vnic_get_device_features,
	.get_backend_features = vnic_get_backend_features,
	.set_driver_features = vnic_set_driver_features,
	.get_driver_features = vnic_get_driver_features,
	.set_config_cb = vnic_set_config_cb,
	.get_vq_num_max = vnic_get_vq_num_max,
	.get_vq_num_min = vnic_get_vq_num_min,
	.get_device_id = vnic_get_device_id,
	.get_vendor_id = vnic_get_vendor_id,
	.get_status = vnic_get_status,
	.set_status = vnic_set_status,
	.reset = vnic_reset,
	.compat_reset = vnic_compat_reset,
	.suspend = vnic_suspend,
	.resume = vnic_resume,
	.get_config_size = vnic_get_config_size,
	.get_config = vnic_get_config,
	.set_config = vnic_set_config,
	.get_generation = vnic_get_generation,
	.get_iova_range = vnic_get_iova_range,
	.set_map = vnic_set_map,
	.reset_map = vnic_reset_map,
	.set_group_asid = vnic_set_group_asid,
	.free = vnic_free,
};

/* ---- made and deleted ---- */

/* What a new device offers, of what was asked; 0: it cannot be. */
static u64 vnic_offer(const struct vdpa_dev_set_config *config, u16 pairs)
{
	u64 f = vnic_features;

	if (config->mask & BIT_ULL(VDPA_ATTR_DEV_FEATURES)) {
		f = config->device_features;
		if (f & ~vnic_features || !vnic_features_sound(f) || (pairs > 1 && !(f & F(MQ))))
			return 0;
	}
	return pairs > 1 ? f : f & ~F(MQ);
}

static int vnic_dev_init(struct vnic_dev *d, struct vnic_uplink *up, const char *name, const struct vdpa_dev_set_config *config)
{
	struct device *dev = &d->vdpa.dev;
	struct vnic_filter *filter;
	unsigned int i;

	/* First of all what vnic_free() looks at. */
	vnic_object_new();
	mutex_init(&d->lock);
	d->up = up;
	get_device(&up->dev);
	INIT_LIST_HEAD(&d->node);
	init_completion(&d->gone);
	INIT_DELAYED_WORK(&d->ctrl_work, vnic_ctrl_work);
	d->ctrl_until = jiffies;
	INIT_WORK(&d->broken_work, vnic_broken_work);

	d->nvqs = 2 * d->pairs_max + !!(d->offered & F(CTRL_VQ));
	d->pairs = 1;
	d->hdr_len = sizeof(struct virtio_net_hdr_v1);
	for (i = 0; i < VNIC_VQS_MAX; i++) {
		struct vnic_vq *vq = &d->vq[i];

		vq->dev = d;
		vq->index = i;
		vq->num = vnic_ring_size;
		spin_lock_init(&vq->lock);
	}
	d->policy = (struct vnic_policy){ .weight = 100, .link = true };
	if (config->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR))
		ether_addr_copy(d->policy.mac, config->net.mac);
	else
		eth_random_addr(d->policy.mac);
	if (config->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MTU))
		d->mtu_set = config->net.mtu;

	d->name = kstrdup(name, GFP_KERNEL);
	d->ctrl_seg = kvmalloc_array(VNIC_SEGS, sizeof(*d->ctrl_seg), GFP_KERNEL);
	filter = kzalloc(sizeof(*filter), GFP_KERNEL);
	RCU_INIT_POINTER(d->filter, filter);
	if (!d->name || !d->ctrl_seg || !filter)
		return -ENOMEM;
	mutex_lock(&d->lock);
	vnic_filter_reset(d);
	mutex_unlock(&d->lock);
	d->identity = vnic_mem_new(NULL, NULL);
	if (IS_ERR(d->identity)) {
		int err = PTR_ERR(d->identity);

		d->identity = NULL;
		return err;
	}
	dev->groups = vnic_dev_groups;
	dev->dma_mask = &dev->coherent_dma_mask;
	d->vdpa.dma_dev = dev;
	d->vdpa.mdev = &up->mgmt;
	return dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
}

/* Into, or out of, the uplink's list. In: with what the uplink is like at the moment. */
static int vnic_dev_list(struct vnic_dev *d, bool in)
{
	struct vnic_uplink *up = d->up;
	struct net_device *netdev;
	int err = 0;

	rtnl_lock();
	netdev = rtnl_dereference(up->netdev);
	if (in && !netdev) {
		err = -ENETDOWN;
	} else if (in && d->mtu_set > netdev->mtu) {
		err = -EINVAL;
	} else if (in && vnic_mac_of_host(up, d->policy.mac)) {
		/* vDPA gives dev_add nothing to say why with. */
		dev_warn(&up->dev, "%s: %pM is the uplink's own MAC, or its bridge's\n", d->name, d->policy.mac);
		err = -EADDRINUSE;
	} else if (in) {
		mutex_lock(&d->lock);
		vnic_config_uplink(d);
		vnic_config_reset(d);
		mutex_unlock(&d->lock);
	}
	if (!err) {
		if (in)
			vnic_steer_init(d);
		else
			vnic_steer_forget(up, netdev, d, -ENODEV);
		spin_lock_bh(&up->lock);
		if (in)
			list_add_tail(&d->node, &up->devs);
		else
			list_del_init(&d->node);
		up->ndevs += in ? 1 : -1;
		spin_unlock_bh(&up->lock);
	}
	rtnl_unlock();
	return err;
}

/**
 * vnic_dev_new() - make a device and register it with vDPA
 * @up: on this uplink
 * @parent: device that it hangs on: the uplink's, or an mdev
 * @name: its name
 * @config: as vdpa's dev_add gets it
 * @locked: vDPA's lock is held, as in dev_add; if not, the caller gets a reference to put, since vDPA's door may delete the
 *	    device before this returns
 *
 * A driver may be probed at once. Sleeps, takes rtnl.
 * Return: the device, or ERR_PTR: -EINVAL (features or queues that cannot be), -ENETDOWN (the netdev is gone),
 * -EADDRINUSE (the MAC is the host's), -EEXIST, -ENOMEM.
 */
struct vnic_dev *vnic_dev_new(struct vnic_uplink *up, struct device *parent, const char *name,
			      const struct vdpa_dev_set_config *config, bool locked)
{
	u16 pairs = READ_ONCE(vnic_pairs);
	struct vnic_dev *d;
	u64 offered;
	int err;

	if (config->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MAX_VQP))
		pairs = config->net.max_vq_pairs;
	else if (config->mask & BIT_ULL(VDPA_ATTR_DEV_FEATURES) && !(config->device_features & F(MQ)))
		pairs = 1;
	offered = vnic_offer(config, pairs);
	if (pairs < 1 || pairs > VNIC_PAIRS_MAX || !offered)
		return ERR_PTR(-EINVAL);
	if (config->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR) && !is_valid_ether_addr(config->net.mac))
		return ERR_PTR(-EADDRNOTAVAIL);
	d = vdpa_alloc_device(struct vnic_dev, vdpa, parent, &vnic_ops, 2, ARRAY_SIZE(d->as), name, false);
	if (IS_ERR(d))
		return d;
	d->offered = offered;
	d->pairs_max = pairs;
	err = vnic_dev_init(d, up, name, config);
	if (err)
		goto put;
	err = vnic_dev_list(d, true);
	if (err)
		goto put;
	if (locked) {
		err = _vdpa_register_device(&d->vdpa, d->nvqs);
	} else {
		get_device(&d->vdpa.dev);
		err = vdpa_register_device(&d->vdpa, d->nvqs);
		if (err)
			put_device(&d->vdpa.dev);
	}
	if (err)
		goto unlist;
	return d;

unlist:
	vnic_dev_list(d, false);
put:
	put_device(&d->vdpa.dev);
	return ERR_PTR(err);
}

/**
 * vnic_dev_del() - unregister a device and give up the reference that vnic_dev_new() gave
 * @d: the device
 * @locked: vDPA's lock is held, as in dev_del
 *
 * Waits until nobody has it open: never under rtnl. Where it is being deleted by another door already, vDPA's does nothing and
 * an mdev's waits for it: the device hangs below that mdev, which goes next.
 */
void vnic_dev_del(struct vnic_dev *d, bool locked)
{
	if (atomic_xchg(&d->dying, 1)) {
		if (!locked)
			wait_for_completion(&d->gone);
		return;
	}
	get_device(&d->vdpa.dev);
	if (locked)
		_vdpa_unregister_device(&d->vdpa);
	else
		vdpa_unregister_device(&d->vdpa);
	/* Its driver has reset it; one that did not would leave work behind. */
	vnic_compat_reset(&d->vdpa, VDPA_RESET_F_CLEAN_MAP);
	cancel_delayed_work_sync(&d->ctrl_work);
	cancel_work_sync(&d->broken_work);
	vnic_dev_list(d, false);
	complete_all(&d->gone);
	put_device(&d->vdpa.dev);
}
