/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports of path vdpa, and uplinks of vnic.ko, on a fake host. Killed and failed at each step: test_plan. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "daemon/core/path_vdpa.h"
#include "tests/unit/manager_bed.h"

#define VNIC0 "vnic/eth0"

static struct vnic_config *config_with(bool vnic)
{
	struct vnic_config *config = fake_config();

	config_class(config, "gold")->paths.path[0] = VNIC_PATH_VDPA;
	fake_want_uplink(config, "eth0", vnic);
	return config;
}

static struct port_spec vdpa_spec(unsigned int nic)
{
	struct port_spec spec = fake_spec(1, nic);

	spec.vdpa = true;
	return spec;
}

static struct fake_vdpa *device_of(struct fixture *f, const struct port_spec *spec)
{
	char name[VNIC_NAME_MAX];

	return fake_vdpa(&f->h, path_vdpa_name(&spec->key, name));
}

static struct fixture *with_uplink(void **state)
{
	struct fixture *f = *state;

	swap(f, config_with(true));
	assert_true(fake_link(&f->h, "eth0")->uplink);
	return f;
}

static void make(struct fixture *f, struct port_spec *spec)
{
	f->o = (struct outcome){ 0 };
	assert_non_null(prepare(f, spec, 1));
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
}

static void start(struct fixture *f, const struct port_spec *spec)
{
	fake_set_alive(&f->h, spec->pidfile, true);
	manager_domain_started(f->h.m, spec->key.uuid);
	fake_run(&f->h, SECOND);
}

static void a_life(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1);
	struct fake_vdpa *v;

	spec.has_vlan = true;
	spec.vlan = 12;
	spec.has_rate = true;
	spec.rate = 5000000;
	make(f, &spec);
	assert_string_equal(f->o.err.message, "");
	v = device_of(f, &spec);
	assert_non_null(v);
	assert_string_equal(v->mgmtdev, VNIC0);
	assert_string_equal(v->driver, "vhost_vdpa");
	assert_memory_equal(v->mac, spec.key.mac, VNIC_MAC_LEN);
	assert_int_equal(v->vlan, 12);
	assert_int_equal(v->rate, 5000000);
	assert_int_equal(v->weight, 100);
	assert_int_equal(v->pairs, 1);
	assert_int_equal(v->allow, 1u << VDPA_ALLOW_MULTICAST);
	assert_int_equal(f->h.n_nodes, 1);
	assert_string_equal(f->h.node[0], "gold/vm1-1");
	assert_int_equal(port_of(f, &spec)->state, PORT_READY);
	start(f, &spec);
	assert_int_equal(port_of(f, &spec)->state, PORT_RUNNING);
	/* Neither the datapath nor the bridge has heard of it. */
	assert_int_equal(f->h.n_dp_segments, 0);
	assert_int_equal(f->h.n_dp_ports, 0);
	assert_int_equal(f->h.n_fdb, 0);
	end_domain(f, &spec);
	assert_null(device_of(f, &spec));
	swap(f, config_with(false));
	same_as(f, f->before);
}

static void datapath_is_not_needed(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1);

	f->h.dp_up = false;
	manager_datapath_lost(f->h.m, "it was killed");
	make(f, &spec);
	assert_string_equal(f->o.err.message, "");
	start(f, &spec);
	assert_int_equal(port_of(f, &spec)->state, PORT_RUNNING);
	fake_dp_restart(&f->h);
	fake_run(&f->h, SECOND);
	assert_int_equal(port_of(f, &spec)->state, PORT_RUNNING);
	assert_non_null(device_of(f, &spec));
	end_domain(f, &spec);
	swap(f, config_with(false));
	same_as(f, f->before);
}

