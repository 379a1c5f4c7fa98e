/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/mock_pf.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of @path (a sysfs path as the program sees it) in umockdev's tree. */
static void real_file(UMockdevTestbed *bed, const char *path, const char *name, char *buf,
		      size_t size)
{
	char *root = umockdev_testbed_get_root_dir(bed);

	snprintf(buf, size, "%s%s/%s", root, path, name);
	free(root);
}

void mock_driver(UMockdevTestbed *bed, const char *path, const char *driver)
{
	char file[PATH_MAX], target[PATH_MAX];

	real_file(bed, path, "driver", file, sizeof(file));
	unlink(file);
	if (!driver)
		return;
	snprintf(target, sizeof(target), "../../bus/pci/drivers/%s", driver);
	if (symlink(target, file) < 0)
		abort();
}

static void add_netdev(UMockdevTestbed *bed, const char *parent, const char *ifname, int ifindex)
{
	char index[16], file[PATH_MAX], target[PATH_MAX], *path;
	const char *addr = strrchr(parent, '/') + 1;

	snprintf(index, sizeof(index), "%d", ifindex);
	path = umockdev_testbed_add_device(bed, "net", ifname, parent, "ifindex", index, NULL,
					   "INTERFACE", ifname, "IFINDEX", index, NULL);
	/* umockdev links a child with its parent by path only; the kernel by this as well. */
	real_file(bed, path, "device", file, sizeof(file));
	unlink(file);
	snprintf(target, sizeof(target), "%s/%s", strstr(path, "/net/") ? "../../.." : "../..",
		 addr);
	if (symlink(target, file) < 0)
		abort();
	free(path);
}

char *mock_pf_add(UMockdevTestbed *bed, const struct mock_pf *pf)
{
	char *path = umockdev_testbed_add_device(bed, "pci", pf->addr, NULL, "class", "0x020000",
						 NULL, "PCI_SLOT_NAME", pf->addr, NULL);

	if (pf->numa_node)
		umockdev_testbed_set_attribute(bed, path, "numa_node", pf->numa_node);
	if (pf->sriov_totalvfs)
		umockdev_testbed_set_attribute(bed, path, "sriov_totalvfs", pf->sriov_totalvfs);
	if (pf->sriov_numvfs)
		umockdev_testbed_set_attribute(bed, path, "sriov_numvfs", pf->sriov_numvfs);
	mock_driver(bed, path, pf->driver);
	if (pf->ifname)
		add_netdev(bed, path, pf->ifname, pf->ifindex);
	return path;
}

char *mock_vf_add(UMockdevTestbed *bed, const char *pf_path, const char *addr, const char *ifname,
		  int ifindex)
{
	const struct mock_pf vf = {
		.addr = addr, .ifname = ifname, .ifindex = ifindex, .driver = "iavf"
	};
	char *path = mock_pf_add(bed, &vf), file[PATH_MAX], target[PATH_MAX];

	real_file(bed, path, "physfn", file, sizeof(file));
	snprintf(target, sizeof(target), "../%s", strrchr(pf_path, '/') + 1);
	if (symlink(target, file) < 0)
		abort();
	return path;
}

void mock_preload(char **argv)
{
	const char *preload = getenv("LD_PRELOAD"), *asan = getenv("ASAN_OPTIONS");
	char options[256];

	if (preload && strstr(preload, "umockdev"))
		return;
	/* With ASan the preload library comes before its runtime, which it would object to. */
	snprintf(options, sizeof(options), "%s%sverify_asan_link_order=0:detect_leaks=0",
		 asan ? asan : "", asan ? ":" : "");
	setenv("ASAN_OPTIONS", options, 1);
	setenv("LD_PRELOAD", "libumockdev-preload.so.0", 1);
	execv("/proc/self/exe", argv);
	perror("execv");
	exit(99);
}
