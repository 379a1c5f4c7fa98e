/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/path_vdpa.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "base/paths.h"
#include "daemon/core/path_software.h"

#define NAME_PREFIX "vnic-"

static_assert(sizeof(NAME_PREFIX) + 2 * (VNIC_UUID_LEN + VNIC_MAC_LEN) + 1 <= VNIC_NAME_MAX,
	      "room for a device's name");
static_assert(VNIC_NAME_MAX <= DEV_ADDR_MAX, "a step's device may be a vDPA device's name");

/* A nic of the segment, and the management device that is to make the port's device. */
struct candidate {
	const struct vdpa_mgmtdev *mgmtdev; /* NULL: none */
	char why_not[240];
};

static void __attribute__((format(printf, 2, 3))) refuse(struct candidate *c, const char *fmt, ...)
{
	va_list ap;

	c->mgmtdev = NULL;
	va_start(ap, fmt);
	vsnprintf(c->why_not, sizeof(c->why_not), fmt, ap);
	va_end(ap);
}

const struct vnic_link *path_vdpa_link(const struct inventory *inv,
				       const struct vnic_nic_config *cfg)
{
	const struct vnic_pf *pf;

	if (!*cfg->address)
		return inventory_find_name(inv, cfg->name);
	pf = inventory_pf(inv, cfg->address);
	if (pf)
		return inventory_find(inv, pf->ifindex);
	for (const struct vnic_link *l = inv->links; l; l = l->hh.next)
		if (l->kind == LINK_PHYSICAL && str_eq(l->dev_addr, cfg->address))
			return l;
	return NULL;
}

const struct vnic_nic_config *path_vdpa_config(const struct vnic_config *config,
					       const struct inventory *inv,
					       const struct vnic_link *link)
{
	for (const struct vnic_nic_config *cfg = config->nics; cfg; cfg = cfg->hh.next)
		if (path_vdpa_link(inv, cfg) == link)
			return cfg;
	return NULL;
}

const char *path_vdpa_name(const struct port_key *key, char buf[VNIC_NAME_MAX])
{
	char *p = stpcpy(buf, NAME_PREFIX);

	for (size_t i = 0; i < sizeof(key->uuid); i++)
		p += sprintf(p, "%02x", key->uuid[i]);
	*p++ = '-';
	for (size_t i = 0; i < sizeof(key->mac); i++)
		p += sprintf(p, "%02x", key->mac[i]);
	return buf;
}

static bool from_hex(const char **p, uint8_t *ret, size_t n)
{
	for (size_t i = 0; i < n; i++, *p += 2) {
		unsigned int v;

		/* As path_vdpa_name() writes it, and in no other way. */
		if (strspn(*p, "0123456789abcdef") < 2 || sscanf(*p, "%2x", &v) != 1)
			return false;
		ret[i] = (uint8_t)v;
	}
	return true;
}

bool path_vdpa_key(const char *name, struct port_key *ret)
{
	struct port_key key;

	if (strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) != 0)
		return false;
	name += strlen(NAME_PREFIX);
	if (!from_hex(&name, key.uuid, sizeof(key.uuid)) || *name++ != '-' ||
	    !from_hex(&name, key.mac, sizeof(key.mac)) || *name)
		return false;
	*ret = key;
	return true;
}

static const struct vdpa_mgmtdev *find_mgmtdev(const struct inventory *inv, const char *name)
{
	struct vdpa_mgmtdev *m;

	HASH_FIND_STR(inv->mgmtdevs, name, m);
	return m;
}

/* Has it a device, or is to have one for another port? A card's function makes one. */
static bool occupied(const struct path_ask *ask, const struct vdpa_mgmtdev *mgmtdev)
{
	char own[VNIC_NAME_MAX];

	path_vdpa_name(&ask->spec->key, own);
	for (const struct vdpa_dev *d = ask->host->inv->vdpas; d; d = d->hh.next)
		if (str_eq(d->mgmtdev, mgmtdev->name) && !str_eq(d->name, own))
			return true;
	for (const struct vnic_port *p = ask->host->ports; p; p = p->hh.next) {
		const struct step *add = p->spec.vdpa ? plan_find(&p->plan, STEP_VDPA_ADD) : NULL;

		if (add && str_eq(add->mgmtdev, mgmtdev->name) && !str_eq(add->dev, own))
			return true;
	}
	return false;
}

