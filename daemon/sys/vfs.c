/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each VF of the inventory. What happens to one VF is looked up by address, ifindex or group and costs the
 * same however many there are.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <utlist.h>

#include "daemon/sys/nics_priv.h"

struct fn *fn_find(const struct nics *n, const char *addr)
{
	struct fn *fn;

	HASH_FIND_STR(n->fns, addr, fn);
	return fn;
}

struct fn *fn_find_ifindex(const struct nics *n, int ifindex)
{
	struct fn *fn;

	HASH_FIND(hh_if, n->by_ifindex, &ifindex, sizeof(ifindex), fn);
	return fn;
}

int vf_write(struct nics *n, struct nic *nic, const struct vnic_vf *vf)
{
	int r = inventory_update_vf(n->inv, nic->pci.pf.addr, vf);

	if (r > 0) {
		nic->told = true;
		nics_mark(n);
	} else if (r == -ENOMEM) {
		nics_note(n, LOG_ERR, "out of memory: VF %d of %s is not in the inventory",
			  vf->index, nic->pci.pf.addr);
	}
	return r;
}

static const struct vnic_vf *inventory_of(struct nics *n, const struct fn *fn)
{
	const struct vnic_pf *pf = nic_pf(n, fn->nic);

	return pf && fn->index < pf->n_vf ? &pf->vf[fn->index] : NULL;
}

void stacked_count(struct nics *n, int ifindex, int by)
{
	struct stacked *s;

	if (!ifindex)
		return;
	HASH_FIND_INT(n->stacked, &ifindex, s);
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return;
		s->ifindex = ifindex;
		HASH_ADD_INT(n->stacked, ifindex, s);
	}
	s->n += by;
	if (s->n > 0)
		return;
	HASH_DEL(n->stacked, s);
	free(s);
}

static void name_stacked(const struct nics *n, int ifindex, char *buf, size_t size)
{
	const struct vnic_link *link;

	for (link = n->inv->links; link; link = link->hh.next)
		if (link->lower == ifindex) {
			snprintf(buf, size, "%s is on it", link->name);
			return;
		}
}

/* What the host does with the VF's netdev. */
static enum vf_user netdev_user(const struct nics *n, const struct vnic_link *link, char *name,
				size_t size)
{
	const struct vnic_link *master = link->master ? inventory_find(n->inv, link->master) : NULL;
	struct stacked *s;

	if (master) {
		snprintf(name, size, "in %s %s", link_kind_str(master->kind), master->name);
		return VF_USER_NETDEV;
	}
	if (link->master) {
		snprintf(name, size, "in link %d", link->master);
		return VF_USER_NETDEV;
	}
	HASH_FIND_INT(n->stacked, &link->ifindex, s);
	if (s) {
		name_stacked(n, link->ifindex, name, size);
		return VF_USER_NETDEV;
	}
	if (!link->up)
		return VF_FREE;
	snprintf(name, size, "%s is up", link->name);
	return VF_USER_NETDEV;
}

static enum vf_user user_of(const struct nics *n, const struct fn *fn, const struct vnic_vf *vf,
			    char *name, size_t size)
{
	const char *vdpa = n->ops->vdpa(n->userdata, fn->addr);
	const struct vnic_link *link = vf->ifindex ? inventory_find(n->inv, vf->ifindex) : NULL;

	struct taken *taken;

	*name = '\0';
	if (vdpa) {
		snprintf(name, size, "%s", vdpa);
		return VF_USER_VDPA;
	}
	HASH_FIND_STR(n->taken, fn->addr, taken);
	if (taken) {
		snprintf(name, size, "%s", taken->device.domain);
		return VF_USER_DOMAIN;
	}
	if (*vf->driver && !pci_driver_makes_netdev(vf->driver)) {
		snprintf(name, size, "%s", vf->driver);
		return VF_USER_DRIVER;
	}
	/* The folder is there as long as the netdev is, and shows what this network namespace has. */
	if (*vf->driver && fn->net_dir && !vf->ifindex)
		return VF_USER_NETNS;
	return link ? netdev_user(n, link, name, size) : VF_FREE;
}

static bool is_whole(const struct nics *n, const struct fn *fn, const struct vnic_vf *vf)
{
	if (fn->nic->pci.grouped && vf->iommu_group < 0)
		return false;
	if (!pci_driver_makes_netdev(vf->driver))
		return true;
	return vf->ifindex ? inventory_find(n->inv, vf->ifindex) != NULL : fn->net_dir;
}

static void set_whole(struct nics *n, struct fn *fn, bool whole)
{
	if (fn->whole == whole)
		return;
	fn->whole = whole;
	fn->nic->not_whole += whole ? -1 : 1;
	nics_mark(n);
}

static void set_away(struct nics *n, struct fn *fn, bool away)
{
	if (fn->away == away)
		return;
	fn->away = away;
	fn->nic->n_away += away ? 1 : -1;
	if (away)
		nics_poll(n);
}

