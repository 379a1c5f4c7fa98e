/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames for a receiver without buffers: where they wait, for how long, and whom they do not hold up. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/lib/bed.h"

#define SIZE 64
#define SLOW 2 /* the guest that posts no buffers of itself */

static struct bed bed;

/* Three or four guests; SLOW has @posted buffers. */
static void setup(unsigned int n, unsigned int posted)
{
	struct vg_config cfg[BED_GUESTS];

	for (unsigned int i = 0; i < n; i++)
		cfg[i] = (struct vg_config)BED_CFG;
	bed_init(&bed, n, cfg);
	/* Use up what bed_init() posted, then post as asked. */
	for (unsigned int i = 0; i < SIZE; i++) {
		assert_true(bed_send(&bed, 1, SLOW, 0));
		bed_turn(&bed, 0);
		assert_int_equal(vguest_reap(&bed.g[1], 0), 1);
	}
	for (unsigned int i = 0; i < SIZE; i++)
		assert_true(bed_receive(&bed, SLOW, NULL) > 0);
	vguest_post(&bed.g[SLOW], 0, posted);
}

static void arrives(unsigned int at, uint8_t seed)
{
	uint8_t got = 0;

	assert_true(bed_receive(&bed, at, &got) > 0);
	assert_int_equal(got, seed);
}

static uint64_t dropped(unsigned int i)
{
	return bed.g[i].state->counters.rx_dropped;
}

static void assert_drained(unsigned int i)
{
	const struct ring_state *rs = &bed.g[i].state->ring[1];

	assert_int_equal(rs->avail_pos, rs->used_pos);
	assert_int_equal(rs->used_pos, bed.g[i].ring[1].used->idx);
	vguest_reap(&bed.g[i], 0);
	assert_int_equal(vguest_free(&bed.g[i], 1), SIZE);
}

/* What is for others passes by; what is given back keeps the order. */
static void a_full_receiver_holds_up_no_other(void **state)
{
	(void)state;
	setup(3, 0);
	for (uint8_t i = 0; i < 10; i++)
		assert_true(bed_send(&bed, 0, i % 2 ? 1 : SLOW, i));
	bed_turn(&bed, 0);
	for (uint8_t i = 1; i < 10; i += 2)
		arrives(1, i);
	assert_int_equal(vguest_reap(&bed.g[0], 0), 0);
	assert_false(engine_idle(bed.e));
	/* One buffer: the first that waits, and what follows it up to the next. */
	vguest_post(&bed.g[SLOW], 0, 1);
	bed_turn(&bed, 0);
	arrives(SLOW, 0);
	assert_int_equal(vguest_reap(&bed.g[0], 0), 2);
	vguest_post(&bed.g[SLOW], 0, SIZE);
	bed_turn(&bed, 0);
	for (uint8_t i = 2; i < 10; i += 2)
		arrives(SLOW, i);
	assert_int_equal(vguest_reap(&bed.g[0], 0), 8);
	assert_int_equal(dropped(SLOW), 0);
	bed_deinit(&bed);
}

/* Buffers come while frames wait: a later frame does not pass them. */
static void order_is_kept_behind_what_waits(void **state)
{
	(void)state;
	setup(3, 0);
	assert_true(bed_send(&bed, 0, SLOW, 1));
	bed_turn(&bed, 0);
	vguest_post(&bed.g[SLOW], 0, SIZE);
	assert_true(bed_send(&bed, 0, SLOW, 2));
	bed_turn(&bed, 0);
	arrives(SLOW, 1);
	arrives(SLOW, 2);
	bed_deinit(&bed);
}

static void at_most_half_of_a_ring_waits(void **state)
{
	(void)state;
	setup(3, 0);
	for (uint8_t i = 0; i < 40; i++)
		assert_true(bed_send(&bed, 0, SLOW, i));
	bed_turn(&bed, 0);
	assert_int_equal(dropped(SLOW), 8);
	/* The oldest were dropped, and given back. */
	assert_int_equal(vguest_reap(&bed.g[0], 0), 8);
	vguest_post(&bed.g[SLOW], 0, SIZE);
	bed_turn(&bed, 0);
	for (uint8_t i = 8; i < 40; i++)
		arrives(SLOW, i);
	assert_drained(0);
	bed_deinit(&bed);
}

