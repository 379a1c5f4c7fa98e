/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /org/vnicd1/nic/IFINDEX, and /org/vnicd1/nic/pf_ADDRESS for a PF without a netdev */
#include "daemon/bus/getter.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/path_sriov.h"
#include "daemon/core/path_vdpa.h"

#define ALONE "/pf_"

/* D-Bus takes letters, digits and underscores in paths. */
static void alone_path(const char *addr, char buf[BUS_PATH_MAX])
{
	size_t n = (size_t)snprintf(buf, BUS_PATH_MAX, "%s%s", BUS_NICS, ALONE);

	for (; *addr && n + 1 < BUS_PATH_MAX; addr++) {
		bool plain = (*addr >= '0' && *addr <= '9') || (*addr >= 'a' && *addr <= 'z') ||
			     (*addr >= 'A' && *addr <= 'Z');

		buf[n++] = plain ? *addr : '_';
	}
	buf[n] = '\0';
}

const char *bus_nic_path(const struct bus_nic *nic, char buf[BUS_PATH_MAX])
{
	if (nic->link.ifindex > 0)
		snprintf(buf, BUS_PATH_MAX, "%s/%d", BUS_NICS, nic->link.ifindex);
	else
		alone_path(nic->pf.addr, buf);
	return buf;
}

bool bus_pf_is_alone(const struct bus *bus, const struct vnic_pf *pf)
{
	const struct vnic_link *link = inventory_find(bus->manager->inv, pf->ifindex);

	return !link || !link_is_nic(link) || inventory_pf_of(bus->manager->inv, link) != pf;
}

static void view_vfs(const struct bus *bus, const struct vnic_pf *pf, struct bus_nic *ret)
{
	_cleanup_(freep) const struct vnic_port **holder = bus_vf_holders(bus, pf);

	for (int i = 0; i < pf->n_vf; i++) {
		if (pf->vf[i].user != VF_FREE || (holder && holder[i]) ||
		    hostdev_holds(bus->manager->hostdevs, pf->vf[i].addr))
			ret->taken++;
		else if (path_sriov_fit(&pf->vf[i]))
			ret->free++;
	}
}

static void view_pf(const struct bus *bus, const struct vnic_pf *pf, struct bus_nic *ret)
{
	const struct vnic_nic_config *config = manager_nic_config(bus->manager, pf);
	const struct nic_share *share = manager_nic(bus->manager, pf->addr);

	ret->pf = *pf;
	ret->pf.vf = NULL; /* it lives no longer than the next change */
	ret->link.sriov_totalvfs = pf->total_vfs;
	ret->link.sriov_numvfs = pf->num_vfs;
	view_vfs(bus, pf, ret);
	ret->ready = pf->vfs_complete;
	if (config)
		ret->wanted = config->vfs;
	if (share) {
		ret->ready = share->ready;
		ret->drained = share->drained;
		memcpy(ret->reason, share->reason, sizeof(ret->reason));
		str_make_utf8(ret->reason);
	}
}

bool bus_mgmtdev_is_of(const struct vdpa_mgmtdev *mgmtdev, const struct bus_nic *nic)
{
	if (*nic->pf.addr && str_eq(mgmtdev->pf, nic->pf.addr))
		return true;
	if (*nic->mgmtdev && str_eq(mgmtdev->name, nic->mgmtdev))
		return true;
	return *nic->link.name && mgmtdev_is_vnic(mgmtdev->name) &&
	       str_eq(mgmtdev->name + strlen(VNIC_MGMTDEV), nic->link.name);
}

static void view_vdpa(const struct bus *bus, const struct vnic_link *link, struct bus_nic *ret)
{
	const struct inventory *inv = bus->manager->inv;
	const struct vnic_nic_config *config =
		link ? path_vdpa_config(bus->manager->config, inv, link) : NULL;
	const struct nic_share *uplink = link ? manager_uplink(bus->manager, link->ifindex) : NULL;

	if (config) {
		ret->vnic = config->vnic;
		memcpy(ret->mgmtdev, config->mgmtdev, sizeof(ret->mgmtdev));
	}
	if (uplink) {
		ret->vnic_ready = uplink->ready;
		memcpy(ret->vnic_reason, uplink->reason, sizeof(ret->vnic_reason));
		str_make_utf8(ret->vnic_reason);
	}
	for (const struct vdpa_mgmtdev *d = inv->mgmtdevs; d; d = d->hh.next)
		ret->mgmtdevs += bus_mgmtdev_is_of(d, ret);
	for (const struct vdpa_dev *d = inv->vdpas; d; d = d->hh.next) {
		const struct vdpa_mgmtdev *mgmtdev;

		HASH_FIND_STR(inv->mgmtdevs, d->mgmtdev, mgmtdev);
		ret->vdpas += mgmtdev && bus_mgmtdev_is_of(mgmtdev, ret);
	}
}

