/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VFs made and removed, their drivers, their reset. Writing to these files runs drivers' code, for seconds
 * perhaps: exec_start() has a child do it. Kernel: Documentation/ABI/testing/sysfs-bus-pci,
 * drivers/pci/iov.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <libudev.h>

#include "api/errors.h"
#include "base/file.h"
#include "daemon/exec/exec_priv.h"
#include "daemon/exec/function.h"

/* Two seconds, for a udevd that has much to do, in a process that may wait. */
#define UDEV_LOOKS     200
#define UDEV_LOOK_USEC 10000

static const char *nic_attr(const struct step *step)
{
	return step->kind == STEP_NIC_NUMVFS ? "sriov_numvfs" : "sriov_drivers_autoprobe";
}

static int get_nic(int fd, const struct step *step, struct vnic_err *err)
{
	int v = function_number(fd, nic_attr(step));

	if (v == -ENOENT)
		return vnic_err_set(err, -EOPNOTSUPP, VNIC_E_STEP_FAILED,
				    "%s has no %s: it, its driver or the firmware's settings do "
				    "not do SR-IOV",
				    step->dev, nic_attr(step));
	if (v < 0)
		return vnic_err_set(err, v, VNIC_E_STEP_FAILED, "%s: %s", nic_attr(step),
				    strerror(-v));
	return v;
}

static int set_nic(int fd, const struct step *step, int64_t value, struct vnic_err *err)
{
	char text[24];
	int r;

	snprintf(text, sizeof(text), "%lld", (long long)value);
	r = file_write_attr(fd, nic_attr(step), text);
	if (r == -ENOENT)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED,
				    "no driver is bound to %s, or one without SR-IOV: see 'lspci "
				    "-k -s %s'",
				    step->dev, step->dev);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "%s=%s: %s", nic_attr(step), text,
				    strerror(-r));
	return 0;
}

static void on_num_vfs(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *a;
	int *ret = data;

	if (nlh->nlmsg_type != RTM_NEWLINK)
		return;
	mnl_attr_for_each(a, nlh, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(a) == IFLA_NUM_VF && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			*ret = (int)mnl_attr_get_u32(a);
	}
}

/*
 * By rtnetlink, which does not wait for a driver that is changing the number; sysfs does, and probing is done by the
 * loop. -1: not told.
 */
static int num_vfs(struct exec *exec, int fd)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = function_ifindex(fd) };
	struct nl_request req;
	int n = -1;

	if (!ifi.ifi_index)
		return -1;
	nl_start(&req, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	mnl_attr_put_u32(req.nlh, IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS);
	return nl_call(exec->nl, &req, on_num_vfs, &n, NULL) < 0 ? -1 : n;
}

int nic_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = pf_open(exec, step, err);
	int v = fd >= 0 && step->kind == STEP_NIC_NUMVFS ? num_vfs(exec, fd) : -1;

	if (v < 0)
		v = fd < 0 ? fd : get_nic(fd, step, err);
	if (v < 0)
		return v;
	step->prev = v;
	step->has_prev = true;
	return 0;
}

int nic_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = pf_open(exec, step, err);
	int v = fd < 0 ? fd : get_nic(fd, step, err);

	if (v < 0)
		return v;
	if (v == step->value)
		return 0;
	/* The kernel takes a new number only after 0, which would take away the VFs that there are. */
	if (step->kind == STEP_NIC_NUMVFS && v != 0 && step->value != 0)
		return vnic_err_set(err, -EBUSY, VNIC_E_STEP_FAILED,
				    "%s has %d VFs which vnicd did not make: remove them with "
				    "'echo 0 > /sys/bus/pci/devices/%s/sriov_numvfs', or write "
				    "vfs=%d",
				    step->dev, v, step->dev, v);
	return set_nic(fd, step, step->value, err);
}

int nic_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;
	int v;

	if (!step->has_prev || step->prev == step->value)
		return 0;
	fd = pf_open(exec, step, err);
	if (fd < 0)
		return fd == -ENODEV ? 0 : fd;
	v = get_nic(fd, step, err);
	if (v < 0)
		return v;
	/* Somebody changed it since: theirs. */
	if (v != step->value)
		return 0;
	return set_nic(fd, step, step->prev, err);
}

