/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/vhost.h>
#include <linux/virtio_config.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "base/str.h"
#include "datapath/forward/waitlist.h"

#define FEATURE(n) (UINT64_C(1) << (n))

DEFINE_CLEANUP(struct port *, port_free)

/* The descriptors of a message, handed out one by one; what is not taken is closed. */
struct fd_list {
	int fd[VNIC_MSG_FDS_MAX];
	size_t n, next;
};

static void fd_list_close(struct fd_list *l)
{
	for (; l->next < l->n; l->next++)
		close_safe(l->fd[l->next]);
}

static int fail(const char **reason, int error, const char *text)
{
	*reason = text;
	return error;
}

static int map_state(struct port *p, int fd, const char **reason)
{
	struct port_state *s;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(*s))
		return fail(reason, -EINVAL, "the port's state is no file of the right size");
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED)
		return fail(reason, -errno, "the port's state cannot be mapped");
	p->state = s;
	if (s->magic != DP_PORT_MAGIC || s->layout != DP_LAYOUT_VERSION || s->size != sizeof(*s))
		return fail(reason, -EINVAL, "the port's state has another layout");
	return 0;
}

/* A predecessor may have died while writing at random: nothing is indexed by what is not checked. */
static bool state_sound(const struct ring_state *rs, uint16_t size)
{
	return rs->size == size && (uint16_t)(rs->avail_pos - rs->used_pos) <= size;
}

static int attach_ring(struct port *p, unsigned int i, const char **reason)
{
	const struct wire_ring *w = &p->cfg.ring[i];
	struct ring *r = &p->ring[i];
	struct vq *vq = &r->vq;
	int error;

	/* A ring that was never started has nothing to be finished. */
	if (w->size == 0 || (!(w->flags & WIRE_RING_RUNNING) && p->state->ring[i].size != w->size))
		return 0;
	error = split_attach(vq, &p->mem, w, reason);
	if (error < 0)
		return error;
	vq->rs = &p->state->ring[i];
	/* Before WIRE_GO a predecessor may be at work on it: port_sound(). */
	if (p->engine->live && !state_sound(vq->rs, vq->size))
		return fail(reason, -EINVAL, "a ring's state does not fit its size");
	vq->event_idx = p->features & FEATURE(VIRTIO_RING_F_EVENT_IDX);
	vq->indirect = p->features & FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
	vq->log = w->flags & WIRE_RING_LOG;
	vq->log_gpa = w->log_gpa;
	r->running = w->flags & WIRE_RING_RUNNING;
	if (r->running && i % 2 == 0)
		p->rx[p->n_rx++] = r;
	return 0;
}

static int take_eventfds(struct port *p, struct fd_list *l)
{
	for (unsigned int i = 0; i < p->cfg.n_rings; i++) {
		if (p->cfg.ring[i].size == 0)
			continue;
		if (p->cfg.kick_mask & (1u << i)) {
			if (l->next == l->n)
				return -EINVAL;
			p->ring[i].kick_fd = l->fd[l->next++];
		}
		if (p->cfg.call_mask & (1u << i)) {
			if (l->next == l->n)
				return -EINVAL;
			p->ring[i].vq.call_fd = l->fd[l->next++];
			/* A call to a guest that does not listen must not stop us. */
			fd_set_nonblock(p->ring[i].vq.call_fd, true);
		}
	}
	return l->next == l->n ? 0 : -EINVAL;
}

static int map_memory(struct port *p, struct fd_list *l, struct port *old, const char **reason)
{
	const struct wire_port_set *c = &p->cfg;
	size_t n = c->n_regions + (c->log_size > 0);
	int error;

	if (l->n - l->next < n)
		return fail(reason, -EINVAL, "descriptors are missing");
	error = mem_map(&p->mem, c->region, c->n_regions, &l->fd[l->next], old ? &old->mem : NULL,
			reason);
	if (error < 0)
		return error;
	if (c->log_size > 0) {
		error = mem_log_map(&p->mem, l->fd[l->next + c->n_regions], c->log_size,
				    c->log_offset, reason);
		if (error < 0)
			return error;
		p->mem.log_payload = c->flags & WIRE_PORT_LOG;
	}
	for (size_t i = 0; i < n; i++)
		close_safe(l->fd[l->next++]);
	return 0;
}

