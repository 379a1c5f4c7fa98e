/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/datapath_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "api/errors.h"
#include "base/json.h"
#include "base/sock.h"

#define PROTOCOL_VERSION 1
#define DEADLINE_USEC	 10000000
/* A keeper that was restarted is wanted back at once; one that is gone is asked for every second. */
#define BACKOFF_MIN_USEC 50000
#define BACKOFF_MAX_USEC 1000000
#define RECV_BURST	 64
#define SEGMENTS_MAX	 4096

enum state {
	STATE_DOWN, /* no connection; the timer tries again */
	STATE_GREETING, /* connected, no hello yet */
	STATE_SYNCING, /* before hello-end */
	STATE_UP,
};

struct request {
	TAILQ_ENTRY(request) link;
	uint64_t id;
	uint64_t deadline;
	dp_done_fn done;
	void *arg;
	char *del_key; /* of a port-del that is asked again where it is stale */
	/* Until it is sent: */
	char *text;
	size_t size;
	int fd;
};
TAILQ_HEAD(request_list, request);

struct dp_client {
	struct loop *loop;
	const struct dp_client_ops *ops;
	void *userdata;
	char file[108];
	enum state state;
	int fd;
	struct loop_source *io, *timer;
	struct request_list unsent, sent; /* both in order of their deadlines */
	uint64_t last_id;
	uint64_t greeting_deadline;
	uint64_t heard_at;
	uint64_t backoff;
	bool told_lost;
	char broken
		[128]; /* why the connection must be given up: from the loop, not from within a call */
	char buf[VNIC_MSG_MAX];
};

static struct request *request_free(struct request *r)
{
	if (!r)
		return NULL;
	close_safe(r->fd);
	free(r->text);
	free(r->del_key);
	free(r);
	return NULL;
}

/* End @r, which is in no list any more. */
static void request_end(struct request *r, int error, const struct vnic_err *err,
			struct json_object *answer)
{
	if (r->done)
		r->done(r->arg, error, err, answer);
	request_free(r);
}

static void request_fail(struct request *r, int error, const char *code, const char *why)
{
	struct vnic_err err = VNIC_ERR_INIT;

	vnic_err_set(&err, error, code, "%s", why);
	request_end(r, error, &err, NULL);
}

/* The timer serves the next thing due: a connection attempt, the greeting's end, the oldest request's. */
static void set_timer(struct dp_client *c)
{
	uint64_t due = UINT64_MAX, now = loop_now();
	const struct request *r;

	if (c->state == STATE_DOWN)
		return; /* set when it went down */
	if (c->state != STATE_UP)
		due = c->greeting_deadline;
	r = TAILQ_FIRST(&c->sent);
	if (r && r->deadline < due)
		due = r->deadline;
	r = TAILQ_FIRST(&c->unsent);
	if (r && r->deadline < due)
		due = r->deadline;
	if (*c->broken)
		due = now;
	if (due == UINT64_MAX)
		loop_timer_stop(c->timer);
	else
		loop_timer_set(c->timer, due > now ? due - now : 0);
}

static void disconnect(struct dp_client *c, const char *why)
{
	struct request_list ended = TAILQ_HEAD_INITIALIZER(ended);
	char text[VNIC_ERR_MESSAGE_MAX];
	struct request *r;

	snprintf(text, sizeof(text), "%s", why);
	c->io = loop_source_free(c->io);
	c->fd = close_safe(c->fd);
	c->state = STATE_DOWN;
	c->broken[0] = '\0';
	TAILQ_CONCAT(&ended, &c->sent, link);
	TAILQ_CONCAT(&ended, &c->unsent, link);
	loop_timer_set(c->timer, c->backoff);
	c->backoff = c->backoff * 2 < BACKOFF_MAX_USEC ? c->backoff * 2 : BACKOFF_MAX_USEC;
	if (!c->told_lost) {
		c->told_lost = true;
		c->ops->lost(c->userdata, text);
	}
	while ((r = TAILQ_FIRST(&ended))) {
		TAILQ_REMOVE(&ended, r, link);
		request_fail(r, -ENOTCONN, VNIC_E_DATAPATH_DOWN, text);
	}
}

