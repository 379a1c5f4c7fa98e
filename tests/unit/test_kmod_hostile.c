/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest's driver may put into kmod's rings to do harm: tests/tables/hostile-kmod-rings.md, one row a test, for one
 * layout or for both. A ring is broken with the sentence that the row names, and from then on touches nothing; or the
 * thing is harmless, and the next buffer comes as if nothing had been.
 */
#include "tests/unit/unit.h"

#include "tests/unit/kring.h"
#include "tests/unit/table.h"

#define NUM 8

enum layouts {
	SPLIT = 1,
	PACKED = 2,
	BOTH = 3,
};

struct bed {
	struct kguest g;
	struct kdrv drv;
	struct vnic_mem *mem;
	struct vnic_ring ring;
	struct vnic_seg seg[VNIC_SEGS];
	struct vnic_chain chain;
	bool packed;
};

/* A hostile thing: done to a ring in which a buffer of two descriptors waits, one to read and one to write. */
struct hostile {
	const char *name;
	enum layouts layouts;
	void (*act)(struct bed *b);
	const char *broken; /* NULL: harmless: act() has looked at what there is to see */
};

static struct vring_desc *desc(struct bed *b, unsigned int i)
{
	return kguest_p(&b->g, kg_iova(KG_DESC) + i * 16);
}

static struct vring_packed_desc *slot(struct bed *b, unsigned int i)
{
	return (struct vring_packed_desc *)(void *)desc(b, i);
}

static u16 *driver(struct bed *b, unsigned int i)
{
	return kguest_p(&b->g, kg_iova(KG_DRIVER) + i * 2);
}

/* The waiting buffer's descriptors: the first and the second. */
static unsigned int first(struct bed *b)
{
	return b->packed ? 0 : *driver(b, 2);
}

static unsigned int second(struct bed *b)
{
	return b->packed ? 1 : desc(b, first(b))->next;
}

static void set(struct bed *b, unsigned int i, u64 addr, u32 len)
{
	desc(b, i)->addr = addr;
	desc(b, i)->len = len;
}

static u16 *flags(struct bed *b, unsigned int i)
{
	return b->packed ? &slot(b, i)->flags : &desc(b, i)->flags;
}

/* The map changed: another one takes its place. */
static void new_map(struct bed *b)
{
	struct vnic_mem *mem = vnic_mem_new(&b->g.iotlb, b->mem);

	assert_false(IS_ERR(mem));
	vnic_mem_put(vnic_ring_set_mem(&b->ring, mem));
	vnic_mem_put(b->mem);
	b->mem = mem;
}

static void pull(struct bed *b)
{
	assert_int_equal(vnic_ring_pull(&b->ring, &b->chain), 1);
}

/* Make the first descriptor an indirect one, with a table of @n entries at @table, all readable and of 4 bytes, chained. */
static void indirect(struct bed *b, u64 table, unsigned int n)
{
	unsigned int i = first(b);

	set(b, i, table, n * 16);
	*flags(b, i) = (u16)((*flags(b, i) & ~(VRING_DESC_F_NEXT | VRING_DESC_F_WRITE)) |
			     VRING_DESC_F_INDIRECT);
	/* The id is looked for in the last descriptor. */
	if (b->packed)
		slot(b, i)->id = 0;
	for (i = 0; i < n && i < 8; i++) {
		struct vring_desc *d = kguest_p(&b->g, table + i * 16);

		if (b->packed)
			*(struct vring_packed_desc *)(void *)d =
				(struct vring_packed_desc){ .addr = kg_iova(KG_READ), .len = 4 };
		else
			*d = (struct vring_desc){ .addr = kg_iova(KG_READ),
						  .len = 4,
						  .flags = i + 1 < n ? VRING_DESC_F_NEXT : 0,
						  .next = (u16)(i + 1) };
	}
}

static u16 *entry_flags(struct bed *b, u64 table, unsigned int i)
{
	struct vring_desc *d = kguest_p(&b->g, table + i * 16);

	return b->packed ? &((struct vring_packed_desc *)(void *)d)->flags : &d->flags;
}

#define TABLE kg_iova(KG_TABLES)

static void avail_index_jumps(struct bed *b)
{
	*driver(b, 1) += NUM;
}

static void avail_index_goes_back(struct bed *b)
{
	pull(b);
	*driver(b, 1) -= 1;
}

