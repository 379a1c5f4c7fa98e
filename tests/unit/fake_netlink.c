/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/fake_netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/devlink.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/vdpa.h>
#include <linux/virtio_ids.h>

#include "daemon/sys/nlsock.h"
#include "daemon/sys/udev.h"

#define SOCKETS_MAX 8
#define PACK_SIZE   32768
#define MESSAGE_MAX (128 << 10)
#define DEVLINK_ID  30
#define ETHTOOL_ID  31
#define VDPA_ID	    32

struct datagram {
	struct datagram *next;
	size_t size;
	bool from_kernel;
	char data[];
};

struct queue {
	int fd; /* -1: free */
	int protocol;
	uint32_t portid;
	bool multicast, overrun;
	struct datagram *first, **last;
};

struct fake_kernel kernel;
static struct queue queues[SOCKETS_MAX];
static const struct udev_watch_ops *udev_ops;
static void *udev_userdata;
static char message[MESSAGE_MAX] __attribute__((aligned(8)));

static struct queue *queue_of(int fd)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (queues[i].fd == fd)
			return &queues[i];
	abort();
}

static void push(struct queue *q, const void *data, size_t size, bool from_kernel)
{
	struct datagram *d = malloc(sizeof(*d) + size);
	const uint64_t one = 1;

	if (!d)
		abort();
	*d = (struct datagram){ .size = size, .from_kernel = from_kernel };
	memcpy(d->data, data, size);
	*q->last = d;
	q->last = &d->next;
	if (write(q->fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void pop(struct queue *q)
{
	struct datagram *d = q->first;
	uint64_t n;

	q->first = d->next;
	if (!q->first) {
		q->last = &q->first;
		if (!q->overrun && read(q->fd, &n, sizeof(n)) < 0)
			abort();
	}
	free(d);
}

void fake_datagram(int protocol, const void *data, size_t size, bool from_kernel)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (queues[i].fd > 0 && queues[i].protocol == protocol)
			push(&queues[i], data, size, from_kernel);
}

static void multicast(int protocol, const struct nlmsghdr *nlh)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (queues[i].fd > 0 && queues[i].protocol == protocol && queues[i].multicast)
			push(&queues[i], nlh, nlh->nlmsg_len, true);
}

int nlsock_open(struct nlsock *s, int protocol, uint32_t groups, int rcvbuf)
{
	static uint32_t portid = 1000;
	struct queue *q = NULL;

	(void)rcvbuf;
	for (int i = 0; i < SOCKETS_MAX && !q; i++)
		if (queues[i].fd <= 0)
			q = &queues[i];
	if (!q)
		abort();
	*q = (struct queue){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
			     .protocol = protocol,
			     .portid = ++portid,
			     .multicast = groups };
	q->last = &q->first;
	s->fd = q->fd;
	s->portid = q->portid;
	s->buf = NULL;
	return 0;
}

void nlsock_close(struct nlsock *s)
{
	struct queue *q;

	free(s->buf);
	s->buf = NULL;
	if (s->fd < 0)
		return;
	q = queue_of(s->fd);
	q->overrun = true;
	while (q->first)
		pop(q);
	close(q->fd);
	q->fd = s->fd = -1;
}

int nlsock_join(struct nlsock *s, uint32_t group)
{
	(void)group;
	queue_of(s->fd)->multicast = true;
	return 0;
}

ssize_t nlsock_recv(struct nlsock *s)
{
	struct queue *q = queue_of(s->fd);
	struct datagram *d = q->first;
	ssize_t n;
	uint64_t v;

	if (q->overrun) {
		q->overrun = false;
		if (!d && read(q->fd, &v, sizeof(v)) < 0)
			abort();
		return -ENOBUFS;
	}
	if (!d)
		return 0;
	/* Exactly as large as what is in it, so that sanitizers see a read beyond. */
	free(s->buf);
	s->buf = malloc(d->size);
	if (!s->buf)
		abort();
	memcpy(s->buf, d->data, d->size);
	n = d->from_kernel ? (ssize_t)d->size : -EXDEV;
	pop(q);
	return n;
}

void fake_overrun(void)
{
	const uint64_t one = 1;

	for (int i = 0; i < SOCKETS_MAX; i++)
		if (queues[i].fd > 0) {
			queues[i].overrun = true;
			if (write(queues[i].fd, &one, sizeof(one)) != sizeof(one))
				abort();
		}
}

static struct nlmsghdr *begin(uint16_t type, uint16_t flags, const struct nlmsghdr *request,
			      uint32_t portid)
{
	struct nlmsghdr *nlh;

	/* The longest header and attributes' padding are zero; each message writes the rest. */
	memset(message, 0, 256);
	nlh = mnl_nlmsg_put_header(message);
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = flags;
	nlh->nlmsg_seq = request ? request->nlmsg_seq : 0;
	nlh->nlmsg_pid = portid;
	return nlh;
}

static struct nlmsghdr *begin_genl(uint16_t type, uint8_t cmd, const struct nlmsghdr *request,
				   uint32_t portid)
{
	struct nlmsghdr *nlh = begin(type, 0, request, portid);
	struct genlmsghdr *g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));

	g->cmd = cmd;
	g->version = 1;
	return nlh;
}