/* Give the connection up, soon: callers may be deep in callbacks of others. */
static void give_up(struct dp_client *c, const char *why)
{
	if (*c->broken || c->state == STATE_DOWN)
		return;
	snprintf(c->broken, sizeof(c->broken), "%s", why);
	set_timer(c);
}

static void flush_unsent(struct dp_client *c)
{
	struct request *r;

	while ((r = TAILQ_FIRST(&c->unsent)) && !*c->broken) {
		int e = sock_send(c->fd, r->text, r->size, &r->fd, r->fd >= 0 ? 1 : 0);

		if (e == -EAGAIN)
			break;
		if (e < 0) {
			give_up(c, strerror(-e));
			break;
		}
		r->fd = close_safe(r->fd);
		free(r->text);
		r->text = NULL;
		TAILQ_REMOVE(&c->unsent, r, link);
		TAILQ_INSERT_TAIL(&c->sent, r, link);
	}
	if (c->io)
		loop_io_events(c->io, TAILQ_EMPTY(&c->unsent) ? LOOP_READ : LOOP_READ | LOOP_WRITE);
}

/* @del_key: is taken over. */
static void call(struct dp_client *c, const char *op, struct json_object *o, int fd, char *del_key,
		 dp_done_fn done, void *arg)
{
	struct request *r = calloc(1, sizeof(*r));
	const char *text;

	if (!r)
		abort();
	*r = (struct request){ .id = ++c->last_id, .done = done, .arg = arg, .fd = -1 };
	r->del_key = del_key;
	r->deadline = loop_now() + DEADLINE_USEC;
	json_add_str(o, "op", op);
	json_add_u64(o, "id", r->id);
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &r->size);
	r->text = text ? strdup(text) : NULL;
	json_object_put(o);
	if (fd >= 0)
		r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (c->state == STATE_DOWN)
		request_fail(r, -ENOTCONN, VNIC_E_DATAPATH_DOWN,
			     "vnicd-datapath is not there: see 'systemctl status vnicd-datapath'");
	else if (!r->text || r->size > VNIC_MSG_MAX)
		request_fail(r, -EMSGSIZE, VNIC_E_INTERNAL, "the request is too large");
	else if (fd >= 0 && r->fd < 0)
		request_fail(r, -errno, VNIC_E_INTERNAL, strerror(errno));
	else {
		TAILQ_INSERT_TAIL(&c->unsent, r, link);
		flush_unsent(c);
		set_timer(c);
	}
}

void dp_client_call(struct dp_client *c, const char *op, struct json_object *o, int fd,
		    dp_done_fn done, void *arg)
{
	call(c, op, o, fd, NULL, done, arg);
}

static void port_del(struct dp_client *c, const char *key, uint64_t generation, char *del_key,
		     dp_done_fn done, void *arg)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		abort();
	json_add_str(o, "key", key);
	json_add_u64(o, "generation", generation);
	call(c, "port-del", o, -1, del_key, done, arg);
}

void dp_client_port_del(struct dp_client *c, const char *key, uint64_t generation, dp_done_fn done,
			void *arg)
{
	char *again = strdup(key);

	if (!again)
		abort();
	port_del(c, key, generation, again, done, arg);
}

bool dp_client_connected(const struct dp_client *c)
{
	return c->state == STATE_UP;
}

static int on_segment(struct dp_client *c, struct json_object *o, struct vnic_err *err)
{
	const char *name, *tap = "";
	bool has_tap;
	int r;

	r = json_get_str(o, "name", &name, err);
	if (r == 0)
		r = json_get_bool(o, "has_tap", &has_tap, err);
	if (r == 0 && json_has(o, "tap"))
		r = json_get_str(o, "tap", &tap, err);
	if (r == 0)
		c->ops->segment(c->userdata, name, tap, has_tap);
	return r;
}

