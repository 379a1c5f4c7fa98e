/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of the manager, and the datapath's coming and going, on a fake host. Faults in plans: test_plan.c. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "tests/unit/manager_bed.h"

static void a_life(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	assert_int_equal(f->h.n_sockets, 1);
	assert_string_equal(f->h.socket[0], "/run/vnicd/sock/gold/vm1-1.sock");
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master,
			 fake_link(&f->h, "br0")->link.ifindex);
	assert_true(fake_link(&f->h, "vn0-lan")->link.up);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	assert_int_equal(f->h.n_fdb, 1);
	/* Its rings stop, as at a migration's end: the bridge must not claim its MAC any more. */
	fake_peer(&f->h, &spec.key, PORT_CONNECTED);
	fake_run(&f->h, SECOND);
	assert_int_equal(f->h.n_fdb, 0);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void none_where_one_is_refused(void **state)
{
	struct fixture *f = *state;
	struct port_spec specs[] = { fake_spec(1, 1), fake_spec(1, 2) };

	strcpy(specs[1].class_name, "golden");
	prepare(f, specs, 2);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_UNKNOWN_CLASS, "52:54:00:00:01:02");
	same_as(f, f->before);
}

static void socket_of_another(void **state)
{
	struct fixture *f = *state;
	struct port_spec one = fake_spec(1, 1), two = fake_spec(2, 1);
	_cleanup_(freep) char *before = NULL;

	run_port(f, &one);
	before = fake_snapshot(&f->h);
	strcpy(two.name, one.name);
	prepare(f, &two, 1);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_SOCKET_IN_USE, "'vm1'");
	same_as(f, before);
}

static void mac_of_another(void **state)
{
	struct fixture *f = *state;
	struct port_spec one = fake_spec(1, 1), two = fake_spec(2, 1);
	_cleanup_(freep) char *before = NULL;

	run_port(f, &one);
	before = fake_snapshot(&f->h);
	memcpy(two.key.mac, one.key.mac, VNIC_MAC_LEN);
	prepare(f, &two, 1);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_DUPLICATE_MAC, "'vm1'");
	same_as(f, before);
	/* On another VLAN it is another network. */
	two.has_vlan = true;
	two.vlan = 5;
	prepare(f, &two, 1);
	fake_run(&f->h, SECOND);
	assert_string_equal(f->o.err.message, "");
}

static void a_domain_that_runs_keeps_its_ports(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	_cleanup_(freep) char *before = NULL;

	run_port(f, &spec);
	before = fake_snapshot(&f->h);
	prepare(f, &spec, 1);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_BUSY, "in use");
	memset(&f->o, 0, sizeof(f->o));
	manager_domain_release(f->h.m, spec.key.uuid, answered, &f->o);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_BUSY, "runs");
	same_as(f, before);
}

static void a_former_run_makes_room(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	uint64_t generation;

	run_port(f, &spec);
	generation = manager_port(f->h.m, &spec.key)->generation;
	/* QEMU and libvirtd die together; nobody releases; the domain is started again. */
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_peer(&f->h, &spec.key, PORT_READY);
	prepare(f, &spec, 1);
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
	assert_true(f->o.generation > generation);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
	assert_int_equal(f->h.dp_port[0].generation, f->o.generation);
}

static void stale_generation(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	uint64_t generation;

	run_port(f, &spec);
	generation = manager_port(f->h.m, &spec.key)->generation;
	memset(&f->o, 0, sizeof(f->o));
	manager_port_del(f->h.m, &spec.key, generation - 1, answered, &f->o);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_STALE_GENERATION, "made anew");
	assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
	memset(&f->o, 0, sizeof(f->o));
	manager_port_del(f->h.m, &spec.key, generation, answered, &f->o);
	fake_run(&f->h, SECOND);
	assert_string_equal(f->o.err.message, "");
	same_as(f, f->before);
	memset(&f->o, 0, sizeof(f->o));
	manager_port_del(f->h.m, &spec.key, 0, answered, &f->o);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_UNKNOWN_PORT, "there is no port");
}

