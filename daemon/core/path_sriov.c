/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/path_sriov.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/driver_quirks.h"
#include "daemon/core/representor.h"

/* A nic of the segment and what it has for us. */
struct candidate {
	const struct vnic_link *link;
	const struct vnic_pf *pf;
	const struct vnic_vf *vf; /* the one to take; NULL: none */
	int taken; /* VFs that anybody has */
	bool before; /* vf is the one that the port had last */
	char why_not[160];
};

static void __attribute__((format(printf, 2, 3))) refuse(struct candidate *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why_not, sizeof(c->why_not), fmt, ap);
	va_end(ap);
}

/*
 * Is the VF anybody's? While it is held for the port that asks, it looks to the kernel as if a driver for user
 * space had it.
 */
static bool taken(const struct path_ask *ask, const struct alloc_index_pf *held,
		  const struct vnic_vf *vf)
{
	const struct vnic_port *holder = alloc_index_holder(held, vf->index);

	if (!holder)
		return vf->user != VF_FREE || hostdev_holds(ask->host->hostdevs, vf->addr);
	return !port_key_eq(&holder->spec.key, &ask->spec->key);
}

bool path_sriov_fit(const struct vnic_vf *vf)
{
	return *vf->addr && vf->iommu_group >= 0 && !vf->group_shared;
}

static bool fit(const struct path_ask *ask, const struct vnic_pf *pf, const struct vnic_vf *vf)
{
	if (ask->path == VNIC_PATH_VMDQ)
		return *vf->addr && driver_quirks(pf->driver)->vf_driver;
	return path_sriov_fit(vf);
}

static const char *unfit_reason(const struct path_ask *ask, const struct vnic_pf *pf)
{
	if (ask->path == VNIC_PATH_VMDQ && *pf->vf[0].addr)
		return "vnicd does not know which driver of the host its VFs take";
	for (int i = 0; i < pf->n_vf; i++) {
		if (!*pf->vf[i].addr)
			return "its VFs are no PCI functions";
		if (pf->vf[i].iommu_group < 0)
			return "its VFs have no IOMMU group: switch the IOMMU on in the firmware "
			       "and "
			       "boot with intel_iommu=on";
		if (pf->vf[i].group_shared)
			return "its VFs share an IOMMU group with other devices: the slot has no "
			       "ACS";
	}
	return "it has no VF that could be given to a guest";
}

void path_sriov_cannot(const struct vnic_pf *pf, enum vf_attr attr, char *why, size_t size)
{
	static const char *const words[VF_ATTR_COUNT] = {
		[VF_MAC] = "give a VF its MAC",
		[VF_VLAN] = "put a VF into a VLAN",
		[VF_RATE] = "limit a VF's rate",
		[VF_SPOOFCHK] = "check a VF's source MAC",
		[VF_TRUST] = "trust a VF",
		[VF_LINK_STATE] = "set a VF's link",
		[VF_RSS_QUERY] = "let a VF see its hash key",
	};

	snprintf(why, size, "its driver %s cannot %s (%s)", pf->driver, words[attr],
		 vf_attr_str(attr));
}

/* Of the attributes that the port needs set, the first that the driver cannot. VF_ATTR_COUNT: it can all. */
static enum vf_attr cannot_set(const struct candidate *c, const struct vnic_vf *vf,
			       const struct alloc_choice *choice)
{
	const bool wanted[VF_ATTR_COUNT] = {
		[VF_MAC] = true,
		[VF_VLAN] = choice->vlan && c->pf->eswitch != ESWITCH_SWITCHDEV,
		[VF_RATE] = choice->rate || choice->extra.min_rate,
		[VF_SPOOFCHK] = choice->spoofchk,
		[VF_TRUST] = choice->trust,
		[VF_LINK_STATE] = choice->extra.link > VF_LINK_AUTO,
	};
	enum vf_attr attr = 0;

	while (attr < VF_ATTR_COUNT && !(wanted[attr] && !driver_sets(c->pf, vf, attr)))
		attr++;
	return attr;
}

/* The free VF to take: the one it had, else the first. */
static void look_for_vf(const struct path_ask *ask, const struct alloc_choice *choice,
			struct candidate *c)
{
	const struct alloc_index_pf *held = alloc_index_pf(ask->host->index, c->pf->addr);
	const struct vnic_pf *pf = c->pf;
	bool any_fit = false, unreachable = false;
	enum vf_attr attr;

