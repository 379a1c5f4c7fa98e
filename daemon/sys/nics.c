/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The inventory is the only copy of what is known; what this keeps beside it is how to
 * find a VF (by address, netdev, IOMMU group) and what is to be read or asked. An event about one VF is
 * worked on at once (vfs.c); one about a PF marks it, and so do answers (nics_ask.c): the loop's next turn
 * reads, asks and tells for all that is marked, so that a storm of events costs one reading a turn.
 *
 * The kernel makes VFs one by one, sets sriov_numvfs after the last, and sends its event before that; netdevs
 * and groups follow in their own time. So a PF whose parts do not add up yet is also looked at again by
 * itself, at growing intervals.
 */
#include "daemon/sys/nics.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/sys/nics_priv.h"

#define SETTLE_USEC 50000
/* 50, 100, … 1600 ms: a minute in all, longer than anything that waits for VFs. */
#define SETTLE_SHIFT_MAX 5
#define SETTLES_MAX	 42
#define BUSY_SETTLES	 3

void nics_note(struct nics *n, int level, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n->ops->note(n->userdata, level, text);
}

void nics_mark(struct nics *n)
{
	if (n->marked)
		return;
	n->marked = true;
	loop_timer_set(n->flush, 0);
}

struct nic *nics_find(const struct nics *n, const char *addr)
{
	struct nic *nic;

	HASH_FIND_STR(n->nics, addr, nic);
	return nic;
}

struct nic *nics_find_ifindex(const struct nics *n, int ifindex)
{
	struct nic *nic;

	for (nic = n->nics; nic && nic->pci.pf.ifindex != ifindex; nic = nic->hh.next)
		;
	return nic;
}

const struct vnic_pf *nic_pf(const struct nics *n, const struct nic *nic)
{
	return inventory_pf(n->inv, nic->pci.pf.addr);
}

void nic_put(struct nics *n, struct nic *nic, const struct vnic_pf *pf)
{
	int r = inventory_update_pf(n->inv, pf);

	if (r > 0) {
		nic->told = true;
		nics_mark(n);
	} else if (r < 0) {
		nics_note(n, LOG_ERR, "out of memory: nic %s is not in the inventory", pf->addr);
	}
}

static struct nic *nic_add(struct nics *n, const char *bus, const char *addr)
{
	struct nic *nic;

	if (strlen(addr) >= sizeof(nic->pci.pf.addr) || strlen(bus) >= sizeof(nic->pci.pf.bus))
		return NULL;
	nic = calloc(1, sizeof(*nic));
	if (!nic) {
		nics_note(n, LOG_ERR, "out of memory: nic %s is not in the inventory", addr);
		return NULL;
	}
	strcpy(nic->pci.pf.addr, addr);
	strcpy(nic->pci.pf.bus, bus);
	nic->info_vfs = -1;
	nic->stale = nic->ask_info = nic->ask_eswitch = nic->ask_ethtool = true;
	HASH_ADD_STR(n->nics, pci.pf.addr, nic);
	nics_mark(n);
	return nic;
}

static void nic_free(struct nics *n, struct nic *nic)
{
	vfs_trim(n, nic, 0);
	HASH_DEL(n->nics, nic);
	free(nic->fn);
	free(nic->representor);
	free(nic);
}

static void nic_remove(struct nics *n, struct nic *nic)
{
	char addr[DEV_ADDR_MAX];
	bool known = nic_pf(n, nic);

	strcpy(addr, nic->pci.pf.addr);
	nic_free(n, nic);
	if (known) {
		inventory_remove_pf(n->inv, addr);
		n->ops->removed(n->userdata, addr);
	}
}

