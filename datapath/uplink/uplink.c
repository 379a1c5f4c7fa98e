/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/uplink/uplink.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "datapath/uplink/packet.h"
#include "datapath/uplink/tap.h"

static uint16_t add_tag(uint16_t n)
{
	return n ? (uint16_t)(n + VLAN_TAG) : 0;
}

void uplink_add(struct uplink *u, const struct frame *f, uint64_t *dropped)
{
	struct uplink_frame *x = &u->batch[u->n];
	struct virtio_net_hdr hdr = f->hdr;
	uint8_t *p = x->head;

	x->dropped = dropped ? dropped : &u->none;
	if (u->fd < 0 || f->n > UPLINK_PIECES) {
		++*x->dropped;
		return;
	}
	if (f->vlan) {
		hdr.csum_start = add_tag(hdr.csum_start);
		hdr.hdr_len = add_tag(hdr.hdr_len);
	}
	memset(p, 0, UPLINK_HDR_MAX);
	memcpy(p, &hdr, sizeof(hdr));
	p += u->hdr_len;
	frame_put_l2(f, p);
	p += ETH_HEADER;
	if (f->vlan) {
		memmove(p + 2, p - 2, 2);
		p[-2] = ETHERTYPE_VLAN >> 8;
		p[-1] = ETHERTYPE_VLAN & 0xff;
		p[0] = (uint8_t)(f->vlan >> 8);
		p[1] = (uint8_t)f->vlan;
		p += VLAN_TAG;
	}
	x->head_len = (uint8_t)(p - x->head);
	x->n = f->n;
	x->body = f->body;
	u->n++;
}

void uplink_flush(struct uplink *u)
{
	struct iovec iov[UPLINK_PIECES + 1];

	for (unsigned int i = 0; i < u->n; i++) {
		const struct uplink_frame *x = &u->batch[i];
		ssize_t r;

		iov[0] = (struct iovec){ .iov_base = (void *)x->head, .iov_len = x->head_len };
		for (unsigned int k = 0; k < x->n; k++)
			iov[k + 1] = (struct iovec){ .iov_base = x->body[k].va,
						     .iov_len = x->body[k].len };
		do {
			r = writev(u->fd, iov, x->n + 1);
		} while (r < 0 && errno == EINTR);
		if (r < 0)
			++*x->dropped;
	}
	u->n = 0;
}

int uplink_read(struct uplink *u, struct frame *f, struct piece *piece)
{
	uint8_t *start = u->buf;
	ssize_t n;

	if (u->fd < 0)
		return 0;
	n = u->kind == UPLINK_PACKET ? packet_read(u->fd, u->buf, sizeof(u->buf), &start)
				     : tap_read(u->fd, u->buf, sizeof(u->buf));
	if (n <= 0)
		return (int)n;
	if (n < u->hdr_len + ETH_HEADER)
		return -EBADMSG;
	*f = (struct frame){ .src = NULL };
	*piece = (struct piece){ .va = start, .len = (uint32_t)n };
	return frame_load(f, piece, 1, (uint32_t)n, u->hdr_len) ? 1 : -EBADMSG;
}

void uplink_set(struct uplink *u, enum uplink_kind kind, int fd)
{
	close_safe(u->fd);
	u->fd = fd;
	u->kind = kind;
	u->hdr_len = kind == UPLINK_PACKET ? PACKET_HDR : TAP_HDR;
}

int uplink_prepare(enum uplink_kind kind, int fd, const char **reason)
{
	switch (kind) {
	case UPLINK_TAP:
		return tap_prepare(fd, reason);
	case UPLINK_PACKET:
		return packet_prepare(fd, reason);
	}
	*reason = "an uplink of unknown kind";
	return -EINVAL;
}

void uplink_announce(struct uplink *u, const uint8_t mac[6], uint16_t vlan)
{
	/* RFC 903: Ethernet, IPv4, request reverse; the rest is MACs and zeros, padded to 60 bytes. */
	uint8_t body[46] = { 0, 1, 8, 0, 6, 4, 0, 3 };
	uint8_t l2[ETH_HEADER] = { [12] = 0x80, [13] = 0x35 };
	struct piece piece = { .va = body, .len = sizeof(body) };
	struct frame f = { .vlan = vlan, .len = ETH_HEADER + sizeof(body), .n = 1, .body = &piece };

	memset(l2, 0xff, 6);
	memcpy(l2 + 6, mac, 6);
	frame_get_l2(&f, l2);
	memcpy(body + 8, mac, 6);
	memcpy(body + 18, mac, 6);
	if (uplink_full(u))
		uplink_flush(u);
	uplink_add(u, &f, NULL);
	uplink_flush(u);
}
