/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/err.h"
#include "daemon/model/config.h"

/**
 * config_check() - is a parsed configuration consistent as a whole?
 *
 * What one file can say alone (notations, ranges of numbers) its reader has checked; here are the rules
 * between sections: classes name segments that exist, no bridge or nic in two segments, the default
 * VLAN is one of those allowed, tap names do not collide.
 * Return: 0, or -EINVAL with InvalidConfig, "FILE:LINE: …" naming field and fix.
 */
int config_check(const struct vnic_config *config, struct vnic_err *err);
