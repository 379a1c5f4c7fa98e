/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front end program's modes; see frontend.c for its options. */
#pragma once

#include "tests/bench/vu.h"

#define PORTS_MAX 128
#define SIZES_MAX 8

struct options {
	unsigned int n_ports;
	const char *socket[PORTS_MAX];
	uint8_t mac[PORTS_MAX][6];
	unsigned int ring; /* entries */
	uint64_t features;
	unsigned int sizes[SIZES_MAX], n_sizes; /* frame lengths without virtio header and FCS */
	double warmup, seconds; /* verify: warmup is the wait before the first frame */
	bool steps; /* rate: read what to do from stdin */
	bool touch; /* rate: read and write frames' headers as guests do */
	unsigned int window_ms;
	unsigned int batch; /* rate: completions to collect before handing them back */
	unsigned int max_size; /* verify: longest frame; more than 1514 needs TSO features */
	unsigned int pause_us; /* verify: let the backend doze off after each round of sending */
	bool interrupts; /* verify: sleep until called instead of polling */
	uint64_t seed;
};

/* Each mode returns 0, or 1 where a check failed (said on stderr); setup errors die(). */
int mode_rate(const struct options *o);
int mode_verify(const struct options *o);
int mode_idle(const struct options *o);

/**
 * frame_headers() - Ethernet, IPv4 and UDP (GSO: TCP) headers of a frame of @len bytes
 * Return: bytes written, FRAME_HEADERS
 */
#define FRAME_HEADERS 54
unsigned int frame_headers(uint8_t *frame, unsigned int len, const uint8_t dst[6],
			   const uint8_t src[6]);

double now(void);
void sleep_seconds(double seconds);
