/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vmdq path: a VF stays with the host's own driver, and its netdev is the uplink of a datapath segment that has
 * this one port. The guest keeps its virtio NIC, and the card sorts for it: by the VF's MAC and VLAN, so that it
 * reaches what VFs reach, through the card's own switch. Judges and builds plans; does nothing.
 *
 * Not of a macvlan on the PF, whatever its l2-fwd-offload: the PF is a port of the segment's bridge, and a netdev has
 * one receive handler (macvlan_port_create() of drivers/net/macvlan.c fails).
 */
#pragma once

#include "daemon/core/path_sriov.h"

/**
 * path_vmdq_eligible() - is there a VF for the port, and which?
 * As path_sriov_eligible(), of VFs whose host driver is known; the interface need not stand by.
 */
bool path_vmdq_eligible(const struct path_ask *ask, struct alloc_choice *choice,
			struct path_reason *ret_reason);

/**
 * path_vmdq_port() - a port's own steps, from a free VF to frames
 * @port: with its device set; the plan goes by its VLAN, rate, spoofchk and trust
 * @segment: the MTU is its, or its bridge's
 * @ret: a new plan, all STEP_PLANNED; the caller clears it
 * Return: 0, -ENODEV where the VF is not there, -ENOTSUP where its driver is not known, -ENOMEM.
 */
int path_vmdq_port(const struct inventory *inv, const struct vnic_segment *segment,
		   const struct vnic_port *port, struct plan *ret);
