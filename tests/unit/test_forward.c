/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where frames go, what happens to them on the way, and what guests and the uplink see of it. */
#include "tests/unit/unit.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/str.h"
#include "datapath/forward/announce.h"
#include "datapath/forward/deliver.h"
#include "tests/lib/bed.h"

#define TYPE 0x88b5

static struct bed bed;
static uint8_t out[VG_FRAME_MAX];

static void setup(unsigned int n, const uint16_t *vlan, uint32_t flags)
{
	struct vg_config cfg[BED_GUESTS];

	for (unsigned int i = 0; i < n; i++) {
		cfg[i] = (struct vg_config)BED_CFG;
		cfg[i].vlan = vlan ? vlan[i] : 0;
		cfg[i].flags = flags;
	}
	bed_init(&bed, n, cfg);
}

static void send_to(unsigned int from, const uint8_t *dst, uint16_t type, uint8_t seed)
{
	uint8_t buf[100];

	bed_frame(buf, sizeof(buf), dst, bed.g[from].mac, type, seed);
	assert_true(vguest_send(&bed.g[from], 0, buf, sizeof(buf), NULL, VG_ONE));
	bed_turn(&bed, 0);
	assert_int_equal(vguest_reap(&bed.g[from], 0), 1);
}

static void arrives(unsigned int at, uint8_t seed)
{
	uint8_t got = 0;

	assert_int_equal(bed_receive(&bed, at, &got), 100);
	assert_int_equal(got, seed);
	assert_int_equal(bed_receive(&bed, at, NULL), 0);
}

static void silent(unsigned int at)
{
	assert_int_equal(bed_receive(&bed, at, NULL), 0);
}

static void unicast_goes_to_its_port_only(void **state)
{
	(void)state;
	setup(3, NULL, 0);
	send_to(0, bed.g[2].mac, TYPE, 7);
	arrives(2, 7);
	silent(0);
	silent(1);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	bed_deinit(&bed);
}

static void unknown_goes_to_the_uplink_only(void **state)
{
	(void)state;
	setup(3, NULL, 0);
	send_to(0, bed_stranger, TYPE, 8);
	assert_int_equal(bed_outside(&bed, out, NULL), 100);
	assert_int_equal(out[14], 8);
	silent(1);
	silent(2);
	bed_deinit(&bed);
}

/* A guest with a VF beside its port is where it was heard last. */
static void a_standby_follows_its_guest(void **state)
{
	uint8_t buf[100];

	(void)state;
	setup(2, NULL, WIRE_PORT_STANDBY);
	send_to(0, bed.g[1].mac, TYPE, 1);
	arrives(1, 1);
	/* It speaks through its VF: what it sends comes from the uplink. */
	bed_frame(buf, sizeof(buf), bed.g[0].mac, bed.g[1].mac, TYPE, 2);
	bed_from_outside(&bed, buf, sizeof(buf), NULL);
	bed_turn(&bed, 0);
	arrives(0, 2);
	send_to(0, bed.g[1].mac, TYPE, 3);
	silent(1);
	assert_int_equal(bed_outside(&bed, out, NULL), 100);
	send_to(0, bed_broadcast, TYPE, 4);
	silent(1);
	assert_int_equal(bed_outside(&bed, out, NULL), 100);
	/* And through its port again. */
	send_to(1, bed.g[0].mac, TYPE, 5);
	arrives(0, 5);
	send_to(0, bed.g[1].mac, TYPE, 6);
	arrives(1, 6);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	bed_deinit(&bed);
}

/* A card that brings back what it was given, or somebody who lies. */
static void a_guest_without_its_vf_is_announced(void **state)
{
	(void)state;
	setup(1, NULL, WIRE_PORT_STANDBY | WIRE_PORT_AWAY);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	bed.g[0].cfg.flags = 0;
	bed_set(&bed, 0, true);
	assert_int_equal(bed_outside(&bed, out, NULL), 60);
	assert_memory_equal(out + 6, bed.g[0].mac, 6);
	bed_deinit(&bed);
}

