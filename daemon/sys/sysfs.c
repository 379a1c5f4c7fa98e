/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/sysfs.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/sys/lockedattr.h"

#define SYSFS_VALUE_MAX 64

static const char *sysfs_root = "/sys";

void sysfs_set_root(const char *root)
{
	sysfs_root = root;
}

bool sysfs_component_valid(const char *s)
{
	return *s && *s != '.' && !strchr(s, '/');
}

int sysfs_open(const char *dir)
{
	char file[PATH_MAX];
	int n = snprintf(file, sizeof(file), "%s/%s", sysfs_root, dir);

	return n > 0 && (size_t)n < sizeof(file) ? sysfs_open_at(AT_FDCWD, file) : -ENAMETOOLONG;
}

int sysfs_open_at(int dirfd, const char *dir)
{
	int fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static DIR *as_stream(int fd)
{
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		close_safe(fd);
	return dir;
}

DIR *sysfs_dir(const char *dir)
{
	return as_stream(sysfs_open(dir));
}

DIR *sysfs_dir_at(int dirfd, const char *dir)
{
	return as_stream(sysfs_open_at(dirfd, dir));
}

int sysfs_open_device(const char *bus, const char *dev)
{
	char dir[PATH_MAX];
	int n;

	if (!sysfs_component_valid(bus) || !sysfs_component_valid(dev))
		return -EINVAL;
	n = snprintf(dir, sizeof(dir), "bus/%s/devices/%s", bus, dev);
	return n > 0 && (size_t)n < sizeof(dir) ? sysfs_open(dir) : -ENAMETOOLONG;
}

bool sysfs_text(int dirfd, const char *attr, char *buf, size_t size)
{
	_cleanup_(closep) int fd = openat(dirfd, attr, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return false;
	/* The kernel gives an attribute whole in one read. */
	n = read(fd, buf, size);
	if (n < 0 || (size_t)n >= size)
		return false;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

int sysfs_number(int dirfd, const char *attr, int min, int max, int otherwise)
{
	char data[SYSFS_VALUE_MAX];
	const char *digits;
	uint64_t v;
	int n;

	if (!sysfs_text(dirfd, attr, data, sizeof(data)))
		return otherwise;
	digits = *data == '-' ? data + 1 : data;
	if (u64_parse(digits, 0, INT_MAX, &v) < 0)
		return otherwise;
	n = *data == '-' ? -(int)v : (int)v;
	return n >= min && n <= max ? n : otherwise;
}

bool sysfs_link(int dirfd, const char *name, char *ret, size_t size)
{
	char target[PATH_MAX];
	const char *base;
	ssize_t n;

	n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	base = strrchr(target, '/');
	base = base ? base + 1 : target;
	return sysfs_component_valid(base) && str_copy(ret, size, base) == 0;
}

bool sysfs_pci_address(const char *s)
{
	/* Domains above 0xffff are those of controllers behind VMD. */
	size_t domain = strspn(s, "0123456789abcdef");

	s += domain;
	return domain >= 4 && domain <= 8 && s[0] == ':' && isxdigit(s[1]) && isxdigit(s[2]) &&
	       s[3] == ':' && isxdigit(s[4]) && isxdigit(s[5]) && s[6] == '.' && s[7] >= '0' &&
	       s[7] <= '7' && !s[8];
}

bool sysfs_function_of(const char *bus, const char *dev, char *ret, size_t size)
{
	char file[PATH_MAX], target[PATH_MAX], *base;
	ssize_t n;

	if (!sysfs_component_valid(bus) || !sysfs_component_valid(dev))
		return false;
	n = snprintf(file, sizeof(file), "%s/bus/%s/devices/%s", sysfs_root, bus, dev);
	if (n < 0 || (size_t)n >= sizeof(file))
		return false;
	n = readlink(file, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	/* "../../../devices/pci0000:00/0000:00:02.0/0000:03:10.1/vdpa0": the innermost that is one. */
	for (; (base = strrchr(target, '/')); *base = '\0')
		if (sysfs_pci_address(base + 1))
			return str_copy(ret, size, base + 1) == 0;
	return false;
}

/* Where rtnetlink did not name the device: the link's own folder does. */
static bool find_device(struct vnic_link *link)
{
	char dir[64], addr[DEV_ADDR_MAX], bus[sizeof(link->bus)];
	_cleanup_(closep) int fd = -1, device = -1;

	if (!sysfs_component_valid(link->name))
		return false;
	snprintf(dir, sizeof(dir), "class/net/%s", link->name);
	fd = sysfs_open(dir);
	if (fd < 0 || !sysfs_link(fd, "device", addr, sizeof(addr)))
		return false;
	device = sysfs_open_at(fd, "device");
	if (device < 0 || !sysfs_link(device, "subsystem", bus, sizeof(bus)))
		return false;
	/* The name may have gone to another link since the kernel told of this one. */
	if (sysfs_number(fd, "ifindex", 1, INT_MAX, 0) != link->ifindex)
		return false;
	strcpy(link->dev_addr, addr);
	strcpy(link->bus, bus);
	return true;
}

void sysfs_fill_link(struct vnic_link *link)
{
	_cleanup_(closep) int fd = -1;
	char physfn[DEV_ADDR_MAX];
	bool busy;

	link->driver[0] = '\0';
	link->numa_node = link->sriov_totalvfs = link->sriov_numvfs = -1;
	if (!sysfs_component_valid(link->dev_addr) || !sysfs_component_valid(link->bus)) {
		link->dev_addr[0] = link->bus[0] = '\0';
		if (!find_device(link))
			return;
	}
	fd = sysfs_open_device(link->bus, link->dev_addr);
	if (link->kind == LINK_OTHER || link->kind == LINK_PHYSICAL)
		link->kind = fd >= 0 && sysfs_link(fd, "physfn", physfn, sizeof(physfn))
				     ? LINK_VF
				     : LINK_PHYSICAL;
	if (fd < 0)
		return;
	if (!sysfs_link(fd, "driver", link->driver, sizeof(link->driver)))
		link->driver[0] = '\0';
	link->numa_node = sysfs_number(fd, "numa_node", -1, SYSFS_NUMA_MAX, -1);
	link->sriov_totalvfs = sysfs_number(fd, "sriov_totalvfs", 0, SYSFS_VFS_MAX, -1);
	if (link->sriov_totalvfs >= 0)
		link->sriov_numvfs =
			locked_number(fd, "sriov_numvfs", 0, link->sriov_totalvfs, -1, &busy);
}
