/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What both layouts do with a descriptor: addresses become pieces of memory. Private to ring.c, split.c and packed.c.
 *
 * The walk is inlined into each layout's pull, its state kept in registers: the functions that are not inlined (the rare
 * cases: a range that was not hit last, a buffer across two ranges, a table in pieces) take and return values, not the walk.
 */
#ifndef VNIC_WALK_H
#define VNIC_WALK_H

#include <uapi/linux/virtio_ring.h>

#include "ring.h"

/* A descriptor of 16 bytes, of both layouts, as two words that are each read at once. */
struct vnic_desc {
	u64 addr;
	u64 meta; /* split: len, flags, next; packed: len, id, flags: from the low end */
};

struct vnic_walk {
	struct vnic_ring *ring;
	struct vnic_seg *seg;
	unsigned int n, nr; /* pieces; of them to read, once there is one to write */
	bool writing;
	u64 rlen, wlen;
};

/* The rest of vnic_walk_add(): pieces into @seg from @n on; their number then, or negative. */
int vnic_walk_pieces(struct vnic_ring *ring, struct vnic_seg *seg, unsigned int n, u64 addr, u32 len, u32 perm);
/* An indirect table of @len bytes: where it lies, if in one piece and aligned. NULL: it must be fetched by entries. */
const __le64 *vnic_walk_table(struct vnic_ring *ring, u64 addr, u32 len);
/* One entry of a table that lies in several pieces. */
int vnic_walk_fetch(struct vnic_ring *ring, u64 addr, __le64 entry[2]);

static __always_inline struct vnic_hit *vnic_walk_hit(struct vnic_ring *ring, u64 addr)
{
	return &ring->hit[(addr >> VNIC_HIT_SHIFT) % VNIC_HITS];
}

static __always_inline int vnic_walk_add(struct vnic_walk *w, u64 addr, u32 len, bool write)
{
	const struct vnic_hit *h = vnic_walk_hit(w->ring, addr);
	u32 perm = write ? VHOST_MAP_WO : VHOST_MAP_RO;
	u64 off = addr - h->start;
	int n;

	if (write) {
		if (!w->writing) {
			w->writing = true;
			w->nr = w->n;
		}
		w->wlen += len;
	} else {
		if (unlikely(w->writing))
			return vnic_ring_break(w->ring, "a chain has a part to read behind a part to write");
		w->rlen += len;
	}
	/* A length of 0 becomes a large number, and is left to the other function. */
	if (likely(off < h->size && (u64)len - 1 < h->size - off && (h->perm & perm) && w->n < VNIC_SEGS)) {
		w->seg[w->n].p = h->va + off;
		w->seg[w->n].len = len;
		w->n++;
		return 0;
	}
	n = vnic_walk_pieces(w->ring, w->seg, w->n, addr, len, perm);
	if (unlikely(n < 0))
		return n;
	w->n = n;
	return 0;
}

/*
 * By far most buffers are one descriptor in a range that was hit before: those are done with here, in a few instructions
 * and with no stack. False: nothing has happened, the caller walks.
 */
static __always_inline bool vnic_walk_one(struct vnic_ring *ring, struct vnic_chain *chain, u64 addr, u32 len, bool write)
{
	const struct vnic_hit *h = vnic_walk_hit(ring, addr);
	u64 off = addr - h->start;

	if (unlikely(off >= h->size || (u64)len - 1 >= h->size - off || !(h->perm & (write ? VHOST_MAP_WO : VHOST_MAP_RO))))
		return false;
	chain->seg[0].p = h->va + off;
	chain->seg[0].len = len;
	chain->nr = !write;
	chain->nw = write;
	chain->rlen = write ? 0 : len;
	chain->wlen = write ? len : 0;
	return true;
}

/* An indirect table, or, with @p, anything that has descriptors. */
struct vnic_table {
	const __le64 *p;
	u64 addr;
	u32 n;
};

static __always_inline int vnic_walk_desc(struct vnic_ring *ring, const struct vnic_table *t, u32 i, struct vnic_desc *ret_d)
{
	__le64 copy[2];
	int r;

	if (likely(t->p)) {
		ret_d->addr = le64_to_cpu(READ_ONCE(t->p[2 * i]));
		ret_d->meta = le64_to_cpu(READ_ONCE(t->p[2 * i + 1]));
		return 0;
	}
	r = vnic_walk_fetch(ring, t->addr + 16ull * i, copy);
	if (r < 0)
		return r;
	ret_d->addr = le64_to_cpu(copy[0]);
	ret_d->meta = le64_to_cpu(copy[1]);
	return 0;
}

/* The table that an indirect descriptor points to. */
static __always_inline int vnic_walk_indirect(struct vnic_ring *ring, u64 addr, u32 len, u16 flags,
					      struct vnic_table *ret_t)
{
	if (unlikely(!ring->indirect))
		return vnic_ring_break(ring, "a descriptor is indirect, which was not negotiated");
	if (unlikely(flags & VRING_DESC_F_NEXT))
		return vnic_ring_break(ring, "an indirect descriptor has a next one");
	if (unlikely(!len || len % sizeof(struct vring_desc)))
		return vnic_ring_break(ring, "an indirect table's length is no multiple of a descriptor's, or 0");
	if (unlikely(addr + len - 1 < addr))
		return vnic_ring_break(ring, "an indirect table's address and length wrap around");
	ret_t->p = vnic_walk_table(ring, addr, len);
	ret_t->addr = addr;
	ret_t->n = len / sizeof(struct vring_desc);
	return unlikely(!ret_t->p && ring->broken) ? -EPROTO : 0;
}

static __always_inline int vnic_walk_end(const struct vnic_walk *w, struct vnic_chain *chain)
{
	unsigned int nr = w->writing ? w->nr : w->n;

	if (unlikely((w->rlen | w->wlen) >> 32))
		return vnic_ring_break(w->ring, "a chain is longer than 4 GiB");
	chain->nr = nr;
	chain->nw = w->n - nr;
	chain->rlen = w->rlen;
	chain->wlen = w->wlen;
	return 1;
}

#endif
