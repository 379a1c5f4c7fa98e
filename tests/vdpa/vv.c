// SPDX-License-Identifier: GPL-2.0-or-later
/* A device: /dev/vhost-vdpa-N, or a tap behind /dev/vhost-net. See vv.h. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>

#include "tests/vdpa/vv.h"

#ifndef VHOST_BACKEND_F_SUSPEND
#define VHOST_BACKEND_F_SUSPEND 0x4
#endif
#ifndef VHOST_BACKEND_F_RESUME
#define VHOST_BACKEND_F_RESUME 0x5
#endif
#define F_ENABLE_AFTER_DRIVER_OK 0x6
#define F_IOTLB_PERSIST		 0x8
#ifndef VHOST_VDPA_SUSPEND
#define VHOST_VDPA_SUSPEND _IO(VHOST_VIRTIO, 0x7D)
#endif
#ifndef VHOST_VDPA_RESUME
#define VHOST_VDPA_RESUME _IO(VHOST_VIRTIO, 0x7E)
#endif

char vv_said[256];

int vv_say(int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(vv_said, sizeof(vv_said), format, ap);
	va_end(ap);
	return r;
}

uint64_t vv_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int ioc(struct vv_dev *d, unsigned long what, const char *name, void *arg)
{
	if (ioctl(d->fd, what, arg) < 0)
		return vv_say(-errno, "%s: %s: %s", d->name, name, strerror(errno));
	return 0;
}

#define IOC(d, what, arg) ioc(d, what, #what, arg)

int vv_vring(struct vv_dev *d, unsigned long what, uint16_t i, uint32_t num)
{
	struct vhost_vring_state s = { .index = i, .num = num };

	if (ioctl(d->fd, what, &s) < 0)
		return vv_say(-errno, "%s: ring %u: ioctl %#lx: %s", d->name, i, what,
			      strerror(errno));
	return 0;
}

static int open_tap(struct vv_dev *d, const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int hdr = VV_HDR;

	d->tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (d->tap < 0)
		return vv_say(-errno, "/dev/net/tun: %s", strerror(errno));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(d->tap, TUNSETIFF, &ifr) < 0 || ioctl(d->tap, TUNSETVNETHDRSZ, &hdr) < 0)
		return vv_say(-errno, "tap %s: %s", name, strerror(errno));
	d->fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	if (d->fd < 0)
		return vv_say(-errno, "/dev/vhost-net: %s", strerror(errno));
	d->vqs = 2;
	memcpy(d->mac, (uint8_t[]){ 0x52, 0x54, 0, 0x7a, 0, 1 }, 6);
	return 0;
}

int vv_open(struct vv_dev *d, const char *spec)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	uint32_t vqs;
	int r;

	memset(d, 0, sizeof(*d));
	d->tap = d->memfd = d->config_call = -1;
	snprintf(d->name, sizeof(d->name), "%s", spec);
	/* What a device pins counts, root's too. */
	setrlimit(RLIMIT_MEMLOCK, &all);
	if (strncmp(spec, "tap:", 4) == 0) {
		r = open_tap(d, spec + 4);
	} else {
		d->vdpa = true;
		d->fd = open(spec, O_RDWR | O_CLOEXEC);
		r = d->fd < 0 ? vv_say(-errno, "%s: %s", spec, strerror(errno)) : 0;
	}
	if (!r)
		r = IOC(d, VHOST_SET_OWNER, NULL);
	if (!r)
		r = IOC(d, VHOST_GET_FEATURES, &d->offered);
	if (!r && d->vdpa) {
		r = IOC(d, VHOST_VDPA_GET_VQS_COUNT, &vqs)
			    ?: IOC(d, VHOST_GET_BACKEND_FEATURES, &d->backend);
		d->vqs = (uint16_t)vqs;
		d->backend &= VV_F(VHOST_BACKEND_F_IOTLB_MSG_V2) |
			      VV_F(VHOST_BACKEND_F_IOTLB_BATCH) | VV_F(VHOST_BACKEND_F_IOTLB_ASID) |
			      VV_F(VHOST_BACKEND_F_SUSPEND) | VV_F(VHOST_BACKEND_F_RESUME) |
			      VV_F(F_IOTLB_PERSIST);
		if (!r)
			r = IOC(d, VHOST_SET_BACKEND_FEATURES, &d->backend);
		if (!r && d->offered & VV_F(VIRTIO_NET_F_MAC))
			r = vv_config(d, 0, d->mac, 6);
	}
	if (r)
		vv_close(d);
	return r;
}

