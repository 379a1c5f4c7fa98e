/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/uplink/tap.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>

#include "base/sock.h"

int tap_prepare(int fd, const char **reason)
{
	unsigned int offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int hdr = TAP_HDR, r;
	struct ifreq ifr = { 0 };

	if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
		*reason = "the uplink is no tap";
		return -errno;
	}
	if ((ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) !=
	    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) {
		*reason =
			"the uplink's tap was not opened with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR";
		return -EINVAL;
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr) < 0 || ioctl(fd, TUNSETOFFLOAD, offload) < 0) {
		*reason = "the uplink's tap does not take header size or offloads";
		return -errno;
	}
	r = fd_set_nonblock(fd, true);
	if (r < 0)
		*reason = "the uplink's tap cannot be made non-blocking";
	return r;
}

ssize_t tap_read(int fd, uint8_t *buf, size_t size)
{
	ssize_t n;

	do {
		n = read(fd, buf, size);
	} while (n < 0 && errno == EINTR);
	return n > 0 ? n : 0;
}
