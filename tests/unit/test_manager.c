/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the manager does as things happen around it, on a fake host. Faults in plans: test_plan.c. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "tests/unit/fake_host.h"

#define SECOND 1000000u

struct outcome {
	bool answered;
	struct vnic_err err;
	size_t n_ports;
	uint64_t generation;
};

static void answered(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
		     size_t n_ports)
{
	struct outcome *o = arg;

	assert_false(o->answered);
	o->answered = true;
	if (err)
		o->err = *err;
	o->n_ports = n_ports;
	o->generation = n_ports ? ports[0]->generation : 0;
}

struct fixture {
	struct fake_host h;
	char *before;
	struct outcome o;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_init(&f->h);
	f->before = fake_snapshot(&f->h);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 1000);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	fake_deinit(&f->h);
	free(f->before);
	free(f);
	return 0;
}

static void same_as(struct fixture *f, const char *before)
{
	_cleanup_(freep) char *after = fake_snapshot(&f->h);

	assert_string_equal(after, before);
}

static struct manager_job *prepare(struct fixture *f, struct port_spec *specs, size_t n)
{
	struct domain_request req = { .op = REQUEST_PREPARE, .specs = specs, .n_specs = n };

	memcpy(req.uuid, specs[0].key.uuid, sizeof(req.uuid));
	memset(&f->o, 0, sizeof(f->o));
	return manager_prepare(f->h.m, &req, answered, &f->o);
}

/* A port that was prepared, started and runs. */
static void run_port(struct fixture *f, struct port_spec *spec)
{
	assert_non_null(prepare(f, spec, 1));
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
	fake_set_alive(&f->h, spec->pidfile, true);
	manager_domain_started(f->h.m, spec->key.uuid);
	fake_peer(&f->h, &spec->key, PORT_RUNNING);
	fake_run(&f->h, 2 * SECOND);
}

static void end_domain(struct fixture *f, struct port_spec *spec)
{
	fake_set_alive(&f->h, spec->pidfile, false);
	memset(&f->o, 0, sizeof(f->o));
	assert_non_null(manager_domain_release(f->h.m, spec->key.uuid, answered, &f->o));
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
}

static void refused(struct fixture *f, const char *code, const char *words)
{
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.code, code);
	if (!strstr(f->o.err.message, words))
		fail_msg("'%s' is not in: %s", words, f->o.err.message);
}

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

static void datapath_has_strays(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	/* Every record is lost with the daemon. */
	fake_kill(&f->h);
	fake_set_alive(&f->h, spec.pidfile, false);
	port_free(f->h.port_record[--f->h.n_port_records]);
	plan_clear(&f->h.shared_record[--f->h.n_shared_records].plan);
	f->h.n_sockets = f->h.n_fdb = 0; /* these nobody can know of any more */
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 5 * SECOND);
	same_as(f, f->before);
}

static void lost_segment_record(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	int tap;

	run_port(f, &spec);
	tap = fake_link(&f->h, "vn0-lan")->link.ifindex;
	fake_kill(&f->h);
	plan_clear(&f->h.shared_record[--f->h.n_shared_records].plan);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.ifindex, tap);
	assert_int_equal(f->h.n_shared_records, 1);
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

static void tap_deleted(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct fake_link *tap;
	int was;

	run_port(f, &spec);
	was = fake_link(&f->h, "vn0-lan")->link.ifindex;
	fake_del_link(&f->h, "vn0-lan");
	fake_run(&f->h, 5 * SECOND);
	tap = fake_link(&f->h, "vn0-lan");
	assert_non_null(tap);
	assert_int_not_equal(tap->link.ifindex, was);
	assert_int_equal(tap->link.master, fake_link(&f->h, "br0")->link.ifindex);
	assert_true(tap->link.up);
	assert_int_equal(f->h.n_fdb, 1);
	assert_int_equal(atoi(f->h.fdb[0]), tap->link.ifindex);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void bridge_comes_and_goes(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	_cleanup_(freep) char *before = NULL;

	run_port(f, &spec);
	fake_del_link(&f->h, "br0");
	fake_run(&f->h, 5 * SECOND);
	assert_string_equal(manager_share(f->h.m, "lan")->reason,
			    "bridge br0 is missing: ports reach each other only");
	assert_int_equal(f->h.n_fdb, 0);
	fake_add_link(&f->h, "br0", LINK_BRIDGE, NULL);
	before = NULL;
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master,
			 fake_link(&f->h, "br0")->link.ifindex);
	assert_string_equal(manager_share(f->h.m, "lan")->reason, "");
	assert_int_equal(f->h.n_fdb, 1);
	end_domain(f, &spec);
	assert_null(fake_link(&f->h, "vn0-lan"));
}

