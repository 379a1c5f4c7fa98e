// SPDX-License-Identifier: GPL-2.0
/* A ring's life, whatever its layout; and the rare cases of the walk (walk.h). */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/vdpa.h>
#include <linux/vmalloc.h>

#include "walk.h"

/* Pages of the largest area, the descriptors of the largest ring, wherever in a page it begins. */
#define AREA_PAGES (VNIC_RING_MAX * sizeof(struct vring_desc) / PAGE_SIZE + 2)

void vnic_ring_set_broken(struct vnic_ring *ring, const char *why)
{
	if (!ring->broken)
		ring->broken = why;
}

/*
 * The pages of an area of @len bytes. Each must be there as a whole: what the guest calls contiguous may lie anywhere, but
 * not in parts of pages. Where they follow each other in physical memory they do so in ours, and need no mapping.
 */
static int area_pages(const struct vnic_mem *mem, const struct vnic_area *area, struct page **pages, unsigned int *ret_n,
		      void **ret_va)
{
	u64 iova = area->iova;
	u32 len = area->len;
	struct vnic_hit hit = { };
	bool contiguous = true;
	unsigned int n = 0;
	u8 *end = NULL, *va;
	u32 got;

	while (len) {
		if (iova - hit.start >= hit.size && !vnic_mem_find(mem, iova, &hit))
			return -EFAULT;
		if ((hit.perm & area->perm) != area->perm)
			return -EFAULT;
		va = hit.va + (iova - hit.start);
		got = min_t(u64, hit.size - (iova - hit.start), PAGE_SIZE - offset_in_page(va));
		got = min(got, len);
		if (n == 0)
			*ret_va = va;
		else if (offset_in_page(va) || offset_in_page(end))
			return -EINVAL;
		if (WARN_ON_ONCE(n == AREA_PAGES))
			return -EINVAL;
		contiguous &= !end || va == end;
		pages[n++] = virt_to_page(va);
		end = va + got;
		iova += got;
		len -= got;
	}
	*ret_n = contiguous ? 0 : n;
	return 0;
}

static int map_area(struct vnic_ring *ring, struct vnic_area *area, u32 align, void **ret_va)
{
	struct page *pages[AREA_PAGES];
	unsigned int n;
	void *va;
	int r;

	if (area->iova + area->len - 1 < area->iova)
		return -EFAULT;
	if (area->iova % align)
		return -EINVAL;
	r = area_pages(ring->mem, area, pages, &n, &va);
	if (r < 0)
		return r;
	if (!IS_ALIGNED((unsigned long)va, align))
		return -EINVAL;
	if (n) {
		area->vmapped = vmap(pages, n, VM_MAP, PAGE_KERNEL);
		if (!area->vmapped)
			return -ENOMEM;
		va = area->vmapped + offset_in_page(va);
	}
	*ret_va = va;
	return 0;
}

/* Is @area, which @va maps, in @mem where it was? */
static bool same_area(const struct vnic_mem *mem, const struct vnic_area *area, const void *va)
{
	struct page *pages[AREA_PAGES];
	unsigned int i, n;
	void *now;

	if (area_pages(mem, area, pages, &n, &now) < 0)
		return false;
	if (!n || !area->vmapped)
		return !n && !area->vmapped && now == va;
	for (i = 0; i < n; i++)
		if (vmalloc_to_page(area->vmapped + i * PAGE_SIZE) != pages[i])
			return false;
	return offset_in_page(now) == offset_in_page(va);
}

static int map_areas(struct vnic_ring *ring)
{
	struct vnic_area *area = ring->area;
	u32 n = ring->num;
	int r;

	area[0].len = n * sizeof(struct vring_desc);
	if (ring->packed) {
		area[1].len = sizeof(struct vring_packed_desc_event);
		area[2].len = sizeof(struct vring_packed_desc_event);
	} else {
		/* The event indices are behind the rings, and are part of them where they were negotiated only. */
		area[1].len = sizeof(struct vring_avail) + (n + ring->event_idx) * sizeof(u16);
		area[2].len = sizeof(struct vring_used) + n * sizeof(struct vring_used_elem) + ring->event_idx * sizeof(u16);
	}
	area[0].perm = ring->packed ? VHOST_MAP_RW : VHOST_MAP_RO;
	area[1].perm = VHOST_MAP_RO;
	area[2].perm = VHOST_MAP_WO;
	r = map_area(ring, &area[0], 16, &ring->desc);
	r = r ?: map_area(ring, &area[1], ring->packed ? 4 : 2, &ring->driver);
	return r ?: map_area(ring, &area[2], 4, &ring->device);
}

