/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As much of a kernel as kmod/{ring,split,packed,mem}.c need, for tests in user space. Physical memory is KSHIM_PAGES
 * pages from KSHIM_PFN on, which lie in a file, so that vmap() can map them again. What a kernel would only warn of
 * (a count that drops below 0, a page put that nobody holds) ends the program.
 */
#pragma once

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include_next <linux/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef u64 phys_addr_t;

#define U64_MAX		UINT64_MAX
#define CONFIG_64BIT	1
#define IS_ENABLED(x)	(x)
#define BUILD_BUG_ON(x) _Static_assert(!(x), #x)
#define WARN_ON_ONCE(x) ((x) ? (abort(), 1) : 0)
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __cold		__attribute__((cold))
#define noinline	__attribute__((noinline))
#define __packed	__attribute__((packed))
#define __aligned(n)	__attribute__((aligned(n)))
#define __force
#define ARRAY_SIZE(a)	 (sizeof(a) / sizeof((a)[0]))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a)-1)) == 0)
#define min_t(t, a, b)                         \
	({                                     \
		t min_a = (a), min_b = (b);    \
		min_a < min_b ? min_a : min_b; \
	})
#define min(a, b)		  min_t(__typeof__(a), a, b)
#define struct_size(p, member, n) (sizeof(*(p)) + (n) * sizeof((p)->member[0]))
#define cond_resched()		  ((void)0)

/* ---- memory order ---- */
#define barrier()		__asm__ volatile("" ::: "memory")
#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile __typeof__(x) *)&(x) = (v))
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
/* kshim_mb is called there: what another CPU may do between a store and the look behind it. */
extern void (*kshim_mb)(void);
static inline void smp_mb(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (kshim_mb)
		kshim_mb();
}
#define cpu_to_le16(x) htole16(x)
#define cpu_to_le32(x) htole32(x)
#define cpu_to_le64(x) htole64(x)
#define le16_to_cpu(x) le16toh(x)
#define le32_to_cpu(x) le32toh(x)
#define le64_to_cpu(x) le64toh(x)

/* ---- errors ---- */
static inline void *ERR_PTR(long error)
{
	return (void *)error;
}
static inline long PTR_ERR(const void *p)
{
	return (long)p;
}
static inline bool IS_ERR(const void *p)
{
	return (unsigned long)p >= (unsigned long)-4095;
}
static inline bool is_power_of_2(unsigned long n)
{
	return n && !(n & (n - 1));
}

/* ---- counts ---- */
typedef struct {
	int n;
} refcount_t;
static inline void refcount_set(refcount_t *r, int n)
{
	r->n = n;
}
static inline void refcount_inc(refcount_t *r)
{
	if (r->n++ <= 0)
		abort();
}
static inline bool refcount_dec_and_test(refcount_t *r)
{
	if (r->n <= 0)
		abort();
	return --r->n == 0;
}

/* ---- allocation; the kshim_fail-th one from now fails (0: none) ---- */
extern unsigned int kshim_fail;
#define GFP_KERNEL_ACCOUNT 0
void *kmalloc(size_t size, int flags);
void *kvzalloc(size_t size, int flags);
#define kfree(p)  free(p)
#define kvfree(p) free(p)

/* ---- pages ---- */
#define PAGE_SHIFT  12
#define PAGE_SIZE   (1ul << PAGE_SHIFT)
#define KSHIM_PAGES 512
#define KSHIM_PFN   0x10000ul

struct page {
	int refs; /* of the folio: in its first page */
	unsigned int head; /* index of that */
	unsigned int nr; /* there: pages of the folio */
	bool hole; /* no memory */
};
struct folio {
	struct page page;
};

#define VM_MAP		  0
#define PAGE_KERNEL	  0
#define offset_in_page(p) ((unsigned long)(p) & (PAGE_SIZE - 1))
#define PHYS_PFN(x)	  ((unsigned long)((x) >> PAGE_SHIFT))

bool pfn_valid(unsigned long pfn);
struct page *pfn_to_page(unsigned long pfn);
struct page *virt_to_page(const void *va);
void *phys_to_virt(phys_addr_t addr);
struct folio *page_folio(struct page *page);
unsigned long folio_pfn(struct folio *folio);
unsigned long folio_nr_pages(struct folio *folio);
bool folio_try_get(struct folio *folio);
void folio_put(struct folio *folio);
void *vmap(struct page **pages, unsigned int n, int flags, int prot);
void vunmap(const void *va);
struct page *vmalloc_to_page(const void *va);

/* ---- what tests do with it ---- */
/* All pages are single, held once (pinned), full of zeros and there. */
void kshim_reset(void);
/* @nr pages from @pfn on are one folio. */
void kshim_folio(unsigned long pfn, unsigned int nr);
/* References beyond the pin, of all pages; areas that vmap() has mapped. */
unsigned int kshim_held(void);
unsigned int kshim_vmaps(void);

/* ---- vdpa ---- */
struct vdpa_vq_state_split {
	u16 avail_index;
};
struct vdpa_vq_state_packed {
	u16 last_avail_counter : 1;
	u16 last_avail_idx : 15;
	u16 last_used_counter : 1;
	u16 last_used_idx : 15;
};
struct vdpa_vq_state {
	union {
		struct vdpa_vq_state_split split;
		struct vdpa_vq_state_packed packed;
	};
};

/* ---- vhost_iotlb: a sorted list, which (for tests) takes what overlaps ---- */
#define VHOST_MAP_RO 0x1
#define VHOST_MAP_WO 0x2
#define VHOST_MAP_RW 0x3
#define KSHIM_MAPS   256

struct vhost_iotlb_map {
	u64 start, last, size, addr;
	u32 perm;
};
struct vhost_iotlb {
	unsigned int nmaps;
	struct vhost_iotlb_map
		map[KSHIM_MAPS + 1]; /* one of size 0 ends it, even where nmaps lies */
};
void kshim_iotlb_add(struct vhost_iotlb *iotlb, u64 start, u64 size, u64 addr, u32 perm);
struct vhost_iotlb_map *vhost_iotlb_itree_first(struct vhost_iotlb *iotlb, u64 start, u64 last);
struct vhost_iotlb_map *vhost_iotlb_itree_next(struct vhost_iotlb_map *map, u64 start, u64 last);
