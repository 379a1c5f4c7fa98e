/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/vhost/dev.h"

#include <inttypes.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "datapath/vhost/fdcheck.h"

#define REFUSE(err, ...) vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE, __VA_ARGS__)

#define BIT(n) (1ULL << (n))

/*
 * Never offered, whatever the worker can do. The control queue is QEMU's: its features (virtio 1.2, 5.1.3:
 * CTRL_GUEST_OFFLOADS, CTRL_VQ, CTRL_RX, CTRL_VLAN, CTRL_RX_EXTRA, CTRL_MAC_ADDR) are no back end's to
 * offer. ACCESS_PLATFORM would need the back-end channel, RING_RESET messages that we do not take.
 */
#define NEVER_OFFERED (BIT(2) | BIT(17) | BIT(18) | BIT(19) | BIT(20) | BIT(23) | BIT(33) | BIT(40))
#define FEATURE_MQ    BIT(22)

#define PROTO_OFFERED                                                                        \
	(VHOST_PROTO_MQ | VHOST_PROTO_LOG_SHMFD | VHOST_PROTO_RARP | VHOST_PROTO_REPLY_ACK | \
	 VHOST_PROTO_NET_MTU | VHOST_PROTO_RESET_DEVICE | VHOST_PROTO_MEM_SLOTS |            \
	 VHOST_PROTO_STATUS)

#define LOG_PAGE 4096 /* bytes of guest memory a bit of the dirty log; VHOST_LOG_PAGE */

static void ring_reset(struct vhost_ring *r)
{
	*r = (struct vhost_ring){ .enabled = -1, .kick = -1, .call = -1, .err = -1 };
}

void vhost_dev_init(struct vhost_dev *dev, uint64_t features, uint32_t queues,
		    struct port_state *state)
{
	memset(dev, 0, sizeof(*dev));
	dev->offered = (features & ~(NEVER_OFFERED | FEATURE_MQ)) | VHOST_FEATURE_LOG_ALL |
		       VHOST_FEATURE_PROTOCOL;
	if (queues > 1)
		dev->offered |= FEATURE_MQ;
	dev->n_rings = 2 * queues;
	dev->state = state;
	dev->log_fd = -1;
	for (size_t i = 0; i < DP_RINGS_MAX; i++)
		ring_reset(&dev->ring[i]);
}

static void drop_log(struct vhost_dev *dev)
{
	dev->log_fd = close_safe(dev->log_fd);
	dev->log_size = dev->log_offset = 0;
	dev->fd_epoch++;
}

void vhost_dev_clear(struct vhost_dev *dev)
{
	for (size_t i = 0; i < DP_RINGS_MAX; i++) {
		struct vhost_ring *r = &dev->ring[i];

		close_safe(r->kick);
		close_safe(r->call);
		close_safe(r->err);
		ring_reset(r);
	}
	vhost_mem_clear(&dev->mem);
	drop_log(dev);
	dev->features = dev->proto = 0;
	dev->status = 0;
	dev->announce = false;
	dev->stopping = 0;
	dev->resetting = false;
}

bool vhost_dev_started(const struct vhost_dev *dev)
{
	for (size_t i = 0; i < dev->n_rings; i++)
		if (dev->ring[i].started)
			return true;
	return false;
}

/*
 * Without PROTOCOL_FEATURES rings are born enabled. With LOG_ALL and no log yet (QEMU starts rings first and
 * sends the log's base last where logging was on already) nothing may be written to guest memory.
 */
static bool ring_worked(const struct vhost_dev *dev, const struct vhost_ring *r)
{
	bool enabled = r->enabled < 0 ? !(dev->features & VHOST_FEATURE_PROTOCOL) : r->enabled;

	return r->started && enabled &&
	       (!(dev->features & VHOST_FEATURE_LOG_ALL) || dev->log_fd >= 0);
}

bool vhost_dev_running(const struct vhost_dev *dev)
{
	for (size_t i = 0; i < dev->n_rings; i += 2)
		if (ring_worked(dev, &dev->ring[i]))
			return true;
	return false;
}

uint32_t vhost_dev_queues_active(const struct vhost_dev *dev)
{
	uint32_t n = 0;

	for (size_t i = 0; i + 1 < dev->n_rings; i += 2)
		n += ring_worked(dev, &dev->ring[i]) && ring_worked(dev, &dev->ring[i + 1]);
	return n;
}

