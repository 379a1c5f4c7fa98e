/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The form of vhost-user messages: tables of what is taken and of what is refused, with the reason. */
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "datapath/limits.h"
#include "datapath/vhost/msg.h"

#define V1 VHOST_VERSION

static void headers(void **state)
{
	static const struct {
		uint32_t request, flags, size;
		const char *refused; /* NULL: taken */
	} rows[] = {
		{ VHOST_GET_FEATURES, V1, 0, NULL },
		{ VHOST_SET_FEATURES, V1, 8, NULL },
		{ VHOST_SET_FEATURES, V1 | VHOST_FLAG_NEED_REPLY, 8, NULL },
		{ VHOST_SET_OWNER, V1, 8, NULL }, /* an unused body */
		{ VHOST_SET_MEM_TABLE, V1, 8 + 32, NULL },
		{ VHOST_SET_MEM_TABLE, V1, 8 + 8 * 32, NULL },
		{ VHOST_SET_MEM_TABLE, V1, 8 + 9 * 32, "SET_MEM_TABLE: a body of 296 bytes" },
		{ VHOST_SET_MEM_TABLE, V1, 0, "SET_MEM_TABLE: a body of 0 bytes" },
		{ VHOST_SET_FEATURES, V1, 0, "SET_FEATURES: a body of 0 bytes" },
		{ VHOST_SET_FEATURES, V1, UINT32_MAX, "SET_FEATURES: a body of 4294967295 bytes" },
		{ VHOST_SET_FEATURES, V1, 9, "SET_FEATURES: a body of 9 bytes" },
		{ VHOST_SET_VRING_ADDR, V1, 39, "SET_VRING_ADDR: a body of 39 bytes" },
		{ VHOST_SET_FEATURES, 0, 8, "version is 0" },
		{ VHOST_SET_FEATURES, 2, 8, "version is 2" },
		{ VHOST_SET_FEATURES, V1 | VHOST_FLAG_REPLY, 8, "sends no replies" },
		{ 0, V1, 0, "message 0 is unknown" },
		{ 21, V1, 8, "message 21 is unknown" },
		{ VHOST_REQUEST_END, V1, 0, "message 41 is unknown" },
		{ UINT32_MAX, V1, 0, "message 4294967295 is unknown" },
		{ VHOST_GET_INFLIGHT_FD, V1, 16, "GET_INFLIGHT_FD: this was never offered" },
		{ VHOST_SET_INFLIGHT_FD, V1, 16, "SET_INFLIGHT_FD: this was never offered" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct vhost_header h = { rows[i].request, rows[i].flags, rows[i].size };
		struct vnic_err err = VNIC_ERR_INIT;
		size_t size = 12345;
		int r = vhost_header_check(&h, &size, &err);

		if (!rows[i].refused) {
			assert_int_equal(r, 0);
			assert_int_equal(size, rows[i].size);
			continue;
		}
		assert_int_equal(r, -EPROTO);
		assert_int_equal(size, 12345);
		if (!strstr(err.message, rows[i].refused))
			fail_msg("row %zu: \"%s\" does not say \"%s\"", i, err.message,
				 rows[i].refused);
	}
}

static int decode(uint32_t request, const void *body, uint32_t size, size_t n_fds,
		  struct vhost_msg *ret, struct vnic_err *err)
{
	const struct vhost_header h = { request, V1, size };

	memset(err, 0, sizeof(*err));
	return vhost_msg_decode(&h, body, n_fds, ret, err);
}

static void refused(uint32_t request, const void *body, uint32_t size, size_t n_fds,
		    const char *reason)
{
	struct vhost_msg m = { .index = 77 };
	struct vnic_err err;

	assert_int_equal(decode(request, body, size, n_fds, &m, &err), -EPROTO);
	assert_int_equal(m.index, 77);
	if (!strstr(err.message, reason))
		fail_msg("\"%s\" does not say \"%s\"", err.message, reason);
}

static void vring_states(void **state)
{
	static const struct {
		uint32_t request, index, num;
		const char *refused;
	} rows[] = {
		{ VHOST_SET_VRING_NUM, 0, 1, NULL },
		{ VHOST_SET_VRING_NUM, 1, 256, NULL },
		{ VHOST_SET_VRING_NUM, DP_RINGS_MAX - 1, DP_RING_SIZE_MAX, NULL },
		{ VHOST_SET_VRING_NUM, 0, 0, "not a power of two" },
		{ VHOST_SET_VRING_NUM, 0, 3, "not a power of two" },
		{ VHOST_SET_VRING_NUM, 0, 65535, "not a power of two" },
		{ VHOST_SET_VRING_NUM, 0, 2 * DP_RING_SIZE_MAX, "not a power of two" },
		{ VHOST_SET_VRING_NUM, 0, 0x80000000, "not a power of two" },
		{ VHOST_SET_VRING_NUM, DP_RINGS_MAX, 256, "there is no ring 16" },
		{ VHOST_SET_VRING_NUM, UINT32_MAX, 256, "there is no ring 4294967295" },
		{ VHOST_SET_VRING_BASE, 0, 65535, NULL },
		{ VHOST_SET_VRING_BASE, 0, 65536, "no split ring's index" },
		{ VHOST_GET_VRING_BASE, 1, 12345, NULL },
		{ VHOST_GET_VRING_BASE, 99, 0, "there is no ring 99" },
		{ VHOST_SET_VRING_ENABLE, 0, 0, NULL },
		{ VHOST_SET_VRING_ENABLE, 0, 1, NULL },
		{ VHOST_SET_VRING_ENABLE, 0, 2, "neither 0 nor 1" },
		{ VHOST_SET_VRING_ENABLE, 256, 1, "there is no ring 256" },
	};
	struct vhost_msg m;
	struct vnic_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct vhost_vring_state body = { rows[i].index, rows[i].num };

		if (rows[i].refused) {
			refused(rows[i].request, &body, sizeof(body), 0, rows[i].refused);
			continue;
		}
		assert_int_equal(decode(rows[i].request, &body, sizeof(body), 0, &m, &err), 0);
		assert_int_equal(m.request, rows[i].request);
		assert_int_equal(m.index, rows[i].index);
		assert_int_equal(m.body.state.num, rows[i].num);
	}
}

