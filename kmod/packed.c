// SPDX-License-Identifier: GPL-2.0
/*
 * The packed ring (virtio 1.2, 2.8), from the device's side.
 *
 * One array of slots that both sides go round; a slot is available in a lap if its AVAIL bit is the lap's wrap counter and its
 * USED bit is not, and used if both are. A buffer of N descriptors takes N slots, and is given back by one used element in the
 * next slot of the used position, which then skips N. So the used position never passes the available one, and an element
 * overwrites only descriptors that were read already.
 *
 * The second half of a slot (length, id, flags) is read and written as one word: its parts cannot be seen apart.
 */
#include <linux/errno.h>
#include <linux/kernel.h>

#include "walk.h"

struct packed_slot { /* struct vring_packed_desc */
	__le64 addr, meta;
};

#define DESC_LEN(meta) ((u32)(meta))
#define DESC_ID(meta) ((u16)((meta) >> 32))
#define DESC_FLAGS(meta) ((u16)((meta) >> 48))

#define F_AVAIL (1 << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1 << VRING_PACKED_DESC_F_USED)

static __always_inline bool is_available(u16 flags, bool wrap)
{
	return (flags & (F_AVAIL | F_USED)) == (wrap ? F_AVAIL : F_USED);
}

/* An indirect table's descriptors follow each other; of their flags only WRITE counts. */
static int walk_table(struct vnic_walk *w, u64 addr, u64 meta)
{
	struct vnic_table t;
	struct vnic_desc d;
	u32 i;
	int r;

	r = vnic_walk_indirect(w->ring, addr, DESC_LEN(meta), DESC_FLAGS(meta), &t);
	if (unlikely(r < 0))
		return r;
	if (unlikely(t.n > VNIC_RING_MAX))
		return vnic_ring_break(w->ring, "an indirect table is longer than the largest ring");
	for (i = 0; i < t.n; i++) {
		r = vnic_walk_desc(w->ring, &t, i, &d);
		if (unlikely(r < 0))
			return r;
		if (unlikely(DESC_FLAGS(d.meta) & VRING_DESC_F_INDIRECT))
			return vnic_ring_break(w->ring, "an indirect table points to another");
		r = vnic_walk_add(w, d.addr, DESC_LEN(d.meta), DESC_FLAGS(d.meta) & VRING_DESC_F_WRITE);
		if (unlikely(r < 0))
			return r;
	}
	return 0;
}

/* Any chain, of which the first slot is available. */
static noinline int walk(struct vnic_ring *ring, struct vnic_chain *chain)
{
	struct vnic_walk w = { .ring = ring, .seg = chain->seg };
	struct packed_slot *desc = ring->desc;
	u16 at = ring->avail, slots = 0;
	bool wrap = ring->avail_wrap;
	u64 meta, addr;
	int r;

	for (;;) {
		meta = le64_to_cpu(READ_ONCE(desc[at].meta));
		if (unlikely(!is_available(DESC_FLAGS(meta), wrap)))
			return vnic_ring_break(ring, "a chain goes on in a slot of another lap");
		if (unlikely(slots == ring->room))
			return vnic_ring_break(ring, slots ? "a chain is longer than the ring" :
							     "a slot is available again that was not given back");
		slots++;
		addr = le64_to_cpu(READ_ONCE(desc[at].addr));
		if (unlikely(++at == ring->num)) {
			at = 0;
			wrap = !wrap;
		}
		if (DESC_FLAGS(meta) & VRING_DESC_F_INDIRECT)
			r = walk_table(&w, addr, meta);
		else
			r = vnic_walk_add(&w, addr, DESC_LEN(meta), DESC_FLAGS(meta) & VRING_DESC_F_WRITE);
		if (unlikely(r < 0))
			return r;
		if (!(DESC_FLAGS(meta) & VRING_DESC_F_NEXT))
			break;
	}
	/* The id stands in a chain's last descriptor. */
	if (unlikely(DESC_ID(meta) >= ring->num))
		return vnic_ring_break(ring, "a buffer's id is not below the ring's size");
	chain->id = DESC_ID(meta);
	chain->slots = slots;
	return vnic_walk_end(&w, chain);
}

