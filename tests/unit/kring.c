/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/kring.h"

#define load(p)	    __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define fence()	    __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

/* ---- memory ---- */

static u64 phys_of(const struct kguest *g, unsigned int page)
{
	return (u64)(g->page[page] - (u8 *)phys_to_virt(0));
}

/* As vhost-vdpa does: a range for what is contiguous in both. */
static void make_map(struct kguest *g)
{
	unsigned int first = 0;

	g->iotlb.nmaps = 0;
	g->iotlb.map[0].size = 0;
	for (unsigned int i = 1; i <= KG_PAGES; i++) {
		if (i < KG_PAGES && g->perm[i] == g->perm[first] &&
		    g->page[i] == g->page[i - 1] + PAGE_SIZE)
			continue;
		if (g->perm[first])
			kshim_iotlb_add(&g->iotlb, kg_iova(first), (i - first) * PAGE_SIZE,
					phys_of(g, first), g->perm[first]);
		first = i;
	}
}

void kguest_init(struct kguest *g, enum kg_layout layout, unsigned int *seed)
{
	bool taken[KSHIM_PAGES] = { false };
	unsigned int at = 7;

	for (unsigned int i = 0; i < KG_PAGES; i++) {
		g->perm[i] = VHOST_MAP_RW;
		if (layout == KG_SCATTERED || (layout == KG_MIXED && kg_random(seed) % 4 == 0))
			at = kg_random(seed) % KSHIM_PAGES;
		else
			at++;
		/* Scattered: not behind the page before either. */
		while (at >= KSHIM_PAGES || taken[at] ||
		       (layout == KG_SCATTERED && at > 0 && taken[at - 1]))
			at = kg_random(seed) % KSHIM_PAGES;
		taken[at] = true;
		g->page[i] = phys_to_virt((u64)(KSHIM_PFN + at) << PAGE_SHIFT);
	}
	make_map(g);
}

void kguest_protect(struct kguest *g, unsigned int page, u32 perm)
{
	g->perm[page] = perm;
	make_map(g);
}

void *kguest_p(const struct kguest *g, u64 iova)
{
	u64 at = iova - KG_IOVA;

	if (at >= KG_PAGES * PAGE_SIZE)
		abort();
	return g->page[at / PAGE_SIZE] + at % PAGE_SIZE;
}

u8 kguest_byte(const struct kguest *g, u64 iova)
{
	return *(u8 *)kguest_p(g, iova);
}

/* ---- the driver ---- */

static struct vring_desc *split_desc(struct kdrv *d, u16 i)
{
	return kguest_p(d->g, kg_iova(KG_DESC) + i * 16u);
}

static struct vring_packed_desc *slot(struct kdrv *d, u16 i)
{
	return kguest_p(d->g, kg_iova(KG_DESC) + i * 16u);
}

static u16 *driver_word(struct kdrv *d, unsigned int i)
{
	return kguest_p(d->g, kg_iova(KG_DRIVER) + i * 2u);
}

static u16 *device_word(struct kdrv *d, unsigned int i)
{
	return kguest_p(d->g, kg_iova(KG_DEVICE) + i * 2u);
}

void kdrv_init(struct kdrv *d, struct kguest *g, const struct kconf *c, u16 start)
{
	*d = (struct kdrv){ .g = g, .c = *c, .nfree = c->num, .idx_wrap = true, .used_wrap = true };
	for (u16 i = 0; i < c->num; i++)
		d->free[i] = i;
	if (c->packed) {
		for (u16 i = 0; i < c->num; i++)
			memset(slot(d, i), 0, 16);
		memset(driver_word(d, 0), 0, 4);
		memset(device_word(d, 0), 0, 4);
		return;
	}
	d->idx = d->last_used = start;
	*driver_word(d, 0) = 0;
	*driver_word(d, 1) = htole16(start);
	*device_word(d, 0) = 0;
	*device_word(d, 1) = htole16(start);
	if (c->event_idx) {
		*driver_word(d, 2u + c->num) = htole16(start);
		*device_word(d, 2u + 4u * c->num) = htole16(start);
	}
}

int kring_init(struct vnic_ring *ring, struct vnic_mem *mem, const struct kconf *c)
{
	return vnic_ring_init(ring, mem, c->num, kg_iova(KG_DESC), kg_iova(KG_DRIVER),
			      kg_iova(KG_DEVICE), c->packed, c->event_idx, c->indirect);
}

