/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/preserve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "datapath/keeper/store.h"

/* What we know of a port's saved state. Never read back from it. */
struct kept_port {
	struct saved *state;
	uint32_t id; /* of the saved state in the store */
	uint32_t shm, listener, conn;
	bool has_ids; /* body.dev has the numbers of the descriptors at this epoch */
	uint64_t epoch;
	uint64_t barrier; /* behind the last thing that was stored */
	struct saved_port body;
};

struct kept_segment {
	struct saved *state;
	uint32_t id;
	uint32_t worker, tap_id, line;
	uint32_t next_line; /* of a worker that has not taken over yet */
	struct saved_segment body;
};

static struct store *store_of(const struct kport *p)
{
	return p->keeper->store;
}

static uint32_t share(void *store, int fd)
{
	return store_share(store, fd);
}

static void drop(void *store, uint32_t id)
{
	store_drop(store, id);
}

static void fill_port(const struct kport *p, const struct kept_port *k, struct saved_port *to)
{
	const struct port_config *c = &p->config;

	memset(to, 0, sizeof(*to));
	memcpy(to->key, c->key, sizeof(to->key));
	memcpy(to->name, c->name, sizeof(to->name));
	memcpy(to->segment, c->segment, sizeof(to->segment));
	memcpy(to->pidfile, c->pidfile, sizeof(to->pidfile));
	memcpy(to->mac, c->mac, sizeof(to->mac));
	memcpy(to->reason, p->reason, strnlen(p->reason, sizeof(to->reason) - 1));
	to->generation = c->generation;
	to->rate = c->rate;
	to->last_blame = p->last_blame;
	to->index = p->index;
	to->queues = c->queues;
	to->weight = c->weight;
	to->restarts = p->restarts;
	to->peer_pid = p->peer_pid;
	to->quarantined_pid = p->quarantined_pid;
	to->state = k->shm;
	to->listener = k->listener;
	to->conn = p->conn ? k->conn : 0;
	to->vlan = c->vlan;
	to->spoofchk = c->spoofchk;
	to->trust = c->trust;
	to->standby = c->standby;
	to->away = c->away;
	to->broken = p->broken;
	to->quarantined = p->quarantined;
	if (p->conn)
		vhost_dev_save(&p->dev, &to->dev);
}

static void ask_barrier(struct kport *p)
{
	p->kept->barrier = notify_barrier(store_notify(store_of(p)));
}

void preserve_port(struct kport *p)
{
	struct kept_port *k = p->kept;
	bool had_ids, fresh;
	struct saved_port now;
	uint64_t stored;

	if (!k)
		return;
	stored = store_puts(store_of(p));
	had_ids = k->has_ids;
	fresh = p->conn && (!had_ids || k->epoch != p->dev.fd_epoch);
	fill_port(p, k, &now);
	if (fresh)
		vhost_dev_save_ids(&p->dev, &now.dev, share, store_of(p));
	else if (p->conn)
		vhost_saved_copy_ids(&now.dev, &k->body.dev);
	if (memcmp(&now, &k->body, sizeof(now)) != 0)
		saved_write(k->state, &now);
	/* Those that stay have been counted twice. */
	if (had_ids && (fresh || !p->conn))
		vhost_saved_each_id(&k->body.dev, drop, store_of(p));
	k->has_ids = p->conn != NULL;
	k->epoch = p->dev.fd_epoch;
	k->body = now;
	if (store_puts(store_of(p)) != stored)
		ask_barrier(p);
}

bool preserve_confirmed(const struct kport *p)
{
	return !p->kept || notify_confirmed(store_notify(store_of(p)), p->kept->barrier);
}

void preserve_reading(struct kport *p, bool reading)
{
	if (p->kept)
		saved_mark(p->kept->state, reading);
}

void preserve_listener(struct kport *p)
{
	int fd = p->listener ? listener_fd(p->listener) : -1;
	struct kept_port *k = p->kept;
	uint32_t old;

	if (!k)
		return;
	old = k->listener;
	k->listener = fd >= 0 ? store_put(store_of(p), STORE_PRIVATE, fd) : 0;
	ask_barrier(p);
	preserve_port(p);
	store_drop(store_of(p), old);
}

void preserve_conn(struct kport *p, int fd)
{
	if (!p->kept)
		return;
	p->kept->conn = store_put(store_of(p), STORE_PRIVATE, fd);
	ask_barrier(p);
}

void preserve_hung_up(struct kport *p)
{
	struct kept_port *k = p->kept;

	if (!k)
		return;
	preserve_port(p);
	store_drop(store_of(p), k->conn);
	k->conn = 0;
	if (p->closing)
		ask_barrier(p);
	preserve_reading(p, false);
}

void preserve_port_new(struct kport *p)
{
	_cleanup_(closep) int fd = -1;
	struct kept_port *k;
	int r;

	if (!p->keeper->store)
		return;
	k = calloc(1, sizeof(*k));
	if (!k)
		abort();
	r = saved_new("vnicd-saved-port", PRESERVE_PORT_MAGIC, PRESERVE_LAYOUT, sizeof(k->body),
		      &k->state, &fd);
	if (r < 0) {
		log_warning("port %s: a restart is not unseen by its guest: %s", p->config.name,
			    strerror(-r));
		free(k);
		return;
	}
	k->shm = store_put(store_of(p), STORE_PRIVATE, p->state_fd);
	p->kept = k;
	preserve_port(p);
	k->id = store_put(store_of(p), STORE_PORT, fd);
	ask_barrier(p);
}

