// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How many frames a second a backend switches between two ports, both ways at once.
 *
 * Theory of operation. The front end must cost next to nothing, so that the backend is what is
 * measured: descriptors and available entries are written once, entry i always names descriptor i,
 * and a turn is four reads of used->idx and four stores of avail->idx. That needs a backend that
 * completes in order, which is checked after each run, with the contents of the last ring of frames.
 * Buffers lie as a Linux guest's do: receive buffers 1536 bytes apart, sent frames' Ethernet header on
 * a cache line's start with the virtio header right before it. Frames received are what counts; frames
 * taken but not delivered are told beside it.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/bench/frontend.h"
#include "tests/bench/watch.h"

#define RX_STRIDE     1536
#define TX_STRIDE     1664
#define TX_OFFSET     (64 - VU_HDR_LEN)
#define SLOT	      42 /* in the frame: the number of its buffer */
#define STAMP	      (FRAME_HEADERS - 8) /* what touching writes */
#define DRAIN_SECONDS 2.0
#define WINDOWS_MAX   4096

struct side {
	struct vu_port port;
	uint8_t *rx_bufs, *tx_bufs;
	uint64_t received, sent;
	float window[WINDOWS_MAX]; /* Mpps received */
};

struct rate_run {
	const struct options *o;
	struct side side[2];
	struct watch watch;
	unsigned int n_windows;
	float waited[WINDOWS_MAX]; /* share of the window that either side waited for its CPU */
	uint64_t turns, empty;
	uint64_t seen; /* what touching comes to */
};

static uint8_t *tx_frame(struct side *s, unsigned int i)
{
	return s->tx_bufs + (size_t)i * TX_STRIDE + 64;
}

/* Frames of @size from @s to @peer, each with its slot's number and a pattern of its own. */
static void fill(struct side *s, struct side *peer, unsigned int size)
{
	for (unsigned int i = 0; i < s->port.tx.size; i++) {
		uint8_t *f = tx_frame(s, i);

		memset(f - VU_HDR_LEN, 0, VU_HDR_LEN);
		for (unsigned int k = frame_headers(f, size, peer->port.mac, s->port.mac); k < size;
		     k++)
			f[k] = (uint8_t)(i * 7 + k * 13);
		memcpy(f + SLOT, &i, sizeof(i));
		s->port.tx.desc[i].addr = vu_gpa(&s->port, f - VU_HDR_LEN);
		s->port.tx.desc[i].len = (uint32_t)(VU_HDR_LEN + size);
	}
}

static void setup(struct rate_run *run, int index)
{
	const struct options *o = run->o;
	struct side *s = &run->side[index];

	memcpy(s->port.mac, o->mac[index], 6);
	vu_connect(&s->port, o->socket[index], o->features);
	vu_alloc(&s->port, o->ring, (size_t)o->ring * (RX_STRIDE + TX_STRIDE) + 8192);
	s->rx_bufs = vu_mem(&s->port, (size_t)o->ring * RX_STRIDE, 4096);
	s->tx_bufs = vu_mem(&s->port, (size_t)o->ring * TX_STRIDE, 4096);
	for (unsigned int i = 0; i < o->ring; i++) {
		s->port.rx.desc[i].addr = vu_gpa(&s->port, s->rx_bufs + (size_t)i * RX_STRIDE);
		s->port.rx.desc[i].len = RX_STRIDE;
		s->port.rx.desc[i].flags = VRING_DESC_F_WRITE;
		s->port.rx.avail->ring[i] = s->port.tx.avail->ring[i] = (uint16_t)i;
	}
}

/* As guests do with frames: read what the ring says and the headers that came; write those that go. */
static void touch(struct rate_run *run, struct side *s, bool rx, uint16_t from, uint16_t n)
{
	struct vu_ring *r = rx ? &s->port.rx : &s->port.tx;

	for (uint16_t k = 0; k < n; k++) {
		unsigned int i = (uint16_t)(from + k) & (r->size - 1u);

		if (rx) {
			const volatile uint64_t *p =
				(const void *)(s->rx_bufs + (size_t)i * RX_STRIDE);

			run->seen += r->used->ring[i].len + p[0] + p[7];
		} else {
			run->seen++;
			memcpy(tx_frame(s, i) + STAMP, &run->seen, sizeof(run->seen));
		}
	}
}

