/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker's ports and what moves frames between them, without the process around it: the worker drives
 * it by messages and descriptors, unit tests by calls.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "datapath/forward/frame.h"
#include "datapath/forward/table.h"
#include "datapath/limits.h"
#include "datapath/ring/commit.h"
#include "datapath/ring/mem.h"
#include "datapath/ring/split.h"
#include "datapath/state.h"
#include "datapath/uplink/uplink.h"
#include "datapath/wire.h"

struct engine;
struct port;
struct waitq;
struct wait_slot;

#define BURST	      64 /* entries taken from a ring at once */
#define TRANSACTION   256 /* frames after which a transaction is committed */
#define BURST_PIECES  (2 * CHAIN_PIECES_MAX)
#define WAIT_NS	      1000000 /* a frame waits no longer, a destination is full after it */
#define SCRATCH_SIZE  (FRAME_LEN_MAX + 64)
#define RINGS_OF_KIND (DP_PORTS_MAX * DP_QUEUE_PAIRS_MAX)

/**
 * struct ring - one ring of a port
 * @running: to be worked
 * @watched: its kick is in the epoll set
 * @polled, @last_work: in the list of rings looked at in each turn; when it last had a frame
 * @kick_fd: -1: none; the guest's call eventfd is vq.call_fd
 * @completing, @next_complete: in the list of rings with frames to give back
 *
 * As a sender:
 * @wait: for each entry, whether and where it waits; allocated with the first
 * @n_waiting: how many do
 * @src_q: its queues at full receivers
 * @last_mac, @last_port: its last lookup, valid while @last_table is the table's generation
 *
 * As a receiver:
 * @dst_q, @dst_q_tail: queues of frames for it, one a sender, in the order of service
 * @in_waiting, @next_waiting: in the engine's list of receivers that are waited for
 * @full: without buffers for WAIT_NS; @full_idx: its available index then
 * @full_since: when it was first found without, 0: it wasn't
 */
struct ring {
	struct vq vq;
	struct port *port;
	bool running, watched, polled, completing, in_waiting, full;
	int kick_fd;
	uint64_t last_work;
	struct ring *next_complete;

	struct wait_slot *wait;
	unsigned int n_waiting;
	struct waitq *src_q;
	uint64_t last_mac;
	uint32_t last_table;
	uint16_t last_port;

	uint16_t full_idx;
	uint64_t full_since;
	struct waitq *dst_q, *dst_q_tail;
	struct ring *next_waiting;
};

/**
 * struct port - a guest's NIC
 * @cfg: as told by the keeper
 * @mac: as mac_number()
 * @state: its shared state, mapped
 * @hdr_len: bytes of virtio-net header before each frame, 10 or 12
 * @n_rx: receive rings that run; a port without one does not claim its MAC
 * @away: a standby whose guest sends by its other way: it does not claim it either
 * @off: broken: its rings are left alone
 * @broken: why, to be reported (once: @reported)
 * @announce_left, @announce_at: announcements still to be sent, and when the next one is; announce.h
 */
struct port {
	struct engine *engine;
	struct wire_port_set cfg;
	uint64_t mac;
	uint64_t features;
	struct port_counters *counters;
	struct port_state *state;
	struct guest_mem mem;
	uint16_t index;
	uint8_t hdr_len;
	bool mergeable;
	bool off, reported, away;
	const char *broken;
	uint8_t announce_left;
	uint64_t announce_at;
	uint16_t n_rx;
	struct ring *rx[DP_QUEUE_PAIRS_MAX];
	struct ring ring[DP_RINGS_MAX];
};

