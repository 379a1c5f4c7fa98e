/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which ports get a VF that is free, and whom an administrator keeps from having one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "daemon/core/manager_priv.h"

/* May @p have a VF, or say why it may not, and has none? */
static bool waits_for_vf(const struct managed_port *p)
{
	return p->port.device.state == DEVICE_NONE && !p->port.device.hold && !p->gone &&
	       p->port.path != VNIC_PATH_VMDQ && !p->port.spec.vdpa &&
	       p->port.state != PORT_PREPARING &&
	       /* That it is no standby does not change while it is there: asked once. */
	       (*p->port.spec.standby || !p->device_asked) &&
	       p->device_retry_at <= manager_now(p->own.m);
}

static uint32_t priority_of(const struct manager *m, const struct vnic_port *port)
{
	const struct vnic_class *class = config_class(m->config, port->spec.class_name);

	return class ? class->priority : 0;
}

/* The class' priority first, then who has waited longest. */
static int by_claim(const void *a, const void *b)
{
	const struct managed_port *x = *(struct managed_port *const *)a,
				  *y = *(struct managed_port *const *)b;
	uint32_t px = priority_of(x->own.m, &x->port), py = priority_of(y->own.m, &y->port);

	if (px != py)
		return px > py ? -1 : 1;
	return x->port.generation < y->port.generation ? -1 : 1;
}

/* Why @choice is not a VF: "" where none was wanted. */
static const char *why_none(const struct alloc_choice *choice, const struct vnic_err *err)
{
	for (size_t i = 0; i < choice->n_reasons; i++) {
		if (choice->reason[i].path != VNIC_PATH_SRIOV)
			continue;
		return choice->reason[i].eligible ? "another path comes first in its paths="
						  : choice->reason[i].text;
	}
	return choice->n_reasons ? "" : err->message;
}

/* VFs may have become free, or others wanted: those who wait are asked for, in their order. */
void devices_promote(struct manager *m)
{
	_cleanup_(freep) struct managed_port **line = NULL;
	size_t n = 0;

	for (struct vnic_port *port = m->ports; port; port = port->hh.next)
		if (managed(port)->device_retry_at > manager_now(m))
			manager_wake_before(m, managed(port)->device_retry_at);
		else if (managed(port)->device_retry_at && waits_for_vf(managed(port))) {
			managed(port)->device_retry_at = 0;
			m->devices_stale = true;
		}
	if (!m->devices_stale || !m->inv->complete)
		return;
	line = calloc(HASH_COUNT(m->ports) + 1, sizeof(struct managed_port *));
	if (!line)
		return; /* it is tried again in the next turn */
	m->devices_stale = false;
	for (struct vnic_port *port = m->ports; port; port = port->hh.next)
		if (waits_for_vf(managed(port)))
			line[n++] = managed(port);
	qsort(line, n, sizeof(*line), by_claim);
	for (size_t i = 0; i < n; i++) {
		struct managed_port *p = line[i];
		struct alloc_choice choice;
		struct vnic_err err = VNIC_ERR_INIT;

		p->device_asked = true;
		memset(&choice, 0, sizeof(choice));
		if (manager_alloc(m, &p->port.spec, &choice, &err) == 0 &&
		    choice.path == VNIC_PATH_SRIOV) {
			device_reserve(p, &choice.vf);
			device_say(p, "chosen");
			owner_record(&p->device_own);
			manager_tell_port(m, &p->port);
			manager_kick(m);
			continue;
		}
		device_reason(p, why_none(&choice, &err));
	}
}

/* Could @port have a VF at all? */
static bool may_have(const struct manager *m, const struct vnic_port *port)
{
	const struct vnic_class *class = config_class(m->config, port->spec.class_name);
	const struct path_list *paths = port->spec.has_paths ? &port->spec.paths
					: class		     ? &class->paths
							     : NULL;

	if (!paths || !*port->spec.standby)
		return false;
	for (size_t i = 0; i < VNIC_PATH_COUNT; i++)
		if (paths->path[i] == VNIC_PATH_SRIOV)
			return true;
	return false;
}

static int find_port(struct manager *m, const struct port_key *key, uint64_t generation,
		     struct managed_port **ret, struct vnic_err *err)
{
	struct vnic_port *port;
	char text[PORT_KEY_STR];
	int r = manager_find_port(m, key, generation, &port, err);

	if (r < 0)
		return r;
	port_key_format(key, text);
	if (managed(port)->gone)
		return vnic_err_set(err, -EBUSY, VNIC_E_BUSY, "port %s is being released", text);
	if (!may_have(m, port))
		return vnic_err_set(err, -ENOTSUP, VNIC_E_NO_PATH,
				    "port %s cannot have a VF: its class has no path sriov, or its "
				    "interface no <teaming type='persistent'/> and alias: see "
				    "vnicctl domain check",
				    text);
	*ret = managed(port);
	return 0;
}

int manager_device_hold(struct manager *m, const struct port_key *key, uint64_t generation,
			bool hold, struct vnic_err *err)
{
	struct managed_port *p = NULL;
	int r = find_port(m, key, generation, &p, err);
	bool before;

	if (r < 0)
		return r;
	before = p->port.device.hold;
	if (before && hold)
		return 0;
	if (p->port.device.state == DEVICE_QUEUE)
		return vnic_err_set(err, -EBUSY, VNIC_E_BUSY,
				    "VF %s is the queue of the guest's virtio NIC, not a device of "
				    "its own: it is given back when the domain ends",
				    p->port.device.vf_addr);
	p->port.device.hold = hold;
	r = owner_record(&p->device_own);
	if (r < 0) {
		p->port.device.hold = before;
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED,
				    "could not write the record, so nothing was done: %s",
				    strerror(-r));
	}
	p->device_retry_at = 0;
	device_reason(p, hold ? "held back: 'vnicctl port attach' lets it have a VF again" : "");
	port_event(p, hold ? "is to have no VF" : "may have a VF again");
	m->devices_stale = true;
	manager_tell_port(m, &p->port);
	manager_kick(m);
	return 0;
}

static bool found(const char *vf_addr, const char (*addr)[DEV_ADDR_MAX], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(addr[i], vf_addr))
			return true;
	return false;
}

void manager_devices_found(struct manager *m, uint64_t asked_at, const char (*addr)[DEV_ADDR_MAX],
			   size_t n)
{
	for (struct vnic_port *port = m->ports; port; port = port->hh.next) {
		struct managed_port *p = managed(port);
		struct port_device *d = &port->device;
		struct step *attach = plan_find(&d->plan, STEP_VF_ATTACH);

		if (!attach || d->state != DEVICE_ATTACHED || p->gone || p->device_drop ||
		    p->device_own.busy || p->attached_at >= asked_at || found(d->vf_addr, addr, n))
			continue;
		attach->state = STEP_UNDONE;
		d->hold = true;
		device_reason(
			p, "somebody took its VF out of the guest: 'vnicctl port attach' lets it "
			   "have one again");
		device_say(p, "taken out of the guest by somebody");
		owner_record(&p->device_own);
		manager_tell_port(m, port);
		manager_kick(m);
	}
}
