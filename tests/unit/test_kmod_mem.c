/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kmod's address spaces: references on folios, ranges that are shared with the map before, what is no memory; areas. */
#include "tests/unit/unit.h"

#include "tests/unit/kring.h"

#define PHYS(page) ((u64)(KSHIM_PFN + (page)) << PAGE_SHIFT)
#define PAGES(n)   ((n)*PAGE_SIZE)

static struct vhost_iotlb iotlb;

static int set_up(void **state)
{
	(void)state;
	kshim_reset();
	memset(&iotlb, 0, sizeof(iotlb));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	kshim_fail = 0;
	return kshim_held() || kshim_vmaps() ? -1 : 0;
}

static struct vnic_mem *make(struct vnic_mem *old)
{
	struct vnic_mem *mem = vnic_mem_new(&iotlb, old);

	assert_false(IS_ERR(mem));
	return mem;
}

static void holds_a_reference_a_folio(void **state)
{
	struct vnic_mem *mem;

	(void)state;
	kshim_folio(KSHIM_PFN + 64, 64);
	/* 3 pages, then half of the large folio. */
	kshim_iotlb_add(&iotlb, 0x1000, PAGES(3 + 32), PHYS(61), VHOST_MAP_RW);
	mem = make(NULL);
	assert_int_equal(kshim_held(), 3 + 1);
	/* From its middle. */
	kshim_iotlb_add(&iotlb, 0x100000, PAGES(1), PHYS(100), VHOST_MAP_RW);
	vnic_mem_put(mem);
	mem = make(NULL);
	assert_int_equal(kshim_held(), 3 + 1 + 1);
	vnic_mem_put(vnic_mem_get(mem));
	assert_int_equal(kshim_held(), 5);
	vnic_mem_put(mem);
}

static void shares_what_stays(void **state)
{
	struct vnic_mem *first, *second, *third;

	(void)state;
	kshim_iotlb_add(&iotlb, 0, PAGES(8), PHYS(8), VHOST_MAP_RW);
	kshim_iotlb_add(&iotlb, PAGES(16), PAGES(4), PHYS(40), VHOST_MAP_RW);
	first = make(NULL);
	assert_int_equal(kshim_held(), 12);
	kshim_iotlb_add(&iotlb, PAGES(12), PAGES(2), PHYS(100), VHOST_MAP_RW);
	second = make(first);
	assert_int_equal(kshim_held(), 14);
	/* The same place, other memory. */
	iotlb.map[2].addr = PHYS(200);
	third = make(second);
	assert_int_equal(kshim_held(), 18);
	vnic_mem_put(second);
	assert_int_equal(kshim_held(), 18);
	vnic_mem_put(first);
	assert_int_equal(kshim_held(), 14);
	vnic_mem_put(third);
}

static void finds(void **state)
{
	struct vnic_hit hit = { .start = 77 };
	struct vnic_mem *mem;

	(void)state;
	mem = make(NULL);
	assert_false(vnic_mem_find(mem, 0, &hit));
	vnic_mem_put(mem);
	for (unsigned int i = 0; i < 100; i++)
		kshim_iotlb_add(&iotlb, PAGES(3 * i), PAGES(2), PHYS(2 * i),
				i % 2 ? VHOST_MAP_RO : VHOST_MAP_RW);
	mem = make(NULL);
	for (unsigned int i = 0; i < 300; i++) {
		bool there = i % 3 != 2;

		assert_int_equal(vnic_mem_find(mem, PAGES(i) + 4095, &hit), there);
		assert_int_equal(vnic_mem_find(mem, PAGES(i), &hit), there);
		if (!there)
			continue;
		assert_int_equal(hit.start, PAGES(i / 3 * 3));
		assert_int_equal(hit.size, PAGES(2));
		assert_ptr_equal(hit.va, phys_to_virt(PHYS(i / 3 * 2)));
		assert_int_equal(hit.perm, i / 3 % 2 ? VHOST_MAP_RO : VHOST_MAP_RW);
	}
	assert_false(vnic_mem_find(mem, UINT64_MAX, &hit));
	vnic_mem_put(mem);
}

static void refuses(void)
{
	assert_int_equal(PTR_ERR(vnic_mem_new(&iotlb, NULL)), -EFAULT);
	assert_int_equal(kshim_held(), 0);
	memset(&iotlb, 0, sizeof(iotlb));
	kshim_iotlb_add(&iotlb, 0, PAGES(2), PHYS(0), VHOST_MAP_RW);
}

