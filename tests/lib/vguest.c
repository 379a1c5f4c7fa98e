/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/vguest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define NO_DESC UINT16_MAX

#define breach(...)                                      \
	do {                                             \
		fprintf(stderr, "vguest: " __VA_ARGS__); \
		fputc('\n', stderr);                     \
		abort();                                 \
	} while (0)

static size_t align_up(size_t n, size_t a)
{
	return (n + a - 1) & ~(a - 1);
}

static uint32_t buf_size(const struct vguest *g, unsigned int ring)
{
	return ring % 2 ? VG_TX_BUF : g->cfg.rx_buf;
}

static void *place(const struct vguest *g, size_t at)
{
	return (void *)((uintptr_t)g->mem + at);
}

/* The rings' parts and buffers, one after the other; twice: for the size, then for the pointers. */
static size_t lay_out(struct vguest *g)
{
	size_t at = 4096, size = g->cfg.size;

	for (unsigned int i = 0; i < 2u * g->cfg.pairs; i++) {
		struct vg_ring *r = &g->ring[i];

		r->desc = place(g, at);
		at = align_up(at + size * sizeof(*r->desc), 64);
		r->avail = place(g, at);
		at = align_up(at + sizeof(*r->avail) + (size + 1) * 2, 4096);
		r->used = place(g, at);
		at = align_up(at + sizeof(*r->used) + size * sizeof(struct vring_used_elem) + 2,
			      4096);
		r->table = (uint32_t)at;
		at += size * VG_TABLE * sizeof(struct vring_desc);
		r->buf = (uint32_t)at;
		at = align_up(at + size * (size_t)buf_size(g, i), 4096);
	}
	return at;
}

