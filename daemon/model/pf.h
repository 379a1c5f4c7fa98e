/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Physical functions and their virtual functions (PCIe SR-IOV), as the kernel says they are: a part of the
 * inventory (daemon/model/link.h), written by daemon/sys only. A function is known by its PCI address; a VF
 * also by its PF and index, which is how the PF's driver is told about it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uthash.h>

#include "base/str.h"

#define DEV_ADDR_MAX	64
#define DRIVER_NAME_MAX 32

/*
 * What a PF's driver can be told about a VF, with rtnetlink's meaning (IFLA_VF_* of linux/if_link.h). One
 * integer holds the value of each, so that a step can carry it and what was before.
 */
enum vf_attr {
	VF_MAC, /* six octets, the first one highest; 0: none was given */
	VF_VLAN, /* vlan | qos << 12 | protocol << 16, where protocol 0 is 802.1Q (0x8100); 0: none */
	VF_RATE, /* min_tx_rate << 32 | max_tx_rate, in Mbit/s; 0: none */
	VF_SPOOFCHK, /* 0, 1 */
	VF_TRUST, /* 0, 1 */
	VF_LINK_STATE, /* 0 auto, 1 enable, 2 disable */
	VF_RSS_QUERY, /* 0, 1 */
	VF_ATTR_COUNT,
};

/* "mac", "vlan", "rate", … */
const char *vf_attr_str(enum vf_attr attr);
int vf_attr_parse(const char *s, enum vf_attr *ret);
/* As ip-link(8) would take it: "mac 52:54:00:…", "vlan 12 qos 3", "max_tx_rate 1000 min_tx_rate 0". */
const char *vf_attr_format(enum vf_attr attr, int64_t value, char *buf, size_t size);

int64_t vf_mac_value(const uint8_t mac[VNIC_MAC_LEN]);
void vf_value_mac(int64_t value, uint8_t ret_mac[VNIC_MAC_LEN]);

/* Who has a VF, as far as the kernel and libvirt tell; ports of our own are not looked at here. */
enum vf_user {
	VF_FREE,
	VF_USER_NETDEV, /* its netdev is up, in a bridge or bond, or has something on it */
	VF_USER_NETNS, /* its netdev has moved to another network namespace: a container's */
	VF_USER_DRIVER, /* bound to vfio-pci or another driver for user space */
	VF_USER_VDPA, /* a vDPA device stands on it */
	VF_USER_DOMAIN, /* a domain has it as a device of libvirt's own managing */
};

/* A PCI device that a running domain has by its own XML. */
struct domain_device {
	char addr[DEV_ADDR_MAX];
	char domain[64]; /* its name, cut where it is longer */
	uint8_t uuid[VNIC_UUID_LEN]; /* the domain's */
	bool has_mac; /* it is that of an interface */
	uint8_t mac[VNIC_MAC_LEN];
	char class_name[VNIC_NAME_MAX]; /* that the XML names for it; empty: none */
	bool has_rate; /* and a rate of its own, in bits/s */
	uint64_t rate;
	bool unread; /* what the XML says of it to vnicd cannot be read */
};

struct vnic_vf {
	int index;
	char addr[DEV_ADDR_MAX]; /* "0000:03:10.1"; empty: it is no PCI function */
	char driver[DRIVER_NAME_MAX]; /* empty: none is bound */
	char driver_override[DRIVER_NAME_MAX];
	int iommu_group; /* -1: none */
	bool group_shared; /* other functions are in its IOMMU group: it cannot be given away alone */
	int numa_node; /* -1: the host does not say */
	int ifindex; /* its netdev's in this namespace, 0: none */
	int representor; /* ifindex of its representor (switchdev), 0: none */
	uint32_t known; /* 1 << enum vf_attr: those that the PF's driver tells */
	int64_t value[VF_ATTR_COUNT];
	enum vf_user user;
	char user_name[64]; /* "vfio-pci", a domain's name, "in bridge br1"; empty: none */
};

enum eswitch_mode {
	ESWITCH_NONE, /* the driver has none, or does not say */
	ESWITCH_LEGACY, /* sorts by MAC and VLAN on its own; the PF's FDB teaches it */
	ESWITCH_SWITCHDEV, /* a representor for each VF stands for it in a bridge */
};

const char *eswitch_mode_str(enum eswitch_mode mode);

/* A feature of ethtool's. */
enum feature_state { FEATURE_ABSENT, FEATURE_OFF_FIXED, FEATURE_OFF, FEATURE_ON, FEATURE_ON_FIXED };

const char *feature_state_str(enum feature_state state);

#define PF_VFS_MAX 4096 /* more than any card has; PCIe's own limit is 65535 */

struct vnic_pf {
	char addr[DEV_ADDR_MAX]; /* on its bus; the key */
	char bus[16]; /* "pci"; the test device netdevsim has VFs that are no functions of their own */
	int ifindex; /* of its netdev, 0: it has none (no driver) */
	char driver[DRIVER_NAME_MAX];
	int numa_node;
	int total_vfs, num_vfs; /* num_vfs is sysfs' word; the links may take a while to follow */
	bool autoprobe; /* new VFs get a driver of the host */
	struct vnic_vf
		*vf; /* n_vf of them by index, malloc()ed; those whose PCI function is there */
	int n_vf;
	bool vfs_complete; /* n_vf == num_vfs, and each has its attributes and, with a driver, its netdev */
	enum eswitch_mode eswitch;
	/* What the path vmdq may use: */
	enum feature_state fwd_offload; /* l2-fwd-offload: macvlans get a queue of their own */
	enum feature_state ntuple;
	uint32_t channels_max, channels; /* combined, as of ethtool -l */
	UT_hash_handle hh;
};

/* Makes room for @n VFs, zeroed, index set, users and nodes unknown; 0 or -ENOMEM. */
int pf_resize(struct vnic_pf *pf, int n);
/* Replace what @dst holds by a deep copy of @src; the hash handle stays. 0 or -ENOMEM. */
int pf_copy(struct vnic_pf *dst, const struct vnic_pf *src);
bool pf_same(const struct vnic_pf *a, const struct vnic_pf *b);
/* The same without their VFs. */
bool pf_same_alone(const struct vnic_pf *a, const struct vnic_pf *b);
bool vf_same(const struct vnic_vf *a, const struct vnic_vf *b);
/* A VF of which nothing is known but its index. */
struct vnic_vf vf_unknown(int index);
void pf_clear(struct vnic_pf *pf);

/* The VF at @index while that is the function @addr still; NULL: it has gone, or another is there. @pf may be NULL. */
const struct vnic_vf *pf_vf(const struct vnic_pf *pf, int index, const char *addr);
/* Has it an embedded switch of its own, which is to be told what is behind the PF? In switchdev mode it is not. */
bool pf_switches(const struct vnic_pf *pf);

const char *vf_user_str(enum vf_user user);
/* "domain web1", "vfio-pci", "a container": who has it, for reasons and tables. */
const char *vf_user_describe(const struct vnic_vf *vf, char *buf, size_t size);
