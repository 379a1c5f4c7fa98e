/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kmod's switch, its pure part: the sorting table against a walk over all ports, who gets a copy, conflicts, stations, and
 * where a device's frame goes.
 */
#include "tests/unit/unit.h"

#include "tests/unit/kshim/ksort.h"

#include "kmod/sort.h"

#define PORTS 40
#define A     0x0a0000005452ULL /* 52:54:00:00:00:0a */
#define B     0x0b0000005452ULL
#define HOST  0xee0000005452ULL
#define ODD   0x770000005452ULL
#define GROUP 0x0100005e0001ULL

static unsigned int seed = 5;

static unsigned int rnd(unsigned int n)
{
	return (unsigned int)rand_r(&seed) % n;
}

/* Few MACs and VLANs, so that ports nearly meet; each port's MACs are of its own. */
static u64 rnd_mac(unsigned int owner)
{
	return 0x005452ULL | (u64)owner << 32 | (u64)rnd(3) << 40;
}

static void rnd_port(struct vnic_port *p, unsigned int owner)
{
	memset(p, 0, sizeof(*p));
	p->mac = rnd_mac(owner);
	p->vlan = rnd(4) ? (u16)rnd(6) : 0;
	p->link = true;
	p->promisc = !rnd(5);
	p->allmulti = !rnd(3);
	p->alluni = !rnd(6);
	p->nomulti = !rnd(6);
	p->nouni = !rnd(6);
	p->nobcast = !rnd(4);
	p->n_uni = (u16)rnd(4);
	p->n_multi = (u16)rnd(3);
	for (u16 i = 0; i < p->n_uni; i++)
		p->uni[i] = rnd_mac(owner);
	for (u16 i = 0; i < p->n_multi; i++)
		p->multi[i] = GROUP + ((u64)rnd(3) << 40);
	for (unsigned int i = rnd(2) ? rnd(5) : 0; i; i--) {
		p->trunk = true;
		set_bit(1 + rnd(7), p->vlans);
	}
}

static bool in_vlan(const struct vnic_port *p, u16 vid)
{
	return p->vlan == vid || (vid && p->trunk && test_bit(vid, p->vlans));
}

static struct vnic_port *walk(struct vnic_port **port, unsigned int n, u64 mac, u16 vid)
{
	for (unsigned int i = 0; i < n; i++) {
		if (!in_vlan(port[i], vid))
			continue;
		if (port[i]->mac == mac)
			return port[i];
		for (u16 u = 0; u < port[i]->n_uni; u++)
			if (port[i]->uni[u] == mac)
				return port[i];
	}
	return NULL;
}

struct got {
	struct vnic_port *port[PORTS];
	unsigned int n;
};

static void get(struct vnic_port *port, void *arg)
{
	struct got *got = arg;

	for (unsigned int i = 0; i < got->n; i++)
		assert_ptr_not_equal(got->port[i], port); /* one copy each */
	assert_true(got->n < PORTS);
	got->port[got->n++] = port;
}

static bool wants(const struct vnic_port *p, u64 dst)
{
	if (dst == VNIC_BCAST)
		return !p->nobcast;
	if (!(dst & 1))
		return (p->promisc || p->alluni) && !p->nouni;
	if (p->nomulti)
		return false;
	for (u16 i = 0; i < p->n_multi; i++)
		if (p->multi[i] == dst)
			return true;
	return p->promisc || p->allmulti;
}

static void check_flood(const struct vnic_sort *s, struct vnic_port **port, unsigned int n, u64 dst,
			u16 vid)
{
	const struct vnic_port *except = n && rnd(2) ? port[rnd(n)] : NULL;
	struct got got = { .n = 0 };
	unsigned int want = 0, said = vnic_sort_flood(s, dst, vid, except, get, &got);

	assert_int_equal(said, got.n);
	for (unsigned int i = 0; i < got.n; i++)
		assert_true(got.port[i] != except && in_vlan(got.port[i], vid) &&
			    wants(got.port[i], dst));
	for (unsigned int i = 0; i < n; i++)
		want += port[i] != except && in_vlan(port[i], vid) && wants(port[i], dst);
	assert_int_equal(got.n, want);
	if (got.n)
		assert_true(vnic_sort_floods(s, dst, vid));
}

