/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Netlink requests without waiting: they queue, one at a time is under way, answers come from the loop. What
 * the kernel sends unasked on the same socket is handed on.
 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "daemon/model/pf.h"
#include "daemon/sys/loop.h"
#include "daemon/sys/nlsock.h"

struct nlcalls;

/* What a request is about, given back with its answers: never a pointer, since things go meanwhile. */
struct nlcall_about {
	int ifindex;
	char bus[16];
	char dev[DEV_ADDR_MAX];
	int n;
};

/**
 * struct nlcall_ops - who gets the answers
 * @message: one message of the answer; whole as far as nlmsg_len goes, all else is to be checked
 * @done: exactly once a request, after its last message. 0 or a negative errno: the kernel's, -EINTR where
 *	changes cut into a dump, -ENOBUFS where messages were lost, -ETIMEDOUT
 */
struct nlcall_ops {
	void (*message)(void *userdata, const struct nlcall_about *about,
			const struct nlmsghdr *nlh);
	void (*done)(void *userdata, const struct nlcall_about *about, int error);
};

struct nlcalls_ops {
	/* A message that answers nothing. May be NULL. */
	void (*notify)(void *userdata, const struct nlmsghdr *nlh);
	/* Messages were lost; may be NULL. What was under way has been told -ENOBUFS. */
	void (*lost)(void *userdata);
	/* The last request is done and none waits; may be NULL. */
	void (*idle)(void *userdata);
};

int nlcalls_new(struct loop *loop, int protocol, const struct nlcalls_ops *ops, void *userdata,
		struct nlcalls **ret);
struct nlcalls *nlcalls_free(struct nlcalls *calls);
DEFINE_CLEANUP(struct nlcalls *, nlcalls_free)

/**
 * nlcall() - queue a request
 * @nlh: copied; its number and NLM_F_REQUEST are filled in, NLM_F_DUMP says that it is a dump
 * Callbacks come from the loop, never from here. After nlcalls_free() none comes any more.
 */
int nlcall(struct nlcalls *calls, const struct nlmsghdr *nlh, const struct nlcall_about *about,
	   const struct nlcall_ops *ops, void *userdata);
int nlcalls_join(struct nlcalls *calls, uint32_t group);
bool nlcalls_idle(const struct nlcalls *calls);