/* Indices of a packed ring are slots of it; those of a split ring cannot be wrong. */
static void check_state(struct vnic_ring *ring)
{
	unsigned int taken;

	if (!ring->packed)
		return;
	if (ring->avail >= ring->num || ring->used >= ring->num) {
		/* Inside at least, so that nobody reads or writes elsewhere. */
		ring->avail = 0;
		ring->used = 0;
		vnic_ring_break(ring, "the state that was set lies outside the ring");
	}
	/* What was taken before and not given back, by whoever ran the ring, is not to be taken again. */
	taken = ring->avail - ring->used;
	if (ring->avail_wrap != ring->used_wrap)
		taken += ring->num;
	if (taken > ring->num) {
		vnic_ring_break(ring, "the state that was set has the used index ahead of the available one");
		taken = 0;
	}
	ring->room = ring->num - taken;
}

int vnic_ring_init(struct vnic_ring *ring, struct vnic_mem *mem, u16 num, u64 desc, u64 driver, u64 device, bool packed,
		   bool event_idx, bool indirect)
{
	int r;

	if (num < VNIC_RING_MIN || num > VNIC_RING_MAX || (!packed && !is_power_of_2(num)))
		return -EINVAL;
	ring->ops = packed ? &vnic_packed_ops : &vnic_split_ops;
	ring->broken = NULL;
	ring->num = num;
	ring->packed = packed;
	ring->event_idx = event_idx;
	ring->indirect = indirect;
	/* As areas full of zeros say; the first needs_poll() that finds something turns it off. */
	ring->notify = true;
	ring->avail = 0;
	ring->avail_seen = 0;
	ring->used = 0;
	ring->published = 0;
	ring->avail_wrap = true;
	ring->used_wrap = true;
	ring->inflight = 0;
	ring->staged = 0;
	ring->room = num;
	memset(ring->hit, 0, sizeof(ring->hit));
	ring->mem = vnic_mem_get(mem);
	ring->area[0].iova = desc;
	ring->area[1].iova = driver;
	ring->area[2].iova = device;
	r = map_areas(ring);
	if (r < 0) {
		vnic_ring_fini(ring);
		return r;
	}
	return 0;
}

void vnic_ring_quiet(struct vnic_ring *ring)
{
	if (ring->packed)
		vnic_packed_notify_off(ring);
	else
		vnic_split_notify_off(ring);
}

void vnic_ring_fini(struct vnic_ring *ring)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ring->area); i++) {
		if (ring->area[i].vmapped)
			vunmap(ring->area[i].vmapped);
		ring->area[i].vmapped = NULL;
	}
	ring->desc = NULL;
	ring->driver = NULL;
	ring->device = NULL;
	memset(ring->hit, 0, sizeof(ring->hit));
	if (ring->mem)
		vnic_mem_put(ring->mem);
	ring->mem = NULL;
}

struct vnic_mem *vnic_ring_set_mem(struct vnic_ring *ring, struct vnic_mem *mem)
{
	struct vnic_mem *old = ring->mem;

	if (!same_area(mem, &ring->area[0], ring->desc) || !same_area(mem, &ring->area[1], ring->driver) ||
	    !same_area(mem, &ring->area[2], ring->device))
		return ERR_PTR(-EAGAIN);
	ring->mem = vnic_mem_get(mem);
	memset(ring->hit, 0, sizeof(ring->hit));
	return old;
}

void vnic_ring_set_state(struct vnic_ring *ring, const struct vdpa_vq_state *state)
{
	if (ring->packed) {
		ring->avail = state->packed.last_avail_idx;
		ring->avail_wrap = state->packed.last_avail_counter;
		ring->used = state->packed.last_used_idx;
		ring->used_wrap = state->packed.last_used_counter;
	} else {
		ring->avail = state->split.avail_index;
		ring->used = ring->avail;
	}
	ring->avail_seen = ring->avail;
	ring->published = ring->used;
	ring->inflight = 0;
	ring->staged = 0;
	check_state(ring);
}

