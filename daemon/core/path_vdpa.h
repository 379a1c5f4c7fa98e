/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vdpa path: a vDPA device does the guest's rings, vnic.ko's on a nic of the segment or one of the nic's own. It is
 * made before the domain starts, and QEMU has its node by a name that never changes. Judges and builds plans; does
 * nothing.
 *
 * Neither bridge nor card is told anything of its MAC: vnic.ko sorts before the bridge, and learns who is behind it; a
 * card's switch knows its own devices.
 */
#pragma once

#include "daemon/core/path_sriov.h"

/* The link that section @cfg means, or NULL where it is not there; and the section that means @link, or NULL. */
const struct vnic_link *path_vdpa_link(const struct inventory *inv,
				       const struct vnic_nic_config *cfg);
const struct vnic_nic_config *path_vdpa_config(const struct vnic_config *config,
					       const struct inventory *inv,
					       const struct vnic_link *link);

/**
 * path_vdpa_eligible() - is there a management device that makes one for the port, and which?
 * @choice: VLAN, rate and queues in; mgmtdev out, where there is one
 * @ret_reason: the one chosen, or for each nic of the segment why it has none
 */
bool path_vdpa_eligible(const struct path_ask *ask, struct alloc_choice *choice,
			struct path_reason *ret_reason);

/* What the port's device is called, by its key alone; and whose device is called so, false where no port's is. */
const char *path_vdpa_name(const struct port_key *key, char buf[VNIC_NAME_MAX]);
bool path_vdpa_key(const char *name, struct port_key *ret);

/**
 * path_vdpa_port() - a port's own steps
 * @port: the plan goes by its VLAN, rate, weight, trust, spoofchk and queues
 * @segment: the MTU is its, or its bridge's
 * @ret: a new plan, all STEP_PLANNED; the caller clears it
 * Return: 0, -ENODEV where @mgmtdev is not there, -ENOMEM.
 */
int path_vdpa_port(const struct inventory *inv, const struct vnic_segment *segment,
		   const struct vnic_port *port, const char *mgmtdev, struct plan *ret);

/* What @step, of kind STEP_VDPA_POLICY, is to set for @port, which is in @vlan. */
void path_vdpa_policy(const struct vnic_port *port, uint16_t vlan, struct step *step);
