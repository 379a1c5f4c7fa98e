/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vnic.ko: the VMDq agency as a vDPA parent.
 *
 * Three things: an uplink (a netdev, its hooks, its sorting table, its transmit scheduler; uplink.c, sort.c, rx.c, tx.c),
 * a device (struct vnic_dev: a virtio-net vDPA device on an uplink; device.c, config.c, ctrl.c, mgmt.c, mdev.c, sysfs.c),
 * and rings (ring.h). A device calls the uplink through vnic_port_*(); the uplink finds a device's queues in its vq[].
 *
 *   wire -> uplink netdev -> ingress hook -> sort (MAC, VLAN) -> queue's backlog -> NAPI: pull, copy, push, publish, interrupt
 *   guest -> kick -> device is on the uplink's active list -> NAPI: DRR, pull, frags or copy -> netdev; push at completion
 *
 * Locks, outermost first: vnic_uplink_mutex (list of uplinks) > rtnl > vnic_dev.lock (mutex: status, configuration)
 * > vnic_uplink.lock (spinlock_bh: table writers, active list) > vnic_vq.lock (spinlock_bh). Readers of the table: RCU (softirq).
 * A queue's data path runs only while vq->running, looked at under vq->lock.
 */
#ifndef VNIC_H
#define VNIC_H

#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/llist.h>
#include <linux/mdev.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/vdpa.h>
#include <linux/virtio_net.h>
#include <uapi/linux/vdpa.h>
#include <uapi/linux/virtio_config.h>
#include <uapi/linux/virtio_net.h>

#include "ring.h"

#define VNIC_PAIRS_MAX 8 /* queue pairs of a device */
#define VNIC_VQS_MAX (2 * VNIC_PAIRS_MAX + 1)
#define VNIC_FILTERS 32	 /* MAC filters of each kind that a guest may set: a longer table means promiscuous, as the spec says */
#define VNIC_DRAIN_MS 200 /* how long SUSPEND and reset wait for frames in flight */

struct vnic_dev;
struct vnic_uplink;
struct vnic_port;	/* sort.h */
struct vnic_zc;		/* zc.c */

/* A queue's counters: written under its lock. Shown by vdpa's vendor statistics and sysfs, by these names. */
struct vnic_vq_stats {
	u64 frames, bytes;	/* taken from or given to the guest */
	u64 interrupts;
	u64 zerocopy, copied;	/* transmit: how they went (local deliveries are copied) */
	u64 local;		/* transmit: delivered on this host; receive: that came from this host */
	u64 drop_no_buffer;	/* receive: the guest gave none */
	u64 drop_backlog;	/* receive: its backlog was full */
	u64 drop_too_big;	/* no buffer, or no device, takes it */
	u64 drop_spoof;		/* transmit: a source MAC or a VLAN that is not its own */
	u64 drop_malformed;	/* transmit: header and frame do not fit together */
	u64 drop_uplink;	/* transmit: the uplink is down or refused it */
};

struct vnic_vq {
	struct vnic_dev *dev;
	u16 index;
	spinlock_t lock;	/* ring, running, stats, cb */
	bool ready;		/* the driver enabled it */
	bool set_up;		/* ring is; under dev->lock */
	bool running;		/* set up, DRIVER_OK, not suspended, ring sound, among the pairs in use */
	bool state_set;		/* state was given; else a fresh ring's */
	struct vnic_ring ring;
	u64 desc, driver, device;
	u16 num;
	struct vdpa_vq_state state; /* as set; or as it was when the ring was taken down */
	struct vdpa_callback cb;
	struct vnic_vq_stats stats;
	atomic64_t kicks;	/* by the driver; counted in kick_vq(), where no lock may be taken */
	/* The switch's; all zero at first: nothing for device.c to set up. */
	atomic_t rx_bins;	/* receive: CPUs that hold frames for it (rx.c) */
	struct vnic_zc *zc;	/* transmit: its frames that the NIC still has (zc.c) */
};

/* What the host's class allows its guest to ask for. */
enum {
	VNIC_ALLOW_MAC = 1 << 0,	/* to change its MAC */
	VNIC_ALLOW_VLAN = 1 << 1,	/* to tag, with VLANs of the list */
	VNIC_ALLOW_PROMISC = 1 << 2,
	VNIC_ALLOW_ALLMULTI = 1 << 3,
	VNIC_ALLOW_MULTICAST = 1 << 4,	/* to choose its groups; without it: all of them */
	VNIC_ALLOW_SPOOF = 1 << 5,	/* to send from other MACs */
};

