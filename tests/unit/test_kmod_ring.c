/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kmod's rings against a model: a driver (kring.c) and a device do what chance wants, and every buffer must come out as it
 * went in, in order, be given back once, with what was written, seen not before it is published; kicks and interrupts are
 * asked for exactly where the specification says. Hostile rings: test_kmod_hostile.c.
 */
#include <pthread.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "tests/unit/kring.h"

#define WINDOW 1024 /* buffers that the model remembers */
#define ZONES  64 /* buffers that there are at once */
#define ZONE   2048 /* bytes that each may write */

struct buffer {
	struct kpart part[KG_PART_MAX];
	unsigned int n;
	u32 rlen, wlen;
	u32 len; /* as the device gave it back */
	u16 units, id;
	u8 zone;
	bool busy;
};

struct bed {
	struct kguest g;
	struct vnic_mem *mem;
	struct vnic_ring ring;
	struct kconf c;
	struct kdrv drv;
	unsigned int seed;
	struct buffer buf[WINDOW];
	/* Tokens: added, pulled; given back: in this order; published; got by the driver. */
	u64 added, pulled;
	u64 back[WINDOW], n_back, n_published, n_got;
	u64 held[WINDOW];
	bool zone[ZONES];
	unsigned int n_held;
	/* In units: what was given back, published and got; where the driver wants its interrupt. */
	u64 u_back, u_published, u_got, u_event;
	bool irq_on, asked;
	u64 u_added, u_kicked, u_asked;
	struct vnic_seg seg[VNIC_SEGS];
};

static unsigned int rnd(struct bed *b, unsigned int n)
{
	return kg_random(&b->seed) % n;
}

static u8 pattern(u64 iova)
{
	return (u8)(iova * 31 + (iova >> 9));
}

static void fill_readable(struct bed *b)
{
	for (u64 at = kg_iova(KG_READ); at < kg_iova(KG_WRITE); at++)
		*(u8 *)kguest_p(&b->g, at) = pattern(at);
}

static void bed_init(struct bed *b, const struct kconf *c, enum kg_layout layout, unsigned int seed,
		     u16 start)
{
	struct vdpa_vq_state state = { .split.avail_index = start };

	memset(b, 0, sizeof(*b));
	b->seed = seed;
	b->c = *c;
	kshim_reset();
	kguest_init(&b->g, layout, &b->seed);
	fill_readable(b);
	b->mem = vnic_mem_new(&b->g.iotlb, NULL);
	assert_false(IS_ERR(b->mem));
	kdrv_init(&b->drv, &b->g, c, start);
	assert_int_equal(kring_init(&b->ring, b->mem, c), 0);
	if (!c->packed)
		vnic_ring_set_state(&b->ring, &state);
	b->irq_on = true;
	b->asked = true;
}

static void bed_deinit(struct bed *b)
{
	vnic_ring_fini(&b->ring);
	vnic_mem_put(b->mem);
	assert_int_equal(kshim_held(), 0);
	assert_int_equal(kshim_vmaps(), 0);
}

static void make_buffer(struct bed *b, struct buffer *buf)
{
	unsigned int nr = rnd(b, 4), nw = rnd(b, 4);
	u64 zone = kg_iova(KG_WRITE) + 100 + (u64)buf->zone * ZONE;

	buf->n = nr + nw ? nr + nw : 1;
	for (unsigned int i = 0; i < buf->n; i++) {
		struct kpart *p = &buf->part[i];

		p->len = rnd(b, 8) ? rnd(b, 600) : 0;
		p->write = i >= nr;
		p->iova = kg_iova(KG_READ) + rnd(b, (KG_WRITE - KG_READ) * PAGE_SIZE - 600);
		if (p->write) {
			p->iova = zone + buf->wlen;
			buf->wlen += p->len;
		} else {
			buf->rlen += p->len;
		}
	}
}

static void kick(struct bed *b);