static void no_frame_waits_longer_than_1_ms(void **state)
{
	(void)state;
	setup(3, 0);
	assert_true(bed_send(&bed, 0, SLOW, 1));
	bed_turn(&bed, 0);
	bed_turn(&bed, WAIT_NS / 2);
	assert_true(bed_send(&bed, 0, SLOW, 2));
	bed_turn(&bed, WAIT_NS / 2 - 1);
	assert_int_equal(dropped(SLOW), 0);
	/* Buffers enough for one, so that it is age that counts. */
	vguest_post(&bed.g[SLOW], 0, 1);
	bed_turn(&bed, 0);
	arrives(SLOW, 1);
	bed_turn(&bed, WAIT_NS / 2);
	assert_int_equal(dropped(SLOW), 0);
	bed_turn(&bed, WAIT_NS / 2 + 2);
	assert_int_equal(dropped(SLOW), 1);
	assert_true(engine_idle(bed.e) || bed.e->n_polled == 3);
	assert_drained(0);
	bed_deinit(&bed);
}

/* Without buffers for 1 ms: frames are dropped at once, until it posts. */
static void a_receiver_without_buffers_is_full(void **state)
{
	(void)state;
	setup(3, 0);
	assert_true(bed_send(&bed, 0, SLOW, 1));
	bed_turn(&bed, 0);
	bed_turn(&bed, WAIT_NS);
	assert_int_equal(dropped(SLOW), 1);
	for (uint8_t i = 0; i < 5; i++) {
		assert_true(bed_send(&bed, 0, SLOW, i));
		bed_turn(&bed, 1);
		assert_int_equal(dropped(SLOW), 2 + i);
		assert_drained(0);
	}
	vguest_post(&bed.g[SLOW], 0, 2);
	for (uint8_t i = 0; i < 3; i++)
		assert_true(bed_send(&bed, 0, SLOW, i));
	bed_turn(&bed, 1);
	arrives(SLOW, 0);
	arrives(SLOW, 1);
	/* It has served: the third may wait anew. */
	assert_int_equal(dropped(SLOW), 6);
	vguest_post(&bed.g[SLOW], 0, 1);
	bed_turn(&bed, 1);
	arrives(SLOW, 2);
	bed_deinit(&bed);
}

/* Rewritten while it waits: a tag is looked at again, the receiver's leave to have one too. */
static void a_tag_does_not_slip_in_by_waiting(void **state)
{
	struct vguest *g = &bed.g[0];
	uint16_t head;
	uint8_t *type;

	(void)state;
	setup(3, 0);
	g->cfg.flags |= WIRE_PORT_TRUST;
	bed_set(&bed, 0, true);
	head = g->ring[1].free_head;
	assert_true(bed_send(&bed, 0, SLOW, 1));
	bed_turn(&bed, 0);
	type = (uint8_t *)vguest_at(g, g->ring[1].desc[head].addr) + g->hdr_len + 12;
	assert_memory_equal(type, "\x88\xb5", 2);
	memcpy(type, "\x81\x00\x00\x05", 4);
	vguest_post(&bed.g[SLOW], 0, SIZE);
	bed_turn(&bed, 0);
	assert_int_equal(bed_receive(&bed, SLOW, NULL), 0);
	assert_drained(0);
	bed_deinit(&bed);
}

static void broadcast_never_waits(void **state)
{
	uint8_t buf[100];

	(void)state;
	setup(3, 0);
	bed_frame(buf, sizeof(buf), bed_broadcast, bed.g[0].mac, 0x88b5, 7);
	assert_true(vguest_send(&bed.g[0], 0, buf, sizeof(buf), NULL, VG_ONE));
	bed_turn(&bed, 0);
	arrives(1, 7);
	assert_int_equal(dropped(SLOW), 1);
	assert_drained(0);
	bed_deinit(&bed);
}

