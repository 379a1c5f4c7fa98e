/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "base/cleanup.h"

/* A few merged frames of 64 KiB each, on either way, would fill what sockets have by default. */
#define BUFFER (4 << 20)

static int set(int fd, int name, int value)
{
	return setsockopt(fd, SOL_PACKET, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int let_in(int fd, int ifindex, unsigned short what)
{
	struct packet_mreq m = { .mr_ifindex = ifindex, .mr_type = what };

	return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof(m)) < 0 ? -errno : 0;
}

static void set_buffer(int fd, int forced, int name)
{
	int size = BUFFER;

	if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, name, &size, sizeof(size));
}

/* Return: a negative errno, with what failed. */
static int fail(const char **what, const char *text, int error)
{
	*what = text;
	return error;
}

int packet_open(int ifindex, bool promisc, const char **what)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = ifindex };
	_cleanup_(closep) int fd = -1;
	int r;

	if (ifindex <= 0)
		return fail(what, "there is no such netdev", -ENODEV);
	/* Of no protocol before it is bound: else it would have frames of other netdevs. */
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(what, "a packet socket cannot be made", -errno);
	r = set(fd, PACKET_VNET_HDR, 1);
	if (r == 0)
		r = set(fd, PACKET_AUXDATA, 1);
	if (r == 0)
		r = set(fd, PACKET_IGNORE_OUTGOING, 1);
	if (r < 0)
		return fail(what, "this kernel's packet sockets lack an option", r);
	/*
	 * Not past the queueing discipline (PACKET_QDISC_BYPASS): that way the kernel drops what it would have to
	 * segment or otherwise copy for the driver, __dev_direct_xmit() of net/core/dev.c.
	 */
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return fail(what, "a packet socket cannot be bound to the netdev", -errno);
	r = let_in(fd, ifindex, PACKET_MR_ALLMULTI);
	if (r == 0 && promisc)
		r = let_in(fd, ifindex, PACKET_MR_PROMISC);
	if (r < 0)
		return fail(what, "the netdev lets no more frames in", r);
	return take_fd(&fd);
}

int packet_check(int fd)
{
	struct sockaddr_ll at = { 0 };
	socklen_t len = sizeof(at);
	int v = 0;

	if (getsockname(fd, (struct sockaddr *)&at, &len) < 0 || at.sll_family != AF_PACKET)
		return -EINVAL;
	len = sizeof(v);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &len) < 0 || v != SOCK_RAW)
		return -EINVAL;
	len = sizeof(v);
	if (getsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &v, &len) < 0 || v != 1)
		return -EINVAL;
	len = sizeof(v);
	if (getsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &v, &len) < 0 || v != 1)
		return -EINVAL;
	/* Bound to no netdev it would have everybody's frames. */
	return at.sll_ifindex > 0 ? at.sll_ifindex : at.sll_ifindex < 0 ? -ENODEV : -EINVAL;
}
