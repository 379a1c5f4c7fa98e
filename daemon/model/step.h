/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A step: one reversible operation on the host, with its new and its previous value. A path builds plans of
 * steps (core), records write them down (sys), exec does them and undoes them. Identities are ifindex, MAC,
 * names bound by us: never another layer's file names.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <net/if.h>

#include "base/str.h"
#include "daemon/model/pf.h"
#include "daemon/model/vdpa.h"

enum step_kind {
	/* what the ports of a segment share */
	STEP_TAP_CREATE = 1, /* make the segment's tap; undo: delete it */
	/*
	 * Of a link: the segment's tap or, with @dev, @vf, the representor of that VF.
	 */
	STEP_LINK_MASTER, /* put ifindex into a bridge; prev: the master it had */
	STEP_LINK_MTU, /* prev: the MTU it had */
	STEP_LINK_UP, /* prev: was it up */
	STEP_BRIDGE_VLAN, /* let a VLAN through a bridge port; prev: was it let through */
	STEP_DP_SEGMENT, /* the datapath gets the segment with its tap; undo: it forgets it */
	/* a port's own */
	STEP_SOCK_LISTEN, /* bind the port's socket; undo: unlink it */
	STEP_DP_PORT, /* the datapath gets the port; undo: it forgets it */
	STEP_FDB, /* the bridge learns that MAC+VLAN is behind the tap, where value: for good; undo: forget */
	/* what the VFs of a nic share; @dev is the PF */
	STEP_NIC_AUTOPROBE, /* sriov_drivers_autoprobe = value */
	STEP_NIC_NUMVFS, /* sriov_numvfs = value; done once every VF has its link, netdev and group */
	/* a port's VF; @dev is the PF, @vf the index, @vf_addr what must be behind it */
	STEP_VF_NETDEV_MAC, /* does nothing; undo: its netdev gets back the MAC it had (prev) */
	STEP_VF_ATTR, /* attr = value by the PF's driver; prev: what it was */
	STEP_VF_DRIVER, /* bind @driver by driver_override; prev_driver, prev_override: what was */
	STEP_VF_RESET, /* function reset, so that nothing of the tenant before is left; undo: again */
	STEP_VF_ATTACH, /* libvirt plugs it into the running domain; undo: unplugs it */
	/* a port's hardware queue (path vmdq): a VF that a driver of the host has, for this port alone */
	STEP_QUEUE_NETDEV, /* the VF's netdev is there, is nobody's else, and up; ifindex and ifname are
			      filled in when done. undo: down; it goes with its driver */
	STEP_DP_QUEUE, /* the datapath gets segment @name with that netdev as its uplink; undo: it
			  forgets it */
	/* reach through the card's own switch */
	STEP_NIC_FDB, /* the PF's FDB ("self") learns a MAC that is behind its bridge; undo: forgets */
	/* what is behind a VF's representor, in a bridge that filters VLANs */
	STEP_BRIDGE_PVID, /* untagged frames are of VLAN vlan, and no other passes (0: the one they
			     are of already); prev: what exec/bridge.c packs */
	/* in a bridge of Open vSwitch's, by its database */
	STEP_OVS_PORT, /* ifname is a port of bridge: the tap a trunk of untagged frames, a
			  representor an access port of VLAN vlan */
	STEP_OVS_VLAN, /* the tap's trunk takes VLAN vlan, too */
	/* what the vDPA devices of a nic share */
	STEP_NIC_UPLINK, /* vnic.ko takes link ifindex as its uplink, and is loaded for that; prev: was it
			    one already. Undo: it lets go of it */
	/* a port's vDPA device (path vdpa), called @dev */
	STEP_VDPA_ADD, /* made by @mgmtdev with @mac, @mtu (0: not said) and value queue pairs (0: not said);
			  undo: deleted, unless somebody has its node open */
	STEP_VDPA_POLICY, /* vnic.ko's settings of it: vlan, weight, @allow, value bit/s; they go with it */
	STEP_VDPA_DRIVER, /* bind @driver, by driver_override; it goes with the device */
	STEP_VDPA_NODE, /* VNIC_VDPA_DIR/class_name/name is a link to its node; undo: no more */
	STEP_KIND_COUNT,
};

