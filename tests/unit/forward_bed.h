/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An engine with guests and an uplink, and what tests of its frames do with it again and again. */
#pragma once

#include "tests/lib/bed.h"

#define TYPE 0x88b5

static struct bed bed;

static inline void setup(unsigned int n, const uint16_t *vlan, uint32_t flags)
{
	struct vg_config cfg[BED_GUESTS];

	for (unsigned int i = 0; i < n; i++) {
		cfg[i] = (struct vg_config)BED_CFG;
		cfg[i].vlan = vlan ? vlan[i] : 0;
		cfg[i].flags = flags;
	}
	bed_init(&bed, n, cfg);
}

static inline void send_to(unsigned int from, const uint8_t *dst, uint16_t type, uint8_t seed)
{
	uint8_t buf[100];

	bed_frame(buf, sizeof(buf), dst, bed.g[from].mac, type, seed);
	assert_true(vguest_send(&bed.g[from], 0, buf, sizeof(buf), NULL, VG_ONE));
	bed_turn(&bed, 0);
	assert_int_equal(vguest_reap(&bed.g[from], 0), 1);
}

static inline void arrives(unsigned int at, uint8_t seed)
{
	uint8_t got = 0;

	assert_int_equal(bed_receive(&bed, at, &got), 100);
	assert_int_equal(got, seed);
	assert_int_equal(bed_receive(&bed, at, NULL), 0);
}

static inline void silent(unsigned int at)
{
	assert_int_equal(bed_receive(&bed, at, NULL), 0);
}
