/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VFs that the configuration wants of a nic: made once, kept while the configuration says so, never taken
 * from under anybody. A nic with VFs that somebody else made is left as it is.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/manager_priv.h"

/* How long the kernel may take to show every VF with its group, netdev and attributes. */
#define VFS_MAX_WAIT (30 * SEC)

/* The PF that section @cfg means; NULL where there is none now. */
static const struct vnic_pf *resolve(const struct manager *m, const struct vnic_nic_config *cfg)
{
	const struct vnic_link *link;

	if (*cfg->address)
		return inventory_pf(m->inv, cfg->address);
	link = inventory_find_name(m->inv, cfg->name);
	return link ? inventory_pf_of(m->inv, link) : NULL;
}

const struct vnic_nic_config *manager_nic_config(const struct manager *m, const struct vnic_pf *pf)
{
	const struct vnic_link *link = inventory_find(m->inv, pf->ifindex);

	if (link && inventory_pf_of(m->inv, link) != pf)
		link = NULL;
	for (const struct vnic_nic_config *cfg = m->config->nics; cfg; cfg = cfg->hh.next)
		if (*cfg->address ? str_eq(cfg->address, pf->addr)
				  : link && str_eq(cfg->name, link->name))
			return cfg;
	return NULL;
}

struct nic_share *manager_nic(const struct manager *m, const char *pf)
{
	struct nic_share *nic;

	HASH_FIND_STR(m->nics, pf, nic);
	return nic;
}

struct managed_nic *nic_get(struct manager *m, struct nic_share **table, const char *key)
{
	struct nic_share *old;
	struct managed_nic *n;

	HASH_FIND_STR(*table, key, old);
	if (old)
		return managed_nic(old);
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	str_copy(n->nic.pf, sizeof(n->nic.pf), key);
	owner_init(&n->own, m, &n->nic.plan, NULL, NULL);
	n->own.nic = &n->nic;
	n->stale = true;
	HASH_ADD_STR(*table, pf, &n->nic);
	return n;
}

static void changed(const struct managed_nic *n)
{
	for (struct manager_observer *o = n->own.m->observers; o; o = o->next)
		if (o->nic_changed)
			o->nic_changed(o->data, &n->nic);
}

static struct managed_nic *get(struct manager *m, const char *pf)
{
	return nic_get(m, &m->nics, pf);
}

/* Takes @plan's content over on success only. */
int nic_restore(struct manager *m, const char *pf, struct plan *plan, bool drained)
{
	struct managed_nic *n = manager_nic(m, pf) ? NULL : get(m, pf);

	if (!n)
		return -EEXIST;
	n->nic.plan = *plan;
	n->nic.drained = drained;
	*plan = (struct plan){ 0 };
	return 0;
}

struct managed_nic *nic_free(struct managed_nic *n)
{
	if (n) {
		plan_clear(&n->nic.plan);
		free(n);
	}
	return NULL;
}

void nics_stale(struct manager *m)
{
	if (!m->started)
		return; /* the records come first */
	for (const struct vnic_nic_config *cfg = m->config->nics; cfg; cfg = cfg->hh.next) {
		const struct vnic_pf *pf = resolve(m, cfg);

		if (pf && !get(m, pf->addr))
			return;
	}
	for (struct nic_share *nic = m->nics; nic; nic = nic->hh.next)
		managed_nic(nic)->stale = true;
	manager_kick(m);
}

/* A section may mean a nic by a name that udev gives it some time after its PF came. */
void nics_named(struct manager *m, const struct vnic_link *link)
{
	for (const struct vnic_nic_config *cfg = m->config->nics; cfg; cfg = cfg->hh.next)
		if (!*cfg->address && str_eq(cfg->name, link->name)) {
			nics_stale(m);
			return;
		}
}

void nic_tell(struct managed_nic *n, bool ready, const char *fmt, ...)
{
	char text[VNIC_ERR_MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n->nic.ready == ready && str_eq(n->nic.reason, text))
		return;
	n->nic.ready = ready;
	memcpy(n->nic.reason, text, sizeof(n->nic.reason));
	changed(n);
}

/* Would taking the VFs away take them from anybody? Says from whom. */
static bool in_use(const struct manager *m, const struct vnic_pf *pf, char *who, size_t size)
{
	for (const struct vnic_port *p = m->ports; p; p = p->hh.next)
		if (p->device.state != DEVICE_NONE && str_eq(p->device.pf, pf->addr)) {
			snprintf(who, size, "port %s of domain '%.64s'", p->spec.name,
				 p->spec.domain);
			return true;
		}
	for (int i = 0; i < pf->n_vf; i++)
		if (pf->vf[i].user != VF_FREE) {
			vf_user_describe(&pf->vf[i], who, size);
			return true;
		}
	return false;
}

