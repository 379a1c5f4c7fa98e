/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/uplink/packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_packet.h>

#include "base/sock.h"
#include "datapath/forward/frame.h"

int packet_prepare(int fd, const char **reason)
{
	int r = fd_set_nonblock(fd, true);

	if (r < 0)
		*reason = "the uplink's packet socket cannot be made non-blocking";
	return r;
}

static uint16_t add_tag(uint16_t n)
{
	return n ? (uint16_t)(n + VLAN_TAG) : 0;
}

uint8_t *packet_put_tag(uint8_t *start, uint16_t type, uint16_t tci)
{
	uint8_t *to = start - VLAN_TAG, *tag = to + PACKET_HDR + 12;
	struct virtio_net_hdr hdr;

	memcpy(&hdr, start, sizeof(hdr));
	hdr.csum_start = add_tag(hdr.csum_start);
	hdr.hdr_len = add_tag(hdr.hdr_len);
	memmove(to + PACKET_HDR, start + PACKET_HDR, 12);
	memcpy(to, &hdr, sizeof(hdr));
	tag[0] = (uint8_t)(type >> 8);
	tag[1] = (uint8_t)type;
	tag[2] = (uint8_t)(tci >> 8);
	tag[3] = (uint8_t)tci;
	return to;
}

/* The tag that the kernel took out; false: none. packet(7) */
static bool tag_of(struct msghdr *msg, uint16_t *ret_type, uint16_t *ret_tci)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA ||
		    c->cmsg_len < CMSG_LEN(sizeof(aux)))
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			return false;
		*ret_tci = aux.tp_vlan_tci;
		*ret_type = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid
								      : ETHERTYPE_VLAN;
		return true;
	}
	return false;
}

ssize_t packet_read(int fd, uint8_t *buf, size_t size, uint8_t **ret_start)
{
	union {
		struct cmsghdr align;
		char data[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	uint8_t *start = buf + VLAN_TAG;
	struct iovec iov = { .iov_base = start, .iov_len = size - VLAN_TAG };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	uint16_t type, tci;
	ssize_t n;

	do {
		n = recvmsg(fd, &msg, 0);
	} while (n < 0 && errno == EINTR);
	/* EINVAL: merged on receive in a way that the header has no word for, and gone. */
	if (n < 0)
		return errno == EINVAL ? -EBADMSG : 0;
	if (msg.msg_flags & MSG_TRUNC || n < PACKET_HDR + ETH_HEADER)
		return -EBADMSG;
	if (tag_of(&msg, &type, &tci)) {
		start = packet_put_tag(start, type, tci);
		n += VLAN_TAG;
	}
	*ret_start = start;
	return n;
}
