/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one writer of the inventory: joins what rtnetlink, udev, sysfs, devlink, ethtool and vdpa say of this
 * host's links, PFs, VFs and vDPA devices, and tells of each change.
 */
#pragma once

#include "base/cleanup.h"
#include "daemon/model/link.h"
#include "daemon/sys/loop.h"

struct watch;

struct watch_ops {
	/* @link is new or changed; it is in the inventory. */
	void (*changed)(void *userdata, const struct vnic_link *link);
	/* @link is no longer in the inventory; the copy lasts for the call. */
	void (*removed)(void *userdata, const struct vnic_link *link);
	/* @pf or one of its VFs is new or changed; it is in the inventory. May be NULL, as the next two. */
	void (*pf_changed)(void *userdata, const struct vnic_pf *pf);
	void (*pf_removed)(void *userdata, const char *addr);
	/* vDPA management devices, devices or mdev types changed. */
	void (*vdpa_changed)(void *userdata);
	/*
	 * All was read, links as well as what sysfs and drivers tell: the first time, the inventory is
	 * complete from now on.
	 */
	void (*synced)(void *userdata);
	/* For the log: @level of syslog.h, one sentence. */
	void (*note)(void *userdata, int level, const char *text);
};

/**
 * watch_new() - start to follow the kernel; @inv is written from the loop
 * @inv: initialised, empty, outlives the watch
 */
int watch_new(struct loop *loop, struct inventory *inv, const struct watch_ops *ops, void *userdata,
	      struct watch **ret);
struct watch *watch_free(struct watch *watch);
DEFINE_CLEANUP(struct watch *, watch_free)

/* Read everything anew (SIGHUP, a suspicion); watch_ops.synced tells the end. */
void watch_resync(struct watch *watch);

/*
 * After a write of ours, which no event may follow (the kernel is silent about driver_override, and about
 * attributes while the PF is down): read the PF with its VFs, or one VF and its attributes.
 */
/* vDPA devices or management devices are others than they were. */
void watch_refresh_vdpa(struct watch *w);
void watch_refresh_pf(struct watch *watch, const char *addr);
void watch_refresh_vf(struct watch *watch, const char *addr);

/**
 * watch_domain_devices() - what libvirt says of devices that running domains have by their own XML
 * @device: @n of them, all that there are, ours left out; copied
 * Return: 0, or -ENOMEM: what was said last still holds.
 */
int watch_domain_devices(struct watch *watch, const struct domain_device *device, size_t n);
