/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/exec/bridge.c over a kernel that is played, for what a test's host may not have: VLANs on a bridge, and
 * numbers of links that are given out again.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "daemon/exec/exec_priv.h"

#define BRIDGE 4
#define TAP    12
#define UPLINK 2

static struct {
	struct nl_link link[4];
	size_t n_links;
	uint16_t vlan[8]; /* of port vlan_port */
	size_t n_vlans;
	int vlan_port;
	struct {
		int ifindex; /* 0: none */
		uint16_t vlan, state;
		bool marked;
	} fdb; /* of the one MAC */
	int deleted_at;
	unsigned int n_writes;
	uint16_t written;
} kernel;

/* daemon/exec/nl.h, as played */

int nl_new(int protocol, struct nl **ret)
{
	(void)protocol;
	*ret = NULL;
	return 0;
}

struct nl *nl_free(struct nl *nl)
{
	return nl;
}

void nl_start(struct nl_request *req, uint16_t type, uint16_t flags, const void *header,
	      size_t header_size)
{
	memset(req->buf, 0, sizeof(req->buf));
	req->nlh = mnl_nlmsg_put_header(req->buf);
	req->nlh->nlmsg_type = type;
	req->nlh->nlmsg_flags = flags;
	memcpy(mnl_nlmsg_put_extra_header(req->nlh, header_size), header, header_size);
}

static void dump_vlans(nl_answer_fn fn, void *data)
{
	struct ifinfomsg ifi = { .ifi_family = AF_BRIDGE, .ifi_index = kernel.vlan_port };
	struct nl_request req;
	struct nlattr *nest;

	nl_start(&req, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	nest = mnl_attr_nest_start(req.nlh, IFLA_AF_SPEC);
	for (size_t i = 0; i < kernel.n_vlans; i++) {
		struct bridge_vlan_info info = { .vid = kernel.vlan[i] };

		mnl_attr_put(req.nlh, IFLA_BRIDGE_VLAN_INFO, sizeof(info), &info);
	}
	mnl_attr_nest_end(req.nlh, nest);
	fn(req.nlh, data);
}

static uint16_t vlan_asked(const struct nl_request *req)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, req->nlh, sizeof(struct ndmsg))
	{
		if (mnl_attr_get_type(a) == NDA_VLAN)
			return mnl_attr_get_u16(a);
	}
	return 0;
}

static int answer_fdb(const struct nl_request *asked, nl_answer_fn fn, void *data)
{
	struct ndmsg ndm = { .ndm_family = AF_BRIDGE,
			     .ndm_ifindex = kernel.fdb.ifindex,
			     .ndm_state = kernel.fdb.state };
	struct nl_request req;
	struct nlattr *nest;

	if (!kernel.fdb.ifindex || vlan_asked(asked) != kernel.fdb.vlan)
		return -ENOENT;
	nl_start(&req, RTM_NEWNEIGH, 0, &ndm, sizeof(ndm));
	nest = mnl_attr_nest_start(req.nlh, NDA_FDB_EXT_ATTRS);
	if (kernel.fdb.marked)
		mnl_attr_put_u8(req.nlh, NFEA_ACTIVITY_NOTIFY, FDB_NOTIFY_BIT);
	mnl_attr_nest_end(req.nlh, nest);
	fn(req.nlh, data);
	return 0;
}

static int delete_fdb(const struct nl_request *req)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(req->nlh);

	if (ndm->ndm_ifindex != kernel.fdb.ifindex || vlan_asked(req) != kernel.fdb.vlan)
		return -ENOENT;
	kernel.deleted_at = kernel.fdb.ifindex;
	kernel.fdb.ifindex = 0;
	return 0;
}