static void end(struct queue *q, const struct nlmsghdr *request, int error)
{
	bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	struct nlmsghdr *nlh =
		begin(dump && !error ? NLMSG_DONE : NLMSG_ERROR, 0, request, q->portid);
	struct nlmsgerr *e = mnl_nlmsg_put_extra_header(nlh, sizeof(*e));

	e->error = error;
	e->msg = *request;
	push(q, nlh, nlh->nlmsg_len, true);
}

static void answer(struct queue *q, const struct nlmsghdr *nlh)
{
	if (kernel.record)
		kernel.record(nlh);
	push(q, nlh, nlh->nlmsg_len, true);
}

/* Drivers leave what they do not tell at -1. */
static uint32_t setting_of(const struct vf_info *vf, enum vf_attr attr)
{
	return vf->known & 1u << attr ? (uint32_t)vf->value[attr] : UINT32_MAX;
}

static void put_setting(struct nlmsghdr *nlh, uint16_t type, int index, uint32_t value)
{
	struct ifla_vf_trust s = { (uint32_t)index, value };

	mnl_attr_put(nlh, type, sizeof(s), &s);
}

static void put_vf(struct nlmsghdr *nlh, int index, const struct vf_info *vf)
{
	const int64_t vlan = vf->value[VF_VLAN], rate = vf->value[VF_RATE];
	struct ifla_vf_mac mac = { .vf = (uint32_t)index };
	struct ifla_vf_vlan v = { (uint32_t)index, vlan & 0xfff, vlan >> 12 & 7 };
	struct ifla_vf_vlan_info info = { v.vf, v.vlan, v.qos,
					  htons(vlan >> 16 ? (uint16_t)(vlan >> 16) : 0x8100) };
	struct ifla_vf_rate r = { (uint32_t)index, (uint32_t)(rate >> 32), (uint32_t)rate };
	struct nlattr *nest = mnl_attr_nest_start(nlh, IFLA_VF_INFO), *list;

	vf_value_mac(vf->value[VF_MAC], mac.mac);
	mnl_attr_put(nlh, IFLA_VF_MAC, sizeof(mac), &mac);
	mnl_attr_put(nlh, IFLA_VF_BROADCAST, 32, mac.mac);
	mnl_attr_put(nlh, IFLA_VF_VLAN, sizeof(v), &v);
	mnl_attr_put(nlh, IFLA_VF_RATE, sizeof(r), &r);
	put_setting(nlh, IFLA_VF_TX_RATE, index, r.max_tx_rate);
	put_setting(nlh, IFLA_VF_SPOOFCHK, index, setting_of(vf, VF_SPOOFCHK));
	put_setting(nlh, IFLA_VF_LINK_STATE, index, (uint32_t)vf->value[VF_LINK_STATE]);
	put_setting(nlh, IFLA_VF_RSS_QUERY_EN, index, setting_of(vf, VF_RSS_QUERY));
	put_setting(nlh, IFLA_VF_TRUST, index, setting_of(vf, VF_TRUST));
	list = mnl_attr_nest_start(nlh, IFLA_VF_VLAN_LIST);
	mnl_attr_put(nlh, IFLA_VF_VLAN_INFO, sizeof(info), &info);
	mnl_attr_nest_end(nlh, list);
	mnl_attr_nest_end(nlh, nest);
}