/* Two senders, one with much: each gets its turn. */
static void senders_are_served_in_turn(void **state)
{
	(void)state;
	setup(4, 0);
	for (uint8_t i = 0; i < 20; i++)
		assert_true(bed_send(&bed, 0, SLOW, i));
	bed_turn(&bed, 0);
	for (uint8_t i = 0; i < 3; i++)
		assert_true(bed_send(&bed, 3, SLOW, (uint8_t)(100 + i)));
	bed_turn(&bed, 0);
	vguest_post(&bed.g[SLOW], 0, 6);
	bed_turn(&bed, 0);
	for (unsigned int i = 0, mine = 0, others = 0; i < 6; i++) {
		uint8_t got;

		assert_true(bed_receive(&bed, SLOW, &got) > 0);
		assert_int_equal(got, got < 100 ? mine : 100 + others);
		mine += got < 100;
		others += got >= 100;
		assert_true(mine <= others + 1 && others <= mine + 1);
	}
	bed_deinit(&bed);
}

/* The sender's ring stops: what waits is delivered where it can be, else dropped; nothing is kept back. */
static void a_stopping_ring_is_drained(void **state)
{
	(void)state;
	for (unsigned int how = 0; how < 2; how++) {
		setup(3, 0);
		for (uint8_t i = 0; i < 5; i++)
			assert_true(bed_send(&bed, 0, SLOW, i));
		bed_turn(&bed, 0);
		vguest_post(&bed.g[SLOW], 0, 2);
		if (how)
			engine_port_del(bed.e, 0);
		else
			bed_set(&bed, 0, false);
		arrives(SLOW, 0);
		arrives(SLOW, 1);
		assert_int_equal(bed_receive(&bed, SLOW, NULL), 0);
		assert_int_equal(dropped(SLOW), 3);
		assert_drained(0);
		bed_turn(&bed, 0);
		assert_int_equal(ring_state_base(&bed.g[0].state->ring[1]),
				 bed.g[0].ring[1].used->idx);
		bed_deinit(&bed);
	}
}

/* The receiver stops or goes: what waits for it goes where its MAC is now, to the uplink. */
static void what_waits_for_a_stopping_receiver_goes_out(void **state)
{
	uint8_t buf[VG_FRAME_MAX];

	(void)state;
	for (unsigned int how = 0; how < 2; how++) {
		setup(3, 0);
		for (uint8_t i = 0; i < 5; i++)
			assert_true(bed_send(&bed, 0, SLOW, i));
		bed_turn(&bed, 0);
		if (how)
			engine_port_del(bed.e, SLOW);
		else
			bed_set(&bed, SLOW, false);
		for (uint8_t i = 0; i < 5; i++) {
			assert_int_equal(bed_outside(&bed, buf, NULL), 100);
			assert_int_equal(buf[14], i);
		}
		bed_turn(&bed, 0);
		assert_drained(0);
		bed_deinit(&bed);
	}
}

/* A configuration that changes nothing about a ring costs no frame: SET_FEATURES for logging, for one. */
static void waiting_outlives_a_new_configuration(void **state)
{
	(void)state;
	setup(3, 0);
	for (uint8_t i = 0; i < 5; i++)
		assert_true(bed_send(&bed, 0, SLOW, i));
	bed_turn(&bed, 0);
	bed_set(&bed, 0, true);
	bed_set(&bed, SLOW, true);
	bed_set(&bed, 1, true);
	vguest_post(&bed.g[SLOW], 0, SIZE);
	bed_turn(&bed, 0);
	for (uint8_t i = 0; i < 5; i++)
		arrives(SLOW, i);
	assert_int_equal(dropped(SLOW), 0);
	assert_drained(0);
	bed_deinit(&bed);
}

/*
 * The worker dies while frames wait, and the sender's rings are stopped before there is another: the new
 * one delivers what can be and drops the rest, with WIRE_GO.
 */