/* Set by the host (sysfs, vdpa); under vnic_dev.lock, and handed to the uplink by vnic_port_update(). */
struct vnic_policy {
	u8 mac[ETH_ALEN];
	u16 vlan;		/* its access VLAN; 0: untagged */
	u32 allow;
	u64 rate;		/* bit/s it may send; 0: no limit */
	u32 weight;		/* its share of the uplink: 1 … 1000, 100 by default */
	bool link;
};

/* What the guest asked for and was granted; under vnic_dev.lock. Freed by RCU when replaced: receive reads it. */
struct vnic_filter {
	struct rcu_head rcu;
	u8 mac[ETH_ALEN];	/* in force */
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	u16 n_uni, n_multi;
	u8 uni[VNIC_FILTERS][ETH_ALEN], multi[VNIC_FILTERS][ETH_ALEN];
	DECLARE_BITMAP(vlans, VLAN_N_VID); /* tags that it sends and wants; of the allowed ones */
};

/* A device in the transmit scheduler: tx.c. */
struct vnic_dev_tx {
	unsigned long flags;	/* VNIC_TX_*, atomic */
	unsigned long pending;	/* pairs that have something to do, a bit each, atomic */
	struct llist_node kicked;
	struct list_head node;	/* active, or waiting for tokens or the NIC */
	s64 deficit, tokens;	/* bytes */
	u64 tokens_at, wake_at;	/* ktime, ns */
	bool turn;		/* its round has begun */
	u16 next_pair, base;	/* base: which of the NIC's queues its first pair uses */
	struct sk_buff *held;	/* frames that the NIC had no room for, a batch at most */
	bool held_seen;		/* and the first was offered to it: packet sockets have seen that one */
	u16 held_pair;
};

/* The NIC's rule that steers a device's frames to one of its queues: steer.c. Under rtnl. */
struct vnic_steer {
	u64 mac;	/* what it matches, or what was refused */
	u16 vid;
	bool made;	/* the NIC has it */
	bool tried;	/* and refused: not asked again before something changes */
	bool steered;	/* it had one before, at */
	u32 last;
	u32 place;	/* in the NIC's table */
	int queue;	/* or, negative, why there is none */
};

#define VNIC_FLOWS 256

struct vnic_dev {
	struct vdpa_device vdpa;
	struct vnic_uplink *up;	/* counted; its netdev may be gone */
	struct mutex lock;
	struct list_head node;	/* in up->devs, which changes under rtnl and up->lock: holders of either may walk it */
	char *name;

	u64 offered, features;
	u8 status;
	bool suspended, port_up, module_held;
	struct virtio_net_config config; /* little endian, as the driver reads it */
	u32 generation;
	struct vdpa_callback config_cb;
	bool announce;		/* VIRTIO_NET_S_ANNOUNCE, until the driver acknowledges it */
	bool announce_due;	/* to the network, by the uplink's work item */
	u16 mtu_set;		/* by the host; 0: the uplink's */
	struct {
		bool carrier;
		u16 mtu;
		u32 speed;
		u8 duplex;
	} uplink;		/* as last seen */

	struct vnic_policy policy;
	DECLARE_BITMAP(allowed_vlans, VLAN_N_VID);
	struct vnic_filter __rcu *filter;
	/* Denied, for the host to see: how often, and the last MAC asked for. */
	u64 denied;
	u8 mac_asked[ETH_ALEN];

	u16 pairs_max, pairs;	/* offered; in use */
	u8 hdr_len;		/* 12 with VERSION_1 or MRG_RXBUF, else 10 */
	struct vnic_mem *as[2];	/* address spaces; counted */
	u8 group_as[2];		/* group 0: data queues, 1: control queue */
	u64 guest_offloads;
	struct delayed_work ctrl_work; /* control queue: process context */
	unsigned long ctrl_until; /* jiffies; until then ctrl_left commands are carried out */
	u16 ctrl_left;
	struct vnic_seg *ctrl_seg; /* its room for a chain */
	struct work_struct broken_work; /* NEEDS_RESET, after vnic_dev_broken() */
	struct vnic_mem *identity; /* for virtio_vdpa only: this kernel's own memory */
	atomic_t dying;		/* who sets it deletes the device: two doors lead out */
	struct completion gone;	/* and this says that it has */
	u16 nvqs;		/* 2 * pairs_max, and the control queue where it is offered */
	struct vnic_vq vq[VNIC_VQS_MAX];

