// SPDX-License-Identifier: GPL-2.0
/*
 * A device's address spaces, as vDPA sets them: which map belongs to which queues. A map survives a reset (that is
 * VHOST_BACKEND_F_IOTLB_PERSIST) unless an older user asks otherwise, and goes when its owner closes the device.
 */
#include "vnic.h"

/**
 * vnic_dev_identity() - the map where the driver gave none
 * @d: the device
 *
 * virtio_vdpa gives physical addresses of this kernel's own. A process on /dev/vhost-vdpa must not: it maps, or has nothing.
 */
struct vnic_mem *vnic_dev_identity(const struct vnic_dev *d)
{
	const struct device_driver *driver = READ_ONCE(d->vdpa.dev.driver);

	return driver && !strcmp(driver->name, "virtio_vdpa") ? d->identity : NULL;
}

/** vnic_drop_map() - an address space has no map any more; dev->lock held, its queues are set up over it no more */
void vnic_drop_map(struct vnic_dev *d, unsigned int asid)
{
	vnic_mem_put(d->as[asid]);
	d->as[asid] = NULL;
}

static void vnic_remap(struct vnic_dev *d, unsigned int asid)
{
	struct vnic_vq *vq;
	int err;

	for (vq = d->vq; vq < d->vq + d->nvqs; vq++) {
		if (d->group_as[vnic_vq_is_ctrl(vq)] != asid || !vq->set_up)
			continue;
		err = vnic_vq_remap(vq, d->as[asid]);
		if (err && vnic_dev_live(d))
			vnic_dev_fail(d, "queue %u is mapped no more: %d", vq->index, err);
	}
}

/*
 * A large guest's map has millions of ranges. They are taken and let go of without the lock, which netdev events wait for with
 * rtnl held; vhost calls one of these at a time.
 */
int vnic_set_map(struct vdpa_device *vdpa, unsigned int asid, struct vhost_iotlb *iotlb)
{
	struct vnic_dev *d = vnic_of(vdpa);
	struct vnic_mem *mem, *old;
	int err = 0;

	if (asid >= ARRAY_SIZE(d->as))
		return -EINVAL;
	mutex_lock(&d->lock);
	old = d->as[asid] ? vnic_mem_get(d->as[asid]) : NULL;
	mutex_unlock(&d->lock);
	mem = vnic_mem_new(iotlb, old);

	mutex_lock(&d->lock);
	if (!IS_ERR(mem) && !vnic_dev_hold(d)) {
		vnic_mem_put(mem);
		mem = ERR_PTR(-ENODEV);
	}
	if (IS_ERR(mem)) {
		/* Where ranges were removed vhost does not look at this: the device must not go on with what it had. */
		err = PTR_ERR(mem);
		if (vnic_dev_live(d))
			vnic_dev_fail(d, "its memory map cannot be taken: %d", err);
	} else {
		vnic_drop_map(d, asid);
		d->as[asid] = mem;
		vnic_remap(d, asid);
	}
	mutex_unlock(&d->lock);
	vnic_mem_put(old);
	return err;
}

int vnic_reset_map(struct vdpa_device *vdpa, unsigned int asid)
{
	struct vnic_dev *d = vnic_of(vdpa);
	struct vnic_mem *old;

	if (asid >= ARRAY_SIZE(d->as))
		return -EINVAL;
	mutex_lock(&d->lock);
	old = d->as[asid];
	d->as[asid] = NULL;
	vnic_dev_unhold(d);
	mutex_unlock(&d->lock);
	vnic_mem_put(old);
	return 0;
}

int vnic_set_group_asid(struct vdpa_device *vdpa, unsigned int group, unsigned int asid)
{
	struct vnic_dev *d = vnic_of(vdpa);
	int err = 0;
	u16 i;

	if (group >= ARRAY_SIZE(d->group_as) || asid >= ARRAY_SIZE(d->as))
		return -EINVAL;
	mutex_lock(&d->lock);
	for (i = 0; i < d->nvqs; i++)
		if (d->vq[i].running && vnic_get_vq_group(vdpa, i) == group)
			err = -EBUSY;
	if (!err && d->group_as[group] != asid) {
		for (i = 0; i < d->nvqs; i++)
			if (vnic_get_vq_group(vdpa, i) == group)
				vnic_vq_stop(&d->vq[i]); /* set up anew, over the other map */
		d->group_as[group] = asid;
	}
	mutex_unlock(&d->lock);
	return err;
}
