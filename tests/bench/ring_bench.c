/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast the engine moves frames between two guests, both ways, split rings: ring_bench [LENGTH] [SECONDS]
 * [THREADS] [SLOW]. With one thread guests and engine take turns, and only the engine's time is counted: what its
 * instructions cost. With two the guests run on another CPU, as they would: what moving the cache lines costs.
 * SLOW: guest 1 receives so many frames a turn at most, so that frames for it wait and are dropped.
 * A tool to look with, not a test; tests/bench/datapath compares with others.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "datapath/forward/engine.h"
#include "tests/lib/vguest.h"

#define SIZE 256

static struct vguest guest[2];
static struct engine engine;
static volatile bool stop;
static uint32_t length = 64;
static unsigned int slow = SIZE; /* frames that guest 1 receives in a turn at most */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A sender's ring full of frames for the other guest, a receiver's full of buffers. */
static void fill(struct vguest *g, const struct vguest *to)
{
	uint8_t frame[2048] = { 0 };

	memcpy(frame, to->mac, 6);
	memcpy(frame + 6, g->mac, 6);
	frame[12] = 8;
	while (vguest_send(g, 0, frame, length, NULL, VG_ONE))
		;
	vguest_post(g, 0, SIZE);
}

/* What came back is made available again, as it is: a guest that costs as little as can be. */
static unsigned int turn_around(struct vg_ring *r, uint8_t *mem, unsigned int max)
{
	uint16_t idx = __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE);
	unsigned int n = (uint16_t)(idx - r->used_idx);

	if (n > max)
		n = max;
	for (unsigned int i = 0; i < n; i++) {
		uint32_t id = r->used->ring[r->used_idx++ % SIZE].id;

		mem[r->buf + id * VG_TX_BUF + 12 + 30]++;
		r->avail->ring[r->avail_idx++ % SIZE] = (uint16_t)id;
	}
	if (n > 0)
		__atomic_store_n(&r->avail->idx, r->avail_idx, __ATOMIC_RELEASE);
	return n;
}

static void guests_turn(void)
{
	for (int i = 0; i < 2; i++) {
		turn_around(&guest[i].ring[0], guest[i].mem, i ? slow : SIZE);
		turn_around(&guest[i].ring[1], guest[i].mem, SIZE);
	}
}

static void *guests_thread(void *arg)
{
	(void)arg;
	while (!stop)
		guests_turn();
	return NULL;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static uint64_t received(void)
{
	return guest[0].state->counters.rx_packets + guest[1].state->counters.rx_packets;
}

int main(int argc, char **argv)
{
	static struct worker_state ws;
	const struct vg_config cfg = { .size = SIZE,
				       .pairs = 1,
				       .rx_buf = 2048,
				       .flags = WIRE_PORT_SPOOFCHK,
				       .features = VG_MODERN |
						   VG_FEATURE(VIRTIO_RING_F_EVENT_IDX) };
	double seconds = argc > 2 ? atof(argv[2]) : 2;
	bool two = argc > 3 && atoi(argv[3]) > 1;
	uint64_t start, spent = 0, turns = 0;
	const char *reason;
	pthread_t thread;

	slow = argc > 4 ? (unsigned int)atoi(argv[4]) : SIZE;
	length = argc > 1 ? (uint32_t)atoi(argv[1]) : 64;
	engine_init(&engine, &ws);
	for (unsigned int i = 0; i < 2; i++) {
		struct wire_port_set m;
		int fds[64];
		size_t n;

		vguest_init(&guest[i], i, &cfg);
		n = vguest_config(&guest[i], true, &m, fds);
		if (engine_port_set(&engine, &m, fds, n, &reason) < 0)
			return 1;
	}
	engine.spin_ns = UINT64_MAX; /* these guests do not kick */
	engine_go(&engine);
	fill(&guest[0], &guest[1]);
	fill(&guest[1], &guest[0]);
	if (two) {
		pin(0);
		pthread_create(&thread, NULL, guests_thread, NULL);
		pin(1);
	}
	start = now_ns();
	while (now_ns() - start < (uint64_t)(seconds * 1e9)) {
		uint64_t t = now_ns();

		for (int i = 0; i < 16; i++) {
			if (!two) {
				guests_turn();
				t = now_ns();
			}
			engine_turn(&engine, t);
			if (!two)
				spent += now_ns() - t;
			turns++;
		}
	}
	if (two) {
		spent = now_ns() - start;
		stop = true;
		pthread_join(thread, NULL);
	}
	printf("%u bytes: %.2f Mpps, %.1f ns a frame, %.1f frames a turn, %llu dropped\n", length,
	       (double)received() * 1e3 / (double)spent, (double)spent / (double)received(),
	       (double)received() / (double)turns,
	       (unsigned long long)(guest[0].state->counters.rx_dropped +
				    guest[1].state->counters.rx_dropped));
	return 0;
}
