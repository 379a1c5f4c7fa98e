/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vDPA management devices and devices as vdpa(8) shows them, and the mdev types of this host: a part of the
 * inventory, written by daemon/sys only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <uthash.h>

#include "base/str.h"
#include "daemon/model/pf.h"

/* "BUS/DEV" or, where there is no bus, "DEV": how vdpa(8) names a management device. */
#define MGMTDEV_NAME_MAX 96

/* The management devices of vnic.ko are called so, and by their uplink's name. */
#define VNIC_MGMTDEV "vnic/"

/* What a guest may ask of its device, in vnic.ko's words. By their numbers in records. */
enum vdpa_allow {
	VDPA_ALLOW_MULTICAST,
	VDPA_ALLOW_MAC,
	VDPA_ALLOW_PROMISC,
	VDPA_ALLOW_ALLMULTI,
	VDPA_ALLOW_SPOOF,
	VDPA_ALLOW_VLAN, /* tagged frames, of all VLANs */
	VDPA_ALLOW_COUNT,
};

struct vdpa_mgmtdev {
	char name[MGMTDEV_NAME_MAX]; /* the key */
	char pf[DEV_ADDR_MAX]; /* PCI address of the PF that it is, or whose VF it is; empty: neither */
	bool net; /* makes virtio-net devices */
	uint32_t max_vqp; /* queue pairs */
	uint64_t features; /* virtio feature bits its devices may have */
	UT_hash_handle hh;
};

/* "BUS/DEV" or "DEV", of printable characters? */
bool mgmtdev_name_valid(const char *s);
/* Is it vnic.ko's? */
bool mgmtdev_is_vnic(const char *name);

struct vdpa_dev {
	char name[VNIC_NAME_MAX]; /* the key */
	char mgmtdev[MGMTDEV_NAME_MAX];
	uint32_t device_id; /* virtio's: 1 is net */
	uint32_t vendor_id;
	uint32_t max_vqs;
	char driver[DRIVER_NAME_MAX]; /* "vhost_vdpa", "virtio_vdpa", or empty */
	char node[32]; /* "vhost-vdpa-0", where vhost_vdpa is bound */
	UT_hash_handle hh;
};

/* What a device says of itself beside what it counts of frames. */
#define VDPA_STATS_MAX 48 /* of more counters the first */

struct vdpa_stat {
	char name[40];
	uint32_t queue;
	uint64_t value;
};

struct vdpa_stats {
	/* of vnic.ko's */
	uint32_t pairs; /* queue pairs that its guest uses */
	uint64_t denied; /* requests of its guest that were denied */
	char mac_asked[VNIC_MAC_STR]; /* the MAC of the last of these; empty: none had one */
	char nic_queue
		[100]; /* which of the NIC's queues receives its frames, "3" or "any: WHY"; empty: not told */
	/* of others: counters, queue by queue and in their driver's words */
	char none[120]; /* why there is none, or none that counts frames; empty: there are */
	size_t n;
	struct vdpa_stat stat[VDPA_STATS_MAX];
};

struct mdev_type {
	char id[160]; /* "PARENT/TYPE", the key */
	char parent[DEV_ADDR_MAX];
	char type[64];
	char device_api[32];
	uint32_t available;
	UT_hash_handle hh;
};
