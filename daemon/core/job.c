/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that take a while: make all these ports or none, or release them. A job looks at its ports each
 * time the manager wakes, and answers once what it asked for is so, or is undone again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/manager_priv.h"

/* A former owner of the key is on its way out: how long that may take. */
#define CLEAR_MAX (10 * SEC)
/* How long an answer waits for an undo that does not succeed. */
#define UNDO_MAX (5 * SEC)

enum job_kind { JOB_PREPARE, JOB_RECONNECT, JOB_ADD, JOB_DEL, JOB_DOMAIN_RELEASE };
enum job_phase { JOB_WAITING, JOB_CLEARING, JOB_MAKING, JOB_UNDOING };

struct job_port {
	struct port_spec spec;
	uint64_t generation; /* of the port made or to be released; 0: none */
	char segment[VNIC_NAME_MAX];
};

struct manager_job {
	struct manager *m;
	enum job_kind kind;
	enum job_phase phase;
	struct job_port *port;
	size_t n;
	uint8_t uuid[VNIC_UUID_LEN]; /* of JOB_DOMAIN_RELEASE */
	uint64_t generation; /* of JOB_DEL */
	uint64_t until;
	int error;
	struct vnic_err err;
	manager_ports_done done;
	void *arg;
	struct manager_job *next;
};

static struct manager_job *job_free(struct manager_job *job)
{
	free(job->port);
	free(job);
	return NULL;
}

static struct manager_job *job_new(struct manager *m, enum job_kind kind, size_t n,
				   manager_ports_done done, void *arg)
{
	struct manager_job *job = calloc(1, sizeof(*job)), **end = &m->jobs;

	if (!job)
		return NULL;
	job->port = calloc(n ? n : 1, sizeof(*job->port));
	if (!job->port)
		return job_free(job);
	job->m = m;
	job->kind = kind;
	job->n = n;
	job->done = done;
	job->arg = arg;
	while (*end)
		end = &(*end)->next;
	*end = job;
	manager_kick(m);
	return job;
}

struct manager_job *manager_prepare(struct manager *m, const struct domain_request *req,
				    manager_ports_done done, void *arg)
{
	struct manager_job *job =
		job_new(m, req->op == REQUEST_RECONNECT ? JOB_RECONNECT : JOB_PREPARE, req->n_specs,
			done, arg);

	for (size_t i = 0; job && i < req->n_specs; i++)
		job->port[i].spec = req->specs[i];
	return job;
}

struct manager_job *manager_port_add(struct manager *m, const struct port_spec *spec,
				     manager_ports_done done, void *arg)
{
	struct manager_job *job = job_new(m, JOB_ADD, 1, done, arg);

	if (job)
		job->port[0].spec = *spec;
	return job;
}

struct manager_job *manager_port_del(struct manager *m, const struct port_key *key,
				     uint64_t generation, manager_ports_done done, void *arg)
{
	struct manager_job *job = job_new(m, JOB_DEL, 1, done, arg);

	if (job) {
		job->port[0].spec.key = *key;
		job->generation = generation;
	}
	return job;
}

struct manager_job *manager_domain_release(struct manager *m, const uint8_t uuid[VNIC_UUID_LEN],
					   manager_ports_done done, void *arg)
{
	struct manager_job *job = job_new(m, JOB_DOMAIN_RELEASE, 0, done, arg);

	if (job)
		memcpy(job->uuid, uuid, sizeof(job->uuid));
	return job;
}

/* The port that this job made or asked to be released; NULL once it is gone. */
static struct managed_port *port_of(const struct manager_job *job, size_t i)
{
	struct vnic_port *port = manager_port(job->m, &job->port[i].spec.key);

	return port && port->generation == job->port[i].generation ? managed(port) : NULL;
}

static bool unlink_job(struct manager_job *job)
{
	struct manager_job **at = &job->m->jobs;

	while (*at && *at != job)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = job->next;
	return true;
}

static void answer(struct manager_job *job)
{
	struct vnic_port *ports[REQUEST_INTERFACES_MAX];
	size_t n = 0;

	unlink_job(job);
	for (size_t i = 0; !job->error && i < job->n && n < ARRAY_SIZE(ports); i++) {
		struct vnic_port *port = manager_port(job->m, &job->port[i].spec.key);

		if (port)
			ports[n++] = port;
	}
	if (job->error && !*job->err.message)
		vnic_err_set(&job->err, job->error, VNIC_E_INTERNAL, "%s", strerror(-job->error));
	job->done(job->arg, job->error ? &job->err : NULL, ports, n);
	job_free(job);
}

