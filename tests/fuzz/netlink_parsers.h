/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every parser of kernel messages on one message, whatever it is: what they say must hold. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "daemon/sys/devlink.h"
#include "daemon/sys/ethtool.h"
#include "daemon/sys/rtnetlink.h"
#include "daemon/sys/vdpa.h"
#include "daemon/sys/vfinfo.h"

#define PARSE_VFS 300

#define parse_must(condition)     \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

static inline void parse_vfs(const struct nlmsghdr *nlh)
{
	struct vf_info *vfs = calloc(PARSE_VFS, sizeof(*vfs));
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	int count = 0, told, n = 0;

	parse_must(vfs);
	told = vfinfo_parse(nlh,
			    nlh->nlmsg_len >= mnl_nlmsg_size(sizeof(*ifi)) ? ifi->ifi_index : 1,
			    vfs, PARSE_VFS, &count);
	for (int i = 0; i < PARSE_VFS; i++) {
		n += vfs[i].told;
		parse_must(vfs[i].known < 1u << VF_ATTR_COUNT);
		parse_must(vfs[i].told || !vfs[i].known);
		for (size_t a = 0; a < VF_ATTR_COUNT; a++)
			parse_must(vfs[i].known & 1u << a || !vfs[i].value[a]);
		parse_must(vfs[i].value[VF_SPOOFCHK] <= 1 && vfs[i].value[VF_LINK_STATE] <= 2);
	}
	parse_must(told < 0 ? n == 0 : n == told && count >= 0);
	free(vfs);
}

/* @size bytes at @data, which are taken as one message, are read from memory of exactly that size. */
static inline void parse_all(const void *data, size_t size)
{
	struct nlmsghdr *nlh = malloc(size);
	struct vnic_link link;
	struct devlink_port port;
	enum eswitch_mode mode;
	struct nic_features features;
	struct nic_channels channels;
	struct vdpa_mgmtdev mgmtdev;
	struct vdpa_dev dev;
	char bus[16], name[DEV_ADDR_MAX];
	uint32_t group;
	uint16_t id;

	parse_must(nlh && size >= sizeof(*nlh));
	memcpy(nlh, data, size);
	nlh->nlmsg_len = (uint32_t)size;
	if (rtnl_parse_link(nlh, &link) == 0)
		parse_must(ifname_valid(link.name) && link.ifindex > 0);
	parse_vfs(nlh);
	if (devlink_parse_port(nlh, &port) == 0)
		parse_must(port.vf < PF_VFS_MAX && port.vf >= -1 && port.ifindex >= 0 && *port.dev);
	if (devlink_parse_device(nlh, bus, sizeof(bus), name, sizeof(name)) == 0)
		parse_must(*bus && *name);
	if (devlink_parse_eswitch(nlh, &mode) == 0)
		parse_must(mode <= ESWITCH_SWITCHDEV);
	if (ethtool_parse_features(nlh, &features) == 0)
		parse_must(features.ifindex > 0 && features.ntuple <= FEATURE_ON_FIXED);
	if (ethtool_parse_channels(nlh, &channels) == 0)
		parse_must(channels.ifindex > 0);
	parse_must(ethtool_parse_changed(nlh) >= 0);
	if (vdpa_parse_mgmtdev(nlh, &mgmtdev) == 0)
		parse_must(*mgmtdev.name && mgmtdev.name[0] != '.');
	if (vdpa_parse_dev(nlh, &dev) == 0)
		parse_must(*dev.name && !strchr(dev.name, '/') && *dev.mgmtdev);
	if (genl_parse_family(nlh, "config", name, sizeof(name), &id, &group) == 0)
		parse_must(id >= NLMSG_MIN_TYPE);
	free(nlh);
}