static void put_vfs(struct nlmsghdr *nlh, const struct fake_link *link)
{
	int n = kernel.cut ? link->n_vf / 2 : link->n_vf;
	struct nlattr *list;

	mnl_attr_put_u32(nlh, IFLA_NUM_VF, (uint32_t)link->n_vf);
	if (!n)
		return;
	list = mnl_attr_nest_start(nlh, IFLA_VFINFO_LIST);
	for (int i = 0; i < n; i++)
		put_vf(nlh, i, &link->vf[i]);
	mnl_attr_nest_end(nlh, list);
}

static struct nlmsghdr *link_message(const struct fake_link *link, uint16_t type, bool vfs,
				     const struct nlmsghdr *request, uint32_t portid)
{
	static const uint8_t mac[6] = { 2 };
	struct nlmsghdr *nlh = begin(type, 0, request, portid);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	struct nlattr *nest;

	ifi->ifi_index = link->ifindex;
	ifi->ifi_flags = link->up ? IFF_UP | IFF_LOWER_UP : 0;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, link->name);
	mnl_attr_put(nlh, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(nlh, IFLA_MTU, 1500);
	if (link->master)
		mnl_attr_put_u32(nlh, IFLA_MASTER, (uint32_t)link->master);
	if (link->lower)
		mnl_attr_put_u32(nlh, IFLA_LINK, (uint32_t)link->lower);
	if (*link->dev) {
		mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_NAME, link->dev);
		mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_BUS_NAME, link->bus);
	}
	if (link->kind) {
		nest = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
		mnl_attr_put_strz(nlh, IFLA_INFO_KIND, link->kind);
		mnl_attr_nest_end(nlh, nest);
	}
	if (vfs)
		put_vfs(nlh, link);
	return nlh;
}

/* As the kernel: as many messages in a datagram as fit. */
static void dump_links(struct queue *q, const struct nlmsghdr *request)
{
	char *pack = malloc(PACK_SIZE);
	size_t used = 0;

	for (int i = 0; pack && i < kernel.n_links; i++) {
		struct nlmsghdr *nlh =
			link_message(kernel.link[i], RTM_NEWLINK, false, request, q->portid);

		nlh->nlmsg_flags |= NLM_F_MULTI;
		if (used + nlh->nlmsg_len > PACK_SIZE) {
			push(q, pack, used, true);
			used = 0;
		}
		memcpy(pack + used, nlh, nlh->nlmsg_len);
		used += NLMSG_ALIGN(nlh->nlmsg_len);
	}
	if (used)
		push(q, pack, used, true);
	free(pack);
	end(q, request, 0);
}

static void on_route(struct queue *q, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct fake_link *link;

	if (nlh->nlmsg_flags & NLM_F_DUMP) {
		dump_links(q, nlh);
		return;
	}
	kernel.info_requests++;
	if (kernel.silent)
		return;
	link = fake_link_find(ifi->ifi_index);
	if (link && !kernel.emsgsize)
		answer(q, link_message(link, RTM_NEWLINK, true, nlh, q->portid));
	end(q, nlh, !link ? -ENODEV : kernel.emsgsize ? -EMSGSIZE : 0);
}

static void family_message(uint8_t cmd, const char *name, uint16_t id, const char *group,
			   const struct nlmsghdr *request, uint32_t portid)
{
	struct nlmsghdr *nlh = begin_genl(GENL_ID_CTRL, cmd, request, portid);
	struct nlattr *groups, *one;

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, name);
	mnl_attr_put_u16(nlh, CTRL_ATTR_FAMILY_ID, id);
	if (!group)
		return;
	groups = mnl_attr_nest_start(nlh, CTRL_ATTR_MCAST_GROUPS);
	one = mnl_attr_nest_start(nlh, 1);
	mnl_attr_put_u32(nlh, CTRL_ATTR_MCAST_GRP_ID, (uint32_t)id + 100);
	mnl_attr_put_strz(nlh, CTRL_ATTR_MCAST_GRP_NAME, group);
	mnl_attr_nest_end(nlh, one);
	mnl_attr_nest_end(nlh, groups);
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

static void on_ctrl(struct queue *q, const struct nlmsghdr *nlh)
{
	const struct nlattr *a = mnl_nlmsg_get_payload_offset(nlh, sizeof(struct genlmsghdr));

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (str_eq(mnl_attr_get_str(a), families[i].name) && *families[i].there) {
			family_message(CTRL_CMD_NEWFAMILY, families[i].name, families[i].id,
				       families[i].group, nlh, q->portid);
			answer(q, (void *)message);
			end(q, nlh, 0);
			return;
		}
	end(q, nlh, -ENOENT);
}

