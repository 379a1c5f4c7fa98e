/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory and virtio rings, as the device side sees them.
 *
 * Everything in guest memory is hostile: an index, a length or an address is read once (READ_ONCE), checked, and the
 * checked copy is used. A ring that breaks the rules is broken for good (until a reset): `broken` says why, nothing is
 * pulled from it or pushed to it any more, and its device asks for a reset (VIRTIO_CONFIG_S_NEEDS_RESET).
 *
 * Locking: all functions on a ring are called with its queue's lock held (vnic_vq.lock), in any context; none sleeps
 * unless it says so.
 */
#ifndef VNIC_RING_H
#define VNIC_RING_H

#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/refcount.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/vhost_iotlb.h>

/* Largest ring offered; smallest a driver may set. */
#define VNIC_RING_MAX 1024
#define VNIC_RING_MIN 2

/*
 * What a device's address space maps. Immutable once made; vnic_mem_get/put count its users. It holds a page reference
 * of its own on every page: vhost-vdpa unpins the pages of an unmapped range before it tells the parent
 * (vhost_vdpa_pa_unmap() in drivers/vhost/vdpa.c), so its pin alone would leave a moment in which we write to a page
 * that has a new owner.
 */
struct vnic_mem;

/*
 * An own copy of @iotlb (IOVA to physical address, VHOST_MAP_* permission). NULL: identity, what virtio_vdpa uses (the
 * driver is this kernel's own). @old: the map that it replaces, or NULL; ranges that did not change are shared with it, so
 * that a small change costs little. May sleep. Returns ERR_PTR(-EFAULT) where a range is not memory, -ENOMEM.
 */
struct vnic_mem *vnic_mem_new(struct vhost_iotlb *iotlb, struct vnic_mem *old);
struct vnic_mem *vnic_mem_get(struct vnic_mem *mem);
/* May sleep where it is the last. */
void vnic_mem_put(struct vnic_mem *mem);

/* A mapped range: [start, start + size) lies at @va. @perm: VHOST_MAP_RO may be read, VHOST_MAP_WO may be written. */
struct vnic_hit {
	u64 start, size;
	u8 *va;
	u32 perm;
};

/* The range that holds @addr; false, and @ret_hit untouched, where there is none. Any context. */
bool vnic_mem_find(const struct vnic_mem *mem, u64 addr, struct vnic_hit *ret_hit);

/* A physically contiguous piece of guest memory. */
struct vnic_seg {
	void *p;
	u32 len;
};

/* A buffer that the driver has made available: what the device may read, then what it may write. */
struct vnic_chain {
	u16 id;		/* split: head; packed: buffer id */
	u16 slots;	/* packed: how many descriptors it takes in the ring; split: 1 */
	u16 nr, nw;	/* pieces to read, pieces to write: seg[0 … nr), seg[nr … nr + nw); none is of length 0 */
	u32 rlen, wlen; /* bytes; both may be 0: a descriptor of length 0 is allowed, and is no piece */
	/* The caller's room, VNIC_SEGS of them. */
	struct vnic_seg *seg;
};

/* A chain of more pieces breaks the ring: 1024 descriptors each in one piece fit, and so do 64 KiB in 4 KiB pieces. */
#define VNIC_SEGS 1056

struct vnic_ring;

/* The seam between layouts and all above. The names are those of the VMDq agency of 2007. */
struct vring_ops {
	/*
	 * True: the ring has nothing to pull (or is broken), the driver was asked to notify, and a look after that found still
	 * nothing: the caller may stop polling. False: there is something; notifications are off.
	 */
	bool (*needs_poll)(struct vnic_ring *ring);
	/* Take the next buffer. 1: taken; 0: none; negative: the ring is broken (ring->broken says why). */
	int (*pull)(struct vnic_ring *ring, struct vnic_chain *chain);
	/*
	 * Give a buffer back with @len bytes written. Seen by the driver only after publish(): the first push of a burst is
	 * published last. Buffers may be given back in another order than they were pulled.
	 */
	void (*push)(struct vnic_ring *ring, u16 id, u16 slots, u32 len);
	/*
	 * Take back the last pull: its buffer is the next one again. May be called for several pulls, the latest first (a frame
	 * that needs more buffers than there are gives all of them back). Of @chain only id and slots are looked at. Other
	 * buffers may have been pushed in between, these not.
	 */
	void (*unpull)(struct vnic_ring *ring, const struct vnic_chain *chain);
	/* Let the driver see what was pushed. True: it wants an interrupt. Nothing pushed, or a broken ring: false. */
	bool (*publish)(struct vnic_ring *ring);
};

