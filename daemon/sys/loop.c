/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

struct loop {
	struct event_base *base;
	int code;
	struct loop_source *watchdog;
	uint64_t watchdog_usec; /* between two signs of life */
};

enum source_kind { SOURCE_IO, SOURCE_TIMER, SOURCE_SIGNAL };

struct loop_source {
	struct loop *loop;
	enum source_kind kind;
	struct event *event;
	int fd; /* the signal's number, of a signal */
	union {
		loop_io_fn io;
		loop_fn timer;
		loop_signal_fn signal;
	} fn;
	void *userdata;
};

uint64_t loop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int loop_new(struct loop **ret)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->base = event_base_new();
	if (!loop->base) {
		free(loop);
		return -ENOMEM;
	}
	*ret = loop;
	return 0;
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	loop_source_free(loop->watchdog);
	event_base_free(loop->base);
	free(loop);
	return NULL;
}

struct event_base *loop_base(struct loop *loop)
{
	return loop->base;
}

int loop_run(struct loop *loop)
{
	loop->code = 0;
	/* A loop without any event left would return 1: nothing could ever end it. */
	if (event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
		return -EIO;
	return loop->code;
}

void loop_exit(struct loop *loop, int code)
{
	loop->code = code;
	event_base_loopbreak(loop->base);
}

int loop_once(struct loop *loop)
{
	return event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NONBLOCK) < 0 ? -EIO : 0;
}

/* libevent's callback: nothing of @source is touched after the call, which may free it. */
static void dispatch(evutil_socket_t fd, short what, void *arg)
{
	struct loop_source *source = arg;

	switch (source->kind) {
	case SOURCE_IO:
		source->fn.io(source->userdata, (int)fd,
			      (what & EV_READ ? LOOP_READ : 0) |
				      (what & EV_WRITE ? LOOP_WRITE : 0));
		break;
	case SOURCE_TIMER:
		source->fn.timer(source->userdata);
		break;
	case SOURCE_SIGNAL:
		source->fn.signal(source->userdata, source->fd);
		break;
	}
}

static short event_flags(unsigned int events)
{
	return (short)((events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0) |
		       EV_PERSIST);
}

static int source_new(struct loop *loop, enum source_kind kind, int fd, short flags, void *userdata,
		      struct loop_source **ret)
{
	struct loop_source *source = calloc(1, sizeof(*source));

	if (!source)
		return -ENOMEM;
	source->loop = loop;
	source->kind = kind;
	source->fd = fd;
	source->userdata = userdata;
	source->event = event_new(loop->base, fd, flags, dispatch, source);
	if (!source->event) {
		free(source);
		return -ENOMEM;
	}
	*ret = source;
	return 0;
}

int loop_add_io(struct loop *loop, int fd, unsigned int events, loop_io_fn fn, void *userdata,
		struct loop_source **ret)
{
	struct loop_source *source;
	int r;

	r = source_new(loop, SOURCE_IO, fd, event_flags(events), userdata, &source);
	if (r < 0)
		return r;
	source->fn.io = fn;
	if (events && event_add(source->event, NULL) < 0) {
		loop_source_free(source);
		return -EINVAL;
	}
	*ret = source;
	return 0;
}

int loop_io_events(struct loop_source *source, unsigned int events)
{
	event_del(source->event);
	if (!events)
		return 0;
	if (event_assign(source->event, source->loop->base, source->fd, event_flags(events),
			 dispatch, source) < 0)
		return -EINVAL;
	return event_add(source->event, NULL) < 0 ? -EINVAL : 0;
}

int loop_add_timer(struct loop *loop, loop_fn fn, void *userdata, struct loop_source **ret)
{
	int r = source_new(loop, SOURCE_TIMER, -1, 0, userdata, ret);

	if (r == 0)
		(*ret)->fn.timer = fn;
	return r;
}

int loop_timer_set(struct loop_source *source, uint64_t usec)
{
	struct timeval tv = { .tv_sec = (time_t)(usec / 1000000),
			      .tv_usec = (suseconds_t)(usec % 1000000) };

	return event_add(source->event, &tv) < 0 ? -ENOMEM : 0;
}

int loop_add_answer(struct loop *loop, int fd, uint64_t usec, loop_fn fn, void *userdata,
		    struct loop_source **ret)
{
	struct loop_source *source;
	int r = source_new(loop, SOURCE_TIMER, fd, EV_READ, userdata, &source);

	if (r < 0)
		return r;
	source->fn.timer = fn;
	r = loop_timer_set(source, usec);
	if (r < 0)
		loop_source_free(source);
	else
		*ret = source;
	return r;
}

void loop_timer_stop(struct loop_source *source)
{
	event_del(source->event);
}

int loop_add_signal(struct loop *loop, int signo, loop_signal_fn fn, void *userdata,
		    struct loop_source **ret)
{
	struct loop_source *source;
	int r;

	r = source_new(loop, SOURCE_SIGNAL, signo, EV_SIGNAL | EV_PERSIST, userdata, &source);
	if (r < 0)
		return r;
	source->fn.signal = fn;
	if (event_add(source->event, NULL) < 0) {
		loop_source_free(source);
		return -EINVAL;
	}
	*ret = source;
	return 0;
}

struct loop_source *loop_source_free(struct loop_source *source)
{
	if (!source)
		return NULL;
	event_free(source->event);
	free(source);
	return NULL;
}

static void watchdog_feed(void *userdata)
{
	struct loop *loop = userdata;

	sd_notify(0, "WATCHDOG=1");
	loop_timer_set(loop->watchdog, loop->watchdog_usec);
}

int loop_watchdog(struct loop *loop)
{
	uint64_t usec;
	int r;

	r = sd_watchdog_enabled(0, &usec);
	if (r <= 0)
		return r;
	if (!loop->watchdog) {
		r = loop_add_timer(loop, watchdog_feed, loop, &loop->watchdog);
		if (r < 0)
			return r;
	}
	/* Thrice in its time, so that one late turn is not taken for a hang. */
	loop->watchdog_usec = usec / 3;
	watchdog_feed(loop);
	return 1;
}
