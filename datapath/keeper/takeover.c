/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <systemd/sd-daemon.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/paths.h"
#include "base/sock.h"
#include "datapath/keeper/peer.h"
#include "datapath/keeper/preserve.h"
#include "datapath/keeper/shm.h"
#include "datapath/keeper/store.h"
#include "datapath/keeper/tap.h"

#define REFUSE(err, ...) vnic_err_set(err, -EBADMSG, VNIC_E_INTERNAL, __VA_ARGS__)

#define KEEPER_MAGIC   0x766e69636b656570ULL
#define KEEPER_VERSION 1

/* So many keepers that lived shorter than this, one after the other. */
#define ATTEMPTS_MAX 8
static const struct timeval healthy_time = { .tv_sec = 2 };

struct saved_keeper {
	uint32_t attempts;
};

/*
 * Workers of our predecessor's that work on are given so long until all of ours are ready; where ours do not run at all, so
 * many times that long. systemd, which waits for READY=1, has ended us before then.
 */
static const struct timeval hand_over_time = { .tv_sec = 3 };
#define HAND_OVER_TURNS 20
#define STRANGER_US	500000

struct takeover {
	struct saved *state;
	struct event *timer;
	bool late; /* not all rings have changed hands in time */
	unsigned int turns; /* of hand_over_time */
	int *hang_up; /* connections that cannot go on, borrowed from the store */
	size_t n_hang_up;
};

static int copy_fd(int fd)
{
	return fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
}

/* The file may have been taken away, or be another's: then nobody can reach the old one. */
static bool control_usable(int fd, bool stored)
{
	struct stat st;

	return sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) > 0 &&
	       (!stored || (stat(VNIC_DP_SOCK, &st) == 0 && S_ISSOCK(st.st_mode)));
}

static void take_stored_control(struct keeper *k, int *control)
{
	uint32_t id = store_next(k->store, STORE_CONTROL, 0);
	int fd = store_adopted(k->store, STORE_CONTROL, id);

	if (*control >= 0 || fd < 0 || !control_usable(fd, true))
		return;
	*control = copy_fd(fd);
	if (*control >= 0)
		store_claim(k->store, id);
}

int takeover_adopt(struct keeper *k, int *ret_control)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names), control = -1;

	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (k->store && store_adopt(k->store, fd, names[i]))
			continue;
		if (control < 0 && control_usable(fd, false)) {
			control = fd;
			continue;
		}
		log_warning("descriptor \"%s\" that the service manager passed is not for us",
			    names[i]);
		close_safe(fd);
	}
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	if (k->store)
		take_stored_control(k, &control);
	if (control >= 0 && fd_set_nonblock(control, true) < 0)
		control = close_safe(control);
	*ret_control = control;
	return n < 0 ? n : 0;
}

/* A string in a field, as a JSON message would have it, with nothing behind its end: configurations are compared as bytes. */
static bool is_string(const char *s, size_t size, bool may_be_empty)
{
	size_t len = strnlen(s, size);
	char clean[256];

	if (size > sizeof(clean) || len == size || (len == 0 && !may_be_empty))
		return false;
	for (size_t i = len; i < size; i++)
		if (s[i])
			return false;
	/* It goes into JSON. */
	memcpy(clean, s, len + 1);
	str_make_utf8(clean);
	return str_eq(clean, s);
}

#define IS_STRING(field, may_be_empty) is_string(field, sizeof(field), may_be_empty)

