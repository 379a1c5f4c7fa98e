/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VLANs of a bridge's port in rtnetlink's form (linux/if_bridge.h): sys follows them, exec looks before it acts. */
#pragma once

#include <stdint.h>

#include <libmnl/libmnl.h>

/* @flags: BRIDGE_VLAN_INFO_PVID, _UNTAGGED of all from @first to @last. */
typedef void (*bridge_vlans_fn)(void *data, uint16_t first, uint16_t last, uint16_t flags);

/**
 * bridge_vlans_parse() - call @fn for each range of VLANs in an RTM_NEWLINK message of family AF_BRIDGE
 * @nlh: has an ifinfomsg; the rest is hostile until checked
 * Return: how many there were (0: nothing is said of VLANs), or -EBADMSG at one that is none, after those before it.
 */
int bridge_vlans_parse(const struct nlmsghdr *nlh, bridge_vlans_fn fn, void *data);