static void add(struct bed *b)
{
	struct buffer *buf = &b->buf[b->added % WINDOW];
	bool indirect = b->c.indirect && rnd(b, 2);
	u8 zone = 0;

	while (zone < ZONES && b->zone[zone])
		zone++;
	if (zone == ZONES || buf->busy)
		return;
	*buf = (struct buffer){ .zone = zone };
	make_buffer(b, buf);
	buf->units = b->c.packed && !indirect ? (u16)buf->n : 1;
	/* A driver looks whether to kick once a lap at least. */
	if (b->u_added + buf->units - b->u_kicked > b->c.num)
		kick(b);
	if (!kdrv_add(&b->drv, buf->part, buf->n, indirect, b->added))
		return;
	buf->busy = b->zone[zone] = true;
	b->added++;
	b->u_added += buf->units;
}

static void check_readable(struct bed *b, const struct buffer *buf, const struct vnic_chain *chain)
{
	u8 data[KG_PART_MAX * 600];
	unsigned int at = 0, from = buf->rlen ? rnd(b, buf->rlen) : 0;

	assert_int_equal(vnic_seg_read(chain->seg, chain->nr, 0, data, sizeof(data)), buf->rlen);
	for (unsigned int i = 0; i < buf->n; i++)
		for (u32 j = 0; !buf->part[i].write && j < buf->part[i].len; j++, at++)
			assert_int_equal(data[at], pattern(buf->part[i].iova + j));
	if (buf->rlen) {
		u8 byte;

		assert_int_equal(vnic_seg_read(chain->seg, chain->nr, from, &byte, 1), 1);
		assert_int_equal(byte, data[from]);
	}
}

static void pull(struct bed *b)
{
	struct vnic_chain chain = { .seg = b->seg };
	const struct buffer *buf = &b->buf[b->pulled % WINDOW];
	u32 total = 0;

	if (b->pulled == b->added) {
		assert_int_equal(vnic_ring_pull(&b->ring, &chain), 0);
		return;
	}
	assert_int_equal(b->ring.ops->pull(&b->ring, &chain), 1);
	assert_int_equal(chain.rlen, buf->rlen);
	assert_int_equal(chain.wlen, buf->wlen);
	assert_int_equal(chain.slots, buf->units);
	for (unsigned int i = 0; i < (unsigned int)chain.nr + chain.nw; i++) {
		assert_int_not_equal(chain.seg[i].len, 0);
		total += chain.seg[i].len;
	}
	assert_int_equal(total, chain.rlen + chain.wlen);
	check_readable(b, buf, &chain);
	if (rnd(b, 5) == 0) {
		vnic_ring_unpull(&b->ring, &chain);
		return;
	}
	/* What the device will write is written now: the model has its pieces here only. */
	b->buf[b->pulled % WINDOW].len = buf->wlen ? rnd(b, buf->wlen + 1) : 0;
	for (u32 i = 0; i < buf->len;) {
		u8 data[64];
		u32 n = min(buf->len - i, 1 + rnd(b, sizeof(data)));

		for (u32 j = 0; j < n; j++)
			data[j] = (u8)(b->pulled * 7 + i + j);
		assert_int_equal(vnic_seg_write(chain.seg + chain.nr, chain.nw, i, data, n), n);
		i += n;
	}
	b->buf[b->pulled % WINDOW].id = chain.id;
	b->held[b->n_held++] = b->pulled++;
}

/* Several are taken back, the last first. */
static void unpull_many(struct bed *b)
{
	struct vnic_chain chain[8];
	unsigned int n = 0;

	while (n < ARRAY_SIZE(chain) && b->pulled + n < b->added) {
		chain[n].seg = b->seg;
		assert_int_equal(vnic_ring_pull(&b->ring, &chain[n++]), 1);
	}
	while (n--)
		vnic_ring_unpull(&b->ring, &chain[n]);
}

static void push(struct bed *b)
{
	unsigned int i;
	struct buffer *buf;

	if (!b->n_held)
		return;
	i = rnd(b, 3) ? 0 : rnd(b, b->n_held);
	buf = &b->buf[b->held[i] % WINDOW];
	vnic_ring_push(&b->ring, buf->id, buf->units, buf->len);
	b->back[b->n_back++ % WINDOW] = b->held[i];
	b->u_back += buf->units;
	memmove(&b->held[i], &b->held[i + 1], (b->n_held - i - 1) * sizeof(b->held[0]));
	b->n_held--;
	assert_int_equal(b->ring.inflight, b->n_held);
}

