/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/vhost/save.h"

#include <inttypes.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "datapath/vhost/fdcheck.h"
#include "datapath/vhost/msg.h"

#define REFUSE(err, ...) vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE, __VA_ARGS__)

static void save_ring(const struct vhost_ring *r, struct vhost_saved_ring *to)
{
	to->size = r->size;
	to->base = r->base;
	to->live_size = r->live_size;
	to->has_addr = r->has_addr;
	to->has_kick = r->has_kick;
	to->started = r->started;
	to->enabled = r->enabled;
	to->addr_flags = r->addr.flags;
	to->desc = r->addr.desc;
	to->avail = r->addr.avail;
	to->used = r->addr.used;
	to->log = r->addr.log;
}

void vhost_dev_save(const struct vhost_dev *dev, struct vhost_saved *ret)
{
	ret->features = dev->features;
	ret->proto = dev->proto;
	ret->status = dev->status;
	ret->announce = dev->announce;
	ret->log_size = dev->log_size;
	ret->log_offset = dev->log_offset;
	ret->n_rings = dev->n_rings;
	ret->n_regions = (uint32_t)dev->mem.n;
	for (size_t i = 0; i < dev->mem.n; i++) {
		const struct vhost_wire_region *r = &dev->mem.region[i].r;

		ret->region[i] =
			(struct vhost_saved_region){ r->gpa, r->size, r->uva, r->offset, 0 };
	}
	for (uint32_t i = 0; i < dev->n_rings; i++)
		save_ring(&dev->ring[i], &ret->ring[i]);
}

static uint32_t number(struct vhost_saved *s, int fd, vhost_save_fn fn, void *ctx)
{
	uint32_t id = fd >= 0 ? fn(ctx, fd) : 0;

	if (fd >= 0 && id == 0)
		s->lacking = 1;
	return id;
}

void vhost_dev_save_ids(const struct vhost_dev *dev, struct vhost_saved *s, vhost_save_fn fn,
			void *ctx)
{
	s->lacking = 0;
	for (size_t i = 0; i < dev->mem.n; i++)
		s->region[i].id = number(s, dev->mem.region[i].fd, fn, ctx);
	s->log = number(s, dev->log_fd, fn, ctx);
	for (uint32_t i = 0; i < dev->n_rings; i++) {
		const struct vhost_ring *r = &dev->ring[i];

		s->ring[i].kick = number(s, r->kick, fn, ctx);
		s->ring[i].call = number(s, r->call, fn, ctx);
		s->ring[i].err = number(s, r->err, fn, ctx);
	}
}

void vhost_saved_copy_ids(struct vhost_saved *s, const struct vhost_saved *from)
{
	s->lacking = from->lacking;
	s->log = from->log;
	for (size_t i = 0; i < DP_REGIONS_MAX; i++)
		s->region[i].id = from->region[i].id;
	for (size_t i = 0; i < DP_RINGS_MAX; i++) {
		s->ring[i].kick = from->ring[i].kick;
		s->ring[i].call = from->ring[i].call;
		s->ring[i].err = from->ring[i].err;
	}
}

void vhost_saved_each_id(const struct vhost_saved *s, vhost_id_fn fn, void *ctx)
{
	for (size_t i = 0; i < DP_REGIONS_MAX; i++)
		fn(ctx, (uint32_t)s->region[i].id);
	fn(ctx, s->log);
	for (size_t i = 0; i < DP_RINGS_MAX; i++) {
		fn(ctx, s->ring[i].kick);
		fn(ctx, s->ring[i].call);
		fn(ctx, s->ring[i].err);
	}
}

static int restore_memory(struct vhost_dev *dev, const struct vhost_saved *s, vhost_restore_fn fn,
			  void *ctx, struct vnic_err *err)
{
	if (s->n_regions > DP_REGIONS_MAX)
		return REFUSE(err, "%" PRIu32 " memory regions", s->n_regions);
	for (uint32_t i = 0; i < s->n_regions; i++) {
		const struct vhost_saved_region *f = &s->region[i];
		struct vhost_wire_region r = { f->gpa, f->size, f->uva, f->offset };
		int fd = f->id <= UINT32_MAX ? fn(ctx, (uint32_t)f->id) : -1;
		int e = vhost_mem_add(&dev->mem, &r, fd, "its memory", err);

		if (e != 0)
			close_safe(fd);
		if (e == 1)
			return REFUSE(err, "region %" PRIu32 " is there twice", i);
		if (e < 0)
			return e;
	}
	return 0;
}

