/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The back end's side of one vhost-user connection: what was negotiated, the guest's memory and rings.
 *
 * Theory of operation. vhost_dev_handle() takes one message and changes this state, or refuses the message
 * with a reason; a refused front end is hung up on. It never waits. Whoever calls then tells the worker what
 * vhost_dev_wire() says, and sends the answer (vhost_dev_settle()) once the worker has acknowledged: so a
 * front end that has its answer knows that the rings stand, the log is on, the memory is let go.
 *
 * A ring is started when it has a size, addresses in known memory and a kick; it is worked while it is also
 * enabled. GET_VRING_BASE stops it. This one rule holds for front ends with and without F_STATUS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "datapath/state.h"
#include "datapath/vhost/mem.h"
#include "datapath/vhost/msg.h"
#include "datapath/wire.h"

struct vhost_ring {
	uint16_t size; /* 0: not told yet */
	uint16_t base; /* where it starts; after a stop: where it stood */
	bool has_addr;
	bool has_kick; /* KICK came, with a descriptor or without */
	int8_t enabled; /* what SET_VRING_ENABLE last said; -1: nothing yet */
	bool started;
	uint16_t live_size; /* as it was started; stays while it is being stopped */
	struct vhost_vring_addr addr;
	int kick, call, err;
};

struct vhost_dev {
	/* Set by vhost_dev_init() */
	uint64_t offered;
	uint32_t n_rings; /* that this port has */
	struct port_state *state; /* shared with the worker */

	uint64_t features; /* as acked */
	uint64_t proto;
	uint8_t status;
	bool announce; /* to be told to the worker; cleared by whoever saw it acked */
	struct vhost_mem mem;
	int log_fd;
	uint64_t log_size, log_offset;
	struct vhost_ring ring[DP_RINGS_MAX];
	uint32_t stopping; /* mask of rings stopped by the message in hand */
	bool resetting; /* RESET_DEVICE, to be finished once they have stopped */
	uint64_t fd_epoch; /* grows whenever a descriptor that the worker has changed */
};

/* Most descriptors that vhost_dev_wire() gives: regions, log, a kick and a call for each ring. */
#define VHOST_WIRE_FDS_MAX (DP_REGIONS_MAX + 1 + 2 * DP_RINGS_MAX)

/**
 * vhost_dev_init() - as after connecting
 * @features: what the worker can do; the protocol's own bits are added here
 * @queues: queue pairs, 1 to DP_QUEUE_PAIRS_MAX
 * @state: stays the caller's
 */
void vhost_dev_init(struct vhost_dev *dev, uint64_t features, uint32_t queues,
		    struct port_state *state);

/* Close every descriptor and forget what was negotiated. Rings are stopped (their worker is not told). */
void vhost_dev_clear(struct vhost_dev *dev);

/**
 * vhost_dev_handle() - one message
 * @fds: m->n_fds of them; those that are kept are replaced by -1
 * @ret_reply: what to answer once the worker has acknowledged; size 0: nothing
 *
 * Return: 0, or a negative errno with @err: this front end is to be hung up on.
 */
int vhost_dev_handle(struct vhost_dev *dev, const struct vhost_msg *m, int *fds,
		     struct vhost_reply *ret_reply, struct vnic_err *err);

/* The worker has acknowledged: put late values (a stopped ring's position) into @reply, end a reset. */
void vhost_dev_settle(struct vhost_dev *dev, struct vhost_reply *reply);

/**
 * vhost_dev_wire() - the worker's view: regions, log, rings, features, announce
 * @w: a zeroed message; identity (MAC, VLAN, …) is the caller's to fill in
 * @fds: room for VHOST_WIRE_FDS_MAX; borrowed
 * @hold: rings are told as not running (a broken port)
 *
 * Return: number of @fds.
 */
size_t vhost_dev_wire(const struct vhost_dev *dev, struct wire_port_set *w, int *fds, bool hold);

/*
 * For vhost_dev_restore(): do its parts fit together as messages one by one would have made them?
 * Return: 0 or -EPROTO.
 */
int vhost_dev_check(const struct vhost_dev *dev, struct vnic_err *err);

/* Does a ring run that the guest receives on, and so: is the guest here? */
bool vhost_dev_running(const struct vhost_dev *dev);
/* Is any ring started? */
bool vhost_dev_started(const struct vhost_dev *dev);
/* Queue pairs whose both rings are worked. */
uint32_t vhost_dev_queues_active(const struct vhost_dev *dev);

/*
 * Tell the front end by its ERR eventfds that a port's rings are broken.
 * Return: false where it made us wait for one of them: the others are left alone, and it does not belong here.
 */
bool vhost_dev_signal_err(const struct vhost_dev *dev);
