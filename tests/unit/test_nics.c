/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PFs and VFs in the inventory: every attribute, and what happens to them. Who has them: test_vf_users.c */
#include "tests/unit/nics_bed.h"

#include <errno.h>

static void every_attribute(void **state)
{
	struct bed *b = *state;
	struct vf_info *info;

	add_pf(2);
	info = fake_link_find(PF_IFINDEX)->vf;
	info[1] = (struct vf_info){ .known = 1 << VF_SPOOFCHK | 1 << VF_TRUST | 1 << VF_RSS_QUERY,
				    .value = { [VF_MAC] = 0x525400123456,
					       [VF_VLAN] = 0x88a8LL << 16 | 3 << 12 | 12,
					       [VF_RATE] = 100LL << 32 | 4000,
					       [VF_SPOOFCHK] = 1,
					       [VF_TRUST] = 0,
					       [VF_LINK_STATE] = 2,
					       [VF_RSS_QUERY] = 1 } };
	fake_file("vfio-pci\n", "devices/pci0000:00/%s/driver_override", vf_addr(1));
	bed_start(b);
	assert_true(b->inv.complete);
	assert_string_equal(pf(b)->bus, "pci");
	assert_string_equal(pf(b)->driver, "igb");
	assert_int_equal(pf(b)->ifindex, PF_IFINDEX);
	assert_int_equal(pf(b)->numa_node, 1);
	assert_int_equal(pf(b)->total_vfs, 64);
	assert_int_equal(pf(b)->num_vfs, 2);
	assert_int_equal(pf(b)->n_vf, 2);
	assert_true(pf(b)->autoprobe);
	assert_true(pf(b)->vfs_complete);
	assert_ptr_equal(inventory_pf_of(&b->inv, inventory_find(&b->inv, PF_IFINDEX)), pf(b));

	assert_string_equal(vf(b, 1)->addr, vf_addr(1));
	assert_int_equal(vf(b, 1)->index, 1);
	assert_string_equal(vf(b, 1)->driver, "igbvf");
	assert_string_equal(vf(b, 1)->driver_override, "vfio-pci");
	assert_string_equal(vf(b, 0)->driver_override, "");
	assert_int_equal(vf(b, 1)->iommu_group, VF_GROUP + 1);
	assert_false(vf(b, 1)->group_shared);
	assert_int_equal(vf(b, 1)->numa_node, 1);
	assert_int_equal(vf(b, 1)->ifindex, VF_IFINDEX + 1);
	assert_int_equal(vf(b, 1)->known, (1 << VF_ATTR_COUNT) - 1);
	assert_memory_equal(vf(b, 1)->value, info[1].value, sizeof(info[1].value));
	/* What the driver does not tell is not known; the kernel itself says the rest of every VF. */
	assert_int_equal(vf(b, 0)->known,
			 1 << VF_MAC | 1 << VF_VLAN | 1 << VF_RATE | 1 << VF_LINK_STATE);
	assert_int_equal(vf(b, 0)->value[VF_MAC], 0x020000000000);
	assert_int_equal(vf(b, 0)->user, VF_FREE);
}

static void attributes_follow_the_pfs_notifications(void **state)
{
	struct bed *b = *state;
	int told;

	add_pf(2);
	bed_start(b);
	fake_link_find(PF_IFINDEX)->vf[1].value[VF_MAC] = 0x525400000001;
	told = b->told;
	/* Nothing of the link itself changed. */
	fake_link_notify(PF_IFINDEX);
	turn(b);
	assert_int_equal(vf(b, 1)->value[VF_MAC], 0x525400000001);
	assert_int_equal(b->told, told + 1);
	/* While the PF is down the kernel is silent: whoever wrote asks. */
	fake_link_find(PF_IFINDEX)->vf[1].value[VF_MAC] = 0x525400000002;
	watch_refresh_vf(b->watch, vf_addr(1));
	turn(b);
	assert_int_equal(vf(b, 1)->value[VF_MAC], 0x525400000002);
	fake_link_find(PF_IFINDEX)->vf[0].value[VF_VLAN] = 12;
	fake_file("vfio-pci\n", "devices/pci0000:00/%s/driver_override", vf_addr(0));
	watch_refresh_pf(b->watch, PF);
	turn(b);
	assert_int_equal(vf(b, 0)->value[VF_VLAN], 12);
	assert_string_equal(vf(b, 0)->driver_override, "vfio-pci");
	watch_refresh_vf(b->watch, "0000:99:00.0");
	turn(b);
}

