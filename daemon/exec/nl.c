/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/exec/nl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <net/if.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "api/errors.h"
#include "base/str.h"

/* The acknowledgement is queued when the send returns; this is for a kernel that does it otherwise. */
#define ANSWER_MSEC 2000

struct nl {
	struct mnl_socket *sock;
	uint32_t seq;
	char buf[NL_ANSWER_SIZE] __attribute__((aligned(8)));
};

int nl_new(int protocol, struct nl **ret)
{
	_cleanup_(nl_freep) struct nl *nl = calloc(1, sizeof(*nl));
	int one = 1;

	if (!nl)
		return -ENOMEM;
	nl->sock = mnl_socket_open2(protocol, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!nl->sock)
		return -errno;
	/* The kernel's words, and not our own request back. */
	mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(nl->sock, NETLINK_CAP_ACK, &one, sizeof(one));
	if (mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	*ret = take_ptr(nl);
	return 0;
}

struct nl *nl_free(struct nl *nl)
{
	if (!nl)
		return NULL;
	if (nl->sock)
		mnl_socket_close(nl->sock);
	free(nl);
	return NULL;
}

void nl_start(struct nl_request *req, uint16_t type, uint16_t flags, const void *header,
	      size_t header_size)
{
	memset(req->buf, 0, sizeof(req->buf));
	req->nlh = mnl_nlmsg_put_header(req->buf);
	req->nlh->nlmsg_type = type;
	req->nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	memcpy(mnl_nlmsg_put_extra_header(req->nlh, header_size), header, header_size);
}

/* The text that the kernel put into an error message, or NULL. */
static const char *ext_ack_text(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	size_t offset = sizeof(*e);
	const struct nlattr *a;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED)) {
		if (e->msg.nlmsg_len < sizeof(e->msg))
			return NULL;
		offset += e->msg.nlmsg_len - sizeof(e->msg);
	}
	if (offset > mnl_nlmsg_get_payload_len(nlh))
		return NULL;
	mnl_attr_for_each(a, nlh, offset) if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG &&
					      mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >=
						      0) return mnl_attr_get_str(a);
	return NULL;
}

/* Return: the error of an NLMSG_ERROR, told in @err; 0 for an acknowledgement. */
static int ack_error(const struct nlmsghdr *nlh, struct vnic_err *err)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	const char *text;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*e) || e->error > 0)
		return vnic_err_set(err, -EBADMSG, VNIC_E_STEP_FAILED,
				    "the kernel's answer is malformed");
	if (e->error == 0)
		return 0;
	text = ext_ack_text(nlh);
	return vnic_err_set(err, e->error, VNIC_E_STEP_FAILED, "%s%s%s", strerror(-e->error),
			    text ? ": " : "", text ? text : "");
}

/* Return: 1 where the end is still to come; 0 for it; -EINTR for that of a dump that changes cut into. */
static int on_datagram(struct nl *nl, size_t size, nl_answer_fn fn, void *data, bool *interrupted,
		       struct vnic_err *err)
{
	const struct nlmsghdr *nlh = (void *)nl->buf;
	int left = (int)size;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_seq != nl->seq)
			continue;
		if (nlh->nlmsg_type == NLMSG_ERROR)
			return ack_error(nlh, err);
		if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
			*interrupted = true;
		if (nlh->nlmsg_type == NLMSG_DONE)
			return *interrupted ? -EINTR : 0;
		if (fn)
			fn(nlh, data);
	}
	return 1;
}

int nl_call(struct nl *nl, struct nl_request *req, nl_answer_fn fn, void *data,
	    struct vnic_err *err)
{
	struct pollfd p = { .fd = mnl_socket_get_fd(nl->sock), .events = POLLIN };
	bool interrupted = false;
	int r;

	req->nlh->nlmsg_seq = ++nl->seq;
	if (mnl_socket_sendto(nl->sock, req->nlh, req->nlh->nlmsg_len) < 0)
		return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED, "netlink: %s",
				    strerror(errno));
	do {
		ssize_t n = mnl_socket_recvfrom(nl->sock, nl->buf, sizeof(nl->buf));

		if (n < 0 && errno == EAGAIN) {
			if (poll(&p, 1, ANSWER_MSEC) == 0)
				return vnic_err_set(err, -ETIMEDOUT, VNIC_E_STEP_FAILED,
						    "the kernel did not answer");
			r = 1;
		} else if (n < 0 && errno != EINTR) {
			return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED, "netlink: %s",
					    strerror(errno));
		} else {
			r = on_datagram(nl, n < 0 ? 0 : (size_t)n, fn, data, &interrupted, err);
		}
	} while (r > 0);
	return r;
}

