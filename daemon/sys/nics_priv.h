/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between nics.c (what is there), vfs.c (each VF) and nics_ask.c (what drivers answer). */
#pragma once

#include "daemon/sys/nics.h"
#include "daemon/sys/pci.h"

struct nic;

/* An IOMMU group that has VFs. */
struct group {
	int id;
	bool shared;
	struct fn *fns; /* a utlist */
	UT_hash_handle hh;
};

/* A VF that is a PCI function. What is known of it is in the inventory; this finds it there. */
struct fn {
	char addr[DEV_ADDR_MAX];
	struct nic *nic;
	int index;
	int ifindex; /* by which it is in nics->by_ifindex, 0: it is not */
	bool net_dir; /* see struct pci_vf */
	bool away; /* a driver for user space has it: a guest, which asks the PF's for what it likes */
	bool overridden; /* it has no driver, and an override that says which it takes */
	bool whole; /* group and netdev are there, as far as they are to come */
	struct group *group;
	struct fn *prev, *next; /* in its group */
	UT_hash_handle hh, hh_if;
};

struct nic {
	struct pci_pf pci; /* as last read; the addresses are the key */
	struct fn **fn; /* n_fn of them by index; a netdevsim has none */
	int n_fn;
	int not_whole, n_away; /* of them */
	bool stale; /* the PF and all VFs are to be read */
	bool stale_pf; /* the PF is, and VFs that are new or not whole */
	bool told; /* something changed since pf_changed */
	/* What is to be asked, and what is under way; info_vfs: VFs when the last answer came, -1: none */
	bool ask_info, ask_eswitch, ask_ethtool, info_under_way;
	bool ask_info_soon; /* with n->soon: a VF's driver may have made the PF's take another MAC */
	bool had_events; /* with n->soon: things happened to VFs, and there is more to it than is told */
	int info_vfs;
	bool noted_info; /* that not all VFs' attributes can be had */
	unsigned int settles; /* looks at what does not get complete */
	int *representor; /* while ports are read: ifindex by VF */
	UT_hash_handle hh;
};

/* How many links stand on a link. */
struct stacked {
	int ifindex;
	int n;
	UT_hash_handle hh;
};

/* A device that a domain has. */
struct taken {
	struct domain_device device;
	UT_hash_handle hh;
};

struct nics {
	struct loop *loop;
	struct inventory *inv;
	struct genl *genl;
	const struct nics_ops *ops;
	void *userdata;
	struct nic *nics; /* by pci.pf.addr */
	struct fn *fns, *by_ifindex;
	struct group *groups;
	struct stacked *stacked;
	struct taken *taken; /* by device.addr */
	struct nlcalls *calls; /* for VFs' attributes */
	struct genl_family devlink, ethtool;
	struct loop_source *flush, *settle, *soon, *poll;
	bool soon_set, poll_set;
	bool scan; /* PFs are to be looked for */
	bool function_went;
	bool marked; /* flush is to run */
	bool ask_ports, ports_under_way;
};

/* nics.c */
void nics_mark(struct nics *n);
struct nic *nics_find(const struct nics *n, const char *addr);
struct nic *nics_find_ifindex(const struct nics *n, int ifindex);
/* Write @pf without its VFs into the inventory. */
void nic_put(struct nics *n, struct nic *nic, const struct vnic_pf *pf);
const struct vnic_pf *nic_pf(const struct nics *n, const struct nic *nic);
void __attribute__((format(printf, 3, 4)))
nics_note(struct nics *n, int level, const char *fmt, ...);

/* vfs.c */
/* Write @vf into the inventory and remember that something changed. */
int vf_write(struct nics *n, struct nic *nic, const struct vnic_vf *vf);
/* Read all of @nic's VFs, or with @some only what is new or not whole. */
void vfs_read(struct nics *n, struct nic *nic, bool some);
void vfs_trim(struct nics *n, struct nic *nic, int from);
void fn_reread(struct nics *n, struct fn *fn);
/* Who has it, and is it whole, by what the inventory says now. */
void fn_judge(struct nics *n, struct fn *fn);
struct fn *fn_find(const struct nics *n, const char *addr);
struct fn *fn_find_ifindex(const struct nics *n, int ifindex);
void group_reread(struct nics *n, int id);
/* A function went, which no longer says of which group: perhaps a VF is alone now. */
void groups_reread_shared(struct nics *n);
/* Count @by more links on link @ifindex (0: none). */
void stacked_count(struct nics *n, int ifindex, int by);
void vfs_free(struct nics *n);

/* nics_ask.c */
int nics_ask_new(struct nics *n);
void nics_ask_free(struct nics *n);
/* Ask for the attributes of @nic's VFs, but not at each of many events. */
void nic_ask_info_soon(struct nics *n, struct nic *nic);
/* Some VF is with a guest: its PF is asked every few seconds, until none is. */
void nics_poll(struct nics *n);
/* Send what is marked as to be asked. */
void nics_ask(struct nics *n, struct nic *nic);
void nics_ask_all(struct nics *n);
bool nics_asking(const struct nics *n);