/* The parts of @vf that follow from the rest, then the inventory. */
static void judge(struct nics *n, struct fn *fn, struct vnic_vf *vf)
{
	char name[sizeof(vf->user_name)];

	vf->group_shared = fn->group && fn->group->shared;
	vf->user = user_of(n, fn, vf, name, sizeof(name));
	strcpy(vf->user_name, name);
	set_away(n, fn, *vf->driver && !pci_driver_makes_netdev(vf->driver));
	set_whole(n, fn, is_whole(n, fn, vf));
	vf_write(n, fn->nic, vf);
}

void fn_judge(struct nics *n, struct fn *fn)
{
	const struct vnic_vf *vf = inventory_of(n, fn);
	struct vnic_vf copy;

	if (!vf)
		return;
	copy = *vf;
	judge(n, fn, &copy);
}

static void group_refresh(struct nics *n, struct group *g)
{
	bool shared = pci_group_shared(g->id);
	struct fn *fn;

	if (shared == g->shared)
		return;
	g->shared = shared;
	DL_FOREACH(g->fns, fn)
	fn_judge(n, fn);
}

void group_reread(struct nics *n, int id)
{
	struct group *g;

	HASH_FIND_INT(n->groups, &id, g);
	if (g)
		group_refresh(n, g);
}

void groups_reread_shared(struct nics *n)
{
	struct group *g, *tmp;

	HASH_ITER(hh, n->groups, g, tmp)
	{
		if (g->shared)
			group_refresh(n, g);
	}
}

static void group_leave(struct nics *n, struct fn *fn)
{
	struct group *g = take_ptr(fn->group);

	if (!g)
		return;
	DL_DELETE(g->fns, fn);
	if (g->fns) {
		group_refresh(n, g);
		return;
	}
	HASH_DEL(n->groups, g);
	free(g);
}

static void group_join(struct nics *n, struct fn *fn, int id)
{
	struct group *g;

	if (fn->group && fn->group->id == id) {
		group_refresh(n, fn->group);
		return;
	}
	group_leave(n, fn);
	if (id < 0)
		return;
	HASH_FIND_INT(n->groups, &id, g);
	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return;
		g->id = id;
		HASH_ADD_INT(n->groups, id, g);
	}
	fn->group = g;
	group_refresh(n, g);
	DL_APPEND(g->fns, fn);
}

static void index_netdev(struct nics *n, struct fn *fn, int ifindex)
{
	struct fn *other;

	if (fn->ifindex == ifindex)
		return;
	if (fn->ifindex)
		HASH_DELETE(hh_if, n->by_ifindex, fn);
	fn->ifindex = ifindex;
	if (!ifindex)
		return;
	/* Of two that claim one netdev the later look is believed. */
	other = fn_find_ifindex(n, ifindex);
	if (other) {
		HASH_DELETE(hh_if, n->by_ifindex, other);
		other->ifindex = 0;
	}
	HASH_ADD(hh_if, n->by_ifindex, ifindex, sizeof(int), fn);
}

/* What sysfs said of @fn. What others tell is kept, unless another function is at its index now. */
static void fn_take(struct nics *n, struct fn *fn, const struct pci_vf *read)
{
	const struct vnic_vf *old = inventory_of(n, fn);
	struct vnic_vf vf = read->vf;

	if (old) {
		vf.representor = old->representor;
		if (str_eq(old->addr, vf.addr)) {
			vf.known = old->known;
			memcpy(vf.value, old->value, sizeof(vf.value));
		}
	}
	/* Its driver tells the PF's which MAC it has; nobody is told that. */
	if (old && (!str_eq(old->driver, vf.driver) || old->ifindex != vf.ifindex))
		nic_ask_info_soon(n, fn->nic);
	fn->net_dir = read->net_dir;
	fn->overridden = *vf.driver_override && !*vf.driver;
	index_netdev(n, fn, vf.ifindex);
	group_join(n, fn, vf.iommu_group);
	judge(n, fn, &vf);
}

static void fn_free(struct nics *n, struct fn *fn)
{
	set_whole(n, fn, true);
	set_away(n, fn, false);
	index_netdev(n, fn, 0);
	group_leave(n, fn);
	HASH_DEL(n->fns, fn);
	free(fn);
}

void vfs_trim(struct nics *n, struct nic *nic, int from)
{
	while (nic->n_fn > from)
		fn_free(n, nic->fn[--nic->n_fn]);
	if (inventory_trim_vfs(n->inv, nic->pci.pf.addr, from) > 0) {
		nic->told = true;
		nics_mark(n);
	}
}

