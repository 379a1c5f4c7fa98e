/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generic netlink families of the played kernel: nlctrl, devlink, ethtool, vdpa. */
#include "tests/unit/fake_netlink_priv.h"

#include <errno.h>
#include <string.h>

#include <linux/devlink.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <linux/vdpa.h>
#include <linux/virtio_ids.h>

#define DEVLINK_ID 30
#define ETHTOOL_ID 31
#define VDPA_ID	   32

static struct nlmsghdr *begin_genl(uint16_t type, uint8_t cmd, const struct nlmsghdr *request,
				   const struct fake_queue *q)
{
	struct nlmsghdr *nlh = fake_begin(type, request, q);
	struct genlmsghdr *g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));

	g->cmd = cmd;
	g->version = 1;
	return nlh;
}

static struct nlmsghdr *family_message(uint8_t cmd, const char *name, uint16_t id,
				       const char *group, const struct nlmsghdr *request,
				       const struct fake_queue *q)
{
	struct nlmsghdr *nlh = begin_genl(GENL_ID_CTRL, cmd, request, q);
	struct nlattr *groups, *one;

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, name);
	mnl_attr_put_u16(nlh, CTRL_ATTR_FAMILY_ID, id);
	if (!group)
		return nlh;
	groups = mnl_attr_nest_start(nlh, CTRL_ATTR_MCAST_GROUPS);
	one = mnl_attr_nest_start(nlh, 1);
	mnl_attr_put_u32(nlh, CTRL_ATTR_MCAST_GRP_ID, (uint32_t)id + 100);
	mnl_attr_put_strz(nlh, CTRL_ATTR_MCAST_GRP_NAME, group);
	mnl_attr_nest_end(nlh, one);
	mnl_attr_nest_end(nlh, groups);
	return nlh;
}

static const struct {
	const char *name, *group;
	uint16_t id;
	const bool *there;
} families[] = {
	{ "devlink", "config", DEVLINK_ID, &kernel.devlink },
	{ "ethtool", "monitor", ETHTOOL_ID, &kernel.ethtool },
	{ "vdpa", NULL, VDPA_ID, &kernel.vdpa },
};

static void on_ctrl(struct fake_queue *q, const struct nlmsghdr *nlh)
{
	const struct nlattr *a = mnl_nlmsg_get_payload_offset(nlh, sizeof(struct genlmsghdr));

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (str_eq(mnl_attr_get_str(a), families[i].name) && *families[i].there) {
			fake_answer(q, family_message(CTRL_CMD_NEWFAMILY, families[i].name,
						      families[i].id, families[i].group, nlh, q));
			fake_end(q, nlh, 0);
			return;
		}
	fake_end(q, nlh, -ENOENT);
}

void fake_family_notify(const char *name, bool there)
{
	const uint8_t cmd = there ? CTRL_CMD_NEWFAMILY : CTRL_CMD_DELFAMILY;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (str_eq(name, families[i].name))
			fake_multicast(NETLINK_GENERIC,
				       family_message(cmd, name, families[i].id, families[i].group,
						      NULL, NULL));
}

static struct nlmsghdr *port_message(const struct fake_port *port, uint8_t cmd,
				     const struct nlmsghdr *request, const struct fake_queue *q)
{
	struct nlmsghdr *nlh = begin_genl(DEVLINK_ID, cmd, request, q);

	mnl_attr_put_strz(nlh, DEVLINK_ATTR_BUS_NAME, port->bus);
	mnl_attr_put_strz(nlh, DEVLINK_ATTR_DEV_NAME, port->dev);
	mnl_attr_put_u32(nlh, DEVLINK_ATTR_PORT_INDEX, port->index);
	mnl_attr_put_u16(nlh, DEVLINK_ATTR_PORT_FLAVOUR, port->flavour);
	if (port->ifindex)
		mnl_attr_put_u32(nlh, DEVLINK_ATTR_PORT_NETDEV_IFINDEX, (uint32_t)port->ifindex);
	if (port->flavour == DEVLINK_PORT_FLAVOUR_PCI_VF)
		mnl_attr_put_u16(nlh, DEVLINK_ATTR_PORT_PCI_VF_NUMBER, port->vf);
	return nlh;
}

void fake_port_notify(const struct fake_port *port, bool there)
{
	fake_multicast(NETLINK_GENERIC,
		       port_message(port, there ? DEVLINK_CMD_PORT_NEW : DEVLINK_CMD_PORT_DEL, NULL,
				    NULL));
}

