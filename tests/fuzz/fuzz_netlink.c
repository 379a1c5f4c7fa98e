/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as one message of the kernel's, to all that read VFs, devlink, ethtool, vdpa and families. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/netlink_parsers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size >= sizeof(struct nlmsghdr))
		parse_all(data, size);
	return 0;
}
