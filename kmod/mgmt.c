// SPDX-License-Identifier: GPL-2.0
/* The first door: vDPA's management device of an uplink, vnic/NETDEV. */
#include <uapi/linux/virtio_ids.h>
#include <linux/mod_devicetable.h>

#include "vnic.h"

static struct vnic_uplink *vnic_up_of(struct vdpa_mgmt_dev *mgmt)
{
	return container_of(mgmt, struct vnic_uplink, mgmt);
}

static int vnic_dev_add(struct vdpa_mgmt_dev *mgmt, const char *name, const struct vdpa_dev_set_config *config)
{
	struct vnic_uplink *up = vnic_up_of(mgmt);

	return PTR_ERR_OR_ZERO(vnic_dev_new(up, &up->dev, name, config, true));
}

/* A device that the mdev door made may go out here: that door then finds it deleted. */
static void vnic_dev_remove(struct vdpa_mgmt_dev *mgmt, struct vdpa_device *vdpa)
{
	vnic_dev_del(vnic_of(vdpa), true);
}

static int vnic_dev_set_attr(struct vdpa_mgmt_dev *mgmt, struct vdpa_device *vdpa, const struct vdpa_dev_set_config *config)
{
	struct vnic_dev *d = vnic_of(vdpa);
	int err;

	if (config->mask != BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR))
		return -EOPNOTSUPP;
	mutex_lock(&d->lock);
	err = vnic_policy_set_mac(d, config->net.mac);
	mutex_unlock(&d->lock);
	return err;
}

static const struct vdpa_mgmtdev_ops vnic_mgmt_ops = {
	.dev_add = vnic_dev_add,
	.dev_del = vnic_dev_remove,
	.dev_set_attr = vnic_dev_set_attr,
};

static struct virtio_device_id vnic_ids[] = {
	{ VIRTIO_ID_NET, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

int vnic_mgmt_register(struct vnic_uplink *up)
{
	up->mgmt = (struct vdpa_mgmt_dev){
		.device = &up->dev,
		.ops = &vnic_mgmt_ops,
		.id_table = vnic_ids,
		.config_attr_mask = BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR) | BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MTU) |
				    BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MAX_VQP) | BIT_ULL(VDPA_ATTR_DEV_FEATURES),
		.supported_features = vnic_features,
		.max_supported_vqs = VNIC_VQS_MAX,
	};
	return vdpa_mgmtdev_register(&up->mgmt);
}

void vnic_mgmt_unregister(struct vnic_uplink *up)
{
	vdpa_mgmtdev_unregister(&up->mgmt);
}
