/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/netdev.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/packet.h"
#include "datapath/keeper/stats.h"

struct netdev {
	struct segment *segment;
	char name[IFNAMSIZ];
	int32_t cpu;
	int fd; /* rtnetlink, links */
	struct event *ev;
};

static int open_by_name(const char *name, struct vnic_err *err)
{
	unsigned int ifindex = if_nametoindex(name);
	const char *what = "";
	int fd;

	if (!ifindex)
		return vnic_err_set(err, -ENODEV, VNIC_E_STEP_FAILED,
				    "--uplink packet=%s: there is no such interface", name);
	fd = packet_open((int)ifindex, true, &what);
	if (fd < 0)
		return vnic_err_set(err, fd, VNIC_E_STEP_FAILED, "--uplink packet=%s: %s: %s", name,
				    what, strerror(-fd));
	return fd;
}

/* What is to be said of the netdev with @ifindex; "gone" where there is none. */
static const char *state_of(int ifindex)
{
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };

	if (fd < 0 || ifindex <= 0 || !if_indextoname((unsigned int)ifindex, ifr.ifr_name) ||
	    ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return "gone";
	if (!(ifr.ifr_flags & IFF_UP))
		return "down";
	return ifr.ifr_flags & IFF_RUNNING ? "up" : "no carrier";
}

static void look(struct netdev *n)
{
	struct segment *s = n->segment;
	struct vnic_err err = VNIC_ERR_INIT;
	int ifindex = packet_check(s->tap_fd);
	const char *state;

	if (ifindex == -ENODEV) {
		int fd = open_by_name(n->name, &err);

		if (fd >= 0) {
			segment_configure(s, n->name, fd, n->cpu);
			ifindex = packet_check(fd);
		}
	}
	state = state_of(ifindex);
	if (s->uplink_state && str_eq(s->uplink_state, state))
		return;
	if (s->uplink_state || !str_eq(state, "up"))
		log_notice("the uplink %s is %s%s", n->name, state,
			   str_eq(state, "up")	   ? ""
			   : str_eq(state, "gone") ? ": its ports go on among themselves"
						   : ": 'ip link set it up', or plug in its cable");
	s->uplink_state = state;
	stats_changed(s->keeper->stats);
}

/* Whatever has changed, it is looked up: what the messages say is not read. */
static void on_links(evutil_socket_t fd, short what, void *userdata)
{
	char buf[8192];

	(void)what;
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno != EINTR && errno != ENOBUFS)
			break;
	}
	look(userdata);
}

static int follow(struct netdev *n)
{
	struct sockaddr_nl at = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

	n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (n->fd < 0 || bind(n->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	n->ev = event_new(n->segment->keeper->base, n->fd, EV_READ | EV_PERSIST, on_links, n);
	return n->ev && event_add(n->ev, NULL) == 0 ? 0 : -ENOMEM;
}

struct netdev *netdev_free(struct netdev *n)
{
	if (!n)
		return NULL;
	if (n->ev)
		event_free(n->ev);
	close_safe(n->fd);
	free(n);
	return NULL;
}
DEFINE_CLEANUP(struct netdev *, netdev_free)

int netdev_new(struct segment *s, const char *name, int32_t cpu, struct netdev **ret,
	       struct vnic_err *err)
{
	_cleanup_(netdev_freep) struct netdev *n = calloc(1, sizeof(*n));
	int fd, r;

	if (!n)
		return -ENOMEM;
	n->segment = s;
	n->cpu = cpu;
	n->fd = -1;
	r = str_copy(n->name, sizeof(n->name), name);
	if (r == 0)
		r = follow(n);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "--uplink packet=%s: %s", name,
				    strerror(-r));
	fd = open_by_name(name, err);
	if (fd < 0)
		return fd;
	segment_configure(s, name, fd, cpu);
	look(n);
	*ret = take_ptr(n);
	return 0;
}
