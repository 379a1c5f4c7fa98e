/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Within daemon/exec: the state of the executor, and its steps by kind. */
#pragma once

#include <sys/types.h>

#include <uthash.h>

#include "daemon/exec/exec.h"
#include "daemon/exec/nl.h"

/* The alias of our taps: says to people whose they are, and to us that they are ours. */
#define TAP_ALIAS "vnicd segment "

struct held_fd {
	char id[2 * VNIC_NAME_MAX + 2]; /* a tap's name, or CLASS/NAME */
	int fd;
	UT_hash_handle hh;
};

struct exec {
	struct nl *nl;
	char sock_dir[108];
	char vdpa_dir[108], dev_dir[108];
	char sysfs[108];
	struct lost_child {
		pid_t pid;
		bool vdpa; /* waits for the kernel's vdpa family, or keeps it from answering */
	} lost[16]; /* children given up, not ended yet */
	size_t n_lost;
	struct held_fd *taps, *listeners; /* uthash by id */
};

/* The tables take @fd over; an older descriptor of the same @id is closed. */
int held_put(struct held_fd **table, const char *id, int fd);
int held_get(struct held_fd *table, const char *id);
void held_drop(struct held_fd **table, const char *id);

/*
 * @link, asked for by a number that was a tap's of ours in this boot, is still that: an alias is for people, who may
 * change it, so the head of its MAC will do.
 */
bool tap_is_meant(const struct nl_link *link);
/* The link of @step, which must be one of our taps: -ENODEV, -ESTALE. */
int tap_of_step(struct exec *exec, const struct step *step, struct nl_link *ret,
		struct vnic_err *err);
int tap_create(struct exec *exec, struct step *step, struct vnic_err *err);
int tap_delete(struct exec *exec, const struct step *step, struct vnic_err *err);

int link_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int link_do(struct exec *exec, struct step *step, struct vnic_err *err);
int link_undo(struct exec *exec, const struct step *step, struct vnic_err *err);

int vlan_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int vlan_do(struct exec *exec, struct step *step, struct vnic_err *err);
int vlan_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int pvid_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int pvid_do(struct exec *exec, struct step *step, struct vnic_err *err);
int pvid_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int ovs_port_do(struct exec *exec, struct step *step, struct vnic_err *err);
int ovs_port_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int ovs_vlan_do(struct exec *exec, struct step *step, struct vnic_err *err);
int ovs_vlan_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int fdb_do(struct exec *exec, struct step *step, struct vnic_err *err);
int fdb_undo(struct exec *exec, const struct step *step, struct vnic_err *err);

/* A folder that guests' sockets or nodes are in; 0 where it is there. */
int folder_make(const char *folder, struct vnic_err *err);
/* Whether it worked shows in sysfs. */
void load_module(const char *name);

int listen_do(struct exec *exec, struct step *step, struct vnic_err *err);
int listen_undo(struct exec *exec, const struct step *step, struct vnic_err *err);

int nic_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int nic_do(struct exec *exec, struct step *step, struct vnic_err *err);
int nic_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int driver_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int driver_do(struct exec *exec, struct step *step, struct vnic_err *err);
int driver_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int reset_do(struct exec *exec, struct step *step, struct vnic_err *err);
int reset_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int netdev_mac_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int netdev_mac_do(struct exec *exec, struct step *step, struct vnic_err *err);
int netdev_mac_undo(struct exec *exec, const struct step *step, struct vnic_err *err);

int queue_netdev_do(struct exec *exec, struct step *step, struct vnic_err *err);
int queue_netdev_undo(struct exec *exec, const struct step *step, struct vnic_err *err);

int uplink_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int uplink_do(struct exec *exec, struct step *step, struct vnic_err *err);
int uplink_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int vdpa_add_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int vdpa_add_do(struct exec *exec, struct step *step, struct vnic_err *err);
int vdpa_add_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int vdpa_policy_do(struct exec *exec, struct step *step, struct vnic_err *err);
int vdpa_driver_do(struct exec *exec, struct step *step, struct vnic_err *err);
int vdpa_goes_along(struct exec *exec, const struct step *step, struct vnic_err *err);
/* Of device @step->dev, which has @step->value queues. */
void vdpa_stats_read(const struct step *step, struct vdpa_stats *ret);
void vdpa_sweep_link(struct exec *exec, const char *class_name, const char *name);
int vdpa_node_do(struct exec *exec, struct step *step, struct vnic_err *err);
int vdpa_node_undo(struct exec *exec, const struct step *step, struct vnic_err *err);

int vf_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int vf_do(struct exec *exec, struct step *step, struct vnic_err *err);
int vf_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
int nic_fdb_probe(struct exec *exec, struct step *step, struct vnic_err *err);
int nic_fdb_do(struct exec *exec, struct step *step, struct vnic_err *err);
int nic_fdb_undo(struct exec *exec, const struct step *step, struct vnic_err *err);