void fake_family_notify(const char *name, bool there)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (str_eq(name, families[i].name)) {
			family_message(there ? CTRL_CMD_NEWFAMILY : CTRL_CMD_DELFAMILY, name,
				       families[i].id, families[i].group, NULL, 0);
			multicast(NETLINK_GENERIC, (void *)message);
		}
}

static struct nlmsghdr *port_message(const struct fake_port *port, uint8_t cmd,
				     const struct nlmsghdr *request, uint32_t portid)
{
	struct nlmsghdr *nlh = begin_genl(DEVLINK_ID, cmd, request, portid);

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
	multicast(NETLINK_GENERIC,
		  port_message(port, there ? DEVLINK_CMD_PORT_NEW : DEVLINK_CMD_PORT_DEL, NULL, 0));
}

static void dump_ports(struct queue *q, const struct nlmsghdr *nlh)
{
	for (int i = 0; i < kernel.n_ports; i++) {
		struct nlmsghdr *m =
			port_message(&kernel.port[i], DEVLINK_CMD_PORT_NEW, nlh, q->portid);

		m->nlmsg_flags |= NLM_F_MULTI | (kernel.interrupted ? NLM_F_DUMP_INTR : 0);
		answer(q, m);
	}
	if (kernel.interrupted)
		kernel.interrupted--;
	end(q, nlh, 0);
}

static const struct fake_link *link_of_dev(const char *dev)
{
	for (int i = 0; i < kernel.n_links; i++)
		if (str_eq(kernel.link[i]->dev, dev))
			return kernel.link[i];
	return NULL;
}

static void on_devlink(struct queue *q, const struct nlmsghdr *nlh)
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
		end(q, nlh, !link || link->eswitch == -1 ? -ENODEV : -EOPNOTSUPP);
		return;
	}
	m = begin_genl(DEVLINK_ID, DEVLINK_CMD_ESWITCH_GET, nlh, q->portid);
	mnl_attr_put_strz(m, DEVLINK_ATTR_BUS_NAME, link->bus);
	mnl_attr_put_strz(m, DEVLINK_ATTR_DEV_NAME, link->dev);
	mnl_attr_put_u16(m, DEVLINK_ATTR_ESWITCH_MODE, (uint16_t)link->eswitch);
	answer(q, m);
	end(q, nlh, 0);
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

static void on_ethtool(struct queue *q, const struct nlmsghdr *nlh)
{
	const struct genlmsghdr *g = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a = mnl_nlmsg_get_payload_offset(nlh, sizeof(*g));
	int ifindex = (int)mnl_attr_get_u32(mnl_attr_get_payload(a));
	const struct fake_link *link = fake_link_find(ifindex);
	struct nlmsghdr *m;

	if (!link || (g->cmd == ETHTOOL_MSG_CHANNELS_GET && !link->channels_max)) {
		end(q, nlh, link ? -EOPNOTSUPP : -ENODEV);
		return;
	}
	m = begin_genl(ETHTOOL_ID,
		       g->cmd == ETHTOOL_MSG_CHANNELS_GET ? ETHTOOL_MSG_CHANNELS_GET_REPLY
							  : ETHTOOL_MSG_FEATURES_GET_REPLY,
		       nlh, q->portid);
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
	answer(q, m);
	end(q, nlh, 0);
}

