/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VFs that go while a step of their port is under way, at each kind of step: the guest keeps its virtio NIC. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/manager_bed.h"

#define PF "0000:03:00.0"

static void want_vfs(struct fixture *f, int vfs)
{
	struct vnic_config *config = fake_config();
	struct vnic_err err = VNIC_ERR_INIT;

	fake_want_vfs(config, "eth0", vfs);
	assert_int_equal(manager_config_swap(f->h.m, config, &err), 0);
	fake_run(&f->h, 5 * SECOND);
}

static void numvfs_to_zero(struct fixture *f)
{
	fake_numvfs(&f->h, &f->h.pf[0], 0);
}

static void unbound(struct fixture *f)
{
	fake_numvfs(&f->h, &f->h.pf[0], 0);
	fake_del_pf(&f->h, PF);
}

/* Begin a port, and let @go happen while its step of @kind is under way. */
static void lost_at(enum step_kind kind, void (*go)(struct fixture *f))
{
	struct port_spec spec = fake_spec(1, 1);
	const struct vnic_port *port;
	bool started;
	struct fixture *f;
	void *state;

	assert_int_equal(bed_set_up(&state), 0);
	f = state;
	fake_add_pf(&f->h, PF, "eth0", 7);
	free(f->before);
	f->before = fake_snapshot(&f->h);
	want_vfs(f, 2);
	assert_int_equal(f->h.pf[0].pf.n_vf, 2);

	strcpy(spec.standby, "ua-net0");
	f->h.async = true;
	f->h.hold = kind;
	assert_non_null(prepare(f, &spec, 1));
	fake_run(&f->h, SECOND);
	started = f->o.answered;
	if (started) {
		fake_set_alive(&f->h, spec.pidfile, true);
		manager_domain_started(f->h.m, spec.key.uuid);
		fake_peer(&f->h, &spec.key, PORT_RUNNING);
		fake_run(&f->h, SECOND);
	}
	assert_true(f->h.n_pending > 0);
	assert_int_equal(f->h.pending[0].kind, kind);
	port = manager_port(f->h.m, &spec.key);
	assert_non_null(port);
	assert_int_not_equal(port->device.state, DEVICE_NONE);
	go(f);
	fake_run(&f->h, SECOND);
	f->h.hold = 0;
	fake_run(&f->h, SECOND);
	if (!started) {
		assert_true(f->o.answered);
		assert_string_equal(f->o.err.message, "");
		fake_set_alive(&f->h, spec.pidfile, true);
		manager_domain_started(f->h.m, spec.key.uuid);
		fake_peer(&f->h, &spec.key, PORT_RUNNING);
	}
	fake_run(&f->h, 20 * SECOND);
	port = manager_port(f->h.m, &spec.key);
	assert_int_equal(port->state, PORT_RUNNING);
	if (go == unbound) {
		assert_int_equal(port->device.state, DEVICE_NONE);
		assert_int_equal(port->path, VNIC_PATH_SOFTWARE);
		assert_int_equal(f->h.n_plugged, 0);
		assert_int_equal(f->h.n_fdb, 1);
		fake_add_pf(&f->h, PF, "eth0", 7);
	}
	/* They are made anew, and it gets one. */
	fake_run(&f->h, 300 * SECOND);
	assert_int_equal(port->device.state, DEVICE_ATTACHED);
	assert_int_equal(f->h.n_plugged, 1);
	end_domain(f, &spec);
	want_vfs(f, 0);
	same_as(f, f->before);
	bed_tear_down(&state);
}

static void pf_unbound_while_allocating(void **state)
{
	(void)state;
	lost_at(STEP_SOCK_LISTEN, unbound);
	lost_at(STEP_DP_PORT, unbound);
	lost_at(STEP_DP_PORT, numvfs_to_zero);
}

static void vf_gone_during_attach(void **state)
{
	static const enum step_kind kinds[] = { STEP_VF_NETDEV_MAC, STEP_VF_DRIVER, STEP_VF_RESET,
						STEP_VF_ATTR, STEP_VF_ATTACH };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		print_message("at %s\n", step_kind_str(kinds[i]));
		lost_at(kinds[i], numvfs_to_zero);
		lost_at(kinds[i], unbound);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pf_unbound_while_allocating),
		cmocka_unit_test(vf_gone_during_attach),
	};

	return cmocka_run_group_tests_name("vf_lost", tests, NULL, NULL);
}
