// SPDX-License-Identifier: GPL-2.0-or-later
/* Hostile memory maps, set-up and life. See vvbad.h. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/vdpa/vvbad.h"

#define ALL_STATUS                                                                            \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
	 VIRTIO_CONFIG_S_DRIVER_OK)
#define ELSEWHERE UINT64_C(0x7000000000)

static int update(struct bed *b, uint64_t iova, uint64_t size, void *at, uint8_t perm)
{
	return vv_iotlb(&b->bad, 0, VHOST_IOTLB_UPDATE, iova, size, at, perm);
}

static int wants(int r, int error)
{
	return r == error ? 0 : vv_say(-EPROTO, "%d where %d was wanted", r, error);
}

/* A fault by one name or another. */
static int fails(int r)
{
	return r < 0 ? 0 : vv_say(-EPROTO, "it is accepted");
}

static int map_twice(struct bed *b)
{
	return fails(update(b, VV_IOVA + 4096, 8192, b->bad.mem, VHOST_ACCESS_RW));
}

static int map_nothing(struct bed *b)
{
	return fails(update(b, ELSEWHERE, 0, b->bad.mem, VHOST_ACCESS_RW));
}

static int map_wraps(struct bed *b)
{
	return fails(update(b, UINT64_MAX - 4095, 8192, b->bad.mem, VHOST_ACCESS_RW));
}

static int map_what_is_not_there(struct bed *b)
{
	return fails(update(b, ELSEWHERE, 4 << 20, (void *)(uintptr_t)0x1000, VHOST_ACCESS_RW))
		       ?: fails(update(b, ELSEWHERE, 1 << 20, (void *)(uintptr_t)0xffff800000000000,
				       VHOST_ACCESS_RW));
}

/* Half of it is memory, half is not. */
static int map_half(struct bed *b)
{
	uint8_t *p =
		mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	munmap(p + (1 << 20), 1 << 20);
	r = update(b, ELSEWHERE, 2 << 20, p, VHOST_ACCESS_RW);
	munmap(p, 1 << 20);
	return fails(r);
}

static int map_read_only_for_writing(struct bed *b)
{
	void *p = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r = update(b, ELSEWHERE, 1 << 20, p, VHOST_ACCESS_RW);

	munmap(p, 1 << 20);
	return fails(r);
}