/**
 * struct engine
 * @live: WIRE_GO has come
 * @no_wait: a frame that cannot be delivered at once is dropped (a ring is being stopped)
 * @now: nanoseconds of the monotonic clock, as told with each turn
 * @epoll_fd: where kicks are watched; -1: nowhere (tests)
 * @uplink: what the uplink's frames go through
 * @run, @n_run: indices of ports that claim their MAC, ascending
 * @generation: of the table
 * @announce_at: when a port's announcement is due next; 0: never
 * @polled: rings looked at each turn
 * @any_broken: a port was given up; see engine_next_broken()
 * @moved: a standby has come or gone
 * @frame, @piece: the burst being worked on
 * @scratch: a frame in one piece, where one is needed
 */
struct engine {
	struct worker_state *ws;
	struct commit commit;
	struct port *port[DP_PORTS_MAX];
	bool live, no_wait, any_broken, table_stale, moved;
	int epoll_fd;
	uint64_t now;
	uint64_t spin_ns;
	uint64_t announce_at;
	struct uplink uplink;
	struct table table;
	uint32_t generation;
	unsigned int n_run, n_polled, n_taken;
	uint16_t run[DP_PORTS_MAX];
	struct ring *polled[RINGS_OF_KIND];
	struct ring *complete;
	struct ring *waiting;
	struct frame frame[BURST];
	struct piece piece[BURST_PIECES];
	struct piece rx_piece[2 * CHAIN_PIECES_MAX + 1];
	uint8_t scratch[SCRATCH_SIZE];
	uint8_t segment[SCRATCH_SIZE];
};

int engine_init(struct engine *e, struct worker_state *ws);
void engine_deinit(struct engine *e);

/**
 * engine_port_set() - take a port's whole configuration
 * @fds: as wire.h says; they are the engine's from here on, whatever the outcome
 * @reason: a sentence on failure
 * Return: 0; or a negative errno: the port is off then.
 */
int engine_port_set(struct engine *e, const struct wire_port_set *cfg, const int *fds, size_t n_fds,
		    const char **reason);
void engine_port_del(struct engine *e, unsigned int index);

/**
 * engine_uplink_set() - another uplink, or none
 * @fd: becomes the engine's; -1: none
 */
void engine_uplink_set(struct engine *e, enum uplink_kind kind, int fd);

/**
 * engine_go() - recover what a predecessor left and take up the rings
 * Return: 0; 1: a transaction was finished; -EBADMSG: the predecessor's intent was garbage and discarded
 */
int engine_go(struct engine *e);

/**
 * engine_turn() - one look at each polled ring and at what waits
 * @now: the monotonic clock, ns
 * Return: frames that were moved or dropped.
 */
unsigned int engine_turn(struct engine *e, uint64_t now);

/* Frames from the uplink, at most BURST. Return: how many came. */
unsigned int engine_uplink_read(struct engine *e);

/* Whose rings are worked on: the keeper asks where a worker dies. */
static inline void engine_at(struct engine *e, const struct port *p)
{
	atomic_store_explicit(&e->ws->at_port, p ? p->index + 1u : 0, memory_order_relaxed);
}

/* A heartbeat: with each ring's burst, since a turn of many rings with much to copy may take long. */
static inline void engine_beat(struct engine *e)
{
	atomic_store_explicit(&e->ws->beat,
			      atomic_load_explicit(&e->ws->beat, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* Nothing to look at before a kick, a frame from the uplink or a message comes. */
static inline bool engine_idle(const struct engine *e)
{
	return e->n_polled == 0 && !e->waiting;
}

/* The guest kicked: look at the ring from now on. */
void engine_kicked(struct engine *e, struct ring *r);

/* A port that was given up and not yet reported; NULL: none. p->broken says why. */
struct port *engine_next_broken(struct engine *e);

/* What epoll says of a kick: the port and its ring. Above all of these are the worker's own events. */
#define ENGINE_EVENTS (DP_PORTS_MAX * DP_RINGS_MAX)
static inline uint64_t engine_event(unsigned int port, unsigned int ring)
{
	return port * DP_RINGS_MAX + ring;
}

/* The ring of an epoll event; NULL where it is gone. */
struct ring *engine_ring(struct engine *e, unsigned int port, unsigned int ring);
