/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fake host's bridges know of their ports. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_host_priv.h"

bool fake_has_vlan(struct fake_host *h, const char *name, uint16_t vlan)
{
	struct fake_link *f = fake_link(h, name);

	for (size_t i = 0; f && i < f->n_vlans; i++)
		if (f->vlan[i] == vlan)
			return true;
	return false;
}

void fake_set_vlan(struct fake_link *f, uint16_t vlan, bool on)
{
	for (size_t i = 0; i < f->n_vlans; i++)
		if (f->vlan[i] == vlan) {
			if (!on)
				FAKE_DROP(f->vlan, f->n_vlans, i);
			return;
		}
	if (on)
		f->vlan[f->n_vlans++] = vlan;
}

void fake_set_fdb(struct fake_host *h, const struct step *step, bool on)
{
	char text[64], mac[VNIC_MAC_STR];

	snprintf(text, sizeof(text), "%d %s %u", step->ifindex, mac_format(step->mac, mac),
		 step->vlan);
	for (size_t i = 0; i < h->n_fdb; i++)
		if (str_eq(h->fdb[i], text)) {
			if (!on)
				FAKE_DROP(h->fdb, h->n_fdb, i);
			return;
		}
	if (on)
		strcpy(h->fdb[h->n_fdb++], text);
}

void fake_take_fdb(struct fake_host *h)
{
	struct bridge_gone what = { .kind = BRIDGE_FDB };
	char mac[VNIC_MAC_STR];

	while (h->n_fdb) {
		assert_int_equal(sscanf(h->fdb[--h->n_fdb], "%d %17s %hu", &what.ifindex, mac,
					&what.vlan),
				 3);
		assert_int_equal(mac_parse(mac, what.mac), 0);
		manager_bridge_gone(h->m, &what);
	}
}

void fake_take_vlan(struct fake_host *h, const char *name, uint16_t vlan)
{
	struct fake_link *f = fake_link(h, name);
	struct bridge_gone what = { .kind = BRIDGE_VLANS, .ifindex = f->link.ifindex };

	fake_set_vlan(f, vlan, false);
	for (size_t i = 0; i < f->n_vlans; i++)
		what.has.bits[f->vlan[i] / 64] |= UINT64_C(1) << f->vlan[i] % 64;
	manager_bridge_gone(h->m, &what);
}