	for (int i = 0; i < pf->n_vf; i++) {
		const struct vnic_vf *vf = &pf->vf[i];
		bool before = ask->host->before && str_eq(vf->addr, ask->host->before);

		if (taken(ask, held, vf)) {
			c->taken++;
			continue;
		}
		if (!fit(ask, pf, vf))
			continue;
		any_fit = true;
		if (!representor_free(ask->host->inv, ask->segment, pf, vf)) {
			unreachable = true;
			continue;
		}
		if (!c->vf || before) {
			c->vf = vf;
			c->before = before;
		}
	}
	if (!c->vf && c->taken == pf->n_vf) {
		refuse(c, "no free VF (%d of %d taken)", c->taken, pf->n_vf);
		return;
	}
	if (!any_fit) {
		refuse(c, "%s", unfit_reason(ask, pf));
		return;
	}
	if (!c->vf && unreachable) {
		refuse(c, "it is in switchdev mode, and its free VFs have no representor here that "
			  "is in no "
			  "other bridge");
		return;
	}
	attr = cannot_set(c, c->vf, choice);
	if (attr != VF_ATTR_COUNT)
		path_sriov_cannot(pf, attr, c->why_not, sizeof(c->why_not));
	else if (choice->extra.min_rate && !driver_quirks(pf->driver)->min_rate)
		refuse(c, "its driver %s cannot keep a rate for a VF (min_tx_rate)", pf->driver);
	else if ((choice->rate || choice->extra.min_rate) &&
		 driver_quirks(pf->driver)->rate_needs_link && !c->link->carrier)
		refuse(c, "its driver %s takes no rate while there is no carrier", pf->driver);
	if (*c->why_not)
		c->vf = NULL;
}

static bool is_drained(const struct path_ask *ask, const struct vnic_pf *pf)
{
	const struct nic_share *nic;

	HASH_FIND_STR(ask->host->nics, pf->addr, nic);
	return nic && nic->drained;
}

static void judge_nic(const struct path_ask *ask, const struct alloc_choice *choice,
		      const char *ifname, struct candidate *c)
{
	const struct inventory *inv = ask->host->inv;

	c->link = inventory_find_name(inv, ifname);
	if (!c->link) {
		refuse(c, "it does not exist");
		return;
	}
	if (!inventory_bridged(inv, c->link, ask->segment->bridge)) {
		refuse(c, "it is not in bridge %s, so its VFs could not reach the segment",
		       ask->segment->bridge);
		return;
	}
	c->pf = inventory_pf_of(inv, c->link);
	if (!c->pf || c->pf->total_vfs <= 0)
		refuse(c, "%s",
		       c->link->kind == LINK_BOND ? "a bond's VFs would not follow it"
						  : "it has no SR-IOV");
	else if (c->pf->num_vfs == 0)
		refuse(c, "it has no VFs: write vfs=N (at most %d) into [nic %s] of vnicd.conf",
		       c->pf->total_vfs, ifname);
	else if (!c->link->up)
		refuse(c, "it is down: 'ip link set %s up'", ifname);
	else if (is_drained(ask, c->pf))
		refuse(c, "it is drained: 'vnicctl nic undrain %s' lets ports have its VFs again",
		       ifname);
	else if (!c->pf->vfs_complete)
		refuse(c, "its VFs are still being made");
	else if (!representor_why_not(inv, ask->segment, c->pf, choice->vlan, c->why_not,
				      sizeof(c->why_not)))
		look_for_vf(ask, choice, c);
}

/* VFs that the class may still take: its own limit, and what others' reservations leave. */
static bool quota_allows(const struct path_ask *ask, int free_vfs, struct path_reason *ret)
{
	const struct vnic_class *own = ask->class;
	uint32_t ports, mine, promised = 0;

	alloc_index_class(ask->host->index, own->name, &ask->spec->key, &ports, &mine);
	if (own->max_vfs && mine >= own->max_vfs) {
		snprintf(ret->text, sizeof(ret->text),
			 "class %s has %u of %u VFs: raise max-vfs= of [class %s]", own->name, mine,
			 own->max_vfs, own->name);
		return false;
	}
	if (mine < own->reserved_vfs)
		return true;
	for (const struct vnic_class *c = ask->host->config->classes; c; c = c->hh.next) {
		uint32_t has;

		if (c == own || !c->reserved_vfs || !str_eq(c->segment, own->segment))
			continue;
		alloc_index_class(ask->host->index, c->name, &ask->spec->key, &ports, &has);
		promised += has < c->reserved_vfs ? c->reserved_vfs - has : 0;
	}
	if ((uint32_t)free_vfs > promised)
		return true;
	snprintf(ret->text, sizeof(ret->text),
		 "the %d free VFs of segment %s are reserved for other classes (reserved-vfs=)",
		 free_vfs, own->segment);
	return false;
}

