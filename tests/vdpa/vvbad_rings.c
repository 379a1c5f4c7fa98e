// SPDX-License-Identifier: GPL-2.0-or-later
/* Hostile rings and frames. See vvbad.h. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/vdpa/vvbad.h"

/* ---- the rings themselves ---- */

static int avail_jumps(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[1];

	__atomic_store_n(&r->avail->idx, (uint16_t)(r->avail_idx + r->num + 1), __ATOMIC_RELEASE);
	vv_kick_always(r);
	return 0;
}

static int avail_rewinds(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[1];

	__atomic_store_n(&r->avail->idx, (uint16_t)(r->avail_idx - 1), __ATOMIC_RELEASE);
	vv_kick_always(r);
	return 0;
}

static int head_outside(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[1];

	r->avail->ring[r->avail_idx & (r->num - 1)] = r->num;
	__atomic_store_n(&r->avail->idx, (uint16_t)(r->avail_idx + 1), __ATOMIC_RELEASE);
	vv_kick_always(r);
	return 0;
}

static int next_loops(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[1];

	return bad_desc(b, 1, spare_at(b, 0), 10, VRING_DESC_F_NEXT, (uint16_t)vv_next_id(r, 1));
}

static int next_outside(struct bed *b)
{
	return bad_desc(b, 1, spare_at(b, 0), 10, VRING_DESC_F_NEXT, 0xffff);
}

/* Every slot of the ring goes on in the next one. */
static int packed_endless(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[1];
	int i, rc = 0;

	for (i = 0; !rc && i < r->num; i++)
		rc = bad_desc(b, 1, spare_at(b, 0), 10, VRING_DESC_F_NEXT, 0);
	return rc;
}

static int packed_id_outside(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[1];
	struct vring_packed_desc *e = &r->pdesc[r->avail_idx];

	*e = (struct vring_packed_desc){ spare_at(b, 0), 100, r->num, 0 };
	__atomic_store_n(&e->flags,
			 (uint16_t)(r->avail_wrap ? 1 << VRING_PACKED_DESC_F_AVAIL
						  : 1 << VRING_PACKED_DESC_F_USED),
			 __ATOMIC_RELEASE);
	vv_kick_always(r);
	return 0;
}

/* Available in another lap: not available. */
static int packed_false_wrap(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[1];
	uint16_t at = r->avail_idx;

	r->pdesc[at] = (struct vring_packed_desc){ spare_at(b, DATA(64)), 100, 0, 0 };
	__atomic_store_n(&r->pdesc[at].flags,
			 (uint16_t)(r->avail_wrap ? 1 << VRING_PACKED_DESC_F_USED
						  : 1 << VRING_PACKED_DESC_F_AVAIL),
			 __ATOMIC_RELEASE);
	vv_kick_always(r);
	usleep(20000);
	return 0;
}

/* The second slot of a chain is of another lap. */
static int packed_broken_chain(struct bed *b)
{
	return bad_desc(b, 1, spare_at(b, 0), 10, VRING_DESC_F_NEXT, 0);
}

static int outside_memory(struct bed *b)
{
	return bad_piece(b, 0x1000, 100, false);
}

static int outside_memory_above(struct bed *b)
{
	return bad_piece(b, VV_IOVA + b->bad.size, 100, false);
}

static int outside_memory_received(struct bed *b)
{
	vv_reset(&b->bad);
	vv_negotiate(&b->bad);
	vv_map(&b->bad);
	vv_layout(&b->bad);
	bad_chain(b, 0, &(struct vv_piece){ 0x1000, 2000, true }, 1, false);
	if (vv_program(&b->bad) < 0)
		return -1;
	b->bad.pairs = 1;
	flood(b, b->peer, b->bad.mac, 4, 100);
	return 0;
}

static int address_wraps(struct bed *b)
{
	return bad_piece(b, UINT64_MAX - 10, 100, false);
}

static int length_4_gib(struct bed *b)
{
	return bad_piece(b, spare_at(b, 0), UINT32_MAX, false);
}

static int lengths_add_up(struct bed *b)
{
	struct vv_piece p[4] = {
		{ spare_at(b, 0), 0x80000000, false },
		{ spare_at(b, 0), 0x80000000, false },
		{ spare_at(b, 0), 100, false },
	};

	return bad_chain(b, 1, p, 3, false);
}

