/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest 0 does the evil, guest 1 is whom it sends to, and two others go on speaking to each other. */
#pragma once

#include "tests/unit/unit.h"

#include <string.h>

#include "tests/lib/bed.h"

#define EVIL   0
#define VICTIM 1
#define RX     0
#define TX     1

static struct bed bed;

static inline struct vg_ring *tx(void)
{
	return &bed.g[EVIL].ring[TX];
}

static inline struct vg_ring *rx(void)
{
	return &bed.g[EVIL].ring[RX];
}

static inline uint64_t buffer(const struct vg_ring *r, unsigned int i)
{
	return VG_GPA + r->buf + i * VG_TX_BUF;
}

static inline void set_desc(struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags,
			    uint16_t next)
{
	*d = (struct vring_desc){ .addr = addr, .len = len, .flags = flags, .next = next };
}

/* Make head @head available, past all the model's books. */
static inline void offer(struct vg_ring *r, uint16_t head)
{
	r->avail->ring[r->avail->idx % r->size] = head;
	__atomic_store_n(&r->avail->idx, (uint16_t)(r->avail->idx + 1), __ATOMIC_RELEASE);
}

static inline struct vring_desc *table_at(struct vg_ring *r, unsigned int i)
{
	return (void *)(bed.g[EVIL].mem + r->table + i * VG_TABLE * sizeof(struct vring_desc));
}

/* An indirect table of @len bytes at the ring's first table, offered as head 0. */
static inline void offer_table(uint32_t len, uint16_t flags)
{
	set_desc(&tx()->desc[0], vguest_gpa(&bed.g[EVIL], table_at(tx(), 0)), len,
		 (uint16_t)(VRING_DESC_F_INDIRECT | flags), 1);
	offer(tx(), 0);
}

static inline void setup_with(uint64_t features, uint32_t rx_buf)
{
	struct vg_config cfg[4] = { BED_CFG, BED_CFG, BED_CFG, BED_CFG };

	cfg[EVIL].features = features;
	cfg[EVIL].rx_buf = rx_buf;
	bed_init(&bed, 4, cfg);
}

static inline int setup(void **state)
{
	const struct vg_config c = BED_CFG;

	(void)state;
	setup_with(c.features | VG_FEATURE(VIRTIO_NET_F_CSUM) | VG_FEATURE(VIRTIO_NET_F_HOST_TSO4),
		   2048);
	return 0;
}

/* Others are served as before, whatever happened. */
static inline int teardown(void **state)
{
	uint8_t seed = 0;

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		assert_true(bed_send(&bed, 2, 3, (uint8_t)i));
		bed_turn(&bed, 0);
		assert_true(bed_receive(&bed, 3, &seed) > 0);
		assert_int_equal(seed, (uint8_t)i);
		vguest_post(&bed.g[3], 0, 1);
		assert_int_equal(vguest_reap(&bed.g[2], 0), 1);
	}
	bed_deinit(&bed);
	return 0;
}

static const struct port_counters *counters(void)
{
	return &bed.g[EVIL].state->counters;
}

/* The port is given up, for a reason with @words in it, and nothing reached the victim. */
static inline void assert_broken(const char *words)
{
	const struct port *p;

	bed_turn(&bed, 0);
	p = engine_next_broken(bed.e);
	assert_non_null(p);
	assert_int_equal(p->index, EVIL);
	if (!strstr(p->broken, words))
		fail_msg("'%s' does not say '%s'", p->broken, words);
	assert_null(engine_next_broken(bed.e));
	bed_turn(&bed, 0);
	assert_int_equal(bed_receive(&bed, VICTIM, NULL), 0);
}

/* The frame is dropped, the port goes on. */
static inline void assert_refused(void)
{
	uint64_t before = counters()->tx_errors;

	bed_turn(&bed, 0);
	assert_null(engine_next_broken(bed.e));
	assert_int_equal(counters()->tx_errors, before + 1);
	assert_int_equal(bed_receive(&bed, VICTIM, NULL), 0);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
