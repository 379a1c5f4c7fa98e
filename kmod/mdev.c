// SPDX-License-Identifier: GPL-2.0
/*
 * The second door: mediated devices, as the proposal of 2018 made them. Creating one of type vnic-net makes a vDPA device
 * that has its UUID for a name and hangs below it; removing it deletes that.
 */
#include <linux/module.h>

#include "vnic.h"

/* How many the type offers on an uplink, of the mdev core's counting. */
#define VNIC_MDEV_MAX 256

static int vnic_mdev_probe(struct mdev_device *mdev)
{
	struct vnic_uplink *up = container_of(mdev->type->parent, struct vnic_uplink, mdev_parent);
	const struct vdpa_dev_set_config config = {};
	struct vnic_dev *d;

	/* Below the mdev: beside it, two directories of one name would meet in sysfs. */
	d = vnic_dev_new(up, &mdev->dev, dev_name(&mdev->dev), &config, false);
	if (IS_ERR(d))
		return PTR_ERR(d);
	/* vdpa's own door may delete it first; by our reference it stays in memory until this one has seen that. */
	dev_set_drvdata(&mdev->dev, d);
	return 0;
}

static void vnic_mdev_remove(struct mdev_device *mdev)
{
	struct vnic_dev *d = dev_get_drvdata(&mdev->dev);

	vnic_dev_del(d, false);
	put_device(&d->vdpa.dev);
}

static ssize_t vnic_mdev_description(struct mdev_type *type, char *buf)
{
	return sysfs_emit(buf, "virtio-net vDPA device on %s, %u queue pairs\n", dev_name(type->parent->dev), vnic_pairs);
}

static struct mdev_driver vnic_mdev_driver = {
	.device_api = "vdpa",
	.max_instances = VNIC_MDEV_MAX,
	.probe = vnic_mdev_probe,
	.remove = vnic_mdev_remove,
	.show_description = vnic_mdev_description,
	.driver = {
		.name = "vnic_mdev",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
	},
};

int vnic_mdev_init(void)
{
	return mdev_register_driver(&vnic_mdev_driver);
}

void vnic_mdev_exit(void)
{
	mdev_unregister_driver(&vnic_mdev_driver);
}

int vnic_mdev_register(struct vnic_uplink *up)
{
	/* The mdev core prefixes the bus's name: vnic-net. */
	up->mdev_type.sysfs_name = "net";
	up->mdev_type.pretty_name = "vnic virtio-net";
	up->mdev_types[0] = &up->mdev_type;
	return mdev_register_parent(&up->mdev_parent, &up->dev, &vnic_mdev_driver, up->mdev_types, ARRAY_SIZE(up->mdev_types));
}

void vnic_mdev_unregister(struct vnic_uplink *up)
{
	mdev_unregister_parent(&up->mdev_parent);
}
