/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/nlsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#define RCVBUF_DEFAULT (4 << 20)
/* The kernel makes dump messages of up to 32 KiB when the reader offers that much. */
#define RECV_SIZE 65536

/* Room for a storm of notifications; what is not allowed stays at the system's default. */
static void set_rcvbuf(int fd, int size)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

int nlsock_open(struct nlsock *s, int protocol, uint32_t groups, int rcvbuf)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = groups };
	_cleanup_(closep) int fd = -1;
	_cleanup_(freep) char *buf = NULL;
	socklen_t len = sizeof(addr);

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (fd < 0)
		return -errno;
	buf = malloc(RECV_SIZE);
	if (!buf)
		return -ENOMEM;
	set_rcvbuf(fd, rcvbuf > 0 ? rcvbuf : RCVBUF_DEFAULT);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	s->fd = take_fd(&fd);
	s->portid = addr.nl_pid;
	s->buf = take_ptr(buf);
	s->size = RECV_SIZE;
	return 0;
}

void nlsock_close(struct nlsock *s)
{
	s->fd = close_safe(s->fd);
	free(s->buf);
	s->buf = NULL;
}

int nlsock_join(struct nlsock *s, uint32_t group)
{
	int g = (int)group;

	return setsockopt(s->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &g, sizeof(g)) < 0 ? -errno
											 : 0;
}

int nlsock_send(struct nlsock *s, const struct nlmsghdr *nlh)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	return sendto(s->fd, nlh, nlh->nlmsg_len, MSG_DONTWAIT | MSG_NOSIGNAL,
		      (struct sockaddr *)&kernel, sizeof(kernel)) < 0
		       ? -errno
		       : 0;
}

/* Make room for @size bytes. -EMSGSIZE, -ENOMEM: the datagram has to go unread. */
static int grow(struct nlsock *s, size_t size)
{
	char *buf;

	if (size <= s->size)
		return 0;
	if (size > NLSOCK_DATAGRAM_MAX)
		return -EMSGSIZE;
	buf = realloc(s->buf, size);
	if (!buf)
		return -ENOMEM;
	s->buf = buf;
	s->size = size;
	return 0;
}

ssize_t nlsock_recv(struct nlsock *s)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { 0 };
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1
	};
	ssize_t n;
	int room;

	/* How long it is, before it is taken: one link with 256 VFs alone is more than 32 KiB. */
	n = recvmsg(s->fd, &msg, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	room = grow(s, (size_t)n);
	iov.iov_base = s->buf;
	iov.iov_len = s->size;
	msg.msg_namelen = sizeof(from);
	n = recvmsg(s->fd, &msg, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0)
		return -EXDEV;
	if (room < 0)
		return room;
	/* An empty datagram is nobody's end of the queue. */
	if (msg.msg_flags & MSG_TRUNC || n == 0)
		return -EMSGSIZE;
	return n;
}
