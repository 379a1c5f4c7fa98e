/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a bridge has forgotten, whoever took it away. */
#pragma once

#include "daemon/model/config.h"

enum bridge_gone_kind { BRIDGE_FDB, BRIDGE_VLANS };

/**
 * struct bridge_gone
 * @ifindex: of the bridge's port; 0: of any, notifications were lost and everything may be gone
 * @mac, @vlan: of an FDB entry; vlan 0 where it has none
 * @has: VLANs that are still let through, of BRIDGE_VLANS
 */
struct bridge_gone {
	enum bridge_gone_kind kind;
	int ifindex;
	uint8_t mac[VNIC_MAC_LEN];
	uint16_t vlan;
	struct vlan_set has;
};