	/* The switch's; all zero at first: nothing for device.c to set up. */
	struct vnic_port __rcu *port; /* as it stands in the sorting table; NULL: not up (port.c) */
	struct vnic_dev_tx tx;
	struct vnic_steer steer;
	u8 flow_pair[VNIC_FLOWS]; /* the pair that a flow was last sent on, by hash: receive follows (rx.c) */
};

/*
 * True: a driver uses the device. Not by ACKNOWLEDGE alone: the virtio bus of virtio_vdpa sets it when it finds the device, and
 * again when a driver has left it.
 */
static inline bool vnic_status_used(u8 status)
{
	return status & ~VIRTIO_CONFIG_S_ACKNOWLEDGE;
}

static inline struct vnic_dev *vnic_of(struct vdpa_device *vdpa)
{
	return container_of(vdpa, struct vnic_dev, vdpa);
}

/* Data queues: those before this index; where MQ was not negotiated the control queue follows the first pair, as the specification says. */
static inline u16 vnic_data_vqs(const struct vnic_dev *d)
{
	return d->features & BIT_ULL(VIRTIO_NET_F_MQ) ? 2 * d->pairs_max : 2;
}

static inline bool vnic_vq_is_ctrl(const struct vnic_vq *vq)
{
	return vq->dev->features & BIT_ULL(VIRTIO_NET_F_CTRL_VQ) && vq->index == vnic_data_vqs(vq->dev);
}

static inline bool vnic_vq_is_rx(const struct vnic_vq *vq)
{
	return !(vq->index & 1) && vq->index < vnic_data_vqs(vq->dev);
}

static inline bool vnic_vq_is_tx(const struct vnic_vq *vq)
{
	return vq->index & 1 && vq->index < vnic_data_vqs(vq->dev);
}

/* ---- main.c ---- */
#define VNIC_VENDOR_ID 0x1af4 /* virtio's own */
extern unsigned int vnic_ring_size; /* a queue's, where its driver sets none */
extern unsigned int vnic_pairs;	    /* a device's, where nobody asked for a number */
extern struct workqueue_struct *vnic_wq;
/* Of each object that is freed by a function of ours once its last reference goes: the module stays until then. */
void vnic_object_new(void);
void vnic_object_freed(void);
/* In use, and the module held: a driver is there or memory is mapped. dev->lock held. False: the module is being unloaded. */
bool vnic_dev_hold(struct vnic_dev *d);
void vnic_dev_unhold(struct vnic_dev *d);

/* ---- device.c ---- */
extern const u64 vnic_features; /* all that can be offered */
/* A new device on @up below @parent, registered with vDPA. @locked: by the caller, as in dev_add; if not, with a reference. */
struct vnic_dev *vnic_dev_new(struct vnic_uplink *up, struct device *parent, const char *name,
			      const struct vdpa_dev_set_config *config, bool locked);
void vnic_dev_del(struct vnic_dev *d, bool locked);
/* DRIVER_OK, sound and not suspended: an enabled queue runs. dev->lock held. */
bool vnic_dev_live(const struct vnic_dev *d);
u64 vnic_dev_offloads(u64 features);
__printf(2, 3) void vnic_dev_fail(struct vnic_dev *d, const char *fmt, ...);
/* The ring of @vq broke the rules (its lock held, softirq): the device asks for a reset; done from a work item. */
void vnic_dev_broken(struct vnic_vq *vq);

