/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bridges forget: FDB entries and VLANs of their ports that somebody took away. On a socket of its own, so
 * that a bridge that learns a lot costs the links' socket nothing; what is only learned is not even read.
 */
#pragma once

#include <linux/netlink.h>

#include "base/cleanup.h"
#include "daemon/model/bridge_gone.h"
#include "daemon/sys/loop.h"

struct bridge_watch;

typedef void (*bridge_gone_fn)(void *userdata, const struct bridge_gone *what);

/* Callbacks come from the loop. After lost notifications everything may be gone, and is told so. */
int bridge_watch_new(struct loop *loop, bridge_gone_fn gone, void *userdata,
		     struct bridge_watch **ret);
struct bridge_watch *bridge_watch_free(struct bridge_watch *w);
DEFINE_CLEANUP(struct bridge_watch *, bridge_watch_free)

/**
 * bridge_parse_gone() - one RTM_DELNEIGH, RTM_DELVLAN, or RTM_NEWLINK of family AF_BRIDGE
 * @nlh: a message whose nlmsg_len bytes are there; all else is checked
 * Return: 0; 1 for a message that tells of nothing gone; -EBADMSG for one that cannot be believed.
 */
int bridge_parse_gone(const struct nlmsghdr *nlh, struct bridge_gone *ret);