static void a_hook_that_hangs_up(void **state)
{
	struct fixture *f = *state;
	struct port_spec specs[] = { fake_spec(1, 1), fake_spec(1, 2) };

	/* At each point of its way. */
	f->h.async = true;
	for (unsigned int calls = 0;; calls++) {
		struct manager_job *job = prepare(f, specs, 2);

		f->h.calls = 0;
		while (f->h.calls < calls && !f->o.answered)
			fake_run(&f->h, 1);
		if (f->o.answered)
			break;
		manager_cancel(f->h.m, job);
		fake_run(&f->h, 2 * SECOND);
		assert_false(f->o.answered);
		same_as(f, f->before);
	}
}

static void datapath_down(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	f->h.dp_up = false;
	manager_datapath_lost(f->h.m, "it hung up");
	prepare(f, &spec, 1);
	fake_run(&f->h, 4 * SECOND);
	assert_false(f->o.answered); /* it may only be restarting */
	fake_run(&f->h, 2 * SECOND);
	refused(f, VNIC_E_DATAPATH_DOWN, "systemctl start vnicd-datapath");
	same_as(f, f->before);
	/* It is back while a request waits. */
	fake_dp_connect(&f->h);
	f->h.dp_up = false;
	manager_datapath_lost(f->h.m, "it hung up");
	prepare(f, &spec, 1);
	fake_run(&f->h, 2 * SECOND);
	assert_false(f->o.answered);
	fake_dp_connect(&f->h);
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
}

static void datapath_restarts(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_dp_restart(&f->h);
	fake_run(&f->h, 1000); /* at once, and in the right order */
	assert_int_equal(f->h.n_dp_segments, 1);
	assert_int_equal(f->h.n_dp_ports, 1);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_READY);
	assert_int_equal(f->h.n_fdb, 0);
	fake_peer(&f->h, &spec.key, PORT_RUNNING);
	fake_run(&f->h, SECOND);
	assert_int_equal(f->h.n_fdb, 1);
	end_domain(f, &spec);
	same_as(f, f->before);
}

/* A front end is back before the port is whole again: it is not forgotten. */
static void front_end_is_early(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	manager_datapath_lost(f->h.m, "it hung up");
	fake_run(&f->h, SECOND);
	/* Record and step of the segment, the port's record: then it is told, in vain. */
	f->h.calls = 0;
	f->h.fail_at = 4;
	f->h.fail_with = -EIO;
	fake_dp_connect(&f->h);
	fake_run(&f->h, 1000);
	assert_true(f->h.failed);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_FAILED);
	fake_peer(&f->h, &spec.key, PORT_RUNNING);
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	assert_int_equal(f->h.n_fdb, 1);
}

static void reconnect(void **state)
{
	struct fixture *f = *state;
	struct port_spec specs[] = { fake_spec(1, 1), fake_spec(1, 2) };
	struct domain_request req = { .op = REQUEST_RECONNECT, .specs = specs, .n_specs = 2 };
	uint64_t generation;

	run_port(f, &specs[0]);
	generation = f->o.generation;
	memset(&f->o, 0, sizeof(f->o));
	manager_prepare(f->h.m, &req, answered, &f->o);
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_int_equal(f->o.n_ports, 2);
	assert_int_equal(f->o.generation, generation); /* the one that was there is untouched */
	assert_int_equal(manager_port(f->h.m, &specs[0].key)->state, PORT_RUNNING);
	assert_true(manager_port(f->h.m, &specs[1].key)->started);
}

/* `started` went amiss: libvirt's reconnect tells it too, and a later daemon knows. */
static void reconnect_means_started(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct domain_request req = { .op = REQUEST_RECONNECT, .specs = &spec, .n_specs = 1 };

	prepare(f, &spec, 1);
	fake_run(&f->h, SECOND);
	fake_set_alive(&f->h, spec.pidfile, true);
	assert_false(manager_port(f->h.m, &spec.key)->started);
	memset(&f->o, 0, sizeof(f->o));
	manager_prepare(f->h.m, &req, answered, &f->o);
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	fake_kill(&f->h);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, SECOND);
	assert_true(manager_port(f->h.m, &spec.key)->started);
}

