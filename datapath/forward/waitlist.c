/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/waitlist.h"

#include <stdlib.h>

#include "datapath/forward/forward.h"

static struct waitq *find_queue(const struct ring *src, const struct ring *dst)
{
	for (struct waitq *q = src->src_q; q; q = q->next_src)
		if (q->dst == dst)
			return q;
	return NULL;
}

bool wait_behind(const struct ring *src, const struct ring *dst)
{
	const struct waitq *q;

	if (src->n_waiting == 0)
		return false;
	q = find_queue(src, dst);
	return q && q->count > 0;
}

static void append_dst(struct ring *dst, struct waitq *q)
{
	q->next_dst = NULL;
	if (dst->dst_q)
		dst->dst_q_tail->next_dst = q;
	else
		dst->dst_q = q;
	dst->dst_q_tail = q;
}

static struct waitq *pop_dst(struct ring *dst)
{
	struct waitq *q = dst->dst_q;

	if (q)
		dst->dst_q = q->next_dst;
	return q;
}

static struct waitq *new_queue(struct engine *e, struct ring *src, struct ring *dst)
{
	struct waitq *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	*q = (struct waitq){ .src = src, .dst = dst, .next_src = src->src_q };
	src->src_q = q;
	append_dst(dst, q);
	if (!dst->in_waiting) {
		dst->in_waiting = true;
		dst->next_waiting = e->waiting;
		e->waiting = dst;
	}
	return q;
}

/* @q, empty and out of its receiver's list, goes. */
static void free_queue(struct waitq *q)
{
	struct waitq **link = &q->src->src_q;

	while (*link != q)
		link = &(*link)->next_src;
	*link = q->next_src;
	free(q);
}

static uint16_t pop_frame(struct waitq *q)
{
	struct ring *src = q->src;
	uint16_t pos = q->head;
	struct wait_slot *w = &src->wait[pos & src->vq.mask];

	q->head = w->next;
	q->count--;
	w->q = NULL;
	src->n_waiting--;
	return pos;
}

static void drop_head(struct engine *e, struct waitq *q)
{
	uint16_t pos = pop_frame(q);

	q->dst->port->counters->rx_dropped++;
	forward_drop(e, q->src, pos);
}

/* Of the heads of @src's queues the one that was taken first. */
static void drop_oldest(struct engine *e, struct ring *src)
{
	struct waitq *oldest = NULL;
	uint16_t base = src->vq.rs->used_pos;

	for (struct waitq *q = src->src_q; q; q = q->next_src)
		if (q->count > 0 &&
		    (!oldest || (uint16_t)(q->head - base) < (uint16_t)(oldest->head - base)))
			oldest = q;
	if (oldest)
		drop_head(e, oldest);
}

bool wait_add(struct engine *e, struct ring *src, uint16_t pos, struct ring *dst)
{
	struct wait_slot *w;
	struct waitq *q;

	if (e->no_wait)
		return false;
	if (!src->wait) {
		src->wait = calloc(src->vq.size, sizeof(*src->wait));
		if (!src->wait)
			return false;
	}
	q = find_queue(src, dst);
	if (!q)
		q = new_queue(e, src, dst);
	if (!q)
		return false;
	if (src->n_waiting >= (src->vq.size + 1u) / 2)
		drop_oldest(e, src);
	w = &src->wait[pos & src->vq.mask];
	*w = (struct wait_slot){ .q = q, .since = e->now };
	if (q->count > 0)
		src->wait[q->tail & src->vq.mask].next = pos;
	else
		q->head = pos;
	q->tail = pos;
	q->count++;
	src->n_waiting++;
	return true;
}

bool wait_dst_full(struct engine *e, struct ring *dst)
{
	if (!dst->full)
		return false;
	if (__atomic_load_n(&dst->vq.avail->idx, __ATOMIC_RELAXED) == dst->full_idx)
		return true;
	dst->full = false;
	dst->full_since = e->now;
	return false;
}

void wait_dst_starved(struct engine *e, struct ring *dst)
{
	if (dst->full_since == 0) {
		dst->full_since = e->now;
	} else if (!dst->full && e->now - dst->full_since >= WAIT_NS) {
		dst->full = true;
		dst->full_idx = dst->vq.avail_idx;
	}
}

void wait_dst_took(struct ring *dst)
{
	dst->full_since = 0;
}

static unsigned int drop_all(struct engine *e, struct ring *dst)
{
	unsigned int n = 0;

	for (struct waitq *q = dst->dst_q; q; q = q->next_dst)
		for (; q->count > 0; n++)
			drop_head(e, q);
	return n;
}

static unsigned int drop_aged(struct engine *e, struct ring *dst)
{
	unsigned int n = 0;

	for (struct waitq *q = dst->dst_q; q; q = q->next_dst) {
		for (; q->count > 0; n++) {
			if (e->now - q->src->wait[q->head & q->src->vq.mask].since < WAIT_NS)
				break;
			drop_head(e, q);
		}
	}
	return n;
}

/* One frame a sender in turn, as long as there are buffers. */
static unsigned int serve(struct engine *e, struct ring *dst)
{
	unsigned int n = 0;
	struct waitq *q;

	while ((q = pop_dst(dst))) {
		if (q->count == 0) {
			free_queue(q);
			continue;
		}
		if (!forward_waiting(e, q->src, q->head, dst)) {
			q->next_dst = dst->dst_q;
			if (!dst->dst_q)
				dst->dst_q_tail = q;
			dst->dst_q = q;
			wait_dst_starved(e, dst);
			break;
		}
		pop_frame(q);
		append_dst(dst, q);
		n++;
	}
	return n;
}

unsigned int wait_service(struct engine *e)
{
	struct ring **link = &e->waiting;
	unsigned int n = 0;

	while (*link) {
		struct ring *dst = *link;

		if (!dst->port->off)
			n += serve(e, dst);
		n += dst->full || dst->port->off ? drop_all(e, dst) : drop_aged(e, dst);
		if (dst->dst_q) {
			link = &dst->next_waiting;
		} else {
			*link = dst->next_waiting;
			dst->in_waiting = false;
		}
	}
	return n;
}

static void forget_queue(struct waitq *q)
{
	while (q->count > 0)
		pop_frame(q);
}

/* Take the empty queues out of @dst's list. */
static void sweep(struct ring *dst)
{
	struct waitq *q, *keep = NULL;

	while ((q = pop_dst(dst))) {
		if (q->count == 0) {
			free_queue(q);
		} else {
			q->next_dst = keep;
			keep = q;
		}
	}
	while (keep) {
		q = keep;
		keep = q->next_dst;
		append_dst(dst, q);
	}
}

void wait_forget(struct engine *e, struct ring *r)
{
	struct ring **link = &e->waiting;

	for (struct waitq *q = r->src_q; q; q = q->next_src)
		forget_queue(q);
	for (struct waitq *q = r->dst_q; q; q = q->next_dst)
		forget_queue(q);
	while (*link) {
		struct ring *dst = *link;

		sweep(dst);
		if (dst->dst_q) {
			link = &dst->next_waiting;
		} else {
			*link = dst->next_waiting;
			dst->in_waiting = false;
		}
	}
	free(r->wait);
	r->wait = NULL;
}
