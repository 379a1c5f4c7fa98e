// SPDX-License-Identifier: GPL-2.0-or-later
/* Virtqueues from the driver's side, split and packed. See vv.h. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/vdpa/vv.h"

void vv_ring_init(struct vv_dev *d, struct vv_ring *r, uint16_t index, uint16_t num, uint32_t bufsz)
{
	int kick = r->kick, call = r->call;
	uint16_t i;

	memset(r, 0, sizeof(*r));
	r->kick = kick;
	r->call = call;
	r->index = index;
	r->num = num;
	r->bufsz = bufsz;
	r->packed = d->features & VV_F(VIRTIO_F_RING_PACKED);
	r->event_idx = d->features & VV_F(VIRTIO_RING_F_EVENT_IDX);
	r->desc = vv_alloc(d, (size_t)num * 16, 4096);
	r->avail = vv_alloc(d, 6 + (size_t)num * 2, 4096);
	r->used = vv_alloc(d, 6 + (size_t)num * 8, 4096);
	r->table = vv_alloc(d, (size_t)num * VV_TABLE * 16, 64);
	r->buf = vv_alloc(d, (size_t)num * bufsz, 4096);
	r->avail_wrap = r->used_wrap = true;
	if (r->packed)
		r->base = VV_WRAP | (uint32_t)VV_WRAP << 16;
	r->room = r->n_free = num;
	for (i = 0; i < num; i++)
		r->free[i] = (uint16_t)(num - 1 - i);
	vv_interrupts(r, false);
}

int vv_next_id(const struct vv_ring *r, uint16_t n)
{
	if (r->room < n || !r->n_free)
		return -1;
	return r->free[r->n_free - 1];
}

static uint16_t table(const struct vv_ring *r, uint16_t id, const struct vv_piece *p, uint16_t n)
{
	struct vring_desc *t = r->table + (size_t)id * VV_TABLE;
	uint16_t i;

	for (i = 0; i < n; i++) {
		if (r->packed)
			((struct vring_packed_desc *)t)[i] =
				(struct vring_packed_desc){ p[i].iova, p[i].len, 0,
							    p[i].write ? VRING_DESC_F_WRITE : 0 };
		else
			t[i] = (struct vring_desc){ p[i].iova, p[i].len,
						    (uint16_t)((p[i].write ? VRING_DESC_F_WRITE
									   : 0) |
							       (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
						    (uint16_t)(i + 1 < n ? i + 1 : 0) };
	}
	return (uint16_t)(n * 16);
}

static void add_split(struct vv_ring *r, uint16_t head, const struct vv_piece *p, uint16_t n,
		      uint16_t flag)
{
	uint16_t i, at = head;

	for (i = 0; i < n; i++) {
		uint16_t next = i + 1 < n ? r->free[--r->n_free] : 0;

		r->desc[at] =
			(struct vring_desc){ p[i].iova, p[i].len,
					     (uint16_t)(flag |
							(p[i].write ? VRING_DESC_F_WRITE : 0) |
							(i + 1 < n ? VRING_DESC_F_NEXT : 0)),
					     next };
		r->next[at] = next;
		at = next;
	}
	r->avail->ring[r->avail_idx & (r->num - 1)] = head;
	r->avail_idx++;
	__atomic_store_n(&r->avail->idx, r->avail_idx, __ATOMIC_RELEASE);
}

static void add_packed(struct vv_ring *r, uint16_t id, const struct vv_piece *p, uint16_t n,
		       uint16_t flag)
{
	struct vring_packed_desc *first = &r->pdesc[r->avail_idx];
	uint16_t i, first_flags = 0;

	for (i = 0; i < n; i++) {
		struct vring_packed_desc *e = &r->pdesc[r->avail_idx];
		uint16_t flags = (uint16_t)(flag | (p[i].write ? VRING_DESC_F_WRITE : 0) |
					    (i + 1 < n ? VRING_DESC_F_NEXT : 0));

		flags |= r->avail_wrap ? 1 << VRING_PACKED_DESC_F_AVAIL
				       : 1 << VRING_PACKED_DESC_F_USED;
		e->addr = p[i].iova;
		e->len = p[i].len;
		e->id = id;
		if (i)
			e->flags = flags;
		else
			first_flags = flags;
		if (++r->avail_idx == r->num) {
			r->avail_idx = 0;
			r->avail_wrap = !r->avail_wrap;
		}
	}
	__atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
}

int vv_add(struct vv_dev *d, struct vv_ring *r, const struct vv_piece *p, uint16_t n, bool indirect)
{
	struct vv_piece one;
	uint16_t flag = 0;
	int id;

	if (indirect) {
		id = vv_next_id(r, 1);
		if (id < 0)
			return -EAGAIN;
		one = (struct vv_piece){ vv_iova(d, r->table + (size_t)id * VV_TABLE),
					 table(r, (uint16_t)id, p, n), false };
		p = &one;
		n = 1;
		flag = VRING_DESC_F_INDIRECT;
	}
	id = vv_next_id(r, n);
	if (id < 0)
		return -EAGAIN;
	r->n_free--;
	if (r->packed)
		add_packed(r, (uint16_t)id, p, n, flag);
	else
		add_split(r, (uint16_t)id, p, n, flag);
	r->len[id] = n;
	r->room -= n;
	r->posted++;
	r->added += r->packed ? n : 1;
	return id;
}

void vv_kick_always(struct vv_ring *r)
{
	uint64_t one = 1;

	r->added = 0;
	r->kicks++;
	if (write(r->kick, &one, sizeof(one)) < 0)
		return; /* a full counter is a notification as well */
}