static void devices_of_others_stay(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1), other = vdpa_spec(2);
	char name[VNIC_NAME_MAX];

	fake_add_vdpa(&f->h, "theirs", VNIC0);
	strcpy(f->h.card_mgmtdev, "vdpasim_net");
	fake_add_vdpa(&f->h, path_vdpa_name(&other.key, name), "vdpasim_net");
	fake_run(&f->h, SECOND);
	make(f, &spec);
	assert_string_equal(f->o.err.message, "");
	/* One of the name that ours would have, and not on an uplink of ours, is not ours either. */
	make(f, &other);
	refused(f, VNIC_E_STEP_FAILED, "could not make vDPA device");
	end_domain(f, &spec);
	assert_int_equal(f->h.n_vdpas, 2);
	/* While they are on it, it stays an uplink. */
	swap(f, config_with(false));
	assert_true(fake_link(&f->h, "eth0")->uplink);
	says(manager_uplink(f->h.m, fake_link(&f->h, "eth0")->link.ifindex)->reason,
	     "until no device is on it");
	fake_del_vdpa(&f->h, "theirs");
	fake_del_vdpa(&f->h, name);
	fake_run(&f->h, SECOND);
	same_as(f, f->before);
}

/* The inventory may show that its device has gone before the step that deletes it is known to have ended. */
static void uplink_goes_after_its_last_port(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1);

	make(f, &spec);
	start(f, &spec);
	f->h.async = true;
	f->h.hold = STEP_VDPA_ADD;
	swap(f, config_with(false));
	assert_true(fake_link(&f->h, "eth0")->uplink);
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_run(&f->h, 20 * SECOND);
	assert_null(device_of(f, &spec));
	assert_int_equal(port_of(f, &spec)->state, PORT_RELEASING);
	f->h.hold = 0;
	fake_run(&f->h, 5 * SECOND);
	same_as(f, f->before);
}

static void uplink_of_others_stays(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = vdpa_spec(1);

	fake_link(&f->h, "eth0")->uplink = true;
	fake_run(&f->h, SECOND);
	swap(f, config_with(true));
	make(f, &spec);
	assert_string_equal(f->o.err.message, "");
	end_domain(f, &spec);
	swap(f, config_with(false));
	assert_true(fake_link(&f->h, "eth0")->uplink);
	assert_int_equal(f->h.nic_records.n, 0);
}

static void uplink_lives_through_renaming(void **state)
{
	struct fixture *f = with_uplink(state);
	struct fake_link *l = fake_link(&f->h, "eth0");
	struct vnic_config *config = config_with(false);

	strcpy(l->link.name, "lan0");
	fake_run(&f->h, SECOND);
	fake_want_uplink(config, "lan0", true);
	swap(f, config);
	assert_true(l->uplink);
	assert_true(manager_uplink(f->h.m, l->link.ifindex)->ready);
	swap(f, config_with(false));
	assert_false(l->uplink);
	assert_int_equal(f->h.nic_records.n, 0);
}

static void nic_that_goes_is_told_and_taken_again(void **state)
{
	struct fixture *f = with_uplink(state);
	struct fake_link eth0 = *fake_link(&f->h, "eth0");
	struct port_spec spec = vdpa_spec(1);

	make(f, &spec);
	start(f, &spec);
	/* What is in use of vnic.ko's outlives its nic. */
	fake_del_link(&f->h, "eth0");
	fake_run(&f->h, 2 * SECOND);
	assert_non_null(device_of(f, &spec));
	assert_int_equal(port_of(f, &spec)->state, PORT_RUNNING);
	says(port_of(f, &spec)->reason, "the nic of its vDPA device has gone");
	assert_int_equal(f->h.nic_records.n, 0);
	/* It comes back with another number, and is its uplink once vnic.ko takes it. */
	eth0.link.ifindex += 100;
	eth0.uplink = false;
	f->h.link[f->h.n_links++] = eth0;
	f->h.no_vnic = true;
	fake_run(&f->h, 5 * SECOND);
	assert_false(manager_uplink(f->h.m, eth0.link.ifindex)->ready);
	says(manager_uplink(f->h.m, eth0.link.ifindex)->reason, "could not make eth0");
	f->h.no_vnic = false;
	end_domain(f, &spec);
	assert_null(device_of(f, &spec));
	fake_run(&f->h, 60 * SECOND);
	assert_true(manager_uplink(f->h.m, eth0.link.ifindex)->ready);
	make(f, &spec);
	assert_string_equal(f->o.err.message, "");
	end_domain(f, &spec);
	swap(f, config_with(false));
	assert_false(fake_link(&f->h, "eth0")->uplink);
	assert_int_equal(f->h.nic_records.n, 0);
}

