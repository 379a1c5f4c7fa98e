/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Link messages, true to the kernel's and not, as struct vnic_link. Live events: tests/netns/test_sys.py. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <net/if.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>

#include "daemon/sys/rtnetlink.h"

static union {
	struct nlmsghdr nlh;
	char buf[4096];
} msg;

static struct nlmsghdr *start(int family, int ifindex, unsigned int flags, const char *name)
{
	struct nlmsghdr *nlh;
	struct ifinfomsg *ifi;

	memset(&msg, 0, sizeof(msg));
	nlh = mnl_nlmsg_put_header(&msg);
	nlh->nlmsg_type = RTM_NEWLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_family = (unsigned char)family;
	ifi->ifi_index = ifindex;
	ifi->ifi_flags = flags;
	if (name)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	return nlh;
}

/* IFLA_LINKINFO of @kind with one u8 attribute in its data. */
static void put_kind(struct nlmsghdr *nlh, const char *kind, unsigned int type, int value)
{
	struct nlattr *info = mnl_attr_nest_start(nlh, IFLA_LINKINFO), *data;

	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, kind);
	if (value >= 0) {
		data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
		mnl_attr_put_u8(nlh, (uint16_t)type, (uint8_t)value);
		mnl_attr_nest_end(nlh, data);
	}
	mnl_attr_nest_end(nlh, info);
}

/* Parse a copy without a spare byte behind it, so that ASan sees a read beyond the end. */
static int parse(struct vnic_link *ret)
{
	struct nlmsghdr *copy = malloc(msg.nlh.nlmsg_len);
	int r;

	assert_non_null(copy);
	memcpy(copy, &msg, msg.nlh.nlmsg_len);
	r = rtnl_parse_link(copy, ret);
	free(copy);
	return r;
}

static void physical_nic(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 }, perm[6] = { 2, 0, 0, 0, 0, 2 };
	struct nlmsghdr *nlh = start(AF_UNSPEC, 7, IFF_UP | IFF_LOWER_UP, "eth3");
	struct vnic_link link;

	(void)state;
	mnl_attr_put(nlh, IFLA_ADDRESS, 6, mac);
	mnl_attr_put(nlh, IFLA_PERM_ADDRESS, 6, perm);
	mnl_attr_put_u32(nlh, IFLA_MTU, 9000);
	mnl_attr_put_u32(nlh, IFLA_MASTER, 4);
	mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_NAME, "0000:03:00.0");
	mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_BUS_NAME, "pci");
	assert_int_equal(parse(&link), 0);
	assert_int_equal(link.kind, LINK_PHYSICAL);
	assert_int_equal(link.ifindex, 7);
	assert_string_equal(link.name, "eth3");
	assert_memory_equal(link.mac, mac, 6);
	assert_memory_equal(link.perm_mac, perm, 6);
	assert_int_equal(link.mtu, 9000);
	assert_int_equal(link.master, 4);
	assert_true(link.up && link.carrier);
	assert_string_equal(link.dev_addr, "0000:03:00.0");
	assert_string_equal(link.bus, "pci");
	assert_int_equal(link.numa_node, -1);
	assert_int_equal(link.sriov_totalvfs, -1);
}