/* A buffer's table, of its own; they lie so that some go across a page's end, in the middle of a descriptor too. */
static u64 table_of(u16 id)
{
	return kg_iova(KG_TABLES) + id * 272ull + 8 * (id % 2);
}

static void put_bytes(struct kguest *g, u64 iova, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*(u8 *)kguest_p(g, iova + i) = ((const u8 *)from)[i];
}

static void fill_table(struct kdrv *d, u64 iova, const struct kpart *part, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		/* Split tables are chains in any order: here backwards from the second on. */
		unsigned int at = i && !d->c.packed ? n - i : i;
		u16 flags = part[i].write ? VRING_DESC_F_WRITE : 0;

		if (d->c.packed) {
			struct vring_packed_desc desc = { .addr = htole64(part[i].iova),
							  .len = htole32(part[i].len),
							  .id = 0xffff,
							  .flags = htole16(flags) };
			put_bytes(d->g, iova + at * 16, &desc, 16);
		} else {
			struct vring_desc desc = { .addr = htole64(part[i].iova),
						   .len = htole32(part[i].len) };

			desc.flags = htole16(flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0));
			desc.next = htole16((u16)(n - i - 1));
			put_bytes(d->g, iova + at * 16, &desc, 16);
		}
	}
}

static void split_add(struct kdrv *d, const struct kpart *part, unsigned int n, bool indirect,
		      u64 token)
{
	unsigned int k = indirect ? 1 : n;
	u16 head = d->free[d->nfree - 1], at = head;
	struct kpart table = { .iova = table_of(head), .len = n * 16 };

	if (indirect) {
		fill_table(d, table.iova, part, n);
		part = &table;
	}
	for (unsigned int i = 0; i < k; i++) {
		u16 flags = indirect	    ? VRING_DESC_F_INDIRECT
			    : part[i].write ? VRING_DESC_F_WRITE
					    : 0;
		u16 next = i + 1 < k ? d->free[d->nfree - 2 - i] : 0;

		if (i + 1 < k)
			flags |= VRING_DESC_F_NEXT;
		*split_desc(d, at) = (struct vring_desc){ .addr = htole64(part[i].iova),
							  .len = htole32(part[i].len),
							  .flags = htole16(flags),
							  .next = htole16(next) };
		d->next[at] = next;
		at = next;
	}
	d->nfree -= k;
	d->buf[head].token = token;
	d->buf[head].slots = (u16)k;
	d->buf[head].busy = true;
	store(driver_word(d, 2u + d->idx % d->c.num), htole16(head));
	store(driver_word(d, 1), htole16(++d->idx));
	d->added++;
}

static void packed_add(struct kdrv *d, const struct kpart *part, unsigned int n, bool indirect,
		       u64 token)
{
	unsigned int k = indirect ? 1 : n;
	u16 id = 0, first = d->idx, at = first, first_flags = 0;
	struct kpart table = { .len = n * 16 };

	while (d->buf[id].busy)
		id++;
	/* Ids in an order of their own. */
	for (u16 i = d->c.num; i-- > 0 && token % 2;)
		if (!d->buf[i].busy) {
			id = i;
			break;
		}
	table.iova = table_of(id);
	if (indirect) {
		fill_table(d, table.iova, part, n);
		part = &table;
	}
	for (unsigned int i = 0; i < k; i++) {
		u16 flags = indirect	    ? VRING_DESC_F_INDIRECT
			    : part[i].write ? VRING_DESC_F_WRITE
					    : 0;

		if (i + 1 < k)
			flags |= VRING_DESC_F_NEXT;
		flags |= d->idx_wrap ? 1 << VRING_PACKED_DESC_F_AVAIL
				     : 1 << VRING_PACKED_DESC_F_USED;
		slot(d, at)->addr = htole64(part[i].iova);
		slot(d, at)->len = htole32(part[i].len);
		slot(d, at)->id = htole16(i + 1 < k ? 0xeeee : id);
		if (i == 0)
			first_flags = flags;
		else
			slot(d, at)->flags = htole16(flags);
		if (++at == d->c.num) {
			at = 0;
			d->idx_wrap = !d->idx_wrap;
		}
	}
	store(&slot(d, first)->flags, htole16(first_flags));
	d->idx = at;
	d->nfree -= k;
	d->added += k;
	d->buf[id].token = token;
	d->buf[id].slots = (u16)k;
	d->buf[id].busy = true;
}

