/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sock.h"

static const struct timeval patience = { .tv_sec = 1 };
static const struct timeval retry_time = { .tv_usec = 20000 };

struct message {
	STAILQ_ENTRY(message) link;
	int fd; /* ours, or -1 */
	char text[];
};

struct notify {
	struct event_base *base;
	notify_fn confirmed_fn;
	void *userdata;
	int fd;
	bool dead; /* nobody is there: said once, tried no more */
	bool late; /* the barrier under way takes too long */
	struct event *write_ev, *retry_ev, *patience_ev;
	STAILQ_HEAD(, message) queue;

	uint64_t asked, confirmed; /* numbers of barriers */
	uint64_t under_way; /* 0: none */
	int barrier_fd; /* our end of its pipe */
	struct event *barrier_ev;
};

static void drop_queue(struct notify *n)
{
	struct message *m;

	while ((m = STAILQ_FIRST(&n->queue))) {
		STAILQ_REMOVE_HEAD(&n->queue, link);
		close_safe(m->fd);
		free(m);
	}
}

static void end_barrier(struct notify *n)
{
	if (n->barrier_ev)
		event_free(n->barrier_ev);
	n->barrier_ev = NULL;
	n->barrier_fd = close_safe(n->barrier_fd);
	n->under_way = 0;
	n->late = false;
	event_del(n->patience_ev);
}

static void give_up(struct notify *n, int error)
{
	log_warning("the service manager is told nothing any more: %s", strerror(-error));
	n->dead = true;
	drop_queue(n);
	end_barrier(n);
	/* Not from here: who sends may be in the middle of something that waits for it. */
	event_active(n->retry_ev, EV_TIMEOUT, 0);
}

/* Return: 0, -EAGAIN: later, or another negative errno: never. */
static int try_send(struct notify *n, const char *text, int fd)
{
	int r = sock_send(n->fd, text, strlen(text), &fd, fd >= 0 ? 1 : 0);

	switch (r) {
	case 0:
		return 0;
	case -EAGAIN:
		event_add(n->write_ev, NULL);
		return -EAGAIN;
	case -ETOOMANYREFS: /* descriptors on their way are limited for all processes of a user */
	case -ENOBUFS:
	case -ENOMEM:
		event_add(n->retry_ev, &retry_time);
		return -EAGAIN;
	default:
		give_up(n, r);
		return r;
	}
}

static void flush_queue(struct notify *n)
{
	struct message *m;

	while (!n->dead && (m = STAILQ_FIRST(&n->queue))) {
		if (try_send(n, m->text, m->fd) < 0)
			return;
		STAILQ_REMOVE_HEAD(&n->queue, link);
		close_safe(m->fd);
		free(m);
	}
}

void notify_send(struct notify *n, const char *text, int fd)
{
	size_t size = strlen(text) + 1;
	struct message *m;

	if (!n || n->dead)
		return;
	if (STAILQ_EMPTY(&n->queue) && try_send(n, text, fd) != -EAGAIN)
		return;
	m = malloc(sizeof(*m) + size);
	if (!m)
		abort();
	memcpy(m->text, text, size);
	m->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	if (fd >= 0 && m->fd < 0) {
		/* What is not stored is missed by a successor, which then hangs up on that front end. */
		log_warning("a descriptor cannot be kept for the service manager: %s",
			    strerror(errno));
		free(m);
		return;
	}
	STAILQ_INSERT_TAIL(&n->queue, m, link);
}

static void begin_barrier(struct notify *n);

static void on_barrier(evutil_socket_t fd, short what, void *userdata)
{
	struct notify *n = userdata;

	(void)fd, (void)what;
	n->confirmed = n->under_way;
	end_barrier(n);
	if (n->confirmed < n->asked)
		begin_barrier(n);
	n->confirmed_fn(n->userdata);
}

static void on_patience_over(evutil_socket_t fd, short what, void *userdata)
{
	struct notify *n = userdata;

	(void)fd, (void)what;
	log_warning("the service manager has not answered for a second, and is not waited for");
	n->late = true;
	n->confirmed_fn(n->userdata);
}

static void begin_barrier(struct notify *n)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0) {
		n->confirmed = n->asked;
		return;
	}
	n->barrier_fd = pair[0];
	n->under_way = n->asked;
	n->barrier_ev = event_new(n->base, n->barrier_fd, EV_READ, on_barrier, n);
	if (!n->barrier_ev || event_add(n->barrier_ev, NULL) < 0)
		abort();
	event_add(n->patience_ev, &patience);
	notify_send(n, "BARRIER=1", pair[1]);
	close(pair[1]);
}

uint64_t notify_barrier(struct notify *n)
{
	if (!n || n->dead)
		return 0;
	n->asked++;
	if (!n->under_way)
		begin_barrier(n);
	return n->asked;
}

bool notify_confirmed(const struct notify *n, uint64_t barrier)
{
	return !n || n->dead || n->late || barrier <= n->confirmed;
}

bool notify_alive(const struct notify *n)
{
	return n && !n->dead;
}

bool notify_behind(const struct notify *n)
{
	return n && (n->dead || n->late);
}

void notify_flush(struct notify *n, int timeout_ms)
{
	struct pollfd p;

	if (!n)
		return;
	flush_queue(n);
	p = (struct pollfd){ .fd = n->fd, .events = POLLOUT };
	while (!n->dead && !STAILQ_EMPTY(&n->queue) && poll(&p, 1, timeout_ms) > 0) {
		flush_queue(n);
		timeout_ms /= 2;
	}
}

static void on_writable(evutil_socket_t fd, short what, void *userdata)
{
	(void)fd, (void)what;
	flush_queue(userdata);
}

static void on_retry(evutil_socket_t fd, short what, void *userdata)
{
	struct notify *n = userdata;

	(void)fd, (void)what;
	flush_queue(n);
	if (n->dead)
		n->confirmed_fn(n->userdata);
}

static int connect_to(int fd, const char *address)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(address);

	if ((address[0] != '/' && address[0] != '@') || !address[1])
		return -EPROTONOSUPPORT;
	if (len >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, address, len);
	if (address[0] == '@')
		addr.sun_path[0] = '\0';
	else
		len++;
	/* Connected, so that poll(2) tells whether there is room. */
	if (connect(fd, (struct sockaddr *)&addr,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		return -errno;
	return 0;
}

struct notify *notify_free(struct notify *n)
{
	if (!n)
		return NULL;
	if (n->patience_ev)
		end_barrier(n);
	drop_queue(n);
	if (n->write_ev)
		event_free(n->write_ev);
	if (n->retry_ev)
		event_free(n->retry_ev);
	if (n->patience_ev)
		event_free(n->patience_ev);
	close_safe(n->fd);
	free(n);
	return NULL;
}
DEFINE_CLEANUP(struct notify *, notify_free)

int notify_new(struct event_base *base, const char *address, notify_fn confirmed, void *userdata,
	       struct notify **ret)
{
	_cleanup_(notify_freep) struct notify *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	STAILQ_INIT(&n->queue);
	n->base = base;
	n->confirmed_fn = confirmed;
	n->userdata = userdata;
	n->barrier_fd = -1;
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (n->fd < 0)
		return -errno;
	r = connect_to(n->fd, address);
	if (r < 0)
		return r;
	n->write_ev = event_new(base, n->fd, EV_WRITE, on_writable, n);
	n->retry_ev = evtimer_new(base, on_retry, n);
	n->patience_ev = evtimer_new(base, on_patience_over, n);
	if (!n->write_ev || !n->retry_ev || !n->patience_ev)
		return -ENOMEM;
	*ret = take_ptr(n);
	return 0;
}
