/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes in the areas of one of kmod's rings, its tables and buffers. The first byte chooses layout and features,
 * the second the ring's size and how memory lies. Then steps, each a byte: below 0x80 a write to the guest's memory (two
 * bytes: where, in units of 2, of the page that this byte modulo 8 names; then 1 + this byte / 8 bytes to write);
 * 0x80 … a well-formed buffer from the driver; 0xa0 … pull; 0xb8 … push the n-th of those held; 0xd0 … publish; 0xd8 … needs
 * poll; 0xe0 … unpull what was pulled last; 0xe8 … a page is unmapped or gets other permissions; 0xf0 … state saved,
 * ring set up anew.
 *
 * Whatever is pulled must lie in mapped memory, with the permission that it wants, and is touched; what is held never
 * exceeds the ring.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/kring.h"

static struct kguest g;
static struct kdrv drv;
static struct kconf c;
static struct vnic_mem *mem;
static struct vnic_ring ring;
static struct vnic_seg seg[VNIC_SEGS];
static struct held {
	u16 id, slots;
	u32 wlen;
} held[VNIC_RING_MAX];
static unsigned int n_held;
static bool last_is_held;

static void check_seg(const struct vnic_seg *s, u32 perm)
{
	volatile u8 *p = s->p;

	for (u32 i = 0; i < s->len; i++) {
		bool found = false;

		/* Once a page is enough. */
		if (i && offset_in_page(p + i))
			continue;
		for (unsigned int j = 0; j < KG_PAGES && !found; j++)
			found = g.page[j] == (u8 *)((uintptr_t)(p + i) & ~(PAGE_SIZE - 1)) &&
				(g.perm[j] & perm);
		if (!found)
			abort();
		if (perm == VHOST_MAP_WO)
			p[i] = 0x5a;
		else
			(void)p[i];
	}
}

static void pull(void)
{
	struct vnic_chain chain = { .seg = seg };
	bool was_broken = ring.broken;
	u64 total = 0;
	int r = vnic_ring_pull(&ring, &chain);

	if ((r < 0) != (ring.broken != NULL) || (was_broken && r >= 0))
		abort();
	if (r <= 0)
		return;
	if ((unsigned int)chain.nr + chain.nw > VNIC_SEGS || chain.id >= c.num || n_held == c.num)
		abort();
	for (unsigned int i = 0; i < (unsigned int)chain.nr + chain.nw; i++) {
		if (seg[i].len == 0)
			abort();
		check_seg(&seg[i], i < chain.nr ? VHOST_MAP_RO : VHOST_MAP_WO);
		total += seg[i].len;
	}
	if (total != (u64)chain.rlen + chain.wlen)
		abort();
	held[n_held++] = (struct held){ chain.id, chain.slots, chain.wlen };
	last_is_held = true;
}

static void push(unsigned int i)
{
	if (!n_held)
		return;
	i %= n_held;
	vnic_ring_push(&ring, held[i].id, held[i].slots, held[i].wlen);
	held[i] = held[--n_held];
	last_is_held = false;
}

static void unpull(void)
{
	struct vnic_chain chain = { .seg = seg };

	if (!n_held || !last_is_held)
		return;
	chain.id = held[--n_held].id;
	chain.slots = held[n_held].slots;
	vnic_ring_unpull(&ring, &chain);
	last_is_held = false;
}

/* A page of buffers or tables: those of the areas stay. */
static void change_map(u8 how, u8 page)
{
	unsigned int at = KG_TABLES + page % (KG_PAGES - KG_TABLES);
	struct vnic_mem *new, *old;

	kguest_protect(&g, at, how % 4);
	new = vnic_mem_new(&g.iotlb, mem);
	if (IS_ERR(new))
		abort();
	old = vnic_ring_set_mem(&ring, new);
	if (old != mem)
		abort();
	vnic_mem_put(old);
	vnic_mem_put(mem);
	mem = new;
}

