/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/packet.h"
#include "datapath/keeper/control.h"
#include "datapath/keeper/keeper.h"
#include "datapath/keeper/preserve.h"
#include "datapath/keeper/stats.h"
#include "datapath/keeper/store.h"

/* Messages that a worker has not acknowledged yet: bounds what waits in its socket, descriptors too. */
#define UNACKED_MAX 16
/* Deaths this close together that no port is to blame for slow down the next start. */
#define QUICK_US  5000000
#define QUICK_MAX 3
static const struct timeval restart_pause = { .tv_sec = 1 };
/* A worker that takes longer to make way for its successor hangs. */
static const struct timeval relief_time = { .tv_usec = 250000 };

#define FIELDS(s) (&(struct vnic_log_fields){ .segment = (s)->name })

bool segment_settled(const struct segment *s)
{
	if (!s->live || s->n_unacked > 0 || s->uplink_dirty)
		return false;
	for (size_t i = 0; i < DP_PORTS_MAX; i++)
		if (s->port[i] && s->port[i]->dirty)
			return false;
	return true;
}

static void count_sent(struct segment *s)
{
	if (s->n_unacked++ == 0)
		worker_expect(s->worker, true);
}

static int send_uplink(struct segment *s)
{
	struct wire_uplink_set u = {
		.h = { .type = WIRE_UPLINK_SET, .seq = s->seq + 1 },
		.cpu = s->cpu,
		.kind = s->kind,
	};
	int r = worker_send(s->worker, &u, sizeof(u), &s->tap_fd, s->tap_fd >= 0 ? 1 : 0);

	if (r < 0)
		return r;
	s->uplink_dirty = false;
	/* As with ports: told again before it has answered, its last answer is the one that counts. */
	if (!s->uplink_seq)
		count_sent(s);
	s->uplink_seq = ++s->seq;
	return 0;
}

static int send_port(struct segment *s, struct kport *p)
{
	struct wire_header del = { .type = WIRE_PORT_DEL, .port = p->index, .seq = s->seq + 1 };
	int fds[1 + VHOST_WIRE_FDS_MAX];
	struct wire_port_set w;
	size_t n;
	int r;

	if (p->deleting) {
		r = worker_send(s->worker, &del, sizeof(del), NULL, 0);
	} else {
		n = kport_wire(p, &w, fds);
		w.h.seq = s->seq + 1;
		r = worker_send(s->worker, &w, sizeof(w), fds, n);
	}
	if (r < 0)
		return r;
	p->dirty = false;
	p->sent_seq = ++s->seq;
	/* Its last acknowledgement is the one that counts. */
	if (!p->unacked)
		count_sent(s);
	p->unacked = true;
	return 0;
}

/* All ports were told: the worker may begin. */
static void send_go(struct segment *s)
{
	struct wire_header go = { .type = WIRE_GO, .seq = s->seq + 1 };

	if (worker_send(s->worker, &go, sizeof(go), NULL, 0) < 0)
		return;
	s->go_seq = ++s->seq;
	count_sent(s);
	event_add(s->relief_timer, &relief_time);
}

void segment_relieve(struct segment *s, bool force)
{
	if (s->predecessor < 0)
		return;
	if (!s->down_since)
		s->down_since = keeper_now_us();
	shutdown(s->predecessor, SHUT_WR);
	if (force)
		worker_end_others(worker_state_fd(s->worker), worker_pid(s->worker), 0);
}

/* Our worker waits for another's lock. */
static void on_relief_timer(evutil_socket_t fd, short what, void *userdata)
{
	struct segment *s = userdata;

	(void)fd, (void)what;
	worker_end_others(worker_state_fd(s->worker), worker_pid(s->worker), 0);
	event_add(s->relief_timer, &relief_time);
}

/* The lock is our worker's. */
static void predecessor_gone(struct segment *s)
{
	event_del(s->relief_timer);
	if (s->predecessor < 0)
		return;
	s->predecessor = close_safe(s->predecessor);
	preserve_worker_live(s);
}

/* Where no worker runs nobody maps a port's memory: there is nothing to wait for. */
static void finish_deletes(struct segment *s)
{
	for (size_t i = 0; i < DP_PORTS_MAX; i++)
		if (s->port[i] && s->port[i]->deleting)
			kport_acked(s->port[i], 0, "");
}

