/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VFs that domains have by their own XML: what libvirt does not set is set as the class says, and put back. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/unit/manager_bed.h"

#define GBIT UINT64_C(1000000000)

/* Class gold: no spoof checking, trusted, 2 Gbit/s; and eth0 has 3 VFs, whose driver takes all that. */
static struct vnic_config *config(void)
{
	struct vnic_config *config = fake_config();
	struct vnic_class *gold = config_class(config, "gold");

	fake_want_vfs(config, "eth0", 3);
	gold->spoofchk = false;
	gold->trust = true;
	gold->rate = 2 * GBIT;
	return config;
}

static struct vnic_vf *vf(struct fixture *f, int i)
{
	return &f->h.pf[0].pf.vf[i];
}

/* The PF with its VFs, each of which has a rate that the administrator gave it; that is to come back to. */
static char *given(struct fixture *f)
{
	give_vfs(f, config(), 3);
	fake_link(&f->h, "eth0")->link.carrier = true;
	for (int i = 0; i < 3; i++)
		vf(f, i)->value[VF_RATE] = 7;
	fake_run(&f->h, SECOND);
	return fake_snapshot(&f->h);
}

static struct domain_device *lend(struct fixture *f, unsigned int domain, int i, const char *class)
{
	struct domain_device *d = fake_hostdev(&f->h, domain, &f->h.pf[0], i, class);

	fake_tell_hostdevs(&f->h);
	fake_run(&f->h, 3 * SECOND);
	return d;
}

static void end(struct fixture *f, unsigned int domain)
{
	fake_hostdev(&f->h, domain, NULL, 0, NULL);
	fake_tell_hostdevs(&f->h);
	fake_run(&f->h, 3 * SECOND);
}

static struct vnic_hostdev *hostdev(struct fixture *f, int i)
{
	struct vnic_hostdev *d = manager_hostdev(f->h.m, vf(f, i)->addr);

	assert_non_null(d);
	return d;
}

static void is(struct fixture *f, int i, enum hostdev_state state, const char *reason)
{
	assert_string_equal(hostdev_state_str(hostdev(f, i)->state), hostdev_state_str(state));
	if (*reason)
		says(hostdev(f, i)->reason, reason);
	else
		assert_string_equal(hostdev(f, i)->reason, "");
}

static void has(struct fixture *f, int i, int64_t trust, int64_t spoofchk, int64_t rate)
{
	assert_int_equal(vf(f, i)->value[VF_TRUST], trust);
	assert_int_equal(vf(f, i)->value[VF_SPOOFCHK], spoofchk);
	assert_int_equal(vf(f, i)->value[VF_RATE], rate);
}

static void set_and_put_back(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);

	/* libvirt's own part, which stays libvirt's. */
	vf(f, 1)->value[VF_MAC] = 0x525400000009;
	vf(f, 1)->value[VF_VLAN] = 12;
	lend(f, 1, 1, "gold");
	is(f, 1, HOSTDEV_SET, "");
	assert_string_equal(hostdev(f, 1)->class_name, "gold");
	has(f, 1, 1, 0, 2000);
	has(f, 0, 0, 1, 7);
	assert_int_equal(f->h.hostdev_records.n, 1);
	assert_int_equal(vf(f, 1)->value[VF_MAC], 0x525400000009);
	assert_int_equal(vf(f, 1)->value[VF_VLAN], 12);
	vf(f, 1)->value[VF_MAC] = vf(f, 1)->value[VF_VLAN] = 0;
	end(f, 1);
	assert_null(manager_hostdev(f->h.m, vf(f, 1)->addr));
	same_as(f, before);
}

static void what_names_no_class_is_left_alone(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);
	struct domain_device *d;

	lend(f, 1, 1, "");
	is(f, 1, HOSTDEV_NONE, "");
	has(f, 1, 0, 1, 7);
	/* A plain <hostdev> is no interface. */
	d = fake_hostdev(&f->h, 2, &f->h.pf[0], 2, "gold");
	d->has_mac = false;
	fake_tell_hostdevs(&f->h);
	fake_run(&f->h, SECOND);
	assert_null(manager_hostdev(f->h.m, vf(f, 2)->addr));
	assert_int_equal(f->h.hostdev_records.n, 0);
	/* Nor is what is no VF of a nic here. */
	d = fake_hostdev(&f->h, 3, &f->h.pf[0], 2, "gold");
	strcpy(d->addr, "0000:99:00.0");
	fake_tell_hostdevs(&f->h);
	fake_run(&f->h, SECOND);
	for (unsigned int i = 1; i <= 3; i++)
		end(f, i);
	same_as(f, before);
}

