/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A frame on its way: where its parts lie, and private copies of what decisions are made on. A guest can
 * rewrite a frame while we look at it; its Ethernet header and virtio-net header are therefore taken once,
 * and what is delivered are these copies, never the originals.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "datapath/ring/split.h"

#define ETH_HEADER    14
#define VLAN_TAG      4
#define FRAME_LEN_MAX (65535 + ETH_HEADER + VLAN_TAG)

#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8

struct ring;

/**
 * struct frame
 * @src: the ring that it came from, entry @pos; NULL: it came from the uplink
 * @progress: see slot_state
 * @hdr: virtio-net header, checked
 * @offload: @hdr asks for something or says something; else it is all zero
 * @l2_head, @l2_tail: the Ethernet header: bytes 0 to 7, and 6 to 13, as two registers hold them. Where
 *	they overlap, @l2_tail counts
 * @dst: the receiver's ring, where one was chosen
 * @vlan: the VLAN it belongs to
 * @len: bytes with the Ethernet header
 * @body: what follows it, @n pieces
 */
struct frame {
	struct ring *src;
	uint16_t pos;
	uint16_t progress;
	uint16_t vlan;
	uint16_t n;
	uint32_t len;
	struct piece *body;
	uint64_t l2_head, l2_tail;
	struct ring *dst;
	struct virtio_net_hdr hdr;
	bool offload;
};

#define MAC_MASK UINT64_C(0xffffffffffff)

static inline uint16_t frame_type(const struct frame *f)
{
	return __builtin_bswap16((uint16_t)(f->l2_tail >> 48));
}

static inline void frame_set_type(struct frame *f, uint16_t type)
{
	f->l2_tail = (f->l2_tail & MAC_MASK) | (uint64_t)__builtin_bswap16(type) << 48;
}

/* MACs as by mac_number(). */
static inline uint64_t frame_dst(const struct frame *f)
{
	return f->l2_head & MAC_MASK;
}

static inline uint64_t frame_src(const struct frame *f)
{
	return f->l2_tail & MAC_MASK;
}

static inline void frame_put_l2(const struct frame *f, uint8_t *to)
{
	memcpy(to, &f->l2_head, 8);
	memcpy(to + 6, &f->l2_tail, 8);
}

/* Loaded once: see split_desc() for the empty asm. */
static inline void frame_get_l2(struct frame *f, const uint8_t *from)
{
	uint64_t head, tail;

	memcpy(&head, from, 8);
	memcpy(&tail, from + 6, 8);
	__asm__("" : "+r"(head), "+r"(tail));
	f->l2_head = head;
	f->l2_tail = tail;
}

static inline bool frame_tagged(const struct frame *f)
{
	return frame_type(f) == ETHERTYPE_VLAN || frame_type(f) == ETHERTYPE_QINQ;
}

static inline bool frame_multicast(const struct frame *f)
{
	return f->l2_head & 1;
}

static inline uint64_t mac_number(const uint8_t mac[6])
{
	uint32_t high;
	uint16_t low;

	memcpy(&high, mac, 4);
	memcpy(&low, mac + 4, 2);
	return (uint64_t)low << 32 | high;
}

bool frame_load_scattered(struct frame *f, struct piece *piece, unsigned int n, uint32_t total,
			  unsigned int hdr_len);

/**
 * frame_load() - make a frame of a chain
 * @piece: its pieces, which the frame uses and changes from here on
 * @total: bytes in them
 * @hdr_len: of the virtio-net header, 10 or 12
 * Return: false where it is too short or too long to be a frame.
 */
static inline bool frame_load(struct frame *f, struct piece *piece, unsigned int n, uint32_t total,
			      unsigned int hdr_len)
{
	uint32_t skip = hdr_len + ETH_HEADER;
	uint64_t low;
	uint16_t high;

	if (__builtin_expect(piece->len <= skip || total - hdr_len > FRAME_LEN_MAX, 0))
		return frame_load_scattered(f, piece, n, total, hdr_len);
	memcpy(&low, piece->va, 8);
	memcpy(&high, piece->va + 8, 2);
	__asm__("" : "+r"(low), "+r"(high));
	memcpy(&f->hdr, &low, 8);
	memcpy((uint8_t *)&f->hdr + 8, &high, 2);
	frame_get_l2(f, piece->va + hdr_len);
	f->len = total - hdr_len;
	f->body = piece;
	f->n = (uint16_t)n;
	piece->va += skip;
	piece->gpa += skip;
	piece->len -= skip;
	return true;
}

/**
 * frame_check_offload() - is what the header asks for possible, and allowed by @features?
 * @features: VIRTIO_NET_F_HOST_… as negotiated by a sending guest
 * Takes out what a guest has no say in (DATA_VALID). virtio 1.2, 5.1.6.2.
 */
bool frame_check_offload_asked(struct frame *f, uint64_t features);

static inline bool frame_check_offload(struct frame *f, uint64_t features)
{
	/* What most frames say is nothing. */
	f->offload = f->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE ||
		     (f->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
	if (__builtin_expect(!f->offload, 1)) {
		f->hdr = (struct virtio_net_hdr){ 0 };
		return true;
	}
	return frame_check_offload_asked(f, features);
}

/* The VLAN of the 802.1Q tag that @f carries in its body; -1: not readable. */
int frame_tag(const struct frame *f);

/**
 * frame_untag() - @f without its 802.1Q tag
 * @ret, @body: the copy and room for its pieces (f->n of them)
 * Return: false where there is no whole tag.
 */
bool frame_untag(const struct frame *f, struct frame *ret, struct piece *body);
