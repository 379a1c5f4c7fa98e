/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vDPA devices: made and deleted by the kernel's vdpa family, the rest by sysfs. Making one runs drivers' code; deleting
 * one waits until its node is closed, with vDPA's lock held: exec_start() has a child do both, and what somebody has open
 * is not deleted. Kernel: drivers/vdpa/vdpa.c, drivers/vhost/vdpa.c.
 *
 * Who opens the node is libvirt, as root, which passes it on to QEMU: its owner and mode stay as they are.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/genetlink.h>
#include <linux/vdpa.h>

#include "api/errors.h"
#include "base/file.h"
#include "daemon/exec/exec_priv.h"
#include "daemon/exec/function.h"
#include "daemon/exec/vdpa_nl.h"

#define NODE_PREFIX "vhost-vdpa-"
#define NODE_MAX    32
/* devtmpfs makes the node before the driver's binding returns; a /dev of another making takes its time. */
#define NODE_LOOKS     100
#define NODE_LOOK_USEC 20000

static bool dev_there(const struct exec *exec, const struct step *step)
{
	_cleanup_(closep) int fd = vdpa_dir_open(exec, step, NULL);

	return fd >= 0;
}

/* ---- STEP_VDPA_ADD ---- */

static void put_new(struct nlmsghdr *nlh, const struct step *step)
{
	const char *slash = strchr(step->mgmtdev, '/');
	char bus[MGMTDEV_NAME_MAX];

	snprintf(bus, sizeof(bus), "%.*s", slash ? (int)(slash - step->mgmtdev) : 0, step->mgmtdev);
	if (slash)
		mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_BUS_NAME, bus);
	mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_DEV_NAME, slash ? slash + 1 : step->mgmtdev);
	mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, step->dev);
	mnl_attr_put(nlh, VDPA_ATTR_DEV_NET_CFG_MACADDR, sizeof(step->mac), step->mac);
	if (step->value)
		mnl_attr_put_u16(nlh, VDPA_ATTR_DEV_NET_CFG_MAX_VQP, (uint16_t)step->value);
	if (step->mtu)
		mnl_attr_put_u16(nlh, VDPA_ATTR_DEV_NET_CFG_MTU, (uint16_t)step->mtu);
}

static void put_name(struct nlmsghdr *nlh, const struct step *step)
{
	mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, step->dev);
}

/* That none of its name was there is what it has for a previous value: from then on one of its name is ours. */
int vdpa_add_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	if (dev_there(exec, step))
		return vnic_err_set(err, -EEXIST, VNIC_E_STEP_FAILED,
				    "there is one that vnicd did not make: 'vdpa dev del %s' when "
				    "nobody uses it",
				    step->dev);
	step->prev = 0;
	step->has_prev = true;
	return 0;
}

int vdpa_add_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	int r;

	if (dev_there(exec, step))
		return 0;
	r = vdpa_call(VDPA_CMD_DEV_NEW, step, put_new, NULL, NULL, err);
	return r == -EEXIST && dev_there(exec, step) ? 0 : r;
}

/* The name of the node that vhost_vdpa has made for the device at @dirfd; empty: it has not. */
static void find_node(int dirfd, char ret[NODE_MAX])
{
	_cleanup_(closedirp) DIR *dir = NULL;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct dirent *e;

	*ret = '\0';
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	while (dir && (e = readdir(dir)))
		if (!strncmp(e->d_name, NODE_PREFIX, strlen(NODE_PREFIX)) &&
		    str_copy(ret, NODE_MAX, e->d_name) == 0)
			return;
}

