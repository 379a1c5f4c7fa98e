/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PFs and VFs as sysfs shows them, read anew each time: the state is in nics.c. */
#pragma once

#include "daemon/model/pf.h"

/* The test device netdevsim has VFs that are no functions of their own. */
#define NETDEVSIM_BUS "netdevsim"

struct pci_pf {
	struct vnic_pf pf; /* all that sysfs tells, without the VFs */
	int vf_offset, vf_stride; /* of the VFs' routing ids, 0: not said */
	bool busy; /* its number of VFs cannot be read now: it is being changed */
	bool grouped; /* it is in an IOMMU group, so its VFs will be */
};

struct pci_vf {
	struct vnic_vf vf; /* all that sysfs tells; user and group_shared are not filled in */
	bool net_dir; /* its driver made a netdev, wherever that is now */
};

/* Call @found for each nic of this host that can have VFs. */
void pci_scan(void (*found)(void *userdata, const char *bus, const char *addr), void *userdata);

/* -ENODEV where it is gone, no nic, or cannot have VFs */
int pci_read_pf(const char *bus, const char *addr, struct pci_pf *ret);
/* The PF's folder, for pci_vf_addr(); the caller closes it. */
int pci_open_pf(const char *bus, const char *addr);
/* Where VF @index is; false where it is not there (yet, or any more). */
bool pci_vf_addr(int pf_fd, int index, char *ret, size_t size);
/* The VF at @addr; -ENODEV where it is gone */
int pci_read_vf(int index, const char *addr, struct pci_vf *ret);

/* The PF whose VF @addr is; false where it is none. */
bool pci_physfn(const char *addr, char *ret, size_t size);
/* The index that VF @addr must have by its routing id (PCIe Base 5.0, 9.3.3.8 to 9.3.3.10), or -1. */
int pci_vf_index(const struct pci_pf *pf, const char *addr);

/* -1: none */
int pci_iommu_group(const char *addr);
/* Are there two functions or more in it, bridges apart? */
bool pci_group_shared(int group);

/* Does a VF with @driver have a netdev when it is ready? Not with vfio-pci and its like, nor as a vDPA parent. */
bool pci_driver_makes_netdev(const char *driver);