static int get_override(int fd, char *ret, size_t size)
{
	int r = function_attr(fd, "driver_override", ret, size);

	if (r == 0 && str_eq(ret, "(null)"))
		*ret = '\0';
	return r;
}

static int set_override(int fd, const char *driver, struct vnic_err *err)
{
	int r = file_write_attr(fd, "driver_override", *driver ? driver : "\n");

	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "driver_override: %s",
				    strerror(-r));
	return 0;
}

int driver_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = vf_open(exec, step, err);
	int r;

	if (fd < 0)
		return fd;
	r = get_override(fd, step->prev_override, sizeof(step->prev_override));
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "driver_override: %s",
				    strerror(-r));
	if (!function_driver(fd, step->prev_driver, sizeof(step->prev_driver)))
		return vnic_err_set(err, -EIO, VNIC_E_STEP_FAILED, "its driver cannot be read");
	step->has_prev = true;
	return 0;
}

static int write_bus(const struct exec *exec, const char *name, const char *text)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "%s/bus/pci/%s", exec->sysfs, name);
	return file_write_attr(AT_FDCWD, file, text);
}

static bool driver_loaded(const struct exec *exec, const char *driver)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "%s/bus/pci/drivers/%s", exec->sysfs, driver);
	return access(file, F_OK) == 0;
}

/* Have @driver (empty: none) in the place of the one that is bound to the VF at @fd. */
static int rebind(const struct exec *exec, const struct step *step, int fd, const char *driver,
		  struct vnic_err *err)
{
	char now[DRIVER_NAME_MAX];
	int r;

	if (!function_driver(fd, now, sizeof(now)))
		return vnic_err_set(err, -EIO, VNIC_E_STEP_FAILED, "its driver cannot be read");
	if (str_eq(now, driver))
		return 0;
	if (*driver && !driver_loaded(exec, driver))
		return vnic_err_set(err, -ENOENT, VNIC_E_STEP_FAILED,
				    "driver %s is not loaded: 'modprobe %s'", driver, driver);
	/* Not only a choice of driver: without it a VF of a nic with autoprobe off takes none at all. */
	r = set_override(fd, driver, err);
	if (r < 0)
		return r;
	if (*now) {
		r = file_write_attr(fd, "driver/unbind", step->vf_addr);
		if (r < 0 && r != -ENOENT && r != -ENODEV)
			return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "unbinding from %s: %s",
					    now, strerror(-r));
	}
	if (!*driver)
		return 0;
	r = write_bus(exec, "drivers_probe", step->vf_addr);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "drivers_probe: %s", strerror(-r));
	/* The probe's own failure is not told by the write. */
	if (!function_driver(fd, now, sizeof(now)) || !str_eq(now, driver))
		return vnic_err_set(err, -ENXIO, VNIC_E_STEP_FAILED,
				    "%s did not take it (bound: %s): see 'journalctl -k'", driver,
				    *now ? now : "none");
	return 0;
}

static bool udev_knows(struct udev *udev, int ifindex)
{
	char id[16];
	struct udev_device *device;
	bool known;

	snprintf(id, sizeof(id), "n%d", ifindex);
	device = udev_device_new_from_device_id(udev, id);
	known = !device || udev_device_get_is_initialized(device);
	udev_device_unref(device);
	return known;
}

/* udevd gives a netdev that is new a name, and most a MAC that lasts: over what was written before. */
static void wait_for_udev(int ifindex)
{
	struct udev *udev = ifindex && access("/run/udev/control", F_OK) == 0 ? udev_new() : NULL;

	for (int i = 0; udev && i < UDEV_LOOKS && !udev_knows(udev, ifindex); i++)
		usleep(UDEV_LOOK_USEC);
	if (udev)
		udev_unref(udev);
}

/* Has somebody begun to use the VF's interface since it was found free? */
static int check_unused(const struct exec *exec, const struct step *step, int fd,
			struct vnic_err *err)
{
	struct nl_link link;
	int ifindex = function_ifindex(fd), r;