enum step_state {
	STEP_PLANNED, /* not begun */
	STEP_BEGUN, /* recorded as about to act: after a crash it may or may not have acted */
	STEP_DONE,
	STEP_UNDONE,
};

struct step {
	enum step_kind kind;
	enum step_state state;
	int ifindex; /* the link acted on; of STEP_TAP_CREATE and STEP_QUEUE_NETDEV: filled in when done */
	char ifname[IFNAMSIZ]; /* of STEP_TAP_CREATE */
	int master; /* of STEP_LINK_MASTER */
	char bridge[IFNAMSIZ]; /* of STEP_OVS_*: Open vSwitch knows bridges by name */
	uint32_t mtu;
	uint16_t vlan;
	uint8_t mac
		[VNIC_MAC_LEN]; /* of STEP_BRIDGE_VLAN: an uplink's, which tells it from another; of
				   STEP_TAP_CREATE the tap's, filled in when done */
	char class_name[VNIC_NAME_MAX],
		name[VNIC_NAME_MAX]; /* of STEP_SOCK_LISTEN; name also of segments */
	char dev[DEV_ADDR_MAX]; /* a PF's PCI address, or a vDPA device's name */
	char mgmtdev[MGMTDEV_NAME_MAX]; /* of STEP_VDPA_* */
	uint32_t weight, allow; /* of STEP_VDPA_POLICY; allow: 1 << enum vdpa_allow */
	int vf; /* index of one of its VFs */
	char vf_addr
		[DEV_ADDR_MAX]; /* that VF's PCI address: both must still mean the same function */
	enum vf_attr attr; /* of STEP_VF_ATTR */
	int64_t value;
	char driver[DRIVER_NAME_MAX]; /* of STEP_VF_DRIVER, STEP_VDPA_DRIVER */
	char prev_driver[DRIVER_NAME_MAX], prev_override[DRIVER_NAME_MAX]; /* with has_prev */
	/* The previous value, read from the kernel just before acting; has_prev says that it was. */
	bool has_prev;
	int64_t prev;
	/* Of STEP_VF_ATTR that is to set another value than it has set: that one, until the other one is. */
	bool has_old;
	int64_t old;
	bool seen; /* the inventory has shown its effect since; not recorded */
};

/* More than any plan has (VLANs times bridge ports); a record that says more is not ours. */
#define PLAN_STEPS_LIMIT 65536

/* Steps in the order they are done; undone in reverse. Zeroed is empty; a port owns a few, a segment's
 * shared plan grows with the VLANs in use. */
struct plan {
	struct step *step; /* n of them, malloc()ed */
	size_t n;
};

/* Append a copy of @step; pointers into the plan are void after it. 0, -ENOMEM, -E2BIG */
int plan_add(struct plan *plan, const struct step *step);
/* The same before step @i, or at the end where that is how many there are. */
int plan_insert(struct plan *plan, size_t i, const struct step *step);
/* Forget step @i: the later ones move up. */
void plan_remove(struct plan *plan, size_t i);
/* Replace what @dst holds by a copy. */
int plan_copy(struct plan *dst, const struct plan *src);
void plan_clear(struct plan *plan);
/* The first step of @kind, or that sets @attr; NULL: there is none. Its index is what lies between it and plan->step. */
struct step *plan_find(const struct plan *plan, enum step_kind kind);
struct step *plan_find_attr(const struct plan *plan, enum vf_attr attr);

const char *step_kind_str(enum step_kind kind);
int step_kind_parse(const char *s, enum step_kind *ret);
const char *step_state_str(enum step_state state);
int step_state_parse(const char *s, enum step_state *ret);

/* "put tap vn0-lan (ifindex 12) into bridge 4": one line for --dry-run, logs and errors. */
const char *step_describe(const struct step *step, char *buf, size_t size);
