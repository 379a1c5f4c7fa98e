/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/sock.h"
#include "datapath/keeper/control.h"
#include "datapath/keeper/keeper.h"
#include "datapath/keeper/peer.h"
#include "datapath/keeper/preserve.h"
#include "datapath/keeper/shm.h"
#include "datapath/vhost/discard.h"

/* A port that costs a second worker within this time is kept out, alone. */
#define QUARANTINE_US 60000000

/*
 * What a front end changes, its worker is told, which then forwards nobody's frames: so many changes at once, as
 * several starts of a device with eight queue pairs make, then one in so many µs. The account is the port's, not
 * the connection's: who comes again has no more.
 */
#define CHANGES_AT_ONCE 500
#define CHANGE_US	1000
static const struct timeval throttle_time = { .tv_usec = 20000 };

/* Who leaves sooner may do so again and again; the next one is accepted after a pause. */
#define SHORT_US 100000

#define FIELDS(p) \
	(&(struct vnic_log_fields){ .port = (p)->config.key, .segment = (p)->segment->name })

static void set_reason(struct kport *p, const char *reason)
{
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
}

/* Another process, or another owner: what was is not its fault. */
static void end_quarantine(struct kport *p)
{
	p->quarantined = false;
	p->last_blame = 0;
	p->reason[0] = '\0';
}

bool kport_quiet(const struct kport *p)
{
	return !p->dirty && !p->unacked && p->segment->live;
}

/* The header's seq is the segment's to fill in. */
size_t kport_wire(const struct kport *p, struct wire_port_set *w, int *fds)
{
	size_t n = 0;

	memset(w, 0, sizeof(*w));
	w->h.type = WIRE_PORT_SET;
	w->h.port = p->index;
	memcpy(w->mac, p->config.mac, sizeof(w->mac));
	w->vlan = p->config.vlan;
	w->weight = p->config.weight;
	w->rate = p->config.rate;
	if (p->config.spoofchk)
		w->flags |= WIRE_PORT_SPOOFCHK;
	if (p->config.trust)
		w->flags |= WIRE_PORT_TRUST;
	if (p->config.standby)
		w->flags |= WIRE_PORT_STANDBY;
	if (p->config.away)
		w->flags |= WIRE_PORT_AWAY;
	fds[n++] = p->state_fd;
	if (p->conn && !p->quarantined)
		n += vhost_dev_wire(&p->dev, w, fds + n, p->broken || p->keeper->ending);
	/* The guest is announced from here when it is here. */
	if (!vhost_dev_running(&p->dev) || p->broken || p->keeper->ending)
		w->flags &= ~(uint32_t)WIRE_PORT_ANNOUNCE;
	return n;
}

static void tell_worker(struct kport *p)
{
	int fds[1 + VHOST_WIRE_FDS_MAX];
	struct wire_port_set w;

	kport_wire(p, &w, fds);
	w.h.seq = p->told.h.seq;
	if (!memcmp(&w, &p->told, sizeof(w)) && p->told_epoch == p->dev.fd_epoch)
		return;
	p->told = w;
	p->told_epoch = p->dev.fd_epoch;
	p->dirty = true;
	segment_feed(p->segment);
}

/* The worker has it, and what came with it outlives us. */
static bool settled(const struct kport *p)
{
	return kport_quiet(p) && preserve_confirmed(p);
}

/* Nothing of a front end is half done. */
static void check_idle(struct kport *p)
{
	if (p->conn && !p->owing && vhost_conn_idle(p->conn))
		preserve_reading(p, false);
}

/* A broken port gets another chance once its front end has stopped every ring. */
static void forgive(struct kport *p)
{
	if (p->broken && !vhost_dev_started(&p->dev)) {
		p->broken = false;
		vnic_log(LOG_INFO, FIELDS(p), "the front end has stopped the broken rings");
	}
}

static void answer_waiters(struct kport *p)
{
	for (size_t i = 0; i < p->n_waiters; i++)
		control_answer(p->keeper->control, p->waiters[i]);
	p->n_waiters = 0;
}

static void refuse_waiters(struct kport *p, const char *reason)
{
	struct vnic_err err = VNIC_ERR_INIT;

	vnic_err_set(&err, -EIO, VNIC_E_STEP_FAILED, "port %s: %s", p->config.key, reason);
	for (size_t i = 0; i < p->n_waiters; i++)
		control_answer_error(p->keeper->control, p->waiters[i], &err);
	p->n_waiters = 0;
}

