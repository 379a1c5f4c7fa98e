// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames that can be checked: every port sends to every other, each frame numbered within its flow
 * and filled with what its number determines; the receiver regenerates it and compares.
 *
 * No frame may be lost here: a port sends only what its receiver certainly has buffers for, counted
 * with the smallest buffers, so nothing excuses a backend. The layouts are the ones a guest may use:
 * one descriptor, header apart, cuts anywhere (inside the header too), indirect tables; heads and
 * receive buffers in no order, receive buffers of any length from 600 bytes; frames above 1514 bytes
 * are TSO frames that fill several of them.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/bench/frontend.h"

#define VERIFY_PORTS_MAX 8
#define RX_LEN_MIN	 600u
#define RX_STRIDE	 2048u
#define PIECES_MAX	 8u
#define DIRECT_MAX	 3u /* a slot owns four descriptors */
#define SEEN		 4096u
#define STALL_SECONDS	 5.0
#define GSO_SIZE	 1448
#define LEN_MIN		 (FRAME_HEADERS + sizeof(struct stamp))
#define MAGIC		 0x666e6576u

struct stamp {
	uint32_t magic;
	uint16_t src, dst;
	uint64_t seq, len;
};

struct flow {
	uint64_t sent, expected, arrived;
	uint64_t seen[SEEN]; /* seq + 1 of what arrived, by seq % SEEN */
};

struct guest {
	struct vu_port port;
	uint8_t *rx_bufs, *tx_bufs;
	struct vring_desc *tables; /* PIECES_MAX a slot */
	size_t tx_stride;
	unsigned int n_slots, n_free;
	uint16_t free_slot[256];
	bool posted[1024], in_flight[256];
	unsigned int owed; /* buffers that frames under way to it may need */
	struct flow from[VERIFY_PORTS_MAX];
};

struct verify {
	const struct options *o;
	struct guest *guest;
	unsigned int n;
	uint64_t random;
	uint8_t *frame; /* virtio header and frame, put together from its buffers */
	size_t frame_size;
	unsigned int under_way;
	uint64_t frames, bytes, lost, doubled, reordered, torn, calls;
	double last_receive, gap_max;
};

