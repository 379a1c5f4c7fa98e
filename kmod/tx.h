/* SPDX-License-Identifier: GPL-2.0 */
/* What tx.c and frame.c share: the scheduler and one round of it. */
#ifndef VNIC_TX_H
#define VNIC_TX_H

#include <linux/hrtimer.h>
#include <linux/irq_work.h>

#include "switch.h"

#define VNIC_FRAME_COST 20 /* preamble and gap: what a frame costs the wire besides its bytes */

/* Has the scheduler run where interrupts are off: one a CPU. */
struct vnic_nudge {
	struct irq_work work;
	struct vnic_tx *tx;
};

struct vnic_tx {
	struct napi_struct napi;
	struct vnic_uplink *up;
	struct llist_head kicked; /* devices that somebody woke */
	struct list_head active, waiting; /* NAPI's own */
	u64 now;
	struct hrtimer timer;
	atomic_t next_base;
	struct vnic_nudge __percpu *nudge;
	struct vnic_seg seg[VNIC_SEGS];
};

/* What holds for a poll, looked up once. */
struct vnic_round {
	struct vnic_tx *tx;
	struct vnic_uplink *up;
	struct net_device *netdev; /* NULL: gone */
	const struct vnic_sort *sort;
	const struct vnic_port *port; /* whose turn it is */
	u64 host;
	u32 now, max; /* max: bytes of a frame that is no GSO frame */
	bool shared, running, carrier;
};

/*
 * The frame of @chain: checked, copied or its pages attached, with where it goes in its vnic_cb. The buffer is given back,
 * now or by the frame's completion. NULL: dropped and counted. @vq->lock held.
 */
struct sk_buff *vnic_frame_take(struct vnic_round *r, struct vnic_dev *d, struct vnic_vq *vq, struct vnic_chain *chain);

#endif