static void kinds(void **state)
{
	static const struct {
		const char *kind;
		unsigned int type;
		int value;
		enum link_kind expect;
	} cases[] = {
		{ "tun", IFLA_TUN_TYPE, IFF_TAP, LINK_TAP },
		{ "tun", IFLA_TUN_TYPE, IFF_TUN, LINK_OTHER },
		{ "tun", 0, -1, LINK_OTHER },
		{ "veth", 0, -1, LINK_VETH },
		{ "vlan", 0, -1, LINK_VLAN },
		{ "bond", 0, -1, LINK_BOND },
		{ "macvtap", 0, -1, LINK_MACVLAN },
		{ "bridge", IFLA_BR_VLAN_FILTERING, 0, LINK_BRIDGE },
		{ "somethingnew", 0, -1, LINK_OTHER },
		{ "", 0, -1, LINK_OTHER },
	};
	struct vnic_link link;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nlmsghdr *nlh = start(AF_UNSPEC, 2, 0, "x");

		put_kind(nlh, cases[i].kind, cases[i].type, cases[i].value);
		assert_int_equal(parse(&link), 0);
		assert_int_equal(link.kind, cases[i].expect);
		assert_false(link.vlan_filtering);
	}
	put_kind(start(AF_UNSPEC, 2, 0, "br0"), "bridge", IFLA_BR_VLAN_FILTERING, 1);
	assert_int_equal(parse(&link), 0);
	assert_true(link.vlan_filtering);
	start(AF_UNSPEC, 1, IFF_LOOPBACK, "lo");
	assert_int_equal(parse(&link), 0);
	assert_int_equal(link.kind, LINK_LOOPBACK);
}

static void representors_of_links(void **state)
{
	static const struct {
		const char *port;
		enum link_kind expect;
	} cases[] = {
		{ "p0", LINK_PHYSICAL },
		{ "pf0vf3", LINK_REPRESENTOR },
		{ "c1pf0sf88", LINK_REPRESENTOR },
		{ "pf0", LINK_REPRESENTOR },
		{ "c", LINK_PHYSICAL },
		{ "", LINK_PHYSICAL },
		{ "c1p0", LINK_PHYSICAL },
		{ "port3", LINK_PHYSICAL },
	};
	struct vnic_link link;
	struct nlmsghdr *nlh;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		nlh = start(AF_UNSPEC, 2, 0, "eth7");
		mnl_attr_put_strz(nlh, IFLA_PHYS_PORT_NAME, cases[i].port);
		mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_NAME, "0000:03:00.0");
		mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_BUS_NAME, "pci");
		assert_int_equal(parse(&link), 0);
		assert_int_equal(link.kind, cases[i].expect);
		assert_int_equal(link_is_nic(&link), cases[i].expect == LINK_PHYSICAL);
	}
	/* What it is says its kind first. */
	nlh = start(AF_UNSPEC, 2, 0, "vlan7");
	mnl_attr_put_strz(nlh, IFLA_PHYS_PORT_NAME, "pf0vf3");
	put_kind(nlh, "vlan", 0, -1);
	assert_int_equal(parse(&link), 0);
	assert_int_equal(link.kind, LINK_VLAN);
}

static void peer_in_another_namespace_is_no_lower(void **state)
{
	struct nlmsghdr *nlh = start(AF_UNSPEC, 2, 0, "v0");
	struct vnic_link link;

	(void)state;
	mnl_attr_put_u32(nlh, IFLA_LINK, 9);
	assert_int_equal(parse(&link), 0);
	assert_int_equal(link.lower, 9);
	mnl_attr_put_u32(nlh, IFLA_LINK_NETNSID, 0);
	assert_int_equal(parse(&link), 0);
	assert_int_equal(link.lower, 0);
}

static void bridges_word_on_its_port_is_no_link(void **state)
{
	struct vnic_link link;

	(void)state;
	start(AF_BRIDGE, 2, 0, "tap0")->nlmsg_type = RTM_DELLINK;
	assert_int_equal(parse(&link), 1);
}

static void not_believed(void **state)
{
	struct vnic_link link = { .ifindex = 42 };
	struct nlmsghdr *nlh;

	(void)state;
	start(AF_UNSPEC, 0, 0, "x");
	assert_int_equal(parse(&link), -EBADMSG);
	start(AF_UNSPEC, -1, 0, "x");
	assert_int_equal(parse(&link), -EBADMSG);
	start(AF_UNSPEC, 1, 0, NULL);
	assert_int_equal(parse(&link), -EBADMSG);
	start(AF_UNSPEC, 1, 0, "");
	assert_int_equal(parse(&link), -EBADMSG);
	start(AF_UNSPEC, 1, 0, "a/b");
	assert_int_equal(parse(&link), -EBADMSG);
	start(AF_UNSPEC, 1, 0, "0123456789abcdef");
	assert_int_equal(parse(&link), -EBADMSG);
	nlh = start(AF_UNSPEC, 1, 0, NULL);
	mnl_attr_put(nlh, IFLA_IFNAME, 3, "abc"); /* no NUL */
	assert_int_equal(parse(&link), -EBADMSG);
	assert_int_equal(link.ifindex, 42);
}

