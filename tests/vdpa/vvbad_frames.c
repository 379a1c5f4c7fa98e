// SPDX-License-Identifier: GPL-2.0-or-later
/* Hostile frames and virtio-net headers, and commands of the control queue. See vvbad.h. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/vdpa/vvbad.h"

static struct virtio_net_hdr_v1 *header(struct bed *b)
{
	return (struct virtio_net_hdr_v1 *)(b->bad.spare + DATA(64));
}

static int with_length(struct bed *b, uint32_t len)
{
	bad_frame(b, 1000);
	return bad_piece(b, spare_at(b, DATA(64)), len, false);
}

static int too_short(struct bed *b)
{
	return with_length(b, VV_HDR + 13);
}

static int header_alone(struct bed *b)
{
	return with_length(b, VV_HDR);
}

static int shorter_than_header(struct bed *b)
{
	return with_length(b, 5);
}

static int too_long(struct bed *b)
{
	return with_length(b, 100000);
}

/* An IPv4 and TCP frame of @len bytes in all, of which the rest is zeros. */
static struct virtio_net_hdr_v1 *tcp(struct bed *b, size_t len)
{
	uint8_t *f = bad_frame(b, len < 1000 ? len : 1000) + VV_HDR, *ip = f + 14;

	f[12] = 8;
	f[13] = 0;
	memset(ip, 0, 986);
	ip[0] = 0x45;
	ip[2] = (uint8_t)((len - 14) >> 8);
	ip[3] = (uint8_t)(len - 14);
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, (uint8_t[]){ 10, 1, 0, 1, 10, 1, 0, 2 }, 8);
	ip[32] = 0x50;
	return header(b);
}

static int gso(struct bed *b, uint8_t flags, uint8_t type, uint16_t size, uint16_t hdr_len,
	       size_t len)
{
	struct virtio_net_hdr_v1 *h = tcp(b, len);

	h->flags = flags;
	h->gso_type = type;
	h->gso_size = size;
	h->hdr_len = hdr_len;
	h->csum_start = 34;
	h->csum_offset = 16;
	return bad_send(b, len);
}

static int csum(struct bed *b, uint16_t start, uint16_t offset)
{
	struct virtio_net_hdr_v1 *h = tcp(b, 200);

	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = start;
	h->csum_offset = offset;
	return bad_send(b, 200);
}

static int csum_start(struct bed *b)
{
	return csum(b, 0xffff, 16);
}

static int csum_offset(struct bed *b)
{
	return csum(b, 34, 0xffff);
}

static int csum_half_outside(struct bed *b)
{
	return csum(b, 100, 99);
}

static int gso_without_csum(struct bed *b)
{
	return gso(b, 0, VIRTIO_NET_HDR_GSO_TCPV4, 500, 54, 3000);
}

static int gso_size_0(struct bed *b)
{
	return gso(b, 1, VIRTIO_NET_HDR_GSO_TCPV4, 0, 54, 3000);
}

static int gso_size_1(struct bed *b)
{
	return gso(b, 1, VIRTIO_NET_HDR_GSO_TCPV4, 1, 54, 60000);
}

/* One segment, says the header: a plain frame of 60,000 bytes for the NIC. */
static int gso_one_segment(struct bed *b)
{
	return gso(b, 1, VIRTIO_NET_HDR_GSO_TCPV4, 65000, 54, 60000);
}

static int gso_long_segments(struct bed *b)
{
	return gso(b, 1, VIRTIO_NET_HDR_GSO_TCPV4, 20000, 54, 60000);
}

static int gso_unknown(struct bed *b)
{
	return gso(b, 1, 77, 500, 54, 3000);
}

static int gso_hdr_len(struct bed *b)
{
	return gso(b, 1, VIRTIO_NET_HDR_GSO_TCPV4, 500, 0xffff, 3000);
}