static void fifty_domains(void **state)
{
	struct fixture *f = *state;
	struct outcome o[50] = { 0 };
	struct manager_job *job[50];

	f->h.async = true;
	for (unsigned int i = 0; i < 50; i++) {
		struct port_spec spec = fake_spec(i, 1);
		struct domain_request req = { .op = REQUEST_PREPARE, .specs = &spec, .n_specs = 1 };

		job[i] = manager_prepare(f->h.m, &req, answered, &o[i]);
	}
	for (unsigned int i = 0; i < 100; i++)
		fake_run(&f->h, 1);
	for (unsigned int i = 0; i < 50; i += 2)
		if (!o[i].answered)
			manager_cancel(f->h.m, job[i]);
	fake_run(&f->h, 5 * SECOND);
	for (unsigned int i = 1; i < 50; i += 2) {
		struct port_spec spec = fake_spec(i, 1);

		assert_true(o[i].answered);
		assert_int_equal(o[i].n_ports, 1);
		assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_READY);
	}
	assert_int_equal(f->h.n_dp_ports, HASH_COUNT(f->h.m->ports));
	assert_int_equal(f->h.n_sockets, HASH_COUNT(f->h.m->ports));
	fake_run(&f->h, 200 * SECOND);
	same_as(f, f->before);
}

static void an_undo_that_fails_is_tried_again(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_peer(&f->h, &spec.key, PORT_READY);
	fake_run(&f->h, SECOND);
	/* The tap's turn comes; its deletion fails once. */
	f->h.calls = 0;
	f->h.fail_at = 8;
	f->h.fail_with = -EBUSY;
	memset(&f->o, 0, sizeof(f->o));
	manager_domain_release(f->h.m, spec.key.uuid, answered, &f->o);
	fake_run(&f->h, 10 * SECOND);
	assert_true(f->h.failed);
	assert_true(f->o.answered);
	same_as(f, f->before);
}

/*
 * The datapath is away when a port is released, and the Nth thing that is done then fails: what it lists when it is
 * back is taken from it, also of a port that is still being released.
 */
static void a_release_while_the_datapath_is_away(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	int undecided = 0;

	for (unsigned int n = 1; n <= 6; n++) {
		run_port(f, &spec);
		fake_set_alive(&f->h, spec.pidfile, false);
		fake_peer(&f->h, &spec.key, PORT_READY);
		fake_run(&f->h, SECOND);
		f->h.dp_up = false;
		manager_datapath_lost(f->h.m, "it hung up");
		f->h.calls = 0;
		f->h.failed = false;
		f->h.fail_at = n;
		f->h.fail_with = -EBUSY;
		memset(&f->o, 0, sizeof(f->o));
		manager_domain_release(f->h.m, spec.key.uuid, answered, &f->o);
		fake_run(&f->h, SECOND / 10);
		assert_int_equal(f->h.n_dp_ports, 1);
		undecided += manager_port(f->h.m, &spec.key) != NULL;
		fake_dp_connect(&f->h);
		fake_run(&f->h, 100 * SECOND);
		assert_int_equal(f->h.n_dp_ports, 0);
		assert_null(manager_port(f->h.m, &spec.key));
		same_as(f, f->before);
	}
	assert_true(undecided >= 2); /* the socket's file and the record */
}

