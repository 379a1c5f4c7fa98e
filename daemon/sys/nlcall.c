/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/nlcall.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>

/* Datagrams read before other sources of the loop get their turn. */
#define RECV_BURST 64
/* The kernel answers within the call that asks; only an answer that was lost takes longer. */
#define CALL_USEC 5000000

struct call {
	struct call *next;
	const struct nlcall_ops *ops;
	void *userdata;
	struct nlcall_about about;
	bool interrupted; /* NLM_F_DUMP_INTR was seen */
	char nlh[] __attribute__((aligned(NLMSG_ALIGNTO)));
};

struct nlcalls {
	const struct nlcalls_ops *ops;
	void *userdata;
	struct nlsock nl;
	struct loop_source *io, *timer;
	struct call *current; /* sent, its end has not come */
	struct call *first, **last; /* those that wait */
	uint32_t seq;
};

static void finish(struct nlcalls *c, int error)
{
	struct call *call = take_ptr(c->current);

	if (call->interrupted && error == 0)
		error = -EINTR;
	call->ops->done(call->userdata, &call->about, error);
	free(call);
}

/* Send what waits first, if nothing is under way. */
static void start_next(struct nlcalls *c)
{
	while (!c->current && c->first) {
		struct call *call = c->first;
		struct nlmsghdr *nlh = (void *)call->nlh;
		int r;

		c->first = call->next;
		if (!c->first)
			c->last = &c->first;
		c->current = call;
		nlh->nlmsg_seq = ++c->seq;
		r = nlsock_send(&c->nl, nlh);
		if (r < 0)
			finish(c, r);
		else
			loop_timer_set(c->timer, CALL_USEC);
	}
	if (c->current)
		return;
	loop_timer_stop(c->timer);
	if (c->ops->idle)
		c->ops->idle(c->userdata);
}

static void on_timer(void *userdata)
{
	struct nlcalls *c = userdata;

	if (c->current)
		finish(c, -ETIMEDOUT);
	start_next(c);
}

int nlcall(struct nlcalls *c, const struct nlmsghdr *nlh, const struct nlcall_about *about,
	   const struct nlcall_ops *ops, void *userdata)
{
	struct call *call = malloc(sizeof(*call) + nlh->nlmsg_len);
	struct nlmsghdr *copy;

	if (!call)
		return -ENOMEM;
	*call = (struct call){ .ops = ops, .userdata = userdata, .about = *about };
	memcpy(call->nlh, nlh, nlh->nlmsg_len);
	copy = (void *)call->nlh;
	copy->nlmsg_flags |= NLM_F_REQUEST;
	/* A dump has its own end; anything else gets one by asking for an acknowledgement. */
	if ((copy->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		copy->nlmsg_flags |= NLM_F_ACK;
	*c->last = call;
	c->last = &call->next;
	if (!c->current)
		loop_timer_set(c->timer, 0);
	return 0;
}

int nlcalls_join(struct nlcalls *c, uint32_t group)
{
	return nlsock_join(&c->nl, group);
}

bool nlcalls_idle(const struct nlcalls *c)
{
	return !c->current && !c->first;
}

/* NLMSG_DONE carries an int, NLMSG_ERROR starts with one; both are 0 or a negative errno. */
static int end_error(const struct nlmsghdr *nlh)
{
	int error = 0;

	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(error))
		memcpy(&error, mnl_nlmsg_get_payload(nlh), sizeof(error));
	return error < 0 ? error : 0;
}

static void on_lost(struct nlcalls *c)
{
	if (c->current)
		finish(c, -ENOBUFS);
	if (c->ops->lost)
		c->ops->lost(c->userdata);
}

static void on_message(struct nlcalls *c, const struct nlmsghdr *nlh)
{
	struct call *call = c->current;

	if (nlh->nlmsg_type == NLMSG_OVERRUN) {
		on_lost(c);
		return;
	}
	/* Notifications carry the port and number of whoever caused them: only both are ours. */
	if (!call || nlh->nlmsg_pid != c->nl.portid || nlh->nlmsg_seq != c->seq) {
		if (nlh->nlmsg_type >= NLMSG_MIN_TYPE && nlh->nlmsg_pid != c->nl.portid &&
		    c->ops->notify)
			c->ops->notify(c->userdata, nlh);
		return;
	}
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		call->interrupted = true;
	if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR)
		finish(c, end_error(nlh));
	else if (nlh->nlmsg_type >= NLMSG_MIN_TYPE)
		call->ops->message(call->userdata, &call->about, nlh);
}

static void on_readable(void *userdata, int fd, unsigned int events)
{
	struct nlcalls *c = userdata;

	(void)fd;
	(void)events;
	for (int i = 0; i < RECV_BURST; i++) {
		ssize_t n = nlsock_recv(&c->nl);
		const struct nlmsghdr *nlh = (void *)c->nl.buf;
		int left = (int)n;

		if (n == 0)
			break;
		if (n == -ENOBUFS || n == -EMSGSIZE || n == -ENOMEM)
			on_lost(c);
		for (; n > 0 && mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			on_message(c, nlh);
		if (!c->current && c->first)
			start_next(c);
	}
	if (!c->current)
		start_next(c);
}

int nlcalls_new(struct loop *loop, int protocol, const struct nlcalls_ops *ops, void *userdata,
		struct nlcalls **ret)
{
	_cleanup_(nlcalls_freep) struct nlcalls *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->nl = (struct nlsock)NLSOCK_INIT;
	c->last = &c->first;
	c->ops = ops;
	c->userdata = userdata;
	/* A start that differs between runs: no answer meant for a predecessor is taken for ours. */
	c->seq = (uint32_t)time(NULL);
	r = nlsock_open(&c->nl, protocol, 0, 0);
	if (r < 0)
		return r;
	r = loop_add_io(loop, c->nl.fd, LOOP_READ, on_readable, c, &c->io);
	if (r < 0)
		return r;
	r = loop_add_timer(loop, on_timer, c, &c->timer);
	if (r < 0)
		return r;
	*ret = take_ptr(c);
	return 0;
}

struct nlcalls *nlcalls_free(struct nlcalls *c)
{
	if (!c)
		return NULL;
	loop_source_free(c->io);
	loop_source_free(c->timer);
	nlsock_close(&c->nl);
	free(c->current);
	while (c->first) {
		struct call *next = c->first->next;

		free(c->first);
		c->first = next;
	}
	free(c);
	return NULL;
}