void vnic_ring_get_state(const struct vnic_ring *ring, struct vdpa_vq_state *state)
{
	memset(state, 0, sizeof(*state));
	if (ring->packed) {
		state->packed.last_avail_idx = ring->avail;
		state->packed.last_avail_counter = ring->avail_wrap;
		state->packed.last_used_idx = ring->used;
		state->packed.last_used_counter = ring->used_wrap;
	} else {
		/* What was not given back is for the next owner to do. */
		state->split.avail_index = ring->published;
	}
}

int vnic_walk_pieces(struct vnic_ring *ring, struct vnic_seg *seg, unsigned int n, u64 addr, u32 len, u32 perm)
{
	const unsigned int n0 = n;
	struct vnic_hit *h;
	u64 off;
	u32 got;

	if (!len)
		return n;
	if (addr + len - 1 < addr)
		return vnic_ring_break(ring, "a buffer's address and length wrap around");
	do {
		h = vnic_walk_hit(ring, addr);
		if (addr - h->start >= h->size && !vnic_mem_find(ring->mem, addr, h))
			return vnic_ring_break(ring, "a buffer lies outside of the guest's memory");
		if (!(h->perm & perm))
			return vnic_ring_break(ring, perm == VHOST_MAP_WO ? "a buffer to write is mapped for reading only" :
									    "a buffer to read is mapped for writing only");
		off = addr - h->start;
		got = min_t(u64, len, h->size - off);
		if (n > n0 && seg[n - 1].p + seg[n - 1].len == h->va + off) {
			seg[n - 1].len += got;
		} else {
			if (n == VNIC_SEGS)
				return vnic_ring_break(ring, "a chain has too many pieces");
			seg[n++] = (struct vnic_seg){ .p = h->va + off, .len = got };
		}
		addr += got;
		len -= got;
	} while (len);
	return n;
}

const __le64 *vnic_walk_table(struct vnic_ring *ring, u64 addr, u32 len)
{
	struct vnic_hit *h = vnic_walk_hit(ring, addr);
	u64 off;

	if (addr - h->start >= h->size && !vnic_mem_find(ring->mem, addr, h)) {
		vnic_ring_break(ring, "an indirect table lies outside of the guest's memory");
		return NULL;
	}
	off = addr - h->start;
	if (!(h->perm & VHOST_MAP_RO) || h->size - off < len || !IS_ALIGNED((unsigned long)h->va + off, sizeof(u64)))
		return NULL;
	return (const void *)(h->va + off);
}

int vnic_walk_fetch(struct vnic_ring *ring, u64 addr, __le64 entry[2])
{
	u8 *to = (u8 *)entry;
	struct vnic_hit *h;
	u32 left = 16, got;
	u64 off;

	while (left) {
		h = vnic_walk_hit(ring, addr);
		if (addr - h->start >= h->size && !vnic_mem_find(ring->mem, addr, h))
			return vnic_ring_break(ring, "an indirect table lies outside of the guest's memory");
		if (!(h->perm & VHOST_MAP_RO))
			return vnic_ring_break(ring, "an indirect table is mapped for writing only");
		off = addr - h->start;
		got = min_t(u64, left, h->size - off);
		memcpy(to, h->va + off, got);
		to += got;
		addr += got;
		left -= got;
	}
	return 0;
}

u32 vnic_seg_read_slow(const struct vnic_seg *seg, u16 n, u32 off, void *to, u32 len)
{
	u32 done = 0, got;

	for (; n && done < len; n--, seg++) {
		if (off >= seg->len) {
			off -= seg->len;
			continue;
		}
		got = min(seg->len - off, len - done);
		memcpy(to + done, seg->p + off, got);
		done += got;
		off = 0;
	}
	return done;
}

u32 vnic_seg_write_slow(const struct vnic_seg *seg, u16 n, u32 off, const void *from, u32 len)
{
	u32 done = 0, got;

	for (; n && done < len; n--, seg++) {
		if (off >= seg->len) {
			off -= seg->len;
			continue;
		}
		got = min(seg->len - off, len - done);
		memcpy(seg->p + off, from + done, got);
		done += got;
		off = 0;
	}
	return done;
}