/* The record says no more than that it is drained, or is gone. */
static int record_no_plan(struct managed_nic *n)
{
	struct manager *m = n->own.m;

	return n->nic.drained ? owner_record(&n->own) : m->io.erase_nic(m->io.data, n->nic.pf);
}

void nic_stays(struct managed_nic *n)
{
	nic_tell(n, false, "its record cannot be removed: see /run/vnicd");
	n->stale = true;
	owner_back_off(&n->own);
}

/* Forget the steps: their effect is gone, or somebody else's by now. Return: false where the record stays. */
static bool drop_plan(struct managed_nic *n)
{
	plan_clear(&n->nic.plan);
	n->own.unrecorded = record_no_plan(n) < 0;
	if (!n->own.unrecorded)
		return true;
	nic_stays(n);
	return false;
}

void nic_begin(struct managed_nic *n, size_t i, bool undo)
{
	n->stale = true;
	owner_begin(&n->own, i, undo);
}

/* Has somebody written another number of VFs since ours? */
static bool changed_by_others(struct managed_nic *n, const struct vnic_pf *pf)
{
	struct step *step = plan_find(&n->nic.plan, STEP_NIC_NUMVFS);

	if (!step || step->state != STEP_DONE)
		return false;
	if (owner_drifted(&n->own, step, pf->num_vfs == step->value))
		return true;
	n->stale |= !step->seen;
	return false;
}

static int add_numvfs(struct managed_nic *n, const struct vnic_nic_config *cfg)
{
	struct step step = { .kind = STEP_NIC_NUMVFS, .value = cfg->vfs };

	memcpy(step.dev, n->nic.pf, sizeof(step.dev));
	return plan_add(&n->nic.plan, &step);
}

static int make_plan(struct managed_nic *n, const struct vnic_pf *pf,
		     const struct vnic_nic_config *cfg)
{
	struct step step = { .kind = STEP_NIC_AUTOPROBE, .value = cfg->autoprobe };
	int r = 0;

	memcpy(step.dev, pf->addr, sizeof(step.dev));
	if (pf->autoprobe != cfg->autoprobe)
		r = plan_add(&n->nic.plan, &step);
	return r == 0 ? add_numvfs(n, cfg) : r;
}

/* Its VFs are not those that we made: nothing is left of that to undo. */
static void lost_vfs(struct managed_nic *n, const struct vnic_pf *pf)
{
	struct step *step = plan_find(&n->nic.plan, STEP_NIC_NUMVFS);

	if (*pf->driver)
		nic_tell(n, false, "it has %d VFs, where vnicd had made %d: somebody changed that",
			 pf->num_vfs, (int)step->value);
	else
		nic_tell(n, false,
			 "its driver has gone, and with it its %d VFs: see 'lspci -k -s %s'",
			 (int)step->value, pf->addr);
	plan_remove(&n->nic.plan, (size_t)(step - n->nic.plan.step));
	n->own.unrecorded = true;
	n->stale = true;
	n->own.retry_at = manager_now(n->own.m) + SETTLE;
	manager_wake_before(n->own.m, n->own.retry_at);
}

/* The steps are done: does the kernel show every VF? */
static void wait_for_vfs(struct managed_nic *n, const struct vnic_pf *pf)
{
	struct manager *m = n->own.m;
	uint64_t until = n->own.settled_at + VFS_MAX_WAIT;

	if (pf->vfs_complete) {
		nic_tell(n, true, "%s", "");
		m->devices_stale = true;
	} else if (manager_now(m) < until) {
		nic_tell(n, false, "its VFs are being made: %d of %d are there", pf->n_vf,
			 pf->num_vfs);
		n->stale = true;
		manager_wake_before(m, until);
	} else {
		nic_tell(n, false,
			 "the kernel shows %d of %d VFs whole after %d s: see 'journalctl -k'",
			 pf->n_vf, pf->num_vfs, (int)(VFS_MAX_WAIT / SEC));
	}
}

/* There is a plan, perhaps half done. */
static void pump_plan(struct managed_nic *n, const struct vnic_pf *pf,
		      const struct vnic_nic_config *cfg)
{
	struct step *numvfs;
	bool same;
	char who[160];

	if (changed_by_others(n, pf)) {
		lost_vfs(n, pf);
		return;
	}
	if (!plan_find(&n->nic.plan, STEP_NIC_NUMVFS) && cfg && cfg->vfs && !pf->num_vfs &&
	    add_numvfs(n, cfg) < 0)
		return;
	numvfs = plan_find(&n->nic.plan, STEP_NIC_NUMVFS);
	same = cfg && numvfs && cfg->vfs == numvfs->value;
	if (!same) {
		ssize_t last = owner_last(&n->own);

		if (last < 0) {
			n->stale = true;
			if (drop_plan(n))
				manager_kick(n->own.m);
		} else if (numvfs && in_use(n->own.m, pf, who, sizeof(who))) {
			nic_tell(n, n->nic.ready,
				 "it keeps its %d VFs until none is in use (%s has one); then "
				 "vnicd.conf applies",
				 pf->num_vfs, who);
		} else {
			nic_begin(n, (size_t)last, true);
		}
		return;
	}
	for (size_t i = 0; i < n->nic.plan.n; i++)
		if (n->nic.plan.step[i].state != STEP_DONE) {
			nic_tell(n, false, "its VFs are being made");
			nic_begin(n, i, false);
			return;
		}
	wait_for_vfs(n, pf);
}

