/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sock.h"
#include "datapath/keeper/report.h"
#include "datapath/keeper/request.h"

/*
 * What waits for a client that does not read. Past it the client is dropped: it connects again and is told
 * everything. Two messages a port and a few more fit in the largest greeting.
 */
#define QUEUE_BYTES_MAX (4U << 20)
#define ID_MAX		(1ULL << 53)
/* So many fit in one message, whatever their reasons are. */
#define HELLO_SEGMENTS 64

struct message {
	STAILQ_ENTRY(message) link;
	size_t size;
	char text[];
};

struct control {
	struct keeper *keeper;
	int listen_fd, fd;
	struct event *accept_ev, *read_ev, *write_ev;
	STAILQ_HEAD(, message) queue;
	size_t queued; /* bytes */
	bool overflow;
};

static void drop_client(struct control *c, const char *why)
{
	struct kport *p;
	struct message *m;

	if (c->fd < 0)
		return;
	log_info("vnicd's connection is closed: %s", why);
	while ((m = STAILQ_FIRST(&c->queue))) {
		STAILQ_REMOVE_HEAD(&c->queue, link);
		free(m);
	}
	c->queued = 0;
	c->overflow = false;
	event_free(c->read_ev);
	event_free(c->write_ev);
	c->read_ev = c->write_ev = NULL;
	c->fd = close_safe(c->fd);
	/* Answers to somebody who is gone; ids are a client's own. */
	TAILQ_FOREACH(p, &c->keeper->ports, link)
	p->n_waiters = 0;
}

static int flush_queue(struct control *c)
{
	struct message *m;

	while ((m = STAILQ_FIRST(&c->queue))) {
		int r = sock_send(c->fd, m->text, m->size, NULL, 0);

		if (r == -EAGAIN)
			return event_add(c->write_ev, NULL);
		if (r < 0)
			return r;
		STAILQ_REMOVE_HEAD(&c->queue, link);
		c->queued -= m->size + sizeof(*m);
		free(m);
	}
	return 0;
}

/* Takes @o. Never fails and never waits: a client that is lost is dropped from the loop, not from here. */
static void post(struct control *c, struct json_object *o)
{
	size_t size;
	const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &size);
	struct message *m = NULL;

	if (c->fd >= 0 && !c->overflow && text && size <= VNIC_MSG_MAX &&
	    c->queued + size + sizeof(*m) <= QUEUE_BYTES_MAX)
		m = malloc(sizeof(*m) + size);
	if (m) {
		m->size = size;
		memcpy(m->text, text, size);
		STAILQ_INSERT_TAIL(&c->queue, m, link);
		c->queued += sizeof(*m) + size;
	} else if (c->fd >= 0) {
		c->overflow = true;
	}
	if (c->fd >= 0)
		event_active(c->write_ev, EV_WRITE, 0);
	json_object_put(o);
}

static struct json_object *new_event(const char *name)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		abort();
	json_add_str(o, "event", name);
	return o;
}

static struct json_object *new_answer(uint64_t id)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		abort();
	json_add_u64(o, "id", id);
	json_add_bool(o, "ok", true);
	return o;
}

void control_answer(struct control *c, uint64_t id)
{
	if (c && c->fd >= 0)
		post(c, new_answer(id));
}

/* @generation: of the port that is there instead; 0: none is meant. */
static void answer_error(struct control *c, uint64_t id, const struct vnic_err *err,
			 uint64_t generation)
{
	struct json_object *o, *e;

	if (!c || c->fd < 0)
		return;
	o = json_object_new_object();
	e = json_object_new_object();
	if (!o || !e)
		abort();
	json_add_u64(o, "id", id);
	json_add_str(e, "code", err->code[0] ? err->code : VNIC_E_INTERNAL);
	json_add_str(e, "message", err->message);
	if (generation)
		json_add_u64(e, "generation", generation);
	json_object_object_add(o, "error", e);
	post(c, o);
}

void control_answer_error(struct control *c, uint64_t id, const struct vnic_err *err)
{
	answer_error(c, id, err, 0);
}

/* Whose port it is by now, where a request about @o's was stale. */
static uint64_t generation_there(struct control *c, struct json_object *o)
{
	struct vnic_err ignored = VNIC_ERR_INIT;
	const char *key;
	struct kport *p;

	if (json_get_str(o, "key", &key, &ignored) < 0)
		return 0;
	p = keeper_find_port(c->keeper, key);
	return p ? p->config.generation : 0;
}

/* Put what @from has into @to; takes @from. */
static void merge(struct json_object *to, struct json_object *from)
{
	if (!from)
		return;
	json_object_object_foreach(from, key, value)
		json_object_object_add(to, key, json_object_get(value));
	json_object_put(from);
}

void control_port_event(struct control *c, const struct kport *p)
{
	struct json_object *o;

	if (!c || c->fd < 0)
		return;
	o = new_event("port");
	merge(o, report_port(p));
	post(c, o);
}

