/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must survive a worker: one memfd a port (struct port_state) and one a worker
 * (struct worker_state), made and zeroed by the keeper, mapped by both.
 *
 * Theory of operation. A worker is where hostile rings are met, so it may die at any instruction. All it
 * has promised to a guest is here, never read back from guest memory: for each ring the position of the
 * next entry to take, the position of the next to complete, and for each entry between the two its head
 * and how far its delivery has come. Moving frames from a sender's ring to a receiver's is one
 * transaction described by the worker's intent (see ring/commit.h); a successor finishes it or starts it
 * over. The keeper reads this as hostile input: it never indexes by a number found here unchecked.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "datapath/limits.h"

#define DP_PORT_MAGIC	0x766e6963706f7274ULL /* "vnicport" */
#define DP_WORKER_MAGIC 0x766e6963776f726bULL /* "vnicwork" */

/*
 * slot_state.progress: every destination with a port index below it has the frame already. (An index, not
 * a count: ports may come and go between a worker's death and its successor.)
 */
#define DP_PROGRESS_NONE 0
#define DP_PROGRESS_DONE \
	UINT16_MAX /* delivered or dropped: to be completed to the guest in its turn */

/* One taken entry of a ring, at [position % size]. */
struct slot_state {
	uint16_t head; /* the descriptor chain's head, as read once from the available ring */
	uint16_t progress;
};

struct ring_state {
	uint16_t avail_pos; /* next entry of the available ring to take; counts modulo 65536 */
	uint16_t used_pos; /* next entry to complete; used_pos ≤ avail_pos, at most size apart */
	uint16_t size; /* 0: not set up */
	uint16_t reserved;
	/*
	 * 0: (re)started by the keeper and not yet seen by a worker. The worker that takes the ring up names
	 * this start by a number of its own; an intent left over from before it then does not match.
	 */
	uint64_t epoch;
	uint64_t reserved2[6];
	struct slot_state slot[DP_RING_SIZE_MAX];
} __attribute__((aligned(64)));

/* Seen from the guest: rx is what it receives. Written by the worker only, relaxed. */
struct port_counters {
	uint64_t rx_packets, rx_bytes, rx_dropped;
	uint64_t tx_packets, tx_bytes, tx_dropped, tx_spoofed;
	uint64_t rx_errors, tx_errors; /* malformed chains */
};

struct port_state {
	uint64_t magic;
	uint32_t layout;
	uint32_t size; /* sizeof(struct port_state) of the keeper that made it */
	struct port_counters counters __attribute__((aligned(64)));
	struct ring_state ring[DP_RINGS_MAX];
};

/* Where the worker is, for the keeper's verdict when it dies or hangs. */
struct worker_state {
	uint64_t magic;
	uint32_t layout;
	uint32_t size;
	/*
	 * beat grows with each turn of the loop and each burst of a ring; busy is 0 while the worker
	 * sleeps, so that an idle worker owes no heartbeat and nobody has to wake up to give one. Nor
	 * does the keeper look at it then: it clears watched when it stops looking, and a worker that
	 * wakes from its sleep, has set busy and finds watched at 0 sets it and sends WIRE_AWAKE (see
	 * worker_wakes()).
	 */
	_Atomic uint64_t beat __attribute__((aligned(64)));
	_Atomic uint32_t busy;
	_Atomic uint32_t watched;
	_Atomic uint32_t at_port; /* index + 1 of the port being worked on, 0 for none */
	_Atomic uint64_t fault_addr; /* set by the SIGBUS/SIGSEGV handler, with fault_port */
	_Atomic uint32_t
		fault_port; /* index + 1 of the port whose memory holds fault_addr, 0: none */
	/* The keeper's: the service manager may lack what the worker works on, which is to end with the keeper then. */
	_Atomic uint32_t bound;
	uint64_t next_epoch; /* for ring_state.epoch; the worker's */
	/* The intent of ring/commit lives behind this, in a layout that ring/commit.h owns. */
	unsigned char intent[65536] __attribute__((aligned(64)));
};

/**
 * ring_state_start() - a ring begins at @base (SET_VRING_BASE): nothing taken, nothing owed
 * Called by the keeper, while no worker runs the ring.
 */
static inline void ring_state_start(struct ring_state *rs, uint16_t size, uint16_t base)
{
	rs->size = size;
	rs->avail_pos = base;
	rs->used_pos = base;
	rs->epoch = 0;
}

/* What GET_VRING_BASE answers once the worker has drained and left the ring (avail = used then). */
static inline uint16_t ring_state_base(const struct ring_state *rs)
{
	return __atomic_load_n(&rs->used_pos, __ATOMIC_RELAXED);
}

/**
 * worker_wakes() - the worker's step from sleep to work
 * Return: true where the worker must send WIRE_AWAKE, since the keeper is not looking.
 *
 * Sequentially consistent on purpose, with worker_unwatch() on the other side: either the keeper
 * sees busy, or the worker sees that it is not watched.
 */
static inline bool worker_wakes(struct worker_state *ws)
{
	atomic_store(&ws->busy, 1);
	return !atomic_load(&ws->watched) && !atomic_exchange(&ws->watched, 1);
}

/**
 * worker_unwatch() - the keeper stops looking at an idle worker
 * Return: false where the worker is busy after all, and the keeper goes on looking.
 */
static inline bool worker_unwatch(struct worker_state *ws)
{
	atomic_store(&ws->watched, 0);
	if (!atomic_load(&ws->busy))
		return true;
	/* Whoever of the two sets it to 1 knows: the worker has sent WIRE_AWAKE, or we go on. */
	return atomic_exchange(&ws->watched, 1);
}
