/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /org/vnicd1/nic/IFINDEX */
#include "daemon/bus/priv.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

const char *bus_nic_path(int ifindex, char buf[BUS_PATH_MAX])
{
	snprintf(buf, BUS_PATH_MAX, "%s/%d", BUS_NICS, ifindex);
	return buf;
}

const char *bus_nic_master(const struct bus *bus, const struct vnic_link *link)
{
	const struct vnic_link *master = NULL;

	if (link->master)
		master = inventory_find(bus->manager->inv, link->master);
	return master ? master->name : "";
}

const struct vnic_segment *bus_nic_segment(const struct bus *bus, const struct vnic_link *link)
{
	const char *master = bus_nic_master(bus, link);

	for (struct vnic_segment *s = bus->manager->config->segments; *master && s; s = s->hh.next)
		if (!strcmp(s->bridge, master))
			return s;
	return NULL;
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
	/* The getters need more than the link: its bridge and that one's segment. */
	*found = bus;
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

/* @path has been found by bus_nic_find() in this same turn of the loop. */
static const struct vnic_link *link_of(const struct bus *bus, const char *path)
{
	return inventory_find(bus->manager->inv, atoi(path + strlen(BUS_NICS "/")));
}

static int get_string(sd_bus *sd, const char *path, const char *interface, const char *property,
		      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct bus *bus = userdata;
	const struct vnic_link *link = link_of(bus, path);
	const struct vnic_segment *segment;
	char mac[VNIC_MAC_STR];
	const char *s = "";

	(void)sd;
	(void)interface;
	(void)error;
	if (!link)
		return -ENODEV;
	if (!strcmp(property, "Name"))
		s = link->name;
	else if (!strcmp(property, "Kind"))
		s = link_kind_str(link->kind);
	else if (!strcmp(property, "Mac"))
		s = mac_format(link->mac, mac);
	else if (!strcmp(property, "Master"))
		s = bus_nic_master(bus, link);
	else if (!strcmp(property, "Segment") && (segment = bus_nic_segment(bus, link)))
		s = segment->name;
	else if (!strcmp(property, "Bus"))
		s = link->bus;
	else if (!strcmp(property, "Address"))
		s = link->dev_addr;
	else if (!strcmp(property, "Driver"))
		s = link->driver;
	return sd_bus_message_append(reply, "s", s);
}

static int get_number(sd_bus *sd, const char *path, const char *interface, const char *property,
		      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct vnic_link *link = link_of(userdata, path);

	(void)sd;
	(void)interface;
	(void)error;
	if (!link)
		return -ENODEV;
	if (!strcmp(property, "Ifindex"))
		return sd_bus_message_append(reply, "u", (uint32_t)link->ifindex);
	if (!strcmp(property, "Mtu"))
		return sd_bus_message_append(reply, "u", link->mtu);
	if (!strcmp(property, "NumaNode"))
		return sd_bus_message_append(reply, "i", link->numa_node);
	if (!strcmp(property, "SriovTotalvfs"))
		return sd_bus_message_append(reply, "i", link->sriov_totalvfs);
	return sd_bus_message_append(reply, "i", link->sriov_numvfs);
}

static int get_flag(sd_bus *sd, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct vnic_link *link = link_of(userdata, path);

	(void)sd;
	(void)interface;
	(void)error;
	if (!link)
		return -ENODEV;
	return sd_bus_message_append(reply, "b",
				     !strcmp(property, "Up") ? link->up : link->carrier);
}

#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

const sd_bus_vtable bus_nic_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Ifindex", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Name", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Kind", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Mac", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Mtu", "u", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("Up", "b", get_flag, 0, CHANGES),
	SD_BUS_PROPERTY("Carrier", "b", get_flag, 0, CHANGES),
	SD_BUS_PROPERTY("Master", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Segment", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Bus", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Address", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Driver", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("NumaNode", "i", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("SriovTotalvfs", "i", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("SriovNumvfs", "i", get_number, 0, CHANGES),
	SD_BUS_VTABLE_END,
};
