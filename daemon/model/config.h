/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the administrator configured: segments and classes. Read as a whole, checked as a whole
 * (core/config_check), and only then swapped in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <net/if.h>
#include <uthash.h>

#include "base/err.h"
#include "base/str.h"
#include "daemon/model/pf.h"
#include "daemon/model/vdpa.h"

enum vnic_path {
	VNIC_PATH_NONE,
	VNIC_PATH_SRIOV,
	VNIC_PATH_VDPA,
	VNIC_PATH_VMDQ,
	VNIC_PATH_SOFTWARE,
	VNIC_PATH_COUNT,
};

const char *vnic_path_str(enum vnic_path path);
/* -EINVAL for an unknown word */
int vnic_path_parse(const char *s, enum vnic_path *ret);

/* Paths in order of preference; VNIC_PATH_NONE ends the list. */
struct path_list {
	enum vnic_path path[VNIC_PATH_COUNT];
};

/* "vdpa,software"; -EINVAL for an unknown word or one twice */
int path_list_parse(const char *s, struct path_list *ret, struct vnic_err *err);

/* A set of VLAN ids 0 … 4094; 0 stands for untagged. */
struct vlan_set {
	uint64_t bits[64];
};

/* "0,10-20,30" */
int vlan_set_parse(const char *s, struct vlan_set *ret);
/* @vlan: at most VNIC_VLAN_MAX */
void vlan_set_add(struct vlan_set *set, unsigned int vlan);
bool vlan_set_has(const struct vlan_set *set, uint16_t vlan);

#define SEGMENT_UPLINKS_MAX 8

/* Where a setting was read, for messages: "vnicd.conf.d/10-lan.conf:12". */
struct config_place {
	char file[128];
	int line;
};

struct vnic_segment {
	char name[VNIC_NAME_MAX];
	char bridge[IFNAMSIZ]; /* the Linux bridge of this host that ports live in */
	char uplink[SEGMENT_UPLINKS_MAX][IFNAMSIZ]; /* nics expected in the bridge; may be none */
	int n_uplinks;
	uint32_t mtu; /* 0: the bridge's */
	int cores[16]; /* CPUs for its worker; n_cores 0: not pinned */
	int n_cores;
	struct config_place place;
	UT_hash_handle hh;
};

enum vf_link { VF_LINK_KEEP, VF_LINK_AUTO, VF_LINK_ENABLE, VF_LINK_DISABLE };

/* What only a VF can have. */
struct vf_extra {
	uint64_t min_rate; /* bits/s that the card keeps for it, 0: none */
	enum vf_link link; /* does it see a link: as it is left, as the PF does, always, never */
};

struct vnic_class {
	char name[VNIC_NAME_MAX];
	char segment[VNIC_NAME_MAX];
	struct path_list paths;
	struct vlan_set vlans; /* allowed */
	uint16_t vlan; /* the default; 0: untagged */
	uint64_t rate; /* bits/s, 0: none */
	uint32_t weight; /* 1 … 1000 */
	bool spoofchk; /* default on */
	bool trust;
	struct vf_extra vf;
	uint32_t queues; /* most queue pairs a guest may use, 1 … 8 */
	uint32_t max_ports; /* 0: no limit */
	uint32_t max_vfs; /* VFs its ports may hold at a time; 0: no limit */
	uint32_t reserved_vfs; /* VFs of its segment's nics that other classes leave to it */
	uint32_t priority; /* 0 … 100: who gets hardware first when some is free again */
	int numa_node; /* -1: any */
	struct config_place place;
	UT_hash_handle hh;
};

/* What is wanted of a nic: how many VFs it is to have. A nic that no section names is left as it is. */
struct vnic_nic_config {
	char name[IFNAMSIZ]; /* of its netdev; with an address, a label for people */
	char address[DEV_ADDR_MAX]; /* PCI; empty: the nic is the one with that name */
	int vfs; /* -1: as they are */
	bool autoprobe; /* new VFs get drivers of the host; default no: they are for guests */
	char hostdev_class
		[VNIC_NAME_MAX]; /* of its VFs that domains have by their own XML, where that names none */
	bool vnic; /* it is to be an uplink of vnic.ko */
	char mgmtdev
		[MGMTDEV_NAME_MAX]; /* a card's vDPA management device that is behind it; empty: found by itself */
	struct config_place place;
	UT_hash_handle hh;
};

struct vnic_config {
	struct vnic_nic_config *nics; /* uthash by name */
	struct vnic_segment *segments; /* uthash by name */
	struct vnic_class *classes; /* uthash by name */
	int log_level;
};

/* "0,10-20,30", as vlan_set_parse() takes it; cut with "…" where @buf is too small */
const char *vlan_set_format(const struct vlan_set *set, char *buf, size_t size);
/* "auto", "enable", "disable"; empty: as it is left */
const char *vf_link_str(enum vf_link link);
int vf_link_parse(const char *s, enum vf_link *ret);
/* "vdpa,software" */
const char *path_list_format(const struct path_list *list, char *buf, size_t size);

struct vnic_config *config_new(void);
struct vnic_config *config_free(struct vnic_config *config);
struct vnic_segment *config_segment(const struct vnic_config *config, const char *name);
/* Append to the hash, which takes it over. -EEXIST where the name is taken (then it is the caller's still). */
int config_add_segment(struct vnic_config *config, struct vnic_segment *segment);
int config_add_nic(struct vnic_config *config, struct vnic_nic_config *nic);
int config_add_class(struct vnic_config *config, struct vnic_class *class);
struct vnic_class *config_class(const struct vnic_config *config, const char *name);
struct vnic_nic_config *config_nic(const struct vnic_config *config, const char *name);
