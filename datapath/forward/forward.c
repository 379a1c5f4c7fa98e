/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/forward.h"

#include <string.h>

#include "datapath/forward/deliver.h"
#include "datapath/forward/waitlist.h"

/* What a tap may ask of us, as tap_prepare() sets it. */
#define FEATURE(n) (UINT64_C(1) << (n))
#define HOST_OFFLOADS                                                   \
	(FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_HOST_TSO4) | \
	 FEATURE(VIRTIO_NET_F_HOST_TSO6) | FEATURE(VIRTIO_NET_F_HOST_ECN))

static void completing(struct engine *e, struct ring *r)
{
	if (r->completing)
		return;
	r->completing = true;
	r->next_complete = e->complete;
	e->complete = r;
}

void forward_drop(struct engine *e, struct ring *src, uint16_t pos)
{
	commit_drop(&src->vq, pos);
	completing(e, src);
}

static void complete_all(struct engine *e)
{
	while (e->complete) {
		struct ring *r = e->complete;

		e->complete = r->next_complete;
		r->completing = false;
		if (!r->port->off)
			commit_complete(&e->commit, &r->vq);
	}
}

/*
 * The uplink's frames lie in their senders' rings until they are written, and are marked as done before:
 * a death between the two loses them, and none goes out twice. Receivers need not wait for the writing.
 */
void forward_flush(struct engine *e)
{
	commit_publish(&e->commit);
	if (e->uplink.n > 0) {
		commit_signal(&e->commit);
		uplink_flush(&e->uplink);
	}
	complete_all(e);
	commit_signal(&e->commit);
	e->n_taken = 0;
}

/* @f is delivered or given up, with the transaction. */
static void done(struct engine *e, const struct frame *f)
{
	if (!f->src)
		return;
	commit_source(&e->commit, &f->src->vq, f->pos, DP_PROGRESS_DONE);
	completing(e, f->src);
}

/*
 * A number that frames of one flow have in common: addresses and, of what is not a fragment, ports. Frames of
 * the uplink are in one piece.
 */
