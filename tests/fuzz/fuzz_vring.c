/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes in a guest's rings and buffers while the engine works them. The input is a list of steps, each
 * a byte: below 0xc0 write to guest 0's memory (offset: two bytes, little-endian, in units of 1; length: this
 * byte modulo 32, plus 1; then the bytes); 0xc0 … a frame to it from guest 1; 0xd0 … a broadcast; 0xe0 … a frame from
 * the uplink; 0xf0 … a turn. The first byte chooses the features.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/lib/bed.h"

#define SIZE 8

static struct bed bed;

static void set_up(uint8_t choice)
{
	struct vg_config cfg[2] = { { .size = SIZE, .pairs = 1, .rx_buf = 256 },
				    { .size = SIZE, .pairs = 1, .rx_buf = 256 } };

	cfg[1].features = VG_MODERN | VG_FEATURE(VIRTIO_NET_F_CSUM);
	cfg[0].features = choice & 1 ? VG_MODERN : 0;
	if (choice & 2)
		cfg[0].features |= VG_FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
	if (choice & 4)
		cfg[0].features |= VG_FEATURE(VIRTIO_RING_F_EVENT_IDX);
	if (choice & 8)
		cfg[0].features |=
			VG_FEATURE(VIRTIO_NET_F_CSUM) | VG_FEATURE(VIRTIO_NET_F_HOST_TSO4) |
			VG_FEATURE(VIRTIO_NET_F_HOST_TSO6) | VG_FEATURE(VIRTIO_NET_F_HOST_ECN);
	if (choice & 16)
		cfg[1].features |= VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
				   VG_FEATURE(VIRTIO_NET_F_GUEST_TSO4);
	if (choice & 32)
		cfg[0].vlan = cfg[1].vlan = 5;
	bed_init(&bed, 2, cfg);
}

/* Guest 1 is sound: what it checks for itself must hold. */
static void turn(void)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	uint8_t buf[VG_FRAME_MAX];
	struct port *p;

	bed_turn(&bed, 1000);
	while (vguest_receive(&bed.g[1], 0, buf, &hdr) > 0)
		;
	vguest_reap(&bed.g[1], 0);
	vguest_post(&bed.g[1], 0, SIZE);
	while (bed_outside(&bed, buf, &hdr) > 0)
		;
	while ((p = engine_next_broken(bed.e))) {
		if (p->index != 0)
			abort();
		/* The keeper would drop it; here it may start anew from where its rings are. */
		for (unsigned int i = 0; i < 2; i++)
			ring_state_start(&bed.g[0].state->ring[i], SIZE,
					 bed.g[0].ring[i].used->idx);
		bed_set(&bed, 0, true);
	}
}

static size_t poke(const uint8_t *data, size_t size)
{
	size_t n = data[0] % 32 + 1u, at;

	if (size < 3 + n)
		return size;
	at = (size_t)(data[1] | data[2] << 8) % (bed.g[0].mem_size - 32);
	memcpy(bed.g[0].mem + at, data + 3, n);
	return 3 + n;
}

static void frame(uint8_t step)
{
	uint8_t buf[600];
	const uint8_t *dst = step >= 0xd0 && step < 0xe0 ? bed_broadcast : bed.g[0].mac;

	bed_frame(buf, sizeof(buf), dst, bed.g[1].mac, step & 8 ? 0x8100 : 0x0800, step);
	if (step < 0xe0)
		vguest_send(&bed.g[1], 0, buf, 60 + (step & 7u) * 70, NULL, VG_TWO);
	else
		bed_from_outside(&bed, buf, 60 + (step & 7u) * 70, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 1;

	if (size == 0)
		return 0;
	set_up(data[0]);
	while (at < size) {
		uint8_t step = data[at];

		if (step < 0xc0) {
			at += poke(data + at, size - at);
			continue;
		}
		if (step < 0xf0)
			frame(step);
		if (step >= 0xe0)
			turn();
		at++;
	}
	turn();
	bed_deinit(&bed);
	return 0;
}
