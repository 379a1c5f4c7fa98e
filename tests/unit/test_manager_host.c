/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the manager does as links and configuration change around it, on a fake host. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "tests/unit/manager_bed.h"

static void tap_deleted(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct fake_link *tap;
	int was;

	run_port(f, &spec);
	was = fake_link(&f->h, "vn0-lan")->link.ifindex;
	fake_del_link(&f->h, "vn0-lan");
	fake_run(&f->h, 5 * SECOND);
	tap = fake_link(&f->h, "vn0-lan");
	assert_non_null(tap);
	assert_int_not_equal(tap->link.ifindex, was);
	assert_int_equal(tap->link.master, fake_link(&f->h, "br0")->link.ifindex);
	assert_true(tap->link.up);
	assert_int_equal(f->h.n_fdb, 1);
	assert_int_equal(atoi(f->h.fdb[0]), tap->link.ifindex);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void bridge_comes_and_goes(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	_cleanup_(freep) char *before = NULL;

	run_port(f, &spec);
	fake_del_link(&f->h, "br0");
	fake_run(&f->h, 5 * SECOND);
	assert_string_equal(manager_share(f->h.m, "lan")->reason,
			    "bridge br0 is missing: ports reach each other only");
	assert_int_equal(f->h.n_fdb, 0);
	fake_add_link(&f->h, "br0", LINK_BRIDGE, NULL);
	before = NULL;
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master,
			 fake_link(&f->h, "br0")->link.ifindex);
	assert_string_equal(manager_share(f->h.m, "lan")->reason, "");
	assert_int_equal(f->h.n_fdb, 1);
	end_domain(f, &spec);
	assert_null(fake_link(&f->h, "vn0-lan"));
}

static void bridge_renamed(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	strcpy(fake_link(&f->h, "br0")->link.name, "br1");
	fake_run(&f->h, 5 * SECOND);
	assert_true(strstr(manager_share(f->h.m, "lan")->reason, "missing") != NULL);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master, 0);
	strcpy(fake_link(&f->h, "br1")->link.name, "br0");
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master,
			 fake_link(&f->h, "br0")->link.ifindex);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void tap_taken_out_of_its_bridge(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_link(&f->h, "vn0-lan")->link.master = 0;
	fake_link(&f->h, "vn0-lan")->link.up = false;
	f->h.n_fdb = 0;
	fake_run(&f->h, 10 * SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master,
			 fake_link(&f->h, "br0")->link.ifindex);
	assert_true(fake_link(&f->h, "vn0-lan")->link.up);
	assert_int_equal(f->h.n_fdb, 1);
}

/* Every trace of it but the tap itself is lost: it is taken up again, and deleted in the end. */
static void an_orphan_of_ours(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	fake_add_link(&f->h, "vn0-lan", LINK_TAP, NULL)->ours = true;
	run_port(f, &spec);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void somebody_elses_tap(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	_cleanup_(freep) char *before = NULL;

	fake_add_link(&f->h, "vn0-lan", LINK_TAP, NULL);
	before = fake_snapshot(&f->h);
	prepare(f, &spec, 1);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_STEP_FAILED, "create tap vn0-lan: File exists");
	fake_run(&f->h, 100 * SECOND);
	same_as(f, before);
}

/* Many steps at once, as of a tap made anew, are not one turn of the loop: the watchdog and hooks wait for it. */
static void many_vlans_are_many_turns(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec;

	fake_link(&f->h, "br0")->link.vlan_filtering = true;
	for (unsigned int i = 1; i <= 40; i++) {
		spec = fake_spec(i, 1);
		spec.has_vlan = true;
		spec.vlan = (uint16_t)i;
		assert_non_null(prepare(f, &spec, 1));
		fake_run(&f->h, SECOND);
		assert_string_equal(f->o.err.message, "");
	}
	f->h.step_us = SECOND / 100;
	f->h.longest_turn = 0;
	fake_del_link(&f->h, "vn0-lan");
	fake_run(&f->h, 10 * SECOND);
	assert_true(fake_has_vlan(&f->h, "vn0-lan", 1) && fake_has_vlan(&f->h, "vn0-lan", 40));
	assert_in_range(f->h.longest_turn, SECOND / 100, SECOND / 10);
}