	/* The folder is there, with nothing in it that this namespace may see. */
	if (!ifindex && faccessat(fd, "net", F_OK, 0) == 0)
		return vnic_err_set(err, -EBUSY, VNIC_E_STEP_FAILED,
				    "the interface of %s is in another network namespace",
				    step->vf_addr);
	if (!ifindex)
		return 0;
	r = nl_get_link(exec->nl, ifindex, NULL, &link, err);
	if (r < 0)
		return r;
	if (link.master)
		return vnic_err_set(err, -EBUSY, VNIC_E_STEP_FAILED,
				    "its interface %s is in a bridge or bond", link.name);
	if (link.up)
		return vnic_err_set(err, -EBUSY, VNIC_E_STEP_FAILED,
				    "its interface %s is in use: it is up", link.name);
	return 0;
}

int driver_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = vf_open(exec, step, err);
	int r;

	if (fd < 0)
		return fd;
	r = check_unused(exec, step, fd, err);
	if (r < 0)
		return r;
	r = rebind(exec, step, fd, step->driver, err);
	if (r == 0)
		wait_for_udev(function_ifindex(fd));
	return r;
}

int driver_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;
	char now[DRIVER_NAME_MAX], override[DRIVER_NAME_MAX];
	int r;

	if (!step->has_prev)
		return 0;
	fd = vf_open(exec, step, err);
	if (fd < 0)
		return fd == -ENODEV || fd == -ESTALE ? 0 : fd;
	if (!function_driver(fd, now, sizeof(now)) ||
	    get_override(fd, override, sizeof(override)) < 0)
		return vnic_err_set(err, -EIO, VNIC_E_STEP_FAILED, "its driver cannot be read");
	/*
	 * Killed half-way it may be at none, with our override or that of the way back; any other state is
	 * somebody else's, or that of a new function which was made at the address.
	 */
	if (*now && !str_eq(now, step->driver) && !str_eq(now, step->prev_driver))
		return 0;
	if (!*now && !str_eq(override, step->driver) && !str_eq(override, step->prev_driver))
		return 0;
	/* Unloaded meanwhile: none, as it would be without us. */
	r = rebind(exec, step, fd, driver_loaded(exec, step->prev_driver) ? step->prev_driver : "",
		   err);
	if (r == 0)
		r = set_override(fd, step->prev_override, err);
	if (r == 0)
		wait_for_udev(function_ifindex(fd));
	return r;
}

/* The same both ways: the next one, guest or host, finds nothing of the one before. */
static int reset(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = vf_open(exec, step, err);
	int r;

	if (fd < 0)
		return fd;
	/* Without a way of its own to be reset: vfio does what it can when it opens and closes the device. */
	if (faccessat(fd, "reset", F_OK, 0) < 0)
		return 0;
	r = file_write_attr(fd, "reset", "1");
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "reset: %s", strerror(-r));
	return 0;
}

int reset_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	return reset(exec, step, err);
}

int reset_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	int r = reset(exec, step, err);

	return r == -ENODEV || r == -ESTALE ? 0 : r;
}

int netdev_mac_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = vf_open(exec, step, err);
	struct nl_link link;
	int ifindex, r;

	if (fd < 0)
		return fd;
	ifindex = function_ifindex(fd);
	if (!ifindex)
		return 0;
	r = nl_get_link(exec->nl, ifindex, NULL, &link, err);
	if (r < 0)
		return r;
	step->prev = vf_mac_value(link.mac);
	step->has_prev = true;
	return 0;
}

int netdev_mac_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	(void)exec;
	(void)step;
	(void)err;
	return 0;
}

int netdev_mac_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct nl_request req;
	struct nl_link link;
	uint8_t mac[VNIC_MAC_LEN];
	int r;

	if (!step->has_prev)
		return 0;
	fd = vf_open(exec, step, err);
	if (fd < 0)
		return fd == -ENODEV || fd == -ESTALE ? 0 : fd;
	ifi.ifi_index = function_ifindex(fd);
	if (!ifi.ifi_index)
		return 0;
	r = nl_get_link(exec->nl, ifi.ifi_index, NULL, &link, err);
	vf_value_mac(step->prev, mac);
	if (r < 0 || !memcmp(mac, link.mac, sizeof(mac)))
		return r;
	nl_start(&req, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	mnl_attr_put(req.nlh, IFLA_ADDRESS, sizeof(mac), mac);
	return nl_call(exec->nl, &req, NULL, NULL, err);
}
