/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What PFs' drivers answer: their VFs' attributes, the card's switch and its ports, features and queues. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <linux/devlink.h>
#include <linux/ethtool_netlink.h>

#include "daemon/sys/devlink.h"
#include "daemon/sys/ethtool.h"
#include "daemon/sys/nics_priv.h"
#include "daemon/sys/vfinfo.h"

/* Looks at a PF after which its VFs' attributes are asked for though VFs are missing. */
#define SETTLES_BEFORE_ASKING 5
/* How long events of VFs are gathered before their attributes are asked for. */
#define SOON_USEC 200000
/* What a guest has its VF's driver ask of the PF's (a MAC) is told to nobody: how often the PF is asked. */
#define POLL_USEC 2000000

/* Not an answer, but none: ask again. */
static bool is_transient(int error)
{
	return error == -ENOBUFS || error == -EINTR || error == -ETIMEDOUT || error == -EAGAIN ||
	       error == -EBUSY || error == -ENOMEM;
}

/* The PF that was asked about, if it is still the same. */
static struct nic *about_nic(struct nics *n, const struct nlcall_about *about)
{
	struct nic *nic = nics_find(n, about->dev);

	return nic && nic->pci.pf.ifindex == about->ifindex ? nic : NULL;
}

static struct nlcall_about about_of(const struct nic *nic)
{
	struct nlcall_about about = { .ifindex = nic->pci.pf.ifindex, .n = nic->pci.pf.num_vfs };

	strcpy(about.bus, nic->pci.pf.bus);
	strcpy(about.dev, nic->pci.pf.addr);
	return about;
}

static void note_cut(struct nics *n, struct nic *nic, int told, int count)
{
	if (nic->noted_info)
		return;
	nic->noted_info = true;
	nics_note(
		n, LOG_WARNING,
		"nic %s: the kernel tells the attributes of %d of its %d VFs only: they do not fit "
		"into one message; use fewer VFs",
		nic->pci.pf.addr, told, count);
}

static void on_info(void *userdata, const struct nlcall_about *about, const struct nlmsghdr *nlh)
{
	struct nics *n = userdata;
	struct nic *nic = about_nic(n, about);
	const struct vnic_pf *pf = nic ? nic_pf(n, nic) : NULL;
	_cleanup_(freep) struct vf_info *info = NULL;
	int told, count;

	if (!pf || !pf->n_vf)
		return;
	info = calloc((size_t)pf->n_vf, sizeof(*info));
	if (!info)
		return;
	told = vfinfo_parse(nlh, about->ifindex, info, pf->n_vf, &count);
	if (told < 0)
		return;
	if (told > 0 && told < count && told < pf->n_vf)
		note_cut(n, nic, told, count);
	for (int i = 0; i < pf->n_vf; i++) {
		struct vnic_vf vf = pf->vf[i];

		vf.known = info[i].known;
		memcpy(vf.value, info[i].value, sizeof(vf.value));
		vf_write(n, nic, &vf);
	}
}

static void on_info_done(void *userdata, const struct nlcall_about *about, int error)
{
	struct nics *n = userdata;
	struct nic *nic = nics_find(n, about->dev);

	if (!nic)
		return;
	nic->info_under_way = false;
	nics_mark(n);
	if (nic->pci.pf.ifindex != about->ifindex || is_transient(error)) {
		nic->ask_info = true;
		return;
	}
	if (error == -ENODEV)
		nic->stale_pf = true;
	else if (error == -EMSGSIZE)
		note_cut(n, nic, 0, about->n);
	nic->info_vfs = about->n;
}

