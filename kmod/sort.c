// SPDX-License-Identifier: GPL-2.0
/* Where a frame goes: the table of (MAC, VLAN), stations, the decision. Pure: see sort.h. */
#ifdef __KERNEL__
#include <linux/bitops.h>
#include <linux/log2.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#endif

#include "sort.h"

struct vnic_port *vnic_sort_find_trunk(const struct vnic_sort *s, u64 mac, u16 vid)
{
	const u64 key = vnic_key(mac, VNIC_TRUNK);
	const struct vnic_slot *e = vnic_sort_slot(s, key);

	/* Several ports may have the same MAC in VLANs that do not overlap. */
	for (; e->key; e = e == s->slot + s->mask ? s->slot : e + 1)
		if (e->key == key && test_bit(vid, e->port->vlans))
			return e->port;
	return NULL;
}

bool vnic_port_has_mac(const struct vnic_port *port, u64 mac)
{
	if (port->mac == mac)
		return true;
	for (u16 i = 0; i < port->n_uni; i++)
		if (port->uni[i] == mac)
			return true;
	return false;
}

/* True: a frame that is not for @port's own MAC is wanted all the same: its group, broadcast, or promiscuous. */
static bool port_wants(const struct vnic_port *port, u64 dst)
{
	if (!vnic_mac_is_multicast(dst))
		return (port->promisc || port->alluni) && !port->nouni;
	if (dst == VNIC_BCAST)
		return !port->nobcast;
	if (port->nomulti)
		return false;
	if (port->promisc || port->allmulti)
		return true;
	for (u16 i = 0; i < port->n_multi; i++)
		if (port->multi[i] == dst)
			return true;
	return false;
}

static bool vlans_meet(const struct vnic_port *a, const struct vnic_port *b)
{
	if (vnic_port_has_vlan(a, b->vlan) || vnic_port_has_vlan(b, a->vlan))
		return true;
	return a->trunk && b->trunk && bitmap_intersects(a->vlans, b->vlans, VNIC_VIDS);
}

bool vnic_port_conflict(const struct vnic_port *a, const struct vnic_port *b)
{
	bool same = vnic_port_has_mac(a, b->mac);

	for (u16 i = 0; i < b->n_uni && !same; i++)
		same = vnic_port_has_mac(a, b->uni[i]);
	return same && vlans_meet(a, b);
}

static void insert(struct vnic_sort *s, u64 mac, u16 vid, struct vnic_port *port)
{
	const u64 key = vnic_key(mac, vid);
	struct vnic_slot *e = vnic_sort_slot(s, key);

	for (; e->key; e = e == s->slot + s->mask ? s->slot : e + 1)
		if (e->key == key && e->port == port)
			return;
	e->key = key;
	e->port = port;
}

static void insert_port(struct vnic_sort *s, struct vnic_port *p)
{
	insert(s, p->mac, p->vlan, p);
	if (p->trunk)
		insert(s, p->mac, VNIC_TRUNK, p);
	for (u16 i = 0; i < p->n_uni; i++) {
		insert(s, p->uni[i], p->vlan, p);
		if (p->trunk)
			insert(s, p->uni[i], VNIC_TRUNK, p);
	}
}

/* Ports by access VLAN, by counting: start[v] is where VLAN v begins. */
static void sort_by_vlan(struct vnic_sort *s, struct vnic_port *const *ports, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++)
		s->start[ports[i]->vlan + 1]++;
	for (i = 0; i < VNIC_VIDS; i++)
		s->start[i + 1] += s->start[i];
	/* Filled from the end of each, which moves start[v + 1] down to where v begins; so fill at v + 1 and shift back. */
	for (i = n; i-- > 0;)
		s->access[--s->start[ports[i]->vlan + 1]] = ports[i];
	for (i = 0; i < VNIC_VIDS; i++)
		s->start[i] = s->start[i + 1];
	s->start[VNIC_VIDS] = n;
}

struct vnic_sort *vnic_sort_new(struct vnic_port *const *ports, u32 n, u64 seed, gfp_t gfp)
{
	struct vnic_sort *s;
	u32 keys = 0, size;
	size_t at = sizeof(*s);
	u8 *p;

	if (n > VNIC_PORTS_MAX)
		return NULL;
	for (u32 i = 0; i < n; i++)
		keys += (1 + ports[i]->n_uni) * (ports[i]->trunk ? 2 : 1);
	/* At most half full, so that a probe ends soon; never quite full, so that it ends. */
	size = roundup_pow_of_two(2 * keys + 2);
	at = round_up(at, sizeof(u64));
	p = kvzalloc(at + size * sizeof(struct vnic_slot) + 3 * n * sizeof(void *), gfp);
	if (!p)
		return NULL;
	s = (struct vnic_sort *)p;
	s->slot = (struct vnic_slot *)(p + at);
	s->port = (struct vnic_port **)(s->slot + size);
	s->access = s->port + n;
	s->trunk = s->access + n;
	s->mask = size - 1;
	s->shift = 64 - ilog2(size);
	s->mul = seed | 1;
	s->n = n;
	for (u32 i = 0; i < n; i++) {
		s->port[i] = ports[i];
		if (ports[i]->trunk)
			s->trunk[s->n_trunk++] = ports[i];
		s->n_promisc += ports[i]->promisc || ports[i]->alluni;
		insert_port(s, ports[i]);
	}
	sort_by_vlan(s, ports, n);
	return s;
}