static void undo_job(struct manager_job *job)
{
	for (size_t i = 0; i < job->n; i++) {
		struct managed_port *p = port_of(job, i);

		if (p && job->kind != JOB_DEL && job->kind != JOB_DOMAIN_RELEASE)
			port_release(p);
	}
	job->phase = JOB_UNDOING;
	job->until = manager_now(job->m) + UNDO_MAX;
	manager_wake_before(job->m, job->until);
	manager_kick(job->m);
}

static void fail_job(struct manager_job *job, int error)
{
	job->error = error;
	undo_job(job);
}

void manager_cancel(struct manager *m, struct manager_job *job)
{
	if (!unlink_job(job))
		return;
	if (job->phase == JOB_MAKING || job->phase == JOB_UNDOING)
		undo_job(job);
	job_free(job);
	manager_kick(m);
}

static void own_words(struct manager_job *job, const struct managed_port *p)
{
	job->err = p->err;
	/* Several ports were asked for: say which one it was. */
	if (job->n > 1) {
		char mac[VNIC_MAC_STR];

		vnic_err_prefix(&job->err, "interface %s: ", mac_format(p->port.spec.key.mac, mac));
	}
}

/* Is the datapath there? Return: 1 to go on, 0 to wait, or a negative errno. */
static int look_at_datapath(struct manager_job *job)
{
	struct manager *m = job->m;

	bool wanted = false;

	for (size_t i = 0; i < job->n; i++)
		wanted |= !job->port[i].spec.vdpa;
	if (m->dp_state == MANAGER_DP_UP || (job->n > 0 && !wanted))
		return 1;
	if (job->n > 0 && manager_dp_away(m))
		return manager_dp_error(m, &job->err);
	return job->n == 0;
}

/*
 * Keys that are there already: what a former run of the domain left goes first.
 * Return: 1 where all are free, 0 to wait, or a negative errno.
 */
static int clear_keys(struct manager_job *job)
{
	struct manager *m = job->m;
	int all = 1;

	for (size_t i = 0; i < job->n; i++) {
		const struct port_spec *spec = &job->port[i].spec;
		struct vnic_port *port = manager_port(m, &spec->key);
		char key[PORT_KEY_STR];

		if (!port)
			continue;
		if (job->kind == JOB_RECONNECT && !managed(port)->gone) {
			orphan_identify(managed(port), spec);
			/* libvirt reconnects to what runs. */
			if (!port->started)
				manager_domain_started(m, spec->key.uuid);
			continue;
		}
		if (managed(port)->gone) {
			if (manager_now(m) >= job->until)
				return vnic_err_set(&job->err, -EBUSY, VNIC_E_BUSY,
						    "port %s of the domain's former run cannot be "
						    "released: %.200s",
						    port->spec.name, port->reason);
			owner_hurry(&managed(port)->own);
			manager_wake_before(m, job->until);
			all = 0;
			continue;
		}
		if (job->kind == JOB_ADD || port->peer_pid || port->state == PORT_PREPARING ||
		    (*port->spec.pidfile &&
		     m->io.domain_alive(m->io.data, port->spec.pidfile) != 0))
			return vnic_err_set(
				&job->err, -EBUSY, VNIC_E_BUSY,
				"port %s is there and in use by domain '%.64s': release "
				"it first",
				port_key_format(&spec->key, key), port->spec.domain);
		port_release(managed(port));
		all = 0;
	}
	return all;
}

static int make_ports(struct manager_job *job)
{
	struct manager *m = job->m;

	for (size_t i = 0; i < job->n; i++) {
		const struct port_spec *spec = &job->port[i].spec;
		struct alloc_choice choice;
		struct managed_port *p;
		int r;

		if (job->kind == JOB_RECONNECT && manager_port(m, &spec->key))
			continue;
		r = manager_alloc(m, spec, &choice, &job->err);
		if (r < 0) {
			char mac[VNIC_MAC_STR];

			vnic_err_prefix(&job->err,
					"interface %s: ", mac_format(spec->key.mac, mac));
			return r;
		}
		p = port_make(m, spec, &choice);
		if (!p)
			return vnic_err_set(&job->err, -ENOMEM, VNIC_E_INTERNAL,
					    "out of memory for a port");
		job->port[i].generation = p->port.generation;
		memcpy(job->port[i].segment, choice.segment, sizeof(choice.segment));
		p->port.started = job->kind == JOB_RECONNECT ||
				  (job->kind == JOB_ADD && *spec->pidfile &&
				   m->io.domain_alive(m->io.data, spec->pidfile) == 1);
	}
	return 0;
}