static void ask_info(struct nics *n, struct nic *nic)
{
	static const struct nlcall_ops ops = { on_info, on_info_done };
	char buf[VFINFO_REQUEST_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlcall_about about = about_of(nic);
	const struct vnic_pf *pf = nic_pf(n, nic);

	if (!pf || !pf->ifindex || !pf->num_vfs) {
		nic->ask_info = false;
		return;
	}
	/* While VFs come, each answer would be told again with the next one. */
	if (nic->info_under_way ||
	    (pf->n_vf != pf->num_vfs && nic->settles < SETTLES_BEFORE_ASKING))
		return;
	if (nlcall(n->calls, vfinfo_ask(buf, pf->ifindex), &about, &ops, n) < 0)
		return;
	nic->ask_info = false;
	nic->info_under_way = true;
}

void nic_ask_info_soon(struct nics *n, struct nic *nic)
{
	nic->ask_info_soon = true;
	if (n->soon_set)
		return;
	n->soon_set = true;
	loop_timer_set(n->soon, SOON_USEC);
}

/* Somebody who gives a VF from one driver to another has done it by now. */
static void events_passed(struct nics *n, struct nic *nic)
{
	nic->ask_ethtool = nic->stale_pf = true;
	/* That an override was taken away is told to nobody. */
	for (int i = 0; i < nic->n_fn; i++)
		if (nic->fn[i]->overridden)
			fn_reread(n, nic->fn[i]);
}

static void on_soon(void *userdata)
{
	struct nics *n = userdata;

	n->soon_set = false;
	for (struct nic *nic = n->nics; nic; nic = nic->hh.next) {
		nic->ask_info |= nic->ask_info_soon;
		nic->ask_info_soon = false;
		if (nic->had_events)
			events_passed(n, nic);
		nic->had_events = false;
	}
	nics_mark(n);
}

void nics_poll(struct nics *n)
{
	if (n->poll_set)
		return;
	n->poll_set = true;
	loop_timer_set(n->poll, POLL_USEC);
}

static void on_poll(void *userdata)
{
	struct nics *n = userdata;

	n->poll_set = false;
	for (struct nic *nic = n->nics; nic; nic = nic->hh.next) {
		if (!nic->n_away)
			continue;
		nic->ask_info = true;
		nics_poll(n);
		nics_mark(n);
	}
}

static void set_eswitch(struct nics *n, struct nic *nic, enum eswitch_mode mode)
{
	const struct vnic_pf *pf = nic_pf(n, nic);
	struct vnic_pf copy;

	if (!pf || pf->eswitch == mode)
		return;
	copy = *pf;
	copy.eswitch = mode;
	nic_put(n, nic, &copy);
	n->ask_ports = true;
}

static void on_eswitch(void *userdata, const struct nlcall_about *about, const struct nlmsghdr *nlh)
{
	struct nics *n = userdata;
	struct nic *nic = nics_find(n, about->dev);
	enum eswitch_mode mode;

	if (nic && devlink_parse_eswitch(nlh, &mode) == 0)
		set_eswitch(n, nic, mode);
}

static void on_eswitch_done(void *userdata, const struct nlcall_about *about, int error)
{
	struct nics *n = userdata;
	struct nic *nic = nics_find(n, about->dev);

	if (!nic || error == 0)
		return;
	/* -EOPNOTSUPP: the driver has no such switch; -ENODEV: nor any devlink. */
	if (is_transient(error))
		nic->ask_eswitch = true;
	else
		set_eswitch(n, nic, ESWITCH_NONE);
	nics_mark(n);
}

static void ask_eswitch(struct nics *n, struct nic *nic)
{
	static const struct nlcall_ops ops = { on_eswitch, on_eswitch_done };
	char buf[GENL_REQUEST_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlcall_about about = about_of(nic);

	nic->ask_eswitch = false;
	if (n->devlink.id &&
	    genl_call(n->genl, devlink_ask_eswitch(buf, &n->devlink, about.bus, about.dev), &about,
		      &ops, n) < 0)
		nic->ask_eswitch = true;
}

static void set_representor(struct nics *n, struct nic *nic, int vf, int ifindex)
{
	const struct vnic_pf *pf = nic_pf(n, nic);
	struct vnic_vf copy;

	if (!pf || vf >= pf->n_vf || pf->vf[vf].representor == ifindex)
		return;
	copy = pf->vf[vf];
	copy.representor = ifindex;
	vf_write(n, nic, &copy);
}

static void on_port(void *userdata, const struct nlcall_about *about, const struct nlmsghdr *nlh)
{
	struct nics *n = userdata;
	struct devlink_port port;
	struct nic *nic;

	(void)about;
	if (devlink_parse_port(nlh, &port) < 0 || port.vf < 0)
		return;
	nic = nics_find(n, port.dev);
	if (!nic || !str_eq(nic->pci.pf.bus, port.bus))
		return;
	if (!nic->representor)
		nic->representor = calloc(PF_VFS_MAX, sizeof(*nic->representor));
	if (nic->representor)
		nic->representor[port.vf] = port.ifindex;
}

static void on_ports_done(void *userdata, const struct nlcall_about *about, int error)
{
	struct nics *n = userdata;

	(void)about;
	n->ports_under_way = false;
	if (is_transient(error)) {
		n->ask_ports = true;
		nics_mark(n);
	}
	for (struct nic *nic = n->nics; nic; nic = nic->hh.next) {
		_cleanup_(freep) int *representor = take_ptr(nic->representor);
		const struct vnic_pf *pf = nic_pf(n, nic);

		for (int i = 0; error == 0 && pf && i < pf->n_vf; i++)
			set_representor(n, nic, i, representor ? representor[i] : 0);
	}
}

static void ask_ports(struct nics *n)
{
	static const struct nlcall_ops ops = { on_port, on_ports_done };
	static const struct nlcall_about about;
	char buf[GENL_REQUEST_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));

	if (n->ports_under_way)
		return;
	n->ask_ports = false;
	if (!n->devlink.id)
		return;
	if (genl_call(n->genl, devlink_ask_ports(buf, &n->devlink), &about, &ops, n) < 0)
		n->ask_ports = true;
	else
		n->ports_under_way = true;
}

static void on_features(void *userdata, const struct nlcall_about *about,
			const struct nlmsghdr *nlh)
{
	struct nics *n = userdata;
	struct nic *nic = about_nic(n, about);
	const struct vnic_pf *pf = nic ? nic_pf(n, nic) : NULL;
	struct nic_features f;
	struct vnic_pf copy;

	if (!pf || ethtool_parse_features(nlh, &f) < 0 || f.ifindex != about->ifindex)
		return;
	copy = *pf;
	copy.fwd_offload = f.fwd_offload;
	copy.ntuple = f.ntuple;
	nic_put(n, nic, &copy);
}

static void on_channels(void *userdata, const struct nlcall_about *about,
			const struct nlmsghdr *nlh)
{
	struct nics *n = userdata;
	struct nic *nic = about_nic(n, about);
	const struct vnic_pf *pf = nic ? nic_pf(n, nic) : NULL;
	struct nic_channels c;
	struct vnic_pf copy;

	if (!pf || ethtool_parse_channels(nlh, &c) < 0 || c.ifindex != about->ifindex)
		return;
	copy = *pf;
	copy.channels_max = c.max;
	copy.channels = c.count;
	nic_put(n, nic, &copy);
}

static void on_ethtool_done(void *userdata, const struct nlcall_about *about, int error)
{
	struct nics *n = userdata;
	struct nic *nic = about_nic(n, about);

	if (!nic || !is_transient(error))
		return;
	nic->ask_ethtool = true;
	nics_mark(n);
}

/* A driver without netdev has no features; one that does not tell them has none either. */
static void clear_ethtool(struct nics *n, struct nic *nic)
{
	const struct vnic_pf *pf = nic_pf(n, nic);
	struct vnic_pf copy;

	if (!pf)
		return;
	copy = *pf;
	copy.fwd_offload = copy.ntuple = FEATURE_ABSENT;
	copy.channels = copy.channels_max = 0;
	nic_put(n, nic, &copy);
}

static void ask_ethtool(struct nics *n, struct nic *nic)
{
	static const struct nlcall_ops features = { on_features, on_ethtool_done },
				       channels = { on_channels, on_ethtool_done };
	char buf[GENL_REQUEST_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlcall_about about = about_of(nic);

	nic->ask_ethtool = false;
	if (!about.ifindex) {
		clear_ethtool(n, nic);
		return;
	}
	if (!n->ethtool.id)
		return;
	if (genl_call(n->genl, ethtool_ask_features(buf, &n->ethtool, about.ifindex), &about,
		      &features, n) < 0 ||
	    genl_call(n->genl, ethtool_ask_channels(buf, &n->ethtool, about.ifindex), &about,
		      &channels, n) < 0)
		nic->ask_ethtool = true;
}

void nics_ask_all(struct nics *n)
{
	for (struct nic *nic = n->nics; nic; nic = nic->hh.next) {
		if (nic->ask_info)
			ask_info(n, nic);
		if (nic->ask_eswitch)
			ask_eswitch(n, nic);
		if (nic->ask_ethtool)
			ask_ethtool(n, nic);
	}
	if (n->ask_ports)
		ask_ports(n);
}

bool nics_asking(const struct nics *n)
{
	return !nlcalls_idle(n->calls) || !genl_idle(n->genl);
}

static void on_devlink_appeared(void *userdata)
{
	struct nics *n = userdata;

	for (struct nic *nic = n->nics; nic; nic = nic->hh.next)
		nic->ask_eswitch = true;
	n->ask_ports = true;
	nics_mark(n);
}

static void on_devlink_vanished(void *userdata)
{
	struct nics *n = userdata;

	for (struct nic *nic = n->nics; nic; nic = nic->hh.next) {
		const struct vnic_pf *pf = nic_pf(n, nic);

		set_eswitch(n, nic, ESWITCH_NONE);
		for (int i = 0; pf && i < pf->n_vf; i++)
			set_representor(n, nic, i, 0);
	}
}

static void on_devlink(void *userdata, const struct nlmsghdr *nlh)
{
	struct nics *n = userdata;
	uint8_t cmd = genl_cmd(nlh);
	char bus[16], dev[DEV_ADDR_MAX];
	struct devlink_port port;
	struct nic *nic;

	/* The mode has no notification of its own: ports come and go with it. */
	if (devlink_parse_device(nlh, bus, sizeof(bus), dev, sizeof(dev)) < 0)
		return;
	nic = nics_find(n, dev);
	if (!nic || !str_eq(nic->pci.pf.bus, bus))
		return;
	if (cmd == DEVLINK_CMD_PORT_NEW && devlink_parse_port(nlh, &port) == 0 && port.vf >= 0)
		set_representor(n, nic, port.vf, port.ifindex);
	else if (cmd == DEVLINK_CMD_PORT_DEL)
		n->ask_ports = true;
	else if (cmd != DEVLINK_CMD_PORT_NEW && cmd != DEVLINK_CMD_NEW && cmd != DEVLINK_CMD_DEL)
		return;
	nic->ask_eswitch = true;
	nics_mark(n);
}

static void on_ethtool_appeared(void *userdata)
{
	struct nics *n = userdata;

	for (struct nic *nic = n->nics; nic; nic = nic->hh.next)
		nic->ask_ethtool = true;
	nics_mark(n);
}

static void on_ethtool_vanished(void *userdata)
{
	(void)userdata; /* it is built in, if it is there */
}

static void on_ethtool(void *userdata, const struct nlmsghdr *nlh)
{
	struct nics *n = userdata;
	int ifindex = ethtool_parse_changed(nlh);
	struct nic *nic = ifindex ? nics_find_ifindex(n, ifindex) : NULL;

	if (!nic)
		return;
	nic->ask_ethtool = true;
	nics_mark(n);
}

static void on_lost(void *userdata)
{
	(void)userdata; /* nothing is heard here unasked; the request under way is repeated */
}

static void on_idle(void *userdata)
{
	struct nics *n = userdata;

	if (nics_idle(n))
		n->ops->idle(n->userdata);
}

int nics_ask_new(struct nics *n)
{
	static const struct nlcalls_ops ops = { NULL, on_lost, on_idle };
	int r;

	n->devlink = (struct genl_family){ .name = DEVLINK_GENL_NAME,
					   .version = DEVLINK_GENL_VERSION,
					   .group = DEVLINK_GENL_MCGRP_CONFIG_NAME,
					   .appeared = on_devlink_appeared,
					   .vanished = on_devlink_vanished,
					   .notify = on_devlink,
					   .userdata = n };
	n->ethtool = (struct genl_family){ .name = ETHTOOL_GENL_NAME,
					   .version = ETHTOOL_GENL_VERSION,
					   .group = ETHTOOL_MCGRP_MONITOR_NAME,
					   .appeared = on_ethtool_appeared,
					   .vanished = on_ethtool_vanished,
					   .notify = on_ethtool,
					   .userdata = n };
	r = loop_add_timer(n->loop, on_soon, n, &n->soon);
	if (r == 0)
		r = loop_add_timer(n->loop, on_poll, n, &n->poll);
	if (r == 0)
		r = nlcalls_new(n->loop, NETLINK_ROUTE, &ops, n, &n->calls);
	if (r == 0)
		r = genl_follow(n->genl, &n->devlink);
	if (r == 0)
		r = genl_follow(n->genl, &n->ethtool);
	return r;
}

void nics_ask_free(struct nics *n)
{
	nlcalls_free(n->calls);
	loop_source_free(n->soon);
	loop_source_free(n->poll);
}
