/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/deliver.h"

#include <string.h>

#include "datapath/forward/csum.h"
#include "datapath/forward/gso.h"
#include "datapath/ring/copy.h"

#define FEATURE(n) (UINT64_C(1) << (n))

/* Most buffers that one frame is spread over. */
#define MERGE_MAX 256

void port_break(struct engine *e, struct port *p, const char *why)
{
	if (p->off)
		return;
	p->off = true;
	p->broken = why;
	e->any_broken = true;
	e->table_stale = true;
}

/* What stands before a frame's body in the receiver's buffer. */
struct prefix {
	uint8_t byte[12 + ETH_HEADER];
	unsigned int len;
};

static void make_prefix(struct prefix *x, const struct port *p, const struct frame *f,
			uint16_t num_buffers)
{
	struct virtio_net_hdr hdr = f->hdr;

	if (__builtin_expect(hdr.flags, 0) && !(p->features & FEATURE(VIRTIO_NET_F_GUEST_CSUM)))
		hdr.flags = 0;
	memcpy(x->byte, &hdr, sizeof(hdr));
	memcpy(x->byte + sizeof(hdr), &num_buffers, sizeof(num_buffers));
	frame_put_l2(f, x->byte + p->hdr_len);
	x->len = p->hdr_len + ETH_HEADER;
}

/* Scattered over a chain's pieces, dirty log included. */
static void put(struct guest_mem *mem, struct cursor *to, const uint8_t *from, uint32_t n)
{
	while (n > 0 && to->n > 0) {
		uint32_t part = cursor_left(to) < n ? cursor_left(to) : n;

		copy_bytes(to->piece->va + to->off, from, part);
		mem_log_write(mem, to->piece->gpa + to->off, part);
		from += part;
		n -= part;
		cursor_advance(to, part);
	}
}

struct buffers {
	unsigned int n; /* chains */
	uint16_t head[MERGE_MAX];
	uint32_t len[MERGE_MAX];
	unsigned int pieces;
};

/* Chains until @need bytes fit; the ring's next stays where it was. */
static enum delivery gather(struct engine *e, struct ring *dst, uint32_t need, struct buffers *b)
{
	struct vq *vq = &dst->vq;
	uint16_t pos = vq->next;
	uint32_t room = 0, len;

	b->n = 0;
	b->pieces = 0;
	while (room < need) {
		int n;

		if (b->n == MERGE_MAX || b->n == vq->size || b->pieces > CHAIN_PIECES_MAX ||
		    (b->n == 1 && !dst->port->mergeable))
			return DELIVERY_NEVER;
		if (pos == vq->avail_idx) {
			/* Its index may have gone back behind what was gathered. */
			n = split_available(vq);
			if (n >= 0 && n <= (uint16_t)(pos - vq->next))
				return DELIVERY_FULL;
		} else {
			n = 0;
		}
		if (n >= 0) {
			b->head[b->n] = split_head(vq, pos);
			n = split_chain(vq, b->head[b->n], true, e->rx_piece + b->pieces,
					CHAIN_PIECES_MAX, &len);
		}
		if (n < 0) {
			port_break(e, dst->port, vq->broken);
			return DELIVERY_NEVER;
		}
		b->pieces += (unsigned int)n;
		b->len[b->n++] = len < need - room ? len : need - room;
		/* A frame has less than 2^17 bytes; so has what is needed. */
		room += len < need - room ? len : need - room;
		pos++;
	}
	return b->len[0] >= dst->port->hdr_len ? DELIVERY_DONE : DELIVERY_NEVER;
}

static enum delivery deliver_scattered(struct engine *e, struct ring *dst, const struct frame *f)
{
	struct cursor to = { .piece = e->rx_piece };
	struct prefix x;
	struct buffers b;
	enum delivery d;

	d = gather(e, dst, dst->port->hdr_len + f->len, &b);
	if (d != DELIVERY_DONE)
		return d;
	make_prefix(&x, dst->port, f, (uint16_t)b.n);
	to.n = b.pieces;
	put(&dst->port->mem, &to, x.byte, x.len);
	for (unsigned int i = 0; i < f->n; i++)
		put(&dst->port->mem, &to, f->body[i].va, f->body[i].len);
	for (unsigned int i = 0; i < b.n; i++)
		commit_buffer(&e->commit, &dst->vq, b.head[i], b.len[i]);
	return DELIVERY_DONE;
}