/* As keeper/request.c takes it from vnicd. */
static int check_config(const struct saved_port *b, struct port_config *c, struct vnic_err *err)
{
	memset(c, 0, sizeof(*c));
	if (!IS_STRING(b->key, false) || !IS_STRING(b->name, false) ||
	    !IS_STRING(b->segment, false) || !IS_STRING(b->pidfile, true) ||
	    strnlen(b->reason, sizeof(b->reason)) == sizeof(b->reason))
		return REFUSE(err, "a name in it is none");
	if (!mac_valid_guest(b->mac) || b->vlan > VNIC_VLAN_MAX || b->queues < 1 ||
	    b->queues > DP_QUEUE_PAIRS_MAX || b->weight < 1 || b->weight > 65535 ||
	    b->spoofchk > 1 || b->trust > 1 || b->standby > 1 || b->away > 1 || b->broken > 1 ||
	    b->quarantined > 1)
		return REFUSE(err, "a number in it is out of range");
	memcpy(c->key, b->key, sizeof(c->key));
	memcpy(c->name, b->name, sizeof(c->name));
	memcpy(c->segment, b->segment, sizeof(c->segment));
	memcpy(c->pidfile, b->pidfile, sizeof(c->pidfile));
	memcpy(c->mac, b->mac, sizeof(c->mac));
	c->generation = b->generation;
	c->vlan = b->vlan;
	c->spoofchk = b->spoofchk;
	c->trust = b->trust;
	c->standby = b->standby;
	c->away = b->away;
	c->queues = b->queues;
	c->weight = b->weight;
	c->rate = b->rate;
	return 0;
}

static int shared_fd(void *store, uint32_t id)
{
	return copy_fd(store_adopted(store, STORE_SHARED, id));
}

static int private_fd(struct keeper *k, uint32_t id)
{
	return store_adopted(k->store, STORE_PRIVATE, id);
}

static int check_peer(struct kport *p, int fd, const struct saved_port *b, struct vnic_err *err)
{
	struct sock_peer peer;

	if (fd < 0)
		return REFUSE(err, "the front end's connection is not in the store");
	if (sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 0) <= 0 || sock_peer(fd, &peer) < 0)
		return REFUSE(err, "the front end's connection is something else");
	if (peer.pid != b->peer_pid)
		return REFUSE(err, "the front end's connection is process %d's, not %d's",
			      (int)peer.pid, (int)b->peer_pid);
	return p->config.pidfile[0] ? peer_check(peer.pid, p->config.pidfile, err) : 0;
}

static int resume(struct kport *p, int fd, const struct saved_port *b, bool marked,
		  struct vnic_err *err)
{
	_cleanup_(closep) int copy = -1;
	int r;

	if (marked)
		return REFUSE(err, "the datapath restarted in the middle of a request");
	r = check_peer(p, fd, b, err);
	if (r == 0)
		r = vhost_dev_restore(&p->dev, &b->dev, shared_fd, p->keeper->store, err);
	if (r < 0)
		return r;
	copy = copy_fd(fd);
	r = copy < 0 ? -errno : kport_resume(p, copy, b->peer_pid);
	if (r < 0)
		return REFUSE(err, "%s", strerror(-r));
	take_fd(&copy);
	return 0;
}

/* Once no worker is at its rings any more: what a front end does at a hang-up rests on where they stand then. */
static void hang_up_later(struct takeover *t, int fd)
{
	int *more = reallocarray(t->hang_up, t->n_hang_up + 1, sizeof(*more));

	if (!more)
		abort();
	t->hang_up = more;
	t->hang_up[t->n_hang_up++] = fd;
}

static void restore_conn(struct kport *p, const struct saved_port *b, bool marked)
{
	struct vnic_err err = VNIC_ERR_INIT;
	int fd = private_fd(p->keeper, b->conn);

	if (!b->conn)
		return;
	if (resume(p, fd, b, marked, &err) == 0) {
		store_claim(p->keeper->store, b->conn);
		return;
	}
	log_notice("port %s: process %d is disconnected: %s", p->config.name, (int)b->peer_pid,
		   err.message);
	memset(p->reason, 0, sizeof(p->reason));
	memcpy(p->reason, err.message, strnlen(err.message, sizeof(p->reason) - 1));
	vhost_dev_clear(&p->dev);
	p->broken = false;
	if (fd >= 0)
		hang_up_later(p->keeper->takeover, fd);
}

