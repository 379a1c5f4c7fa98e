/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ring rule: a worker dies after each of its stores, another takes over from shared memory, and
 * guests that check all they can see notice nothing. commit_hook is called after every store that outlives
 * a worker; death is a longjmp out of it, after which nothing of the dead engine is looked at but to
 * free what it held.
 */
#include "tests/unit/commit_model.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "datapath/ring/commit.h"

static struct model *model;

static void hook(void)
{
	if (++model->stores == model->die_at)
		longjmp(model->death, 1);
}

/*
 * Run the scenario; the worker dies at store @die_at, and its successors after @again more stores each
 * (0: no more deaths). Return: stores in all.
 */
static uint64_t run(const struct scenario *s, uint64_t die_at, uint32_t again)
{
	struct model *m = malloc(sizeof(*m));
	volatile unsigned int step = 0;
	int pair[2];
	uint64_t stores;

	assert_non_null(m);
	model_init(m, s, pair);
	model = m;
	m->die_at = die_at;
	commit_hook = hook;
	start_engine(m, dup(pair[1]));
	if (setjmp(m->death)) {
		stop_engine(m);
		/* Every second time the guests have used what they were given before anybody recovers. */
		if (++m->deaths % 2 == die_at % 2)
			guests_step(m, false);
		m->die_at = again && m->deaths < 20 ? m->stores + 1 + rnd(m, again) : 0;
		start_engine(m, dup(pair[1]));
	}
	engine_go(m->engine);
	for (unsigned int i = 0; s->log && i < s->guests; i++)
		assert_copied(m, i);
	play(m, &step);
	m->die_at = 0;
	stores = m->stores;
	assert_all_arrived(m);
	stop_engine(m);
	model_deinit(m, pair);
	free(m);
	return stores;
}

#define INDIRECT VG_FEATURE(VIRTIO_RING_F_INDIRECT_DESC)

static const struct scenario scenarios[] = {
	{
		.name = "unicast",
		.cfg = { .features = VG_MODERN | INDIRECT, .size = 32, .pairs = 1, .rx_buf = 1600 },
		.guests = 2,
		.steps = 8,
		.len_max = 200,
		.post = 32,
	},
	{
		.name = "several senders to one receiver",
		.cfg = { .features = VG_MODERN | INDIRECT,
			 .size = 32,
			 .pairs = 1,
			 .rx_buf = 1600,
			 .base = 7 },
		.guests = 4,
		.steps = 5,
		.len_max = 100,
		.post = 32,
	},
	{
		.name = "broadcast",
		.cfg = { .features = VG_MODERN | INDIRECT, .size = 32, .pairs = 1, .rx_buf = 1600 },
		.guests = 4,
		.steps = 4,
		.len_max = 100,
		.post = 32,
		.broadcast = true,
		.uplink = true,
	},
	{
		.name = "mergeable buffers",
		.cfg = { .features = VG_MODERN | INDIRECT, .size = 32, .pairs = 1, .rx_buf = 128 },
		.guests = 2,
		.steps = 6,
		.len_max = 900,
		.post = 32,
	},
	{
		.name = "ring wrap at 65536",
		.cfg = { .features = VG_MODERN | INDIRECT,
			 .size = 32,
			 .pairs = 1,
			 .rx_buf = 1600,
			 .base = 65530 },
		.guests = 2,
		.steps = 10,
		.len_max = 200,
		.post = 32,
		.uplink = true,
	},
	{
		.name = "frames that wait",
		.cfg = { .features = VG_MODERN | INDIRECT,
			 .size = 32,
			 .pairs = 1,
			 .rx_buf = 1600,
			 .base = 65520 },
		.guests = 3,
		.steps = 10,
		.len_max = 60,
		.post = 1,
	},
	{
		.name = "dirty log",
		.cfg = { .features = VG_MODERN | INDIRECT, .size = 32, .pairs = 1, .rx_buf = 128 },
		.guests = 2,
		.steps = 6,
		.len_max = 500,
		.post = 32,
		.log = true,
	},
	{
		.name = "legacy guests",
		.cfg = { .features = 0,
			 .size = 32,
			 .pairs = 1,
			 .rx_buf = 1600,
			 .rx_chained = true },
		.guests = 2,
		.steps = 6,
		.len_max = 200,
		.post = 32,
	},
	{
		.name = "two queue pairs",
		.cfg = { .features = VG_MODERN | VG_FEATURE(VIRTIO_RING_F_EVENT_IDX),
			 .size = 32,
			 .pairs = 2,
			 .rx_buf = 1600 },
		.guests = 3,
		.steps = 4,
		.len_max = 100,
		.post = 32,
		.broadcast = true,
	},
};