static void view_master(const struct bus *bus, const struct vnic_link *link, struct bus_nic *ret)
{
	const struct vnic_link *master =
		link->master ? inventory_find(bus->manager->inv, link->master) : NULL;

	if (master)
		strcpy(ret->master, master->name);
	for (struct vnic_segment *s = bus->manager->config->segments; s; s = s->hh.next)
		if (inventory_bridged(bus->manager->inv, link, s->bridge)) {
			strcpy(ret->segment, s->name);
			return;
		}
}

void bus_nic_view(const struct bus *bus, const struct vnic_link *link, const struct vnic_pf *pf,
		  struct bus_nic *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->wanted = -1;
	if (link) {
		ret->link = *link;
		view_master(bus, link, ret);
		pf = inventory_pf_of(bus->manager->inv, link);
	} else {
		ret->link.kind = LINK_PHYSICAL;
		ret->link.numa_node = pf->numa_node;
		memcpy(ret->link.bus, pf->bus, sizeof(ret->link.bus));
		memcpy(ret->link.dev_addr, pf->addr, sizeof(ret->link.dev_addr));
		memcpy(ret->link.driver, pf->driver, sizeof(ret->link.driver));
	}
	if (pf)
		view_pf(bus, pf, ret);
	view_vdpa(bus, link, ret);
	for (const struct mdev_type *t = bus->manager->inv->mdevs; t; t = t->hh.next)
		ret->mdevs += *ret->link.dev_addr && str_eq(t->parent, ret->link.dev_addr);
}

static bool find_link(struct bus *bus, const char *path)
{
	const struct vnic_link *link;
	char canonical[BUS_PATH_MAX];
	uint64_t ifindex;

	if (u64_parse(path + strlen(BUS_NICS "/"), 1, INT_MAX, &ifindex) < 0)
		return false;
	link = inventory_find(bus->manager->inv, (int)ifindex);
	if (!link || !link_is_nic(link))
		return false;
	bus_nic_view(bus, link, NULL, &bus->nic);
	/* Not "/007": an object has one path. */
	return strcmp(path, bus_nic_path(&bus->nic, canonical)) == 0;
}

static bool find_alone(struct bus *bus, const char *path)
{
	for (const struct vnic_pf *pf = bus->manager->inv->pfs; pf; pf = pf->hh.next) {
		char own[BUS_PATH_MAX];

		if (!bus_pf_is_alone(bus, pf))
			continue;
		alone_path(pf->addr, own);
		if (strcmp(path, own) != 0)
			continue;
		bus_nic_view(bus, NULL, pf, &bus->nic);
		return true;
	}
	return false;
}

int bus_nic_find(sd_bus *sd, const char *path, const char *interface, void *userdata, void **found,
		 sd_bus_error *error)
{
	struct bus *bus = userdata;

	(void)sd;
	(void)interface;
	(void)error;
	if (strncmp(path, BUS_NICS "/", strlen(BUS_NICS "/")) != 0 ||
	    !(find_link(bus, path) || find_alone(bus, path)))
		return 0;
	/* The getters need more than the link: its bridge and that one's segment. They come before the next find. */
	*found = &bus->nic;
	return 1;
}

int bus_nic_list(sd_bus *sd, const char *prefix, void *userdata, char ***ret, sd_bus_error *error)
{
	struct bus *bus = userdata;
	const struct inventory *inv = bus->manager->inv;
	size_t n = HASH_COUNT(inv->links) + HASH_COUNT(inv->pfs), i = 0;
	char **paths = calloc(n + 1, sizeof(*paths)), buf[BUS_PATH_MAX];

	(void)sd;
	(void)prefix;
	(void)error;
	if (!paths)
		return -ENOMEM;
	for (struct vnic_link *l = inv->links; l && i < n; l = l->hh.next) {
		if (!link_is_nic(l))
			continue;
		snprintf(buf, sizeof(buf), "%s/%d", BUS_NICS, l->ifindex);
		paths[i] = strdup(buf);
		if (!paths[i++])
			break;
	}
	for (struct vnic_pf *pf = inv->pfs; pf && i < n; pf = pf->hh.next) {
		if (!bus_pf_is_alone(bus, pf))
			continue;
		alone_path(pf->addr, buf);
		paths[i] = strdup(buf);
		if (!paths[i++])
			break;
	}
	*ret = paths;
	return 0;
}

BUS_GETTER(get_kind, enum link_kind, "s", link_kind_str(*v));
BUS_GETTER(get_eswitch, enum eswitch_mode, "s", eswitch_mode_str(*v));
BUS_GETTER(get_feature, enum feature_state, "s", feature_state_str(*v));