/* What changed about the PF decides what is asked anew. */
static void nic_take(struct nics *n, struct nic *nic, const struct pci_pf *read)
{
	const struct vnic_pf *old = nic_pf(n, nic);
	struct vnic_pf pf = read->pf;

	/* What a driver that was at work has changed may be all but the number of VFs. */
	if (nic->pci.busy && !read->busy)
		nic->ask_ethtool = nic->ask_eswitch = nic->ask_info = true;
	/* The number that it had, and not complete until it can be read. */
	if (read->busy && old)
		pf.num_vfs = old->num_vfs;
	if (!old || old->ifindex != pf.ifindex || !str_eq(old->driver, pf.driver)) {
		nic->ask_ethtool = nic->ask_eswitch = nic->ask_info = true;
		nic->info_vfs = -1;
	}
	if (!old || old->num_vfs != pf.num_vfs) {
		/* VFs take queues from the PF: some drivers can then have fewer of their own. */
		nic->ask_info = nic->ask_eswitch = nic->ask_ethtool = true;
		nic->info_vfs = -1;
		nic->settles = 0;
		nic->noted_info = false;
	}
	if (old) {
		pf.vfs_complete = old->vfs_complete;
		pf.eswitch = old->eswitch;
		pf.fwd_offload = old->fwd_offload;
		pf.ntuple = old->ntuple;
		pf.channels_max = old->channels_max;
		pf.channels = old->channels;
	}
	nic->pci = *read;
	nic->pci.pf.num_vfs = pf.num_vfs;
	nic_put(n, nic, &pf);
}

static void nic_read(struct nics *n, struct nic *nic)
{
	bool some = !nic->stale;
	struct pci_pf read;

	nic->stale = nic->stale_pf = false;
	if (pci_read_pf(nic->pci.pf.bus, nic->pci.pf.addr, &read) < 0) {
		nic_remove(n, nic);
		return;
	}
	nic_take(n, nic, &read);
	vfs_read(n, nic, some);
}

static void on_found(void *userdata, const char *bus, const char *addr)
{
	struct nics *n = userdata;
	struct nic *nic = nics_find(n, addr);
	struct pci_pf read;

	if (nic)
		nic->stale = true;
	else if (pci_read_pf(bus, addr, &read) == 0)
		nic_add(n, bus, addr);
}

static void scan(struct nics *n)
{
	struct nic *nic, *tmp;

	n->scan = false;
	/* Those that are gone are found out by reading them. */
	HASH_ITER(hh, n->nics, nic, tmp)
	{
		nic->stale = nic->ask_info = nic->ask_eswitch = nic->ask_ethtool = true;
	}
	n->ask_ports = true;
	pci_scan(on_found, n);
}

/* All that will come is there: what a plan that needs VFs waits for. */
static bool is_complete(const struct nic *nic, const struct vnic_pf *pf)
{
	return !nic->pci.busy && pf->n_vf == pf->num_vfs && nic->not_whole == 0 &&
	       (!pf->ifindex || pf->num_vfs == 0 || nic->info_vfs == pf->num_vfs);
}

/* Return: is it complete? */
static bool nic_conclude(struct nics *n, struct nic *nic)
{
	const struct vnic_pf *pf = nic_pf(n, nic);
	struct vnic_pf copy;

	if (!pf)
		return true;
	if (pf->vfs_complete != is_complete(nic, pf)) {
		copy = *pf;
		copy.vfs_complete = !pf->vfs_complete;
		nic_put(n, nic, &copy);
	}
	if (nic->told) {
		nic->told = false;
		n->ops->changed(n->userdata, pf);
	}
	if (pf->vfs_complete)
		nic->settles = 0;
	return pf->vfs_complete;
}

static void settle_in(struct nics *n, unsigned int settles)
{
	unsigned int shift = settles < SETTLE_SHIFT_MAX ? settles : SETTLE_SHIFT_MAX;

	loop_timer_set(n->settle, (uint64_t)SETTLE_USEC << shift);
}

