/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/pci.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/model/link.h"
#include "daemon/sys/lockedattr.h"
#include "daemon/sys/sysfs.h"

#define CLASS_NETWORK 0x02 /* PCI Code and ID Assignment Specification, 1.3 */
#define CLASS_BRIDGE  0x06
#define GROUP_MAX     INT_MAX
/* What netdevsim allows unless debugfs says otherwise (drivers/net/netdevsim/dev.c). */
#define NETDEVSIM_VFS 4

/* Base class of a function, -1 where it does not say: "0x020000". */
static int base_class(int fd)
{
	char text[16], *end;
	unsigned long class;

	if (!sysfs_text(fd, "class", text, sizeof(text)) || strncmp(text, "0x", 2) != 0)
		return -1;
	class = strtoul(text + 2, &end, 16);
	return *end || class > 0xffffff ? -1 : (int)(class >> 16);
}

static void scan_bus(const char *bus, const char *attr,
		     void (*found)(void *userdata, const char *bus, const char *addr),
		     void *userdata)
{
	_cleanup_(closedirp) DIR *dir = NULL;
	_cleanup_(closep) int fd = -1;
	char folder[64], file[PATH_MAX];
	const struct dirent *e;

	snprintf(folder, sizeof(folder), "bus/%s", bus);
	fd = sysfs_open(folder);
	if (fd < 0)
		return;
	dir = sysfs_dir_at(fd, "devices");
	while (dir && (e = readdir(dir))) {
		snprintf(file, sizeof(file), "devices/%s/%s", e->d_name, attr);
		if (sysfs_component_valid(e->d_name) && faccessat(fd, file, F_OK, 0) == 0)
			found(userdata, bus, e->d_name);
	}
}

void pci_scan(void (*found)(void *userdata, const char *bus, const char *addr), void *userdata)
{
	scan_bus("pci", "sriov_totalvfs", found, userdata);
	scan_bus(NETDEVSIM_BUS, "sriov_numvfs", found, userdata);
}

/* Of the netdevs in a PF's folder: one that stands for another function. */
static bool is_representor(int fd, const char *ifname)
{
	char file[NAME_MAX + 32], name[64];

	snprintf(file, sizeof(file), "%s/phys_port_name", ifname);
	return sysfs_text(fd, file, name, sizeof(name)) && port_name_is_representor(name);
}

/* The netdev's ifindex in folder net of device @fd, 0: none here. @ret_dir: whether that folder is there. */
static int read_netdev(int fd, bool pf, bool *ret_dir)
{
	_cleanup_(closedirp) DIR *dir = sysfs_dir_at(fd, "net");
	char file[NAME_MAX + 32];
	const struct dirent *e;
	int best = 0, n = 0;

	*ret_dir = dir;
	/*
	 * Of several netdevs the oldest is the function's own: others are representors or, on a nic with
	 * more ports than functions, its other ports. Asking for a port's name is dear (it takes the
	 * kernel's lock of all links), so it is done where there is a choice.
	 */
	for (int round = 0; dir && round < 2; round++) {
		rewinddir(dir);
		best = 0;
		while ((e = readdir(dir))) {
			int ifindex;

			if (!ifname_valid(e->d_name))
				continue;
			snprintf(file, sizeof(file), "%s/ifindex", e->d_name);
			ifindex = sysfs_number(dirfd(dir), file, 1, INT_MAX, 0);
			if (!ifindex || (round && is_representor(dirfd(dir), e->d_name)))
				continue;
			n++;
			if (!best || ifindex < best)
				best = ifindex;
		}
		if (!pf || n < 2)
			break;
	}
	return best;
}

static int netdevsim_total(const char *addr)
{
	_cleanup_(closep) int fd = -1;
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "kernel/debug/netdevsim/%s", addr);
	fd = sysfs_open(dir);
	return fd < 0 ? NETDEVSIM_VFS
		      : sysfs_number(fd, "max_vfs", 0, SYSFS_VFS_MAX, NETDEVSIM_VFS);
}

int pci_read_pf(const char *bus, const char *addr, struct pci_pf *ret)
{
	struct pci_pf p = { .pf = { .numa_node = -1 } };
	bool pci = str_eq(bus, "pci"), dir;
	_cleanup_(closep) int fd = sysfs_open_device(bus, addr);
	char text[16];

	if (fd < 0 || str_copy(p.pf.addr, sizeof(p.pf.addr), addr) < 0 ||
	    str_copy(p.pf.bus, sizeof(p.pf.bus), bus) < 0)
		return -ENODEV;
	p.pf.total_vfs = pci ? sysfs_number(fd, "sriov_totalvfs", 0, SYSFS_VFS_MAX, -1)
			     : netdevsim_total(addr);
	p.pf.num_vfs = locked_number(fd, "sriov_numvfs", 0, SYSFS_VFS_MAX, -1, &p.busy);
	if (p.busy)
		p.pf.num_vfs = 0;
	if (p.pf.total_vfs < 0 || p.pf.num_vfs < 0 || (pci && base_class(fd) != CLASS_NETWORK))
		return -ENODEV;
	if (p.pf.num_vfs > p.pf.total_vfs)
		return -ENODEV;
	if (!sysfs_link(fd, "driver", p.pf.driver, sizeof(p.pf.driver)))
		p.pf.driver[0] = '\0';
	p.pf.numa_node = sysfs_number(fd, "numa_node", -1, SYSFS_NUMA_MAX, -1);
	p.pf.autoprobe = pci && sysfs_number(fd, "sriov_drivers_autoprobe", 0, 1, 1);
	p.pf.ifindex = read_netdev(fd, true, &dir);
	p.vf_offset = sysfs_number(fd, "sriov_offset", 1, 0xffff, 0);
	p.vf_stride = sysfs_number(fd, "sriov_stride", 1, 0xffff, 0);
	p.grouped = sysfs_link(fd, "iommu_group", text, sizeof(text));
	*ret = p;
	return 0;
}

