/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vhost-user front end as QEMU is one, without the guest: the benchmarks' and load tests' other side.
 * Written from the vhost-user specification, on its own: it shares no definition with the backend.
 *
 * A port is one device with one queue pair, its memory one sealed memfd. Life: vu_connect() negotiates,
 * vu_alloc() makes memory and rings, the caller fills buffers, vu_start() hands all to the backend,
 * vu_stop() takes the rings back, vu_close(). Setup errors end the program: it has nothing else to do.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#define VU_GPA_BASE 0x40000000ULL
#define VU_HDR_LEN  sizeof(struct virtio_net_hdr_v1) /* 12 bytes, since MRG_RXBUF is required */

/* The set that Linux guests negotiate on a plain virtio-net with offloads on; see vu_connect(). */
#define VU_F(bit) (1ULL << (bit))

extern const uint64_t vu_features_default;

struct vu_ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size;
	uint16_t avail_idx; /* what we have published, and the backend may have taken */
	uint16_t used_idx; /* what we have seen completed */
	bool event_idx;
	int kick, call;
	uint64_t kicks;
};

struct vu_port {
	int sock, memfd;
	uint64_t offered, features, protocol;
	uint8_t *mem;
	size_t mem_size, mem_used;
	struct vu_ring rx, tx; /* ring 0: we receive; ring 1: we send */
	uint8_t mac[6];
	const char *name; /* for messages */
};

void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...);

/**
 * vu_connect() - connect to the backend's listening socket and negotiate
 * @want: feature bits; what the backend lacks of them is left out. VERSION_1 and MRG_RXBUF are required.
 *
 * Tries for ten seconds, since the backend may just be starting.
 */
void vu_connect(struct vu_port *p, const char *file, uint64_t want);

/**
 * vu_alloc() - guest memory with two rings of @ring_size entries and @bufs_size bytes for vu_mem()
 */
void vu_alloc(struct vu_port *p, unsigned int ring_size, size_t bufs_size);

/* A zeroed piece of guest memory; @align is a power of two. */
void *vu_mem(struct vu_port *p, size_t size, size_t align);

static inline uint64_t vu_gpa(const struct vu_port *p, const void *ptr)
{
	return VU_GPA_BASE + (uint64_t)((const uint8_t *)ptr - p->mem);
}

/* Have the backend call us on each completion, or (the start) not at all. */
void vu_calls(struct vu_ring *r, bool on);

void vu_start(struct vu_port *p);

/**
 * vu_stop() - GET_VRING_BASE for both rings
 * Return: whether each base is the ring's used index, as it must be once all was completed in order.
 */
bool vu_stop(struct vu_port *p);
void vu_close(struct vu_port *p);

static inline uint16_t vu_used(const struct vu_ring *r)
{
	return __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE);
}

void vu_kick(struct vu_ring *r);

/* Publish @n more entries of the available ring, and kick if the backend asked for it. */
static inline void vu_publish(struct vu_ring *r, uint16_t n)
{
	uint16_t old = r->avail_idx, new = old + n;
	bool kick;

	__atomic_store_n(&r->avail->idx, new, __ATOMIC_RELEASE);
	r->avail_idx = new;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (r->event_idx) {
		volatile __virtio16 *event = (__virtio16 *)&r->used->ring[r->size];

		kick = vring_need_event(*event, new, old);
	} else {
		kick = !(*(volatile __virtio16 *)&r->used->flags & VRING_USED_F_NO_NOTIFY);
	}
	if (kick)
		vu_kick(r);
}
