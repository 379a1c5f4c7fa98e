/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/ethtool.h"

#include <assert.h>
#include <errno.h>

#include <libmnl/libmnl.h>
#include <linux/ethtool_netlink.h>

#define FEATURE_NAME_MAX 64

/* What the bit sets of one message say of one feature. */
struct feature {
	const char *name;
	bool there, changeable, active, nochange;
};

static int parse_header(const struct nlattr *nest, int *ret)
{
	const struct nlattr *tb[ETHTOOL_A_HEADER_DEV_INDEX + 1] = { 0 };
	uint32_t ifindex;

	if (genl_parse_nested(nest, tb, ETHTOOL_A_HEADER_DEV_INDEX) < 0 ||
	    !nla_u32(tb[ETHTOOL_A_HEADER_DEV_INDEX], &ifindex) || !ifindex || ifindex > INT32_MAX)
		return -EBADMSG;
	*ret = (int)ifindex;
	return 0;
}

/* Calls @fn for each named bit of a set; @value: with a mask, whether it is on, else true. */
static void each_bit(const struct nlattr *bitset,
		     void (*fn)(struct feature *f, const char *name, bool value), struct feature *f)
{
	const struct nlattr *set[ETHTOOL_A_BITSET_BITS + 1] = { 0 }, *a;

	if (genl_parse_nested(bitset, set, ETHTOOL_A_BITSET_BITS) < 0 ||
	    !set[ETHTOOL_A_BITSET_BITS])
		return;
	mnl_attr_for_each_nested(a, set[ETHTOOL_A_BITSET_BITS])
	{
		const struct nlattr *bit[ETHTOOL_A_BITSET_BIT_VALUE + 1] = { 0 };
		char name[FEATURE_NAME_MAX];

		if (mnl_attr_get_type(a) == ETHTOOL_A_BITSET_BITS_BIT &&
		    genl_parse_nested(a, bit, ETHTOOL_A_BITSET_BIT_VALUE) == 0 &&
		    nla_string(bit[ETHTOOL_A_BITSET_BIT_NAME], name, sizeof(name)))
			fn(f, name,
			   set[ETHTOOL_A_BITSET_NOMASK] || bit[ETHTOOL_A_BITSET_BIT_VALUE]);
	}
}

static void on_hw(struct feature *f, const char *name, bool value)
{
	for (; f->name; f++)
		if (str_eq(f->name, name)) {
			f->there = true;
			f->changeable = value;
		}
}

static void on_active(struct feature *f, const char *name, bool value)
{
	for (; f->name; f++)
		if (str_eq(f->name, name) && value)
			f->there = f->active = true;
}

static void on_nochange(struct feature *f, const char *name, bool value)
{
	for (; f->name; f++)
		if (str_eq(f->name, name) && value)
			f->nochange = true;
}

static enum feature_state state_of(const struct feature *f)
{
	bool fixed = !f->changeable || f->nochange;

	if (!f->there)
		return FEATURE_ABSENT;
	if (f->active)
		return fixed ? FEATURE_ON_FIXED : FEATURE_ON;
	return fixed ? FEATURE_OFF_FIXED : FEATURE_OFF;
}

int ethtool_parse_features(const struct nlmsghdr *nlh, struct nic_features *ret)
{
	const struct nlattr *tb[ETHTOOL_A_FEATURES_NOCHANGE + 1] = { 0 };
	struct feature f[] = { { .name = "l2-fwd-offload" },
			       { .name = "rx-ntuple-filter" },
			       { 0 } };
	int ifindex;

	if (genl_cmd(nlh) != ETHTOOL_MSG_FEATURES_GET_REPLY ||
	    genl_parse(nlh, tb, ETHTOOL_A_FEATURES_NOCHANGE) < 0 ||
	    parse_header(tb[ETHTOOL_A_FEATURES_HEADER], &ifindex) < 0)
		return -EBADMSG;
	each_bit(tb[ETHTOOL_A_FEATURES_HW], on_hw, f);
	each_bit(tb[ETHTOOL_A_FEATURES_ACTIVE], on_active, f);
	each_bit(tb[ETHTOOL_A_FEATURES_NOCHANGE], on_nochange, f);
	*ret = (struct nic_features){ ifindex, state_of(&f[0]), state_of(&f[1]) };
	return 0;
}

int ethtool_parse_channels(const struct nlmsghdr *nlh, struct nic_channels *ret)
{
	const struct nlattr *tb[ETHTOOL_A_CHANNELS_COMBINED_COUNT + 1] = { 0 };
	struct nic_channels c = { 0 };

	if (genl_cmd(nlh) != ETHTOOL_MSG_CHANNELS_GET_REPLY ||
	    genl_parse(nlh, tb, ETHTOOL_A_CHANNELS_COMBINED_COUNT) < 0 ||
	    parse_header(tb[ETHTOOL_A_CHANNELS_HEADER], &c.ifindex) < 0)
		return -EBADMSG;
	/* The kernel leaves both out where a nic has receive and transmit queues apart. */
	nla_u32(tb[ETHTOOL_A_CHANNELS_COMBINED_MAX], &c.max);
	nla_u32(tb[ETHTOOL_A_CHANNELS_COMBINED_COUNT], &c.count);
	*ret = c;
	return 0;
}

int ethtool_parse_changed(const struct nlmsghdr *nlh)
{
	const struct nlattr *tb[ETHTOOL_A_CHANNELS_HEADER + 1] = { 0 };
	uint8_t cmd = genl_cmd(nlh);
	int ifindex;

	static_assert((int)ETHTOOL_A_FEATURES_HEADER == (int)ETHTOOL_A_CHANNELS_HEADER,
		      "the header of both has one type");
	if ((cmd != ETHTOOL_MSG_FEATURES_NTF && cmd != ETHTOOL_MSG_CHANNELS_NTF) ||
	    genl_parse(nlh, tb, ETHTOOL_A_CHANNELS_HEADER) < 0 ||
	    parse_header(tb[ETHTOOL_A_CHANNELS_HEADER], &ifindex) < 0)
		return 0;
	return ifindex;
}

static struct nlmsghdr *ask(char *buf, const struct genl_family *family, uint8_t cmd, int ifindex)
{
	struct nlmsghdr *nlh = genl_request(buf, family, cmd, false);
	struct nlattr *nest = mnl_attr_nest_start(nlh, ETHTOOL_A_CHANNELS_HEADER);

	mnl_attr_put_u32(nlh, ETHTOOL_A_HEADER_DEV_INDEX, (uint32_t)ifindex);
	mnl_attr_nest_end(nlh, nest);
	return nlh;
}

struct nlmsghdr *ethtool_ask_features(char *buf, const struct genl_family *family, int ifindex)
{
	return ask(buf, family, ETHTOOL_MSG_FEATURES_GET, ifindex);
}

struct nlmsghdr *ethtool_ask_channels(char *buf, const struct genl_family *family, int ifindex)
{
	return ask(buf, family, ETHTOOL_MSG_CHANNELS_GET, ifindex);
}