void kport_touch(struct kport *p)
{
	if (p->deleting)
		return;
	tell_worker(p);
	preserve_port(p);
	if (p->conn && p->owing && settled(p)) {
		p->owing = false;
		vhost_dev_settle(&p->dev, &p->reply);
		forgive(p);
		preserve_port(p);
		if (p->reply.size > 0)
			vhost_conn_reply(p->conn, &p->reply);
		tell_worker(p); /* a ring that has stopped is gone now */
	}
	check_idle(p);
	if (p->conn && settled(p) && !p->throttled)
		vhost_conn_resume(p->conn);
	else if (p->conn)
		vhost_conn_pause(p->conn);
	if (settled(p))
		answer_waiters(p);
	p->storing = !preserve_confirmed(p);
	keeper_port_changed(p);
}

static void on_throttle_over(evutil_socket_t fd, short what, void *userdata)
{
	struct kport *p = userdata;

	(void)fd, (void)what;
	p->throttled = false;
	kport_touch(p);
}

/* The worker is told of a front end's change: not too often. */
static void charge(struct kport *p)
{
	uint64_t now = keeper_now_us();

	p->charged_until = (p->charged_until > now ? p->charged_until : now) + CHANGE_US;
	if (p->charged_until <= now + CHANGES_AT_ONCE * CHANGE_US)
		return;
	if (!p->throttle_said)
		vnic_log(LOG_NOTICE, FIELDS(p),
			 "port %s: process %d changes its rings without end, and is read slowly",
			 p->config.name, (int)p->peer_pid);
	p->throttle_said = true;
	p->throttled = true;
	event_add(p->throttle_timer, &throttle_time);
}

static void log_connected(struct kport *p)
{
	vnic_log(LOG_INFO, FIELDS(p), "port %s: process %d connected", p->config.name,
		 (int)p->peer_pid);
}

/* A connection that says nothing is logged once, not each that comes and goes like it. */
static void first_message(struct kport *p)
{
	if (p->silent_before)
		log_connected(p);
	p->heard = true;
	p->silent_before = false;
}

static int on_front_end_message(void *userdata, const struct vhost_msg *m, int *fds,
				struct vnic_err *err)
{
	struct kport *p = userdata;
	int r;

	vnic_log(LOG_DEBUG, FIELDS(p), "%s %u", vhost_request_name(m->request), m->index);
	if (!p->heard)
		first_message(p);
	r = vhost_dev_handle(&p->dev, m, fds, &p->reply, err);
	if (r < 0)
		return r;
	p->owing = true;
	tell_worker(p);
	if (p->dirty || p->unacked)
		charge(p);
	kport_touch(p);
	return 0;
}

static void release_socket(struct kport *p)
{
	if (p->closing && preserve_confirmed(p)) {
		p->closing = false;
		fd_discard_release(p);
	}
}

static void kport_hang_up(struct kport *p, const char *reason)
{
	if (!p->conn)
		return;
	vnic_log(p->silent_before ? LOG_DEBUG : LOG_NOTICE, FIELDS(p),
		 "port %s: process %d is disconnected: %s", p->config.name, (int)p->peer_pid,
		 reason);
	if (!p->quarantined)
		set_reason(p, reason);
	if (p->kept)
		p->closing |= vhost_conn_free_held(p->conn);
	else
		vhost_conn_free(p->conn);
	p->conn = NULL;
	p->owing = false;
	p->broken = false;
	p->peer_pid = 0;
	vhost_dev_clear(&p->dev);
	preserve_hung_up(p);
	release_socket(p);
	p->silent_before = !p->heard;
	if (p->listener) {
		listener_again(p->listener);
		if (keeper_now_us() - p->connected_at < SHORT_US)
			listener_pause(p->listener);
	}
	kport_touch(p);
}

static void on_front_end_closed(void *userdata, const char *reason, bool fault)
{
	struct kport *p = userdata;

	if (fault && p->listener)
		listener_pause(p->listener);
	if (fault && !p->heard)
		first_message(p); /* not a whole one, but no silence either */
	kport_hang_up(p, reason);
}

static void on_front_end_reading(void *userdata)
{
	preserve_reading(userdata, true);
}

static void on_front_end_idle(void *userdata)
{
	check_idle(userdata);
}

static const struct vhost_conn_ops conn_ops = {
	.reading = on_front_end_reading,
	.idle = on_front_end_idle,
	.message = on_front_end_message,
	.closed = on_front_end_closed,
};

/* One peer a port: a second one is turned away, unless the first is gone and we have not read it yet. */
static int admit(struct kport *p, int fd, struct sock_peer *peer, struct vnic_err *err)
{
	int r = sock_peer(fd, peer);

	if (r < 0)
		return vnic_err_set(err, r, "", "its process cannot be told: %s", strerror(-r));
	if (p->conn && vhost_conn_dead(p->conn))
		kport_hang_up(p, "the front end hung up");
	if (p->conn)
		return vnic_err_set(err, -EBUSY, "", "process %d is connected", (int)p->peer_pid);
	if (p->config.pidfile[0])
		return peer_check(peer->pid, p->config.pidfile, err);
	return 0;
}

