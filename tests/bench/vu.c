// SPDX-License-Identifier: GPL-2.0-or-later
/* vhost-user as its specification (QEMU's docs/interop/vhost-user.rst) words it, front end's side. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "tests/bench/vu.h"

#define F_PROTOCOL_FEATURES 30

#define PF_MQ	     0
#define PF_REPLY_ACK 3
#define PF_STATUS    16

#define FLAG_VERSION	0x1
#define FLAG_REPLY	0x4
#define FLAG_NEED_REPLY 0x8

#define CONNECT_SECONDS 10

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
	SET_STATUS = 39,
};

struct region {
	uint64_t gpa, size, uva, offset;
};

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct {
			uint32_t n, padding;
			struct region region[1];
		} memory;
	};
} __attribute__((packed));

#define HEADER_SIZE offsetof(struct message, u64)

const uint64_t vu_features_default = VU_F(VIRTIO_F_VERSION_1) | VU_F(VIRTIO_NET_F_MRG_RXBUF) |
				     VU_F(VIRTIO_RING_F_EVENT_IDX) |
				     VU_F(VIRTIO_RING_F_INDIRECT_DESC) | VU_F(VIRTIO_NET_F_CSUM) |
				     VU_F(VIRTIO_NET_F_GUEST_CSUM) | VU_F(VIRTIO_NET_F_HOST_TSO4) |
				     VU_F(VIRTIO_NET_F_HOST_TSO6) | VU_F(VIRTIO_NET_F_GUEST_TSO4) |
				     VU_F(VIRTIO_NET_F_GUEST_TSO6);

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("frontend: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static void send_message(struct vu_port *p, struct message *m, size_t size, int fd)
{
	int r;

	m->flags |= FLAG_VERSION;
	m->size = size;
	r = sock_send(p->sock, m, HEADER_SIZE + size, &fd, fd >= 0 ? 1 : 0);
	if (r < 0)
		die("%s: request %u: %s", p->name, m->request, strerror(-r));
}

static void read_reply(struct vu_port *p, uint32_t request, struct message *ret)
{
	ssize_t n = recv(p->sock, ret, HEADER_SIZE, MSG_WAITALL);

	if (n != (ssize_t)HEADER_SIZE)
		die("%s: request %u: the backend closed the connection", p->name, request);
	if (ret->request != request || !(ret->flags & FLAG_REPLY) ||
	    ret->size > sizeof(*ret) - HEADER_SIZE)
		die("%s: request %u: reply to %u, flags %#x, size %u", p->name, request,
		    ret->request, ret->flags, ret->size);
	if (recv(p->sock, &ret->u64, ret->size, MSG_WAITALL) != (ssize_t)ret->size)
		die("%s: request %u: short reply", p->name, request);
}

static uint64_t get_u64(struct vu_port *p, uint32_t request)
{
	struct message m = { .request = request };

	send_message(p, &m, 0, -1);
	read_reply(p, request, &m);
	if (m.size != sizeof(m.u64))
		die("%s: request %u: reply of %u bytes", p->name, request, m.size);
	return m.u64;
}

/* Send, and with REPLY_ACK wait until the backend says that it has taken effect. */
static void set(struct vu_port *p, struct message *m, size_t size, int fd)
{
	uint32_t request = m->request;

	if (p->protocol & VU_F(PF_REPLY_ACK))
		m->flags |= FLAG_NEED_REPLY;
	send_message(p, m, size, fd);
	if (!(p->protocol & VU_F(PF_REPLY_ACK)))
		return;
	read_reply(p, request, m);
	if (m->u64 != 0)
		die("%s: request %u: the backend answered with an error (%llu)", p->name, request,
		    (unsigned long long)m->u64);
}

static void set_u64(struct vu_port *p, uint32_t request, uint64_t value, int fd)
{
	struct message m = { .request = request, .u64 = value };

	set(p, &m, sizeof(m.u64), fd);
}

static void set_state(struct vu_port *p, uint32_t request, unsigned int index, unsigned int num)
{
	struct message m = { .request = request, .state = { .index = index, .num = num } };

	set(p, &m, sizeof(m.state), -1);
}

void vu_connect(struct vu_port *p, const char *file, uint64_t want)
{
	struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	uint64_t need = VU_F(VIRTIO_F_VERSION_1) | VU_F(VIRTIO_NET_F_MRG_RXBUF);
	struct message owner = { .request = SET_OWNER };

	p->name = file;
	p->memfd = -1;
	for (int i = 0; (p->sock = sock_connect(file, SOCK_STREAM)) < 0; i++) {
		if (i == CONNECT_SECONDS * 100)
			die("%s: %s", file, strerror(-p->sock));
		nanosleep(&pause, NULL);
	}
	p->offered = get_u64(p, GET_FEATURES);
	p->features = p->offered & want;
	if ((p->features & need) != need)
		die("%s: the backend offers no VERSION_1 or MRG_RXBUF (%#llx)", file,
		    (unsigned long long)p->offered);
	if (p->offered & VU_F(F_PROTOCOL_FEATURES)) {
		uint64_t protocol = get_u64(p, GET_PROTOCOL_FEATURES) &
				    (VU_F(PF_MQ) | VU_F(PF_REPLY_ACK) | VU_F(PF_STATUS));

		/* It takes effect with this message, so REPLY_ACK must not be asked for here yet. */
		set_u64(p, SET_PROTOCOL_FEATURES, protocol, -1);
		p->protocol = protocol;
	}
	set(p, &owner, 0, -1);
}

