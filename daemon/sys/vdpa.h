/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vDPA management devices and devices, from the kernel's vdpa family, and mdev types, from sysfs. Neither has
 * notifications of its own: they are read anew when udev tells of such a device. A kernel without is no error.
 */
#pragma once

#include "daemon/model/link.h"
#include "daemon/sys/genl.h"
#include "daemon/sys/loop.h"

struct vdpa_watch;

struct vdpa_ops {
	/* Management devices, devices or mdev types in the inventory changed. */
	void (*changed)(void *userdata);
	/* PCI function @addr got a vDPA device, or has one no more. */
	void (*function)(void *userdata, const char *addr);
	void (*note)(void *userdata, int level, const char *text);
	/* Nothing is left to be read. */
	void (*idle)(void *userdata);
};

int vdpa_new(struct loop *loop, struct inventory *inv, struct genl *genl,
	     const struct vdpa_ops *ops, void *userdata, struct vdpa_watch **ret);
struct vdpa_watch *vdpa_free(struct vdpa_watch *vdpa);
DEFINE_CLEANUP(struct vdpa_watch *, vdpa_free)

/* Something may have changed: read all anew, in the loop's next turn. */
void vdpa_resync(struct vdpa_watch *vdpa);
/* @ifname has gone: if it was an uplink of vnic.ko, that knows it before anybody, and has no event for it. */
void vdpa_link_gone(struct vdpa_watch *vdpa, const char *ifname);
bool vdpa_idle(const struct vdpa_watch *vdpa);
/* The vDPA device that stands on PCI function @addr, or NULL. */
const char *vdpa_on(const struct vdpa_watch *vdpa, const char *addr);

/* 0 or -EBADMSG; what sysfs adds (pf, driver, node) is not filled in. */
int vdpa_parse_mgmtdev(const struct nlmsghdr *nlh, struct vdpa_mgmtdev *ret);
int vdpa_parse_dev(const struct nlmsghdr *nlh, struct vdpa_dev *ret);