static int across_the_end(struct bed *b)
{
	return bad_piece(b, VV_IOVA + b->bad.size - 50, 100, false);
}

static int wrong_direction(struct bed *b)
{
	bad_frame(b, 100);
	return bad_piece(b, spare_at(b, DATA(64)), 112, true);
}

static int write_before_read(struct bed *b)
{
	struct vv_piece p[2] = { { spare_at(b, 0), 100, true },
				 { spare_at(b, DATA(1)), 100, false } };

	return bad_chain(b, 1, p, 2, false);
}

static int zero_length(struct bed *b)
{
	return bad_piece(b, spare_at(b, 0), 0, false);
}

/* ---- indirect tables: descriptors in the spare memory ---- */

static struct vring_desc *table(struct bed *b)
{
	return (struct vring_desc *)(b->bad.spare + DATA(1));
}

static int indirect(struct bed *b, uint32_t len)
{
	return bad_desc(b, 1, spare_at(b, DATA(1)), len, VRING_DESC_F_INDIRECT, 0);
}

/* An entry for both layouts: where a split one has flags and next, a packed one has id and flags. */
static void entry(struct bed *b, int i, uint64_t at, uint32_t len, uint16_t flags, uint16_t next)
{
	if (b->packed)
		((struct vring_packed_desc *)table(b))[i] =
			(struct vring_packed_desc){ at, len, 0, flags };
	else
		table(b)[i] = (struct vring_desc){ at, len, flags, next };
}

static int indirect_nested(struct bed *b)
{
	entry(b, 0, spare_at(b, DATA(1)), 16, VRING_DESC_F_INDIRECT, 0);
	return indirect(b, 16);
}

static int indirect_17(struct bed *b)
{
	entry(b, 0, spare_at(b, 0), 100, 0, 0);
	return indirect(b, 17);
}

static int indirect_0(struct bed *b)
{
	return indirect(b, 0);
}

static int indirect_with_next(struct bed *b)
{
	entry(b, 0, spare_at(b, 0), 100, 0, 0);
	return bad_desc(b, 1, spare_at(b, DATA(1)), 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT,
			0);
}

static int indirect_outside(struct bed *b)
{
	/* Its first entry is there, and goes on. */
	((struct vring_desc *)(b->bad.mem + b->bad.size))[-1] =
		(struct vring_desc){ spare_at(b, 0), 1, VRING_DESC_F_NEXT, 1 };
	return bad_desc(b, 1, VV_IOVA + b->bad.size - 16, 64, VRING_DESC_F_INDIRECT, 0);
}

static int indirect_loops(struct bed *b)
{
	entry(b, 0, spare_at(b, 0), 1, VRING_DESC_F_NEXT, 0);
	return indirect(b, 32);
}

static int indirect_next_outside(struct bed *b)
{
	entry(b, 0, spare_at(b, 0), 1, VRING_DESC_F_NEXT, 2);
	return indirect(b, 32);
}

static int indirect_huge(struct bed *b)
{
	int i;

	for (i = 0; i < 8192; i++)
		entry(b, i, spare_at(b, 0), 1, VRING_DESC_F_NEXT, (uint16_t)(i + 1));
	return indirect(b, 8192 * 16);
}

static int indirect_of_4_gib(struct bed *b)
{
	return indirect(b, 0xfffffff0);
}

/* ---- receive ---- */

/* Up again with receive buffers of one's own making. */
static int receive_with(struct bed *b, uint64_t at, uint32_t len, bool write, int n)
{
	struct vv_ring *r = &b->bad.ring[0];
	int i, rc;

	rc = vv_reset(&b->bad) ?: vv_negotiate(&b->bad) ?: vv_map(&b->bad) ?: vv_layout(&b->bad);
	for (i = 0; !rc && i < n && r->room; i++)
		rc = vv_add(&b->bad, r, &(struct vv_piece){ at, len, write }, 1, false) < 0;
	rc = rc ?: vv_program(&b->bad);
	b->bad.pairs = 1;
	if (!rc)
		flood(b, b->peer, b->bad.mac, 200, 300);
	return rc;
}

static int receive_1_byte(struct bed *b)
{
	return receive_with(b, spare_at(b, 0), 1, true, 64);
}