void segment_feed(struct segment *s)
{
	if (!worker_pid(s->worker)) {
		finish_deletes(s);
		return;
	}
	if (s->uplink_dirty && send_uplink(s) < 0)
		return;
	for (size_t i = 0; i < DP_PORTS_MAX; i++) {
		if (!s->port[i] || !s->port[i]->dirty)
			continue;
		if (s->n_unacked >= UNACKED_MAX || send_port(s, s->port[i]) < 0)
			return;
	}
	if (s->live || s->go_seq)
		return;
	/* It works until ours has mapped all guests: what they see is the change of hands, and not our start. */
	if (s->predecessor >= 0 && s->n_unacked > 0)
		return;
	segment_relieve(s, false);
	send_go(s);
}

static void on_writable(void *userdata)
{
	segment_feed(userdata);
}

/* All is told again and acknowledged: the replacement is complete. */
static void check_recovered(struct segment *s)
{
	uint64_t gap;

	if (!s->down_since || !segment_settled(s))
		return;
	gap = keeper_now_us() - s->down_since;
	s->down_since = 0;
	vnic_log(LOG_NOTICE, FIELDS(s), "segment %s: worker %d took over %u ports in %llu us",
		 s->name, (int)worker_pid(s->worker), s->n_ports, (unsigned long long)gap);
	control_worker_event(s->keeper->control, s, gap);
}

static void on_go_acked(struct segment *s)
{
	s->go_seq = 0;
	s->n_unacked--;
	s->live = true;
	predecessor_gone(s);
	for (size_t i = 0; i < DP_PORTS_MAX; i++)
		if (s->port[i])
			kport_touch(s->port[i]);
}

static void on_ack(struct segment *s, const struct wire_ack *ack)
{
	char reason[DP_REASON_MAX];
	struct kport *p;

	memcpy(reason, ack->reason, sizeof(reason));
	reason[sizeof(reason) - 1] = '\0';
	if (s->uplink_seq && ack->h.seq == s->uplink_seq) {
		s->uplink_seq = 0;
		s->n_unacked--;
		if (ack->error < 0)
			vnic_log(LOG_ERR, FIELDS(s),
				 "segment %s: the worker refuses its uplink: %s", s->name, reason);
	} else if (s->go_seq && ack->h.seq == s->go_seq) {
		on_go_acked(s);
	} else {
		p = ack->h.port < DP_PORTS_MAX ? s->port[ack->h.port] : NULL;
		if (!p || !p->unacked || ack->h.seq != p->sent_seq)
			return; /* an earlier one of the same port */
		s->n_unacked--;
		kport_acked(p, ack->error, reason);
	}
	if (s->n_unacked == 0)
		worker_expect(s->worker, false);
	segment_feed(s);
	check_recovered(s);
}

static void on_message(void *userdata, const union wire_message *m)
{
	struct segment *s = userdata;
	char reason[DP_REASON_MAX];
	struct kport *p;

	if (m->h.type == WIRE_ACK) {
		on_ack(s, &m->ack);
		return;
	}
	p = m->h.port < DP_PORTS_MAX ? s->port[m->h.port] : NULL;
	memcpy(reason, m->broken.reason, sizeof(reason));
	reason[sizeof(reason) - 1] = '\0';
	/* What it says of a port that has been told something else since is old news. */
	if (p && !p->unacked && !p->deleting)
		kport_malformed(p, reason);
}

/* A new worker knows nothing, and one that is dead maps nothing. */
static void forget_told(struct segment *s)
{
	event_del(s->relief_timer);
	s->n_unacked = 0;
	s->uplink_seq = 0;
	s->uplink_dirty = true;
	s->live = false;
	s->go_seq = 0;
	for (size_t i = 0; i < DP_PORTS_MAX; i++) {
		struct kport *p = s->port[i];

		if (!p)
			continue;
		kport_stamp(p);
		p->unacked = false;
		p->sent_seq = 0;
		p->dirty = true;
		if (p->deleting)
			kport_acked(p, 0, "");
	}
}

void segment_bind(struct segment *s)
{
	worker_bind(s->worker, notify_behind(store_notify(s->keeper->store)));
}

static void start_worker(struct segment *s)
{
	int r = worker_start(s->worker, notify_alive(store_notify(s->keeper->store)));

	if (r < 0) {
		vnic_log(LOG_ERR, FIELDS(s), "segment %s: no worker can be started: %s", s->name,
			 strerror(-r));
		event_add(s->restart_timer, &restart_pause);
		return;
	}
	segment_bind(s);
	preserve_worker_started(s);
	segment_feed(s);
}

static void on_restart_timer(evutil_socket_t fd, short what, void *userdata)
{
	struct segment *s = userdata;

	(void)fd, (void)what;
	if (!worker_pid(s->worker))
		start_worker(s);
}

