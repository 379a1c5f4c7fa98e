/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/listener.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/sock.h"
#include "base/str.h"
#include "datapath/vhost/discard.h"

/* After somebody was turned away, or accept(2) failed: who knocks in a loop must not keep us busy. */
static const struct timeval pause_time = { .tv_usec = 100000 };
static const struct timeval retry_time = { .tv_sec = 1 };

/* Connections that ended before they were accepted, looked at before a pause: each costs four system calls. */
#define GONE_A_TURN 256

struct listener {
	listener_fn fn;
	void *userdata;
	int fd; /* server mode, else -1 */
	struct event *read_ev;
	struct event *timer;
	struct sockaddr_un addr; /* client mode */
};

/* Who was not accepted yet may have sent something already: that ends with the socket. */
static void drop_socket(struct listener *l)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };

	if (l->fd >= 0 && poll(&p, 1, 0) > 0)
		fd_discard(l->userdata, &l->fd, 1);
	else
		close_safe(l->fd);
}

static void free_events(struct listener *l)
{
	if (l->read_ev)
		event_free(l->read_ev);
	if (l->timer)
		event_free(l->timer);
}

struct listener *listener_free(struct listener *l)
{
	if (!l)
		return NULL;
	free_events(l);
	drop_socket(l);
	free(l);
	return NULL;
}
DEFINE_CLEANUP(struct listener *, listener_free)

struct listener *listener_leave(struct listener *l)
{
	free_events(l);
	close_safe(l->fd);
	free(l);
	return NULL;
}

static int option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v;

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) < 0 ? -1 : v;
}

int listener_check(int fd, struct vnic_err *err)
{
	if (option(fd, SO_DOMAIN) != AF_UNIX || option(fd, SO_TYPE) != SOCK_STREAM ||
	    option(fd, SO_ACCEPTCONN) != 1)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "the descriptor is not a listening unix stream socket");
	return 0;
}

/* Has who came gone again, without a word? */
static bool gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };
	int unread = 1;

	return poll(&p, 1, 0) > 0 && ioctl(fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* The next one that is still there. Those that are not must not keep it waiting; nor keep us busy. */
static int accept_next(int fd)
{
	int peer = -1;

	for (int i = 0; i < GONE_A_TURN; i++) {
		do {
			peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		} while (peer < 0 && errno == EINTR);
		if (peer < 0)
			return -errno;
		if (!gone(peer))
			return peer;
		close(peer);
	}
	return -EAGAIN;
}

static void on_connection(evutil_socket_t fd, short what, void *userdata)
{
	struct listener *l = userdata;
	int peer;

	(void)what;
	/* Who comes next may bring the like, and be turned away with what it brings. */
	if (fd_discarding(l->userdata)) {
		listener_pause(l);
		return;
	}
	peer = accept_next(fd);
	if (peer == -ECONNABORTED)
		return;
	/* -EAGAIN: it was gone, or all were. */
	if (peer < 0 || !l->fn(l->userdata, peer))
		listener_pause(l);
}

void listener_pause(struct listener *l)
{
	if (l->fd < 0)
		return; /* a client waits a second anyway */
	event_del(l->read_ev);
	event_add(l->timer, &pause_time);
}

static void on_pause_over(evutil_socket_t fd, short what, void *userdata)
{
	struct listener *l = userdata;

	(void)fd, (void)what;
	event_add(l->read_ev, NULL);
}

int listener_new_server(struct event_base *base, int fd, listener_fn fn, void *userdata,
			struct listener **ret)
{
	_cleanup_(listener_freep) struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->fd = -1;
	l->fn = fn;
	l->userdata = userdata;
	l->read_ev = event_new(base, fd, EV_READ | EV_PERSIST, on_connection, l);
	l->timer = evtimer_new(base, on_pause_over, l);
	if (!l->read_ev || !l->timer || event_add(l->read_ev, NULL) < 0)
		return -ENOMEM;
	l->fd = fd;
	*ret = take_ptr(l);
	return 0;
}

static void on_retry(evutil_socket_t ignored, short what, void *userdata)
{
	struct listener *l = userdata;
	int fd;

	(void)ignored, (void)what;
	if (fd_discarding(l->userdata)) {
		event_add(l->timer, &retry_time);
		return;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&l->addr, sizeof(l->addr)) < 0)
		fd = close_safe(fd);
	if (fd < 0 || !l->fn(l->userdata, fd))
		event_add(l->timer, &retry_time);
}

int listener_new_client(struct event_base *base, const char *file, listener_fn fn, void *userdata,
			struct listener **ret)
{
	_cleanup_(listener_freep) struct listener *l = calloc(1, sizeof(*l));
	static const struct timeval now = { 0 };
	int r;

	if (!l)
		return -ENOMEM;
	l->fd = -1;
	l->fn = fn;
	l->userdata = userdata;
	l->addr.sun_family = AF_UNIX;
	r = str_copy(l->addr.sun_path, sizeof(l->addr.sun_path), file);
	if (r < 0)
		return r;
	l->timer = evtimer_new(base, on_retry, l);
	if (!l->timer || event_add(l->timer, &now) < 0)
		return -ENOMEM;
	*ret = take_ptr(l);
	return 0;
}

void listener_again(struct listener *l)
{
	if (l->fd < 0)
		event_add(l->timer, &retry_time);
}

int listener_fd(const struct listener *l)
{
	return l->fd;
}
