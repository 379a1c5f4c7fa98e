/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/bed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

const uint8_t bed_broadcast[6] = { 255, 255, 255, 255, 255, 255 };
const uint8_t bed_stranger[6] = { 2, 0, 0, 0, 0, 99 };

void bed_set(struct bed *b, unsigned int i, bool running)
{
	const char *reason = "";
	struct wire_port_set m;
	int fds[3 + 2 * DP_RINGS_MAX];
	size_t n = vguest_config(&b->g[i], running, &m, fds);

	if (engine_port_set(b->e, &m, fds, n, &reason) < 0)
		fail_msg("port %u is refused: %s", i, reason);
}

void bed_init(struct bed *b, unsigned int n, const struct vg_config *cfg)
{
	int pair[2];

	memset(b, 0, sizeof(*b));
	b->now = 1000000;
	b->n = n;
	b->e = malloc(sizeof(*b->e));
	b->ws = mmap(NULL, sizeof(*b->ws), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	assert_true(b->e && b->ws != MAP_FAILED);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	engine_init(b->e, b->ws);
	b->e->spin_ns = UINT64_MAX; /* these guests do not kick */
	b->e->now = b->now;
	engine_uplink_set(b->e, UPLINK_TAP, pair[0]);
	b->outside = pair[1];
	for (unsigned int i = 0; i < n; i++) {
		vguest_init(&b->g[i], i, &cfg[i]);
		for (unsigned int q = 0; q < cfg[i].pairs; q++)
			vguest_post(&b->g[i], q, cfg[i].size);
		bed_set(b, i, true);
	}
	engine_go(b->e);
}

void bed_deinit(struct bed *b)
{
	engine_deinit(b->e);
	free(b->e);
	munmap(b->ws, sizeof(*b->ws));
	close(b->outside);
	for (unsigned int i = 0; i < b->n; i++)
		vguest_deinit(&b->g[i]);
}

unsigned int bed_turn(struct bed *b, uint64_t ns)
{
	unsigned int n;

	b->now += ns;
	n = engine_turn(b->e, b->now);
	return n + engine_uplink_read(b->e);
}

void bed_frame(uint8_t *buf, uint32_t len, const uint8_t *dst, const uint8_t *src, uint16_t type,
	       uint8_t seed)
{
	memcpy(buf, dst, 6);
	memcpy(buf + 6, src, 6);
	buf[12] = (uint8_t)(type >> 8);
	buf[13] = (uint8_t)type;
	for (uint32_t i = 14; i < len; i++)
		buf[i] = (uint8_t)(seed + (i - 14) * 3);
}

bool bed_send(struct bed *b, unsigned int from, unsigned int to, uint8_t seed)
{
	uint8_t buf[100];

	bed_frame(buf, sizeof(buf), b->g[to].mac, b->g[from].mac, 0x88b5, seed);
	return vguest_send(&b->g[from], 0, buf, sizeof(buf), NULL, VG_ONE);
}

uint32_t bed_receive(struct bed *b, unsigned int at, uint8_t *ret_seed)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	uint8_t buf[VG_FRAME_MAX];
	uint32_t len = vguest_receive(&b->g[at], 0, buf, &hdr);

	if (len > 14 && ret_seed)
		*ret_seed = buf[14];
	return len;
}

uint32_t bed_outside(struct bed *b, uint8_t *buf, struct virtio_net_hdr_mrg_rxbuf *hdr)
{
	uint8_t whole[12 + VG_FRAME_MAX];
	ssize_t n = recv(b->outside, whole, sizeof(whole), MSG_DONTWAIT);

	if (n <= 0)
		return 0;
	assert_true(n >= 12 + 14);
	if (hdr)
		memcpy(hdr, whole, 12);
	memcpy(buf, whole + 12, (size_t)n - 12);
	return (uint32_t)n - 12;
}

void bed_from_outside(struct bed *b, const void *frame, uint32_t len,
		      const struct virtio_net_hdr *hdr)
{
	uint8_t whole[12 + VG_FRAME_MAX] = { 0 };

	if (hdr)
		memcpy(whole, hdr, sizeof(*hdr));
	memcpy(whole + 12, frame, len);
	assert_int_equal(send(b->outside, whole, 12 + len, 0), 12 + len);
}