/* The PF's driver learns it from the VF's own, and the kernel tells nobody. */
static void macs_that_vfs_choose(void **state)
{
	struct fake_link link = vf_link(0);
	struct bed *b = *state;
	struct vf_info *info;

	add_pf(2);
	info = fake_link_find(PF_IFINDEX)->vf;
	bed_start(b);
	info[0].value[VF_MAC] = 0x020000000101;
	fake_driver(vf_addr(0), NULL);
	fake_udev("pci", vf_addr(0), "unbind");
	turn_until(b, vf(b, 0)->value[VF_MAC] == 0x020000000101);
	info[0].value[VF_MAC] = 0x020000000102;
	link.up = true;
	change_link(b, &link);
	turn_until(b, vf(b, 0)->value[VF_MAC] == 0x020000000102);
	/* Many at once are asked for once. */
	kernel.info_requests = 0;
	for (int i = 0; i < 20; i++) {
		link.up = i % 2;
		info[0].value[VF_MAC]++;
		change_link(b, &link);
	}
	turn_until(b, vf(b, 0)->value[VF_MAC] == 0x020000000116);
	assert_in_range(kernel.info_requests, 1, 3);
}

/* First the driver goes, which is told, then the override, which is not. */
static void override_that_is_taken_away(void **state)
{
	struct bed *b = *state;

	add_pf(1);
	fake_netdev(vf_addr(0), "", -1);
	fake_link_del(VF_IFINDEX);
	fake_driver(vf_addr(0), NULL);
	fake_file("vfio-pci\n", "devices/pci0000:00/%s/driver_override", vf_addr(0));
	bed_start(b);
	fake_udev("pci", vf_addr(0), "unbind");
	turn(b);
	assert_string_equal(vf(b, 0)->driver_override, "vfio-pci");
	fake_file("(null)\n", "devices/pci0000:00/%s/driver_override", vf_addr(0));
	turn_until(b, str_eq(vf(b, 0)->driver_override, ""));
}

/* A guest's driver asks the PF's, and no event of this host says so. */
static void macs_that_guests_choose(void **state)
{
	struct bed *b = *state;
	struct vf_info *info;

	add_pf(2);
	info = fake_link_find(PF_IFINDEX)->vf;
	fake_netdev(vf_addr(0), "", -1);
	fake_link_del(VF_IFINDEX);
	fake_driver(vf_addr(0), "vfio-pci");
	bed_start(b);
	info[0].value[VF_MAC] = 0x020000000303;
	turn_until(b, vf(b, 0)->value[VF_MAC] == 0x020000000303);
	fake_driver(vf_addr(0), NULL);
	fake_udev("pci", vf_addr(0), "unbind");
	turn(b);
	assert_int_equal(vf(b, 0)->user, VF_FREE);
}

static void pf_without_driver(void **state)
{
	const struct fake_function fn = { .addr = PF, .group = -1, .numa = -1, .total_vfs = 8 };
	struct bed *b = *state;

	fake_function(&fn);
	bed_start(b);
	assert_string_equal(pf(b)->driver, "");
	assert_int_equal(pf(b)->ifindex, 0);
	assert_int_equal(pf(b)->numa_node, -1);
	assert_int_equal(pf(b)->n_vf, 0);
	assert_true(pf(b)->vfs_complete);
	assert_int_equal(kernel.info_requests, 0);
}

static void pf_unbound(void **state)
{
	struct bed *b = *state;

	add_pf(3);
	bed_start(b);
	/* As most drivers: its VFs go with it. */
	for (int i = 0; i < 3; i++)
		remove_vf(i);
	fake_num_vfs(PF, 0);
	fake_driver(PF, NULL);
	fake_netdev(PF, "", -1);
	fake_link_del(PF_IFINDEX);
	fake_udev("pci", PF, "unbind");
	turn(b);
	assert_string_equal(pf(b)->driver, "");
	assert_int_equal(pf(b)->ifindex, 0);
	assert_int_equal(pf(b)->n_vf, 0);
	assert_true(pf(b)->vfs_complete);
	assert_null(inventory_vf(&b->inv, vf_addr(0), NULL));
}

static void pf_renamed(void **state)
{
	struct fake_link link = nic_link(PF_IFINDEX, "uplink0", PF);
	struct bed *b = *state;

	add_pf(1);
	bed_start(b);
	link.n_vf = 1;
	link.vf = fake_link_find(PF_IFINDEX)->vf;
	fake_netdev(PF, "uplink0", PF_IFINDEX);
	change_link(b, &link);
	assert_int_equal(pf(b)->ifindex, PF_IFINDEX);
	assert_string_equal(inventory_find(&b->inv, pf(b)->ifindex)->name, "uplink0");
	assert_int_equal(pf(b)->n_vf, 1);
	assert_true(pf(b)->vfs_complete);
}

