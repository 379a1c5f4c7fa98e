/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/exec/exec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/errors.h"
#include "base/paths.h"
#include "daemon/exec/exec_priv.h"

/* @probe: NULL for a kind without previous value. @perform: NULL for a kind that is not exec's. */
static const struct step_ops {
	int (*probe)(struct exec *exec, struct step *step, struct vnic_err *err);
	int (*perform)(struct exec *exec, struct step *step, struct vnic_err *err);
	int (*undo)(struct exec *exec, const struct step *step, struct vnic_err *err);
	bool slow;
} ops[STEP_KIND_COUNT] = {
	[STEP_TAP_CREATE] = { NULL, tap_create, tap_delete },
	[STEP_LINK_MASTER] = { link_probe, link_do, link_undo },
	[STEP_LINK_MTU] = { link_probe, link_do, link_undo },
	[STEP_LINK_UP] = { link_probe, link_do, link_undo },
	[STEP_BRIDGE_VLAN] = { vlan_probe, vlan_do, vlan_undo },
	[STEP_SOCK_LISTEN] = { NULL, listen_do, listen_undo },
	[STEP_FDB] = { NULL, fdb_do, fdb_undo },
	[STEP_NIC_AUTOPROBE] = { nic_probe, nic_do, nic_undo },
	[STEP_NIC_NUMVFS] = { nic_probe, nic_do, nic_undo, .slow = true },
	[STEP_VF_NETDEV_MAC] = { netdev_mac_probe, netdev_mac_do, netdev_mac_undo },
	[STEP_VF_ATTR] = { vf_probe, vf_do, vf_undo },
	[STEP_VF_DRIVER] = { driver_probe, driver_do, driver_undo, .slow = true },
	[STEP_VF_RESET] = { NULL, reset_do, reset_undo, .slow = true },
	[STEP_QUEUE_NETDEV] = { NULL, queue_netdev_do, queue_netdev_undo },
	[STEP_NIC_FDB] = { nic_fdb_probe, nic_fdb_do, nic_fdb_undo },
	[STEP_BRIDGE_PVID] = { pvid_probe, pvid_do, pvid_undo },
	[STEP_OVS_PORT] = { NULL, ovs_port_do, ovs_port_undo, .slow = true },
	[STEP_OVS_VLAN] = { NULL, ovs_vlan_do, ovs_vlan_undo, .slow = true },
	[STEP_NIC_UPLINK] = { uplink_probe, uplink_do, uplink_undo, .slow = true },
	[STEP_VDPA_ADD] = { vdpa_add_probe, vdpa_add_do, vdpa_add_undo, .slow = true },
	[STEP_VDPA_POLICY] = { NULL, vdpa_policy_do, vdpa_goes_along, .slow = true },
	[STEP_VDPA_DRIVER] = { NULL, vdpa_driver_do, vdpa_goes_along, .slow = true },
	[STEP_VDPA_NODE] = { NULL, vdpa_node_do, vdpa_node_undo },
};

/* Is @kind done here (the datapath's steps are not)? */
static bool handles(enum step_kind kind)
{
	return kind > 0 && kind < STEP_KIND_COUNT && ops[kind].perform;
}

bool exec_slow(enum step_kind kind)
{
	return handles(kind) && ops[kind].slow;
}

int held_put(struct held_fd **table, const char *id, int fd)
{
	struct held_fd *held;

	HASH_FIND_STR(*table, id, held);
	if (held) {
		close_safe(held->fd);
		held->fd = fd;
		return 0;
	}
	held = calloc(1, sizeof(*held));
	if (!held)
		return -ENOMEM;
	snprintf(held->id, sizeof(held->id), "%s", id);
	held->fd = fd;
	HASH_ADD_STR(*table, id, held);
	return 0;
}

int held_get(struct held_fd *table, const char *id)
{
	struct held_fd *held;

	HASH_FIND_STR(table, id, held);
	return held ? held->fd : -ENOENT;
}

