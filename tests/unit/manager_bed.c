/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/unit/manager_bed.h"

void answered(void *arg, const struct vnic_err *err, struct vnic_port *const *ports, size_t n_ports)
{
	struct outcome *o = arg;

	assert_false(o->answered);
	o->answered = true;
	if (err)
		o->err = *err;
	o->n_ports = n_ports;
	o->generation = n_ports ? ports[0]->generation : 0;
}

int bed_set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_init(&f->h);
	f->before = fake_snapshot(&f->h);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 1000);
	*state = f;
	return 0;
}

int bed_tear_down(void **state)
{
	struct fixture *f = *state;

	fake_deinit(&f->h);
	free(f->before);
	free(f);
	return 0;
}

void same_as(struct fixture *f, const char *before)
{
	_cleanup_(freep) char *after = fake_snapshot(&f->h);

	assert_string_equal(after, before);
}

void says(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("'%s' is not in: %s", words, text);
}

void swap(struct fixture *f, struct vnic_config *config)
{
	struct vnic_err err = VNIC_ERR_INIT;

	assert_int_equal(manager_config_swap(f->h.m, config, &err), 0);
	fake_run(&f->h, 5 * SECOND);
}

void give_vfs(struct fixture *f, struct vnic_config *config, int vfs)
{
	fake_add_pf(&f->h, PF0, "eth0", 7);
	free(f->before);
	f->before = fake_snapshot(&f->h);
	swap(f, config);
	assert_int_equal(f->h.pf[0].pf.n_vf, vfs);
}

struct vnic_port *port_of(struct fixture *f, const struct port_spec *spec)
{
	struct vnic_port *port = manager_port(f->h.m, &spec->key);

	assert_non_null(port);
	return port;
}

struct manager_job *prepare(struct fixture *f, struct port_spec *specs, size_t n)
{
	struct domain_request req = { .op = REQUEST_PREPARE, .specs = specs, .n_specs = n };

	memcpy(req.uuid, specs[0].key.uuid, sizeof(req.uuid));
	memset(&f->o, 0, sizeof(f->o));
	return manager_prepare(f->h.m, &req, answered, &f->o);
}

void run_port(struct fixture *f, struct port_spec *spec)
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

void end_domain(struct fixture *f, struct port_spec *spec)
{
	fake_set_alive(&f->h, spec->pidfile, false);
	memset(&f->o, 0, sizeof(f->o));
	assert_non_null(manager_domain_release(f->h.m, spec->key.uuid, answered, &f->o));
	fake_run(&f->h, SECOND);
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.message, "");
}

void refused(struct fixture *f, const char *code, const char *words)
{
	assert_true(f->o.answered);
	assert_string_equal(f->o.err.code, code);
	says(f->o.err.message, words);
}

struct port_spec standby_spec(unsigned int domain)
{
	struct port_spec spec = fake_spec(domain, 1);

	strcpy(spec.standby, "ua-net0");
	return spec;
}
