/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A model of a guest, from the driver's side: memory in a memfd, virtio-net rings in it, and the checks
 * that a driver could make: every descriptor comes back once, in order where that is owed, and what is
 * received is whole. A breach ends the test with a message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "datapath/state.h"
#include "datapath/wire.h"

#define VG_FEATURE(n) (UINT64_C(1) << (n))
#define VG_MODERN     (VG_FEATURE(VIRTIO_F_VERSION_1) | VG_FEATURE(VIRTIO_NET_F_MRG_RXBUF))
#define VG_TX_BUF     2048 /* a descriptor's buffer */
#define VG_TABLE      8 /* descriptors of an indirect table */
#define VG_FRAME_MAX  70000
#define VG_GPA	      UINT64_C(0x100000) /* where its memory starts */
#define VG_UVA	      UINT64_C(0x7f0000000000)

enum vg_layout {
	VG_ONE, /* header and frame in one descriptor */
	VG_TWO, /* the header in its own, the frame in pieces of VG_TX_BUF */
	VG_ODD, /* the header split over two, the frame in odd pieces */
	VG_INDIRECT, /* as VG_TWO, in an indirect table */
	VG_LAYOUTS,
};

struct vg_config {
	uint64_t features;
	uint16_t size; /* of each ring */
	uint16_t base; /* index that the rings start at */
	uint16_t pairs;
	uint32_t rx_buf; /* bytes of a receive buffer */
	bool rx_chained; /* a receive buffer is two descriptors */
	uint16_t vlan;
	uint32_t flags; /* WIRE_PORT_… */
};

struct vg_ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size;
	uint16_t avail_idx, used_idx; /* ours: posted, reaped */
	uint16_t n_free;
	uint16_t free_head;
	uint32_t buf; /* offset of the buffers in memory */
	uint32_t table;
	uint8_t chain_len
		[DP_RING_SIZE_MAX]; /* descriptors of the chain with this head; 0: not posted */
	uint16_t order[DP_RING_SIZE_MAX]; /* heads in the order posted, by position */
};

struct vguest {
	struct vg_config cfg;
	unsigned int index;
	uint8_t mac[6];
	uint8_t hdr_len;
	int mem_fd, state_fd;
	int call_fd[DP_RINGS_MAX], kick_fd[DP_RINGS_MAX];
	uint8_t *mem;
	size_t mem_size;
	struct port_state *state;
	struct vg_ring ring[DP_RINGS_MAX];
};

/* MAC 52:54:00:00:00:(index + 1). */
void vguest_init(struct vguest *g, unsigned int index, const struct vg_config *cfg);
void vguest_deinit(struct vguest *g);

/**
 * vguest_config() - what the keeper would say of it
 * @running: do its rings run
 * @fds: the message's descriptors (duplicates, which the receiver of the message closes)
 * Return: how many descriptors.
 */
size_t vguest_config(struct vguest *g, bool running, struct wire_port_set *ret, int *fds);

/* Send @len bytes on pair @q. @hdr may be NULL. Return: false where no descriptors are free. */
bool vguest_send(struct vguest *g, unsigned int q, const void *frame, uint32_t len,
		 const struct virtio_net_hdr *hdr, enum vg_layout layout);

/* Take back what was sent; checks that it comes in order. Return: how many chains. */
unsigned int vguest_reap(struct vguest *g, unsigned int q);

/* Post at most @max receive buffers. Return: how many. */
unsigned int vguest_post(struct vguest *g, unsigned int q, unsigned int max);

/**
 * vguest_receive() - the next frame
 * @buf: VG_FRAME_MAX bytes
 * Return: its length; 0: none.
 */
uint32_t vguest_receive(struct vguest *g, unsigned int q, void *buf,
			struct virtio_net_hdr_mrg_rxbuf *hdr);

/* Descriptors of a ring that are the guest's now. */
static inline unsigned int vguest_free(const struct vguest *g, unsigned int ring)
{
	return g->ring[ring].n_free;
}

void *vguest_at(const struct vguest *g, uint64_t gpa);
uint64_t vguest_gpa(const struct vguest *g, const void *p);

/* How often the guest was called on a ring, since asked last. */
uint64_t vguest_calls(struct vguest *g, unsigned int ring);
