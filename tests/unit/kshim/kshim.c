/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/kshim/kshim.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define VMAPS 64

unsigned int kshim_fail;
void (*kshim_mb)(void);

static struct page pages[KSHIM_PAGES];
static u8 *memory;
static int file = -1;
static struct {
	u8 *va;
	unsigned int n;
	struct page *page[16];
} vmaps[VMAPS];

static bool fails(void)
{
	return kshim_fail && --kshim_fail == 0;
}

void *kmalloc(size_t size, int flags)
{
	(void)flags;
	return fails() ? NULL : malloc(size);
}

void *kvzalloc(size_t size, int flags)
{
	(void)flags;
	return fails() ? NULL : calloc(1, size);
}

static void set_up(void)
{
	file = memfd_create("memory", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, KSHIM_PAGES * PAGE_SIZE) < 0)
		abort();
	memory = mmap(NULL, KSHIM_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (memory == MAP_FAILED)
		abort();
}

void kshim_reset(void)
{
	if (!memory)
		set_up();
	for (unsigned int i = 0; i < KSHIM_PAGES; i++)
		pages[i] = (struct page){ .refs = 1, .head = i, .nr = 1 };
	memset(memory, 0, KSHIM_PAGES * PAGE_SIZE);
	kshim_fail = 0;
}

void kshim_folio(unsigned long pfn, unsigned int nr)
{
	unsigned int first = (unsigned int)(pfn - KSHIM_PFN);

	for (unsigned int i = first; i < first + nr; i++)
		pages[i] = (struct page){ .refs = i == first, .head = first, .nr = nr };
}

unsigned int kshim_held(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < KSHIM_PAGES; i++)
		if (pages[i].head == i && pages[i].refs > 1)
			n += (unsigned int)pages[i].refs - 1;
	return n;
}

unsigned int kshim_vmaps(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < VMAPS; i++)
		n += vmaps[i].va != NULL;
	return n;
}

bool pfn_valid(unsigned long pfn)
{
	return pfn >= KSHIM_PFN && pfn < KSHIM_PFN + KSHIM_PAGES && !pages[pfn - KSHIM_PFN].hole;
}

struct page *pfn_to_page(unsigned long pfn)
{
	if (pfn < KSHIM_PFN || pfn >= KSHIM_PFN + KSHIM_PAGES)
		abort();
	return &pages[pfn - KSHIM_PFN];
}

struct page *virt_to_page(const void *va)
{
	size_t at = (size_t)((const u8 *)va - memory);

	if (at >= KSHIM_PAGES * PAGE_SIZE)
		abort();
	return &pages[at / PAGE_SIZE];
}

/* No check: the kernel's has none, and its result may be outside where nobody follows it. */
void *phys_to_virt(phys_addr_t addr)
{
	return (void *)((uintptr_t)memory + (addr - ((u64)KSHIM_PFN << PAGE_SHIFT)));
}

struct folio *page_folio(struct page *page)
{
	return (struct folio *)&pages[page->head];
}

unsigned long folio_pfn(struct folio *folio)
{
	return KSHIM_PFN + folio->page.head;
}

unsigned long folio_nr_pages(struct folio *folio)
{
	return folio->page.nr;
}

bool folio_try_get(struct folio *folio)
{
	if (folio->page.refs <= 0)
		return false;
	folio->page.refs++;
	return true;
}

void folio_put(struct folio *folio)
{
	if (folio->page.refs <= 1)
		abort();
	folio->page.refs--;
}

void *vmap(struct page **page, unsigned int n, int flags, int prot)
{
	unsigned int i, at = 0;
	u8 *va;

	(void)flags;
	(void)prot;
	if (fails())
		return NULL;
	while (at < VMAPS && vmaps[at].va)
		at++;
	if (at == VMAPS || n > ARRAY_SIZE(vmaps[at].page))
		abort();
	va = mmap(NULL, n * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (va == MAP_FAILED)
		abort();
	for (i = 0; i < n; i++) {
		vmaps[at].page[i] = page[i];
		if (mmap(va + i * PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, file,
			 (off_t)((size_t)(page[i] - pages) * PAGE_SIZE)) == MAP_FAILED)
			abort();
	}
	vmaps[at].va = va;
	vmaps[at].n = n;
	return va;
}

void vunmap(const void *va)
{
	for (unsigned int i = 0; i < VMAPS; i++) {
		if (vmaps[i].va != va)
			continue;
		munmap(vmaps[i].va, vmaps[i].n * PAGE_SIZE);
		vmaps[i].va = NULL;
		return;
	}
	abort();
}

struct page *vmalloc_to_page(const void *va)
{
	for (unsigned int i = 0; i < VMAPS; i++) {
		size_t at = (size_t)((const u8 *)va - vmaps[i].va);

		if (vmaps[i].va && at < vmaps[i].n * PAGE_SIZE)
			return vmaps[i].page[at / PAGE_SIZE];
	}
	return NULL;
}

void kshim_iotlb_add(struct vhost_iotlb *iotlb, u64 start, u64 size, u64 addr, u32 perm)
{
	unsigned int at = 0;

	if (iotlb->nmaps == KSHIM_MAPS)
		abort();
	while (at < iotlb->nmaps && iotlb->map[at].start <= start)
		at++;
	memmove(&iotlb->map[at + 1], &iotlb->map[at], (iotlb->nmaps - at) * sizeof(iotlb->map[0]));
	iotlb->map[at] = (struct vhost_iotlb_map){
		.start = start, .last = start + size - 1, .size = size, .addr = addr, .perm = perm
	};
	iotlb->map[++iotlb->nmaps].size = 0;
}

struct vhost_iotlb_map *vhost_iotlb_itree_first(struct vhost_iotlb *iotlb, u64 start, u64 last)
{
	if (start != 0 || last != U64_MAX)
		abort();
	return iotlb->map[0].size ? &iotlb->map[0] : NULL;
}

struct vhost_iotlb_map *vhost_iotlb_itree_next(struct vhost_iotlb_map *map, u64 start, u64 last)
{
	(void)start;
	(void)last;
	return map[1].size ? map + 1 : NULL;
}
