/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/config_check.h"
#include "daemon/core/path_software.h"

static struct vnic_segment *segment(struct vnic_config *config, const char *name,
				    const char *bridge)
{
	struct vnic_segment *s = calloc(1, sizeof(*s));

	strcpy(s->name, name);
	strcpy(s->bridge, bridge);
	strcpy(s->place.file, "vnicd.conf");
	s->place.line = 10 + (int)HASH_COUNT(config->segments);
	assert_int_equal(config_add_segment(config, s), 0);
	return s;
}

static struct vnic_class *class(struct vnic_config *config, const char *name, const char *in)
{
	struct vnic_class *c = calloc(1, sizeof(*c));

	strcpy(c->name, name);
	strcpy(c->segment, in);
	strcpy(c->place.file, "vnicd.conf.d/20.conf");
	c->place.line = 7;
	c->paths.path[0] = VNIC_PATH_SOFTWARE;
	c->vlans.bits[0] = 1;
	c->weight = 100;
	c->queues = 8;
	assert_int_equal(config_add_class(config, c), 0);
	return c;
}

static void refused(struct vnic_config *config, const char *place, const char *words)
{
	struct vnic_err err = VNIC_ERR_INIT;

	assert_int_equal(config_check(config, &err), -EINVAL);
	assert_string_equal(err.code, VNIC_E_INVALID_CONFIG);
	if (strncmp(err.message, place, strlen(place)) != 0 || !strstr(err.message, words))
		fail_msg("not '%s … %s': %s", place, words, err.message);
}

static int set_up(void **state)
{
	struct vnic_config *config = config_new();

	strcpy(segment(config, "lan", "br0")->uplink[0], "eth0");
	config_segment(config, "lan")->n_uplinks = 1;
	class(config, "gold", "lan");
	*state = config;
	return 0;
}

static int tear_down(void **state)
{
	config_free(*state);
	return 0;
}

static void good(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct vnic_config *empty = config_new();

	assert_int_equal(config_check(*state, &err), 0);
	assert_int_equal(config_check(empty, &err), 0);
	config_free(empty);
}

static void same_bridge(void **state)
{
	segment(*state, "dmz", "br0");
	refused(*state, "vnicd.conf:1", "br0 is the bridge of segment");
}

static void same_nic(void **state)
{
	struct vnic_segment *dmz = segment(*state, "dmz", "br1");

	strcpy(dmz->uplink[0], "eth0");
	dmz->n_uplinks = 1;
	refused(*state, "vnicd.conf:1", "a nic is in one segment");
}

static void nic_twice(void **state)
{
	struct vnic_segment *lan = config_segment(*state, "lan");

	strcpy(lan->uplink[lan->n_uplinks++], "eth0");
	refused(*state, "vnicd.conf:10: [segment lan] uplink:", "listed twice");
}

static void more_kept_than_allowed(void **state)
{
	struct vnic_class *gold = config_class(*state, "gold");
	struct vnic_err err = VNIC_ERR_INIT;

	gold->vf.min_rate = 2000;
	assert_int_equal(config_check(*state, &err), 0);
	gold->rate = 1000;
	refused(*state, "vnicd.conf.d/20.conf:7: [class gold] vf-min-rate:", "more than rate=");
}

static void hostdev_class_of_nobody(void **state)
{
	struct vnic_nic_config *nic = calloc(1, sizeof(*nic));
	struct vnic_err err = VNIC_ERR_INIT;

	strcpy(nic->name, "eth0");
	strcpy(nic->place.file, "vnicd.conf");
	nic->place.line = 30;
	strcpy(nic->hostdev_class, "gold");
	assert_int_equal(config_add_nic(*state, nic), 0);
	assert_int_equal(config_check(*state, &err), 0);
	strcpy(nic->hostdev_class, "tin");
	refused(*state, "vnicd.conf:30: [nic eth0] hostdev-class:", "there is no class tin");
}

static void bridge_as_uplink(void **state)
{
	struct vnic_segment *dmz = segment(*state, "dmz", "br1");

	strcpy(dmz->uplink[0], "br0");
	dmz->n_uplinks = 1;
	refused(*state, "vnicd.conf:11: [segment dmz] uplink:", "is the bridge of segment lan");
}

static void same_tap(void **state)
{
	static const char long_name[] = "a-long-name-of-a-segment";
	char tap[IFNAMSIZ], again[IFNAMSIZ];

	assert_int_equal(strlen(path_software_tap(long_name, tap)), IFNAMSIZ - 1);
	assert_string_equal(path_software_tap(long_name, again), tap);
	assert_string_not_equal(path_software_tap("a-long-name-of-a-segmenu", again), tap);
	segment(*state, long_name, "br1");
	/* A short name can be what the long one's tap is called. */
	segment(*state, tap + strlen("vn0-"), "br2");
	refused(*state, "vnicd.conf:1", "its tap would be");
}

static void own_tap_as_bridge(void **state)
{
	segment(*state, "dmz", "vn0-dmz");
	refused(*state, "vnicd.conf:11: [segment dmz] bridge:", "own tap");
}

static void no_bridge(void **state)
{
	segment(*state, "dmz", "");
	refused(*state, "vnicd.conf:11: [segment dmz] bridge:", "missing");
}

static void bad_mtu(void **state)
{
	config_segment(*state, "lan")->mtu = 67;
	refused(*state, "vnicd.conf:10: [segment lan] mtu:", "67");
}

static void unknown_segment(void **state)
{
	class(*state, "silver", "wan");
	refused(*state, "vnicd.conf.d/20.conf:7: [class silver] segment:", "[segment wan]");
}

static void default_vlan(void **state)
{
	config_class(*state, "gold")->vlan = 12;
	refused(*state, "vnicd.conf.d/20.conf:7: [class gold] vlan:", "12 is not in vlans=0");
}

static void no_path(void **state)
{
	config_class(*state, "gold")->paths.path[0] = VNIC_PATH_NONE;
	refused(*state, "vnicd.conf.d/20.conf:7: [class gold] paths:", "paths=software");
}

static void weights_and_queues(void **state)
{
	struct vnic_class *gold = config_class(*state, "gold");

	gold->weight = 0;
	refused(*state, "vnicd.conf.d/20.conf:7: [class gold] weight:", "1 and 1000");
	gold->weight = 1001;
	refused(*state, "vnicd.conf.d/20.conf:7: [class gold] weight:", "1 and 1000");
	gold->weight = 1000;
	gold->queues = 9;
	refused(*state, "vnicd.conf.d/20.conf:7: [class gold] queues:", "1 and 8");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(good),
		TEST(same_bridge),
		TEST(same_nic),
		TEST(nic_twice),
		TEST(more_kept_than_allowed),
		TEST(hostdev_class_of_nobody),
		TEST(bridge_as_uplink),
		TEST(same_tap),
		TEST(own_tap_as_bridge),
		TEST(no_bridge),
		TEST(bad_mtu),
		TEST(unknown_segment),
		TEST(default_vlan),
		TEST(no_path),
		TEST(weights_and_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