/* ---- queue.c ---- */
int vnic_vq_start(struct vnic_vq *vq);
void vnic_vq_pause(struct vnic_vq *vq);
void vnic_vq_stop(struct vnic_vq *vq);
int vnic_vq_remap(struct vnic_vq *vq, struct vnic_mem *mem);
void vnic_vq_reset(struct vnic_vq *vq);
/* Have a queue looked at. Any context: see vnic_tx_kick(). */
void vnic_vq_kick(struct vnic_vq *vq);
const char *vnic_vq_stat(struct vnic_vq *vq, unsigned int n, u64 *ret_value);
/* Tell the driver that buffers came back; vq->lock held. */
void vnic_vq_interrupt(struct vnic_vq *vq);
int vnic_set_vq_address(struct vdpa_device *vdpa, u16 idx, u64 desc, u64 driver, u64 device);
void vnic_set_vq_num(struct vdpa_device *vdpa, u16 idx, u32 num);
u16 vnic_get_vq_size(struct vdpa_device *vdpa, u16 idx);
void vnic_kick_vq(struct vdpa_device *vdpa, u16 idx);
void vnic_set_vq_cb(struct vdpa_device *vdpa, u16 idx, struct vdpa_callback *cb);
void vnic_set_vq_ready(struct vdpa_device *vdpa, u16 idx, bool ready);
bool vnic_get_vq_ready(struct vdpa_device *vdpa, u16 idx);
int vnic_set_vq_state(struct vdpa_device *vdpa, u16 idx, const struct vdpa_vq_state *state);
int vnic_get_vq_state(struct vdpa_device *vdpa, u16 idx, struct vdpa_vq_state *state);
u32 vnic_get_vq_group(struct vdpa_device *vdpa, u16 idx);
int vnic_get_vendor_vq_stats(struct vdpa_device *vdpa, u16 idx, struct sk_buff *msg, struct netlink_ext_ack *extack);

/* ---- map.c ---- */
struct vnic_mem *vnic_dev_identity(const struct vnic_dev *d);
void vnic_drop_map(struct vnic_dev *d, unsigned int asid);
int vnic_set_map(struct vdpa_device *vdpa, unsigned int asid, struct vhost_iotlb *iotlb);
int vnic_reset_map(struct vdpa_device *vdpa, unsigned int asid);
int vnic_set_group_asid(struct vdpa_device *vdpa, unsigned int group, unsigned int asid);

/* ---- config.c ---- */
void vnic_config_interrupt(struct vnic_dev *d);
void vnic_config_update(struct vnic_dev *d);
void vnic_config_reset(struct vnic_dev *d);
void vnic_config_announced(struct vnic_dev *d);
void vnic_config_uplink(struct vnic_dev *d);
/* The uplink's carrier, MTU or name changed, or it is gone (process context, rtnl): config space, config interrupt. */
void vnic_dev_uplink_changed(struct vnic_dev *d);
void vnic_set_config_cb(struct vdpa_device *vdpa, struct vdpa_callback *cb);
size_t vnic_get_config_size(struct vdpa_device *vdpa);
void vnic_get_config(struct vdpa_device *vdpa, unsigned int offset, void *buf, unsigned int len);
void vnic_set_config(struct vdpa_device *vdpa, unsigned int offset, const void *buf, unsigned int len);
u32 vnic_get_generation(struct vdpa_device *vdpa);

/* ---- ctrl.c ---- */
void vnic_ctrl_work(struct work_struct *work);
/* A filter as after a reset: its own MAC; all that its class allows where its driver cannot choose. */
void vnic_filter_reset(struct vnic_dev *d);
int vnic_policy_changed(struct vnic_dev *d);
int vnic_policy_set_mac(struct vnic_dev *d, const u8 *mac);
u8 vnic_mac_ask(struct vnic_dev *d, const u8 *mac);
bool vnic_mac_of_host(struct vnic_uplink *up, const u8 *mac);
bool vnic_dev_has_mac(struct vnic_dev *d, const u8 *mac);

/* ---- mgmt.c, mdev.c, sysfs.c ---- */
int vnic_mgmt_register(struct vnic_uplink *up);
/* May wait until nobody has a device of it open: never under rtnl. */
void vnic_mgmt_unregister(struct vnic_uplink *up);
int vnic_mdev_init(void);
void vnic_mdev_exit(void);
int vnic_mdev_register(struct vnic_uplink *up);
void vnic_mdev_unregister(struct vnic_uplink *up);
extern const struct attribute_group *vnic_dev_groups[];

/* ---- uplink.c: /sys/bus/vnic/{new_uplink,del_uplink}, the devices of that bus, netdev events ---- */
int vnic_uplinks_init(void);
void vnic_uplinks_exit(void);

struct vnic_sort;	/* sort.h */
struct vnic_stations;	/* sort.h */
struct vnic_nic;	/* nic.c */
struct vnic_uplink_stats; /* switch.h */
struct vnic_rx_cpu;	/* rx.c */
struct vnic_tx;		/* tx.c */

