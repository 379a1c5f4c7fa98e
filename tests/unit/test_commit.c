/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ring rule: a worker dies after each of its stores, another takes over from shared memory, and
 * guests that check all they can see notice nothing. commit_hook is called after every store that outlives
 * a worker; death is a longjmp out of it, after which nothing of the dead engine is looked at but to
 * free what it held.
 */
#include "tests/unit/unit.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "datapath/forward/engine.h"
#include "datapath/ring/commit.h"
#include "tests/lib/vguest.h"

#define GUESTS	 4
#define TO_ALL	 GUESTS /* destination of a broadcast */
#define TO_OUT	 (GUESTS + 1) /* of a frame for the uplink */
#define STREAMS	 (GUESTS + 2)
#define HEADER	 14
#define TYPE	 0x88b5 /* IEEE 802 local experimental */
#define NOW	 1000
#define PAIR_MAX 2

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

static struct model *model;

static uint32_t rnd(struct model *m, uint32_t n)
{
	m->random = m->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(m->random >> 33) % n;
}

static void hook(void)
{
	if (++model->stores == model->die_at)
		longjmp(model->death, 1);
}

static uint8_t fill(const struct tag *t, uint32_t i)
{
	return (uint8_t)(t->seq * 31 + t->src * 7 + t->stream * 13 + i);
}

static uint32_t make_frame(const struct model *m, uint8_t *buf, const struct tag *t)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
	static const uint8_t out[6] = { 2, 0, 0, 0, 0, 1 };

	memcpy(buf,
	       t->stream == TO_ALL   ? all
	       : t->stream == TO_OUT ? out
				     : m->guest[t->stream].mac,
	       6);
	memcpy(buf + 6, m->guest[t->src].mac, 6);
	buf[12] = TYPE >> 8;
	buf[13] = TYPE & 0xff;
	memcpy(buf + HEADER, t, sizeof(*t));
	for (uint32_t i = HEADER + sizeof(*t); i < t->len; i++)
		buf[i] = fill(t, i);
	return t->len;
}

/* Whole, and what it says? */
static struct tag check_frame(const struct model *m, const uint8_t *buf, uint32_t len)
{
	uint8_t want[VG_FRAME_MAX];
	struct tag t;

	assert_true(len >= HEADER + sizeof(t));
	memcpy(&t, buf + HEADER, sizeof(t));
	assert_int_equal(t.len, len);
	assert_true(t.src < m->s->guests && t.stream < STREAMS);
	make_frame(m, want, &t);
	assert_memory_equal(buf, want, len);
	return t;
}

#define PAGE	  4096u
#define LOG_WORDS 1024 /* 256 MiB */

/* As QEMU does: take the bits, then copy what they stand for. */
static void copy_dirty(struct model *m)
{
	for (unsigned int i = 0; m->s->log && i < m->s->guests; i++) {
		struct vguest *g = &m->guest[i];

		for (uint64_t w = 0; w < LOG_WORDS; w++) {
			uint64_t bits = __atomic_exchange_n(&m->log[i][w], 0, __ATOMIC_SEQ_CST);

			for (; bits; bits &= bits - 1) {
				uint64_t gpa = (w * 64 + (uint64_t)__builtin_ctzll(bits)) * PAGE;

				assert_true(gpa >= VG_GPA && gpa + PAGE <= VG_GPA + g->mem_size);
				memcpy(m->copy[i] + (gpa - VG_GPA), g->mem + (gpa - VG_GPA), PAGE);
			}
		}
	}
}

/*
 * What a worker alone writes must be in the copy: used rings (the guest writes there never), and the
 * buffers of frames that the guest has been told of.
 */
static void assert_copied(struct model *m, unsigned int i)
{
	struct vguest *g = &m->guest[i];

	copy_dirty(m);
	for (unsigned int r = 0; r < 2u * m->s->cfg.pairs; r++) {
		const struct vg_ring *v = &g->ring[r];
		size_t at = (size_t)((uint8_t *)v->used - g->mem);
		size_t size = sizeof(*v->used) + v->size * sizeof(struct vring_used_elem) + 2;

		assert_memory_equal(m->copy[i] + at, g->mem + at, size);
	}
}

