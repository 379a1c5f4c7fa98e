/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames for a receiver without buffers. They wait where they are, in their sender's ring; what is here is
 * who waits for whom. For each receiver one queue a sender, served in turn (here a later deficit round
 * robin finds its place), so that a sender with much for a slow receiver does not starve the others; what
 * it has for other receivers passes by.
 *
 * At most half of a sender's ring waits, and none longer than WAIT_NS: then the sender's oldest frame is
 * dropped. A receiver that gave no buffer for WAIT_NS is full; frames for it are dropped at once until it
 * does. All of this is private: a successor finds the frames that waited as taken and not done.
 */
#pragma once

#include "datapath/forward/engine.h"

struct waitq {
	struct ring *src, *dst;
	uint16_t head, tail; /* positions in src */
	uint16_t count;
	struct waitq *next_dst, *next_src;
};

/* One a ring's entry: the queue that it is in (NULL: none), the next in it, since when. */
struct wait_slot {
	struct waitq *q;
	uint64_t since;
	uint16_t next;
};

/* Does a frame of @src wait for @dst already? Another must not pass it. */
bool wait_behind(const struct ring *src, const struct ring *dst);

/**
 * wait_add() - frame @pos of @src waits for @dst
 * The oldest of @src is dropped where too many wait.
 * Return: false where it cannot (no memory, or waiting is off): the caller drops it.
 */
bool wait_add(struct engine *e, struct ring *src, uint16_t pos, struct ring *dst);

/* Is @dst full, so that a frame for it is to be dropped at once? */
bool wait_dst_full(struct engine *e, struct ring *dst);

/* @dst was found without buffers; or took a frame. */
void wait_dst_starved(struct engine *e, struct ring *dst);
void wait_dst_took(struct ring *dst);

/* Deliver what can be, drop what waited too long. Return: frames delivered or dropped. */
unsigned int wait_service(struct engine *e);

/* Nothing of @r waits any more, nor anything for it; the frames stay taken and not done. */
void wait_forget(struct engine *e, struct ring *r);

/* Does frame @pos of @r wait? */
static inline bool wait_has(const struct ring *r, uint16_t pos)
{
	return r->wait && r->wait[pos & r->vq.mask].q;
}
