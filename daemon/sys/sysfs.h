/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What sysfs says of the device behind a link. Read on demand: never a copy of its own. Drivers write
 * these files, so each value is checked, and one that makes no sense counts as not there.
 */
#pragma once

#include "daemon/model/link.h"

/**
 * sysfs_fill_link() - driver, NUMA node, SR-IOV figures and kind of @link's device
 * @link: name, ifindex and, where the kernel gave them, bus and dev_addr are filled in
 *
 * Kernels before 5.14 do not name a link's device over rtnetlink; then it is looked up by the link's
 * name, and believed only where that name still means @link's ifindex. A link without a device, or
 * one whose device went meanwhile, is left as one without: there is no failure.
 */
void sysfs_fill_link(struct vnic_link *link);
