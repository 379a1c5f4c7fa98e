/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hostile driver: the rows of tests/tables/vdpa-hostile.md. Part of tests/vdpa/vvbad. */
#pragma once

#include "tests/vdpa/vv.h"

#define SPARE	   ((size_t)1 << 20) /* the hostile driver's own memory */
#define DATA(n)	   ((size_t)(n)*4096) /* a page of it */
#define MOD_PACKED VV_F(0)

/* What a device does that keeps the rules of this project. Others need only do no harm. */
enum outcome {
	RESET, /* it asks for a reset */
	REFUSED, /* the frame is dropped, its buffer given back; the device goes on */
	DENIED, /* one or the other; nothing is delivered */
	ERROR, /* the system call, or the control command, is refused; the device goes on */
	FINE, /* it goes on: this is allowed */
	ANY,
};

enum {
	SPLIT_ONLY = 1,
	PACKED_ONLY = 2,
	NO_SIM = 4, /* vdpa_sim_net has nothing of the kind, or it tells a simulator nothing */
	INDIRECT = 8, /* negotiated */
	CTRL = 16,
	NO_MRG = 32,
	SMALL_RX = 64, /* receive buffers are the row's own affair */
	DOWN = 128, /* the row brings the device up itself */
	OFFLOADS = 256,
};

struct bed {
	struct vv_dev bad, near, far;
	bool has_far, sim, packed, event_idx;
	struct vv_dev *peer; /* what bad speaks to: near; of a simulator itself */
	uint32_t stream;
	struct vv_conf conf;
};

struct row {
	const char *name;
	unsigned int flags;
	enum outcome want;
	int (*act)(struct bed *b);
};

extern const struct row ring_rows[], frame_rows[], map_rows[];

/* A chain of bad's transmit queue, notified: its id, or a negative errno. */
int bad_chain(struct bed *b, uint16_t queue, const struct vv_piece *p, uint16_t n, bool indirect);
int bad_piece(struct bed *b, uint64_t iova, uint32_t len, bool write);
/* One descriptor with flags of one's own. */
int bad_desc(struct bed *b, uint16_t queue, uint64_t iova, uint32_t len, uint16_t flags,
	     uint16_t next);
/* A frame of bad's, ready to be changed, in its own memory; with its header: VV_HDR + @len bytes. */
uint8_t *bad_frame(struct bed *b, size_t len);
int bad_send(struct bed *b, size_t len);
/* @n numbered frames, all of which must come. */
int frames(struct bed *b, struct vv_dev *from, struct vv_dev *to, int n, size_t len);
/* The same without looking: what comes is thrown away. */
void flood(struct bed *b, struct vv_dev *from, const uint8_t *dst, int n, size_t len);
uint64_t spare_at(struct bed *b, size_t offset);
int bring_up(struct bed *b, unsigned int flags);
int works_once(struct bed *b);
