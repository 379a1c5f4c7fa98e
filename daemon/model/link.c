/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/link.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "daemon/model/ovsdb.h"

static const char *const kinds[] = {
	[LINK_OTHER] = "other",	    [LINK_PHYSICAL] = "physical",
	[LINK_VF] = "vf",	    [LINK_REPRESENTOR] = "representor",
	[LINK_BRIDGE] = "bridge",   [LINK_TAP] = "tap",
	[LINK_VETH] = "veth",	    [LINK_VLAN] = "vlan",
	[LINK_BOND] = "bond",	    [LINK_MACVLAN] = "macvlan",
	[LINK_OVS] = "openvswitch", [LINK_LOOPBACK] = "loopback",
};
static_assert(ARRAY_SIZE(kinds) == LINK_LOOPBACK + 1, "a word for each kind of link");

void inventory_init(struct inventory *inv)
{
	*inv = (struct inventory){ 0 };
}

void inventory_deinit(struct inventory *inv)
{
	while (inv->links)
		inventory_remove(inv, inv->links->ifindex);
	while (inv->pfs)
		inventory_remove_pf(inv, inv->pfs->addr);
	while (inv->mgmtdevs)
		inventory_remove_mgmtdev(inv, inv->mgmtdevs->name);
	while (inv->vdpas)
		inventory_remove_vdpa(inv, inv->vdpas->name);
	while (inv->mdevs)
		inventory_remove_mdev(inv, inv->mdevs->id);
	ovs_free(inv->ovs);
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

/* Links with one master, which may be there or not. */
struct link_members {
	int ifindex; /* the master's */
	unsigned int n; /* links, and one that is about to be */
	struct vnic_link *first;
	UT_hash_handle hh;
};

const struct vnic_link *inventory_members(const struct inventory *inv, int ifindex)
{
	const struct link_members *m;

	HASH_FIND_INT(inv->members, &ifindex, m);
	return m ? m->first : NULL;
}

/* Room for one more; NULL without memory. */
static struct link_members *members_get(struct inventory *inv, int ifindex)
{
	struct link_members *m;

	HASH_FIND_INT(inv->members, &ifindex, m);
	if (!m) {
		m = calloc(1, sizeof(*m));
		if (!m)
			return NULL;
		m->ifindex = ifindex;
		HASH_ADD_INT(inv->members, ifindex, m);
	}
	m->n++;
	return m;
}

static void members_put(struct inventory *inv, struct link_members *m)
{
	if (--m->n)
		return;
	HASH_DEL(inv->members, m);
	free(m);
}

/* Out of what finds it by what may change. */
static void link_out(struct inventory *inv, struct vnic_link *link)
{
	struct link_members *m;

	HASH_DELETE(hh_name, inv->links_by_name, link);
	if (!link->master)
		return;
	HASH_FIND_INT(inv->members, &link->master, m);
	DL_DELETE2(m->first, link, member_prev, member_next);
	members_put(inv, m);
}

int inventory_upsert(struct inventory *inv, const struct vnic_link *link)
{
	struct link_members *members = NULL;
	struct vnic_link *mine;
	UT_hash_handle hh;

	HASH_FIND_INT(inv->links, &link->ifindex, mine);
	if (mine && same(mine, link))
		return 0;
	if (link->master) {
		members = members_get(inv, link->master);
		if (!members)
			return -ENOMEM;
	}
	if (mine) {
		link_out(inv, mine);
		hh = mine->hh;
		*mine = *link;
		mine->hh = hh;
	} else {
		mine = malloc(sizeof(*mine));
		if (!mine) {
			if (members)
				members_put(inv, members);
			return -ENOMEM;
		}
		*mine = *link;
		HASH_ADD_INT(inv->links, ifindex, mine);
	}
	HASH_ADD(hh_name, inv->links_by_name, name, strlen(mine->name), mine);
	if (members)
		DL_APPEND2(members->first, mine, member_prev, member_next);
	inv->generation++;
	return 1;
}

int inventory_remove(struct inventory *inv, int ifindex)
{
	struct vnic_link *old;

	HASH_FIND_INT(inv->links, &ifindex, old);
	if (!old)
		return 0;
	link_out(inv, old);
	HASH_DEL(inv->links, old);
	free(old);
	inv->generation++;
	return 1;
}

int inventory_upsert_pf(struct inventory *inv, const struct vnic_pf *pf)
{
	struct vnic_pf *old;
	int r;

	HASH_FIND_STR(inv->pfs, pf->addr, old);
	if (old && pf_same(old, pf))
		return 0;
	if (old) {
		r = pf_copy(old, pf);
		if (r < 0)
			return r;
	} else {
		old = calloc(1, sizeof(*old));
		if (!old)
			return -ENOMEM;
		r = pf_copy(old, pf);
		if (r < 0) {
			free(old);
			return r;
		}
		HASH_ADD_STR(inv->pfs, addr, old);
	}
	inv->generation++;
	return 1;
}

int inventory_update_pf(struct inventory *inv, const struct vnic_pf *pf)
{
	struct vnic_pf copy = *pf, *old;

	copy.vf = NULL;
	copy.n_vf = 0;
	HASH_FIND_STR(inv->pfs, pf->addr, old);
	if (!old)
		return inventory_upsert_pf(inv, &copy);
	if (pf_same_alone(old, pf))
		return 0;
	copy.vf = old->vf;
	copy.n_vf = old->n_vf;
	copy.hh = old->hh;
	*old = copy;
	inv->generation++;
	return 1;
}

int inventory_update_vf(struct inventory *inv, const char *pf_addr, const struct vnic_vf *vf)
{
	struct vnic_vf *more;
	struct vnic_pf *pf;

	HASH_FIND_STR(inv->pfs, pf_addr, pf);
	if (!pf)
		return -ENOENT;
	if (vf->index < 0 || vf->index > pf->n_vf || vf->index >= PF_VFS_MAX)
		return -ERANGE;
	if (vf->index < pf->n_vf && vf_same(&pf->vf[vf->index], vf))
		return 0;
	if (vf->index == pf->n_vf) {
		more = reallocarray(pf->vf, (size_t)pf->n_vf + 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		pf->vf = more;
		pf->n_vf++;
	}
	pf->vf[vf->index] = *vf;
	inv->generation++;
	return 1;
}

int inventory_trim_vfs(struct inventory *inv, const char *pf_addr, int n)
{
	struct vnic_pf *pf;

	HASH_FIND_STR(inv->pfs, pf_addr, pf);
	if (!pf)
		return -ENOENT;
	if (n < 0 || n >= pf->n_vf)
		return 0;
	/* The room stays for those that come; it is freed with the last. */
	pf->n_vf = n;
	if (!n)
		pf_clear(pf);
	inv->generation++;
	return 1;
}

int inventory_remove_pf(struct inventory *inv, const char *addr)
{
	struct vnic_pf *old;

	HASH_FIND_STR(inv->pfs, addr, old);
	if (!old)
		return 0;
	HASH_DEL(inv->pfs, old);
	pf_clear(old);
	free(old);
	inv->generation++;
	return 1;
}

/*
 * The rest has no pointers of its own: zeroed by its maker, whole structs are compared and copied. The key
 * comes first and the hash handle last in each.
 */
#define PLAIN_FUNCTIONS(name, type, head, key)                                     \
	int inventory_upsert_##name(struct inventory *inv, const struct type *new) \
	{                                                                          \
		struct type *old;                                                  \
                                                                                   \
		HASH_FIND_STR(inv->head, new->key, old);                           \
		if (old && !memcmp(old, new, offsetof(struct type, hh)))           \
			return 0;                                                  \
		if (!old) {                                                        \
			old = calloc(1, sizeof(*old));                             \
			if (!old)                                                  \
				return -ENOMEM;                                    \
			memcpy(old, new, offsetof(struct type, hh));               \
			HASH_ADD_STR(inv->head, key, old);                         \
		} else {                                                           \
			memcpy(old, new, offsetof(struct type, hh));               \
		}                                                                  \
		inv->generation++;                                                 \
		return 1;                                                          \
	}                                                                          \
                                                                                   \
	int inventory_remove_##name(struct inventory *inv, const char *key)        \
	{                                                                          \
		struct type *old;                                                  \
                                                                                   \
		HASH_FIND_STR(inv->head, key, old);                                \
		if (!old)                                                          \
			return 0;                                                  \
		HASH_DEL(inv->head, old);                                          \
		free(old);                                                         \
		inv->generation++;                                                 \
		return 1;                                                          \
	}

PLAIN_FUNCTIONS(mgmtdev, vdpa_mgmtdev, mgmtdevs, name)
PLAIN_FUNCTIONS(vdpa, vdpa_dev, vdpas, name)
PLAIN_FUNCTIONS(mdev, mdev_type, mdevs, id)

const struct vnic_pf *inventory_pf(const struct inventory *inv, const char *addr)
{
	struct vnic_pf *pf;

	HASH_FIND_STR(inv->pfs, addr, pf);
	return pf;
}

const struct vnic_pf *inventory_pf_of(const struct inventory *inv, const struct vnic_link *link)
{
	const struct vnic_pf *pf = *link->dev_addr ? inventory_pf(inv, link->dev_addr) : NULL;

	return pf && pf->ifindex == link->ifindex ? pf : NULL;
}

const struct vnic_vf *inventory_vf(const struct inventory *inv, const char *addr,
				   const struct vnic_pf **ret_pf)
{
	for (const struct vnic_pf *pf = inv->pfs; pf; pf = pf->hh.next)
		for (int i = 0; i < pf->n_vf; i++)
			if (str_eq(pf->vf[i].addr, addr)) {
				if (ret_pf)
					*ret_pf = pf;
				return &pf->vf[i];
			}
	return NULL;
}

const struct vnic_link *inventory_find(const struct inventory *inv, int ifindex)
{
	struct vnic_link *link;

	HASH_FIND_INT(inv->links, &ifindex, link);
	return link;
}

const struct vnic_link *inventory_find_name(const struct inventory *inv, const char *name)
{
	const struct vnic_link *link;

	HASH_FIND(hh_name, inv->links_by_name, name, strlen(name), link);
	return link;
}

bool port_name_is_representor(const char *name)
{
	if (*name == 'c')
		name += 1 + strspn(name + 1, "0123456789");
	return !strncmp(name, "pf", 2);
}

bool link_is_nic(const struct vnic_link *link)
{
	/* A VF belongs to its nic; what stands on others (bridges, taps, VLANs) is no uplink of its own. */
	return link->kind == LINK_PHYSICAL || link->kind == LINK_BOND;
}

const char *link_kind_str(enum link_kind kind)
{
	return kind < ARRAY_SIZE(kinds) ? kinds[kind] : "unknown";
}

bool inventory_is_ovs(const struct inventory *inv, const char *name)
{
	const struct ovs_bridge *b = NULL;

	if (inv->ovs)
		HASH_FIND_STR(inv->ovs->bridges, name, b);
	return b;
}

const struct ovs_port *inventory_ovs_port(const struct inventory *inv, const char *name)
{
	struct ovs_port *p = NULL;

	if (inv->ovs)
		HASH_FIND_STR(inv->ovs->ports, name, p);
	return p;
}

bool inventory_bridged(const struct inventory *inv, const struct vnic_link *link,
		       const char *bridge)
{
	const struct vnic_link *master = inventory_find_name(inv, bridge);
	const struct ovs_port *port = inventory_ovs_port(inv, link->name);

	if (inventory_is_ovs(inv, bridge))
		return port && str_eq(port->bridge, bridge);
	return master && master->kind == LINK_BRIDGE && link->master == master->ifindex;
}

bool inventory_switches(const struct inventory *inv, const struct vnic_pf *pf, const char *bridge)
{
	const struct vnic_link *link = inventory_find(inv, pf->ifindex);

	return link && inventory_bridged(inv, link, bridge) && pf_switches(pf);
}

const struct vnic_pf *inventory_uplink_switch(const struct inventory *inv, const char *ifname,
					      const char *bridge)
{
	const struct vnic_link *link = inventory_find_name(inv, ifname);
	const struct vnic_pf *pf = link ? inventory_pf_of(inv, link) : NULL;

	return pf && inventory_switches(inv, pf, bridge) ? pf : NULL;
}