static void frames_of_our_own_from_outside_are_dropped(void **state)
{
	uint8_t buf[100];

	(void)state;
	setup(3, NULL, 0);
	bed_frame(buf, sizeof(buf), bed_broadcast, bed.g[1].mac, TYPE, 1);
	bed_from_outside(&bed, buf, sizeof(buf), NULL);
	bed_frame(buf, sizeof(buf), bed.g[0].mac, bed.g[1].mac, TYPE, 2);
	bed_from_outside(&bed, buf, sizeof(buf), NULL);
	bed_turn(&bed, 0);
	for (unsigned int i = 0; i < 3; i++)
		silent(i);
	bed_deinit(&bed);
}

static void a_standby_is_told_to_be_away(void **state)
{
	(void)state;
	setup(2, NULL, WIRE_PORT_STANDBY | WIRE_PORT_AWAY);
	send_to(0, bed.g[1].mac, TYPE, 1); /* which brings the sender back */
	silent(1);
	assert_int_equal(bed_outside(&bed, out, NULL), 100);
	send_to(1, bed.g[0].mac, TYPE, 2);
	arrives(0, 2);
	/* Told the same once more, it stays. */
	bed_set(&bed, 1, true);
	send_to(0, bed.g[1].mac, TYPE, 3);
	arrives(1, 3);
	bed_deinit(&bed);
}

static void own_address_goes_nowhere(void **state)
{
	(void)state;
	setup(2, NULL, 0);
	send_to(0, bed.g[0].mac, TYPE, 8);
	silent(0);
	silent(1);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	bed_deinit(&bed);
}

static void broadcast_stays_on_its_vlan(void **state)
{
	static const uint16_t vlan[] = { 5, 5, 6, 0 };
	static const uint8_t multicast[6] = { 1, 0, 0x5e, 0, 0, 1 };

	(void)state;
	setup(4, vlan, 0);
	for (int i = 0; i < 2; i++) {
		send_to(0, i ? multicast : bed_broadcast, TYPE, 9);
		arrives(1, 9);
		silent(0);
		silent(2);
		silent(3);
		/* Outside it carries the tag. */
		assert_int_equal(bed_outside(&bed, out, NULL), 104);
		assert_memory_equal(out + 12, "\x81\x00\x00\x05\x88\xb5\x09", 7);
	}
	bed_deinit(&bed);
}

static void vlans_do_not_meet(void **state)
{
	static const uint16_t vlan[] = { 5, 6, 0 };

	(void)state;
	setup(3, vlan, 0);
	for (unsigned int i = 0; i < 3; i++) {
		send_to(i, bed.g[(i + 1) % 3].mac, TYPE, 1);
		silent((i + 1) % 3);
		assert_int_equal(bed_outside(&bed, out, NULL), vlan[i] ? 104 : 100);
	}
	bed_deinit(&bed);
}

static void tagged_frames_of_an_access_port_are_dropped(void **state)
{
	static const uint16_t vlan[] = { 5, 6 };
	static const uint16_t type[] = { 0x8100, 0x88a8 };

	(void)state;
	setup(2, vlan, 0);
	for (unsigned int i = 0; i < 2; i++) {
		send_to(0, bed.g[1].mac, type[i], 0);
		send_to(0, bed_broadcast, type[i], 0);
	}
	silent(1);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	assert_int_equal(bed.g[0].state->counters.tx_dropped, 4);
	bed_deinit(&bed);
}

