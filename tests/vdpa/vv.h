/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio-net driver in user space, to try devices with: /dev/vhost-vdpa-N, or a tap behind /dev/vhost-net (so that
 * both carry the same frames from the same driver). Errors end a function with a negative errno; what breaks the
 * rules of virtio ends it with -EPROTO and a sentence in vv_said.
 *
 *	struct vv_dev d;
 *	vv_open(&d, "/dev/vhost-vdpa-0");
 *	vv_up(&d, &(struct vv_conf){ .pairs = 1 });
 *	vv_send(&d, 0, frame, len); vv_kick(&d.ring[1]);
 *	len = vv_recv(&d, 0, buf, sizeof(buf));
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#define VV_PAIRS     8
#define VV_RINGS     (2 * VV_PAIRS + 1)
#define VV_NUM	     1024
#define VV_TABLE     16 /* descriptors of an indirect table */
#define VV_HDR	     12
#define VV_IOVA	     UINT64_C(0x10000000)
#define VV_F(n)	     (UINT64_C(1) << (n))
#define VV_WRAP	     0x8000
#define VV_FRAME     66000
#define VV_ETHERTYPE 0x88b5

extern char vv_said[256];
int vv_say(int r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* How a frame lies in descriptors. */
enum vv_layout {
	VV_ONE, /* header and frame in one */
	VV_TWO, /* the header in its own */
	VV_ODD, /* header and Ethernet header cut at odd places */
	VV_INDIRECT, /* as VV_TWO, in an indirect table */
	VV_LAYOUTS,
};

struct vv_conf {
	uint16_t pairs, num; /* 1 and 256 where 0 */
	uint32_t bufsz; /* of one buffer; 2048 where 0 */
	bool packed, event_idx, indirect, ctrl, no_mrg;
	uint64_t want; /* further features, where offered */
	enum vv_layout layout;
	size_t more; /* bytes of memory for the caller, at vv_dev.spare */
};

struct vv_piece {
	uint64_t iova;
	uint32_t len;
	bool write;
};

struct vv_ring {
	uint16_t index, num;
	bool packed, event_idx;
	union {
		struct vring_desc *desc;
		struct vring_packed_desc *pdesc;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver;
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device;
	};
	struct vring_desc *table; /* VV_TABLE for each id */
	uint8_t *buf; /* bufsz for each id */
	uint32_t bufsz;

	uint16_t avail_idx, used_idx; /* split: free running; packed: slots */
	bool avail_wrap, used_wrap;
	uint16_t added; /* since the last kick */
	uint16_t room; /* descriptors */
	uint16_t n_free, free[VV_NUM]; /* split: descriptors; packed: ids */
	uint16_t next[VV_NUM]; /* split: of a chain */
	uint16_t len[VV_NUM]; /* descriptors of the chain with this id in the ring; 0: not there */
	uint16_t posted; /* chains */
	uint32_t base; /* for SET_VRING_BASE at the next vv_program() */
	int kick, call;
	uint64_t kicks, calls;
};

struct vv_dev {
	char name[64];
	int fd, tap, config_call;
	bool owned, mapped, vdpa;
	uint64_t offered, features, backend;
	uint16_t vqs, pairs; /* queues that it has; pairs in use */
	uint8_t mac[6];
	struct vv_conf conf;
	int memfd;
	uint8_t *mem;
	size_t size, brk;
	uint8_t *spare;
	struct vv_ring ring[VV_RINGS]; /* the control queue is ring[ctrl], where there is one */
	uint16_t n_rings, ctrl;
	uint8_t *ctrl_buf;
};

/* ---- vv.c: a device ---- */
/* @spec: a file in /dev, or "tap:NAME". */
int vv_open(struct vv_dev *d, const char *spec);
void vv_close(struct vv_dev *d);
/* Memory, features, rings, DRIVER_OK, receive buffers. vv_close() and vv_up() again, or vv_reset() and vv_up(). */
int vv_up(struct vv_dev *d, const struct vv_conf *conf);
/* The same in its parts: what a hostile driver does in another way. */
int vv_memory(struct vv_dev *d, size_t size);
int vv_map(struct vv_dev *d);
int vv_unmap(struct vv_dev *d);
int vv_iotlb(struct vv_dev *d, uint32_t asid, uint8_t type, uint64_t iova, uint64_t size, void *at,
	     uint8_t perm);
int vv_negotiate(struct vv_dev *d);
int vv_layout(struct vv_dev *d); /* rings in memory, empty */
/* Tell the device of rings as they are, their ->base included, up to DRIVER_OK. */
int vv_program(struct vv_dev *d);
int vv_status(struct vv_dev *d); /* the status, or a negative errno */
int vv_set_status(struct vv_dev *d, uint8_t status);
int vv_reset(struct vv_dev *d);
int vv_suspend(struct vv_dev *d);
int vv_resume(struct vv_dev *d);
/* Every ring's base from the device into ->base. */
int vv_bases(struct vv_dev *d);
/* -EPROTO where a ring's ->base is not what its used entries say. All used entries must have been reaped. */
int vv_bases_exact(struct vv_dev *d);
int vv_config(struct vv_dev *d, uint32_t offset, void *to, uint32_t len);
int vv_set_config(struct vv_dev *d, uint32_t offset, const void *from, uint32_t len);
int vv_vring(struct vv_dev *d, unsigned long what, uint16_t i, uint32_t num);
/* Send a command to the control queue and wait for its end: VIRTIO_NET_OK, VIRTIO_NET_ERR, or a negative errno. */
int vv_ctrl(struct vv_dev *d, uint8_t class, uint8_t cmd, const void *data, uint32_t len);
/* Where it is in the device's address space. */
uint64_t vv_iova(const struct vv_dev *d, const void *p);
void *vv_alloc(struct vv_dev *d, size_t len, size_t align);

/* ---- vv_ring.c: rings ---- */
void vv_ring_init(struct vv_dev *d, struct vv_ring *r, uint16_t index, uint16_t num,
		  uint32_t bufsz);
/* The id that the next chain will have, or -1 where the ring has no room for @n descriptors. */
int vv_next_id(const struct vv_ring *r, uint16_t n);
/* Add a chain and let the device see it. Its id. */
int vv_add(struct vv_dev *d, struct vv_ring *r, const struct vv_piece *piece, uint16_t n,
	   bool indirect);
/* Notify the device of what was added, if it wants that. */
void vv_kick(struct vv_ring *r);
void vv_kick_always(struct vv_ring *r);
/* The next used chain: 1, 0, or -EPROTO where it is none of ours. */
int vv_used(struct vv_ring *r, uint16_t *ret_id, uint32_t *ret_len);
/* Ask for an interrupt at the next used chain, or for none. */
void vv_interrupts(struct vv_ring *r, bool on);
/* Free what the device has sent. How many, or a negative errno. */
int vv_reap(struct vv_ring *r);
void vv_fill(struct vv_dev *d, uint16_t pair);
/* 0; -EAGAIN where the ring is full; not notified. */
int vv_send(struct vv_dev *d, uint16_t pair, const void *frame, size_t len);
int vv_send_hdr(struct vv_dev *d, uint16_t pair, const struct virtio_net_hdr_v1 *hdr,
		const void *frame, size_t len, enum vv_layout layout);
/* The next frame's length, 0 or a negative errno. @hdr may be NULL. */
int vv_recv(struct vv_dev *d, uint16_t pair, void *frame, size_t size,
	    struct virtio_net_hdr_v1 *hdr);
/* Sleep until an interrupt of a receive queue, or @ms. Looks at the rings first. */
void vv_wait(struct vv_dev *d, int ms);

/* ---- vv_frame.c: numbered frames, and ends that they go between ---- */
struct vv_end {
	struct vv_dev *dev; /* or */
	int sock;
	uint8_t mac[6];
	uint16_t turn;
};

/* "packet:IF", "packet:NETNS/IF": a packet socket there. Devices are opened and brought up by the caller. */
int vv_packet(struct vv_end *e, const char *spec);
int vv_end_send(struct vv_end *e, const void *frame, size_t len);
void vv_end_flush(struct vv_end *e);
int vv_end_recv(struct vv_end *e, void *frame, size_t size);
void vv_end_idle(struct vv_end *e, int ms);

void vv_frame_make(uint8_t *f, const uint8_t *dst, const uint8_t *src, uint16_t vlan,
		   uint32_t stream, uint64_t n, size_t len);
/* 1: frame @ret_n of @stream, whole; 0: something else; -EPROTO: damaged. */
int vv_frame_check(const uint8_t *f, size_t len, uint32_t stream, uint64_t *ret_n);

struct vv_track {
	uint64_t total, got, doubled, reordered, damaged, last;
	uint8_t *seen;
};
void vv_track_init(struct vv_track *t, uint64_t total);
void vv_track_note(struct vv_track *t, uint64_t n);
void vv_track_fini(struct vv_track *t);

uint64_t vv_now(void); /* ns */
