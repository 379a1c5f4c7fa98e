/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One socket carries both notifications and dumps. Both are queued in the order in which the kernel
 * made them, so the last message about a link is the newest, whichever it was, and no state of ours
 * has to tell them apart: each link seen carries the number of the dump that saw it last, and at a
 * dump's end what it did not see is gone.
 */
#include "daemon/sys/rtnetlink.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <uthash.h>

#include "daemon/sys/genl.h"
#include "daemon/sys/nlsock.h"

/* Messages read before other sources of the loop get their turn. */
#define RECV_BURST 64
/* Dumps interrupted by changes are repeated at once this often, then after a pause. */
#define INTR_AT_ONCE 4
#define RETRY_USEC   20000
#define FAILED_USEC  1000000
/* A dump whose end has not come by then was lost with a truncated message: begin another. */
#define DUMP_USEC 10000000

struct seen {
	int ifindex;
	uint32_t dump;
	UT_hash_handle hh;
};

struct rtnl {
	struct loop *loop;
	const struct rtnl_ops *ops;
	void *userdata;
	struct nlsock nl;
	struct loop_source *io, *timer;
	struct seen *seen;
	uint32_t dump; /* number of the running or last dump, its sequence number too */
	bool dumping; /* its NLMSG_DONE is still to come */
	bool again; /* the running dump cannot be trusted: repeat it */
	unsigned int interrupted; /* dumps in a row */
};

static int seen_mark(struct rtnl *rtnl, int ifindex)
{
	struct seen *s;

	HASH_FIND_INT(rtnl->seen, &ifindex, s);
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return -ENOMEM;
		s->ifindex = ifindex;
		HASH_ADD_INT(rtnl->seen, ifindex, s);
	}
	s->dump = rtnl->dump;
	return 0;
}

static void seen_forget(struct rtnl *rtnl, int ifindex)
{
	struct seen *s;

	HASH_FIND_INT(rtnl->seen, &ifindex, s);
	if (!s)
		return;
	HASH_DEL(rtnl->seen, s);
	free(s);
	rtnl->ops->gone(rtnl->userdata, ifindex);
}

static void sweep(struct rtnl *rtnl)
{
	struct seen *s, *tmp;

	HASH_ITER(hh, rtnl->seen, s, tmp)
	if (s->dump != rtnl->dump)
		seen_forget(rtnl, s->ifindex);
}

static int send_dump(struct rtnl *rtnl)
{
	char buf[128] __attribute__((aligned(NLMSG_ALIGNTO))) = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	int r;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = rtnl->dump + 1;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	r = nlsock_send(&rtnl->nl, nlh);
	if (r < 0)
		return r;
	rtnl->dump++;
	rtnl->dumping = true;
	rtnl->again = false;
	loop_timer_set(rtnl->timer, DUMP_USEC);
	return 0;
}

static void dump_start(void *userdata)
{
	struct rtnl *rtnl = userdata;
	int r;

	r = send_dump(rtnl);
	if (r == 0)
		return;
	if (rtnl->ops->failed)
		rtnl->ops->failed(rtnl->userdata, r);
	loop_timer_set(rtnl->timer, FAILED_USEC);
}

void rtnl_resync(struct rtnl *rtnl)
{
	/* A second dump on a socket is EBUSY while one runs: it is begun when that one ends. */
	if (rtnl->dumping) {
		rtnl->again = true;
		return;
	}
	dump_start(rtnl);
}

static void lost(struct rtnl *rtnl, const char *why)
{
	if (rtnl->ops->lost)
		rtnl->ops->lost(rtnl->userdata, why);
	rtnl_resync(rtnl);
}

static void dump_done(struct rtnl *rtnl, int error)
{
	rtnl->dumping = false;
	loop_timer_stop(rtnl->timer);
	if (error < 0) {
		if (rtnl->ops->failed)
			rtnl->ops->failed(rtnl->userdata, error);
		loop_timer_set(rtnl->timer, FAILED_USEC);
		return;
	}
	if (rtnl->again) {
		if (++rtnl->interrupted <= INTR_AT_ONCE)
			dump_start(rtnl);
		else
			loop_timer_set(rtnl->timer, RETRY_USEC);
		return;
	}
	rtnl->interrupted = 0;
	sweep(rtnl);
	rtnl->ops->synced(rtnl->userdata);
}

static int collect_attr(const struct nlattr *attr, void *data)
{
	const struct nlattr **tb = data;
	int type = mnl_attr_get_type(attr);

	if (type <= IFLA_MAX)
		tb[type] = attr;
	return MNL_CB_OK;
}

