/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segmentation and checksums against a known example and a second, slower opinion. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "datapath/forward/csum.h"
#include "datapath/forward/gso.h"

#define ETH 14

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* Two bytes at a time into 32 bits, folded at once: nothing in common with csum_add(). */
static uint16_t slow_add(uint16_t sum, const uint8_t *p, uint32_t n)
{
	uint32_t s = sum;

	for (uint32_t i = 0; i < n; i += 2) {
		s += (uint32_t)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0);
		s = (s & 0xffff) + (s >> 16);
	}
	return (uint16_t)s;
}

/* A TCP segment's checksum is right if all of it adds up to 0xffff. */
static bool tcp_sum_right(const uint8_t *ip, bool v6, const uint8_t *tcp, uint32_t n)
{
	uint8_t pseudo[4] = { 0, 6, (uint8_t)(n >> 8), (uint8_t)n };
	uint16_t sum = v6 ? slow_add(0, ip + 8, 32) : slow_add(0, ip + 12, 8);

	sum = slow_add(sum, pseudo, 4);
	return slow_add(sum, tcp, n) == 0xffff;
}

static void known_sums(void **state)
{
	/* RFC 1071 section 3, and an IPv4 header (Wikipedia's example, known to many) */
	static const uint8_t rfc[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
	static const uint8_t ip[] = { 0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
				      0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7 };
	uint16_t sum;

	(void)state;
	sum = csum_fold(csum_add(0, rfc, sizeof(rfc)));
	assert_int_equal(get16((uint8_t *)&sum), (uint16_t)~0xddf2);
	sum = csum_fold(csum_add(0, ip, sizeof(ip)));
	assert_int_equal(get16((uint8_t *)&sum), 0xb861);
}

static void sums_of_all_lengths(void **state)
{
	uint8_t buf[300];

	(void)state;
	for (uint32_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(rand() | (i % 3 ? 0 : 0xff));
	for (uint32_t from = 0; from < 8; from++) {
		for (uint32_t n = 0; n <= sizeof(buf) - from; n++) {
			uint16_t sum = csum_fold(csum_add(0, buf + from, n));

			assert_int_equal(get16((uint8_t *)&sum),
					 (uint16_t)~slow_add(0, buf + from, n));
		}
	}
}

/* The largest sum: no carry is lost. */
static void sums_of_ones(void **state)
{
	static uint8_t buf[70000];
	uint16_t sum;

	(void)state;
	memset(buf, 0xff, sizeof(buf));
	sum = csum_fold(csum_add(0, buf, sizeof(buf)));
	assert_int_equal(sum, 0);
}

static void udp_sum_is_never_none(void **state)
{
	uint8_t frame[4] = { 0xff, 0xff, 0, 0 };

	(void)state;
	csum_complete(frame, 4, 0, 2);
	assert_int_equal(get16(frame + 2), 0xffff);
}

struct shape {
	bool v6, vlan;
	uint32_t options; /* of TCP */
	uint32_t extension; /* bytes of IPv6 extension headers, of IPv4 options */
	uint32_t payload;
	uint16_t size;
	uint8_t flags;
};

static uint32_t make(const struct shape *s, uint8_t *f, struct virtio_net_hdr *h)
{
	uint32_t ip = ETH + (s->vlan ? 4 : 0), len;
	uint32_t tcp = ip + (s->v6 ? 40 : 20) + s->extension, data = tcp + 20 + s->options;

	len = data + s->payload;
	for (uint32_t i = 0; i < len; i++)
		f[i] = (uint8_t)(i * 7 + i / 256);
	if (s->vlan)
		memcpy(f + 12, "\x81\x00\x00\x05", 4);
	memcpy(f + ip - 2, s->v6 ? "\x86\xdd" : "\x08\x00", 2);
	if (s->v6) {
		f[ip] = 0x60;
		f[ip + 6] = s->extension ? 0 : 6;
	} else {
		f[ip] = (uint8_t)(0x45 + s->extension / 4);
		memcpy(f + ip + 4, "\xff\xfe\x40\x00\x40\x06", 6);
	}
	memcpy(f + tcp + 4, "\xff\xff\xff\x00", 4);
	f[tcp + 12] = (uint8_t)((20 + s->options) / 4 << 4);
	f[tcp + 13] = s->flags;
	*h = (struct virtio_net_hdr){ .flags = 1,
				      .gso_type = s->v6 ? VIRTIO_NET_HDR_GSO_TCPV6
							: VIRTIO_NET_HDR_GSO_TCPV4,
				      .gso_size = s->size,
				      .hdr_len = (uint16_t)data,
				      .csum_start = (uint16_t)tcp,
				      .csum_offset = 16 };
	return len;
}

static void check_segment(const struct shape *s, const uint8_t *f, const uint8_t *o, uint32_t n,
			  uint32_t i, uint32_t segments)
{
	uint32_t ip = ETH + (s->vlan ? 4 : 0), tcp = ip + (s->v6 ? 40 : 20) + s->extension;
	uint32_t data = tcp + 20 + s->options, at = i * s->size;
	uint32_t part = i + 1 < segments ? s->size : s->payload - at;
	uint8_t flags = s->flags;

	assert_int_equal(n, data + part);
	assert_memory_equal(o, f, ip);
	assert_memory_equal(o + data, f + data + at, part);
	assert_int_equal(get32(o + tcp + 4), (uint32_t)(0xffffff00u + at));
	flags &= (uint8_t) ~(i + 1 < segments ? 0x09 : 0);
	flags &= (uint8_t) ~(i > 0 ? 0x80 : 0);
	assert_int_equal(o[tcp + 13], flags);
	assert_memory_equal(o + tcp + 20, f + tcp + 20, s->options);
	assert_true(tcp_sum_right(o + ip, s->v6, o + tcp, n - tcp));
	if (s->v6) {
		assert_int_equal(get16(o + ip + 4), n - ip - 40);
		assert_memory_equal(o + ip + 40, f + ip + 40, s->extension);
	} else {
		assert_int_equal(get16(o + ip + 2), n - ip);
		assert_int_equal(get16(o + ip + 4), (uint16_t)(0xfffe + i));
		assert_int_equal(slow_add(0, o + ip, tcp - ip), 0xffff);
	}
}

static const struct shape shapes[] = {
	{ .payload = 5000, .size = 1460, .flags = 0x99 },
	{ .payload = 2920, .size = 1460, .flags = 0x19 },
	{ .payload = 1, .size = 1460, .flags = 0x10 },
	{ .payload = 65000, .size = 1448, .options = 12, .flags = 0x18 },
	{ .payload = 333, .size = 1, .options = 40, .flags = 0x80 },
	{ .payload = 4000, .size = 536, .extension = 8, .flags = 0x10 },
	{ .v6 = true, .payload = 5001, .size = 1440, .flags = 0x99 },
	{ .v6 = true, .payload = 5001, .size = 1000, .extension = 8, .flags = 0x18 },
	{ .v6 = true, .vlan = true, .payload = 3000, .size = 1436, .flags = 0x10 },
	{ .vlan = true, .payload = 3000, .size = 1456, .options = 12, .flags = 0x10 },
};

static void segments_are_what_tcp_would_send(void **state)
{
	static uint8_t f[70000], o[70000];

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(shapes); k++) {
		const struct shape *s = &shapes[k];
		struct virtio_net_hdr h;
		uint32_t len = make(s, f, &h), n, i = 0,
			 want = (s->payload + s->size - 1) / s->size;
		struct gso g;

		assert_int_equal(gso_begin(&g, f, len, &h), 0);
		assert_int_equal(g.segments, want);
		while ((n = gso_next(&g, o, sizeof(o))) > 0)
			check_segment(s, f, o, n, i++, want);
		assert_int_equal(i, want);
	}
}

static void without_payload_it_is_one_segment(void **state)
{
	const struct shape s = { .size = 1460, .flags = 0x11 };
	uint8_t f[100], o[100];
	struct virtio_net_hdr h;
	struct gso g;
	uint32_t len = make(&s, f, &h);

	(void)state;
	assert_int_equal(gso_begin(&g, f, len, &h), 0);
	assert_int_equal(gso_next(&g, o, sizeof(o)), len);
	assert_true(tcp_sum_right(o + ETH, false, o + 34, 20));
	assert_int_equal(gso_next(&g, o, sizeof(o)), 0);
}

static void no_segment_without_room(void **state)
{
	const struct shape s = { .size = 1460, .payload = 3000 };
	uint8_t f[4000], o[1000];
	struct virtio_net_hdr h;
	struct gso g;
	uint32_t len = make(&s, f, &h);

	(void)state;
	assert_int_equal(gso_begin(&g, f, len, &h), 0);
	assert_int_equal(gso_next(&g, o, sizeof(o)), 0);
}

/* One thing wrong at a time. */
static void what_is_no_tcp_frame_is_not_cut(void **state)
{
	static const struct {
		uint32_t at; /* byte to change; 1000: none */
		uint8_t to;
		uint16_t csum_start, csum_offset, size;
		uint32_t len;
		uint8_t type;
	} bad[] = {
		{ 12, 0x07, 34, 16, 100, 500, 1 }, /* another type */
		{ 14, 0x65, 34, 16, 100, 500, 1 }, /* IP version 6 */
		{ 14, 0x44, 34, 16, 100, 500, 1 }, /* header of 16 bytes */
		{ 14, 0x4f, 34, 16, 100, 500, 1 }, /* longer than csum_start says */
		{ 23, 17, 34, 16, 100, 500, 1 }, /* UDP */
		{ 46, 0x40, 34, 16, 100, 500, 1 }, /* a TCP header of 16 bytes */
		{ 46, 0xf0, 34, 16, 100, 60, 1 }, /* of 60 bytes, more than there are */
		{ 1000, 0, 35, 16, 100, 500, 1 },
		{ 1000, 0, 0xffff, 16, 100, 500, 1 },
		{ 1000, 0, 34, 6, 100, 500, 1 }, /* UDP's checksum field */
		{ 1000, 0, 34, 16, 0, 500, 1 },
		{ 1000, 0, 34, 16, 100, 53, 1 },
		{ 1000, 0, 34, 16, 100, 20, 1 },
		{ 1000, 0, 34, 16, 100, 500, 4 }, /* TCP over IPv6 */
		{ 1000, 0, 34, 16, 100, 500, 3 }, /* UDP fragmentation */
		{ 1000, 0, 34, 16, 100, 500, 0x80 },
	};
	const struct shape s = { .size = 100, .payload = 446 };
	struct virtio_net_hdr h;
	struct gso g;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		/* On the heap, in its exact length: AddressSanitizer sees a look behind it. */
		uint8_t whole[500], *f = malloc(bad[i].len);

		assert_non_null(f);
		assert_int_equal(make(&s, whole, &h), 500);
		memcpy(f, whole, bad[i].len);
		if (bad[i].at < bad[i].len)
			f[bad[i].at] = bad[i].to;
		h.csum_start = bad[i].csum_start;
		h.csum_offset = bad[i].csum_offset;
		h.gso_size = bad[i].size;
		h.gso_type = bad[i].type;
		if (gso_begin(&g, f, bad[i].len, &h) != -EINVAL)
			fail_msg("case %zu is cut", i);
		free(f);
	}
}

/* Headers go with each segment: a sender that says they are most of the frame would have us copy for seconds. */
static void headers_have_an_end(void **state)
{
	struct shape s = { .v6 = true, .extension = 438, .payload = 5000, .size = 1 };
	uint8_t f[6000];
	struct virtio_net_hdr h;
	struct gso g;
	uint32_t len = make(&s, f, &h);

	(void)state;
	assert_int_equal(gso_begin(&g, f, len, &h), 0);
	s.extension++;
	len = make(&s, f, &h);
	assert_int_equal(gso_begin(&g, f, len, &h), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_sums),
		cmocka_unit_test(sums_of_all_lengths),
		cmocka_unit_test(sums_of_ones),
		cmocka_unit_test(udp_sum_is_never_none),
		cmocka_unit_test(segments_are_what_tcp_would_send),
		cmocka_unit_test(without_payload_it_is_one_segment),
		cmocka_unit_test(no_segment_without_room),
		cmocka_unit_test(what_is_no_tcp_frame_is_not_cut),
		cmocka_unit_test(headers_have_an_end),
	};

	return cmocka_run_group_tests_name("gso", tests, NULL, NULL);
}
