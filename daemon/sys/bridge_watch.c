/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/bridge_watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "daemon/model/bridge_nl.h"

#define RECV_SIZE  32768
#define RECV_BURST 64
/* In net/bridge's messages of all three kinds the family follows the header. */
#define FAMILY_AT 16
#define TYPE_AT	  4

struct bridge_watch {
	bridge_gone_fn gone;
	void *userdata;
	struct mnl_socket *nl;
	struct loop_source *io;
	char buf[RECV_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
};

static int parse_fdb(const struct nlmsghdr *nlh, struct bridge_gone *ret)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	bool has_mac = false;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ndm) || ndm->ndm_ifindex <= 0)
		return -EBADMSG;
	if (ndm->ndm_family != AF_BRIDGE)
		return 1;
	ret->kind = BRIDGE_FDB;
	ret->ifindex = ndm->ndm_ifindex;
	mnl_attr_for_each(a, nlh, sizeof(*ndm))
	{
		if (mnl_attr_get_type(a) == NDA_LLADDR &&
		    mnl_attr_get_payload_len(a) == VNIC_MAC_LEN) {
			memcpy(ret->mac, mnl_attr_get_payload(a), VNIC_MAC_LEN);
			has_mac = true;
		} else if (mnl_attr_get_type(a) == NDA_VLAN &&
			   mnl_attr_validate(a, MNL_TYPE_U16) >= 0) {
			ret->vlan = mnl_attr_get_u16(a);
		}
	}
	return has_mac && !mac_is_zero(ret->mac) ? 0 : 1;
}

static int set_range(struct vlan_set *set, unsigned int first, unsigned int last, bool on)
{
	if (first > last || last > VNIC_VLAN_MAX)
		return -EBADMSG;
	for (unsigned int v = first; v <= last; v++)
		if (on)
			vlan_set_add(set, v);
		else
			set->bits[v / 64] &= ~(UINT64_C(1) << v % 64);
	return 0;
}

static void on_vlans(void *data, uint16_t first, uint16_t last, uint16_t flags)
{
	struct bridge_gone *gone = data;

	(void)flags;
	set_range(&gone->has, first, last, true);
}

/* All VLANs of a port, as a bridge tells with each change of them (br_ifinfo_notify()). */
static int parse_port(const struct nlmsghdr *nlh, struct bridge_gone *ret)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	int n;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi) || ifi->ifi_index <= 0)
		return -EBADMSG;
	if (ifi->ifi_family != AF_BRIDGE)
		return 1;
	ret->kind = BRIDGE_VLANS;
	ret->ifindex = ifi->ifi_index;
	n = bridge_vlans_parse(nlh, on_vlans, ret);
	if (n < 0)
		return n;
	/* Without a list nothing is said of VLANs: the message is about the port's state. */
	return n ? 0 : 1;
}

/* One range that is gone; of the others nothing is said. */
static int parse_vlan(const struct nlmsghdr *nlh, struct bridge_gone *ret)
{
	const struct br_vlan_msg *msg = mnl_nlmsg_get_payload(nlh);
	struct bridge_vlan_info info = { 0 };
	const struct nlattr *a, *v;
	uint16_t last = 0;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*msg) || msg->ifindex == 0 ||
	    msg->ifindex > INT32_MAX)
		return -EBADMSG;
	if (msg->family != AF_BRIDGE)
		return 1;
	ret->kind = BRIDGE_VLANS;
	ret->ifindex = (int)msg->ifindex;
	set_range(&ret->has, 0, VNIC_VLAN_MAX, true);
	mnl_attr_for_each(a, nlh, sizeof(*msg))
	{
		if (mnl_attr_get_type(a) != BRIDGE_VLANDB_ENTRY)
			continue;
		mnl_attr_for_each_nested(v, a)
		{
			if (mnl_attr_get_type(v) == BRIDGE_VLANDB_ENTRY_INFO &&
			    mnl_attr_get_payload_len(v) >= sizeof(info))
				memcpy(&info, mnl_attr_get_payload(v), sizeof(info));
			else if (mnl_attr_get_type(v) == BRIDGE_VLANDB_ENTRY_RANGE &&
				 mnl_attr_validate(v, MNL_TYPE_U16) >= 0)
				last = mnl_attr_get_u16(v);
		}
		if (set_range(&ret->has, info.vid, last ? last : info.vid, false) < 0)
			return -EBADMSG;
	}
	return info.vid ? 0 : 1;
}

