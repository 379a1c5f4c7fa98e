/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every step of every plan fails in turn, and the daemon is killed before and after every step and every write
 * of a record, then started again: afterwards the host reads as before.
 *
 * One life of a domain with two NICs (untagged and VLAN 12, behind a bridge that filters VLANs) is played; one where
 * both get a VF of a nic that is given its VFs first; the same with that nic in switchdev mode; one where
 * these VFs are their virtio NICs' queues; one where the bridge is Open vSwitch's; and one where the domain has a VF by
 * its own XML, too, whose settings vnicd sees to; and one where vnic.ko's devices are its NICs. An undisturbed one of each says which calls there are. Each call times each kind of fault
 * is a test; their list is tests/tables/plan-faults.md ("test_plan --table" prints it).
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "tests/unit/fake_host.h"

enum phase { START, PREPARE, RUN, STOP, RELEASE, END, PHASES };
static const char *const phase_names[] = { "start", "prepare", "run", "stop", "release", "end" };
enum world { PLAIN, VF, SWITCHDEV, VMDQ, OVS, HOSTDEV, VDPA };
static const char *const world_names[] = { "",	   "vf ",      "switchdev ", "vmdq ",
					   "ovs ", "hostdev ", "vdpa " };

struct outcome {
	bool answered;
	struct vnic_err err;
	size_t n_ports;
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
	for (size_t i = 0; i < n_ports; i++)
		assert_non_null(ports[i]);
}

static bool with_vfs(enum world world)
{
	return world != PLAIN && world != OVS && world != VDPA;
}

static void make_host(struct fake_host *h, enum world world)
{
	fake_init(h);
	if (with_vfs(world))
		fake_add_pf(h, "0000:03:00.0", "eth0", 7)->pf.autoprobe = true;
	fake_link(h, "eth0")->link.carrier = true;
	if (world == SWITCHDEV)
		fake_switchdev(&h->pf[0]);
	fake_link(h, "br0")->link.vlan_filtering = true;
	if (world == OVS)
		fake_ovs(h);
	/* Somebody else's VLAN, which must survive. */
	fake_link(h, "eth0")->vlan[0] = 7;
	fake_link(h, "eth0")->n_vlans = 1;
}

/* @vfs: of eth0 */
static struct vnic_config *make_config(enum world world, int vfs)
{
	struct vnic_config *config = fake_config();

	if (with_vfs(world))
		fake_want_vfs(config, "eth0", vfs);
	if (world == VMDQ)
		config_class(config, "gold")->paths.path[0] = VNIC_PATH_VMDQ;
	if (world == VDPA) {
		fake_want_uplink(config, "eth0", vfs);
		config_class(config, "gold")->paths.path[0] = VNIC_PATH_VDPA;
	}
	if (world == HOSTDEV) {
		struct vnic_class *gold = config_class(config, "gold");

		gold->paths = (struct path_list){ .path = { VNIC_PATH_SOFTWARE } };
		gold->trust = true;
		gold->spoofchk = false;
		gold->rate = 1000000000;
	}
	return config;
}

static void make_request(struct domain_request *req, enum world world, struct port_spec specs[2])
{
	specs[0] = fake_spec(1, 1);
	specs[1] = fake_spec(1, 2);
	specs[1].has_vlan = true;
	specs[1].vlan = 12;
	/* Where their class has no VFs to give, it says nothing. */
	strcpy(specs[0].standby, "ua-0");
	strcpy(specs[1].standby, "ua-1");
	specs[0].vdpa = specs[1].vdpa = world == VDPA;
	*req = (struct domain_request){ .op = REQUEST_PREPARE, .specs = specs, .n_specs = 2 };
	memcpy(req->uuid, specs[0].key.uuid, sizeof(req->uuid));
}

/* Play one phase; the daemon may die in it. */
static void play(struct fake_host *h, enum world world, enum phase phase, struct outcome *o)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct port_spec specs[2];
	struct domain_request req;

	make_request(&req, world, specs);
	memset(o, 0, sizeof(*o));
	switch (phase) {
	case START:
		fake_start(h, make_config(world, 3));
		fake_run(h, 1000000);
		break;
	case PREPARE:
		assert_non_null(manager_prepare(h->m, &req, answered, o));
		fake_run(h, 1000000);
		break;
	case RUN:
		if (world == HOSTDEV)
			fake_hostdev(h, 1, &h->pf[0], 2, "gold");
		fake_set_alive(h, specs[0].pidfile, true);
		fake_tell_hostdevs(h);
		manager_domain_started(h->m, req.uuid);
		for (int i = 0; i < 2 && !h->dead && world != VDPA; i++)
			fake_peer(h, &specs[i].key, PORT_RUNNING);
		fake_run(h, 10000000);
		break;
	case STOP:
		fake_hostdev(h, 1, NULL, 0, NULL);
		fake_tell_hostdevs(h);
		for (int i = 0; i < 2 && !h->dead && world != VDPA; i++)
			fake_peer(h, &specs[i].key, PORT_READY);
		fake_set_alive(h, specs[0].pidfile, false);
		fake_run(h, 1000000);
		break;
	case RELEASE:
		assert_non_null(manager_domain_release(h->m, req.uuid, answered, o));
		fake_run(h, 1000000);
		break;
	default:
		assert_int_equal(manager_config_swap(h->m, make_config(world, 0), &err), 0);
		fake_run(h, 1000000);
		break;
	}
}