static const struct nlattr *nested(const struct nlattr *nest, unsigned int type)
{
	const struct nlattr *a;

	if (!nest)
		return NULL;
	mnl_attr_for_each_nested(a, nest) if (mnl_attr_get_type(a) == type) return a;
	return NULL;
}

static bool nested_u8_is(const struct nlattr *nest, unsigned int type, unsigned int value)
{
	const struct nlattr *a = nested(nest, type);

	return a && mnl_attr_validate(a, MNL_TYPE_U8) >= 0 && mnl_attr_get_u8(a) == value;
}

static void parse_linkinfo(const struct nlattr *info, struct nl_link *link)
{
	const struct nlattr *kind = nested(info, IFLA_INFO_KIND);
	const struct nlattr *data = nested(info, IFLA_INFO_DATA);

	if (!kind || mnl_attr_validate(kind, MNL_TYPE_NUL_STRING) < 0)
		return;
	link->bridge = str_eq(mnl_attr_get_str(kind), "bridge");
	link->vlan_filtering = link->bridge && nested_u8_is(data, IFLA_BR_VLAN_FILTERING, 1);
	link->tap = str_eq(mnl_attr_get_str(kind), "tun") &&
		    nested_u8_is(data, IFLA_TUN_TYPE, IFF_TAP);
}

static void parse_link(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct nl_link *link = data;
	const struct nlattr *a;

	if (nlh->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi) ||
	    ifi->ifi_family != AF_UNSPEC)
		return;
	link->ifindex = ifi->ifi_index;
	link->up = ifi->ifi_flags & IFF_UP;
	mnl_attr_for_each(a, nlh, sizeof(*ifi))
	{
		int type = mnl_attr_get_type(a);

		if (type == IFLA_IFNAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
			str_copy(link->name, sizeof(link->name), mnl_attr_get_str(a));
		else if (type == IFLA_IFALIAS && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
			str_copy(link->alias, sizeof(link->alias), mnl_attr_get_str(a));
		else if (type == IFLA_ADDRESS && mnl_attr_get_payload_len(a) == sizeof(link->mac))
			memcpy(link->mac, mnl_attr_get_payload(a), sizeof(link->mac));
		else if (type == IFLA_PERM_ADDRESS &&
			 mnl_attr_get_payload_len(a) == sizeof(link->perm_mac))
			memcpy(link->perm_mac, mnl_attr_get_payload(a), sizeof(link->perm_mac));
		else if (type == IFLA_MTU && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			link->mtu = mnl_attr_get_u32(a);
		else if (type == IFLA_MASTER && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			link->master = (int)mnl_attr_get_u32(a);
		else if (type == IFLA_LINKINFO)
			parse_linkinfo(a, link);
	}
}

int nl_get_link(struct nl *nl, int ifindex, const char *name, struct nl_link *ret,
		struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = ifindex };
	struct nl_link link = { 0 };
	struct nl_request req;
	int r;

	nl_start(&req, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	if (ifindex == 0)
		mnl_attr_put_strz(req.nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(req.nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	r = nl_call(nl, &req, parse_link, &link, err);
	if (r < 0)
		return r;
	if (link.ifindex <= 0 || (ifindex && link.ifindex != ifindex))
		return vnic_err_set(err, -EBADMSG, VNIC_E_STEP_FAILED,
				    "the kernel's answer is about another link");
	*ret = link;
	return 0;
}

struct ports_of {
	int bridge;
	bool any;
};

static void parse_port(const struct nlmsghdr *nlh, void *data)
{
	struct nl_link link = { 0 };
	struct ports_of *ports = data;

	parse_link(nlh, &link);
	ports->any |= link.master == ports->bridge;
}

int nl_bridge_has_ports(struct nl *nl, int ifindex, struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct ports_of ports = { .bridge = ifindex };
	struct nl_request req;
	int r, tries = 5;

	do {
		nl_start(&req, RTM_GETLINK, NLM_F_DUMP, &ifi, sizeof(ifi));
		/* Kernels that know the filter answer with the ports only. */
		mnl_attr_put_u32(req.nlh, IFLA_MASTER, (uint32_t)ifindex);
		mnl_attr_put_u32(req.nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
		r = nl_call(nl, &req, parse_port, &ports, err);
	} while (r == -EINTR && !ports.any && --tries > 0);
	return ports.any ? 1 : r;
}
