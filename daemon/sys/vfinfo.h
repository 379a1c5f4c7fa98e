/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a PF's driver tells of its VFs, by RTM_GETLINK with RTEXT_FILTER_VF. One message has them all, in an
 * attribute of at most 64 KiB: enough for some 300 VFs. Above that newer kernels answer EMSGSIZE, and older
 * ones cut the list.
 */
#pragma once

#include <linux/netlink.h>

#include "daemon/model/pf.h"

struct vf_info {
	bool told; /* it was in the list */
	uint32_t known; /* as in struct vnic_vf */
	int64_t value[VF_ATTR_COUNT];
};

#define VFINFO_REQUEST_MAX 64
/* Build the request for the VFs of link @ifindex in @buf. */
struct nlmsghdr *vfinfo_ask(char *buf, int ifindex);

/**
 * vfinfo_parse() - the VFs of an answer
 * @vfs: @max entries by index, zeroed; filled in where the VF is told of
 * @ret_count: how many VFs the link has by IFLA_NUM_VF, which may be more than are told of
 * Return: how many are told of, or -EBADMSG
 */
int vfinfo_parse(const struct nlmsghdr *nlh, int ifindex, struct vf_info *vfs, int max,
		 int *ret_count);