/* Nothing of ours is there: is there something to do? */
static void pump_fresh(struct managed_nic *n, const struct vnic_pf *pf,
		       const struct vnic_nic_config *cfg)
{
	if (!*pf->driver)
		nic_tell(n, false, "no driver is bound to it: see 'lspci -k -s %s'", pf->addr);
	else if (cfg->vfs > pf->total_vfs)
		nic_tell(n, false, "%s:%d: [nic %s] vfs=%d: it can have %d at most",
			 cfg->place.file, cfg->place.line, cfg->name, cfg->vfs, pf->total_vfs);
	else if (cfg->vfs == pf->num_vfs && cfg->vfs == 0)
		nic_tell(n, true, "%s", "");
	else if (cfg->vfs == pf->num_vfs)
		wait_for_vfs(n, pf); /* made by somebody else: theirs, and as they are to be */
	else if (pf->num_vfs != 0)
		nic_tell(n, false,
			 "it has %d VFs, which vnicd did not make: 'echo 0 > "
			 "/sys/bus/pci/devices/%s/sriov_numvfs' when nobody uses them, or write "
			 "vfs=%d",
			 pf->num_vfs, pf->addr, pf->num_vfs);
	else if (make_plan(n, pf, cfg) == 0)
		pump_plan(n, pf, cfg);
}

/* Return: true where @n is to be forgotten. */
static bool pump_known(struct managed_nic *n, const struct vnic_pf *pf)
{
	const struct vnic_nic_config *cfg = manager_nic_config(n->own.m, pf);

	if (cfg && cfg->vfs < 0)
		cfg = NULL;
	if (!n->nic.plan.n && n->own.unrecorded && !drop_plan(n))
		return false;
	if (n->nic.plan.n)
		pump_plan(n, pf, cfg);
	else if (cfg)
		pump_fresh(n, pf, cfg);
	return !cfg && !n->nic.plan.n && !n->nic.drained && !owner_waits(&n->own);
}

static void forget(struct managed_nic *n)
{
	struct manager *m = n->own.m;

	n->nic.drained = false;
	if (!drop_plan(n))
		return;
	HASH_DEL(m->nics, &n->nic);
	for (struct manager_observer *o = m->observers; o; o = o->next)
		if (o->nic_removed)
			o->nic_removed(o->data, n->nic.pf);
	nic_free(n);
}

bool nic_due(struct managed_nic *n)
{
	struct manager *m = n->own.m;
	bool due = n->stale;

	if (n->own.busy || !m->inv->complete)
		return false;
	if (n->own.error) {
		n->own.error = 0;
		nic_tell(n, false, "%s", n->own.err.message);
		n->stale = true;
		owner_back_off(&n->own);
		return false;
	}
	if (owner_waits(&n->own)) {
		manager_wake_before(m, n->own.retry_at);
		return false;
	}
	n->stale = false;
	return due;
}

void nic_looked(struct managed_nic *n)
{
	if (n->own.busy || n->own.error)
		n->stale = true;
	else if (n->own.unrecorded && (n->nic.plan.n || n->nic.drained))
		owner_record(&n->own);
}

void nic_pump(struct managed_nic *n)
{
	const struct vnic_pf *pf;

	if (!nic_due(n))
		return;
	pf = inventory_pf(n->own.m->inv, n->nic.pf);
	if (pf && !pump_known(n, pf))
		nic_looked(n);
	else
		forget(n); /* what was done to a device that has gone is gone with it */
}

bool nic_is_drained(const struct manager *m, const char *pf)
{
	const struct nic_share *nic = manager_nic(m, pf);

	return nic && nic->drained;
}

int manager_nic_drain(struct manager *m, const char *pf, bool drain, struct vnic_err *err)
{
	struct managed_nic *n;
	int r;

	if (!inventory_pf(m->inv, pf))
		return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_NIC,
				    "%s is no nic with VFs: vnicctl nic show lists those there are",
				    pf);
	if (nic_is_drained(m, pf) == drain)
		return 0;
	n = get(m, pf);
	if (!n)
		return -ENOMEM;
	n->nic.drained = drain;
	r = n->nic.plan.n ? owner_record(&n->own) : record_no_plan(n);
	if (r < 0) {
		n->nic.drained = !drain;
		n->stale = true;
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED,
				    "could not write the record, so nothing was done: %s",
				    strerror(-r));
	}
	changed(n);
	m->devices_stale = true;
	nics_stale(m);
	return 0;
}
