/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A segment's tap. It is made in an order that leaves nothing behind: without TUNSETPERSIST it lives as long
 * as our descriptor, and persistent it becomes last, when its alias says whose it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <net/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>

#include "api/errors.h"
#include "base/file.h"
#include "daemon/exec/exec_priv.h"

/* @link is a tap that vnicd made for @segment (empty: for any). */
static bool tap_is_ours(const struct nl_link *link, const char *segment)
{
	if (!link->tap || strncmp(link->alias, TAP_ALIAS, strlen(TAP_ALIAS)) != 0)
		return false;
	return !*segment || str_eq(link->alias + strlen(TAP_ALIAS), segment);
}

/* How the MACs begin that our taps get. */
static const uint8_t mac_head[] = { 0xfe, 0xff };

bool tap_is_meant(const struct nl_link *link)
{
	return tap_is_ours(link, "") ||
	       (link->tap && !memcmp(link->mac, mac_head, sizeof(mac_head)));
}

/* Is @link the tap that @step has made in this boot, whatever its alias says by now? */
static bool is_recorded(const struct step *step, const struct nl_link *link)
{
	return link->tap && link->ifindex == step->ifindex && !mac_is_zero(step->mac) &&
	       !memcmp(link->mac, step->mac, sizeof(link->mac));
}

int tap_of_step(struct exec *exec, const struct step *step, struct nl_link *ret,
		struct vnic_err *err)
{
	struct nl_link link;
	int r;

	if (step->ifindex <= 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED, "the step names no link");
	r = nl_get_link(exec->nl, step->ifindex, NULL, &link, err);
	if (r < 0)
		return r;
	if (!tap_is_meant(&link))
		return vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED,
				    "ifindex %d is %s by now, which has neither alias nor MAC of a "
				    "tap of vnicd's; where it is one, delete it with 'ip link del "
				    "%s'",
				    link.ifindex, link.name, link.name);
	*ret = link;
	return 0;
}

/*
 * Whose it is, and a MAC that sorts behind any other: a bridge that nobody gave a MAC takes the least of its
 * ports', and must not take ours (net/bridge/br_stp_if.c, br_stp_recalculate_bridge_id()).
 */
static int set_identity(struct exec *exec, struct nl_link *link, const char *segment,
			struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = link->ifindex };
	char alias[sizeof(TAP_ALIAS) + VNIC_NAME_MAX];
	struct nl_request req;

	snprintf(alias, sizeof(alias), TAP_ALIAS "%s", segment);
	nl_start(&req, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	mnl_attr_put_strz(req.nlh, IFLA_IFALIAS, alias);
	memcpy(link->mac, mac_head, sizeof(mac_head));
	mnl_attr_put(req.nlh, IFLA_ADDRESS, sizeof(link->mac), link->mac);
	return nl_call(exec->nl, &req, NULL, NULL, err);
}

/* The host's own IPv6 chatter on a port of its bridge would reach the guests. */
static void silence_ipv6(const char *ifname)
{
	char file[64 + IFNAMSIZ];

	snprintf(file, sizeof(file), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", ifname);
	file_write_attr(AT_FDCWD, file, "1");
}

/*
 * Open a tap by @name, making it where there is none.
 * Return: the descriptor, -EBUSY where another descriptor has it, or another negative errno.
 */
static int tap_open(const char *name, struct vnic_err *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	_cleanup_(closep) int fd = -1;

	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED,
				    "/dev/net/tun: %s (is the module tun loaded?)",
				    strerror(errno));
	strcpy(ifr.ifr_name, name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED, "TUNSETIFF: %s",
				    strerror(errno));
	return take_fd(&fd);
}

/* A tap that is there and ours: get a descriptor of it, unless the datapath has the one there can be. */
static int tap_attach(struct exec *exec, const struct nl_link *link, struct step *step,
		      struct vnic_err *err)
{
	int fd, r;

	step->ifindex = link->ifindex;
	memcpy(step->mac, link->mac, sizeof(step->mac));
	if (held_get(exec->taps, link->name) >= 0)
		return 0;
	fd = tap_open(link->name, err);
	if (fd == -EBUSY)
		return 0;
	if (fd < 0)
		return fd;
	r = held_put(&exec->taps, link->name, fd);
	if (r < 0)
		close(fd);
	return r;
}

int tap_create(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;
	struct nl_link link;
	int r;

	if (!ifname_valid(step->ifname) || strchr(step->ifname, '%') || !name_valid(step->name))
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED,
				    "'%s' of segment '%s' is no name for a tap", step->ifname,
				    step->name);
	r = nl_get_link(exec->nl, 0, step->ifname, &link, NULL);
	/* Not known whether there is one, and whose: opening it would take it over. */
	if (r < 0 && r != -ENODEV)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "looking for %s: %s", step->ifname,
				    strerror(-r));
	if (r == 0 && !tap_is_ours(&link, step->name) && is_recorded(step, &link)) {
		r = set_identity(exec, &link, step->name, err);
		if (r < 0)
			return r;
	} else if (r == 0 && !tap_is_ours(&link, step->name)) {
		return vnic_err_set(err, -EEXIST, VNIC_E_STEP_FAILED,
				    "there is an interface of that name which vnicd did not make "
				    "for this segment: remove or rename it");
	}
	if (r == 0)
		return tap_attach(exec, &link, step, err);
	/* What was held by that name is the descriptor of a tap that somebody deleted. */
	held_drop(&exec->taps, step->ifname);
	fd = tap_open(step->ifname, err);
	if (fd < 0)
		return fd;
	r = nl_get_link(exec->nl, 0, step->ifname, &link, err);
	if (r == 0)
		r = set_identity(exec, &link, step->name, err);
	if (r < 0)
		return r;
	silence_ipv6(step->ifname);
	if (ioctl(fd, TUNSETPERSIST, 1) < 0)
		return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED, "TUNSETPERSIST: %s",
				    strerror(errno));
	r = held_put(&exec->taps, step->ifname, fd);
	if (r < 0) {
		ioctl(fd, TUNSETPERSIST, 0);
		return r;
	}
	take_fd(&fd);
	step->ifindex = link.ifindex;
	memcpy(step->mac, link.mac, sizeof(step->mac));
	return 0;
}

int tap_delete(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct nl_request req;
	struct nl_link link;
	int r;

	held_drop(&exec->taps, step->ifname);
	r = nl_get_link(exec->nl, step->ifindex, step->ifname, &link, err);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return r;
	if (!tap_is_ours(&link, step->name) && !is_recorded(step, &link)) {
		/* Begun and never made; the name is somebody else's. */
		if (step->ifindex == 0)
			return 0;
		return vnic_err_set(
			err, -ESTALE, VNIC_E_STEP_FAILED,
			"ifindex %d is %s by now, which has neither alias nor MAC of that "
			"tap; where it is that tap, delete it with 'ip link del %s'",
			link.ifindex, link.name, link.name);
	}
	ifi.ifi_index = link.ifindex;
	nl_start(&req, RTM_DELLINK, 0, &ifi, sizeof(ifi));
	r = nl_call(exec->nl, &req, NULL, NULL, err);
	return r == -ENODEV ? 0 : r;
}
