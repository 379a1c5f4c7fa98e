/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What outlives the daemon, with and without its record, and whose end nobody told: on a fake host. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "tests/unit/manager_bed.h"

static void lose_port_record(struct fixture *f)
{
	port_free(f->h.port_record[--f->h.n_port_records]);
}

static void lose_segment_record(struct fixture *f)
{
	plan_clear(&f->h.shared_records.record[--f->h.shared_records.n].plan);
}

static void reason_says(struct fixture *f, const struct port_key *key, const char *words)
{
	const char *reason = manager_port(f->h.m, key)->reason;

	if (!strstr(reason, words))
		fail_msg("'%s' is not in: %s", words, reason);
}

/* A port that runs, and a daemon that is killed: what comes after it finds no record of the port. */
static void orphan(struct fixture *f, struct port_spec *spec)
{
	run_port(f, spec);
	fake_kill(&f->h);
	lose_port_record(f);
}

static void datapath_has_strays(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	orphan(f, &spec);
	lose_segment_record(f);
	/* Nobody is left of its domain: nothing is to be left of it. */
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_peer(&f->h, &spec.key, PORT_READY);
	fake_libvirt(&f->h, NULL);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 5 * SECOND);
	same_as(f, f->before);
}

/* The datapath is away while a port is released: once back it still has it, and somebody's port beside it. */
static void come_back_with_a_stray(struct fixture *f, struct port_spec *spec)
{
	struct dp_port_status stray = { .key = spec->key, .generation = 5, .state = PORT_READY };

	manager_datapath_lost(f->h.m, "it hung up");
	f->h.dp_up = false;
	strcpy(stray.segment, "lan");
	f->h.dp_port[f->h.n_dp_ports++] = stray;
	fake_run(&f->h, SECOND);
	fake_dp_connect(&f->h);
}

static void a_stray_that_is_not_forgotten_at_once(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	f->h.forget_fails = 4;
	come_back_with_a_stray(f, &spec);
	/* 1, 2, 4 and 8 s after the last */
	fake_run(&f->h, 500000);
	assert_int_equal(f->h.n_forgets, 1);
	fake_run(&f->h, 6 * SECOND);
	assert_int_equal(f->h.n_forgets, 3);
	assert_int_equal(f->h.n_dp_ports, 1);
	fake_run(&f->h, 20 * SECOND);
	assert_int_equal(f->h.n_forgets, 5);
	same_as(f, f->before);
	fake_run(&f->h, 100 * SECOND);
	assert_int_equal(f->h.n_forgets, 5);
}

/* The next connection says whether it is still there. */
static void a_stray_of_the_last_connection(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	f->h.forget_fails = 3;
	come_back_with_a_stray(f, &spec);
	fake_run(&f->h, 500000);
	fake_dp_restart(&f->h);
	fake_run(&f->h, 100 * SECOND);
	assert_int_equal(f->h.n_forgets, 1);
	same_as(f, f->before);
}

static void a_port_in_a_strays_place(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	f->h.forget_fails = 1;
	come_back_with_a_stray(f, &spec);
	fake_run(&f->h, 500000);
	run_port(f, &spec);
	fake_run(&f->h, 100 * SECOND);
	assert_int_equal(f->h.n_forgets, 1);
	assert_int_equal(f->h.n_dp_ports, 1);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void a_guest_without_its_record(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	_cleanup_(freep) char *before = NULL;
	struct vnic_port *port;
	uint64_t generation;
	int tap;

	run_port(f, &spec);
	before = fake_snapshot(&f->h);
	generation = manager_port(f->h.m, &spec.key)->generation;
	tap = fake_link(&f->h, "vn0-lan")->link.ifindex;
	fake_kill(&f->h);
	lose_port_record(f);
	lose_segment_record(f);
	fake_libvirt(&f->h, &spec);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.ifindex, tap);
	port = manager_port(f->h.m, &spec.key);
	assert_non_null(port);
	assert_false(port->orphan);
	assert_true(port->started);
	assert_int_equal(port->state, PORT_RUNNING);
	assert_int_equal(port->generation, generation);
	assert_string_equal(port->spec.domain, spec.domain);
	assert_string_equal(port->reason, "");
	same_as(f, before);
	/* It neither left the datapath in between, nor was its socket bound anew. */
	for (unsigned int i = 0; i < f->h.calls; i++)
		assert_null(strstr(f->h.call[i], "listen"));
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void an_orphan_while_libvirt_is_away(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	const struct vnic_port *port;

	orphan(f, &spec);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 600 * SECOND);
	port = manager_port(f->h.m, &spec.key);
	assert_non_null(port);
	assert_true(port->orphan);
	assert_int_equal(port->state, PORT_RUNNING);
	assert_int_equal(f->h.n_dp_ports, 1);
	assert_int_equal(f->h.n_sockets, 1);
	assert_int_equal(f->h.n_port_records, 0);
	reason_says(f, &spec.key, "see that libvirtd runs");
	assert_in_range(f->h.n_asked, 5, 20);
	/* The next datapath knows nothing of it, nor does anybody else. */
	fake_dp_restart(&f->h);
	fake_run(&f->h, SECOND);
	same_as(f, f->before);
}