/* Is /dev/@node the node of the device at @dirfd, by its number? */
static bool node_is(const struct exec *exec, int dirfd, const char *node)
{
	char file[NODE_MAX + sizeof(exec->dev_dir) + 8], number[32], found[32];
	struct stat st;

	snprintf(file, sizeof(file), "%s/dev", node);
	if (function_attr(dirfd, file, number, sizeof(number)) < 0)
		return false;
	snprintf(file, sizeof(file), "%s/%s", exec->dev_dir, node);
	if (stat(file, &st) < 0 || !S_ISCHR(st.st_mode))
		return false;
	snprintf(found, sizeof(found), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	return str_eq(found, number);
}

struct set_up {
	const struct exec *exec;
	const char *name;
	int n; /* devices that a process has set up by their nodes */
	bool own; /* @name is one of them */
};

static void on_config(const struct nlmsghdr *nlh, void *data)
{
	struct step step = { .kind = STEP_VDPA_ADD };
	_cleanup_(closep) int fd = -1;
	struct set_up *ret = data;
	char driver[DRIVER_NAME_MAX];
	const struct nlattr *a;
	bool negotiated = false;

	mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr))
	{
		negotiated |= mnl_attr_get_type(a) == VDPA_ATTR_DEV_NEGOTIATED_FEATURES;
		if (mnl_attr_get_type(a) == VDPA_ATTR_DEV_NAME &&
		    mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
			str_copy(step.dev, sizeof(step.dev), mnl_attr_get_str(a));
	}
	fd = negotiated ? vdpa_dir_open(ret->exec, &step, NULL) : -1;
	if (fd < 0 || !function_driver(fd, driver, sizeof(driver)) || !str_eq(driver, "vhost_vdpa"))
		return;
	ret->n++;
	ret->own |= str_eq(step.dev, ret->name);
}

/* Of each open node the module is held by its cdev and by its file operations: fs/char_dev.c, chrdev_open(). */
#define HOLDS_PER_NODE 2

/*
 * Where vnicd's unit keeps it from opening nodes, since vhost_vdpa was not there when it started: who has one open holds
 * the module. Where it is held by more than the devices that are set up, it may be by this one's.
 */
static bool seems_open(const struct exec *exec, const struct step *step)
{
	struct set_up found = { .exec = exec, .name = step->dev };
	_cleanup_(closep) int fd = -1;
	char dir[256];
	int held, r;

	snprintf(dir, sizeof(dir), "%s/module/vhost_vdpa", exec->sysfs);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	held = fd < 0 ? -errno : function_number(fd, "refcnt");
	if (held == 0)
		return false;
	r = vdpa_call(VDPA_CMD_DEV_CONFIG_GET, NULL, NULL, on_config, &found, NULL);
	return r < 0 || found.own || held > HOLDS_PER_NODE * found.n;
}

/* The kernel lets one process open it at a time, and says so. */
static bool is_open(const struct exec *exec, const struct step *step, int dirfd)
{
	char node[NODE_MAX], file[NODE_MAX + sizeof(exec->dev_dir) + 8];
	int fd;

	find_node(dirfd, node);
	if (!*node || !node_is(exec, dirfd, node))
		return false;
	snprintf(file, sizeof(file), "%s/%s", exec->dev_dir, node);
	fd = open(file, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	if (fd < 0 && (errno == EPERM || errno == EACCES))
		return seems_open(exec, step);
	return fd < 0 && errno == EBUSY;
}

int vdpa_add_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;

	if (!step->has_prev)
		return 0; /* none of ours: it was never looked for */
	fd = vdpa_dir_open(exec, step, err);
	if (fd < 0)
		return fd == -ENODEV ? 0 : fd;
	if (is_open(exec, step, fd))
		return vnic_err_set(err, -EBUSY, VNIC_E_STEP_FAILED,
				    "a process has its node open: it is deleted once that has "
				    "ended");
	return vdpa_call(VDPA_CMD_DEV_DEL, step, put_name, NULL, NULL, err);
}

/* ---- STEP_VDPA_POLICY ---- */

int vdpa_policy_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	static const char *const words[VDPA_ALLOW_COUNT] = {
		[VDPA_ALLOW_MULTICAST] = "multicast", [VDPA_ALLOW_MAC] = "mac",
		[VDPA_ALLOW_PROMISC] = "promisc",     [VDPA_ALLOW_ALLMULTI] = "allmulti",
		[VDPA_ALLOW_SPOOF] = "spoof",	      [VDPA_ALLOW_VLAN] = "vlan",
	};
	_cleanup_(closep) int fd = vdpa_dir_open(exec, step, err);
	char vlan[16], rate[24], weight[16], allow[80] = "";
	/* What is allowed comes last: it has what the guest may choose from. */
	const struct {
		const char *file, *value;
	} all[] = { { "vnic/vlan", vlan },
		    { "vnic/vlans", step->allow >> VDPA_ALLOW_VLAN & 1 ? "1-4094" : "," },
		    { "vnic/rate", rate },
		    { "vnic/weight", weight },
		    { "vnic/allow", allow } };

	if (fd < 0)
		return fd;
	snprintf(vlan, sizeof(vlan), "%u", step->vlan);
	snprintf(rate, sizeof(rate), "%lld", (long long)step->value);
	snprintf(weight, sizeof(weight), "%u", step->weight);
	for (int i = 0; i < VDPA_ALLOW_COUNT; i++)
		if (step->allow >> i & 1) {
			strcat(allow, words[i]);
			strcat(allow, " ");
		}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		int r = file_write_attr(fd, all[i].file, all[i].value);

		if (r < 0)
			return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "%s=%s: %s", all[i].file,
					    all[i].value, strerror(-r));
	}
	return 0;
}

