/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /org/vnicd1/nic/IFINDEX */
#include "daemon/bus/getter.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *bus_nic_path(int ifindex, char buf[BUS_PATH_MAX])
{
	snprintf(buf, BUS_PATH_MAX, "%s/%d", BUS_NICS, ifindex);
	return buf;
}

void bus_nic_view(const struct bus *bus, const struct vnic_link *link, struct bus_nic *ret)
{
	const struct vnic_link *master = NULL;

	*ret = (struct bus_nic){ .link = *link };
	if (link->master)
		master = inventory_find(bus->manager->inv, link->master);
	if (!master)
		return;
	strcpy(ret->master, master->name);
	for (struct vnic_segment *s = bus->manager->config->segments; s; s = s->hh.next)
		if (!strcmp(s->bridge, master->name)) {
			strcpy(ret->segment, s->name);
			return;
		}
}

int bus_nic_find(sd_bus *sd, const char *path, const char *interface, void *userdata, void **found,
		 sd_bus_error *error)
{
	struct bus *bus = userdata;
	const struct vnic_link *link;
	char canonical[BUS_PATH_MAX];
	uint64_t ifindex;

	(void)sd;
	(void)interface;
	(void)error;
	if (strncmp(path, BUS_NICS "/", strlen(BUS_NICS "/")) != 0 ||
	    u64_parse(path + strlen(BUS_NICS "/"), 1, INT_MAX, &ifindex) < 0)
		return 0;
	link = inventory_find(bus->manager->inv, (int)ifindex);
	/* Not "/007": an object has one path. */
	if (!link || !link_is_nic(link) || strcmp(path, bus_nic_path((int)ifindex, canonical)) != 0)
		return 0;
	/* The getters need more than the link: its bridge and that one's segment. They come before the next find. */
	bus_nic_view(bus, link, &bus->nic);
	*found = &bus->nic;
	return 1;
}

int bus_nic_list(sd_bus *sd, const char *prefix, void *userdata, char ***ret, sd_bus_error *error)
{
	struct bus *bus = userdata;
	size_t n = HASH_COUNT(bus->manager->inv->links), i = 0;
	char **paths = calloc(n + 1, sizeof(*paths)), buf[BUS_PATH_MAX];

	(void)sd;
	(void)prefix;
	(void)error;
	if (!paths)
		return -ENOMEM;
	for (struct vnic_link *l = bus->manager->inv->links; l && i < n; l = l->hh.next) {
		if (!link_is_nic(l))
			continue;
		paths[i] = strdup(bus_nic_path(l->ifindex, buf));
		if (!paths[i++])
			break;
	}
	*ret = paths;
	return 0;
}

BUS_GETTER(get_kind, enum link_kind, "s", link_kind_str(*v));

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
	SD_BUS_VTABLE_END,
};
