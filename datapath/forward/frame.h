/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A frame on its way: where its parts lie, and private copies of what decisions are made on. A guest can
 * rewrite a frame while we look at it; its Ethernet header and virtio-net header are therefore taken once,
 * and what is delivered are these copies, never the originals.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

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
 * @l2: destination, source, type
 * @vlan: the VLAN it belongs to
 * @len: bytes with @l2
 * @body: what follows @l2, @n pieces
 */
struct frame {
	struct ring *src;
	uint16_t pos;
	uint16_t progress;
	uint16_t vlan;
	uint16_t n;
	uint32_t len;
	struct piece *body;
	struct virtio_net_hdr hdr;
	uint8_t l2[ETH_HEADER];
};

static inline uint16_t frame_type(const struct frame *f)
{
	return (uint16_t)(f->l2[12] << 8 | f->l2[13]);
}

static inline bool frame_tagged(const struct frame *f)
{
	return frame_type(f) == ETHERTYPE_VLAN || frame_type(f) == ETHERTYPE_QINQ;
}

static inline bool frame_multicast(const struct frame *f)
{
	return f->l2[0] & 1;
}

static inline uint64_t mac_number(const uint8_t mac[6])
{
	uint32_t high;
	uint16_t low;

	memcpy(&high, mac, 4);
	memcpy(&low, mac + 4, 2);
	return (uint64_t)low << 32 | high;
}

/**
 * frame_load() - make a frame of a chain
 * @piece: its pieces, which the frame uses and changes from here on
 * @total: bytes in them
 * @hdr_len: of the virtio-net header, 10 or 12
 * Return: false where it is too short or too long to be a frame.
 */
bool frame_load(struct frame *f, struct piece *piece, unsigned int n, uint32_t total,
		unsigned int hdr_len);

/**
 * frame_check_offload() - is what the header asks for possible, and allowed by @features?
 * @features: VIRTIO_NET_F_HOST_… as negotiated by a sending guest
 * Takes out what a guest has no say in (DATA_VALID). virtio 1.2, 5.1.6.2.
 */
bool frame_check_offload(struct frame *f, uint64_t features);

/* The VLAN of the 802.1Q tag that @f carries in its body; -1: not readable. */
int frame_tag(const struct frame *f);

/**
 * frame_untag() - @f without its 802.1Q tag
 * @ret, @body: the copy and room for its pieces (f->n of them)
 * Return: false where there is no whole tag.
 */
bool frame_untag(const struct frame *f, struct frame *ret, struct piece *body);
