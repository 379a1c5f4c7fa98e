/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "daemon/model/config.h"
#include "daemon/model/link.h"
#include "daemon/model/port.h"
#include "daemon/model/step.h"

static void vlan_sets(void **state)
{
	static const char *const bad[] = { "",	   ",", "1,", ",1", "1,,2", "4095",
					   "10-5", "a", "1-", "-1", "1 2" };
	struct vlan_set set = { { 7 } };
	char buf[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(vlan_set_parse(bad[i], &set) < 0);
		assert_int_equal(set.bits[0], 7);
	}
	assert_int_equal(vlan_set_parse("30, 0,10-20,4094", &set), 0);
	assert_true(vlan_set_has(&set, 0) && vlan_set_has(&set, 10) && vlan_set_has(&set, 20));
	assert_true(vlan_set_has(&set, 4094));
	assert_false(vlan_set_has(&set, 21) || vlan_set_has(&set, 9) || vlan_set_has(&set, 4095));
	assert_string_equal(vlan_set_format(&set, buf, sizeof(buf)), "0,10-20,30,4094");
	assert_true(strlen(vlan_set_format(&set, buf, 8)) < 8);
}

static void path_lists(void **state)
{
	static const char *const bad[] = {
		"", "software,", "vdpa,vdpa", "Software", "none", "fast"
	};
	struct path_list list = { { VNIC_PATH_VMDQ } };
	struct vnic_err err = VNIC_ERR_INIT;
	char buf[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(path_list_parse(bad[i], &list, &err), -EINVAL);
		assert_int_equal(list.path[0], VNIC_PATH_VMDQ);
	}
	assert_int_equal(path_list_parse("sriov, vdpa,vmdq,software", &list, &err), 0);
	assert_string_equal(path_list_format(&list, buf, sizeof(buf)), "sriov,vdpa,vmdq,software");
}

static void port_keys(void **state)
{
	static const char *const good = "12345678-9abc-def0-1234-56789abcdef0/52:54:00:00:00:01";
	char buf[PORT_KEY_STR], shorter[PORT_KEY_STR];
	struct port_key key;

	(void)state;
	assert_int_equal(port_key_parse(good, &key), 0);
	assert_string_equal(port_key_format(&key, buf), good);
	for (size_t n = 0; n < strlen(good); n++) {
		memcpy(shorter, good, n);
		shorter[n] = '\0';
		assert_int_equal(port_key_parse(shorter, &key), -EINVAL);
	}
}

static void plans(void **state)
{
	struct step step = { .kind = STEP_LINK_UP };
	struct plan plan = { 0 }, copy = { 0 };
	char buf[160];

	(void)state;
	for (int i = 0; i < 100; i++) {
		step.ifindex = i;
		assert_int_equal(plan_add(&plan, &step), 0);
	}
	plan_remove(&plan, 0);
	plan_remove(&plan, 98);
	step.ifindex = 200;
	assert_int_equal(plan_insert(&plan, 1, &step), 0);
	assert_int_equal(plan.n, 99);
	assert_int_equal(plan.step[0].ifindex, 1);
	assert_int_equal(plan.step[1].ifindex, 200);
	assert_int_equal(plan.step[2].ifindex, 2);
	assert_int_equal(plan.step[98].ifindex, 98);
	plan_remove(&plan, 1);
	assert_int_equal(plan.n, 98);
	assert_int_equal(plan.step[0].ifindex, 1);
	assert_int_equal(plan.step[97].ifindex, 98);
	assert_int_equal(plan_copy(&copy, &plan), 0);
	plan_clear(&plan);
	assert_int_equal(copy.step[97].ifindex, 98);
	plan_clear(&copy);
	for (int k = 1; k < STEP_KIND_COUNT; k++) {
		enum step_kind kind;

		assert_int_equal(step_kind_parse(step_kind_str((enum step_kind)k), &kind), 0);
		assert_int_equal(kind, k);
		step.kind = kind;
		assert_null(strstr(step_describe(&step, buf, sizeof(buf)), "unknown"));
	}
}

static void links(void **state)
{
	struct vnic_link link = { .ifindex = 3, .name = "eth3", .kind = LINK_PHYSICAL };
	struct inventory inv;

	(void)state;
	inventory_init(&inv);
	assert_int_equal(inventory_upsert(&inv, &link), 1);
	assert_int_equal(inventory_upsert(&inv, &link), 0);
	assert_int_equal(inv.generation, 1);
	link.mtu = 9000;
	assert_int_equal(inventory_upsert(&inv, &link), 1);
	assert_int_equal(inventory_find(&inv, 3)->mtu, 9000);
	assert_ptr_equal(inventory_find_name(&inv, "eth3"), inventory_find(&inv, 3));
	assert_int_equal(inventory_remove(&inv, 4), 0);
	assert_int_equal(inventory_remove(&inv, 3), 1);
	assert_null(inventory_find(&inv, 3));
	link.ifindex = 9;
	assert_int_equal(inventory_upsert(&inv, &link), 1);
	inventory_deinit(&inv);
}

static void config_names(void **state)
{
	struct vnic_config *config = config_new();
	struct vnic_class *class = calloc(1, sizeof(*class)), *again = calloc(1, sizeof(*again));

	(void)state;
	strcpy(class->name, "gold");
	strcpy(again->name, "gold");
	assert_int_equal(config_add_class(config, class), 0);
	assert_int_equal(config_add_class(config, again), -EEXIST);
	assert_ptr_equal(config_class(config, "gold"), class);
	assert_null(config_segment(config, "gold"));
	free(again);
	config_free(config);
}

static void mgmtdev_names(void **state)
{
	static const char *const good[] = { "vnic/eth0", "pci/0000:03:00.2", "vdpasim_net",
					    "auxiliary/mlx5_core.sf.1" };
	static const char *const bad[] = { "",	   "/",	     "a/",	 "/a",	  "a/b/c",
					   "../x", "a/../b", "a/..",	 ".",	  "a b",
					   "a\n",  "a/\x7f", "\xc3\xa4", "a/\xff" };
	char large[MGMTDEV_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(mgmtdev_name_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (mgmtdev_name_valid(bad[i]))
			fail_msg("%s", bad[i]);
	memset(large, 'a', sizeof(large));
	large[MGMTDEV_NAME_MAX] = '\0';
	assert_false(mgmtdev_name_valid(large));
	large[MGMTDEV_NAME_MAX - 1] = '\0';
	assert_true(mgmtdev_name_valid(large));
	assert_true(mgmtdev_is_vnic("vnic/eth0"));
	assert_false(mgmtdev_is_vnic("vnic"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mgmtdev_names), cmocka_unit_test(vlan_sets),
		cmocka_unit_test(path_lists),	 cmocka_unit_test(port_keys),
		cmocka_unit_test(plans),	 cmocka_unit_test(links),
		cmocka_unit_test(config_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