static void restore_listener(struct kport *p, const struct saved_port *b)
{
	struct vnic_err err = VNIC_ERR_INIT;
	int fd = private_fd(p->keeper, b->listener), copy;

	if (fd < 0 || listener_check(fd, &err) < 0)
		return;
	copy = copy_fd(fd);
	if (copy >= 0 && kport_listen(p, copy) == 0)
		store_claim(p->keeper->store, b->listener);
	else
		close_safe(copy);
}

/* The port with its shared state, no socket yet. */
static int make_port(struct keeper *k, const struct saved_port *b, struct kport **ret,
		     struct vnic_err *err)
{
	struct port_config c;
	struct segment *s;
	void *map;
	int fd, r;

	r = check_config(b, &c, err);
	if (r < 0)
		return r;
	s = keeper_find_segment(k, c.segment);
	if (!s)
		return REFUSE(err, "its segment \"%s\" is not there", c.segment);
	if (keeper_find_port(k, c.key))
		return REFUSE(err, "port %s is there already", c.key);
	r = shm_map(private_fd(k, b->state), sizeof(struct port_state), &map, err);
	if (r < 0)
		return r;
	fd = copy_fd(private_fd(k, b->state));
	r = fd < 0 ? -errno : kport_restore(s, &c, b->index, fd, map, ret);
	if (r == 0 && store_claim(k->store, b->state))
		return 0;
	if (r == 0)
		kport_free(*ret);
	else
		shm_drop(sizeof(struct port_state), &fd, &map);
	return REFUSE(err, "its shared state cannot be had");
}

static void restore_port(struct keeper *k, uint32_t id)
{
	int fd = store_adopted(k->store, STORE_PORT, id);
	_cleanup_(freep) struct saved_port *b = malloc(sizeof(*b));
	struct vnic_err err = VNIC_ERR_INIT;
	struct saved *state = NULL;
	struct kport *p = NULL;
	int r;

	if (!b)
		abort();
	r = saved_open(fd, PRESERVE_PORT_MAGIC, PRESERVE_LAYOUT, b, sizeof(*b), &state, &err);
	if (r == 0)
		r = make_port(k, b, &p, &err);
	if (r < 0) {
		log_warning("a port's state from before the restart is not used: %s", err.message);
		saved_close(state);
		return;
	}
	store_claim(k->store, id);
	p->restarts = b->restarts;
	p->last_blame = b->last_blame;
	p->broken = b->broken;
	p->quarantined = b->quarantined;
	p->quarantined_pid = b->quarantined_pid;
	memcpy(p->reason, b->reason, sizeof(p->reason));
	str_make_utf8(p->reason); /* a sentence may have been cut */
	restore_listener(p, b);
	restore_conn(p, b, saved_marked(state));
	preserve_port_adopt(p, id, state, b);
	preserve_reading(p, false);
	kport_touch(p);
}

static int check_segment(struct keeper *k, const struct saved_segment *b, struct vnic_err *err)
{
	if (!IS_STRING(b->name, false) || !IS_STRING(b->tap, true) ||
	    strnlen(b->reason, sizeof(b->reason)) == sizeof(b->reason) || b->cpu < -1 ||
	    b->cpu > 65535)
		return REFUSE(err, "a name or number in it is none");
	if (keeper_find_segment(k, b->name))
		return REFUSE(err, "segment \"%s\" is there already", b->name);
	return 0;
}

static int restore_tap(struct segment *s, const struct saved_segment *b)
{
	struct vnic_err err = VNIC_ERR_INIT;
	int fd = private_fd(s->keeper, b->tap_id);

	if (!b->tap_id)
		return -1;
	if (fd >= 0 && uplink_check(fd, &err) == 0 && store_claim(s->keeper->store, b->tap_id))
		return copy_fd(fd);
	log_warning("segment %s: its uplink is not there until vnicd gives it again", s->name);
	return -1;
}

/* The worker that is at work. */
static void restore_line(struct segment *s, uint32_t id)
{
	int fd = store_adopted(s->keeper->store, STORE_WORKER, id);

	if (sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, 0) > 0 && store_claim(s->keeper->store, id))
		s->predecessor = copy_fd(fd);
}