/* ---- STEP_VDPA_DRIVER ---- */

static bool driver_there(const struct exec *exec, const char *driver)
{
	char dir[256];

	snprintf(dir, sizeof(dir), "%s/bus/vdpa/drivers/%s", exec->sysfs, driver);
	return access(dir, F_OK) == 0;
}

static int write_bus(const struct exec *exec, const char *bus, const char *name, const char *value)
{
	char file[256];

	snprintf(file, sizeof(file), "%s/bus/%s/%s", exec->sysfs, bus, name);
	return file_write_attr(AT_FDCWD, file, value);
}

static int bind_driver(const struct exec *exec, const struct step *step, int fd,
		       struct vnic_err *err)
{
	char now[DRIVER_NAME_MAX];
	int r;

	if (!function_driver(fd, now, sizeof(now)))
		return -EIO;
	if (str_eq(now, step->driver))
		return 0;
	r = file_write_attr(fd, "driver_override", step->driver);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "driver_override: %s",
				    strerror(-r));
	/* A driver of the host's may have been quicker. */
	if (*now)
		r = file_write_attr(fd, "driver/unbind", step->dev);
	if (r < 0 && r != -ENOENT)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "unbinding from %s: %s", now,
				    strerror(-r));
	r = write_bus(exec, "vdpa", "drivers_probe", step->dev);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "drivers_probe: %s", strerror(-r));
	if (!function_driver(fd, now, sizeof(now)) || !str_eq(now, step->driver))
		return vnic_err_set(err, -ENXIO, VNIC_E_STEP_FAILED,
				    "%s did not take it: see 'journalctl -k'", step->driver);
	return 0;
}

int vdpa_driver_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = vdpa_dir_open(exec, step, err);
	char node[NODE_MAX];
	int r;

	if (fd < 0)
		return fd;
	if (!driver_there(exec, step->driver))
		load_module(step->driver);
	if (!driver_there(exec, step->driver))
		return vnic_err_set(err, -EOPNOTSUPP, VNIC_E_STEP_FAILED,
				    "the driver is not there: 'modprobe %s'", step->driver);
	r = bind_driver(exec, step, fd, err);
	for (int i = 0; r == 0 && i < NODE_LOOKS; i++) {
		find_node(fd, node);
		if (*node && node_is(exec, fd, node))
			return 0;
		usleep(NODE_LOOK_USEC);
	}
	return r < 0 ? r
		     : vnic_err_set(err, -ENXIO, VNIC_E_STEP_FAILED,
				    "its node /dev/" NODE_PREFIX
				    "N does not appear: is udev running?");
}

/* What was done goes with the device. */
int vdpa_goes_along(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	(void)exec;
	(void)step;
	(void)err;
	return 0;
}

/* ---- STEP_VDPA_NODE ---- */

/* @fresh: where the link is made before it takes its place; no port's name begins with a dot. */
static int link_names(const struct exec *exec, const struct step *step, char folder[256],
		      char file[384], char fresh[384], struct vnic_err *err)
{
	if (!name_valid(step->class_name) || !name_valid(step->name))
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED,
				    "'%s' and '%s' do not name a port", step->class_name,
				    step->name);
	snprintf(folder, 256, "%s/%s", exec->vdpa_dir, step->class_name);
	snprintf(file, 384, "%s/%s", folder, step->name);
	snprintf(fresh, 384, "%s/.%s", folder, step->name);
	return 0;
}

/* Of a link of ours where it leads to. */
static bool is_ours(const char *file, char *ret, size_t size)
{
	ssize_t n = readlink(file, ret, size - 1);

	if (n < 0)
		return false;
	ret[n] = '\0';
	return !strncmp(ret, "/dev/" NODE_PREFIX, strlen("/dev/" NODE_PREFIX));
}

