/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/commit_model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapath/ring/commit.h"

#define HEADER 14
#define TYPE   0x88b5 /* IEEE 802 local experimental */

uint32_t rnd(struct model *m, uint32_t n)
{
	m->random = m->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(m->random >> 33) % n;
}

static uint8_t fill(const struct tag *t, uint32_t i)
{
	return (uint8_t)(t->seq * 31 + t->src * 7 + t->stream * 13 + i);
}

uint32_t make_frame(const struct model *m, uint8_t *buf, const struct tag *t)
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

void assert_copied(struct model *m, unsigned int i)
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

void start_engine(struct model *m, int uplink)
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

void stop_engine(struct model *m)
{
	engine_deinit(m->engine);
	m->engine = NULL;
}

void receive_all(struct model *m)
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

void guests_step(struct model *m, bool send)
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

void assert_all_arrived(struct model *m)
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

void play(struct model *m, volatile unsigned int *step)
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

void model_init(struct model *m, const struct scenario *s, int pair[2])
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

void model_deinit(struct model *m, int pair[2])
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