/* Is @event among the units from @from to @to? A split ring's index is known by its low 16 bits. */
static bool passes(const struct bed *b, u64 event, u64 from, u64 to)
{
	if (!b->c.packed)
		return (u16)(event - from) < to - from;
	return event >= from && event < to;
}

static void publish(struct bed *b)
{
	bool irq = vnic_ring_publish(&b->ring), passed;

	if (b->u_back == b->u_published) {
		assert_false(irq);
		return;
	}
	passed = passes(b, b->u_event, b->u_published, b->u_back);
	if (!b->c.event_idx)
		assert_int_equal(irq, b->irq_on);
	else if (!b->c.packed)
		assert_int_equal(irq, passed);
	else if (passed || !b->irq_on) /* An old index is one of this lap again, two laps later. */
		assert_int_equal(irq, b->irq_on);
	b->u_published = b->u_back;
	b->n_published = b->n_back;
}

static void get(struct bed *b)
{
	struct buffer *buf;
	u32 len, at = 0;
	u64 token;
	bool got = kdrv_get(&b->drv, &token, &len);

	assert_int_equal(got, b->n_got < b->n_published);
	if (!got)
		return;
	buf = &b->buf[token % WINDOW];
	assert_int_equal(token, b->back[b->n_got++ % WINDOW]);
	assert_int_equal(len, buf->len);
	b->u_got += buf->units;
	for (unsigned int i = 0; i < buf->n; i++)
		for (u32 j = 0; buf->part[i].write && j < buf->part[i].len && at < len; j++, at++)
			assert_int_equal(kguest_byte(&b->g, buf->part[i].iova + j),
					 (u8)(token * 7 + at));
	assert_int_equal(at, len);
	buf->busy = b->zone[buf->zone] = false;
}

static void irq(struct bed *b)
{
	u16 ahead = (u16)rnd(b, b->c.num);

	b->irq_on = rnd(b, 3) != 0;
	kdrv_irq(&b->drv, b->irq_on, ahead);
	b->u_event = b->u_got + ahead;
	if (!b->irq_on && !b->c.packed)
		b->u_event--;
}

static void kick(struct bed *b)
{
	bool wanted, passed;

	if (b->u_added == b->u_kicked)
		return;
	wanted = kdrv_kick(&b->drv);
	/* The device has asked for what is added from u_asked on. */
	passed = passes(b, b->u_asked, b->u_kicked, b->u_added);
	if (!b->c.event_idx)
		assert_int_equal(wanted, b->asked);
	else if (!b->c.packed)
		assert_int_equal(wanted, passed);
	else if (passed || !b->asked)
		assert_int_equal(wanted, b->asked);
	b->u_kicked = b->u_added;
}

static void poll(struct bed *b)
{
	bool sleeps = vnic_ring_needs_poll(&b->ring);

	assert_int_equal(sleeps, b->pulled == b->added);
	b->asked = sleeps;
	if (sleeps)
		b->u_asked = b->u_added;
}

/* Exact where nothing is in flight. */
static void restart(struct bed *b)
{
	struct vdpa_vq_state state;

	if (b->n_held || b->u_back != b->u_published)
		return;
	vnic_ring_get_state(&b->ring, &state);
	vnic_ring_fini(&b->ring);
	assert_int_equal(kring_init(&b->ring, b->mem, &b->c), 0);
	vnic_ring_set_state(&b->ring, &state);
	poll(b);
}

static void new_map(struct bed *b)
{
	struct vnic_mem *mem, *old;

	kguest_protect(&b->g, KG_PAGES - 1, b->g.perm[KG_PAGES - 1] ? 0 : VHOST_MAP_RW);
	mem = vnic_mem_new(&b->g.iotlb, b->mem);
	assert_false(IS_ERR(mem));
	old = vnic_ring_set_mem(&b->ring, mem);
	assert_ptr_equal(old, b->mem);
	vnic_mem_put(old);
	vnic_mem_put(b->mem);
	b->mem = mem;
}