static int receive_50_bytes(struct bed *b)
{
	return receive_with(b, spare_at(b, 0), 50, true, 64);
}

static int receive_read_only(struct bed *b)
{
	return receive_with(b, spare_at(b, 0), 2000, false, 64);
}

static int receive_zero_length(struct bed *b)
{
	return receive_with(b, spare_at(b, 0), 0, true, 64);
}

static int receive_across_the_end(struct bed *b)
{
	return receive_with(b, VV_IOVA + b->bad.size - 100, 2000, true, 64);
}

/* A frame in very many buffers, whole. */
static int receive_small_buffers(struct bed *b)
{
	struct vv_conf c = b->conf;
	int r;

	c.bufsz = 40;
	r = vv_reset(&b->bad) ?: vv_up(&b->bad, &c);
	return r ?: frames(b, b->peer, &b->bad, 1, 1400);
}

static int receive_head_outside(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[0];
	int i;

	/* The buffers that are there come first. */
	for (i = 0; i < r->num; i++)
		r->avail->ring[i] = 32767;
	flood(b, b->peer, b->bad.mac, 100, 100);
	return 0;
}

static int receive_index_jumps(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[0];

	__atomic_store_n(&r->avail->idx, (uint16_t)(r->avail_idx + 1000), __ATOMIC_RELEASE);
	vv_kick_always(r);
	flood(b, b->peer, b->bad.mac, 100, 100);
	return 0;
}

/* ---- changed under the device's eyes ---- */

struct changer {
	pthread_t thread;
	atomic_bool stop;
	struct bed *b;
	void (*once)(struct bed *b, unsigned int n);
};

static void *change(void *arg)
{
	struct changer *c = arg;
	unsigned int n;

	for (n = 0; !atomic_load(&c->stop); n++) {
		c->once(c->b, n);
		/* One CPU: now and then the others' turn. */
		if (n % 64 == 63)
			usleep(50);
	}
	return NULL;
}

static int meanwhile(struct bed *b, void (*once)(struct bed *b, unsigned int n), int rounds)
{
	struct changer c = { .b = b, .once = once };
	struct vv_ring *r = &b->bad.ring[1];
	uint8_t *f = bad_frame(b, 600);
	int i;

	(void)f;
	if (pthread_create(&c.thread, NULL, change, &c))
		return vv_say(-EAGAIN, "no thread");
	for (i = 0; i < rounds; i++) {
		if (bad_send(b, 600) < 0) {
			vv_reap(r);
			usleep(300);
		}
		if (vv_status(&b->bad) & VIRTIO_CONFIG_S_NEEDS_RESET) {
			vv_reset(&b->bad);
			if (bring_up(b, 0) < 0)
				break;
			bad_frame(b, 600);
		}
	}
	atomic_store(&c.stop, true);
	pthread_join(c.thread, NULL);
	vv_said[0] = 0;
	return 0;
}

static void change_descriptor(struct bed *b, unsigned int n)
{
	struct vv_ring *r = &b->bad.ring[1];
	int i;

	for (i = 0; i < r->num; i++) {
		__atomic_store_n(&r->desc[i].addr, n & 1 ? spare_at(b, DATA(64)) : 0x1000,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&r->desc[i].len, n & 2 ? 612 : 0xffffffff, __ATOMIC_RELAXED);
	}
}

static int descriptor_changes(struct bed *b)
{
	return meanwhile(b, change_descriptor, 3000);
}

static const uint8_t foreign[6] = { 0x52, 0x54, 0, 0xba, 0xdb, 0xad };

static void change_source(struct bed *b, unsigned int n)
{
	memcpy(b->bad.spare + DATA(64) + VV_HDR + 6, n & 1 ? foreign : b->bad.mac, 6);
}

static int source_changes(struct bed *b)
{
	static uint8_t f[VV_FRAME];
	int r = meanwhile(b, change_source, 3000), n;

	while (!b->sim && (n = vv_recv(b->peer, 0, f, sizeof(f), NULL)) > 0)
		if (memcmp(f + 6, foreign, 6) == 0)
			return vv_say(-EPROTO, "a frame came from a foreign MAC");
	return r;
}