static void module_that_is_missing_is_told(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = vdpa_spec(1);

	f->h.no_vnic = true;
	swap(f, config_with(true));
	make(f, &spec);
	refused(f, VNIC_E_NO_PATH, "vnic.ko has not taken it");
	f->h.no_vnic = false;
	fake_run(&f->h, 60 * SECOND);
	make(f, &spec);
	assert_string_equal(f->o.err.message, "");
	end_domain(f, &spec);
	swap(f, config_with(false));
	same_as(f, f->before);
}

static void device_in_use_is_deleted_later(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1);

	make(f, &spec);
	start(f, &spec);
	/* QEMU is slow to die. */
	device_of(f, &spec)->open = true;
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_run(&f->h, 20 * SECOND);
	assert_non_null(device_of(f, &spec));
	assert_int_equal(port_of(f, &spec)->state, PORT_RELEASING);
	device_of(f, &spec)->open = false;
	fake_run(&f->h, 60 * SECOND);
	assert_null(device_of(f, &spec));
	swap(f, config_with(false));
	same_as(f, f->before);
}

/* Records and all that was known of it are lost. */
static void device_left_behind(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1), used = vdpa_spec(2), taken = vdpa_spec(3);
	char name[VNIC_NAME_MAX];

	fake_add_vdpa(&f->h, path_vdpa_name(&spec.key, name), VNIC0);
	fake_add_vdpa(&f->h, path_vdpa_name(&used.key, name), VNIC0)->open = true;
	strcpy(fake_add_vdpa(&f->h, path_vdpa_name(&taken.key, name), VNIC0)->driver,
	       "virtio_vdpa");
	fake_add_vdpa(&f->h, "vnic-1", VNIC0);
	/* Until libvirt has said whose they are, they may be a guest's. */
	fake_run(&f->h, 60 * SECOND);
	assert_non_null(device_of(f, &spec));
	says(port_of(f, &spec)->reason, "its record is lost");
	fake_libvirt(&f->h, NULL);
	fake_run(&f->h, 60 * SECOND);
	assert_null(device_of(f, &spec));
	assert_null(manager_port(f->h.m, &spec.key));
	/* One that a guest has is deleted when it has ended, and its domain's next start waits for that. */
	assert_int_equal(port_of(f, &used)->state, PORT_RELEASING);
	says(port_of(f, &used)->reason, "could not undo");
	fake_run(&f->h, 60 * SECOND);
	assert_non_null(device_of(f, &used));
	f->o = (struct outcome){ 0 };
	assert_non_null(prepare(f, &used, 1));
	fake_run(&f->h, 2 * SECOND);
	assert_false(f->o.answered);
	device_of(f, &used)->open = false;
	fake_run(&f->h, 4 * SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
	assert_int_equal(port_of(f, &used)->state, PORT_READY);
	assert_string_equal(port_of(f, &used)->spec.class_name, "gold");
	end_domain(f, &used);
	/* What the host uses itself, and what is called otherwise, stays. */
	assert_int_equal(f->h.n_vdpas, 2);
	assert_non_null(device_of(f, &taken));
	fake_del_vdpa(&f->h, name);
	fake_del_vdpa(&f->h, "vnic-1");
	swap(f, config_with(false));
	same_as(f, f->before);
}

static void lose_record(struct fixture *f)
{
	fake_kill(&f->h);
	port_free(f->h.port_record[--f->h.n_port_records]);
}