/* A hook does not wait for what is tried again every 30 s: the segment is needed, not to be undone. */
static void a_start_amid_a_failing_undo(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_set_alive(&f->h, spec.pidfile, false);
	fake_peer(&f->h, &spec.key, PORT_READY);
	fake_run(&f->h, SECOND);
	memset(&f->o, 0, sizeof(f->o));
	manager_domain_release(f->h.m, spec.key.uuid, answered, &f->o);
	for (int i = 0; i < 152; i++) {
		f->h.calls = 0;
		f->h.failed = false;
		f->h.fail_at = i == 0 ? 8 : 1;
		f->h.fail_with = -EBUSY;
		fake_run(&f->h, i == 0 ? 1000 : SECOND);
	}
	assert_null(manager_port(f->h.m, &spec.key));
	assert_non_null(manager_share(f->h.m, "lan"));
	f->h.fail_at = 0;
	prepare(f, &spec, 1);
	fake_run(&f->h, 5 * SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
}

static void a_refused_release_answers_at_once(void **state)
{
	struct port_spec specs[] = { fake_spec(1, 1), fake_spec(1, 2) };
	struct fixture *f = *state;

	/* One of the domain's ports has no pidfile, so that it would go; the other's says that it runs. */
	specs[0].pidfile[0] = '\0';
	assert_non_null(prepare(f, specs, 2));
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	fake_set_alive(&f->h, specs[1].pidfile, true);
	memset(&f->o, 0, sizeof(f->o));
	manager_domain_release(f->h.m, specs[0].key.uuid, answered, &f->o);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_BUSY, "runs");
	assert_int_equal(HASH_COUNT(f->h.m->ports), 2);
}

/* What went wrong is not told any more once it is right. */
static void a_failed_fdb_entry_is_repaired(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	const struct vnic_port *port;

	assert_non_null(prepare(f, &spec, 1));
	fake_run(&f->h, SECOND);
	fake_set_alive(&f->h, spec.pidfile, true);
	manager_domain_started(f->h.m, spec.key.uuid);
	port = manager_port(f->h.m, &spec.key);
	f->h.calls = 0;
	f->h.fail_at = 2; /* its record, its step */
	f->h.fail_with = -EIO;
	fake_peer(&f->h, &spec.key, PORT_RUNNING);
	fake_run(&f->h, 1000);
	assert_true(f->h.failed);
	assert_int_equal(port->state, PORT_RUNNING);
	assert_non_null(strstr(port->reason, "could not tell the bridge"));
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(f->h.n_fdb, 1);
	assert_string_equal(port->reason, "");
}

/* A port that cannot be repaired is released with its domain all the same, hook or no hook. */
static void a_failed_port_is_reaped(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_config *config = fake_config();
	struct vnic_err err = VNIC_ERR_INIT;

	run_port(f, &spec);
	config_class(config, "gold")->weight = 500;
	assert_int_equal(manager_config_swap(f->h.m, config, &err), 0);
	for (int i = 0; i < 60; i++) {
		f->h.calls = 0;
		f->h.failed = false;
		f->h.fail_at = i == 0 ? 4 : 2; /* the segment's goes well, the port's never */
		f->h.fail_with = -EIO;
		fake_run(&f->h, SECOND / 2);
		if (i > 0)
			continue;
		assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_FAILED);
		fake_set_alive(&f->h, spec.pidfile, false);
		fake_peer(&f->h, &spec.key, PORT_READY);
	}
	assert_true(!manager_port(f->h.m, &spec.key) ||
		    manager_port(f->h.m, &spec.key)->state == PORT_RELEASING);
	f->h.fail_at = 0;
	fake_run(&f->h, 60 * SECOND);
	assert_null(manager_port(f->h.m, &spec.key));
	same_as(f, f->before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_refused_release_answers_at_once),
		TEST(a_life),
		TEST(none_where_one_is_refused),
		TEST(socket_of_another),
		TEST(mac_of_another),
		TEST(a_domain_that_runs_keeps_its_ports),
		TEST(a_former_run_makes_room),
		TEST(stale_generation),
		TEST(a_hook_that_hangs_up),
		TEST(datapath_down),
		TEST(datapath_restarts),
		TEST(front_end_is_early),
		TEST(a_failed_fdb_entry_is_repaired),
		TEST(a_failed_port_is_reaped),
		TEST(reconnect),
		TEST(reconnect_means_started),
		TEST(fifty_domains),
		TEST(an_undo_that_fails_is_tried_again),
		TEST(a_release_while_the_datapath_is_away),
		TEST(a_start_amid_a_failing_undo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
