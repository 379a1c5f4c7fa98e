/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/announce.h"

#include "datapath/forward/forward.h"

/* What is in the uplink's batch is written only after it is marked done: so that goes first. */
static void send_one(struct engine *e, const struct port *p)
{
	if (e->uplink.n > 0)
		forward_flush(e);
	uplink_announce(&e->uplink, p->cfg.mac, p->cfg.vlan);
}

static void plan(struct engine *e, struct port *p, unsigned int left, uint64_t at)
{
	p->announce_left = (uint8_t)left;
	p->announce_at = at;
	if (left > 0 && (e->announce_at == 0 || at < e->announce_at))
		e->announce_at = at;
}

void announce_begin(struct engine *e, struct port *p)
{
	send_one(e, p);
	plan(e, p, ANNOUNCE_ROUNDS - 1, e->now + ANNOUNCE_FIRST_NS);
}

void announce_go_on(struct engine *e, struct port *p, const struct port *old)
{
	if (old)
		plan(e, p, old->announce_left, old->announce_at);
}

static void serve(struct engine *e, struct port *p)
{
	unsigned int left = p->announce_left;

	if (e->now >= p->announce_at) {
		send_one(e, p);
		left--;
		plan(e, p, left,
		     e->now + ANNOUNCE_FIRST_NS + (ANNOUNCE_ROUNDS - 1 - left) * ANNOUNCE_STEP_NS);
	} else {
		plan(e, p, left, p->announce_at);
	}
}

void announce_service(struct engine *e)
{
	if (e->announce_at == 0 || e->now < e->announce_at)
		return;
	e->announce_at = 0;
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++) {
		struct port *p = e->port[i];

		if (p && p->announce_left > 0 && p->n_rx > 0 && !p->off)
			serve(e, p);
	}
}

int announce_timeout(const struct engine *e, uint64_t now)
{
	if (e->announce_at == 0)
		return -1;
	return e->announce_at <= now ? 0 : (int)((e->announce_at - now + 999999) / 1000000);
}