/* virtio 1.2, 2.7: sizes of a split ring's parts, with the event index behind each. */
static bool ring_covered(const struct vhost_mem *mem, const struct vhost_ring *r)
{
	uint64_t n = r->size;

	return vhost_mem_covers(mem, r->addr.desc, 16 * n) &&
	       vhost_mem_covers(mem, r->addr.avail, 6 + 2 * n) &&
	       vhost_mem_covers(mem, r->addr.used, 6 + 8 * n);
}

static int check_started_rings(const struct vhost_dev *dev, const struct vhost_mem *mem,
			       const char *what, struct vnic_err *err)
{
	for (size_t i = 0; i < dev->n_rings; i++)
		if (dev->ring[i].started && !ring_covered(mem, &dev->ring[i]))
			return REFUSE(err, "%s: it takes away the memory of running ring %zu", what,
				      i);
	return 0;
}

/* Is the log, where there is one, large enough for all memory and the used rings that are logged? */
static int check_log(const struct vhost_dev *dev, const char *what, struct vnic_err *err)
{
	uint64_t bytes, end = vhost_mem_end(&dev->mem);

	if (dev->log_fd < 0)
		return 0;
	if (__builtin_mul_overflow(dev->log_size, 8ULL * LOG_PAGE, &bytes))
		bytes = UINT64_MAX;
	if (end > bytes)
		return REFUSE(err,
			      "%s: the log covers 0x%" PRIx64
			      " bytes, memory goes up to 0x%" PRIx64,
			      what, bytes, end);
	if (!(dev->features & VHOST_FEATURE_LOG_ALL))
		return 0;
	for (size_t i = 0; i < dev->n_rings; i++) {
		const struct vhost_ring *r = &dev->ring[i];
		uint64_t used_end;

		if (!r->started || !(r->addr.flags & VHOST_VRING_LOG))
			continue;
		if (__builtin_add_overflow(r->addr.log, 6 + 8ULL * r->size, &used_end) ||
		    used_end > bytes)
			return REFUSE(
				err,
				"%s: the log ends before the used ring of ring %zu at 0x%" PRIx64,
				what, i, r->addr.log);
	}
	return 0;
}

/* Start what has all it needs now. */
static int start_rings(struct vhost_dev *dev, struct vnic_err *err)
{
	for (size_t i = 0; i < dev->n_rings; i++) {
		struct vhost_ring *r = &dev->ring[i];

		if (r->started || !r->size || !r->has_addr || !r->has_kick || !dev->mem.n)
			continue;
		if (!ring_covered(&dev->mem, r))
			return REFUSE(err, "ring %zu lies outside of the memory that was told", i);
		ring_state_start(&dev->state->ring[i], r->size, r->base);
		r->live_size = r->size;
		r->started = true;
		/* A ring that goes on in its middle: the guest came from somewhere else. */
		if (r->base != 0)
			dev->announce = true;
	}
	return check_log(dev, "starting a ring", err);
}

static void stop_ring(struct vhost_dev *dev, uint32_t i)
{
	struct vhost_ring *r = &dev->ring[i];

	r->has_kick = false;
	r->kick = close_safe(r->kick);
	dev->fd_epoch++;
	if (!r->started)
		return;
	r->started = false;
	dev->stopping |= 1U << i;
}

static int set_features(struct vhost_dev *dev, uint64_t f, struct vnic_err *err)
{
	bool was_logging = dev->features & VHOST_FEATURE_LOG_ALL;
	uint64_t strange = f & ~dev->offered;
	uint64_t changed = (f ^ dev->features) & ~(uint64_t)VHOST_FEATURE_LOG_ALL;

	if (strange)
		return REFUSE(err, "SET_FEATURES: 0x%" PRIx64 " was not offered", strange);
	if (changed && vhost_dev_started(dev))
		return REFUSE(err,
			      "SET_FEATURES: 0x%" PRIx64
			      " changes while rings run; only LOG_ALL may",
			      changed);
	dev->features = f;
	if (was_logging && !(f & VHOST_FEATURE_LOG_ALL))
		drop_log(dev);
	return check_log(dev, "SET_FEATURES", err);
}

static int set_mem_table(struct vhost_dev *dev, const struct vhost_msg *m, int *fds,
			 struct vnic_err *err)
{
	struct vhost_mem mem = { 0 };
	int r = 0;

	for (size_t i = 0; i < m->body.table.n && r >= 0; i++) {
		r = vhost_mem_add(&mem, &m->body.table.region[i], fds[i], "SET_MEM_TABLE", err);
		if (r == 0)
			fds[i] = -1;
	}
	if (r >= 0)
		r = check_started_rings(dev, &mem, "SET_MEM_TABLE", err);
	if (r < 0) {
		vhost_mem_clear(&mem);
		return r;
	}
	vhost_mem_clear(&dev->mem);
	dev->mem = mem;
	dev->fd_epoch++;
	return check_log(dev, "SET_MEM_TABLE", err);
}

