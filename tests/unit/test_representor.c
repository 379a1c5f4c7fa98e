/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VFs of nics in switchdev mode: ports' representors in the bridge, on a fake host. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/manager_bed.h"

static struct vnic_config *config_with(int vfs)
{
	struct vnic_config *config = fake_config();

	fake_want_vfs(config, "eth0", vfs);
	return config;
}

/* In switchdev mode: the VF's representor stands in the bridge, with the port's VLAN. */
static struct fixture *with_representors(void **state)
{
	struct fixture *f = *state;

	fake_switchdev(fake_add_pf(&f->h, PF0, "eth0", 7));
	fake_link(&f->h, "br0")->link.vlan_filtering = true;
	swap(f, config_with(3));
	assert_int_equal(f->h.pf[0].pf.n_vf, 3);
	free(f->before);
	f->before = fake_snapshot(&f->h);
	return f;
}

static void through_a_representor(void **state)
{
	struct fixture *f = with_representors(state);
	struct port_spec spec = standby_spec(1);
	struct fake_link *rep;

	spec.has_vlan = true;
	spec.vlan = 12;
	run_port(f, &spec);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	rep = fake_link(&f->h, "rep0");
	assert_int_equal(rep->link.master, fake_link(&f->h, "br0")->link.ifindex);
	assert_int_equal(rep->pvid, 12);
	assert_true(rep->link.up);
	/* Who looks for the guest in the card finds the bridge: that has been told, and the card is not asked. */
	assert_int_equal(f->h.pf[0].pf.vf[0].value[VF_VLAN], 0);
	fake_run(&f->h, 6 * SECOND);
	assert_int_equal(f->h.n_fdb, 0);
	assert_int_equal(f->h.pf[0].n_fdb, 0);
	end_domain(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	same_as(f, f->before);
}

static void a_representor_taken_out(void **state)
{
	struct fixture *f = with_representors(state);
	struct port_spec spec = standby_spec(1);
	struct fake_link *rep = fake_link(&f->h, "rep0");

	spec.has_vlan = true;
	spec.vlan = 12;
	run_port(f, &spec);
	fake_run(&f->h, 6 * SECOND);
	rep->link.master = rep->pvid = 0;
	fake_run(&f->h, 30 * SECOND);
	assert_int_equal(rep->link.master, fake_link(&f->h, "br0")->link.ifindex);
	assert_int_equal(rep->pvid, 12);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	rep->link.up = false;
	fake_run(&f->h, 30 * SECOND);
	assert_true(rep->link.up);
	end_domain(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	same_as(f, f->before);
}

static void another_representor(void **state)
{
	struct fixture *f = with_representors(state);
	struct port_spec spec = standby_spec(1);
	int br0 = fake_link(&f->h, "br0")->link.ifindex;
	const struct vnic_link *link;

	run_port(f, &spec);
	fake_run(&f->h, 6 * SECOND);
	fake_del_link(&f->h, "rep0");
	f->h.pf[0].pf.vf[0].representor =
		fake_add_link(&f->h, "rep0b", LINK_PHYSICAL, NULL)->link.ifindex;
	fake_run(&f->h, 30 * SECOND);
	assert_int_equal(port_of(f, &spec)->device.state, DEVICE_ATTACHED);
	link = inventory_find(&f->h.inv, fake_plugged(&f->h, &spec.key)->representor);
	assert_int_equal(link->master, br0);
	end_domain(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	for (size_t i = 0; i < f->h.n_links; i++)
		assert_true(strncmp(f->h.link[i].link.name, "rep", 3) || !f->h.link[i].link.master);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(through_a_representor),
		TEST(a_representor_taken_out),
		TEST(another_representor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