static void avail_index_reuses_what_is_in_flight(struct bed *b)
{
	pull(b);
	*driver(b, 1) += NUM;
}

static void head_is_the_size(struct bed *b)
{
	*driver(b, 2) = NUM;
}

static void head_out_of_range(struct bed *b)
{
	*driver(b, 2) = 0xffff;
}

static void next_loops(struct bed *b)
{
	*flags(b, second(b)) = VRING_DESC_F_NEXT;
	*flags(b, first(b)) = VRING_DESC_F_NEXT;
	desc(b, second(b))->next = (u16)first(b);
}

static void next_out_of_range(struct bed *b)
{
	desc(b, first(b))->next = NUM;
}

static void chain_longer_than_the_ring(struct bed *b)
{
	pull(b);
	for (unsigned int i = 0; i < NUM; i++) {
		set(b, i, kg_iova(KG_READ), 4);
		slot(b, i)->flags = VRING_DESC_F_NEXT | 1 << VRING_PACKED_DESC_F_AVAIL;
	}
	/* It goes on in the slots of the buffer that is in flight. */
	slot(b, 0)->flags = VRING_DESC_F_NEXT | 1 << VRING_PACKED_DESC_F_USED;
}

static void chain_in_another_lap(struct bed *b)
{
	slot(b, 1)->flags ^= 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED;
}

static void head_in_another_lap(struct bed *b)
{
	slot(b, 0)->flags ^= 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED;
	assert_int_equal(vnic_ring_pull(&b->ring, &b->chain), 0);
	assert_true(vnic_ring_needs_poll(&b->ring));
	slot(b, 0)->flags ^= 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED;
}

static void available_and_used_at_once(struct bed *b)
{
	u16 was = slot(b, 0)->flags;

	slot(b, 0)->flags = 0xffff;
	assert_int_equal(vnic_ring_pull(&b->ring, &b->chain), 0);
	slot(b, 0)->flags = was;
}

static void slots_again_while_in_flight(struct bed *b)
{
	for (unsigned int i = 0; i < NUM; i++) {
		slot(b, i)->id = 0;
		slot(b, i)->flags = 1 << VRING_PACKED_DESC_F_AVAIL;
		set(b, i, kg_iova(KG_READ), 4);
	}
	for (unsigned int i = 0; i < NUM; i++)
		pull(b);
	slot(b, 0)->flags = 1 << VRING_PACKED_DESC_F_USED;
}

static void id_is_the_size(struct bed *b)
{
	slot(b, 1)->id = NUM;
}

static void id_twice(struct bed *b)
{
	slot(b, 2)->id = slot(b, 1)->id;
	set(b, 2, kg_iova(KG_READ), 4);
	slot(b, 2)->flags = 1 << VRING_PACKED_DESC_F_AVAIL;
	pull(b);
	vnic_ring_unpull(&b->ring, &b->chain);
}

static void write_before_read(struct bed *b)
{
	*flags(b, first(b)) |= VRING_DESC_F_WRITE;
	*flags(b, second(b)) &= (u16)~VRING_DESC_F_WRITE;
}

static void zero_length(struct bed *b)
{
	set(b, first(b), 0, 0);
	set(b, second(b), UINT64_MAX, 0);
	pull(b);
	assert_int_equal(b->chain.rlen | b->chain.wlen | b->chain.nr | b->chain.nw, 0);
	vnic_ring_unpull(&b->ring, &b->chain);
}

static void address_outside_memory(struct bed *b)
{
	set(b, first(b), KG_IOVA - 1, 1);
}

static void address_behind_memory(struct bed *b)
{
	set(b, first(b), kg_iova(KG_PAGES), 1);
}

static void address_wraps(struct bed *b)
{
	set(b, first(b), UINT64_MAX - 3, 8);
}

static void length_is_4_gib(struct bed *b)
{
	set(b, first(b), kg_iova(KG_READ), UINT32_MAX);
}

static void lengths_add_up_to_4_gib(struct bed *b)
{
	/* As if there were a range that large; nobody touches it. */
	b->ring.hit[0] = (struct vnic_hit){ 0, 1ull << 33, kguest_p(&b->g, KG_IOVA), VHOST_MAP_RW };
	set(b, first(b), 0, 0xfffffff0);
	set(b, second(b), 0, 0x20);
	*flags(b, second(b)) &= (u16)~VRING_DESC_F_WRITE;
}

