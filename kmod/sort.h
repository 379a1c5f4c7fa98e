/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a frame goes: the pure part of the switch. Data and decisions only, no skb, no netdev: the unit tests compile it in
 * user space (tests/unit).
 *
 * A table (struct vnic_sort) is never changed: a new one takes its place under RCU. Ports change seldom and frames are many,
 * so a lookup is one multiplication and, nearly always, one cache line.
 *
 * Stations are other people's MACs, learned from the frames that pass: which are behind this host's stack (software ports of
 * the bridge, macvlans), which on the wire. What is not known goes both ways, so a wrong or evicted entry costs a copy or
 * waits for the next frame of that station, as in any bridge.
 */
#ifndef VNIC_SORT_H
#define VNIC_SORT_H

#ifdef __KERNEL__
#include <linux/bitmap.h>
#include <linux/types.h>
#include <linux/unaligned.h>
#endif

#define VNIC_VIDS  4096
#define VNIC_TRUNK 4095 /* no frame has this VLAN: the key of a port that tags by itself */
#define VNIC_MACS  33	/* a port's own and those it asked for */

#define VNIC_MAC_BITS 0xffffffffffffULL
#define VNIC_BCAST    VNIC_MAC_BITS

struct vnic_dev;

/* A device as the table sees it: an immutable copy of policy and filter. */
struct vnic_port {
	struct vnic_dev *dev;
	u64 mac;	  /* its own; 48 bits, little endian: bit 0 is the multicast bit */
	u32 offloads;	  /* VNIC_OFF_*: what it takes unchanged */
	u16 vlan;	  /* access VLAN; 0: untagged */
	u8 hdr_len;	  /* of the virtio-net header */
	bool mergeable;
	bool link, trunk; /* trunk: it tags, with vlans */
	bool promisc, allmulti;
	bool alluni;	  /* promiscuous as for unicast frames */
	bool nomulti, nouni, nobcast; /* nothing of that kind, whatever else was asked for */
	bool spoof;	  /* may send from any MAC */
	u32 weight;
	u64 rate;	  /* bytes/s; 0: no limit */
	u16 n_uni, n_multi;
	u64 uni[VNIC_MACS - 1], multi[VNIC_MACS - 1];
#ifdef __KERNEL__
	struct rcu_head rcu;
#endif
	DECLARE_BITMAP(vlans, VNIC_VIDS);
};

/* Segments and checksums that the guest's driver finishes itself. */
enum {
	VNIC_OFF_CSUM = 1 << 0,
	VNIC_OFF_TSO4 = 1 << 1,
	VNIC_OFF_TSO6 = 1 << 2,
	VNIC_OFF_ECN = 1 << 3,
	VNIC_OFF_USO4 = 1 << 4,
	VNIC_OFF_USO6 = 1 << 5,
};

struct vnic_slot {
	u64 key;
	struct vnic_port *port;
};

struct vnic_sort {
	struct vnic_slot *slot;
	u64 mul;
	u32 shift, mask;
	u32 n, n_trunk, n_promisc;
	struct vnic_port **port;   /* all */
	struct vnic_port **access; /* the same, by access VLAN: VLAN v has [start[v], start[v + 1]) */
	struct vnic_port **trunk;
#ifdef __KERNEL__
	struct rcu_head rcu;
#endif
	u16 start[VNIC_VIDS + 1];
};

#define VNIC_PORTS_MAX 4096

/* A MAC of a frame: there are two more bytes behind it, which makes it one load. */
static inline u64 vnic_mac_of_frame(const void *p)
{
	return get_unaligned_le64(p) & VNIC_MAC_BITS;
}

static inline u64 vnic_mac(const u8 *mac)
{
	return get_unaligned_le32(mac) | (u64)get_unaligned_le16(mac + 4) << 32;
}

/* vnic_mac()'s inverse: ETH_ALEN bytes. */
static inline void vnic_mac_bytes(u64 mac, u8 *to)
{
	put_unaligned_le32(mac, to);
	put_unaligned_le16(mac >> 32, to + 4);
}

