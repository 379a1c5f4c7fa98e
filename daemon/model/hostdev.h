/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VF that a domain has by its own XML (<interface type='hostdev'>, or one of a hostdev network): libvirt gives it
 * its MAC and VLAN and takes them back, vnicd does the same with what else its class says.
 */
#pragma once

#include "daemon/model/port.h"

enum hostdev_state {
	HOSTDEV_NONE, /* no class is known for it: it is left as it is */
	HOSTDEV_SETTING,
	HOSTDEV_SET,
	HOSTDEV_RESTORING,
};

const char *hostdev_state_str(enum hostdev_state state);

struct vnic_hostdev {
	struct domain_device device; /* what libvirt said last; its address is the key */
	enum hostdev_state state;
	char pf[DEV_ADDR_MAX]; /* empty: not seen yet */
	char class_name[VNIC_NAME_MAX]; /* that is in force; empty: none */
	char reason[PORT_REASON_MAX]; /* what is not as the class says, and why; empty: nothing */
	struct plan plan; /* with what was there before */
	UT_hash_handle hh;
};
