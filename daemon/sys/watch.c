/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/watch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/sys/genl.h"
#include "daemon/sys/nics.h"
#include "daemon/sys/rtnetlink.h"
#include "daemon/sys/sysfs.h"
#include "daemon/sys/udev.h"
#include "daemon/sys/vdpa.h"

struct watch {
	struct inventory *inv;
	const struct watch_ops *ops;
	void *userdata;
	struct rtnl *rtnl;
	struct udev_watch *udev;
	struct genl *genl;
	struct nics *nics;
	struct vdpa_watch *vdpa;
	bool synced; /* the links were read whole, and nobody was told yet */
};

static void __attribute__((format(printf, 3, 4)))
note(struct watch *w, int level, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	w->ops->note(w->userdata, level, text);
}

/* What the kernel says of @link, with its device's facts, into the inventory. */
static void upsert(struct watch *w, struct vnic_link *link)
{
	const struct vnic_link *old = inventory_find(w->inv, link->ifindex);
	struct vnic_link before;
	int r;

	if (old)
		before = *old;
	/* Virtual links have no device: spare them the look. */
	if (link->kind == LINK_PHYSICAL || link->kind == LINK_VF || link->kind == LINK_OTHER)
		sysfs_fill_link(link);
	r = inventory_upsert(w->inv, link);
	if (r > 0) {
		const struct vnic_link *now = inventory_find(w->inv, link->ifindex);

		nics_link_changed(w->nics, old ? &before : NULL, now);
		w->ops->changed(w->userdata, now);
	} else if (r == -ENOMEM) {
		note(w, LOG_ERR, "out of memory: link %s is not in the inventory", link->name);
	}
}

static void on_link(void *userdata, const struct vnic_link *link)
{
	struct watch *w = userdata;
	struct vnic_link copy = *link;

	upsert(w, &copy);
	nics_link_heard(w->nics, link->ifindex);
}

static void on_gone(void *userdata, int ifindex)
{
	struct watch *w = userdata;
	const struct vnic_link *link = inventory_find(w->inv, ifindex);
	struct vnic_link copy;

	if (!link)
		return;
	copy = *link;
	inventory_remove(w->inv, ifindex);
	nics_link_changed(w->nics, &copy, NULL);
	vdpa_link_gone(w->vdpa, copy.name);
	w->ops->removed(w->userdata, &copy);
}

/* Tell of the end once nothing is left to be read. */
static void on_idle(void *userdata)
{
	struct watch *w = userdata;

	if (!w->synced || !genl_idle(w->genl) || !vdpa_idle(w->vdpa) || !nics_idle(w->nics))
		return;
	w->synced = false;
	w->inv->complete = true;
	w->ops->synced(w->userdata);
}

static void on_synced(void *userdata)
{
	struct watch *w = userdata;

	w->synced = true;
	on_idle(w);
}

static void on_lost(void *userdata, const char *why)
{
	note(userdata, LOG_NOTICE, "link notifications were lost (%s): reading all links anew",
	     why);
}

static void on_failed(void *userdata, int error)
{
	note(userdata, LOG_WARNING, "reading the host's links failed: %s; trying again in 1 s",
	     strerror(-error));
}

static const struct rtnl_ops rtnl_ops = {
	.link = on_link,
	.gone = on_gone,
	.synced = on_synced,
	.lost = on_lost,
	.failed = on_failed,
};

/*
 * Callbacks of watch_ops must not change the inventory, so that walking it here is safe; what upsert()
 * replaces stays at its place in memory.
 */
static void refresh(struct watch *w, const char *bus, const char *dev_addr)
{
	int ifindex = dev_addr ? nics_vf_ifindex(w->nics, dev_addr) : -1;
	const struct vnic_link *link, *next;

	/* Of many VFs none shall be looked for among all links. */
	if (ifindex >= 0) {
		link = ifindex ? inventory_find(w->inv, ifindex) : NULL;
		if (link) {
			struct vnic_link copy = *link;

			upsert(w, &copy);
		}
		return;
	}
	for (link = w->inv->links; link; link = next) {
		struct vnic_link copy = *link;

		next = link->hh.next;
		if (!*link->dev_addr || (bus && !str_eq(link->bus, bus)) ||
		    (dev_addr && !str_eq(link->dev_addr, dev_addr)))
			continue;
		upsert(w, &copy);
	}
}