void fake_features_notify(int ifindex)
{
	struct nlmsghdr *nlh = begin_genl(ETHTOOL_ID, ETHTOOL_MSG_FEATURES_NTF, NULL, 0);

	put_header(nlh, ifindex);
	multicast(NETLINK_GENERIC, nlh);
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

static void on_vdpa(struct queue *q, const struct nlmsghdr *nlh)
{
	const struct genlmsghdr *g = mnl_nlmsg_get_payload(nlh);

	for (int i = 0; g->cmd == VDPA_CMD_MGMTDEV_GET && i < kernel.n_mgmtdevs; i++) {
		const struct vdpa_mgmtdev *d = &kernel.mgmtdev[i];
		struct nlmsghdr *m = begin_genl(VDPA_ID, VDPA_CMD_MGMTDEV_NEW, nlh, q->portid);

		put_handle(m, d->name);
		mnl_attr_put_u64(m, VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES,
				 d->net ? 1u << VIRTIO_ID_NET : 0);
		mnl_attr_put_u64(m, VDPA_ATTR_DEV_SUPPORTED_FEATURES, d->features);
		mnl_attr_put_u32(m, VDPA_ATTR_DEV_MGMTDEV_MAX_VQS, d->max_vqp * 2 + 1);
		answer(q, m);
	}
	for (int i = 0; g->cmd == VDPA_CMD_DEV_GET && i < kernel.n_devs; i++) {
		const struct vdpa_dev *d = &kernel.dev[i];
		struct nlmsghdr *m = begin_genl(VDPA_ID, VDPA_CMD_DEV_NEW, nlh, q->portid);

		put_handle(m, d->mgmtdev);
		mnl_attr_put_strz(m, VDPA_ATTR_DEV_NAME, d->name);
		mnl_attr_put_u32(m, VDPA_ATTR_DEV_ID, d->device_id);
		mnl_attr_put_u32(m, VDPA_ATTR_DEV_VENDOR_ID, d->vendor_id);
		mnl_attr_put_u32(m, VDPA_ATTR_DEV_MAX_VQS, d->max_vqs);
		answer(q, m);
	}
	end(q, nlh, 0);
}

int nlsock_send(struct nlsock *s, const struct nlmsghdr *nlh)
{
	struct queue *q = queue_of(s->fd);

	kernel.requests++;
	if (q->protocol == NETLINK_ROUTE)
		on_route(q, nlh);
	else if (nlh->nlmsg_type == GENL_ID_CTRL)
		on_ctrl(q, nlh);
	else if (nlh->nlmsg_type == DEVLINK_ID && kernel.devlink)
		on_devlink(q, nlh);
	else if (nlh->nlmsg_type == ETHTOOL_ID && kernel.ethtool)
		on_ethtool(q, nlh);
	else if (nlh->nlmsg_type == VDPA_ID && kernel.vdpa)
		on_vdpa(q, nlh);
	else
		end(q, nlh, -ENOENT);
	return 0;
}

struct fake_link *fake_link_find(int ifindex)
{
	for (int i = 0; i < kernel.n_links; i++)
		if (kernel.link[i]->ifindex == ifindex)
			return kernel.link[i];
	return NULL;
}

void fake_link_notify(int ifindex)
{
	multicast(NETLINK_ROUTE,
		  link_message(fake_link_find(ifindex), RTM_NEWLINK, false, NULL, 0));
}

struct fake_link *fake_link_set(const struct fake_link *link, bool notify)
{
	struct fake_link *old = notify ? fake_link_find(link->ifindex) : NULL;

	/* Without notification many are made, which are all new. */
	if (!old) {
		kernel.link = reallocarray(kernel.link, (size_t)kernel.n_links + 1,
					   sizeof(struct fake_link *));
		old = calloc(1, sizeof(*old));
		if (!kernel.link || !old)
			abort();
		kernel.link[kernel.n_links++] = old;
	}
	if (old->vf != link->vf)
		free(old->vf);
	*old = *link;
	if (notify)
		fake_link_notify(link->ifindex);
	return old;
}

void fake_link_del(int ifindex)
{
	for (int i = 0; i < kernel.n_links; i++) {
		struct fake_link *link = kernel.link[i];

		if (link->ifindex != ifindex)
			continue;
		multicast(NETLINK_ROUTE, link_message(link, RTM_DELLINK, false, NULL, 0));
		kernel.link[i] = kernel.link[--kernel.n_links];
		free(link->vf);
		free(link);
		return;
	}
}

void fake_kernel_reset(void)
{
	for (int i = 0; i < kernel.n_links; i++) {
		free(kernel.link[i]->vf);
		free(kernel.link[i]);
	}
	free(kernel.link);
	kernel = (struct fake_kernel){ 0 };
}

struct udev_watch {
	int unused;
};

int udev_watch_new(struct loop *loop, const struct udev_watch_ops *ops, void *userdata,
		   struct udev_watch **ret)
{
	(void)loop;
	udev_ops = ops;
	udev_userdata = userdata;
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

struct udev_watch *udev_watch_free(struct udev_watch *watch)
{
	free(watch);
	return NULL;
}

void fake_udev(const char *subsystem, const char *sysname, const char *action)
{
	udev_ops->device(udev_userdata, subsystem, sysname, action);
}

void fake_udev_lost(void)
{
	udev_ops->lost(udev_userdata);
}
