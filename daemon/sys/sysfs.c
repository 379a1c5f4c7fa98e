/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/sysfs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define SYSFS_VALUE_MAX 64
#define NUMA_NODE_MAX	1023
/* The SR-IOV capability's TotalVFs has 16 bits (PCIe Base 5.0, 9.3.3.6). */
#define VFS_MAX 65535

/* A component of a file name that stays where it is put. */
static bool component_valid(const char *s)
{
	return *s && *s != '.' && !strchr(s, '/');
}

/* A number from @dir/@attr; @otherwise where it is missing, no number or out of bounds. */
static int read_number(const char *dir, const char *attr, int min, int max, int otherwise)
{
	_cleanup_(freep) char *data = NULL;
	char file[PATH_MAX];
	const char *digits;
	uint64_t v;
	int n;

	n = snprintf(file, sizeof(file), "%s/%s", dir, attr);
	if (n < 0 || (size_t)n >= sizeof(file) ||
	    file_read(AT_FDCWD, file, SYSFS_VALUE_MAX, &data, NULL) < 0)
		return otherwise;
	data[strcspn(data, "\n")] = '\0';
	digits = *data == '-' ? data + 1 : data;
	if (u64_parse(digits, 0, INT_MAX, &v) < 0)
		return otherwise;
	n = *data == '-' ? -(int)v : (int)v;
	return n >= min && n <= max ? n : otherwise;
}

/* The last component of the link @dir/@name; false where there is none or it does not fit. */
static bool link_basename(const char *dir, const char *name, char *ret, size_t size)
{
	char file[PATH_MAX], target[PATH_MAX];
	const char *base;
	ssize_t n;

	n = snprintf(file, sizeof(file), "%s/%s", dir, name);
	if (n < 0 || (size_t)n >= sizeof(file))
		return false;
	n = readlink(file, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	base = strrchr(target, '/');
	base = base ? base + 1 : target;
	return component_valid(base) && str_copy(ret, size, base) == 0;
}

/* Where rtnetlink did not name the device: the link's own folder does. */
static bool find_device(struct vnic_link *link)
{
	char dir[64], device[96], addr[DEV_ADDR_MAX], bus[sizeof(link->bus)];

	if (!component_valid(link->name))
		return false;
	snprintf(dir, sizeof(dir), "/sys/class/net/%s", link->name);
	if (!link_basename(dir, "device", addr, sizeof(addr)))
		return false;
	snprintf(device, sizeof(device), "%s/device", dir);
	if (!link_basename(device, "subsystem", bus, sizeof(bus)))
		return false;
	/* The name may have gone to another link since the kernel told of this one. */
	if (read_number(dir, "ifindex", 1, INT_MAX, 0) != link->ifindex)
		return false;
	strcpy(link->dev_addr, addr);
	strcpy(link->bus, bus);
	return true;
}

void sysfs_fill_link(struct vnic_link *link)
{
	char dir[64 + sizeof(link->bus) + DEV_ADDR_MAX], physfn[DEV_ADDR_MAX];

	link->driver[0] = '\0';
	link->numa_node = link->sriov_totalvfs = link->sriov_numvfs = -1;
	if (!component_valid(link->dev_addr) || !component_valid(link->bus)) {
		link->dev_addr[0] = link->bus[0] = '\0';
		if (!find_device(link))
			return;
	}
	snprintf(dir, sizeof(dir), "/sys/bus/%s/devices/%s", link->bus, link->dev_addr);
	if (link->kind == LINK_OTHER || link->kind == LINK_PHYSICAL)
		link->kind = link_basename(dir, "physfn", physfn, sizeof(physfn)) ? LINK_VF
										  : LINK_PHYSICAL;
	if (!link_basename(dir, "driver", link->driver, sizeof(link->driver)))
		link->driver[0] = '\0';
	link->numa_node = read_number(dir, "numa_node", -1, NUMA_NODE_MAX, -1);
	link->sriov_totalvfs = read_number(dir, "sriov_totalvfs", 0, VFS_MAX, -1);
	if (link->sriov_totalvfs >= 0)
		link->sriov_numvfs = read_number(dir, "sriov_numvfs", 0, link->sriov_totalvfs, -1);
}
