/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has a VF, as the inventory tells: nobody, or why it is nobody else's to give. */
#include "tests/unit/nics_bed.h"

#include <errno.h>

static void assert_user(const struct bed *b, enum vf_user user, const char *name)
{
	assert_int_equal(vf(b, 0)->user, user);
	assert_string_equal(vf(b, 0)->user_name, name);
}

static void user_netdev(void **state)
{
	struct fake_link link = vf_link(0), br = nic_link(50, "br1", NULL),
			 vlan = nic_link(51, "eth3v0.5", NULL);
	struct bed *b = *state;

	add_pf(1);
	bed_start(b);
	assert_user(b, VF_FREE, "");
	link.up = true;
	change_link(b, &link);
	assert_user(b, VF_USER_NETDEV, "eth3v0 is up");
	link.master = 50;
	change_link(b, &link);
	assert_user(b, VF_USER_NETDEV, "in link 50");
	br.kind = "bridge";
	change_link(b, &br);
	assert_user(b, VF_USER_NETDEV, "in bridge br1");
	strcpy(br.name, "br2");
	change_link(b, &br);
	assert_user(b, VF_USER_NETDEV, "in bridge br2");
	link.master = 0;
	link.up = false;
	change_link(b, &link);
	assert_user(b, VF_FREE, "");
	vlan.kind = "vlan";
	vlan.lower = VF_IFINDEX;
	change_link(b, &vlan);
	assert_user(b, VF_USER_NETDEV, "eth3v0.5 is on it");
	strcpy(vlan.name, "storage");
	change_link(b, &vlan);
	assert_user(b, VF_USER_NETDEV, "storage is on it");
	fake_link_del(51);
	turn(b);
	assert_user(b, VF_FREE, "");
	assert_true(pf(b)->vfs_complete);
}

static void user_netns(void **state)
{
	const struct fake_link link = vf_link(0);
	struct bed *b = *state;

	add_pf(1);
	bed_start(b);
	/* Moved to a container: the folder stays, and shows nothing here. */
	fake_netdev(vf_addr(0), "", 0);
	fake_link_del(VF_IFINDEX);
	turn(b);
	assert_user(b, VF_USER_NETNS, "");
	assert_int_equal(vf(b, 0)->ifindex, 0);
	assert_true(pf(b)->vfs_complete);
	fake_netdev(vf_addr(0), "eth3v0", VF_IFINDEX);
	change_link(b, &link);
	assert_user(b, VF_FREE, "");
	assert_int_equal(vf(b, 0)->ifindex, VF_IFINDEX);
}

static void user_driver(void **state)
{
	static const char *const drivers[] = { "vfio-pci", "mlx5_vfio_pci", "uio_pci_generic",
					       "igb_uio",  "pci-stub",	    "vp-vdpa" };
	struct bed *b = *state;

	add_pf(1);
	bed_start(b);
	fake_netdev(vf_addr(0), "", -1);
	fake_link_del(VF_IFINDEX);
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		fake_driver(vf_addr(0), drivers[i]);
		fake_udev("pci", vf_addr(0), "bind");
		turn(b);
		assert_user(b, VF_USER_DRIVER, drivers[i]);
		assert_string_equal(vf(b, 0)->driver, drivers[i]);
		assert_true(pf(b)->vfs_complete);
	}
	fake_driver(vf_addr(0), NULL);
	fake_udev("pci", vf_addr(0), "unbind");
	turn(b);
	assert_user(b, VF_FREE, "");
	assert_true(pf(b)->vfs_complete);
}

/* Of libvirt's own managing: named, whatever the driver is by then. */
static void user_domain(void **state)
{
	struct domain_device devices[] = { { .domain = "web1" }, { .domain = "web1" } };
	struct bed *b = *state;

	add_pf(2);
	bed_start(b);
	strcpy(devices[0].addr, vf_addr(0));
	strcpy(devices[1].addr, "0000:99:00.0");
	assert_int_equal(watch_domain_devices(b->watch, devices, 2), 0);
	turn(b);
	assert_user(b, VF_USER_DOMAIN, "web1");
	fake_driver(vf_addr(0), "vfio-pci");
	fake_udev("pci", vf_addr(0), "bind");
	turn(b);
	assert_user(b, VF_USER_DOMAIN, "web1");
	strcpy(devices[0].domain, "web2");
	assert_int_equal(watch_domain_devices(b->watch, devices, 2), 0);
	assert_user(b, VF_USER_DOMAIN, "web2");
	/* Told twice: the first counts. */
	strcpy(devices[1].addr, vf_addr(0));
	assert_int_equal(watch_domain_devices(b->watch, devices, 2), 0);
	assert_user(b, VF_USER_DOMAIN, "web2");
	assert_int_equal(vf(b, 1)->user, VF_FREE);
	assert_int_equal(watch_domain_devices(b->watch, NULL, 0), 0);
	assert_user(b, VF_USER_DRIVER, "vfio-pci");
	/* One that comes after it was told of. */
	remove_vf(1);
	fake_udev("pci", vf_addr(1), "remove");
	strcpy(devices[0].addr, vf_addr(1));
	assert_int_equal(watch_domain_devices(b->watch, devices, 1), 0);
	turn(b);
	add_vf(1);
	fake_udev("pci", vf_addr(1), "add");
	turn(b);
	assert_int_equal(vf(b, 1)->user, VF_USER_DOMAIN);
}

static void groups_that_are_shared(void **state)
{
	struct fake_function other = { .addr = "0000:05:00.0", .group = VF_GROUP + 2 };
	struct fake_function bridge = { .addr = "0000:00:01.0",
					.class = "0x060400\n",
					.group = VF_GROUP + 3 };
	struct bed *b = *state;
	struct fake_function fn;

	add_pf(2);
	fn = vf_function(2);
	fn.driver = fn.ifname = NULL;
	fake_function(&fn);
	fn = vf_function(3);
	fn.driver = fn.ifname = NULL;
	fake_function(&fn);
	/* 4 and 5 in one group: no ACS on the way to them. */
	for (int i = 4; i < 6; i++) {
		fn = vf_function(i);
		fn.driver = fn.ifname = NULL;
		fn.group = VF_GROUP + 4;
		fake_function(&fn);
	}
	fake_num_vfs(PF, 6);
	tell_vfs(6);
	fake_function(&bridge);
	bed_start(b);
	assert_true(pf(b)->vfs_complete);
	assert_false(vf(b, 2)->group_shared);
	assert_false(vf(b, 3)->group_shared);
	assert_true(vf(b, 4)->group_shared);
	assert_true(vf(b, 5)->group_shared);
	fake_function(&other);
	fake_udev("pci", "0000:05:00.0", "add");
	turn(b);
	assert_true(vf(b, 2)->group_shared);
	assert_false(vf(b, 1)->group_shared);
	fake_function_gone(&other);
	fake_udev("pci", "0000:05:00.0", "remove");
	turn(b);
	assert_false(vf(b, 2)->group_shared);
	/* Without a word. */
	fake_function(&other);
	watch_refresh_vf(b->watch, vf_addr(2));
	turn(b);
	assert_true(vf(b, 2)->group_shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bed_test(user_netdev),
		bed_test(user_netns),
		bed_test(user_driver),
		bed_test(user_domain),
		bed_test(groups_that_are_shared),
	};

	return cmocka_run_group_tests_name("vf_users", tests, NULL, NULL);
}