void control_worker_event(struct control *c, const struct segment *s, uint64_t gap_us)
{
	struct json_object *o;

	if (!c || c->fd < 0)
		return;
	o = new_event("worker");
	json_add_str(o, "segment", s->name);
	json_add_u64(o, "pid", (uint64_t)worker_pid(s->worker));
	json_add_u64(o, "restarts", s->restarts);
	json_add_str(o, "reason", s->reason);
	json_add_u64(o, "gap_us", gap_us);
	post(c, o);
}

static void greet(struct control *c)
{
	struct json_object *o = new_event("hello"), *segments = json_object_new_array();
	struct segment *s, *rest;
	struct kport *p;
	size_t n = 0;

	if (!segments)
		abort();
	json_add_u64(o, "version", 1);
	json_add_u64(o, "pid", (uint64_t)getpid());
	for (s = TAILQ_FIRST(&c->keeper->segments); s && n < HELLO_SEGMENTS;
	     s = TAILQ_NEXT(s, link), n++)
		json_object_array_add(segments, report_segment(s));
	json_object_object_add(o, "segments", segments);
	post(c, o);
	for (rest = s; rest; rest = TAILQ_NEXT(rest, link)) {
		o = new_event("segment");
		merge(o, report_segment(rest));
		post(c, o);
	}
	TAILQ_FOREACH(p, &c->keeper->ports, link)
	if (!p->deleting)
		control_port_event(c, p);
	post(c, new_event("hello-end"));
}

/* Return: 0, or a negative errno with @err: not of the protocol's form. */
static int on_request(struct control *c, const char *text, size_t size, int *fds, size_t n_fds,
		      struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = NULL, *more = NULL;
	struct json_object *answer;
	uint64_t id;
	int r;

	r = json_parse(text, size, &o, err);
	if (r == 0)
		r = json_get_u64(o, "id", 1, ID_MAX, &id, err);
	if (r < 0)
		return r;
	r = request_handle(c->keeper, id, o, fds, n_fds, &more, err);
	if (r == -EBADMSG)
		return r;
	if (r < 0) {
		if (!err->message[0])
			vnic_err_set(err, r, VNIC_E_INTERNAL, "%s", strerror(-r));
		answer_error(c, id, err, r == -ESTALE ? generation_there(c, o) : 0);
	} else if (r == 0) {
		answer = new_answer(id);
		merge(answer, take_ptr(more));
		post(c, answer);
	}
	return 0;
}

static void on_client_readable(evutil_socket_t fd, short what, void *userdata)
{
	static char text[VNIC_MSG_MAX];
	struct control *c = userdata;
	struct vnic_err err = VNIC_ERR_INIT;
	int fds[VNIC_MSG_FDS_MAX];

	(void)what;
	for (int i = 0; i < 64 && c->fd >= 0; i++) {
		size_t n_fds = 0;
		ssize_t n = sock_recv(fd, text, sizeof(text), fds, VNIC_MSG_FDS_MAX, &n_fds);
		int r;

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			drop_client(c, n == 0 ? "it hung up" : strerror((int)-n));
			return;
		}
		r = on_request(c, text, (size_t)n, fds, n_fds, &err);
		while (n_fds > 0)
			close_safe(fds[--n_fds]);
		if (r < 0) {
			log_warning("a message on the control socket is not of the protocol: %s",
				    err.message);
			drop_client(c, err.message);
			return;
		}
	}
}

static void on_client_writable(evutil_socket_t fd, short what, void *userdata)
{
	struct control *c = userdata;
	int r;

	(void)fd, (void)what;
	if (c->overflow) {
		drop_client(c, "it does not read its messages");
		return;
	}
	r = flush_queue(c);
	if (r < 0)
		drop_client(c, strerror(-r));
}

static void on_client(evutil_socket_t listen_fd, short what, void *userdata)
{
	struct control *c = userdata;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0)
		return;
	drop_client(c, "another one replaces it");
	c->read_ev = event_new(c->keeper->base, fd, EV_READ | EV_PERSIST, on_client_readable, c);
	c->write_ev = event_new(c->keeper->base, fd, EV_WRITE, on_client_writable, c);
	if (!c->read_ev || !c->write_ev || event_add(c->read_ev, NULL) < 0) {
		if (c->read_ev)
			event_free(c->read_ev);
		if (c->write_ev)
			event_free(c->write_ev);
		c->read_ev = c->write_ev = NULL;
		close_safe(fd);
		return;
	}
	c->fd = fd;
	log_info("vnicd is connected");
	greet(c);
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	drop_client(c, "the datapath ends");
	if (c->accept_ev)
		event_free(c->accept_ev);
	close_safe(c->listen_fd);
	free(c);
	return NULL;
}
DEFINE_CLEANUP(struct control *, control_free)

int control_new(struct keeper *k, int listen_fd, struct control **ret)
{
	_cleanup_(control_freep) struct control *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->keeper = k;
	c->listen_fd = c->fd = -1;
	STAILQ_INIT(&c->queue);
	c->accept_ev = event_new(k->base, listen_fd, EV_READ | EV_PERSIST, on_client, c);
	if (!c->accept_ev || event_add(c->accept_ev, NULL) < 0)
		return -ENOMEM;
	c->listen_fd = listen_fd;
	*ret = take_ptr(c);
	return 0;
}