static void on_settle(void *userdata)
{
	struct nics *n = userdata;
	struct nic *nic, *tmp;

	HASH_ITER(hh, n->nics, nic, tmp)
	{
		const struct vnic_pf *pf = nic_pf(n, nic);

		if (!pf || pf->vfs_complete || nic->settles >= SETTLES_MAX)
			continue;
		/* A driver that is at work, or hangs, ends without an event: it is looked at as long as it takes. */
		if (!nic->pci.busy || nic->settles < BUSY_SETTLES)
			nic->settles++;
		nic->stale_pf = true;
		nics_mark(n);
	}
}

static void on_flush(void *userdata)
{
	struct nics *n = userdata;
	unsigned int soonest = SETTLES_MAX;
	struct nic *nic, *tmp;

	n->marked = false;
	if (n->scan)
		scan(n);
	HASH_ITER(hh, n->nics, nic, tmp)
	{
		if (nic->stale || nic->stale_pf)
			nic_read(n, nic);
	}
	if (n->function_went)
		groups_reread_shared(n);
	n->function_went = false;
	nics_ask_all(n);
	HASH_ITER(hh, n->nics, nic, tmp)
	{
		if (!nic_conclude(n, nic) && nic->settles < soonest)
			soonest = nic->settles;
	}
	if (soonest < SETTLES_MAX)
		settle_in(n, soonest);
	if (nics_idle(n))
		n->ops->idle(n->userdata);
}

bool nics_idle(const struct nics *n)
{
	return !n->marked && !nics_asking(n);
}

void nics_resync(struct nics *n)
{
	n->scan = true;
	nics_mark(n);
}

/* A VF that is not known yet; false where it is no VF of a PF that is. */
static bool vf_came(struct nics *n, const char *addr)
{
	char physfn[DEV_ADDR_MAX];
	struct nic *nic;

	if (!pci_physfn(addr, physfn, sizeof(physfn)))
		return false;
	nic = nics_find(n, physfn);
	if (!nic)
		return false;
	/* In order, as the kernel makes them: the PF and what is new are read. Else: all. */
	if (pci_vf_index(&nic->pci, addr) == nic->n_fn || !nic->pci.vf_offset)
		nic->stale_pf = true;
	else
		nic->stale = true;
	nics_mark(n);
	return true;
}

int nics_vf_ifindex(const struct nics *n, const char *addr)
{
	const struct fn *fn = fn_find(n, addr);

	return fn ? fn->ifindex : -1;
}

static void group_event(struct nics *n, const char *addr)
{
	int group = pci_iommu_group(addr);

	if (group >= 0) {
		group_reread(n, group);
		return;
	}
	n->function_went = true;
	nics_mark(n);
}

void nics_device_event(struct nics *n, const char *bus, const char *addr)
{
	struct nic *nic = nics_find(n, addr);
	struct fn *fn = fn_find(n, addr);
	struct pci_pf read;

	if (!str_eq(bus, "pci") && !str_eq(bus, NETDEVSIM_BUS))
		return;
	if (nic) {
		nic->stale = true;
		nic->settles = 0;
		nics_mark(n);
	} else if (fn) {
		/* All VFs may have gone and come since, and the PF been set up anew for them. */
		fn->nic->settles = 0;
		fn->nic->had_events = true;
		nic_ask_info_soon(n, fn->nic);
		fn_reread(n, fn);
	} else if (!vf_came(n, addr) && pci_read_pf(bus, addr, &read) == 0) {
		nic_add(n, bus, addr);
	}
	if (n->groups && str_eq(bus, "pci"))
		group_event(n, addr);
}

void nics_link_heard(struct nics *n, int ifindex)
{
	struct nic *nic = nics_find_ifindex(n, ifindex);

	if (!nic)
		return;
	nic->ask_info = true;
	nics_mark(n);
}

/* The device that a link stands for has a netdev more or less, or another one. */
static void device_changed(struct nics *n, const struct vnic_link *link)
{
	struct nic *nic = *link->dev_addr ? nics_find(n, link->dev_addr) : NULL;
	struct fn *fn = *link->dev_addr ? fn_find(n, link->dev_addr) : NULL;

	if (nic) {
		/* sysfs has a netdev before it can be asked about: who came by then was told that there is none. */
		nic->stale_pf = nic->ask_ethtool = true;
		nics_mark(n);
	} else if (fn) {
		fn_reread(n, fn);
	}
}

