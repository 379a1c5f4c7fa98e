/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/ring/commit.h"

#include <errno.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#ifdef DP_COMMIT_HOOK
static void no_hook(void)
{
}
void (*commit_hook)(void) = no_hook;
#endif

void commit_init(struct commit *c, struct worker_state *ws)
{
	c->ws = ws;
	c->intent = (struct intent *)(void *)ws->intent;
	c->n_rx = 0;
	c->n_src = 0;
	c->n_signal = 0;
}

/*
 * The number is counted up before it is used, so that a death between the two costs a number only. It
 * starts at random: rings may come here from another worker.
 */
void commit_adopt(struct commit *c, struct vq *vq)
{
	if (vq->rs->epoch != 0)
		return;
	if (c->ws->next_epoch == 0) {
		uint64_t start = 0;

		if (getrandom(&start, sizeof(start), 0) != sizeof(start))
			start = 0;
		c->ws->next_epoch = start | 1;
	}
	__atomic_store_n(&c->ws->next_epoch, c->ws->next_epoch + 1 ? c->ws->next_epoch + 1 : 1,
			 __ATOMIC_RELEASE);
	COMMIT_POINT();
	__atomic_store_n(&vq->rs->epoch, c->ws->next_epoch, __ATOMIC_RELEASE);
	COMMIT_POINT();
}

void commit_take(struct vq *vq, unsigned int n)
{
	struct ring_state *rs = vq->rs;
	uint16_t pos = vq->next;

	for (unsigned int i = 0; i < n; i++, pos++) {
		rs->slot[pos & vq->mask] = (struct slot_state){ .head = split_head(vq, pos),
								.progress = DP_PROGRESS_NONE };
		COMMIT_POINT();
	}
	vq->next = pos;
	__atomic_store_n(&rs->avail_pos, pos, __ATOMIC_RELEASE);
	COMMIT_POINT();
}

/* Used entries from @from up to @to, and the index. */
static void log_used(const struct vq *vq, uint16_t from, uint16_t to)
{
	const uint64_t elem = sizeof(struct vring_used_elem);
	uint64_t ring = vq->log_gpa + offsetof(struct vring_used, ring);
	uint64_t first = from & vq->mask, n = (uint16_t)(to - from);

	if (!vq->log || !mem_logging(vq->mem))
		return;
	if (first + n > vq->size) {
		mem_log_range(&vq->mem->log, ring + first * elem, (vq->size - first) * elem);
		n -= vq->size - first;
		first = 0;
	}
	mem_log_range(&vq->mem->log, ring + first * elem, n * elem);
	mem_log_range(&vq->mem->log, vq->log_gpa, sizeof(struct vring_used));
	mem_log_flush(&vq->mem->log);
	COMMIT_POINT();
}

static void publish_index(struct vq *vq, uint16_t old, uint16_t new)
{
	__atomic_store_n(&vq->used->idx, new, __ATOMIC_RELEASE);
	COMMIT_POINT();
	log_used(vq, old, new);
}

static void move_position(struct vq *vq, uint16_t new)
{
	__atomic_store_n(&vq->rs->avail_pos, new, __ATOMIC_RELEASE);
	COMMIT_POINT();
	__atomic_store_n(&vq->rs->used_pos, new, __ATOMIC_RELEASE);
	COMMIT_POINT();
}

static void mark_sources(struct vq *vq, const struct intent_src *s)
{
	for (unsigned int i = 0; i < s->count; i++) {
		vq->rs->slot[(s->pos + i) & vq->mask].progress = s->progress;
		COMMIT_POINT();
	}
}

static void set_valid(struct intent *in, uint32_t valid)
{
	__atomic_store_n(&in->valid, valid, __ATOMIC_RELEASE);
	/* What follows valid = 1 must not be seen before it, by a successor either. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	COMMIT_POINT();
}

static void want_signal(struct commit *c, struct vq *vq)
{
	if (c->n_signal > 0 && c->signal[c->n_signal - 1] == vq)
		return;
	if (c->n_signal == INTENT_RX_MAX)
		commit_signal(c);
	c->signal[c->n_signal++] = vq;
}

/* The intent's receivers; those that were rewound to where they stood fall out. */
static void write_receivers(struct commit *c)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->n_rx; i++) {
		struct vq *vq = c->rx[i];

		vq->touched = false;
		if (vq->next == vq->rs->used_pos)
			continue;
		if (mem_logging(vq->mem))
			mem_log_flush(&vq->mem->log);
		COMMIT_POINT();
		c->intent->rx[n] = (struct intent_rx){ .port = vq->port,
						       .ring = vq->index,
						       .old = vq->rs->used_pos,
						       .new = vq->next,
						       .epoch = vq->rs->epoch };
		COMMIT_POINT();
		c->rx[n++] = vq;
	}
	c->n_rx = n;
}