static void pf_gone(void **state)
{
	const struct fake_function fn = { .addr = PF, .group = PF_GROUP };
	struct bed *b = *state;

	add_pf(2);
	bed_start(b);
	for (int i = 0; i < 2; i++)
		remove_vf(i);
	fake_function_gone(&fn);
	fake_link_del(PF_IFINDEX);
	fake_udev("pci", PF, "remove");
	turn(b);
	assert_null(inventory_pf(&b->inv, PF));
	assert_int_equal(b->removed, 1);
	add_pf(1);
	fake_link_notify(PF_IFINDEX);
	fake_link_notify(VF_IFINDEX);
	fake_udev("pci", PF, "add");
	turn(b);
	assert_int_equal(pf(b)->n_vf, 1);
	assert_true(pf(b)->vfs_complete);
}

/* As the kernel: links and functions, then the PF's event, then its number; netdevs when they like. */
static void vfs_made_by_others(void **state)
{
	struct bed *b = *state;

	add_pf(0);
	bed_start(b);
	assert_true(pf(b)->vfs_complete);
	for (int i = 0; i < 3; i++) {
		struct fake_function fn = vf_function(i);

		fn.ifname = NULL;
		fake_function(&fn);
		fake_udev("pci", vf_addr(i), "add");
		turn(b);
		assert_int_equal(pf(b)->n_vf, i + 1);
		assert_false(pf(b)->vfs_complete);
	}
	fake_udev("pci", PF, "change");
	turn(b);
	assert_int_equal(pf(b)->num_vfs, 0);
	assert_false(pf(b)->vfs_complete);
	/* No event says that. */
	fake_num_vfs(PF, 3);
	tell_vfs(3);
	turn_until(b, pf(b)->num_vfs == 3);
	turn_until(b, vf(b, 2)->known);
	assert_false(pf(b)->vfs_complete);
	for (int i = 0; i < 3; i++) {
		const struct fake_link link = vf_link(i);

		assert_false(pf(b)->vfs_complete);
		fake_netdev(vf_addr(i), "eth3v", VF_IFINDEX + i);
		change_link(b, &link);
		assert_int_equal(vf(b, i)->ifindex, VF_IFINDEX + i);
	}
	assert_true(pf(b)->vfs_complete);
}

static void numvfs_changed_by_others(void **state)
{
	struct bed *b = *state;

	add_pf(4);
	bed_start(b);
	assert_int_equal(pf(b)->n_vf, 4);
	for (int i = 0; i < 4; i++)
		remove_vf(i);
	fake_num_vfs(PF, 0);
	tell_vfs(0);
	for (int i = 0; i < 4; i++)
		fake_udev("pci", vf_addr(i), "remove");
	turn(b);
	assert_int_equal(pf(b)->num_vfs, 0);
	assert_int_equal(pf(b)->n_vf, 0);
	for (int i = 0; i < 7; i++)
		add_vf(i);
	fake_num_vfs(PF, 7);
	tell_vfs(7);
	/* All of it was over before the first event came. */
	for (int i = 0; i < 7; i++) {
		fake_link_notify(VF_IFINDEX + i);
		fake_udev("pci", vf_addr(i), "add");
	}
	fake_udev("pci", PF, "change");
	turn(b);
	assert_int_equal(pf(b)->n_vf, 7);
	assert_true(pf(b)->vfs_complete);
	assert_int_equal(vf(b, 6)->value[VF_MAC], 0x020000000006);
}

static void vf_gone(void **state)
{
	struct bed *b = *state;

	add_pf(3);
	bed_start(b);
	remove_vf(2);
	fake_udev("pci", vf_addr(2), "remove");
	turn(b);
	assert_int_equal(pf(b)->n_vf, 2);
	assert_false(pf(b)->vfs_complete);
	assert_null(inventory_vf(&b->inv, vf_addr(2), NULL));
	/* An event that comes late says nothing of one that is there again. */
	add_vf(2);
	fake_link_notify(VF_IFINDEX + 2);
	fake_udev("pci", vf_addr(2), "add");
	fake_udev("pci", vf_addr(2), "remove");
	turn(b);
	assert_int_equal(pf(b)->n_vf, 3);
	assert_true(pf(b)->vfs_complete);
}

