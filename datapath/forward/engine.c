/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/engine.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "datapath/forward/announce.h"
#include "datapath/forward/deliver.h"
#include "datapath/forward/forward.h"
#include "datapath/forward/port.h"
#include "datapath/forward/waitlist.h"

/*
 * How long a ring is looked at after its last frame. Where kicks come soon after it was left alone, looking
 * on would have been cheaper than to be woken: twice as long, within bounds; else half as long.
 */
#define SPIN_MIN_NS 10000
#define SPIN_MAX_NS 100000

int engine_init(struct engine *e, struct worker_state *ws)
{
	memset(e, 0, sizeof(*e));
	e->ws = ws;
	e->epoll_fd = -1;
	e->spin_ns = SPIN_MAX_NS / 2;
	e->uplink.fd = -1;
	commit_init(&e->commit, ws);
	return 0;
}

/* From the ports, in ascending order: where two claim the same, the first has it. */
static void rebuild_table(struct engine *e)
{
	table_clear(&e->table);
	e->n_run = 0;
	e->moved = false;
	e->generation++;
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++) {
		struct port *p = e->port[i];

		if (!p || p->off || p->n_rx == 0 || p->away)
			continue;
		e->run[e->n_run++] = (uint16_t)i;
		table_add(&e->table, p->mac, p->cfg.vlan, (uint16_t)i);
	}
}

static void poll_add(struct engine *e, struct ring *r)
{
	if (r->polled)
		return;
	r->polled = true;
	r->last_work = e->now;
	e->polled[e->n_polled++] = r;
}

static void poll_del(struct engine *e, struct ring *r)
{
	unsigned int i = 0;

	if (!r->polled)
		return;
	while (e->polled[i] != r)
		i++;
	e->polled[i] = e->polled[--e->n_polled];
	r->polled = false;
}

/*
 * Edge-triggered: a kick wakes us without anybody having to read its counter. The descriptor is shared
 * with others, so that closing ours does not end the watch.
 */
static int watch(struct engine *e, struct ring *r)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };

	if (e->epoll_fd < 0 || r->kick_fd < 0 || r->watched)
		return 0;
	ev.data.u64 = engine_event(r->port->index, r->vq.index);
	if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, r->kick_fd, &ev) < 0)
		return -errno;
	r->watched = true;
	return 0;
}

static void unwatch(struct engine *e, struct ring *r)
{
	if (r->watched)
		epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, r->kick_fd, NULL);
	r->watched = false;
}

/* Take up the rings of @p; finish those that do not run but were left with frames. */
static int start_rings(struct engine *e, struct port *p, const char **reason)
{
	engine_at(e, p);
	for (unsigned int i = 0; i < DP_RINGS_MAX; i++) {
		struct ring *r = &p->ring[i];
		bool sender = i % 2;

		if (!r->vq.rs)
			continue;
		commit_adopt(&e->commit, &r->vq);
		commit_resume(&r->vq, sender);
		if (r->running)
			commit_start(&r->vq);
		if (!sender)
			continue;
		if (r->running && watch(e, r) < 0) {
			*reason = "a kick descriptor is no eventfd";
			return -EINVAL;
		}
		if (r->running)
			poll_add(e, r);
	}
	return 0;
}

/* What a sender's ring has taken and not done, after a restart or where it stops. */
static void take_up_frames(struct engine *e, struct port *p)
{
	for (unsigned int i = 1; i < DP_RINGS_MAX; i += 2) {
		struct ring *r = &p->ring[i];

		if (!r->vq.rs || p->off)
			continue;
		e->no_wait = !r->running;
		forward_pending(e, r);
		e->no_wait = false;
	}
}

static bool goes_on(const struct ring *old, const struct port *new)
{
	const struct wire_ring *a = &old->port->cfg.ring[old->vq.index];
	const struct wire_ring *b = &new->cfg.ring[old->vq.index];

	return new->ring[old->vq.index].running && a->size == b->size && a->desc == b->desc &&
	       a->avail == b->avail && a->used == b->used;
}

