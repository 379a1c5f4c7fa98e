// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vvbad bad=FILE near=FILE [far=FILE] [packed] [event_idx] [sim]: a hostile driver on the device "bad", while "near" and
 * "far" speak to each other. Reads names of rows from standard input, does each on a newly opened device, and says in one
 * line of JSON how it went: "r" 0, or negative with a sentence in "said"; "skip" where the row is not for this device.
 * With the word "list": the names.
 *
 * After each row the neighbours speak as before, bad works again after a reset, and no page of ours is pinned any more.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vdpa/vvbad.h"

static uint8_t frame[VV_FRAME];

uint64_t spare_at(struct bed *b, size_t offset)
{
	return vv_iova(&b->bad, b->bad.spare) + offset;
}

int bad_chain(struct bed *b, uint16_t queue, const struct vv_piece *p, uint16_t n, bool indirect)
{
	int id = vv_add(&b->bad, &b->bad.ring[queue], p, n, indirect);

	vv_kick_always(&b->bad.ring[queue]);
	return id < 0 ? vv_say(id, "the ring is full") : id;
}

int bad_piece(struct bed *b, uint64_t iova, uint32_t len, bool write)
{
	int r = bad_chain(b, 1, &(struct vv_piece){ iova, len, write }, 1, false);

	return r < 0 ? r : 0;
}

int bad_desc(struct bed *b, uint16_t queue, uint64_t iova, uint32_t len, uint16_t flags,
	     uint16_t next)
{
	struct vv_ring *r = &b->bad.ring[queue];
	int id = vv_next_id(r, 1);

	if (id < 0)
		return vv_say(id, "the ring is full");
	r->n_free--;
	r->room--;
	r->posted++;
	r->len[id] = 1;
	if (r->packed) {
		struct vring_packed_desc *e = &r->pdesc[r->avail_idx];

		flags |= r->avail_wrap ? 1 << VRING_PACKED_DESC_F_AVAIL
				       : 1 << VRING_PACKED_DESC_F_USED;
		e->addr = iova;
		e->len = len;
		e->id = (uint16_t)id;
		if (++r->avail_idx == r->num) {
			r->avail_idx = 0;
			r->avail_wrap = !r->avail_wrap;
		}
		__atomic_store_n(&e->flags, flags, __ATOMIC_RELEASE);
	} else {
		r->desc[id] = (struct vring_desc){ iova, len, flags, next };
		r->avail->ring[r->avail_idx & (r->num - 1)] = (uint16_t)id;
		__atomic_store_n(&r->avail->idx, ++r->avail_idx, __ATOMIC_RELEASE);
	}
	vv_kick_always(r);
	return 0;
}

uint8_t *bad_frame(struct bed *b, size_t len)
{
	uint8_t *f = b->bad.spare + DATA(64);

	memset(f, 0, VV_HDR);
	vv_frame_make(f + VV_HDR, b->peer->mac, b->bad.mac, 0, 0xbad, 0, len);
	return f;
}

int bad_send(struct bed *b, size_t len)
{
	return bad_piece(b, spare_at(b, DATA(64)), (uint32_t)(VV_HDR + len), false);
}

/* ---- what must go on working ---- */

static void drain(struct vv_dev *d)
{
	int i;

	for (i = 0; i < d->conf.pairs; i++) {
		while (vv_recv(d, (uint16_t)i, frame, sizeof(frame), NULL) > 0)
			;
		vv_fill(d, (uint16_t)i);
		vv_kick(&d->ring[2 * i]);
		vv_reap(&d->ring[2 * i + 1]);
	}
}

int frames(struct bed *b, struct vv_dev *from, struct vv_dev *to, int n, size_t len)
{
	uint32_t stream = b->stream++;
	uint64_t end, number;
	int i, r, got = 0;

	drain(to);
	for (i = 0; i < n; i++) {
		vv_frame_make(frame, to->mac, from->mac, 0, stream, (uint64_t)i, len);
		r = vv_send(from, 0, frame, len);
		if (r)
			return r == -EAGAIN
				       ? vv_say(r, "%s: its transmit ring stays full", from->name)
				       : r;
		if (i % 16 == 15)
			vv_kick(&from->ring[1]);
	}
	vv_kick(&from->ring[1]);
	end = vv_now() + 2000000000ull;
	while (got < n) {
		r = vv_recv(to, 0, frame, sizeof(frame), NULL);
		if (r < 0)
			return r;
		if (r > 0) {
			r = vv_frame_check(frame, (size_t)r, stream, &number);
			if (r < 0)
				return r;
			if (r && number != (uint64_t)got)
				return vv_say(-EPROTO, "%s to %s: frame %llu in the place of %d",
					      from->name, to->name, (unsigned long long)number,
					      got);
			got += r;
			continue;
		}
		if (vv_now() > end)
			return vv_say(-ETIMEDOUT, "%s to %s: %d of %d frames came", from->name,
				      to->name, got, n);
		vv_wait(to, 10);
	}
	r = vv_reap(&from->ring[1]);
	drain(to);
	return r < 0 ? r : 0;
}