static void refuses_what_is_no_memory(void **state)
{
	(void)state;
	kshim_iotlb_add(&iotlb, 0, PAGES(2), PHYS(0), VHOST_MAP_RW);
	kshim_iotlb_add(&iotlb, PAGES(8), PAGES(2), PHYS(KSHIM_PAGES - 1), VHOST_MAP_RW);
	refuses();
	pfn_to_page(KSHIM_PFN + 9)->hole = true;
	kshim_iotlb_add(&iotlb, PAGES(8), PAGES(4), PHYS(7), VHOST_MAP_RW);
	refuses();
	/* A page that nobody holds. */
	pfn_to_page(KSHIM_PFN + 20)->refs = 0;
	kshim_iotlb_add(&iotlb, PAGES(8), PAGES(4), PHYS(18), VHOST_MAP_RW);
	refuses();
	pfn_to_page(KSHIM_PFN + 20)->refs = 1;
	kshim_iotlb_add(&iotlb, PAGES(1), PAGES(4), PHYS(18), VHOST_MAP_RW); /* overlaps */
	refuses();
	kshim_iotlb_add(&iotlb, PAGES(8), UINT64_MAX - 1, PHYS(18), VHOST_MAP_RW); /* wraps */
	refuses();
	kshim_iotlb_add(&iotlb, PAGES(8), PAGES(4), UINT64_MAX - 5, VHOST_MAP_RW);
	refuses();
}

static void allocations_fail(void **state)
{
	struct vnic_mem *mem = NULL;
	unsigned int n;

	(void)state;
	for (unsigned int i = 0; i < 20; i++)
		kshim_iotlb_add(&iotlb, PAGES(3 * i), PAGES(2), PHYS(2 * i), VHOST_MAP_RW);
	for (n = 1; !mem; n++) {
		kshim_fail = n;
		mem = vnic_mem_new(&iotlb, NULL);
		if (!IS_ERR(mem))
			break;
		assert_int_equal(PTR_ERR(mem), -ENOMEM);
		assert_int_equal(kshim_held(), 0);
		mem = NULL;
	}
	assert_int_equal(n, 22);
	vnic_mem_put(mem);
}

static void identity(void **state)
{
	struct vnic_mem *mem = vnic_mem_new(NULL, NULL), *map;
	struct vnic_hit hit;

	(void)state;
	assert_true(vnic_mem_find(mem, PHYS(5) + 123, &hit));
	assert_true(PHYS(5) + 123 - hit.start < hit.size);
	assert_ptr_equal(hit.va + (PHYS(5) + 123 - hit.start), (u8 *)phys_to_virt(PHYS(5)) + 123);
	assert_int_equal(hit.perm, VHOST_MAP_RW);
	assert_false(vnic_mem_find(mem, 0x1000, &hit));
	assert_false(vnic_mem_find(mem, UINT64_MAX, &hit));
	/* From identity to a map and back. */
	kshim_iotlb_add(&iotlb, 0, PAGES(2), PHYS(0), VHOST_MAP_RW);
	map = make(mem);
	assert_int_equal(kshim_held(), 2);
	vnic_mem_put(mem);
	mem = vnic_mem_new(NULL, map);
	vnic_mem_put(map);
	vnic_mem_put(mem);
	vnic_mem_put(NULL);
}

/* ---- a ring's areas ---- */

static int try_ring(struct vnic_mem *mem, u16 num, u64 desc, u64 driver, u64 device, bool packed)
{
	struct vnic_ring ring;
	int r;

	memset(&ring, 0, sizeof(ring));
	r = vnic_ring_init(&ring, mem, num, desc, driver, device, packed, true, true);
	vnic_ring_fini(&ring);
	vnic_ring_fini(&ring);
	assert_int_equal(kshim_vmaps(), 0);
	return r;
}

