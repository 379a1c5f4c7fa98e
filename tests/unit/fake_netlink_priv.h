/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the sockets of the played kernel (fake_netlink.c) and its parts that answer. */
#pragma once

#include <libmnl/libmnl.h>

#include "tests/unit/fake_netlink.h"

struct fake_queue;

/* A message in the one buffer there is, as answer to @request or, NULL, unasked. */
struct nlmsghdr *fake_begin(uint16_t type, const struct nlmsghdr *request,
			    const struct fake_queue *q);
void fake_push(struct fake_queue *q, const void *data, size_t size);
/* The same, recorded where a test wants that. */
void fake_answer(struct fake_queue *q, const struct nlmsghdr *nlh);
/* The end of the answer to @request. */
void fake_end(struct fake_queue *q, const struct nlmsghdr *request, int error);
void fake_multicast(int protocol, const struct nlmsghdr *nlh);

/* fake_route.c, fake_genl.c */
void fake_on_route(struct fake_queue *q, const struct nlmsghdr *nlh);
void fake_on_genl(struct fake_queue *q, const struct nlmsghdr *nlh);