static uint64_t step(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static unsigned int pick(struct verify *v, unsigned int below)
{
	return (unsigned int)(step(&v->random) >> 33) % below;
}

static void torn(struct verify *v, const struct guest *g, const char *what, uint64_t a, uint64_t b)
{
	if (v->torn++ < 10)
		fprintf(stderr, "frontend: %s: %s (%llu, %llu)\n", g->port.name, what,
			(unsigned long long)a, (unsigned long long)b);
}

/* What follows the stamp, 8 bytes at a time; the tail of less than 8 bytes too. */
static void pattern(uint8_t *p, size_t len, const struct stamp *s)
{
	uint64_t x = (s->seq + 1) * 0x9e3779b97f4a7c15ULL + s->src * 257u + s->dst + 1;

	for (; len >= 8; len -= 8, p += 8) {
		step(&x);
		memcpy(p, &x, 8);
	}
	step(&x);
	memcpy(p, &x, len);
}

static bool pattern_is(const uint8_t *p, size_t len, const struct stamp *s)
{
	uint64_t x = (s->seq + 1) * 0x9e3779b97f4a7c15ULL + s->src * 257u + s->dst + 1;

	for (; len >= 8; len -= 8, p += 8) {
		step(&x);
		if (memcmp(p, &x, 8) != 0)
			return false;
	}
	step(&x);
	return memcmp(p, &x, len) == 0;
}

static struct virtio_net_hdr_v1 header_for(unsigned int len)
{
	struct virtio_net_hdr_v1 hdr = { 0 };

	if (len > 1514) {
		hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		hdr.gso_size = GSO_SIZE;
		hdr.hdr_len = FRAME_HEADERS;
		hdr.csum_start = 34;
		hdr.csum_offset = 16;
	}
	return hdr;
}

static unsigned int buffers_for(unsigned int len)
{
	return (unsigned int)(len + VU_HDR_LEN + RX_LEN_MIN - 1) / RX_LEN_MIN;
}

static void post(struct verify *v, struct guest *g, unsigned int id)
{
	struct vu_ring *r = &g->port.rx;

	r->desc[id].addr = vu_gpa(&g->port, g->rx_bufs + (size_t)id * RX_STRIDE);
	r->desc[id].len = RX_LEN_MIN + pick(v, RX_STRIDE - RX_LEN_MIN + 1);
	r->desc[id].flags = VRING_DESC_F_WRITE;
	r->avail->ring[r->avail_idx & (r->size - 1)] = (uint16_t)id;
	g->posted[id] = true;
	vu_publish(r, 1);
}

static void guest_setup(struct verify *v, unsigned int index)
{
	const struct options *o = v->o;
	struct guest *g = &v->guest[index];
	size_t slot = 0;

	memcpy(g->port.mac, o->mac[index], 6);
	vu_connect(&g->port, o->socket[index], o->features);
	if (o->max_size > 1514 && !(g->port.features & VU_F(VIRTIO_NET_F_HOST_TSO4)))
		die("%s: the backend takes no TSO frames", g->port.name);
	g->n_slots = o->ring / 4;
	g->tx_stride = ((size_t)o->max_size + VU_HDR_LEN + 127) & ~(size_t)63;
	slot = g->tx_stride + PIECES_MAX * sizeof(struct vring_desc);
	vu_alloc(&g->port, o->ring, o->ring * (size_t)RX_STRIDE + g->n_slots * slot + 16384);
	g->rx_bufs = vu_mem(&g->port, o->ring * (size_t)RX_STRIDE, 4096);
	g->tx_bufs = vu_mem(&g->port, g->n_slots * g->tx_stride, 4096);
	g->tables = vu_mem(&g->port, g->n_slots * PIECES_MAX * sizeof(struct vring_desc), 4096);
	for (unsigned int i = 0; i < g->n_slots; i++)
		g->free_slot[g->n_free++] = (uint16_t)i;
}

static void guest_start(struct verify *v, struct guest *g)
{
	unsigned int n = v->o->ring, odd = pick(v, n / 2) * 2 + 1;

	vu_start(&g->port);
	for (unsigned int i = 0; i < n; i++)
		post(v, g, i * odd % n);
}

/* Write the pieces of @len bytes at @buf, cut at random places, as a chain in @table from @first. */
static void chain(struct verify *v, struct guest *g, struct vring_desc *table, unsigned int first,
		  const uint8_t *buf, size_t len, unsigned int n)
{
	size_t at = 0;

	for (unsigned int i = 0; i < n; i++) {
		size_t left = len - at, rest = n - 1 - i, part = left;

		if (rest > 0) /* the header often apart, else anywhere; each piece has a byte */
			part = i == 0 && pick(v, 2)
				       ? VU_HDR_LEN
				       : 1 + pick(v, (unsigned int)((left - rest) / (i ? 1 : 8)));
		table[first + i].addr = vu_gpa(&g->port, buf + at);
		table[first + i].len = (uint32_t)part;
		table[first + i].flags = rest > 0 ? VRING_DESC_F_NEXT : 0;
		table[first + i].next = (uint16_t)(first + i + 1);
		at += part;
	}
}

static void queue_frame(struct verify *v, struct guest *g, unsigned int slot, size_t len)
{
	struct vu_ring *r = &g->port.tx;
	const uint8_t *buf = g->tx_bufs + slot * g->tx_stride;
	unsigned int head = slot * 4;

	if ((g->port.features & VU_F(VIRTIO_RING_F_INDIRECT_DESC)) && pick(v, 3) == 0) {
		struct vring_desc *table = g->tables + slot * PIECES_MAX;
		unsigned int n = 1 + pick(v, PIECES_MAX);

		chain(v, g, table, 0, buf, len, n);
		r->desc[head].addr = vu_gpa(&g->port, table);
		r->desc[head].len = (uint32_t)(n * sizeof(*table));
		r->desc[head].flags = VRING_DESC_F_INDIRECT;
	} else {
		chain(v, g, r->desc, head, buf, len, 1 + pick(v, DIRECT_MAX));
	}
	r->avail->ring[r->avail_idx & (r->size - 1)] = (uint16_t)head;
	g->in_flight[slot] = true;
	vu_publish(r, 1);
}

static unsigned int random_len(struct verify *v)
{
	unsigned int kind = pick(v, 5), max = v->o->max_size, mtu = max < 1514 ? max : 1514;

	max = kind < 2 ? LEN_MIN + 64 : kind < 4 ? mtu : max;
	return (unsigned int)LEN_MIN + pick(v, max - (unsigned int)LEN_MIN + 1);
}

/* One frame to a random other port; false where there is no slot or no room there. */
static bool send_frame(struct verify *v, unsigned int src)
{
	unsigned int dst = (src + 1 + pick(v, v->n - 1)) % v->n, len = random_len(v);
	struct guest *g = &v->guest[src], *to = &v->guest[dst];
	struct stamp s = { .magic = MAGIC, .src = (uint16_t)src, .dst = (uint16_t)dst, .len = len };
	struct virtio_net_hdr_v1 hdr = header_for(len);
	unsigned int slot;
	uint8_t *p;

	if (g->n_free == 0 || to->owed + buffers_for(len) > v->o->ring)
		return false;
	slot = g->free_slot[--g->n_free];
	s.seq = to->from[src].sent++;
	p = g->tx_bufs + slot * g->tx_stride;
	memcpy(p, &hdr, sizeof(hdr));
	p += sizeof(hdr);
	frame_headers(p, len, to->port.mac, g->port.mac);
	memcpy(p + FRAME_HEADERS, &s, sizeof(s));
	pattern(p + LEN_MIN, len - LEN_MIN, &s);
	to->owed += buffers_for(len);
	if (v->under_way++ == 0)
		v->last_receive = now();
	queue_frame(v, g, slot, VU_HDR_LEN + len);
	return true;
}

static unsigned int collect_sent(struct verify *v, struct guest *g)
{
	struct vu_ring *r = &g->port.tx;
	uint16_t n = vu_used(r) - r->used_idx;

	for (uint16_t k = 0; k < n; k++) {
		uint32_t id = r->used->ring[r->used_idx++ & (r->size - 1)].id;

		if (id >= r->size || id % 4 != 0 || !g->in_flight[id / 4]) {
			torn(v, g, "a completion of an entry that was not sent", id, 0);
			continue;
		}
		g->in_flight[id / 4] = false;
		g->free_slot[g->n_free++] = (uint16_t)(id / 4);
	}
	return n;
}

static void check_order(struct verify *v, struct flow *f, uint64_t seq)
{
	if (seq >= f->expected) {
		f->expected = seq + 1;
	} else if (f->seen[seq % SEEN] == seq + 1) {
		v->doubled++;
		return;
	} else {
		v->reordered++;
	}
	f->arrived++;
	f->seen[seq % SEEN] = seq + 1;
}

static void check_frame(struct verify *v, struct guest *g, size_t total, unsigned int n_buffers)
{
	const uint8_t *p = v->frame + VU_HDR_LEN;
	struct virtio_net_hdr_v1 hdr, want;
	unsigned int me = (unsigned int)(g - v->guest);
	double t = now();
	struct stamp s;

	if (total < VU_HDR_LEN + LEN_MIN) {
		torn(v, g, "a frame too short", total, 0);
		return;
	}
	memcpy(&hdr, v->frame, sizeof(hdr));
	memcpy(&s, p + FRAME_HEADERS, sizeof(s));
	if (s.magic != MAGIC || s.src >= v->n || s.src == me || s.dst != me) {
		torn(v, g, "a frame that is not ours (magic, source)", s.magic, s.src);
		return;
	}
	want = header_for((unsigned int)s.len);
	if (s.len != total - VU_HDR_LEN)
		torn(v, g, "a frame of the wrong length (sent, received)", s.len,
		     total - VU_HDR_LEN);
	else if (memcmp(p, g->port.mac, 6) != 0 ||
		 memcmp(p + 6, v->guest[s.src].port.mac, 6) != 0 ||
		 !pattern_is(p + LEN_MIN, s.len - LEN_MIN, &s))
		torn(v, g, "a frame with other contents (seq, length)", s.seq, s.len);
	else if (hdr.gso_type != want.gso_type ||
		 (want.gso_type &&
		  (hdr.gso_size != want.gso_size || hdr.flags != want.flags ||
		   hdr.csum_start != want.csum_start || hdr.csum_offset != want.csum_offset)))
		torn(v, g, "a virtio header that lost the frame's offloads (type, flags)",
		     hdr.gso_type, hdr.flags);
	else if (n_buffers == 0)
		torn(v, g, "num_buffers is 0 (seq, length)", s.seq, s.len);
	check_order(v, &g->from[s.src], s.seq);
	if (t - v->last_receive > v->gap_max)
		v->gap_max = t - v->last_receive;
	v->last_receive = t;
	v->frames++;
	v->bytes += s.len;
	if (v->under_way > 0)
		v->under_way--;
	g->owed -= g->owed < buffers_for((unsigned int)s.len) ? g->owed
							      : buffers_for((unsigned int)s.len);
}

/* Append one used buffer to the frame and post it anew. */
static void take_buffer(struct verify *v, struct guest *g, size_t *total)
{
	struct vu_ring *r = &g->port.rx;
	struct vring_used_elem e = r->used->ring[r->used_idx++ & (r->size - 1)];

	if (e.id >= r->size || !g->posted[e.id] || e.len > r->desc[e.id].len) {
		torn(v, g, "a completion of a buffer that was not posted, or is too long", e.id,
		     e.len);
		return;
	}
	g->posted[e.id] = false;
	if (*total + e.len > v->frame_size)
		torn(v, g, "a frame longer than any sent", *total + e.len, 0);
	else
		memcpy(v->frame + *total, g->rx_bufs + (size_t)e.id * RX_STRIDE, e.len);
	*total += e.len;
	post(v, g, e.id);
}

static unsigned int receive(struct verify *v, struct guest *g)
{
	struct vu_ring *r = &g->port.rx;
	uint16_t n = vu_used(r) - r->used_idx, left = n;

	while (left > 0) {
		struct virtio_net_hdr_v1 hdr;
		size_t total = 0;
		unsigned int want;

		take_buffer(v, g, &total);
		left--;
		memcpy(&hdr, v->frame, sizeof(hdr));
		want = hdr.num_buffers;
		if (want > left + 1u) {
			torn(v, g, "a frame published before all its buffers (of, visible)", want,
			     left + 1u);
			want = left + 1u;
		}
		for (unsigned int k = 1; k < want; k++, left--)
			take_buffer(v, g, &total);
		check_frame(v, g, total, hdr.num_buffers);
	}
	return n;
}

static unsigned int collect(struct verify *v)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < v->n; i++)
		n += receive(v, &v->guest[i]) + collect_sent(v, &v->guest[i]);
	return n;
}