/* Conflicting ports are left out, as port.c does: then the table and the walk agree on every frame. */
static void table_is_a_walk(void **state)
{
	static struct vnic_port ports[PORTS];

	(void)state;
	for (unsigned int round = 0; round < 300; round++) {
		struct vnic_port *port[PORTS];
		unsigned int n = 0, try = rnd(PORTS + 1);
		struct vnic_sort *s;

		for (unsigned int i = 0; i < try; i++) {
			bool meets = false;

			rnd_port(&ports[n], rnd(12));
			for (unsigned int k = 0; k < n; k++)
				meets |= vnic_port_conflict(port[k], &ports[n]);
			if (meets)
				continue;
			port[n] = &ports[n];
			n++;
		}
		s = vnic_sort_new(port, n, (u64)rnd(1u << 30) << 34 | rnd(1u << 30), GFP_KERNEL);
		assert_non_null(s);
		for (unsigned int i = 0; i < 300; i++) {
			u64 mac = rnd_mac(rnd(13));
			u16 vid = rnd(20) ? (u16)rnd(9) : 4094;

			assert_ptr_equal(vnic_sort_find(s, mac, vid), walk(port, n, mac, vid));
			check_flood(s, port, n, rnd(2) ? VNIC_BCAST : GROUP + ((u64)rnd(4) << 40),
				    vid);
			check_flood(s, port, n, ODD, vid);
		}
		kvfree(s);
	}
}

static void conflicts(void **state)
{
	static struct vnic_port a, b;

	(void)state;
	a = (struct vnic_port){ .mac = A };
	b = (struct vnic_port){ .mac = B };
	assert_false(vnic_port_conflict(&a, &b));
	b.mac = A;
	assert_true(vnic_port_conflict(&a, &b));
	b.vlan = 7;
	assert_false(vnic_port_conflict(&a, &b));
	a.trunk = true;
	set_bit(8, a.vlans);
	assert_false(vnic_port_conflict(&a, &b));
	set_bit(7, a.vlans);
	assert_true(vnic_port_conflict(&a, &b));
	assert_true(vnic_port_conflict(&b, &a));
	b.mac = B;
	assert_false(vnic_port_conflict(&a, &b));
	b.uni[b.n_uni++] = A;
	assert_true(vnic_port_conflict(&a, &b));
	assert_true(vnic_port_conflict(&b, &a));
}

static void short_memory(void **state)
{
	(void)state;
	kshim_fail = 1;
	assert_null(vnic_sort_new(NULL, 0, 1, GFP_KERNEL));
	kshim_fail = 0;
	assert_null(vnic_sort_new(NULL, VNIC_PORTS_MAX + 1, 1, GFP_KERNEL));
}

static void macs(void **state)
{
	static const u8 frame[] = { 0x52, 0x54, 0, 0, 0, 0x0a, 0xff, 0xff };
	static const u8 stp[] = { 0x01, 0x80, 0xc2, 0, 0, 0x0e, 0, 0 },
			near[] = { 0x01, 0x80, 0xc2, 0, 0, 0x10, 0, 0 };

	u8 back[] = { 1, 1, 1, 1, 1, 1, 1 };

	(void)state;
	assert_int_equal(vnic_mac(frame), A);
	vnic_mac_bytes(vnic_mac(stp), back);
	assert_memory_equal(back, stp, 6);
	assert_int_equal(back[6], 1);
	assert_int_equal(vnic_mac_of_frame(frame), A);
	assert_false(vnic_mac_is_multicast(A));
	assert_true(vnic_mac_is_multicast(VNIC_BCAST));
	assert_true(vnic_mac_is_link_local(vnic_mac_of_frame(stp)));
	assert_false(vnic_mac_is_link_local(vnic_mac_of_frame(near)));
	assert_false(vnic_mac_is_link_local(VNIC_BCAST));
}

static struct vnic_stations *stations_new(void)
{
	static struct vnic_stations st;

	memset(&st, 0, sizeof(st));
	st.mul = 0x9e3779b97f4a7c15ULL;
	st.age = 300;
	return &st;
}