static uint8_t header_len(uint64_t features)
{
	return features & (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_NET_F_MRG_RXBUF)) ? 12 : 10;
}

static int build(struct port *p, struct fd_list *l, struct port *old, const char **reason)
{
	int error;

	if (p->cfg.h.port >= DP_PORTS_MAX || p->cfg.n_rings > DP_RINGS_MAX ||
	    p->cfg.n_regions > DP_REGIONS_MAX || p->cfg.vlan > VNIC_VLAN_MAX || l->n < 1)
		return fail(reason, -EINVAL, "the port's configuration is malformed");
	error = map_state(p, l->fd[0], reason);
	if (error < 0)
		return error;
	close_safe(l->fd[l->next++]);
	error = map_memory(p, l, old, reason);
	if (error < 0)
		return error;
	if (take_eventfds(p, l) < 0)
		return fail(reason, -EINVAL, "kick and call descriptors do not match their masks");
	p->features = p->cfg.features;
	p->hdr_len = header_len(p->features);
	p->mergeable = p->features & FEATURE(VIRTIO_NET_F_MRG_RXBUF);
	p->counters = &p->state->counters;
	p->mac = mac_number(p->cfg.mac);
	for (unsigned int i = 0; i < p->cfg.n_rings; i++) {
		error = attach_ring(p, i, reason);
		if (error < 0)
			return error;
	}
	return 0;
}

int port_new(struct engine *e, const struct wire_port_set *cfg, const int *fds, size_t n_fds,
	     struct port *old, struct port **ret, const char **reason)
{
	_cleanup_(fd_list_close) struct fd_list l = { .n = n_fds };
	_cleanup_(port_freep) struct port *p = NULL;
	int error;

	*reason = "out of memory";
	memcpy(l.fd, fds, n_fds * sizeof(*fds));
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->engine = e;
	p->cfg = *cfg;
	p->index = (uint16_t)cfg->h.port;
	if (cfg->flags & WIRE_PORT_STANDBY)
		p->away = old && !((cfg->flags & ~old->cfg.flags) & WIRE_PORT_AWAY)
				  ? old->away
				  : cfg->flags & WIRE_PORT_AWAY;
	for (unsigned int i = 0; i < DP_RINGS_MAX; i++) {
		struct ring *r = &p->ring[i];

		r->port = p;
		r->kick_fd = -1;
		r->vq.call_fd = -1;
		r->vq.port = (uint16_t)cfg->h.port;
		r->vq.index = (uint8_t)i;
	}
	error = build(p, &l, old, reason);
	if (error < 0) {
		if (old)
			mem_give_back(&p->mem, &old->mem);
		return error;
	}
	*ret = take_ptr(p);
	return 0;
}

bool port_sound(const struct port *p)
{
	for (unsigned int i = 0; i < DP_RINGS_MAX; i++) {
		const struct vq *vq = &p->ring[i].vq;

		if (vq->rs && !state_sound(vq->rs, vq->size))
			return false;
	}
	return true;
}

static void free_queues(struct ring *r)
{
	while (r->src_q) {
		struct waitq *q = r->src_q;

		r->src_q = q->next_src;
		free(q);
	}
	free(r->wait);
}

struct port *port_free(struct port *p)
{
	if (!p)
		return NULL;
	for (unsigned int i = 0; i < DP_RINGS_MAX; i++) {
		free_queues(&p->ring[i]);
		close_safe(p->ring[i].kick_fd);
		close_safe(p->ring[i].vq.call_fd);
	}
	mem_unmap(&p->mem);
	if (p->state)
		munmap(p->state, sizeof(*p->state));
	free(p);
	return NULL;
}
