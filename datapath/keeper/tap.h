/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/err.h"

/**
 * tap_open() - the tap @ifname for a stand-alone datapath
 *
 * Creates it, and sets it up, where it is not there: it then vanishes with its last descriptor. One that
 * is there must be a tap that nobody else has open, and is left as it is.
 * Return: the descriptor (IFF_NO_PI, IFF_VNET_HDR, non-blocking), or a negative errno with @err.
 */
int tap_open(const char *ifname, struct vnic_err *err);

/* Is it a tap, or a packet socket (base/packet.h), as workers take it? Return: 0 or -EINVAL with @err. */
int uplink_check(int fd, struct vnic_err *err);