void commit_publish(struct commit *c)
{
	struct intent *in = c->intent;

	write_receivers(c);
	if (c->n_rx + c->n_src == 0)
		return;
	in->n_rx = c->n_rx;
	COMMIT_POINT();
	in->n_src = c->n_src;
	COMMIT_POINT();
	set_valid(in, 1);
	for (unsigned int i = 0; i < c->n_rx; i++)
		publish_index(c->rx[i], c->rx[i]->rs->used_pos, c->rx[i]->next);
	for (unsigned int i = 0; i < c->n_src; i++)
		mark_sources(c->src[i], &in->src[i]);
	for (unsigned int i = 0; i < c->n_rx; i++)
		move_position(c->rx[i], c->rx[i]->next);
	set_valid(in, 0);
	for (unsigned int i = 0; i < c->n_rx; i++)
		want_signal(c, c->rx[i]);
	c->n_rx = 0;
	c->n_src = 0;
}

/* The ring that the intent means, if it is still that ring. */
static struct vq *find_ring(commit_find_t find, void *ctx, unsigned int port, unsigned int ring,
			    uint64_t epoch)
{
	struct vq *vq = find(ctx, port, ring);

	return vq && vq->rs->epoch == epoch ? vq : NULL;
}

static void recover_receiver(const struct intent_rx *r, commit_find_t find, void *ctx)
{
	struct vq *vq = find_ring(find, ctx, r->port, r->ring, r->epoch);

	if (!vq || (uint16_t)(r->new - r->old) > vq->size)
		return;
	if (vq->rs->used_pos != r->old && vq->rs->used_pos != r->new)
		return;
	publish_index(vq, r->old, r->new);
	move_position(vq, r->new);
	vq->next = r->new;
}

static void recover_sources(const struct intent_src *s, commit_find_t find, void *ctx)
{
	struct vq *vq = find_ring(find, ctx, s->port, s->ring, s->epoch);
	uint16_t taken, first;

	if (!vq)
		return;
	taken = (uint16_t)(vq->rs->avail_pos - vq->rs->used_pos);
	first = (uint16_t)(s->pos - vq->rs->used_pos);
	if (first >= taken || s->count > taken - first)
		return;
	mark_sources(vq, s);
}

int commit_recover(struct commit *c, commit_find_t find, void *ctx)
{
	struct intent *in = c->intent;
	uint32_t n_rx = in->n_rx, n_src = in->n_src;

	if (!__atomic_load_n(&in->valid, __ATOMIC_ACQUIRE))
		return 0;
	if (in->valid != 1 || n_rx > INTENT_RX_MAX || n_src > INTENT_SRC_MAX) {
		set_valid(in, 0);
		return -EBADMSG;
	}
	for (unsigned int i = 0; i < n_src; i++)
		recover_sources(&in->src[i], find, ctx);
	for (unsigned int i = 0; i < n_rx; i++)
		recover_receiver(&in->rx[i], find, ctx);
	set_valid(in, 0);
	return 1;
}

void commit_complete(struct commit *c, struct vq *vq)
{
	struct ring_state *rs = vq->rs;
	uint16_t start = rs->used_pos, end = rs->avail_pos, pos = start;

	for (; pos != end; pos++) {
		const struct slot_state *s = &rs->slot[pos & vq->mask];
		uint64_t e = s->head; /* a length of 0 */

		if (s->progress != DP_PROGRESS_DONE)
			break;
		memcpy(&vq->used->ring[pos & vq->mask], &e, sizeof(e));
		COMMIT_POINT();
	}
	if (pos == start)
		return;
	publish_index(vq, start, pos);
	__atomic_store_n(&rs->used_pos, pos, __ATOMIC_RELEASE);
	COMMIT_POINT();
	want_signal(c, vq);
}

