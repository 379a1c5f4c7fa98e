/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/hostdev.h"

const char *hostdev_state_str(enum hostdev_state state)
{
	static const char *const words[] = {
		[HOSTDEV_NONE] = "none",
		[HOSTDEV_SETTING] = "setting",
		[HOSTDEV_SET] = "set",
		[HOSTDEV_RESTORING] = "restoring",
	};

	return words[state];
}
