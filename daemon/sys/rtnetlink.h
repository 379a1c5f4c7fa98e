/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Links as rtnetlink tells them: a first dump, then notifications; a dump again whenever some were
 * lost. The kernel is the only sender that is believed.
 */
#pragma once

#include <stdbool.h>

#include <linux/netlink.h>

#include "base/cleanup.h"
#include "daemon/model/link.h"
#include "daemon/sys/loop.h"

struct rtnl;

struct rtnl_ops {
	/* A link is there, or changed. Device fields beyond bus and dev_addr are not filled in. */
	void (*link)(void *userdata, const struct vnic_link *link);
	/* It was deleted, or moved to another network namespace. */
	void (*gone)(void *userdata, int ifindex);
	/* A dump was read whole and what vanished was told: the picture is complete. */
	void (*synced)(void *userdata);
	/* Notifications were lost (ENOBUFS, a truncated message) and all is read anew; may be NULL. */
	void (*lost)(void *userdata, const char *why);
	/* A dump failed with @error and is tried again later; may be NULL. */
	void (*failed)(void *userdata, int error);
};

/**
 * rtnl_new() - subscribe and ask for the first dump
 * @rcvbuf: receive buffer in bytes, 0 for the default of 4 MiB
 * Callbacks come from the loop, never from here.
 */
int rtnl_new(struct loop *loop, int rcvbuf, const struct rtnl_ops *ops, void *userdata,
	     struct rtnl **ret);
struct rtnl *rtnl_free(struct rtnl *rtnl);
DEFINE_CLEANUP(struct rtnl *, rtnl_free)

/* Read everything anew, as after a loss. */
void rtnl_resync(struct rtnl *rtnl);

/**
 * rtnl_parse_link() - one RTM_NEWLINK as struct vnic_link
 * @nlh: a message whose nlmsg_len bytes are there; all else is checked
 *
 * Return: 0; 1 for a message that is not about a link as such (another family than AF_UNSPEC, like
 * a bridge's about its ports); -EBADMSG for one that cannot be believed.
 */
int rtnl_parse_link(const struct nlmsghdr *nlh, struct vnic_link *ret);
