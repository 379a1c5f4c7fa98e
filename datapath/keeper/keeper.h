/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's objects and who calls whom.
 *
 *   control, main ──> keeper ──> port ──> vhost/conn, vhost/dev
 *                       │          │ kport_touch(): what the worker should know has changed
 *                       │          v
 *                       └────> segment ──> worker (process)
 *
 * A port's truth for its worker is one struct wire_port_set, built anew from the port's configuration and
 * its front end's state and sent where it differs from what was sent last. While it has not been
 * acknowledged the front end's next message is not read. A new worker is sent every port's, then WIRE_GO:
 * that is all there is to a replacement.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/err.h"
#include "base/str.h"
#include "datapath/keeper/listener.h"
#include "datapath/keeper/worker.h"
#include "datapath/vhost/conn.h"
#include "datapath/vhost/dev.h"

#define PORT_KEY_MAX	 128 /* "UUID/MAC", or a stand-alone port's name; with NUL */
#define PORT_PIDFILE_MAX 256

struct control;
struct kept_port;
struct kept_segment;
struct stats;
struct store;
struct takeover;

/* What was asked of a port. Plain data, zeroed before it is filled: it is compared as bytes. */
struct port_config {
	char key[PORT_KEY_MAX];
	uint64_t generation;
	char name[VNIC_NAME_MAX];
	char segment[VNIC_NAME_MAX];
	uint8_t mac[VNIC_MAC_LEN];
	uint16_t vlan; /* 0: untagged */
	bool spoofchk, trust;
	bool standby, away; /* its guest has a VF, and uses it: datapath/wire.h */
	uint32_t queues; /* pairs */
	uint32_t weight;
	uint64_t rate; /* bits/s, 0: none */
	char pidfile[PORT_PIDFILE_MAX]; /* empty: any peer may connect */
};

/* The part of a port's state whose change is an event. Compared as bytes. */
struct port_summary {
	const char *state;
	uint64_t generation;
	pid_t peer_pid;
	uint64_t features;
	uint32_t queues_active;
	bool logging, has_listener;
	uint32_t restarts;
	char reason[DP_REASON_MAX];
};

struct kport {
	TAILQ_ENTRY(kport) link;
	struct keeper *keeper;
	struct segment *segment;
	uint32_t index; /* in the segment, and so for the worker */
	struct port_config config;

	struct listener *listener; /* NULL: managed, and no socket was passed yet */
	struct vhost_conn *conn;
	pid_t peer_pid;
	uint64_t connected_at; /* CLOCK_MONOTONIC, µs */
	bool heard; /* it has sent a message */
	bool silent_before; /* the one before had not, and that was logged */
	uint64_t charged_until; /* its changes are paid for, in time; see charge() */
	bool throttled, throttle_said; /* it is not read */
	struct event *throttle_timer;
	struct vhost_dev dev;
	struct vhost_reply reply; /* owed once the worker has acknowledged */
	bool owing;

	int state_fd;
	struct port_state *state;

	struct wire_port_set told; /* what the worker was or will be told; header aside */
	uint64_t told_epoch; /* dev.fd_epoch then */
	bool dirty; /* and has not been sent yet */
	uint64_t sent_seq; /* 0: this worker was sent nothing yet */
	bool unacked;
	bool closing; /* the store still has a socket that we hung up on; see fd_discard_release() */
	bool storing; /* not all of it is known to be in the store */
	bool deleting;
	bool refused; /* the worker did not take what it was told last */

	bool broken; /* malformed rings; until the front end stops them all, or another comes */
	bool quarantined; /* cost two workers; see kport_blame() */
	pid_t quarantined_pid;
	uint64_t last_blame; /* CLOCK_MONOTONIC, µs */
	uint32_t restarts;
	char reason[DP_REASON_MAX];

	struct kept_port *kept; /* for a successor; see preserve.h */

	struct port_summary published;
	uint64_t *waiters; /* control requests answered once the worker has it */
	size_t n_waiters;
};

struct segment {
	TAILQ_ENTRY(segment) link;
	struct keeper *keeper;
	char name[VNIC_NAME_MAX];
	char tap[VNIC_NAME_MAX]; /* its interface, or empty: a tap, or another netdev (kind) */
	int tap_fd;
	enum uplink_kind kind; /* what tap_fd is */
	const char
		*uplink_state; /* of a netdev, stand-alone: "up", "down", …; NULL: not looked at */
	int32_t cpu; /* -1: anywhere */

	struct kept_segment *kept; /* for a successor; see preserve.h */
	struct worker *worker;
	struct event *restart_timer;
	uint64_t seq;
	uint32_t n_unacked;
	bool uplink_dirty;
	int predecessor; /* the socket of a worker that our own predecessor has left at work; -1: none */
	struct event *relief_timer; /* it was told to go, and has not yet */
	bool live; /* this worker has acknowledged WIRE_GO */
	uint64_t go_seq; /* of the WIRE_GO that is out; 0: none */
	uint64_t uplink_seq; /* of the WIRE_UPLINK_SET that is out; 0: none */
	uint32_t n_ports;
	struct kport *port[DP_PORTS_MAX];

