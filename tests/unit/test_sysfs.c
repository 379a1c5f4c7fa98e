/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices behind links: true, hostile, unbound while we look, changed by others; udev's events of them. */
#include "tests/unit/unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/sys/sysfs.h"
#include "daemon/sys/udev.h"
#include "daemon/sys/watch.h"
#include "tests/unit/mock_pf.h"

#define ADDR "0000:03:00.0"
/* No link of the machine has such a number. */
#define IFINDEX 1900000001

static const struct mock_pf pf = { .addr = ADDR,
				   .ifname = "mocketh0",
				   .ifindex = IFINDEX,
				   .driver = "ice",
				   .numa_node = "1\n",
				   .sriov_totalvfs = "64\n",
				   .sriov_numvfs = "8\n" };

static int setup(void **state)
{
	*state = umockdev_testbed_new();
	assert_non_null(*state);
	return 0;
}

static int teardown(void **state)
{
	g_object_unref(*state);
	return 0;
}

static struct vnic_link link_of(const char *bus, const char *addr)
{
	struct vnic_link link = { .ifindex = IFINDEX, .kind = LINK_PHYSICAL };

	strcpy(link.name, "mocketh0");
	strcpy(link.bus, bus);
	strcpy(link.dev_addr, addr);
	return link;
}

static void physical_function(void **state)
{
	char *path = mock_pf_add(*state, &pf);
	struct vnic_link link = link_of("pci", ADDR);

	sysfs_fill_link(&link);
	assert_int_equal(link.kind, LINK_PHYSICAL);
	assert_string_equal(link.driver, "ice");
	assert_int_equal(link.numa_node, 1);
	assert_int_equal(link.sriov_totalvfs, 64);
	assert_int_equal(link.sriov_numvfs, 8);
	free(path);
}

static void virtual_function(void **state)
{
	char *path = mock_pf_add(*state, &pf);
	char *vf = mock_vf_add(*state, path, "0000:03:02.0", "mockvf0", IFINDEX + 1);
	struct vnic_link link = link_of("pci", "0000:03:02.0");

	sysfs_fill_link(&link);
	assert_int_equal(link.kind, LINK_VF);
	assert_string_equal(link.driver, "iavf");
	assert_int_equal(link.sriov_totalvfs, -1);
	assert_int_equal(link.sriov_numvfs, -1);
	free(path);
	free(vf);
}

/* Before 5.14 rtnetlink did not name the device: by the link's name, if that is still its own. */
static void found_by_name(void **state)
{
	char *path = mock_pf_add(*state, &pf);
	struct vnic_link link = link_of("", "");

	link.kind = LINK_OTHER;
	sysfs_fill_link(&link);
	assert_int_equal(link.kind, LINK_PHYSICAL);
	assert_string_equal(link.dev_addr, ADDR);
	assert_string_equal(link.bus, "pci");
	assert_int_equal(link.sriov_totalvfs, 64);
	free(path);
}

static void name_that_went_to_another(void **state)
{
	char *path = mock_pf_add(*state, &pf);
	struct vnic_link link = link_of("", "");

	link.kind = LINK_OTHER;
	link.ifindex = 5;
	sysfs_fill_link(&link);
	assert_int_equal(link.kind, LINK_OTHER);
	assert_string_equal(link.dev_addr, "");
	assert_int_equal(link.sriov_totalvfs, -1);
	free(path);
}

static void unbound_and_gone(void **state)
{
	char *path = mock_pf_add(*state, &pf);
	struct vnic_link link = link_of("pci", ADDR);

	mock_driver(*state, path, NULL);
	sysfs_fill_link(&link);
	assert_string_equal(link.driver, "");
	assert_int_equal(link.sriov_totalvfs, 64);
	link = link_of("pci", "0000:99:00.0");
	strcpy(link.driver, "ice");
	link.sriov_totalvfs = 64;
	sysfs_fill_link(&link);
	assert_string_equal(link.driver, "");
	assert_int_equal(link.sriov_totalvfs, -1);
	free(path);
}

static void values_that_make_no_sense(void **state)
{
	static char long_text[5000];
	static const char *const bad[] = { "",	    "\n",	   "abc", "-1", "-",	  "0x40",
					   "65536", "99999999999", "6 4", "+4", long_text };
	char *path = mock_pf_add(*state, &pf);

	memset(long_text, '1', sizeof(long_text) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vnic_link link = link_of("pci", ADDR);

		umockdev_testbed_set_attribute(*state, path, "sriov_totalvfs", bad[i]);
		umockdev_testbed_set_attribute(*state, path, "numa_node", bad[i]);
		sysfs_fill_link(&link);
		assert_int_equal(link.sriov_totalvfs, -1);
		assert_int_equal(link.sriov_numvfs, -1);
		assert_int_equal(link.numa_node, -1);
	}
	free(path);
}

static void more_vfs_than_there_can_be(void **state)
{
	char *path = mock_pf_add(*state, &pf);
	struct vnic_link link = link_of("pci", ADDR);

	umockdev_testbed_set_attribute(*state, path, "sriov_numvfs", "65");
	sysfs_fill_link(&link);
	assert_int_equal(link.sriov_totalvfs, 64);
	assert_int_equal(link.sriov_numvfs, -1);
	free(path);
}