static void init_ring(struct vguest *g, unsigned int i)
{
	struct vg_ring *r = &g->ring[i];

	r->size = g->cfg.size;
	r->avail_idx = r->used_idx = g->cfg.base;
	r->avail->idx = r->used->idx = g->cfg.base;
	for (unsigned int d = 0; d < r->size; d++)
		r->desc[d].next = (uint16_t)(d + 1);
	r->free_head = 0;
	r->n_free = r->size;
	ring_state_start(&g->state->ring[i], r->size, g->cfg.base);
	g->call_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	g->kick_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

void vguest_init(struct vguest *g, unsigned int index, const struct vg_config *cfg)
{
	memset(g, 0, sizeof(*g));
	g->cfg = *cfg;
	g->index = index;
	memcpy(g->mac,
	       (const uint8_t[]){ 0x52, 0x54, 0, 0, (uint8_t)((index + 1) >> 8),
				  (uint8_t)(index + 1) },
	       6);
	g->hdr_len = cfg->features & VG_MODERN ? 12 : 10;
	g->mem_size = lay_out(g);
	g->mem_fd = memfd_create("vguest", MFD_CLOEXEC);
	g->state_fd = memfd_create("vguest-state", MFD_CLOEXEC);
	if (ftruncate(g->mem_fd, (off_t)g->mem_size) < 0 ||
	    ftruncate(g->state_fd, sizeof(*g->state)) < 0)
		breach("no memory");
	g->mem = mmap(NULL, g->mem_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->mem_fd, 0);
	g->state =
		mmap(NULL, sizeof(*g->state), PROT_READ | PROT_WRITE, MAP_SHARED, g->state_fd, 0);
	if (g->mem == MAP_FAILED || g->state == MAP_FAILED)
		breach("no memory");
	lay_out(g);
	g->state->magic = DP_PORT_MAGIC;
	g->state->layout = DP_LAYOUT_VERSION;
	g->state->size = sizeof(*g->state);
	for (unsigned int i = 0; i < 2u * cfg->pairs; i++)
		init_ring(g, i);
}

void vguest_deinit(struct vguest *g)
{
	for (unsigned int i = 0; i < 2u * g->cfg.pairs; i++) {
		close(g->call_fd[i]);
		close(g->kick_fd[i]);
	}
	munmap(g->mem, g->mem_size);
	munmap(g->state, sizeof(*g->state));
	close(g->mem_fd);
	close(g->state_fd);
}

uint64_t vguest_gpa(const struct vguest *g, const void *p)
{
	return VG_GPA + (uint64_t)((const uint8_t *)p - g->mem);
}

void *vguest_at(const struct vguest *g, uint64_t gpa)
{
	if (gpa < VG_GPA || gpa - VG_GPA >= g->mem_size)
		breach("address %#llx is not the guest's", (unsigned long long)gpa);
	return g->mem + (gpa - VG_GPA);
}

size_t vguest_config(struct vguest *g, bool running, struct wire_port_set *ret, int *fds)
{
	size_t n = 0;

	*ret = (struct wire_port_set){ .h = { .type = WIRE_PORT_SET, .port = g->index },
				       .vlan = g->cfg.vlan,
				       .flags = g->cfg.flags,
				       .features = g->cfg.features,
				       .n_regions = 1,
				       .n_rings = 2u * g->cfg.pairs };
	memcpy(ret->mac, g->mac, 6);
	ret->region[0] = (struct wire_region){ .gpa = VG_GPA, .uva = VG_UVA, .size = g->mem_size };
	fds[n++] = dup(g->state_fd);
	fds[n++] = dup(g->mem_fd);
	for (unsigned int i = 0; i < 2u * g->cfg.pairs; i++) {
		const struct vg_ring *r = &g->ring[i];

		ret->ring[i] = (struct wire_ring){
			.flags = running ? WIRE_RING_RUNNING : 0,
			.size = r->size,
			.desc = vguest_gpa(g, r->desc) - VG_GPA + VG_UVA,
			.avail = vguest_gpa(g, r->avail) - VG_GPA + VG_UVA,
			.used = vguest_gpa(g, r->used) - VG_GPA + VG_UVA,
			.log_gpa = vguest_gpa(g, r->used),
		};
		ret->kick_mask |= 1u << i;
		ret->call_mask |= 1u << i;
		fds[n++] = dup(g->kick_fd[i]);
		fds[n++] = dup(g->call_fd[i]);
	}
	return n;
}

static uint16_t take_desc(struct vg_ring *r)
{
	uint16_t d = r->free_head;

	r->free_head = r->desc[d].next;
	r->n_free--;
	return d;
}

static void give_chain(struct vg_ring *r, uint16_t head)
{
	uint16_t d = head;

	for (unsigned int n = r->chain_len[head]; n > 1; n--)
		d = r->desc[d].next;
	r->desc[d].next = r->free_head;
	r->free_head = head;
	r->n_free += r->chain_len[head];
	r->chain_len[head] = 0;
}

static void publish(struct vg_ring *r, uint16_t head)
{
	r->order[r->avail_idx % r->size] = head;
	r->avail->ring[r->avail_idx % r->size] = head;
	r->avail_idx++;
	__atomic_store_n(&r->avail->idx, r->avail_idx, __ATOMIC_RELEASE);
}

/* How a frame with its header is cut into descriptors. Return: how many. */
static unsigned int cut(uint32_t hdr, uint32_t len, enum vg_layout layout, uint32_t *ret)
{
	uint32_t total = hdr + len, at = 0;
	unsigned int n = 0;

	if (layout == VG_ONE && total <= VG_TX_BUF) {
		ret[n++] = total;
		return n;
	}
	if (layout == VG_ODD) {
		ret[n++] = 5;
		ret[n++] = hdr - 5 + 9; /* into the Ethernet header */
		at = hdr + 9;
	} else {
		ret[n++] = hdr;
		at = hdr;
	}
	while (at < total) {
		uint32_t part = total - at, most = layout == VG_ODD ? 777 : VG_TX_BUF;

		ret[n] = part < most ? part : most;
		at += ret[n++];
	}
	return n;
}

bool vguest_send(struct vguest *g, unsigned int q, const void *frame, uint32_t len,
		 const struct virtio_net_hdr *hdr, enum vg_layout layout)
{
	struct vg_ring *r = &g->ring[2 * q + 1];
	uint8_t whole[12 + VG_FRAME_MAX] = { 0 };
	uint32_t part[128], at = 0;
	unsigned int n = cut(g->hdr_len, len, layout, part), used = layout == VG_INDIRECT ? 1 : n;
	struct vring_desc *table = NULL;
	uint16_t head = NO_DESC, last = 0;

	if (layout == VG_INDIRECT &&
	    (!(g->cfg.features & VG_FEATURE(VIRTIO_RING_F_INDIRECT_DESC)) || n > VG_TABLE ||
	     g->hdr_len + len > VG_TX_BUF))
		return vguest_send(g, q, frame, len, hdr, VG_TWO);
	if (used > r->n_free)
		return false;
	if (hdr)
		memcpy(whole, hdr, sizeof(*hdr));
	memcpy(whole + g->hdr_len, frame, len);
	for (unsigned int i = 0; i < n; i++) {
		/* An indirect table's entries lie in the buffers of its head's own slots. */
		uint16_t d = table ? head : take_desc(r);
		struct vring_desc *e = table ? &table[i] : &r->desc[d];
		uint32_t off = r->buf + d * VG_TX_BUF + (table ? at : 0);

		if (layout == VG_INDIRECT && !table) {
			table = (void *)(g->mem + r->table + d * VG_TABLE * sizeof(*table));
			r->desc[d].addr = vguest_gpa(g, table);
			r->desc[d].len = (uint32_t)(n * sizeof(*table));
			r->desc[d].flags = VRING_DESC_F_INDIRECT;
			e = table;
		}
		if (i == 0)
			head = d;
		else if (!table)
			r->desc[last].next = d;
		last = d;
		e->addr = VG_GPA + off;
		e->len = part[i];
		e->flags = i + 1 < n ? VRING_DESC_F_NEXT : 0;
		if (table)
			e->next = (uint16_t)(i + 1);
		memcpy(g->mem + off, whole + at, part[i]);
		at += part[i];
	}
	r->chain_len[head] = (uint8_t)used;
	publish(r, head);
	return true;
}

/* The next used entry, if there is one; checks that its head was posted. */
static const struct vring_used_elem *next_used(struct vguest *g, unsigned int ring)
{
	struct vg_ring *r = &g->ring[ring];
	uint16_t idx = __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE);
	const struct vring_used_elem *e = &r->used->ring[r->used_idx % r->size];

	if ((uint16_t)(idx - r->used_idx) > (uint16_t)(r->avail_idx - r->used_idx))
		breach("port %u ring %u: used index %u is ahead of %u available", g->index, ring,
		       idx, r->avail_idx);
	if (idx == r->used_idx)
		return NULL;
	if (e->id >= r->size || r->chain_len[e->id] == 0)
		breach("port %u ring %u: used entry with head %u, which is not out", g->index, ring,
		       e->id);
	if (e->id != r->order[r->used_idx % r->size])
		breach("port %u ring %u: head %u came out of order", g->index, ring, e->id);
	r->used_idx++;
	return e;
}