static void same_host(const struct fake_host *h, const char *before)
{
	_cleanup_(freep) char *after = fake_snapshot(h);

	assert_string_equal(after, before);
}

struct row {
	char name[240];
	enum world world;
	enum phase phase;
	unsigned int call; /* within its phase */
	enum { FAIL, KILL_BEFORE, KILL_AFTER } fault;
	bool async, dp_too;
};

static struct row *rows;
static size_t n_rows;

static void add_row(enum world world, enum phase phase, unsigned int call, int fault, bool async,
		    bool dp_too, const char *what)
{
	static const char *const faults[] = { "fails", "killed before", "killed after" };
	struct row *row;

	rows = reallocarray(rows, n_rows + 1, sizeof(*rows));
	row = &rows[n_rows++];
	*row = (struct row){
		.world = world, .phase = phase, .call = call, .async = async, .dp_too = dp_too
	};
	row->fault = fault;
	snprintf(row->name, sizeof(row->name), "%s%s %u %s%s: %s", world_names[world],
		 phase_names[phase], call, faults[fault],
		 async	  ? " (async)"
		 : dp_too ? " (datapath too)"
			  : "",
		 what);
}

/* An undisturbed life: which calls there are, and that it leaves nothing. */
static void find_rows(enum world world)
{
	static struct fake_host h;
	_cleanup_(freep) char *before = NULL;
	struct outcome o;

	make_host(&h, world);
	before = fake_snapshot(&h);
	for (int phase = 0; phase < PHASES; phase++) {
		h.calls = 0;
		play(&h, world, (enum phase)phase, &o);
		if (phase == RUN && h.n_plugged != (world == VF || world == SWITCHDEV ? 2 : 0))
			abort();
		if (phase == PREPARE && !(o.answered && !*o.err.message && o.n_ports == 2)) {
			fprintf(stderr, "prepare: %s\n", o.err.message);
			abort();
		}
		if (phase == RUN && world == HOSTDEV && h.hostdev_records.n != 1)
			abort();
		for (unsigned int i = 0; i < h.calls; i++) {
			/* Of all else the other worlds tell. */
			if (world == HOSTDEV &&
			    ((phase != RUN && phase != STOP) || !strstr(h.call[i], "VF")))
				continue;
			add_row(world, (enum phase)phase, i + 1, FAIL, false, false, h.call[i]);
			add_row(world, (enum phase)phase, i + 1, FAIL, true, false, h.call[i]);
			for (int k = KILL_BEFORE; k <= KILL_AFTER; k++) {
				add_row(world, (enum phase)phase, i + 1, k, false, false,
					h.call[i]);
				add_row(world, (enum phase)phase, i + 1, k, true, false, h.call[i]);
				add_row(world, (enum phase)phase, i + 1, k, false, true, h.call[i]);
			}
		}
	}
	fake_run(&h, 1000000);
	same_host(&h, before);
	fake_deinit(&h);
}

static void arm(struct fake_host *h, const struct row *row)
{
	h->calls = 0;
	if (row->fault == FAIL) {
		h->fail_at = row->call;
		h->fail_with = -EIO;
	} else {
		h->kill_at = row->call;
		h->kill_when = row->fault == KILL_BEFORE ? FAKE_BEFORE : FAKE_AFTER;
	}
}

