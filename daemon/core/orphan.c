/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the records alone cannot tell, and libvirt is asked for: whose a port is that the datapath serves, or that has a vDPA
 * device, and no record tells of (it was damaged, or is a newer vnicd's), and whether a domain that was being started when the
 * last vnicd ended still exists.
 *
 * An orphan is served on, as the datapath has it, and nothing of it is touched. Once libvirt or a hook says which
 * interface of which domain it is, it is a port like others, with a record. Else it stays until its guest's front
 * end has gone, and the file of its socket, whose name nobody knows, goes with the next sweep.
 *
 * Only the first greeting of a datapath can bring one: later on, what it has and we have not was released by us
 * while it was away.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/manager_priv.h"
#include "daemon/core/path_software.h"
#include "daemon/core/path_vdpa.h"

#define ASK_AGAIN_MIN (5 * SEC)
#define ASK_AGAIN_MAX (60 * SEC)

#define REMARK_ASKING                                                                             \
	"its record is lost, its guest is served as before; vnicd asks libvirt whose it is: see " \
	"that libvirtd runs"

void orphan_found(struct managed_port *p, const char *text)
{
	port_event(p, text);
	port_remark(p, REMARK_ASKING);
}

void orphan_take(struct manager *m, const struct dp_port_status *status)
{
	struct vnic_segment *known = config_segment(m->config, status->segment);
	const struct step step = { .kind = STEP_DP_PORT, .state = STEP_DONE };
	struct vnic_segment unknown = { 0 };
	struct managed_port *p = NULL;

	str_copy(unknown.name, sizeof(unknown.name), status->segment);
	if (name_valid(status->segment) && share_get(m, known ? known : &unknown))
		p = calloc(1, sizeof(*p));
	if (!p || plan_add(&p->port.plan, &step) < 0) {
		free(p);
		stray_forget(m, status);
		return;
	}
	p->port.spec.key = status->key;
	p->port.orphan = p->unsure = true;
	p->port.state = PORT_READY;
	p->port.path = VNIC_PATH_SOFTWARE;
	p->port.generation = status->generation;
	memcpy(p->port.segment, status->segment, sizeof(p->port.segment));
	if (m->last_generation < status->generation)
		m->last_generation = status->generation;
	port_adopt(m, p);
	orphan_found(p, "found in the datapath, with no record of it");
	port_status(p, status);
}

/* The same where it has a vDPA device, on the management device that has made it. */
static int identify_vdpa(struct managed_port *p, const struct port_spec *spec, struct vnic_err *err)
{
	const struct step *add = plan_find(&p->port.plan, STEP_VDPA_ADD);
	struct manager *m = p->own.m;
	struct alloc_choice choice;
	struct plan plan = { 0 };
	int r = manager_alloc(m, spec, &choice, err);

	if (r < 0)
		return r;
	if (!add || choice.path != VNIC_PATH_VDPA)
		return vnic_err_set(err, -ESTALE, "",
				    "it has a vDPA device, and by its XML it is on path %s by now",
				    vnic_path_str(choice.path));
	port_choose(&p->port, spec, &choice);
	r = path_vdpa_port(m->inv, config_segment(m->config, choice.segment), &p->port,
			   add->mgmtdev, &plan);
	if (r < 0)
		return vnic_err_set(err, r, "", "%s", strerror(-r));
	/* Done again, they find what is there; and all is put back in the end. */
	for (size_t i = 0; i < plan.n; i++) {
		plan.step[i].state = STEP_BEGUN;
		plan.step[i].has_prev = plan.step[i].kind == STEP_VDPA_ADD;
	}
	plan_clear(&p->port.plan);
	p->port.plan = plan;
	return 0;
}

/* The port as its spec has it: 0, or a negative errno with @err. What the datapath has stays as it is. */
static int identify(struct managed_port *p, const struct port_spec *spec, struct vnic_err *err)
{
	struct manager *m = p->own.m;
	const struct segment_share *share = manager_share(m, p->port.segment);
	struct alloc_choice choice;
	struct plan plan = { 0 };
	int r;

	r = manager_alloc(m, spec, &choice, err);
	if (r < 0)
		return r;
	if (!str_eq(choice.segment, p->port.segment))
		return vnic_err_set(err, -ESTALE, "",
				    "it is in segment %s, and class %s in segment %s by now",
				    p->port.segment, spec->class_name, choice.segment);
	choice.path = VNIC_PATH_SOFTWARE; /* which it is on, whatever it would be given now */
	port_choose(&p->port, spec, &choice);
	r = path_software_port(&p->port, &plan);
	if (r < 0)
		return vnic_err_set(err, r, "", "%s", strerror(-r));
	for (size_t i = 0; i < plan.n; i++) {
		struct step *step = &plan.step[i];

		/* Begun: it may be so, and is put back in the end either way. */
		step->state = step->kind == STEP_SOCK_LISTEN && p->dp_has_listener ? STEP_DONE
										   : STEP_BEGUN;
		if (step->kind == STEP_FDB && share) {
			step->ifindex = share->tap_ifindex;
			step->master = share->bridge_ifindex;
		}
	}
	plan_clear(&p->port.plan);
	p->port.plan = plan;
	return 0;
}

int orphan_identify(struct managed_port *p, const struct port_spec *spec)
{
	struct manager *m = p->own.m;
	const struct vnic_port before = p->port;
	struct vnic_err err = VNIC_ERR_INIT;
	struct plan plan = { 0 };
	int r;

	p->unsure = false;
	if (p->gone || !p->port.orphan)
		return 0;
	if (plan_copy(&plan, &p->port.plan) < 0)
		return -ENOMEM;
	r = (p->port.spec.vdpa ? identify_vdpa : identify)(p, spec, &err);
	if (r == 0) {
		p->port.orphan = false;
		r = owner_record(&p->own);
		if (r < 0)
			vnic_err_set(
				&err, r, "",
				"its record cannot be written to /run/vnicd/ports (see the log)");
	}
	if (r < 0) {
		plan_clear(&p->port.plan);
		p->port = before;
		p->port.plan = plan;
		/* What is known of it goes to people, and its pidfile tells when it ends. */
		memcpy(p->port.spec.domain, spec->domain, sizeof(spec->domain));
		memcpy(p->port.spec.pidfile, spec->pidfile, sizeof(spec->pidfile));
		p->port.started = true;
		port_remark(
			p,
			"its record is lost, its guest is served as before, and vnicd cannot take "
			"it up: %.100s; the next start of its domain makes it anew",
			err.message);
		return r;
	}
	plan_clear(&plan);
	manager_index_port(m, &p->port);
	p->port.started = true;
	port_remark(p, "%s", "");
	port_event(p, "its record is made anew, from its domain's XML");
	manager_tell_port(m, &p->port);
	shares_stale(m);
	return 0;
}

/* Nobody knows the rest of its plan: what may be there of it is undone, and its socket is swept away. */
void orphan_let_go(struct managed_port *p)
{
	const struct segment_share *share = manager_share(p->own.m, p->port.segment);
	struct step step = { .kind = STEP_FDB, .state = STEP_DONE };

	if (!share || !share->tap_ifindex)
		return;
	memcpy(step.mac, p->port.spec.key.mac, sizeof(step.mac));
	memcpy(step.ifname, share->tap, sizeof(step.ifname));
	step.ifindex = share->tap_ifindex;
	plan_add(&p->port.plan, &step); /* without memory the entry ages with its tap */
}

bool orphans_in(const struct manager *m, const char *segment)
{
	for (const struct vnic_port *p = m->ports; p; p = p->hh.next)
		if (p->orphan && !p->spec.vdpa && (!segment || str_eq(p->segment, segment)))
			return true;
	return false;
}

static bool ended(const struct managed_port *p)
{
	const struct manager_io *io = &p->own.m->io;

	return !p->port.peer_pid &&
	       (!*p->port.spec.pidfile || io->domain_alive(io->data, p->port.spec.pidfile) == 0);
}

/* Is libvirt to be asked about it? What visibly lives needs no asking, except whose it is. */
static bool in_doubt(struct managed_port *p)
{
	if (p->gone || !p->unsure)
		return false;
	if (!p->port.orphan && !ended(p))
		p->unsure = false;
	return p->unsure;
}

void orphans_look(struct manager *m)
{
	bool up = m->dp_state == MANAGER_DP_UP, any = false;
	uint64_t now = manager_now(m);

	if (up && m->sweep && !orphans_in(m, NULL)) {
		m->sweep = false;
		if (m->io.sweep_sockets)
			m->io.sweep_sockets(m->io.data);
	}
	if (m->asking)
		return;
	/* What the datapath has is known once it is there; it has nothing of a vDPA port. */
	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		any |= managed(p)->asked = (up || p->spec.vdpa) && in_doubt(managed(p));
	if (!any)
		return;
	if (now < m->ask_at) {
		manager_wake_before(m, m->ask_at);
		return;
	}
	m->asking = true;
	m->io.ask_domains(m->io.data);
}

static const struct domain_request *find_domain(const struct domain_request *domains, size_t n,
						const struct port_key *key)
{
	for (size_t i = 0; i < n; i++)
		if (!memcmp(domains[i].uuid, key->uuid, sizeof(key->uuid)))
			return &domains[i];
	return NULL;
}

static void judge(struct managed_port *p, const struct domain_request *domain)
{
	p->unsure = false;
	if (!domain && ended(p)) {
		port_event(p, "its domain does not run any more");
		port_release(p);
		return;
	}
	if (!p->port.orphan)
		return;
	for (size_t i = 0; domain && i < domain->n_specs; i++)
		if (port_key_eq(&domain->specs[i].key, &p->port.spec.key)) {
			orphan_identify(p, &domain->specs[i]);
			return;
		}
	if (domain)
		memcpy(p->port.spec.domain, domain->name, sizeof(domain->name));
	port_remark(
		p,
		"its record is lost, and %s; its guest is served as before until it hangs up, or "
		"'vnicctl port del' ends it",
		domain ? "its domain's XML has no such interface"
		       : "libvirt knows no such domain that runs");
}

void manager_domains(struct manager *m, const struct domain_request *domains, size_t n,
		     const struct vnic_err *err)
{
	struct vnic_port *port, *tmp;

	m->asking = false;
	manager_kick(m);
	if (err) {
		m->ask_backoff = m->ask_backoff ? m->ask_backoff * 2 : ASK_AGAIN_MIN;
		if (m->ask_backoff > ASK_AGAIN_MAX)
			m->ask_backoff = ASK_AGAIN_MAX;
		m->ask_at = manager_now(m) + m->ask_backoff;
		return;
	}
	m->ask_at = m->ask_backoff = 0;
	HASH_ITER(hh, m->ports, port, tmp)
	{
		struct managed_port *p = managed(port);

		if (p->asked && in_doubt(p))
			judge(p, find_domain(domains, n, &port->spec.key));
		p->asked = false;
	}
}