int bridge_parse_gone(const struct nlmsghdr *nlh, struct bridge_gone *ret)
{
	struct bridge_gone what = { 0 };
	int r;

	if (nlh->nlmsg_len < mnl_nlmsg_size(0))
		return -EBADMSG;
	switch (nlh->nlmsg_type) {
	case RTM_DELNEIGH:
		r = parse_fdb(nlh, &what);
		break;
	case RTM_NEWLINK:
		r = parse_port(nlh, &what);
		break;
	case RTM_DELVLAN:
		r = parse_vlan(nlh, &what);
		break;
	default:
		return 1;
	}
	if (r == 0)
		*ret = what;
	return r;
}

static void lost(struct bridge_watch *w)
{
	const struct bridge_gone fdb = { .kind = BRIDGE_FDB }, vlans = { .kind = BRIDGE_VLANS };

	w->gone(w->userdata, &fdb);
	w->gone(w->userdata, &vlans);
}

/* Return: false where none is there. */
static bool recv_one(struct bridge_watch *w)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = w->buf, .iov_len = sizeof(w->buf) };
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1
	};
	const struct nlmsghdr *nlh = (void *)w->buf;
	struct bridge_gone what;
	ssize_t n;
	int left;

	n = recvmsg(mnl_socket_get_fd(w->nl), &msg, MSG_DONTWAIT);
	if (n < 0) {
		if (errno == ENOBUFS)
			lost(w);
		return errno == ENOBUFS || errno == EINTR;
	}
	if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0)
		return true;
	if (msg.msg_flags & MSG_TRUNC) {
		lost(w);
		return true;
	}
	for (left = (int)n; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
		if (bridge_parse_gone(nlh, &what) == 0)
			w->gone(w->userdata, &what);
	return true;
}

static void on_readable(void *userdata, int fd, unsigned int events)
{
	(void)fd;
	(void)events;
	for (int i = 0; i < RECV_BURST && recv_one(userdata); i++)
		;
}

/* Of bridges only, and not what they learn. */
static int set_filter(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FAMILY_AT),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_BRIDGE, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, TYPE_AT),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWNEIGH), 1, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog prog = { .len = ARRAY_SIZE(code), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

int bridge_watch_new(struct loop *loop, bridge_gone_fn gone, void *userdata,
		     struct bridge_watch **ret)
{
	_cleanup_(bridge_watch_freep) struct bridge_watch *w = calloc(1, sizeof(*w));
	int group = RTNLGRP_BRVLAN, r;

	if (!w)
		return -ENOMEM;
	w->gone = gone;
	w->userdata = userdata;
	w->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!w->nl)
		return -errno;
	r = set_filter(mnl_socket_get_fd(w->nl));
	if (r < 0)
		return r;
	if (mnl_socket_bind(w->nl, RTMGRP_LINK | RTMGRP_NEIGH, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* Since Linux 5.6, for what is done by RTM_DELVLAN; older kernels tell all by RTM_NEWLINK. */
	mnl_socket_setsockopt(w->nl, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
	r = loop_add_io(loop, mnl_socket_get_fd(w->nl), LOOP_READ, on_readable, w, &w->io);
	if (r < 0)
		return r;
	*ret = take_ptr(w);
	return 0;
}

struct bridge_watch *bridge_watch_free(struct bridge_watch *w)
{
	if (!w)
		return NULL;
	loop_source_free(w->io);
	if (w->nl)
		mnl_socket_close(w->nl);
	free(w);
	return NULL;
}