/* Hand back what the backend has completed, once it is a batch. */
static inline unsigned int turn(struct rate_run *run, struct side *s, bool rx, unsigned int batch,
				bool again)
{
	struct vu_ring *r = rx ? &s->port.rx : &s->port.tx;
	uint16_t n = vu_used(r) - r->used_idx;

	if (n < batch)
		return 0;
	if (run->o->touch && again)
		touch(run, s, rx, r->used_idx, n);
	r->used_idx += n;
	if (again)
		vu_publish(r, n);
	return n;
}

static void turns(struct rate_run *run, unsigned int n)
{
	unsigned int batch = run->o->batch;

	for (unsigned int k = 0; k < n; k++) {
		unsigned int moved = 0;

		for (int i = 0; i < 2; i++) {
			struct side *s = &run->side[i];
			unsigned int rx = turn(run, s, true, batch, true);
			unsigned int tx = turn(run, s, false, batch, true);

			s->received += rx;
			s->sent += tx;
			moved |= rx | tx;
		}
		if (!moved)
			__builtin_ia32_pause();
		run->empty += !moved;
	}
	run->turns += n;
}

static void end_window(struct rate_run *run, uint64_t before[2], uint64_t *waited, double length)
{
	uint64_t w = watch_waited(&run->watch);

	for (int i = 0; i < 2; i++) {
		struct side *s = &run->side[i];

		s->window[run->n_windows] =
			(float)((double)(s->received - before[i]) / length / 1e6);
		before[i] = s->received;
	}
	run->waited[run->n_windows++] = (float)((double)(w - *waited) / 1e9 / length);
	*waited = w;
}

/* Count for @seconds; samples of @window seconds where it is not 0. */
static void count(struct rate_run *run, double seconds, double window)
{
	double start = now(), t = start, end = start + seconds;
	uint64_t before[2] = { run->side[0].received, run->side[1].received };
	uint64_t waited = watch_waited(&run->watch);

	while (t < end) {
		turns(run, 64);
		t = now();
		if (window == 0 || t - start < window || run->n_windows == WINDOWS_MAX)
			continue;
		end_window(run, before, &waited, t - start);
		start = t;
	}
}

/* Send no more, and wait until the backend has completed and delivered all that it will. */
static void drain(struct rate_run *run)
{
	double end = now() + DRAIN_SECONDS, quiet = now();

	for (;;) {
		bool busy = false;

		for (int i = 0; i < 2; i++) {
			struct side *s = &run->side[i];
			unsigned int n = turn(run, s, true, 1, true);

			s->received += n;
			s->sent += turn(run, s, false, 1, false);
			busy |= n > 0 || s->port.tx.used_idx != s->port.tx.avail_idx;
		}
		if (busy)
			quiet = now();
		if (now() - quiet > 0.02)
			return;
		if (now() > end)
			die("the backend has not completed all frames after %g s", DRAIN_SECONDS);
	}
}

/* All but the stamp, which its sender may have rewritten since. */
static bool same_frame(const uint8_t *a, const uint8_t *b, unsigned int size)
{
	return memcmp(a, b, STAMP) == 0 &&
	       memcmp(a + FRAME_HEADERS, b + FRAME_HEADERS, size - FRAME_HEADERS) == 0;
}