static int add_mem_reg(struct vhost_dev *dev, const struct vhost_msg *m, int *fds,
		       struct vnic_err *err)
{
	int r = vhost_mem_add(&dev->mem, &m->body.slot.region, fds[0], "ADD_MEM_REG", err);

	if (r != 0)
		return r < 0 ? r : 0;
	fds[0] = -1;
	dev->fd_epoch++;
	return check_log(dev, "ADD_MEM_REG", err);
}

static int rem_mem_reg(struct vhost_dev *dev, const struct vhost_msg *m, struct vnic_err *err)
{
	/* QEMU 7.2 removes a region once a queue pair: what is not there need not be taken away. */
	if (!vhost_mem_remove(&dev->mem, &m->body.slot.region))
		return 0;
	dev->fd_epoch++;
	return check_started_rings(dev, &dev->mem, "REM_MEM_REG", err);
}

static int set_log_base(struct vhost_dev *dev, const struct vhost_msg *m, int *fds,
			struct vnic_err *err)
{
	int r = fd_check_memory(fds[0], m->body.log.size + m->body.log.offset, "SET_LOG_BASE", err);

	if (r < 0)
		return r;
	drop_log(dev);
	dev->log_fd = take_fd(&fds[0]);
	dev->log_size = m->body.log.size;
	dev->log_offset = m->body.log.offset;
	return check_log(dev, "SET_LOG_BASE", err);
}

static int set_vring_num(struct vhost_dev *dev, const struct vhost_msg *m, struct vnic_err *err)
{
	struct vhost_ring *r = &dev->ring[m->index];

	if (r->started && r->size != m->body.state.num)
		return REFUSE(err, "SET_VRING_NUM: ring %" PRIu32 " is running", m->index);
	r->size = (uint16_t)m->body.state.num;
	return 0;
}

static int set_vring_addr(struct vhost_dev *dev, const struct vhost_msg *m, struct vnic_err *err)
{
	struct vhost_ring *r = &dev->ring[m->index];
	const struct vhost_vring_addr *a = &m->body.addr;

	if (r->started &&
	    (a->desc != r->addr.desc || a->avail != r->addr.avail || a->used != r->addr.used))
		return REFUSE(err,
			      "SET_VRING_ADDR: ring %" PRIu32
			      " is running; only its log flag may change",
			      m->index);
	r->addr = *a;
	r->has_addr = true;
	return 0;
}

static int set_vring_base(struct vhost_dev *dev, const struct vhost_msg *m, struct vnic_err *err)
{
	struct vhost_ring *r = &dev->ring[m->index];

	if (r->started)
		return REFUSE(err, "SET_VRING_BASE: ring %" PRIu32 " is running", m->index);
	r->base = (uint16_t)m->body.state.num;
	return 0;
}

/* KICK, CALL and ERR: put the eventfd, or -1 with NOFD, in its place. */
static int set_vring_fd(struct vhost_dev *dev, const struct vhost_msg *m, int *fds,
			struct vnic_err *err)
{
	struct vhost_ring *r = &dev->ring[m->index];
	int *slot = m->request == VHOST_SET_VRING_KICK	 ? &r->kick
		    : m->request == VHOST_SET_VRING_CALL ? &r->call
							 : &r->err;

	if (m->request == VHOST_SET_VRING_KICK && dev->mem.n == 0)
		return REFUSE(err,
			      "SET_VRING_KICK: ring %" PRIu32 " is started before memory is told",
			      m->index);
	if (!m->nofd) {
		int e = fd_check_event(fds[0], vhost_request_name(m->request), err);

		if (e < 0)
			return e;
	}
	close_safe(*slot);
	*slot = m->nofd ? -1 : take_fd(&fds[0]);
	dev->fd_epoch++;
	if (m->request == VHOST_SET_VRING_KICK)
		r->has_kick = true;
	return 0;
}

/* Back to before SET_FEATURES. Memory and calls stay: QEMU sends those of a device once, then changes. */
static void finish_reset(struct vhost_dev *dev)
{
	dev->resetting = false;
	for (uint32_t i = 0; i < dev->n_rings; i++) {
		struct vhost_ring *r = &dev->ring[i];

		r->size = 0;
		r->base = 0;
		r->has_addr = false;
		r->enabled = -1;
	}
	dev->features = 0;
	dev->status = 0;
	drop_log(dev);
}