/* Its guest runs on, and its port is what it was. */
static void a_record_is_made_anew(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1);
	_cleanup_(freep) char *before = NULL;

	spec.has_vlan = true;
	spec.vlan = 12;
	make(f, &spec);
	start(f, &spec);
	device_of(f, &spec)->open = true;
	before = fake_snapshot(&f->h);
	lose_record(f);
	f->h.n_nodes = 0;
	fake_libvirt(&f->h, &spec);
	fake_start(&f->h, config_with(true));
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(port_of(f, &spec)->state, PORT_RUNNING);
	assert_false(port_of(f, &spec)->orphan);
	assert_string_equal(port_of(f, &spec)->reason, "");
	assert_string_equal(port_of(f, &spec)->spec.class_name, "gold");
	assert_int_equal(port_of(f, &spec)->vlan, 12);
	assert_int_equal(f->h.n_port_records, 1);
	same_as(f, before);
	device_of(f, &spec)->open = false;
	end_domain(f, &spec);
	assert_null(device_of(f, &spec));
	swap(f, config_with(false));
	same_as(f, f->before);
}

/* Its domain has ended meanwhile, or runs on: no datapath is needed to find out. */
static void a_lost_record_without_a_datapath(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec lives = vdpa_spec(1), ended = vdpa_spec(2);

	ended.key.uuid[0] ^= 1;
	make(f, &lives);
	start(f, &lives);
	make(f, &ended);
	lose_record(f);
	port_free(f->h.port_record[--f->h.n_port_records]);
	f->h.dp_up = false;
	fake_libvirt(&f->h, &lives);
	fake_start(&f->h, config_with(true));
	fake_run(&f->h, 5 * SECOND);
	assert_false(port_of(f, &lives)->orphan);
	assert_int_equal(port_of(f, &lives)->state, PORT_RUNNING);
	assert_int_equal(f->h.n_port_records, 1);
	assert_null(manager_port(f->h.m, &ended.key));
	assert_null(device_of(f, &ended));
}

static void a_record_that_cannot_be_made_anew(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1);
	struct vnic_config *config = config_with(true);

	make(f, &spec);
	start(f, &spec);
	device_of(f, &spec)->open = true;
	lose_record(f);
	fake_libvirt(&f->h, &spec);
	config_class(config, "gold")->paths.path[0] = VNIC_PATH_SOFTWARE;
	fake_start(&f->h, config);
	fake_run(&f->h, 5 * SECOND);
	assert_true(port_of(f, &spec)->orphan);
	says(port_of(f, &spec)->reason, "vnicd cannot take it up");
	assert_non_null(device_of(f, &spec));
	/* Its domain's end is seen all the same. */
	device_of(f, &spec)->open = false;
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_run(&f->h, 60 * SECOND);
	assert_null(device_of(f, &spec));
	assert_null(manager_port(f->h.m, &spec.key));
}

static void names_of_devices(void **state)
{
	static const char *const bad[] = {
		"",
		"vnic-1",
		"vnic-0000000000000000000000000000000-525400000102",
		"vnic-00000000000000000000000000000001-52540000010",
		"vnic-00000000000000000000000000000001-5254000001021",
		"vnic-0000000000000000000000000000000A-525400000102",
		"vnic-00000000000000000000000000000001_525400000102",
		"Vnic-00000000000000000000000000000001-525400000102",
	};
	const struct port_spec spec = vdpa_spec(2);
	char name[VNIC_NAME_MAX];
	struct port_key key;

	(void)state;
	assert_true(path_vdpa_key(path_vdpa_name(&spec.key, name), &key));
	assert_true(port_key_eq(&key, &spec.key));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(path_vdpa_key(bad[i], &key));
}