static bool attr_str(const struct nlattr *attr, char *dst, size_t size)
{
	if (!attr || mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
		return false;
	return str_copy(dst, size, mnl_attr_get_str(attr)) == 0;
}

static uint32_t attr_u32(const struct nlattr *attr)
{
	return attr && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0 ? mnl_attr_get_u32(attr) : 0;
}

static int attr_ifindex(const struct nlattr *attr)
{
	uint32_t v = attr_u32(attr);

	return v <= INT32_MAX ? (int)v : 0;
}

static void attr_mac(const struct nlattr *attr, uint8_t mac[VNIC_MAC_LEN])
{
	if (attr && mnl_attr_get_payload_len(attr) == VNIC_MAC_LEN)
		memcpy(mac, mnl_attr_get_payload(attr), VNIC_MAC_LEN);
}

/* A u8 attribute of @type within IFLA_INFO_DATA, or @otherwise. */
static unsigned int info_u8(const struct nlattr *data, unsigned int type, unsigned int otherwise)
{
	const struct nlattr *a;

	if (!data)
		return otherwise;
	mnl_attr_for_each_nested(a, data) if (mnl_attr_get_type(a) == type &&
					      mnl_attr_validate(a, MNL_TYPE_U8) >=
						      0) return mnl_attr_get_u8(a);
	return otherwise;
}

static void parse_kind(const struct nlattr *linkinfo, const struct ifinfomsg *ifi,
		       struct vnic_link *link)
{
	static const struct {
		const char *name;
		enum link_kind kind;
	} kinds[] = { { "veth", LINK_VETH },	   { "vlan", LINK_VLAN },
		      { "bond", LINK_BOND },	   { "macvlan", LINK_MACVLAN },
		      { "macvtap", LINK_MACVLAN }, { "bridge", LINK_BRIDGE },
		      { "openvswitch", LINK_OVS } };
	const struct nlattr *a, *data = NULL;
	char kind[32] = "";

	link->kind = ifi->ifi_flags & IFF_LOOPBACK ? LINK_LOOPBACK
		     : link->dev_addr[0]	   ? LINK_PHYSICAL
						   : LINK_OTHER;
	if (!linkinfo)
		return;
	mnl_attr_for_each_nested(a, linkinfo)
	{
		if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
			attr_str(a, kind, sizeof(kind));
		else if (mnl_attr_get_type(a) == IFLA_INFO_DATA)
			data = a;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(kind, kinds[i].name))
			link->kind = kinds[i].kind;
	/* Both tun and tap devices are of kind "tun". */
	if (str_eq(kind, "tun") && info_u8(data, IFLA_TUN_TYPE, 0) == IFF_TAP)
		link->kind = LINK_TAP;
	if (link->kind == LINK_BRIDGE)
		link->vlan_filtering = info_u8(data, IFLA_BR_VLAN_FILTERING, 0) != 0;
}

/* A device's name goes into a sysfs file name later: nothing that leaves its folder. */
static void parse_parent(const struct nlattr *const *tb, struct vnic_link *link)
{
	if (!attr_str(tb[IFLA_PARENT_DEV_NAME], link->dev_addr, sizeof(link->dev_addr)) ||
	    !attr_str(tb[IFLA_PARENT_DEV_BUS_NAME], link->bus, sizeof(link->bus)) ||
	    strchr(link->dev_addr, '/') || strchr(link->bus, '/') || link->dev_addr[0] == '.' ||
	    link->bus[0] == '.' || !link->bus[0]) {
		link->dev_addr[0] = '\0';
		link->bus[0] = '\0';
	}
}

int rtnl_parse_link(const struct nlmsghdr *nlh, struct vnic_link *ret)
{
	const struct nlattr *tb[IFLA_MAX + 1] = { 0 };
	struct vnic_link link = { .numa_node = -1, .sriov_totalvfs = -1, .sriov_numvfs = -1 };
	const struct ifinfomsg *ifi;
	char port_name[64];

	if (nlh->nlmsg_len < mnl_nlmsg_size(sizeof(*ifi)))
		return -EBADMSG;
	ifi = mnl_nlmsg_get_payload(nlh);
	/* A bridge tells of its ports with family AF_BRIDGE: a port's RTM_DELLINK is no deletion. */
	if (ifi->ifi_family != AF_UNSPEC)
		return 1;
	if (nla_parse(nlh, sizeof(*ifi), collect_attr, tb) < 0)
		return -EBADMSG;
	link.ifindex = ifi->ifi_index;
	if (link.ifindex <= 0 || !attr_str(tb[IFLA_IFNAME], link.name, sizeof(link.name)) ||
	    !ifname_valid(link.name))
		return -EBADMSG;
	/* The kernel takes any bytes; the bus would tell of no link at all for one that is no UTF-8. */
	str_make_utf8(link.name);
	link.up = ifi->ifi_flags & IFF_UP;
	link.carrier = ifi->ifi_flags & IFF_LOWER_UP;
	link.mtu = attr_u32(tb[IFLA_MTU]);
	link.master = attr_ifindex(tb[IFLA_MASTER]);
	/* A peer in another namespace has a number that means another link here. */
	if (!tb[IFLA_LINK_NETNSID])
		link.lower = attr_ifindex(tb[IFLA_LINK]);
	attr_mac(tb[IFLA_ADDRESS], link.mac);
	attr_mac(tb[IFLA_PERM_ADDRESS], link.perm_mac);
	parse_parent(tb, &link);
	parse_kind(tb[IFLA_LINKINFO], ifi, &link);
	if ((link.kind == LINK_PHYSICAL || link.kind == LINK_OTHER) &&
	    attr_str(tb[IFLA_PHYS_PORT_NAME], port_name, sizeof(port_name)) &&
	    port_name_is_representor(port_name))
		link.kind = LINK_REPRESENTOR;
	*ret = link;
	return 0;
}

static void on_link(struct rtnl *rtnl, const struct nlmsghdr *nlh)
{
	struct vnic_link link;
	int r;

	r = rtnl_parse_link(nlh, &link);
	if (r != 0)
		return;
	if (nlh->nlmsg_type == RTM_DELLINK) {
		seen_forget(rtnl, link.ifindex);
		return;
	}
	if (seen_mark(rtnl, link.ifindex) == 0)
		rtnl->ops->link(rtnl->userdata, &link);
}

static int done_error(const struct nlmsghdr *nlh)
{
	/* NLMSG_DONE carries an int, NLMSG_ERROR starts with one; both are 0 or a negative errno. */
	int error = 0;

	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(error))
		memcpy(&error, mnl_nlmsg_get_payload(nlh), sizeof(error));
	return error < 0 ? error : 0;
}