/*
 * The rings of @p are left. Those that do not go on in @next (may be NULL: none does) are drained: each
 * taken frame is delivered or dropped. What waited for them is forwarded anew by the caller.
 */
static void leave_rings(struct engine *e, struct port *p, const struct port *next)
{
	for (unsigned int i = 0; i < DP_RINGS_MAX; i++) {
		struct ring *r = &p->ring[i];

		if (!r->vq.rs)
			continue;
		poll_del(e, r);
		unwatch(e, r);
		wait_forget(e, r);
		if (i % 2 && r->running && !p->off && !(next && goes_on(r, next))) {
			e->no_wait = true;
			forward_pending(e, r);
			e->no_wait = false;
		}
		r->running = false;
	}
	p->n_rx = 0;
}

/* Frames that waited for a port that is gone find another way, now that the table is right. */
static void forward_stranded(struct engine *e)
{
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++)
		for (unsigned int k = 1; e->port[i] && !e->port[i]->off && k < DP_RINGS_MAX; k += 2)
			if (e->port[i]->ring[k].running)
				forward_pending(e, &e->port[i]->ring[k]);
}

static void port_leave(struct engine *e, struct port *p, const struct port *next)
{
	if (e->live)
		leave_rings(e, p, next);
	e->port[p->index] = NULL;
	rebuild_table(e);
}

void engine_port_del(struct engine *e, unsigned int index)
{
	struct port *p = e->port[index];

	if (!p)
		return;
	port_leave(e, p, NULL);
	if (e->live)
		forward_stranded(e);
	port_free(p);
}

static int port_enter(struct engine *e, struct port *p, const struct port *old, bool was_running,
		      const char **reason)
{
	int r;

	e->port[p->index] = p;
	if (!e->live)
		return 0;
	r = start_rings(e, p, reason);
	if (r < 0)
		return r;
	rebuild_table(e);
	take_up_frames(e, p);
	if (p->n_rx == 0)
		return 0;
	if (old && old->cfg.flags & ~p->cfg.flags & WIRE_PORT_STANDBY)
		announce_begin(e, p); /* its guest has no VF any more: it is here */
	else if (was_running)
		announce_go_on(e, p, old);
	else if (p->cfg.flags & WIRE_PORT_ANNOUNCE)
		announce_begin(e, p);
	return 0;
}

int engine_port_set(struct engine *e, const struct wire_port_set *cfg, const int *fds, size_t n_fds,
		    const char **reason)
{
	unsigned int index = cfg->h.port;
	struct port *old = index < DP_PORTS_MAX ? e->port[index] : NULL, *p;
	bool was_running = old && old->n_rx > 0;
	int r;

	r = port_new(e, cfg, fds, n_fds, old, &p, reason);
	if (r < 0) {
		if (old)
			engine_port_del(e, index);
		return r;
	}
	if (old)
		port_leave(e, old, p);
	r = port_enter(e, p, old, was_running, reason);
	if (r < 0)
		engine_port_del(e, index);
	if (e->live)
		forward_stranded(e);
	port_free(old);
	return r;
}

void engine_uplink_set(struct engine *e, enum uplink_kind kind, int fd)
{
	uplink_set(&e->uplink, kind, fd);
}

void engine_deinit(struct engine *e)
{
	e->live = false;
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++)
		e->port[i] = port_free(e->port[i]);
	engine_uplink_set(e, UPLINK_TAP, -1);
}

static struct vq *find_ring(void *ctx, unsigned int port, unsigned int ring)
{
	struct ring *r = engine_ring(ctx, port, ring);

	return r && r->vq.rs ? &r->vq : NULL;
}

struct ring *engine_ring(struct engine *e, unsigned int port, unsigned int ring)
{
	if (port >= DP_PORTS_MAX || ring >= DP_RINGS_MAX || !e->port[port] || e->port[port]->off)
		return NULL;
	return &e->port[port]->ring[ring];
}