static void buffer_across_the_end(struct bed *b)
{
	set(b, second(b), kg_iova(KG_PAGES) - 8, 9);
}

static void buffer_across_a_gap(struct bed *b)
{
	kguest_protect(&b->g, KG_READ + 1, 0);
	new_map(b);
	set(b, first(b), kg_iova(KG_READ), 2 * PAGE_SIZE);
}

static void buffer_across_ranges(struct bed *b)
{
	u8 data[3];

	/* Both sides of the border are there, in different places. */
	b->g.iotlb.nmaps = 0;
	kshim_iotlb_add(&b->g.iotlb, KG_IOVA, KG_READ * PAGE_SIZE,
			(u64)(KSHIM_PFN + 8) << PAGE_SHIFT, VHOST_MAP_RW);
	kshim_iotlb_add(&b->g.iotlb, kg_iova(KG_READ), PAGE_SIZE,
			(u64)(KSHIM_PFN + 400) << PAGE_SHIFT, VHOST_MAP_RO);
	new_map(b);
	set(b, first(b), kg_iova(KG_READ) - 1, 3);
	set(b, second(b), kg_iova(KG_READ) - 1, 1);
	memset(phys_to_virt((u64)(KSHIM_PFN + 400) << PAGE_SHIFT), 0x77, 2);
	*(u8 *)kguest_p(&b->g, kg_iova(KG_READ) - 1) = 0x66;
	pull(b);
	assert_int_equal(b->chain.nr, 2);
	assert_int_equal(b->chain.nw, 1);
	assert_int_equal(vnic_seg_read(b->chain.seg, b->chain.nr, 0, data, 3), 3);
	assert_memory_equal(data, "\x66\x77\x77", 3);
	vnic_ring_unpull(&b->ring, &b->chain);
}

static void write_to_what_may_be_read_only(struct bed *b)
{
	kguest_protect(&b->g, KG_WRITE, VHOST_MAP_RO);
	new_map(b);
}

static void read_of_what_may_be_written_only(struct bed *b)
{
	kguest_protect(&b->g, KG_READ, VHOST_MAP_WO);
	new_map(b);
}

static void permission_lost_after_a_hit(struct bed *b)
{
	pull(b);
	vnic_ring_unpull(&b->ring, &b->chain);
	write_to_what_may_be_read_only(b);
}

static void unmapped_after_a_hit(struct bed *b)
{
	pull(b);
	vnic_ring_unpull(&b->ring, &b->chain);
	kguest_protect(&b->g, KG_WRITE, 0);
	new_map(b);
}

static void indirect_not_negotiated(struct bed *b)
{
	b->ring.indirect = false;
	indirect(b, TABLE, 2);
}

static void indirect_nested(struct bed *b)
{
	indirect(b, TABLE, 2);
	*entry_flags(b, TABLE, 1) = VRING_DESC_F_INDIRECT;
}

static void indirect_with_next(struct bed *b)
{
	indirect(b, TABLE, 2);
	*flags(b, first(b)) |= VRING_DESC_F_NEXT;
}

static void indirect_length_not_16(struct bed *b)
{
	indirect(b, TABLE, 2);
	set(b, first(b), TABLE, 33);
}

static void indirect_length_0(struct bed *b)
{
	indirect(b, TABLE, 2);
	set(b, first(b), TABLE, 0);
}

static void indirect_wraps(struct bed *b)
{
	indirect(b, TABLE, 2);
	set(b, first(b), UINT64_MAX - 15, 32);
}

static void indirect_outside_memory(struct bed *b)
{
	indirect(b, TABLE, 2);
	set(b, first(b), 16, 32);
}

static void indirect_across_the_end(struct bed *b)
{
	u64 at = kg_iova(KG_PAGES) - 32;

	indirect(b, at, 2);
	set(b, first(b), at, 48);
	*entry_flags(b, at, 1) |= VRING_DESC_F_NEXT;
	if (!b->packed)
		((struct vring_desc *)kguest_p(&b->g, at + 16))->next = 2;
}

static void indirect_may_be_written_only(struct bed *b)
{
	indirect(b, TABLE, 2);
	kguest_protect(&b->g, KG_TABLES, VHOST_MAP_WO);
	new_map(b);
}

