/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rtnetlink requests on a socket of their own: one at a time, answered with the kernel's own words. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libmnl/libmnl.h>

#include "base/cleanup.h"
#include "base/err.h"

/* Room for any request of ours, and for the kernel's answer about one link. */
#define NL_REQUEST_SIZE 1024
#define NL_ANSWER_SIZE	65536

struct nl;

/* @protocol: NETLINK_ROUTE, NETLINK_GENERIC */
int nl_new(int protocol, struct nl **ret);
struct nl *nl_free(struct nl *nl);
DEFINE_CLEANUP(struct nl *, nl_free)

/* A request buffer; nl_start() makes a message with an ifinfomsg or ndmsg in it. */
struct nl_request {
	char buf[NL_REQUEST_SIZE] __attribute__((aligned(8)));
	struct nlmsghdr *nlh;
};

/* @header: of @header_size bytes, follows the message's own. NLM_F_REQUEST and NLM_F_ACK are added. */
void nl_start(struct nl_request *req, uint16_t type, uint16_t flags, const void *header,
	      size_t header_size);

/* A message of an answer. */
typedef void (*nl_answer_fn)(const struct nlmsghdr *nlh, void *data);

/**
 * nl_call() - send @req and wait for its acknowledgement, which the kernel makes before the send returns
 * @fn: called for each message before the acknowledgement; may be NULL
 * @err: on a refusal, the kernel's message (NLMSGERR_ATTR_MSG), else the error's name
 * Return: 0, or the kernel's negative errno; -ETIMEDOUT, -EBADMSG for no believable answer; -EINTR for a dump
 * that was cut into by changes and has to be asked for again.
 */
int nl_call(struct nl *nl, struct nl_request *req, nl_answer_fn fn, void *data,
	    struct vnic_err *err);

/**
 * struct nl_link - what exec must know of a link before it touches it
 * @vlan_filtering: of a bridge
 */
struct nl_link {
	int ifindex;
	char name[16];
	uint8_t mac[6], perm_mac[6]; /* perm_mac: zero where the driver does not say */
	char alias[256];
	bool tap, bridge, vlan_filtering;
	bool up;
	uint32_t mtu;
	int master;
};

/* Has bridge @ifindex any port? 1, 0, or a negative errno. */
int nl_bridge_has_ports(struct nl *nl, int ifindex, struct vnic_err *err);

/* Ask for one link by @ifindex, or where that is 0 by @name. -ENODEV where there is none. */
int nl_get_link(struct nl *nl, int ifindex, const char *name, struct nl_link *ret,
		struct vnic_err *err);
