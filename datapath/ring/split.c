/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/ring/split.h"

static int broken(struct vq *vq, const char *reason)
{
	vq->broken = reason;
	return -EPROTO;
}

int split_attach(struct vq *vq, struct guest_mem *mem, const struct wire_ring *w,
		 const char **reason)
{
	uint64_t size = w->size;

	if (size == 0 || size > DP_RING_SIZE_MAX || (size & (size - 1)) != 0) {
		*reason = "a ring's size is no power of two or too large";
		return -EINVAL;
	}
	/* The event index adds one entry to each ring; both are there for all drivers that we know. */
	vq->desc = mem_at_uva(mem, w->desc, size * sizeof(*vq->desc));
	vq->avail = mem_at_uva(mem, w->avail, sizeof(*vq->avail) + (size + 1) * sizeof(uint16_t));
	vq->used = mem_at_uva(mem, w->used,
			      sizeof(*vq->used) + size * sizeof(struct vring_used_elem) +
				      sizeof(uint16_t));
	if (!vq->desc || !vq->avail || !vq->used) {
		*reason = "a ring does not lie within one memory region";
		return -EINVAL;
	}
	if ((uintptr_t)vq->desc % 16 || (uintptr_t)vq->avail % 2 || (uintptr_t)vq->used % 4) {
		*reason = "a ring is not aligned";
		return -EINVAL;
	}
	vq->mem = mem;
	vq->size = (uint16_t)size;
	vq->mask = (uint16_t)(size - 1);
	return 0;
}

struct walk {
	struct vq *vq;
	struct piece *piece;
	unsigned int n, max;
	uint32_t len;
	uint16_t direction; /* VRING_DESC_F_WRITE or 0 */
};

static int walk_buffer(struct walk *w, const struct vring_desc *d)
{
	uint64_t addr = d->addr;
	uint32_t left = d->len, got;

	if ((d->flags & VRING_DESC_F_WRITE) != w->direction)
		return broken(w->vq, w->direction ? "a receive buffer is not writable"
						  : "a frame to send is marked as writable");
	if (left == 0)
		return broken(w->vq, "a descriptor has length 0");
	if (left > UINT32_MAX - w->len)
		return broken(w->vq, "a chain is longer than 4 GiB");
	w->len += left;
	while (left > 0) {
		uint8_t *va = mem_piece(w->vq->mem, addr, left, &got);

		if (!va)
			return broken(w->vq, "a descriptor points outside the guest's memory");
		if (w->n == w->max)
			return broken(w->vq, "a chain has too many pieces");
		w->piece[w->n++] = (struct piece){ va, addr, got };
		addr += got;
		left -= got;
	}
	return 0;
}

/* The table is followed by its next fields; a table may not point to another. */
static int walk_indirect(struct walk *w, const struct vring_desc *table)
{
	uint32_t entries = table->len / sizeof(struct vring_desc), got, seen = 0;
	uint16_t i = 0;

	if (!w->vq->indirect)
		return broken(w->vq, "an indirect table, which was not negotiated");
	/* Its VRING_DESC_F_WRITE says nothing (2.7.5.3.2). */
	if (table->flags & VRING_DESC_F_NEXT)
		return broken(w->vq, "an indirect table's descriptor has a next");
	if (table->len % sizeof(struct vring_desc) || entries == 0 || entries > UINT16_MAX + 1u)
		return broken(w->vq, "an indirect table's length is no multiple of 16, or 0");
	for (;;) {
		uint64_t addr = table->addr + i * sizeof(struct vring_desc);
		uint8_t *va = mem_piece(w->vq->mem, addr, sizeof(struct vring_desc), &got);
		struct vring_desc d;
		int r;

		if (!va || got < sizeof(struct vring_desc))
			return broken(w->vq, "an indirect table lies outside the guest's memory");
		if (++seen > entries)
			return broken(w->vq, "an indirect table's chain loops");
		d = split_desc(va);
		if (d.flags & VRING_DESC_F_INDIRECT)
			return broken(w->vq, "an indirect table within an indirect table");
		r = walk_buffer(w, &d);
		if (r < 0)
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		if (d.next >= entries)
			return broken(w->vq, "a next field points outside its indirect table");
		i = d.next;
	}
}

int split_chain_walk(struct vq *vq, uint16_t head, bool device_writes, struct piece *piece,
		     unsigned int max, uint32_t *ret_len)
{
	struct walk w = { .vq = vq,
			  .piece = piece,
			  .max = max,
			  .direction = device_writes ? VRING_DESC_F_WRITE : 0 };
	uint16_t i = head, seen = 0;
	int r;

	if (head >= vq->size)
		return broken(vq, "a head is not below the ring's size");
	for (;;) {
		struct vring_desc d;

		if (++seen > vq->size)
			return broken(vq, "a chain loops");
		d = split_desc(&vq->desc[i]);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			r = walk_indirect(&w, &d);
			if (r < 0)
				return r;
			break;
		}
		r = walk_buffer(&w, &d);
		if (r < 0)
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			break;
		if (d.next >= vq->size)
			return broken(vq, "a next field is not below the ring's size");
		i = d.next;
	}
	*ret_len = w.len;
	return (int)w.n;
}