static void indirect_loops(struct bed *b)
{
	indirect(b, TABLE, 2);
	*entry_flags(b, TABLE, 1) = VRING_DESC_F_NEXT;
	((struct vring_desc *)kguest_p(&b->g, TABLE + 16))->next = 1;
}

static void indirect_next_out_of_range(struct bed *b)
{
	indirect(b, TABLE, 2);
	((struct vring_desc *)kguest_p(&b->g, TABLE))->next = 2;
}

static void indirect_table_too_long(struct bed *b)
{
	indirect(b, kg_iova(KG_READ), 2);
	set(b, first(b), kg_iova(KG_READ), (VNIC_RING_MAX + 1) * 16);
}

static void indirect_marked_writable(struct bed *b)
{
	indirect(b, TABLE, 2);
	*flags(b, first(b)) |= VRING_DESC_F_WRITE;
	pull(b);
	assert_int_equal(b->chain.rlen, 8);
	vnic_ring_unpull(&b->ring, &b->chain);
}

static void indirect_behind_direct(struct bed *b)
{
	struct vring_desc d;

	indirect(b, TABLE, 2);
	d = *desc(b, first(b));
	set(b, first(b), kg_iova(KG_READ), 4);
	*flags(b, first(b)) =
		(u16)((*flags(b, first(b)) & ~VRING_DESC_F_INDIRECT) | VRING_DESC_F_NEXT);
	set(b, second(b), d.addr, d.len);
	*flags(b, second(b)) =
		(u16)((*flags(b, second(b)) & ~VRING_DESC_F_WRITE) | VRING_DESC_F_INDIRECT);
	pull(b);
	assert_int_equal(b->chain.rlen, 12);
	vnic_ring_unpull(&b->ring, &b->chain);
}

/* Every descriptor across the border of two pages that do not follow each other. */
static void too_many_pieces(struct bed *b)
{
	indirect(b, TABLE, 1);
	for (unsigned int i = 0; i < VNIC_RING_MAX; i++) {
		struct vring_desc *d = kguest_p(&b->g, TABLE + i * 16);
		u16 f = b->packed || i + 1 == VNIC_RING_MAX ? 0 : VRING_DESC_F_NEXT;

		*d = (struct vring_desc){ .addr = kg_iova(KG_READ + i % 16) - 1, .len = 2 };
		if (b->packed)
			((struct vring_packed_desc *)(void *)d)->flags = f;
		else
			d->flags = f, d->next = (u16)(i + 1);
	}
	set(b, first(b), TABLE, VNIC_RING_MAX * 16);
	for (unsigned int i = 0; i < 18; i++)
		b->g.page[KG_READ - 1 + i] =
			phys_to_virt((u64)(KSHIM_PFN + 300 + 2 * i) << PAGE_SHIFT);
	/* Makes the map anew. */
	kguest_protect(&b->g, KG_PAGES - 1, 0);
	new_map(b);
}

/* Read once: what is pulled stays as it was checked, whatever the driver writes afterwards. */
static void descriptor_rewritten_after_pull(struct bed *b)
{
	void *p;

	pull(b);
	p = b->chain.seg[0].p;
	set(b, first(b), 0, UINT32_MAX);
	*flags(b, first(b)) ^= 0xffff;
	if (!b->packed)
		*driver(b, 2) = 0xffff;
	assert_ptr_equal(b->chain.seg[0].p, p);
	assert_int_equal(b->chain.rlen, 64);
	vnic_ring_push(&b->ring, b->chain.id, b->chain.slots, 0);
	vnic_ring_publish(&b->ring);
	kdrv_init(&b->drv, &b->g, &b->drv.c, 0);
	vnic_ring_fini(&b->ring);
	assert_int_equal(kring_init(&b->ring, b->mem, &b->drv.c), 0);
	kdrv_add(&b->drv, (struct kpart[]){ { kg_iova(KG_READ), 64, false } }, 1, false, 2);
}

