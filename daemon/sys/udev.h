/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * udev's events of network, PCI and vDPA devices: they say that something about a device changed (a driver
 * was bound or unbound, VFs were made). What it is now is then read from sysfs.
 */
#pragma once

#include "base/cleanup.h"
#include "daemon/sys/loop.h"

struct udev_watch;

struct udev_watch_ops {
	/* Device @dev_addr of subsystem @bus (a bus, or "vdpa", "mdev", …) changed, came or went. */
	void (*device)(void *userdata, const char *bus, const char *dev_addr, const char *action);
	/* Link @ifindex (0: not said) changed, came or went. */
	void (*link)(void *userdata, int ifindex, const char *action);
	/* Events were lost: everything may have changed. */
	void (*lost)(void *userdata);
};

/**
 * udev_watch_new() - follow udev's events on @loop
 *
 * Return: 0; 1 where udevd does not run on this host, so that no event will come (there is a watch all
 * the same: it is silent); or a negative errno.
 */
int udev_watch_new(struct loop *loop, const struct udev_watch_ops *ops, void *userdata,
		   struct udev_watch **ret);
struct udev_watch *udev_watch_free(struct udev_watch *watch);
DEFINE_CLEANUP(struct udev_watch *, udev_watch_free)