static void the_nics_class_where_the_xml_names_none(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);
	struct vnic_config *c = config();

	lend(f, 1, 1, "");
	strcpy(config_nic(c, "eth0")->hostdev_class, "gold");
	swap(f, c);
	is(f, 1, HOSTDEV_SET, "");
	has(f, 1, 1, 0, 2000);
	/* And back with the configuration, while the domain goes on. */
	swap(f, config());
	is(f, 1, HOSTDEV_NONE, "");
	has(f, 1, 0, 1, 7);
	end(f, 1);
	same_as(f, before);
}

static void a_class_changes_under_it(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);
	struct vnic_config *c = config();

	lend(f, 1, 1, "gold")->class_name[0] = 'g';
	config_class(c, "gold")->rate = 0;
	config_class(c, "gold")->trust = false;
	swap(f, c);
	has(f, 1, 0, 0, 0);
	/* The XML's rate before the class'. */
	f->h.hostdev[0].has_rate = true;
	f->h.hostdev[0].rate = GBIT / 2;
	fake_tell_hostdevs(&f->h);
	fake_run(&f->h, SECOND);
	has(f, 1, 0, 0, 500);
	/* Another class, which there is not: said, and nothing is undone meanwhile. */
	lend(f, 1, 1, "tin");
	is(f, 1, HOSTDEV_SET, "there is no class 'tin'");
	has(f, 1, 0, 0, 500);
	end(f, 1);
	same_as(f, before);
}

/* What cards differ in: the fake one's driver takes both once it is one of those that do. */
static void a_rate_that_is_kept_and_a_link(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);
	struct vnic_config *c = config();

	config_class(c, "gold")->vf =
		(struct vf_extra){ .min_rate = GBIT, .link = VF_LINK_DISABLE };
	swap(f, c);
	lend(f, 1, 1, "gold");
	is(f, 1, HOSTDEV_SET, "cannot keep a rate");
	has(f, 1, 1, 0, 2000);
	assert_int_equal(vf(f, 1)->value[VF_LINK_STATE], 2);
	strcpy(f->h.pf[0].pf.driver, "netdevsim");
	fake_run(&f->h, SECOND);
	is(f, 1, HOSTDEV_SET, "");
	has(f, 1, 1, 0, INT64_C(1000) << 32 | 2000);
	/* The XML's rate is less than what the class keeps. */
	f->h.hostdev[0].has_rate = true;
	f->h.hostdev[0].rate = GBIT / 2;
	fake_tell_hostdevs(&f->h);
	fake_run(&f->h, SECOND);
	has(f, 1, 1, 0, INT64_C(500) << 32 | 500);
	/* Of the link nothing is said any more: as it was. */
	c = config();
	swap(f, c);
	assert_int_equal(vf(f, 1)->value[VF_LINK_STATE], 0);
	strcpy(f->h.pf[0].pf.driver, "ixgbe");
	end(f, 1);
	same_as(f, before);
}

static void from_one_domain_to_the_next(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);
	struct vnic_config *c = config();
	struct vnic_class *silver = calloc(1, sizeof(*silver));

	*silver = *config_class(c, "gold");
	memset(&silver->hh, 0, sizeof(silver->hh));
	strcpy(silver->name, "silver");
	silver->rate = GBIT;
	assert_int_equal(config_add_class(c, silver), 0);
	swap(f, c);
	lend(f, 1, 1, "gold");
	/* In libvirt's next list the other one has it: nobody saw it free. */
	fake_hostdev(&f->h, 1, NULL, 0, NULL);
	lend(f, 2, 1, "silver");
	is(f, 1, HOSTDEV_SET, "");
	has(f, 1, 1, 0, 1000);
	/* And to one that wants nothing of the kind. */
	fake_hostdev(&f->h, 2, NULL, 0, NULL);
	lend(f, 3, 1, "");
	has(f, 1, 0, 1, 7);
	end(f, 3);
	same_as(f, before);
}

static void only_what_is_still_ours_is_put_back(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);

	(void)before;
	lend(f, 1, 1, "gold");
	/* Changed at the very end, so that it is not put right before. */
	vf(f, 1)->value[VF_RATE] = 4000;
	end(f, 1);
	has(f, 1, 0, 1, 4000);
	assert_int_equal(f->h.hostdev_records.n, 0);
}