/* Pages in no order, thousands of ranges, one message each, in one batch. */
static int map_many(struct bed *b)
{
	const int n = 1500;
	uint8_t *p = mmap(NULL, (size_t)n * 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i, r = vv_iotlb(&b->bad, 0, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL, 0);

	for (i = 0; !r && i < n; i++)
		r = update(b, ELSEWHERE + (uint64_t)i * 8192, 4096, p + (size_t)(i * 7 % n) * 4096,
			   VHOST_ACCESS_RW);
	if (!r)
		r = vv_iotlb(&b->bad, 0, VHOST_IOTLB_BATCH_END, 0, 0, NULL, 0);
	if (!r)
		r = vv_iotlb(&b->bad, 0, VHOST_IOTLB_INVALIDATE, ELSEWHERE, (uint64_t)n * 8192,
			     NULL, 0);
	munmap(p, (size_t)n * 4096);
	return r;
}

static int map_other_space(struct bed *b)
{
	return fails(vv_iotlb(&b->bad, 77, VHOST_IOTLB_UPDATE, ELSEWHERE, 4096, b->bad.mem,
			      VHOST_ACCESS_RW));
}

static int map_odd_message(struct bed *b)
{
	return fails(vv_iotlb(&b->bad, 0, 99, ELSEWHERE, 4096, b->bad.mem, VHOST_ACCESS_RW))
		       ?: fails((int)write(b->bad.fd, "abc", 3) < 0 ? -1 : 0);
}

static int map_end_without_begin(struct bed *b)
{
	return vv_iotlb(&b->bad, 0, VHOST_IOTLB_BATCH_END, 0, 0, NULL, 0);
}

/* A batch that never ends: the device knows of no memory. */
static int map_without_end(struct bed *b)
{
	int r = vv_reset(&b->bad);

	if (!r)
		r = vv_unmap(&b->bad) ?: vv_negotiate(&b->bad);
	if (!r)
		r = vv_iotlb(&b->bad, 0, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL, 0);
	if (!r)
		r = update(b, VV_IOVA, b->bad.size, b->bad.mem, VHOST_ACCESS_RW);
	b->bad.mapped = !r;
	vv_layout(&b->bad);
	if (!r && vv_program(&b->bad) == 0) {
		b->bad.pairs = 1;
		vv_send(&b->bad, 0, b->bad.mem, 100);
		vv_kick_always(&b->bad.ring[1]);
	}
	vv_iotlb(&b->bad, 0, VHOST_IOTLB_BATCH_END, 0, 0, NULL, 0);
	return r;
}

static int unmap_all(struct bed *b)
{
	int r = vv_unmap(&b->bad);

	return r < 0 ? r : bad_send(b, 100);
}

/* The buffers of a ring that runs; the rings stay. */
static int unmap_buffers(struct bed *b)
{
	int r;

	bad_frame(b, 100);
	r = vv_iotlb(&b->bad, 0, VHOST_IOTLB_INVALIDATE, VV_IOVA, SPARE, NULL, 0);
	return r < 0 ? r : bad_send(b, 100);
}

static int unmap_under_traffic(struct bed *b)
{
	int i, r = 0;

	for (i = 0; !r && i < 60; i++) {
		bad_frame(b, 100);
		bad_send(b, 100);
		if (!b->sim)
			flood(b, b->peer, b->bad.mac, 8, 100);
		r = vv_iotlb(&b->bad, 0, VHOST_IOTLB_INVALIDATE, VV_IOVA, SPARE, NULL, 0);
		if (!r)
			r = update(b, VV_IOVA, SPARE, b->bad.mem, VHOST_ACCESS_RW);
		vv_reap(&b->bad.ring[1]);
		if (i % 10 == 9 && !r) {
			vv_reset(&b->bad);
			r = bring_up(b, 0);
		}
	}
	return r;
}

/* Pinned pages outlive both. */
static int memory_gone(struct bed *b)
{
	bad_frame(b, 100);
	if (ftruncate(b->bad.memfd, 0) < 0)
		return vv_say(-errno, "ftruncate");
	/* What follows must not meet what is no memory any more. */
	munmap(b->bad.mem, b->bad.size);
	b->bad.mem = NULL;
	close(b->bad.memfd);
	vv_kick_always(&b->bad.ring[1]);
	flood(b, &b->near, b->bad.mac, 50, 100);
	vv_reset(&b->bad);
	vv_unmap(&b->bad);
	return vv_memory(&b->bad, b->bad.size) ?: bring_up(b, 0);
}

static int other_permission(struct bed *b, uint8_t perm)
{
	int r;

	bad_frame(b, 100);
	r = vv_iotlb(&b->bad, 0, VHOST_IOTLB_INVALIDATE, VV_IOVA, SPARE, NULL, 0);
	return r ?: update(b, VV_IOVA, SPARE, b->bad.mem, perm);
}

static int write_only_sent(struct bed *b)
{
	int r = other_permission(b, VHOST_ACCESS_WO);

	return r < 0 ? r : bad_send(b, 100);
}

static int read_only_received(struct bed *b)
{
	struct vv_ring *r = &b->bad.ring[0];
	int rc = other_permission(b, VHOST_ACCESS_RO), i;

	/* The buffers that are there already, moved. */
	for (i = 0; i < r->num; i++)
		r->desc[i].addr = spare_at(b, 0);
	if (!rc)
		flood(b, b->peer, b->bad.mac, 100, 100);
	return rc;
}

/* ---- set-up ---- */

static int ready_for_rings(struct bed *b)
{
	b->bad.conf = b->conf;
	b->bad.conf.pairs = 1;
	b->bad.conf.bufsz = 2048;
	return vv_memory(&b->bad, 16 << 20) ?: vv_negotiate(&b->bad) ?: vv_map(&b->bad) ?: vv_layout(&b->bad);
}

static int start_anyhow(struct bed *b)
{
	int r = vv_program(&b->bad);

	/* Refused in the one way or the other. */
	if (r < 0)
		vv_said[0] = 0;
	return 0;
}

static int with_area(struct bed *b, int which, uint8_t *at)
{
	int r = ready_for_rings(b);

	if (r)
		return r;
	if (which == 0)
		b->bad.ring[1].desc = (void *)at;
	else if (which == 1)
		b->bad.ring[1].avail = (void *)at;
	else
		b->bad.ring[1].used = (void *)at;
	return start_anyhow(b);
}

/* vv_iova() counts from the memory's start, which is nowhere before the first set-up. */
static uint8_t *at(struct bed *b, int64_t offset)
{
	if (vv_memory(&b->bad, 16 << 20) < 0)
		abort();
	return b->bad.mem + offset;
}

static int areas_outside(struct bed *b)
{
	return with_area(b, 0, at(b, -0x100000));
}

static int areas_across_the_end(struct bed *b)
{
	/* A packed ring's other areas are of 4 bytes. */
	return with_area(b, b->packed ? 0 : 2, at(b, (16 << 20) - 64));
}

static int areas_misaligned(struct bed *b)
{
	return with_area(b, 0, at(b, 8));
}

static int areas_one(struct bed *b)
{
	int r = ready_for_rings(b);

	b->bad.ring[1].desc = (void *)b->bad.spare;
	b->bad.ring[1].avail = (void *)b->bad.spare;
	b->bad.ring[1].used = (void *)b->bad.spare;
	return r ?: start_anyhow(b);
}

static int areas_read_only(struct bed *b)
{
	int r = ready_for_rings(b);

	if (!r)
		r = vv_iotlb(&b->bad, 0, VHOST_IOTLB_INVALIDATE, VV_IOVA, SPARE, NULL, 0);
	if (!r)
		r = update(b, VV_IOVA, SPARE, b->bad.mem, VHOST_ACCESS_RO);
	b->bad.ring[1].used = (void *)b->bad.spare;
	return r ?: start_anyhow(b);
}

static int number_0(struct bed *b)
{
	return ready_for_rings(b) ?: fails(vv_vring(&b->bad, VHOST_SET_VRING_NUM, 1, 0)) ?: vv_reset(&b->bad) ?: bring_up(b, 0);
}

static int number_odd(struct bed *b)
{
	return ready_for_rings(b) ?: fails(vv_vring(&b->bad, VHOST_SET_VRING_NUM, 1, 65536)) ?: vv_reset(&b->bad) ?: bring_up(b, 0);
}

static int number_large(struct bed *b)
{
	int r = ready_for_rings(b);

	b->bad.ring[1].num = 32768;
	r = r ?: start_anyhow(b);
	b->bad.ring[1].num = 64;
	return r;
}

static int base_outside(struct bed *b)
{
	int r = ready_for_rings(b);

	b->bad.ring[1].base = 0x70007000;
	return r ?: start_anyhow(b);
}

static int base_used_ahead(struct bed *b)
{
	int r = ready_for_rings(b);

	b->bad.ring[1].base = 0x80058003;
	return r ?: start_anyhow(b);
}

static int features_odd(struct bed *b)
{
	uint64_t f = 0;
	int r;

	b->bad.features = 0;
	vv_set_status(&b->bad, 3);
	r = ioctl(b->bad.fd, VHOST_SET_FEATURES, &f) < 0 ? -errno : 0;
	f = UINT64_MAX;
	r = fails(r) ?: fails(ioctl(b->bad.fd, VHOST_SET_FEATURES, &f) < 0 ? -errno : 0);
	vv_set_status(&b->bad, 11);
	vv_set_status(&b->bad, ALL_STATUS);
	vv_reset(&b->bad);
	return r ?: bring_up(b, 0);
}

static int status_at_once(struct bed *b)
{
	vv_set_status(&b->bad, ALL_STATUS);
	vv_vring(&b->bad, VHOST_VDPA_SET_VRING_ENABLE, 0, 1);
	vv_vring(&b->bad, VHOST_VDPA_SET_VRING_ENABLE, 1, 7);
	vv_set_status(&b->bad, 0xff);
	vv_reset(&b->bad);
	return bring_up(b, 0);
}

/* Everything out of its order: nothing of it may do more than fail. */
static int order_odd(struct bed *b)
{
	struct vhost_vring_state s = { .index = 1 };
	int i, r;

	vv_suspend(&b->bad);
	vv_resume(&b->bad);
	ioctl(b->bad.fd, VHOST_GET_VRING_BASE, &s);
	r = bring_up(b, 0) ?: works_once(b);
	for (i = 0; !r && i < 3; i++) {
		r = vv_suspend(&b->bad) ?: vv_suspend(&b->bad);
		if (!r)
			r = vv_resume(&b->bad) ?: vv_resume(&b->bad);
	}
	/* While it runs these are refused. */
	if (!r)
		r = fails(vv_vring(&b->bad, VHOST_SET_VRING_BASE, 1, 5));
	ioctl(b->bad.fd, VHOST_GET_VRING_BASE, &s);
	vv_vring(&b->bad, VHOST_VDPA_SET_VRING_ENABLE, 1, 1);
	return r;
}

static int index_outside(struct bed *b)
{
	struct vhost_vring_state s = { .index = 1000, .num = 1 };
	int r = bring_up(b, 0);

	s.index = 1000;
	r = r
		    ?: wants(ioctl(b->bad.fd, VHOST_VDPA_SET_VRING_ENABLE, &s) < 0 ? -errno : 0,
			     -ENOBUFS);
	s.index = UINT32_MAX;
	r = r ?: wants(ioctl(b->bad.fd, VHOST_GET_VRING_BASE, &s) < 0 ? -errno : 0, -ENOBUFS);
	s = (struct vhost_vring_state){ .index = 99, .num = 99 };
	return r ?: fails(ioctl(b->bad.fd, VHOST_VDPA_SET_GROUP_ASID, &s) < 0 ? -errno : 0);
}

static int config_outside(struct bed *b)
{
	uint8_t ones[16];
	int r = bring_up(b, 0);

	memset(ones, 0xff, sizeof(ones));
	r = r ?: fails(vv_config(&b->bad, 5000, ones, 16)) ?: fails(vv_config(&b->bad, UINT32_MAX - 3, ones, 16));
	memset(ones, 0xff, sizeof(ones));
	if (!b->sim)
		vv_set_config(&b->bad, 0, ones, 12);
	vv_config(&b->bad, 0, ones, 12);
	if (!r && ones[0] & 1)
		r = vv_say(-EPROTO, "its MAC is a group's now");
	return r;
}

static int fds_odd(struct bed *b)
{
	struct vhost_vring_file f = { .index = 1,
				      .fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC) };
	uint64_t much = UINT64_MAX - 1;
	int i, r = bring_up(b, 0);

	r = r ?: fails(ioctl(b->bad.fd, VHOST_SET_VRING_CALL, &f) < 0 ? -errno : 0);
	r = r ?: fails(ioctl(b->bad.fd, VHOST_SET_VRING_KICK, &f) < 0 ? -errno : 0);
	close(f.fd);
	if (r)
		return r;
	/* A counter that is full, and that nobody reads: nobody waits for it. */
	for (i = 0; i < 2; i++)
		if (write(b->bad.ring[i].call, &much, sizeof(much)) < 0)
			return vv_say(-errno, "eventfd");
	vv_interrupts(&b->bad.ring[0], true);
	vv_interrupts(&b->bad.ring[1], true);
	for (i = 0; !r && i < 4; i++)
		r = works_once(b);
	/* No eventfd at all. */
	f.fd = -1;
	if (!r && ioctl(b->bad.fd, VHOST_SET_VRING_CALL, &f) < 0)
		r = vv_say(-errno, "no call");
	return r ?: works_once(b);
}