static void judge_ifindex(struct nics *n, int ifindex)
{
	struct fn *fn = ifindex ? fn_find_ifindex(n, ifindex) : NULL;

	if (fn)
		fn_judge(n, fn);
}

/* A VF's driver may have told the PF's of its MAC, which is told to nobody else. */
static void vf_spoke(struct nics *n, int ifindex)
{
	struct fn *fn = fn_find_ifindex(n, ifindex);

	if (fn)
		nic_ask_info_soon(n, fn->nic);
}

/* The name of a bridge or bond is in what is said of its VFs. */
static void judge_members(struct nics *n, const struct vnic_link *master)
{
	const struct vnic_link *link;

	for (link = n->inv->links; link; link = link->hh.next)
		if (link->master == master->ifindex)
			judge_ifindex(n, link->ifindex);
}

void nics_link_changed(struct nics *n, const struct vnic_link *old, const struct vnic_link *new)
{
	int before = old ? old->lower : 0, now = new ? new->lower : 0;

	if (before != now) {
		stacked_count(n, before, -1);
		stacked_count(n, now, 1);
	}
	if (before != now || (now && old && !str_eq(old->name, new->name))) {
		judge_ifindex(n, before);
		judge_ifindex(n, now);
	}
	if (!old || !new || !str_eq(old->dev_addr, new->dev_addr)) {
		if (old)
			device_changed(n, old);
		if (new)
			device_changed(n, new);
	}
	judge_ifindex(n, new ? new->ifindex : old->ifindex);
	if (old && new && (old->up != new->up || memcmp(old->mac, new->mac, sizeof(new->mac)) != 0))
		vf_spoke(n, new->ifindex);
	if (new && (!old || !str_eq(old->name, new->name)) &&
	    (new->kind == LINK_BRIDGE || new->kind == LINK_BOND))
		judge_members(n, new);
}

void nics_vdpa_changed(struct nics *n, const char *addr)
{
	struct fn *fn = fn_find(n, addr);

	if (fn)
		fn_judge(n, fn);
}

void nics_refresh_pf(struct nics *n, const char *addr)
{
	struct nic *nic = nics_find(n, addr);

	if (!nic) {
		n->scan = true;
	} else {
		nic->stale = nic->ask_info = nic->ask_eswitch = true;
		nic->settles = 0;
	}
	nics_mark(n);
}

void nics_refresh_vf(struct nics *n, const char *addr)
{
	struct fn *fn = fn_find(n, addr);

	if (!fn)
		return;
	fn->nic->ask_info = true;
	nics_mark(n);
	fn_reread(n, fn);
}

int nics_new(struct loop *loop, struct inventory *inv, struct genl *genl,
	     const struct nics_ops *ops, void *userdata, struct nics **ret)
{
	_cleanup_(nics_freep) struct nics *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	n->loop = loop;
	n->inv = inv;
	n->genl = genl;
	n->ops = ops;
	n->userdata = userdata;
	r = loop_add_timer(loop, on_flush, n, &n->flush);
	if (r == 0)
		r = loop_add_timer(loop, on_settle, n, &n->settle);
	if (r == 0)
		r = nics_ask_new(n);
	if (r < 0)
		return r;
	nics_resync(n);
	*ret = take_ptr(n);
	return 0;
}

struct nics *nics_free(struct nics *n)
{
	struct nic *nic, *tmp;

	if (!n)
		return NULL;
	HASH_ITER(hh, n->nics, nic, tmp)
	{
		/* What the inventory holds is its owner's to free. */
		inventory_remove_pf(n->inv, nic->pci.pf.addr);
		nic_free(n, nic);
	}
	vfs_free(n);
	nics_ask_free(n);
	loop_source_free(n->flush);
	loop_source_free(n->settle);
	free(n);
	return NULL;
}