static int on_hello(struct dp_client *c, struct json_object *o, struct vnic_err *err)
{
	struct json_object *segments;
	uint64_t version, pid;
	int r;

	r = json_get_u64(o, "version", 1, UINT32_MAX, &version, err);
	if (r == 0)
		r = json_get_u64(o, "pid", 1, INT32_MAX, &pid, err);
	if (r == 0)
		r = json_get_array(o, "segments", SEGMENTS_MAX, &segments, err);
	if (r < 0)
		return r;
	if (version != PROTOCOL_VERSION)
		return vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE,
				    "it speaks version %llu of the protocol, this vnicd version "
				    "%d: install both from one build",
				    (unsigned long long)version, PROTOCOL_VERSION);
	c->state = STATE_SYNCING;
	c->told_lost = false;
	c->ops->hello(c->userdata, (pid_t)pid);
	for (size_t i = 0; i < json_object_array_length(segments); i++) {
		struct json_object *s = json_object_array_get_idx(segments, i);

		if (!json_object_is_type(s, json_type_object))
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
					    "field \"segments\" holds what is no object");
		r = on_segment(c, s, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int on_event(struct dp_client *c, const char *event, struct json_object *o,
		    struct vnic_err *err)
{
	struct dp_worker_event worker;
	struct dp_port_status status;
	int r;

	if (str_eq(event, "hello") != (c->state == STATE_GREETING))
		return vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE,
				    "event '%.40s' is out of turn", event);
	if (str_eq(event, "hello"))
		return on_hello(c, o, err);
	if (str_eq(event, "port")) {
		r = dp_parse_port(o, &status, err);
		if (r == 0)
			c->ops->port(c->userdata, &status);
		return r;
	}
	/* What does not fit in hello; later ones are news of what vnicd itself has asked for. */
	if (str_eq(event, "segment") && c->state == STATE_SYNCING)
		return on_segment(c, o, err);
	if (str_eq(event, "hello-end")) {
		if (c->state != STATE_SYNCING)
			return vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE,
					    "a second hello-end");
		c->state = STATE_UP;
		c->backoff = BACKOFF_MIN_USEC;
		c->ops->hello_end(c->userdata);
		return 0;
	}
	/* Events that a newer keeper has added are not ours to judge. */
	if (!str_eq(event, "worker"))
		return 0;
	r = dp_parse_worker(o, &worker, err);
	if (r == 0)
		c->ops->worker(c->userdata, &worker);
	return r;
}

static struct request *find_sent(struct dp_client *c, uint64_t id)
{
	struct request *r;

	TAILQ_FOREACH(r, &c->sent, link)
	if (r->id == id)
		return r;
	return NULL;
}

static int on_answer(struct dp_client *c, struct json_object *o, struct vnic_err *err)
{
	struct vnic_err told = VNIC_ERR_INIT;
	struct request *r;
	int error = 0, e;
	bool ok = false;
	uint64_t id;

	e = json_get_u64(o, "id", 1, UINT64_MAX, &id, err);
	if (e < 0)
		return e;
	if (id > c->last_id)
		return vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE,
				    "an answer to a request that was never made");
	if (json_has(o, "error"))
		e = dp_parse_error(o, &told, &error, err);
	else
		e = json_get_bool(o, "ok", &ok, err);
	if (e < 0)
		return e;
	if (!error && !ok)
		return vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE,
				    "an answer that is neither ok nor an error");
	r = find_sent(c, id);
	if (!r)
		return 0; /* too late: it has timed out */
	TAILQ_REMOVE(&c->sent, r, link);
	if (error == -ESTALE && r->del_key && dp_parse_generation(o)) {
		port_del(c, r->del_key, dp_parse_generation(o), NULL, r->done, r->arg);
		request_free(r);
		return 0;
	}
	request_end(r, error, error ? &told : NULL, error ? NULL : o);
	return 0;
}

static int on_message(struct dp_client *c, size_t size, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = NULL;
	const char *event;
	int r;

	r = json_parse(c->buf, size, &o, err);
	if (r < 0)
		return r;
	if (!json_has(o, "event"))
		return on_answer(c, o, err);
	r = json_get_str(o, "event", &event, err);
	return r < 0 ? r : on_event(c, event, o, err);
}

