/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a successor of this keeper needs, kept in the service manager's store while we live.
 *
 * Theory of operation. Each port and each segment has its saved state, a memfd that only keepers map; its body
 * names descriptors by their numbers in the store. Order is everything: what a new body refers to is stored before
 * the body is written, what only the old one referred to is taken out after. The manager works its messages off in
 * order, so whatever instant this process ends at, the body's descriptors are there; what is there and in no body
 * is swept out by the successor (takeover.h).
 *
 * A front end's request is in the body before its answer goes out, and the barrier behind what it stored has been
 * passed: who has its answer is not forgotten. From before its first byte is read until its answer is written the
 * state is marked: a successor that finds the mark does not know what was lost, and hangs up on that front end,
 * which connects anew.
 *
 * All of this does nothing where there is no store.
 */
#pragma once

#include <stdint.h>

#include "datapath/keeper/keeper.h"
#include "datapath/keeper/saved.h"
#include "datapath/vhost/save.h"

/* Raise it where one of the structs below, or of vhost/save.h, changes or means something else. */
#define PRESERVE_VERSION 3
/* A ring's state is of a version of its own. */
#define PRESERVE_LAYOUT (PRESERVE_VERSION << 16 | DP_LAYOUT_VERSION)

#define PRESERVE_PORT_MAGIC    0x766e69637361766fULL
#define PRESERVE_SEGMENT_MAGIC 0x766e696373617673ULL

struct saved_port {
	char key[PORT_KEY_MAX];
	char name[VNIC_NAME_MAX];
	char segment[VNIC_NAME_MAX];
	char pidfile[PORT_PIDFILE_MAX];
	char reason[DP_REASON_MAX];
	uint64_t generation, rate, last_blame;
	uint32_t index, queues, weight, restarts;
	int32_t peer_pid, quarantined_pid;
	uint32_t state, listener, conn; /* in the store; 0: none */
	uint16_t vlan;
	uint8_t mac[VNIC_MAC_LEN];
	uint8_t spoofchk, trust, standby, away, broken, quarantined;
	struct vhost_saved dev; /* where there is a connection */
};

struct saved_segment {
	char name[VNIC_NAME_MAX];
	char tap[VNIC_NAME_MAX];
	char reason[DP_REASON_MAX];
	int32_t cpu;
	uint32_t restarts;
	uint32_t worker, tap_id; /* in the store; 0: none */
	uint32_t line; /* the socket of the worker that is at work, or was last */
};

/* A port with its shared state, no listener, no connection. */
void preserve_port_new(struct kport *p);
/* As a predecessor left it: @id and @state of the saved state, which belongs to the port from now. */
void preserve_port_adopt(struct kport *p, uint32_t id, struct saved *state,
			 const struct saved_port *body);
void preserve_port_free(struct kport *p);
/* It has another listener than before, or none. */
void preserve_listener(struct kport *p);
/* Somebody has connected. */
void preserve_conn(struct kport *p, int fd);
void preserve_hung_up(struct kport *p);
/* Write what has changed. */
void preserve_port(struct kport *p);
/* Is all that was stored for the port really in the store? */
bool preserve_confirmed(const struct kport *p);
/* A request's bytes are going to be read; all that were read have been answered. */
void preserve_reading(struct kport *p, bool reading);

void preserve_segment_new(struct segment *s);
void preserve_segment_adopt(struct segment *s, uint32_t id, struct saved *state,
			    const struct saved_segment *body);
void preserve_segment_free(struct segment *s);
/*
 * Its worker's process was started, has taken the rings over from the predecessor's, has died. While it has not
 * taken over, the saved state names the predecessor's.
 */
void preserve_worker_started(struct segment *s);
void preserve_worker_live(struct segment *s);
void preserve_worker_died(struct segment *s);
/* Write what has changed; @new_tap: its descriptor is another one. */
void preserve_segment(struct segment *s, bool new_tap);
