/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vhost-user protocol on the wire: QEMU's docs/interop/vhost-user.rst. All fields little (host) endian. */
#pragma once

#include <stdint.h>

enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES,
	VHOST_SET_OWNER,
	VHOST_RESET_OWNER,
	VHOST_SET_MEM_TABLE,
	VHOST_SET_LOG_BASE,
	VHOST_SET_LOG_FD,
	VHOST_SET_VRING_NUM,
	VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_BASE,
	VHOST_GET_VRING_BASE,
	VHOST_SET_VRING_KICK,
	VHOST_SET_VRING_CALL,
	VHOST_SET_VRING_ERR,
	VHOST_GET_PROTOCOL_FEATURES,
	VHOST_SET_PROTOCOL_FEATURES,
	VHOST_GET_QUEUE_NUM,
	VHOST_SET_VRING_ENABLE,
	VHOST_SEND_RARP,
	VHOST_NET_SET_MTU,
	VHOST_GET_INFLIGHT_FD = 31,
	VHOST_SET_INFLIGHT_FD = 32,
	VHOST_RESET_DEVICE = 34,
	VHOST_GET_MAX_MEM_SLOTS = 36,
	VHOST_ADD_MEM_REG = 37,
	VHOST_REM_MEM_REG = 38,
	VHOST_SET_STATUS = 39,
	VHOST_GET_STATUS = 40,
	VHOST_REQUEST_END,
};

#define VHOST_VERSION	      0x1U
#define VHOST_VERSION_MASK    0x3U
#define VHOST_FLAG_REPLY      0x4U
#define VHOST_FLAG_NEED_REPLY 0x8U

/* Bits of GET_PROTOCOL_FEATURES */
#define VHOST_PROTO_MQ		 (1ULL << 0)
#define VHOST_PROTO_LOG_SHMFD	 (1ULL << 1)
#define VHOST_PROTO_RARP	 (1ULL << 2)
#define VHOST_PROTO_REPLY_ACK	 (1ULL << 3)
#define VHOST_PROTO_NET_MTU	 (1ULL << 4)
#define VHOST_PROTO_RESET_DEVICE (1ULL << 13)
#define VHOST_PROTO_MEM_SLOTS	 (1ULL << 15)
#define VHOST_PROTO_STATUS	 (1ULL << 16)

/* Bits of GET_FEATURES that are vhost's and not virtio's */
#define VHOST_FEATURE_LOG_ALL  (1ULL << 26)
#define VHOST_FEATURE_PROTOCOL (1ULL << 30)

#define VHOST_VRING_LOG	 0x1U /* SET_VRING_ADDR's flag: log writes to the used ring */
#define VHOST_VRING_IDX	 0xffULL /* SET_VRING_KICK, CALL, ERR: the ring's index … */
#define VHOST_VRING_NOFD 0x100ULL /* … and: no descriptor comes along */

/* The specification's limit of SET_MEM_TABLE, and with it of a message's descriptors. */
#define VHOST_TABLE_REGIONS_MAX 8
#define VHOST_FDS_MAX		8

struct vhost_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the body that follows */
};

struct vhost_wire_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	uint64_t offset;
};

struct vhost_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vhost_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

union vhost_body {
	uint64_t u64;
	struct vhost_vring_state state;
	struct vhost_vring_addr addr;
	struct {
		uint64_t size;
		uint64_t offset;
	} log;
	struct {
		uint32_t n;
		uint32_t padding;
		struct vhost_wire_region region[VHOST_TABLE_REGIONS_MAX];
	} table;
	struct {
		uint64_t padding;
		struct vhost_wire_region region;
	} slot;
};
