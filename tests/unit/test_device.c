/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports with a VF, and nics that are given their VFs, on a fake host. Killed and failed at each step: test_plan. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "tests/unit/manager_bed.h"

static struct vnic_config *config_with(int vfs)
{
	struct vnic_config *config = fake_config();

	fake_want_vfs(config, "eth0", vfs);
	return config;
}

/* A host with a PF that has been given its VFs. */
static struct fixture *with_vfs(void **state, int vfs)
{
	give_vfs(*state, config_with(vfs), vfs);
	return *state;
}

static bool has_fdb(struct fixture *f, const struct port_spec *spec)
{
	for (size_t i = 0; i < f->h.pf[0].n_fdb; i++)
		if (!memcmp(f->h.pf[0].fdb[i], spec->key.mac, VNIC_MAC_LEN))
			return true;
	return false;
}

static void a_life(void **state)
{
	struct fixture *f = with_vfs(state, 3);
	struct port_spec spec = standby_spec(1);
	struct vnic_port *port;
	struct vnic_vf *vf;

	assert_true(manager_nic(f->h.m, PF0)->ready);
	assert_non_null(prepare(f, &spec, 1));
	fake_run(&f->h, SECOND);
	port = port_of(f, &spec);
	assert_int_equal(port->device.state, DEVICE_RESERVED);
	assert_null(fake_plugged(&f->h, &spec.key)); /* before the domain runs nothing is done */
	end_domain(f, &spec);
	run_port(f, &spec);
	port = port_of(f, &spec);
	assert_int_equal(port->device.state, DEVICE_ATTACHED);
	assert_int_equal(port->path, VNIC_PATH_SRIOV);
	vf = fake_plugged(&f->h, &spec.key);
	assert_non_null(vf);
	assert_string_equal(vf->driver, "vfio-pci");
	/* The guest's driver has to find it first: until then its frames come both ways. */
	assert_int_equal(f->h.n_fdb, 0); /* it may move */
	assert_true(has_fdb(f, &spec));
	assert_int_equal(f->h.dp_standby[0], STANDBY_LEARN);
	fake_run(&f->h, 6 * SECOND);
	assert_int_equal(f->h.n_fdb, 0);
	assert_false(has_fdb(f, &spec));
	assert_int_equal(f->h.dp_standby[0], STANDBY_AWAY);
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void the_same_again(void **state)
{
	struct fixture *f = with_vfs(state, 3);
	struct port_spec a = standby_spec(1), b = standby_spec(2);
	char before[DEV_ADDR_MAX];

	run_port(f, &a);
	run_port(f, &b);
	strcpy(before, port_of(f, &b)->device.vf_addr);
	end_domain(f, &a);
	end_domain(f, &b);
	run_port(f, &b);
	assert_string_equal(port_of(f, &b)->device.vf_addr, before);
}

static void none_free_then_promoted(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec a = standby_spec(1), b = standby_spec(2), c = standby_spec(3);
	char addr[DEV_ADDR_MAX];

	run_port(f, &a);
	run_port(f, &b);
	run_port(f, &c);
	assert_int_equal(port_of(f, &b)->path, VNIC_PATH_SOFTWARE);
	says(port_of(f, &b)->device.reason, "not eth0: no free VF (1 of 1 taken)");
	strcpy(addr, port_of(f, &a)->device.vf_addr);
	end_domain(f, &a);
	fake_run(&f->h, 5 * SECOND);
	/* The one that has waited longest. */
	assert_int_equal(port_of(f, &b)->device.state, DEVICE_ATTACHED);
	assert_string_equal(port_of(f, &b)->device.vf_addr, addr);
	assert_string_equal(port_of(f, &b)->device.reason, "");
	assert_int_equal(port_of(f, &c)->device.state, DEVICE_NONE);
}

static void priority_goes_first(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct vnic_config *config = config_with(1);
	struct port_spec a = standby_spec(1), b = standby_spec(2), c = standby_spec(3);
	struct vnic_class *silver = calloc(1, sizeof(*silver));

	*silver = *config_class(config, "gold");
	memset(&silver->hh, 0, sizeof(silver->hh));
	strcpy(silver->name, "silver");
	silver->priority = 5;
	assert_int_equal(config_add_class(config, silver), 0);
	swap(f, config);
	strcpy(c.class_name, "silver");
	run_port(f, &a);
	run_port(f, &b);
	run_port(f, &c);
	end_domain(f, &a);
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(port_of(f, &b)->device.state, DEVICE_NONE);
	assert_int_equal(port_of(f, &c)->device.state, DEVICE_ATTACHED);
}

static void only_vfs_and_none_free(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct vnic_config *config = config_with(1);
	struct port_spec a = standby_spec(1), b = standby_spec(2);

	config_class(config, "gold")->paths.path[1] = VNIC_PATH_NONE;
	swap(f, config);
	run_port(f, &a);
	prepare(f, &b, 1);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_NO_PATH, "not eth0: no free VF (1 of 1 taken)");
}