/* One of the card's own, or of its functions', that is free. */
static const struct vdpa_mgmtdev *of_card(const struct path_ask *ask, const struct vnic_pf *pf,
					  bool *ret_any)
{
	for (const struct vdpa_mgmtdev *m = pf ? ask->host->inv->mgmtdevs : NULL; m;
	     m = m->hh.next) {
		if (!m->net || mgmtdev_is_vnic(m->name) || !str_eq(m->pf, pf->addr))
			continue;
		*ret_any = true;
		if (!occupied(ask, m))
			return m;
	}
	return NULL;
}

/* Can it do what the class wants? Says why where not. */
static bool suits(const struct path_ask *ask, const struct alloc_choice *choice, const char *ifname,
		  const struct vdpa_mgmtdev *m, struct candidate *c)
{
	uint32_t max = m->max_vqp ? m->max_vqp : 1;
	bool card = !mgmtdev_is_vnic(m->name);

	if (!m->net)
		refuse(c, "%s makes no network devices: name another one in mgmtdev=", m->name);
	else if (ask->spec->queues > max)
		refuse(c, "devices of %s have %u queue pair%s at most: write <driver queues='%u'/>",
		       m->name, max, max == 1 ? "" : "s", max);
	else if (card && choice->vlan)
		refuse(c,
		       "devices of %s cannot be put into VLAN %u: vnic.ko's can (vnic=yes in [nic "
		       "%s])",
		       m->name, choice->vlan, ifname);
	else if (card && choice->rate)
		refuse(c,
		       "devices of %s cannot be given a rate: vnic.ko's can (vnic=yes in [nic %s])",
		       m->name, ifname);
	else
		c->mgmtdev = m;
	return c->mgmtdev;
}

/* What the section names, the card's, vnic.ko's: the first that suits; else why the last one does not. */
static void look_for_mgmtdev(const struct path_ask *ask, const struct alloc_choice *choice,
			     const struct vnic_link *link, struct candidate *c)
{
	const struct inventory *inv = ask->host->inv;
	const struct vnic_nic_config *cfg = path_vdpa_config(ask->host->config, inv, link);
	const struct vdpa_mgmtdev *m = NULL;
	char name[MGMTDEV_NAME_MAX];
	bool any = false;

	if (cfg && *cfg->mgmtdev) {
		m = find_mgmtdev(inv, cfg->mgmtdev);
		if (!m)
			refuse(c, "its mgmtdev=%s is not there: see 'vdpa mgmtdev show'",
			       cfg->mgmtdev);
		any = true;
	} else {
		m = of_card(ask, inventory_pf_of(inv, link), &any);
		if (!m && any)
			refuse(c, "each of its management devices has a device already");
	}
	if (m && suits(ask, choice, link->name, m, c))
		return;
	snprintf(name, sizeof(name), VNIC_MGMTDEV "%s", link->name);
	m = find_mgmtdev(inv, name);
	if (m)
		suits(ask, choice, link->name, m, c);
	else if (cfg && cfg->vnic)
		refuse(c, "vnic.ko has not taken it as its uplink: 'vnicctl nic show %s' says why",
		       link->name);
	else if (!any)
		refuse(c, "no management device (vnic=yes in its section makes one)");
}

static void judge_nic(const struct path_ask *ask, const struct alloc_choice *choice,
		      const char *ifname, struct candidate *c)
{
	const struct inventory *inv = ask->host->inv;
	const struct vnic_link *link = inventory_find_name(inv, ifname);

	if (!link) {
		refuse(c, "it does not exist");
		return;
	}
	if (!inventory_bridged(inv, link, ask->segment->bridge)) {
		refuse(c, "it is not in bridge %s, so its devices could not reach the segment",
		       ask->segment->bridge);
		return;
	}
	look_for_mgmtdev(ask, choice, link, c);
}

bool path_vdpa_eligible(const struct path_ask *ask, struct alloc_choice *choice,
			struct path_reason *ret)
{
	const struct vnic_segment *segment = ask->segment;
	size_t used = 0, size = sizeof(ret->text);