static void device_that_was_deleted_is_made_again(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1);
	char name[VNIC_NAME_MAX];

	make(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	fake_del_vdpa(&f->h, path_vdpa_name(&spec.key, name));
	fake_run(&f->h, 5 * SECOND);
	assert_non_null(device_of(f, &spec));
	assert_string_equal(device_of(f, &spec)->driver, "vhost_vdpa");
	/* Under a guest it cannot be, which is told. */
	start(f, &spec);
	fake_run(&f->h, 5 * SECOND);
	fake_del_vdpa(&f->h, name);
	fake_run(&f->h, 5 * SECOND);
	assert_null(device_of(f, &spec));
	says(port_of(f, &spec)->reason, "no network here until its domain starts anew");
	end_domain(f, &spec);
	swap(f, config_with(false));
	same_as(f, f->before);
}

static void settings_follow_the_configuration(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1);
	struct vnic_config *config = config_with(true);

	make(f, &spec);
	start(f, &spec);
	config_class(config, "gold")->rate = 7000000;
	config_class(config, "gold")->trust = true;
	config_class(config, "gold")->spoofchk = false;
	swap(f, config);
	assert_int_equal(device_of(f, &spec)->rate, 7000000);
	assert_int_equal(device_of(f, &spec)->allow, (1u << VDPA_ALLOW_COUNT) - 1);
	end_domain(f, &spec);
	swap(f, config_with(false));
	same_as(f, f->before);
}

/* Tagged frames are for who is trusted and in no VLAN. */
static void trunks(void **state)
{
	struct fixture *f = with_uplink(state);
	struct port_spec spec = vdpa_spec(1);
	struct vnic_config *config = config_with(true);

	config_class(config, "gold")->trust = true;
	swap(f, config);
	make(f, &spec);
	assert_true(device_of(f, &spec)->allow >> VDPA_ALLOW_VLAN & 1);
	start(f, &spec);
	swap(f, config_with(true));
	assert_int_equal(device_of(f, &spec)->allow, 1u << VDPA_ALLOW_MULTICAST);
	end_domain(f, &spec);
	spec.has_vlan = true;
	spec.vlan = 12;
	make(f, &spec);
	start(f, &spec);
	config = config_with(true);
	config_class(config, "gold")->trust = true;
	swap(f, config);
	assert_true(device_of(f, &spec)->allow >> VDPA_ALLOW_MAC & 1);
	assert_false(device_of(f, &spec)->allow >> VDPA_ALLOW_VLAN & 1);
	end_domain(f, &spec);
	swap(f, config_with(false));
	same_as(f, f->before);
}

static void a_cards_own(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = vdpa_spec(1);
	struct vnic_config *config = config_with(false);

	strcpy(f->h.card_mgmtdev, "vdpasim_net");
	fake_run(&f->h, SECOND);
	strcpy(config_nic(config, "eth0")->mgmtdev, "vdpasim_net");
	swap(f, config);
	make(f, &spec);
	assert_string_equal(f->o.err.message, "");
	assert_string_equal(device_of(f, &spec)->mgmtdev, "vdpasim_net");
	assert_null(plan_find(&port_of(f, &spec)->plan, STEP_VDPA_POLICY));
	end_domain(f, &spec);
	spec.has_vlan = true;
	spec.vlan = 12;
	make(f, &spec);
	refused(f, VNIC_E_NO_PATH, "cannot be put into VLAN 12");
	same_as(f, f->before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_life),
		TEST(datapath_is_not_needed),
		TEST(devices_of_others_stay),
		TEST(uplink_goes_after_its_last_port),
		TEST(uplink_of_others_stays),
		TEST(uplink_lives_through_renaming),
		TEST(nic_that_goes_is_told_and_taken_again),
		TEST(module_that_is_missing_is_told),
		TEST(device_in_use_is_deleted_later),
		TEST(device_left_behind),
		TEST(a_record_is_made_anew),
		TEST(a_lost_record_without_a_datapath),
		TEST(a_record_that_cannot_be_made_anew),
		TEST(names_of_devices),
		TEST(device_that_was_deleted_is_made_again),
		TEST(settings_follow_the_configuration),
		TEST(trunks),
		TEST(a_cards_own),
	};

	return cmocka_run_group_tests_name("vdpa", tests, NULL, NULL);
}
