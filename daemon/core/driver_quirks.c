/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/driver_quirks.h"

#define BIT(attr) (1u << (attr))

/*
 * Tried on devices by tests/rig/test_vf_steps.py: igb, netdevsim. The others from what their ndo_set_vf_* refuse in
 * Linux 6.1, drivers/net/ethernet/: ixgbe_sriov.c (a rate on a 10 Gbit/s link only), i40e_virtchnl_pf.c,
 * ice_sriov.c and ice_lib.c (a rate above the link's speed, which is 0 without a carrier; 802.1ad in its double
 * VLAN mode only), mlx5/core/en_main.c, bnxt_sriov.c, sfc/sriov.c, be_main.c, qed_sriov.c (no way back from a
 * rate to none).
 */
static const struct driver_quirks table[] = {
	{ "igb", BIT(VF_LINK_STATE) | BIT(VF_RSS_QUERY), false, true, false, "igbvf" },
	{ "ixgbe", 0, false, true, false, "ixgbevf" },
	{ "i40e", BIT(VF_RSS_QUERY), false, false, false, "iavf" },
	{ "ice", BIT(VF_RSS_QUERY), true, true, false, "iavf" },
	{ "mlx5_core", BIT(VF_RSS_QUERY), true, false, false, "mlx5_core" },
	{ "bnxt_en", BIT(VF_RSS_QUERY), true, false, false, "bnxt_en" },
	{ "be2net", BIT(VF_RSS_QUERY) | BIT(VF_TRUST), false, true, false, "be2net" },
	{ "qede", BIT(VF_RSS_QUERY) | BIT(VF_RATE), false, false, false, "qede" },
	/* rtnetlink tells a rate of any driver's VFs. */
	{ "sfc", BIT(VF_RSS_QUERY) | BIT(VF_RATE) | BIT(VF_TRUST), false, false, false, NULL },
	{ "netdevsim", 0, true, false, true, NULL },
	{ "virtio_net", BIT(VF_ATTR_COUNT) - 1, false, false, false, NULL },
	{ "virtio-pci", BIT(VF_ATTR_COUNT) - 1, false, false, false, NULL },
};

static const struct driver_quirks other = { .min_rate = true, .qinq = true };

const struct driver_quirks *driver_quirks(const char *driver)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (str_eq(table[i].driver, driver))
			return &table[i];
	return &other;
}

bool driver_sets(const struct vnic_pf *pf, const struct vnic_vf *vf, enum vf_attr attr)
{
	return (vf->known & BIT(attr)) && !(driver_quirks(pf->driver)->refuses & BIT(attr));
}