static void play(struct bed *b, unsigned int steps)
{
	while (steps--) {
		switch (rnd(b, 20)) {
		case 0 ... 5:
			add(b);
			break;
		case 6 ... 9:
			pull(b);
			break;
		case 10 ... 12:
			push(b);
			break;
		case 13:
			publish(b);
			break;
		case 14 ... 15:
			get(b);
			break;
		case 16:
			irq(b);
			break;
		case 17:
			kick(b);
			break;
		case 18:
			if (rnd(b, 6) == 0) {
				vnic_ring_quiet(&b->ring);
				b->asked = false;
			} else {
				poll(b);
			}
			break;
		case 19:
			if (rnd(b, 4) == 0)
				unpull_many(b);
			else if (rnd(b, 4) == 0)
				restart(b);
			else if (rnd(b, 16) == 0)
				new_map(b);
			break;
		}
		if (b->ring.broken)
			fail_msg("broken: %s", b->ring.broken);
	}
	/* To the end: nothing is lost. */
	while (b->n_got < b->added) {
		pull(b);
		push(b);
		publish(b);
		get(b);
	}
}

static void play_all(bool packed, unsigned int steps)
{
	static const u16 split_nums[] = { 2, 4, 16, 256 }, packed_nums[] = { 2, 3, 7, 16, 255 };
	const u16 *nums = packed ? packed_nums : split_nums;
	static struct bed b;

	for (unsigned int i = 0; i < (packed ? 5 : 4); i++)
		for (unsigned int k = 0; k < 12; k++) {
			struct kconf c = { nums[i], packed, k & 1, k & 2 };

			bed_init(&b, &c, k / 4, 12345 + i * 100 + k, (u16)(65500 + k));
			play(&b, steps);
			bed_deinit(&b);
		}
}

static void split_model(void **state)
{
	(void)state;
	play_all(false, 20000);
}

static void packed_model(void **state)
{
	(void)state;
	play_all(true, 20000);
}

/* The 16 bits of the index, twice round; a packed ring's laps. */
static void index_wraps(void **state)
{
	static struct bed b;

	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		struct kconf c = { 4, packed, true, true };

		bed_init(&b, &c, KG_MIXED, 99, 0);
		while (b.added < 140000) {
			add(&b);
			kick(&b);
			pull(&b);
			push(&b);
			publish(&b);
			get(&b);
			poll(&b);
		}
		bed_deinit(&b);
	}
}

/* ---- barriers: what the driver does between a store of the device and the look behind it ---- */

static struct bed *mb_bed;
static unsigned int mb_calls;
static bool mb_wanted;

static void mb_add(void)
{
	const struct kpart part = { kg_iova(KG_WRITE), 64, true };

	mb_calls++;
	kshim_mb = NULL;
	kdrv_add(&mb_bed->drv, &part, 1, false, 1);
	mb_wanted = kdrv_kick(&mb_bed->drv);
}

/* A buffer that comes while the device goes to sleep: seen by its second look, and the driver sees its wish. */
static void sleep_is_not_too_deep(struct bed *b)
{
	struct vnic_chain chain = { .seg = b->seg };

	kshim_mb = mb_add;
	assert_false(vnic_ring_needs_poll(&b->ring));
	assert_int_equal(mb_calls, 1);
	assert_true(mb_wanted);
	assert_int_equal(vnic_ring_pull(&b->ring, &chain), 1);
	vnic_ring_push(&b->ring, chain.id, chain.slots, 8);
}

static void mb_get(void)
{
	u64 token;
	u32 len;

	mb_calls++;
	kshim_mb = NULL;
	mb_wanted = kdrv_get(&mb_bed->drv, &token, &len);
	/* As if it had come a moment earlier, and found nothing. */
	kdrv_irq(&mb_bed->drv, true, 0);
	if (mb_bed->c.event_idx && !mb_bed->c.packed)
		*(u16 *)kguest_p(&mb_bed->g, kg_iova(KG_DRIVER) + 4 + 2 * mb_bed->c.num) -= 1;
	else if (mb_bed->c.event_idx)
		*(u16 *)kguest_p(&mb_bed->g, kg_iova(KG_DRIVER)) -= 1;
}

