/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An engine with model guests and a socket in place of the uplink's tap, for unit tests. */
#pragma once

#include "datapath/forward/engine.h"
#include "tests/lib/vguest.h"

#define BED_GUESTS 4

struct bed {
	struct engine *e;
	struct worker_state *ws;
	struct vguest g[BED_GUESTS];
	unsigned int n;
	int outside; /* what the engine sends to the uplink arrives here, header first */
	uint64_t now;
};

/* What most guests are: a modern driver with all that we offer. */
#define BED_CFG                                                                              \
	{                                                                                    \
		.features = VG_MODERN | VG_FEATURE(VIRTIO_RING_F_INDIRECT_DESC), .size = 64, \
		.pairs = 1, .rx_buf = 2048                                                   \
	}

/* @n guests as @cfg says, their rings running, all receive buffers posted. */
void bed_init(struct bed *b, unsigned int n, const struct vg_config *cfg);
void bed_deinit(struct bed *b);

/* Tell the engine of a guest again, as its cfg says now. Fails the test where it is refused. */
void bed_set(struct bed *b, unsigned int i, bool running);

/* A turn of the engine, @ns later. */
unsigned int bed_turn(struct bed *b, uint64_t ns);

/* @len bytes from @src to @dst (MACs), with @type and bytes that depend on @seed. */
void bed_frame(uint8_t *buf, uint32_t len, const uint8_t *dst, const uint8_t *src, uint16_t type,
	       uint8_t seed);

/* Send such a frame from guest @from to guest @to. False: its ring is full. */
bool bed_send(struct bed *b, unsigned int from, unsigned int to, uint8_t seed);

/* Receive a frame at guest @at; return its length (0: none) and its seed. */
uint32_t bed_receive(struct bed *b, unsigned int at, uint8_t *ret_seed);

/* A frame from the uplink: length without header; 0: none. */
uint32_t bed_outside(struct bed *b, uint8_t *buf, struct virtio_net_hdr_mrg_rxbuf *hdr);

/* A frame that arrives at the uplink. */
void bed_from_outside(struct bed *b, const void *frame, uint32_t len,
		      const struct virtio_net_hdr *hdr);

extern const uint8_t bed_broadcast[6], bed_stranger[6];