static void restore_segment(struct keeper *k, uint32_t id)
{
	int fd = store_adopted(k->store, STORE_SEGMENT, id);
	struct vnic_err err = VNIC_ERR_INIT;
	struct saved *state = NULL;
	struct saved_segment b;
	struct segment *s;
	int r;

	r = saved_open(fd, PRESERVE_SEGMENT_MAGIC, PRESERVE_LAYOUT, &b, sizeof(b), &state, &err);
	if (r == 0)
		r = check_segment(k, &b, &err);
	if (r == 0) {
		r = segment_restore(k, b.name, private_fd(k, b.worker), &s);
		if (r < 0)
			REFUSE(&err, "its worker's state cannot be had");
	}
	if (r < 0) {
		log_warning("a segment's state from before the restart is not used: %s",
			    err.message);
		saved_close(state);
		return;
	}
	store_claim(k->store, id);
	store_claim(k->store, b.worker);
	s->restarts = b.restarts;
	memcpy(s->reason, b.reason, sizeof(s->reason));
	str_make_utf8(s->reason);
	segment_configure(s, b.tap, restore_tap(s, &b), b.cpu);
	restore_line(s, b.line);
	preserve_segment_adopt(s, id, state, &b);
	if (s->predecessor < 0)
		s->down_since = keeper_now_us();
}