/* A driver that asks for interrupts while the device publishes gets its buffer, or an interrupt; here it would get both. */
static void interrupt_is_not_lost(struct bed *b)
{
	kdrv_irq(&b->drv, false, 0);
	mb_calls = 0;
	kshim_mb = mb_get;
	assert_true(vnic_ring_publish(&b->ring));
	assert_int_equal(mb_calls, 1);
	assert_true(mb_wanted);
}

static void barriers(void **state)
{
	static struct bed b;

	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		struct kconf c = { 4, k & 2, k & 1, false };

		bed_init(&b, &c, KG_ONE, 1, 0);
		mb_bed = &b;
		mb_calls = 0;
		sleep_is_not_too_deep(&b);
		interrupt_is_not_lost(&b);
		bed_deinit(&b);
	}
}

/* ---- two threads ---- */

struct race {
	struct bed *b;
	unsigned int n;
	int kicked, called; /* eventfds, in principle */
	bool bad;
};

static void wait_for(int *flag)
{
	while (!__atomic_exchange_n(flag, 0, __ATOMIC_SEQ_CST))
		usleep(1);
}

static void *device_thread(void *arg)
{
	struct race *r = arg;
	struct vnic_ring *ring = &r->b->ring;
	struct vnic_chain chain = { .seg = r->b->seg };
	unsigned int done = 0;

	while (done < r->n) {
		unsigned int burst = 0;

		while (burst < 8 && vnic_ring_pull(ring, &chain) > 0) {
			u64 token = 0;

			vnic_seg_read(chain.seg, chain.nr, 0, &token, 8);
			r->bad |= chain.rlen != 8 || chain.wlen != 8 || token != done + burst;
			vnic_seg_write(chain.seg + chain.nr, chain.nw, 0, &token, 8);
			vnic_ring_push(ring, chain.id, chain.slots, 8);
			burst++;
		}
		done += burst;
		if (ring->broken)
			break;
		if (vnic_ring_publish(ring))
			__atomic_store_n(&r->called, 1, __ATOMIC_SEQ_CST);
		/* If a kick is lost both wait for ever, and the alarm ends it. */
		if (!burst && done < r->n && vnic_ring_needs_poll(ring))
			wait_for(&r->kicked);
	}
	return NULL;
}

static void race(const struct kconf *c)
{
	static struct bed b;
	struct race r = { .b = &b, .n = 5000 };
	u64 sent = 0, got = 0, token, at = kg_iova(KG_WRITE);
	pthread_t t;
	u32 len;

	bed_init(&b, c, KG_SCATTERED, 5, 0);
	assert_int_equal(pthread_create(&t, NULL, device_thread, &r), 0);
	while (got < r.n && !b.ring.broken) {
		while (sent < r.n && sent - got < c->num / 2) {
			struct kpart part[2] = { { at + sent % c->num * 16, 8, false },
						 { at + sent % c->num * 16 + 8, 8, true } };

			memcpy(kguest_p(&b.g, part[0].iova), &sent, 8);
			kdrv_add(&b.drv, part, 2, c->indirect, sent);
			sent++;
		}
		if (kdrv_kick(&b.drv))
			__atomic_store_n(&r.kicked, 1, __ATOMIC_SEQ_CST);
		if (!kdrv_get(&b.drv, &token, &len)) {
			kdrv_irq(&b.drv, true, 0);
			if (!kdrv_get(&b.drv, &token, &len)) {
				wait_for(&r.called);
				continue;
			}
		}
		do {
			r.bad |= token != got || len != 8 ||
				 memcmp(kguest_p(&b.g, at + token % c->num * 16 + 8), &token, 8) !=
					 0;
			got++;
		} while (kdrv_get(&b.drv, &token, &len));
	}
	pthread_join(t, NULL);
	assert_null(b.ring.broken);
	assert_false(r.bad);
	bed_deinit(&b);
}

static void two_threads(void **state)
{
	(void)state;
	alarm(300);
	for (unsigned int k = 0; k < 8; k++) {
		struct kconf c = { 16, k & 4, k & 1, k & 2 };

		race(&c);
	}
	alarm(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_model), cmocka_unit_test(packed_model),
		cmocka_unit_test(index_wraps), cmocka_unit_test(barriers),
		cmocka_unit_test(two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