#define CHANGES	   SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define AT(member) offsetof(struct bus_nic, member)

const sd_bus_vtable bus_nic_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Ifindex", "u", NULL, AT(link.ifindex), SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Name", "s", bus_get_text, AT(link.name), CHANGES),
	SD_BUS_PROPERTY("Kind", "s", get_kind, AT(link.kind), CHANGES),
	SD_BUS_PROPERTY("Mac", "s", bus_get_mac, AT(link.mac), CHANGES),
	SD_BUS_PROPERTY("Mtu", "u", NULL, AT(link.mtu), CHANGES),
	SD_BUS_PROPERTY("Up", "b", bus_get_bool, AT(link.up), CHANGES),
	SD_BUS_PROPERTY("Carrier", "b", bus_get_bool, AT(link.carrier), CHANGES),
	SD_BUS_PROPERTY("Master", "s", bus_get_text, AT(master), CHANGES),
	SD_BUS_PROPERTY("Segment", "s", bus_get_text, AT(segment), CHANGES),
	SD_BUS_PROPERTY("Bus", "s", bus_get_text, AT(link.bus), CHANGES),
	SD_BUS_PROPERTY("Address", "s", bus_get_text, AT(link.dev_addr), CHANGES),
	SD_BUS_PROPERTY("Driver", "s", bus_get_text, AT(link.driver), CHANGES),
	SD_BUS_PROPERTY("NumaNode", "i", NULL, AT(link.numa_node), CHANGES),
	SD_BUS_PROPERTY("SriovTotalvfs", "i", NULL, AT(link.sriov_totalvfs), CHANGES),
	SD_BUS_PROPERTY("SriovNumvfs", "i", NULL, AT(link.sriov_numvfs), CHANGES),
	SD_BUS_PROPERTY("Autoprobe", "b", bus_get_bool, AT(pf.autoprobe), CHANGES),
	SD_BUS_PROPERTY("EswitchMode", "s", get_eswitch, AT(pf.eswitch), CHANGES),
	SD_BUS_PROPERTY("L2FwdOffload", "s", get_feature, AT(pf.fwd_offload), CHANGES),
	SD_BUS_PROPERTY("Ntuple", "s", get_feature, AT(pf.ntuple), CHANGES),
	SD_BUS_PROPERTY("Channels", "u", NULL, AT(pf.channels), CHANGES),
	SD_BUS_PROPERTY("ChannelsMax", "u", NULL, AT(pf.channels_max), CHANGES),
	SD_BUS_PROPERTY("VfsTaken", "u", NULL, AT(taken), CHANGES),
	SD_BUS_PROPERTY("VfsFree", "u", NULL, AT(free), CHANGES),
	SD_BUS_PROPERTY("VfsWanted", "i", NULL, AT(wanted), CHANGES),
	SD_BUS_PROPERTY("VfsReady", "b", bus_get_bool, AT(ready), CHANGES),
	SD_BUS_PROPERTY("VfsReason", "s", bus_get_text, AT(reason), CHANGES),
	SD_BUS_PROPERTY("Drained", "b", bus_get_bool, AT(drained), CHANGES),
	SD_BUS_PROPERTY("VnicWanted", "b", bus_get_bool, AT(vnic), CHANGES),
	SD_BUS_PROPERTY("VnicReady", "b", bus_get_bool, AT(vnic_ready), CHANGES),
	SD_BUS_PROPERTY("VnicReason", "s", bus_get_text, AT(vnic_reason), CHANGES),
	SD_BUS_PROPERTY("VdpaMgmtdevs", "u", NULL, AT(mgmtdevs), CHANGES),
	SD_BUS_PROPERTY("VdpaDevices", "u", NULL, AT(vdpas), CHANGES),
	SD_BUS_PROPERTY("MdevTypes", "u", NULL, AT(mdevs), CHANGES),
	SD_BUS_METHOD_WITH_ARGS("ListVfs", SD_BUS_ARGS("u", first), SD_BUS_RESULT("aa{sv}", vfs),
				bus_list_vfs, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListVdpa", SD_BUS_NO_ARGS,
				SD_BUS_RESULT("aa{sv}", mgmtdevs, "aa{sv}", devices), bus_list_vdpa,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("ListMdevTypes", SD_BUS_NO_ARGS, SD_BUS_RESULT("aa{sv}", types),
				bus_list_mdev_types, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Drain", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, bus_nic_drain,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Undrain", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, bus_nic_undrain,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_SIGNAL_WITH_ARGS("VfsChanged", SD_BUS_ARGS("u", first, "u", last), 0),
	SD_BUS_VTABLE_END,
};
