/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nics that the configuration wants to be uplinks of vnic.ko: taken once, kept while it says so, given back when no
 * device is on them. One that somebody else made an uplink is left to them. Each has a record as nics with VFs have, by
 * its netdev's ifindex, which is the same after a renaming.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/manager_priv.h"
#include "daemon/core/path_vdpa.h"

#define KEY "uplink:"

static int ifindex_of(const struct managed_nic *n)
{
	return atoi(n->nic.pf + strlen(KEY));
}

static struct managed_nic *uplink_get(struct manager *m, const char *key)
{
	return nic_get(m, &m->uplinks, key);
}

bool uplink_is_key(const char *key)
{
	uint64_t v;

	return !strncmp(key, KEY, strlen(KEY)) &&
	       u64_parse(key + strlen(KEY), 1, INT32_MAX, &v) == 0;
}

int uplink_restore(struct manager *m, const char *key, struct plan *plan)
{
	struct managed_nic *n = NULL;
	struct nic_share *old;

	HASH_FIND_STR(m->uplinks, key, old);
	/* One step, and of that nic: who writes another one does not know us. */
	if (!old && plan->n == 1 && plan->step[0].kind == STEP_NIC_UPLINK)
		n = uplink_get(m, key);
	if (!n)
		return -EINVAL;
	if (plan->step[0].ifindex != ifindex_of(n)) {
		HASH_DEL(m->uplinks, &n->nic);
		nic_free(n);
		return -EINVAL;
	}
	n->nic.plan = *plan;
	*plan = (struct plan){ 0 };
	return 0;
}

void uplinks_stale(struct manager *m)
{
	if (!m->started)
		return;
	for (const struct vnic_nic_config *cfg = m->config->nics; cfg; cfg = cfg->hh.next) {
		const struct vnic_link *link = cfg->vnic ? path_vdpa_link(m->inv, cfg) : NULL;
		char key[DEV_ADDR_MAX];

		if (!link)
			continue;
		snprintf(key, sizeof(key), KEY "%d", link->ifindex);
		if (!uplink_get(m, key))
			return;
	}
	for (struct nic_share *nic = m->uplinks; nic; nic = nic->hh.next)
		managed_nic(nic)->stale = true;
	if (m->uplinks)
		manager_kick(m);
}

const struct nic_share *manager_uplink(const struct manager *m, int ifindex)
{
	struct nic_share *nic;
	char key[DEV_ADDR_MAX];

	snprintf(key, sizeof(key), KEY "%d", ifindex);
	HASH_FIND_STR(m->uplinks, key, nic);
	return nic;
}

/* The name of a device on it, or one that is to be; NULL: none. */
static const char *device_on(const struct manager *m, const char *mgmtdev)
{
	for (const struct vnic_port *p = m->ports; p; p = p->hh.next) {
		const struct step *add = p->spec.vdpa ? plan_find(&p->plan, STEP_VDPA_ADD) : NULL;

		if (add && str_eq(add->mgmtdev, mgmtdev))
			return add->dev;
	}
	for (const struct vdpa_dev *d = m->inv->vdpas; d; d = d->hh.next)
		if (str_eq(d->mgmtdev, mgmtdev))
			return d->name;
	return NULL;
}

static bool is_uplink(const struct manager *m, const char *mgmtdev)
{
	struct vdpa_mgmtdev *found;

	HASH_FIND_STR(m->inv->mgmtdevs, mgmtdev, found);
	return found;
}

static void pump_wanted(struct managed_nic *n, const struct vnic_link *link, const char *mgmtdev)
{
	struct step step = { .kind = STEP_NIC_UPLINK, .ifindex = link->ifindex }, *held;

	memcpy(step.ifname, link->name, sizeof(step.ifname));
	if (!n->nic.plan.n && plan_add(&n->nic.plan, &step) < 0)
		return;
	held = &n->nic.plan.step[0];
	if (!str_eq(held->ifname, link->name)) {
		memcpy(held->ifname, link->name, sizeof(held->ifname));
		n->own.unrecorded = true;
	}
	if (held->state != STEP_DONE) {
		nic_begin(n, 0, false);
		return;
	}
	if (!n->own.settled_at) /* as another vnicd left it */
		n->own.settled_at = manager_now(n->own.m);
	if (owner_drifted(&n->own, held, is_uplink(n->own.m, mgmtdev))) {
		nic_tell(n, false, "somebody has taken it from vnic.ko: vnicd gives it back");
		held->state = STEP_BEGUN;
		n->stale = true;
		owner_back_off(&n->own);
		return;
	}
	n->stale |= !held->seen;
	if (held->seen)
		nic_tell(n, true, "%s", "");
}

/* Return: true where nothing is left of it. */
static bool pump_unwanted(struct managed_nic *n, const char *mgmtdev)
{
	const char *device;

	if (owner_last(&n->own) < 0)
		return true;
	device = n->nic.plan.step[0].prev ? NULL : device_on(n->own.m, mgmtdev);
	if (device)
		nic_tell(n, n->nic.ready,
			 "it stays an uplink of vnic.ko until no device is on it (%s is); then "
			 "vnicd.conf applies",
			 device);
	else
		nic_begin(n, 0, true);
	return false;
}

static void forget(struct managed_nic *n)
{
	struct manager *m = n->own.m;

	if (m->io.erase_nic(m->io.data, n->nic.pf) < 0) {
		nic_stays(n);
		return;
	}
	nic_tell(n, false, "%s", "");
	HASH_DEL(m->uplinks, &n->nic);
	nic_free(n);
}

void uplink_pump(struct managed_nic *n)
{
	struct manager *m = n->own.m;
	const struct vnic_link *link;
	const struct vnic_nic_config *cfg;
	char mgmtdev[MGMTDEV_NAME_MAX];

	if (!nic_due(n))
		return;
	link = inventory_find(m->inv, ifindex_of(n));
	cfg = link ? path_vdpa_config(m->config, m->inv, link) : NULL;
	snprintf(mgmtdev, sizeof(mgmtdev), VNIC_MGMTDEV "%s", link ? link->name : "");
	if (cfg && cfg->vnic) {
		pump_wanted(n, link, mgmtdev);
	} else if (!link || pump_unwanted(n, mgmtdev)) {
		forget(n); /* what was done to a netdev that has gone is gone with it */
		return;
	}
	nic_looked(n);
}