static void close_fd(int *fd)
{
	if (*fd > 0)
		close(*fd);
	*fd = -1;
}

void vv_close(struct vv_dev *d)
{
	int i;

	for (i = 0; i < VV_RINGS; i++) {
		close_fd(&d->ring[i].kick);
		close_fd(&d->ring[i].call);
	}
	close_fd(&d->fd);
	close_fd(&d->tap);
	close_fd(&d->config_call);
	close_fd(&d->memfd);
	if (d->mem)
		munmap(d->mem, d->size);
	d->mem = NULL;
}

/* ---- memory ---- */

int vv_memory(struct vv_dev *d, size_t size)
{
	if (d->mem && d->size >= size)
		return 0;
	if (d->mem) {
		vv_unmap(d);
		munmap(d->mem, d->size);
		close_fd(&d->memfd);
		d->mem = NULL;
	}
	size = (size + 0xfffff) & ~(size_t)0xfffff;
	d->memfd = memfd_create("vv", MFD_CLOEXEC);
	if (d->memfd < 0 || ftruncate(d->memfd, (off_t)size) < 0)
		return vv_say(-errno, "memory: %s", strerror(errno));
	d->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, d->memfd, 0);
	if (d->mem == MAP_FAILED) {
		d->mem = NULL;
		return vv_say(-errno, "memory: %s", strerror(errno));
	}
	d->size = size;
	return 0;
}

uint64_t vv_iova(const struct vv_dev *d, const void *p)
{
	return VV_IOVA + (uint64_t)((const uint8_t *)p - d->mem);
}

void *vv_alloc(struct vv_dev *d, size_t len, size_t align)
{
	void *p;

	d->brk = (d->brk + align - 1) & ~(align - 1);
	if (d->brk + len > d->size) {
		fprintf(stderr, "vv: %s: %zu bytes of memory are too few\n", d->name, d->size);
		abort();
	}
	p = d->mem + d->brk;
	d->brk += len;
	memset(p, 0, len);
	return p;
}

int vv_iotlb(struct vv_dev *d, uint32_t asid, uint8_t type, uint64_t iova, uint64_t size, void *at,
	     uint8_t perm)
{
	struct vhost_msg_v2 m = { .type = VHOST_IOTLB_MSG_V2, .asid = asid };

	m.iotlb = (struct vhost_iotlb_msg){ .iova = iova,
					    .size = size,
					    .uaddr = (uint64_t)(uintptr_t)at,
					    .perm = perm,
					    .type = type };
	if (write(d->fd, &m, sizeof(m)) != sizeof(m))
		return vv_say(-errno, "%s: IOTLB message %u for %#llx + %#llx: %s", d->name, type,
			      (unsigned long long)iova, (unsigned long long)size, strerror(errno));
	return 0;
}

/* In chunks, as whoever has much memory must: one message holds the address space's lock all the time. */
#define CHUNK ((size_t)1 << 20)

int vv_map(struct vv_dev *d)
{
	size_t at, n;
	int r;

	if (!d->vdpa) {
		struct {
			struct vhost_memory m;
			struct vhost_memory_region r;
		} t = { .m.nregions = 1,
			.r = { VV_IOVA, d->size, (uint64_t)(uintptr_t)d->mem, 0 } };

		return IOC(d, VHOST_SET_MEM_TABLE, &t);
	}
	if (d->mapped) {
		/* Kept through a reset only where the device says so. */
		if (d->backend & VV_F(F_IOTLB_PERSIST))
			return 0;
		r = vv_unmap(d);
		if (r)
			return r;
	}
	r = vv_iotlb(d, 0, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL, 0);
	for (at = 0; !r && at < d->size; at += n) {
		n = d->size - at < CHUNK ? d->size - at : CHUNK;
		r = vv_iotlb(d, 0, VHOST_IOTLB_UPDATE, VV_IOVA + at, n, d->mem + at,
			     VHOST_ACCESS_RW);
	}
	if (!r)
		r = vv_iotlb(d, 0, VHOST_IOTLB_BATCH_END, 0, 0, NULL, 0);
	d->mapped = !r;
	return r;
}

