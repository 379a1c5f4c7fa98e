/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sockets: what is sent to the kernel is answered at once, into queues. */
#include "tests/unit/fake_netlink_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/sys/nlsock.h"
#include "daemon/sys/udev.h"

#define SOCKETS_MAX 8
#define MESSAGE_MAX (128 << 10)

struct datagram {
	struct datagram *next;
	size_t size;
	bool from_kernel;
	char data[];
};

struct fake_queue {
	int fd; /* not above 0: free */
	int protocol;
	uint32_t portid;
	bool multicast, overrun;
	struct datagram *first, **last;
};

struct fake_kernel kernel;
static struct fake_queue queues[SOCKETS_MAX];
static const struct udev_watch_ops *udev_ops;
static void *udev_userdata;
static char message[MESSAGE_MAX] __attribute__((aligned(8)));

static struct fake_queue *queue_of(int fd)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (queues[i].fd == fd)
			return &queues[i];
	abort();
}

static void push(struct fake_queue *q, const void *data, size_t size, bool from_kernel)
{
	struct datagram *d = malloc(sizeof(*d) + size);
	const uint64_t one = 1;

	if (!d)
		abort();
	*d = (struct datagram){ .size = size, .from_kernel = from_kernel };
	memcpy(d->data, data, size);
	*q->last = d;
	q->last = &d->next;
	if (write(q->fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void pop(struct fake_queue *q)
{
	struct datagram *d = q->first;
	uint64_t n;

	q->first = d->next;
	if (!q->first) {
		q->last = &q->first;
		if (!q->overrun && read(q->fd, &n, sizeof(n)) < 0)
			abort();
	}
	free(d);
}

void fake_datagram(int protocol, const void *data, size_t size, bool from_kernel)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (queues[i].fd > 0 && queues[i].protocol == protocol)
			push(&queues[i], data, size, from_kernel);
}

void fake_multicast(int protocol, const struct nlmsghdr *nlh)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (queues[i].fd > 0 && queues[i].protocol == protocol && queues[i].multicast)
			push(&queues[i], nlh, nlh->nlmsg_len, true);
}

int nlsock_open(struct nlsock *s, int protocol, uint32_t groups, int rcvbuf)
{
	static uint32_t portid = 1000;
	struct fake_queue *q = NULL;

	(void)rcvbuf;
	for (int i = 0; i < SOCKETS_MAX && !q; i++)
		if (queues[i].fd <= 0)
			q = &queues[i];
	if (!q)
		abort();
	*q = (struct fake_queue){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
				  .protocol = protocol,
				  .portid = ++portid,
				  .multicast = groups };
	q->last = &q->first;
	s->fd = q->fd;
	s->portid = q->portid;
	s->buf = NULL;
	return 0;
}

void nlsock_close(struct nlsock *s)
{
	struct fake_queue *q;

	free(s->buf);
	s->buf = NULL;
	if (s->fd < 0)
		return;
	q = queue_of(s->fd);
	q->overrun = true;
	while (q->first)
		pop(q);
	close(q->fd);
	q->fd = s->fd = -1;
}

int nlsock_join(struct nlsock *s, uint32_t group)
{
	(void)group;
	queue_of(s->fd)->multicast = true;
	return 0;
}

ssize_t nlsock_recv(struct nlsock *s)
{
	struct fake_queue *q = queue_of(s->fd);
	struct datagram *d = q->first;
	ssize_t n;
	uint64_t v;

	if (q->overrun) {
		q->overrun = false;
		if (!d && read(q->fd, &v, sizeof(v)) < 0)
			abort();
		return -ENOBUFS;
	}
	if (!d)
		return 0;
	/* Exactly as large as what is in it, so that sanitizers see a read beyond. */
	free(s->buf);
	s->buf = malloc(d->size);
	if (!s->buf)
		abort();
	memcpy(s->buf, d->data, d->size);
	n = d->from_kernel ? (ssize_t)d->size : -EXDEV;
	pop(q);
	return n;
}

void fake_overrun(void)
{
	const uint64_t one = 1;

	for (int i = 0; i < SOCKETS_MAX; i++)
		if (queues[i].fd > 0) {
			queues[i].overrun = true;
			if (write(queues[i].fd, &one, sizeof(one)) != sizeof(one))
				abort();
		}
}

struct nlmsghdr *fake_begin(uint16_t type, const struct nlmsghdr *request,
			    const struct fake_queue *q)
{
	struct nlmsghdr *nlh;

	/* The longest header and attributes' padding are zero; each message writes the rest. */
	memset(message, 0, 256);
	nlh = mnl_nlmsg_put_header(message);
	nlh->nlmsg_type = type;
	nlh->nlmsg_seq = request ? request->nlmsg_seq : 0;
	nlh->nlmsg_pid = q ? q->portid : 0;
	return nlh;
}

void fake_end(struct fake_queue *q, const struct nlmsghdr *request, int error)
{
	bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	struct nlmsghdr *nlh = fake_begin(dump && !error ? NLMSG_DONE : NLMSG_ERROR, request, q);
	struct nlmsgerr *e = mnl_nlmsg_put_extra_header(nlh, sizeof(*e));

	e->error = error;
	e->msg = *request;
	push(q, nlh, nlh->nlmsg_len, true);
}

void fake_push(struct fake_queue *q, const void *data, size_t size)
{
	push(q, data, size, true);
}

void fake_answer(struct fake_queue *q, const struct nlmsghdr *nlh)
{
	if (kernel.record)
		kernel.record(nlh);
	push(q, nlh, nlh->nlmsg_len, true);
}

int nlsock_send(struct nlsock *s, const struct nlmsghdr *nlh)
{
	struct fake_queue *q = queue_of(s->fd);

	kernel.requests++;
	if (q->protocol == NETLINK_ROUTE)
		fake_on_route(q, nlh);
	else
		fake_on_genl(q, nlh);
	return 0;
}

void fake_kernel_reset(void)
{
	for (int i = 0; i < kernel.n_links; i++) {
		free(kernel.link[i]->vf);
		free(kernel.link[i]);
	}
	free(kernel.link);
	kernel = (struct fake_kernel){ 0 };
}

struct udev_watch {
	int unused;
};

int udev_watch_new(struct loop *loop, const struct udev_watch_ops *ops, void *userdata,
		   struct udev_watch **ret)
{
	(void)loop;
	udev_ops = ops;
	udev_userdata = userdata;
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

struct udev_watch *udev_watch_free(struct udev_watch *watch)
{
	free(watch);
	return NULL;
}

void fake_udev(const char *subsystem, const char *sysname, const char *action)
{
	udev_ops->device(udev_userdata, subsystem, sysname, action);
}

void fake_udev_lost(void)
{
	udev_ops->lost(udev_userdata);
}