static void on_device(void *userdata, const char *bus, const char *dev_addr, const char *action)
{
	struct watch *w = userdata;

	(void)action;
	/* A VF's driver is a vDPA parent perhaps, or has mdev types: also where that is not said. */
	vdpa_resync(w->vdpa);
	if (str_eq(bus, "module"))
		return;
	refresh(w, bus, dev_addr);
	nics_device_event(w->nics, bus, dev_addr);
}

static void on_udev_link(void *userdata, int ifindex, const char *action)
{
	struct watch *w = userdata;
	const struct vnic_link *link = inventory_find(w->inv, ifindex);
	struct vnic_link copy;

	/* Whether a link is there, and its name, is rtnetlink's to say: only devices are looked at. */
	if (!link || str_eq(action, "remove"))
		return;
	copy = *link;
	upsert(w, &copy);
}

static void on_udev_lost(void *userdata)
{
	struct watch *w = userdata;

	note(w, LOG_NOTICE, "udev events were lost: reading all devices anew");
	refresh(w, NULL, NULL);
	nics_resync(w->nics);
	vdpa_resync(w->vdpa);
}

static void on_pf(void *userdata, const struct vnic_pf *pf)
{
	struct watch *w = userdata;

	if (w->ops->pf_changed)
		w->ops->pf_changed(w->userdata, pf);
}

static void on_pf_removed(void *userdata, const char *addr)
{
	struct watch *w = userdata;

	if (w->ops->pf_removed)
		w->ops->pf_removed(w->userdata, addr);
}

static void on_note(void *userdata, int level, const char *text)
{
	struct watch *w = userdata;

	w->ops->note(w->userdata, level, text);
}

static const char *vdpa_of(void *userdata, const char *addr)
{
	struct watch *w = userdata;

	return w->vdpa ? vdpa_on(w->vdpa, addr) : NULL;
}

static const struct nics_ops nics_ops = {
	.changed = on_pf,
	.removed = on_pf_removed,
	.note = on_note,
	.idle = on_idle,
	.vdpa = vdpa_of,
};

static void on_vdpa(void *userdata)
{
	struct watch *w = userdata;

	if (w->ops->vdpa_changed)
		w->ops->vdpa_changed(w->userdata);
}

static void on_vdpa_function(void *userdata, const char *addr)
{
	struct watch *w = userdata;

	nics_vdpa_changed(w->nics, addr);
}

static const struct vdpa_ops vdpa_ops = {
	.changed = on_vdpa,
	.function = on_vdpa_function,
	.note = on_note,
	.idle = on_idle,
};

static const struct udev_watch_ops udev_ops = {
	.device = on_device,
	.link = on_udev_link,
	.lost = on_udev_lost,
};

int watch_new(struct loop *loop, struct inventory *inv, const struct watch_ops *ops, void *userdata,
	      struct watch **ret)
{
	_cleanup_(watch_freep) struct watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->inv = inv;
	w->ops = ops;
	w->userdata = userdata;
	r = udev_watch_new(loop, &udev_ops, w, &w->udev);
	if (r == 1)
		note(w, LOG_INFO,
		     "udevd does not run here: devices are looked at when their links change");
	else if (r < 0)
		note(w, LOG_WARNING,
		     "no udev events (%s): devices are looked at when their links change",
		     strerror(-r));
	r = genl_new(loop, on_idle, w, &w->genl);
	if (r == 0)
		r = nics_new(loop, inv, w->genl, &nics_ops, w, &w->nics);
	if (r == 0)
		r = vdpa_new(loop, inv, w->genl, &vdpa_ops, w, &w->vdpa);
	if (r == 0)
		r = rtnl_new(loop, 0, &rtnl_ops, w, &w->rtnl);
	if (r < 0)
		return r;
	*ret = take_ptr(w);
	return 0;
}

struct watch *watch_free(struct watch *w)
{
	if (!w)
		return NULL;
	rtnl_free(w->rtnl);
	udev_watch_free(w->udev);
	nics_free(w->nics);
	vdpa_free(w->vdpa);
	genl_free(w->genl);
	free(w);
	return NULL;
}

void watch_resync(struct watch *w)
{
	nics_resync(w->nics);
	vdpa_resync(w->vdpa);
	rtnl_resync(w->rtnl);
}

void watch_refresh_vdpa(struct watch *w)
{
	vdpa_resync(w->vdpa);
}

void watch_refresh_pf(struct watch *w, const char *addr)
{
	nics_refresh_pf(w->nics, addr);
}

void watch_refresh_vf(struct watch *w, const char *addr)
{
	nics_refresh_vf(w->nics, addr);
}

int watch_domain_devices(struct watch *w, const struct domain_device *device, size_t n)
{
	return nics_domain_devices(w->nics, device, n);
}
