/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/uplink/tap.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>

#include "base/sock.h"
#include "datapath/ring/copy.h"

int tap_prepare(int fd, const char **reason)
{
	unsigned int offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int hdr = UPLINK_HDR, r;
	struct ifreq ifr = { 0 };

	if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
		*reason = "the uplink is no tap";
		return -errno;
	}
	if ((ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) !=
	    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) {
		*reason =
			"the uplink's tap was not opened with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR";
		return -EINVAL;
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr) < 0 || ioctl(fd, TUNSETOFFLOAD, offload) < 0) {
		*reason = "the uplink's tap does not take header size or offloads";
		return -errno;
	}
	r = fd_set_nonblock(fd, true);
	if (r < 0)
		*reason = "the uplink's tap cannot be made non-blocking";
	return r;
}

static uint16_t add_tag(uint16_t n)
{
	return n ? (uint16_t)(n + VLAN_TAG) : 0;
}

void uplink_add(struct uplink *u, const struct frame *f, uint64_t *dropped)
{
	struct uplink_frame *x = &u->batch[u->n];
	struct virtio_net_hdr hdr = f->hdr;
	uint8_t *p = x->head;

	x->dropped = dropped ? dropped : &u->none;
	if (u->fd < 0 || f->n > UPLINK_PIECES) {
		++*x->dropped;
		return;
	}
	if (f->vlan) {
		hdr.csum_start = add_tag(hdr.csum_start);
		hdr.hdr_len = add_tag(hdr.hdr_len);
	}
	memset(p, 0, UPLINK_HDR);
	memcpy(p, &hdr, sizeof(hdr));
	p += UPLINK_HDR;
	frame_put_l2(f, p);
	p += ETH_HEADER;
	if (f->vlan) {
		memmove(p + 2, p - 2, 2);
		p[-2] = ETHERTYPE_VLAN >> 8;
		p[-1] = ETHERTYPE_VLAN & 0xff;
		p[0] = (uint8_t)(f->vlan >> 8);
		p[1] = (uint8_t)f->vlan;
		p += VLAN_TAG;
	}
	x->head_len = (uint8_t)(p - x->head);
	x->n = f->n;
	x->body = f->body;
	u->n++;
}

void uplink_flush(struct uplink *u)
{
	struct iovec iov[UPLINK_PIECES + 1];

	for (unsigned int i = 0; i < u->n; i++) {
		const struct uplink_frame *x = &u->batch[i];
		ssize_t r;

		iov[0] = (struct iovec){ .iov_base = (void *)x->head, .iov_len = x->head_len };
		for (unsigned int k = 0; k < x->n; k++)
			iov[k + 1] = (struct iovec){ .iov_base = x->body[k].va,
						     .iov_len = x->body[k].len };
		do {
			r = writev(u->fd, iov, x->n + 1);
		} while (r < 0 && errno == EINTR);
		if (r < 0)
			++*x->dropped;
	}
	u->n = 0;
}

int uplink_read(struct uplink *u, struct frame *f, struct piece *piece)
{
	ssize_t n;

	if (u->fd < 0)
		return 0;
	do {
		n = read(u->fd, u->buf, sizeof(u->buf));
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return 0;
	if (n < UPLINK_HDR + ETH_HEADER)
		return -EBADMSG;
	*f = (struct frame){ .src = NULL };
	*piece = (struct piece){ .va = u->buf, .len = (uint32_t)n };
	return frame_load(f, piece, 1, (uint32_t)n, UPLINK_HDR) ? 1 : -EBADMSG;
}

void uplink_announce(struct uplink *u, const uint8_t mac[6], uint16_t vlan)
{
	/* RFC 903: Ethernet, IPv4, request reverse; the rest is MACs and zeros, padded to 60 bytes. */
	uint8_t body[46] = { 0, 1, 8, 0, 6, 4, 0, 3 };
	uint8_t l2[ETH_HEADER] = { [12] = 0x80, [13] = 0x35 };
	struct piece piece = { .va = body, .len = sizeof(body) };
	struct frame f = { .vlan = vlan, .len = ETH_HEADER + sizeof(body), .n = 1, .body = &piece };

	memset(l2, 0xff, 6);
	memcpy(l2 + 6, mac, 6);
	frame_get_l2(&f, l2);
	memcpy(body + 8, mac, 6);
	memcpy(body + 18, mac, 6);
	if (uplink_full(u))
		uplink_flush(u);
	uplink_add(u, &f, NULL);
	uplink_flush(u);
}