static void ring_descriptors(void **state)
{
	static const uint32_t requests[] = { VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL,
					     VHOST_SET_VRING_ERR };
	struct vhost_msg m;
	struct vnic_err err;
	uint64_t u;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		u = 3;
		assert_int_equal(decode(requests[i], &u, 8, 1, &m, &err), 0);
		assert_int_equal(m.index, 3);
		assert_false(m.nofd);
		refused(requests[i], &u, 8, 0, "no descriptor with NOFD clear");
		refused(requests[i], &u, 8, 2, "2 descriptors");
		u = 3 | VHOST_VRING_NOFD;
		assert_int_equal(decode(requests[i], &u, 8, 0, &m, &err), 0);
		assert_int_equal(m.index, 3);
		assert_true(m.nofd);
		refused(requests[i], &u, 8, 1, "a descriptor with NOFD set");
		u = 0x200;
		refused(requests[i], &u, 8, 1, "unknown bits");
		u = 0xff;
		refused(requests[i], &u, 8, 1, "there is no ring 255");
	}
}

static void addresses(void **state)
{
	struct vhost_vring_addr a = { .index = 1, .desc = 0x1000, .avail = 0x2002, .used = 0x3004 };
	struct vhost_msg m;
	struct vnic_err err;

	(void)state;
	assert_int_equal(decode(VHOST_SET_VRING_ADDR, &a, sizeof(a), 0, &m, &err), 0);
	assert_int_equal(m.index, 1);
	a.flags = VHOST_VRING_LOG;
	assert_int_equal(decode(VHOST_SET_VRING_ADDR, &a, sizeof(a), 0, &m, &err), 0);
	a.flags = 2;
	refused(VHOST_SET_VRING_ADDR, &a, sizeof(a), 0, "unknown flags");
	a.flags = 0;
	a.desc = 0x1008;
	refused(VHOST_SET_VRING_ADDR, &a, sizeof(a), 0, "not aligned");
	a.desc = 0x1000;
	a.avail = 0x2001;
	refused(VHOST_SET_VRING_ADDR, &a, sizeof(a), 0, "not aligned");
	a.avail = 0x2000;
	a.used = 0x3002;
	refused(VHOST_SET_VRING_ADDR, &a, sizeof(a), 0, "not aligned");
	a.used = 0x3000;
	a.index = 16;
	refused(VHOST_SET_VRING_ADDR, &a, sizeof(a), 0, "there is no ring 16");
}

