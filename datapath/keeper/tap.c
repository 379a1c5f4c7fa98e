/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/tap.h"

#include <fcntl.h>
#include <stdbool.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/packet.h"

static int attach(int fd, const char *ifname, short more_flags)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | more_flags };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	return ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
}

static int set_up(const char *ifname)
{
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

int uplink_check(int fd, struct vnic_err *err)
{
	struct ifreq ifr = { 0 };

	if (packet_check(fd) != -EINVAL)
		return 0;
	if (ioctl(fd, TUNGETIFF, &ifr) < 0 || !(ifr.ifr_flags & IFF_TAP) ||
	    !(ifr.ifr_flags & IFF_NO_PI) || !(ifr.ifr_flags & IFF_VNET_HDR))
		return vnic_err_set(
			err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
			"the descriptor is neither a tap with IFF_NO_PI and IFF_VNET_HDR nor "
			"a packet socket of one netdev with PACKET_VNET_HDR and "
			"PACKET_AUXDATA");
	return 0;
}

int tap_open(const char *ifname, struct vnic_err *err)
{
	_cleanup_(closep) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	bool was_there = if_nametoindex(ifname) > 0;
	int r;

	if (fd < 0)
		return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED,
				    "/dev/net/tun cannot be opened: %s", strerror(errno));
	r = attach(fd, ifname, 0);
	if (r == -EINVAL && was_there) /* made with more queues than we use */
		r = attach(fd, ifname, IFF_MULTI_QUEUE);
	if (r == -EINVAL && was_there)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED,
				    "--uplink tap=%s: this interface is not a tap", ifname);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "--uplink tap=%s: %s", ifname,
				    r == -EBUSY ? "another process has it open" : strerror(-r));
	if (!was_there) {
		r = set_up(ifname);
		if (r < 0)
			return vnic_err_set(err, r, VNIC_E_STEP_FAILED,
					    "the tap %s cannot be set up: %s", ifname,
					    strerror(-r));
	}
	return take_fd(&fd);
}
