/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a front end negotiated, as plain data for a successor of this process: numbers instead of descriptors. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "datapath/limits.h"
#include "datapath/vhost/dev.h"

/* Raise PRESERVE_VERSION (keeper/preserve.h) where one of these changes. 0 is no descriptor. */
struct vhost_saved_region {
	uint64_t gpa, size, uva, offset;
	uint64_t id;
};

struct vhost_saved_ring {
	uint16_t size, base, live_size;
	uint8_t has_addr, has_kick, started;
	int8_t enabled;
	uint16_t reserved;
	uint32_t kick, call, err;
	uint32_t addr_flags;
	uint64_t desc, avail, used, log;
};

struct vhost_saved {
	uint64_t features, proto;
	uint64_t log_size, log_offset;
	uint32_t log;
	uint32_t n_rings, n_regions;
	uint8_t status, announce;
	uint8_t lacking; /* a descriptor is in no store: this cannot be restored */
	uint8_t reserved;
	struct vhost_saved_region region[DP_REGIONS_MAX];
	struct vhost_saved_ring ring[DP_RINGS_MAX];
};

/* The number of a descriptor; 0: it has none. */
typedef uint32_t (*vhost_save_fn)(void *ctx, int fd);

/* The descriptor of a number, the caller's from now (close-on-exec); -1: there is none. */
typedef int (*vhost_restore_fn)(void *ctx, uint32_t id);

/* Each descriptor's number. */
typedef void (*vhost_id_fn)(void *ctx, uint32_t id);

/**
 * vhost_dev_save() - all but the numbers of descriptors
 * @ret: zeroed
 */
void vhost_dev_save(const struct vhost_dev *dev, struct vhost_saved *ret);

/* Ask for the number of each descriptor. */
void vhost_dev_save_ids(const struct vhost_dev *dev, struct vhost_saved *s, vhost_save_fn fn,
			void *ctx);
/* The descriptors have not changed since @from was made. */
void vhost_saved_copy_ids(struct vhost_saved *s, const struct vhost_saved *from);
void vhost_saved_each_id(const struct vhost_saved *s, vhost_id_fn fn, void *ctx);

/**
 * vhost_dev_restore() - go on where a predecessor was
 * @dev: as vhost_dev_init() left it
 * @s: trusted no more than a front end is
 *
 * Rings that ran are started where the state shared with the worker says.
 * Return: 0 or a negative errno with @err; @dev is to be cleared then.
 */
int vhost_dev_restore(struct vhost_dev *dev, const struct vhost_saved *s, vhost_restore_fn fn,
		      void *ctx, struct vnic_err *err);