static int opened_twice(struct bed *b)
{
	struct vv_dev d;

	return wants(vv_open(&d, b->bad.name), -EBUSY) ?: bring_up(b, 0);
}

static int owner_other(struct bed *b)
{
	return bring_up(b, 0) ?: wants(ioctl(b->bad.fd, VHOST_SET_OWNER) < 0 ? -errno : 0, -EBUSY);
}

/* ---- life ---- */

static int resets(struct bed *b)
{
	int i, r = 0;

	for (i = 0; !r && i < 50; i++) {
		r = bring_up(b, 0);
		if (r)
			break;
		if (!b->sim)
			flood(b, b->peer, b->bad.mac, i % 40, 300);
		flood(b, &b->bad, b->peer->mac, i % 23, 300);
		r = vv_reset(&b->bad);
	}
	return r ?: bring_up(b, 0);
}

static int closes(struct bed *b)
{
	char name[64];
	int i, r = 0;

	snprintf(name, sizeof(name), "%s", b->bad.name);
	for (i = 0; !r && i < 25; i++) {
		r = bring_up(b, 0);
		if (r)
			break;
		flood(b, &b->bad, b->peer->mac, i % 23, 300);
		if (!b->sim) {
			int k;

			vv_frame_make(b->bad.spare, b->bad.mac, b->near.mac, 0, 1, 0, 100);
			for (k = 0; k < 20; k++)
				vv_send(&b->near, 0, b->bad.spare, 100);
			vv_kick(&b->near.ring[1]);
		}
		vv_close(&b->bad);
		r = vv_open(&b->bad, name);
	}
	return r ?: bring_up(b, 0);
}

