/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happens to frames on the way, and what their guests see of it: checksums, segments, queues, the log, calls. */
#include "tests/unit/unit.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "datapath/forward/deliver.h"
#include "tests/unit/forward_bed.h"

static uint8_t out[VG_FRAME_MAX];

/* An offset in the header is one in the frame: where a tag is put in or taken off, it moves. */
static void checksum_offsets_move_with_the_tag(void **state)
{
	const struct virtio_net_hdr h = { .flags = 1, .csum_start = 34, .csum_offset = 6 };
	const struct virtio_net_hdr tagged = { .flags = 1, .csum_start = 38, .csum_offset = 6 };
	struct vg_config cfg[1] = { BED_CFG };
	struct virtio_net_hdr_mrg_rxbuf got;
	uint8_t frame[100];

	(void)state;
	cfg[0].vlan = 5;
	cfg[0].features |= VG_FEATURE(VIRTIO_NET_F_CSUM) | VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM);
	bed_init(&bed, 1, cfg);
	bed_frame(frame, sizeof(frame), bed_stranger, bed.g[0].mac, 0x800, 0);
	vguest_send(&bed.g[0], 0, frame, sizeof(frame), &h, VG_TWO);
	bed_turn(&bed, 0);
	assert_int_equal(bed_outside(&bed, out, &got), 104);
	assert_int_equal(got.hdr.csum_start, 38);
	assert_int_equal(got.hdr.flags, 1);
	memcpy(out, bed.g[0].mac, 6);
	memcpy(out + 6, bed_stranger, 6);
	bed_from_outside(&bed, out, 104, &tagged);
	bed_turn(&bed, 0);
	assert_int_equal(vguest_receive(&bed.g[0], 0, out, &got), 100);
	assert_int_equal(got.hdr.csum_start, 34);
	assert_int_equal(got.hdr.flags, 1);
	bed_deinit(&bed);
}

/* One that is so far back that it would come round to the addresses, which were checked. */
static void a_checksum_offset_does_not_come_round(void **state)
{
	const struct virtio_net_hdr h = { .flags = 1, .csum_start = 65532, .csum_offset = 8 };
	const uint32_t len = 65549;
	struct vg_config cfg[1] = { BED_CFG };

	(void)state;
	cfg[0].vlan = 5;
	cfg[0].features |= VG_FEATURE(VIRTIO_NET_F_CSUM);
	bed_init(&bed, 1, cfg);
	bed_frame(out, len, bed_stranger, bed.g[0].mac, 0x800, 0);
	assert_true(vguest_send(&bed.g[0], 0, out, len, &h, VG_TWO));
	bed_turn(&bed, 0);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	assert_int_equal(bed.g[0].state->counters.tx_errors, 1);
	assert_int_equal(vguest_reap(&bed.g[0], 0), 1);
	bed_deinit(&bed);
}