static void addresses_reshuffled(void **state)
{
	struct bed *b = *state;
	struct fake_function fn;

	add_pf(2);
	fake_link_find(PF_IFINDEX)->vf[0].value[VF_MAC] = 0x525400000001;
	bed_start(b);
	/* Index 0 and 1 have changed places: none keeps what the other had. */
	kernel.silent = true;
	for (int i = 0; i < 2; i++) {
		fn = vf_function(i);
		fn.index = 1 - i;
		fake_function(&fn);
	}
	fake_udev("pci", PF, "change");
	turn(b);
	for (int i = 0; i < 2; i++) {
		assert_string_equal(vf(b, i)->addr, vf_addr(1 - i));
		assert_int_equal(vf(b, i)->ifindex, VF_IFINDEX + 1 - i);
		assert_int_equal(vf(b, i)->known, 0);
	}
}

static void values_that_make_no_sense_of_pfs(void **state)
{
	static const char *const bad[] = { "", "-1\n", "many\n", "65536\n", "0x4\n" };
	struct bed *b = *state;

	add_pf(1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		fake_file(bad[i], "devices/pci0000:00/%s/numa_node", vf_addr(0));
	fake_symlink("../../../etc/..", "devices/pci0000:00/%s/driver", vf_addr(0));
	fake_symlink("../../../kernel/iommu_groups/none", "devices/pci0000:00/%s/iommu_group",
		     vf_addr(0));
	/* A second VF that leads elsewhere, and one that leads nowhere. */
	fake_symlink("../../../etc/passwd", "devices/pci0000:00/" PF "/virtfn1");
	bed_start(b);
	assert_int_equal(pf(b)->n_vf, 1);
	assert_int_equal(vf(b, 0)->numa_node, -1);
	assert_string_equal(vf(b, 0)->driver, "");
	assert_int_equal(vf(b, 0)->iommu_group, -1);
	assert_false(pf(b)->vfs_complete);
	fake_symlink("../0000:04:1f.7", "devices/pci0000:00/" PF "/virtfn1");
	fake_udev("pci", PF, "change");
	turn(b);
	assert_int_equal(pf(b)->n_vf, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fake_file(bad[i], "devices/pci0000:00/" PF "/sriov_numvfs");
		fake_udev("pci", PF, "change");
		turn(b);
		assert_null(inventory_pf(&b->inv, PF));
	}
	fake_num_vfs(PF, 65);
	fake_udev("pci", PF, "change");
	turn(b);
	assert_null(inventory_pf(&b->inv, PF));
}

static void no_nics_of_other_classes(void **state)
{
	const struct fake_function disk = {
		.addr = "0000:06:00.0", .class = "0x010802\n", .group = -1, .total_vfs = 16
	};
	struct bed *b = *state;

	fake_function(&disk);
	bed_start(b);
	fake_udev("pci", "0000:06:00.0", "change");
	fake_udev("pci", "../../../etc", "change");
	fake_udev("pci", "", "add");
	turn(b);
	assert_null(b->inv.pfs);
}

/* The PF's netdev among those that stand for its VFs. */
static void representors_in_the_pfs_folder(void **state)
{
	struct bed *b = *state;

	add_pf(1);
	fake_file("2\n", "devices/pci0000:00/" PF "/net/pf0vf0/ifindex");
	fake_file("pf0vf0\n", "devices/pci0000:00/" PF "/net/pf0vf0/phys_port_name");
	fake_file("p0\n", "devices/pci0000:00/" PF "/net/eth3/phys_port_name");
	bed_start(b);
	assert_int_equal(pf(b)->ifindex, PF_IFINDEX);
}

static void many_events_are_told_once(void **state)
{
	struct bed *b = *state;
	int told;

	add_pf(64);
	bed_start(b);
	told = b->told;
	kernel.info_requests = 0;
	for (int i = 0; i < 64; i++) {
		fake_driver(vf_addr(i), "vfio-pci");
		fake_udev("pci", vf_addr(i), "bind");
		fake_link_notify(PF_IFINDEX);
	}
	turn(b);
	assert_int_equal(vf(b, 63)->user, VF_USER_DRIVER);
	assert_in_range(b->told - told, 1, 2);
	assert_in_range(kernel.info_requests, 1, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bed_test(every_attribute),
		bed_test(attributes_follow_the_pfs_notifications),
		bed_test(macs_that_vfs_choose),
		bed_test(override_that_is_taken_away),
		bed_test(macs_that_guests_choose),
		bed_test(pf_without_driver),
		bed_test(pf_unbound),
		bed_test(pf_renamed),
		bed_test(pf_gone),
		bed_test(vfs_made_by_others),
		bed_test(numvfs_changed_by_others),
		bed_test(vf_gone),
		bed_test(addresses_reshuffled),
		bed_test(values_that_make_no_sense_of_pfs),
		bed_test(no_nics_of_other_classes),
		bed_test(representors_in_the_pfs_folder),
		bed_test(many_events_are_told_once),
	};

	return cmocka_run_group_tests_name("nics", tests, NULL, NULL);
}