int vv_unmap(struct vv_dev *d)
{
	int r;

	if (!d->vdpa || !d->mapped)
		return 0;
	d->mapped = false;
	r = vv_iotlb(d, 0, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL, 0);
	if (!r)
		r = vv_iotlb(d, 0, VHOST_IOTLB_INVALIDATE, VV_IOVA, d->size, NULL, 0);
	if (!r)
		r = vv_iotlb(d, 0, VHOST_IOTLB_BATCH_END, 0, 0, NULL, 0);
	return r;
}

/* ---- status, features, state ---- */

int vv_status(struct vv_dev *d)
{
	uint8_t s = 0;
	int r = d->vdpa ? IOC(d, VHOST_VDPA_GET_STATUS, &s) : 0;

	return r ?: s;
}

int vv_set_status(struct vv_dev *d, uint8_t s)
{
	return d->vdpa ? IOC(d, VHOST_VDPA_SET_STATUS, &s) : 0;
}

int vv_reset(struct vv_dev *d)
{
	struct vhost_vring_file f = { .fd = -1 };
	int r = 0;

	if (d->vdpa) {
		d->pairs = 0;
		return vv_set_status(d, 0);
	}
	for (f.index = 0; !r && f.index < 2; f.index++)
		r = IOC(d, VHOST_NET_SET_BACKEND, &f);
	return r;
}

int vv_suspend(struct vv_dev *d)
{
	return IOC(d, VHOST_VDPA_SUSPEND, NULL);
}

int vv_resume(struct vv_dev *d)
{
	return IOC(d, VHOST_VDPA_RESUME, NULL);
}

int vv_bases(struct vv_dev *d)
{
	int r = 0, i;

	for (i = 0; !r && i < d->n_rings; i++) {
		struct vhost_vring_state s = { .index = d->ring[i].index };

		r = IOC(d, VHOST_GET_VRING_BASE, &s);
		d->ring[i].base = s.num;
	}
	return r;
}

int vv_bases_exact(struct vv_dev *d)
{
	int i;

	for (i = 0; i < d->n_rings; i++) {
		struct vv_ring *r = &d->ring[i];
		uint32_t one = r->packed ? (uint32_t)(r->used_idx | (r->used_wrap ? VV_WRAP : 0))
					 : r->used_idx;
		uint32_t want = r->packed ? one | one << 16 : one;

		if (r->base != want)
			return vv_say(-EPROTO,
				      "%s: ring %u: its base is %#x, its used entries say %#x",
				      d->name, r->index, r->base, want);
	}
	return 0;
}

int vv_config(struct vv_dev *d, uint32_t offset, void *to, uint32_t len)
{
	struct vhost_vdpa_config *c = calloc(1, sizeof(*c) + len);
	int r;

	c->off = offset;
	c->len = len;
	r = IOC(d, VHOST_VDPA_GET_CONFIG, c);
	if (!r)
		memcpy(to, c->buf, len);
	free(c);
	return r;
}

int vv_set_config(struct vv_dev *d, uint32_t offset, const void *from, uint32_t len)
{
	struct vhost_vdpa_config *c = calloc(1, sizeof(*c) + len);
	int r;

	c->off = offset;
	c->len = len;
	memcpy(c->buf, from, len);
	r = IOC(d, VHOST_VDPA_SET_CONFIG, c);
	free(c);
	return r;
}