static void restart(u8 how, const u8 *data)
{
	struct vdpa_vq_state state;

	vnic_ring_get_state(&ring, &state);
	vnic_ring_fini(&ring);
	if (kring_init(&ring, mem, &c) != 0)
		abort();
	if (how & 1)
		memcpy(&state, data, 2);
	vnic_ring_set_state(&ring, &state);
	n_held = 0;
	last_is_held = false;
}

static void add(u8 how, u8 where)
{
	struct kpart part[3] = { { kg_iova(KG_READ) + where * 50u, 100, false },
				 { kg_iova(KG_READ) + where * 300u, 0, how & 4 },
				 { kg_iova(KG_WRITE) + where * 60u, 4000, true } };

	/* The driver's own lists are sound, but its ring may be anything by now: it is not asked what is used. */
	if (!kdrv_add(&drv, part, 1 + how % 3, c.indirect && how & 8, where)) {
		u16 idx = drv.idx;
		bool wrap = drv.idx_wrap;

		drv.nfree = c.num;
		for (u16 i = 0; i < c.num; i++)
			drv.free[i] = i;
		memset(drv.buf, 0, sizeof(drv.buf));
		drv.idx = idx;
		drv.idx_wrap = wrap;
	}
}

/* Bytes that go where rings, tables and buffers are. */
static size_t poke(const u8 *data, size_t size)
{
	static const unsigned int pages[8] = { KG_DESC, KG_DRIVER, KG_DEVICE, KG_TABLES,
					       KG_READ, KG_WRITE,  KG_DESC,   KG_DRIVER };
	size_t n = 1 + data[0] / 8;
	unsigned int at;

	if (size < 3 + n)
		return size;
	/* Near the beginning, mostly: small rings are there. */
	at = (data[1] | (data[0] % 8 < 6 ? data[2] << 8 : 0)) * 2u % (PAGE_SIZE - 32);
	memcpy((u8 *)kguest_p(&g, kg_iova(pages[data[0] % 8]) + at), data + 3, n);
	return 3 + n;
}

static size_t step(const u8 *data, size_t size)
{
	u8 s = data[0];
	const u8 next[2] = { size > 1 ? data[1] : 0, size > 2 ? data[2] : 0 };

	if (s < 0x80)
		return poke(data, size);
	if (s < 0xa0)
		add(s, next[0]);
	else if (s < 0xb8)
		pull();
	else if (s < 0xd0)
		push(s - 0xb8u);
	else if (s < 0xd8)
		vnic_ring_publish(&ring);
	else if (s < 0xe0)
		vnic_ring_needs_poll(&ring);
	else if (s < 0xe8)
		unpull();
	else if (s < 0xf0)
		change_map(s, next[0]);
	else
		restart(s, next);
	return s < 0xa0 || (s >= 0xe8 && s < 0xf0) ? 2 : s >= 0xf0 ? 3 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const u16 split_num[4] = { 2, 4, 16, 256 }, packed_num[4] = { 2, 3, 16, 255 };
	unsigned int seed = 7;
	size_t at = 2;

	if (size < 3)
		return 0;
	c = (struct kconf){ .packed = data[0] & 1,
			    .event_idx = data[0] & 2,
			    .indirect = data[0] & 4 };
	c.num = c.packed ? packed_num[data[1] % 4] : split_num[data[1] % 4];
	n_held = 0;
	last_is_held = false;
	kshim_reset();
	kguest_init(&g, data[1] / 4 % 3, &seed);
	mem = vnic_mem_new(&g.iotlb, NULL);
	kdrv_init(&drv, &g, &c, data[1]);
	memset(&ring, 0, sizeof(ring));
	if (IS_ERR(mem) || kring_init(&ring, mem, &c) != 0)
		abort();
	restart(0, data);
	while (at < size)
		at += step(data + at, size - at);
	vnic_ring_fini(&ring);
	vnic_mem_put(mem);
	if (kshim_held() || kshim_vmaps())
		abort();
	return 0;
}