static void on_message(struct rtnl *rtnl, const struct nlmsghdr *nlh)
{
	/* Notifications carry the port and number of whoever caused them: only both are ours. */
	bool ours = rtnl->dumping && nlh->nlmsg_seq == rtnl->dump &&
		    nlh->nlmsg_pid == rtnl->nl.portid;

	if (ours && (nlh->nlmsg_flags & NLM_F_DUMP_INTR))
		rtnl->again = true;
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		on_link(rtnl, nlh);
		break;
	case NLMSG_DONE:
	case NLMSG_ERROR:
		if (ours)
			dump_done(rtnl, done_error(nlh));
		break;
	case NLMSG_OVERRUN:
		lost(rtnl, "the kernel reported an overrun");
		break;
	default:
		break;
	}
}

/* Return: 1 where a datagram was handled, 0 where none is there, or a negative errno. */
static int recv_one(struct rtnl *rtnl)
{
	ssize_t n = nlsock_recv(&rtnl->nl);
	const struct nlmsghdr *nlh = (void *)rtnl->nl.buf;
	int left;

	if (n <= 0)
		return n == -EXDEV ? 1 : (int)n;
	for (left = (int)n; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
		on_message(rtnl, nlh);
	return 1;
}

static void on_readable(void *userdata, int fd, unsigned int events)
{
	struct rtnl *rtnl = userdata;
	int r;

	(void)fd;
	(void)events;
	for (int i = 0; i < RECV_BURST; i++) {
		r = recv_one(rtnl);
		if (r == 0)
			return;
		if (r == -ENOBUFS)
			lost(rtnl, "the receive buffer was full");
		else if (r == -EMSGSIZE)
			lost(rtnl, "a message could not be read");
		else if (r == -ENOMEM)
			lost(rtnl, "out of memory");
	}
}

int rtnl_new(struct loop *loop, int rcvbuf, const struct rtnl_ops *ops, void *userdata,
	     struct rtnl **ret)
{
	_cleanup_(rtnl_freep) struct rtnl *rtnl = calloc(1, sizeof(*rtnl));
	int r;

	if (!rtnl)
		return -ENOMEM;
	rtnl->loop = loop;
	rtnl->nl = (struct nlsock)NLSOCK_INIT;
	rtnl->ops = ops;
	rtnl->userdata = userdata;
	/* A start that differs between runs: no answer meant for a predecessor is taken for ours. */
	rtnl->dump = (uint32_t)time(NULL);
	r = nlsock_open(&rtnl->nl, NETLINK_ROUTE, RTMGRP_LINK, rcvbuf);
	if (r < 0)
		return r;
	r = loop_add_io(loop, rtnl->nl.fd, LOOP_READ, on_readable, rtnl, &rtnl->io);
	if (r < 0)
		return r;
	r = loop_add_timer(loop, dump_start, rtnl, &rtnl->timer);
	if (r < 0)
		return r;
	r = send_dump(rtnl);
	if (r < 0)
		return r;
	*ret = take_ptr(rtnl);
	return 0;
}

struct rtnl *rtnl_free(struct rtnl *rtnl)
{
	struct seen *s, *tmp;

	if (!rtnl)
		return NULL;
	loop_source_free(rtnl->io);
	loop_source_free(rtnl->timer);
	nlsock_close(&rtnl->nl);
	HASH_ITER(hh, rtnl->seen, s, tmp)
	{
		HASH_DEL(rtnl->seen, s);
		free(s);
	}
	free(rtnl);
	return NULL;
}