/*
 * The rings stop first. Whoever drains them (a worker's successor, where it dies before it has answered)
 * needs the features that they were filled under, and the log that what it writes belongs into.
 */
static void reset_device(struct vhost_dev *dev)
{
	for (uint32_t i = 0; i < dev->n_rings; i++)
		stop_ring(dev, i);
	dev->resetting = true;
}

static void reply_u64(struct vhost_reply *reply, uint64_t v)
{
	reply->size = sizeof(v);
	reply->body.u64 = v;
}

static int set_protocol_features(struct vhost_dev *dev, uint64_t f, struct vnic_err *err)
{
	uint64_t strange = f & ~(uint64_t)PROTO_OFFERED;

	if (strange)
		return REFUSE(err, "SET_PROTOCOL_FEATURES: 0x%" PRIx64 " was not offered", strange);
	dev->proto = f;
	return 0;
}

static int handle_ring(struct vhost_dev *dev, const struct vhost_msg *m, int *fds,
		       struct vhost_reply *reply, struct vnic_err *err)
{
	if (m->index >= dev->n_rings)
		return REFUSE(err, "%s: there is no ring %" PRIu32 "; this port has %" PRIu32,
			      vhost_request_name(m->request), m->index, dev->n_rings);
	switch (m->request) {
	case VHOST_SET_VRING_NUM:
		return set_vring_num(dev, m, err);
	case VHOST_SET_VRING_ADDR:
		return set_vring_addr(dev, m, err);
	case VHOST_SET_VRING_BASE:
		return set_vring_base(dev, m, err);
	case VHOST_GET_VRING_BASE:
		stop_ring(dev, m->index);
		reply->size = sizeof(reply->body.state);
		reply->body.state.index = m->index;
		return 0; /* its value: vhost_dev_settle() */
	case VHOST_SET_VRING_ENABLE:
		dev->ring[m->index].enabled = (int8_t)m->body.state.num;
		return 0;
	default:
		return set_vring_fd(dev, m, fds, err);
	}
}

static int dispatch(struct vhost_dev *dev, const struct vhost_msg *m, int *fds,
		    struct vhost_reply *reply, struct vnic_err *err)
{
	switch (m->request) {
	case VHOST_GET_FEATURES:
		reply_u64(reply, dev->offered);
		return 0;
	case VHOST_SET_FEATURES:
		return set_features(dev, m->body.u64, err);
	case VHOST_GET_PROTOCOL_FEATURES:
		reply_u64(reply, PROTO_OFFERED);
		return 0;
	case VHOST_SET_PROTOCOL_FEATURES:
		return set_protocol_features(dev, m->body.u64, err);
	case VHOST_GET_QUEUE_NUM:
		reply_u64(reply, dev->n_rings / 2);
		return 0;
	case VHOST_SET_MEM_TABLE:
		return set_mem_table(dev, m, fds, err);
	case VHOST_GET_MAX_MEM_SLOTS:
		reply_u64(reply, DP_REGIONS_MAX);
		return 0;
	case VHOST_ADD_MEM_REG:
		return add_mem_reg(dev, m, fds, err);
	case VHOST_REM_MEM_REG:
		return rem_mem_reg(dev, m, err);
	case VHOST_SET_LOG_BASE:
		reply_u64(reply, 0);
		return set_log_base(dev, m, fds, err);
	case VHOST_RESET_OWNER:
		/* Deprecated; the specification leaves it to us to stop the rings or do nothing. */
		for (uint32_t i = 0; i < dev->n_rings; i++)
			stop_ring(dev, i);
		return 0;
	case VHOST_RESET_DEVICE:
		reset_device(dev);
		return 0;
	case VHOST_SEND_RARP:
		dev->announce = true;
		return 0;
	case VHOST_NET_SET_MTU:
		return 0; /* frames are as long as their buffers */
	case VHOST_SET_STATUS:
		/* Rings follow KICK and GET_VRING_BASE: QEMU says 0 before it asks for the bases. */
		dev->status = (uint8_t)m->body.u64;
		return 0;
	case VHOST_GET_STATUS:
		reply_u64(reply, dev->status);
		return 0;
	case VHOST_SET_OWNER:
	case VHOST_SET_LOG_FD:
		return 0;
	default:
		return handle_ring(dev, m, fds, reply, err);
	}
}

int vhost_dev_handle(struct vhost_dev *dev, const struct vhost_msg *m, int *fds,
		     struct vhost_reply *ret_reply, struct vnic_err *err)
{
	struct vhost_reply reply = { .request = m->request };
	int r;

