/* SPDX-License-Identifier: GPL-2.0-or-later */
/* devlink's messages: how a card's switch sorts, and which netdev stands for which VF. */
#pragma once

#include "daemon/sys/genl.h"

struct devlink_port {
	char bus[16], dev[DEV_ADDR_MAX]; /* of the device that has the port */
	uint32_t index;
	int vf; /* the VF of this host that it stands for, -1: something else */
	int ifindex; /* of its netdev, 0: none yet */
};

/* 0 or -EBADMSG */
int devlink_parse_port(const struct nlmsghdr *nlh, struct devlink_port *ret);
int devlink_parse_eswitch(const struct nlmsghdr *nlh, enum eswitch_mode *ret);
/* Which device a message is about. */
int devlink_parse_device(const struct nlmsghdr *nlh, char *ret_bus, size_t bus_size, char *ret_dev,
			 size_t dev_size);

struct nlmsghdr *devlink_ask_eswitch(char *buf, const struct genl_family *family, const char *bus,
				     const char *dev);
struct nlmsghdr *devlink_ask_ports(char *buf, const struct genl_family *family);
