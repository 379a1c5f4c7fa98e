/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/vdpa.h"

#include <string.h>

bool mgmtdev_name_valid(const char *s)
{
	const char *slash = strchr(s, '/');

	if (!*s || strlen(s) >= MGMTDEV_NAME_MAX || slash == s ||
	    (slash && (!slash[1] || strchr(slash + 1, '/'))))
		return false;
	if (*s == '.' || (slash && slash[1] == '.'))
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

bool mgmtdev_is_vnic(const char *name)
{
	return !strncmp(name, VNIC_MGMTDEV, strlen(VNIC_MGMTDEV));
}