	if (vhost_request_needs(m->request) & ~dev->proto)
		return REFUSE(err, "%s: its protocol feature was not negotiated",
			      vhost_request_name(m->request));
	r = dispatch(dev, m, fds, &reply, err);
	if (r == 0)
		r = start_rings(dev, err);
	if (r < 0)
		return r;
	if (reply.size == 0 && m->need_reply && (dev->proto & VHOST_PROTO_REPLY_ACK))
		reply_u64(&reply, 0);
	*ret_reply = reply;
	return 0;
}

void vhost_dev_settle(struct vhost_dev *dev, struct vhost_reply *reply)
{
	for (uint32_t i = 0; i < dev->n_rings; i++)
		if (dev->stopping & (1U << i))
			dev->ring[i].base = ring_state_base(&dev->state->ring[i]);
	dev->stopping = 0;
	if (dev->resetting)
		finish_reset(dev);
	if (reply->size > 0 && reply->request == VHOST_GET_VRING_BASE)
		reply->body.state.num = dev->ring[reply->body.state.index].base;
}

static void wire_ring(const struct vhost_dev *dev, struct wire_port_set *w, uint32_t i, bool hold)
{
	const struct vhost_ring *r = &dev->ring[i];
	struct wire_ring *to = &w->ring[i];

	if (!r->started && !(dev->stopping & (1U << i)))
		return;
	w->n_rings = i + 1;
	*to = (struct wire_ring){
		.flags = (r->addr.flags & VHOST_VRING_LOG) ? WIRE_RING_LOG : 0,
		.size = r->live_size,
		.desc = r->addr.desc,
		.avail = r->addr.avail,
		.used = r->addr.used,
		.log_gpa = r->addr.log,
	};
	if (!hold && ring_worked(dev, r))
		to->flags |= WIRE_RING_RUNNING;
	if (r->kick >= 0)
		w->kick_mask |= 1U << i;
	if (r->call >= 0)
		w->call_mask |= 1U << i;
}

size_t vhost_dev_wire(const struct vhost_dev *dev, struct wire_port_set *w, int *fds, bool hold)
{
	size_t n = 0;

	w->features = dev->features;
	if (dev->features & VHOST_FEATURE_LOG_ALL)
		w->flags |= WIRE_PORT_LOG;
	if (dev->announce)
		w->flags |= WIRE_PORT_ANNOUNCE;
	w->n_regions = (uint32_t)dev->mem.n;
	for (size_t i = 0; i < dev->mem.n; i++) {
		const struct vhost_wire_region *r = &dev->mem.region[i].r;

		w->region[i] = (struct wire_region){ r->gpa, r->uva, r->size, r->offset };
		fds[n++] = dev->mem.region[i].fd;
	}
	if (dev->log_fd >= 0) {
		w->log_size = dev->log_size;
		w->log_offset = dev->log_offset;
		fds[n++] = dev->log_fd;
	}
	for (uint32_t i = 0; i < dev->n_rings; i++) {
		wire_ring(dev, w, i, hold);
		if (w->ring[i].size == 0)
			continue;
		if (w->kick_mask & (1U << i))
			fds[n++] = dev->ring[i].kick;
		if (w->call_mask & (1U << i))
			fds[n++] = dev->ring[i].call;
	}
	return n;
}

/* Where the worker was with a ring is its word, and as good as a guest's. */
static bool ring_state_possible(const struct ring_state *rs, uint16_t size)
{
	return rs->size == size && (uint16_t)(rs->avail_pos - rs->used_pos) <= size;
}

int vhost_dev_check(const struct vhost_dev *dev, struct vnic_err *err)
{
	uint64_t strange = dev->features & ~dev->offered;
	int r;

	if (strange || dev->proto & ~(uint64_t)PROTO_OFFERED)
		return REFUSE(err, "features 0x%" PRIx64 ", 0x%" PRIx64 " are not offered any more",
			      strange, dev->proto & ~(uint64_t)PROTO_OFFERED);
	for (size_t i = 0; i < dev->n_rings; i++)
		if (dev->ring[i].started &&
		    !ring_state_possible(&dev->state->ring[i], dev->ring[i].live_size))
			return REFUSE(err, "ring %zu stands where it cannot", i);
	r = check_started_rings(dev, &dev->mem, "its state", err);
	return r < 0 ? r : check_log(dev, "its state", err);
}

bool vhost_dev_signal_err(const struct vhost_dev *dev)
{
	for (size_t i = 0; i < dev->n_rings; i++)
		if (!fd_event_signal(dev->ring[i].err))
			return false;
	return true;
}