static void vlans_follow_their_ports(void **state)
{
	struct fixture *f = *state;
	struct port_spec one = fake_spec(1, 1), two = fake_spec(2, 1);

	fake_link(&f->h, "br0")->link.vlan_filtering = true;
	fake_link(&f->h, "eth0")->vlan[0] = 7;
	fake_link(&f->h, "eth0")->n_vlans = 1;
	one.has_vlan = two.has_vlan = true;
	one.vlan = 7; /* somebody else's too */
	two.vlan = 12;
	run_port(f, &one);
	run_port(f, &two);
	assert_true(fake_has_vlan(&f->h, "vn0-lan", 7) && fake_has_vlan(&f->h, "vn0-lan", 12));
	assert_true(fake_has_vlan(&f->h, "eth0", 7) && fake_has_vlan(&f->h, "eth0", 12));
	end_domain(f, &two);
	assert_false(fake_has_vlan(&f->h, "vn0-lan", 12) || fake_has_vlan(&f->h, "eth0", 12));
	/* Filtering switched off: frames pass with any tag. */
	fake_link(&f->h, "br0")->link.vlan_filtering = false;
	fake_run(&f->h, 3 * SECOND);
	assert_false(fake_has_vlan(&f->h, "vn0-lan", 7));
	end_domain(f, &one);
	assert_true(fake_has_vlan(&f->h, "eth0", 7));
	assert_int_equal(fake_link(&f->h, "eth0")->n_vlans, 1);
}

static void uplink_leaves(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	fake_link(&f->h, "br0")->link.vlan_filtering = true;
	spec.has_vlan = true;
	spec.vlan = 12;
	run_port(f, &spec);
	fake_link(&f->h, "eth0")->link.master = 0;
	fake_link(&f->h, "eth0")->n_vlans = 0;
	fake_run(&f->h, 3 * SECOND);
	fake_link(&f->h, "eth0")->link.master = fake_link(&f->h, "br0")->link.ifindex;
	fake_run(&f->h, 3 * SECOND);
	assert_true(fake_has_vlan(&f->h, "eth0", 12));
	end_domain(f, &spec);
	assert_int_equal(fake_link(&f->h, "eth0")->n_vlans, 0);
	assert_null(fake_link(&f->h, "vn0-lan"));
}

static void no_bridge_no_path(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	_cleanup_(freep) char *before = NULL;

	fake_link(&f->h, "br0")->link.up = false;
	before = fake_snapshot(&f->h);
	fake_run(&f->h, 1000);
	prepare(f, &spec, 1);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_NO_PATH, "ip link set br0 up");
	same_as(f, before);
}