int nl_call(struct nl *nl, struct nl_request *req, nl_answer_fn fn, void *data,
	    struct vnic_err *err)
{
	(void)nl;
	(void)err;
	if (req->nlh->nlmsg_type == RTM_GETLINK) {
		dump_vlans(fn, data);
		return 0;
	}
	if (req->nlh->nlmsg_type == RTM_GETNEIGH)
		return answer_fdb(req, fn, data);
	kernel.n_writes++;
	kernel.written = req->nlh->nlmsg_type;
	return req->nlh->nlmsg_type == RTM_DELNEIGH ? delete_fdb(req) : 0;
}

int nl_bridge_has_ports(struct nl *nl, int ifindex, struct vnic_err *err)
{
	(void)nl;
	(void)ifindex;
	(void)err;
	return 1;
}

int nl_get_link(struct nl *nl, int ifindex, const char *name, struct nl_link *ret,
		struct vnic_err *err)
{
	(void)nl;
	(void)name;
	(void)err;
	for (size_t i = 0; i < kernel.n_links; i++)
		if (kernel.link[i].ifindex == ifindex) {
			*ret = kernel.link[i];
			return 0;
		}
	return -ENODEV;
}

static const uint8_t card[] = { 2, 0, 0, 0, 0, 1 }, other[] = { 2, 0, 0, 0, 0, 9 };

static int set_up(void **state)
{
	static struct exec exec;

	memset(&kernel, 0, sizeof(kernel));
	kernel.link[0] = (struct nl_link){
		.ifindex = BRIDGE, .name = "br0", .bridge = true, .vlan_filtering = true
	};
	kernel.link[1] = (struct nl_link){
		.ifindex = TAP, .name = "vn0-lan", .tap = true, .master = BRIDGE
	};
	strcpy(kernel.link[1].alias, TAP_ALIAS "lan");
	kernel.link[2] = (struct nl_link){ .ifindex = UPLINK, .name = "eth0", .master = BRIDGE };
	memcpy(kernel.link[2].mac, card, sizeof(card));
	kernel.n_links = 3;
	*state = &exec;
	return 0;
}

static struct step vlan_step(int port)
{
	struct step step = { .kind = STEP_BRIDGE_VLAN, .ifindex = port, .master = BRIDGE };

	step.vlan = 12;
	if (port == UPLINK)
		memcpy(step.mac, card, sizeof(card));
	kernel.vlan_port = port;
	return step;
}

static void vlan_of_a_port(void **state)
{
	static const int ports[] = { TAP, UPLINK };

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		struct step step = vlan_step(ports[i]);

		kernel.n_writes = 0;
		kernel.n_vlans = 0;
		assert_int_equal(vlan_probe(*state, &step, NULL), 0);
		assert_true(step.has_prev && step.prev == 0);
		assert_int_equal(vlan_do(*state, &step, NULL), 0);
		assert_int_equal(kernel.written, RTM_SETLINK);
		kernel.vlan[kernel.n_vlans++] = 12;
		assert_int_equal(vlan_do(*state, &step, NULL), 0);
		assert_int_equal(kernel.n_writes, 1);
		assert_int_equal(vlan_undo(*state, &step, NULL), 0);
		assert_int_equal(kernel.written, RTM_DELLINK);
		kernel.n_vlans = 0;
		assert_int_equal(vlan_undo(*state, &step, NULL), 0);
		assert_int_equal(kernel.n_writes, 2);
	}
}

/* The number is another link's by now, which is in the same bridge and lets the VLAN through. */
static void number_given_out_again(void **state)
{
	static const int ports[] = { TAP, UPLINK };

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		struct step step = vlan_step(ports[i]);
		struct vnic_err err = VNIC_ERR_INIT;

		set_up(state);
		kernel.vlan_port = ports[i];
		assert_int_equal(vlan_probe(*state, &step, NULL), 0);
		strcpy(kernel.link[i + 1].name, "eth7");
		kernel.link[i + 1].alias[0] = '\0';
		memcpy(kernel.link[i + 1].mac, other, sizeof(other));
		assert_int_equal(vlan_do(*state, &step, &err), -ESTALE);
		assert_non_null(strstr(err.message, "eth7"));
		kernel.vlan[kernel.n_vlans++] = 12;
		assert_int_equal(vlan_undo(*state, &step, NULL), 0);
		step.has_prev = false;
		assert_int_equal(vlan_probe(*state, &step, NULL), -ESTALE);
		assert_int_equal(kernel.n_writes, 0);
	}
}