static void changed_by_others(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);

	lend(f, 1, 1, "gold");
	for (int i = 0; i < 4; i++) {
		vf(f, 1)->value[VF_SPOOFCHK] = 1;
		fake_run(&f->h, 5 * SECOND);
		has(f, 1, 1, 0, 2000);
	}
	is(f, 1, HOSTDEV_SET, "somebody keeps changing its attributes");
	fake_run(&f->h, 100 * (uint64_t)SECOND);
	is(f, 1, HOSTDEV_SET, "");
	end(f, 1);
	same_as(f, before);
}

static void one_attribute_is_refused(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);

	f->h.refuse_attrs = 1u << VF_TRUST;
	lend(f, 1, 1, "gold");
	/* The others are set all the same. */
	is(f, 1, HOSTDEV_SETTING, "could not");
	says(hostdev(f, 1)->reason, "trust");
	has(f, 1, 0, 0, 2000);
	f->h.refuse_attrs = 0;
	fake_run(&f->h, 60 * (uint64_t)SECOND);
	is(f, 1, HOSTDEV_SET, "");
	has(f, 1, 1, 0, 2000);
	end(f, 1);
	same_as(f, before);
}

/* What it has is still ours, though its class says another value by now. */
static void put_back_though_another_value_was_wanted(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);
	struct vnic_config *c = config();

	lend(f, 1, 1, "gold");
	f->h.refuse_attrs = 1u << VF_RATE | 1u << VF_TRUST;
	config_class(c, "gold")->rate = GBIT;
	config_class(c, "gold")->trust = false;
	swap(f, c);
	is(f, 1, HOSTDEV_SETTING, "could not");
	has(f, 1, 1, 0, 2000);
	/* And the record knows it. */
	fake_kill(&f->h);
	fake_start(&f->h, config());
	f->h.refuse_attrs = 0;
	end(f, 1);
	same_as(f, before);
}

static void what_the_driver_cannot_is_said(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = NULL;

	give_vfs(f, config(), 3);
	strcpy(f->h.pf[0].pf.driver, "virtio_net");
	fake_run(&f->h, SECOND);
	before = fake_snapshot(&f->h);
	lend(f, 1, 1, "gold");
	is(f, 1, HOSTDEV_SET, "its driver virtio_net cannot");
	has(f, 1, 0, 1, 0);
	end(f, 1);
	/* A rate without a carrier, of a driver that needs one. */
	strcpy(f->h.pf[0].pf.driver, "ixgbe");
	fake_link(&f->h, "eth0")->link.carrier = false;
	fake_run(&f->h, SECOND);
	lend(f, 1, 1, "gold");
	is(f, 1, HOSTDEV_SET, "no rate while there is no carrier");
	has(f, 1, 1, 0, 0);
	fake_link(&f->h, "eth0")->link.carrier = true;
	fake_run(&f->h, SECOND);
	is(f, 1, HOSTDEV_SET, "");
	has(f, 1, 1, 0, 2000);
	/* Once set it stays, whatever the link does. */
	fake_link(&f->h, "eth0")->link.carrier = false;
	fake_run(&f->h, SECOND);
	is(f, 1, HOSTDEV_SET, "");
	end(f, 1);
	strcpy(f->h.pf[0].pf.driver, "ixgbe");
	fake_link(&f->h, "eth0")->link.carrier = true;
	same_as(f, before);
}