static bool on_peer(void *userdata, int fd)
{
	struct kport *p = userdata;
	struct vnic_err err = VNIC_ERR_INIT;
	struct sock_peer peer = { 0 };
	int r = admit(p, fd, &peer, &err);

	if (r == 0) {
		r = vhost_conn_new(p->keeper->base, fd, &conn_ops, p, &p->conn);
		if (r < 0)
			vnic_err_set(&err, r, "", "%s", strerror(-r));
	}
	if (r < 0) {
		vnic_log(LOG_NOTICE, FIELDS(p), "port %s: refused process %d: %s", p->config.name,
			 (int)peer.pid, err.message);
		fd_discard_socket(p, fd);
		return false;
	}
	p->peer_pid = peer.pid;
	vhost_dev_init(&p->dev, p->keeper->features, p->config.queues, p->state);
	p->dev.fd_epoch = p->told_epoch + 1;
	preserve_conn(p, fd);
	if (p->quarantined && peer.pid != p->quarantined_pid)
		end_quarantine(p);
	p->connected_at = keeper_now_us();
	p->heard = false;
	p->throttle_said = false;
	if (!p->silent_before)
		log_connected(p);
	kport_touch(p);
	return true;
}

int kport_listen(struct kport *p, int fd)
{
	struct listener *l;
	int r = listener_new_server(p->keeper->base, fd, on_peer, p, &l);

	if (r < 0)
		return r;
	listener_free(p->listener);
	p->listener = l;
	preserve_listener(p);
	keeper_port_changed(p);
	return 0;
}

int kport_connect(struct kport *p, const char *file)
{
	return listener_new_client(p->keeper->base, file, on_peer, p, &p->listener);
}

void kport_configure(struct kport *p, const struct port_config *config)
{
	struct vnic_err err = VNIC_ERR_INIT;
	bool new_lock = strcmp(p->config.pidfile, config->pidfile) != 0;

	if (config->generation != p->config.generation && p->quarantined)
		end_quarantine(p);
	p->config = *config;
	/* Who asks again wants it tried again. */
	if (p->refused)
		memset(&p->told, 0, sizeof(p->told));
	/* Whoever is connected must be the one that this configuration is for. */
	if (p->conn && new_lock && config->pidfile[0] &&
	    peer_check(p->peer_pid, config->pidfile, &err) < 0)
		kport_hang_up(p, err.message);
	kport_touch(p);
}

void kport_acked(struct kport *p, int error, const char *reason)
{
	char text[DP_REASON_MAX];

	p->unacked = false;
	if (p->deleting) {
		answer_waiters(p);
		kport_free(p);
		return;
	}
	if (p->told.flags & WIRE_PORT_ANNOUNCE && !p->dirty && error == 0) {
		p->told.flags &= ~(uint32_t)WIRE_PORT_ANNOUNCE;
		p->dev.announce = false;
	}
	p->refused = error < 0;
	if (error < 0) {
		snprintf(text, sizeof(text), "the worker refuses it: %s", reason);
		if (p->conn) {
			kport_hang_up(p, text);
			return;
		}
		set_reason(p, text);
		vnic_log(LOG_ERR, FIELDS(p), "port %s: %s", p->config.name, text);
		/* What has changed since is another question, answered when the worker has seen it. */
		if (!p->dirty)
			refuse_waiters(p, text);
	}
	kport_touch(p);
}

void kport_malformed(struct kport *p, const char *reason)
{
	if (!p->conn || p->broken)
		return;
	vnic_log(LOG_WARNING, FIELDS(p),
		 "port %s: its rings are malformed and stand until the guest starts them anew: %s",
		 p->config.name, reason);
	set_reason(p, reason);
	p->broken = true;
	if (!vhost_dev_signal_err(&p->dev))
		on_front_end_closed(p, "it made the datapath wait for its error eventfd", true);
	else
		kport_touch(p);
}

void kport_blame(struct kport *p, const char *reason)
{
	uint64_t now = keeper_now_us();

	p->restarts++;
	if (p->last_blame && now - p->last_blame < QUARANTINE_US && !p->quarantined) {
		p->quarantined = true;
		p->quarantined_pid = p->peer_pid;
		snprintf(p->reason, sizeof(p->reason), "quarantined, it cost two workers: %s",
			 reason);
		vnic_log(LOG_ERR, FIELDS(p), "port %s: %s", p->config.name, p->reason);
	}
	p->last_blame = now;
	kport_touch(p);
}

