/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/gso.h"

#include <errno.h>
#include <string.h>

#include "datapath/forward/csum.h"
#include "datapath/forward/frame.h"

#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define TCP_HEADER  20
#define HEADERS_MAX 512 /* before the payload: they are copied to each segment */
#define PROTO_TCP   6
#define IP4_TOTAL   2
#define IP4_ID	    4
#define IP4_PROTO   9
#define IP4_CSUM    10
#define IP4_ADDR    12
#define IP6_PAYLOAD 4
#define IP6_ADDR    8
#define TCP_SEQ	    4
#define TCP_OFF	    12
#define TCP_FLAGS   13
#define TCP_CSUM    16
#define TCP_FIN	    0x01
#define TCP_PSH	    0x08
#define TCP_CWR	    0x80

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* Where IP starts; 0: it does not. */
static uint32_t find_ip(const uint8_t *frame, uint32_t len, bool v6)
{
	uint32_t at = ETH_HEADER;
	uint16_t type = get16(frame + 12);

	if (type == ETHERTYPE_VLAN && len >= ETH_HEADER + VLAN_TAG) {
		type = get16(frame + 16);
		at += VLAN_TAG;
	}
	return type == (v6 ? 0x86dd : 0x0800) ? at : 0;
}

/*
 * IPv6 extension headers are stepped over by csum_start: the sender says where TCP starts, and what
 * stands before it is copied to each segment as it is.
 */
static int find_tcp(struct gso *g, const struct virtio_net_hdr *hdr)
{
	const uint8_t *ip = g->frame + g->ip;
	uint32_t header;

	if (g->len < g->ip + (g->v6 ? IPV6_HEADER : IPV4_HEADER))
		return -EINVAL;
	if (g->v6) {
		header = IPV6_HEADER;
		if (ip[0] >> 4 != 6)
			return -EINVAL;
	} else {
		header = (ip[0] & 0xfu) * 4;
		if (ip[0] >> 4 != 4 || header < IPV4_HEADER || ip[IP4_PROTO] != PROTO_TCP)
			return -EINVAL;
	}
	g->tcp = hdr->csum_start;
	if (g->v6 ? g->tcp < g->ip + header || (g->tcp == g->ip + header && ip[6] != PROTO_TCP)
		  : g->tcp != g->ip + header)
		return -EINVAL;
	if (hdr->csum_offset != TCP_CSUM || g->len < g->tcp + TCP_HEADER)
		return -EINVAL;
	header = (g->frame[g->tcp + TCP_OFF] >> 4) * 4u;
	if (header < TCP_HEADER || g->len < g->tcp + header)
		return -EINVAL;
	g->data = g->tcp + header;
	return g->data > HEADERS_MAX ? -EINVAL : 0;
}

int gso_begin(struct gso *g, const uint8_t *frame, uint32_t len, const struct virtio_net_hdr *hdr)
{
	uint8_t type = hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	*g = (struct gso){ .frame = frame, .len = len, .size = hdr->gso_size };
	if ((type != VIRTIO_NET_HDR_GSO_TCPV4 && type != VIRTIO_NET_HDR_GSO_TCPV6) ||
	    len < ETH_HEADER || g->size == 0)
		return -EINVAL;
	g->v6 = type == VIRTIO_NET_HDR_GSO_TCPV6;
	g->ip = find_ip(frame, len, g->v6);
	if (g->ip == 0 || find_tcp(g, hdr) < 0)
		return -EINVAL;
	g->at = g->data;
	g->segments = len > g->data ? (len - g->data + g->size - 1) / g->size : 1;
	return 0;
}

/* Lengths, identification, checksum of the IP header at @ip, with @total bytes from it to the end. */
static void fix_ip(const struct gso *g, uint8_t *ip, uint32_t total)
{
	uint16_t sum;

	if (g->v6) {
		put16(ip + IP6_PAYLOAD, total - IPV6_HEADER);
		return;
	}
	put16(ip + IP4_TOTAL, total);
	put16(ip + IP4_ID, get16(ip + IP4_ID) + g->n);
	put16(ip + IP4_CSUM, 0);
	sum = csum_fold(csum_add(0, ip, g->tcp - g->ip));
	memcpy(ip + IP4_CSUM, &sum, sizeof(sum));
}

static void fix_tcp(const struct gso *g, uint8_t *out, uint32_t len, bool last)
{
	uint8_t *tcp = out + g->tcp, *ip = out + g->ip;
	uint8_t pseudo[4] = { 0, PROTO_TCP, (uint8_t)((len - g->tcp) >> 8),
			      (uint8_t)(len - g->tcp) };
	uint64_t sum;
	uint16_t field;

	put32(tcp + TCP_SEQ, get32(tcp + TCP_SEQ) + (g->at - g->data));
	/* RFC 3168 6.1.2: CWR goes with the first segment only; FIN and PSH with the last. */
	if (g->n > 0)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	if (!last)
		tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	put16(tcp + TCP_CSUM, 0);
	sum = csum_add(0, pseudo, sizeof(pseudo));
	sum = g->v6 ? csum_add(sum, ip + IP6_ADDR, 32) : csum_add(sum, ip + IP4_ADDR, 8);
	field = csum_fold(csum_add(sum, tcp, len - g->tcp));
	memcpy(tcp + TCP_CSUM, &field, sizeof(field));
}

uint32_t gso_next(struct gso *g, uint8_t *out, uint32_t room)
{
	uint32_t left = g->len - g->at, part = left < g->size ? left : g->size,
		 len = g->data + part;
	bool last = part == left;

	if (g->n == g->segments || len > room)
		return 0;
	memcpy(out, g->frame, g->data);
	memcpy(out + g->data, g->frame + g->at, part);
	fix_ip(g, out + g->ip, len - g->ip);
	fix_tcp(g, out, len, last);
	g->at += part;
	g->n++;
	return len;
}