static void a_port_gets_it_only_when_it_is_put_back(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = NULL;
	struct port_spec spec = fake_spec(5, 1);
	struct vnic_config *c = config();

	give_vfs(f, config(), 3);
	config_nic(c, "eth0")->vfs = 3;
	(void)c;
	config_free(c);
	fake_link(&f->h, "eth0")->link.carrier = true;
	fake_run(&f->h, SECOND);
	before = fake_snapshot(&f->h);
	strcpy(spec.standby, "ua-0");
	for (unsigned int i = 0; i < 3; i++)
		lend(f, i + 1, (int)i, "gold");
	run_port(f, &spec);
	assert_int_equal(port_of(f, &spec)->path, VNIC_PATH_SOFTWARE);
	/* Its domain has ended, and putting back fails for a while. */
	f->h.hold = STEP_VF_ATTR;
	f->h.async = true;
	end(f, 2);
	assert_int_equal(vf(f, 1)->user, VF_FREE);
	assert_string_equal(port_of(f, &spec)->device.vf_addr, "");
	f->h.hold = 0;
	fake_run(&f->h, 20 * SECOND);
	assert_string_equal(port_of(f, &spec)->device.vf_addr, vf(f, 1)->addr);
	assert_int_equal(port_of(f, &spec)->path, VNIC_PATH_SRIOV);
	end(f, 1);
	end(f, 3);
	end_domain(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	same_as(f, before);
}

static void a_domain_gets_it_only_when_the_port_has_put_it_back(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);
	struct port_spec spec = fake_spec(5, 1);

	strcpy(spec.standby, "ua-0");
	run_port(f, &spec);
	assert_string_equal(port_of(f, &spec)->device.vf_addr, vf(f, 0)->addr);
	has(f, 0, 1, 0, 2000);
	lend(f, 1, 0, "gold");
	is(f, 0, HOSTDEV_SETTING, "of domain");
	says(hostdev(f, 0)->reason, "give it back first");
	assert_int_equal(f->h.hostdev_records.n, 0);
	/* Now what was there before the port is what to come back to. */
	end_domain(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	is(f, 0, HOSTDEV_SET, "");
	has(f, 0, 1, 0, 2000);
	end(f, 1);
	same_as(f, before);
}

static void killed_and_started_again(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);

	lend(f, 1, 1, "gold");
	lend(f, 2, 2, "gold");
	fake_kill(&f->h);
	/* One of them ended meanwhile. */
	fake_hostdev(&f->h, 2, NULL, 0, NULL);
	fake_start(&f->h, config());
	fake_run(&f->h, 5 * SECOND);
	/* Nothing is touched until libvirt has said who has what. */
	has(f, 1, 1, 0, 2000);
	has(f, 2, 1, 0, 2000);
	fake_tell_hostdevs(&f->h);
	fake_run(&f->h, 5 * SECOND);
	is(f, 1, HOSTDEV_SET, "");
	has(f, 1, 1, 0, 2000);
	has(f, 2, 0, 1, 7);
	end(f, 1);
	same_as(f, before);
}

static void libvirt_tells_a_part_only(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);

	lend(f, 1, 1, "gold");
	manager_hostdevs_found(f->h.m, NULL, 0, true);
	fake_run(&f->h, SECOND);
	is(f, 1, HOSTDEV_SET, "");
	/* Its <vnic:ports> has become unreadable. */
	f->h.hostdev[0].unread = true;
	f->h.hostdev[0].class_name[0] = '\0';
	fake_tell_hostdevs(&f->h);
	fake_run(&f->h, SECOND);
	is(f, 1, HOSTDEV_SET, "cannot be read");
	has(f, 1, 1, 0, 2000);
	end(f, 1);
	same_as(f, before);
}

static void its_vf_goes(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *before = given(f);

	(void)before;
	lend(f, 1, 1, "gold");
	fake_numvfs(&f->h, &f->h.pf[0], 0);
	/* Made anew, and in the domain again: what is there now is what to come back to. */
	fake_run(&f->h, 10 * SECOND);
	assert_int_equal(f->h.pf[0].pf.n_vf, 3);
	is(f, 1, HOSTDEV_SET, "");
	has(f, 1, 1, 0, 2000);
	end(f, 1);
	has(f, 1, 0, 1, 0);
	assert_int_equal(f->h.hostdev_records.n, 0);
}

static void records_that_are_none(void **state)
{
	struct fixture *f = *state;
	struct vnic_err err = VNIC_ERR_INIT;
	struct step step = { .kind = STEP_DP_PORT, .state = STEP_DONE };
	struct plan plan = { 0 };

	/* Undone it would be taken for a port's. */
	assert_int_equal(plan_add(&plan, &step), 0);
	assert_int_equal(manager_restore_hostdev(f->h.m, "0000:03:10.1", &plan, &err), -EINVAL);
	assert_int_equal(plan.n, 0);
	assert_null(manager_hostdev(f->h.m, "0000:03:10.1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(set_and_put_back),
		TEST(what_names_no_class_is_left_alone),
		TEST(the_nics_class_where_the_xml_names_none),
		TEST(a_class_changes_under_it),
		TEST(a_rate_that_is_kept_and_a_link),
		TEST(from_one_domain_to_the_next),
		TEST(only_what_is_still_ours_is_put_back),
		TEST(changed_by_others),
		TEST(one_attribute_is_refused),
		TEST(put_back_though_another_value_was_wanted),
		TEST(what_the_driver_cannot_is_said),
		TEST(a_port_gets_it_only_when_it_is_put_back),
		TEST(a_domain_gets_it_only_when_the_port_has_put_it_back),
		TEST(killed_and_started_again),
		TEST(libvirt_tells_a_part_only),
		TEST(its_vf_goes),
		TEST(records_that_are_none),
	};

	return cmocka_run_group_tests_name("hostdev", tests, NULL, NULL);
}
