/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's memory as the front end described it: verified descriptors, never mapped by the keeper. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "datapath/limits.h"
#include "datapath/vhost/proto.h"

struct vhost_region {
	struct vhost_wire_region r;
	int fd;
};

struct vhost_mem {
	size_t n;
	struct vhost_region region[DP_REGIONS_MAX];
};

/**
 * vhost_mem_add() - take one more region
 * @fd: belongs to @mem where 0 is returned, to the caller otherwise
 * Return: 0; 1: this very region is there already (QEMU 7.2 adds each once a queue pair); or -EPROTO with the
 * reason: wrong kind of file, too small, overlap, no room.
 */
int vhost_mem_add(struct vhost_mem *mem, const struct vhost_wire_region *r, int fd,
		  const char *what, struct vnic_err *err);

/* Forget the region with this address and size (its offset does not count). Return: was it there? */
bool vhost_mem_remove(struct vhost_mem *mem, const struct vhost_wire_region *r);

/* Close all; good for a zeroed struct. */
void vhost_mem_clear(struct vhost_mem *mem);

/* Lie @size bytes at front-end address @uva in one region? */
bool vhost_mem_covers(const struct vhost_mem *mem, uint64_t uva, uint64_t size);

/* The guest address behind the last region's end; 0 without memory. */
uint64_t vhost_mem_end(const struct vhost_mem *mem);
