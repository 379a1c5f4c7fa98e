/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A netlink socket that never blocks, believes the kernel only, and takes messages of any size that the
 * kernel makes. Benchmarks put another file in this one's place, which plays the kernel.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/netlink.h>

/* Larger than any skb that the kernel makes for us; a datagram above it is dropped with -EMSGSIZE. */
#define NLSOCK_DATAGRAM_MAX (4u << 20)

struct nlsock {
	int fd; /* -1: closed */
	uint32_t portid;
	char *buf; /* the last datagram */
	size_t size;
};

#define NLSOCK_INIT       \
	{                 \
		.fd = -1, \
	}

/**
 * nlsock_open() - a socket of @protocol (NETLINK_ROUTE, …), bound
 * @groups: multicast groups 1 to 32 to hear, as bits
 * @rcvbuf: bytes of receive buffer, 0 for the default of 4 MiB; without privilege the system's default
 */
int nlsock_open(struct nlsock *s, int protocol, uint32_t groups, int rcvbuf);
/* Also takes one that was never opened. */
void nlsock_close(struct nlsock *s);
int nlsock_join(struct nlsock *s, uint32_t group);
/* The kernel works on it before this returns: what it answers can be read at once. */
int nlsock_send(struct nlsock *s, const struct nlmsghdr *nlh);

/**
 * nlsock_recv() - the next datagram into @s->buf
 * Return: its length; 0 where there is none; -EXDEV for one that is not the kernel's (it is dropped);
 * -ENOBUFS where messages were lost; -EMSGSIZE, -ENOMEM for one that was dropped; another negative errno.
 */
ssize_t nlsock_recv(struct nlsock *s);