/* A VF behind the last. Return: 0 or -ENOMEM. */
static int fn_append(struct nics *n, struct nic *nic, const struct pci_vf *read)
{
	struct fn *fn = fn_find(n, read->vf.addr), **more;

	/* Addresses moved between PFs while nobody told us: whose it was, that one is read anew. */
	if (fn) {
		fn->nic->stale = true;
		nics_mark(n);
		vfs_trim(n, fn->nic, fn->index);
	}
	more = reallocarray(nic->fn, (size_t)nic->n_fn + 1, sizeof(struct fn *));
	if (!more)
		return -ENOMEM;
	nic->fn = more;
	fn = calloc(1, sizeof(*fn));
	if (!fn)
		return -ENOMEM;
	strcpy(fn->addr, read->vf.addr);
	fn->nic = nic;
	fn->index = nic->n_fn;
	fn->whole = true;
	HASH_ADD_STR(n->fns, addr, fn);
	nic->fn[nic->n_fn++] = fn;
	nic->ask_info = true;
	fn_take(n, fn, read);
	return 0;
}

void fn_reread(struct nics *n, struct fn *fn)
{
	_cleanup_(closep) int fd = pci_open_pf(fn->nic->pci.pf.bus, fn->nic->pci.pf.addr);
	char addr[DEV_ADDR_MAX];
	struct pci_vf read;

	if (fd >= 0 && pci_vf_addr(fd, fn->index, addr, sizeof(addr)) && str_eq(addr, fn->addr) &&
	    pci_read_vf(fn->index, addr, &read) == 0) {
		fn_take(n, fn, &read);
		return;
	}
	/* It went, or is another's now. VFs come and go together, by index. */
	fn->nic->stale_pf = true;
	nics_mark(n);
	vfs_trim(n, fn->nic, fn->index);
}

/* VFs that are no functions: there are as many as the device says. */
static void read_netdevsim(struct nics *n, struct nic *nic)
{
	const struct vnic_pf *pf = nic_pf(n, nic);
	int had = pf ? pf->n_vf : 0, wanted = nic->pci.pf.num_vfs;

	if (wanted > PF_VFS_MAX)
		wanted = PF_VFS_MAX;
	vfs_trim(n, nic, wanted);
	for (int i = had; i < wanted; i++) {
		const struct vnic_vf vf = vf_unknown(i);

		nic->ask_info = n->ask_ports = true;
		vf_write(n, nic, &vf);
	}
}

void vfs_read(struct nics *n, struct nic *nic, bool some)
{
	_cleanup_(closep) int fd = -1;
	char addr[DEV_ADDR_MAX];
	struct pci_vf read;
	int i = 0, had = nic->n_fn;

	if (!str_eq(nic->pci.pf.bus, "pci")) {
		read_netdevsim(n, nic);
		return;
	}
	fd = pci_open_pf(nic->pci.pf.bus, nic->pci.pf.addr);
	for (; fd >= 0 && i < PF_VFS_MAX; i++) {
		bool there = i < nic->n_fn;

		if (some && there && nic->fn[i]->whole && i + 1 < nic->n_fn)
			continue;
		if (!pci_vf_addr(fd, i, addr, sizeof(addr)) || pci_read_vf(i, addr, &read) < 0)
			break;
		/* Below it they may be all others. */
		if (there && !str_eq(nic->fn[i]->addr, addr)) {
			vfs_trim(n, nic, some ? 0 : i);
			nic->stale = some;
			if (some) {
				nics_mark(n);
				return;
			}
			there = false;
		}
		if (there)
			fn_take(n, nic->fn[i], &read);
		else if (fn_append(n, nic, &read) < 0)
			break;
	}
	vfs_trim(n, nic, i);
	if (nic->n_fn > had)
		n->ask_ports = true;
}

static struct taken *taken_free(struct taken *all)
{
	struct taken *t, *tmp;

	HASH_ITER(hh, all, t, tmp)
	{
		HASH_DEL(all, t);
		free(t);
	}
	return NULL;
}

/* Judge those of @which that are not the same in the other table. */
static void judge_taken(struct nics *n, const struct taken *which, const struct taken *others)
{
	const struct taken *t, *same;

	for (t = which; t; t = t->hh.next) {
		struct fn *fn = fn_find(n, t->device.addr);

		HASH_FIND_STR(others, t->device.addr, same);
		if (fn && !(same && str_eq(same->device.domain, t->device.domain)))
			fn_judge(n, fn);
	}
}

int nics_domain_devices(struct nics *n, const struct domain_device *device, size_t count)
{
	struct taken *fresh = NULL, *old, *t;

	for (size_t i = 0; i < count; i++) {
		HASH_FIND_STR(fresh, device[i].addr, t);
		if (t)
			continue;
		t = malloc(sizeof(*t));
		if (!t) {
			taken_free(fresh);
			return -ENOMEM;
		}
		t->device = device[i];
		HASH_ADD_STR(fresh, device.addr, t);
	}
	old = n->taken;
	n->taken = fresh;
	judge_taken(n, fresh, old);
	judge_taken(n, old, fresh);
	taken_free(old);
	return 0;
}

void vfs_free(struct nics *n)
{
	struct stacked *s, *tmp;

	HASH_ITER(hh, n->stacked, s, tmp)
	{
		HASH_DEL(n->stacked, s);
		free(s);
	}
	n->taken = taken_free(n->taken);
}
