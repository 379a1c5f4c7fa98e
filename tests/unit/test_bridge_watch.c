/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What daemon/sys/bridge_watch.c makes of a bridge's messages, true and not. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "daemon/sys/bridge_watch.h"

static const uint8_t mac[] = { 0x52, 0x54, 0, 0, 0, 1 };
static char buf[4096] __attribute__((aligned(NLMSG_ALIGNTO)));

static struct nlmsghdr *start(uint16_t type, const void *header, size_t size)
{
	struct nlmsghdr *nlh;

	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = type;
	memcpy(mnl_nlmsg_put_extra_header(nlh, size), header, size);
	return nlh;
}

static struct nlmsghdr *fdb(uint16_t type, uint8_t family, int ifindex)
{
	const struct ndmsg ndm = { .ndm_family = family, .ndm_ifindex = ifindex };
	struct nlmsghdr *nlh = start(type, &ndm, sizeof(ndm));

	mnl_attr_put(nlh, NDA_LLADDR, sizeof(mac), mac);
	return nlh;
}

static void an_fdb_entry(void **state)
{
	struct nlmsghdr *nlh = fdb(RTM_DELNEIGH, AF_BRIDGE, 7);
	struct bridge_gone what;

	(void)state;
	mnl_attr_put_u16(nlh, NDA_VLAN, 12);
	assert_int_equal(bridge_parse_gone(nlh, &what), 0);
	assert_int_equal(what.kind, BRIDGE_FDB);
	assert_int_equal(what.ifindex, 7);
	assert_int_equal(what.vlan, 12);
	assert_memory_equal(what.mac, mac, sizeof(mac));
}

/* ARP's neighbours, what is learned, and a link as such are no losses of a bridge. */
static void nothing_gone(void **state)
{
	const struct ifinfomsg link = { .ifi_family = AF_UNSPEC, .ifi_index = 7 };
	const struct ifinfomsg port = { .ifi_family = AF_BRIDGE, .ifi_index = 7 };
	const struct ndmsg no_mac = { .ndm_family = AF_BRIDGE, .ndm_ifindex = 7 };
	struct bridge_gone what;

	(void)state;
	assert_int_equal(bridge_parse_gone(fdb(RTM_DELNEIGH, AF_INET, 7), &what), 1);
	assert_int_equal(bridge_parse_gone(fdb(RTM_NEWNEIGH, AF_BRIDGE, 7), &what), 1);
	assert_int_equal(bridge_parse_gone(start(RTM_DELNEIGH, &no_mac, sizeof(no_mac)), &what), 1);
	assert_int_equal(bridge_parse_gone(start(RTM_NEWLINK, &link, sizeof(link)), &what), 1);
	/* A port without a list of VLANs: its state has changed, not they. */
	assert_int_equal(bridge_parse_gone(start(RTM_NEWLINK, &port, sizeof(port)), &what), 1);
}

static void put_vlan(struct nlmsghdr *nlh, uint16_t vid, uint16_t flags)
{
	const struct bridge_vlan_info info = { .vid = vid, .flags = flags };

	mnl_attr_put(nlh, IFLA_BRIDGE_VLAN_INFO, sizeof(info), &info);
}

static void vlans_of_a_port(void **state)
{
	const struct ifinfomsg ifi = { .ifi_family = AF_BRIDGE, .ifi_index = 7 };
	struct nlmsghdr *nlh = start(RTM_NEWLINK, &ifi, sizeof(ifi));
	struct nlattr *nest = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	struct bridge_gone what;

	(void)state;
	put_vlan(nlh, 1, BRIDGE_VLAN_INFO_PVID);
	put_vlan(nlh, 100, BRIDGE_VLAN_INFO_RANGE_BEGIN);
	put_vlan(nlh, 200, BRIDGE_VLAN_INFO_RANGE_END);
	mnl_attr_nest_end(nlh, nest);
	assert_int_equal(bridge_parse_gone(nlh, &what), 0);
	assert_int_equal(what.kind, BRIDGE_VLANS);
	assert_int_equal(what.ifindex, 7);
	assert_true(vlan_set_has(&what.has, 1) && vlan_set_has(&what.has, 100) &&
		    vlan_set_has(&what.has, 150) && vlan_set_has(&what.has, 200));
	assert_false(vlan_set_has(&what.has, 2) || vlan_set_has(&what.has, 99) ||
		     vlan_set_has(&what.has, 201));
}

static void a_range_of_vlans(void **state)
{
	const struct br_vlan_msg msg = { .family = AF_BRIDGE, .ifindex = 7 };
	const struct bridge_vlan_info info = { .vid = 12 };
	struct nlmsghdr *nlh = start(RTM_DELVLAN, &msg, sizeof(msg));
	struct nlattr *nest = mnl_attr_nest_start(nlh, BRIDGE_VLANDB_ENTRY);
	struct bridge_gone what;

	(void)state;
	mnl_attr_put(nlh, BRIDGE_VLANDB_ENTRY_INFO, sizeof(info), &info);
	mnl_attr_put_u16(nlh, BRIDGE_VLANDB_ENTRY_RANGE, 14);
	mnl_attr_nest_end(nlh, nest);
	assert_int_equal(bridge_parse_gone(nlh, &what), 0);
	assert_int_equal(what.kind, BRIDGE_VLANS);
	assert_true(vlan_set_has(&what.has, 11) && vlan_set_has(&what.has, 15));
	assert_false(vlan_set_has(&what.has, 12) || vlan_set_has(&what.has, 13) ||
		     vlan_set_has(&what.has, 14));
}

static void not_to_be_believed(void **state)
{
	static const struct bridge_vlan_info rows[][2] = {
		{ { .vid = 4095 } },
		{ { .vid = 0, .flags = BRIDGE_VLAN_INFO_UNTAGGED } },
		{ { .vid = 20, .flags = BRIDGE_VLAN_INFO_RANGE_BEGIN },
		  { .vid = 10, .flags = BRIDGE_VLAN_INFO_RANGE_END } },
		/* an end without its beginning, or with that of another one */
		{ { .vid = 10, .flags = BRIDGE_VLAN_INFO_RANGE_END } },
		{ { .vid = 9 }, { .vid = 10, .flags = BRIDGE_VLAN_INFO_RANGE_END } },
	};
	const struct ifinfomsg ifi = { .ifi_family = AF_BRIDGE, .ifi_index = 7 };
	struct bridge_gone what;
	struct nlmsghdr *nlh;
	struct nlattr *nest;

	(void)state;
	assert_int_equal(bridge_parse_gone(fdb(RTM_DELNEIGH, AF_BRIDGE, 0), &what), -EBADMSG);
	assert_int_equal(bridge_parse_gone(start(RTM_DELNEIGH, "", 1), &what), -EBADMSG);
	assert_int_equal(bridge_parse_gone(start(RTM_DELVLAN, "", 1), &what), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		nlh = start(RTM_NEWLINK, &ifi, sizeof(ifi));
		nest = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
		for (size_t v = 0; v < 2 && (rows[i][v].vid || rows[i][v].flags); v++)
			put_vlan(nlh, rows[i][v].vid, rows[i][v].flags);
		mnl_attr_nest_end(nlh, nest);
		assert_int_equal(bridge_parse_gone(nlh, &what), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_fdb_entry),	      cmocka_unit_test(nothing_gone),
		cmocka_unit_test(vlans_of_a_port),    cmocka_unit_test(a_range_of_vlans),
		cmocka_unit_test(not_to_be_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