void flood(struct bed *b, struct vv_dev *from, const uint8_t *dst, int n, size_t len)
{
	int i;

	vv_frame_make(frame, dst, from->mac, 0, b->stream++, 0, len);
	for (i = 0; i < n; i++) {
		if (vv_send(from, 0, frame, len) == -EAGAIN) {
			vv_kick(&from->ring[1]);
			usleep(500);
			vv_reap(&from->ring[1]);
		}
	}
	vv_kick(&from->ring[1]);
	usleep(2000);
	vv_reap(&from->ring[1]);
}

static int neighbours(struct bed *b)
{
	int r;

	drain(&b->near);
	if (!b->has_far)
		return frames(b, &b->near, &b->near, 32, 200);
	drain(&b->far);
	r = frames(b, &b->near, &b->far, 32, 200);
	return r ?: frames(b, &b->far, &b->near, 32, 200);
}

int works_once(struct bed *b)
{
	int r = frames(b, &b->bad, b->peer, 16, 100);

	return r || b->sim ? r : frames(b, b->peer, &b->bad, 16, 100);
}

/* ---- one row ---- */

int bring_up(struct bed *b, unsigned int flags)
{
	struct vv_conf c = b->conf;

	c.indirect = flags & INDIRECT;
	c.ctrl = flags & CTRL;
	c.no_mrg = flags & NO_MRG;
	if (flags & OFFLOADS)
		c.want = VV_F(VIRTIO_NET_F_CSUM) | VV_F(VIRTIO_NET_F_HOST_TSO4) |
			 VV_F(VIRTIO_NET_F_HOST_TSO6);
	return vv_up(&b->bad, &c);
}

static bool asks(struct bed *b)
{
	int s = vv_status(&b->bad);

	return s >= 0 && s & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* Wait for an outcome of the last chain. */
static void settle(struct bed *b, bool reset)
{
	uint64_t end = vv_now() + (b->sim ? 50000000ull : 1500000000ull);

	while (vv_now() < end) {
		if (asks(b) || (!reset && !b->bad.ring[1].posted))
			return;
		vv_reap(&b->bad.ring[1]);
		usleep(1000);
	}
}

static int judge(struct bed *b, const struct row *row)
{
	uint64_t count;
	bool back;
	int r;

	settle(b, row->want == RESET);
	back = !b->bad.ring[1].posted;
	r = vv_status(&b->bad);
	if (r < 0)
		return r;
	if (b->sim)
		return 0;
	switch (row->want) {
	case RESET:
		if (!asks(b))
			return vv_say(-EPROTO, "it does not ask for a reset: status %#x", r);
		if (read(b->bad.config_call, &count, sizeof(count)) != sizeof(count))
			return vv_say(-EPROTO, "it asks for a reset without an interrupt");
		return 0;
	case DENIED:
		return asks(b) || back
			       ? 0
			       : vv_say(-EPROTO,
					"it neither asks for a reset nor gives the buffer back");
	case REFUSED:
		if (!back)
			return vv_say(-EPROTO, "it does not give the buffer back: status %#x", r);
		break;
	case ERROR:
	case FINE:
		break;
	case ANY:
		return 0;
	}
	if (asks(b))
		return vv_say(-EPROTO, "it asks for a reset");
	return row->flags & (SMALL_RX | DOWN) ? 0 : works_once(b);
}

/* Nothing of a hostile frame may have come; sent again by the device, or by a neighbour. */
static int silent(struct bed *b, const struct row *row)
{
	uint64_t n;
	int r;

	if (b->sim || (row->want != REFUSED && row->want != DENIED))
		return 0;
	while ((r = vv_recv(b->peer, 0, frame, sizeof(frame), NULL)) > 0)
		if (vv_frame_check(frame, (size_t)r, 0xbad, &n) != 0)
			return vv_say(-EPROTO, "a frame of it was delivered");
	return r;
}

static long pinned(void)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmPin: %ld", &kib);
	if (f)
		fclose(f);
	return kib;
}