/* Is a smaller part of @a's VFs taken? */
static bool lighter(const struct candidate *a, const struct candidate *b)
{
	return (int64_t)a->taken * b->pf->n_vf < (int64_t)b->taken * a->pf->n_vf;
}

/* Is @a the better one? The class' NUMA node, the VF it had, the least loaded nic, the order of uplink=. */
static bool better(const struct path_ask *ask, const struct candidate *a, const struct candidate *b)
{
	int node = ask->class->numa_node;
	bool a_near = node < 0 || a->vf->numa_node == node;
	bool b_near = node < 0 || b->vf->numa_node == node;

	if (a_near != b_near)
		return a_near;
	if (a->before != b->before)
		return a->before;
	return lighter(a, b);
}

static void describe(const struct path_ask *ask, const struct candidate *all, int n,
		     const struct candidate *best, struct path_reason *ret)
{
	size_t used = 0, size = sizeof(ret->text);

	*ret->text = '\0';
	if (best) {
		used = (size_t)snprintf(ret->text, size, "VF %d of %s (%s)", best->vf->index,
					best->link->name, best->vf->addr);
		if (best->vf->numa_node >= 0)
			used += (size_t)snprintf(ret->text + used, size - used, ", NUMA node %d",
						 best->vf->numa_node);
	}
	for (int i = 0; i < n && used < size; i++) {
		const struct candidate *c = &all[i];
		const char *name = ask->segment->uplink[i];

		if (c == best)
			continue;
		if (!c->vf)
			used += (size_t)snprintf(ret->text + used, size - used, "%snot %s: %s",
						 used ? "; " : "", name, c->why_not);
		else if (best && ask->class->numa_node >= 0 &&
			 c->vf->numa_node != ask->class->numa_node)
			used += (size_t)snprintf(ret->text + used, size - used,
						 "; not %s: NUMA node %d, class wants %d", name,
						 c->vf->numa_node, ask->class->numa_node);
		else if (best && best->before)
			used += (size_t)snprintf(ret->text + used, size - used,
						 "; not %s: it had this one before", name);
		else if (best && lighter(best, c))
			used += (size_t)snprintf(ret->text + used, size - used,
						 "; not %s: %d of %d VFs taken", name, c->taken,
						 c->pf->n_vf);
		else if (best)
			used += (size_t)snprintf(ret->text + used, size - used,
						 "; not %s: it comes later in uplink=", name);
	}
}

bool path_sriov_standby(const struct port_spec *spec, char *why, size_t size)
{
	if (*spec->standby)
		return true;
	snprintf(why, size,
		 "its interface is no standby for a VF: write <alias name='ua-%s'/> and <teaming "
		 "type='persistent'/> into it",
		 spec->name);
	return false;
}

bool path_sriov_eligible(const struct path_ask *ask, struct alloc_choice *choice,
			 struct path_reason *ret)
{
	return path_sriov_standby(ask->spec, ret->text, sizeof(ret->text)) &&
	       path_sriov_pick(ask, choice, ret);
}

bool path_sriov_pick(const struct path_ask *ask, struct alloc_choice *choice,
		     struct path_reason *ret)
{
	struct candidate all[SEGMENT_UPLINKS_MAX] = { 0 };
	const struct candidate *best = NULL;
	int n = ask->segment->n_uplinks, free_vfs = 0;

	if (n == 0) {
		snprintf(ret->text, sizeof(ret->text),
			 "segment %s has no nic: name one in uplink= of [segment %s]",
			 ask->segment->name, ask->segment->name);
		return false;
	}
	for (int i = 0; i < n; i++) {
		judge_nic(ask, choice, ask->segment->uplink[i], &all[i]);
		if (!all[i].vf)
			continue;
		free_vfs += all[i].pf->n_vf - all[i].taken;
		if (!best || better(ask, &all[i], best))
			best = &all[i];
	}
	if (best && !quota_allows(ask, free_vfs, ret))
		return false;
	describe(ask, all, n, best, ret);
	if (!best)
		return false;
	memcpy(choice->vf.pf, best->pf->addr, sizeof(choice->vf.pf));
	memcpy(choice->vf.vf_addr, best->vf->addr, sizeof(choice->vf.vf_addr));
	choice->vf.vf = best->vf->index;
	return true;
}

