/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inventory: this host's network links as the kernel says they are. Only daemon/sys writes it, from
 * kernel notifications; nobody records here what was meant to be done.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <net/if.h>
#include <uthash.h>

#include "base/str.h"
#include "daemon/model/pf.h"
#include "daemon/model/vdpa.h"

enum link_kind {
	LINK_OTHER,
	LINK_PHYSICAL, /* has a device behind it (PCI, USB, virtio, platform) */
	LINK_VF, /* a virtual function's netdev */
	LINK_REPRESENTOR, /* stands for a VF or another function in the card's switch (switchdev) */
	LINK_BRIDGE,
	LINK_TAP,
	LINK_VETH,
	LINK_VLAN,
	LINK_BOND,
	LINK_MACVLAN,
	LINK_OVS, /* Open vSwitch's kernel datapath, or a port of it that is the host's */
	LINK_LOOPBACK,
};

/* One network interface. Key: ifindex; the name may change at any time. */
struct vnic_link {
	int ifindex;
	char name[IFNAMSIZ];
	enum link_kind kind;
	uint8_t mac[VNIC_MAC_LEN];
	uint8_t perm_mac[VNIC_MAC_LEN]; /* zero where the driver does not say */
	int master; /* ifindex of the bridge or bond it is in, 0: none */
	int lower; /* ifindex it stands on (IFLA_LINK), 0: none */
	uint32_t mtu;
	bool up; /* IFF_UP */
	bool carrier; /* IFF_LOWER_UP */
	bool vlan_filtering; /* of a bridge */
	/* From udev and sysfs, empty or -1 where there is no device behind it: */
	char bus[16]; /* "pci", "usb", "virtio", … */
	char dev_addr[DEV_ADDR_MAX]; /* "0000:03:00.0" */
	char driver[32];
	int numa_node;
	int sriov_totalvfs, sriov_numvfs; /* -1: not SR-IOV capable */
	/* The inventory's own: */
	UT_hash_handle hh, hh_name;
	struct vnic_link *member_prev, *member_next; /* those with the same master */
};

struct ovs;
struct ovs_port;

struct inventory {
	struct vnic_link *links; /* uthash by ifindex */
	struct vnic_link *links_by_name; /* the same by hh_name */
	struct link_members *members; /* by the ifindex of their master */
	struct vnic_pf *pfs; /* uthash by PCI address */
	struct vdpa_mgmtdev *mgmtdevs; /* uthash by name */
	struct vdpa_dev *vdpas; /* uthash by name */
	struct mdev_type *mdevs; /* uthash by id */
	struct ovs *ovs; /* Open vSwitch's database (ovsdb.h); NULL: none has been met */
	uint64_t generation; /* grows with each change */
	bool complete; /* the first dump has been read whole */
};

void inventory_init(struct inventory *inv);
void inventory_deinit(struct inventory *inv);

/**
 * inventory_upsert() - what the kernel says of a link
 * Return: 1 where something changed (generation grew), 0 where not, or -ENOMEM.
 */
int inventory_upsert(struct inventory *inv, const struct vnic_link *link);
/* Return: 1 where it was there, else 0. */
int inventory_remove(struct inventory *inv, int ifindex);
const struct vnic_link *inventory_find(const struct inventory *inv, int ifindex);
const struct vnic_link *inventory_find_name(const struct inventory *inv, const char *name);
/* The first link whose master is link @ifindex; the others are its member_next. */
const struct vnic_link *inventory_members(const struct inventory *inv, int ifindex);

/* The same for PFs; inventory_upsert_pf() copies @pf deeply. */
int inventory_upsert_pf(struct inventory *inv, const struct vnic_pf *pf);
int inventory_remove_pf(struct inventory *inv, const char *addr);
/*
 * In parts, so that what happens to one of many VFs costs no more than with few. 1 where something changed,
 * 0 where not, -ENOENT where no such PF is there, -ENOMEM.
 */
/* All of @pf but its VFs, which stay; made where it is not there yet. */
int inventory_update_pf(struct inventory *inv, const struct vnic_pf *pf);
/* The VF of its index, which may be one more than there are (else -ERANGE). */
int inventory_update_vf(struct inventory *inv, const char *pf_addr, const struct vnic_vf *vf);
/* Those from index @n on are gone. */
int inventory_trim_vfs(struct inventory *inv, const char *pf_addr, int n);
const struct vnic_pf *inventory_pf(const struct inventory *inv, const char *addr);
/* The PF whose netdev @link is, or NULL. */
const struct vnic_pf *inventory_pf_of(const struct inventory *inv, const struct vnic_link *link);
/* The VF with PCI address @addr and its PF, or NULL. */
const struct vnic_vf *inventory_vf(const struct inventory *inv, const char *addr,
				   const struct vnic_pf **ret_pf);

/* The same for vDPA and mdev; what is passed is copied. */
int inventory_upsert_mgmtdev(struct inventory *inv, const struct vdpa_mgmtdev *mgmtdev);
int inventory_remove_mgmtdev(struct inventory *inv, const char *name);
int inventory_upsert_vdpa(struct inventory *inv, const struct vdpa_dev *vdpa);
int inventory_remove_vdpa(struct inventory *inv, const char *name);
int inventory_upsert_mdev(struct inventory *inv, const struct mdev_type *type);
int inventory_remove_mdev(struct inventory *inv, const char *id);

/* Is a netdev with this IFLA_PHYS_PORT_NAME a representor? "pf0vf3", "c1pf0sf88", "pf0"; not "p0", a port to outside. */
bool port_name_is_representor(const char *name);

/* Has Open vSwitch a bridge called @name, by the last that is known of it? */
bool inventory_is_ovs(const struct inventory *inv, const char *name);
/* The interface called @name of one of Open vSwitch's bridges, or NULL. */
const struct ovs_port *inventory_ovs_port(const struct inventory *inv, const char *name);

/* Is @link a port of the bridge called @bridge, Linux' or Open vSwitch's? */
bool inventory_bridged(const struct inventory *inv, const struct vnic_link *link,
		       const char *bridge);
/* Is @pf in @bridge, with VFs whose embedded switch is to be told which MACs are there? */
bool inventory_switches(const struct inventory *inv, const struct vnic_pf *pf, const char *bridge);
/* The PF behind uplink @ifname of @bridge, where that is so; else NULL. */
const struct vnic_pf *inventory_uplink_switch(const struct inventory *inv, const char *ifname,
					      const char *bridge);

/* Is it a nic in our sense: an uplink that a segment may use? */
bool link_is_nic(const struct vnic_link *link);

const char *link_kind_str(enum link_kind kind);