u32 vnic_sort_flood(const struct vnic_sort *s, u64 dst, u16 vid, const struct vnic_port *except,
		    void (*fn)(struct vnic_port *port, void *arg), void *arg)
{
	u32 i, n = 0;

	for (i = s->start[vid]; i < s->start[vid + 1]; i++) {
		if (s->access[i] == except || !port_wants(s->access[i], dst))
			continue;
		fn(s->access[i], arg);
		n++;
	}
	if (!vid)
		return n;
	for (i = 0; i < s->n_trunk; i++) {
		struct vnic_port *p = s->trunk[i];

		if (p == except || p->vlan == vid || !test_bit(vid, p->vlans) || !port_wants(p, dst))
			continue;
		fn(p, arg);
		n++;
	}
	return n;
}

/* An entry: MAC, VLAN, side, and that it is one. */
#define STATION_STACK BIT_ULL(60)
#define STATION_VALID BIT_ULL(63)

static u32 set_of(const struct vnic_stations *st, u64 id)
{
	return id * st->mul >> (64 - ilog2(VNIC_SETS));
}

void vnic_station_learn(struct vnic_stations *st, u64 mac, u16 vid, enum vnic_side side, u32 now)
{
	const u64 id = vnic_key(mac, vid) | STATION_VALID;
	const u64 key = id | (side == VNIC_STACK ? STATION_STACK : 0);
	u32 set = set_of(st, id), victim = 0;
	s32 oldest = S32_MIN;

	if (vnic_mac_is_multicast(mac))
		return;
	for (u32 w = 0; w < VNIC_WAYS; w++) {
		u64 k = READ_ONCE(st->set[set].key[w]);
		u32 seen = READ_ONCE(st->set[set].seen[w]);

		if ((k & ~STATION_STACK) == id) {
			/* Written only where it changes: the line stays shared between the CPUs. */
			if (k != key)
				WRITE_ONCE(st->set[set].key[w], key);
			if (seen != now)
				WRITE_ONCE(st->set[set].seen[w], now);
			return;
		}
		if (!k)
			seen = now - S32_MAX;
		if ((s32)(now - seen) > oldest) {
			oldest = now - seen;
			victim = w;
		}
	}
	WRITE_ONCE(st->set[set].seen[victim], now);
	WRITE_ONCE(st->set[set].key[victim], key);
}

enum vnic_side vnic_station_find(const struct vnic_stations *st, u64 mac, u16 vid, u32 now)
{
	const u64 id = vnic_key(mac, vid) | STATION_VALID;
	u32 set = set_of(st, id);

	for (u32 w = 0; w < VNIC_WAYS; w++) {
		u64 k = READ_ONCE(st->set[set].key[w]);

		if ((k & ~STATION_STACK) != id)
			continue;
		/* Signed: another CPU may have seen it a moment after @now. */
		if ((s32)(now - READ_ONCE(st->set[set].seen[w])) > (s32)st->age)
			return VNIC_UNKNOWN;
		return k & STATION_STACK ? VNIC_STACK : VNIC_WIRE;
	}
	return VNIC_UNKNOWN;
}

u32 vnic_sort_decide(const struct vnic_sort *s, const struct vnic_stations *st, const struct vnic_port *from, u64 dst, u16 vid,
		     u64 host, bool shared, u32 now, struct vnic_port **to_port)
{
	struct vnic_port *port;
	u32 flood = vnic_sort_floods(s, dst, vid) ? VNIC_TO_FLOOD : 0;

	if (vnic_mac_is_multicast(dst)) {
		if (vnic_mac_is_link_local(dst))
			return 0;
		return VNIC_TO_WIRE | VNIC_TO_STACK | flood;
	}
	port = vnic_sort_find(s, dst, vid);
	if (port) {
		*to_port = port;
		return port == from ? 0 : VNIC_TO_PORT;
	}
	if (dst == host)
		return VNIC_TO_STACK;
	switch (vnic_station_find(st, dst, vid, now)) {
	case VNIC_STACK:
		return VNIC_TO_STACK;
	case VNIC_WIRE:
		return VNIC_TO_WIRE;
	default:
		return VNIC_TO_WIRE | (shared ? VNIC_TO_STACK : 0) | flood;
	}
}