static int gso_not_tcp(struct bed *b)
{
	struct virtio_net_hdr_v1 *h = header(b);

	bad_frame(b, 900);
	h->flags = 1;
	h->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	h->gso_size = 100;
	h->csum_start = 34;
	h->csum_offset = 16;
	return bad_send(b, 900);
}

static int gso_broadcast(struct bed *b)
{
	struct virtio_net_hdr_v1 *h = tcp(b, 3000);

	memset(b->bad.spare + DATA(64) + VV_HDR, 0xff, 6);
	h->flags = 1;
	h->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	h->gso_size = 500;
	h->csum_start = 34;
	h->csum_offset = 16;
	return bad_send(b, 3000);
}

static int not_negotiated(struct bed *b)
{
	return gso(b, 1, VIRTIO_NET_HDR_GSO_TCPV4, 500, 54, 3000);
}

static int foreign_source(struct bed *b)
{
	memcpy(bad_frame(b, 200) + VV_HDR + 6, (uint8_t[]){ 0x52, 0x54, 0, 0xba, 0xdb, 0xad }, 6);
	return bad_send(b, 200);
}

static int group_source(struct bed *b)
{
	memset(bad_frame(b, 200) + VV_HDR + 6, 0xff, 6);
	return bad_send(b, 200);
}

static int foreign_vlan(struct bed *b)
{
	vv_frame_make(bad_frame(b, 200) + VV_HDR, b->peer->mac, b->bad.mac, 99, 0xbad, 0, 200);
	return bad_send(b, 200);
}

/* ---- the control queue ---- */

/* 0 where the command is refused. */
static int refused(struct bed *b, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	int r = vv_ctrl(&b->bad, class, cmd, data, len);

	return r == VIRTIO_NET_ERR ? 0
	       : r < 0		   ? r
				   : vv_say(-EPROTO, "command %u/%u is accepted", class, cmd);
}

static int ctrl_unknown(struct bed *b)
{
	return refused(b, 77, 77, "x", 1);
}

static int ctrl_truncated(struct bed *b)
{
	return refused(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "abc", 3);
}

static int ctrl_table_overflows(struct bed *b)
{
	uint8_t t[20] = { 0xff, 0xff, 0xff, 0xff };

	return refused(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, sizeof(t))
		       ?: refused(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
				  (uint8_t[]){ 2, 0, 0, 0, 1, 2, 3 }, 7);
}