static void a_step_fails_and_the_guest_goes_on(void **state)
{
	struct fixture *f = with_vfs(state, 2);
	struct port_spec spec = standby_spec(1);
	struct vnic_port *port;

	f->h.refuse = STEP_VF_ATTACH;
	run_port(f, &spec);
	port = port_of(f, &spec);
	assert_int_equal(port->state, PORT_RUNNING);
	assert_int_equal(port->path, VNIC_PATH_SOFTWARE);
	says(port->device.reason, "could not plug VF");
	assert_int_equal(f->h.n_plugged, 0);
	assert_int_equal(f->h.n_fdb, 1);
	f->h.refuse = 0;
	fake_run(&f->h, 120 * SECOND);
	assert_int_equal(port->device.state, DEVICE_ATTACHED);
	assert_string_equal(port->device.reason, "");
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void its_pf_loses_its_driver(void **state)
{
	struct fixture *f = with_vfs(state, 3);
	struct port_spec spec = standby_spec(1);
	struct vnic_port *port;

	run_port(f, &spec);
	fake_numvfs(&f->h, &f->h.pf[0], 0);
	fake_del_pf(&f->h, PF0);
	fake_run(&f->h, 10 * SECOND);
	port = port_of(f, &spec);
	assert_int_equal(port->state, PORT_RUNNING);
	assert_int_equal(port->device.state, DEVICE_NONE);
	assert_int_equal(port->path, VNIC_PATH_SOFTWARE);
	assert_int_equal(f->h.n_fdb, 1);
	assert_null(manager_nic(f->h.m, PF0));
	/* It comes back, with none: they are made again, and the guest has one again. */
	fake_add_pf(&f->h, PF0, "eth0", 7);
	fake_run(&f->h, 120 * SECOND);
	assert_int_equal(port->device.state, DEVICE_ATTACHED);
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void numvfs_changed_behind_our_back(void **state)
{
	struct fixture *f = with_vfs(state, 3);
	struct port_spec spec = standby_spec(1);
	struct vnic_port *port;

	run_port(f, &spec);
	port = port_of(f, &spec);
	fake_numvfs(&f->h, &f->h.pf[0], 0);
	fake_numvfs(&f->h, &f->h.pf[0], 5);
	fake_run(&f->h, 60 * SECOND);
	/* Five are not what was asked for, and not ours to take away; but they may be used. */
	assert_int_equal(f->h.pf[0].pf.num_vfs, 5);
	assert_false(manager_nic(f->h.m, PF0)->ready);
	says(manager_nic(f->h.m, PF0)->reason, "it has 5 VFs, which vnicd did not make");
	assert_int_equal(port->device.state, DEVICE_ATTACHED);
	assert_non_null(fake_plugged(&f->h, &spec.key));
	end_domain(f, &spec);
	fake_numvfs(&f->h, &f->h.pf[0], 0);
	fake_run(&f->h, 60 * SECOND);
	assert_int_equal(f->h.pf[0].pf.num_vfs, 3);
	assert_true(manager_nic(f->h.m, PF0)->ready);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void vfs_of_somebody_else(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = NULL;

	fake_numvfs(&f->h, fake_add_pf(&f->h, PF0, "eth0", 7), 2);
	fake_run(&f->h, SECOND);
	before = fake_snapshot(&f->h);
	swap(f, config_with(4));
	says(manager_nic(f->h.m, PF0)->reason, "it has 2 VFs, which vnicd did not make");
	same_as(f, before);
	/* As many as are wanted: theirs, and welcome; they stay when the wish goes. */
	swap(f, config_with(2));
	assert_true(manager_nic(f->h.m, PF0)->ready);
	swap(f, config_with(0));
	same_as(f, before);
}

static void more_than_it_can_have(void **state)
{
	struct fixture *f = *state;

	fake_add_pf(&f->h, PF0, "eth0", 7);
	swap(f, config_with(8));
	says(manager_nic(f->h.m, PF0)->reason, "[nic eth0] vfs=8: it can have 7 at most");
	assert_int_equal(f->h.pf[0].pf.num_vfs, 0);
}

static void the_kernel_makes_fewer(void **state)
{
	struct fixture *f = *state;

	fake_add_pf(&f->h, PF0, "eth0", 7)->stuck = true;
	swap(f, config_with(4));
	says(manager_nic(f->h.m, PF0)->reason, "its VFs are being made: 0 of 4 are there");
	fake_run(&f->h, 60 * SECOND);
	says(manager_nic(f->h.m, PF0)->reason, "the kernel shows 0 of 4 VFs whole after 30 s");
	f->h.pf[0].stuck = false;
	fake_run(&f->h, SECOND);
	assert_true(manager_nic(f->h.m, PF0)->ready);
}

static void kept_while_in_use(void **state)
{
	struct fixture *f = with_vfs(state, 3);
	struct port_spec spec = standby_spec(1);

	run_port(f, &spec);
	swap(f, config_with(0));
	says(manager_nic(f->h.m, PF0)->reason, "it keeps its 3 VFs until none is in use");
	assert_int_equal(f->h.pf[0].pf.num_vfs, 3);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	end_domain(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	same_as(f, f->before);
}

/* The card's MAC of a VF that nobody has is not looked at; that of one in a guest is. */
static void an_attribute_is_changed(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct port_spec spec = standby_spec(1);
	struct vnic_port *port;
	struct vnic_vf *vf;

	run_port(f, &spec);
	port = port_of(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	vf = fake_plugged(&f->h, &spec.key);
	vf->value[VF_SPOOFCHK] = 0;
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(vf->value[VF_SPOOFCHK], 1);
	assert_string_equal(port->device.reason, "");
	for (int i = 0; i < 4; i++) {
		vf->value[VF_MAC] = 0x020000000001;
		fake_run(&f->h, 6 * SECOND);
		assert_int_equal(vf->value[VF_MAC], vf_mac_value(spec.key.mac));
	}
	says(port->device.reason, "somebody keeps changing its VF's attributes");
	assert_int_equal(port->device.state, DEVICE_ATTACHED);
	fake_run(&f->h, 120 * SECOND);
	assert_string_equal(port->device.reason, "");
}

static void a_trusted_guest_takes_another_mac(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct vnic_config *config = config_with(1);
	struct port_spec spec = standby_spec(1);
	struct vnic_port *port;
	struct vnic_vf *vf;

	config_class(config, "gold")->trust = true;
	swap(f, config);
	run_port(f, &spec);
	port = port_of(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	vf = fake_plugged(&f->h, &spec.key);
	assert_int_equal(vf->value[VF_TRUST], 1);
	vf->value[VF_MAC] = 0x020000000001;
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(vf->value[VF_MAC], 0x020000000001);
	assert_string_equal(port->device.asked, "mac 02:00:00:00:00:01");
	vf->value[VF_MAC] = vf_mac_value(spec.key.mac);
	fake_run(&f->h, 5 * SECOND);
	assert_string_equal(port->device.asked, "");
}

static void settings_change_under_the_guest(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct vnic_config *config = config_with(1);
	struct port_spec spec = standby_spec(1);
	struct vnic_vf *vf;

	run_port(f, &spec);
	vf = fake_plugged(&f->h, &spec.key);
	config_class(config, "gold")->trust = true;
	config_class(config, "gold")->rate = 2000000000;
	config_class(config, "gold")->vf =
		(struct vf_extra){ .min_rate = 1000000, .link = VF_LINK_ENABLE };
	vf->value[VF_LINK_STATE] = 2;
	swap(f, config);
	assert_int_equal(vf->value[VF_TRUST], 1);
	assert_int_equal(vf->value[VF_RATE], 2000); /* this driver keeps none for a VF */
	assert_int_equal(vf->value[VF_LINK_STATE], 1);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	swap(f, config_with(1));
	assert_int_equal(vf->value[VF_TRUST], 0);
	assert_int_equal(vf->value[VF_RATE], 0);
	/* Of its link the class says nothing any more: as it was. */
	assert_int_equal(vf->value[VF_LINK_STATE], 2);
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

/* A setting that the card refuses does not cost the guest its VF. */
static void a_setting_is_refused(void **state)
{
	struct fixture *f = with_vfs(state, 1);
	struct vnic_config *config = config_with(1);
	struct port_spec spec = standby_spec(1);

	run_port(f, &spec);
	f->h.refuse = STEP_VF_ATTR;
	config_class(config, "gold")->trust = true;
	swap(f, config);
	says(port_of(f, &spec)->device.reason, "trust on");
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	assert_non_null(fake_plugged(&f->h, &spec.key));
	f->h.refuse = 0;
	fake_run(&f->h, 60 * SECOND);
	assert_string_equal(port_of(f, &spec)->device.reason, "");
	assert_int_equal(fake_plugged(&f->h, &spec.key)->value[VF_TRUST], 1);
}

/* Killed with the VF in the guest: the next one looks whether it is there still, and it is not taken away. */
static void a_restart(void **state)
{
	struct fixture *f = with_vfs(state, 3);
	struct port_spec spec = standby_spec(1);
	_cleanup_(freep) char *before = NULL;
	char addr[DEV_ADDR_MAX];

	run_port(f, &spec);
	fake_run(&f->h, 10 * SECOND);
	before = fake_snapshot(&f->h);
	strcpy(addr, port_of(f, &spec)->device.vf_addr);
	fake_kill(&f->h);
	fake_start(&f->h, config_with(3));
	assert_int_equal(f->h.dp_standby[0], STANDBY_AWAY);
	fake_peer(&f->h, &spec.key, PORT_RUNNING);
	fake_run(&f->h, 10 * SECOND);
	assert_string_equal(port_of(f, &spec)->device.vf_addr, addr);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	same_as(f, before);
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void software_ports_are_told_to_the_card(void **state)
{
	struct fixture *f = with_vfs(state, 2);
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_run(&f->h, SECOND);
	assert_int_equal(port_of(f, &spec)->path, VNIC_PATH_SOFTWARE);
	assert_true(has_fdb(f, &spec));
	/* ... the bridge's own MAC, which is not the PF's, too. */
	assert_int_equal(f->h.pf[0].n_fdb, 2);
	fake_peer(&f->h, &spec.key, PORT_READY);
	fake_run(&f->h, SECOND);
	assert_false(has_fdb(f, &spec));
	end_domain(f, &spec);
	assert_int_equal(f->h.pf[0].n_fdb, 0);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void quotas(void **state)
{
	struct fixture *f = with_vfs(state, 2);
	struct vnic_config *config = config_with(2);
	struct port_spec a = standby_spec(1), b = standby_spec(2);

	config_class(config, "gold")->max_vfs = 1;
	swap(f, config);
	run_port(f, &a);
	run_port(f, &b);
	assert_int_equal(port_of(f, &b)->device.state, DEVICE_NONE);
	says(port_of(f, &b)->device.reason, "class gold has 1 of 1 VFs");
	swap(f, config_with(2));
	assert_int_equal(port_of(f, &b)->device.state, DEVICE_ATTACHED);
}

static void somebody_takes_it_out(void **state)
{
	struct fixture *f = with_vfs(state, 2);
	struct port_spec spec = standby_spec(1);
	char addr[1][DEV_ADDR_MAX];
	struct vnic_err err = VNIC_ERR_INIT;
	uint64_t asked_at;

	asked_at = f->h.now;
	run_port(f, &spec);
	/* An answer from before it was plugged in says nothing. */
	manager_devices_found(f->h.m, asked_at, NULL, 0);
	fake_run(&f->h, 10 * SECOND);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	strcpy(addr[0], port_of(f, &spec)->device.vf_addr);
	manager_devices_found(f->h.m, f->h.now, addr, 1);
	fake_run(&f->h, 10 * SECOND);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	f->h.n_plugged = 0;
	manager_devices_found(f->h.m, f->h.now, NULL, 0);
	fake_run(&f->h, 60 * SECOND);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_NONE);
	assert_int_equal(port_of(f, &spec)->path, VNIC_PATH_SOFTWARE);
	says(port_of(f, &spec)->device.reason, "somebody took its VF out of the guest");
	assert_int_equal(f->h.dp_standby[0], STANDBY_NO);
	assert_int_equal(manager_device_hold(f->h.m, &spec.key, 0, false, &err), 0);
	fake_run(&f->h, 10 * SECOND);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	end_domain(f, &spec);
	swap(f, config_with(0));
	same_as(f, f->before);
}

static void a_preview(void **state)
{
	struct fixture *f = with_vfs(state, 2);
	struct port_spec spec = standby_spec(1);
	_cleanup_(freep) char *before = fake_snapshot(&f->h);
	struct vnic_err err = VNIC_ERR_INIT;
	struct manager_preview preview;
	char text[256];

	assert_int_equal(manager_preview(f->h.m, &spec, &preview, &err), 0);
	assert_int_equal(preview.choice.path, VNIC_PATH_SRIOV);
	assert_true(preview.device.n > 4);
	step_describe(&preview.device.step[preview.device.n - 1], text, sizeof(text));
	assert_string_equal(text, "plug VF 0 of " PF0 " (0000:03:10.0) into the domain");
	manager_preview_clear(&preview);
	same_as(f, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_life),
		TEST(the_same_again),
		TEST(none_free_then_promoted),
		TEST(priority_goes_first),
		TEST(only_vfs_and_none_free),
		TEST(a_step_fails_and_the_guest_goes_on),
		TEST(its_pf_loses_its_driver),
		TEST(numvfs_changed_behind_our_back),
		TEST(vfs_of_somebody_else),
		TEST(more_than_it_can_have),
		TEST(the_kernel_makes_fewer),
		TEST(kept_while_in_use),
		TEST(an_attribute_is_changed),
		TEST(a_trusted_guest_takes_another_mac),
		TEST(settings_change_under_the_guest),
		TEST(a_setting_is_refused),
		TEST(a_restart),
		TEST(software_ports_are_told_to_the_card),
		TEST(quotas),
		TEST(somebody_takes_it_out),
		TEST(a_preview),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