static void dump_ports(struct fake_queue *q, const struct nlmsghdr *nlh)
{
	for (int i = 0; i < kernel.n_ports; i++) {
		struct nlmsghdr *m = port_message(&kernel.port[i], DEVLINK_CMD_PORT_NEW, nlh, q);

		m->nlmsg_flags |= NLM_F_MULTI | (kernel.interrupted ? NLM_F_DUMP_INTR : 0);
		fake_answer(q, m);
	}
	if (kernel.interrupted)
		kernel.interrupted--;
	fake_end(q, nlh, 0);
}

static const struct fake_link *link_of_dev(const char *dev)
{
	for (int i = 0; i < kernel.n_links; i++)
		if (str_eq(kernel.link[i]->dev, dev))
			return kernel.link[i];
	return NULL;
}

static void on_devlink(struct fake_queue *q, const struct nlmsghdr *nlh)
{
	const struct genlmsghdr *g = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a = mnl_nlmsg_get_payload_offset(nlh, sizeof(*g));
	const struct fake_link *link;
	struct nlmsghdr *m;

	if (g->cmd == DEVLINK_CMD_PORT_GET) {
		dump_ports(q, nlh);
		return;
	}
	link = link_of_dev(mnl_attr_get_str(mnl_attr_next(a)));
	if (!link || link->eswitch < 0) {
		fake_end(q, nlh, !link || link->eswitch == -1 ? -ENODEV : -EOPNOTSUPP);
		return;
	}
	m = begin_genl(DEVLINK_ID, DEVLINK_CMD_ESWITCH_GET, nlh, q);
	mnl_attr_put_strz(m, DEVLINK_ATTR_BUS_NAME, link->bus);
	mnl_attr_put_strz(m, DEVLINK_ATTR_DEV_NAME, link->dev);
	mnl_attr_put_u16(m, DEVLINK_ATTR_ESWITCH_MODE, (uint16_t)link->eswitch);
	fake_answer(q, m);
	fake_end(q, nlh, 0);
}

static void put_bit(struct nlmsghdr *nlh, const char *name, bool value)
{
	struct nlattr *bit = mnl_attr_nest_start(nlh, ETHTOOL_A_BITSET_BITS_BIT);

	mnl_attr_put_u32(nlh, ETHTOOL_A_BITSET_BIT_INDEX, 1);
	mnl_attr_put_strz(nlh, ETHTOOL_A_BITSET_BIT_NAME, name);
	if (value)
		mnl_attr_put(nlh, ETHTOOL_A_BITSET_BIT_VALUE, 0, NULL);
	mnl_attr_nest_end(nlh, bit);
}

/* The bits of one set: those features whose state is one of @on; with a mask all, with their value. */
static void put_set(struct nlmsghdr *nlh, uint16_t type, const struct fake_link *link, bool mask,
		    uint32_t on)
{
	struct nlattr *set = mnl_attr_nest_start(nlh, type), *bits;

	if (!mask)
		mnl_attr_put(nlh, ETHTOOL_A_BITSET_NOMASK, 0, NULL);
	bits = mnl_attr_nest_start(nlh, ETHTOOL_A_BITSET_BITS);
	put_bit(nlh, "tx-checksum-ipv4", true);
	if (link->fwd_offload && (mask || on >> link->fwd_offload & 1))
		put_bit(nlh, "l2-fwd-offload", mask ? on >> link->fwd_offload & 1 : false);
	if (link->ntuple && (mask || on >> link->ntuple & 1))
		put_bit(nlh, "rx-ntuple-filter", mask ? on >> link->ntuple & 1 : false);
	mnl_attr_nest_end(nlh, bits);
	mnl_attr_nest_end(nlh, set);
}

static void put_header(struct nlmsghdr *nlh, int ifindex)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, ETHTOOL_A_FEATURES_HEADER);

	mnl_attr_put_u32(nlh, ETHTOOL_A_HEADER_DEV_INDEX, (uint32_t)ifindex);
	mnl_attr_nest_end(nlh, nest);
}

