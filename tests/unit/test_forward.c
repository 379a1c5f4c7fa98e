/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where frames go, and what the uplink sees of it. What happens to them on the way: test_forward_frames.c */
#include "tests/unit/unit.h"

#include <string.h>

#include "base/str.h"
#include "datapath/forward/announce.h"
#include "datapath/forward/deliver.h"
#include "tests/unit/forward_bed.h"

static uint8_t out[VG_FRAME_MAX];

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
		cmocka_unit_test(bad_configurations_leave_the_port_off),
	};

	return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