/* With VLAN 0 and trust tags are payload: to others with VLAN 0 and the uplink, never to a port of that VLAN. */
static void tagged_frames_of_a_trunk_pass_as_they_are(void **state)
{
	static const uint16_t vlan[] = { 0, 0, 5 };
	uint8_t frame[100], got[VG_FRAME_MAX];
	struct virtio_net_hdr_mrg_rxbuf hdr;

	(void)state;
	setup(3, vlan, WIRE_PORT_TRUST);
	for (unsigned int to = 1; to < 3; to++) {
		bed_frame(frame, sizeof(frame), bed.g[to].mac, bed.g[0].mac, 0x8100, 3);
		memcpy(frame + 14, "\x00\x05\x88\xb5", 4);
		vguest_send(&bed.g[0], 0, frame, sizeof(frame), NULL, VG_ONE);
		bed_turn(&bed, 0);
		silent(2);
		if (to == 1)
			assert_int_equal(vguest_receive(&bed.g[1], 0, got, &hdr), 100);
		else
			assert_int_equal(bed_outside(&bed, got, NULL), 100);
		assert_memory_equal(got, frame, 100);
	}
	bed_deinit(&bed);
}

static void from_outside(const uint8_t *dst, uint16_t type, uint16_t tag)
{
	uint8_t frame[100];

	bed_frame(frame, sizeof(frame), dst, bed_stranger, type, 4);
	if (type == 0x8100) {
		frame[14] = (uint8_t)(tag >> 8);
		frame[15] = (uint8_t)tag;
		frame[16] = TYPE >> 8;
		frame[17] = TYPE & 0xff;
	}
	bed_from_outside(&bed, frame, sizeof(frame), NULL);
	bed_turn(&bed, 0);
}

static void uplink_frames_find_port_by_mac_and_vlan(void **state)
{
	static const uint16_t vlan[] = { 0, 5, 6 };
	struct virtio_net_hdr_mrg_rxbuf hdr;

	(void)state;
	setup(3, vlan, WIRE_PORT_TRUST);
	from_outside(bed.g[0].mac, TYPE, 0);
	arrives(0, 4);
	from_outside(bed.g[1].mac, TYPE, 0);
	silent(1);
	/* Priority bits set; the tag is taken off. */
	from_outside(bed.g[1].mac, 0x8100, 0xe005);
	assert_int_equal(vguest_receive(&bed.g[1], 0, out, &hdr), 96);
	assert_memory_equal(out + 12, "\x88\xb5", 2);
	from_outside(bed.g[1].mac, 0x8100, 6);
	silent(1);
	silent(2);
	/* A trunk has tagged frames that nobody claims. */
	from_outside(bed.g[0].mac, 0x8100, 77);
	assert_int_equal(vguest_receive(&bed.g[0], 0, out, &hdr), 100);
	/* Nothing comes back out. */
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	from_outside(bed_stranger, TYPE, 0);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	bed_deinit(&bed);
}

static void uplink_broadcast_reaches_its_vlan(void **state)
{
	static const uint16_t vlan[] = { 0, 5, 6 };
	struct virtio_net_hdr_mrg_rxbuf hdr;

	(void)state;
	setup(3, vlan, WIRE_PORT_TRUST);
	from_outside(bed_broadcast, TYPE, 0);
	arrives(0, 4);
	silent(1);
	silent(2);
	from_outside(bed_broadcast, 0x8100, 5);
	assert_int_equal(vguest_receive(&bed.g[0], 0, out, &hdr), 100);
	assert_int_equal(vguest_receive(&bed.g[1], 0, out, &hdr), 96);
	silent(2);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	bed_deinit(&bed);
}

/* Without trust a port without a VLAN is in none of those that tags name. */
static void tagged_frames_pass_no_untrusted_port(void **state)
{
	static const uint16_t vlan[] = { 0, 0 };

	(void)state;
	setup(2, vlan, 0);
	send_to(0, bed.g[1].mac, 0x8100, 0);
	send_to(0, bed_broadcast, 0x8100, 0);
	silent(1);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	assert_int_equal(bed.g[0].state->counters.tx_dropped, 2);
	from_outside(bed.g[0].mac, 0x8100, 77);
	from_outside(bed_broadcast, 0x8100, 77);
	silent(0);
	silent(1);
	bed_deinit(&bed);
}

