// SPDX-License-Identifier: GPL-2.0
/*
 * The split ring (virtio 1.2, 2.7), from the device's side.
 *
 * Indices run freely over 16 bits. Of the driver's index it must hold that published <= avail <= its index <= published +
 * num: it cannot have made more buffers available than there are descriptors. All of it is checked where that index is read,
 * once for a burst.
 */
#include <linux/errno.h>
#include <linux/kernel.h>

#include "walk.h"

struct split_driver { /* struct vring_avail, with types that say how it lies in memory */
	__le16 flags, idx, ring[]; /* behind the ring: the event index for interrupts */
};

typedef __le64 used_t __aligned(4); /* id and length, as one */

struct split_device { /* struct vring_used */
	__le16 flags, idx;
	used_t ring[]; /* and the event index for notifications */
};

#define DESC_LEN(meta) ((u32)(meta))
#define DESC_FLAGS(meta) ((u16)((meta) >> 32))
#define DESC_NEXT(meta) ((u16)((meta) >> 48))

static __always_inline u16 driver_idx(struct vnic_ring *ring)
{
	struct split_driver *driver = ring->driver;

	/* Pairs with the driver's barrier between a buffer's entry and the index. */
	return le16_to_cpu(smp_load_acquire(&driver->idx));
}

static int look_again(struct vnic_ring *ring)
{
	u16 idx = driver_idx(ring);

	if (idx == ring->avail)
		return 0;
	if (unlikely((u16)(idx - ring->avail) > ring->num - (u16)(ring->avail - ring->published)))
		return vnic_ring_break(ring, "the available index jumped, or went back");
	ring->avail_seen = idx;
	return 1;
}

/*
 * Descriptors of @t from @i on, @left at most. 0: the chain's end; 1: @ret_d is an indirect one (only if @direct).
 * Inlined twice: for the ring's descriptors and for a table's.
 */
static __always_inline int walk_chain(struct vnic_walk *w, const struct vnic_table *t, u32 i, u32 left, bool direct,
				      struct vnic_desc *ret_d)
{
	struct vnic_desc d;
	u16 flags;
	int r;

	for (;;) {
		r = vnic_walk_desc(w->ring, t, i, &d);
		if (unlikely(r < 0))
			return r;
		flags = DESC_FLAGS(d.meta);
		if (flags & VRING_DESC_F_INDIRECT) {
			if (unlikely(!direct))
				return vnic_ring_break(w->ring, "an indirect table points to another");
			*ret_d = d;
			return 1;
		}
		r = vnic_walk_add(w, d.addr, DESC_LEN(d.meta), flags & VRING_DESC_F_WRITE);
		if (unlikely(r < 0))
			return r;
		if (!(flags & VRING_DESC_F_NEXT))
			return 0;
		i = DESC_NEXT(d.meta);
		if (unlikely(i >= t->n))
			return vnic_ring_break(w->ring, "a descriptor's next lies outside of its table");
		if (unlikely(!--left))
			return vnic_ring_break(w->ring, "a chain is longer than the ring: it loops");
	}
}

/* Any chain; its head is in the ring. */
static noinline int walk(struct vnic_ring *ring, struct vnic_chain *chain, u16 head)
{
	struct vnic_walk w = { .ring = ring, .seg = chain->seg };
	struct vnic_table t = { .p = ring->desc, .n = ring->num };
	struct vnic_desc d;
	int r;

	r = walk_chain(&w, &t, head, ring->num, true, &d);
	if (r > 0) {
		r = vnic_walk_indirect(ring, d.addr, DESC_LEN(d.meta), DESC_FLAGS(d.meta), &t);
		if (unlikely(r < 0))
			return r;
		/* Linux's driver puts more into a table than a small ring has descriptors: 2.7.5.3.1 forbids it, in vain. */
		r = walk_chain(&w, &t, 0, min_t(u32, t.n, VNIC_RING_MAX), false, &d);
	}
	if (unlikely(r < 0))
		return r;
	return vnic_walk_end(&w, chain);
}

