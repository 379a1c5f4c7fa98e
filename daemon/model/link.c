/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/link.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
	[LINK_OTHER] = "other",	      [LINK_PHYSICAL] = "physical", [LINK_VF] = "vf",
	[LINK_BRIDGE] = "bridge",     [LINK_TAP] = "tap",	    [LINK_VETH] = "veth",
	[LINK_VLAN] = "vlan",	      [LINK_BOND] = "bond",	    [LINK_MACVLAN] = "macvlan",
	[LINK_LOOPBACK] = "loopback",
};
static_assert(ARRAY_SIZE(kinds) == LINK_LOOPBACK + 1, "a word for each kind of link");

void inventory_init(struct inventory *inv)
{
	*inv = (struct inventory){ 0 };
}

void inventory_deinit(struct inventory *inv)
{
	struct vnic_link *link, *tmp;

	HASH_ITER(hh, inv->links, link, tmp)
	{
		HASH_DEL(inv->links, link);
		free(link);
	}
	*inv = (struct inventory){ 0 };
}

/* Padding and the hash handle are not compared: field by field. */
static bool same(const struct vnic_link *a, const struct vnic_link *b)
{
	return a->ifindex == b->ifindex && str_eq(a->name, b->name) && a->kind == b->kind &&
	       !memcmp(a->mac, b->mac, sizeof(a->mac)) &&
	       !memcmp(a->perm_mac, b->perm_mac, sizeof(a->perm_mac)) && a->master == b->master &&
	       a->lower == b->lower && a->mtu == b->mtu && a->up == b->up &&
	       a->carrier == b->carrier && a->vlan_filtering == b->vlan_filtering &&
	       str_eq(a->bus, b->bus) && str_eq(a->dev_addr, b->dev_addr) &&
	       str_eq(a->driver, b->driver) && a->numa_node == b->numa_node &&
	       a->sriov_totalvfs == b->sriov_totalvfs && a->sriov_numvfs == b->sriov_numvfs;
}

int inventory_upsert(struct inventory *inv, const struct vnic_link *link)
{
	struct vnic_link *old;

	HASH_FIND_INT(inv->links, &link->ifindex, old);
	if (old) {
		UT_hash_handle hh = old->hh;

		if (same(old, link))
			return 0;
		*old = *link;
		old->hh = hh;
	} else {
		old = malloc(sizeof(*old));
		if (!old)
			return -ENOMEM;
		*old = *link;
		HASH_ADD_INT(inv->links, ifindex, old);
	}
	inv->generation++;
	return 1;
}

int inventory_remove(struct inventory *inv, int ifindex)
{
	struct vnic_link *old;

	HASH_FIND_INT(inv->links, &ifindex, old);
	if (!old)
		return 0;
	HASH_DEL(inv->links, old);
	free(old);
	inv->generation++;
	return 1;
}

const struct vnic_link *inventory_find(const struct inventory *inv, int ifindex)
{
	struct vnic_link *link;

	HASH_FIND_INT(inv->links, &ifindex, link);
	return link;
}

const struct vnic_link *inventory_find_name(const struct inventory *inv, const char *name)
{
	for (const struct vnic_link *link = inv->links; link; link = link->hh.next)
		if (str_eq(link->name, name))
			return link;
	return NULL;
}

bool link_is_nic(const struct vnic_link *link)
{
	/* A VF belongs to its nic; what stands on others (bridges, taps, VLANs) is no uplink of its own. */
	return link->kind == LINK_PHYSICAL || link->kind == LINK_BOND;
}

const char *link_describe(const struct vnic_link *link, char *buf, size_t size)
{
	if (*link->dev_addr)
		snprintf(buf, size, "%s (%s)", link->name, link->dev_addr);
	else
		snprintf(buf, size, "%s (ifindex %d)", link->name, link->ifindex);
	return buf;
}

const char *link_kind_str(enum link_kind kind)
{
	return kind < ARRAY_SIZE(kinds) ? kinds[kind] : "unknown";
}