int vdpa_node_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = vdpa_dir_open(exec, step, err);
	char folder[256], file[384], fresh[384], node[NODE_MAX], target[64], there[64];
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	find_node(fd, node);
	if (!*node)
		return vnic_err_set(err, -ENXIO, VNIC_E_STEP_FAILED,
				    "it has no node: is it bound "
				    "to vhost_vdpa?");
	r = link_names(exec, step, folder, file, fresh, err);
	if (r == 0)
		r = folder_make(exec->vdpa_dir, err);
	if (r == 0)
		r = folder_make(folder, err);
	if (r < 0)
		return r;
	snprintf(target, sizeof(target), "/dev/%s", node);
	if (lstat(file, &st) == 0 && !is_ours(file, there, sizeof(there)))
		return vnic_err_set(err, -EEXIST, VNIC_E_STEP_FAILED,
				    "%s: there is a file which is no link of vnicd's: remove it",
				    file);
	unlink(fresh);
	if (symlink(target, fresh) < 0 || rename(fresh, file) < 0)
		return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED, "%s: %s", file,
				    strerror(errno));
	return 0;
}

int vdpa_node_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	char folder[256], file[384], fresh[384], there[64];
	int r = link_names(exec, step, folder, file, fresh, err);

	if (r < 0)
		return r;
	unlink(fresh); /* who made it may have been killed just then */
	if (is_ours(file, there, sizeof(there)) && unlink(file) < 0 && errno != ENOENT)
		return vnic_err_set(err, -errno, VNIC_E_STEP_FAILED, "%s: %s", file,
				    strerror(errno));
	rmdir(folder); /* with its last one */
	return 0;
}

/* A link that no port has. */
void vdpa_sweep_link(struct exec *exec, const char *class_name, const char *name)
{
	struct step step = { .kind = STEP_VDPA_NODE };

	if (str_copy(step.class_name, sizeof(step.class_name), class_name) == 0 &&
	    str_copy(step.name, sizeof(step.name), name) == 0)
		vdpa_node_undo(exec, &step, NULL);
}

/* ---- STEP_NIC_UPLINK ---- */

/* One of that name whose netdev has gone, and whose devices are still in use, is none any more. */
static bool is_uplink(const struct exec *exec, const char *ifname)
{
	_cleanup_(closep) int fd = -1;
	char dir[256], netdev[IF_NAMESIZE + 1];

	snprintf(dir, sizeof(dir), "%s/bus/vnic/devices/%s", exec->sysfs, ifname);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && function_attr(fd, "netdev", netdev, sizeof(netdev)) >= 0 &&
	       str_eq(netdev, ifname);
}

int uplink_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct nl_link link;
	int r = nl_get_link(exec->nl, step->ifindex, NULL, &link, err);

	if (r < 0)
		return r;
	step->prev = is_uplink(exec, link.name);
	step->has_prev = true;
	return 0;
}

int uplink_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct nl_link link;
	char dir[256];
	int r = nl_get_link(exec->nl, step->ifindex, NULL, &link, err);

	if (r < 0)
		return r;
	snprintf(dir, sizeof(dir), "%s/bus/vnic", exec->sysfs);
	if (access(dir, F_OK) < 0)
		load_module("vnic");
	if (access(dir, F_OK) < 0)
		return vnic_err_set(err, -EOPNOTSUPP, VNIC_E_STEP_FAILED,
				    "vnic.ko cannot be loaded: it takes Linux 6.12 or later and "
				    "the module, which 'dkms install vnic/VERSION' builds; then "
				    "'modprobe vnic' says what is missing");
	if (is_uplink(exec, link.name))
		return 0;
	r = write_bus(exec, "vnic", "new_uplink", link.name);
	if (r < 0 && !is_uplink(exec, link.name))
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "new_uplink: %s%s", strerror(-r),
				    r == -EBUSY ? ": a guest uses a device that was made on it "
						  "before it went; once that has ended it is "
						  "taken anew"
						: "");
	return 0;
}

int uplink_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	struct nl_link link;
	int r;

	if (!step->has_prev || step->prev)
		return 0;
	r = nl_get_link(exec->nl, step->ifindex, NULL, &link, err);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	if (!is_uplink(exec, link.name))
		return 0;
	r = write_bus(exec, "vnic", "del_uplink", link.name);
	if (r < 0 && is_uplink(exec, link.name))
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "del_uplink: %s%s", strerror(-r),
				    r == -EBUSY ? ": a device of it is in use" : "");
	return 0;
}