/* RFC 1071's sum, bit by bit slower than what is tested. */
static uint16_t slow_sum(const uint8_t *p, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void checksum_is_passed_or_completed(void **state)
{
	const struct virtio_net_hdr h = { .flags = 1, .csum_start = 34, .csum_offset = 6 };
	struct vg_config cfg[3] = { BED_CFG, BED_CFG, BED_CFG };
	struct virtio_net_hdr_mrg_rxbuf got;
	uint8_t frame[301];

	(void)state;
	cfg[0].features |= VG_FEATURE(VIRTIO_NET_F_CSUM);
	cfg[1].features |= VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM);
	bed_init(&bed, 3, cfg);
	for (unsigned int to = 1; to < 3; to++) {
		bed_frame(frame, sizeof(frame), bed.g[to].mac, bed.g[0].mac, 0x800, 77);
		vguest_send(&bed.g[0], 0, frame, sizeof(frame), &h, VG_TWO);
		bed_turn(&bed, 0);
		assert_int_equal(vguest_receive(&bed.g[to], 0, out, &got), sizeof(frame));
		if (to == 1) {
			assert_int_equal(got.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
			assert_int_equal(got.hdr.csum_start, 34);
			assert_memory_equal(out, frame, sizeof(frame));
		} else {
			uint16_t sum = (uint16_t)~slow_sum(frame + 34, sizeof(frame) - 34);

			assert_int_equal(got.hdr.flags, 0);
			assert_int_equal(out[40] << 8 | out[41], sum);
			assert_memory_equal(out, frame, 40);
			assert_memory_equal(out + 42, frame + 42, sizeof(frame) - 42);
		}
	}
	bed_deinit(&bed);
}

static void valid_checksums_are_passed_where_wanted(void **state)
{
	const struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
	struct vg_config cfg[2] = { BED_CFG, BED_CFG };
	struct virtio_net_hdr_mrg_rxbuf got;
	uint8_t frame[100];

	(void)state;
	cfg[1].features |= VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM);
	bed_init(&bed, 2, cfg);
	for (unsigned int i = 0; i < 2; i++) {
		bed_frame(frame, sizeof(frame), bed.g[i].mac, bed_stranger, TYPE, 1);
		bed_from_outside(&bed, frame, sizeof(frame), &h);
		bed_turn(&bed, 0);
		assert_int_equal(vguest_receive(&bed.g[i], 0, out, &got), 100);
		assert_int_equal(got.hdr.flags, i ? VIRTIO_NET_HDR_F_DATA_VALID : 0);
	}
	/* A guest's word is not taken for it. */
	bed_frame(frame, sizeof(frame), bed.g[1].mac, bed.g[0].mac, TYPE, 1);
	vguest_send(&bed.g[0], 0, frame, sizeof(frame), &h, VG_ONE);
	bed_turn(&bed, 0);
	assert_int_equal(vguest_receive(&bed.g[1], 0, out, &got), 100);
	assert_int_equal(got.hdr.flags, 0);
	bed_deinit(&bed);
}

static void large_frames_are_passed_or_cut(void **state)
{
	const struct virtio_net_hdr h = { .flags = 1,
					  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					  .gso_size = 1000,
					  .hdr_len = 54,
					  .csum_start = 34,
					  .csum_offset = 16 };
	struct vg_config cfg[3] = { BED_CFG, BED_CFG, BED_CFG };
	struct virtio_net_hdr_mrg_rxbuf got;
	uint8_t frame[54 + 9500];

	(void)state;
	cfg[0].features |= VG_FEATURE(VIRTIO_NET_F_CSUM) | VG_FEATURE(VIRTIO_NET_F_HOST_TSO4);
	cfg[1].features |= VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
			   VG_FEATURE(VIRTIO_NET_F_GUEST_TSO4);
	cfg[2].features |= VG_FEATURE(VIRTIO_NET_F_GUEST_CSUM);
	bed_init(&bed, 3, cfg);
	for (unsigned int to = 1; to < 3; to++) {
		bed_frame(frame, sizeof(frame), bed.g[to].mac, bed.g[0].mac, 0x800, 77);
		memcpy(frame + 14, "\x45\x00\x00\x00\x00\x00\x40\x00\x40\x06", 10);
		frame[34 + 12] = 5 << 4;
		vguest_send(&bed.g[0], 0, frame, sizeof(frame), &h, VG_TWO);
		bed_turn(&bed, 0);
		if (to == 1) {
			assert_int_equal(vguest_receive(&bed.g[1], 0, out, &got), sizeof(frame));
			assert_memory_equal(out, frame, sizeof(frame));
			assert_memory_equal(&got, &h, sizeof(h));
			assert_int_equal(got.num_buffers, (sizeof(frame) + 12 + 2047) / 2048);
			continue;
		}
		for (unsigned int i = 0; i < 10; i++) {
			uint32_t len = i < 9 ? 1000 : 500;

			assert_int_equal(vguest_receive(&bed.g[2], 0, out, &got), 54 + len);
			assert_memory_equal(out + 54, frame + 54 + i * 1000, len);
			assert_int_equal(got.hdr.gso_type, 0);
		}
		silent(2);
	}
	assert_int_equal(vguest_reap(&bed.g[0], 0), 2);
	bed_deinit(&bed);
}