static void assert_payload_copied(struct model *m, unsigned int i)
{
	const struct vguest *g = &m->guest[i];
	const struct vg_ring *v = &g->ring[0];

	if (!m->s->log)
		return;
	copy_dirty(m);
	for (uint16_t k = v->used_idx; k != v->used->idx; k++) {
		const struct vring_used_elem *e = &v->used->ring[k % v->size];
		size_t at = v->buf + e->id * (size_t)g->cfg.rx_buf;

		assert_memory_equal(m->copy[i] + at, g->mem + at, e->len);
	}
}

/* The log's descriptor goes behind state and memory. */
static size_t add_log(struct model *m, unsigned int i, struct wire_port_set *cfg, int *fds,
		      size_t n)
{
	if (!m->s->log)
		return n;
	memmove(&fds[3], &fds[2], (n - 2) * sizeof(*fds));
	fds[2] = dup(m->log_fd[i]);
	cfg->log_size = LOG_WORDS * 8;
	cfg->flags |= WIRE_PORT_LOG;
	for (unsigned int r = 0; r < cfg->n_rings; r++)
		cfg->ring[r].flags |= WIRE_RING_LOG;
	return n + 1;
}

static void start_log(struct model *m, unsigned int i)
{
	struct vguest *g = &m->guest[i];

	m->log_fd[i] = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(m->log_fd[i], LOG_WORDS * 8), 0);
	m->log[i] = mmap(NULL, LOG_WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, m->log_fd[i], 0);
	assert_true(m->log[i] != MAP_FAILED);
	m->copy[i] = malloc(g->mem_size);
	assert_non_null(m->copy[i]);
	memcpy(m->copy[i], g->mem, g->mem_size);
}

static void stop_log(struct model *m, unsigned int i)
{
	munmap(m->log[i], LOG_WORDS * 8);
	close(m->log_fd[i]);
	free(m->copy[i]);
}

static void start_engine(struct model *m, int uplink)
{
	static struct engine engine;
	const char *reason = "";

	m->engine = &engine;
	engine_init(m->engine, m->ws);
	engine_uplink_set(m->engine, UPLINK_TAP, uplink);
	for (unsigned int i = 0; i < m->s->guests; i++) {
		struct wire_port_set cfg;
		int fds[3 + 2 * DP_RINGS_MAX];
		size_t n = vguest_config(&m->guest[i], true, &cfg, fds);

		n = add_log(m, i, &cfg, fds, n);

		if (engine_port_set(m->engine, &cfg, fds, n, &reason) < 0)
			fail_msg("port %u: %s", i, reason);
	}
}

static void stop_engine(struct model *m)
{
	engine_deinit(m->engine);
	m->engine = NULL;
}

static void receive_all(struct model *m)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	uint8_t buf[VG_FRAME_MAX];
	uint32_t len;

	for (unsigned int i = 0; i < m->s->guests; i++) {
		assert_payload_copied(m, i);
		for (unsigned int q = 0; q < m->s->cfg.pairs; q++) {
			while ((len = vguest_receive(&m->guest[i], q, buf, &hdr)) > 0) {
				struct tag t = check_frame(m, buf, len);
				uint32_t *seen = &m->seen[i][t.src][t.stream];

				assert_true(t.stream == i || t.stream == TO_ALL);
				assert_int_not_equal(t.src, i);
				/* Neither lost nor doubled, and in order. */
				assert_int_equal(t.seq, *seen + 1);
				*seen = t.seq;
			}
		}
	}
}

