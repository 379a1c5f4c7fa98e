/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split virtqueues, virtio 1.2 section 2.7, as the device sees them: reading only. What is written to a
 * guest's ring is written by ring/commit. A packed ring will be a sibling of this file.
 *
 * Everything read here may change under our eyes. A descriptor is loaded once into a private copy; what
 * is checked is the copy, and what is used is the copy. A ring that breaks the rules is given up:
 * vq.broken says why, and its port is left alone from then on.
 *
 * Guests are little-endian here: modern ones by the standard, legacy ones since they run on this machine.
 */
#pragma once

#include <errno.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "datapath/ring/mem.h"
#include "datapath/state.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "rings are read as the little-endian guests of a little-endian machine"
#endif

/* Most pieces of a chain; QEMU allows no more descriptors in one either. */
#define CHAIN_PIECES_MAX 1024

/**
 * struct piece - some of a chain's memory, contiguous in our address space
 * @gpa: where that is for the guest (what the dirty log wants to know)
 */
struct piece {
	uint8_t *va;
	uint64_t gpa;
	uint32_t len;
};

/**
 * struct vq - a guest's ring as mapped into this process
 * @rs: its state in shared memory: what outlives us
 * @port, @index: whose ring it is, and which one
 * @next: first entry of the available ring that nobody has looked at. Of a sender's ring that is always
 *	  rs->avail_pos; a receiver's runs ahead of it until the transaction is committed
 * @avail: available index as last read
 * @signalled: used index when the guest was last told, where @signalled_valid
 * @armed: the guest has been asked to kick
 * @touched: part of the transaction being built
 * @broken: why the ring was given up; NULL: it is sound
 */
struct vq {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct ring_state *rs;
	struct guest_mem *mem;
	uint16_t size;
	uint16_t mask;
	uint16_t next;
	uint16_t avail_idx;
	uint16_t signalled;
	bool signalled_valid;
	bool event_idx;
	bool indirect;
	bool log;
	bool armed;
	bool touched;
	uint16_t port;
	uint8_t index;
	int call_fd;
	uint64_t log_gpa;
	const char *broken;
};

/**
 * split_attach() - find a ring's parts in the mapped memory
 * Fills in desc, avail, used, size; the rest of @vq is the caller's.
 * Return: 0, or -EINVAL with @reason set.
 */
int split_attach(struct vq *vq, struct guest_mem *mem, const struct wire_ring *w,
		 const char **reason);

/**
 * split_available() - entries of the available ring that have not been looked at
 * Return: how many, or -EPROTO with @vq broken where the index cannot be.
 */
static inline int split_available(struct vq *vq)
{
	uint16_t idx = __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE);
	uint16_t taken = (uint16_t)(vq->next - vq->rs->used_pos);
	uint16_t n = (uint16_t)(idx - vq->next);

	if (__builtin_expect(n > vq->size - taken, 0)) {
		vq->broken = "its available index jumped by more than the ring's size";
		return -EPROTO;
	}
	vq->avail_idx = idx;
	return n;
}

/* The head in entry @pos of the available ring; to be checked by split_chain(). */
static inline uint16_t split_head(const struct vq *vq, uint16_t pos)
{
	return __atomic_load_n(&vq->avail->ring[pos & vq->mask], __ATOMIC_RELAXED);
}

/*
 * A private copy of a descriptor. The empty asm makes the copy the only source: the compiler cannot go
 * back to the guest's memory for a second look.
 */
static inline struct vring_desc split_desc(const void *p)
{
	uint64_t addr, rest;

	memcpy(&addr, p, sizeof(addr));
	memcpy(&rest, (const char *)p + sizeof(addr), sizeof(rest));
	__asm__("" : "+r"(addr), "+r"(rest));
	return (struct vring_desc){ .addr = addr,
				    .len = (uint32_t)rest,
				    .flags = (uint16_t)(rest >> 32),
				    .next = (uint16_t)(rest >> 48) };
}

/**
 * split_chain() - walk a descriptor chain
 * @device_writes: true for a receive buffer: all of it must be writable; else all must be readable
 * @piece: room for @max pieces
 * @ret_len: bytes in all
 * Return: number of pieces (a descriptor across two mappings makes two), or -EPROTO with @vq broken.
 */
int split_chain_walk(struct vq *vq, uint16_t head, bool device_writes, struct piece *piece,
		     unsigned int max, uint32_t *ret_len);

static inline int split_chain(struct vq *vq, uint16_t head, bool device_writes, struct piece *piece,
			      unsigned int max, uint32_t *ret_len)
{
	struct vring_desc d;
	uint32_t got;

	/* One plain descriptor in one mapping is what most chains are. */
	if (__builtin_expect(head < vq->size, 1)) {
		d = split_desc(&vq->desc[head]);
		if (__builtin_expect(
			    d.flags == (device_writes ? VRING_DESC_F_WRITE : 0) && d.len > 0, 1)) {
			uint8_t *va = mem_piece(vq->mem, d.addr, d.len, &got);

			if (__builtin_expect(va && got == d.len, 1)) {
				*piece = (struct piece){ va, d.addr, d.len };
				*ret_len = d.len;
				return 1;
			}
		}
	}
	return split_chain_walk(vq, head, device_writes, piece, max, ret_len);
}
