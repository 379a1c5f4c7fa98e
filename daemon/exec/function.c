/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/exec/function.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "daemon/exec/exec_priv.h"
#include "daemon/model/link.h"

/* Buses whose devices have sriov_numvfs: PCI's, and the kernel's test device. */
static const char *const buses[] = { "pci", "netdevsim" };

static bool component_valid(const char *s)
{
	return *s && *s != '.' && !strchr(s, '/');
}

static int open_dir(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int pf_open(const struct exec *exec, const struct step *step, struct vnic_err *err)
{
	int fd = -ENOENT;

	if (!component_valid(step->dev))
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED, "the step names no nic");
	for (size_t i = 0; fd == -ENOENT && i < ARRAY_SIZE(buses); i++) {
		char name[PATH_MAX];

		snprintf(name, sizeof(name), "%s/bus/%s/devices/%s", exec->sysfs, buses[i],
			 step->dev);
		fd = open_dir(AT_FDCWD, name);
	}
	if (fd == -ENOENT)
		return vnic_err_set(err, -ENODEV, VNIC_E_STEP_FAILED,
				    "there is no device %s any more: see 'lspci'", step->dev);
	if (fd < 0)
		return vnic_err_set(err, fd, VNIC_E_STEP_FAILED, "device %s: %s", step->dev,
				    strerror(-fd));
	return fd;
}

/* The last component of the link @name below @dirfd. */
static int link_base(int dirfd, const char *name, char *ret, size_t size)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	const char *base;

	if (n < 0)
		return -errno;
	target[n] = '\0';
	base = strrchr(target, '/');
	return str_copy(ret, size, base ? base + 1 : target);
}

int vf_open(const struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int pf = pf_open(exec, step, err);
	char link[32], addr[DEV_ADDR_MAX];
	int fd, r;

	if (pf < 0)
		return pf;
	snprintf(link, sizeof(link), "virtfn%d", step->vf);
	r = link_base(pf, link, addr, sizeof(addr));
	if (r == -ENOENT)
		return vnic_err_set(err, -ENODEV, VNIC_E_STEP_FAILED, "%s has no VF %d any more",
				    step->dev, step->vf);
	if (r == 0 && !str_eq(addr, step->vf_addr))
		return vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED,
				    "VF %d of %s is %s by now, not %s", step->vf, step->dev, addr,
				    step->vf_addr);
	fd = r < 0 ? r : open_dir(pf, link);
	if (fd < 0)
		return vnic_err_set(err, fd, VNIC_E_STEP_FAILED, "VF %d of %s: %s", step->vf,
				    step->dev, strerror(-fd));
	return fd;
}

int function_attr(int dirfd, const char *name, char *ret, size_t size)
{
	_cleanup_(freep) char *data = NULL;
	int r = file_read(dirfd, name, 4096, &data, NULL);

	if (r < 0)
		return r;
	data[strcspn(data, "\n")] = '\0';
	return str_copy(ret, size, data);
}

int function_number(int dirfd, const char *name)
{
	char text[16];
	uint64_t v;
	int r = function_attr(dirfd, name, text, sizeof(text));

	if (r == 0)
		r = u64_parse(text, 0, INT_MAX, &v);
	return r < 0 ? r : (int)v;
}

bool function_driver(int dirfd, char *ret, size_t size)
{
	int r = link_base(dirfd, "driver", ret, size);

	if (r == -ENOENT)
		*ret = '\0';
	return r == 0 || r == -ENOENT;
}

static bool port_name(int netfd, const char *name, char *ret, size_t size)
{
	char file[300];

	snprintf(file, sizeof(file), "%s/phys_port_name", name);
	return function_attr(netfd, file, ret, size) == 0;
}

static bool representor(int netfd, const char *name)
{
	char port[32];

	return port_name(netfd, name, port, sizeof(port)) && port_name_is_representor(port);
}

static bool representor_of(int netfd, const char *name, int vf)
{
	char port[32], *number;
	uint64_t v;

	if (!port_name(netfd, name, port, sizeof(port)))
		return false;
	number = strstr(port, "vf");
	return number && u64_parse(number + 2, 0, INT_MAX, &v) == 0 && v == (uint64_t)vf;
}

/*
 * The representor of VF @vf, or with -1 the function's own netdev: its ifindex, or 0. Of several the oldest is
 * the function's own, as daemon/sys has it.
 */
static int find_netdev(int dirfd, int vf)
{
	int netfd = open_dir(dirfd, "net"), best = 0;
	struct dirent *e;
	DIR *dir;

	if (netfd < 0)
		return 0;
	dir = fdopendir(netfd);
	if (!dir) {
		close(netfd);
		return 0;
	}
	while ((e = readdir(dir))) {
		char file[300];
		int ifindex;

		if (*e->d_name == '.' || (vf < 0 ? representor(netfd, e->d_name)
						 : !representor_of(netfd, e->d_name, vf)))
			continue;
		snprintf(file, sizeof(file), "%s/ifindex", e->d_name);
		ifindex = function_number(netfd, file);
		if (ifindex > 0 && (!best || ifindex < best))
			best = ifindex;
	}
	closedir(dir);
	return best;
}

int function_ifindex(int dirfd)
{
	return find_netdev(dirfd, -1);
}

int representor_check(const struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = pf_open(exec, step, err);
	int ifindex;

	if (fd < 0)
		return fd;
	ifindex = step->vf >= 0 ? find_netdev(fd, step->vf) : 0;
	if (!ifindex)
		return vnic_err_set(err, -ENODEV, VNIC_E_STEP_FAILED,
				    "VF %d of %s has no representor: is the nic in switchdev mode, "
				    "and the representor in this network namespace?",
				    step->vf, step->dev);
	if (ifindex != step->ifindex)
		return vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED,
				    "the representor of VF %d of %s has ifindex %d by now, not %d",
				    step->vf, step->dev, ifindex, step->ifindex);
	return 0;
}

int pf_ifindex(const struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = pf_open(exec, step, err);
	int ifindex;

	if (fd < 0)
		return fd;
	ifindex = function_ifindex(fd);
	if (!ifindex)
		return vnic_err_set(err, -ENODEV, VNIC_E_STEP_FAILED,
				    "%s has no interface: is its driver bound, and is it in this "
				    "network namespace?",
				    step->dev);
	return ifindex;
}