int vnic_packed_pull(struct vnic_ring *ring, struct vnic_chain *chain)
{
	struct packed_slot *desc = (struct packed_slot *)ring->desc + ring->avail;
	u64 meta, addr;
	int r;

	if (unlikely(ring->broken))
		return -EPROTO;
	/* The driver writes the flags of a buffer's first slot last. */
	meta = le64_to_cpu(smp_load_acquire(&desc->meta));
	if (!is_available(DESC_FLAGS(meta), ring->avail_wrap))
		return 0;
	addr = le64_to_cpu(READ_ONCE(desc->addr));
	chain->id = DESC_ID(meta);
	chain->slots = 1;
	if ((DESC_FLAGS(meta) & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) || unlikely(chain->id >= ring->num || !ring->room) ||
	    unlikely(!vnic_walk_one(ring, chain, addr, DESC_LEN(meta), DESC_FLAGS(meta) & VRING_DESC_F_WRITE))) {
		/* Reads it all again, so that nothing is taken from two readings. */
		r = walk(ring, chain);
		if (unlikely(r < 0))
			return r;
	}
	ring->avail += chain->slots;
	if (ring->avail >= ring->num) {
		ring->avail -= ring->num;
		ring->avail_wrap = !ring->avail_wrap;
	}
	ring->room -= chain->slots;
	ring->inflight++;
	return 1;
}

void vnic_packed_unpull(struct vnic_ring *ring, const struct vnic_chain *chain)
{
	if (ring->avail < chain->slots) {
		ring->avail += ring->num;
		ring->avail_wrap = !ring->avail_wrap;
	}
	ring->avail -= chain->slots;
	ring->room += chain->slots;
	ring->inflight--;
}

void vnic_packed_push(struct vnic_ring *ring, u16 id, u16 slots, u32 len)
{
	u64 flags = (ring->used_wrap ? F_AVAIL | F_USED : 0) | (len ? VRING_DESC_F_WRITE : 0);
	u64 meta = flags << 48 | (u64)id << 32 | len;
	struct packed_slot *desc = ring->desc;

	if (!ring->staged) {
		ring->first = meta;
		ring->first_slot = ring->used;
	} else {
		/* A driver goes by the order of slots, and stops before the first. Some look ahead: so each is complete. */
		smp_store_release(&desc[ring->used].meta, cpu_to_le64(meta));
	}
	ring->staged += slots;
	ring->used += slots;
	if (ring->used >= ring->num) {
		ring->used -= ring->num;
		ring->used_wrap = !ring->used_wrap;
	}
	ring->inflight--;
}

bool vnic_packed_publish(struct vnic_ring *ring)
{
	struct packed_slot *desc = ring->desc;
	u16 staged = ring->staged, off;
	u32 event;

	if (!staged || unlikely(ring->broken))
		return false;
	smp_store_release(&desc[ring->first_slot].meta, cpu_to_le64(ring->first));
	ring->staged = 0;
	ring->room += staged;
	ring->published = ring->used;
	/* The element before the look at what the driver wants: it sets that, then looks at the slot again. */
	smp_mb();
	/* Offset and flags, which belong together. */
	event = le32_to_cpu(READ_ONCE(*(__le32 *)ring->driver));
	switch (event >> 16 & 3) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		if (!ring->event_idx)
			return true;
		off = event & 0x7fff;
		if ((event >> VRING_PACKED_EVENT_F_WRAP_CTR & 1) != ring->used_wrap)
			off -= ring->num;
		return vring_need_event(off, ring->used, ring->used - staged);
	default:
		return true;
	}
}

static void write_event(struct vnic_ring *ring, u16 off_wrap, u16 flags)
{
	WRITE_ONCE(*(__le32 *)ring->device, cpu_to_le32((u32)flags << 16 | off_wrap));
}

void vnic_packed_notify_off(struct vnic_ring *ring)
{
	if (!ring->notify)
		return;
	ring->notify = false;
	write_event(ring, 0, VRING_PACKED_EVENT_FLAG_DISABLE);
}

static bool looks_empty(struct vnic_ring *ring)
{
	struct packed_slot *desc = ring->desc;
	u64 meta = le64_to_cpu(READ_ONCE(desc[ring->avail].meta));

	return !is_available(DESC_FLAGS(meta), ring->avail_wrap);
}

bool vnic_packed_needs_poll(struct vnic_ring *ring)
{
	if (unlikely(ring->broken))
		return true;
	if (looks_empty(ring)) {
		ring->notify = true;
		write_event(ring, ring->avail | (u16)ring->avail_wrap << VRING_PACKED_EVENT_F_WRAP_CTR,
			    ring->event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE);
		/* The wish before the second look; the driver marks the slot, then looks at our wish. */
		smp_mb();
		if (looks_empty(ring))
			return true;
	}
	vnic_packed_notify_off(ring);
	return false;
}

const struct vring_ops vnic_packed_ops = {
	.needs_poll = vnic_packed_needs_poll,
	.pull = vnic_packed_pull,
	.push = vnic_packed_push,
	.unpull = vnic_packed_unpull,
	.publish = vnic_packed_publish,
};
