/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The administrator's word on VFs: a port that is to have none, a nic that is to give none. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "tests/unit/fake_host.h"

#define PF "0000:03:00.0"

struct answer {
	bool given;
	struct vnic_err err;
};

static void answered(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
		     size_t n_ports)
{
	struct answer *a = arg;

	(void)ports;
	(void)n_ports;
	a->given = true;
	if (err)
		a->err = *err;
}

static struct vnic_config *config_of(int vfs)
{
	struct vnic_config *config = fake_config();

	fake_want_vfs(config, "eth0", vfs);
	return config;
}

/* A host with a nic that has got 3 VFs. */
static void begin(struct fake_host *h)
{
	fake_init(h);
	fake_add_pf(h, PF, "eth0", 7);
	fake_start(h, config_of(3));
	fake_run(h, 1000000);
	assert_int_equal(h->pf[0].pf.n_vf, 3);
}

static const struct vnic_port *run_domain(struct fake_host *h, unsigned int domain)
{
	struct port_spec spec = fake_spec(domain, 1);
	struct domain_request req = { .op = REQUEST_PREPARE, .specs = &spec, .n_specs = 1 };
	struct answer a = { 0 };

	strcpy(spec.standby, "ua-0");
	memcpy(req.uuid, spec.key.uuid, sizeof(req.uuid));
	assert_non_null(manager_prepare(h->m, &req, answered, &a));
	fake_run(h, 1000000);
	assert_true(a.given);
	assert_string_equal(a.err.message, "");
	fake_set_alive(h, spec.pidfile, true);
	manager_domain_started(h->m, req.uuid);
	fake_peer(h, &spec.key, PORT_RUNNING);
	fake_run(h, 10000000);
	return manager_port(h->m, &spec.key);
}

/* vnicd is killed and started again; the guests live. */
static void restart(struct fake_host *h)
{
	fake_kill(h);
	fake_start(h, config_of(3));
	for (size_t i = 0; i < h->n_port_records; i++)
		fake_peer(h, &h->port_record[i]->spec.key, PORT_RUNNING);
	fake_run(h, 40000000);
}

static void end(struct fake_host *h)
{
	struct port_key key[4];
	size_t n = 0;

	for (const struct vnic_port *p = h->m->ports; p; p = p->hh.next)
		key[n++] = p->spec.key;
	for (size_t i = 0; i < n; i++) {
		struct answer a = { 0 };

		fake_set_alive(h, manager_port(h->m, &key[i])->spec.pidfile, false);
		assert_non_null(manager_port_del(h->m, &key[i], 0, answered, &a));
		fake_run(h, 1000000);
		assert_true(a.given);
		assert_string_equal(a.err.message, "");
	}
	assert_int_equal(h->n_plugged, 0);
	fake_deinit(h);
}

static void hold(struct fake_host *h, const struct vnic_port *port, bool on)
{
	struct vnic_err err = VNIC_ERR_INIT;

	assert_int_equal(manager_device_hold(h->m, &port->spec.key, port->generation, on, &err), 0);
	fake_run(h, 10000000);
}

static void a_port_is_held_back(void **state)
{
	static struct fake_host h;
	const struct vnic_port *port;
	struct port_key key;
	char before[DEV_ADDR_MAX];

	(void)state;
	begin(&h);
	port = run_domain(&h, 1);
	key = port->spec.key;
	assert_int_equal(port->device.state, DEVICE_ATTACHED);
	assert_int_equal(port->path, VNIC_PATH_SRIOV);
	strcpy(before, port->device.vf_addr);

	hold(&h, port, true);
	assert_null(fake_plugged(&h, &key));
	assert_int_equal(port->device.state, DEVICE_NONE);
	assert_int_equal(port->path, VNIC_PATH_SOFTWARE);
	assert_non_null(strstr(port->device.reason, "held back"));
	/* It stays so, also over a restart, and whatever VFs are free. */
	fake_run(&h, 100000000);
	assert_int_equal(port->device.state, DEVICE_NONE);
	restart(&h);
	port = manager_port(h.m, &key);
	assert_int_equal(port->device.state, DEVICE_NONE);
	assert_true(port->device.hold);
	hold(&h, port, true);
	assert_int_equal(h.n_plugged, 0);

	hold(&h, port, false);
	assert_int_equal(port->device.state, DEVICE_ATTACHED);
	assert_string_equal(port->device.reason, "");
	assert_string_equal(port->device.vf_addr, before);
	restart(&h);
	assert_int_equal(manager_port(h.m, &key)->device.state, DEVICE_ATTACHED);
	end(&h);
}