/* Ranges hit last, by bits of the address: header and payload of a frame often lie in different ones. */
#define VNIC_HITS 8
#define VNIC_HIT_SHIFT 21

struct vnic_ring {
	const struct vring_ops *ops;
	const char *broken;	/* NULL: sound. A sentence for people */

	/* Mapped contiguously: the three areas in the specification's words. */
	void *desc, *driver, *device;

	u16 num;
	u16 avail;		/* next to pull: split: free running; packed: slot */
	u16 used;		/* next to push: the same, staged pushes included */
	u16 published;		/* used, as the driver has been told */
	u16 inflight;		/* pulled and not pushed */
	u16 avail_seen;		/* split: the driver's index as it was last read */
	u16 room;		/* packed: slots not pulled, or pushed and published */
	u16 staged;		/* packed: slots of the pushes since the last publish */
	bool avail_wrap, used_wrap;
	bool event_idx, indirect, packed;
	bool notify;		/* the driver was asked to notify */
	u64 first;		/* packed: the first staged push, to be published last: second half of its descriptor */
	u16 first_slot;

	struct vnic_mem *mem;	/* counted */
	struct vnic_mem *mem_desc; /* as vhost's descriptor group; NULL: mem. Not used yet */
	struct vnic_area {
		u64 iova;
		u32 len, perm;
		void *vmapped;	/* not contiguous in physical memory: what fini unmaps */
	} area[3];
	struct vnic_hit hit[VNIC_HITS];
};

/*
 * Set a ring up over @mem. Areas are IOVAs. @packed, @event_idx, @indirect: as negotiated. Its state is that after a reset;
 * vnic_ring_set_state() comes after this. May sleep; called without the queue's lock, on a ring that nobody else sees yet and
 * that is zeroed, or was given to vnic_ring_fini().
 * Errors: -EINVAL (num, alignment), -EFAULT (an area is not mapped readable or writable as it must be), -ENOMEM.
 */
int vnic_ring_init(struct vnic_ring *ring, struct vnic_mem *mem, u16 num, u64 desc, u64 driver, u64 device, bool packed,
		   bool event_idx, bool indirect);
/* May sleep. Takes a ring that was never set up as well (zeroed). The state stays, for vnic_ring_get_state(). */
void vnic_ring_fini(struct vnic_ring *ring);

/*
 * Ask the driver not to notify, until needs_poll() asks for it: for a ring of buffers that nobody waits for. (Areas full of
 * zeros, as a driver hands them over, ask for all notifications.) The ring is sound and not in use.
 */
void vnic_ring_quiet(struct vnic_ring *ring);

/*
 * Let a live ring use @mem (counted anew), the map that follows its own: memory was added or removed beside its areas. Returns
 * the map that it used, whose count is the caller's to put once the lock is released. ERR_PTR(-EAGAIN): the ring's areas are
 * not where they were, nothing has changed; it must be set up anew. Pieces pulled before are those of the map returned.
 */
struct vnic_mem *vnic_ring_set_mem(struct vnic_ring *ring, struct vnic_mem *mem);

/*
 * As vdpa's set_vq_state and get_vq_state: split: next avail index; packed: avail and used index with their wrap counters
 * (after a reset both counters are 1, as the driver's are; all zero is no initial state). Exact where nothing is in flight
 * (ring->inflight is 0) and all is published. A state outside the ring breaks it, at the latest at its first pull.
 */