/* Whether the device wants to hear of the last @added descriptors. */
static bool wanted(const struct vv_ring *r)
{
	uint16_t event, now, old;

	if (!r->packed) {
		if (!r->event_idx)
			return !(__atomic_load_n(&r->used->flags, __ATOMIC_ACQUIRE) &
				 VRING_USED_F_NO_NOTIFY);
		event = *(volatile uint16_t *)((uint8_t *)r->used + 4 + (size_t)r->num * 8);
		return vring_need_event(event, r->avail_idx, (uint16_t)(r->avail_idx - r->added));
	}
	switch (__atomic_load_n(&r->device->flags, __ATOMIC_ACQUIRE)) {
	case VRING_PACKED_EVENT_FLAG_ENABLE:
		return true;
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	default:
		event = *(volatile uint16_t *)&r->device->off_wrap;
	}
	now = r->avail_idx;
	old = (uint16_t)(now - r->added);
	/* As the specification's own example has it: a wrap behind us is a lap back. */
	if (!!(event & VV_WRAP) != r->avail_wrap)
		event = (uint16_t)((event & ~VV_WRAP) - r->num);
	else
		event &= (uint16_t)~VV_WRAP;
	return vring_need_event(event, now, old);
}

void vv_kick(struct vv_ring *r)
{
	if (!r->added)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (wanted(r))
		vv_kick_always(r);
	r->added = 0;
}

static bool more(const struct vv_ring *r)
{
	if (!r->packed)
		return __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) != r->used_idx;

	uint16_t f = __atomic_load_n(&r->pdesc[r->used_idx].flags, __ATOMIC_ACQUIRE);

	return !!(f & 1 << VRING_PACKED_DESC_F_AVAIL) == r->used_wrap &&
	       !!(f & 1 << VRING_PACKED_DESC_F_USED) == r->used_wrap;
}

int vv_used(struct vv_ring *r, uint16_t *ret_id, uint32_t *ret_len)
{
	uint32_t id, len;
	uint16_t n, at;

	if (!more(r))
		return 0;
	if (r->packed) {
		id = r->pdesc[r->used_idx].id;
		len = r->pdesc[r->used_idx].len;
	} else {
		if ((uint16_t)(r->used->idx - r->used_idx) > r->num)
			return vv_say(-EPROTO, "ring %u: used index %u, at %u", r->index,
				      r->used->idx, r->used_idx);
		id = r->used->ring[r->used_idx & (r->num - 1)].id;
		len = r->used->ring[r->used_idx & (r->num - 1)].len;
	}
	if (id >= r->num || !r->len[id])
		return vv_say(-EPROTO, "ring %u: id %u is used, which was not available", r->index,
			      id);
	n = r->len[id];
	r->len[id] = 0;
	r->room += n;
	r->posted--;
	if (r->packed) {
		r->used_idx += n;
		if (r->used_idx >= r->num) {
			r->used_idx -= r->num;
			r->used_wrap = !r->used_wrap;
		}
		r->free[r->n_free++] = (uint16_t)id;
	} else {
		r->used_idx++;
		for (at = (uint16_t)id; n; n--) {
			r->free[r->n_free++] = at;
			at = r->next[at];
		}
	}
	*ret_id = (uint16_t)id;
	*ret_len = len;
	return 1;
}