static void names_that_leave_sysfs(void **state)
{
	static const char *const bad[][2] = {
		{ "pci", "../../../../etc" }, { "..", "passwd" }, { "pci", ".." }, { "a/b", "x" }
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vnic_link link = link_of(bad[i][0], bad[i][1]);

		sysfs_fill_link(&link);
		assert_string_equal(link.dev_addr, "");
		assert_string_equal(link.bus, "");
		assert_string_equal(link.driver, "");
	}
}

static void driver_name_that_does_not_fit(void **state)
{
	char *path = mock_pf_add(*state, &pf);
	struct vnic_link link = link_of("pci", ADDR);

	mock_driver(*state, path, "a-driver-with-a-name-of-more-than-31-characters");
	sysfs_fill_link(&link);
	assert_string_equal(link.driver, "");
	free(path);
}

/* What came by udev and watch. */
struct seen {
	int devices, links, changed;
	char text[128];
	struct vnic_link link;
};

static void on_device(void *userdata, const char *bus, const char *addr, const char *action)
{
	struct seen *s = userdata;

	s->devices++;
	snprintf(s->text, sizeof(s->text), "%s %s %s", bus, addr, action);
}

static void on_link(void *userdata, int ifindex, const char *action)
{
	struct seen *s = userdata;

	s->links++;
	snprintf(s->text, sizeof(s->text), "%d %s", ifindex, action);
}

static void on_lost(void *userdata)
{
	(void)userdata;
}

static void turn_until(struct loop *loop, const int *count, int wanted)
{
	for (int i = 0; i < 5000 && *count < wanted; i++) {
		assert_int_equal(loop_once(loop), 0);
		usleep(1000);
	}
	assert_int_equal(*count, wanted);
}

static void udev_events(void **state)
{
	static const struct udev_watch_ops ops = { on_device, on_link, on_lost };
	char *path = mock_pf_add(*state, &pf), net[PATH_MAX];
	struct udev_watch *watch = NULL;
	struct seen s = { 0 };
	struct loop *loop;

	assert_int_equal(loop_new(&loop), 0);
	assert_true(udev_watch_new(loop, &ops, &s, &watch) >= 0);
	umockdev_testbed_uevent(*state, path, "unbind");
	turn_until(loop, &s.devices, 1);
	assert_string_equal(s.text, "pci " ADDR " unbind");
	snprintf(net, sizeof(net), "%s/net/mocketh0", path);
	if (access(net, F_OK) < 0)
		snprintf(net, sizeof(net), "%s/mocketh0", path);
	umockdev_testbed_uevent(*state, net, "move");
	turn_until(loop, &s.links, 1);
	assert_string_equal(s.text, "1900000001 move");
	udev_watch_free(watch);
	loop_free(loop);
	free(path);
}

static void on_changed(void *userdata, const struct vnic_link *link)
{
	struct seen *s = userdata;

	/* The machine's own links are told of as well. */
	if (link->ifindex != IFINDEX)
		return;
	s->changed++;
	s->link = *link;
}

static void on_removed(void *userdata, const struct vnic_link *link)
{
	(void)userdata;
	(void)link;
}

static void on_synced(void *userdata)
{
	(void)userdata;
}

static void on_note(void *userdata, int level, const char *text)
{
	(void)userdata;
	(void)level;
	(void)text;
}

static void inventory_follows_devices(void **state)
{
	static const struct watch_ops ops = {
		.changed = on_changed, .removed = on_removed, .synced = on_synced, .note = on_note
	};
	char *path = mock_pf_add(*state, &pf);
	struct vnic_link link = link_of("pci", ADDR);
	struct inventory inv;
	struct watch *watch = NULL;
	struct seen s = { 0 };
	struct loop *loop;

	inventory_init(&inv);
	sysfs_fill_link(&link);
	assert_int_equal(inventory_upsert(&inv, &link), 1);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(watch_new(loop, &inv, &ops, &s, &watch), 0);
	/* Somebody else makes VFs. */
	umockdev_testbed_set_attribute(*state, path, "sriov_numvfs", "16\n");
	umockdev_testbed_uevent(*state, path, "change");
	turn_until(loop, &s.changed, 1);
	assert_int_equal(s.link.sriov_numvfs, 16);
	mock_driver(*state, path, NULL);
	umockdev_testbed_uevent(*state, path, "unbind");
	turn_until(loop, &s.changed, 2);
	assert_string_equal(s.link.driver, "");
	mock_driver(*state, path, "vfio-pci");
	umockdev_testbed_uevent(*state, path, "bind");
	turn_until(loop, &s.changed, 3);
	assert_string_equal(s.link.driver, "vfio-pci");
	watch_free(watch);
	loop_free(loop);
	inventory_deinit(&inv);
	free(path);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(physical_function, setup, teardown),
		cmocka_unit_test_setup_teardown(virtual_function, setup, teardown),
		cmocka_unit_test_setup_teardown(found_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(name_that_went_to_another, setup, teardown),
		cmocka_unit_test_setup_teardown(unbound_and_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(values_that_make_no_sense, setup, teardown),
		cmocka_unit_test_setup_teardown(more_vfs_than_there_can_be, setup, teardown),
		cmocka_unit_test_setup_teardown(names_that_leave_sysfs, setup, teardown),
		cmocka_unit_test_setup_teardown(driver_name_that_does_not_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(udev_events, setup, teardown),
		cmocka_unit_test_setup_teardown(inventory_follows_devices, setup, teardown),
	};

	(void)argc;
	mock_preload(argv);
	return cmocka_run_group_tests_name("sysfs", tests, NULL, NULL);
}
