/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The uplink: where frames go that no port takes, and where others come from. A tap on the segment's bridge, or a
 * netdev of the host through a packet socket; either way each frame has a virtio-net header before it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "datapath/forward/frame.h"
#include "datapath/wire.h"

#define UPLINK_BATCH	64
#define UPLINK_HDR_MAX	12
#define UPLINK_PIECES	1000 /* of a frame; Linux takes 1024 in a writev() */
#define UPLINK_BUF_SIZE (UPLINK_HDR_MAX + VLAN_TAG + FRAME_LEN_MAX)

/* A frame to be sent: what stands before its body is made here, the body stays where it is. */
struct uplink_frame {
	uint8_t head[UPLINK_HDR_MAX + ETH_HEADER + VLAN_TAG];
	uint8_t head_len;
	uint16_t n;
	const struct piece *body;
	uint64_t *dropped; /* its sender's counter */
};

/**
 * struct uplink
 * @fd: -1: none
 * @hdr_len: bytes of virtio-net header before each frame
 * @n: frames in @batch
 * @none: where nobody's drops are counted
 * @buf: the frame being received
 */
struct uplink {
	int fd;
	enum uplink_kind kind;
	uint8_t hdr_len;
	unsigned int n;
	uint64_t none;
	struct uplink_frame batch[UPLINK_BATCH];
	uint8_t buf[UPLINK_BUF_SIZE];
};

/**
 * uplink_prepare() - put a descriptor into the state that we work with
 * Return: 0 or a negative errno with @reason set to a sentence.
 */
int uplink_prepare(enum uplink_kind kind, int fd, const char **reason);

/* Another one, or none (@fd -1); the one before is closed. */
void uplink_set(struct uplink *u, enum uplink_kind kind, int fd);

/* No room in the batch: uplink_flush() first. */
static inline bool uplink_full(const struct uplink *u)
{
	return u->n == UPLINK_BATCH;
}

/**
 * uplink_add() - put @f into the batch; its body must stay in place until uplink_flush()
 * A frame of a VLAN gets its 802.1Q tag.
 * @dropped: counted up where it cannot be sent, now or by uplink_flush(); NULL: nobody counts
 */
void uplink_add(struct uplink *u, const struct frame *f, uint64_t *dropped);

/* Write the batch. What it does not take at once is dropped and counted. */
void uplink_flush(struct uplink *u);

/**
 * uplink_read() - the next frame
 * @piece: one, for its body
 * Return: 1; 0: none is there; -EBADMSG: one that was no frame (skipped).
 */
int uplink_read(struct uplink *u, struct frame *f, struct piece *piece);

/* Tell the outside where @mac is: a RARP request from it, with a tag where @vlan is not 0 (QEMU's way). */
void uplink_announce(struct uplink *u, const uint8_t mac[6], uint16_t vlan);
