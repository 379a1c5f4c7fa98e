/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software path: vnicd-datapath moves the frames, one tap a segment is its uplink into the bridge.
 * Builds plans; does nothing.
 */
#pragma once

#include "daemon/core/alloc.h"

/* The segment's tap: "vn0-NAME", or with a hash of NAME where that is too long. Stable. */
const char *path_software_tap(const char *segment, char buf[IFNAMSIZ]);

/* Can the software path reach @segment? Fills @ret_reason either way. */
bool path_software_eligible(const struct inventory *inv, const struct vnic_segment *segment,
			    struct path_reason *ret_reason);

/**
 * path_software_shared() - the steps that all ports of a segment share, as they should be
 * @vlans: those in use by ports
 * @tap_ifindex: of the tap where it exists already, else 0: steps then say 0 for "the tap of this plan"
 * @ret: a new plan, all STEP_PLANNED; the caller clears it
 *
 * The bridge may be missing (it can come back): then the plan has no step that needs it.
 */
int path_software_shared(const struct inventory *inv, const struct vnic_segment *segment,
			 const struct vlan_set *vlans, int tap_ifindex, struct plan *ret);

/* Of the tap and of ports' own netdevs: what is configured, else the bridge's (NULL: none), else Ethernet's. */
uint32_t path_software_mtu(const struct vnic_segment *segment, const struct vnic_link *bridge);

/* Appends the steps that every port with a socket has. @ret_step: the last of them, to make others of. */
int path_software_socket(const struct vnic_port *port, struct step *ret_step, struct plan *plan);

/* A port's own steps: socket, datapath, and last its FDB entry, which is done only while it runs. */
int path_software_port(const struct vnic_port *port, struct plan *ret);
