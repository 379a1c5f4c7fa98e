/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between domain.c and domain_xml.c. */
#pragma once

#include "libvirt-hook/domain_xml.h"

/* Free what they hold, not themselves. */
void domain_nic_deinit(struct domain_nic *n);
void domain_deinit(struct domain *d);