void kport_summarize(const struct kport *p, struct port_summary *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->state = p->quarantined				? "quarantined"
		     : !p->conn					? "listening"
		     : p->broken || !vhost_dev_running(&p->dev) ? "connected"
								: "running";
	ret->generation = p->config.generation;
	ret->peer_pid = p->peer_pid;
	ret->features = p->dev.features;
	ret->queues_active = vhost_dev_queues_active(&p->dev);
	ret->logging = p->dev.features & VHOST_FEATURE_LOG_ALL;
	ret->has_listener = p->listener && listener_fd(p->listener) >= 0;
	ret->restarts = p->restarts;
	memcpy(ret->reason, p->reason, sizeof(ret->reason));
}

void kport_delete(struct kport *p)
{
	if (p->deleting)
		return;
	p->listener = listener_free(p->listener);
	if (p->conn)
		kport_hang_up(p, "the port is deleted");
	/* At once: a successor has nothing to do with it. */
	preserve_port_free(p);
	p->deleting = true;
	p->dirty = true;
	segment_feed(p->segment);
}

struct kport *kport_free(struct kport *p)
{
	void *map;

	if (!p)
		return NULL;
	preserve_port_free(p);
	if (p->closing)
		fd_discard_release(p);
	if (p->conn && p->keeper->handing_over)
		vhost_conn_leave(p->conn);
	else if (p->conn)
		vhost_conn_free(p->conn);
	if (p->listener && p->keeper->handing_over)
		listener_leave(p->listener);
	else
		listener_free(p->listener);
	if (p->throttle_timer)
		event_free(p->throttle_timer);
	if (p->dev.state)
		vhost_dev_clear(&p->dev);
	map = p->state;
	shm_drop(sizeof(*p->state), &p->state_fd, &map);
	if (p->segment) {
		p->segment->port[p->index] = NULL;
		p->segment->n_ports--;
		TAILQ_REMOVE(&p->keeper->ports, p, link);
		p->keeper->n_ports--;
	}
	free(p->waiters);
	free(p);
	return NULL;
}
DEFINE_CLEANUP(struct kport *, kport_free)

void kport_stamp(struct kport *p)
{
	p->state->magic = DP_PORT_MAGIC;
	p->state->layout = DP_LAYOUT_VERSION;
	p->state->size = sizeof(*p->state);
}

/* @state_fd and @state become the port's where 0 is returned. */
static int make(struct segment *s, const struct port_config *config, uint32_t index, int state_fd,
		struct port_state *state, struct kport **ret)
{
	_cleanup_(kport_freep) struct kport *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->state_fd = -1;
	p->throttle_timer = evtimer_new(s->keeper->base, on_throttle_over, p);
	if (!p->throttle_timer)
		return -ENOMEM;
	p->state_fd = state_fd;
	p->state = state;
	kport_stamp(p);
	p->config = *config;
	p->keeper = s->keeper;
	p->index = index;
	vhost_dev_init(&p->dev, s->keeper->features, config->queues, p->state);
	p->segment = s;
	s->port[index] = p;
	s->n_ports++;
	TAILQ_INSERT_TAIL(&s->keeper->ports, p, link);
	s->keeper->n_ports++;
	*ret = take_ptr(p);
	return 0;
}

int kport_restore(struct segment *s, const struct port_config *config, uint32_t index, int state_fd,
		  struct port_state *state, struct kport **ret)
{
	if (index >= DP_PORTS_MAX || s->port[index])
		return -EINVAL;
	return make(s, config, index, state_fd, state, ret);
}

int kport_resume(struct kport *p, int fd, pid_t peer)
{
	int r = vhost_conn_new(p->keeper->base, fd, &conn_ops, p, &p->conn);

	if (r < 0)
		return r;
	p->peer_pid = peer;
	p->heard = true;
	p->connected_at = keeper_now_us();
	return 0;
}

int kport_new(struct segment *s, const struct port_config *config, struct kport **ret)
{
	struct port_state *state;
	struct kport *p;
	uint32_t i = 0;
	void *map;
	int fd, r;

	while (i < DP_PORTS_MAX && s->port[i])
		i++;
	if (i == DP_PORTS_MAX)
		return -ENOSPC;
	r = shm_new("vnicd-port", sizeof(*state), &fd, &map);
	if (r < 0)
		return r;
	state = map;
	r = make(s, config, i, fd, state, &p);
	if (r < 0) {
		shm_drop(sizeof(*state), &fd, &map);
		return r;
	}
	preserve_port_new(p);
	*ret = p;
	kport_touch(p);
	return 0;
}