static int run(struct bed *b, const struct row *row, const char *file)
{
	long before = pinned(), after;
	char said[sizeof(vv_said)];
	int r, after_r;

	if (!b->sim)
		drain(&b->near);
	r = vv_open(&b->bad, file);
	if (r)
		return r;
	b->peer = b->sim ? &b->bad : &b->near;
	if (!(row->flags & DOWN)) {
		r = bring_up(b, row->flags);
		/* That it works is known before anything is done to it. */
		if (!r && !(row->flags & SMALL_RX))
			r = works_once(b);
	}
	if (!r) {
		r = row->act(b);
		if (r >= 0)
			r = judge(b, row);
		if (r >= 0)
			r = silent(b, row);
	}
	snprintf(said, sizeof(said), "%s", vv_said);
	after_r = neighbours(b);
	/* Whatever it was: a reset is the end of it. */
	if (!after_r && b->bad.fd > 0) {
		after_r = vv_reset(&b->bad);
		if (!after_r)
			after_r = bring_up(b, 0);
		if (!after_r)
			after_r = works_once(b);
	}
	vv_close(&b->bad);
	after = pinned();
	if (r < 0)
		snprintf(vv_said, sizeof(vv_said), "%s", said);
	else if (after_r < 0)
		r = vv_say(after_r, "afterwards: %.200s", strdupa(vv_said));
	else if (after != before)
		r = vv_say(-EPROTO, "%ld KiB are pinned, %ld were before", after, before);
	return r < 0 ? r : 0;
}

static const struct row *find(const char *name, unsigned int *ret_n)
{
	const struct row *const all[] = { ring_rows, frame_rows, map_rows };
	const struct row *row;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++)
		for (row = all[i]; row->name; row++) {
			if (!name)
				puts(row->name);
			else if (strcmp(row->name, name) == 0)
				return row;
		}
	(void)ret_n;
	return NULL;
}

static int open_neighbour(struct bed *b, struct vv_dev *d, const char *file)
{
	struct vv_conf c = b->conf;

	c.more = 0;
	return vv_open(d, file) ?: vv_up(d, &c);
}

/* Seconds that a row may take. */
static unsigned int limit(void)
{
	const char *slow = getenv("VNIC_SLOW");

	return 60 * (slow && atof(slow) > 1 ? atof(slow) : 1);
}

int main(int argc, char **argv)
{
	const char *bad = NULL, *near = NULL, *far = NULL;
	static struct bed b = { .stream = 1 };
	char name[64];
	int i, r;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "list") == 0)
			return find(NULL, NULL) != NULL;
		if (strncmp(argv[i], "bad=", 4) == 0)
			bad = argv[i] + 4;
		else if (strncmp(argv[i], "near=", 5) == 0)
			near = argv[i] + 5;
		else if (strncmp(argv[i], "far=", 4) == 0)
			far = argv[i] + 4;
		else if (strcmp(argv[i], "packed") == 0)
			b.packed = true;
		else if (strcmp(argv[i], "event_idx") == 0)
			b.event_idx = true;
		else if (strcmp(argv[i], "sim") == 0)
			b.sim = true;
	}
	if (!bad || !near) {
		fprintf(stderr, "vvbad: bad=FILE near=FILE [far=FILE] [packed] [event_idx] [sim], "
				"or list\n");
		return 2;
	}
	b.conf = (struct vv_conf){
		.packed = b.packed, .event_idx = b.event_idx, .num = 64, .more = SPARE
	};
	r = open_neighbour(&b, &b.near, near);
	if (!r && far) {
		b.has_far = true;
		r = open_neighbour(&b, &b.far, far);
	}
	if (r) {
		printf("{\"r\":%d,\"said\":\"%s\"}\n", r, vv_said);
		return 1;
	}
	while (scanf("%63s", name) == 1) {
		const struct row *row = find(name, NULL);

		vv_said[0] = 0;
		alarm(limit());
		if (!row)
			r = vv_say(-ENOENT, "no such row");
		else if (row->flags & (b.packed ? SPLIT_ONLY : PACKED_ONLY) ||
			 (b.sim && row->flags & NO_SIM)) {
			alarm(0);
			printf("{\"r\":0,\"skip\":1}\n");
			fflush(stdout);
			continue;
		} else
			r = run(&b, row, bad);
		/* Until the next row others take as long as they like. */
		alarm(0);
		if (r < 0)
			printf("{\"r\":%d,\"said\":\"%s\"}\n", r, vv_said);
		else
			printf("{\"r\":0}\n");
		fflush(stdout);
	}
	return 0;
}