static void bridge_renamed(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	strcpy(fake_link(&f->h, "br0")->link.name, "br1");
	fake_run(&f->h, 5 * SECOND);
	assert_true(strstr(manager_share(f->h.m, "lan")->reason, "missing") != NULL);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master, 0);
	strcpy(fake_link(&f->h, "br1")->link.name, "br0");
	fake_run(&f->h, 5 * SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master,
			 fake_link(&f->h, "br0")->link.ifindex);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void tap_taken_out_of_its_bridge(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	run_port(f, &spec);
	fake_link(&f->h, "vn0-lan")->link.master = 0;
	fake_link(&f->h, "vn0-lan")->link.up = false;
	f->h.n_fdb = 0;
	fake_run(&f->h, 10 * SECOND);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master,
			 fake_link(&f->h, "br0")->link.ifindex);
	assert_true(fake_link(&f->h, "vn0-lan")->link.up);
	assert_int_equal(f->h.n_fdb, 1);
}

/* Every trace of it but the tap itself is lost: it is taken up again, and deleted in the end. */
static void an_orphan_of_ours(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	fake_add_link(&f->h, "vn0-lan", LINK_TAP, NULL)->ours = true;
	run_port(f, &spec);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void somebody_elses_tap(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	_cleanup_(freep) char *before = NULL;

	fake_add_link(&f->h, "vn0-lan", LINK_TAP, NULL);
	before = fake_snapshot(&f->h);
	prepare(f, &spec, 1);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_STEP_FAILED, "create tap vn0-lan: File exists");
	fake_run(&f->h, 100 * SECOND);
	same_as(f, before);
}

static void vlans_follow_their_ports(void **state)
{
	struct fixture *f = *state;
	struct port_spec one = fake_spec(1, 1), two = fake_spec(2, 1);

	fake_link(&f->h, "br0")->link.vlan_filtering = true;
	fake_link(&f->h, "eth0")->vlan[0] = 7;
	fake_link(&f->h, "eth0")->n_vlans = 1;
	one.has_vlan = two.has_vlan = true;
	one.vlan = 7; /* somebody else's too */
	two.vlan = 12;
	run_port(f, &one);
	run_port(f, &two);
	assert_true(fake_has_vlan(&f->h, "vn0-lan", 7) && fake_has_vlan(&f->h, "vn0-lan", 12));
	assert_true(fake_has_vlan(&f->h, "eth0", 7) && fake_has_vlan(&f->h, "eth0", 12));
	end_domain(f, &two);
	assert_false(fake_has_vlan(&f->h, "vn0-lan", 12) || fake_has_vlan(&f->h, "eth0", 12));
	/* Filtering switched off: frames pass with any tag. */
	fake_link(&f->h, "br0")->link.vlan_filtering = false;
	fake_run(&f->h, 3 * SECOND);
	assert_false(fake_has_vlan(&f->h, "vn0-lan", 7));
	end_domain(f, &one);
	assert_true(fake_has_vlan(&f->h, "eth0", 7));
	assert_int_equal(fake_link(&f->h, "eth0")->n_vlans, 1);
}

static void uplink_leaves(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);

	fake_link(&f->h, "br0")->link.vlan_filtering = true;
	spec.has_vlan = true;
	spec.vlan = 12;
	run_port(f, &spec);
	fake_link(&f->h, "eth0")->link.master = 0;
	fake_link(&f->h, "eth0")->n_vlans = 0;
	fake_run(&f->h, 3 * SECOND);
	fake_link(&f->h, "eth0")->link.master = fake_link(&f->h, "br0")->link.ifindex;
	fake_run(&f->h, 3 * SECOND);
	assert_true(fake_has_vlan(&f->h, "eth0", 12));
	end_domain(f, &spec);
	assert_int_equal(fake_link(&f->h, "eth0")->n_vlans, 0);
	assert_null(fake_link(&f->h, "vn0-lan"));
}

static void no_bridge_no_path(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	_cleanup_(freep) char *before = NULL;

	fake_link(&f->h, "br0")->link.up = false;
	before = fake_snapshot(&f->h);
	fake_run(&f->h, 1000);
	prepare(f, &spec, 1);
	fake_run(&f->h, SECOND);
	refused(f, VNIC_E_NO_PATH, "ip link set br0 up");
	same_as(f, before);
}