/* Until it has ended, and with it what it had mapped. */
static void wait_for_end(int fd, uint64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t now;
	char byte;

	while ((now = keeper_now_us()) < deadline) {
		ssize_t n = recv(fd, &byte, sizeof(byte), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			poll(&p, 1, (int)((deadline - now) / 1000) + 1);
		else if (n <= 0)
			return;
	}
}

/*
 * Workers whose segment is not gone on with: no successor will wait for them, so nothing may begin, and nobody be hung
 * up on, before their end.
 */
static void end_strangers(struct keeper *k)
{
	uint64_t deadline = keeper_now_us() + STRANGER_US;

	for (uint32_t id = 0; (id = store_next(k->store, STORE_WORKER, id));)
		if (store_unclaimed(k->store, id))
			shutdown(store_adopted(k->store, STORE_WORKER, id), SHUT_WR);
	for (uint32_t id = 0; (id = store_next(k->store, STORE_WORKER, id));)
		if (store_unclaimed(k->store, id))
			wait_for_end(store_adopted(k->store, STORE_WORKER, id), deadline);
	for (uint32_t id = 0; (id = store_next(k->store, STORE_PRIVATE, id));) {
		int fd = store_adopted(k->store, STORE_PRIVATE, id);

		/* Of memory alone: other files' locks may be somebody's to answer for. */
		if (store_unclaimed(k->store, id) && fcntl(fd, F_GET_SEALS) >= 0)
			worker_end_others(fd, 0, STRANGER_US / 1000);
	}
}

/* Its predecessor does what it cannot: a version whose workers do not run takes nobody's network. */
static bool goes_on_before(const struct segment *s)
{
	return s->predecessor >= 0 && s->quick_deaths > 0;
}

static void on_time_over(evutil_socket_t fd, short what, void *userdata)
{
	struct keeper *k = userdata;
	struct segment *s;

	(void)fd, (void)what;
	k->takeover->late = true;
	k->takeover->turns++;
	TAILQ_FOREACH(s, &k->segments, link)
	{
		if (!goes_on_before(s) || k->takeover->turns == HAND_OVER_TURNS) {
			segment_relieve(s, true);
			continue;
		}
		if (k->takeover->turns == 1)
			log_err("segment %s: its worker ends again and again; the one from before "
				"the "
				"restart goes on: %s",
				s->name, s->reason);
		k->takeover->late = false;
	}
}

static bool handed_over(const struct keeper *k)
{
	const struct segment *s;

	TAILQ_FOREACH(s, &k->segments, link)
	if (!s->live && (s->predecessor >= 0 || worker_pid(s->worker)))
		return false;
	return true;
}

/*
 * Until all rings have changed hands nothing else is begun, and nobody hung up on: what a port's worker is told, and
 * vnicd about it, is about the new one. Return: false: we were told to end meanwhile.
 */
static bool hand_over(struct keeper *k)
{
	struct event *timer = event_new(k->base, -1, EV_PERSIST, on_time_over, k);
	bool told = false;

	if (!timer || event_add(timer, &hand_over_time) < 0)
		abort();
	while (!told && !k->takeover->late && !handed_over(k)) {
		if (event_base_loop(k->base, EVLOOP_ONCE) != 0)
			break;
		told = event_base_got_break(k->base);
	}
	event_free(timer);
	return !told;
}

static void on_healthy(evutil_socket_t fd, short what, void *userdata)
{
	static const struct saved_keeper none;
	struct keeper *k = userdata;

	(void)fd, (void)what;
	saved_write(k->takeover->state, &none);
}

/* Return: how many keepers before us and after the last healthy one, or -1: nothing is known of any. */
static int64_t count_attempt(struct keeper *k, struct takeover *t)
{
	uint32_t id = store_next(k->store, STORE_KEEPER, 0);
	_cleanup_(closep) int fd = -1;
	struct saved_keeper b = { 0 };
	struct vnic_err ignored = VNIC_ERR_INIT;

	if (id && saved_open(store_adopted(k->store, STORE_KEEPER, id), KEEPER_MAGIC,
			     KEEPER_VERSION, &b, sizeof(b), &t->state, &ignored) == 0) {
		store_claim(k->store, id);
		b.attempts++;
		saved_write(t->state, &b);
		return b.attempts - 1;
	}
	if (saved_new("vnicd-saved-keeper", KEEPER_MAGIC, KEEPER_VERSION, sizeof(b), &t->state,
		      &fd) < 0)
		return 0;
	b.attempts = 1;
	saved_write(t->state, &b);
	store_put(k->store, STORE_KEEPER, fd);
	return 0;
}

void takeover_restore(struct keeper *k)
{
	uint64_t start = keeper_now_us();
	struct segment *s;
	int64_t attempts;
	uint32_t swept;

	if (!k->store)
		return;
	k->takeover = calloc(1, sizeof(*k->takeover));
	if (!k->takeover)
		abort();
	attempts = count_attempt(k, k->takeover);
	k->takeover->timer = evtimer_new(k->base, on_healthy, k);
	if (k->takeover->state && k->takeover->timer)
		event_add(k->takeover->timer, &healthy_time);
	if (attempts >= ATTEMPTS_MAX)
		log_err("%lld datapaths in a row ended within moments: this one starts from "
			"nothing, and guests' connections are made anew",
			(long long)attempts);
	for (uint32_t id = 0;
	     attempts < ATTEMPTS_MAX && (id = store_next(k->store, STORE_SEGMENT, id));)
		restore_segment(k, id);
	for (uint32_t id = 0;
	     attempts < ATTEMPTS_MAX && (id = store_next(k->store, STORE_PORT, id));)
		restore_port(k, id);
	end_strangers(k);
	TAILQ_FOREACH(s, &k->segments, link)
	segment_start(s);
	if (!hand_over(k))
		return;
	for (size_t i = 0; i < k->takeover->n_hang_up; i++)
		shutdown(k->takeover->hang_up[i], SHUT_RDWR);
	swept = store_sweep(k->store);
	if (k->n_ports > 0 || swept > 0)
		log_notice("took over %u ports in %llu us; %u descriptors were no one's",
			   k->n_ports, (unsigned long long)(keeper_now_us() - start), swept);
}

void takeover_end(struct keeper *k)
{
	struct takeover *t = k->takeover;

	if (!t)
		return;
	if (t->state)
		on_healthy(-1, 0, k);
	if (t->timer)
		event_free(t->timer);
	saved_close(t->state);
	free(t->hang_up);
	free(t);
	k->takeover = NULL;
}