/* As a guest's driver sleeps: ask for a call, look once more, wait. True: something is there. */
static bool sleep_until_called(struct verify *v)
{
	struct pollfd fds[2 * VERIFY_PORTS_MAX];
	uint64_t value;
	int r = 0;

	for (unsigned int i = 0; i < 2 * v->n; i++) {
		struct vu_port *p = &v->guest[i / 2].port;
		struct vu_ring *ring = i % 2 ? &p->tx : &p->rx;

		vu_calls(ring, true);
		fds[i] = (struct pollfd){ .fd = ring->call, .events = POLLIN };
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (collect(v) == 0) {
		r = poll(fds, 2 * v->n, 1000);
		v->calls += r > 0;
		if (r == 0 && collect(v) > 0)
			torn(v, &v->guest[0], "completions without a call", v->under_way, 0);
	}
	for (unsigned int i = 0; i < 2 * v->n; i++) {
		struct vu_port *p = &v->guest[i / 2].port;

		vu_calls(i % 2 ? &p->tx : &p->rx, false);
		if (read(fds[i].fd, &value, sizeof(value)) < 0 && errno != EAGAIN)
			die("call: %m");
	}
	return r != 0;
}

/* Until all that is under way has arrived; false: it never will. */
static bool settle(struct verify *v)
{
	double start = now();

	while (now() - start < STALL_SECONDS) {
		bool all = v->under_way == 0;

		for (unsigned int i = 0; i < v->n; i++)
			all &= v->guest[i].n_free == v->guest[i].n_slots;
		if (all)
			return true;
		if (collect(v) > 0)
			start = now();
		else if (v->o->interrupts)
			sleep_until_called(v);
	}
	return false;
}

static bool run(struct verify *v)
{
	double end = now() + v->o->seconds, last = now();

	while (now() < end) {
		unsigned int n = 0;

		for (unsigned int i = 0; i < v->n; i++)
			for (unsigned int k = pick(v, 32); k > 0 && send_frame(v, i); k--)
				n++;
		n += collect(v);
		if (v->o->pause_us) {
			if (!settle(v))
				return false;
			sleep_seconds(v->o->pause_us / 1e6);
			last = now();
		} else if (n == 0 && v->o->interrupts) {
			sleep_until_called(v);
		}
		if (n > 0)
			last = now();
		else if (now() - last > STALL_SECONDS)
			return false;
	}
	return settle(v);
}

static void print_result(struct verify *v)
{
	uint64_t kicks = 0;

	for (unsigned int i = 0; i < v->n; i++) {
		kicks += v->guest[i].port.rx.kicks + v->guest[i].port.tx.kicks;
		for (unsigned int k = 0; k < v->n; k++)
			v->lost += v->guest[i].from[k].sent - v->guest[i].from[k].arrived;
	}
	printf("{\"frames\":%llu,\"bytes\":%llu,\"lost\":%llu,\"doubled\":%llu,\"reordered\":%llu,"
	       "\"torn\":%llu,\"kicks\":%llu,\"calls\":%llu,\"gap_max_ms\":%.3f}\n",
	       (unsigned long long)v->frames, (unsigned long long)v->bytes,
	       (unsigned long long)v->lost, (unsigned long long)v->doubled,
	       (unsigned long long)v->reordered, (unsigned long long)v->torn,
	       (unsigned long long)kicks, (unsigned long long)v->calls, v->gap_max * 1e3);
}

int mode_verify(const struct options *o)
{
	_cleanup_(freep) struct guest *guests = calloc(VERIFY_PORTS_MAX, sizeof(*guests));
	_cleanup_(freep) uint8_t *frame = calloc(1, o->max_size + VU_HDR_LEN + RX_STRIDE);
	struct verify v = { .o = o,
			    .guest = guests,
			    .n = o->n_ports,
			    .random = o->seed * 0x9e3779b97f4a7c15ULL + 1,
			    .frame = frame,
			    .frame_size = o->max_size + VU_HDR_LEN };
	bool bases = true, stuck;

	if (o->n_ports > VERIFY_PORTS_MAX)
		die("verify takes up to %d ports", VERIFY_PORTS_MAX);
	if (!guests || !frame)
		die("out of memory");
	if (buffers_for(o->max_size) > o->ring)
		die("--max-size %u needs a larger --ring", o->max_size);
	for (unsigned int i = 0; i < v.n; i++)
		guest_setup(&v, i);
	for (unsigned int i = 0; i < v.n; i++)
		guest_start(&v, &guests[i]);
	/* A backend may drop what comes before all its ports are up. */
	sleep_seconds(o->warmup);
	stuck = !run(&v);
	if (stuck)
		fprintf(stderr, "frontend: %u frames did not arrive or were not completed\n",
			v.under_way);
	for (unsigned int i = 0; i < v.n; i++) {
		bases &= vu_stop(&guests[i].port);
		vu_close(&guests[i].port);
	}
	if (!bases)
		fprintf(stderr, "frontend: GET_VRING_BASE is not the ring's used index\n");
	print_result(&v);
	return stuck || v.frames == 0 || v.lost || v.doubled || v.reordered || v.torn || !bases;
}
