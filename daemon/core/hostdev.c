/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VFs that domains have by their own XML. libvirt gives each its MAC and VLAN, and puts those back; rate, spoof
 * checking, trust and link it leaves as it finds them. They are set here as the class says that the XML names (or the
 * section of the nic), and put back when libvirt does not list the VF any more.
 *
 * An owner is known by its VF, not by the domain's interface: a VF may pass from one domain to the next between two
 * lists of libvirt's, and what was there before the first is what is to be put back after the last.
 *
 *	NONE -> SETTING -> SET -> RESTORING -> gone
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/driver_quirks.h"
#include "daemon/core/manager_priv.h"
#include "daemon/core/path_sriov.h"

static void tell(const struct managed_hostdev *h)
{
	const struct manager *m = h->own.m;

	for (struct manager_observer *o = m->started ? m->observers : NULL; o; o = o->next)
		if (o->hostdev_changed)
			o->hostdev_changed(o->data, &h->dev);
}

/* @reason: a sentence for people; empty: all is as the class says. */
static void set_state(struct managed_hostdev *h, enum hostdev_state state, const char *reason)
{
	struct vnic_hostdev *d = &h->dev;

	if (d->state == state && strncmp(d->reason, reason, sizeof(d->reason) - 1) == 0)
		return;
	d->state = state;
	snprintf(d->reason, sizeof(d->reason), "%.*s", PORT_REASON_MAX - 1, reason);
	str_make_utf8(d->reason);
	tell(h);
}

struct vnic_hostdev *manager_hostdev(const struct manager *m, const char *addr)
{
	struct vnic_hostdev *d;

	HASH_FIND(hh, m->hostdevs, addr, strlen(addr), d);
	return d;
}

static struct managed_hostdev *hostdev_get(struct manager *m, const char *addr)
{
	struct vnic_hostdev *old = manager_hostdev(m, addr);
	struct managed_hostdev *h;

	if (old)
		return managed_hostdev(old);
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	str_copy(h->dev.device.addr, sizeof(h->dev.device.addr), addr);
	owner_init(&h->own, m, &h->dev.plan, NULL, NULL);
	h->own.hostdev = &h->dev;
	HASH_ADD_KEYPTR(hh, m->hostdevs, h->dev.device.addr, strlen(h->dev.device.addr), &h->dev);
	return h;
}

struct managed_hostdev *hostdev_free(struct managed_hostdev *h)
{
	if (h) {
		plan_clear(&h->dev.plan);
		free(h);
	}
	return NULL;
}

int hostdev_restore(struct manager *m, const char *addr, struct plan *plan)
{
	struct managed_hostdev *h;

	for (size_t i = 0; i < plan->n; i++)
		if (plan->step[i].kind != STEP_VF_ATTR || !str_eq(plan->step[i].vf_addr, addr))
			return -EINVAL;
	h = manager_hostdev(m, addr) ? NULL : hostdev_get(m, addr);
	if (!h)
		return -EEXIST;
	h->dev.plan = *plan;
	*plan = (struct plan){ 0 };
	/* Until libvirt says who has it, it stays as it is. */
	h->unheard = true;
	h->dev.state = HOSTDEV_SETTING;
	return 0;
}

static struct managed_hostdev *take(struct manager *m, const struct domain_device *device)
{
	struct managed_hostdev *h = hostdev_get(m, device->addr);
	struct domain_device *d = h ? &h->dev.device : NULL;

	if (!h)
		return NULL;
	if (device->unread && memcmp(d->uuid, device->uuid, sizeof(d->uuid)) == 0) {
		d->unread = true; /* what it said last stands */
		return h;
	}
	*d = *device;
	return h;
}

void manager_hostdevs_found(struct manager *m, const struct domain_device *device, size_t n,
			    bool partial)
{
	struct vnic_hostdev *d;

	for (d = m->hostdevs; d; d = d->hh.next)
		managed_hostdev(d)->listed &= partial;
	for (size_t i = 0; i < n; i++) {
		struct managed_hostdev *h = device[i].has_mac ? take(m, &device[i]) : NULL;

		if (h)
			h->listed = true;
	}
	for (d = m->hostdevs; d; d = d->hh.next) {
		struct managed_hostdev *h = managed_hostdev(d);

		if (partial && !h->listed)
			continue;
		h->unheard = false;
		/* Not what failed for whoever had it before. */
		h->refused = 0;
		h->own.retry_at = h->own.backoff = 0;
	}
	manager_kick(m);
}

void hostdevs_config(struct manager *m)
{
	for (struct vnic_hostdev *d = m->hostdevs; d; d = d->hh.next) {
		managed_hostdev(d)->refused = 0;
		managed_hostdev(d)->own.retry_at = managed_hostdev(d)->own.backoff = 0;
	}
	manager_kick(m);
}

bool hostdev_holds(const struct vnic_hostdev *all, const char *addr)
{
	const struct vnic_hostdev *d;

	HASH_FIND(hh, all, addr, strlen(addr), d);
	return d && d->plan.n;
}