static void a_port_is_held_back_while_it_gets_its_vf(void **state)
{
	static struct fake_host h;
	struct vnic_err err = VNIC_ERR_INIT;
	const struct vnic_port *port;

	(void)state;
	begin(&h);
	h.async = true;
	h.hold = STEP_VF_ATTACH;
	port = run_domain(&h, 1);
	assert_int_equal(port->device.state, DEVICE_ATTACHING);
	assert_int_equal(manager_device_hold(h.m, &port->spec.key, 0, true, &err), 0);
	h.hold = 0;
	fake_run(&h, 10000000);
	assert_int_equal(port->device.state, DEVICE_NONE);
	assert_int_equal(h.n_plugged, 0);
	h.async = false;
	end(&h);
}

static void a_nic_is_drained(void **state)
{
	static struct fake_host h;
	struct vnic_err err = VNIC_ERR_INIT;
	const struct vnic_port *one, *two;
	struct port_key key[2];

	(void)state;
	begin(&h);
	one = run_domain(&h, 1);
	key[0] = one->spec.key;
	assert_int_equal(one->device.state, DEVICE_ATTACHED);
	assert_int_equal(manager_nic_drain(h.m, PF, true, &err), 0);
	fake_run(&h, 10000000);
	assert_true(manager_nic(h.m, PF)->drained);
	assert_int_equal(h.n_plugged, 0);
	assert_int_equal(one->path, VNIC_PATH_SOFTWARE);
	assert_non_null(strstr(one->device.reason, "not eth0: it is drained"));
	/* Its VFs stay, and new ports get none of them. */
	assert_int_equal(h.pf[0].pf.n_vf, 3);
	two = run_domain(&h, 2);
	key[1] = two->spec.key;
	assert_int_equal(two->device.state, DEVICE_NONE);
	assert_int_equal(two->path, VNIC_PATH_SOFTWARE);
	restart(&h);
	assert_true(manager_nic(h.m, PF)->drained);
	assert_int_equal(h.n_plugged, 0);

	assert_int_equal(manager_nic_drain(h.m, PF, false, &err), 0);
	fake_run(&h, 10000000);
	assert_int_equal(h.n_plugged, 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(manager_port(h.m, &key[i])->device.state, DEVICE_ATTACHED);
	restart(&h);
	assert_false(manager_nic(h.m, PF)->drained);
	assert_int_equal(h.n_plugged, 2);
	end(&h);
}

/* VFs that somebody else made: vnicd has nothing else to say of that nic. */
static void a_nic_without_a_section_is_drained(void **state)
{
	static struct fake_host h;
	struct vnic_err err = VNIC_ERR_INIT;

	(void)state;
	fake_init(&h);
	fake_add_pf(&h, PF, "eth0", 7);
	fake_start(&h, fake_config());
	fake_run(&h, 1000000);
	assert_null(manager_nic(h.m, PF));
	assert_int_equal(manager_nic_drain(h.m, PF, true, &err), 0);
	assert_int_equal(manager_nic_drain(h.m, PF, true, &err), 0);
	fake_run(&h, 10000000);
	assert_true(manager_nic(h.m, PF)->drained);
	assert_int_equal(h.nic_records.n, 1);
	fake_kill(&h);
	fake_start(&h, fake_config());
	fake_run(&h, 1000000);
	assert_true(manager_nic(h.m, PF)->drained);
	assert_int_equal(manager_nic_drain(h.m, PF, false, &err), 0);
	fake_run(&h, 10000000);
	assert_null(manager_nic(h.m, PF));
	assert_int_equal(h.nic_records.n, 0);
	/* A nic that goes is forgotten with its drain. */
	assert_int_equal(manager_nic_drain(h.m, PF, true, &err), 0);
	fake_del_pf(&h, PF);
	fake_run(&h, 10000000);
	assert_null(manager_nic(h.m, PF));
	assert_int_equal(h.nic_records.n, 0);
	fake_deinit(&h);
}

/* Its VFs go with the driver; nobody is blamed for having changed their number. */
static void a_drained_nic_loses_its_driver(void **state)
{
	static struct fake_host h;
	struct vnic_err err = VNIC_ERR_INIT;

	(void)state;
	begin(&h);
	assert_int_equal(manager_nic_drain(h.m, PF, true, &err), 0);
	fake_run(&h, 5000000);
	assert_true(manager_nic(h.m, PF)->ready);
	*h.pf[0].pf.driver = '\0';
	fake_numvfs(&h, &h.pf[0], 0);
	fake_run(&h, 100000);
	assert_false(manager_nic(h.m, PF)->ready);
	assert_non_null(strstr(manager_nic(h.m, PF)->reason, "its driver has gone"));
	strcpy(h.pf[0].pf.driver, "igb");
	fake_numvfs(&h, &h.pf[0], 0);
	fake_run(&h, 60000000);
	assert_int_equal(h.pf[0].pf.n_vf, 3);
	assert_true(manager_nic(h.m, PF)->ready);
	assert_true(manager_nic(h.m, PF)->drained);
	end(&h);
}

/* A PF that comes back has its driver's name for its interface until udev gives it its own, by which it is configured. */
static void a_nic_gets_its_name_late(void **state)
{
	static struct fake_host h;

	(void)state;
	begin(&h);
	fake_numvfs(&h, &h.pf[0], 0);
	fake_del_pf(&h, PF);
	strcpy(fake_link(&h, "eth0")->link.name, "eth7");
	fake_run(&h, 10000000);
	assert_null(manager_nic(h.m, PF));
	fake_add_pf(&h, PF, "eth7", 7);
	fake_run(&h, 10000000);
	assert_int_equal(h.pf[0].pf.num_vfs, 0);
	strcpy(fake_link(&h, "eth7")->link.name, "eth0");
	fake_run(&h, 60000000);
	assert_int_equal(h.pf[0].pf.n_vf, 3);
	assert_true(manager_nic(h.m, PF)->ready);
	end(&h);
}

static void what_is_refused(void **state)
{
	static struct fake_host h;
	struct vnic_err err = VNIC_ERR_INIT;
	const struct vnic_port *port;
	struct port_key key;

	(void)state;
	begin(&h);
	port = run_domain(&h, 1);
	key = port->spec.key;
	assert_int_equal(manager_device_hold(h.m, &key, port->generation + 1, true, &err), -ESTALE);
	assert_string_equal(err.code, VNIC_E_STALE_GENERATION);
	key.mac[5] ^= 1;
	assert_int_equal(manager_device_hold(h.m, &key, 0, true, &err), -ENOENT);
	assert_string_equal(err.code, VNIC_E_UNKNOWN_PORT);
	assert_int_equal(manager_nic_drain(h.m, "0000:09:00.0", true, &err), -ENOENT);
	assert_string_equal(err.code, VNIC_E_UNKNOWN_NIC);
	/* What cannot be recorded is not done: a restart would not know of it. */
	h.calls = 0;
	h.fail_at = 1;
	h.fail_with = -ENOSPC;
	assert_int_equal(manager_device_hold(h.m, &port->spec.key, 0, true, &err), -ENOSPC);
	assert_string_equal(err.code, VNIC_E_STEP_FAILED);
	h.calls = 0;
	h.failed = false;
	assert_int_equal(manager_nic_drain(h.m, PF, true, &err), -ENOSPC);
	assert_string_equal(err.code, VNIC_E_STEP_FAILED);
	h.fail_at = 0;
	fake_run(&h, 10000000);
	assert_int_equal(port->device.state, DEVICE_ATTACHED);
	assert_int_equal(h.n_plugged, 1);
	end(&h);
}

/* A port whose interface is no standby. */
static void a_port_that_can_have_no_vf(void **state)
{
	static struct fake_host h;
	struct vnic_err err = VNIC_ERR_INIT;
	struct port_spec spec = fake_spec(1, 1);
	struct answer a = { 0 };

	(void)state;
	begin(&h);
	assert_non_null(manager_port_add(h.m, &spec, answered, &a));
	fake_run(&h, 1000000);
	assert_true(a.given);
	assert_int_equal(manager_device_hold(h.m, &spec.key, 0, true, &err), -ENOTSUP);
	assert_string_equal(err.code, VNIC_E_NO_PATH);
	assert_int_equal(manager_device_hold(h.m, &spec.key, 0, false, &err), -ENOTSUP);
	end(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_is_held_back),
		cmocka_unit_test(a_port_is_held_back_while_it_gets_its_vf),
		cmocka_unit_test(a_nic_is_drained),
		cmocka_unit_test(a_nic_without_a_section_is_drained),
		cmocka_unit_test(a_drained_nic_loses_its_driver),
		cmocka_unit_test(a_nic_gets_its_name_late),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(a_port_that_can_have_no_vf),
	};

	return cmocka_run_group_tests_name("device_hold", tests, NULL, NULL);
}
