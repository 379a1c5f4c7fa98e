/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests of an engine that may die at any store: they send, receive, and check all that they can see. */
#pragma once

#include "tests/unit/unit.h"

#include "datapath/forward/engine.h"
#include "tests/lib/vguest.h"

#define GUESTS	4
#define TO_ALL	GUESTS /* destination of a broadcast */
#define TO_OUT	(GUESTS + 1) /* of a frame for the uplink */
#define STREAMS (GUESTS + 2)
#define NOW	1000

struct scenario {
	const char *name;
	struct vg_config cfg;
	unsigned int guests, steps;
	uint32_t len_max;
	unsigned int
		post; /* receive buffers posted at most in a step: less than comes makes frames wait */
	bool broadcast, uplink;
	bool log; /* a migration looks on: see copy_dirty() */
};

/* What a frame says of itself, behind its Ethernet header; the rest is filled from it. */
struct tag {
	uint32_t src, stream, seq, len;
};

struct model {
	const struct scenario *s;
	struct vguest guest[GUESTS];
	struct worker_state *ws;
	struct engine *engine;
	int outside;
	uint64_t random;
	uint32_t sent[GUESTS][STREAMS];
	uint32_t seen[GUESTS][GUESTS][STREAMS]; /* by receiver, sender */
	uint32_t seen_outside[GUESTS];
	int log_fd[GUESTS];
	uint64_t *log[GUESTS];
	uint8_t *copy[GUESTS]; /* the destination's memory */
	uint64_t stores, die_at;
	unsigned int deaths;
	jmp_buf death;
};

/* 0 to @n - 1; the same in each run */
uint32_t rnd(struct model *m, uint32_t n);
/* Return: its length */
uint32_t make_frame(const struct model *m, uint8_t *buf, const struct tag *t);
/*
 * What a worker alone writes must be in the copy: used rings (the guest writes there never), and the
 * buffers of frames that the guest has been told of.
 */
void assert_copied(struct model *m, unsigned int i);
/* Another worker, on what the last one left in shared memory; @uplink is its to close. */
void start_engine(struct model *m, int uplink);
void stop_engine(struct model *m);
/* All that the guests are told of: whole, and each frame of a stream once and in order */
void receive_all(struct model *m);
/* The guests go on by themselves, whether a worker lives or not. */
void guests_step(struct model *m, bool send);
/* Nothing is under way: frames, descriptors and the log are complete. */
void assert_all_arrived(struct model *m);
/* The scenario from @step on, and what is under way at its end */
void play(struct model *m, volatile unsigned int *step);
void model_init(struct model *m, const struct scenario *s, int pair[2]);
void model_deinit(struct model *m, int pair[2]);
