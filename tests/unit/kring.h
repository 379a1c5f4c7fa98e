/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest for kmod's rings: memory in pages that lie anywhere, and a driver of both layouts, written after the
 * specification (virtio 1.2, 2.7 and 2.8) and not after the device's side.
 */
#pragma once

#include "kmod/ring.h"

#include <linux/virtio_ring.h>

#define KG_PAGES 160
#define KG_IOVA	 0x40000000ull
/* Where things are, in pages from KG_IOVA. */
#define KG_DESC	    0
#define KG_DRIVER   8
#define KG_DEVICE   12
#define KG_TABLES   16
#define KG_READ	    64
#define KG_WRITE    96
#define KG_PART_MAX 8

struct kguest {
	struct vhost_iotlb iotlb;
	u8 *page[KG_PAGES];
	u32 perm[KG_PAGES]; /* 0: not mapped */
};

enum kg_layout {
	KG_ONE, /* one range */
	KG_SCATTERED, /* no page beside the one it follows */
	KG_MIXED, /* runs of some pages */
};

/* Maps all pages with permission to read and write. */
void kguest_init(struct kguest *g, enum kg_layout layout, unsigned int *seed);
/* Gives a page other permissions; 0 takes it out. The map is then to be made anew by vnic_mem_new(). */
void kguest_protect(struct kguest *g, unsigned int page, u32 perm);
void *kguest_p(const struct kguest *g, u64 iova);
u8 kguest_byte(const struct kguest *g, u64 iova);
static inline u64 kg_iova(unsigned int page)
{
	return KG_IOVA + page * PAGE_SIZE;
}

struct kconf {
	u16 num;
	bool packed, event_idx, indirect;
};

struct kpart {
	u64 iova;
	u32 len;
	bool write;
};

struct kdrv {
	struct kguest *g;
	struct kconf c;
	u16 nfree; /* descriptors */
	u16 idx, last_used; /* split: free running; packed: slots */
	bool idx_wrap, used_wrap;
	u16 added; /* units (split: buffers, packed: slots) since the last kdrv_kick() */
	u16 free[VNIC_RING_MAX]; /* split: descriptors, packed: ids; a stack */
	struct {
		u64 token;
		u16 slots;
		bool busy;
	} buf[VNIC_RING_MAX];
	u16 next[VNIC_RING_MAX]; /* split: what the driver itself knows of chains */
};

void kdrv_init(struct kdrv *d, struct kguest *g, const struct kconf *c, u16 start);
/* False: no room. In a table where @indirect. */
bool kdrv_add(struct kdrv *d, const struct kpart *part, unsigned int n, bool indirect, u64 token);
/* Does the device want to be told of what was added? */
bool kdrv_kick(struct kdrv *d);
/* The next used buffer, if there is one. */
bool kdrv_get(struct kdrv *d, u64 *ret_token, u32 *ret_len);
/* Interrupts off; or on, with the event index for the @ahead-th unit from the next one on. */
void kdrv_irq(struct kdrv *d, bool on, u16 ahead);

/* The ring over what kdrv_init() was told, in @mem. */
int kring_init(struct vnic_ring *ring, struct vnic_mem *mem, const struct kconf *c);

static inline unsigned int kg_random(unsigned int *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}