/* As it is: into one buffer in one piece, if that is what is there. */
static enum delivery deliver_plain(struct engine *e, struct ring *dst, const struct frame *f)
{
	struct vq *vq = &dst->vq;
	uint32_t need = dst->port->hdr_len + f->len, len, at;
	struct prefix x;
	struct piece p;
	uint16_t head;
	int n;

	if (vq->next == vq->avail_idx) {
		n = split_available(vq);
		if (n < 0) {
			port_break(e, dst->port, vq->broken);
			return DELIVERY_NEVER;
		}
		if (n == 0)
			return DELIVERY_FULL;
	}
	head = split_head(vq, vq->next);
	n = split_chain(vq, head, true, e->rx_piece, CHAIN_PIECES_MAX, &len);
	if (n < 0) {
		port_break(e, dst->port, vq->broken);
		return DELIVERY_NEVER;
	}
	if (n > 1 || len < need)
		return deliver_scattered(e, dst, f);
	p = e->rx_piece[0];
	make_prefix(&x, dst->port, f, 1);
	at = x.len;
	for (unsigned int i = 0; i < f->n; i++) {
		copy_bytes(p.va + at, f->body[i].va, f->body[i].len);
		at += f->body[i].len;
	}
	memcpy(p.va, x.byte, x.len);
	COMMIT_POINT();
	mem_log_write(&dst->port->mem, p.gpa, need);
	commit_buffer(&e->commit, vq, head, need);
	return DELIVERY_DONE;
}