static void libvirt_comes_back(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	orphan(f, &spec);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 30 * SECOND);
	assert_true(manager_port(f->h.m, &spec.key)->orphan);
	fake_libvirt(&f->h, &spec);
	fake_run(&f->h, 60 * SECOND);
	assert_false(manager_port(f->h.m, &spec.key)->orphan);
	assert_string_equal(manager_port(f->h.m, &spec.key)->reason, "");
	assert_int_equal(f->h.n_port_records, 1);
	/* Its domain ends without a word. */
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_peer(&f->h, &spec.key, PORT_READY);
	fake_run(&f->h, 15 * SECOND);
	same_as(f, f->before);
}

static void an_orphan_of_no_domain(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	orphan(f, &spec);
	fake_libvirt(&f->h, NULL);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 300 * SECOND);
	/* Somebody is served by it. */
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	reason_says(f, &spec.key, "libvirt knows no such domain");
	fake_peer(&f->h, &spec.key, PORT_READY);
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
	fake_run(&f->h, 10 * SECOND);
	same_as(f, f->before);
}

static void an_orphan_is_deleted(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	orphan(f, &spec);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, SECOND);
	memset(&f->o, 0, sizeof(f->o));
	manager_port_del(f->h.m, &spec.key, 0, answered, &f->o);
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
	same_as(f, f->before);
}

static void a_hook_knows_whose_it_is(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct domain_request req = { .op = REQUEST_RECONNECT, .specs = &spec, .n_specs = 1 };

	orphan(f, &spec);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, SECOND);
	memset(&f->o, 0, sizeof(f->o));
	manager_prepare(f->h.m, &req, answered, &f->o);
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
	assert_false(manager_port(f->h.m, &spec.key)->orphan);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void an_orphan_that_has_no_class_any_more(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;

	orphan(f, &spec);
	fake_libvirt(&f->h, &spec);
	fake_start(&f->h, config_new());
	fake_run(&f->h, 60 * SECOND);
	assert_true(manager_port(f->h.m, &spec.key)->orphan);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	reason_says(f, &spec.key, "there is no class 'gold'");
	/* The class comes back with a reload. */
	assert_int_equal(manager_config_swap(f->h.m, fake_config(), &err), 0);
	fake_run(&f->h, SECOND);
	assert_false(manager_port(f->h.m, &spec.key)->orphan);
	end_domain(f, &spec);
	same_as(f, f->before);
}

/* A newer vnicd's record is left as it is, which is no reason to cut its guest off. */
static void an_orphan_whose_record_cannot_be_written(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	orphan(f, &spec);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, SECOND);
	f->h.calls = 0;
	f->h.fail_at = 1;
	f->h.fail_with = -EEXIST;
	fake_libvirt(&f->h, &spec);
	fake_run(&f->h, 10 * SECOND);
	assert_true(f->h.failed);
	assert_true(manager_port(f->h.m, &spec.key)->orphan);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	reason_says(f, &spec.key, "cannot be written");
	/* Its pidfile is known by now: the domain's end is its end. */
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_peer(&f->h, &spec.key, PORT_READY);
	fake_run(&f->h, 15 * SECOND);
	same_as(f, f->before);
}

static void an_orphans_vlan_stays(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	fake_link(&f->h, "br0")->link.vlan_filtering = true;
	fake_run(&f->h, 1000);
	spec.has_vlan = true;
	spec.vlan = 12;
	orphan(f, &spec);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 60 * SECOND);
	assert_true(manager_port(f->h.m, &spec.key)->orphan);
	assert_true(fake_has_vlan(&f->h, "vn0-lan", 12) && fake_has_vlan(&f->h, "eth0", 12));
	fake_libvirt(&f->h, &spec);
	fake_run(&f->h, 60 * SECOND);
	assert_int_equal(manager_port(f->h.m, &spec.key)->vlan, 12);
	assert_true(fake_has_vlan(&f->h, "vn0-lan", 12));
	end_domain(f, &spec);
	assert_false(fake_has_vlan(&f->h, "eth0", 12));
}