bool kdrv_add(struct kdrv *d, const struct kpart *part, unsigned int n, bool indirect, u64 token)
{
	if ((indirect ? 1 : n) > d->nfree)
		return false;
	if (d->c.packed)
		packed_add(d, part, n, indirect, token);
	else
		split_add(d, part, n, indirect, token);
	return true;
}

bool kdrv_kick(struct kdrv *d)
{
	u16 new = d->idx, old = (u16)(new - d->added), event, flags;
	u32 both;

	d->added = 0;
	fence();
	if (!d->c.packed) {
		if (d->c.event_idx)
			return vring_need_event(le16toh(load(device_word(d, 2u + 4u * d->c.num))),
						new, old);
		return !(load(device_word(d, 0)) & htole16(VRING_USED_F_NO_NOTIFY));
	}
	both = le32toh(load((u32 *)(void *)device_word(d, 0)));
	flags = both >> 16;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	event = both & 0x7fff;
	if ((both >> 15 & 1) != d->idx_wrap)
		event -= d->c.num;
	return vring_need_event(event, new, old);
}

static bool split_get(struct kdrv *d, u16 *ret_id, u32 *ret_len)
{
	u16 *entry;

	if (d->last_used == le16toh(load(device_word(d, 1))))
		return false;
	entry = device_word(d, 2u + 4u * (d->last_used % d->c.num));
	*ret_id = le16toh(entry[0]);
	if (entry[1])
		abort();
	*ret_len = le16toh(entry[2]) | (u32)le16toh(entry[3]) << 16;
	d->last_used++;
	/* Its descriptors, the last of the chain first. */
	for (u16 i = 0, at = *ret_id; i < d->buf[*ret_id].slots; i++, at = d->next[at])
		d->free[d->nfree + i] = at;
	return true;
}

static bool packed_get(struct kdrv *d, u16 *ret_id, u32 *ret_len)
{
	struct vring_packed_desc *s = slot(d, d->last_used);
	u16 flags = le16toh(load(&s->flags));
	bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1,
	     used = flags >> VRING_PACKED_DESC_F_USED & 1;

	if (avail != used || used != d->used_wrap)
		return false;
	*ret_id = le16toh(s->id);
	*ret_len = flags & VRING_DESC_F_WRITE ? le32toh(s->len) : 0;
	d->last_used += d->buf[*ret_id % d->c.num].slots;
	if (d->last_used >= d->c.num) {
		d->last_used -= d->c.num;
		d->used_wrap = !d->used_wrap;
	}
	return true;
}

bool kdrv_get(struct kdrv *d, u64 *ret_token, u32 *ret_len)
{
	u16 id;

	if (!(d->c.packed ? packed_get(d, &id, ret_len) : split_get(d, &id, ret_len)))
		return false;
	if (id >= d->c.num || !d->buf[id].busy)
		abort();
	d->buf[id].busy = false;
	d->nfree += d->buf[id].slots;
	*ret_token = d->buf[id].token;
	return true;
}

void kdrv_irq(struct kdrv *d, bool on, u16 ahead)
{
	u32 at = d->last_used + ahead;
	bool wrap = d->used_wrap;

	if (!d->c.packed) {
		if (d->c.event_idx)
			store(driver_word(d, 2u + d->c.num), htole16((u16)(on ? at : at - 1)));
		else
			store(driver_word(d, 0), htole16(on ? 0 : VRING_AVAIL_F_NO_INTERRUPT));
	} else {
		u32 flags = !on		     ? VRING_PACKED_EVENT_FLAG_DISABLE
			    : d->c.event_idx ? VRING_PACKED_EVENT_FLAG_DESC
					     : VRING_PACKED_EVENT_FLAG_ENABLE;

		if (at >= d->c.num) {
			at -= d->c.num;
			wrap = !wrap;
		}
		store((u32 *)(void *)driver_word(d, 0),
		      htole32(flags << 16 | (u32)wrap << 15 | at));
	}
	fence();
}