/* A VF's max_tx_rate in Mbit/s for a rate in bit/s: rounded up, so that it is never 0, which means none. */
static uint32_t path_sriov_mbit(uint64_t rate)
{
	uint64_t mbit = rate / 1000000 + (rate % 1000000 != 0);

	return mbit < UINT32_MAX ? (uint32_t)mbit : UINT32_MAX;
}

int64_t path_sriov_rates(uint64_t rate, uint64_t min_rate)
{
	uint64_t max = rate ? path_sriov_mbit(rate) : 0;
	uint64_t min = min_rate ? path_sriov_mbit(min_rate) : 0;

	/* Where a port has less than its class, it is kept no more than that. */
	if (max && min > max)
		min = max;
	if (min > INT32_MAX) /* of a step's value, which has a sign */
		min = INT32_MAX;
	return (int64_t)(min << 32 | max);
}

static int add_attr(struct plan *plan, const struct step *base, const struct vnic_pf *pf,
		    enum vf_attr attr, int64_t value)
{
	const struct vnic_vf *vf = &pf->vf[base->vf];
	struct step step = *base;

	/* What the driver cannot set is left alone where its absence was found to do no harm. */
	if (!driver_sets(pf, vf, attr))
		return 0;
	step.kind = STEP_VF_ATTR;
	step.attr = attr;
	step.value = value;
	return plan_add(plan, &step);
}

int path_sriov_attrs(const struct inventory *inv, const struct vnic_segment *segment,
		     const struct vnic_port *port, const struct vnic_pf *pf,
		     const struct step *base, struct plan *plan)
{
	uint64_t min_rate = driver_quirks(pf->driver)->min_rate ? port->vf.min_rate : 0;
	int r;

	/* Trust before the MAC, and the VLAN before the rate: each may be refused without the other. */
	r = add_attr(plan, base, pf, VF_TRUST, port->trust);
	if (r == 0)
		r = add_attr(plan, base, pf, VF_SPOOFCHK, port->spoofchk);
	/* In switchdev mode the bridge does that, at the representor. */
	if (r == 0 && pf->eswitch != ESWITCH_SWITCHDEV)
		r = add_attr(plan, base, pf, VF_VLAN, port->vlan);
	if (r == 0 && (port->rate || min_rate))
		r = add_attr(plan, base, pf, VF_RATE, path_sriov_rates(port->rate, min_rate));
	if (r == 0 && port->vf.link)
		r = add_attr(plan, base, pf, VF_LINK_STATE, port->vf.link - VF_LINK_AUTO);
	if (r == 0)
		r = add_attr(plan, base, pf, VF_MAC, vf_mac_value(port->spec.key.mac));
	if (r == 0)
		r = representor_steps(inv, segment, pf, &pf->vf[base->vf], port->vlan, plan);
	return r;
}

int path_sriov_base(const struct vnic_port *port, const struct vnic_pf *pf, struct step *ret)
{
	const struct port_device *device = &port->device;

	if (!pf_vf(pf, device->vf, device->vf_addr))
		return -ENODEV;
	*ret = (struct step){ .vf = device->vf };
	memcpy(ret->dev, device->pf, sizeof(ret->dev));
	memcpy(ret->vf_addr, device->vf_addr, sizeof(ret->vf_addr));
	memcpy(ret->mac, port->spec.key.mac, sizeof(ret->mac));
	return 0;
}

int path_sriov_device(const struct inventory *inv, const struct vnic_port *port,
		      const struct vnic_pf *pf, const struct vnic_segment *segment,
		      struct plan *ret)
{
	struct step base, step;
	struct plan plan = { 0 };
	int r;

	r = path_sriov_base(port, pf, &base);
	if (r < 0)
		return r;
	/*
	 * In reverse: out of the guest, attributes as they were, a reset, its driver back, which takes the MAC
	 * that the PF now says, and last what the netdev was called by.
	 */
	step = base;
	step.kind = STEP_VF_NETDEV_MAC;
	r = plan_add(&plan, &step);
	step.kind = STEP_VF_DRIVER;
	strcpy(step.driver, "vfio-pci");
	if (r == 0)
		r = plan_add(&plan, &step);
	step = base;
	step.kind = STEP_VF_RESET;
	if (r == 0)
		r = plan_add(&plan, &step);
	if (r == 0)
		r = path_sriov_attrs(inv, segment, port, pf, &base, &plan);
	step = base;
	step.kind = STEP_VF_ATTACH;
	if (r == 0)
		r = plan_add(&plan, &step);
	if (r < 0) {
		plan_clear(&plan);
		return r;
	}
	*ret = plan;
	return 0;
}
