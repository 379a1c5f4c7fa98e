/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a packet socket gives, as far as that needs no netdev: any datagram socket is read like one. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/packet.h"
#include "base/sock.h"
#include "datapath/uplink/packet.h"
#include "datapath/uplink/uplink.h"

#define FRAME 60

static const uint8_t macs[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

static void tag(void **state)
{
	uint8_t buf[VLAN_TAG + PACKET_HDR + FRAME] = { 0 }, *start = buf + VLAN_TAG;
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .csum_start = 34,
				      .csum_offset = 16 };

	(void)state;
	memcpy(start, &hdr, sizeof(hdr));
	memcpy(start + PACKET_HDR, macs, sizeof(macs));
	memcpy(start + PACKET_HDR + 12, "\x08\x00rest", 6);
	start = packet_put_tag(start, 0x8100, 0x6007);
	assert_ptr_equal(start, buf);
	memcpy(&hdr, start, sizeof(hdr));
	assert_int_equal(hdr.csum_start, 38);
	assert_int_equal(hdr.hdr_len, 0);
	assert_memory_equal(start + PACKET_HDR, macs, sizeof(macs));
	assert_memory_equal(start + PACKET_HDR + 12, "\x81\x00\x60\x07\x08\x00rest", 10);
}

static void reads(void **state)
{
	static struct uplink u = { .fd = -1 };
	uint8_t data[PACKET_HDR + FRAME] = { 0 };
	struct piece piece;
	struct frame f;
	int pair[2];

	(void)state;
	memcpy(data + PACKET_HDR, macs, sizeof(macs));
	data[PACKET_HDR + 12] = 0x88;
	data[PACKET_HDR + 13] = 0xb5;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	uplink_set(&u, UPLINK_PACKET, pair[0]);
	assert_int_equal(fd_set_nonblock(pair[0], true), 0);
	assert_int_equal(uplink_read(&u, &f, &piece), 0);
	assert_int_equal(send(pair[1], data, sizeof(data), 0), sizeof(data));
	assert_int_equal(uplink_read(&u, &f, &piece), 1);
	assert_int_equal(f.len, FRAME);
	assert_int_equal(frame_type(&f), 0x88b5);
	assert_int_equal(piece.len, FRAME - ETH_HEADER);
	/* Too short for a header and a frame: skipped, and what follows is read. */
	assert_int_equal(send(pair[1], data, PACKET_HDR + ETH_HEADER - 1, 0),
			 PACKET_HDR + ETH_HEADER - 1);
	assert_int_equal(send(pair[1], data, sizeof(data), 0), sizeof(data));
	assert_int_equal(uplink_read(&u, &f, &piece), -EBADMSG);
	assert_int_equal(uplink_read(&u, &f, &piece), 1);
	uplink_set(&u, UPLINK_TAP, -1);
	assert_int_equal(uplink_read(&u, &f, &piece), 0);
	close(pair[1]);
}

static void writes(void **state)
{
	static struct uplink u = { .fd = -1 };
	uint8_t body[FRAME - ETH_HEADER] = "body", got[100], l2[ETH_HEADER] = { 0 };
	struct piece piece = { .va = body, .len = sizeof(body) };
	struct frame f = { .len = FRAME, .n = 1, .body = &piece };
	uint64_t dropped = 0;
	int pair[2];

	(void)state;
	memcpy(l2, macs, sizeof(macs));
	frame_get_l2(&f, l2);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	uplink_set(&u, UPLINK_PACKET, pair[0]);
	uplink_add(&u, &f, &dropped);
	f.vlan = 7;
	uplink_add(&u, &f, &dropped);
	uplink_flush(&u);
	assert_int_equal(recv(pair[1], got, sizeof(got), 0), PACKET_HDR + FRAME);
	assert_memory_equal(got + PACKET_HDR, macs, sizeof(macs));
	assert_int_equal(recv(pair[1], got, sizeof(got), 0), PACKET_HDR + FRAME + VLAN_TAG);
	assert_memory_equal(got + PACKET_HDR + 12, "\x81\x00\x00\x07", 4);
	/* Nobody there any more: what cannot be sent is counted. */
	close(pair[1]);
	uplink_add(&u, &f, &dropped);
	uplink_flush(&u);
	assert_int_equal(dropped, 1);
	uplink_set(&u, UPLINK_TAP, -1);
}

static void others(void **state)
{
	const char *what = NULL;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	(void)state;
	assert_int_equal(packet_check(fd), -EINVAL);
	assert_int_equal(packet_check(-1), -EINVAL);
	assert_int_equal(packet_open(0, false, &what), -ENODEV);
	assert_non_null(what);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tag),
		cmocka_unit_test(reads),
		cmocka_unit_test(writes),
		cmocka_unit_test(others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