static void stations(void **state)
{
	struct vnic_stations *st = stations_new();
	unsigned int known = 0;

	(void)state;
	assert_int_equal(vnic_station_find(st, A, 0, 1), VNIC_UNKNOWN);
	vnic_station_learn(st, A, 0, VNIC_STACK, 1000);
	assert_int_equal(vnic_station_find(st, A, 0, 1300), VNIC_STACK);
	assert_int_equal(vnic_station_find(st, A, 0, 999), VNIC_STACK); /* another CPU's clock */
	assert_int_equal(vnic_station_find(st, A, 0, 1301), VNIC_UNKNOWN);
	assert_int_equal(vnic_station_find(st, A, 1, 1000), VNIC_UNKNOWN);
	vnic_station_learn(st, A, 0, VNIC_WIRE, 1301);
	assert_int_equal(vnic_station_find(st, A, 0, 1301), VNIC_WIRE); /* it moved */
	vnic_station_learn(st, GROUP, 0, VNIC_WIRE, 1301);
	assert_int_equal(vnic_station_find(st, GROUP, 0, 1301), VNIC_UNKNOWN);
	/* The clock wraps. */
	vnic_station_learn(st, B, 0, VNIC_STACK, UINT32_MAX - 5);
	assert_int_equal(vnic_station_find(st, B, 0, 5), VNIC_STACK);
	assert_int_equal(vnic_station_find(st, B, 0, 500), VNIC_UNKNOWN);

	/* A flood of made-up stations is bounded, and what was seen last is kept. */
	st = stations_new();
	for (unsigned int i = 0; i < 100000; i++)
		vnic_station_learn(st, (u64)i << 8 | 2, 3, VNIC_WIRE, 10 + i / 1000);
	for (unsigned int i = 0; i < 100000; i++)
		known += vnic_station_find(st, (u64)i << 8 | 2, 3, 110) == VNIC_WIRE;
	assert_true(known > VNIC_SETS * VNIC_WAYS / 2 && known <= VNIC_SETS * VNIC_WAYS);
	assert_int_equal(vnic_station_find(st, (u64)99999 << 8 | 2, 3, 110), VNIC_WIRE);
}

static void where_to(void **state)
{
	static struct vnic_port a, b;
	struct vnic_port *ports[] = { &a, &b }, *to;
	struct vnic_stations *st = stations_new();
	struct vnic_sort *s;
	const struct {
		u64 dst;
		u16 vid;
		bool shared;
		u32 to;
	} row[] = {
		{ A, 0, true, 0 }, /* to itself */
		{ B, 0, true, VNIC_TO_PORT },
		{ B, 5, true, VNIC_TO_STACK | VNIC_TO_WIRE }, /* not in this VLAN */
		{ HOST, 0, false, VNIC_TO_STACK },
		{ HOST, 5, false, VNIC_TO_STACK }, /* a VLAN device of the host */
		{ VNIC_BCAST, 0, false, VNIC_TO_STACK | VNIC_TO_WIRE | VNIC_TO_FLOOD },
		{ VNIC_BCAST, 5, false, VNIC_TO_STACK | VNIC_TO_WIRE },
		{ GROUP, 0, true, VNIC_TO_STACK | VNIC_TO_WIRE | VNIC_TO_FLOOD },
		{ 0x0e0000c28001ULL, 0, true, 0 }, /* LLDP */
		{ ODD, 0, false, VNIC_TO_WIRE },
		{ ODD, 0, true, VNIC_TO_STACK | VNIC_TO_WIRE },
		{ ODD + (1ULL << 40), 0, true, VNIC_TO_WIRE }, /* known on the wire */
		{ ODD + (2ULL << 40), 0, false, VNIC_TO_STACK }, /* known behind the stack */
	};

	(void)state;
	a = (struct vnic_port){ .mac = A };
	b = (struct vnic_port){ .mac = B };
	s = vnic_sort_new(ports, 2, 77, GFP_KERNEL);
	assert_non_null(s);
	vnic_station_learn(st, ODD + (1ULL << 40), 0, VNIC_WIRE, 9);
	vnic_station_learn(st, ODD + (2ULL << 40), 0, VNIC_STACK, 9);
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		to = NULL;
		assert_int_equal(vnic_sort_decide(s, st, &a, row[i].dst, row[i].vid, HOST,
						  row[i].shared, 10, &to),
				 row[i].to);
		if (row[i].to == VNIC_TO_PORT)
			assert_ptr_equal(to, &b);
	}
	kvfree(s);
	/* A promiscuous neighbour gets what nobody knows, and only that. */
	b.promisc = true;
	s = vnic_sort_new(ports, 2, 77, GFP_KERNEL);
	assert_int_equal(vnic_sort_decide(s, st, &a, ODD, 0, HOST, false, 10, &to),
			 VNIC_TO_WIRE | VNIC_TO_FLOOD);
	assert_int_equal(vnic_sort_decide(s, st, &a, ODD + (1ULL << 40), 0, HOST, false, 10, &to),
			 VNIC_TO_WIRE);
	kvfree(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_a_walk), cmocka_unit_test(conflicts),
		cmocka_unit_test(short_memory),	   cmocka_unit_test(macs),
		cmocka_unit_test(stations),	   cmocka_unit_test(where_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