int vv_negotiate(struct vv_dev *d)
{
	const struct vv_conf *c = &d->conf;
	uint64_t want = c->want | VV_F(VIRTIO_F_VERSION_1) | VV_F(VIRTIO_F_ACCESS_PLATFORM) |
			VV_F(VIRTIO_NET_F_MAC) | VV_F(VIRTIO_NET_F_STATUS);
	int r;

	if (!c->no_mrg)
		want |= VV_F(VIRTIO_NET_F_MRG_RXBUF);
	if (c->packed)
		want |= VV_F(VIRTIO_F_RING_PACKED);
	if (c->event_idx)
		want |= VV_F(VIRTIO_RING_F_EVENT_IDX);
	if (c->indirect || c->layout == VV_INDIRECT)
		want |= VV_F(VIRTIO_RING_F_INDIRECT_DESC);
	if (c->ctrl || c->pairs > 1)
		want |= VV_F(VIRTIO_NET_F_CTRL_VQ) | VV_F(VIRTIO_NET_F_CTRL_MAC_ADDR) |
			VV_F(VIRTIO_NET_F_CTRL_RX) | VV_F(VIRTIO_NET_F_CTRL_VLAN);
	if (c->pairs > 1)
		want |= VV_F(VIRTIO_NET_F_MQ);
	/* With it vhost-net would ask us for each page. */
	if (!d->vdpa)
		want &= ~VV_F(VIRTIO_F_ACCESS_PLATFORM);
	d->features = want & d->offered;
	if (c->packed && !(d->features & VV_F(VIRTIO_F_RING_PACKED)))
		return vv_say(-EOPNOTSUPP, "%s: no packed rings", d->name);
	if (c->pairs > 1 && !(d->features & VV_F(VIRTIO_NET_F_MQ)))
		return vv_say(-EOPNOTSUPP, "%s: no multiqueue", d->name);
	r = vv_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE)
		    ?: vv_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	if (!r)
		r = IOC(d, VHOST_SET_FEATURES, &d->features);
	if (!r && d->tap >= 0) {
		unsigned int offloads = 0;

		if (c->want & VV_F(VIRTIO_NET_F_GUEST_CSUM))
			offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
		ioctl(d->tap, TUNSETOFFLOAD, offloads);
	}
	if (!r)
		r = vv_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
					     VIRTIO_CONFIG_S_FEATURES_OK);
	if (!r && d->vdpa && !(vv_status(d) & VIRTIO_CONFIG_S_FEATURES_OK))
		r = vv_say(-EOPNOTSUPP, "%s: it takes no features of %#llx", d->name,
			   (unsigned long long)d->features);
	return r;
}

int vv_layout(struct vv_dev *d)
{
	const struct vv_conf *c = &d->conf;
	int i;

	d->brk = 0;
	/* The first page is for a hostile driver's tables. */
	d->spare = c->more ? vv_alloc(d, c->more, 4096) : NULL;
	d->n_rings = (uint16_t)(2 * c->pairs);
	d->ctrl = 0;
	for (i = 0; i < d->n_rings; i++)
		vv_ring_init(d, &d->ring[i], (uint16_t)i, c->num, c->bufsz);
	if (d->features & VV_F(VIRTIO_NET_F_CTRL_VQ)) {
		d->ctrl = d->n_rings++;
		vv_ring_init(d, &d->ring[d->ctrl],
			     d->features & VV_F(VIRTIO_NET_F_MQ) ? (uint16_t)(d->vqs - 1) : 2, 32,
			     2048);
	}
	return 0;
}