/* Too few buffers for all segments: none is delivered, the frame waits. */
static void a_cut_frame_is_delivered_whole_or_not(void **state)
{
	const struct virtio_net_hdr h = { .flags = 1,
					  .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					  .gso_size = 100,
					  .csum_start = 34,
					  .csum_offset = 16 };
	struct vg_config cfg[2] = { BED_CFG, BED_CFG };
	struct virtio_net_hdr_mrg_rxbuf got;
	uint8_t frame[54 + 1000];
	unsigned int n = 0;

	(void)state;
	cfg[0].features |= VG_FEATURE(VIRTIO_NET_F_CSUM) | VG_FEATURE(VIRTIO_NET_F_HOST_TSO4);
	bed_init(&bed, 2, cfg);
	/* 64 buffers; ten are needed a frame. */
	for (unsigned int i = 0; i < 7; i++) {
		bed_frame(frame, sizeof(frame), bed.g[1].mac, bed.g[0].mac, 0x800, (uint8_t)i);
		memcpy(frame + 14, "\x45\x00\x00\x00\x00\x00\x40\x00\x40\x06", 10);
		frame[34 + 12] = 5 << 4;
		vguest_send(&bed.g[0], 0, frame, sizeof(frame), &h, VG_TWO);
	}
	bed_turn(&bed, 0);
	while (vguest_receive(&bed.g[1], 0, out, &got) > 0)
		n++;
	assert_int_equal(n, 60);
	assert_int_equal(vguest_reap(&bed.g[0], 0), 6);
	vguest_post(&bed.g[1], 0, 10);
	bed_turn(&bed, 0);
	for (n = 0; vguest_receive(&bed.g[1], 0, out, &got) > 0; n++)
		assert_memory_equal(out + 54, frame + 54 + n * 100, 100);
	assert_int_equal(n, 10);
	assert_int_equal(vguest_reap(&bed.g[0], 0), 1);
	bed_deinit(&bed);
}

static void queues_keep_flows_apart(void **state)
{
	struct vg_config cfg[2] = { BED_CFG, BED_CFG };
	struct virtio_net_hdr_mrg_rxbuf got;
	uint8_t frame[100];

	(void)state;
	cfg[0].pairs = 2;
	cfg[1].pairs = 2;
	bed_init(&bed, 2, cfg);
	for (unsigned int q = 0; q < 2; q++) {
		bed_frame(frame, sizeof(frame), bed.g[1].mac, bed.g[0].mac, TYPE, (uint8_t)q);
		vguest_send(&bed.g[0], q, frame, sizeof(frame), NULL, VG_ONE);
	}
	bed_turn(&bed, 0);
	for (unsigned int q = 0; q < 2; q++) {
		assert_int_equal(vguest_receive(&bed.g[1], q, out, &got), 100);
		assert_int_equal(out[14], q);
		assert_int_equal(vguest_reap(&bed.g[0], q), 1);
	}
	bed_deinit(&bed);
}

/* From the uplink: a flow keeps to its queue, flows are spread. */
static void uplink_flows_are_spread_over_queues(void **state)
{
	struct vg_config cfg[1] = { BED_CFG };
	struct virtio_net_hdr_mrg_rxbuf got;
	unsigned int seen[4] = { 0 };
	uint8_t frame[100];

	(void)state;
	cfg[0].pairs = 4;
	bed_init(&bed, 1, cfg);
	for (unsigned int i = 0; i < 60; i++) {
		unsigned int queues = 0;

		bed_frame(frame, sizeof(frame), bed.g[0].mac, bed_stranger, i % 2 ? 0x0800 : 0x86dd,
			  0);
		memcpy(frame + 20, "\x40\x00", 2);
		frame[i % 2 ? 35 : 55] = (uint8_t)i; /* a port */
		for (unsigned int k = 0; k < 3; k++) {
			frame[90] = (uint8_t)k; /* payload */
			bed_from_outside(&bed, frame, sizeof(frame), NULL);
		}
		bed_turn(&bed, 0);
		for (unsigned int q = 0; q < 4; q++) {
			unsigned int n = 0;

			for (; vguest_receive(&bed.g[0], q, out, &got) > 0; n++)
				assert_int_equal(out[90], n);
			vguest_post(&bed.g[0], q, n);
			assert_true(n == 0 || n == 3);
			seen[q] += n;
			queues += n > 0;
		}
		assert_int_equal(queues, 1);
	}
	for (unsigned int q = 0; q < 4; q++)
		assert_true(seen[q] > 0);
	bed_deinit(&bed);
}