unsigned int vguest_reap(struct vguest *g, unsigned int q)
{
	const struct vring_used_elem *e;
	unsigned int n = 0;

	for (; (e = next_used(g, 2 * q + 1)); n++)
		give_chain(&g->ring[2 * q + 1], (uint16_t)e->id);
	return n;
}

unsigned int vguest_post(struct vguest *g, unsigned int q, unsigned int max)
{
	struct vg_ring *r = &g->ring[2 * q];
	unsigned int n = 0, parts = g->cfg.rx_chained ? 2 : 1;

	for (; n < max && r->n_free >= parts; n++) {
		uint16_t head = take_desc(r), d = head;
		uint32_t first = parts == 2 ? 7 : g->cfg.rx_buf;

		/* What is not written must be seen to be not written. */
		memset(g->mem + r->buf + head * g->cfg.rx_buf, 0xee, g->cfg.rx_buf);
		r->desc[d].addr = VG_GPA + r->buf + head * g->cfg.rx_buf;
		r->desc[d].len = first;
		r->desc[d].flags = VRING_DESC_F_WRITE;
		if (parts == 2) {
			d = take_desc(r);
			r->desc[head].flags |= VRING_DESC_F_NEXT;
			r->desc[head].next = d;
			r->desc[d].addr = r->desc[head].addr + first;
			r->desc[d].len = g->cfg.rx_buf - first;
			r->desc[d].flags = VRING_DESC_F_WRITE;
		}
		r->chain_len[head] = (uint8_t)parts;
		publish(r, head);
	}
	return n;
}

uint32_t vguest_receive(struct vguest *g, unsigned int q, void *buf,
			struct virtio_net_hdr_mrg_rxbuf *hdr)
{
	struct vg_ring *r = &g->ring[2 * q];
	bool merge = g->cfg.features & VG_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
	const struct vring_used_elem *e = next_used(g, 2 * q);
	uint8_t whole[12 + VG_FRAME_MAX];
	uint32_t len = 0;
	unsigned int n = 1;

	if (!e)
		return 0;
	for (unsigned int i = 0; i < n; i++) {
		if (i > 0 && !(e = next_used(g, 2 * q)))
			breach("port %u: buffer %u of %u is missing", g->index, i, n);
		if (e->len > g->cfg.rx_buf || len + e->len > sizeof(whole))
			breach("port %u: a buffer with %u bytes", g->index, e->len);
		memcpy(whole + len, g->mem + r->buf + e->id * g->cfg.rx_buf, e->len);
		len += e->len;
		give_chain(r, (uint16_t)e->id);
		if (i == 0) {
			memset(hdr, 0, sizeof(*hdr));
			if (len < g->hdr_len)
				breach("port %u: a frame without a header", g->index);
			memcpy(hdr, whole, g->hdr_len);
			if (merge)
				n = hdr->num_buffers;
			else if (g->hdr_len == 12 && hdr->num_buffers != 1)
				breach("port %u: num_buffers is %u", g->index, hdr->num_buffers);
			if (n == 0 || n > r->size)
				breach("port %u: num_buffers is %u", g->index, n);
		}
	}
	memcpy(buf, whole + g->hdr_len, len - g->hdr_len);
	return len - g->hdr_len;
}

uint64_t vguest_calls(struct vguest *g, unsigned int ring)
{
	uint64_t n = 0;

	if (read(g->call_fd[ring], &n, sizeof(n)) != sizeof(n))
		return 0;
	return n;
}