int engine_go(struct engine *e)
{
	const char *reason = NULL;
	int r;

	if (e->live)
		return 0;
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++)
		if (e->port[i] && !port_sound(e->port[i]))
			port_break(e, e->port[i], "a ring's state does not fit its size");
	r = commit_recover(&e->commit, find_ring, e);
	e->live = true;
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++)
		if (e->port[i] && !e->port[i]->off && start_rings(e, e->port[i], &reason) < 0)
			port_break(e, e->port[i], reason);
	rebuild_table(e);
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++) {
		struct port *p = e->port[i];

		if (!p)
			continue;
		take_up_frames(e, p);
		if (p->n_rx > 0 && (p->cfg.flags & WIRE_PORT_ANNOUNCE))
			announce_begin(e, p);
	}
	return r;
}

/* Nothing came for a while: let the guest kick, and look no more; unless something has just come. */
static void rest(struct engine *e, struct ring *r)
{
	if (e->now - r->last_work < e->spin_ns || r->kick_fd < 0)
		return;
	if (commit_arm(&r->vq)) {
		commit_disarm(&r->vq);
		return;
	}
	poll_del(e, r);
}

static void adapt(struct engine *e, const struct ring *r)
{
	if (e->now - r->last_work < 2 * SPIN_MAX_NS)
		e->spin_ns = e->spin_ns * 2 < SPIN_MAX_NS ? e->spin_ns * 2 : SPIN_MAX_NS;
	else
		e->spin_ns = e->spin_ns / 2 > SPIN_MIN_NS ? e->spin_ns / 2 : SPIN_MIN_NS;
}

void engine_kicked(struct engine *e, struct ring *r)
{
	if (!r->running || r->polled)
		return;
	adapt(e, r);
	commit_disarm(&r->vq);
	poll_add(e, r);
}

/* What waits for it in others' rings finds out by itself when its turn comes. */
static void sort_out_moved(struct engine *e)
{
	if (e->moved)
		rebuild_table(e);
}

/* May find others to be broken while it forwards what waited for the first. */
static void sort_out_broken(struct engine *e)
{
	e->table_stale = false;
	rebuild_table(e);
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++) {
		struct port *p = e->port[i];

		if (!p || !p->off)
			continue;
		for (unsigned int k = 0; k < DP_RINGS_MAX; k++) {
			if (!p->ring[k].vq.rs)
				continue;
			poll_del(e, &p->ring[k]);
			unwatch(e, &p->ring[k]);
			wait_forget(e, &p->ring[k]);
			p->ring[k].running = false;
		}
	}
	forward_stranded(e);
}

unsigned int engine_turn(struct engine *e, uint64_t now)
{
	unsigned int total = 0;

	e->now = now;
	for (unsigned int i = 0; i < e->n_polled; i++) {
		struct ring *r = e->polled[i];
		unsigned int n;

		engine_at(e, r->port);
		n = r->port->off ? 0 : forward_burst(e, r);
		total += n;
		engine_beat(e);
		if (n > 0) {
			r->last_work = now;
		} else if (!r->port->off) {
			rest(e, r);
			i -= !r->polled;
		}
	}
	if (e->waiting) {
		if (e->uplink.n > 0)
			forward_flush(e);
		total += wait_service(e);
	}
	if (total > 0 || e->complete)
		forward_flush(e);
	while (e->table_stale)
		sort_out_broken(e);
	sort_out_moved(e);
	announce_service(e);
	return total;
}

unsigned int engine_uplink_read(struct engine *e)
{
	struct piece piece;
	struct frame f;
	unsigned int n = 0;
	int r = 1;

	engine_at(e, NULL);
	for (; n < BURST; n++) {
		r = uplink_read(&e->uplink, &f, &piece);
		if (r == 0)
			break;
		if (r > 0)
			forward_from_uplink(e, &f);
	}
	if (n > 0)
		forward_flush(e);
	while (e->table_stale)
		sort_out_broken(e);
	sort_out_moved(e);
	return n;
}

struct port *engine_next_broken(struct engine *e)
{
	if (!e->any_broken)
		return NULL;
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++) {
		struct port *p = e->port[i];

		if (p && p->off && !p->reported) {
			p->reported = true;
			return p;
		}
	}
	e->any_broken = false;
	return NULL;
}
