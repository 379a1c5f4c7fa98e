/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI trees of nics in umockdev's sysfs. The program must run under umockdev's preload library: mock_preload(). */
#pragma once

#include <umockdev.h>

/* A physical function with its netdev. Attributes are sysfs's texts; NULL: the file is not there. */
struct mock_pf {
	const char *addr; /* "0000:03:00.0" */
	const char *ifname;
	int ifindex;
	const char *driver; /* NULL: unbound */
	const char *numa_node, *sriov_totalvfs, *sriov_numvfs;
};

/* Add it to @bed. Return: its sysfs path; the caller frees it. */
char *mock_pf_add(UMockdevTestbed *bed, const struct mock_pf *pf);

/* A virtual function @addr of @pf_path, with its netdev. Return: its sysfs path. */
char *mock_vf_add(UMockdevTestbed *bed, const char *pf_path, const char *addr, const char *ifname,
		  int ifindex);

/* Bind the device to @driver, or unbind it (NULL), as sysfs shows it; no event is sent. */
void mock_driver(UMockdevTestbed *bed, const char *path, const char *driver);

/* Run this program again under the preload library, unless it does already. */
void mock_preload(char **argv);