/* What was written is marked, payload and used rings, and nothing else. */
static void writes_are_logged(void **state)
{
	struct wire_port_set m;
	int fds[4 + 2 * DP_RINGS_MAX], log_fd;
	struct vguest *g = &bed.g[1];
	const char *reason = "";
	uint64_t *log, used_page;
	size_t n;

	(void)state;
	setup(2, NULL, 0);
	log_fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(log_fd, 8192), 0);
	log = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, log_fd, 0);
	assert_true(log != MAP_FAILED);
	n = vguest_config(g, true, &m, fds);
	memmove(&fds[3], &fds[2], (n - 2) * sizeof(int));
	fds[2] = dup(log_fd);
	m.log_size = 4096;
	m.log_offset = 4096;
	m.flags |= WIRE_PORT_LOG;
	m.ring[0].flags |= WIRE_RING_LOG;
	assert_int_equal(engine_port_set(bed.e, &m, fds, n + 1, &reason), 0);
	memset(log, 0, 8192);
	send_to(0, g->mac, TYPE, 1);
	for (uint64_t page = 0; page < 4096 * 8; page++) {
		bool marked = log[512 + page / 64] >> (page % 64) & 1;
		uint64_t first = vguest_gpa(g, g->mem + g->ring[0].buf) / 4096;

		used_page = vguest_gpa(g, g->ring[0].used) / 4096;
		assert_int_equal(marked, page == first || page == used_page);
	}
	for (unsigned int i = 0; i < 512; i++)
		assert_int_equal(log[i], 0);
	/* Bits that the log has no room for are not written behind it. */
	memset(log, 0, 8192);
	n = vguest_config(g, true, &m, fds);
	memmove(&fds[3], &fds[2], (n - 2) * sizeof(int));
	fds[2] = dup(log_fd);
	m.log_size = 8;
	m.flags |= WIRE_PORT_LOG;
	m.ring[0].flags |= WIRE_RING_LOG;
	assert_int_equal(engine_port_set(bed.e, &m, fds, n + 1, &reason), 0);
	send_to(0, g->mac, TYPE, 2);
	for (unsigned int i = 0; i < 1024; i++)
		assert_int_equal(log[i], 0);
	munmap(log, 8192);
	close(log_fd);
	bed_deinit(&bed);
}

/* The driver's side of the event index and of the flags. */
static void guests_are_called_as_they_ask(void **state)
{
	struct vg_config cfg[2] = { BED_CFG, BED_CFG };
	struct vg_ring *r = &bed.g[1].ring[0];

	(void)state;
	cfg[1].features |= VG_FEATURE(VIRTIO_RING_F_EVENT_IDX);
	bed_init(&bed, 2, cfg);
	assert_int_equal(vguest_calls(&bed.g[1], 0), 1); /* a ring that starts is called once */
	r->avail->ring[r->size] = 0; /* used_event: call for the first */
	send_to(0, bed.g[1].mac, TYPE, 1);
	assert_int_equal(vguest_calls(&bed.g[1], 0), 1);
	send_to(0, bed.g[1].mac, TYPE, 1);
	assert_int_equal(vguest_calls(&bed.g[1], 0), 0);
	r->avail->ring[r->size] = 3; /* call for the fourth */
	send_to(0, bed.g[1].mac, TYPE, 1);
	assert_int_equal(vguest_calls(&bed.g[1], 0), 0);
	send_to(0, bed.g[1].mac, TYPE, 1);
	assert_int_equal(vguest_calls(&bed.g[1], 0), 1);
	/* Guest 0 has no event index: flags. */
	vguest_calls(&bed.g[0], 1);
	send_to(0, bed.g[1].mac, TYPE, 1);
	assert_int_equal(vguest_calls(&bed.g[0], 1), 1);
	bed.g[0].ring[1].avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	send_to(0, bed.g[1].mac, TYPE, 1);
	assert_int_equal(vguest_calls(&bed.g[0], 1), 0);
	bed_deinit(&bed);
}

