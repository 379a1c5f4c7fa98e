/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vnicd does about the VFs of a nic; alloc() asks it, too. */
#pragma once

#include <stdbool.h>

#include <uthash.h>

#include "base/err.h"
#include "daemon/model/pf.h"
#include "daemon/model/step.h"

/* The VFs that the configuration wants of a nic. Read-only outside the manager. */
struct nic_share {
	char pf[DEV_ADDR_MAX]; /* its PF's PCI address: the key */
	bool ready; /* it has the VFs that it is to have */
	bool drained; /* the administrator wants no port to have a VF of it */
	char reason[VNIC_ERR_MESSAGE_MAX]; /* why not, or empty */
	struct plan plan;
	UT_hash_handle hh;
};
