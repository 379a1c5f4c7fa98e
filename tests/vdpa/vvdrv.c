// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A driver in user space on /dev/vhost-vdpa-N (or a tap behind vhost-net), told what to do line by line; one line of
 * JSON for each. "r" is 0, or a negative errno with a sentence in "said".
 *
 *	open NAME /dev/vhost-vdpa-0|tap:IF         packet NAME [NETNS/]IF
 *	up NAME [pairs= num= bufsz= layout=one|two|odd|indirect want=BITS packed event_idx indirect ctrl no_mrg]
 *	stream FROM TO n= [min= max= window= dst= vlan= id= timeout= nocheck lossy]
 *		numbered frames, checked byte by byte; each wanted exactly once, in order where there is one queue pair
 *	switch FROM TO rounds= side=from|to|self how=resume|rebase [as stream]
 *		the same while that side is suspended, its rings compared with its state, and resumed or set up anew from it
 *	resets NAME PEER rounds= dst=
 *		reset with frames in flight both ways: not a byte of memory changes after it, and it works when up again
 *	ctrl NAME CLASS CMD [HEX]        rings NAME         config NAME
 *	status|suspend|resume|reset|bases|close NAME
 *	send NAME HEX      recv NAME [MS]      drain NAME
 *	flood NAME n= dst= [size=]             send as fast as it goes, between two marks for tests/bench/insn.c
 *	sink NAME n= gen=NETNS [rounds=]       receive what that namespace's pktgen sends, n a round, between two marks
 *	mark
 *
 * The program may also be called with one command as its arguments.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vdpa/vv.h"

#define NAMES 16

static struct named {
	char name[16];
	struct vv_dev dev;
	struct vv_end end;
	bool up;
} named[NAMES];

struct args {
	int n;
	char *w[32];
};

static const char *arg(const struct args *a, const char *key)
{
	size_t l = strlen(key);
	int i;

	for (i = 1; i < a->n; i++)
		if (strncmp(a->w[i], key, l) == 0 && (!a->w[i][l] || a->w[i][l] == '='))
			return a->w[i][l] ? a->w[i] + l + 1 : "1";
	return NULL;
}