static void areas(void **state)
{
	const u64 rw = 0, ro = PAGES(100), wo = PAGES(200), gap = PAGES(16);
	struct vnic_mem *mem;

	(void)state;
	for (unsigned int i = 0; i < 16; i++) /* no page beside another */
		kshim_iotlb_add(&iotlb, PAGES(i), PAGE_SIZE, PHYS(2 * i), VHOST_MAP_RW);
	kshim_iotlb_add(&iotlb, ro, PAGES(8), PHYS(100), VHOST_MAP_RO);
	kshim_iotlb_add(&iotlb, wo, PAGES(8), PHYS(120), VHOST_MAP_WO);
	/* Half a page, and what follows it elsewhere. */
	kshim_iotlb_add(&iotlb, PAGES(300), 2048, PHYS(140), VHOST_MAP_RW);
	kshim_iotlb_add(&iotlb, PAGES(300) + 2048, PAGES(2), PHYS(150), VHOST_MAP_RW);
	mem = make(NULL);
	for (unsigned int packed = 0; packed < 2; packed++) {
		assert_int_equal(try_ring(mem, 256, rw, ro, wo, packed), 0);
		assert_int_equal(try_ring(mem, 1024, rw + 16, rw + PAGES(6) + 4, rw + PAGES(8) + 4,
					  packed),
				 0);
		/* Sizes. */
		assert_int_equal(try_ring(mem, 0, rw, ro, wo, packed), -EINVAL);
		assert_int_equal(try_ring(mem, 1, rw, ro, wo, packed), -EINVAL);
		assert_int_equal(try_ring(mem, 2048, rw, ro, wo, packed), -EINVAL);
		assert_int_equal(try_ring(mem, 0xffff, rw, ro, wo, packed), -EINVAL);
		assert_int_equal(try_ring(mem, 100, rw, ro, wo, packed), packed ? 0 : -EINVAL);
		/* Alignment. */
		assert_int_equal(try_ring(mem, 16, rw + 8, ro, wo, packed), -EINVAL);
		assert_int_equal(try_ring(mem, 16, rw, ro + 1, wo, packed), -EINVAL);
		assert_int_equal(try_ring(mem, 16, rw, ro, wo + 2, packed), -EINVAL);
		assert_int_equal(try_ring(mem, 256, PAGES(300), ro, wo, packed), -EINVAL);
		assert_int_equal(try_ring(mem, 128, PAGES(300), ro, wo, packed), 0);
		/* Permissions: a packed ring's descriptors are written, too. */
		assert_int_equal(try_ring(mem, 16, ro, ro + PAGE_SIZE, wo, packed),
				 packed ? -EFAULT : 0);
		assert_int_equal(try_ring(mem, 16, wo, ro, rw, packed), -EFAULT);
		assert_int_equal(try_ring(mem, 16, rw, wo, wo + PAGE_SIZE, packed), -EFAULT);
		assert_int_equal(try_ring(mem, 16, rw, ro, ro + PAGE_SIZE, packed), -EFAULT);
		/* Outside, across an end, around 2^64. */
		assert_int_equal(try_ring(mem, 16, gap, ro, wo, packed), -EFAULT);
		assert_int_equal(try_ring(mem, 16, gap - 16, ro, wo, packed), -EFAULT);
		assert_int_equal(try_ring(mem, 16, UINT64_MAX - 15, ro, wo, packed), -EFAULT);
	}
	/* vmap() fails, for each area. */
	for (kshim_fail = 1; kshim_fail <= 2; kshim_fail++) {
		unsigned int n = kshim_fail;

		assert_int_equal(try_ring(mem, 1024, rw, rw + PAGES(6), rw + PAGES(10), false),
				 -ENOMEM);
		kshim_fail = n;
	}
	kshim_fail = 0;
	vnic_mem_put(mem);
}

static void set_mem_wants_the_same_areas(void **state)
{
	struct vnic_mem *mem, *other, *moved;
	struct vnic_ring ring;

	(void)state;
	memset(&ring, 0, sizeof(ring));
	for (unsigned int i = 0; i < 8; i++)
		kshim_iotlb_add(&iotlb, PAGES(i), PAGE_SIZE, PHYS(2 * i), VHOST_MAP_RW);
	mem = make(NULL);
	assert_int_equal(vnic_ring_init(&ring, mem, 512, 0, PAGES(3), PAGES(5), false, true, true),
			 0);
	kshim_iotlb_add(&iotlb, PAGES(20), PAGE_SIZE, PHYS(100), VHOST_MAP_RW);
	other = make(mem);
	assert_ptr_equal(vnic_ring_set_mem(&ring, other), mem);
	vnic_mem_put(mem);
	vnic_mem_put(mem);
	for (unsigned int i = 0; i < 8;
	     i++) { /* each page that an area has a part of, and those it has not */
		u64 was = iotlb.map[i].addr;

		iotlb.map[i].addr = PHYS(200);
		moved = make(other);
		if (i == 2 || i == 4 || i == 7) {
			assert_ptr_equal(vnic_ring_set_mem(&ring, moved), other);
			assert_ptr_equal(vnic_ring_set_mem(&ring, other), moved);
			vnic_mem_put(other);
			vnic_mem_put(moved);
		} else {
			assert_int_equal(PTR_ERR(vnic_ring_set_mem(&ring, moved)), -EAGAIN);
			assert_ptr_equal(ring.mem, other);
		}
		vnic_mem_put(moved);
		iotlb.map[i].addr = was;
	}
	vnic_ring_fini(&ring);
	vnic_mem_put(other);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(holds_a_reference_a_folio),
		T(shares_what_stays),
		T(finds),
		T(refuses_what_is_no_memory),
		T(allocations_fail),
		T(identity),
		T(areas),
		T(set_mem_wants_the_same_areas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