static void reload(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;
	struct vnic_config *config = fake_config();
	unsigned int calls;

	run_port(f, &spec);
	config_class(config, "gold")->vlan = 200;
	assert_int_equal(manager_config_swap(f->h.m, config, &err), -EINVAL);
	assert_string_equal(err.code, VNIC_E_INVALID_CONFIG);
	assert_int_equal(config_class(f->h.m->config, "gold")->vlan, 0);
	config_free(config);

	config = fake_config();
	config_class(config, "gold")->rate = 5000000;
	config_class(config, "gold")->vlan = 3;
	calls = f->h.calls;
	assert_int_equal(manager_config_swap(f->h.m, config, &err), 0);
	fake_run(&f->h, SECOND);
	assert_int_equal(manager_port(f->h.m, &spec.key)->rate, 5000000);
	assert_int_equal(manager_port(f->h.m, &spec.key)->vlan, 0); /* not under a guest */
	while (calls < f->h.calls && !strstr(f->h.call[calls], "give the datapath port"))
		calls++;
	assert_true(calls < f->h.calls); /* it was told */
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void reload_while_the_datapath_is_told(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;
	struct vnic_config *config = fake_config();

	f->h.async = true;
	f->h.hold = STEP_DP_SEGMENT;
	assert_non_null(prepare(f, &spec, 1));
	fake_run(&f->h, SECOND);
	/* It has acted on what it was told, and its answer is still to come. */
	assert_int_equal(f->h.n_pending, 1);
	config_segment(config, "lan")->cores[0] = 3;
	config_segment(config, "lan")->n_cores = 1;
	assert_int_equal(manager_config_swap(f->h.m, config, &err), 0);
	f->h.hold = 0;
	fake_run(&f->h, SECOND);
	assert_int_equal(f->h.dp_segment[0].n_cores, 1);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
}

static void a_segment_taken_out_of_the_configuration(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;

	run_port(f, &spec);
	assert_int_equal(manager_config_swap(f->h.m, config_new(), &err), 0);
	fake_run(&f->h, 3 * SECOND);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	/* Also over a restart. */
	fake_kill(&f->h);
	fake_start(&f->h, config_new());
	fake_run(&f->h, 3 * SECOND);
	assert_int_equal(manager_port(f->h.m, &spec.key)->state, PORT_RUNNING);
	assert_int_equal(fake_link(&f->h, "vn0-lan")->link.master,
			 fake_link(&f->h, "br0")->link.ifindex);
	end_domain(f, &spec);
	same_as(f, f->before);
}

static void preview_does_nothing(void **state)
{
	struct fixture *f = *state;
	struct port_spec spec = fake_spec(1, 1);
	struct vnic_err err = VNIC_ERR_INIT;
	struct manager_preview preview;

	assert_int_equal(manager_preview(f->h.m, &spec, &preview, &err), 0);
	assert_int_equal(preview.choice.path, VNIC_PATH_SOFTWARE);
	assert_int_equal(preview.shared.n, 5);
	assert_int_equal(preview.own.n, 3);
	manager_preview_clear(&preview);
	fake_run(&f->h, SECOND);
	same_as(f, f->before);
	assert_int_equal(f->h.calls, 0);
	/* What others have done already is not in it. */
	run_port(f, &spec);
	spec = fake_spec(2, 1);
	assert_int_equal(manager_preview(f->h.m, &spec, &preview, &err), 0);
	assert_int_equal(preview.shared.n, 0);
	manager_preview_clear(&preview);
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

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

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
		TEST(datapath_has_strays),
		TEST(lost_segment_record),
		TEST(a_guest_outlives_the_daemon),
		TEST(the_lock_is_the_truth),
		TEST(prepared_and_never_started),
		TEST(tap_deleted),
		TEST(bridge_comes_and_goes),
		TEST(bridge_renamed),
		TEST(tap_taken_out_of_its_bridge),
		TEST(an_orphan_of_ours),
		TEST(somebody_elses_tap),
		TEST(vlans_follow_their_ports),
		TEST(uplink_leaves),
		TEST(no_bridge_no_path),
		TEST(reload),
		TEST(reload_while_the_datapath_is_told),
		TEST(a_segment_taken_out_of_the_configuration),
		TEST(preview_does_nothing),
		TEST(reconnect),
		TEST(reconnect_means_started),
		TEST(fifty_domains),
		TEST(an_undo_that_fails_is_tried_again),
		TEST(a_start_amid_a_failing_undo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
