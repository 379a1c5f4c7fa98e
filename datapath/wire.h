/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeper to worker: one SOCK_SEQPACKET pair a worker. Both ends are the same binary, so these are plain
 * structs. Only whole configurations are sent, each replaces what the worker had under that index; a new
 * worker is told everything again. The worker answers every message with a WIRE_ACK of the same seq once
 * the change has taken full effect: rings that stopped are drained and untouched from then on, old memory
 * is unmapped, old descriptors are closed, logging is on.
 *
 * A new worker works no ring before WIRE_GO: the keeper first tells it the uplink and all ports that its
 * predecessor had (whatever has changed about them since), then GO. With GO the worker waits for the lock of
 * the worker_state, which a predecessor that is still at work holds, finishes what that one left half done,
 * and takes up the rings. Until then the ACK of a PORT_SET says only that it was taken in; rings that it says
 * do not run are drained with the ACK of GO. A worker whose socket hangs up leaves its rings, lets go of the
 * lock and ends.
 *
 * A ring that has size > 0 but not WIRE_RING_RUNNING is being stopped: the worker finishes what its intent
 * says of it and drains it before it acknowledges. It must keep its addresses and its memory in that
 * PORT_SET as long as the guest is there. ring_state_start() of a ring is called by the keeper before the
 * WIRE_PORT_SET that first has it running; it makes an intent that names the ring's former start void.
 *
 * The worker starts as "vnicd-datapath --worker": descriptor 3 is this socket, 4 the worker_state memfd.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "datapath/limits.h"

enum wire_type {
	WIRE_UPLINK_SET = 1, /* keeper → worker: fds[0] is the uplink, or no descriptor: none */
	WIRE_PORT_SET, /* keeper → worker */
	WIRE_PORT_DEL, /* keeper → worker */
	WIRE_ACK, /* worker → keeper */
	WIRE_PORT_BROKEN, /* worker → keeper: the port's rings are malformed; the worker left them.
			     It touches the port no more before the next PORT_SET or PORT_DEL */
	WIRE_AWAKE, /* worker → keeper, a bare header: busy while not watched, see state.h; no ack */
	WIRE_GO, /* keeper → worker, a bare header: all ports have been told, start working */
};

struct wire_header {
	uint32_t type;
	uint32_t port; /* the port's index, below DP_PORTS_MAX */
	uint64_t seq;
};

enum uplink_kind {
	UPLINK_TAP,
	UPLINK_PACKET, /* a packet socket bound to a netdev */
};

struct wire_uplink_set {
	struct wire_header h;
	int32_t cpu; /* pin to this CPU; -1: do not */
	uint32_t kind; /* enum uplink_kind of fds[0] */
};

struct wire_region {
	uint64_t gpa; /* guest physical address */
	uint64_t
		uva; /* the same in the front end's address space, which ring addresses are given in */
	uint64_t size;
	uint64_t offset; /* into the descriptor */
};

#define WIRE_RING_RUNNING 0x1 /* started and enabled: to be worked */
#define WIRE_RING_LOG	  0x2 /* log used-ring writes at log_gpa (VHOST_VRING_F_LOG) */

struct wire_ring {
	uint32_t flags;
	uint16_t size;
	uint16_t reserved;
	uint64_t desc, avail, used; /* front-end virtual addresses (uva) */
	uint64_t log_gpa; /* guest physical address of the used ring, for the log */
};

#define WIRE_PORT_SPOOFCHK 0x1 /* frames with another source MAC are dropped and counted */
#define WIRE_PORT_TRUST	   0x2
#define WIRE_PORT_LOG	   0x4 /* VHOST_F_LOG_ALL: every write to guest memory is logged */
#define WIRE_PORT_ANNOUNCE \
	0x8 /* send RARPs for mac on its VLAN once rings run (a guest moved here); see forward/announce.h */

/*
 * A standby's guest has another way, a VF: the port has the MAC only while frames with it came from the guest's rings
 * last, and not from the uplink. AWAY says, when it is first told, that they come from there now.
 */
#define WIRE_PORT_STANDBY 0x10
#define WIRE_PORT_AWAY	  0x20

/*
 * Descriptors, in this order: the port_state memfd; one a region; the log where log_size > 0; then for
 * each ring with size > 0: kick and call, each only where its bit in kick_mask, call_mask is set.
 */
struct wire_port_set {
	struct wire_header h;
	uint8_t mac[6];
	uint16_t vlan; /* 0: untagged */
	uint32_t flags;
	uint32_t weight;
	uint64_t rate; /* bits/s; 0: no limit */
	uint64_t features; /* as acked by the front end; 0: not connected */
	uint64_t log_size, log_offset;
	uint32_t n_regions;
	uint32_t n_rings;
	uint32_t kick_mask, call_mask;
	struct wire_ring ring[DP_RINGS_MAX];
	struct wire_region region[DP_REGIONS_MAX];
};

struct wire_ack {
	struct wire_header h;
	int32_t error; /* 0, or a negative errno: the configuration was not taken, the port is off */
	char reason[DP_REASON_MAX];
};

struct wire_port_broken {
	struct wire_header h;
	char reason[DP_REASON_MAX];
};

union wire_message {
	struct wire_header h;
	struct wire_uplink_set uplink_set;
	struct wire_port_set port_set;
	struct wire_ack ack;
	struct wire_port_broken broken;
};