/* Polled, a guest need not kick; left alone for a while, it must. */
static void kicks_are_asked_for_when_idle(void **state)
{
	struct vg_config cfg[2] = { BED_CFG, BED_CFG };
	struct vring_used *with_flags = NULL;
	uint16_t *avail_event;

	(void)state;
	cfg[1].features |= VG_FEATURE(VIRTIO_RING_F_EVENT_IDX);
	bed_init(&bed, 2, cfg);
	bed.e->spin_ns = 1000;
	with_flags = bed.g[0].ring[1].used;
	avail_event = (uint16_t *)&bed.g[1].ring[1].used->ring[cfg[1].size];
	assert_int_equal(with_flags->flags, VRING_USED_F_NO_NOTIFY);
	assert_false(vring_need_event(*avail_event, 1, 0));
	bed_turn(&bed, 500);
	assert_false(engine_idle(bed.e));
	bed_turn(&bed, 1000);
	assert_true(engine_idle(bed.e));
	assert_int_equal(with_flags->flags, 0);
	assert_true(vring_need_event(*avail_event, 1, 0));
	/* Nobody looks any more: it takes the kick. */
	assert_true(bed_send(&bed, 0, 1, 9));
	assert_int_equal(bed_turn(&bed, 1000), 0);
	engine_kicked(bed.e, engine_ring(bed.e, 0, 1));
	assert_int_equal(with_flags->flags, VRING_USED_F_NO_NOTIFY);
	assert_int_equal(bed_turn(&bed, 0), 1);
	arrives(1, 9);
	bed_deinit(&bed);
}

/* Between "nothing there" and "kick me" a frame may come: it is found. */
static void nothing_is_missed_on_the_way_to_sleep(void **state)
{
	(void)state;
	setup(2, NULL, 0);
	bed.e->spin_ns = 1000;
	for (unsigned int i = 0; i < 50; i++) {
		bed_turn(&bed, 2000);
		assert_true(bed_send(&bed, 0, 1, (uint8_t)i));
		if (engine_idle(bed.e) || bed.g[0].ring[1].used->flags == 0)
			engine_kicked(bed.e, engine_ring(bed.e, 0, 1));
		bed_turn(&bed, 0);
		arrives(1, (uint8_t)i);
		vguest_post(&bed.g[1], 0, 1);
		vguest_reap(&bed.g[0], 0);
	}
	bed_deinit(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum_offsets_move_with_the_tag),
		cmocka_unit_test(a_checksum_offset_does_not_come_round),
		cmocka_unit_test(checksum_is_passed_or_completed),
		cmocka_unit_test(valid_checksums_are_passed_where_wanted),
		cmocka_unit_test(large_frames_are_passed_or_cut),
		cmocka_unit_test(a_cut_frame_is_delivered_whole_or_not),
		cmocka_unit_test(queues_keep_flows_apart),
		cmocka_unit_test(uplink_flows_are_spread_over_queues),
		cmocka_unit_test(writes_are_logged),
		cmocka_unit_test(guests_are_called_as_they_ask),
		cmocka_unit_test(kicks_are_asked_for_when_idle),
		cmocka_unit_test(nothing_is_missed_on_the_way_to_sleep),
	};

	return cmocka_run_group_tests_name("forward_frames", tests, NULL, NULL);
}
