/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's side of netlink, played: linked in place of daemon/sys/nlsock.c and udev.c, so that all of
 * daemon/sys above them is what it is in vnicd. Answers are there before the call that asks returns, as the
 * kernel's are.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/netlink.h>

#include "daemon/model/link.h"
#include "daemon/sys/vfinfo.h"

struct fake_link {
	int ifindex;
	char name[IFNAMSIZ], bus[16], dev[DEV_ADDR_MAX];
	const char *kind; /* "bridge", …; NULL: a nic's */
	bool up;
	int master, lower;
	int n_vf; /* what its driver tells of VFs */
	struct vf_info *vf;
	int eswitch; /* -1: no devlink, -2: no switch, else DEVLINK_ESWITCH_MODE_* */
	enum feature_state fwd_offload, ntuple;
	uint32_t channels_max, channels;
};

struct fake_port {
	char bus[16], dev[DEV_ADDR_MAX];
	uint32_t index;
	uint16_t flavour, vf;
	int ifindex;
};

#define FAKE_PORTS_MAX 64
#define FAKE_VDPA_MAX  16

struct fake_kernel {
	struct fake_link **link; /* n_links of them */
	int n_links;
	bool devlink, ethtool, vdpa; /* families that are there */
	struct fake_port port[FAKE_PORTS_MAX];
	int n_ports;
	struct vdpa_mgmtdev mgmtdev[FAKE_VDPA_MAX]; /* name and features, max_vqp doubled, net */
	int n_mgmtdevs;
	struct vdpa_dev dev[FAKE_VDPA_MAX];
	int n_devs;
	/* Tests' interference and what they look at: */
	bool emsgsize; /* links with VFs do not fit in a message */
	bool cut; /* the list of VFs is cut, as older kernels do */
	bool silent; /* requests for VFs are not answered */
	unsigned int interrupted; /* that many dumps of ports are cut into */
	unsigned int requests, info_requests;
	void (*record)(const struct nlmsghdr *nlh); /* called for each message of an answer */
};

extern struct fake_kernel kernel;

/* All as before the first test. */
void fake_kernel_reset(void);
/* Make or change a link; the copy's VFs are freed with it. @notify: say so. */
struct fake_link *fake_link_set(const struct fake_link *link, bool notify);
void fake_link_del(int ifindex);
struct fake_link *fake_link_find(int ifindex);
void fake_link_notify(int ifindex);
/* Messages were lost on all sockets: the next read of each is ENOBUFS. */
void fake_overrun(void);
/* nlctrl's word that @name came or went, with the flags above already changed. */
void fake_family_notify(const char *name, bool there);
/* devlink's and ethtool's notifications. */
void fake_port_notify(const struct fake_port *port, bool there);
void fake_features_notify(int ifindex);
/* A datagram of anything to the sockets of @protocol; @from_kernel false: from a process. */
void fake_datagram(int protocol, const void *data, size_t size, bool from_kernel);

/* What udev would tell. */
void fake_udev(const char *subsystem, const char *sysname, const char *action);
void fake_udev_lost(void);