int vnic_split_pull(struct vnic_ring *ring, struct vnic_chain *chain)
{
	struct split_driver *driver = ring->driver;
	const __le64 *desc;
	u64 addr, meta;
	u16 head;
	int r;

	if (unlikely(ring->broken))
		return -EPROTO;
	if (ring->avail == ring->avail_seen) {
		r = look_again(ring);
		if (r <= 0)
			return r;
	}
	head = le16_to_cpu(READ_ONCE(driver->ring[ring->avail & (ring->num - 1)]));
	if (unlikely(head >= ring->num))
		return vnic_ring_break(ring, "an available entry names no descriptor of the ring");
	desc = (const __le64 *)ring->desc + 2 * head;
	addr = le64_to_cpu(READ_ONCE(desc[0]));
	meta = le64_to_cpu(READ_ONCE(desc[1]));
	if ((DESC_FLAGS(meta) & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) ||
	    unlikely(!vnic_walk_one(ring, chain, addr, DESC_LEN(meta), DESC_FLAGS(meta) & VRING_DESC_F_WRITE))) {
		/* Reads it all again, so that nothing is taken from two readings. */
		r = walk(ring, chain, head);
		if (unlikely(r < 0))
			return r;
	}
	chain->id = head;
	chain->slots = 1;
	ring->avail++;
	ring->inflight++;
	return 1;
}

void vnic_split_unpull(struct vnic_ring *ring, const struct vnic_chain *chain)
{
	ring->avail--;
	ring->inflight--;
}

void vnic_split_push(struct vnic_ring *ring, u16 id, u16 slots, u32 len)
{
	struct split_device *device = ring->device;

	WRITE_ONCE(device->ring[ring->used & (ring->num - 1)], cpu_to_le64((u64)len << 32 | id));
	ring->used++;
	ring->inflight--;
}

bool vnic_split_publish(struct vnic_ring *ring)
{
	struct split_driver *driver = ring->driver;
	struct split_device *device = ring->device;
	u16 old = ring->published, new = ring->used;

	if (old == new || unlikely(ring->broken))
		return false;
	/* The driver finds entries and payload once it sees the index. */
	smp_store_release(&device->idx, cpu_to_le16(new));
	ring->published = new;
	/* The index before the look at what the driver wants: it sets that, then looks at the index again. */
	smp_mb();
	if (ring->event_idx)
		return vring_need_event(le16_to_cpu(READ_ONCE(driver->ring[ring->num])), new, old);
	return !(READ_ONCE(driver->flags) & cpu_to_le16(VRING_AVAIL_F_NO_INTERRUPT));
}

void vnic_split_notify_off(struct vnic_ring *ring)
{
	struct split_device *device = ring->device;

	if (!ring->notify)
		return;
	ring->notify = false;
	/* An event index that is left behind asks for nothing until the index comes round. */
	if (!ring->event_idx)
		WRITE_ONCE(device->flags, cpu_to_le16(VRING_USED_F_NO_NOTIFY));
}

static void notify_on(struct vnic_ring *ring)
{
	struct split_device *device = ring->device;

	ring->notify = true;
	if (ring->event_idx)
		WRITE_ONCE(*(__le16 *)&device->ring[ring->num], cpu_to_le16(ring->avail));
	else
		WRITE_ONCE(device->flags, 0);
	/* The wish before the second look; the driver writes its index, then looks at our wish. */
	smp_mb();
}

bool vnic_split_needs_poll(struct vnic_ring *ring)
{
	if (unlikely(ring->broken))
		return true;
	if (ring->avail == ring->avail_seen && driver_idx(ring) == ring->avail) {
		notify_on(ring);
		if (driver_idx(ring) == ring->avail)
			return true;
	}
	vnic_split_notify_off(ring);
	return false;
}

const struct vring_ops vnic_split_ops = {
	.needs_poll = vnic_split_needs_poll,
	.pull = vnic_split_pull,
	.push = vnic_split_push,
	.unpull = vnic_split_unpull,
	.publish = vnic_split_publish,
};