static void another_source_is_dropped_where_checked(void **state)
{
	uint8_t frame[100];

	(void)state;
	for (unsigned int check = 0; check < 2; check++) {
		setup(2, NULL, check ? WIRE_PORT_SPOOFCHK : 0);
		bed_frame(frame, sizeof(frame), bed.g[1].mac, bed_stranger, TYPE, 1);
		vguest_send(&bed.g[0], 0, frame, sizeof(frame), NULL, VG_ONE);
		bed_frame(frame, sizeof(frame), bed.g[1].mac, bed.g[0].mac, TYPE, 2);
		vguest_send(&bed.g[0], 0, frame, sizeof(frame), NULL, VG_ONE);
		bed_turn(&bed, 0);
		if (!check)
			assert_true(bed_receive(&bed, 1, NULL) > 0);
		arrives(1, 2);
		assert_int_equal(bed.g[0].state->counters.tx_spoofed, check);
		assert_int_equal(vguest_reap(&bed.g[0], 0), 2);
		bed_deinit(&bed);
	}
}

static void a_stopped_port_does_not_claim_its_mac(void **state)
{
	(void)state;
	setup(2, NULL, 0);
	bed_set(&bed, 1, false);
	send_to(0, bed.g[1].mac, TYPE, 1);
	assert_int_equal(bed_outside(&bed, out, NULL), 100);
	from_outside(bed.g[1].mac, TYPE, 0);
	from_outside(bed_broadcast, TYPE, 0);
	assert_int_equal(bed_receive(&bed, 1, NULL), 0);
	assert_int_equal(bed.g[1].ring[0].used->idx, 0);
	bed_set(&bed, 1, true);
	send_to(0, bed.g[1].mac, TYPE, 2);
	arrives(1, 2);
	engine_port_del(bed.e, 1);
	send_to(0, bed.g[1].mac, TYPE, 1);
	assert_int_equal(bed_outside(&bed, out, NULL), 100);
	bed_deinit(&bed);
}

/* A port that breaks while another is set up is left as well: the next turn sees to it. */
static void a_port_broken_meanwhile_is_left(void **state)
{
	(void)state;
	setup(3, NULL, 0);
	port_break(bed.e, bed.e->port[1], "for a test");
	bed_set(&bed, 0, true);
	bed_turn(&bed, 0);
	assert_false(bed.e->port[1]->ring[0].running);
	assert_false(bed.e->port[1]->ring[1].polled);
	send_to(0, bed.g[2].mac, 0x88b5, 7);
	arrives(2, 7);
	bed_deinit(&bed);
}

static void moved_guests_are_announced(void **state)
{
	static const uint16_t vlan[] = { 12 };

	(void)state;
	setup(1, vlan, WIRE_PORT_ANNOUNCE);
	assert_int_equal(bed_outside(&bed, out, NULL), 64);
	assert_memory_equal(out, bed_broadcast, 6);
	assert_memory_equal(out + 6, bed.g[0].mac, 6);
	assert_memory_equal(out + 12, "\x81\x00\x00\x0c\x80\x35\x00\x01\x08\x00\x06\x04\x00\x03",
			    14);
	assert_memory_equal(out + 26, bed.g[0].mac, 6);
	assert_memory_equal(out + 36, bed.g[0].mac, 6);
	/* Not with each configuration while it runs. */
	bed_set(&bed, 0, true);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	bed_set(&bed, 0, false);
	bed_set(&bed, 0, true);
	assert_int_equal(bed_outside(&bed, out, NULL), 64);
	bed_deinit(&bed);
}