static void what_waited_is_drained_by_a_successor(void **state)
{
	struct engine *old;

	(void)state;
	for (unsigned int running = 0; running < 2; running++) {
		setup(3, 0);
		for (uint8_t i = 0; i < 5; i++)
			assert_true(bed_send(&bed, 0, SLOW, i));
		bed_turn(&bed, 0);
		old = bed.e;
		bed.e = malloc(sizeof(*bed.e));
		assert_non_null(bed.e);
		engine_init(bed.e, bed.ws);
		bed.e->spin_ns = UINT64_MAX;
		bed_set(&bed, 0, running);
		bed_set(&bed, 1, true);
		bed_set(&bed, SLOW, true);
		vguest_post(&bed.g[SLOW], 0, 2);
		bed_turn(&bed, 0);
		assert_int_equal(bed_receive(&bed, SLOW, NULL), 0);
		engine_go(bed.e);
		arrives(SLOW, 0);
		arrives(SLOW, 1);
		assert_int_equal(dropped(SLOW), running ? 0 : 3);
		if (running) {
			vguest_post(&bed.g[SLOW], 0, 3);
			bed_turn(&bed, 0);
			for (uint8_t i = 2; i < 5; i++)
				arrives(SLOW, i);
		}
		assert_int_equal(bed_receive(&bed, SLOW, NULL), 0);
		assert_drained(0);
		engine_deinit(old);
		free(old);
		bed_deinit(&bed);
	}
}

static void a_broken_receiver_lets_go(void **state)
{
	(void)state;
	setup(3, 0);
	for (uint8_t i = 0; i < 5; i++)
		assert_true(bed_send(&bed, 0, SLOW, i));
	bed_turn(&bed, 0);
	bed.g[SLOW].ring[0].avail->idx = (uint16_t)(bed.g[SLOW].ring[0].avail->idx + 1000);
	bed_turn(&bed, 0);
	assert_ptr_equal(engine_next_broken(bed.e), bed.e->port[SLOW]);
	bed_turn(&bed, 0);
	assert_drained(0);
	bed_deinit(&bed);
}

static void a_broken_sender_lets_go(void **state)
{
	(void)state;
	setup(3, 0);
	for (uint8_t i = 0; i < 5; i++)
		assert_true(bed_send(&bed, 0, SLOW, i));
	bed_turn(&bed, 0);
	bed.g[0].ring[1].avail->idx = (uint16_t)(bed.g[0].ring[1].avail->idx + 1000);
	bed_turn(&bed, 0);
	assert_ptr_equal(engine_next_broken(bed.e), bed.e->port[0]);
	vguest_post(&bed.g[SLOW], 0, SIZE);
	assert_true(bed_send(&bed, 1, SLOW, 77));
	bed_turn(&bed, 0);
	arrives(SLOW, 77);
	assert_int_equal(bed_receive(&bed, SLOW, NULL), 0);
	assert_null(bed.e->waiting);
	bed_deinit(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_receiver_holds_up_no_other),
		cmocka_unit_test(order_is_kept_behind_what_waits),
		cmocka_unit_test(at_most_half_of_a_ring_waits),
		cmocka_unit_test(no_frame_waits_longer_than_1_ms),
		cmocka_unit_test(a_receiver_without_buffers_is_full),
		cmocka_unit_test(a_tag_does_not_slip_in_by_waiting),
		cmocka_unit_test(broadcast_never_waits),
		cmocka_unit_test(senders_are_served_in_turn),
		cmocka_unit_test(a_stopping_ring_is_drained),
		cmocka_unit_test(what_waits_for_a_stopping_receiver_goes_out),
		cmocka_unit_test(waiting_outlives_a_new_configuration),
		cmocka_unit_test(what_waited_is_drained_by_a_successor),
		cmocka_unit_test(a_broken_receiver_lets_go),
		cmocka_unit_test(a_broken_sender_lets_go),
	};

	return cmocka_run_group_tests_name("waitlist", tests, NULL, NULL);
}
