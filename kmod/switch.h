/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the switch share: uplink.c, port.c, nic.c, sort.c, rx.c, tx.c, zc.c. */
#ifndef VNIC_SWITCH_H
#define VNIC_SWITCH_H

#include "vnic.h"
#include "sort.h"

/* An uplink's counters, one set a CPU; shown in its "stats" by these names. */
#define VNIC_UPLINK_STATS(X)                                                                      \
	X(taken)      /* off the wire, for one device */                                          \
	X(taken_host) /* out of the host's stack, for one device */                               \
	X(flooded)    /* copies of broadcasts, multicasts and, for promiscuous ones, the unknown */ \
	X(to_port)    /* from a device to a neighbour */                                          \
	X(to_stack)   /* from a device to the host or what is behind it */                        \
	X(to_wire)    /* from a device to the wire */                                             \
	X(busy)	      /* times that the NIC had no room for a device's frames */                  \
	X(dropped)    /* what could not be cloned, segmented or sent */                           \
	X(told)	      /* times that the NIC was told of filters: ten a second at most */

struct vnic_uplink_stats {
#define X(name) u64 name;
	VNIC_UPLINK_STATS(X)
#undef X
};

#define vnic_count(up, name) this_cpu_inc((up)->stats->name)

/* Stations' time: about a second (256 ticks), and no division a frame. */
static inline u32 vnic_now(void)
{
	return jiffies >> 8;
}
#define VNIC_STATION_AGE ((300 * HZ) >> 8)

/* A frame between transmit and delivery: in skb->cb, which is ours while we own the frame. */
struct vnic_cb {
	struct vnic_port *port; /* VNIC_TO_PORT */
	u16 vid;
	u8 to;
	bool local; /* comes from this host */
};

static inline struct vnic_cb *vnic_cb(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct vnic_cb) > sizeof(skb->cb));
	return (struct vnic_cb *)skb->cb;
}

/*
 * A frame that we gave to the stack as if the uplink had received it passes our own ingress hook once, which knows it by its
 * NAPI id: kept by RPS and by clones, unlike a CPU's flag, and looked at by nobody else before the hook; no NAPI has it.
 */
static inline u32 vnic_mark(const struct net_device *netdev)
{
	return 0xf0000000 | (netdev->ifindex & 0x0fffffff);
}

/* ---- port.c ---- */
int vnic_sort_init(struct vnic_uplink *up);
void vnic_sort_exit(struct vnic_uplink *up);

/* ---- nic.c ---- */
int vnic_nic_init(struct vnic_uplink *up);
void vnic_nic_exit(struct vnic_uplink *up);
/* Process context, rtnl: what the NIC was given is taken back. */
void vnic_nic_forget(struct vnic_uplink *up, struct net_device *netdev);

/* ---- steer.c; rtnl held ---- */
void vnic_steer(struct vnic_uplink *up, struct net_device *netdev);

/* ---- rx.c ---- */
int vnic_rx_init(struct vnic_uplink *up);
void vnic_rx_exit(struct vnic_uplink *up);
/* Give @skb (at its MAC header, its tag out of band, owned by the callee) to @port. BH off, under RCU. */
void vnic_rx_port(struct vnic_uplink *up, struct vnic_port *port, struct sk_buff *skb, bool local);
/* A copy of @skb (at its MAC header; stays the caller's) to all who want it. */
void vnic_rx_flood(struct vnic_uplink *up, const struct vnic_sort *sort, struct sk_buff *skb, u64 dst, u16 vid,
		   const struct vnic_port *except, bool local);
/* Wait until no CPU holds frames for @d. Process context; nothing is sorted to it any more. */
void vnic_rx_settle(struct vnic_dev *d);
unsigned int vnic_hook_ingress(void *priv, struct sk_buff *skb, const struct nf_hook_state *state);
unsigned int vnic_hook_egress(void *priv, struct sk_buff *skb, const struct nf_hook_state *state);

/* ---- tx.c ---- */
enum { VNIC_TX_OPEN, VNIC_TX_QUEUED };

int vnic_tx_init(struct vnic_uplink *up);
void vnic_tx_exit(struct vnic_uplink *up);
void vnic_tx_open(struct vnic_dev *d);
/* Process context: when it returns the scheduler has let go of @d. */
void vnic_tx_close(struct vnic_dev *d);
/* Pair @pair of @d has something to do: any context, takes no lock. */
void vnic_tx_wake(struct vnic_dev *d, unsigned int pair);

/* ---- wire.c: frames to the NIC ---- */
/* Segment, checksum, tag, linearize @list where the NIC doesn't: once, before it is sent. */
struct sk_buff *vnic_wire_fit(struct vnic_uplink *up, struct net_device *netdev, struct sk_buff *list);
/*
 * Send @list, made to fit, by transmit queue @index. What the NIC has no room for comes back, in order; what can't be sent is dropped and
 * counted. @seen: packet sockets have seen the first of @list already; set for what comes back. BH off, under RCU.
 */
struct sk_buff *vnic_wire_send(struct vnic_uplink *up, struct net_device *netdev, u16 index, struct sk_buff *list, bool *seen);
/* To this host's stack, as if received by the uplink. BH off. */
void vnic_wire_to_stack(struct vnic_uplink *up, struct net_device *netdev, struct sk_buff *skb);

/* ---- zc.c: guest pages with the NIC ---- */
struct vnic_ubuf;

int vnic_zc_open(struct vnic_vq *vq);
/* The queue's lock is held for these three. Room for one more? */
bool vnic_zc_may(struct vnic_vq *vq);
/* @skb's fragments are @chain's: its completion gives the buffer back. */
void vnic_zc_attach(struct vnic_vq *vq, struct sk_buff *skb, const struct vnic_chain *chain);
/* Push what the NIC has sent. True: something was pushed, publish it. */
bool vnic_zc_reap(struct vnic_vq *vq);
bool vnic_zc_busy(const struct vnic_vq *vq);
/* Process context, the queue at rest. Two steps, a synchronize_net() between them: see vnic_port_abandon(). */
void vnic_zc_abandon(struct vnic_vq *vq);

#endif
