/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ethtool's messages: features that the path vmdq needs, and how many queues a nic has. */
#pragma once

#include "daemon/sys/genl.h"

struct nic_features {
	int ifindex;
	enum feature_state fwd_offload; /* l2-fwd-offload */
	enum feature_state ntuple; /* rx-ntuple-filter */
};

struct nic_channels {
	int ifindex;
	uint32_t max, count; /* combined */
};

/* 0 or -EBADMSG. Bit sets are read with names only (verbose), as they are asked for here. */
int ethtool_parse_features(const struct nlmsghdr *nlh, struct nic_features *ret);
int ethtool_parse_channels(const struct nlmsghdr *nlh, struct nic_channels *ret);
/* The link that a notification of features or channels is about; 0: another one, or not said. */
int ethtool_parse_changed(const struct nlmsghdr *nlh);

struct nlmsghdr *ethtool_ask_features(char *buf, const struct genl_family *family, int ifindex);
struct nlmsghdr *ethtool_ask_channels(char *buf, const struct genl_family *family, int ifindex);
