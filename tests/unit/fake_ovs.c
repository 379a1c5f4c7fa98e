/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake host's Open vSwitch: its database, as the daemon hears of it and writes to it. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/model/ovsdb.h"
#include "tests/unit/fake_host_priv.h"

static struct fake_ovs_port *find(struct fake_host *h, const char *name)
{
	for (size_t i = 0; i < h->n_ovs_ports; i++)
		if (str_eq(h->ovs_port[i].name, name))
			return &h->ovs_port[i];
	return NULL;
}

static struct fake_ovs_port *make(struct fake_host *h, const char *name)
{
	struct fake_ovs_port *p = &h->ovs_port[h->n_ovs_ports++];

	assert_true(h->n_ovs_ports < FAKE_MAX);
	memset(p, 0, sizeof(*p));
	snprintf(p->name, sizeof(p->name), "%s", name);
	return p;
}

void fake_ovs(struct fake_host *h)
{
	h->ovs = h->ovs_changed = true;
	fake_link(h, "br0")->link.kind = LINK_TAP;
	fake_link(h, "eth0")->link.master = 0;
	strcpy(make(h, "eth0")->bridge, "br0");
}

static void set_vlan(struct fake_ovs_port *p, uint16_t vlan, bool on)
{
	for (size_t i = 0; i < p->n_vlans; i++)
		if (p->vlan[i] == vlan) {
			if (!on)
				FAKE_DROP(p->vlan, p->n_vlans, i);
			return;
		}
	if (on)
		p->vlan[p->n_vlans++] = vlan;
}

int fake_ovs_act(struct fake_host *h, const struct step *step, bool undo)
{
	struct fake_ovs_port *p = find(h, step->ifname);

	if (h->ovs_away)
		return -EHOSTUNREACH;
	h->ovs_changed = true;
	if (step->kind == STEP_OVS_VLAN) {
		if (p)
			set_vlan(p, step->vlan, !undo);
		return p || undo ? 0 : -ESTALE;
	}
	if (undo && p)
		FAKE_DROP(h->ovs_port, h->n_ovs_ports, (size_t)(p - h->ovs_port));
	if (undo)
		return 0;
	if (!p)
		p = make(h, step->ifname);
	memcpy(p->bridge, step->bridge, sizeof(p->bridge));
	if (*step->dev) {
		p->n_vlans = 0;
		set_vlan(p, step->vlan, true);
	}
	return 0;
}

void fake_notify_ovs(struct fake_host *h)
{
	struct ovs_bridge *bridge;

	/* A new daemon is told, too. */
	if (!h->ovs || (!h->ovs_changed && h->inv.ovs))
		return;
	h->ovs_changed = false;
	if (h->ovs_away && h->inv.ovs) {
		h->inv.ovs->synced = false;
		manager_ovs_changed(h->m);
		return;
	}
	ovs_free(h->inv.ovs);
	h->inv.ovs = NULL;
	if (h->ovs_away)
		return;
	h->inv.ovs = ovs_new();
	h->inv.ovs->synced = true;
	bridge = calloc(1, sizeof(*bridge));
	strcpy(bridge->name, "br0");
	HASH_ADD_STR(h->inv.ovs->bridges, name, bridge);
	for (size_t i = 0; i < h->n_ovs_ports; i++) {
		const struct fake_ovs_port *f = &h->ovs_port[i];
		struct ovs_port *p = calloc(1, sizeof(*p));

		memcpy(p->name, f->name, sizeof(p->name));
		memcpy(p->bridge, f->bridge, sizeof(p->bridge));
		strcpy(p->ours, str_eq(f->name, "eth0") ? "" : "segment lan");
		p->trunks = calloc(1, sizeof(*p->trunks));
		for (size_t v = 0; v < f->n_vlans; v++)
			p->trunks->bits[f->vlan[v] / 64] |= UINT64_C(1) << f->vlan[v] % 64;
		HASH_ADD_STR(h->inv.ovs->ports, name, p);
	}
	manager_ovs_changed(h->m);
}

void fake_print_ovs(const struct fake_host *h, FILE *f)
{
	for (size_t i = 0; i < h->n_ovs_ports; i++) {
		fprintf(f, "ovs port %s of %s:", h->ovs_port[i].name, h->ovs_port[i].bridge);
		for (size_t v = 0; v < h->ovs_port[i].n_vlans; v++)
			fprintf(f, " %u", h->ovs_port[i].vlan[v]);
		fprintf(f, "\n");
	}
}
