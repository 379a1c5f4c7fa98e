// SPDX-License-Identifier: GPL-2.0
/*
 * A device's address space: an immutable, sorted table of ranges.
 *
 * vhost-vdpa tells the whole space anew at every change, and a guest's memory in pages scattered over the host has as many
 * ranges as pages. So a range that stays the same is not made again: tables share it, each by a reference.
 */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "ring.h"

/* Holds a reference on each folio that has a page of it. */
struct vnic_region {
	refcount_t ref;
	phys_addr_t addr;
	u64 size;
};

struct vnic_range {
	struct vnic_hit hit;
	struct vnic_region *region;
};

struct vnic_mem {
	refcount_t ref;
	bool identity;
	u32 n;
	struct vnic_range range[];
};

/*
 * pfn_valid() tells about blocks of this size at least (a subsection of the sparse memory model). Identity is for drivers of
 * this kernel only: they are trusted to name memory, and what is no memory at all is caught.
 */
#define IDENTITY_BLOCK (1ull << 21)

/* Takes or drops the references of [@first, @last]: a folio cannot be split or merged while it is held. */
static void put_folios(unsigned long first, unsigned long last)
{
	unsigned long pfn = first;
	struct folio *folio;

	while (pfn <= last) {
		folio = page_folio(pfn_to_page(pfn));
		pfn = folio_pfn(folio) + folio_nr_pages(folio);
		folio_put(folio);
		cond_resched();
	}
}

static int get_folios(unsigned long first, unsigned long last)
{
	unsigned long pfn = first;
	struct folio *folio;

	while (pfn <= last) {
		if (!pfn_valid(pfn))
			goto fail;
		folio = page_folio(pfn_to_page(pfn));
		if (!folio_try_get(folio))
			goto fail;
		pfn = folio_pfn(folio) + folio_nr_pages(folio);
		cond_resched();
	}
	return 0;
fail:
	if (pfn > first)
		put_folios(first, pfn - 1);
	return -EFAULT;
}

static struct vnic_region *region_new(phys_addr_t addr, u64 size)
{
	struct vnic_region *region = kmalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	int r;

	if (!region)
		return ERR_PTR(-ENOMEM);
	refcount_set(&region->ref, 1);
	region->addr = addr;
	region->size = size;
	r = get_folios(PHYS_PFN(addr), PHYS_PFN(addr + size - 1));
	if (r < 0) {
		kfree(region);
		return ERR_PTR(r);
	}
	return region;
}

static void region_put(struct vnic_region *region)
{
	if (!refcount_dec_and_test(&region->ref))
		return;
	put_folios(PHYS_PFN(region->addr), PHYS_PFN(region->addr + region->size - 1));
	kfree(region);
}

/* The first range of @mem whose end is not below @addr; @mem->n where there is none. */
static u32 lower_bound(const struct vnic_mem *mem, u64 addr)
{
	u32 low = 0, high = mem->n;

	while (low < high) {
		u32 mid = low + (high - low) / 2;
		const struct vnic_hit *h = &mem->range[mid].hit;

		if (h->start + (h->size - 1) < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct vnic_mem *mem_alloc(u32 n)
{
	struct vnic_mem *mem = kvzalloc(struct_size(mem, range, n), GFP_KERNEL_ACCOUNT);

	if (mem)
		refcount_set(&mem->ref, 1);
	return mem;
}

/* The region of @old for the same range, counted; or NULL. Asked in ascending order: *@at is where the last one was found. */
static struct vnic_region *region_of(const struct vnic_mem *old, u32 *at, const struct vhost_iotlb_map *map)
{
	const struct vnic_range *range;

	if (!old)
		return NULL;
	while (*at < old->n && old->range[*at].hit.start < map->start)
		++*at;
	if (*at == old->n)
		return NULL;
	range = &old->range[*at];
	if (range->hit.start != map->start || range->hit.size != map->size || range->region->addr != map->addr)
		return NULL;
	refcount_inc(&range->region->ref);
	return range->region;
}

/* One range more. What a caller may hand us is checked: overlaps, ends that wrap, permissions that are none. */
static int mem_add(struct vnic_mem *mem, const struct vhost_iotlb_map *map, const struct vnic_mem *old, u32 *at)
{
	const struct vnic_hit *prev = mem->n ? &mem->range[mem->n - 1].hit : NULL;
	struct vnic_range *range = &mem->range[mem->n];

	if (!map->size || map->start + (map->size - 1) < map->start || map->addr + (map->size - 1) < map->addr)
		return -EFAULT;
	if (prev && map->start <= prev->start + (prev->size - 1))
		return -EFAULT;
	range->region = region_of(old, at, map);
	if (!range->region) {
		range->region = region_new(map->addr, map->size);
		if (IS_ERR(range->region))
			return PTR_ERR(range->region);
	}
	range->hit = (struct vnic_hit){
		.start = map->start,
		.size = map->size,
		.va = phys_to_virt(map->addr),
		.perm = map->perm & VHOST_MAP_RW,
	};
	mem->n++;
	return 0;
}

struct vnic_mem *vnic_mem_new(struct vhost_iotlb *iotlb, struct vnic_mem *old)
{
	struct vhost_iotlb_map *map;
	struct vnic_mem *mem;
	u32 at = 0, room;
	int r;

	/* Guest memory is reached by the kernel's direct map, all of it. */
	BUILD_BUG_ON(!IS_ENABLED(CONFIG_64BIT));
	room = iotlb ? iotlb->nmaps : 0;
	mem = mem_alloc(room);
	if (!mem)
		return ERR_PTR(-ENOMEM);
	if (!iotlb) {
		mem->identity = true;
		return mem;
	}
	if (old && old->identity)
		old = NULL;
	for (map = vhost_iotlb_itree_first(iotlb, 0, U64_MAX); map; map = vhost_iotlb_itree_next(map, 0, U64_MAX)) {
		r = mem->n < room ? mem_add(mem, map, old, &at) : -EFAULT;
		if (r < 0) {
			vnic_mem_put(mem);
			return ERR_PTR(r);
		}
		cond_resched();
	}
	return mem;
}

struct vnic_mem *vnic_mem_get(struct vnic_mem *mem)
{
	refcount_inc(&mem->ref);
	return mem;
}

void vnic_mem_put(struct vnic_mem *mem)
{
	u32 i;

	if (!mem || !refcount_dec_and_test(&mem->ref))
		return;
	for (i = 0; i < mem->n; i++)
		region_put(mem->range[i].region);
	kvfree(mem);
}

bool vnic_mem_find(const struct vnic_mem *mem, u64 addr, struct vnic_hit *ret_hit)
{
	u32 i;

	if (mem->identity) {
		if (!pfn_valid(PHYS_PFN(addr)))
			return false;
		ret_hit->start = addr & ~(IDENTITY_BLOCK - 1);
		ret_hit->size = IDENTITY_BLOCK;
		ret_hit->va = phys_to_virt(ret_hit->start);
		ret_hit->perm = VHOST_MAP_RW;
		return true;
	}
	i = lower_bound(mem, addr);
	if (i == mem->n || addr < mem->range[i].hit.start)
		return false;
	*ret_hit = mem->range[i].hit;
	return true;
}