/* Return: 1 where all ports are made, 0 to wait, or a negative errno. */
static int look_at_ports(struct manager_job *job)
{
	int all = 1;

	for (size_t i = 0; i < job->n; i++) {
		struct managed_port *p;

		if (!job->port[i].generation)
			continue; /* was there before */
		p = port_of(job, i);
		if (!p)
			return vnic_err_set(&job->err, -ECANCELED, VNIC_E_BUSY,
					    "port %s was released while it was being made",
					    job->port[i].spec.name);
		if (p->gone && p->error)
			own_words(job, p);
		else if (p->gone)
			vnic_err_set(&job->err, -ECANCELED, VNIC_E_BUSY,
				     "port %s was released while it was being made",
				     p->port.spec.name);
		if (p->gone)
			return p->error ? p->error : -ECANCELED;
		if (p->port.state == PORT_PREPARING)
			all = 0;
	}
	return all;
}

static int start_del(struct manager_job *job)
{
	struct vnic_port *port;
	int r = manager_find_port(job->m, &job->port[0].spec.key, job->generation, &port,
				  &job->err);

	if (r < 0)
		return r;
	job->port[0].generation = port->generation;
	memcpy(job->port[0].segment, port->segment, sizeof(port->segment));
	port_release(managed(port));
	return 0;
}

static int start_domain_release(struct manager_job *job)
{
	struct manager *m = job->m;
	size_t n = 0;

	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		n += memcmp(p->spec.key.uuid, job->uuid, VNIC_UUID_LEN) == 0;
	free(job->port);
	job->port = calloc(n ? n : 1, sizeof(*job->port));
	if (!job->port)
		return -ENOMEM;
	for (struct vnic_port *p = m->ports; p; p = p->hh.next) {
		struct job_port *jp = &job->port[job->n];

		if (memcmp(p->spec.key.uuid, job->uuid, VNIC_UUID_LEN) != 0)
			continue;
		if (*p->spec.pidfile && m->io.domain_alive(m->io.data, p->spec.pidfile) == 1) {
			job->n = 0; /* nothing is being released: the answer waits for nothing */
			return vnic_err_set(&job->err, -EBUSY, VNIC_E_BUSY,
					    "domain '%.64s' runs: its ports stay until it ends",
					    p->spec.domain);
		}
		jp->spec.key = p->spec.key;
		jp->generation = p->generation;
		memcpy(jp->segment, p->segment, sizeof(p->segment));
		job->n++;
	}
	for (size_t i = 0; i < job->n; i++)
		port_release(port_of(job, i));
	return 0;
}

/* Are the ports gone, and with the last ones what they shared? Return: 1, or 0 to wait. */
static int look_at_undo(struct manager_job *job)
{
	bool late = manager_now(job->m) >= job->until;

	if (!late)
		manager_wake_before(job->m, job->until);
	for (size_t i = 0; i < job->n; i++) {
		struct managed_port *p = port_of(job, i);

		if (p && !late)
			return 0;
		if (p && !job->error)
			job->error =
				vnic_err_set(&job->err, -EBUSY, VNIC_E_STEP_FAILED,
					     "port %s could not be put back yet, vnicd goes on "
					     "trying: %.200s",
					     p->port.spec.name, p->port.reason);
		if (*job->port[i].segment && !late && !share_settled(job->m, job->port[i].segment))
			return 0;
	}
	return 1;
}

static bool releases(const struct manager_job *job)
{
	return job->kind == JOB_DEL || job->kind == JOB_DOMAIN_RELEASE;
}

/* Return: true where it has answered and is freed. */
static bool job_pump(struct manager_job *job)
{
	int r;

	switch (job->phase) {
	case JOB_WAITING:
		if (releases(job)) {
			r = job->kind == JOB_DEL ? start_del(job) : start_domain_release(job);
			fail_job(job, r);
			return false;
		}
		r = look_at_datapath(job);
		if (r <= 0)
			break;
		job->phase = JOB_CLEARING;
		job->until = manager_now(job->m) + CLEAR_MAX;
		/* fall through */
	case JOB_CLEARING:
		r = clear_keys(job);
		if (r <= 0)
			break;
		job->phase = JOB_MAKING;
		r = make_ports(job);
		if (r < 0)
			break;
		/* fall through */
	case JOB_MAKING:
		r = look_at_ports(job);
		if (r == 1) {
			answer(job);
			return true;
		}
		break;
	case JOB_UNDOING:
		if (!look_at_undo(job))
			return false;
		answer(job);
		return true;
	default:
		return false;
	}
	if (r < 0)
		fail_job(job, r);
	return false;
}

void jobs_pump(struct manager *m)
{
	struct manager_job *job = m->jobs;

	while (job) {
		/* An answer may begin or cancel other jobs: start over. */
		job = job_pump(job) ? m->jobs : job->next;
	}
}

void jobs_free(struct manager *m)
{
	while (m->jobs) {
		struct manager_job *job = m->jobs;

		m->jobs = job->next;
		job_free(job);
	}
}
