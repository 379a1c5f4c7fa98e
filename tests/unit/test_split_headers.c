/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile virtio-net headers: tests/tables/hostile-rings.md, with test_split.c. */
#include "tests/unit/split_bed.h"

static void send_with_header(const struct virtio_net_hdr *h)
{
	uint8_t buf[200];

	bed_frame(buf, sizeof(buf), bed.g[VICTIM].mac, bed.g[EVIL].mac, 0x0800, 5);
	assert_true(vguest_send(&bed.g[EVIL], 0, buf, sizeof(buf), h, VG_ONE));
}

static const struct virtio_net_hdr bad_header[] = {
	{ .flags = 1, .csum_start = 0xffff, .csum_offset = 0 },
	{ .flags = 1, .csum_start = 34, .csum_offset = 0xffff },
	{ .flags = 1, .csum_start = 34, .csum_offset = 200 - 34 - 1 },
	{ .flags = 1, .csum_start = 3, .csum_offset = 0 },
	{ .flags = 0, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 100 },
	{ .flags = 1,
	  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	  .gso_size = 0,
	  .csum_start = 34,
	  .csum_offset = 16 },
	{ .flags = 1, .gso_type = 77, .gso_size = 100, .csum_start = 34, .csum_offset = 16 },
	{ .flags = 1,
	  .gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
	  .gso_size = 100,
	  .csum_start = 34,
	  .csum_offset = 16 },
};

static void refused_header(unsigned int i)
{
	send_with_header(&bad_header[i]);
	assert_refused();
}

static void csum_start_extreme(void **state)
{
	(void)state;
	refused_header(0);
}

static void csum_offset_extreme(void **state)
{
	(void)state;
	refused_header(1);
}

static void csum_field_half_outside(void **state)
{
	(void)state;
	refused_header(2);
}

static void csum_start_in_ethernet_header(void **state)
{
	(void)state;
	refused_header(3);
}

static void gso_without_checksum(void **state)
{
	(void)state;
	refused_header(4);
}

static void gso_size_0(void **state)
{
	(void)state;
	refused_header(5);
}

static void gso_type_unknown(void **state)
{
	(void)state;
	refused_header(6);
}

static void gso_type_not_negotiated(void **state)
{
	(void)state;
	refused_header(7);
}

static void checksum_not_negotiated(void **state)
{
	const struct virtio_net_hdr h = { .flags = 1, .csum_start = 34, .csum_offset = 16 };

	(void)state;
	bed.g[EVIL].cfg.features = VG_MODERN;
	bed_set(&bed, EVIL, true);
	send_with_header(&h);
	assert_refused();
}

/* The victim does not take large frames: they are cut here, by what the frame is, not by what it says. */
static void gso_of_no_tcp_frame(void **state)
{
	const struct virtio_net_hdr h = { .flags = 1,
					  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					  .gso_size = 1,
					  .hdr_len = 0xffff,
					  .csum_start = 34,
					  .csum_offset = 16 };

	(void)state;
	send_with_header(&h);
	bed_turn(&bed, 0);
	assert_null(engine_next_broken(bed.e));
	assert_int_equal(bed_receive(&bed, VICTIM, NULL), 0);
	assert_int_equal(bed.g[VICTIM].state->counters.rx_errors, 1);
	assert_int_equal(vguest_reap(&bed.g[EVIL], 0), 1);
}

static void gso_of_a_broadcast(void **state)
{
	const struct virtio_net_hdr h = { .flags = 1,
					  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					  .gso_size = 1,
					  .csum_start = 34,
					  .csum_offset = 16 };
	uint8_t buf[200];

	(void)state;
	bed_frame(buf, sizeof(buf), bed_broadcast, bed.g[EVIL].mac, 0x0800, 5);
	assert_true(vguest_send(&bed.g[EVIL], 0, buf, sizeof(buf), &h, VG_ONE));
	assert_refused();
}

static void hdr_len_extreme(void **state)
{
	const struct virtio_net_hdr h = { .flags = 1,
					  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					  .gso_size = 1000,
					  .hdr_len = 0xffff,
					  .csum_start = 34,
					  .csum_offset = 16 };
	struct virtio_net_hdr_mrg_rxbuf got;
	uint8_t buf[VG_FRAME_MAX];

	(void)state;
	bed.g[VICTIM].cfg.features |= VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
				      VG_FEATURE(VIRTIO_NET_F_GUEST_TSO4);
	bed_set(&bed, VICTIM, true);
	send_with_header(&h);
	bed_turn(&bed, 0);
	assert_int_equal(vguest_receive(&bed.g[VICTIM], 0, buf, &got), 200);
	assert_int_equal(got.hdr.hdr_len, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(csum_start_extreme),      ROW(csum_offset_extreme),
		ROW(csum_field_half_outside), ROW(csum_start_in_ethernet_header),
		ROW(gso_without_checksum),    ROW(gso_size_0),
		ROW(gso_type_unknown),	      ROW(gso_type_not_negotiated),
		ROW(checksum_not_negotiated), ROW(gso_of_no_tcp_frame),
		ROW(gso_of_a_broadcast),      ROW(hdr_len_extreme),
	};

	return cmocka_run_group_tests_name("split_headers", tests, NULL, NULL);
}