static void change_header(struct bed *b, unsigned int n)
{
	struct virtio_net_hdr_v1 *h = (struct virtio_net_hdr_v1 *)(b->bad.spare + DATA(64));

	h->flags = n & 1;
	h->gso_type = n & 2 ? VIRTIO_NET_HDR_GSO_TCPV4 : 0;
	h->gso_size = (uint16_t)(n * 7);
	h->hdr_len = (uint16_t)(n * 31);
	h->csum_start = (uint16_t)(n * 13);
	h->csum_offset = (uint16_t)(n * 17);
}

static int header_changes(struct bed *b)
{
	return meanwhile(b, change_header, 3000);
}

const struct row ring_rows[] = {
	{ "ring-index-jumps", SPLIT_ONLY, RESET, avail_jumps },
	{ "ring-index-rewinds", SPLIT_ONLY, RESET, avail_rewinds },
	{ "ring-head-outside", SPLIT_ONLY, RESET, head_outside },
	{ "ring-next-loops", SPLIT_ONLY, RESET, next_loops },
	{ "ring-next-outside", SPLIT_ONLY, RESET, next_outside },
	{ "ring-chain-without-end", PACKED_ONLY, RESET, packed_endless },
	{ "ring-id-outside", PACKED_ONLY, RESET, packed_id_outside },
	{ "ring-false-wrap", PACKED_ONLY, FINE, packed_false_wrap },
	{ "ring-chain-into-another-lap", PACKED_ONLY, RESET, packed_broken_chain },
	{ "ring-address-below-memory", 0, RESET, outside_memory },
	{ "ring-address-above-memory", 0, RESET, outside_memory_above },
	{ "ring-address-wraps", 0, RESET, address_wraps },
	{ "ring-length-4-gib", 0, RESET, length_4_gib },
	{ "ring-lengths-add-up-to-4-gib", 0, RESET, lengths_add_up },
	{ "ring-buffer-across-the-end", 0, RESET, across_the_end },
	{ "ring-wrong-direction", 0, DENIED, wrong_direction },
	{ "ring-write-before-read", 0, DENIED, write_before_read },
	{ "ring-zero-length", 0, DENIED, zero_length },
	{ "ring-indirect-nested", INDIRECT, RESET, indirect_nested },
	{ "ring-indirect-length-17", INDIRECT, RESET, indirect_17 },
	{ "ring-indirect-length-0", INDIRECT, RESET, indirect_0 },
	{ "ring-indirect-with-next", INDIRECT, RESET, indirect_with_next },
	{ "ring-indirect-outside", INDIRECT, RESET, indirect_outside },
	{ "ring-indirect-loops", INDIRECT | SPLIT_ONLY, RESET, indirect_loops },
	{ "ring-indirect-next-outside", INDIRECT | SPLIT_ONLY, RESET, indirect_next_outside },
	{ "ring-indirect-huge", INDIRECT, RESET, indirect_huge },
	{ "ring-indirect-4-gib", INDIRECT, DENIED, indirect_of_4_gib },
	{ "ring-indirect-not-negotiated", 0, RESET, indirect_17 },
	{ "receive-address-below-memory", SMALL_RX, RESET, outside_memory_received },
	{ "receive-buffer-across-the-end", SMALL_RX, RESET, receive_across_the_end },
	{ "receive-head-outside", SPLIT_ONLY | SMALL_RX, RESET, receive_head_outside },
	{ "receive-index-jumps", SPLIT_ONLY | SMALL_RX, RESET, receive_index_jumps },
	{ "receive-1-byte-buffers", SMALL_RX, ANY, receive_1_byte },
	{ "receive-50-byte-buffers", SMALL_RX | NO_MRG, ANY, receive_50_bytes },
	{ "receive-read-only-buffers", SMALL_RX, ANY, receive_read_only },
	{ "receive-zero-length-buffers", SMALL_RX, ANY, receive_zero_length },
	{ "receive-many-buffers-a-frame", SMALL_RX | NO_SIM, FINE, receive_small_buffers },
	{ "ring-descriptors-rewritten", 0, ANY, descriptor_changes },
	{ "frame-source-rewritten", 0, ANY, source_changes },
	{ "frame-header-rewritten", OFFLOADS, ANY, header_changes },
	{ NULL, 0, 0, NULL },
};