	uint32_t restarts;
	uint64_t down_since; /* a replacement is under way, CLOCK_MONOTONIC µs; 0: no */
	uint64_t last_death;
	uint32_t quick_deaths; /* in a row, close together, with nobody to blame */
	char reason[DP_REASON_MAX];
};

TAILQ_HEAD(port_list, kport);
TAILQ_HEAD(segment_list, segment);

struct keeper {
	struct event_base *base;
	uint64_t features; /* what workers can do: worker_features() */
	struct port_list ports;
	struct segment_list segments;
	uint32_t n_ports;
	bool ending; /* rings are told to stop; see keeper_drain() */
	bool handing_over; /* a successor has sockets and workers: they are left, neither hung up nor ended */
	struct store *store; /* NULL: nothing outlives us */
	struct takeover *takeover;
	struct control *control; /* NULL: stand-alone */
	struct stats *stats; /* NULL: none asked for */
};

uint64_t keeper_now_us(void);
struct kport *keeper_find_port(struct keeper *k, const char *key);
struct segment *keeper_find_segment(struct keeper *k, const char *name);
/**
 * keeper_drain() - stop all rings in order, before the end
 * Runs the loop until the workers have drained them, for half a second at most: a frame that was delivered is
 * then completed, and whoever serves the guest next does not send it again.
 */
void keeper_drain(struct keeper *k);
/* The service manager has stored more of what it was sent (@keeper is a struct keeper). */
void keeper_stored(void *keeper);
/* A port's state may have changed: publish what did. */
void keeper_port_changed(struct kport *p);

/* segment.c */

/**
 * segment_new() - a segment with its worker, started
 * Return: 0 or a negative errno; the segment is in the keeper's list then.
 */
int segment_new(struct keeper *k, const char *name, struct segment **ret);
/**
 * segment_restore() - a segment that a predecessor had, its worker not started yet
 * @worker_state: borrowed
 */
int segment_restore(struct keeper *k, const char *name, int worker_state, struct segment **ret);
/* All its ports are there. With @predecessor the worker goes on in that one's place as soon as it has been told all. */
void segment_start(struct segment *s);
/* Be that as it may: the predecessor goes now. */
void segment_relieve(struct segment *s, bool force);
/* Its worker ends with us, or not, by what the service manager has. */
void segment_bind(struct segment *s);
/* It must have no ports. */
struct segment *segment_free(struct segment *s);
/* The uplink, a tap or a packet socket: @tap_fd belongs to the segment from now; -1: keep the one that is there. */
void segment_configure(struct segment *s, const char *tap, int tap_fd, int32_t cpu);
/* Send what is dirty, as far as the worker takes it. */
void segment_feed(struct segment *s);
/* Has the worker acknowledged everything? */
bool segment_settled(const struct segment *s);

/* port.c */

/**
 * kport_new() - a port that nobody is connected to
 * Return: 0 or a negative errno; -ENOSPC: the segment is full.
 */
int kport_new(struct segment *s, const struct port_config *config, struct kport **ret);
/**
 * kport_restore() - a port that a predecessor had
 * @state_fd, @state: as shm_map() gave it; the port's on success
 * Return: 0, or -EINVAL: there is no such index, or another port has it.
 */
int kport_restore(struct segment *s, const struct port_config *config, uint32_t index, int state_fd,
		  struct port_state *state, struct kport **ret);
/* Go on with the front end behind @fd, which belongs to the port on success; its device has been restored. */
int kport_resume(struct kport *p, int fd, pid_t peer);
struct kport *kport_free(struct kport *p);
/* Say in its shared state what that is: a worker may have written over it, and its successor asks. */
void kport_stamp(struct kport *p);
void kport_configure(struct kport *p, const struct port_config *config);
/* @fd belongs to the port on success. Replaces a listener that is there. */
int kport_listen(struct kport *p, int fd);
int kport_connect(struct kport *p, const char *file);
/* The worker is to forget the port; then it is freed and the waiters are answered. */
void kport_delete(struct kport *p);

/* Send the worker what changed, and go on with the front end where nothing is owed any more. */
void kport_touch(struct kport *p);
/* The worker has what it was told, or (@error < 0) refuses it. */
void kport_acked(struct kport *p, int error, const char *reason);
void kport_malformed(struct kport *p, const char *reason);
/* A worker died with this port at its hands. */
void kport_blame(struct kport *p, const char *reason);
size_t kport_wire(const struct kport *p, struct wire_port_set *w, int *fds);
bool kport_quiet(const struct kport *p);
void kport_summarize(const struct kport *p, struct port_summary *ret);
