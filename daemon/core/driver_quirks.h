/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What drivers of PFs cannot do although rtnetlink shows the attribute: known here so that it is said before a
 * plan is made, not found out in the middle of one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/model/pf.h"

struct driver_quirks {
	const char *driver;
	uint32_t refuses; /* 1 << enum vf_attr: what it does not let be set */
	bool min_rate; /* takes min_tx_rate too */
	bool rate_needs_link; /* refuses a rate while the PF has no carrier */
	bool qinq; /* takes VLAN protocol 802.1ad */
	const char *vf_driver; /* the host's own for its VFs; NULL: not known, or it has none */
};

/* Never NULL: a driver that is not listed is taken at its word. */
const struct driver_quirks *driver_quirks(const char *driver);

/* Can the driver of @pf set @attr of its VFs, as far as is known? */
bool driver_sets(const struct vnic_pf *pf, const struct vnic_vf *vf, enum vf_attr attr);