static void reload(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;
	struct vnic_config *config = fake_config();
	unsigned int calls;

	run_port(f, &spec);
	config_class(config, "gold")->vlan = 200;
	assert_int_equal(manager_config_swap(f->h.m, config, &err), -EINVAL);
	assert_string_equal(err.code, VNIC_E_INVALID_CONFIG);
	assert_int_equal(config_class(f->h.m->config, "gold")->vlan, 0);
	config_free(config);

	config = fake_config();
	config_class(config, "gold")->rate = 5000000;
	config_class(config, "gold")->vlan = 3;
	calls = f->h.calls;
	assert_int_equal(manager_config_swap(f->h.m, config, &err), 0);
	fake_run(&f->h, SECOND);
	assert_int_equal(manager_port(f->h.m, &spec.key)->rate, 5000000);
	assert_int_equal(manager_port(f->h.m, &spec.key)->vlan, 0); /* not under a guest */
	while (calls < f->h.calls && !strstr(f->h.call[calls], "give the datapath port"))
		calls++;
	assert_true(calls < f->h.calls); /* it was told */
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void reload_while_the_datapath_is_told(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;
	struct vnic_config *config = fake_config();

	f->h.async = true;
	f->h.hold = STEP_DP_SEGMENT;
	assert_non_null(prepare(f, &spec, 1));
	fake_run(&f->h, SECOND);
	/* It has acted on what it was told, and its answer is still to come. */
	assert_int_equal(f->h.n_pending, 1);
	config_segment(config, "lan")->cores[0] = 3;
	config_segment(config, "lan")->n_cores = 1;
	assert_int_equal(manager_config_swap(f->h.m, config, &err), 0);
	f->h.hold = 0;
	fake_run(&f->h, SECOND);
	assert_int_equal(f->h.dp_segment[0].n_cores, 1);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
}

static void a_segment_taken_out_of_the_configuration(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;

	run_port(f, &spec);
	assert_int_equal(manager_config_swap(f->h.m, config_new(), &err), 0);
	fake_run(&f->h, 3 * SECOND);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	/* Also over a restart. */
	fake_kill(&f->h);
	fake_start(&f->h, config_new());
	fake_run(&f->h, 3 * SECOND);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master,
			 fake_link(&f->h, "br0")->link.ifindex);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void preview_does_nothing(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;
	struct manager_preview preview;

	assert_int_equal(manager_preview(f->h.m, &spec, &preview, &err), 0);
	assert_int_equal(preview.choice.path, VNIC_PATH_SOFTWARE);
	assert_int_equal(preview.shared.n, 5);
	assert_int_equal(preview.own.n, 3);
	manager_preview_clear(&preview);
	fake_run(&f->h, SECOND);
	same_as(f, f->before);
	assert_int_equal(f->h.calls, 0);
	/* What others have done already is not in it. */
	run_port(f, &spec);
	spec = fake_spec(2, 1);
	assert_int_equal(manager_preview(f->h.m, &spec, &preview, &err), 0);
	assert_int_equal(preview.shared.n, 0);
	manager_preview_clear(&preview);
}

static void an_fdb_entry_is_taken(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_take_fdb(&f->h);
	assert_int_equal(f->h.n_fdb, 0);
	fake_run(&f->h, SECOND);
	assert_int_equal(f->h.n_fdb, 1);
	assert_string_equal(manager_port(f->h.m, &spec.key)->reason, "");
	/* Notifications were lost: it may be gone. */
	f->h.n_fdb = 0;
	manager_bridge_gone(f->h.m, &(struct bridge_gone){ .kind = BRIDGE_FDB });
	fake_run(&f->h, SECOND);
	assert_int_equal(f->h.n_fdb, 1);
	/* Of another link, or of one that is not wanted: nothing to do. */
	f->h.calls = 0;
	manager_bridge_gone(f->h.m, &(struct bridge_gone){ .kind = BRIDGE_FDB, .ifindex = 1 });
	fake_peer(&f->h, &spec.key, PORT_CONNECTED);
	fake_run(&f->h, SECOND);
	f->h.calls = 0;
	fake_take_fdb(&f->h);
	fake_run(&f->h, SECOND);
	assert_int_equal(f->h.calls, 0);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static bool reason_has(struct fixture *f, const struct port_spec *spec, const char *words)
{
	return strstr(manager_port(f->h.m, &spec->key)->reason, words) != NULL;
}

/* Another manager takes it each time: it is not fought for ever, and told. */
static void an_fdb_entry_is_contested(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	unsigned int taken = 0;

	run_port(f, &spec);
	for (int i = 0; i < 1000; i++) {
		taken += f->h.n_fdb > 0;
		fake_take_fdb(&f->h);
		fake_run(&f->h, SECOND / 10);
	}
	assert_in_range(taken, 4, 9);
	assert_true(reason_has(f, &spec, "'bridge monitor fdb'"));
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	/* It gives up: once more, and that is well. */
	fake_run(&f->h, 31 * SECOND);
	assert_int_equal(f->h.n_fdb, 1);
	fake_run(&f->h, 60 * SECOND);
	assert_string_equal(manager_port(f->h.m, &spec.key)->reason, "");
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void a_vlan_is_contested(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	unsigned int taken = 0;

	fake_link(&f->h, "br0")->link.vlan_filtering = true;
	spec.has_vlan = true;
	spec.vlan = 12;
	run_port(f, &spec);
	fake_take_vlan(&f->h, "eth0", 12);
	fake_run(&f->h, SECOND);
	assert_true(fake_has_vlan(&f->h, "eth0", 12));
	assert_string_equal(manager_port(f->h.m, &spec.key)->reason, "");
	for (int i = 0; i < 1000; i++) {
		taken += fake_has_vlan(&f->h, "vn0-lan", 12);
		fake_take_vlan(&f->h, "vn0-lan", 12);
		fake_run(&f->h, SECOND / 10);
	}
	assert_in_range(taken, 4, 9);
	assert_true(reason_has(f, &spec, "'bridge monitor vlan'"));
	fake_run(&f->h, 31 * SECOND);
	assert_true(fake_has_vlan(&f->h, "vn0-lan", 12));
	fake_run(&f->h, 60 * SECOND);
	assert_string_equal(manager_port(f->h.m, &spec.key)->reason, "");
	end_domain(f, &spec);
	/* What it was before our first touch is what it is after the last. */
	assert_int_equal(fake_link(&f->h, "eth0")->n_vlans, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_fdb_entry_is_taken),
		TEST(an_fdb_entry_is_contested),
		TEST(a_vlan_is_contested),
		TEST(tap_deleted),
		TEST(bridge_comes_and_goes),
		TEST(bridge_renamed),
		TEST(tap_taken_out_of_its_bridge),
		TEST(an_orphan_of_ours),
		TEST(somebody_elses_tap),
		TEST(many_vlans_are_many_turns),
		TEST(vlans_follow_their_ports),
		TEST(uplink_leaves),
		TEST(no_bridge_no_path),
		TEST(reload),
		TEST(reload_while_the_datapath_is_told),
		TEST(a_segment_taken_out_of_the_configuration),
		TEST(preview_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
