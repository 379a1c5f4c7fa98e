/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/fake_sysfs.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/sys/sysfs.h"

#define BUS "devices/pci0000:00"

static char root[64];

static void die(const char *what)
{
	perror(what);
	exit(99);
}

static void name_of(char *buf, const char *fmt, va_list ap)
{
	int n = snprintf(buf, PATH_MAX, "%s/", root);

	vsnprintf(buf + n, PATH_MAX - (size_t)n, fmt, ap);
}

static void make_dirs(const char *file)
{
	char dir[PATH_MAX];

	strcpy(dir, file);
	for (char *p = dir + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			die(dir);
		*p = '/';
	}
}

static int remove_one(const char *file, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(file);
}

void fake_sysfs_new(void)
{
	const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	snprintf(root, sizeof(root), "%s/vnicd-sysfs-XXXXXX", dir);
	if (!mkdtemp(root))
		die(root);
	sysfs_set_root(root);
	fake_file("", "bus/pci/devices/.here");
}

void fake_sysfs_free(void)
{
	if (nftw(root, remove_one, 32, FTW_DEPTH | FTW_PHYS) < 0)
		die(root);
}

void fake_file(const char *text, const char *fmt, ...)
{
	char file[PATH_MAX];
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	name_of(file, fmt, ap);
	va_end(ap);
	make_dirs(file);
	f = fopen(file, "we");
	if (!f || fputs(text, f) < 0 || fclose(f) < 0)
		die(file);
}

void fake_symlink(const char *target, const char *fmt, ...)
{
	char file[PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	name_of(file, fmt, ap);
	va_end(ap);
	make_dirs(file);
	unlink(file);
	if (symlink(target, file) < 0)
		die(file);
}

void fake_remove(const char *fmt, ...)
{
	char file[PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	name_of(file, fmt, ap);
	va_end(ap);
	nftw(file, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

static void fake_number(int n, const char *addr, const char *attr)
{
	char text[32];

	snprintf(text, sizeof(text), "%d\n", n);
	fake_file(text, BUS "/%s/%s", addr, attr);
}

void fake_driver(const char *addr, const char *driver)
{
	char target[128];

	snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver ? driver : "");
	if (driver)
		fake_symlink(target, BUS "/%s/driver", addr);
	else
		fake_remove(BUS "/%s/driver", addr);
}

void fake_netdev(const char *addr, const char *ifname, int ifindex)
{
	char text[32];

	fake_remove(BUS "/%s/net", addr);
	if (ifindex < 0)
		return;
	fake_file("", BUS "/%s/net/.here", addr);
	if (!ifindex)
		return;
	snprintf(text, sizeof(text), "%d\n", ifindex);
	fake_file(text, BUS "/%s/net/%s/ifindex", addr, ifname);
}

void fake_num_vfs(const char *addr, int n)
{
	fake_number(n, addr, "sriov_numvfs");
}

static void fake_group(const struct fake_function *fn)
{
	char target[128];

	snprintf(target, sizeof(target), "../../../kernel/iommu_groups/%d", fn->group);
	fake_symlink(target, BUS "/%s/iommu_group", fn->addr);
	snprintf(target, sizeof(target), "../../../../" BUS "/%s", fn->addr);
	fake_symlink(target, "kernel/iommu_groups/%d/devices/%s", fn->group, fn->addr);
}

void fake_function(const struct fake_function *fn)
{
	char target[128];

	fake_file(fn->class ? fn->class : "0x020000\n", BUS "/%s/class", fn->addr);
	fake_number(fn->numa, fn->addr, "numa_node");
	fake_file("(null)\n", BUS "/%s/driver_override", fn->addr);
	if (fn->driver)
		fake_driver(fn->addr, fn->driver);
	if (fn->ifname)
		fake_netdev(fn->addr, fn->ifname, fn->ifindex);
	if (fn->group >= 0)
		fake_group(fn);
	if (fn->total_vfs) {
		fake_number(fn->total_vfs, fn->addr, "sriov_totalvfs");
		fake_num_vfs(fn->addr, fn->num_vfs);
		fake_number(1, fn->addr, "sriov_drivers_autoprobe");
	}
	snprintf(target, sizeof(target), "../../../" BUS "/%s", fn->addr);
	fake_symlink(target, "bus/pci/devices/%s", fn->addr);
	if (!fn->physfn)
		return;
	snprintf(target, sizeof(target), "../%s", fn->physfn);
	fake_symlink(target, BUS "/%s/physfn", fn->addr);
	snprintf(target, sizeof(target), "../%s", fn->addr);
	fake_symlink(target, BUS "/%s/virtfn%d", fn->physfn, fn->index);
}

void fake_function_gone(const struct fake_function *fn)
{
	if (fn->physfn)
		fake_remove(BUS "/%s/virtfn%d", fn->physfn, fn->index);
	if (fn->group >= 0)
		fake_remove("kernel/iommu_groups/%d/devices/%s", fn->group, fn->addr);
	fake_remove("bus/pci/devices/%s", fn->addr);
	fake_remove(BUS "/%s", fn->addr);
}