/* The ring's last completions: in order, whole, each frame as its sender wrote it. */
static int check_received(struct side *s, struct side *sender, unsigned int size)
{
	struct vu_ring *r = &s->port.rx;
	unsigned int n = s->received < r->size ? (unsigned int)s->received : r->size;

	for (unsigned int k = 0; k < n; k++) {
		unsigned int i = (uint16_t)(r->used_idx - n + k) & (r->size - 1u);
		uint8_t *buf = s->rx_bufs + (size_t)i * RX_STRIDE;
		struct virtio_net_hdr_v1 hdr;
		unsigned int slot;

		memcpy(&hdr, buf, sizeof(hdr));
		memcpy(&slot, buf + VU_HDR_LEN + SLOT, sizeof(slot));
		if (r->used->ring[i].id != i || r->used->ring[i].len != VU_HDR_LEN + size ||
		    hdr.num_buffers != 1 || slot >= r->size ||
		    !same_frame(buf + VU_HDR_LEN, tx_frame(sender, slot), size)) {
			fprintf(stderr,
				"frontend: %s: entry %u: id %u, length %u (want %zu), %u buffers, "
				"frame %u%s\n",
				s->port.name, i, r->used->ring[i].id, r->used->ring[i].len,
				VU_HDR_LEN + size, hdr.num_buffers, slot,
				slot < r->size ? ": contents differ or out of order" : "");
			return 1;
		}
	}
	return 0;
}

static void print_result(struct rate_run *run, unsigned int size)
{
	printf("{\"size\":%u,\"ring\":%u,\"features\":\"%#llx\",\"windows\":[", size, run->o->ring,
	       (unsigned long long)run->side[0].port.features);
	for (unsigned int i = 0; i < run->n_windows; i++)
		printf("%s[%.3f,%.3f,%.3f]", i ? "," : "", (double)run->side[0].window[i],
		       (double)run->side[1].window[i], (double)run->waited[i]);
	printf("],\"sent\":%llu,\"received\":%llu,\"empty\":%.3f}\n",
	       (unsigned long long)(run->side[0].sent + run->side[1].sent),
	       (unsigned long long)(run->side[0].received + run->side[1].received),
	       (double)run->empty / (double)run->turns);
	fflush(stdout);
}

static int run_size(struct rate_run *run, unsigned int size, double warmup, double seconds)
{
	int r = 0;

	for (int i = 0; i < 2; i++) {
		struct side *s = &run->side[i];

		fill(s, &run->side[!i], size);
		s->sent = s->received = 0;
	}
	run->n_windows = 0;
	for (int i = 0; i < 2; i++) {
		struct vu_ring *tx = &run->side[i].port.tx;

		vu_publish(tx, tx->size);
	}
	count(run, warmup, 0);
	run->turns = run->empty = 0;
	count(run, seconds, run->o->window_ms / 1e3);
	drain(run);
	for (int i = 0; i < 2; i++)
		r |= check_received(&run->side[i], &run->side[!i], size);
	print_result(run, size);
	return r;
}

/* "SIZE WARMUP SECONDS" a line: somebody measures several backends in turn. Asleep in between. */
static int run_steps(struct rate_run *run)
{
	char line[128];

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned int size;
		double warmup, seconds;

		if (sscanf(line, "%u %lf %lf", &size, &warmup, &seconds) != 3 || size < 60 ||
		    size > 1514)
			die("want SIZE WARMUP SECONDS, not %s", line);
		if (run_size(run, size, warmup, seconds) != 0)
			return 1;
	}
	return 0;
}

int mode_rate(const struct options *o)
{
	_cleanup_(freep) struct rate_run *run = calloc(1, sizeof(*run));
	int r = 0;

	if (!run)
		die("out of memory");
	run->o = o;
	for (int i = 0; i < 2; i++)
		setup(run, i);
	for (int i = 0; i < 2; i++) {
		fill(&run->side[i], &run->side[!i], o->sizes[0]);
		vu_start(&run->side[i].port);
		vu_publish(&run->side[i].port.rx, (uint16_t)o->ring);
	}
	watch_open(&run->watch, run->side[0].port.sock);
	for (unsigned int i = 0; i < o->n_sizes && r == 0 && !o->steps; i++)
		r = run_size(run, o->sizes[i], o->warmup, o->seconds);
	if (o->steps)
		r = run_steps(run);
	watch_close(&run->watch);
	for (int i = 0; i < 2; i++) {
		vu_stop(&run->side[i].port);
		vu_close(&run->side[i].port);
	}
	return r;
}