static void regions(void **state)
{
	static const struct {
		struct vhost_wire_region r;
		const char *refused;
	} rows[] = {
		{ { 0, 0x1000, 0x7000, 0 }, NULL },
		{ { 0x100000000, 0x40000000, 0x7f0000000000, 0xc0000000 }, NULL },
		{ { 0, 0, 0, 0 }, "is empty" },
		{ { 0x10, 0x1000, 0x1000, 0 }, "not made of pages" },
		{ { 0, 0x1001, 0x1000, 0 }, "not made of pages" },
		{ { 0, 0x1000, 0x1001, 0 }, "not made of pages" },
		{ { 0, 0x1000, 0x1000, 1 }, "not made of pages" },
		{ { UINT64_MAX & ~0xfffULL, 0x2000, 0, 0 }, "guest address wraps" },
		{ { 0, 0x2000, UINT64_MAX & ~0xfffULL, 0 }, "user address wraps" },
		{ { 0, 0x2000, 0, UINT64_MAX & ~0xfffULL }, "file offset wraps" },
		{ { 0, 0x2000, 0, INT64_MAX & ~0xfffULL }, "file offset wraps" },
		{ { 0, UINT64_MAX & ~0xfffULL, 0x1000, 0 }, "wraps" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vnic_err err = VNIC_ERR_INIT;
		int r = vhost_region_check(&rows[i].r, &err);

		assert_int_equal(r, rows[i].refused ? -EPROTO : 0);
		if (rows[i].refused && !strstr(err.message, rows[i].refused))
			fail_msg("row %zu: \"%s\"", i, err.message);
	}
}

static void memory_tables(void **state)
{
	union vhost_body b = { 0 };
	struct vhost_msg m;
	struct vnic_err err;

	(void)state;
	for (size_t i = 0; i < VHOST_TABLE_REGIONS_MAX; i++)
		b.table.region[i] =
			(struct vhost_wire_region){ i << 20, 1 << 20, i << 20, i << 20 };
	b.table.n = 8;
	assert_int_equal(decode(VHOST_SET_MEM_TABLE, &b, 264, 8, &m, &err), 0);
	assert_int_equal(m.body.table.region[7].gpa, 7 << 20);
	refused(VHOST_SET_MEM_TABLE, &b, 264, 7, "7 descriptors for 8 regions");
	refused(VHOST_SET_MEM_TABLE, &b, 264 - 32, 8, "do not hold 8 regions");
	b.table.n = 2;
	refused(VHOST_SET_MEM_TABLE, &b, 264, 2, "do not hold 2 regions");
	assert_int_equal(decode(VHOST_SET_MEM_TABLE, &b, 72, 2, &m, &err), 0);
	b.table.n = 0;
	refused(VHOST_SET_MEM_TABLE, &b, 8, 0, "no region");
	b.table.n = 9;
	refused(VHOST_SET_MEM_TABLE, &b, 264, 8, "9 regions, at most 8");
	b.table.n = UINT32_MAX;
	refused(VHOST_SET_MEM_TABLE, &b, 264, 8, "4294967295 regions");
	b.table.n = 2;
	b.table.region[1].size = 0;
	refused(VHOST_SET_MEM_TABLE, &b, 72, 2, "is empty");
}

static void logs(void **state)
{
	union vhost_body b = { .log = { 0x1000, 0 } };
	struct vhost_msg m;
	struct vnic_err err;

	(void)state;
	assert_int_equal(decode(VHOST_SET_LOG_BASE, &b, 16, 1, &m, &err), 0);
	refused(VHOST_SET_LOG_BASE, &b, 16, 0, "0 descriptors");
	refused(VHOST_SET_LOG_BASE, &b, 16, 2, "2 descriptors");
	b.log.size = 0;
	refused(VHOST_SET_LOG_BASE, &b, 16, 1, "the log is empty");
	b.log.size = 0x1000;
	b.log.offset = UINT64_MAX & ~0xfffULL;
	refused(VHOST_SET_LOG_BASE, &b, 16, 1, "wraps");
	b.log.offset = 8;
	refused(VHOST_SET_LOG_BASE, &b, 16, 1, "inside a page");
}

static void numbers(void **state)
{
	struct vhost_msg m;
	struct vnic_err err;
	uint64_t u = 1500;

	(void)state;
	assert_int_equal(decode(VHOST_NET_SET_MTU, &u, 8, 0, &m, &err), 0);
	u = 67;
	refused(VHOST_NET_SET_MTU, &u, 8, 0, "between 68 and 65535");
	u = 65536;
	refused(VHOST_NET_SET_MTU, &u, 8, 0, "between 68 and 65535");
	u = 0xf;
	assert_int_equal(decode(VHOST_SET_STATUS, &u, 8, 0, &m, &err), 0);
	u = 0x100;
	refused(VHOST_SET_STATUS, &u, 8, 0, "more than a byte");
	refused(VHOST_SET_FEATURES, &u, 8, 1, "1 descriptors, not 0");
}

/* Every request has a name, and none needs a feature that is not there. */
static void names(void **state)
{
	(void)state;
	assert_string_equal(vhost_request_name(VHOST_SET_MEM_TABLE), "SET_MEM_TABLE");
	assert_string_equal(vhost_request_name(0), "an unknown message");
	assert_string_equal(vhost_request_name(UINT32_MAX), "an unknown message");
	assert_int_equal(vhost_request_needs(VHOST_GET_FEATURES), 0);
	assert_int_equal(vhost_request_needs(VHOST_SET_LOG_BASE), VHOST_PROTO_LOG_SHMFD);
	assert_true(vhost_request_needs(VHOST_GET_INFLIGHT_FD) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),
		cmocka_unit_test(vring_states),
		cmocka_unit_test(ring_descriptors),
		cmocka_unit_test(addresses),
		cmocka_unit_test(regions),
		cmocka_unit_test(memory_tables),
		cmocka_unit_test(logs),
		cmocka_unit_test(numbers),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("vhost_msg", tests, NULL, NULL);
}
