/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The netdev of a VF that is one port's hardware queue. What it receives is the guest's, but the host's stack sees
 * it too: it must neither answer nor forward. All that is set here goes with the netdev, which goes with its driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <net/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "api/errors.h"
#include "base/file.h"
#include "daemon/exec/exec_priv.h"
#include "daemon/exec/function.h"

static int set_sysctl(const char *ifname, const char *family, const char *name, const char *value)
{
	char file[80 + IFNAMSIZ];

	snprintf(file, sizeof(file), "/proc/sys/net/%s/conf/%s/%s", family, ifname, name);
	return file_write_attr(AT_FDCWD, file, value);
}

/*
 * Deaf: no IPv6 at all, no ARP (by its flag), and of IPv4 no forwarding; whose way back is not by this netdev, which
 * is everybody's, is dropped (rp_filter). Where the kernel has no IPv6 there is nothing to switch off.
 */
static int make_deaf(const char *ifname)
{
	int r = set_sysctl(ifname, "ipv6", "disable_ipv6", "1");

	if (r < 0 && r != -ENOENT)
		return r;
	r = set_sysctl(ifname, "ipv4", "forwarding", "0");
	return r < 0 ? r : set_sysctl(ifname, "ipv4", "rp_filter", "1");
}

static int set_flags(struct exec *exec, int ifindex, unsigned int flags, struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC,
				 .ifi_index = ifindex,
				 .ifi_change = IFF_UP | (flags & IFF_NOARP),
				 .ifi_flags = flags };
	struct nl_request req;

	nl_start(&req, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	return nl_call(exec->nl, &req, NULL, NULL, err);
}

static int set_mtu(struct exec *exec, const struct nl_link *link, uint32_t mtu,
		   struct vnic_err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = link->ifindex };
	struct nl_request req;

	if (link->mtu == mtu)
		return 0;
	nl_start(&req, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	mnl_attr_put_u32(req.nlh, IFLA_MTU, mtu);
	return nl_call(exec->nl, &req, NULL, NULL, err);
}

int queue_netdev_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = vf_open(exec, step, err);
	struct nl_link link;
	int ifindex, r, tries = 3;

	if (fd < 0)
		return fd;
	ifindex = function_ifindex(fd);
	if (!ifindex)
		return vnic_err_set(err, -EAGAIN, VNIC_E_STEP_FAILED,
				    "its driver has made no interface: see 'journalctl -k'");
	do { /* udev may just be giving it its name */
		r = nl_get_link(exec->nl, ifindex, NULL, &link, err);
		if (r < 0)
			return r;
		if (link.master)
			return vnic_err_set(err, -EBUSY, VNIC_E_STEP_FAILED,
					    "somebody has put %s into a bridge or bond", link.name);
		r = make_deaf(link.name);
	} while (r == -ENOENT && --tries > 0);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED,
				    "the settings of %s in /proc/sys/net cannot be written: %s",
				    link.name, strerror(-r));
	/* Of most drivers the MTU cannot be set once it is up. */
	r = set_mtu(exec, &link, step->mtu, err);
	if (r == 0)
		r = set_flags(exec, ifindex, IFF_UP | IFF_NOARP, err);
	if (r < 0)
		return r;
	step->ifindex = ifindex;
	memcpy(step->ifname, link.name, sizeof(step->ifname));
	return 0;
}

int queue_netdev_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = vf_open(exec, step, err);
	int ifindex, r;

	if (fd < 0)
		return fd == -ENODEV || fd == -ESTALE ? 0 : fd;
	ifindex = function_ifindex(fd);
	/* Begun and never done it has no ifindex, and may be half done. */
	if (!ifindex || (step->ifindex && ifindex != step->ifindex))
		return 0;
	r = set_flags(exec, ifindex, 0, err);
	return r == -ENODEV ? 0 : r;
}