void vv_interrupts(struct vv_ring *r, bool on)
{
	if (r->packed) {
		if (on && r->event_idx) {
			r->driver->off_wrap =
				(uint16_t)(r->used_idx | (r->used_wrap ? VV_WRAP : 0));
			__atomic_store_n(&r->driver->flags, VRING_PACKED_EVENT_FLAG_DESC,
					 __ATOMIC_RELEASE);
		} else {
			r->driver->flags = on ? VRING_PACKED_EVENT_FLAG_ENABLE
					      : VRING_PACKED_EVENT_FLAG_DISABLE;
		}
	} else if (r->event_idx) {
		/* Off: an index that it has just passed. */
		r->avail->ring[r->num] = (uint16_t)(on ? r->used_idx : r->used_idx - 1);
	} else {
		r->avail->flags = on ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void vv_wait(struct vv_dev *d, int ms)
{
	struct pollfd p[VV_PAIRS];
	bool ready = false;
	uint64_t count;
	int i;

	for (i = 0; i < d->conf.pairs; i++) {
		struct vv_ring *r = &d->ring[2 * i];

		vv_interrupts(r, true);
		p[i] = (struct pollfd){ .fd = r->call, .events = POLLIN };
		ready |= more(r);
	}
	if (!ready)
		poll(p, d->conf.pairs, ms);
	for (i = 0; i < d->conf.pairs; i++) {
		vv_interrupts(&d->ring[2 * i], false);
		if (read(d->ring[2 * i].call, &count, sizeof(count)) == sizeof(count))
			d->ring[2 * i].calls += count;
	}
}

/* ---- frames ---- */

int vv_reap(struct vv_ring *r)
{
	uint32_t len;
	uint16_t id;
	int n = 0, rc;

	while ((rc = vv_used(r, &id, &len)) > 0) {
		if (len)
			return vv_say(-EPROTO,
				      "ring %u: %u bytes written to a buffer that was to be read",
				      r->index, len);
		n++;
	}
	return rc ?: n;
}

void vv_fill(struct vv_dev *d, uint16_t pair)
{
	struct vv_ring *r = &d->ring[2 * pair];
	struct vv_piece p = { .len = r->bufsz, .write = true };
	int id;

	while ((id = vv_next_id(r, 1)) >= 0) {
		p.iova = vv_iova(d, r->buf + (size_t)id * r->bufsz);
		vv_add(d, r, &p, 1, false);
	}
}

static int cut(struct vv_piece *p, uint64_t at, uint32_t len, enum vv_layout layout)
{
	static const uint32_t odd[] = { 7, 3, 9, 1 };
	uint32_t done = 0, n;
	int k = 0;

	if (layout == VV_TWO || layout == VV_INDIRECT) {
		p[k++] = (struct vv_piece){ at, VV_HDR, false };
		done = VV_HDR;
	}
	for (; layout == VV_ODD && k < 4 && done + odd[k] < len; k++) {
		n = odd[k];
		p[k] = (struct vv_piece){ at + done, n, false };
		done += n;
	}
	if (done < len)
		p[k++] = (struct vv_piece){ at + done, len - done, false };
	return k;
}

int vv_send_hdr(struct vv_dev *d, uint16_t pair, const struct virtio_net_hdr_v1 *hdr,
		const void *frame, size_t len, enum vv_layout layout)
{
	struct vv_ring *r = &d->ring[2 * pair + 1];
	struct vv_piece p[8];
	uint8_t *b;
	int id, n;

	if (len + VV_HDR > r->bufsz)
		return vv_say(-EMSGSIZE, "ring %u: a frame of %zu bytes for buffers of %u",
			      r->index, len, r->bufsz);
	id = vv_next_id(r, 5);
	if (id < 0)
		return -EAGAIN;
	b = r->buf + (size_t)id * r->bufsz;
	memcpy(b, hdr, VV_HDR);
	memcpy(b + VV_HDR, frame, len);
	n = cut(p, vv_iova(d, b), (uint32_t)(VV_HDR + len), layout);
	id = vv_add(d, r, p, (uint16_t)n,
		    layout == VV_INDIRECT && d->features & VV_F(VIRTIO_RING_F_INDIRECT_DESC));
	return id < 0 ? id : 0;
}

int vv_send(struct vv_dev *d, uint16_t pair, const void *frame, size_t len)
{
	static const struct virtio_net_hdr_v1 plain;

	return vv_send_hdr(d, pair, &plain, frame, len, d->conf.layout);
}

int vv_recv(struct vv_dev *d, uint16_t pair, void *frame, size_t size,
	    struct virtio_net_hdr_v1 *hdr)
{
	struct vv_ring *r = &d->ring[2 * pair];
	struct virtio_net_hdr_v1 h;
	uint32_t len, total = 0;
	uint16_t id, i;
	int rc;

	rc = vv_used(r, &id, &len);
	if (rc <= 0)
		return rc;
	memcpy(&h, r->buf + (size_t)id * r->bufsz, sizeof(h));
	if (len < VV_HDR || len > r->bufsz)
		return vv_say(-EPROTO, "ring %u: %u bytes written to a buffer of %u", r->index, len,
			      r->bufsz);
	/* Devices that know nothing of it leave what the sender had there. */
	if (!(d->features & VV_F(VIRTIO_NET_F_MRG_RXBUF)))
		h.num_buffers = 1;
	if (!h.num_buffers)
		return vv_say(-EPROTO, "ring %u: a frame in 0 buffers", r->index);
	for (i = 0;; i++) {
		uint32_t skip = i ? 0 : VV_HDR;

		if (total + len - skip > size)
			return vv_say(-EPROTO, "ring %u: a frame of more than %zu bytes", r->index,
				      size);
		memcpy((uint8_t *)frame + total, r->buf + (size_t)id * r->bufsz + skip, len - skip);
		total += len - skip;
		if (i + 1 == h.num_buffers)
			break;
		rc = vv_used(r, &id, &len);
		if (rc < 0)
			return rc;
		if (!rc || len > r->bufsz)
			return vv_say(-EPROTO, "ring %u: buffer %u of the frame's %u: %s", r->index,
				      i + 2, h.num_buffers, rc ? "longer than it is" : "not there");
	}
	if (hdr)
		*hdr = h;
	return (int)total;
}