void preserve_port_adopt(struct kport *p, uint32_t id, struct saved *state,
			 const struct saved_port *body)
{
	struct kept_port *k = calloc(1, sizeof(*k));

	if (!k)
		abort();
	k->state = state;
	k->id = id;
	k->shm = body->state;
	k->listener = p->listener ? body->listener : 0;
	k->conn = p->conn ? body->conn : 0;
	p->kept = k;
	preserve_port(p);
}

void preserve_port_free(struct kport *p)
{
	struct kept_port *k = p->kept;
	struct store *s = p->keeper ? store_of(p) : NULL;

	if (!k)
		return;
	/* At our end the successor has them. */
	if (!p->keeper->handing_over) {
		store_drop(s, k->id);
		vhost_saved_each_id(&k->body.dev, drop, s);
		store_drop(s, k->conn);
		store_drop(s, k->listener);
		store_drop(s, k->shm);
	}
	saved_close(k->state);
	free(k);
	p->kept = NULL;
}

void preserve_segment(struct segment *s, bool new_tap)
{
	struct kept_segment *k = s->kept;
	struct saved_segment now;
	uint32_t old;

	if (!k)
		return;
	old = k->tap_id;
	if (new_tap)
		k->tap_id = s->tap_fd >= 0 ? store_put(s->keeper->store, STORE_PRIVATE, s->tap_fd)
					   : 0;
	memset(&now, 0, sizeof(now));
	memcpy(now.name, s->name, sizeof(now.name));
	memcpy(now.tap, s->tap, strnlen(s->tap, sizeof(now.tap) - 1));
	memcpy(now.reason, s->reason, strnlen(s->reason, sizeof(now.reason) - 1));
	now.cpu = s->cpu;
	now.restarts = s->restarts;
	now.worker = k->worker;
	now.tap_id = k->tap_id;
	now.line = k->line;
	if (memcmp(&now, &k->body, sizeof(now)) != 0)
		saved_write(k->state, &now);
	k->body = now;
	if (new_tap)
		store_drop(s->keeper->store, old);
}

static void set_line(struct segment *s, uint32_t id)
{
	uint32_t old = s->kept->line;

	s->kept->line = id;
	preserve_segment(s, false);
	store_drop(s->keeper->store, old);
}

void preserve_worker_started(struct segment *s)
{
	struct kept_segment *k = s->kept;

	if (!k)
		return;
	k->next_line = store_put(s->keeper->store, STORE_WORKER, worker_socket(s->worker));
	if (s->predecessor < 0)
		preserve_worker_live(s);
}

void preserve_worker_live(struct segment *s)
{
	struct kept_segment *k = s->kept;
	uint32_t id;

	if (!k)
		return;
	id = k->next_line;
	k->next_line = 0;
	set_line(s, id);
}

void preserve_worker_died(struct segment *s)
{
	struct kept_segment *k = s->kept;

	if (!k)
		return;
	store_drop(s->keeper->store, k->next_line);
	k->next_line = 0;
	if (s->predecessor < 0)
		set_line(s, 0);
}

void preserve_segment_new(struct segment *s)
{
	struct store *store = s->keeper->store;
	_cleanup_(closep) int fd = -1;
	struct kept_segment *k;
	int r;

	if (!store)
		return;
	k = calloc(1, sizeof(*k));
	if (!k)
		abort();
	r = saved_new("vnicd-saved-segment", PRESERVE_SEGMENT_MAGIC, PRESERVE_LAYOUT,
		      sizeof(k->body), &k->state, &fd);
	if (r < 0) {
		log_warning("segment %s: a restart is not unseen by its guests: %s", s->name,
			    strerror(-r));
		free(k);
		return;
	}
	k->worker = store_put(store, STORE_PRIVATE, worker_state_fd(s->worker));
	s->kept = k;
	preserve_segment(s, true);
	k->id = store_put(store, STORE_SEGMENT, fd);
}

void preserve_segment_adopt(struct segment *s, uint32_t id, struct saved *state,
			    const struct saved_segment *body)
{
	struct kept_segment *k = calloc(1, sizeof(*k));

	if (!k)
		abort();
	k->state = state;
	k->id = id;
	k->worker = body->worker;
	k->tap_id = s->tap_fd >= 0 ? body->tap_id : 0;
	k->line = s->predecessor >= 0 ? body->line : 0;
	s->kept = k;
	preserve_segment(s, false);
}

void preserve_segment_free(struct segment *s)
{
	struct kept_segment *k = s->kept;

	if (!k)
		return;
	if (!s->keeper->handing_over) {
		store_drop(s->keeper->store, k->id);
		store_drop(s->keeper->store, k->tap_id);
		store_drop(s->keeper->store, k->line);
		store_drop(s->keeper->store, k->next_line);
		store_drop(s->keeper->store, k->worker);
	}
	saved_close(k->state);
	free(k);
	s->kept = NULL;
}
