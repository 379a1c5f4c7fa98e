/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/driver_quirks.h"

#define BIT(attr) (1u << (attr))

/*
 * From the drivers' net_device_ops (ndo_set_vf_*) in Linux 6.1 and 6.12, drivers/net/ethernet/…; those that
 * the test rig has are tried there (tests/rig).
 */
static const struct driver_quirks table[] = {
	{ "igb", BIT(VF_LINK_STATE) | BIT(VF_RSS_QUERY), false, true, false, "igbvf" },
	{ "ixgbe", 0, false, true, false, "ixgbevf" },
	{ "i40e", BIT(VF_RSS_QUERY), false, false, false, "iavf" },
	{ "ice", BIT(VF_RSS_QUERY), true, false, false, "iavf" },
	{ "mlx5_core", BIT(VF_RSS_QUERY), true, false, true, "mlx5_core" },
	{ "bnxt_en", BIT(VF_RSS_QUERY), true, false, false, "bnxt_en" },
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
