/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What sysfs says of the device behind a link, and how its files are read. Read on demand: never a copy of
 * its own. Drivers write these files, so each value is checked, and one that makes no sense counts as not
 * there.
 */
#pragma once

#include <dirent.h>

#include "daemon/model/link.h"

/**
 * sysfs_fill_link() - driver, NUMA node, SR-IOV figures and kind of @link's device
 * @link: name, ifindex and, where the kernel gave them, bus and dev_addr are filled in
 *
 * Kernels before 5.14 do not name a link's device over rtnetlink; then it is looked up by the link's
 * name, and believed only where that name still means @link's ifindex. A link without a device, or
 * one whose device went meanwhile, is left as one without: there is no failure.
 */
void sysfs_fill_link(struct vnic_link *link);

#define SYSFS_NUMA_MAX 1023
/* The SR-IOV capability's TotalVFs has 16 bits (PCIe Base 5.0, 9.3.3.6). */
#define SYSFS_VFS_MAX 65535

/* For benchmarks: another tree than /sys; @root stays the caller's. */
void sysfs_set_root(const char *root);

/* Is @s a component of a file name that stays where it is put? */
bool sysfs_component_valid(const char *s);
/* Folder "class/net" below the root, or a folder of @dirfd; a descriptor, or a negative errno. */
int sysfs_open(const char *dir);
int sysfs_open_at(int dirfd, const char *dir);
/* The same as streams; NULL where there is none. */
DIR *sysfs_dir(const char *dir);
DIR *sysfs_dir_at(int dirfd, const char *dir);
/* Folder of device @dev on @bus; -EINVAL where a name leaves its folder. */
int sysfs_open_device(const char *bus, const char *dev);

/* The first line of @dirfd/@attr; false where there is none or it does not fit. */
bool sysfs_text(int dirfd, const char *attr, char *buf, size_t size);
/* A number from @dirfd/@attr; @otherwise where it is missing, no number or out of bounds. */
int sysfs_number(int dirfd, const char *attr, int min, int max, int otherwise);
/* The last component of the link @dirfd/@name; false where there is none or it does not fit. */
bool sysfs_link(int dirfd, const char *name, char *ret, size_t size);
/**
 * sysfs_function_of() - the PCI function that device @dev of @bus is or stands on
 * False where there is none.
 */
bool sysfs_function_of(const char *bus, const char *dev, char *ret, size_t size);
/* "0000:03:10.1" */
bool sysfs_pci_address(const char *s);