/* What the datapath serves is known once it has told: until then nothing is taken from it. */
static void the_datapath_is_late(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	int tap;

	orphan(f, &spec);
	tap = fake_link(&f->h, "vn0-lan")->link.ifindex;
	fake_libvirt(&f->h, &spec);
	f->h.dp_up = false;
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 4 * SECOND);
	assert_non_null(fake_link(&f->h, "vn0-lan"));
	fake_dp_connect(&f->h);
	fake_run(&f->h, SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.ifindex, tap);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
}

/* The domain ends between `start` and `started`, while no vnicd is there to be told. */
static void ended_before_it_was_started(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	/* libvirt's word: at once where it has no such domain, never where it has, late where it says nothing. */
	for (int i = 0; i < 3; i++) {
		assert_non_null(prepare(f, &spec, 1));
		fake_run(&f->h, SECOND);
		fake_kill(&f->h);
		f->h.n_domains = 0;
		f->h.libvirt_up = i < 2;
		if (i == 1)
			fake_libvirt(&f->h, &spec);
		fake_start(&f->h, fake_config());
		fake_run(&f->h, SECOND);
		if (i > 0) {
			assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
			fake_run(&f->h, 100 * SECOND);
			assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
			fake_run(&f->h, 30 * SECOND);
		}
		same_as(f, f->before);
	}
}

/* A domain that visibly lives is nothing to start a helper for. */
static void libvirt_is_not_asked_in_vain(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_kill(&f->h);
	fake_libvirt(&f->h, NULL);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 60 * SECOND);
	assert_int_equal(f->h.n_asked, 0);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
}

static void lost_segment_record(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	int tap;

	run_port(f, &spec);
	tap = fake_link(&f->h, "vn0-lan")->link.ifindex;
	fake_kill(&f->h);
	lose_segment_record(f);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.ifindex, tap);
	assert_int_equal(f->h.shared_records.n, 1);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void a_guest_outlives_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	uint64_t generation;

	run_port(f, &spec);
	generation = manager_port(f->h.m, &spec.key)->generation;
	fake_kill(&f->h);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 30 * SECOND);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
	assert_int_equal(manager_port(f->h.m, &spec.key)->generation, generation);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	assert_true(manager_port(f->h.m, &spec.key)->started);
	/* It may not bind a socket that the datapath listens on. */
	for (unsigned int i = 0; i < f->h.calls; i++)
		assert_null(strstr(f->h.call[i], "listen"));
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void the_lock_is_the_truth(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	/* A domain that lives keeps a port without peer (its front end reconnects). */
	fake_peer(&f->h, &spec.key, PORT_READY);
	fake_run(&f->h, 300 * SECOND);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_run(&f->h, 8 * SECOND);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
	fake_run(&f->h, 8 * SECOND);
	same_as(f, f->before);
}

static void prepared_and_never_started(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	prepare(f, &spec, 1);
	fake_run(&f->h, 100 * SECOND);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
	fake_run(&f->h, 30 * SECOND);
	same_as(f, f->before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(datapath_has_strays),
		TEST(a_stray_that_is_not_forgotten_at_once),
		TEST(a_stray_of_the_last_connection),
		TEST(a_port_in_a_strays_place),
		TEST(a_guest_without_its_record),
		TEST(an_orphan_while_libvirt_is_away),
		TEST(libvirt_comes_back),
		TEST(an_orphan_of_no_domain),
		TEST(an_orphan_is_deleted),
		TEST(a_hook_knows_whose_it_is),
		TEST(an_orphan_that_has_no_class_any_more),
		TEST(an_orphan_whose_record_cannot_be_written),
		TEST(an_orphans_vlan_stays),
		TEST(the_datapath_is_late),
		TEST(ended_before_it_was_started),
		TEST(libvirt_is_not_asked_in_vain),
		TEST(lost_segment_record),
		TEST(a_guest_outlives_the_daemon),
		TEST(the_lock_is_the_truth),
		TEST(prepared_and_never_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