void *vu_mem(struct vu_port *p, size_t size, size_t align)
{
	size_t at = (p->mem_used + align - 1) & ~(align - 1);

	if (at + size > p->mem_size)
		die("guest memory too small: %zu of %zu bytes", at + size, p->mem_size);
	p->mem_used = at + size;
	return p->mem + at;
}

static void ring_init(struct vu_port *p, struct vu_ring *r, unsigned int size)
{
	r->size = size;
	r->desc = vu_mem(p, sizeof(*r->desc) * size, 4096);
	r->avail = vu_mem(p, sizeof(*r->avail) + 2 * (size + 1), 4096);
	r->used = vu_mem(p, sizeof(*r->used) + 8 * size + 2, 4096);
	r->event_idx = p->features & VU_F(VIRTIO_RING_F_EVENT_IDX);
	r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->kick < 0 || r->call < 0)
		die("eventfd: %m");
	vu_calls(r, false);
}

void vu_alloc(struct vu_port *p, unsigned int ring_size, size_t bufs_size)
{
	size_t page = 2 * 1024 * 1024;

	p->mem_size = (bufs_size + ring_size * 64 + 16 * 4096 + page - 1) & ~(page - 1);
	p->memfd = memfd_create("vnicd-bench-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->memfd < 0 || ftruncate(p->memfd, (off_t)p->mem_size) < 0)
		die("guest memory of %zu bytes: %m", p->mem_size);
	if (fcntl(p->memfd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		die("sealing the guest's memory: %m");
	p->mem = mmap(NULL, p->mem_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->memfd, 0);
	if (p->mem == MAP_FAILED)
		die("mapping the guest's memory: %m");
	ring_init(p, &p->rx, ring_size);
	ring_init(p, &p->tx, ring_size);
}

void vu_calls(struct vu_ring *r, bool on)
{
	/* With event_idx "never" is the index furthest away: one needless call in 65536 entries. */
	r->avail->flags = on ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
	r->avail->ring[r->size] = on ? r->used_idx : r->used_idx - 1;
}

static void ring_start(struct vu_port *p, struct vu_ring *r, unsigned int index)
{
	struct message m = { .request = SET_VRING_ADDR,
			     .addr = { .index = index,
				       .desc_user_addr = (uint64_t)(uintptr_t)r->desc,
				       .used_user_addr = (uint64_t)(uintptr_t)r->used,
				       .avail_user_addr = (uint64_t)(uintptr_t)r->avail,
				       .log_guest_addr = vu_gpa(p, r->used) } };

	set_state(p, SET_VRING_NUM, index, r->size);
	set_state(p, SET_VRING_BASE, index, r->used_idx);
	set(p, &m, sizeof(m.addr), -1);
	set_u64(p, SET_VRING_KICK, index, r->kick);
	set_u64(p, SET_VRING_CALL, index, r->call);
}

void vu_start(struct vu_port *p)
{
	struct message m = { .request = SET_MEM_TABLE,
			     .memory = { .n = 1,
					 .region = { { .gpa = VU_GPA_BASE,
						       .size = p->mem_size,
						       .uva = (uint64_t)(uintptr_t)p->mem } } } };
	bool status = p->protocol & VU_F(PF_STATUS);
	uint64_t protocol = p->offered & VU_F(F_PROTOCOL_FEATURES);

	set_u64(p, SET_FEATURES, p->features | protocol, -1);
	if (status)
		set_u64(p, SET_STATUS,
			VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				VIRTIO_CONFIG_S_FEATURES_OK,
			-1);
	set(p, &m, sizeof(m.memory), p->memfd);
	ring_start(p, &p->rx, 0);
	ring_start(p, &p->tx, 1);
	if (protocol) {
		set_state(p, SET_VRING_ENABLE, 0, 1);
		set_state(p, SET_VRING_ENABLE, 1, 1);
	}
	if (status)
		set_u64(p, SET_STATUS,
			VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK,
			-1);
	vu_kick(&p->rx);
	vu_kick(&p->tx);
}

static bool ring_stop(struct vu_port *p, struct vu_ring *r, unsigned int index)
{
	struct message m = { .request = GET_VRING_BASE, .state = { .index = index } };

	send_message(p, &m, sizeof(m.state), -1);
	read_reply(p, GET_VRING_BASE, &m);
	return m.state.index == index && m.state.num == vu_used(r);
}

bool vu_stop(struct vu_port *p)
{
	bool rx = ring_stop(p, &p->rx, 0), tx = ring_stop(p, &p->tx, 1);

	return rx && tx;
}

void vu_close(struct vu_port *p)
{
	p->sock = close_safe(p->sock);
	p->memfd = close_safe(p->memfd);
	for (int i = 0; i < 2; i++) {
		struct vu_ring *r = i ? &p->tx : &p->rx;

		r->kick = close_safe(r->kick);
		r->call = close_safe(r->call);
	}
	munmap(p->mem, p->mem_size);
}

void vu_kick(struct vu_ring *r)
{
	uint64_t one = 1;

	r->kicks++;
	if (write(r->kick, &one, sizeof(one)) < 0 && errno != EAGAIN)
		die("kick: %m");
}