void held_drop(struct held_fd **table, const char *id)
{
	struct held_fd *held;

	HASH_FIND_STR(*table, id, held);
	if (!held)
		return;
	HASH_DEL(*table, held);
	close_safe(held->fd);
	free(held);
}

int exec_tap_fd(const struct exec *exec, const char *ifname)
{
	return held_get(exec->taps, ifname);
}

void exec_tap_drop(struct exec *exec, const char *ifname)
{
	held_drop(&exec->taps, ifname);
}

int exec_listen_fd(const struct exec *exec, const char *class_name, const char *name)
{
	char id[2 * VNIC_NAME_MAX];

	snprintf(id, sizeof(id), "%s/%s", class_name, name);
	return held_get(exec->listeners, id);
}

void exec_listen_drop(struct exec *exec, const char *class_name, const char *name)
{
	char id[2 * VNIC_NAME_MAX];

	snprintf(id, sizeof(id), "%s/%s", class_name, name);
	held_drop(&exec->listeners, id);
}

int exec_new(const char *sock_dir, struct exec **ret, struct vnic_err *err)
{
	_cleanup_(exec_freep) struct exec *exec = calloc(1, sizeof(*exec));
	int r;

	if (!exec)
		return -ENOMEM;
	exec_set_sysfs(exec, "/sys");
	exec_set_vdpa_dir(exec, VNIC_VDPA_DIR, "/dev");
	r = str_copy(exec->sock_dir, sizeof(exec->sock_dir), sock_dir);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_INTERNAL, "%s: too long", sock_dir);
	/* Whatever the umask: guests' QEMUs go through here. */
	if (mkdir(sock_dir, 0711) < 0 ? errno != EEXIST : chmod(sock_dir, 0711) < 0)
		return vnic_err_set(err, -errno, VNIC_E_INTERNAL, "%s: %s", sock_dir,
				    strerror(errno));
	r = nl_new(NETLINK_ROUTE, &exec->nl);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_INTERNAL, "rtnetlink socket: %s", strerror(-r));
	*ret = take_ptr(exec);
	return 0;
}

void exec_set_vdpa_dir(struct exec *exec, const char *dir, const char *dev_dir)
{
	snprintf(exec->dev_dir, sizeof(exec->dev_dir), "%s", dev_dir);
	snprintf(exec->vdpa_dir, sizeof(exec->vdpa_dir), "%s", dir);
}

void exec_set_sysfs(struct exec *exec, const char *dir)
{
	snprintf(exec->sysfs, sizeof(exec->sysfs), "%s", dir);
}

struct exec *exec_free(struct exec *exec)
{
	if (!exec)
		return NULL;
	while (exec->taps)
		held_drop(&exec->taps, exec->taps->id);
	while (exec->listeners)
		held_drop(&exec->listeners, exec->listeners->id);
	nl_free(exec->nl);
	free(exec);
	return NULL;
}

/* Where a step failed without a word of its own, the error's name is the reason. */
static int told(int r, struct vnic_err *local, struct vnic_err *err)
{
	if (r < 0 && !*local->message)
		vnic_err_set(local, r, VNIC_E_STEP_FAILED, "%s", strerror(-r));
	if (r < 0 && err)
		*err = *local;
	return r;
}

int exec_probe(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct vnic_err local = VNIC_ERR_INIT;

	if (!handles(step->kind) || !ops[step->kind].probe)
		return 0;
	return told(ops[step->kind].probe(exec, step, &local), &local, err);
}

int exec_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	struct vnic_err local = VNIC_ERR_INIT;

	if (!handles(step->kind))
		return vnic_err_set(err, -EINVAL, VNIC_E_INTERNAL, "step %d is not exec's",
				    (int)step->kind);
	return told(ops[step->kind].perform(exec, step, &local), &local, err);
}

int exec_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	struct vnic_err local = VNIC_ERR_INIT;

	if (!handles(step->kind))
		return vnic_err_set(err, -EINVAL, VNIC_E_INTERNAL, "step %d is not exec's",
				    (int)step->kind);
	return told(ops[step->kind].undo(exec, step, &local), &local, err);
}
