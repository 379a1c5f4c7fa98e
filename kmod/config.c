// SPDX-License-Identifier: GPL-2.0
/*
 * Configuration space: what a driver reads of its device, and the interrupt when it changes.
 *
 * The MTU holds still while a driver is there: a device must not change it once it was read (virtio 1.2, 5.1.4.1). The MAC
 * is the one in force. Link, speed and duplex are the uplink's, the link the host's policy too.
 */
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_byteorder.h>

#include "vnic.h"

/** vnic_config_interrupt() - tell the driver that its configuration changed; dev->lock held */
void vnic_config_interrupt(struct vnic_dev *d)
{
	lockdep_assert_held(&d->lock);
	if (d->status & VIRTIO_CONFIG_S_DRIVER_OK && d->config_cb.callback)
		d->config_cb.callback(d->config_cb.private);
}

/* Config space anew, from what it is made of. True: it has changed. */
static bool vnic_config_fill(struct vnic_dev *d)
{
	const struct vnic_filter *filter = rcu_dereference_protected(d->filter, lockdep_is_held(&d->lock));
	u16 mtu = min_not_zero(d->mtu_set, d->uplink.mtu);
	struct virtio_net_config c = {
		.max_virtqueue_pairs = __cpu_to_virtio16(true, d->pairs_max),
		.mtu = d->status & VIRTIO_CONFIG_S_FEATURES_OK ? d->config.mtu : __cpu_to_virtio16(true, mtu),
		.speed = cpu_to_le32(d->uplink.speed),
		.duplex = d->uplink.duplex,
	};
	u16 status = 0;

	if (d->uplink.carrier && d->policy.link)
		status |= VIRTIO_NET_S_LINK_UP;
	if (d->announce)
		status |= VIRTIO_NET_S_ANNOUNCE;
	c.status = __cpu_to_virtio16(true, status);
	ether_addr_copy(c.mac, filter->mac);
	if (!memcmp(&c, &d->config, sizeof(c)))
		return false;
	d->config = c;
	WRITE_ONCE(d->generation, d->generation + 1);
	return true;
}

/** vnic_config_update() - after a change of policy, filter or uplink; dev->lock held */
void vnic_config_update(struct vnic_dev *d)
{
	lockdep_assert_held(&d->lock);
	if (vnic_config_fill(d))
		vnic_config_interrupt(d);
}

/** vnic_config_reset() - as a new driver finds it; dev->lock held, status not yet or no more set */
void vnic_config_reset(struct vnic_dev *d)
{
	lockdep_assert_held(&d->lock);
	d->announce = false;
	vnic_config_fill(d);
}

/** vnic_config_announced() - the driver knows: no interrupt; dev->lock held */
void vnic_config_announced(struct vnic_dev *d)
{
	d->announce = false;
	vnic_config_fill(d);
}

/**
 * vnic_config_uplink() - note what the uplink is like
 * @d: dev->lock held, and rtnl
 *
 * The caller updates what follows from it.
 */
void vnic_config_uplink(struct vnic_dev *d)
{
	struct net_device *netdev = rtnl_dereference(d->up->netdev);
	struct ethtool_link_ksettings ks;

	lockdep_assert_held(&d->lock);
	d->uplink.carrier = netdev && netif_running(netdev) && netif_carrier_ok(netdev);
	d->uplink.speed = (u32)SPEED_UNKNOWN;
	d->uplink.duplex = DUPLEX_UNKNOWN;
	if (!netdev)
		return;
	d->uplink.mtu = min_t(u32, netdev->mtu, U16_MAX);
	if (!__ethtool_get_link_ksettings(netdev, &ks)) {
		d->uplink.speed = ks.base.speed;
		d->uplink.duplex = ks.base.duplex;
	}
}

void vnic_dev_uplink_changed(struct vnic_dev *d)
{
	bool was;

	mutex_lock(&d->lock);
	was = d->uplink.carrier;
	vnic_config_uplink(d);
	if (d->uplink.carrier && !was && d->port_up) {
		/* What is behind the uplink may be another switch now: it has to learn where this guest is. */
		vnic_port_announce(d);
		d->announce = d->features & BIT_ULL(VIRTIO_NET_F_GUEST_ANNOUNCE);
	}
	vnic_config_update(d);
	mutex_unlock(&d->lock);
}

/* ---- vdpa_config_ops ---- */

void vnic_set_config_cb(struct vdpa_device *vdpa, struct vdpa_callback *cb)
{
	struct vnic_dev *d = vnic_of(vdpa);

	mutex_lock(&d->lock);
	d->config_cb = *cb;
	mutex_unlock(&d->lock);
}

size_t vnic_get_config_size(struct vdpa_device *vdpa)
{
	return sizeof(struct virtio_net_config);
}

void vnic_get_config(struct vdpa_device *vdpa, unsigned int offset, void *buf, unsigned int len)
{
	struct vnic_dev *d = vnic_of(vdpa);

	if (offset > sizeof(d->config) || len > sizeof(d->config) - offset)
		return;
	mutex_lock(&d->lock);
	memcpy(buf, (u8 *)&d->config + offset, len);
	mutex_unlock(&d->lock);
}

/*
 * A driver writes nothing here (only a legacy one did: its MAC). QEMU writes what its own command line says: a MAC that is
 * asked for like any other.
 */
void vnic_set_config(struct vdpa_device *vdpa, unsigned int offset, const void *buf, unsigned int len)
{
	struct vnic_dev *d = vnic_of(vdpa);

	if (offset || len < ETH_ALEN)
		return;
	mutex_lock(&d->lock);
	vnic_mac_ask(d, buf);
	mutex_unlock(&d->lock);
}

u32 vnic_get_generation(struct vdpa_device *vdpa)
{
	return READ_ONCE(vnic_of(vdpa)->generation);
}