static void on_ready(void *userdata, int fd, unsigned int events)
{
	struct dp_client *c = userdata;
	struct vnic_err err = VNIC_ERR_INIT;

	if (events & LOOP_WRITE)
		flush_unsent(c);
	for (int i = 0; i < RECV_BURST && (events & LOOP_READ) && !*c->broken; i++) {
		ssize_t n = sock_recv(fd, c->buf, sizeof(c->buf), NULL, 0, NULL);
		char why[VNIC_ERR_MESSAGE_MAX + 64];

		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			disconnect(c, n == 0 ? "vnicd-datapath hung up" : strerror((int)-n));
			return;
		}
		c->heard_at = loop_now();
		if (on_message(c, (size_t)n, &err) < 0) {
			snprintf(why, sizeof(why),
				 "vnicd-datapath does not follow the protocol: %s", err.message);
			disconnect(c, why);
			return;
		}
	}
	set_timer(c);
}

static void try_connect(struct dp_client *c)
{
	char why[256];
	int fd, r;

	fd = sock_connect(c->file, SOCK_SEQPACKET | SOCK_NONBLOCK);
	if (fd < 0) {
		snprintf(why, sizeof(why), "%s: %s", c->file, strerror(-fd));
		disconnect(c, why);
		return;
	}
	r = loop_add_io(c->loop, fd, LOOP_READ, on_ready, c, &c->io);
	if (r < 0) {
		close(fd);
		disconnect(c, strerror(-r));
		return;
	}
	c->fd = fd;
	c->state = STATE_GREETING;
	c->greeting_deadline = loop_now() + DEADLINE_USEC;
	set_timer(c);
}

static void expire(struct dp_client *c, struct request_list *list, uint64_t now)
{
	struct request *r;

	while ((r = TAILQ_FIRST(list)) && r->deadline <= now) {
		/* Not a word since it was asked: nothing else will come either. */
		if (c->heard_at + DEADLINE_USEC <= r->deadline)
			give_up(c, "vnicd-datapath has not answered for 10 s");
		TAILQ_REMOVE(list, r, link);
		request_fail(r, -ETIMEDOUT, VNIC_E_TIMEOUT,
			     "vnicd-datapath did not answer within 10 s");
	}
}

static void on_timer(void *userdata)
{
	struct dp_client *c = userdata;
	uint64_t now = loop_now();

	if (c->state == STATE_DOWN) {
		try_connect(c);
		return;
	}
	if (c->state != STATE_UP && c->greeting_deadline <= now)
		give_up(c, "vnicd-datapath did not greet within 10 s");
	expire(c, &c->sent, now);
	expire(c, &c->unsent, now);
	if (*c->broken) {
		char why[sizeof(c->broken)];

		strcpy(why, c->broken);
		disconnect(c, why);
		return;
	}
	set_timer(c);
}

int dp_client_new(struct loop *loop, const char *file, const struct dp_client_ops *ops,
		  void *userdata, struct dp_client **ret)
{
	_cleanup_(dp_client_freep) struct dp_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->ops = ops;
	c->userdata = userdata;
	c->fd = -1;
	c->backoff = BACKOFF_MIN_USEC;
	TAILQ_INIT(&c->unsent);
	TAILQ_INIT(&c->sent);
	r = str_copy(c->file, sizeof(c->file), file);
	if (r == 0)
		r = loop_add_timer(loop, on_timer, c, &c->timer);
	if (r == 0)
		r = loop_timer_set(c->timer, 0);
	if (r < 0)
		return r;
	*ret = take_ptr(c);
	return 0;
}

struct dp_client *dp_client_free(struct dp_client *c)
{
	struct request *r;

	if (!c)
		return NULL;
	while ((r = TAILQ_FIRST(&c->sent))) {
		TAILQ_REMOVE(&c->sent, r, link);
		request_free(r);
	}
	while ((r = TAILQ_FIRST(&c->unsent))) {
		TAILQ_REMOVE(&c->unsent, r, link);
		request_free(r);
	}
	loop_source_free(c->io);
	loop_source_free(c->timer);
	close_safe(c->fd);
	free(c);
	return NULL;
}
