/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port of path vdpa while it lives. The datapath has no part in it: whether its guest runs is said by the hooks and by
 * its pidfile, whether its device is there by the inventory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/manager_priv.h"
#include "daemon/core/path_vdpa.h"

static const struct vdpa_dev *device_of(const struct managed_port *p)
{
	const struct step *add = plan_find(&p->port.plan, STEP_VDPA_ADD);
	struct vdpa_dev *dev = NULL;

	if (add)
		HASH_FIND_STR(p->own.m->inv->vdpas, add->dev, dev);
	return dev;
}

/* A card's device goes with its nic; one of vnic.ko's stays as long as it is in use. */
static bool has_nic(const struct manager *m, const struct vdpa_dev *dev)
{
	struct vdpa_mgmtdev *mgmtdev;

	HASH_FIND_STR(m->inv->mgmtdevs, dev->mgmtdev, mgmtdev);
	return mgmtdev;
}

/* All of it went with the device. */
static void make_again(struct managed_port *p)
{
	for (size_t i = 0; i < p->port.plan.n; i++) {
		struct step *step = &p->port.plan.step[i];

		if (step->state == STEP_DONE)
			step->state = STEP_BEGUN;
		step->seen = false;
	}
	manager_kick(p->own.m);
}

void vdpa_look(struct managed_port *p)
{
	struct step *add = plan_find(&p->port.plan, STEP_VDPA_ADD);
	struct manager *m = p->own.m;
	const struct vdpa_dev *dev = device_of(p);
	enum port_state state = p->port.started ? PORT_RUNNING : PORT_READY;

	if (!add || add->state != STEP_DONE || !m->inv->complete)
		return;
	if (p->port.state != state && p->port.state != PORT_FAILED) {
		p->port.state = state;
		port_event(p, port_state_str(state));
		manager_tell_port(m, &p->port);
	}
	if (dev && !str_eq(dev->mgmtdev, add->mgmtdev)) {
		/* Its nic has been renamed. */
		memcpy(add->mgmtdev, dev->mgmtdev, sizeof(add->mgmtdev));
		p->own.unrecorded = true;
	}
	if (!p->own.settled_at) /* as another vnicd left it */
		p->own.settled_at = manager_now(m);
	if (!owner_drifted(&p->own, add, dev && str_eq(dev->driver, "vhost_vdpa"))) {
		if (add->seen && !has_nic(m, dev))
			port_remark(p, "the nic of its vDPA device has gone: its guest has no link "
				       "until it starts anew, on a nic that is there");
		else if (add->seen && contest_over(m, &p->device_contest))
			port_remark(p, "%s", "");
		return;
	}
	if (p->port.started) {
		port_remark(p,
			    "its vDPA device %s was taken from it: its guest has no network "
			    "here until its domain starts anew",
			    add->dev);
		return;
	}
	if (contest_waits(m, &p->device_contest))
		return;
	contest_lose(m, &p->device_contest);
	port_remark(p, "its vDPA device %s was taken from it: vnicd makes it again", add->dev);
	make_again(p);
}

/* Is @d of a nic that vnicd makes an uplink of vnic.ko, or has made one? */
static bool on_own_uplink(const struct manager *m, const struct vdpa_dev *d)
{
	const struct vnic_nic_config *cfg;
	const struct vnic_link *link;

	if (!mgmtdev_is_vnic(d->mgmtdev))
		return false;
	link = inventory_find_name(m->inv, d->mgmtdev + strlen(VNIC_MGMTDEV));
	cfg = link ? path_vdpa_config(m->config, m->inv, link) : NULL;
	return link && ((cfg && cfg->vnic) || manager_uplink(m, link->ifindex));
}

bool manager_vdpa_left(const struct manager *m, const struct vdpa_dev *d)
{
	struct port_key key;

	return path_vdpa_key(d->name, &key) && !manager_port(m, &key);
}

/* A port that there is nothing of but a device: libvirt is asked whose it is. */
static void adopt(struct manager *m, const struct vdpa_dev *d)
{
	struct step add = { .kind = STEP_VDPA_ADD, .state = STEP_BEGUN, .has_prev = true };
	struct managed_port *p = calloc(1, sizeof(*p));
	char text[MGMTDEV_NAME_MAX + 64];

	if (!p)
		return; /* the next change of the inventory is another occasion */
	memcpy(add.dev, d->name, sizeof(d->name));
	memcpy(add.mgmtdev, d->mgmtdev, sizeof(add.mgmtdev));
	if (!path_vdpa_key(d->name, &p->port.spec.key) || plan_add(&p->port.plan, &add) < 0) {
		free(p);
		return;
	}
	memcpy(p->port.plan.step[0].mac, p->port.spec.key.mac, sizeof(add.mac));
	p->port.orphan = p->unsure = p->port.spec.vdpa = true;
	p->port.path = VNIC_PATH_VDPA;
	p->port.state = PORT_READY;
	p->port.generation = ++m->last_generation;
	port_adopt(m, p);
	snprintf(text, sizeof(text), "its device was found on %s, with no record of it",
		 d->mgmtdev);
	orphan_found(p, text);
	manager_kick(m);
}

void vdpas_look(struct manager *m)
{
	if (!m->started || !m->inv->complete)
		return;
	for (const struct vdpa_dev *d = m->inv->vdpas; d; d = d->hh.next)
		if (manager_vdpa_left(m, d) && on_own_uplink(m, d) &&
		    (!*d->driver || str_eq(d->driver, "vhost_vdpa")))
			adopt(m, d);
}

void vdpa_settings(struct managed_port *p)
{
	struct step *step = plan_find(&p->port.plan, STEP_VDPA_POLICY);

	if (!step)
		return;
	path_vdpa_policy(&p->port, step->vlan, step); /* another VLAN from the next start on */
	owner_redo(&p->own, STEP_VDPA_POLICY);
	manager_kick(p->own.m);
}