static void receive_outside(struct model *m)
{
	uint8_t buf[VG_FRAME_MAX];
	ssize_t n;

	while ((n = recv(m->outside, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		struct tag t = check_frame(m, buf + 12, (uint32_t)n - 12);

		if (t.stream == TO_ALL)
			continue;
		/* A burst may be lost with its worker; none comes twice. */
		assert_int_equal(t.stream, TO_OUT);
		assert_true(t.seq > m->seen_outside[t.src]);
		if (m->deaths == 0)
			assert_int_equal(t.seq, m->seen_outside[t.src] + 1);
		m->seen_outside[t.src] = t.seq;
	}
}

static void send_some(struct model *m, unsigned int src)
{
	struct vguest *g = &m->guest[src];
	uint8_t buf[VG_FRAME_MAX];

	for (unsigned int n = rnd(m, 5); n > 0; n--) {
		unsigned int stream = rnd(m, m->s->guests), q;
		struct tag t;

		if (m->s->broadcast && rnd(m, 3) == 0)
			stream = TO_ALL;
		else if (m->s->uplink && rnd(m, 3) == 0)
			stream = TO_OUT;
		q = stream % m->s->cfg.pairs;
		if (stream == src || vguest_free(g, 2 * q + 1) < m->s->cfg.size / 2u + 8)
			continue;
		t = (struct tag){ .src = src,
				  .stream = stream,
				  .seq = m->sent[src][stream] + 1,
				  .len = HEADER + (uint32_t)sizeof(t) + rnd(m, m->s->len_max) };
		if (vguest_send(g, q, buf, make_frame(m, buf, &t), NULL, rnd(m, VG_LAYOUTS)))
			m->sent[src][stream]++;
	}
}

/* The guests go on by themselves, whether a worker lives or not. */
static void guests_step(struct model *m, bool send)
{
	for (unsigned int i = 0; i < m->s->guests; i++) {
		for (unsigned int q = 0; q < m->s->cfg.pairs; q++) {
			vguest_reap(&m->guest[i], q);
			vguest_post(&m->guest[i], q, send ? m->s->post : m->s->cfg.size);
		}
		if (send)
			send_some(m, i);
	}
	receive_all(m);
	receive_outside(m);
}

static void assert_all_arrived(struct model *m)
{
	assert_null(engine_next_broken(m->engine));
	for (unsigned int i = 0; i < m->s->guests; i++) {
		if (m->s->log)
			assert_copied(m, i);
		for (unsigned int k = 0; k < m->s->guests; k++) {
			if (i == k)
				continue;
			assert_int_equal(m->seen[i][k][i], m->sent[k][i]);
			assert_int_equal(m->seen[i][k][TO_ALL], m->sent[k][TO_ALL]);
		}
		for (unsigned int r = 0; r < 2u * m->s->cfg.pairs; r++) {
			const struct ring_state *rs = &m->guest[i].state->ring[r];
			const struct vg_ring *v = &m->guest[i].ring[r];

			/* No descriptor is lost: what was sent is back, what was posted is known. */
			assert_int_equal(rs->avail_pos, rs->used_pos);
			assert_int_equal(rs->used_pos, v->used->idx);
			if (r % 2)
				assert_int_equal(vguest_free(&m->guest[i], r), v->size);
		}
	}
	assert_int_equal(((struct intent *)(void *)m->ws->intent)->valid, 0);
}

static void play(struct model *m, volatile unsigned int *step)
{
	for (; *step < m->s->steps; ++*step) {
		guests_step(m, true);
		engine_turn(m->engine, NOW);
	}
	for (unsigned int i = 0; i < 40; i++) {
		guests_step(m, false);
		engine_turn(m->engine, NOW);
	}
	receive_all(m);
	for (unsigned int i = 0; i < m->s->guests; i++)
		for (unsigned int q = 0; q < m->s->cfg.pairs; q++)
			vguest_reap(&m->guest[i], q);
}

static void model_init(struct model *m, const struct scenario *s, int pair[2])
{
	memset(m, 0, sizeof(*m));
	m->s = s;
	m->random = 12345;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	m->outside = pair[0];
	m->ws = mmap(NULL, sizeof(*m->ws), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	assert_true(m->ws != MAP_FAILED);
	for (unsigned int i = 0; i < s->guests; i++) {
		vguest_init(&m->guest[i], i, &s->cfg);
		if (s->log)
			start_log(m, i);
	}
}

static void model_deinit(struct model *m, int pair[2])
{
	for (unsigned int i = 0; i < m->s->guests; i++) {
		if (m->s->log)
			stop_log(m, i);
		vguest_deinit(&m->guest[i]);
	}
	munmap(m->ws, sizeof(*m->ws));
	close(pair[0]);
	close(pair[1]);
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