static uint32_t flow_key(const struct frame *f)
{
	const uint8_t *ip = f->n ? f->body->va : NULL;
	uint64_t key = frame_src(f), part;
	uint32_t ports = 0;

	if (frame_type(f) == 0x0800 && f->n && f->body->len >= 24) {
		memcpy(&part, ip + 12, 8);
		key ^= part;
		if (!((ip[6] << 8 | ip[7]) & 0x3fff))
			memcpy(&ports, ip + 20, 4);
	} else if (frame_type(f) == 0x86dd && f->n && f->body->len >= 44) {
		for (unsigned int i = 8; i < 40; i += 8) {
			memcpy(&part, ip + i, 8);
			key = key * 31 + part;
		}
		memcpy(&ports, ip + 40, 4);
	}
	return (uint32_t)(((key ^ ports) * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* Which of a port's receive rings: a sender's queue keeps to one, so that its flows stay in order. */
static struct ring *pick_ring(const struct port *p, const struct frame *f)
{
	unsigned int key;

	if (p->n_rx == 1)
		return p->rx[0];
	/* The uplink has one queue. */
	key = f->src ? f->src->vq.index / 2u : flow_key(f);
	return p->rx[key % p->n_rx];
}

static void make_room(struct engine *e)
{
	if (__builtin_expect(commit_full(&e->commit), 0))
		forward_flush(e);
}

static void to_uplink(struct engine *e, const struct frame *f)
{
	if (uplink_full(&e->uplink))
		forward_flush(e);
	make_room(e);
	uplink_add(&e->uplink, f, &f->src->port->counters->tx_dropped);
	done(e, f);
}

static void to_port(struct engine *e, const struct frame *f, struct ring *dst)
{
	enum delivery d = DELIVERY_FULL;
	bool behind = f->src && wait_behind(f->src, dst);

	make_room(e);
	if (!behind && !(dst->full && wait_dst_full(e, dst))) {
		d = deliver(e, dst, f);
		if (d == DELIVERY_DONE) {
			wait_dst_took(dst);
		} else if (d == DELIVERY_FULL) {
			wait_dst_starved(e, dst);
		}
	}
	if (d == DELIVERY_FULL) {
		if (f->src && !dst->full && wait_add(e, f->src, f->pos, dst))
			return;
		dst->port->counters->rx_dropped++;
	}
	done(e, f);
}

/* An untagged port is no trunk, unless it is trusted: what carries a tag is another VLAN's. */
static inline bool takes_tag(const struct port *p, const struct frame *f)
{
	return !frame_tagged(f) || (p->cfg.vlan == 0 && p->cfg.flags & WIRE_PORT_TRUST);
}

/* Where the transaction is full it is committed, with how far @f has come: no port before @next gets it again. */
static void make_room_on_the_way(struct engine *e, const struct frame *f, uint16_t next)
{
	if (__builtin_expect(!commit_full(&e->commit), 1))
		return;
	if (f->src)
		commit_source(&e->commit, &f->src->vq, f->pos, next);
	forward_flush(e);
}

/* To each port of @vlan from index f->progress on. There is room for one more step after it. */
static void flood(struct engine *e, const struct frame *f, uint16_t vlan)
{
	struct port *from = f->src ? f->src->port : NULL;

	for (unsigned int i = 0; i < e->n_run; i++) {
		struct port *p = e->port[e->run[i]];
		struct ring *dst;
		enum delivery d = DELIVERY_FULL;

		if (p == from || p->cfg.vlan != vlan || p->index < f->progress || p->off ||
		    !takes_tag(p, f))
			continue;
		make_room_on_the_way(e, f, p->index);
		dst = pick_ring(p, f);
		if (!(dst->full && wait_dst_full(e, dst)))
			d = deliver(e, dst, f);
		if (d == DELIVERY_DONE)
			wait_dst_took(dst);
		else if (d == DELIVERY_FULL)
			p->counters->rx_dropped++;
	}
	make_room_on_the_way(e, f, DP_PORTS_MAX);
}

static struct port *lookup(struct engine *e, uint64_t mac, uint16_t vlan)
{
	uint16_t i = table_find(&e->table, mac, vlan);
	struct port *p = i == TABLE_NONE ? NULL : e->port[i];

	return p && !p->off ? p : NULL;
}

/* Senders mostly go on with whom they spoke to last. */
static struct port *lookup_from(struct engine *e, struct ring *src, uint64_t mac, uint16_t vlan)
{
	if (src->last_mac != mac || src->last_table != e->generation) {
		src->last_mac = mac;
		src->last_table = e->generation;
		src->last_port = table_find(&e->table, mac, vlan);
	}
	if (src->last_port == TABLE_NONE || e->port[src->last_port]->off)
		return NULL;
	return e->port[src->last_port];
}

/* A frame whose receiver is no single port's ring, or was not chosen yet. */
static void forward(struct engine *e, const struct frame *f)
{
	struct port *p;

	if (frame_multicast(f)) {
		flood(e, f, f->vlan);
		to_uplink(e, f);
		return;
	}
	p = lookup_from(e, f->src, frame_dst(f), f->vlan);
	if (!p || !takes_tag(p, f))
		to_uplink(e, f);
	else if (p == f->src->port)
		done(e, f);
	else
		to_port(e, f, pick_ring(p, f));
}

/* May this sender send that? Counts what it may not. */
static bool permitted(struct port *p, struct frame *f)
{
	struct port_counters *c = p->counters;

	if ((p->cfg.flags & WIRE_PORT_SPOOFCHK) && frame_src(f) != p->mac) {
		c->tx_spoofed++;
		return false;
	}
	if (!takes_tag(p, f)) {
		c->tx_dropped++;
		return false;
	}
	/* TCP has one receiver; cut for each port of a VLAN it would be a weapon. */
	if (!frame_check_offload(f, p->features) ||
	    (f->offload && f->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE && frame_multicast(f))) {
		c->tx_errors++;
		return false;
	}
	return true;
}

/*
 * The chain of entry @pos, into @piece. The frame itself is not looked at yet: it is asked for.
 * Return: pieces used; negative: the ring is broken.
 */
static inline int load(struct engine *e, struct ring *src, uint16_t pos, struct frame *f,
		       struct piece *piece)
{
	const struct slot_state *s = &src->vq.rs->slot[pos & src->vq.mask];
	int n;

	n = split_chain(&src->vq, s->head, false, piece, CHAIN_PIECES_MAX, &f->len);
	if (n < 0) {
		port_break(e, src->port, src->vq.broken);
		return n;
	}
	__builtin_prefetch(piece->va);
	__builtin_prefetch(piece->va + 64);
	f->src = src;
	f->pos = pos;
	f->progress = s->progress;
	f->body = piece;
	f->n = (uint16_t)n;
	return n;
}

/* Take the headers of a loaded chain, and check them. False: it is no frame, or may not be sent. */
static inline bool open_frame(struct frame *f)
{
	struct port *p = f->src->port;

	f->vlan = p->cfg.vlan;
	if (!frame_load(f, f->body, f->n, f->len, p->hdr_len)) {
		p->counters->tx_errors++;
		return false;
	}
	return permitted(p, f);
}

/* Load entries from @pos on, as many as there is room for; @pos moves behind them. Return: frames. */
static unsigned int load_range(struct engine *e, struct ring *src, uint16_t *pos, uint16_t end)
{
	const struct slot_state *slot = src->vq.rs->slot;
	unsigned int n = 0, used = 0, ahead = (uint16_t)(end - *pos);
	uint16_t p = *pos, mask = src->vq.mask;

	for (unsigned int i = 0; i < ahead && i < BURST; i++)
		__builtin_prefetch(&src->vq.desc[slot[(p + i) & mask].head & mask]);
	for (; p != end && n < BURST && used + CHAIN_PIECES_MAX <= BURST_PIECES; p++) {
		int r = load(e, src, p, &e->frame[n], e->piece + used);

		if (r < 0)
			break;
		used += (unsigned int)r;
		n++;
	}
	*pos = p;
	return n;
}

/* Look at headers: drop what may not be sent, find the receivers of what goes to one port. */
static unsigned int classify(struct engine *e, struct ring *src, struct frame *f, unsigned int n)
{
	struct port *from = src->port;
	unsigned int kept = 0;
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct port *p;

		if (!open_frame(&f[i])) {
			forward_drop(e, src, f[i].pos);
			continue;
		}
		bytes += f[i].len;
		f[i].dst = NULL;
		if (!frame_multicast(&f[i])) {
			p = lookup_from(e, src, frame_dst(&f[i]), f[i].vlan);
			if (p && p != from && takes_tag(p, &f[i]))
				f[i].dst = pick_ring(p, &f[i]);
		}
		if (i != kept)
			f[kept] = f[i];
		kept++;
	}
	if (__builtin_expect(from->away && kept > 0, 0)) {
		from->away = false;
		e->moved = true;
	}
	from->counters->tx_packets += kept;
	from->counters->tx_bytes += bytes;
	return kept;
}

/* @n frames in a row for one receiver. Return: how many are dealt with, at least one. */
static unsigned int forward_run(struct engine *e, struct ring *src, const struct frame *f,
				unsigned int n)
{
	struct ring *dst = f->dst;
	unsigned int done_now = 0;

	make_room(e);
	if (!dst->full && !dst->port->off && !wait_behind(src, dst))
		done_now = deliver_run(e, dst, f, n);
	if (done_now == 0) {
		if (dst->port->off)
			forward(e, f);
		else
			to_port(e, f, dst);
		return 1;
	}
	wait_dst_took(dst);
	commit_sources(&e->commit, &src->vq, f->pos, (uint16_t)done_now, DP_PROGRESS_DONE);
	completing(e, src);
	return done_now;
}

/* How many of the frames from @f on have the same receiver, and are neighbours in their ring. */
static unsigned int run_length(const struct frame *f, unsigned int n)
{
	unsigned int i = 1;

	while (i < n && f[i].dst == f->dst && f[i].pos == (uint16_t)(f->pos + i))
		i++;
	return i;
}

/* Frames from @pos up to @end are loaded, looked at, and forwarded, a step for all before the next step. */
static void forward_range(struct engine *e, struct ring *src, uint16_t pos, uint16_t end)
{
	while (pos != end && !src->port->off) {
		unsigned int n = load_range(e, src, &pos, end);

		n = classify(e, src, e->frame, n);
		for (unsigned int i = 0; i < n;) {
			struct frame *f = &e->frame[i];

			if (f->dst) {
				i += forward_run(e, src, f, run_length(f, n - i));
			} else {
				forward(e, f);
				i++;
			}
		}
		e->n_taken += n;
		/* The next round's frames take the place of those that the uplink still has to send. */
		if (e->uplink.n > 0 || e->n_taken >= TRANSACTION)
			forward_flush(e);
	}
}

unsigned int forward_burst(struct engine *e, struct ring *src)
{
	uint16_t pos = src->vq.next;
	int n = split_available(&src->vq);

	if (n < 0) {
		port_break(e, src->port, src->vq.broken);
		return 0;
	}
	if (n == 0)
		return 0;
	if (n > BURST)
		n = BURST;
	commit_take(&src->vq, (unsigned int)n);
	forward_range(e, src, pos, src->vq.next);
	return (unsigned int)n;
}

void forward_pending(struct engine *e, struct ring *src)
{
	struct ring_state *rs = src->vq.rs;
	uint16_t end = rs->avail_pos;

	engine_at(e, src->port);
	for (uint16_t pos = rs->used_pos; pos != end && !src->port->off; pos++)
		if (rs->slot[pos & src->vq.mask].progress != DP_PROGRESS_DONE &&
		    !wait_has(src, pos))
			forward_range(e, src, pos, (uint16_t)(pos + 1));
	completing(e, src);
	forward_flush(e);
}

bool forward_waiting(struct engine *e, struct ring *src, uint16_t pos, struct ring *dst)
{
	struct frame *f = &e->frame[0];
	enum delivery d;
	int n;

	if (src->port->off)
		return true;
	engine_at(e, src->port);
	n = load(e, src, pos, f, e->piece);
	if (n < 0)
		return true;
	if (!open_frame(f)) {
		forward_drop(e, src, pos);
		return true;
	}
	make_room(e);
	d = DELIVERY_NEVER;
	if (lookup(e, frame_dst(f), f->vlan) == dst->port && takes_tag(dst->port, f))
		d = deliver(e, dst, f);
	if (d == DELIVERY_FULL)
		return false;
	if (d == DELIVERY_DONE)
		wait_dst_took(dst);
	done(e, f);
	return true;
}

static void uplink_multicast(struct engine *e, struct frame *f, int vid)
{
	struct piece body[1];
	struct frame bare;

	flood(e, f, 0);
	if (vid > 0 && frame_untag(f, &bare, body))
		flood(e, &bare, (uint16_t)vid);
}

/*
 * A frame from the uplink that says it comes from one of our guests: a standby's sends by its other way now. Any
 * other's has come back, as some cards bring a PF its own broadcasts, or is a lie.
 */
static bool from_ourselves(struct engine *e, const struct frame *f, int vid)
{
	struct port *p = lookup(e, frame_src(f), (uint16_t)vid);

	if (!p)
		return false;
	if (!(p->cfg.flags & WIRE_PORT_STANDBY))
		return true;
	p->away = true;
	e->moved = true;
	return false;
}

void forward_from_uplink(struct engine *e, struct frame *f)
{
	uint8_t valid = f->hdr.flags & VIRTIO_NET_HDR_F_DATA_VALID;
	int vid = frame_type(f) == ETHERTYPE_VLAN ? frame_tag(f) : 0;
	struct piece body[1];
	struct frame bare;
	struct port *p;

	if (vid < 0 || !frame_check_offload(f, HOST_OFFLOADS))
		return;
	if (!f->offload && valid) {
		f->hdr.flags = valid;
		f->offload = true;
	}
	if (from_ourselves(e, f, vid))
		return;
	make_room(e);
	if (frame_multicast(f)) {
		uplink_multicast(e, f, vid);
		return;
	}
	p = vid > 0 ? lookup(e, frame_dst(f), (uint16_t)vid) : NULL;
	if (p && frame_untag(f, &bare, body)) {
		to_port(e, &bare, pick_ring(p, &bare));
		return;
	}
	p = lookup(e, frame_dst(f), 0);
	if (p && takes_tag(p, f))
		to_port(e, f, pick_ring(p, f));
}