/* What a front end's message must hold, ours must. */
static int check_as(enum vhost_request request, const union vhost_body *body, uint32_t size,
		    size_t n_fds, struct vnic_err *err)
{
	struct vhost_header h = { .request = request, .flags = VHOST_VERSION, .size = size };
	struct vhost_msg m;

	return vhost_msg_decode(&h, body, n_fds, &m, err);
}

static int restore_log(struct vhost_dev *dev, const struct vhost_saved *s, vhost_restore_fn fn,
		       void *ctx, struct vnic_err *err)
{
	union vhost_body body = { .log = { s->log_size, s->log_offset } };

	if (!s->log)
		return 0;
	if (check_as(VHOST_SET_LOG_BASE, &body, sizeof(body.log), 1, err) < 0)
		return -EPROTO;
	dev->log_fd = fn(ctx, s->log);
	dev->log_size = s->log_size;
	dev->log_offset = s->log_offset;
	return fd_check_memory(dev->log_fd, s->log_size + s->log_offset, "its log", err);
}

static int restore_event(int *to, uint32_t id, const char *what, vhost_restore_fn fn, void *ctx,
			 struct vnic_err *err)
{
	if (!id)
		return 0;
	*to = fn(ctx, id);
	return fd_check_event(*to, what, err);
}

static int restore_ring(struct vhost_dev *dev, const struct vhost_saved *s, uint32_t i,
			vhost_restore_fn fn, void *ctx, struct vnic_err *err)
{
	const struct vhost_saved_ring *f = &s->ring[i];
	struct vhost_ring *r = &dev->ring[i];

	union vhost_body num = { .state = { i, f->size } };
	union vhost_body addr = { .addr = { i, f->addr_flags, f->desc, f->used, f->avail,
					    f->log } };

	if (f->has_addr > 1 || f->has_kick > 1 || f->started > 1 || f->enabled < -1 ||
	    f->enabled > 1)
		return REFUSE(err, "ring %" PRIu32 " is impossible", i);
	if (f->size && check_as(VHOST_SET_VRING_NUM, &num, sizeof(num.state), 0, err) < 0)
		return -EPROTO;
	if (f->has_addr && check_as(VHOST_SET_VRING_ADDR, &addr, sizeof(addr.addr), 0, err) < 0)
		return -EPROTO;
	/* As vhost_dev_handle() would have it. */
	if (f->started && (!f->size || f->live_size != f->size || !f->has_addr || !f->has_kick))
		return REFUSE(err, "ring %" PRIu32 " runs without what it needs", i);
	r->size = f->size;
	r->base = f->base;
	r->live_size = f->live_size;
	r->has_addr = f->has_addr;
	r->has_kick = f->has_kick;
	r->started = f->started;
	r->enabled = f->enabled;
	r->addr = addr.addr;
	if (restore_event(&r->kick, f->kick, "a kick", fn, ctx, err) < 0 ||
	    restore_event(&r->call, f->call, "a call", fn, ctx, err) < 0 ||
	    restore_event(&r->err, f->err, "an error eventfd", fn, ctx, err) < 0)
		return -EPROTO;
	return 0;
}

int vhost_dev_restore(struct vhost_dev *dev, const struct vhost_saved *s, vhost_restore_fn fn,
		      void *ctx, struct vnic_err *err)
{
	int r;

	if (s->lacking)
		return REFUSE(err, "not all of its descriptors could be stored");
	if (s->n_rings == 0 || s->n_rings > DP_RINGS_MAX || s->n_rings % 2 || s->announce > 1)
		return REFUSE(err, "%" PRIu32 " rings", s->n_rings);
	dev->n_rings = s->n_rings;
	dev->features = s->features;
	dev->proto = s->proto;
	dev->status = s->status;
	dev->announce = s->announce;
	r = restore_memory(dev, s, fn, ctx, err);
	if (r == 0)
		r = restore_log(dev, s, fn, ctx, err);
	for (uint32_t i = 0; i < s->n_rings && r == 0; i++)
		r = restore_ring(dev, s, i, fn, ctx, err);
	return r < 0 ? r : vhost_dev_check(dev, err);
}