static int ctrl_pairs(struct bed *b)
{
	return refused(b, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\0", 2)
		       ?: refused(b, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
				  "\xff\xff", 2);
}

static int ctrl_vlan(struct bed *b)
{
	return refused(b, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\xff\xff", 2)
		       ?: refused(b, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\x63\0", 2);
}

static int ctrl_macs(struct bed *b)
{
	return refused(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\0\0\0\0\0\0", 6) ?:
	       refused(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\xff\xff\xff\xff\xff\xff", 6) ?:
	       refused(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\x52\x54\0\xba\xdb\xad", 6) ?:
	       refused(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, b->near.mac, 6);
}

/* No unicast address, and one group that is none. */
static int ctrl_groups(struct bed *b)
{
	return refused(b, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
		       "\0\0\0\0\1\0\0\0\x52\x54\0\xba\xdb\xad", 14);
}

static int ctrl_promisc(struct bed *b)
{
	return refused(b, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1);
}

/* A command whose parts are not as they should be: whatever, but no harm. */
static int ctrl_chain(struct bed *b, uint32_t out, uint32_t in)
{
	struct vv_piece p[2];
	uint16_t n = 0;

	if (out)
		p[n++] = (struct vv_piece){ spare_at(b, 0), out, false };
	if (in)
		p[n++] = (struct vv_piece){ spare_at(b, DATA(128)), in, true };
	bad_chain(b, b->bad.ctrl, p, n, false);
	usleep(50000);
	return 0;
}

static int ctrl_no_answer(struct bed *b)
{
	return ctrl_chain(b, 8, 0);
}

static int ctrl_no_command(struct bed *b)
{
	return ctrl_chain(b, 0, 1);
}

static int ctrl_1_byte(struct bed *b)
{
	return ctrl_chain(b, 1, 1);
}

static int ctrl_400_kib(struct bed *b)
{
	return ctrl_chain(b, 400 << 10, 1);
}

static int ctrl_flood(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[b->bad.ctrl];
	struct vv_piece p[2] = { { spare_at(b, 0), 3, false }, { spare_at(b, DATA(1)), 1, true } };
	uint32_t len;
	uint16_t id;
	int i;

	for (i = 0; i < 3000; i++) {
		vv_add(&b->bad, r, p, 2, false);
		vv_kick_always(r);
		while (vv_used(r, &id, &len) > 0)
			;
	}
	/* The neighbours are asked afterwards. */
	return 0;
}

static int ctrl_broken_ring(struct bed *b)
{
	return bad_desc(b, b->bad.ctrl, 0x1000, 100, 0, 0);
}

const struct row frame_rows[] = {
	{ "frame-too-short", 0, REFUSED, too_short },
	{ "frame-header-alone", 0, REFUSED, header_alone },
	{ "frame-shorter-than-header", 0, REFUSED, shorter_than_header },
	{ "frame-too-long", 0, REFUSED, too_long },
	{ "frame-csum-start-extreme", OFFLOADS, REFUSED, csum_start },
	{ "frame-csum-offset-extreme", OFFLOADS, REFUSED, csum_offset },
	{ "frame-csum-half-outside", OFFLOADS, REFUSED, csum_half_outside },
	{ "frame-gso-without-csum", OFFLOADS, REFUSED, gso_without_csum },
	{ "frame-gso-size-0", OFFLOADS, REFUSED, gso_size_0 },
	{ "frame-gso-size-1", OFFLOADS, REFUSED, gso_size_1 },
	{ "frame-gso-of-one-segment", OFFLOADS, REFUSED, gso_one_segment },
	{ "frame-gso-segments-too-long", OFFLOADS, REFUSED, gso_long_segments },
	{ "frame-gso-unknown", OFFLOADS, REFUSED, gso_unknown },
	{ "frame-gso-hdr-len-extreme", OFFLOADS, ANY, gso_hdr_len },
	{ "frame-gso-of-no-tcp", OFFLOADS, REFUSED, gso_not_tcp },
	{ "frame-gso-of-a-broadcast", OFFLOADS, ANY, gso_broadcast },
	{ "frame-gso-not-negotiated", 0, REFUSED, not_negotiated },
	{ "frame-foreign-source", 0, REFUSED, foreign_source },
	{ "frame-group-source", 0, REFUSED, group_source },
	{ "frame-foreign-vlan", 0, REFUSED, foreign_vlan },
	{ "control-unknown", CTRL, ERROR, ctrl_unknown },
	{ "control-truncated", CTRL | NO_SIM, ERROR, ctrl_truncated },
	{ "control-table-overflows", CTRL | NO_SIM, ERROR, ctrl_table_overflows },
	{ "control-pairs", CTRL | NO_SIM, ERROR, ctrl_pairs },
	{ "control-vlan", CTRL | NO_SIM, ERROR, ctrl_vlan },
	{ "control-macs", CTRL | NO_SIM, ERROR, ctrl_macs },
	{ "control-groups", CTRL | NO_SIM, ERROR, ctrl_groups },
	{ "control-promisc", CTRL | NO_SIM, ERROR, ctrl_promisc },
	{ "control-no-room-for-an-answer", CTRL, ANY, ctrl_no_answer },
	{ "control-no-command", CTRL | NO_SIM, ANY, ctrl_no_command },
	{ "control-1-byte", CTRL | NO_SIM, ANY, ctrl_1_byte },
	{ "control-400-kib", CTRL, ANY, ctrl_400_kib },
	{ "control-flood", CTRL, ANY, ctrl_flood },
	{ "control-ring-outside", CTRL, RESET, ctrl_broken_ring },
	{ NULL, 0, 0, NULL },
};