	if (!ask->spec->vdpa) {
		snprintf(ret->text, size,
			 "not yet behind a socket: a guest that is to have it from its start has "
			 "<interface type='vdpa'> with <source dev='" VNIC_VDPA_DIR "/%s/%s'/>, "
			 "and one that runs gets it by 'vnicctl port attach' with 'type vdpa'",
			 ask->spec->class_name, ask->spec->name);
		return false;
	}
	if (segment->n_uplinks == 0)
		snprintf(ret->text, size,
			 "segment %s has no nic: name one in uplink= of [segment %s]",
			 segment->name, segment->name);
	for (int i = 0; i < segment->n_uplinks; i++) {
		const char *ifname = segment->uplink[i];
		struct candidate c = { 0 };

		judge_nic(ask, choice, ifname, &c);
		if (c.mgmtdev) {
			snprintf(ret->text, size, "a device of %s behind %s", c.mgmtdev->name,
				 ifname);
			str_copy(choice->mgmtdev, sizeof(choice->mgmtdev), c.mgmtdev->name);
			return true;
		}
		if (used < size)
			used += (size_t)snprintf(ret->text + used, size - used, "%snot %s: %s",
						 used ? "; " : "", ifname, c.why_not);
	}
	return false;
}

void path_vdpa_policy(const struct vnic_port *port, uint16_t vlan, struct step *step)
{
	step->vlan = vlan;
	step->value = (int64_t)port->rate;
	step->weight = port->weight;
	step->allow = 1u << VDPA_ALLOW_MULTICAST;
	if (port->trust)
		step->allow |= 1u << VDPA_ALLOW_MAC | 1u << VDPA_ALLOW_PROMISC |
			       1u << VDPA_ALLOW_ALLMULTI;
	/* As the datapath has it: a trunk is who is in no VLAN. */
	if (port->trust && !vlan)
		step->allow |= 1u << VDPA_ALLOW_VLAN;
	if (!port->spoofchk)
		step->allow |= 1u << VDPA_ALLOW_SPOOF;
}

static int add(struct plan *plan, const struct step *base, enum step_kind kind)
{
	struct step step = *base;

	step.kind = kind;
	return plan_add(plan, &step);
}

static int build(const struct vnic_port *port, const struct vdpa_mgmtdev *mgmtdev, uint32_t mtu,
		 const struct step *base, struct plan *plan)
{
	struct step step = *base;
	int r;

	step.kind = STEP_VDPA_ADD;
	/* What its devices cannot be told, must not be said. */
	step.mtu = mgmtdev->features >> VIRTIO_NET_F_MTU & 1 ? mtu : 0;
	if (mgmtdev->max_vqp > 1)
		step.value = port->queues < mgmtdev->max_vqp ? port->queues : mgmtdev->max_vqp;
	r = plan_add(plan, &step);
	step = *base;
	step.kind = STEP_VDPA_POLICY;
	path_vdpa_policy(port, port->vlan, &step);
	/* Before anybody can open it. */
	if (r == 0 && mgmtdev_is_vnic(mgmtdev->name))
		r = plan_add(plan, &step);
	step = *base;
	step.kind = STEP_VDPA_DRIVER;
	str_copy(step.driver, sizeof(step.driver), "vhost_vdpa");
	if (r == 0)
		r = plan_add(plan, &step);
	return r == 0 ? add(plan, base, STEP_VDPA_NODE) : r;
}

int path_vdpa_port(const struct inventory *inv, const struct vnic_segment *segment,
		   const struct vnic_port *port, const char *mgmtdev, struct plan *ret)
{
	const struct vdpa_mgmtdev *m = find_mgmtdev(inv, mgmtdev);
	struct plan plan = { 0 };
	struct step base = { 0 };
	int r;

	if (!m)
		return -ENODEV;
	path_vdpa_name(&port->spec.key, base.dev);
	memcpy(base.mgmtdev, m->name, sizeof(base.mgmtdev));
	memcpy(base.mac, port->spec.key.mac, sizeof(base.mac));
	memcpy(base.class_name, port->spec.class_name, sizeof(base.class_name));
	memcpy(base.name, port->spec.name, sizeof(base.name));
	r = build(port, m, path_software_mtu(segment, inventory_find_name(inv, segment->bridge)),
		  &base, &plan);
	if (r < 0) {
		plan_clear(&plan);
		return r;
	}
	*ret = plan;
	return 0;
}
