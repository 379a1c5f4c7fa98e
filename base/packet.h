/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A packet socket on a netdev: what vnicd-datapath has as an uplink where there is no tap. packet(7) */
#pragma once

#include <stdbool.h>

/**
 * packet_open() - a packet socket bound to a netdev
 * With virtio-net headers, without what this host itself sends there, all multicast frames let in.
 * @promisc: also frames for other addresses than the netdev's; without it the card sorts
 *
 * Return: the descriptor (non-blocking, close-on-exec), or a negative errno with @what set to what failed.
 */
int packet_open(int ifindex, bool promisc, const char **what);

/**
 * packet_check() - is it such a socket, and of which netdev?
 * Return: the ifindex; -ENODEV: its netdev was deleted; -EINVAL: it is something else.
 */
int packet_check(int fd);