/* Without a receive buffer: whoever sends to it does not wait. */
static int starves(struct bed *b)
{
	int r = ready_for_rings(b) ?: vv_program(&b->bad);

	b->bad.pairs = 1;
	if (!r)
		flood(b, b->peer, b->bad.mac, 600, 1000);
	vv_fill(&b->bad, 0);
	vv_kick_always(&b->bad.ring[0]);
	return r;
}

static int kick_storm(struct bed *b)
{
	int i, r = bring_up(b, 0);

	for (i = 0; !r && i < 20000; i++)
		vv_kick_always(&b->bad.ring[i & 1]);
	return r ?: works_once(b);
}

const struct row map_rows[] = {
	{ "map-twice", 0, ERROR, map_twice },
	{ "map-nothing", 0, ERROR, map_nothing },
	{ "map-wraps", 0, ERROR, map_wraps },
	{ "map-what-is-not-there", NO_SIM, ERROR, map_what_is_not_there },
	{ "map-half-there", NO_SIM, ERROR, map_half },
	{ "map-read-only-for-writing", NO_SIM, ERROR, map_read_only_for_writing },
	{ "map-many-ranges", 0, FINE, map_many },
	{ "map-address-space-outside", 0, ERROR, map_other_space },
	{ "map-odd-messages", 0, ERROR, map_odd_message },
	{ "map-batch-end-without-begin", 0, FINE, map_end_without_begin },
	{ "map-batch-without-end", 0, ANY, map_without_end },
	{ "map-taken-away", 0, RESET, unmap_all },
	{ "map-buffers-taken-away", 0, RESET, unmap_buffers },
	{ "map-taken-away-under-traffic", 0, ANY, unmap_under_traffic },
	{ "map-memory-truncated", 0, FINE, memory_gone },
	{ "map-write-only-buffer-sent", 0, RESET, write_only_sent },
	{ "map-read-only-buffer-received", 0, RESET, read_only_received },
	{ "setup-areas-outside", DOWN, RESET, areas_outside },
	{ "setup-areas-across-the-end", DOWN, RESET, areas_across_the_end },
	{ "setup-areas-misaligned", DOWN, RESET, areas_misaligned },
	{ "setup-areas-one-over-the-other", DOWN, ANY, areas_one },
	{ "setup-areas-read-only", DOWN, RESET, areas_read_only },
	{ "setup-ring-of-0", DOWN, ERROR, number_0 },
	{ "setup-ring-of-65536", DOWN, ERROR, number_odd },
	{ "setup-ring-too-large", DOWN, RESET, number_large },
	{ "setup-base-outside", DOWN | PACKED_ONLY, RESET, base_outside },
	{ "setup-base-used-ahead", DOWN | PACKED_ONLY, RESET, base_used_ahead },
	{ "setup-features-odd", DOWN | NO_SIM, ERROR, features_odd },
	{ "setup-status-at-once", DOWN, FINE, status_at_once },
	{ "setup-out-of-order", DOWN, FINE, order_odd },
	{ "setup-index-outside", DOWN, ERROR, index_outside },
	{ "setup-config-outside", DOWN, ERROR, config_outside },
	{ "setup-fds-odd", DOWN, FINE, fds_odd },
	{ "setup-opened-twice", DOWN, ERROR, opened_twice },
	{ "setup-owned-twice", DOWN, ERROR, owner_other },
	{ "life-resets-under-traffic", DOWN, FINE, resets },
	{ "life-closed-under-traffic", DOWN, FINE, closes },
	{ "life-no-receive-buffers", DOWN | NO_SIM, ANY, starves },
	{ "life-kick-storm", DOWN, FINE, kick_storm },
	{ NULL, 0, 0, NULL },
};
