/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/vdpa.h>
#include <linux/virtio_ids.h>

#include "daemon/sys/sysfs.h"
#include "daemon/sys/vdpa.h"

#define ATTR_MAX VDPA_ATTR_DEV_SUPPORTED_FEATURES

/* "pci/0000:03:00.2", or "vdpasim_net" where there is no bus. */
static int mgmtdev_name(const struct nlattr *const *tb, char *ret, size_t size)
{
	char bus[32] = "", dev[DEV_ADDR_MAX];
	int n;

	if (!nla_string(tb[VDPA_ATTR_MGMTDEV_DEV_NAME], dev, sizeof(dev)) ||
	    !sysfs_component_valid(dev))
		return -EBADMSG;
	if (tb[VDPA_ATTR_MGMTDEV_BUS_NAME] &&
	    (!nla_string(tb[VDPA_ATTR_MGMTDEV_BUS_NAME], bus, sizeof(bus)) ||
	     !sysfs_component_valid(bus)))
		return -EBADMSG;
	n = snprintf(ret, size, "%s%s%s", bus, *bus ? "/" : "", dev);
	return n > 0 && (size_t)n < size ? 0 : -EBADMSG;
}

int vdpa_parse_mgmtdev(const struct nlmsghdr *nlh, struct vdpa_mgmtdev *ret)
{
	const struct nlattr *tb[ATTR_MAX + 1] = { 0 };
	char name[MGMTDEV_NAME_MAX];
	uint64_t classes = 0, features = 0;
	uint32_t vqs = 0;

	if (genl_parse(nlh, tb, ATTR_MAX) < 0 || mgmtdev_name(tb, name, sizeof(name)) < 0)
		return -EBADMSG;
	nla_u64(tb[VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES], &classes);
	nla_u64(tb[VDPA_ATTR_DEV_SUPPORTED_FEATURES], &features);
	nla_u32(tb[VDPA_ATTR_DEV_MGMTDEV_MAX_VQS], &vqs);
	/* These are compared as a whole. */
	memset(ret, 0, sizeof(*ret));
	strcpy(ret->name, name);
	ret->net = classes >> VIRTIO_ID_NET & 1;
	/* One may be a control queue, which makes no pair. */
	ret->max_vqp = vqs / 2;
	ret->features = features;
	return 0;
}

int vdpa_parse_dev(const struct nlmsghdr *nlh, struct vdpa_dev *ret)
{
	const struct nlattr *tb[ATTR_MAX + 1] = { 0 };
	char name[VNIC_NAME_MAX], mgmtdev[MGMTDEV_NAME_MAX];
	uint32_t id = 0, vendor = 0, vqs = 0;

	if (genl_parse(nlh, tb, ATTR_MAX) < 0 ||
	    !nla_string(tb[VDPA_ATTR_DEV_NAME], name, sizeof(name)) ||
	    !sysfs_component_valid(name) || mgmtdev_name(tb, mgmtdev, sizeof(mgmtdev)) < 0)
		return -EBADMSG;
	nla_u32(tb[VDPA_ATTR_DEV_ID], &id);
	nla_u32(tb[VDPA_ATTR_DEV_VENDOR_ID], &vendor);
	nla_u32(tb[VDPA_ATTR_DEV_MAX_VQS], &vqs);
	memset(ret, 0, sizeof(*ret));
	strcpy(ret->name, name);
	strcpy(ret->mgmtdev, mgmtdev);
	ret->device_id = id;
	ret->vendor_id = vendor;
	ret->max_vqs = vqs;
	return 0;
}
