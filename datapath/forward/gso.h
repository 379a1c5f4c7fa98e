/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP segmentation in software, for receivers that did not ask for large frames. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_net.h>

/**
 * struct gso - a large frame on its way to being cut
 * @segments: how many it makes
 */
struct gso {
	const uint8_t *frame;
	uint32_t len;
	uint32_t ip, tcp, data; /* offsets of the headers and of the payload */
	uint32_t at; /* payload sent so far, as an offset */
	uint32_t segments, n;
	uint16_t size;
	bool v6;
};

/**
 * gso_begin() - look at a frame that @hdr says is to be cut
 * @frame: in one private piece; must stay until the last segment
 * Everything is checked against the frame: header lengths, protocol, gso_size. csum_start must be where
 * the TCP header is, within the first few hundred bytes. One 802.1Q tag may stand before the IP header.
 * Return: 0, or -EINVAL where it cannot be cut.
 */
int gso_begin(struct gso *g, const uint8_t *frame, uint32_t len, const struct virtio_net_hdr *hdr);

/**
 * gso_next() - make the next segment at @out, all its checksums complete
 * Return: its length; 0 after the last, or where @room is too small.
 */
uint32_t gso_next(struct gso *g, uint8_t *out, uint32_t room);
