/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/devlink.h"

#include <errno.h>

#include <libmnl/libmnl.h>
#include <linux/devlink.h>

#define ATTR_MAX DEVLINK_ATTR_PORT_EXTERNAL

static int parse_device(const struct nlattr *const *tb, char *ret_bus, size_t bus_size,
			char *ret_dev, size_t dev_size)
{
	char bus[16], dev[DEV_ADDR_MAX];

	if (!nla_string(tb[DEVLINK_ATTR_BUS_NAME], bus, sizeof(bus)) || !*bus ||
	    !nla_string(tb[DEVLINK_ATTR_DEV_NAME], dev, sizeof(dev)) || !*dev ||
	    str_copy(ret_bus, bus_size, bus) < 0 || str_copy(ret_dev, dev_size, dev) < 0)
		return -EBADMSG;
	return 0;
}

int devlink_parse_device(const struct nlmsghdr *nlh, char *ret_bus, size_t bus_size, char *ret_dev,
			 size_t dev_size)
{
	const struct nlattr *tb[ATTR_MAX + 1] = { 0 };

	if (genl_parse(nlh, tb, ATTR_MAX) < 0)
		return -EBADMSG;
	return parse_device(tb, ret_bus, bus_size, ret_dev, dev_size);
}

int devlink_parse_port(const struct nlmsghdr *nlh, struct devlink_port *ret)
{
	const struct nlattr *tb[ATTR_MAX + 1] = { 0 };
	struct devlink_port port = { .vf = -1 };
	uint16_t flavour, vf;
	uint8_t external;
	uint32_t ifindex;

	if (genl_parse(nlh, tb, ATTR_MAX) < 0 ||
	    parse_device(tb, port.bus, sizeof(port.bus), port.dev, sizeof(port.dev)) < 0 ||
	    !nla_u32(tb[DEVLINK_ATTR_PORT_INDEX], &port.index))
		return -EBADMSG;
	if (nla_u32(tb[DEVLINK_ATTR_PORT_NETDEV_IFINDEX], &ifindex) && ifindex <= INT32_MAX)
		port.ifindex = (int)ifindex;
	/* External: on a card with a computer of its own, a VF of the host that the card is in. */
	if (nla_u8(tb[DEVLINK_ATTR_PORT_EXTERNAL], &external) && external)
		flavour = DEVLINK_PORT_FLAVOUR_UNUSED;
	else if (!nla_u16(tb[DEVLINK_ATTR_PORT_FLAVOUR], &flavour))
		flavour = DEVLINK_PORT_FLAVOUR_PHYSICAL;
	if (flavour == DEVLINK_PORT_FLAVOUR_PCI_VF &&
	    nla_u16(tb[DEVLINK_ATTR_PORT_PCI_VF_NUMBER], &vf) && vf < PF_VFS_MAX)
		port.vf = vf;
	*ret = port;
	return 0;
}

int devlink_parse_eswitch(const struct nlmsghdr *nlh, enum eswitch_mode *ret)
{
	const struct nlattr *tb[ATTR_MAX + 1] = { 0 };
	uint16_t mode;

	if (genl_parse(nlh, tb, ATTR_MAX) < 0 || !nla_u16(tb[DEVLINK_ATTR_ESWITCH_MODE], &mode))
		return -EBADMSG;
	*ret = mode == DEVLINK_ESWITCH_MODE_SWITCHDEV ? ESWITCH_SWITCHDEV
	       : mode == DEVLINK_ESWITCH_MODE_LEGACY  ? ESWITCH_LEGACY
						      : ESWITCH_NONE;
	return 0;
}

struct nlmsghdr *devlink_ask_eswitch(char *buf, const struct genl_family *family, const char *bus,
				     const char *dev)
{
	struct nlmsghdr *nlh = genl_request(buf, family, DEVLINK_CMD_ESWITCH_GET, false);

	mnl_attr_put_strz(nlh, DEVLINK_ATTR_BUS_NAME, bus);
	mnl_attr_put_strz(nlh, DEVLINK_ATTR_DEV_NAME, dev);
	return nlh;
}

struct nlmsghdr *devlink_ask_ports(char *buf, const struct genl_family *family)
{
	return genl_request(buf, family, DEVLINK_CMD_PORT_GET, true);
}