static void without_a_death_all_arrives(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		struct scenario s = scenarios[i];

		s.steps *= 20;
		assert_true(run(&s, 0, 0) > 100);
	}
}

/* One death, after each store in turn. */
static void death_after_each_store(void **state)
{
	const struct scenario *s = *state;
	uint64_t n = run(s, 0, 0);

	for (uint64_t k = 1; k <= n; k++)
		run(s, k, 0);
}

/* Successors die too, while they recover and soon after. */
static void deaths_in_a_row(void **state)
{
	const struct scenario *s = *state;
	uint64_t n = run(s, 0, 0);

	for (uint64_t k = 1; k <= n; k += 11) {
		run(s, k, 3);
		run(s, k, 40);
	}
}

static struct {
	uint32_t at_publish, at_call; /* worker_state.at_port when that was first seen */
	bool dies; /* when a frame is taken */
} blame;

static void blame_hook(void)
{
	struct pollfd p = { .fd = model->guest[1].call_fd[0], .events = POLLIN };
	const struct ring_state *rs = &model->guest[0].state->ring[1];
	uint32_t at = atomic_load(&model->ws->at_port);

	if (!blame.at_publish && ((struct intent *)(void *)model->ws->intent)->valid)
		blame.at_publish = at;
	if (!blame.at_call && poll(&p, 1, 0) > 0)
		blame.at_call = at;
	if (blame.dies && rs->avail_pos != rs->used_pos) {
		blame.dies = false;
		longjmp(model->death, 1);
	}
}

static void send_one(struct model *m)
{
	const struct tag t = { .src = 0, .stream = 1, .seq = ++m->sent[0][1], .len = 100 };
	uint8_t buf[VG_FRAME_MAX];

	vguest_calls(&m->guest[1], 0);
	memset(&blame, 0, sizeof(blame));
	assert_true(vguest_send(&m->guest[0], 0, buf, make_frame(m, buf, &t), NULL, VG_ONE));
}

/* Whose rings are worked on is known wherever a worker dies; who is called answers for the call. */
static void who_is_to_blame(void **state)
{
	struct model *m = malloc(sizeof(*m));
	int pair[2];

	(void)state;
	assert_non_null(m);
	model_init(m, &scenarios[0], pair);
	model = m;
	vguest_post(&m->guest[1], 0, 32);
	memset(&blame, 0, sizeof(blame));
	commit_hook = blame_hook;
	start_engine(m, dup(pair[1]));
	atomic_store(&m->ws->at_port, 99);
	engine_go(m->engine);
	assert_int_equal(blame.at_call, 2);

	send_one(m);
	engine_turn(m->engine, NOW);
	assert_int_equal(blame.at_call, 2);

	send_one(m);
	blame.dies = true;
	if (!setjmp(m->death))
		engine_turn(m->engine, NOW);
	assert_false(blame.dies);
	stop_engine(m);
	start_engine(m, dup(pair[1]));
	atomic_store(&m->ws->at_port, 99);
	engine_go(m->engine);
	assert_int_equal(blame.at_publish, 1);
	receive_all(m);
	assert_int_equal(m->seen[1][0][1], 2);
	stop_engine(m);
	model_deinit(m, pair);
	free(m);
}

int main(void)
{
	struct CMUnitTest tests[2 + 2 * ARRAY_SIZE(scenarios)];
	static char name[ARRAY_SIZE(tests)][80];
	size_t n = 0;

	tests[n++] = (struct CMUnitTest)cmocka_unit_test(without_a_death_all_arrives);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(who_is_to_blame);
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		snprintf(name[n], sizeof(name[n]), "death after each store: %s", scenarios[i].name);
		tests[n] = (struct CMUnitTest){ .name = name[n],
						.test_func = death_after_each_store,
						.initial_state = (void *)&scenarios[i] };
		n++;
		snprintf(name[n], sizeof(name[n]), "deaths in a row: %s", scenarios[i].name);
		tests[n] = (struct CMUnitTest){ .name = name[n],
						.test_func = deaths_in_a_row,
						.initial_state = (void *)&scenarios[i] };
		n++;
	}
	return _cmocka_run_group_tests("commit", tests, n, NULL, NULL);
}