static void event_index_anywhere(struct bed *b)
{
	u16 at = b->packed ? 0 : 2 + NUM;

	for (unsigned int i = 0; i < 0x10000; i += 251) {
		*driver(b, at) = (u16)i;
		if (b->packed)
			*driver(b, 1) = (u16)(i * 7);
		pull(b);
		vnic_ring_push(&b->ring, b->chain.id, b->chain.slots, 0);
		vnic_ring_publish(&b->ring);
		kdrv_init(&b->drv, &b->g, &b->drv.c, 0);
		vnic_ring_fini(&b->ring);
		assert_int_equal(kring_init(&b->ring, b->mem, &b->drv.c), 0);
		kdrv_add(&b->drv, (struct kpart[]){ { kg_iova(KG_READ), 64, false } }, 1, false, 2);
	}
}

static void state_outside_the_ring(struct bed *b)
{
	struct vdpa_vq_state state = { .packed = { 1, NUM, 1, NUM } };

	vnic_ring_set_state(&b->ring, &state);
}

static void state_with_used_ahead(struct bed *b)
{
	struct vdpa_vq_state state = { .packed = { 1, 2, 1, 3 } };

	vnic_ring_set_state(&b->ring, &state);
}

#define JUMPED	      "the available index jumped, or went back"
#define NO_MEMORY     "a buffer lies outside of the guest's memory"
#define TABLE_OUTSIDE "an indirect table lies outside of the guest's memory"
#define TABLE_LENGTH  "an indirect table's length is no multiple of a descriptor's, or 0"
#define WRONG_STATE   "the state that was set lies outside the ring"

#define H(name, layouts, broken)             \
	{                                    \
#name, layouts, name, broken \
	}

static const struct hostile hostile[] = {
	H(avail_index_jumps, SPLIT, JUMPED),
	H(avail_index_goes_back, SPLIT, JUMPED),
	H(avail_index_reuses_what_is_in_flight, SPLIT, JUMPED),
	H(head_is_the_size, SPLIT, "an available entry names no descriptor of the ring"),
	H(head_out_of_range, SPLIT, "an available entry names no descriptor of the ring"),
	H(next_loops, SPLIT, "a chain is longer than the ring: it loops"),
	H(next_out_of_range, SPLIT, "a descriptor's next lies outside of its table"),
	H(chain_longer_than_the_ring, PACKED, "a chain is longer than the ring"),
	H(chain_in_another_lap, PACKED, "a chain goes on in a slot of another lap"),
	H(head_in_another_lap, PACKED, NULL),
	H(available_and_used_at_once, PACKED, NULL),
	H(slots_again_while_in_flight, PACKED, "a slot is available again that was not given back"),
	H(id_is_the_size, PACKED, "a buffer's id is not below the ring's size"),
	H(id_twice, PACKED, NULL),
	H(write_before_read, BOTH, "a chain has a part to read behind a part to write"),
	H(zero_length, BOTH, NULL),
	H(address_outside_memory, BOTH, NO_MEMORY),
	H(address_behind_memory, BOTH, NO_MEMORY),
	H(address_wraps, BOTH, "a buffer's address and length wrap around"),
	H(length_is_4_gib, BOTH, NO_MEMORY),
	H(lengths_add_up_to_4_gib, BOTH, "a chain is longer than 4 GiB"),
	H(buffer_across_the_end, BOTH, NO_MEMORY),
	H(buffer_across_a_gap, BOTH, NO_MEMORY),
	H(buffer_across_ranges, BOTH, NULL),
	H(write_to_what_may_be_read_only, BOTH, "a buffer to write is mapped for reading only"),
	H(read_of_what_may_be_written_only, BOTH, "a buffer to read is mapped for writing only"),
	H(permission_lost_after_a_hit, BOTH, "a buffer to write is mapped for reading only"),
	H(unmapped_after_a_hit, BOTH, NO_MEMORY),
	H(indirect_not_negotiated, BOTH, "a descriptor is indirect, which was not negotiated"),
	H(indirect_nested, BOTH, "an indirect table points to another"),
	H(indirect_with_next, BOTH, "an indirect descriptor has a next one"),
	H(indirect_length_not_16, BOTH, TABLE_LENGTH),
	H(indirect_length_0, BOTH, TABLE_LENGTH),
	H(indirect_wraps, BOTH, "an indirect table's address and length wrap around"),
	H(indirect_outside_memory, BOTH, TABLE_OUTSIDE),
	H(indirect_across_the_end, BOTH, TABLE_OUTSIDE),
	H(indirect_may_be_written_only, BOTH, "an indirect table is mapped for writing only"),
	H(indirect_loops, SPLIT, "a chain is longer than the ring: it loops"),
	H(indirect_next_out_of_range, SPLIT, "a descriptor's next lies outside of its table"),
	H(indirect_table_too_long, PACKED, "an indirect table is longer than the largest ring"),
	H(indirect_marked_writable, BOTH, NULL),
	H(indirect_behind_direct, BOTH, NULL),
	H(too_many_pieces, BOTH, "a chain has too many pieces"),
	H(descriptor_rewritten_after_pull, BOTH, NULL),
	H(event_index_anywhere, BOTH, NULL),
	H(state_outside_the_ring, PACKED, WRONG_STATE),
	H(state_with_used_ahead, PACKED,
	  "the state that was set has the used index ahead of the available one"),
};