struct vnic_uplink {
	struct device dev;	/* on bus "vnic", named as the netdev; get_device(&up->dev) keeps it */
	struct list_head node;
	struct vdpa_mgmt_dev mgmt;
	struct mdev_parent mdev_parent;
	struct mdev_type mdev_type, *mdev_types[1];
	struct list_head devs;	/* vnic_dev.node */
	u32 ndevs;
	spinlock_t lock;
	struct net_device __rcu *netdev; /* NULL: gone. RCU in softirq, rtnl elsewhere */
	netdevice_tracker tracker;
	struct nf_hook_ops ingress, egress;
	bool hooked, egress_hooked, added, mgmt_up, mdev_up, closing;
	struct delayed_work gone_work;	/* deletes the devices of an uplink whose netdev has gone */
	struct delayed_work nic_work;	/* brings the NIC's filters up to date (nic.c): needs rtnl */
	unsigned long nic_next;		/* jiffies: not before */
	struct vnic_nic *nic;		/* what the NIC was given; under rtnl */
	bool steer_anew;		/* the NIC may have lost its rules, or refuse no more (steer.c) */

	struct vnic_sort __rcu *sort;	/* replaced as a whole, under lock */
	struct vnic_stations *stations;

	/* rx.c: one a CPU; tx.c: one an uplink. Their NAPI hangs on a dummy netdev. */
	struct net_device *napi_dev;
	struct vnic_rx_cpu __percpu *rx;
	struct vnic_tx *tx;

	struct vnic_uplink_stats __percpu *stats;
};

/* ---- the device's side of the uplink (sort.c, rx.c, tx.c). vnic_dev.lock held, process context, unless said ---- */
/*
 * Take @d into the sorting table with its policy and filter, and let its running queues run. -EADDRINUSE: another device of
 * this uplink has that MAC and VLAN. Where the netdev has gone what it sends is dropped.
 */
int vnic_port_up(struct vnic_dev *d);
/* Policy, filter, pairs or link of a port that is up changed. The same errors; the old state stays in force then. */
int vnic_port_update(struct vnic_dev *d);
/*
 * Out of the table; when it returns no softirq is at its queues any more (their running is false and synchronize_net() is
 * done), and its backlogs are dropped. Zero-copy frames may still be with the NIC: vnic_port_drain().
 */
void vnic_port_down(struct vnic_dev *d);
/* Wait until the NIC has sent every zero-copy frame of @d. 0, or -ETIMEDOUT after @ms: the frames are still with the NIC. */
int vnic_port_drain(struct vnic_dev *d, unsigned int ms);
/* Forget frames in flight: their completion touches no ring any more (reset). */
void vnic_port_abandon(struct vnic_dev *d);
/* A transmit queue's ring was set up; dev->lock held. */
void vnic_vq_open(struct vnic_vq *vq);
/* Both for one transmit queue alone, which runs no more (its driver disabled it; the others go on). */
int vnic_vq_drain(struct vnic_vq *vq, unsigned int ms);
void vnic_vq_abandon(struct vnic_vq *vq);
/*
 * The guest has something to send, or new receive buffers. Any context: vhost-vdpa calls kick_vq() from inside the wait queue
 * of the kick eventfd, with interrupts off; and a hostile user may make our own interrupt (another eventfd, signalled under
 * vq->lock) that kick. So: take no lock that is taken elsewhere with interrupts on (no vq->lock, no uplink.lock, nothing _bh),
 * signal nothing, only note it atomically and have NAPI scheduled (from irq_work where interrupts are off: a softirq raised
 * there waits for ksoftirqd).
 */
void vnic_tx_kick(struct vnic_vq *vq);
void vnic_rx_kick(struct vnic_vq *vq);
/*
 * Have the NIC told what the table wants by now, and done what is due to the network: by a work item, at the latest in a tenth of
 * a second; or at once, for a device that starts. Any context.
 */
void vnic_nic_update(struct vnic_uplink *up);
void vnic_nic_update_now(struct vnic_uplink *up);
/* Devices are about to be in up->devs, or out of it; rtnl held. */
void vnic_steer_init(struct vnic_dev *d);
void vnic_steer_forget(struct vnic_uplink *up, struct net_device *netdev, struct vnic_dev *only, int why);
ssize_t vnic_steer_show(struct vnic_dev *d, char *buf);
/* Send a gratuitous ARP-like announcement of @d's MAC and VLANs on the uplink (RARP, as QEMU does). */
void vnic_port_announce(struct vnic_dev *d);

/* What uplink.c, port.c, nic.c, sort.c, rx.c, tx.c and zc.c share: switch.h. */

#endif
