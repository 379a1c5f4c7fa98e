/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a front end's messages: each is decoded, and where that accepts it handled by a device, until
 * one is refused. A message in the input: the header; a byte that says how many descriptors come with it
 * (low nibble) and of what kind they are (bit 4: eventfds, else a memfd of 1 MiB); the body.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "datapath/vhost/dev.h"
#include "tests/fuzz/fuzz.h"

#define FEATURES 0x17c60bb83ULL

static int memfd = -1;
static struct port_state *state;
static struct vhost_dev dev;

static void set_up(void)
{
	if (memfd >= 0)
		return;
	memfd = memfd_create("fuzz", MFD_CLOEXEC);
	state = calloc(1, sizeof(*state));
	if (memfd < 0 || ftruncate(memfd, 1 << 20) < 0 || !state)
		abort();
}

/* What must hold after any message. */
static void check(void)
{
	int fds[VHOST_WIRE_FDS_MAX];
	struct wire_port_set w;
	size_t n;

	memset(&w, 0, sizeof(w));
	n = vhost_dev_wire(&dev, &w, fds, false);
	if (n > VHOST_WIRE_FDS_MAX || w.n_rings > dev.n_rings || (dev.features & ~dev.offered))
		abort();
	for (size_t i = 0; i < n; i++)
		if (fds[i] < 0)
			abort();
	for (size_t i = 0; i < w.n_rings; i++) {
		const struct wire_ring *r = &w.ring[i];

		if (!(r->flags & WIRE_RING_RUNNING))
			continue;
		if (!vhost_mem_covers(&dev.mem, r->desc, 16ULL * r->size) ||
		    !vhost_mem_covers(&dev.mem, r->avail, 6 + 2ULL * r->size) ||
		    !vhost_mem_covers(&dev.mem, r->used, 6 + 8ULL * r->size))
			abort();
	}
}

/* Return: bytes consumed; 0: it was refused, or the input ends. */
static size_t one(const uint8_t *data, size_t size)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct vhost_reply reply = { 0 };
	struct vhost_header h;
	int fds[VHOST_FDS_MAX];
	struct vhost_msg m;
	size_t n_fds, body;
	int r;

	if (size < sizeof(h) + 1)
		return 0;
	memcpy(&h, data, sizeof(h));
	n_fds = (data[sizeof(h)] & 0xf) % (VHOST_FDS_MAX + 1);
	if (vhost_header_check(&h, &body, &err) < 0 || body > size - sizeof(h) - 1)
		return 0;
	if (body > sizeof(union vhost_body))
		abort();
	if (vhost_msg_decode(&h, data + sizeof(h) + 1, n_fds, &m, &err) < 0) {
		if (!err.message[0])
			abort();
		return 0;
	}
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = data[sizeof(h)] & 0x10 ? eventfd(0, EFD_CLOEXEC) : dup(memfd);
	r = vhost_dev_handle(&dev, &m, fds, &reply, &err);
	for (size_t i = 0; i < n_fds; i++)
		close_safe(fds[i]);
	if (r < 0 && !err.message[0])
		abort();
	if (r < 0)
		return 0;
	check();
	vhost_dev_settle(&dev, &reply);
	check();
	return sizeof(h) + 1 + body;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int before, after;

	set_up();
	before = dup(memfd);
	vhost_dev_init(&dev, FEATURES, 2, state);
	for (size_t n; (n = one(data, size)) > 0; data += n, size -= n)
		;
	vhost_dev_clear(&dev);
	close(before);
	after = dup(memfd); /* the lowest free number: nothing was left open */
	close(after);
	if (after != before)
		abort();
	return 0;
}