static int program_ring(struct vv_dev *d, uint16_t i)
{
	struct vv_ring *r = &d->ring[i];
	struct vhost_vring_addr a = { .index = r->index };
	struct vhost_vring_file f = { .index = r->index };
	int rc;

	if (r->kick <= 0) {
		r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	a.desc_user_addr = (uint64_t)(uintptr_t)r->desc;
	a.avail_user_addr = (uint64_t)(uintptr_t)r->avail;
	a.used_user_addr = (uint64_t)(uintptr_t)r->used;
	if (d->vdpa) {
		a.desc_user_addr = vv_iova(d, r->desc);
		a.avail_user_addr = vv_iova(d, r->avail);
		a.used_user_addr = vv_iova(d, r->used);
	}
	rc = vv_vring(d, VHOST_SET_VRING_NUM, r->index, r->num);
	if (!rc)
		rc = IOC(d, VHOST_SET_VRING_ADDR, &a);
	if (!rc)
		rc = vv_vring(d, VHOST_SET_VRING_BASE, r->index, r->base);
	f.fd = r->call;
	if (!rc)
		rc = IOC(d, VHOST_SET_VRING_CALL, &f);
	f.fd = r->kick;
	if (!rc)
		rc = IOC(d, VHOST_SET_VRING_KICK, &f);
	return rc;
}

int vv_program(struct vv_dev *d)
{
	int r = 0, i;

	for (i = 0; !r && i < d->n_rings; i++)
		r = program_ring(d, (uint16_t)i);
	for (i = 0; !r && d->vdpa && i < d->n_rings; i++)
		r = vv_vring(d, VHOST_VDPA_SET_VRING_ENABLE, d->ring[i].index, 1);
	if (d->config_call < 0)
		d->config_call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* Each time: a device forgets it at a reset. */
	if (!r && d->vdpa)
		r = IOC(d, VHOST_VDPA_SET_CONFIG_CALL, &d->config_call);
	if (!r)
		r = vv_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
					     VIRTIO_CONFIG_S_FEATURES_OK |
					     VIRTIO_CONFIG_S_DRIVER_OK);
	if (!r && d->vdpa && !(vv_status(d) & VIRTIO_CONFIG_S_DRIVER_OK))
		r = vv_say(-EIO, "%s: it does not become ready: status %#x", d->name, vv_status(d));
	for (i = 0; !r && !d->vdpa && i < 2; i++) {
		struct vhost_vring_file f = { .index = (unsigned int)i, .fd = d->tap };

		r = IOC(d, VHOST_NET_SET_BACKEND, &f);
	}
	/* What was made available before is noticed by a notification, or never. */
	for (i = 0; !r && i < d->n_rings; i++)
		vv_kick_always(&d->ring[i]);
	return r;
}

int vv_up(struct vv_dev *d, const struct vv_conf *conf)
{
	struct vv_conf *c = &d->conf;
	uint16_t i;
	int r;

	*c = *conf;
	c->pairs = c->pairs ?: 1;
	c->num = c->num ?: 256;
	c->bufsz = c->bufsz ?: 2048;
	d->pairs = 0;
	r = vv_memory(d, c->more + (size_t)2 * c->pairs * c->num * (c->bufsz + 64 + 16 * VV_TABLE) +
				 (1 << 20));
	if (!r)
		r = vv_negotiate(d) ?: vv_map(d) ?: vv_layout(d);
	for (i = 0; !r && i < c->pairs; i++)
		vv_fill(d, i);
	if (!r)
		r = vv_program(d);
	d->pairs = c->pairs;
	if (!r && c->pairs > 1) {
		r = vv_ctrl(d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &c->pairs, 2);
		if (r > 0)
			r = vv_say(-EPROTO, "%s: %u pairs are denied", d->name, c->pairs);
	}
	return r;
}

int vv_ctrl(struct vv_dev *d, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	struct vv_ring *r = &d->ring[d->ctrl];
	uint64_t end = vv_now() + 5000000000ull;
	struct vv_piece p[3];
	uint16_t id;
	uint8_t *b;
	int rc, n = 0;

	if (!d->ctrl)
		return vv_say(-EOPNOTSUPP, "%s: no control queue", d->name);
	if (len > r->bufsz - 16)
		return vv_say(-EINVAL, "a command of %u bytes", len);
	rc = vv_next_id(r, 3);
	if (rc < 0)
		return vv_say(-EAGAIN, "%s: the control queue is full", d->name);
	b = r->buf + (size_t)rc * r->bufsz;
	b[0] = class;
	b[1] = cmd;
	memcpy(b + 2, data, len);
	b[r->bufsz - 1] = 0xee;
	p[n++] = (struct vv_piece){ vv_iova(d, b), 2, false };
	if (len)
		p[n++] = (struct vv_piece){ vv_iova(d, b + 2), len, false };
	p[n++] = (struct vv_piece){ vv_iova(d, b + r->bufsz - 1), 1, true };
	vv_add(d, r, p, (uint16_t)n, false);
	vv_kick(r);
	while ((rc = vv_used(r, &id, &len)) == 0) {
		if (vv_now() > end)
			return vv_say(-ETIMEDOUT, "%s: no answer to control command %u/%u", d->name,
				      class, cmd);
		usleep(200);
	}
	if (rc < 0)
		return rc;
	if (len != 1 || b[r->bufsz - 1] > 1)
		return vv_say(-EPROTO, "%s: control command %u/%u: answer %#x, %u bytes written",
			      d->name, class, cmd, b[r->bufsz - 1], len);
	return b[r->bufsz - 1];
}
