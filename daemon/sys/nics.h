/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PFs and their VFs in the inventory: joins sysfs, the VFs' attributes from the PFs' drivers, devlink and
 * ethtool, and who has which VF. Written piece by piece as events come; asked anew where some were lost.
 */
#pragma once

#include "daemon/model/link.h"
#include "daemon/sys/genl.h"
#include "daemon/sys/loop.h"

struct nics;

struct nics_ops {
	/* @pf is new or changed; several changes are told once, from the loop. */
	void (*changed)(void *userdata, const struct vnic_pf *pf);
	void (*removed)(void *userdata, const char *addr);
	/* For the log. */
	void (*note)(void *userdata, int level, const char *text);
	/* Nothing is left to be read or answered. */
	void (*idle)(void *userdata);
	/* The vDPA device on VF @addr, or NULL. */
	const char *(*vdpa)(void *userdata, const char *addr);
};

/* @inv's links are written by others, its PFs by this. Nothing is read before the loop runs. */
int nics_new(struct loop *loop, struct inventory *inv, struct genl *genl,
	     const struct nics_ops *ops, void *userdata, struct nics **ret);
struct nics *nics_free(struct nics *nics);
DEFINE_CLEANUP(struct nics *, nics_free)

/* Read all anew. */
void nics_resync(struct nics *nics);
bool nics_idle(const struct nics *nics);

/* The netdev of VF @addr: its ifindex, 0 where it has none here, -1 where no VF has that address. */
int nics_vf_ifindex(const struct nics *nics, const char *addr);
/* Something happened to function @addr of bus @bus. */
void nics_device_event(struct nics *nics, const char *bus, const char *addr);
/* The kernel spoke of link @ifindex, perhaps to say nothing new: VFs' attributes are told so. */
void nics_link_heard(struct nics *nics, int ifindex);
/* A link came (@old NULL), went (@new NULL) or changed; the inventory has it already. */
void nics_link_changed(struct nics *nics, const struct vnic_link *old, const struct vnic_link *new);
/* A vDPA device was put on a function, or taken from it. */
void nics_vdpa_changed(struct nics *nics, const char *addr);

/* Those that domains have, all of them; @device is copied. 0, or -ENOMEM: nothing has changed. */
int nics_domain_devices(struct nics *nics, const struct domain_device *device, size_t n);

/* After our own writes: read PF @addr with all of its VFs, or VF @addr alone with its attributes. */
void nics_refresh_pf(struct nics *nics, const char *addr);
void nics_refresh_vf(struct nics *nics, const char *addr);