/* The daemon died in @phase. */
static void restart(struct fake_host *h, const struct row *row, enum phase phase)
{
	uint8_t uuid[VNIC_UUID_LEN];

	fake_kill(h);
	if (row->dp_too)
		h->n_dp_ports = h->n_dp_segments = 0;
	fake_start(h, make_config(row->world, phase == END ? 0 : 3));
	fake_run(h, 1000000);
	fake_tell_hostdevs(h);
	if (row->world == VDPA && phase == START)
		assert_true(fake_link(h, "eth0")->uplink);
	if (phase == START && with_vfs(row->world))
		assert_int_equal(h->pf[0].pf.n_vf, 3);
	if (phase != RUN)
		return;
	/* The guest lives: so do its ports, and the bridge knows them, or it has its VFs. */
	assert_int_equal(HASH_COUNT(h->m->ports), 2);
	for (int i = 0; i < 2 && row->world != VDPA; i++)
		fake_peer(h, &h->port_record[i]->spec.key, PORT_RUNNING);
	memcpy(uuid, h->port_record[0]->spec.key.uuid, sizeof(uuid));
	manager_domain_started(h->m, uuid);
	fake_run(h, 40000000);
	assert_int_equal(h->n_plugged, row->world == VF || row->world == SWITCHDEV ? 2 : 0);
	if (row->world == HOSTDEV) {
		const struct vnic_vf *vf = &h->pf[0].pf.vf[2];

		assert_int_equal(vf->value[VF_TRUST], 1);
		assert_int_equal(vf->value[VF_SPOOFCHK], 0);
		assert_int_equal(vf->value[VF_RATE], 1000);
	}
	assert_int_equal(h->n_fdb, row->world == PLAIN || row->world == HOSTDEV ? 2 : 0);
	assert_int_equal(h->n_dp_segments, row->world == VMDQ ? 3 : row->world == VDPA ? 0 : 1);
	assert_int_equal(h->n_vdpas, row->world == VDPA ? 2 : 0);
}

static void disturbed_life(void **state)
{
	const struct row *row = *state;
	static struct fake_host h;
	_cleanup_(freep) char *before = NULL;
	struct outcome o;

	make_host(&h, row->world);
	h.async = row->async;
	before = fake_snapshot(&h);
	for (int phase = 0; phase < PHASES; phase++) {
		if (phase == (int)row->phase)
			arm(&h, row);
		play(&h, row->world, (enum phase)phase, &o);
		if (h.dead) {
			restart(&h, row, (enum phase)phase);
			if (phase != RUN && phase != START)
				phase = RELEASE; /* nothing is left but to end */
		}
		if (phase == PREPARE && h.failed) {
			assert_true(o.answered);
			/* A write that was but the confirmation of what stands may fail. */
			if (*o.err.message) {
				assert_string_equal(o.err.code, VNIC_E_STEP_FAILED);
				assert_int_equal(HASH_COUNT(h.m->ports), 0); /* when it answers */
				phase = RELEASE;
			}
		}
	}
	fake_run(&h, 200000000);
	assert_int_equal(HASH_COUNT(h.m->ports), 0);
	assert_int_equal(HASH_COUNT(h.m->shares), 0);
	same_host(&h, before);
	fake_deinit(&h);
}

/* The table in the tree names every row, and no other. */
static void table_is_complete(void **state)
{
	_cleanup_(freep) char *table = NULL;
	char file[512], line[300];
	size_t lines = 0;

	(void)state;
	snprintf(file, sizeof(file), "%s/tests/tables/plan-faults.md", getenv("top_srcdir"));
	assert_int_equal(file_read(AT_FDCWD, file, 1 << 20, &table, NULL), 0);
	for (size_t i = 0; i < n_rows; i++) {
		snprintf(line, sizeof(line), "| %s |", rows[i].name);
		if (!strstr(table, line))
			fail_msg("not in %s: %s", file, line);
	}
	for (const char *p = table; (p = strstr(p, "\n| ")) != NULL; p++)
		lines++;
	assert_int_equal(lines, n_rows + 2);
}

static void print_table(void)
{
	printf("# Faults in plans\n\n"
	       "Each call to the outside in a domain's life fails, or the daemon is killed there; "
	       "the "
	       "host reads as before.\nPrinted by `tests/unit/test_plan --table`; its rows are "
	       "compared with the tests there are by `table_is_complete`.\n\n"
	       "| test (in tests/unit/test_plan.c) | phase | fault |\n| --- | --- | --- |\n");
	for (size_t i = 0; i < n_rows; i++)
		printf("| %s | %s | %s |\n", rows[i].name, phase_names[rows[i].phase],
		       rows[i].fault == FAIL ? "error" : "kill -9");
}

int main(int argc, char **argv)
{
	struct CMUnitTest *tests;
	int failed;

	find_rows(PLAIN);
	find_rows(VF);
	find_rows(SWITCHDEV);
	find_rows(VMDQ);
	find_rows(OVS);
	find_rows(HOSTDEV);
	find_rows(VDPA);
	if (argc > 1 && !strcmp(argv[1], "--table")) {
		print_table();
		free(rows);
		return 0;
	}
	tests = calloc(n_rows + 1, sizeof(*tests));
	for (size_t i = 0; i < n_rows; i++) {
		tests[i].name = rows[i].name;
		tests[i].test_func = disturbed_life;
		tests[i].initial_state = &rows[i];
	}
	tests[n_rows].name = "table_is_complete";
	tests[n_rows].test_func = table_is_complete;
	failed = _cmocka_run_group_tests("plan", tests, n_rows + 1, NULL, NULL);
	free(tests);
	free(rows);
	return failed;
}