static void call(const struct vq *vq)
{
	struct pollfd p = { .fd = vq->call_fd, .events = POLLOUT };
	const uint64_t one = 1;

	/*
	 * A guest that does not empty its eventfd has been called already. O_NONBLOCK, which we set, is the
	 * open file's, so its front end can clear it again: only a poll keeps a full one from stopping us.
	 */
	if (vq->call_fd < 0 || poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT))
		return;
	if (write(vq->call_fd, &one, sizeof(one)) < 0)
		return;
	COMMIT_POINT();
}

static uint16_t used_event(const struct vq *vq)
{
	return __atomic_load_n(&vq->avail->ring[vq->size], __ATOMIC_RELAXED);
}

static bool wants_call(struct vq *vq, uint16_t new)
{
	uint16_t old = vq->signalled;
	bool valid = vq->signalled_valid;

	if (!vq->event_idx)
		return !(__atomic_load_n(&vq->avail->flags, __ATOMIC_RELAXED) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	vq->signalled = new;
	vq->signalled_valid = true;
	return !valid || vring_need_event(used_event(vq), new, old);
}

void commit_signal(struct commit *c)
{
	uint32_t at = atomic_load_explicit(&c->ws->at_port, memory_order_relaxed);

	if (c->n_signal == 0)
		return;
	/* The index before what the guest wants: it writes the one and reads the other in reverse. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < c->n_signal; i++) {
		if (!wants_call(c->signal[i], c->signal[i]->rs->used_pos))
			continue;
		/* Whoever makes us wait here after all (see call()) is to answer for it. */
		atomic_store_explicit(&c->ws->at_port, c->signal[i]->port + 1u,
				      memory_order_relaxed);
		call(c->signal[i]);
		atomic_store_explicit(&c->ws->at_port, at, memory_order_relaxed);
	}
	c->n_signal = 0;
}

/* used.flags, or avail_event behind the used entries */
static void log_field(const struct vq *vq, uint64_t offset)
{
	if (!vq->log || !mem_logging(vq->mem))
		return;
	mem_log_range(&vq->mem->log, vq->log_gpa + offset, sizeof(uint16_t));
	mem_log_flush(&vq->mem->log);
}

static void write_flags(struct vq *vq, uint16_t flags)
{
	__atomic_store_n(&vq->used->flags, flags, __ATOMIC_RELAXED);
	COMMIT_POINT();
	log_field(vq, offsetof(struct vring_used, flags));
}

static void write_avail_event(struct vq *vq, uint16_t value)
{
	uint16_t *field = (uint16_t *)(void *)&vq->used->ring[vq->size];

	__atomic_store_n(field, value, __ATOMIC_RELAXED);
	COMMIT_POINT();
	log_field(vq,
		  offsetof(struct vring_used, ring) + vq->size * sizeof(struct vring_used_elem));
}

bool commit_arm(struct vq *vq)
{
	vq->armed = true;
	if (vq->event_idx)
		write_avail_event(vq, vq->next);
	else
		write_flags(vq, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE) != vq->next;
}

/*
 * With the event index nothing is written: the guest has passed the entry that it was to kick for, and
 * kicks no more before its index has gone once around.
 */
void commit_disarm(struct vq *vq)
{
	if (!vq->armed)
		return;
	vq->armed = false;
	if (!vq->event_idx)
		write_flags(vq, VRING_USED_F_NO_NOTIFY);
}

void commit_resume(struct vq *vq, bool sender)
{
	struct ring_state *rs = vq->rs;

	if (!sender && rs->avail_pos != rs->used_pos) {
		__atomic_store_n(&rs->avail_pos, rs->used_pos, __ATOMIC_RELEASE);
		COMMIT_POINT();
	}
	vq->next = rs->avail_pos;
	vq->avail_idx = vq->next;
}

void commit_start(struct vq *vq)
{
	vq->armed = false;
	vq->signalled_valid = false;
	if (vq->event_idx) {
		/* One behind: as far away as can be. */
		write_avail_event(vq, (uint16_t)(vq->next - 1));
		write_flags(vq, 0);
	} else {
		write_flags(vq, VRING_USED_F_NO_NOTIFY);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	call(vq);
}