static void bed_init(struct bed *b, bool packed)
{
	const struct kconf c = { NUM, packed, true, true };
	const struct kpart part[2] = { { kg_iova(KG_READ), 64, false },
				       { kg_iova(KG_WRITE), 64, true } };
	unsigned int seed = 1;

	memset(b, 0, sizeof(*b));
	b->packed = packed;
	b->chain.seg = b->seg;
	kshim_reset();
	kguest_init(&b->g, KG_ONE, &seed);
	b->mem = vnic_mem_new(&b->g.iotlb, NULL);
	assert_false(IS_ERR(b->mem));
	kdrv_init(&b->drv, &b->g, &c, 0);
	assert_int_equal(kring_init(&b->ring, b->mem, &c), 0);
	assert_true(kdrv_add(&b->drv, part, 2, false, 1));
}

/* A ring that is broken stays so, and its driver sees nothing more of it. */
static void check_broken(struct bed *b, const char *why)
{
	u16 *device = kguest_p(&b->g, kg_iova(KG_DEVICE));
	u16 was[2] = { device[0], device[1] };

	while (!b->ring.broken && vnic_ring_pull(&b->ring, &b->chain) > 0)
		;
	if (!b->ring.broken)
		fail_msg("it is not broken");
	assert_string_equal(b->ring.broken, why);
	assert_int_equal(vnic_ring_pull(&b->ring, &b->chain), -EPROTO);
	assert_true(vnic_ring_needs_poll(&b->ring));
	vnic_ring_push(&b->ring, 0, 1, 64);
	assert_false(vnic_ring_publish(&b->ring));
	assert_string_equal(b->ring.broken, why);
	assert_memory_equal(device, was, sizeof(was));
	if (b->packed)
		assert_false((slot(b, 0)->flags >> VRING_PACKED_DESC_F_AVAIL & 1) &&
			     (slot(b, 0)->flags >> VRING_PACKED_DESC_F_USED & 1));
}

static void play(const struct hostile *h, bool packed)
{
	static struct bed b;

	bed_init(&b, packed);
	h->act(&b);
	if (h->broken) {
		check_broken(&b, h->broken);
	} else {
		assert_null(b.ring.broken);
		pull(&b);
		vnic_ring_push(&b.ring, b.chain.id, b.chain.slots, 0);
		vnic_ring_publish(&b.ring);
		assert_null(b.ring.broken);
	}
	vnic_ring_fini(&b.ring);
	vnic_mem_put(b.mem);
	assert_int_equal(kshim_held(), 0);
	assert_int_equal(kshim_vmaps(), 0);
}

static void one(void **state)
{
	const struct hostile *h = *state;

	if (h->layouts & SPLIT)
		play(h, false);
	if (h->layouts & PACKED)
		play(h, true);
}

static struct CMUnitTest tests[ARRAY_SIZE(hostile) + 1];

static void rows_of_kmod_rings(void **state)
{
	static const char *const others[] = { "rows_of_kmod_rings", NULL };

	(void)state;
	table_check("hostile-kmod-rings.md", tests, ARRAY_SIZE(tests), others);
}

int main(void)
{
	unsigned int n = ARRAY_SIZE(hostile);

	for (unsigned int i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){ hostile[i].name, one, NULL, NULL,
						(void *)(uintptr_t)&hostile[i] };
	tests[n] =
		(struct CMUnitTest){ "rows_of_kmod_rings", rows_of_kmod_rings, NULL, NULL, NULL };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
