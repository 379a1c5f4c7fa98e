/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port's life: its own steps once its segment's are done, its FDB entry while it runs, its release.
 *
 *	PREPARING -> READY <-> CONNECTED <-> RUNNING, QUARANTINED; FAILED where a repair does not succeed
 *	any -> RELEASING -> gone
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/manager_priv.h"
#include "daemon/core/path_software.h"
#include "daemon/core/path_vdpa.h"
#include "daemon/core/path_vmdq.h"

void port_event(struct managed_port *p, const char *text)
{
	const struct manager_io *io = &p->own.m->io;

	port_note(&p->port, io->realtime(io->data), "%s", text);
	for (struct manager_observer *o = p->own.m->observers; o; o = o->next)
		if (o->port_noted)
			o->port_noted(o->data, &p->port, text);
}

static void set_reason(struct managed_port *p, const char *text)
{
	snprintf(p->port.reason, sizeof(p->port.reason), "%.*s", PORT_REASON_MAX - 1, text);
	str_make_utf8(p->port.reason);
}

void port_remark(struct managed_port *p, const char *fmt, ...)
{
	char old[PORT_REASON_MAX];
	va_list ap;

	memcpy(old, p->remark, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(p->remark, sizeof(p->remark), fmt, ap);
	va_end(ap);
	str_make_utf8(p->remark);
	if (str_eq(old, p->remark) || (*p->port.reason && !str_eq(p->port.reason, old)))
		return;
	set_reason(p, p->remark);
	if (*p->remark)
		port_event(p, p->remark);
	manager_tell_port(p->own.m, &p->port);
}

/* Into the hash; steps refer to the segment's share, which lives as long as a port of it does. */
void port_adopt(struct manager *m, struct managed_port *p)
{
	/* One of path vdpa shares nothing, and outlives what others share. */
	struct segment_share *share = p->port.spec.vdpa ? NULL : manager_share(m, p->port.segment);

	owner_init(&p->own, m, &p->port.plan, share ? &share->segment : NULL, &p->port);
	device_adopt(p);
	HASH_ADD(hh, m->ports, spec.key, sizeof(p->port.spec.key), &p->port);
	manager_index_port(m, &p->port);
	shares_stale(m);
	if (m->started)
		for (struct manager_observer *o = m->observers; o; o = o->next)
			if (o->port_added)
				o->port_added(o->data, &p->port);
}

void port_choose(struct vnic_port *port, const struct port_spec *spec,
		 const struct alloc_choice *choice)
{
	port->spec = *spec;
	/* A VF takes over from the software path when it is in the guest. */
	port->path = choice->path == VNIC_PATH_SRIOV ? VNIC_PATH_SOFTWARE : choice->path;
	memcpy(port->segment, choice->segment, sizeof(port->segment));
	port->vlan = choice->vlan;
	port->rate = choice->rate;
	port->weight = choice->weight;
	port->spoofchk = choice->spoofchk;
	port->trust = choice->trust;
	port->vf = choice->extra;
	port->queues = choice->queues;
}

static int make_plan(const struct manager *m, struct vnic_port *port, const char *mgmtdev)
{
	const struct vnic_segment *segment = config_segment(m->config, port->segment);

	if (port->path == VNIC_PATH_VDPA)
		return path_vdpa_port(m->inv, segment, port, mgmtdev, &port->plan);
	return port->path == VNIC_PATH_VMDQ ? path_vmdq_port(m->inv, segment, port, &port->plan)
					    : path_software_port(port, &port->plan);
}

struct managed_port *port_make(struct manager *m, const struct port_spec *spec,
			       const struct alloc_choice *choice)
{
	struct managed_port *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	port_choose(&p->port, spec, choice);
	p->port.state = PORT_PREPARING;
	p->port.generation = ++m->last_generation;
	if (choice->path == VNIC_PATH_VMDQ)
		device_take(&p->port.device, &choice->vf, DEVICE_QUEUE);
	if (make_plan(m, &p->port, choice->mgmtdev) < 0 ||
	    (!spec->vdpa && !share_get(m, config_segment(m->config, choice->segment)))) {
		port_clear(&p->port);
		free(p);
		return NULL;
	}
	port_adopt(m, p);
	if (choice->path == VNIC_PATH_SRIOV)
		device_reserve(p, &choice->vf);
	port_event(p, "asked for");
	return p;
}

void port_release(struct managed_port *p)
{
	if (p->gone)
		return;
	p->gone = true;
	p->port.state = PORT_RELEASING;
	if (p->port.orphan)
		orphan_let_go(p);
	p->own.retry_at = p->own.backoff = 0;
	port_event(p, "being released");
	/* Undone or not, a restart must not bring it back. */
	if (owner_last(&p->own) >= 0 || p->own.busy)
		owner_record(&p->own);
	manager_tell_port(p->own.m, &p->port);
	manager_kick(p->own.m);
}

void port_fail(struct managed_port *p, int error, const struct vnic_err *err)
{
	p->error = error;
	p->err = *err;
	set_reason(p, err->message);
	port_event(p, err->message);
	port_release(p);
}

static void remove_port(struct managed_port *p)
{
	struct manager *m = p->own.m;

	if (m->io.erase_port(m->io.data, &p->port.spec.key) < 0) {
		set_reason(p, "its record cannot be removed: see /run/vnicd/ports");
		owner_back_off(&p->own);
		return;
	}
	for (struct manager_observer *o = m->observers; o; o = o->next)
		if (o->port_removed)
			o->port_removed(o->data, &p->port);
	if (m->index)
		alloc_index_remove(m->index, &p->port.spec.key);
	HASH_DEL(m->ports, &p->port);
	m->sweep |= p->port.orphan;
	if (p->port.spec.vdpa)
		uplinks_stale(m); /* one may wait for its last device to go */
	port_clear(&p->port);
	free(p);
	shares_stale(m);
}

static void pump_release(struct managed_port *p)
{
	ssize_t last;

	if (p->own.error) {
		p->own.error = 0;
		if (p->own.undoing) {
			set_reason(p, p->own.err.message);
			manager_tell_port(p->own.m, &p->port);
			owner_back_off(&p->own);
			return;
		}
	}
	if (owner_waits(&p->own)) {
		manager_wake_before(p->own.m, p->own.retry_at);
		return;
	}
	if (!p->port.spec.vdpa && manager_dp_unmet(p->own.m))
		return;
	last = owner_last(&p->own);
	if (last < 0 && p->port.device.state == DEVICE_QUEUE)
		device_let_go(p);
	if (last >= 0)
		owner_begin(&p->own, (size_t)last, true);
	else if (p->port.device.state == DEVICE_NONE)
		remove_port(p);
}

/* The first step that is not done, apart from those of its reach; -1 where all are. */
static ssize_t next_step(const struct managed_port *p)
{
	for (size_t i = 0; i < p->port.plan.n; i++)
		if (!reach_step(&p->port.plan.step[i]) && p->port.plan.step[i].state != STEP_DONE)
			return (ssize_t)i;
	return -1;
}

static const char *reason_of(const struct managed_port *p, const struct dp_port_status *status)
{
	return *status->reason ? status->reason : p->remark;
}

static bool counted_same(const struct managed_port *p, const struct dp_port_status *status)
{
	const struct vnic_port *port = &p->port;

	return port->state == status->state && port->peer_pid == status->peer_pid &&
	       port->queues_active == status->queues_active && port->logging == status->logging &&
	       port->restarts == status->restarts && str_eq(port->reason, reason_of(p, status));
}

static void note_change(struct managed_port *p, const struct dp_port_status *status)
{
	char text[128];

	if (p->port.state != status->state) {
		snprintf(text, sizeof(text), "%s%s%.90s", port_state_str(status->state),
			 *status->reason ? ": " : "", status->reason);
		port_event(p, text);
	}
	if (p->port.logging != status->logging)
		port_event(p, status->logging ? "dirty logging on" : "dirty logging off");
	if (p->port.restarts < status->restarts)
		port_event(p, "its worker was replaced");
}

void port_status(struct managed_port *p, const struct dp_port_status *status)
{
	struct manager *m = p->own.m;

	if (p->gone && m->dp_state == MANAGER_DP_SYNCING)
		owner_not_undone(&p->own, STEP_DP_PORT);
	p->dp_listed = true;
	p->dp_has_listener = status->has_listener;
	p->last = *status;
	if (status->generation > p->port.generation && m->dp_state == MANAGER_DP_SYNCING &&
	    !p->gone && p->port.state != PORT_PREPARING) {
		/* It has seen a later one of ours than the record tells: go past it. */
		if (m->last_generation < status->generation)
			m->last_generation = status->generation;
		p->port.generation = ++m->last_generation;
		p->own.unrecorded = true;
	}
	p->port.counters = status->counters;
	if (p->gone || p->port.state == PORT_PREPARING)
		return;
	if (p->port.state == PORT_FAILED) {
		/* The rest is caught up with; but whose guest has ended is to be released. */
		p->port.peer_pid = status->peer_pid;
		manager_tell_port(m, &p->port);
		manager_kick(m);
		return;
	}
	if (counted_same(p, status))
		return;
	note_change(p, status);
	p->port.state = status->state;
	p->port.peer_pid = status->peer_pid;
	p->port.queues_active = status->queues_active;
	p->port.logging = status->logging;
	p->port.restarts = status->restarts;
	set_reason(p, reason_of(p, status));
	manager_tell_port(m, &p->port);
	manager_kick(m);
}

/* What the datapath said of it while it was not yet, or not whole, may hold still. */
static void catch_up(struct managed_port *p)
{
	struct dp_port_status last = p->last;

	if (p->dp_listed)
		port_status(p, &last);
}

static void repaired(struct managed_port *p, const char *reason)
{
	p->complained = false;
	set_reason(p, reason);
	port_event(p, "repaired");
	manager_tell_port(p->own.m, &p->port);
}

/* All its steps are done: it has what it was promised. */
static void pump_live(struct managed_port *p)
{
	if (p->port.orphan)
		return; /* as the datapath has it */
	if (queue_leaves(p))
		return;
	if (p->own.error && !queue_retry(p)) {
		p->own.error = 0;
		if (next_step(p) >= 0)
			p->port.state = PORT_FAILED;
		p->complained = true;
		set_reason(p, p->own.err.message);
		port_event(p, p->own.err.message);
		manager_tell_port(p->own.m, &p->port);
		owner_back_off(&p->own);
		return;
	}
	if (owner_waits(&p->own)) {
		manager_wake_before(p->own.m, p->own.retry_at);
		return;
	}
	if (next_step(p) >= 0) {
		const struct segment_share *share = manager_share(p->own.m, p->port.segment);

		if (p->port.spec.vdpa) {
			owner_begin(&p->own, (size_t)next_step(p), false);
			return;
		}
		if (queue_waits(p, &p->port.plan.step[next_step(p)]))
			return;
		/* The datapath takes no port of a segment it has not. */
		if (p->own.m->dp_state == MANAGER_DP_UP && share && share_told(share))
			owner_begin(&p->own, (size_t)next_step(p), false);
		return;
	}
	if (p->port.state == PORT_FAILED) {
		p->port.state = PORT_READY;
		repaired(p, p->remark);
		catch_up(p);
	}
	if (p->port.spec.vdpa) {
		vdpa_look(p);
	} else {
		contest_look(p);
		queue_look(p);
		if (reach_pump(p))
			return;
	}
	if (p->complained)
		repaired(p, p->dp_listed ? reason_of(p, &p->last) : p->remark);
	if (p->own.unrecorded)
		owner_record(&p->own);
}

static void pump_prepare(struct managed_port *p)
{
	struct manager *m = p->own.m;
	const struct segment_share *share = manager_share(m, p->port.segment);
	struct vnic_err err = VNIC_ERR_INIT;
	ssize_t next;

	if (p->own.error && !queue_retry(p)) {
		port_fail(p, p->own.error, &p->own.err);
		return;
	}
	if (owner_waits(&p->own)) {
		manager_wake_before(m, p->own.retry_at);
		return;
	}
	if (!p->port.spec.vdpa && m->dp_state != MANAGER_DP_UP) {
		if (manager_dp_away(m))
			port_fail(p, manager_dp_error(m, &err), &err);
		return;
	}
	if (!p->port.spec.vdpa && (!share || !share->ready || !share_told(share)))
		return;
	next = next_step(p);
	if (next >= 0 && queue_waits(p, &p->port.plan.step[next]))
		return;
	if (next >= 0) {
		owner_begin(&p->own, (size_t)next, false);
		return;
	}
	p->port.state = PORT_READY;
	port_event(p,
		   p->port.spec.vdpa ? "ready: its device is there" : "ready: its socket listens");
	m->devices_stale = true; /* it may wait for a VF; then it is to say why it has none */
	if (owner_record(&p->own) < 0) {
		vnic_err_set(&err, -EIO, VNIC_E_STEP_FAILED,
			     "the record of port %s could not be written to /run/vnicd/ports: see "
			     "'df /run'",
			     p->port.spec.name);
		port_fail(p, -EIO, &err);
		return;
	}
	manager_tell_port(m, &p->port);
	catch_up(p);
	manager_kick(m); /* its job waits */
}

void port_pump(struct managed_port *p)
{
	if (!p->port.spec.vdpa)
		device_pump(p);
	if (p->own.busy)
		return;
	if (p->device_stale && p->port.device.state == DEVICE_QUEUE)
		device_settings(p);
	if (p->gone)
		pump_release(p);
	else if (p->port.state == PORT_PREPARING)
		pump_prepare(p);
	else
		pump_live(p);
}

/*
 * A port whose domain has ended and whose release nobody asked for. The lock on the pidfile is the fact;
 * libvirt may have been killed before it could say anything.
 */
void port_reap(struct managed_port *p)
{
	struct manager *m = p->own.m;
	bool known = p->port.started || (p->port.orphan && !p->unsure);
	uint64_t now = manager_now(m), wait = known ? REAP_STARTED : REAP_PREPARED;

	if (p->gone || p->port.state == PORT_PREPARING || p->port.peer_pid ||
	    (!*p->port.spec.pidfile && !p->port.orphan)) {
		p->free_since = p->look_at = 0;
		return;
	}
	if (now < p->look_at) {
		manager_wake_before(m, p->look_at);
		return;
	}
	p->look_at = now + REAP_LOOK;
	if (*p->port.spec.pidfile && m->io.domain_alive(m->io.data, p->port.spec.pidfile) != 0) {
		p->free_since = 0;
	} else if (!p->free_since) {
		p->free_since = now;
	} else if (now >= p->free_since + wait) {
		port_event(p, "its domain has ended without a word");
		port_release(p);
		return;
	}
	manager_wake_before(m, p->look_at);
}

/* The datapath is told everything again; a socket is bound anew only where it has none. */
void port_datapath_back(struct managed_port *p)
{
	bool listens = p->dp_listed && p->dp_has_listener;

	if (p->port.spec.vdpa)
		return;
	if (p->port.orphan) {
		if (!p->dp_listed)
			port_release(p); /* it was all there was of it */
		return;
	}
	for (size_t i = 0; i < p->port.plan.n; i++) {
		struct step *step = &p->port.plan.step[i];

		if (p->gone || step->state != STEP_DONE)
			continue;
		if (step->kind == STEP_DP_PORT || (step->kind == STEP_SOCK_LISTEN && !listens))
			step->state = STEP_BEGUN;
	}
	if (!p->gone)
		queue_datapath_back(p);
	p->own.retry_at = p->own.backoff = 0;
}

void port_datapath_lost(struct managed_port *p)
{
	p->dp_listed = p->dp_has_listener = false;
	if (p->gone || p->port.state == PORT_PREPARING || p->port.spec.vdpa)
		return;
	/* Its guest's rings are somebody's or nobody's: what it was is not known until the next hello. */
	if (p->port.state != PORT_FAILED)
		p->port.state = PORT_READY;
	p->port.peer_pid = 0;
	p->free_since = 0;
	p->complained = p->port.state == PORT_FAILED;
	set_reason(p, "the datapath is away");
	port_event(p, "the datapath is away");
	manager_tell_port(p->own.m, &p->port);
}

/* After a change of the configuration: what may change under a guest does. */
void port_settings(struct managed_port *p)
{
	const struct vnic_class *class = config_class(p->own.m->config, p->port.spec.class_name);
	uint64_t rate;
	uint32_t weight;

	if (!class || p->gone)
		return;
	rate = p->port.spec.has_rate ? p->port.spec.rate : class->rate;
	weight = p->port.spec.has_weight ? p->port.spec.weight : class->weight;
	if (rate == p->port.rate && weight == p->port.weight &&
	    class->spoofchk == p->port.spoofchk && class->trust == p->port.trust &&
	    class->vf.min_rate == p->port.vf.min_rate && class->vf.link == p->port.vf.link)
		return;
	p->port.rate = rate;
	p->port.weight = weight;
	p->port.spoofchk = class->spoofchk;
	p->port.trust = class->trust;
	p->port.vf = class->vf;
	owner_redo(&p->own, STEP_DP_PORT);
	device_settings(p);
	vdpa_settings(p);
	port_event(p, "settings changed with the configuration");
	manager_tell_port(p->own.m, &p->port);
}