static void odd_attributes_count_as_absent(void **state)
{
	struct nlmsghdr *nlh = start(AF_UNSPEC, 1, 0, "x");
	struct vnic_link link;

	(void)state;
	mnl_attr_put(nlh, IFLA_ADDRESS, 20, "01234567890123456789"); /* InfiniBand's */
	mnl_attr_put_u8(nlh, IFLA_MTU, 1);
	mnl_attr_put_u32(nlh, IFLA_MASTER, UINT32_MAX);
	mnl_attr_put_u8(nlh, IFLA_LINKINFO, 1);
	mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_NAME, "../../../etc");
	mnl_attr_put_strz(nlh, IFLA_PARENT_DEV_BUS_NAME, "pci");
	assert_int_equal(parse(&link), 0);
	assert_int_equal(link.mac[0], 0);
	assert_int_equal(link.mtu, 0);
	assert_int_equal(link.master, 0);
	assert_int_equal(link.kind, LINK_OTHER);
	assert_string_equal(link.dev_addr, "");
	assert_string_equal(link.bus, "");
}

/* The kernel takes any bytes but a few (dev_valid_name()); what D-Bus cannot carry would hide all links. */
static void a_name_that_is_no_text(void **state)
{
	struct vnic_link link;

	(void)state;
	start(AF_UNSPEC, 1, 0, "e\xff\xc3\xa9\xe2\x80");
	assert_int_equal(parse(&link), 0);
	assert_string_equal(link.name, "e?\xc3\xa9??");
}

/* A true message cut at each length, and with each length field within it wrong. */
static void cut_and_bent(void **state)
{
	struct nlmsghdr *nlh = start(AF_UNSPEC, 7, IFF_UP, "eth3");
	struct vnic_link link;
	uint32_t len;

	(void)state;
	put_kind(nlh, "bridge", IFLA_BR_VLAN_FILTERING, 1);
	len = nlh->nlmsg_len;
	for (uint32_t cut = sizeof(*nlh); cut < len; cut++) {
		nlh->nlmsg_len = cut;
		parse(&link);
	}
	nlh->nlmsg_len = len;
	for (uint32_t at = NLMSG_LENGTH(sizeof(struct ifinfomsg)); at + 2 <= len; at += 4) {
		static const uint16_t lengths[] = { 0, 1, 3, 4, 5, 0x7fff, 0xfffe, 0xffff };
		uint16_t old;

		memcpy(&old, msg.buf + at, 2);
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			memcpy(msg.buf + at, &lengths[i], 2);
			if (parse(&link) == 0)
				assert_true(ifname_valid(link.name));
		}
		memcpy(msg.buf + at, &old, 2);
	}
	assert_int_equal(parse(&link), 0);
	assert_true(link.vlan_filtering);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(physical_nic),
		cmocka_unit_test(kinds),
		cmocka_unit_test(representors_of_links),
		cmocka_unit_test(peer_in_another_namespace_is_no_lower),
		cmocka_unit_test(bridges_word_on_its_port_is_no_link),
		cmocka_unit_test(not_believed),
		cmocka_unit_test(odd_attributes_count_as_absent),
		cmocka_unit_test(a_name_that_is_no_text),
		cmocka_unit_test(cut_and_bent),
	};

	return cmocka_run_group_tests_name("rtnetlink", tests, NULL, NULL);
}