/* What it is to have; the XML's word before the nic's. */
static const char *class_name(const struct managed_hostdev *h, const struct vnic_pf *pf)
{
	const struct vnic_nic_config *nic = manager_nic_config(h->own.m, pf);

	if (*h->dev.device.class_name)
		return h->dev.device.class_name;
	return nic ? nic->hostdev_class : "";
}

/* A port of ours that has not given it back yet: what it sets is put back first. */
static const struct vnic_port *holder(const struct manager *m, const struct vnic_pf *pf,
				      const struct vnic_vf *vf)
{
	for (const struct vnic_port *p = m->ports; p; p = p->hh.next)
		if (p->device.state != DEVICE_NONE && p->device.vf == vf->index &&
		    str_eq(p->device.pf, pf->addr))
			return p;
	return NULL;
}

/* Have @wanted set @attr to @value. @why: where that cannot be. */
static int want(const struct managed_hostdev *h, const struct vnic_pf *pf, const struct vnic_vf *vf,
		enum vf_attr attr, int64_t value, struct plan *wanted, char *why)
{
	struct step step = { .kind = STEP_VF_ATTR, .attr = attr, .value = value, .vf = vf->index };

	if (!plan_find_attr(&h->dev.plan, attr) && !driver_sets(pf, vf, attr)) {
		if (value)
			path_sriov_cannot(pf, attr, why, PORT_REASON_MAX);
		return 0;
	}
	memcpy(step.dev, pf->addr, sizeof(step.dev));
	memcpy(step.vf_addr, vf->addr, sizeof(step.vf_addr));
	return plan_add(wanted, &step);
}

static int want_rate(const struct managed_hostdev *h, const struct vnic_pf *pf,
		     const struct vnic_vf *vf, const struct vnic_class *class, struct plan *wanted,
		     char *why)
{
	const struct driver_quirks *quirks = driver_quirks(pf->driver);
	const struct vnic_link *link = inventory_find(h->own.m->inv, pf->ifindex);
	uint64_t rate = h->dev.device.has_rate ? h->dev.device.rate : class->rate;
	uint64_t min_rate = class->vf.min_rate;

	if (min_rate && !quirks->min_rate) {
		snprintf(why, PORT_REASON_MAX,
			 "its driver %s cannot keep a rate for a VF (min_tx_rate)", pf->driver);
		min_rate = 0;
	}
	if (!rate && !min_rate)
		return 0;
	if (!plan_find_attr(&h->dev.plan, VF_RATE) && quirks->rate_needs_link &&
	    !(link && link->carrier)) {
		snprintf(why, PORT_REASON_MAX,
			 "its driver %s takes no rate while there is no carrier: the rate is set "
			 "when there is one",
			 pf->driver);
		return 0;
	}
	return want(h, pf, vf, VF_RATE, path_sriov_rates(rate, min_rate), wanted, why);
}

/* @why: PORT_REASON_MAX; what of the class cannot be */
static int make_plan(struct managed_hostdev *h, const struct vnic_pf *pf, const struct vnic_vf *vf,
		     const struct vnic_class *class, char *why)
{
	struct plan wanted = { 0 };
	int r;

	r = want(h, pf, vf, VF_TRUST, class->trust, &wanted, why);
	if (r == 0)
		r = want(h, pf, vf, VF_SPOOFCHK, class->spoofchk, &wanted, why);
	if (r == 0)
		r = want_rate(h, pf, vf, class, &wanted, why);
	if (r == 0 && class->vf.link)
		r = want(h, pf, vf, VF_LINK_STATE, class->vf.link - VF_LINK_AUTO, &wanted, why);
	if (r == 0)
		r = plan_follow_attrs(&h->dev.plan, &wanted);
	plan_clear(&wanted);
	return r;
}

/* Somebody else may have set an attribute: it is set again, later and later where that goes on. */
static void look_for_drift(struct managed_hostdev *h, const struct vnic_vf *vf, const char *why)
{
	struct manager *m = h->own.m;

	for (size_t i = 0; i < h->dev.plan.n; i++) {
		struct step *step = &h->dev.plan.step[i];

		if (!(vf->known & 1u << step->attr) ||
		    !owner_drifted(&h->own, step, vf->value[step->attr] == step->value) ||
		    contest_waits(m, &h->contest))
			continue;
		contest_lose(m, &h->contest);
		step->seen = false;
		step->state = STEP_BEGUN;
		manager_kick(m);
		return;
	}
	if (contest_over(m, &h->contest) || h->contest.n < CONTEST_TOLD_FROM)
		set_state(h, HOSTDEV_SET, why);
	else
		set_state(h, HOSTDEV_SET,
			  "somebody keeps changing its attributes: see 'ip monitor link'; vnicd "
			  "sets them again and again");
}