struct vdpa_vq_state;
/* After vnic_ring_init(): it must know the layout. */
void vnic_ring_set_state(struct vnic_ring *ring, const struct vdpa_vq_state *state);
void vnic_ring_get_state(const struct vnic_ring *ring, struct vdpa_vq_state *state);

/* Break @ring, with a sentence that says why; the first stays. Returns -EPROTO. */
void __cold vnic_ring_set_broken(struct vnic_ring *ring, const char *why);
static __always_inline int vnic_ring_break(struct vnic_ring *ring, const char *why)
{
	vnic_ring_set_broken(ring, why);
	return -EPROTO;
}

/* Copy out of and into the pieces of a chain, from @off on; returns the bytes copied (less where the pieces end). */
u32 vnic_seg_read_slow(const struct vnic_seg *seg, u16 n, u32 off, void *to, u32 len);
u32 vnic_seg_write_slow(const struct vnic_seg *seg, u16 n, u32 off, const void *from, u32 len);

static __always_inline u32 vnic_seg_read(const struct vnic_seg *seg, u16 n, u32 off, void *to, u32 len)
{
	if (likely(n && off <= seg->len && len <= seg->len - off)) {
		memcpy(to, (u8 *)seg->p + off, len);
		/* The guest may rewrite it: what was copied is used, not read again. */
		barrier();
		return len;
	}
	return vnic_seg_read_slow(seg, n, off, to, len);
}

static __always_inline u32 vnic_seg_write(const struct vnic_seg *seg, u16 n, u32 off, const void *from, u32 len)
{
	if (likely(n && off <= seg->len && len <= seg->len - off)) {
		memcpy((u8 *)seg->p + off, from, len);
		return len;
	}
	return vnic_seg_write_slow(seg, n, off, from, len);
}

/* The layouts there are. */
extern const struct vring_ops vnic_split_ops, vnic_packed_ops;
bool vnic_split_needs_poll(struct vnic_ring *ring);
int vnic_split_pull(struct vnic_ring *ring, struct vnic_chain *chain);
void vnic_split_push(struct vnic_ring *ring, u16 id, u16 slots, u32 len);
void vnic_split_unpull(struct vnic_ring *ring, const struct vnic_chain *chain);
bool vnic_split_publish(struct vnic_ring *ring);
void vnic_split_notify_off(struct vnic_ring *ring);
void vnic_packed_notify_off(struct vnic_ring *ring);
bool vnic_packed_needs_poll(struct vnic_ring *ring);
int vnic_packed_pull(struct vnic_ring *ring, struct vnic_chain *chain);
void vnic_packed_push(struct vnic_ring *ring, u16 id, u16 slots, u32 len);
void vnic_packed_unpull(struct vnic_ring *ring, const struct vnic_chain *chain);
bool vnic_packed_publish(struct vnic_ring *ring);

/*
 * The same as ring->ops->X(ring, …), for where it is done for every frame: with retpolines a call through a pointer costs
 * more than the rest of a push.
 */
#define VNIC_RING_CALL(ring, name, ...)                                                                                \
	(likely((ring)->ops == &vnic_split_ops) ? vnic_split_##name(ring, ##__VA_ARGS__) :                             \
	 (ring)->ops == &vnic_packed_ops	? vnic_packed_##name(ring, ##__VA_ARGS__) :                            \
						  (ring)->ops->name(ring, ##__VA_ARGS__))

static inline bool vnic_ring_needs_poll(struct vnic_ring *ring)
{
	return VNIC_RING_CALL(ring, needs_poll);
}

static inline int vnic_ring_pull(struct vnic_ring *ring, struct vnic_chain *chain)
{
	return VNIC_RING_CALL(ring, pull, chain);
}

static inline void vnic_ring_push(struct vnic_ring *ring, u16 id, u16 slots, u32 len)
{
	VNIC_RING_CALL(ring, push, id, slots, len);
}

static inline void vnic_ring_unpull(struct vnic_ring *ring, const struct vnic_chain *chain)
{
	VNIC_RING_CALL(ring, unpull, chain);
}

static inline bool vnic_ring_publish(struct vnic_ring *ring)
{
	return VNIC_RING_CALL(ring, publish);
}

#endif
