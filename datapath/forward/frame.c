/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/frame.h"

#include <string.h>

#include "datapath/ring/copy.h"

#define FEATURE(n) (UINT64_C(1) << (n))

bool frame_load_scattered(struct frame *f, struct piece *piece, unsigned int n, uint32_t total,
			  unsigned int hdr_len)
{
	struct cursor c = { .piece = piece, .n = n };
	uint32_t skip = hdr_len + ETH_HEADER;
	uint8_t head[12 + ETH_HEADER];

	if (total < skip || total - hdr_len > FRAME_LEN_MAX)
		return false;
	cursor_read(&c, head, skip);
	memcpy(&f->hdr, head, sizeof(f->hdr));
	frame_get_l2(f, head + hdr_len);
	f->len = total - hdr_len;
	f->n = (uint16_t)c.n;
	f->body = (struct piece *)c.piece;
	if (c.n > 0) {
		f->body->va += c.off;
		f->body->gpa += c.off;
		f->body->len -= c.off;
	}
	return true;
}

static uint64_t feature_of_gso(uint8_t type)
{
	uint64_t ecn = type & VIRTIO_NET_HDR_GSO_ECN ? FEATURE(VIRTIO_NET_F_HOST_ECN) : 0;

	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return ecn | FEATURE(VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return ecn | FEATURE(VIRTIO_NET_F_HOST_TSO6);
	default:
		return UINT64_MAX;
	}
}

bool frame_check_offload_asked(struct frame *f, uint64_t features)
{
	struct virtio_net_hdr *h = &f->hdr;

	if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || !(features & FEATURE(VIRTIO_NET_F_CSUM)))
		return false;
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	/* A tag put in moves csum_start; it must not come round to the Ethernet header, which was checked. */
	if (h->csum_start < ETH_HEADER || h->csum_start > UINT16_MAX - VLAN_TAG ||
	    (uint32_t)h->csum_start + h->csum_offset + 2 > f->len)
		return false;
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		h->gso_size = 0;
		h->hdr_len = 0;
		return true;
	}
	if (feature_of_gso(h->gso_type) & ~features)
		return false;
	/* A hint by the standard; a receiver that believes it shall at least find it within the frame. */
	if (h->hdr_len > f->len)
		h->hdr_len = (uint16_t)f->len;
	return h->gso_size > 0;
}

int frame_tag(const struct frame *f)
{
	struct cursor c = { .piece = f->body, .n = f->n };
	uint8_t tag[VLAN_TAG];

	if (cursor_read(&c, tag, sizeof(tag)) != sizeof(tag))
		return -1;
	return (tag[0] << 8 | tag[1]) & 0xfff;
}

static uint16_t less_tag(uint16_t n)
{
	return n >= VLAN_TAG ? (uint16_t)(n - VLAN_TAG) : n;
}

bool frame_untag(const struct frame *f, struct frame *ret, struct piece *body)
{
	struct cursor c = { .piece = f->body, .n = f->n };
	uint8_t tag[VLAN_TAG];

	if (cursor_read(&c, tag, sizeof(tag)) != sizeof(tag))
		return false;
	if ((f->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	    f->hdr.csum_start < ETH_HEADER + VLAN_TAG)
		return false;
	*ret = *f;
	frame_set_type(ret, (uint16_t)(tag[2] << 8 | tag[3]));
	ret->len -= VLAN_TAG;
	ret->hdr.csum_start = less_tag(f->hdr.csum_start);
	ret->hdr.hdr_len = less_tag(f->hdr.hdr_len);
	ret->n = (uint16_t)c.n;
	ret->body = body;
	memcpy(body, c.piece, c.n * sizeof(*body));
	if (c.n > 0) {
		body->va += c.off;
		body->gpa += c.off;
		body->len -= c.off;
	}
	return true;
}