int pci_open_pf(const char *bus, const char *addr)
{
	return sysfs_open_device(bus, addr);
}

bool pci_vf_addr(int pf_fd, int index, char *ret, size_t size)
{
	char name[32];

	snprintf(name, sizeof(name), "virtfn%d", index);
	return sysfs_link(pf_fd, name, ret, size) && sysfs_pci_address(ret);
}

static int group_of(int fd)
{
	char text[16];
	uint64_t v;

	return sysfs_link(fd, "iommu_group", text, sizeof(text)) &&
			       u64_parse(text, 0, GROUP_MAX, &v) == 0
		       ? (int)v
		       : -1;
}

/* A device that a process has open by vfio is locked while somebody unbinds it; other drivers let go at once. */
static bool read_override(int fd, const char *driver, char *ret, size_t size)
{
	if (!*driver || pci_driver_makes_netdev(driver))
		return sysfs_text(fd, "driver_override", ret, size);
	return locked_text(fd, "driver_override", ret, size) == 0;
}

int pci_read_vf(int index, const char *addr, struct pci_vf *ret)
{
	struct pci_vf v = { .vf = vf_unknown(index) };
	_cleanup_(closep) int fd = sysfs_open_device("pci", addr);
	char override[DRIVER_NAME_MAX];

	if (fd < 0 || str_copy(v.vf.addr, sizeof(v.vf.addr), addr) < 0)
		return -ENODEV;
	if (!sysfs_link(fd, "driver", v.vf.driver, sizeof(v.vf.driver)))
		v.vf.driver[0] = '\0';
	if (read_override(fd, v.vf.driver, override, sizeof(override)) &&
	    !str_eq(override, "(null)"))
		strcpy(v.vf.driver_override, override);
	v.vf.iommu_group = group_of(fd);
	v.vf.numa_node = sysfs_number(fd, "numa_node", -1, SYSFS_NUMA_MAX, -1);
	v.vf.ifindex = read_netdev(fd, false, &v.net_dir);
	*ret = v;
	return 0;
}

bool pci_physfn(const char *addr, char *ret, size_t size)
{
	_cleanup_(closep) int fd = sysfs_open_device("pci", addr);

	return fd >= 0 && sysfs_link(fd, "physfn", ret, size) && sysfs_pci_address(ret);
}

/* Domain, and the routing id: bus, device and function. */
static bool routing_id(const char *addr, unsigned int *ret_domain, int *ret_rid)
{
	unsigned int domain, bus, dev, fn;

	if (!sysfs_pci_address(addr) ||
	    sscanf(addr, "%x:%x:%x.%x", &domain, &bus, &dev, &fn) != 4 || dev > 31)
		return false;
	*ret_domain = domain;
	*ret_rid = (int)(bus << 8 | dev << 3 | fn);
	return true;
}

int pci_vf_index(const struct pci_pf *pf, const char *addr)
{
	unsigned int domain, vf_domain;
	int rid, vf_rid;

	if (!pf->vf_offset || !routing_id(pf->pf.addr, &domain, &rid) ||
	    !routing_id(addr, &vf_domain, &vf_rid) || domain != vf_domain)
		return -1;
	vf_rid -= rid + pf->vf_offset;
	/* With one VF at most the stride is undefined. */
	if (vf_rid == 0)
		return 0;
	if (vf_rid < 0 || !pf->vf_stride || vf_rid % pf->vf_stride != 0)
		return -1;
	return vf_rid / pf->vf_stride;
}

int pci_iommu_group(const char *addr)
{
	_cleanup_(closep) int fd = sysfs_open_device("pci", addr);

	return fd < 0 ? -1 : group_of(fd);
}

bool pci_group_shared(int group)
{
	_cleanup_(closedirp) DIR *dir = NULL;
	const struct dirent *e;
	char folder[64];
	int n = 0;

	snprintf(folder, sizeof(folder), "kernel/iommu_groups/%d/devices", group);
	dir = sysfs_dir(folder);
	if (!dir)
		return false;
	/* VFIO takes no offence at a bridge, which the group may hold because the path goes through it. */
	while (n < 2 && (e = readdir(dir))) {
		_cleanup_(closep) int dev = -1;

		if (!sysfs_component_valid(e->d_name))
			continue;
		dev = sysfs_open_at(dirfd(dir), e->d_name);
		if (dev < 0 || base_class(dev) != CLASS_BRIDGE)
			n++;
	}
	return n > 1;
}

bool pci_driver_makes_netdev(const char *driver)
{
	static const char *const others[] = { "vfio", "uio", "vdpa", "ifcvf", "stub", "pciback" };

	if (!*driver)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (strstr(driver, others[i]))
			return false;
	return true;
}
