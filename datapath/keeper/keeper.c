/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/keeper.h"

#include <string.h>
#include <time.h>

#include "datapath/keeper/control.h"
#include "datapath/keeper/preserve.h"
#include "datapath/keeper/stats.h"
#include "datapath/vhost/discard.h"

uint64_t keeper_now_us(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

struct kport *keeper_find_port(struct keeper *k, const char *key)
{
	struct kport *p;

	TAILQ_FOREACH(p, &k->ports, link)
	if (!p->deleting && str_eq(p->config.key, key))
		return p;
	return NULL;
}

struct segment *keeper_find_segment(struct keeper *k, const char *name)
{
	struct segment *s;

	TAILQ_FOREACH(s, &k->segments, link)
	if (str_eq(s->name, name))
		return s;
	return NULL;
}

static bool settled(const struct keeper *k)
{
	const struct segment *s;

	TAILQ_FOREACH(s, &k->segments, link)
	if (!segment_settled(s))
		return false;
	return true;
}

static void on_patience_over(evutil_socket_t fd, short what, void *userdata)
{
	bool *over = userdata;

	(void)fd, (void)what;
	*over = true;
}

void keeper_drain(struct keeper *k)
{
	static const struct timeval patience = { .tv_usec = 500000 };
	bool over = false;
	struct event *timer = evtimer_new(k->base, on_patience_over, &over);
	struct kport *p;

	if (!timer || event_add(timer, &patience) < 0)
		over = true;
	k->ending = true;
	TAILQ_FOREACH(p, &k->ports, link)
	kport_touch(p);
	while (!over && !settled(k) && event_base_loop(k->base, EVLOOP_ONCE) == 0)
		;
	if (timer)
		event_free(timer);
}

void keeper_stored(void *keeper)
{
	struct keeper *k = keeper;
	struct segment *s;
	struct kport *p;

	TAILQ_FOREACH(s, &k->segments, link)
	segment_bind(s);
	TAILQ_FOREACH(p, &k->ports, link)
	{
		if (p->closing && preserve_confirmed(p)) {
			p->closing = false;
			fd_discard_release(p);
		}
		if (p->storing && preserve_confirmed(p))
			kport_touch(p);
	}
}

void keeper_port_changed(struct kport *p)
{
	struct port_summary now;

	if (p->deleting)
		return;
	kport_summarize(p, &now);
	if (!memcmp(&now, &p->published, sizeof(now)))
		return;
	p->published = now;
	control_port_event(p->keeper->control, p);
	stats_changed(p->keeper->stats);
}