static uint64_t number(const struct args *a, const char *key, uint64_t otherwise)
{
	const char *s = arg(a, key);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

static bool mac(const char *s, uint8_t *to)
{
	return s && sscanf(s, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", to, to + 1, to + 2, to + 3, to + 4,
			   to + 5) == 6;
}

static size_t unhex(const char *s, uint8_t *to, size_t size)
{
	size_t n = 0;

	while (s && n < size && sscanf(s + 2 * n, "%2hhx", to + n) == 1)
		n++;
	return n;
}

static struct named *find(const char *name)
{
	int i;

	for (i = 0; name && i < NAMES; i++)
		if (strcmp(named[i].name, name) == 0)
			return &named[i];
	return NULL;
}

static struct named *make(const char *name)
{
	int i;

	for (i = 0; name && i < NAMES; i++)
		if (!named[i].name[0]) {
			memset(&named[i], 0, sizeof(named[i]));
			snprintf(named[i].name, sizeof(named[i].name), "%s", name);
			return &named[i];
		}
	return NULL;
}

static void answer(int r, const char *more)
{
	if (r < 0)
		printf("{\"r\":%d,\"said\":\"%s\"%s}\n", r, vv_said, more);
	else
		printf("{\"r\":%d%s}\n", r, more);
	fflush(stdout);
}

/* ---- streams ---- */

struct stream {
	struct vv_end *from, *to;
	uint8_t dst[6], src[6];
	uint16_t vlan;
	uint32_t id;
	uint64_t n, sent, given_up, window, timeout;
	size_t min, max;
	bool nocheck, lossy;
	struct vv_track track;
	uint64_t moved_at, began;
};

static int parse_stream(struct stream *s, const struct args *a)
{
	struct named *from = find(a->n > 1 ? a->w[1] : NULL), *to = find(a->n > 2 ? a->w[2] : NULL);
	static uint32_t next_id = 1000;

	memset(s, 0, sizeof(*s));
	if (!from || !to)
		return vv_say(-ENOENT, "stream: from what to what?");
	s->from = &from->end;
	s->to = &to->end;
	memcpy(s->dst, to->end.mac, 6);
	memcpy(s->src, from->end.mac, 6);
	if (arg(a, "dst") && !mac(arg(a, "dst"), s->dst))
		return vv_say(-EINVAL, "dst");
	if (arg(a, "src") && !mac(arg(a, "src"), s->src))
		return vv_say(-EINVAL, "src");
	s->vlan = (uint16_t)number(a, "vlan", 0);
	s->id = (uint32_t)number(a, "id", next_id++);
	s->n = number(a, "n", 1000);
	s->window = number(a, "window", 64);
	s->min = number(a, "min", number(a, "size", 64));
	s->max = number(a, "max", s->min);
	s->timeout = number(a, "timeout", 1000) * 1000000;
	s->nocheck = arg(a, "nocheck");
	s->lossy = arg(a, "lossy");
	if (s->min < 60 || s->max > VV_FRAME)
		return vv_say(-EINVAL, "size");
	vv_track_init(&s->track, s->n);
	s->moved_at = s->began = vv_now();
	return 0;
}

static int send_some(struct stream *s, int burst)
{
	static uint8_t f[VV_FRAME];
	int r, n = 0;

	while (n < burst && s->sent < s->n && s->sent - s->track.got - s->given_up < s->window) {
		size_t len = s->min +
			     (s->max > s->min ? (s->sent * 2654435761u >> 7) % (s->max - s->min + 1)
					      : 0);

		/* Its content matters to nobody: make no new one each time. */
		if (!s->nocheck || !s->sent || s->min != s->max)
			vv_frame_make(f, s->dst, s->src, s->vlan, s->id, s->sent, len);
		r = vv_end_send(s->from, f, len);
		if (r == -EAGAIN)
			break;
		if (r)
			return r;
		s->sent++;
		n++;
	}
	vv_end_flush(s->from);
	return n;
}

static int receive_some(struct stream *s)
{
	static uint8_t f[VV_FRAME + 4];
	int r, n = 0, got;
	uint64_t number_;

	while ((r = vv_end_recv(s->to, f, sizeof(f))) > 0) {
		if (s->nocheck) {
			if (f[12] == VV_ETHERTYPE >> 8 && f[13] == (VV_ETHERTYPE & 0xff))
				s->track.got++, n++;
			continue;
		}
		got = vv_frame_check(f, (size_t)r, s->id, &number_);
		if (got < 0)
			return got;
		if (got) {
			vv_track_note(&s->track, number_);
			n++;
		}
	}
	if (r < 0)
		return r;
	if (n)
		s->moved_at = vv_now();
	return n;
}

/* One burst each way; with @wait, sleeps where nothing moves. 1: all is done; 0; or a negative errno. */
static int turn(struct stream *s, bool wait)
{
	int a, b;

	a = send_some(s, 32);
	if (a < 0)
		return a;
	b = receive_some(s);
	if (b < 0)
		return b;
	if (s->from->dev && s->from->dev != s->to->dev && !a) {
		/* Nobody else looks there. */
		int r = vv_reap(&s->from->dev->ring[1]);

		if (r < 0)
			return r;
	}
	if (s->sent == s->n && s->track.got + s->given_up >= s->n)
		return 1;
	if (!a && !b && wait)
		vv_end_idle(s->to, 5);
	if (vv_now() - s->moved_at > s->timeout) {
		if (s->sent == s->n)
			return 1;
		s->given_up = s->sent - s->track.got;
		s->moved_at = vv_now();
	}
	return 0;
}

static int judge(struct stream *s, int r, const char *more)
{
	struct vv_track *t = &s->track;
	uint64_t ns = vv_now() - s->began;
	bool ordered = (!s->from->dev || s->from->dev->conf.pairs == 1) &&
		       (!s->to->dev || s->to->dev->conf.pairs == 1);
	char text[320];

	if (r >= 0 && !s->nocheck &&
	    (t->doubled || t->damaged || (ordered && t->reordered) ||
	     (!s->lossy && t->got != s->n)))
		r = vv_say(
			-EPROTO,
			"of %llu frames %llu came, %llu doubled, %llu out of order, %llu strange",
			(unsigned long long)s->n, (unsigned long long)t->got,
			(unsigned long long)t->doubled, (unsigned long long)t->reordered,
			(unsigned long long)t->damaged);
	snprintf(text, sizeof(text),
		 ",\"sent\":%llu,\"got\":%llu,\"doubled\":%llu,\"reordered\":%llu,\"ns\":%llu%s",
		 (unsigned long long)s->sent, (unsigned long long)t->got,
		 (unsigned long long)t->doubled, (unsigned long long)t->reordered,
		 (unsigned long long)ns, more);
	answer(r < 0 ? r : 0, text);
	vv_track_fini(t);
	return r;
}

static void do_stream(const struct args *a)
{
	struct stream s;
	int r = parse_stream(&s, a);

	if (r) {
		answer(r, "");
		return;
	}
	while ((r = turn(&s, true)) == 0)
		;
	judge(&s, r, "");
}

/* ---- suspended, and resumed or set up anew ---- */

static int again(struct vv_dev *d)
{
	int r = vv_reset(d);

	if (!r)
		r = vv_negotiate(d) ?: vv_map(d) ?: vv_program(d);
	d->pairs = d->conf.pairs;
	if (!r && d->conf.pairs > 1) {
		r = vv_ctrl(d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &d->conf.pairs,
			    2);
		r = r > 0 ? vv_say(-EPROTO, "pairs denied") : r;
	}
	return r;
}

static int quiet(struct vv_dev *d)
{
	int i;

	usleep(1000);
	for (i = 0; i < d->n_rings; i++) {
		uint16_t id;
		uint32_t len;

		if (vv_used(&d->ring[i], &id, &len))
			return vv_say(-EPROTO, "%s: ring %d is used after SUSPEND", d->name, i);
	}
	return 0;
}

static int switch_one(struct stream *s, struct vv_dev *d, bool rebase, uint64_t *in_flight)
{
	int i, r, n;

	for (i = 0; i < d->conf.pairs; i++) {
		r = vv_reap(&d->ring[2 * i + 1]);
		if (r < 0)
			return r;
		/* Not sent yet, or not known to be: in the ring, or with the NIC. */
		*in_flight += d->ring[2 * i + 1].posted;
	}

	r = vv_suspend(d);
	if (r)
		return r;
	r = vv_bases(d);
	if (r)
		return r;
	/* What it had done before: sent buffers back, frames in. */
	if (d == s->to->dev) {
		while ((r = receive_some(s)) > 0)
			;
		if (r < 0)
			return r;
	}
	for (i = 0; i < d->conf.pairs; i++) {
		r = vv_reap(&d->ring[2 * i + 1]);
		if (r < 0)
			return r;
		if (d != s->to->dev) {
			uint8_t f[2048];

			while ((n = vv_recv(d, (uint16_t)i, f, sizeof(f), NULL)) > 0)
				;
			if (n < 0)
				return n;
		}
	}
	r = vv_bases_exact(d) ?: quiet(d);
	if (r)
		return r;
	/* Made available meanwhile: seen afterwards, all of it. */
	if (d == s->from->dev) {
		r = send_some(s, 7);
		if (r < 0)
			return r;
	}
	r = rebase ? again(d) : vv_resume(d);
	for (i = 0; !r && i < d->n_rings; i++)
		vv_kick_always(&d->ring[i]);
	s->moved_at = vv_now();
	return r;
}

static void do_switch(const struct args *a)
{
	struct stream s;
	int r = parse_stream(&s, a);
	const char *side = arg(a, "side") ?: "from", *how = arg(a, "how") ?: "resume";
	uint64_t rounds = number(a, "rounds", 10), done, in_flight = 0, longest = 0;
	struct vv_dev *d = r ? NULL : *side == 't' ? s.to->dev : s.from->dev;
	char text[96];

	if (r || !d) {
		answer(r ?: vv_say(-EINVAL, "that side is no device"), "");
		return;
	}
	for (done = 0; !r && done < rounds; done++) {
		uint64_t until = s.n * done / rounds, at;

		while (!r && s.sent < until)
			r = turn(&s, true);
		if (r < 0)
			break;
		/* In the midst of it. */
		r = send_some(&s, 1 + (int)(done * 7 % 32));
		if (r < 0)
			break;
		at = vv_now();
		r = switch_one(&s, d,
			       strcmp(how, "rebase") == 0 || (strcmp(how, "both") == 0 && done & 1),
			       &in_flight);
		at = vv_now() - at;
		longest = at > longest ? at : longest;
	}
	while (!r)
		r = turn(&s, true);
	snprintf(text, sizeof(text), ",\"rounds\":%llu,\"in_flight\":%llu,\"longest_us\":%llu",
		 (unsigned long long)done, (unsigned long long)in_flight,
		 (unsigned long long)longest / 1000);
	judge(&s, r, text);
}

/* ---- resets under traffic ---- */

static int untouched(struct vv_dev *d, struct stream *in)
{
	uint8_t *copy;
	int r, i;

	/* What the device knew of is ours again. */
	memset(d->mem, 0x5a, d->size);
	copy = malloc(d->size);
	memcpy(copy, d->mem, d->size);
	for (i = 0; i < 4; i++) {
		in->given_up = in->sent - in->track.got;
		r = send_some(in, 16);
		if (r < 0)
			break;
		usleep(1500);
		r = 0;
	}
	if (!r && memcmp(copy, d->mem, d->size) != 0)
		r = vv_say(-EPROTO, "%s: memory was written to after the reset", d->name);
	free(copy);
	return r;
}

static void do_resets(const struct args *a)
{
	struct named *n = find(a->n > 1 ? a->w[1] : NULL);
	struct stream in, out;
	struct args b = *a;
	char *w = b.w[1];
	int r = parse_stream(&out, a), k;
	uint64_t rounds = number(a, "rounds", 10), done;

	b.w[1] = b.w[2];
	b.w[2] = w;
	if (!r)
		r = parse_stream(&in, &b);
	if (r || !n->dev.mem) {
		answer(r ?: vv_say(-EINVAL, "reset what?"), "");
		return;
	}
	out.n = in.n = UINT32_MAX;
	/* Back at what the peer is; by "dst" the frames may find another way to it. */
	memcpy(in.dst, n->end.mac, 6);
	for (done = 0; !r && done < rounds; done++) {
		struct stream s = out;

		for (k = 0; r >= 0 && k < (int)(done % 5); k++) {
			r = send_some(&out, 32);
			if (r >= 0)
				r = send_some(&in, 32);
			in.given_up = in.sent;
			out.given_up = out.sent;
		}
		if (r >= 0)
			r = vv_reset(&n->dev);
		/* A device that is its own peer can be sent nothing now. */
		if (!r && n->end.sock == in.from->sock && in.from != &n->end)
			r = untouched(&n->dev, &in);
		else if (!r && in.from->dev != &n->dev)
			r = untouched(&n->dev, &in);
		if (!r) {
			struct vv_conf c = n->dev.conf;

			r = vv_up(&n->dev, &c);
		}
		if (r)
			break;
		/* What came meanwhile is in its way. */
		while ((r = receive_some(&s)) > 0)
			;
		if (r < 0)
			break;
		s.n = 64;
		s.sent = s.given_up = 0;
		s.id = 500000 + (uint32_t)done;
		vv_track_init(&s.track, s.n);
		s.moved_at = vv_now();
		while ((r = turn(&s, true)) == 0)
			;
		if (r > 0)
			r = s.track.got == s.n && !s.track.doubled
				    ? 0
				    : vv_say(-EPROTO, "after reset %llu %llu of 64 frames came",
					     (unsigned long long)done,
					     (unsigned long long)s.track.got);
		vv_track_fini(&s.track);
	}
	vv_track_fini(&in.track);
	vv_track_fini(&out.track);
	answer(r < 0 ? r : 0, "");
}

/* ---- the rest ---- */

static void do_open(const struct args *a)
{
	struct named *n = a->n > 2 && !find(a->w[1]) ? make(a->w[1]) : NULL;
	char text[256];
	int r;

	if (!n) {
		answer(vv_say(-EINVAL, "open NAME FILE"), "");
		return;
	}
	r = vv_open(&n->dev, a->w[2]);
	if (r) {
		n->name[0] = 0;
		answer(r, "");
		return;
	}
	n->end.dev = &n->dev;
	memcpy(n->end.mac, n->dev.mac, 6);
	snprintf(text, sizeof(text),
		 ",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\",\"vqs\":%u,\"offered\":%llu,"
		 "\"backend\":%llu",
		 n->dev.mac[0], n->dev.mac[1], n->dev.mac[2], n->dev.mac[3], n->dev.mac[4],
		 n->dev.mac[5], n->dev.vqs, (unsigned long long)n->dev.offered,
		 (unsigned long long)n->dev.backend);
	answer(0, text);
}

static void do_packet(const struct args *a)
{
	struct named *n = a->n > 2 && !find(a->w[1]) ? make(a->w[1]) : NULL;
	int r = n ? vv_packet(&n->end, a->w[2]) : vv_say(-EINVAL, "packet NAME IF");
	char text[64] = "";

	if (n)
		snprintf(text, sizeof(text), ",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\"",
			 n->end.mac[0], n->end.mac[1], n->end.mac[2], n->end.mac[3], n->end.mac[4],
			 n->end.mac[5]);
	answer(r, text);
}

static void do_up(struct named *n, const struct args *a)
{
	static const char *const layouts[] = { "one", "two", "odd", "indirect" };
	const char *layout = arg(a, "layout");
	struct vv_conf c = {
		.pairs = (uint16_t)number(a, "pairs", 1),
		.num = (uint16_t)number(a, "num", 256),
		.bufsz = (uint32_t)number(a, "bufsz", 2048),
		.packed = arg(a, "packed"),
		.event_idx = arg(a, "event_idx"),
		.indirect = arg(a, "indirect"),
		.ctrl = arg(a, "ctrl"),
		.no_mrg = arg(a, "no_mrg"),
		.want = number(a, "want", 0),
	};
	char text[48];
	int i, r;

	for (i = 0; layout && i < VV_LAYOUTS; i++)
		if (strcmp(layout, layouts[i]) == 0)
			c.layout = (enum vv_layout)i;
	r = vv_up(&n->dev, &c);
	snprintf(text, sizeof(text), ",\"features\":%llu", (unsigned long long)n->dev.features);
	answer(r, text);
}

static void do_bases(struct named *n)
{
	char text[512];
	int i, r = vv_bases(&n->dev), at = 0;

	at += snprintf(text, sizeof(text), ",\"bases\":[");
	for (i = 0; i < n->dev.n_rings; i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, "%s%u", i ? "," : "",
			       n->dev.ring[i].base);
	snprintf(text + at, sizeof(text) - (size_t)at, "]");
	answer(r, text);
}

static void do_config(struct named *n)
{
	struct virtio_net_config c = { 0 };
	char text[160];
	int r = vv_config(&n->dev, 0, &c, 12);

	snprintf(text, sizeof(text),
		 ",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\",\"status\":%u,\"max_virtqueue_pairs\":"
		 "%u,\"mtu\":%u",
		 c.mac[0], c.mac[1], c.mac[2], c.mac[3], c.mac[4], c.mac[5], c.status,
		 c.max_virtqueue_pairs, c.mtu);
	answer(r, text);
}

static void do_rings(struct named *n)
{
	char text[1024] = ",\"rings\":[";
	size_t at = strlen(text);
	int i;

	for (i = 0; i < n->dev.n_rings; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       "%s{\"posted\":%u,\"kicks\":%llu,\"calls\":%llu}",
				       i ? "," : "", n->dev.ring[i].posted,
				       (unsigned long long)n->dev.ring[i].kicks,
				       (unsigned long long)n->dev.ring[i].calls);
	snprintf(text + at, sizeof(text) - at, "]");
	answer(0, text);
}

static void do_recv(struct named *n, uint64_t ms)
{
	static char text[2 * VV_FRAME + 16];
	static uint8_t f[VV_FRAME];
	uint64_t end = vv_now() + ms * 1000000;
	int r, i, at;

	while ((r = vv_end_recv(&n->end, f, sizeof(f))) == 0 && vv_now() < end)
		vv_end_idle(&n->end, 10);
	at = snprintf(text, sizeof(text), ",\"frame\":\"");
	for (i = 0; i < r; i++)
		at += sprintf(text + at, "%02x", f[i]);
	snprintf(text + at, 4, "\"");
	answer(r < 0 ? r : 0, text);
}

static void do_send(struct named *n, const char *hex)
{
	static uint8_t f[VV_FRAME];
	size_t len = unhex(hex, f, sizeof(f));
	int r = vv_end_send(&n->end, f, len);

	vv_end_flush(&n->end);
	answer(r, "");
}

static void do_drain(struct named *n)
{
	static uint8_t f[VV_FRAME];
	int r, count = 0;
	char text[32];

	while ((r = vv_end_recv(&n->end, f, sizeof(f))) > 0)
		count++;
	snprintf(text, sizeof(text), ",\"frames\":%d", count);
	answer(r, text);
}

/* ---- for measuring ---- */

/* A long no-operation with a displacement that no compiler makes. */
static void mark(void)
{
#ifdef __x86_64__
	__asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x76, 0x6e, 0x69, 0x63" : : : "memory");
#endif
}

static int flood(struct vv_dev *d, const uint8_t *frame, size_t len, uint64_t n)
{
	static const struct virtio_net_hdr_v1 plain;
	struct vv_ring *ring = &d->ring[1];
	uint64_t sent = 0, end = vv_now() + 20000000000ull;
	int r;

	while (sent < n || ring->posted) {
		int burst = 0;

		while (sent < n && burst < 32 &&
		       vv_send_hdr(d, 0, &plain, frame, len, VV_ONE) == 0) {
			sent++;
			burst++;
		}
		vv_kick(ring);
		r = vv_reap(ring);
		if (r < 0)
			return r;
		if (!r && !burst) {
			/* One CPU: others' turn. */
			usleep(20);
			if (vv_now() > end)
				return vv_say(-ETIMEDOUT, "%llu of %llu frames are sent",
					      (unsigned long long)sent, (unsigned long long)n);
		}
	}
	return 0;
}

static void do_flood(struct named *n, const struct args *a)
{
	uint64_t count = number(a, "n", 10000), at;
	size_t len = number(a, "size", 64);
	static uint8_t f[VV_FRAME];
	uint8_t dst[6];
	char text[64];
	int r;

	if (!mac(arg(a, "dst"), dst) || !n->dev.mem) {
		answer(vv_say(-EINVAL, "dst"), "");
		return;
	}
	vv_frame_make(f, dst, n->end.mac, 0, 1, 0, len);
	r = flood(&n->dev, f, len, 2000);
	at = vv_now();
	mark();
	if (!r)
		r = flood(&n->dev, f, len, count);
	mark();
	at = vv_now() - at;
	snprintf(text, sizeof(text), ",\"frames\":%llu,\"ns\":%llu", (unsigned long long)count,
		 (unsigned long long)at);
	answer(r, text);
}

/* What is in the receive ring, thrown away: how many. */
static int64_t take_all(struct vv_dev *d)
{
	struct vv_ring *ring = &d->ring[0];
	int64_t got = 0;
	uint32_t len;
	uint16_t id;
	int r;

	while ((r = vv_used(ring, &id, &len)) > 0)
		got++;
	vv_fill(d, 0);
	vv_kick(ring);
	return r ?: got;
}

/* pktgen goes by the namespace of who writes. */
static int enter(const char *netns, int *ret_here)
{
	char path[128];
	int there;

	*ret_here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	there = open(path, O_RDONLY | O_CLOEXEC);
	if (*ret_here < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0)
		return vv_say(-errno, "%s: %s", path, strerror(errno));
	close(there);
	return 0;
}

static int generator(const char *netns, int *ret_here)
{
	int r = enter(netns, ret_here), fd;

	if (r)
		return r;
	fd = open("/proc/net/pktgen/pgctrl", O_WRONLY | O_CLOEXEC);
	return fd < 0 ? vv_say(-errno, "pktgen in %s: %s", netns, strerror(errno)) : fd;
}

static void do_sink(struct named *n, const struct args *a)
{
	uint64_t rounds = number(a, "rounds", 10), want = number(a, "n", 512), i;
	int64_t got = 0, r = 0;
	char text[64];
	int gen, here = -1;

	gen = arg(a, "gen") && n->dev.mem ? generator(arg(a, "gen"), &here)
					  : vv_say(-EINVAL, "sink NAME gen=NETNS");
	for (i = 0; gen >= 0 && r >= 0 && i <= rounds; i++) {
		uint64_t end;

		if (i == 1) {
			got = 0;
			mark();
		}
		/* Comes back when all are sent. */
		if (write(gen, "start\n", 6) < 0)
			r = vv_say(-errno, "pktgen: %s", strerror(errno));
		for (end = vv_now() + 50000000;
		     r >= 0 && vv_now() < end && got < (int64_t)(want * (i ? i : 1));) {
			r = take_all(&n->dev);
			got += r > 0 ? r : 0;
			if (!r)
				usleep(2000);
		}
	}
	mark();
	if (gen >= 0)
		close(gen);
	if (here >= 0 && setns(here, CLONE_NEWNET) < 0)
		r = vv_say(-errno, "setns: %s", strerror(errno));
	if (here >= 0)
		close(here);
	snprintf(text, sizeof(text), ",\"frames\":%lld", (long long)got);
	answer(gen < 0 ? gen : r < 0 ? (int)r : 0, text);
}

static void do_ctrl(struct named *n, const struct args *a)
{
	uint8_t data[1024];
	size_t len = a->n > 4 ? unhex(a->w[4], data, sizeof(data)) : 0;
	char text[32];
	int r;

	if (a->n < 4) {
		answer(vv_say(-EINVAL, "ctrl NAME CLASS CMD [HEX]"), "");
		return;
	}
	r = vv_ctrl(&n->dev, (uint8_t)atoi(a->w[2]), (uint8_t)atoi(a->w[3]), data, (uint32_t)len);
	snprintf(text, sizeof(text), ",\"ack\":%d", r);
	answer(r < 0 ? r : 0, r < 0 ? "" : text);
}

static void on_device(const char *verb, const struct args *a)
{
	struct named *n = find(a->n > 1 ? a->w[1] : NULL);

	if (!n)
		answer(vv_say(-ENOENT, "%s: of what?", verb), "");
	else if (strcmp(verb, "send") == 0)
		do_send(n, a->n > 2 ? a->w[2] : "");
	else if (strcmp(verb, "recv") == 0)
		do_recv(n, a->n > 2 ? strtoull(a->w[2], NULL, 10) : 1000);
	else if (strcmp(verb, "drain") == 0)
		do_drain(n);
	else if (strcmp(verb, "close") == 0) {
		if (n->end.dev)
			vv_close(&n->dev);
		else
			close(n->end.sock);
		n->name[0] = 0;
		answer(0, "");
	} else if (!n->end.dev)
		answer(vv_say(-EINVAL, "%s: %s is no device", verb, n->name), "");
	else if (strcmp(verb, "up") == 0)
		do_up(n, a);
	else if (strcmp(verb, "ctrl") == 0)
		do_ctrl(n, a);
	else if (strcmp(verb, "config") == 0)
		do_config(n);
	else if (strcmp(verb, "flood") == 0)
		do_flood(n, a);
	else if (strcmp(verb, "sink") == 0)
		do_sink(n, a);
	else if (strcmp(verb, "rings") == 0)
		do_rings(n);
	else if (strcmp(verb, "bases") == 0)
		do_bases(n);
	else if (strcmp(verb, "status") == 0)
		answer(vv_status(&n->dev), "");
	else if (strcmp(verb, "suspend") == 0)
		answer(vv_suspend(&n->dev), "");
	else if (strcmp(verb, "resume") == 0)
		answer(vv_resume(&n->dev), "");
	else if (strcmp(verb, "reset") == 0)
		answer(vv_reset(&n->dev), "");
	else
		answer(vv_say(-EINVAL, "no command '%s'", verb), "");
}

static void command(const struct args *a)
{
	const char *verb = a->n ? a->w[0] : "";

	vv_said[0] = 0;
	if (strcmp(verb, "open") == 0)
		do_open(a);
	else if (strcmp(verb, "packet") == 0)
		do_packet(a);
	else if (strcmp(verb, "stream") == 0)
		do_stream(a);
	else if (strcmp(verb, "switch") == 0)
		do_switch(a);
	else if (strcmp(verb, "resets") == 0)
		do_resets(a);
	else if (strcmp(verb, "mark") == 0) {
		mark();
		answer(0, "");
	} else
		on_device(verb, a);
}

int main(int argc, char **argv)
{
	static char line[200000];
	struct args a;

	if (argc > 1) {
		for (a.n = 0; a.n < argc - 1 && a.n < 32; a.n++)
			a.w[a.n] = argv[a.n + 1];
		command(&a);
		return 0;
	}
	while (fgets(line, sizeof(line), stdin)) {
		char *save, *w;

		a.n = 0;
		for (w = strtok_r(line, " \n", &save); w && a.n < 32;
		     w = strtok_r(NULL, " \n", &save))
			a.w[a.n++] = w;
		if (a.n)
			command(&a);
	}
	return 0;
}