static bool takes_gso(const struct port *p, uint8_t type)
{
	uint64_t need = FEATURE(VIRTIO_NET_F_GUEST_CSUM);

	need |= (type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV4
			? FEATURE(VIRTIO_NET_F_GUEST_TSO4)
			: FEATURE(VIRTIO_NET_F_GUEST_TSO6);
	if (type & VIRTIO_NET_HDR_GSO_ECN)
		need |= FEATURE(VIRTIO_NET_F_GUEST_ECN);
	return (p->features & need) == need;
}

/* The frame in one piece, since its transport header must be read and changed. */
static void linearize(struct engine *e, const struct frame *f)
{
	struct cursor c = { .piece = f->body, .n = f->n };

	frame_put_l2(f, e->scratch);
	cursor_read(&c, e->scratch + ETH_HEADER, f->len - ETH_HEADER);
}

/* @len bytes at @data as a frame that asks for nothing. */
static enum delivery deliver_linear(struct engine *e, struct ring *dst, const struct frame *f,
				    uint8_t *data, uint32_t len, uint8_t flags)
{
	struct piece body = { .va = data + ETH_HEADER, .len = len - ETH_HEADER };
	struct frame x = *f;

	frame_get_l2(&x, data);
	x.hdr = (struct virtio_net_hdr){ .flags = flags };
	x.offload = flags != 0;
	x.len = len;
	x.n = body.len > 0;
	x.body = &body;
	return deliver_plain(e, dst, &x);
}

static enum delivery deliver_segments(struct engine *e, struct ring *dst, const struct frame *f)
{
	uint16_t start = dst->vq.next;
	struct gso g;
	uint32_t len;

	if (gso_begin(&g, e->scratch, f->len, &f->hdr) < 0)
		return DELIVERY_NEVER;
	if (g.segments > dst->vq.size)
		return DELIVERY_NEVER;
	while ((len = gso_next(&g, e->segment, sizeof(e->segment))) > 0) {
		enum delivery d =
			deliver_linear(e, dst, f, e->segment, len, VIRTIO_NET_HDR_F_DATA_VALID);

		if (d != DELIVERY_DONE) {
			commit_rewind(&dst->vq, start);
			return d;
		}
	}
	return DELIVERY_DONE;
}

/*
 * Are there surely too few buffers for the segments of @f? Found out before they are made, since a frame that
 * waits comes here with every turn. (Headers are taken to be as long as can be.)
 */
static bool too_few_buffers(const struct ring *dst, const struct frame *f)
{
	const struct vq *vq = &dst->vq;
	uint16_t idx = __atomic_load_n(&vq->avail->idx, __ATOMIC_RELAXED);
	uint32_t headers = ETH_HEADER + VLAN_TAG + 60 + 60;

	return f->len > headers &&
	       (f->len - headers) / f->hdr.gso_size > (uint16_t)(idx - vq->next);
}

/* The receiver cannot do what the header asks for: it is done here. */
static enum delivery deliver_adapted(struct engine *e, struct ring *dst, const struct frame *f)
{
	if (f->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE && too_few_buffers(dst, f) &&
	    f->len / f->hdr.gso_size < dst->vq.size)
		return DELIVERY_FULL;
	linearize(e, f);
	if (f->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return deliver_segments(e, dst, f);
	csum_complete(e->scratch, f->len, f->hdr.csum_start, f->hdr.csum_offset);
	return deliver_linear(e, dst, f, e->scratch, f->len, 0);
}

enum delivery deliver(struct engine *e, struct ring *dst, const struct frame *f)
{
	const struct port *p = dst->port;
	struct port_counters *c = p->counters;
	enum delivery d;

	if (__builtin_expect(!f->offload, 1))
		d = deliver_plain(e, dst, f);
	else if (__builtin_expect(f->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE, 0))
		d = takes_gso(p, f->hdr.gso_type) ? deliver_plain(e, dst, f)
						  : deliver_adapted(e, dst, f);
	else if (__builtin_expect(f->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0) &&
		 !(p->features & FEATURE(VIRTIO_NET_F_GUEST_CSUM)))
		d = deliver_adapted(e, dst, f);
	else
		d = deliver_plain(e, dst, f);
	if (d == DELIVERY_DONE) {
		c->rx_packets++;
		c->rx_bytes += f->len;
	} else if (d == DELIVERY_NEVER) {
		c->rx_errors++;
	}
	return d;
}

/* A buffer found simple enough for the short way. */
struct target {
	uint8_t *va;
	uint64_t gpa;
	uint16_t head;
};

/*
 * Of the next @n buffers those up to the first that is not one descriptor in one mapping with room for its
 * frame. First all descriptors are asked for, then read, and all buffers asked for: by the time of the
 * copies they are here.
 */
static unsigned int find_targets(struct vq *vq, const struct frame *f, unsigned int n,
				 unsigned int hdr_len, struct target *t)
{
	uint32_t got;

	for (unsigned int i = 0; i < n; i++) {
		t[i].head = split_head(vq, (uint16_t)(vq->next + i));
		__builtin_prefetch(&vq->desc[t[i].head & vq->mask]);
	}
	for (unsigned int i = 0; i < n; i++) {
		uint32_t need = hdr_len + f[i].len;
		struct vring_desc d;

		if (t[i].head >= vq->size || f[i].offload || f[i].n != 1)
			return i;
		d = split_desc(&vq->desc[t[i].head]);
		if (d.flags != VRING_DESC_F_WRITE || d.len < need)
			return i;
		t[i].va = mem_piece(vq->mem, d.addr, need, &got);
		if (!t[i].va || got < need)
			return i;
		t[i].gpa = d.addr;
		__builtin_prefetch(t[i].va, 1);
		__builtin_prefetch(t[i].va + 64, 1);
	}
	return n;
}

/* Header and frame, the header last. num_buffers is 1. */
static inline void put_simple(uint8_t *to, const struct frame *f, unsigned int hdr_len)
{
	const uint64_t zero = 0;
	const uint32_t one_buffer = 1u << 16;

	copy_bytes(to + hdr_len + ETH_HEADER, f->body->va, f->body->len);
	frame_put_l2(f, to + hdr_len);
	memcpy(to, &zero, 8);
	if (hdr_len == 12)
		memcpy(to + 8, &one_buffer, 4);
	else
		memcpy(to + 8, &zero, 2);
	COMMIT_POINT();
}

unsigned int deliver_run(struct engine *e, struct ring *dst, const struct frame *f, unsigned int n)
{
	struct port *p = dst->port;
	struct vq *vq = &dst->vq;
	unsigned int hdr_len = p->hdr_len, have = (uint16_t)(vq->avail_idx - vq->next);
	struct target t[BURST];
	uint64_t bytes = 0;

	if (have < n) {
		int r = split_available(vq);

		if (r <= 0)
			return 0;
		have = (unsigned int)r;
	}
	n = find_targets(vq, f, n < have ? n : have, hdr_len, t);
	for (unsigned int i = 0; i < n; i++) {
		put_simple(t[i].va, &f[i], hdr_len);
		mem_log_write(vq->mem, t[i].gpa, hdr_len + f[i].len);
		commit_buffer(&e->commit, vq, t[i].head, hdr_len + f[i].len);
		bytes += f[i].len;
	}
	p->counters->rx_packets += n;
	p->counters->rx_bytes += bytes;
	return n;
}
