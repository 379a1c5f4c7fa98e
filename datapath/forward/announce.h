/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that moved here is announced several times: a switch may still be learning its port's state, or be
 * flooded by all the others that moved, and a lost RARP leaves the guest deaf until it speaks by itself. The
 * spacing is that of QEMU's own announcements: 50 ms, then each time 100 ms more.
 */
#pragma once

#include "datapath/forward/engine.h"

#define ANNOUNCE_ROUNDS	  5
#define ANNOUNCE_FIRST_NS UINT64_C(50000000)
#define ANNOUNCE_STEP_NS  UINT64_C(100000000)

/* The first announcement of @p, now; the others are sent by announce_service(). */
void announce_begin(struct engine *e, struct port *p);

/* @p replaces @old (may be NULL) and still runs: it goes on where that was. */
void announce_go_on(struct engine *e, struct port *p, const struct port *old);

/* Send what is due by e->now. */
void announce_service(struct engine *e);

/**
 * announce_timeout() - how long until the next is due
 * @now: the monotonic clock, ns
 * Return: ms, rounded up, as epoll_wait(2) takes them; -1: none is to come.
 */
int announce_timeout(const struct engine *e, uint64_t now);