/* Five times, each pause longer than the last; a new configuration in between changes nothing. */
static void moved_guests_are_announced_again(void **state)
{
	static const uint64_t ms = 1000000;
	static const unsigned int pause[] = { 50, 150, 250, 350 };

	(void)state;
	setup(1, NULL, WIRE_PORT_ANNOUNCE);
	assert_int_equal(bed_outside(&bed, out, NULL), 60);
	for (size_t i = 0; i < ARRAY_SIZE(pause); i++) {
		assert_int_equal(announce_timeout(bed.e, bed.e->now), pause[i]);
		bed_turn(&bed, (pause[i] - 1) * ms);
		assert_int_equal(bed_outside(&bed, out, NULL), 0);
		bed_set(&bed, 0, true);
		bed_turn(&bed, ms);
		assert_int_equal(bed_outside(&bed, out, NULL), 60);
		assert_memory_equal(out + 6, bed.g[0].mac, 6);
	}
	assert_int_equal(announce_timeout(bed.e, bed.e->now), -1);
	bed_turn(&bed, 10000 * ms);
	assert_int_equal(bed_outside(&bed, out, NULL), 0);
	/* One that stops or goes is not announced any more. */
	for (unsigned int i = 0; i < 2; i++) {
		bed_set(&bed, 0, false);
		bed_set(&bed, 0, true);
		assert_int_equal(bed_outside(&bed, out, NULL), 60);
		if (i == 0)
			bed_set(&bed, 0, false);
		else
			engine_port_del(bed.e, 0);
		bed_turn(&bed, 50 * ms);
		bed_turn(&bed, 1000 * ms);
		assert_int_equal(bed_outside(&bed, out, NULL), 0);
		assert_int_equal(announce_timeout(bed.e, bed.e->now), -1);
	}
	bed_deinit(&bed);
}

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

static void bad_configurations_leave_the_port_off(void **state)
{
	struct wire_port_set m;
	int fds[3 + 2 * DP_RINGS_MAX];

	(void)state;
	for (unsigned int i = 0; i < 8; i++) {
		const char *reason = NULL;
		size_t n;

		setup(2, NULL, 0);
		n = vguest_config(&bed.g[1], true, &m, fds);
		switch (i) {
		case 0:
			m.ring[0].size = 63;
			break;
		case 1:
			m.ring[0].used = VG_UVA + bed.g[1].mem_size - 8;
			break;
		case 2:
			m.ring[1].desc += 8;
			break;
		case 3:
			m.region[0].size += 1 << 20;
			break;
		case 4:
			m.region[0].gpa = UINT64_MAX - 10;
			break;
		case 5:
			m.vlan = 4095;
			break;
		case 6:
			m.call_mask |= 1u << 5;
			m.ring[5] = m.ring[1];
			m.n_rings = 6;
			break;
		default:
			bed.g[1].state->ring[1].used_pos = 100;
		}
		assert_true(engine_port_set(bed.e, &m, fds, n, &reason) < 0);
		assert_non_null(reason);
		assert_null(engine_ring(bed.e, 1, 0));
		send_to(0, bed.g[1].mac, TYPE, 1);
		assert_int_equal(bed_outside(&bed, out, NULL), 100);
		bed_deinit(&bed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unicast_goes_to_its_port_only),
		cmocka_unit_test(unknown_goes_to_the_uplink_only),
		cmocka_unit_test(own_address_goes_nowhere),
		cmocka_unit_test(a_standby_follows_its_guest),
		cmocka_unit_test(a_standby_is_told_to_be_away),
		cmocka_unit_test(frames_of_our_own_from_outside_are_dropped),
		cmocka_unit_test(a_guest_without_its_vf_is_announced),
		cmocka_unit_test(broadcast_stays_on_its_vlan),
		cmocka_unit_test(vlans_do_not_meet),
		cmocka_unit_test(tagged_frames_of_an_access_port_are_dropped),
		cmocka_unit_test(tagged_frames_of_a_trunk_pass_as_they_are),
		cmocka_unit_test(uplink_frames_find_port_by_mac_and_vlan),
		cmocka_unit_test(uplink_broadcast_reaches_its_vlan),
		cmocka_unit_test(tagged_frames_pass_no_untrusted_port),
		cmocka_unit_test(another_source_is_dropped_where_checked),
		cmocka_unit_test(a_stopped_port_does_not_claim_its_mac),
		cmocka_unit_test(a_port_broken_meanwhile_is_left),
		cmocka_unit_test(moved_guests_are_announced),
		cmocka_unit_test(moved_guests_are_announced_again),
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
		cmocka_unit_test(bad_configurations_leave_the_port_off),
	};

	return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
