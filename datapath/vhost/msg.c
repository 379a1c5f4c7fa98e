/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/vhost/msg.h"

#include <inttypes.h>
#include <string.h>

#include "api/errors.h"
#include "base/str.h"
#include "datapath/limits.h"

#define U64   sizeof(uint64_t)
#define STATE sizeof(struct vhost_vring_state)
#define TABLE offsetof(union vhost_body, table.region)

/*
 * Each message we take: how long its body may be and how many descriptors may come with it. Where the
 * specification has no body there are front ends that send an empty u64: it is not looked at.
 */
static const struct vhost_rule {
	const char *name;
	size_t min, max;
	size_t min_fds, max_fds;
	uint64_t needs; /* protocol feature */
} rules[VHOST_REQUEST_END] = {
	[VHOST_GET_FEATURES] = { "GET_FEATURES", 0, U64, 0, 0, 0 },
	[VHOST_SET_FEATURES] = { "SET_FEATURES", U64, U64, 0, 0, 0 },
	[VHOST_SET_OWNER] = { "SET_OWNER", 0, U64, 0, 0, 0 },
	[VHOST_RESET_OWNER] = { "RESET_OWNER", 0, U64, 0, 0, 0 },
	[VHOST_SET_MEM_TABLE] = { "SET_MEM_TABLE", TABLE,
				  TABLE + VHOST_TABLE_REGIONS_MAX *
						  sizeof(struct vhost_wire_region),
				  0, VHOST_TABLE_REGIONS_MAX, 0 },
	[VHOST_SET_LOG_BASE] = { "SET_LOG_BASE", 16, 16, 1, 1, VHOST_PROTO_LOG_SHMFD },
	[VHOST_SET_LOG_FD] = { "SET_LOG_FD", 0, U64, 1, 1, 0 },
	[VHOST_SET_VRING_NUM] = { "SET_VRING_NUM", STATE, STATE, 0, 0, 0 },
	[VHOST_SET_VRING_ADDR] = { "SET_VRING_ADDR", sizeof(struct vhost_vring_addr),
				   sizeof(struct vhost_vring_addr), 0, 0, 0 },
	[VHOST_SET_VRING_BASE] = { "SET_VRING_BASE", STATE, STATE, 0, 0, 0 },
	[VHOST_GET_VRING_BASE] = { "GET_VRING_BASE", STATE, STATE, 0, 0, 0 },
	[VHOST_SET_VRING_KICK] = { "SET_VRING_KICK", U64, U64, 0, 1, 0 },
	[VHOST_SET_VRING_CALL] = { "SET_VRING_CALL", U64, U64, 0, 1, 0 },
	[VHOST_SET_VRING_ERR] = { "SET_VRING_ERR", U64, U64, 0, 1, 0 },
	[VHOST_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", 0, U64, 0, 0, 0 },
	[VHOST_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", U64, U64, 0, 0, 0 },
	[VHOST_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", 0, U64, 0, 0, VHOST_PROTO_MQ },
	[VHOST_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", STATE, STATE, 0, 0, 0 },
	[VHOST_SEND_RARP] = { "SEND_RARP", U64, U64, 0, 0, VHOST_PROTO_RARP },
	[VHOST_NET_SET_MTU] = { "NET_SET_MTU", U64, U64, 0, 0, VHOST_PROTO_NET_MTU },
	[VHOST_RESET_DEVICE] = { "RESET_DEVICE", 0, U64, 0, 0, VHOST_PROTO_RESET_DEVICE },
	[VHOST_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", 0, U64, 0, 0, VHOST_PROTO_MEM_SLOTS },
	[VHOST_ADD_MEM_REG] = { "ADD_MEM_REG", 40, 40, 1, 1, VHOST_PROTO_MEM_SLOTS },
	/* A descriptor with REM_MEM_REG is closed unused, as the specification asks for. */
	[VHOST_REM_MEM_REG] = { "REM_MEM_REG", 40, 40, 0, 1, VHOST_PROTO_MEM_SLOTS },
	[VHOST_SET_STATUS] = { "SET_STATUS", U64, U64, 0, 0, VHOST_PROTO_STATUS },
	[VHOST_GET_STATUS] = { "GET_STATUS", 0, U64, 0, 0, VHOST_PROTO_STATUS },
	/* Known by name for the sake of the reason we give; never offered. */
	[VHOST_GET_INFLIGHT_FD] = { "GET_INFLIGHT_FD", 0, U64, 0, 0, UINT64_MAX },
	[VHOST_SET_INFLIGHT_FD] = { "SET_INFLIGHT_FD", 0, U64, 0, 0, UINT64_MAX },
};

_Static_assert(sizeof(struct vhost_header) == 12, "the protocol's header");
_Static_assert(sizeof(struct vhost_vring_addr) == 40, "the protocol's vring address");
_Static_assert(sizeof(((union vhost_body *)0)->slot) == 40, "the protocol's memory slot");
_Static_assert(sizeof(((union vhost_body *)0)->table) == 264, "the protocol's memory table");

static const struct vhost_rule *find(uint32_t request)
{
	return request < ARRAY_SIZE(rules) && rules[request].name ? &rules[request] : NULL;
}

const char *vhost_request_name(uint32_t request)
{
	const struct vhost_rule *r = find(request);

	return r ? r->name : "an unknown message";
}

uint64_t vhost_request_needs(enum vhost_request request)
{
	const struct vhost_rule *r = find(request);

	return r ? r->needs : UINT64_MAX;
}

#define REFUSE(err, ...) vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE, __VA_ARGS__)

int vhost_header_check(const struct vhost_header *h, size_t *ret_size, struct vnic_err *err)
{
	const struct vhost_rule *r = find(h->request);

	if ((h->flags & VHOST_VERSION_MASK) != VHOST_VERSION)
		return REFUSE(err, "the header's version is %u, not %u",
			      h->flags & VHOST_VERSION_MASK, VHOST_VERSION);
	if (!r)
		return REFUSE(err, "message %" PRIu32 " is unknown", h->request);
	if (r->needs == UINT64_MAX)
		return REFUSE(err, "%s: this was never offered", r->name);
	if (h->flags & VHOST_FLAG_REPLY)
		return REFUSE(err, "%s: a front end sends no replies", r->name);
	if (h->size < r->min || h->size > r->max)
		return REFUSE(err, "%s: a body of %" PRIu32 " bytes, not %zu%s", r->name, h->size,
			      r->min, r->min == r->max ? "" : " or up to the whole body");
	*ret_size = h->size;
	return 0;
}

int vhost_region_check(const struct vhost_wire_region *r, struct vnic_err *err)
{
	uint64_t end;

	if (r->size == 0)
		return REFUSE(err, "a memory region is empty");
	if ((r->gpa | r->uva | r->size | r->offset) & 0xfff)
		return REFUSE(err,
			      "a memory region is not made of pages: 0x%" PRIx64 "+0x%" PRIx64
			      " at 0x%" PRIx64 ", offset 0x%" PRIx64,
			      r->gpa, r->size, r->uva, r->offset);
	if (__builtin_add_overflow(r->gpa, r->size, &end))
		return REFUSE(err,
			      "a memory region's guest address wraps: 0x%" PRIx64 "+0x%" PRIx64,
			      r->gpa, r->size);
	if (__builtin_add_overflow(r->uva, r->size, &end))
		return REFUSE(err, "a memory region's user address wraps: 0x%" PRIx64 "+0x%" PRIx64,
			      r->uva, r->size);
	if (__builtin_add_overflow(r->offset, r->size, &end) || end > INT64_MAX)
		return REFUSE(err, "a memory region's file offset wraps: 0x%" PRIx64 "+0x%" PRIx64,
			      r->offset, r->size);
	return 0;
}

static int check_table(const struct vhost_msg *m, size_t size, struct vnic_err *err)
{
	uint32_t n = m->body.table.n;

	if (n == 0)
		return REFUSE(err, "SET_MEM_TABLE: no region");
	if (n > VHOST_TABLE_REGIONS_MAX)
		return REFUSE(err, "SET_MEM_TABLE: %" PRIu32 " regions, at most %d are taken", n,
			      VHOST_TABLE_REGIONS_MAX);
	if (size != TABLE + n * sizeof(struct vhost_wire_region))
		return REFUSE(err, "SET_MEM_TABLE: %zu bytes do not hold %" PRIu32 " regions", size,
			      n);
	if (m->n_fds != n)
		return REFUSE(err, "SET_MEM_TABLE: %zu descriptors for %" PRIu32 " regions",
			      m->n_fds, n);
	for (uint32_t i = 0; i < n; i++)
		if (vhost_region_check(&m->body.table.region[i], err) < 0)
			return -EPROTO;
	return 0;
}

static int check_log(const struct vhost_msg *m, struct vnic_err *err)
{
	uint64_t end;

	if (m->body.log.size == 0)
		return REFUSE(err, "SET_LOG_BASE: the log is empty");
	if (__builtin_add_overflow(m->body.log.size, m->body.log.offset, &end) || end > INT64_MAX)
		return REFUSE(err, "SET_LOG_BASE: offset 0x%" PRIx64 " + size 0x%" PRIx64 " wraps",
			      m->body.log.offset, m->body.log.size);
	if (m->body.log.offset & 0xfff)
		return REFUSE(err, "SET_LOG_BASE: offset 0x%" PRIx64 " is inside a page",
			      m->body.log.offset);
	return 0;
}

static int check_ring_fd(struct vhost_msg *m, struct vnic_err *err)
{
	const char *name = vhost_request_name(m->request);
	uint64_t u = m->body.u64;

	if (u & ~(VHOST_VRING_IDX | VHOST_VRING_NOFD))
		return REFUSE(err, "%s: unknown bits 0x%" PRIx64, name, u);
	m->index = (uint32_t)(u & VHOST_VRING_IDX);
	m->nofd = u & VHOST_VRING_NOFD;
	if (m->nofd != (m->n_fds == 0))
		return REFUSE(err, "%s: %s descriptor with NOFD %s", name, m->n_fds ? "a" : "no",
			      m->nofd ? "set" : "clear");
	return 0;
}

static int check_num(const struct vhost_msg *m, struct vnic_err *err)
{
	uint32_t num = m->body.state.num;

	if (num == 0 || num > DP_RING_SIZE_MAX || (num & (num - 1)))
		return REFUSE(err, "SET_VRING_NUM: %" PRIu32 " is not a power of two up to %d", num,
			      DP_RING_SIZE_MAX);
	return 0;
}

static int check_addr(const struct vhost_msg *m, struct vnic_err *err)
{
	const struct vhost_vring_addr *a = &m->body.addr;

	if (a->flags & ~VHOST_VRING_LOG)
		return REFUSE(err, "SET_VRING_ADDR: unknown flags 0x%" PRIx32, a->flags);
	/* virtio 1.2, 2.7: alignment of a split ring's parts. */
	if ((a->desc & 15) || (a->avail & 1) || (a->used & 3))
		return REFUSE(err, "SET_VRING_ADDR: ring %" PRIu32 " is not aligned", a->index);
	return 0;
}

/* What is wrong with this message in any state. */
static int check_body(struct vhost_msg *m, size_t size, struct vnic_err *err)
{
	switch (m->request) {
	case VHOST_SET_MEM_TABLE:
		return check_table(m, size, err);
	case VHOST_ADD_MEM_REG:
	case VHOST_REM_MEM_REG:
		return vhost_region_check(&m->body.slot.region, err);
	case VHOST_SET_LOG_BASE:
		return check_log(m, err);
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
		return check_ring_fd(m, err);
	case VHOST_SET_VRING_NUM:
		m->index = m->body.state.index;
		return check_num(m, err);
	case VHOST_SET_VRING_ADDR:
		m->index = m->body.addr.index;
		return check_addr(m, err);
	case VHOST_SET_VRING_BASE:
		m->index = m->body.state.index;
		if (m->body.state.num > UINT16_MAX)
			return REFUSE(err, "SET_VRING_BASE: %" PRIu32 " is no split ring's index",
				      m->body.state.num);
		return 0;
	case VHOST_GET_VRING_BASE:
		m->index = m->body.state.index;
		return 0;
	case VHOST_SET_VRING_ENABLE:
		m->index = m->body.state.index;
		if (m->body.state.num > 1)
			return REFUSE(err, "SET_VRING_ENABLE: %" PRIu32 " is neither 0 nor 1",
				      m->body.state.num);
		return 0;
	case VHOST_NET_SET_MTU:
		/* virtio 1.2, 5.1.4.1: mtu is 68 to 65535 */
		if (m->body.u64 < 68 || m->body.u64 > 65535)
			return REFUSE(err, "NET_SET_MTU: %" PRIu64 " is not between 68 and 65535",
				      m->body.u64);
		return 0;
	case VHOST_SET_STATUS:
		if (m->body.u64 > UINT8_MAX)
			return REFUSE(err, "SET_STATUS: 0x%" PRIx64 " is more than a byte",
				      m->body.u64);
		return 0;
	default:
		return 0;
	}
}

int vhost_msg_decode(const struct vhost_header *h, const void *body, size_t n_fds,
		     struct vhost_msg *ret, struct vnic_err *err)
{
	struct vhost_msg m = { .n_fds = n_fds };
	const struct vhost_rule *rule;
	size_t size;

	if (vhost_header_check(h, &size, err) < 0)
		return -EPROTO;
	rule = find(h->request);
	if (n_fds < rule->min_fds || n_fds > rule->max_fds)
		return REFUSE(err, "%s: %zu descriptors, not %zu%s", rule->name, n_fds,
			      rule->min_fds, rule->min_fds == rule->max_fds ? "" : " or more");
	m.request = h->request;
	m.need_reply = h->flags & VHOST_FLAG_NEED_REPLY;
	if (size > 0)
		memcpy(&m.body, body, size);
	if (check_body(&m, size, err) < 0)
		return -EPROTO;
	if (m.index >= DP_RINGS_MAX)
		return REFUSE(err, "%s: there is no ring %" PRIu32, rule->name, m.index);
	*ret = m;
	return 0;
}
