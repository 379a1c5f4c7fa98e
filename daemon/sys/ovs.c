/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/ovs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "daemon/model/ovsdb.h"

/* After a failure, in microseconds; and how long a silent server is waited for at the start. */
#define RETRY_MIN    500000
#define RETRY_MAX    8000000
#define ANSWER_LIMIT 3000000

/* A database of tens of thousands of ports is some ten megabytes. */
#define MESSAGE_MAX (64u << 20)

struct ovs_watch {
	struct loop *loop;
	struct inventory *inv;
	struct sockaddr_un addr;
	int fd;
	struct loop_source *io, *timer;
	uint64_t retry;
	bool answered; /* on this connection */
	bool settled_once;
	struct json_object *db;
	struct json_tokener *tokener;
	size_t read; /* bytes of the message under way */
	char *out; /* what could not be sent yet */
	size_t out_len;
	void (*changed)(void *userdata);
	void (*settled)(void *userdata);
	void *userdata;
};

static void settle(struct ovs_watch *w)
{
	if (w->settled_once)
		return;
	w->settled_once = true;
	w->settled(w->userdata);
}

static void hang_up(struct ovs_watch *w)
{
	w->io = loop_source_free(w->io);
	w->fd = close_safe(w->fd);
	json_object_put(w->db);
	w->db = NULL;
	if (w->tokener)
		json_tokener_free(w->tokener);
	w->tokener = NULL;
	free(w->out);
	w->out = NULL;
	w->out_len = w->read = 0;
	w->answered = false;
}

/* The connection is of no use: another one, later. */
static void lost(struct ovs_watch *w)
{
	hang_up(w);
	loop_timer_set(w->timer, w->retry);
	w->retry = w->retry * 2 < RETRY_MAX ? w->retry * 2 : RETRY_MAX;
	if (w->inv->ovs && w->inv->ovs->synced) {
		w->inv->ovs->synced = false;
		w->changed(w->userdata);
	}
	settle(w);
}

static int flush(struct ovs_watch *w)
{
	while (w->out_len) {
		ssize_t n = send(w->fd, w->out, w->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		memmove(w->out, w->out + n, w->out_len - (size_t)n);
		w->out_len -= (size_t)n;
	}
	return 0;
}

static int say(struct ovs_watch *w, struct json_object *message)
{
	const char *text = json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN);
	size_t n = strlen(text);
	char *more = n + w->out_len < MESSAGE_MAX ? realloc(w->out, w->out_len + n) : NULL;
	int r = -ENOMEM;

	if (more) {
		memcpy(more + w->out_len, text, n);
		w->out = more;
		w->out_len += n;
		r = flush(w);
	}
	json_object_put(message);
	if (r == 0 && w->io)
		r = loop_io_events(w->io, LOOP_READ | (w->out_len ? LOOP_WRITE : 0));
	return r;
}

static int take(struct ovs_watch *w, struct json_object *updates)
{
	struct ovs *ovs;

	ovsdb_update(w->db, updates);
	ovs = ovsdb_read(w->db);
	if (!ovs)
		return -ENOMEM;
	ovs_free(w->inv->ovs);
	w->inv->ovs = ovs;
	w->retry = RETRY_MIN;
	if (!w->answered)
		loop_timer_stop(w->timer);
	w->answered = true;
	w->changed(w->userdata);
	settle(w);
	return 0;
}

static int on_message(struct ovs_watch *w, struct json_object *o)
{
	struct json_object *method = NULL, *params = NULL, *id = NULL, *result = NULL;

	if (!json_object_is_type(o, json_type_object))
		return -EBADMSG;
	json_object_object_get_ex(o, "id", &id);
	json_object_object_get_ex(o, "params", &params);
	if (json_object_object_get_ex(o, "method", &method) && method) {
		const char *name = json_object_get_string(method);

		if (str_eq(name, "echo"))
			return say(w, ovsdb_object("id", json_object_get(id), "result",
						   json_object_get(params), "error", NULL, NULL));
		if (str_eq(name, "update") && json_object_is_type(params, json_type_array) &&
		    json_object_array_length(params) == 2)
			return take(w, json_object_array_get_idx(params, 1));
		return 0;
	}
	/* The one request that we make. */
	if (!json_object_object_get_ex(o, "result", &result) ||
	    !json_object_is_type(result, json_type_object))
		return -EBADMSG;
	return take(w, result);
}

static int on_bytes(struct ovs_watch *w, const char *data, size_t n)
{
	int r = 0;

	while (r == 0 && n) {
		struct json_object *o = json_tokener_parse_ex(w->tokener, data, (int)n);
		size_t used = json_tokener_get_parse_end(w->tokener);

		w->read += used;
		if (json_tokener_get_error(w->tokener) == json_tokener_continue)
			return w->read > MESSAGE_MAX ? -EMSGSIZE : 0;
		if (!o)
			return -EBADMSG;
		r = on_message(w, o);
		json_object_put(o);
		json_tokener_reset(w->tokener);
		w->read = 0;
		data += used;
		n -= used;
	}
	return r;
}

static void on_ready(void *userdata, int fd, unsigned int events)
{
	struct ovs_watch *w = userdata;
	char buf[65536];
	int r = 0;

	if (events & LOOP_WRITE) {
		r = flush(w);
		if (r == 0 && !w->out_len)
			r = loop_io_events(w->io, LOOP_READ);
	}
	if (r == 0 && events & LOOP_READ) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		r = n < 0 ? -errno : n == 0 ? -ECONNRESET : on_bytes(w, buf, (size_t)n);
	}
	if (r < 0)
		lost(w);
}

static void try(void *userdata)
{
	struct ovs_watch *w = userdata;
	int r = 0;

	if (w->fd >= 0) {
		/* It has taken the connection, and has not answered. */
		if (!w->answered)
			lost(w);
		return;
	}
	w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	w->db = json_object_new_object();
	w->tokener = json_tokener_new();
	if (w->fd < 0 || !w->db || !w->tokener ||
	    connect(w->fd, (struct sockaddr *)&w->addr, sizeof(w->addr)) < 0)
		r = -EIO;
	if (r == 0)
		r = loop_add_io(w->loop, w->fd, LOOP_READ, on_ready, w, &w->io);
	if (r == 0)
		r = say(w, ovsdb_monitor());
	if (r < 0)
		lost(w);
	else
		loop_timer_set(w->timer, ANSWER_LIMIT);
}

int ovs_watch_new(struct loop *loop, const char *socket, struct inventory *inv,
		  void (*changed)(void *userdata), void (*settled)(void *userdata), void *userdata,
		  struct ovs_watch **ret)
{
	struct ovs_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	*w = (struct ovs_watch){ .loop = loop,
				 .inv = inv,
				 .fd = -1,
				 .retry = RETRY_MIN,
				 .changed = changed,
				 .settled = settled,
				 .userdata = userdata };
	w->addr.sun_family = AF_UNIX;
	r = str_copy(w->addr.sun_path, sizeof(w->addr.sun_path), socket);
	if (r == 0)
		r = loop_add_timer(loop, try, w, &w->timer);
	/* In the loop's first turn: nobody is called from in here. */
	if (r == 0)
		r = loop_timer_set(w->timer, 0);
	if (r < 0) {
		ovs_watch_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

struct ovs_watch *ovs_watch_free(struct ovs_watch *w)
{
	if (!w)
		return NULL;
	hang_up(w);
	loop_source_free(w->timer);
	free(w);
	return NULL;
}