/* An answer that is none is no ground to act on. */
static void vlans_not_to_be_believed(void **state)
{
	struct step step = vlan_step(TAP);
	struct vnic_err err = VNIC_ERR_INIT;

	kernel.vlan[kernel.n_vlans++] = 4095;
	assert_int_equal(vlan_probe(*state, &step, &err), -EBADMSG);
	assert_int_equal(vlan_do(*state, &step, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "malformed"));
	assert_int_equal(kernel.n_writes, 0);
}

/* As in a bond, or by an administrator: it is the same card. */
static void uplink_with_another_mac(void **state)
{
	struct step step = vlan_step(UPLINK);

	memcpy(kernel.link[2].perm_mac, card, sizeof(card));
	memcpy(kernel.link[2].mac, other, sizeof(other));
	assert_int_equal(vlan_probe(*state, &step, NULL), 0);
	kernel.vlan[kernel.n_vlans++] = 12;
	assert_int_equal(vlan_undo(*state, &step, NULL), 0);
	assert_int_equal(kernel.written, RTM_DELLINK);
}

static void fdb_of_a_number_given_out_again(void **state)
{
	struct step step = { .kind = STEP_FDB, .ifindex = TAP, .mac = { 0x52, 0x54, 0, 0, 0, 1 } };

	assert_int_equal(fdb_do(*state, &step, NULL), 0);
	assert_int_equal(kernel.written, RTM_NEWNEIGH);
	strcpy(kernel.link[1].alias, "mine");
	assert_int_equal(fdb_do(*state, &step, NULL), -ESTALE);
	assert_int_equal(fdb_undo(*state, &step, NULL), 0);
	assert_int_equal(kernel.n_writes, 1);
}

static void fdb_entry_that_moved(void **state)
{
	static const struct {
		int ifindex;
		uint16_t vlan, state;
		bool marked, goes;
	} rows[] = {
		{ UPLINK, 12, NUD_NOARP, true, true }, /* by a frame */
		{ UPLINK, 12, NUD_NOARP, false, false }, /* by somebody's replace */
		{ UPLINK, 12, NUD_REACHABLE, true, false }, /* it ages */
		{ UPLINK, 13, NUD_NOARP, true, false }, /* of another VLAN */
		{ TAP + 1, 12, NUD_NOARP, true, false }, /* another port's */
		{ UPLINK + 90, 12, NUD_NOARP, true, false }, /* gone since */
		{ TAP, 12, NUD_NOARP, true, true },
	};
	struct step step = {
		.kind = STEP_FDB, .ifindex = TAP, .vlan = 12, .mac = { 0x52, 0x54, 0, 0, 0, 1 }
	};

	kernel.link[3] = kernel.link[1];
	kernel.link[3].ifindex = TAP + 1;
	kernel.n_links = 4;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		kernel.fdb.ifindex = rows[i].ifindex;
		kernel.fdb.vlan = rows[i].vlan;
		kernel.fdb.state = rows[i].state;
		kernel.fdb.marked = rows[i].marked;
		kernel.deleted_at = 0;
		assert_int_equal(fdb_undo(*state, &step, NULL), 0);
		assert_int_equal(kernel.deleted_at, rows[i].goes ? rows[i].ifindex : 0);
	}
}

#define TEST(t) cmocka_unit_test_setup(t, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(vlan_of_a_port),
		TEST(number_given_out_again),
		TEST(uplink_with_another_mac),
		TEST(vlans_not_to_be_believed),
		TEST(fdb_of_a_number_given_out_again),
		TEST(fdb_entry_that_moved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
