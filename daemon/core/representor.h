/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VFs of a nic in switchdev mode: what a VF sends comes out of its representor, a netdev of the host, which is put
 * into the segment's bridge with the port's VLAN. Judges and builds plans; does nothing.
 */
#pragma once

#include "daemon/model/config.h"
#include "daemon/model/link.h"
#include "daemon/model/step.h"

/* Why no VF of @pf can reach @segment in @vlan by its representor; NULL: they can, or need none. */
const char *representor_why_not(const struct inventory *inv, const struct vnic_segment *segment,
				const struct vnic_pf *pf, uint16_t vlan, char *buf, size_t size);

/* Is there a representor of @vf that may be put into @segment? Also where @pf has none of its VFs. */
bool representor_free(const struct inventory *inv, const struct vnic_segment *segment,
		      const struct vnic_pf *pf, const struct vnic_vf *vf);

/**
 * representor_steps() - append to @plan what puts the representor of @vf into @segment
 * Nothing where @pf is not in switchdev mode.
 * Return: 0, -ENODEV where there is no representor or no bridge, -ENOMEM.
 */
int representor_steps(const struct inventory *inv, const struct vnic_segment *segment,
		      const struct vnic_pf *pf, const struct vnic_vf *vf, uint16_t vlan,
		      struct plan *plan);