static void on_died(void *userdata, const struct worker_death *d)
{
	struct segment *s = userdata;
	uint64_t now = keeper_now_us();
	struct kport *p = NULL;
	bool known = false; /* kept out already: nothing gets better by blaming it again */

	/* Where a predecessor works, that is what it was at. */
	if (s->predecessor < 0 && d->port > 0 && d->port <= DP_PORTS_MAX)
		p = s->port[d->port - 1];
	s->restarts++;
	if (!s->down_since)
		s->down_since = now;
	snprintf(s->reason, sizeof(s->reason), "%s", d->reason);
	vnic_log(LOG_ERR, FIELDS(s), "segment %s: worker %d is replaced: %s%s%s", s->name,
		 (int)d->pid, d->reason, p ? "; it was at port " : "", p ? p->config.key : "");
	forget_told(s);
	if (p && s->port[d->port - 1] == p) {
		known = p->quarantined;
		kport_blame(p, d->reason);
	} else {
		p = NULL;
	}
	preserve_worker_died(s);
	s->quick_deaths = (p && !known) || now - s->last_death > QUICK_US ? 0 : s->quick_deaths + 1;
	s->last_death = now;
	if (s->quick_deaths > QUICK_MAX)
		event_add(s->restart_timer, &restart_pause);
	else
		start_worker(s);
}

static void on_tick(void *userdata)
{
	struct segment *s = userdata;

	stats_changed(s->keeper->stats);
}

static const struct worker_ops worker_ops = {
	.message = on_message,
	.writable = on_writable,
	.died = on_died,
	.tick = on_tick,
};

void segment_configure(struct segment *s, const char *tap, int tap_fd, int32_t cpu)
{
	bool new_tap;

	/* Of the same netdev: what has come in by the one that is there is not lost, and comes once. */
	if (tap_fd >= 0 && s->kind == UPLINK_PACKET && packet_check(tap_fd) > 0 &&
	    packet_check(tap_fd) == packet_check(s->tap_fd)) {
		tap_fd = close_safe(tap_fd);
		snprintf(s->tap, sizeof(s->tap), "%s", tap);
	}
	new_tap = tap_fd >= 0 || !str_eq(s->tap, tap);
	if (new_tap) {
		close_safe(s->tap_fd);
		s->tap_fd = tap_fd;
		s->kind = tap_fd >= 0 && packet_check(tap_fd) != -EINVAL ? UPLINK_PACKET
									 : UPLINK_TAP;
		s->uplink_dirty = true;
	}
	if (cpu != s->cpu)
		s->uplink_dirty = true;
	snprintf(s->tap, sizeof(s->tap), "%s", tap);
	s->cpu = cpu;
	preserve_segment(s, new_tap);
	segment_feed(s);
}

struct segment *segment_free(struct segment *s)
{
	if (!s)
		return NULL;
	if (s->keeper) {
		TAILQ_REMOVE(&s->keeper->segments, s, link);
		preserve_segment_free(s);
	}
	worker_free(s->worker);
	if (s->restart_timer)
		event_free(s->restart_timer);
	if (s->relief_timer)
		event_free(s->relief_timer);
	close_safe(s->predecessor);
	close_safe(s->tap_fd);
	free(s);
	return NULL;
}
DEFINE_CLEANUP(struct segment *, segment_free)

static int make(struct keeper *k, const char *name, int worker_state, struct segment **ret)
{
	_cleanup_(segment_freep) struct segment *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->tap_fd = -1;
	s->predecessor = -1;
	s->cpu = -1;
	s->uplink_dirty = true;
	r = str_copy(s->name, sizeof(s->name), name);
	if (r < 0)
		return r;
	s->restart_timer = evtimer_new(k->base, on_restart_timer, s);
	s->relief_timer = evtimer_new(k->base, on_relief_timer, s);
	if (!s->restart_timer || !s->relief_timer)
		return -ENOMEM;
	r = worker_new(k->base, &worker_ops, s, worker_state, &s->worker);
	if (r < 0)
		return r;
	s->keeper = k;
	TAILQ_INSERT_TAIL(&k->segments, s, link);
	*ret = take_ptr(s);
	return 0;
}

void segment_start(struct segment *s)
{
	start_worker(s);
}

int segment_restore(struct keeper *k, const char *name, int worker_state, struct segment **ret)
{
	return make(k, name, worker_state, ret);
}

int segment_new(struct keeper *k, const char *name, struct segment **ret)
{
	struct segment *s;
	int r = make(k, name, -1, &s);

	if (r < 0)
		return r;
	preserve_segment_new(s);
	*ret = s;
	start_worker(s);
	return 0;
}
