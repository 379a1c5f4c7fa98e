// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbered frames: what was sent is known from its number, byte by byte. And packet sockets as ends. See vv.h. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>

#include "tests/vdpa/vv.h"

#define HEAD 28 /* Ethernet header, stream, number, length of the whole */

void vv_frame_make(uint8_t *f, const uint8_t *dst, const uint8_t *src, uint16_t vlan,
		   uint32_t stream, uint64_t n, size_t len)
{
	uint16_t l = (uint16_t)len;
	size_t i, at = 12;

	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	if (vlan) {
		f[at++] = 0x81;
		f[at++] = 0;
		f[at++] = (uint8_t)(vlan >> 8);
		f[at++] = (uint8_t)vlan;
	}
	f[at++] = VV_ETHERTYPE >> 8;
	f[at++] = VV_ETHERTYPE & 0xff;
	memcpy(f + at, &stream, 4);
	memcpy(f + at + 4, &n, 8);
	memcpy(f + at + 12, &l, 2);
	for (i = at + 14; i < len; i++)
		f[i] = (uint8_t)(n * 31 + i * 7 + stream);
}

int vv_frame_check(const uint8_t *f, size_t len, uint32_t stream, uint64_t *ret_n)
{
	size_t i, at = 12;
	uint32_t s;
	uint64_t n;
	uint16_t l;

	if (len < HEAD)
		return 0;
	if (f[at] == 0x81 && f[at + 1] == 0)
		at += 4;
	if (len < at + 16 || f[at] != VV_ETHERTYPE >> 8 || f[at + 1] != (VV_ETHERTYPE & 0xff))
		return 0;
	at += 2;
	memcpy(&s, f + at, 4);
	memcpy(&n, f + at + 4, 8);
	memcpy(&l, f + at + 12, 2);
	if (s != stream)
		return 0;
	/* A NIC may pad a short one. */
	if (l > len || (l < len && len > 60))
		return vv_say(-EPROTO, "frame %llu came with %zu of %u bytes",
			      (unsigned long long)n, len, l);
	for (i = at + 14; i < l; i++)
		if (f[i] != (uint8_t)(n * 31 + i * 7 + stream))
			return vv_say(-EPROTO, "frame %llu: byte %zu of %u is %#x, not %#x",
				      (unsigned long long)n, i, l, f[i],
				      (uint8_t)(n * 31 + i * 7 + stream));
	*ret_n = n;
	return 1;
}

void vv_track_init(struct vv_track *t, uint64_t total)
{
	*t = (struct vv_track){ .total = total, .seen = calloc(1, total / 8 + 1) };
}

void vv_track_fini(struct vv_track *t)
{
	free(t->seen);
	t->seen = NULL;
}

void vv_track_note(struct vv_track *t, uint64_t n)
{
	if (n >= t->total) {
		t->damaged++;
		return;
	}
	if (t->seen[n / 8] & 1 << n % 8) {
		t->doubled++;
		return;
	}
	t->seen[n / 8] |= (uint8_t)(1 << n % 8);
	if (t->got++ && n < t->last)
		t->reordered++;
	t->last = n;
}

/* ---- packet sockets ---- */

int vv_packet(struct vv_end *e, const char *spec)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	const char *slash = strchr(spec, '/');
	int here = -1, there = -1, one = 1, size = 8 << 20;
	struct ifreq ifr = { 0 };
	char ns[128];

	memset(e, 0, sizeof(*e));
	if (slash) {
		snprintf(ns, sizeof(ns), "/run/netns/%.*s", (int)(slash - spec), spec);
		here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		there = open(ns, O_RDONLY | O_CLOEXEC);
		if (here < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0)
			return vv_say(-errno, "%s: %s", ns, strerror(errno));
		spec = slash + 1;
	}
	e->sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", spec);
	a.sll_ifindex = (int)if_nametoindex(spec);
	if (e->sock < 0 || !a.sll_ifindex || ioctl(e->sock, SIOCGIFHWADDR, &ifr) < 0)
		return vv_say(-(errno ?: ENODEV), "%s: %s", spec, strerror(errno));
	memcpy(e->mac, ifr.ifr_hwaddr.sa_data, 6);
	setsockopt(e->sock, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	setsockopt(e->sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(e->sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(e->sock, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	if (bind(e->sock, (struct sockaddr *)&a, sizeof(a)) < 0)
		return vv_say(-errno, "%s: %s", spec, strerror(errno));
	if (here >= 0) {
		if (setns(here, CLONE_NEWNET) < 0)
			return vv_say(-errno, "setns: %s", strerror(errno));
		close(here);
		close(there);
	}
	return 0;
}

int vv_end_send(struct vv_end *e, const void *frame, size_t len)
{
	int r;

	if (!e->dev) {
		if (send(e->sock, frame, len, 0) >= 0)
			return 0;
		return errno == EAGAIN || errno == ENOBUFS
			       ? -EAGAIN
			       : vv_say(-errno, "send: %s", strerror(errno));
	}
	r = vv_send(e->dev, e->turn, frame, len);
	if (r == -EAGAIN) {
		r = vv_reap(&e->dev->ring[2 * e->turn + 1]);
		if (r >= 0)
			r = vv_send(e->dev, e->turn, frame, len);
	}
	if (!r)
		e->turn = (uint16_t)((e->turn + 1) % e->dev->conf.pairs);
	return r;
}

void vv_end_flush(struct vv_end *e)
{
	int i;

	for (i = 0; e->dev && i < e->dev->conf.pairs; i++)
		vv_kick(&e->dev->ring[2 * i + 1]);
}

int vv_end_recv(struct vv_end *e, void *frame, size_t size)
{
	uint16_t i;
	ssize_t n;
	int r;

	if (!e->dev) {
		n = recv(e->sock, frame, size, 0);
		return n >= 0		 ? (int)n
		       : errno == EAGAIN ? 0
					 : vv_say(-errno, "recv: %s", strerror(errno));
	}
	for (i = 0; i < e->dev->conf.pairs; i++) {
		r = vv_recv(e->dev, i, frame, size, NULL);
		if (r) {
			/* Not one by one: the device should find some. */
			if (e->dev->ring[2 * i].room >= e->dev->ring[2 * i].num / 4) {
				vv_fill(e->dev, i);
				vv_kick(&e->dev->ring[2 * i]);
			}
			return r;
		}
	}
	return 0;
}

void vv_end_idle(struct vv_end *e, int ms)
{
	struct pollfd p = { .fd = e->sock, .events = POLLIN };

	if (e->dev)
		vv_wait(e->dev, ms);
	else
		poll(&p, 1, ms);
}
