/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VF's attributes in rtnetlink's form (IFLA_VFINFO_LIST of linux/if_link.h) and in ours (enum vf_attr): the one
 * place that knows both. sys reads with it, exec reads and writes.
 */
#pragma once

#include <libmnl/libmnl.h>

#include "daemon/model/pf.h"

/**
 * vf_parse() - what one IFLA_VF_INFO says
 * @info: hostile until checked: what is malformed is left out
 * @ret_vf: its index
 * @ret_known: 1 << enum vf_attr for each of @ret_value that is set; the others are 0
 * Return: 0, or -EBADMSG where not even the index can be read.
 */
int vf_parse(const struct nlattr *info, int *ret_vf, uint32_t *ret_known,
	     int64_t ret_value[VF_ATTR_COUNT]);

/**
 * vf_parse_link() - call @fn for each VF in an RTM_NEWLINK message
 * Return: how many there were, or -EBADMSG.
 */
int vf_parse_link(const struct nlmsghdr *nlh,
		  void (*fn)(void *data, int vf, uint32_t known, const int64_t *value), void *data);

/* Append to an RTM_SETLINK message what sets one attribute of VF @vf. 0, or -EINVAL for a value it cannot have. */
int vf_put(struct nlmsghdr *nlh, int vf, enum vf_attr attr, int64_t value);