/* The next step to do: not one that has failed, which must not keep the others from being done. */
static ssize_t next_step(const struct managed_hostdev *h)
{
	for (size_t i = 0; i < h->dev.plan.n; i++)
		if (h->dev.plan.step[i].state != STEP_DONE &&
		    !(h->refused & 1u << h->dev.plan.step[i].attr))
			return (ssize_t)i;
	return -1;
}

static void forth(struct managed_hostdev *h, const struct vnic_pf *pf, const struct vnic_vf *vf,
		  const struct vnic_class *class)
{
	struct owner *o = &h->own;
	char why[PORT_REASON_MAX] = "";
	ssize_t next;

	memcpy(h->dev.class_name, class->name, sizeof(class->name));
	if (make_plan(h, pf, vf, class, why) < 0) {
		set_state(h, HOSTDEV_SETTING, "out of memory");
		return;
	}
	next = next_step(h);
	if (next >= 0) {
		if (!h->refused)
			set_state(h, HOSTDEV_SETTING, h->dev.reason);
		owner_begin(o, (size_t)next, false);
		return;
	}
	if (h->refused) {
		/* Its reason stays until it is done, or wanted no more. */
		h->refused = 0;
		owner_back_off(o);
		return;
	}
	o->backoff = 0;
	if (o->unrecorded)
		owner_record(o);
	look_for_drift(h, vf, why);
}

/* Its record and its plan, which is undone or void. Return: false where the record stays. */
static bool drop_plan(struct managed_hostdev *h)
{
	struct manager *m = h->own.m;

	if (h->dev.plan.n && m->io.erase_hostdev(m->io.data, h->dev.device.addr) < 0) {
		set_state(h, h->dev.state, "its record cannot be removed: see /run/vnicd");
		owner_back_off(&h->own);
		return false;
	}
	if (h->dev.plan.n)
		m->devices_stale = true;
	plan_clear(&h->dev.plan);
	h->own.unrecorded = false;
	*h->dev.class_name = '\0';
	return true;
}

/* It is to be as it was. */
static void back(struct managed_hostdev *h)
{
	struct manager *m = h->own.m;
	ssize_t last = owner_last(&h->own);

	if (last >= 0) {
		if (h->dev.state != HOSTDEV_RESTORING)
			set_state(h, HOSTDEV_RESTORING, "");
		owner_begin(&h->own, (size_t)last, true);
		return;
	}
	if (!drop_plan(h))
		return;
	set_state(h, HOSTDEV_NONE, "");
	if (h->listed)
		return;
	HASH_DEL(m->hostdevs, &h->dev);
	hostdev_free(h);
	manager_kick(m);
}

static void failed(struct managed_hostdev *h)
{
	struct owner *o = &h->own;

	o->error = 0;
	set_state(h, h->dev.state, o->err.message);
	if (o->undoing)
		owner_back_off(o);
	else
		h->refused |= 1u << o->cur.attr;
}

/* What was done to it went with it. */
static void vf_gone(struct managed_hostdev *h)
{
	for (size_t i = 0; i < h->dev.plan.n; i++)
		h->dev.plan.step[i].state = STEP_UNDONE;
}

void hostdev_pump(struct managed_hostdev *h)
{
	struct manager *m = h->own.m;
	const struct vnic_class *class;
	const struct vnic_port *port;
	const struct vnic_pf *pf;
	const struct vnic_vf *vf;
	const char *name;
	char why[PORT_REASON_MAX];

	if (h->own.busy || !m->inv->complete)
		return;
	if (h->own.error)
		failed(h);
	if (owner_waits(&h->own)) {
		manager_wake_before(m, h->own.retry_at);
		return;
	}
	vf = inventory_vf(m->inv, h->dev.device.addr, &pf);
	if (vf)
		memcpy(h->dev.pf, pf->addr, sizeof(pf->addr));
	else
		vf_gone(h);
	if (!vf || (!h->listed && !h->unheard)) {
		back(h);
		return;
	}
	if (h->unheard)
		return;
	if (h->dev.device.unread) {
		set_state(h, h->dev.state,
			  "what <vnic:ports> of its domain's XML says cannot be read, so it stays "
			  "as it "
			  "is: see 'vnicctl domain check'");
		return;
	}
	name = class_name(h, pf);
	if (!*name) {
		back(h);
		return;
	}
	class = config_class(m->config, name);
	port = holder(m, pf, vf);
	/* The inventory follows libvirt's list in a moment. */
	if (class && !port && vf->user == VF_USER_DOMAIN) {
		forth(h, pf, vf, class);
		return;
	}
	if (!class)
		snprintf(why, sizeof(why), "there is no class '%s': it stays as it is", name);
	else if (port)
		snprintf(why, sizeof(why), "port %s of domain '%.64s' has to give it back first",
			 port->spec.name, port->spec.domain);
	else
		*why = '\0';
	set_state(h, h->dev.plan.n ? h->dev.state : HOSTDEV_SETTING, why);
}