static void on_ethtool(struct fake_queue *q, const struct nlmsghdr *nlh)
{
	const struct genlmsghdr *g = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a = mnl_nlmsg_get_payload_offset(nlh, sizeof(*g));
	int ifindex = (int)mnl_attr_get_u32(mnl_attr_get_payload(a));
	const struct fake_link *link = fake_link_find(ifindex);
	struct nlmsghdr *m;

	if (!link || (g->cmd == ETHTOOL_MSG_CHANNELS_GET && !link->channels_max)) {
		fake_end(q, nlh, link ? -EOPNOTSUPP : -ENODEV);
		return;
	}
	m = begin_genl(ETHTOOL_ID,
		       g->cmd == ETHTOOL_MSG_CHANNELS_GET ? ETHTOOL_MSG_CHANNELS_GET_REPLY
							  : ETHTOOL_MSG_FEATURES_GET_REPLY,
		       nlh, q);
	put_header(m, ifindex);
	if (g->cmd == ETHTOOL_MSG_CHANNELS_GET) {
		mnl_attr_put_u32(m, ETHTOOL_A_CHANNELS_COMBINED_MAX, link->channels_max);
		mnl_attr_put_u32(m, ETHTOOL_A_CHANNELS_COMBINED_COUNT, link->channels);
	} else {
		put_set(m, ETHTOOL_A_FEATURES_HW, link, true, 1 << FEATURE_OFF | 1 << FEATURE_ON);
		put_set(m, ETHTOOL_A_FEATURES_ACTIVE, link, false,
			1 << FEATURE_ON | 1 << FEATURE_ON_FIXED);
		put_set(m, ETHTOOL_A_FEATURES_NOCHANGE, link, false, 0);
	}
	fake_answer(q, m);
	fake_end(q, nlh, 0);
}

void fake_features_notify(int ifindex)
{
	struct nlmsghdr *nlh = begin_genl(ETHTOOL_ID, ETHTOOL_MSG_FEATURES_NTF, NULL, NULL);

	put_header(nlh, ifindex);
	fake_multicast(NETLINK_GENERIC, nlh);
}

static void put_handle(struct nlmsghdr *nlh, const char *name)
{
	const char *slash = strchr(name, '/');
	char bus[MGMTDEV_NAME_MAX];

	if (slash) {
		strcpy(bus, name);
		bus[slash - name] = '\0';
		mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_BUS_NAME, bus);
	}
	mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_DEV_NAME, slash ? slash + 1 : name);
}

static void on_vdpa(struct fake_queue *q, const struct nlmsghdr *nlh)
{
	const struct genlmsghdr *g = mnl_nlmsg_get_payload(nlh);

	for (int i = 0; g->cmd == VDPA_CMD_MGMTDEV_GET && i < kernel.n_mgmtdevs; i++) {
		const struct vdpa_mgmtdev *d = &kernel.mgmtdev[i];
		struct nlmsghdr *m = begin_genl(VDPA_ID, VDPA_CMD_MGMTDEV_NEW, nlh, q);

		put_handle(m, d->name);
		mnl_attr_put_u64(m, VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES,
				 d->net ? 1u << VIRTIO_ID_NET : 0);
		mnl_attr_put_u64(m, VDPA_ATTR_DEV_SUPPORTED_FEATURES, d->features);
		mnl_attr_put_u32(m, VDPA_ATTR_DEV_MGMTDEV_MAX_VQS, d->max_vqp * 2 + 1);
		fake_answer(q, m);
	}
	for (int i = 0; g->cmd == VDPA_CMD_DEV_GET && i < kernel.n_devs; i++) {
		const struct vdpa_dev *d = &kernel.dev[i];
		struct nlmsghdr *m = begin_genl(VDPA_ID, VDPA_CMD_DEV_NEW, nlh, q);

		put_handle(m, d->mgmtdev);
		mnl_attr_put_strz(m, VDPA_ATTR_DEV_NAME, d->name);
		mnl_attr_put_u32(m, VDPA_ATTR_DEV_ID, d->device_id);
		mnl_attr_put_u32(m, VDPA_ATTR_DEV_VENDOR_ID, d->vendor_id);
		mnl_attr_put_u32(m, VDPA_ATTR_DEV_MAX_VQS, d->max_vqs);
		fake_answer(q, m);
	}
	fake_end(q, nlh, 0);
}

void fake_on_genl(struct fake_queue *q, const struct nlmsghdr *nlh)
{
	if (nlh->nlmsg_type == GENL_ID_CTRL)
		on_ctrl(q, nlh);
	else if (nlh->nlmsg_type == DEVLINK_ID && kernel.devlink)
		on_devlink(q, nlh);
	else if (nlh->nlmsg_type == ETHTOOL_ID && kernel.ethtool)
		on_ethtool(q, nlh);
	else if (nlh->nlmsg_type == VDPA_ID && kernel.vdpa)
		on_vdpa(q, nlh);
	else
		fake_end(q, nlh, -ENOENT);
}