static inline bool vnic_mac_is_multicast(u64 mac)
{
	return mac & 1;
}

/* 01:80:c2:00:00:00 … 0f: never forwarded by a bridge (STP, pause frames, LACP, LLDP). */
static inline bool vnic_mac_is_link_local(u64 mac)
{
	return (mac & 0xf0ffffffffffULL) == 0x000000c28001ULL;
}

static inline u64 vnic_key(u64 mac, u16 vid)
{
	return mac | (u64)vid << 48;
}

static inline struct vnic_slot *vnic_sort_slot(const struct vnic_sort *s, u64 key)
{
	return &s->slot[key * s->mul >> s->shift];
}

struct vnic_port *vnic_sort_find_trunk(const struct vnic_sort *s, u64 mac, u16 vid);

/* The port that has @mac in @vid (0: untagged), or NULL. */
static inline struct vnic_port *vnic_sort_find(const struct vnic_sort *s, u64 mac, u16 vid)
{
	const u64 key = vnic_key(mac, vid);
	const struct vnic_slot *e = vnic_sort_slot(s, key);

	for (; e->key; e = e == s->slot + s->mask ? s->slot : e + 1)
		if (e->key == key)
			return e->port;
	if (vid && s->n_trunk)
		return vnic_sort_find_trunk(s, mac, vid);
	return NULL;
}

/* True: @port is in VLAN @vid, by access or by tag. */
static inline bool vnic_port_has_vlan(const struct vnic_port *port, u16 vid)
{
	return port->vlan == vid || (vid && port->trunk && test_bit(vid, port->vlans));
}

bool vnic_port_has_mac(const struct vnic_port *port, u64 mac);
/* True: one frame could be for both. */
bool vnic_port_conflict(const struct vnic_port *a, const struct vnic_port *b);

/* A table of @ports; @seed: random. NULL where memory is short. */
struct vnic_sort *vnic_sort_new(struct vnic_port *const *ports, u32 n, u64 seed, gfp_t gfp);

/*
 * For each member of VLAN @vid that wants @dst, but @except: @fn. Returns how many.
 */
u32 vnic_sort_flood(const struct vnic_sort *s, u64 dst, u16 vid, const struct vnic_port *except,
		    void (*fn)(struct vnic_port *port, void *arg), void *arg);

/* True: vnic_sort_flood() may have something to do. */
static inline bool vnic_sort_floods(const struct vnic_sort *s, u64 dst, u16 vid)
{
	if (!vnic_mac_is_multicast(dst))
		return s->n_promisc;
	return s->n_trunk || s->start[vid] != s->start[vid + 1];
}

/* ---- stations ---- */
#define VNIC_WAYS 4
#define VNIC_SETS 1024

enum vnic_side { VNIC_UNKNOWN, VNIC_WIRE, VNIC_STACK };

struct vnic_stations {
	u64 mul;
	u32 age;
	struct {
		u64 key[VNIC_WAYS];
		u32 seen[VNIC_WAYS];
	} set[VNIC_SETS];
};

/* Any CPU, no lock: a torn pair of key and time does no more than age an entry early or late. @now: in @age's units. */
void vnic_station_learn(struct vnic_stations *st, u64 mac, u16 vid, enum vnic_side side, u32 now);
enum vnic_side vnic_station_find(const struct vnic_stations *st, u64 mac, u16 vid, u32 now);

/* ---- transmit ---- */
enum {
	VNIC_TO_STACK = 1,
	VNIC_TO_WIRE = 2,
	VNIC_TO_PORT = 4,  /* *to_port */
	VNIC_TO_FLOOD = 8, /* vnic_sort_flood() */
};

/*
 * Where a frame of @from for @dst in @vid goes: VNIC_TO_*; 0: nowhere. @host: the uplink's own MAC. @shared: the uplink is the
 * port of a bridge or the like: what is not known may be there.
 */
u32 vnic_sort_decide(const struct vnic_sort *s, const struct vnic_stations *st, const struct vnic_port *from, u64 dst, u16 vid,
		     u64 host, bool shared, u32 now, struct vnic_port **to_port);

#endif
