/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals. The manager tells what may have changed; the turn of the loop after that compares it with what
 * was last told, and names exactly the properties that differ. Many changes in one turn are one signal.
 */
#include "daemon/bus/priv.h"

#include <stdlib.h>
#include <string.h>

#define CHANGED_MAX 24

/* What was last told of a port. */
struct bus_seen_port {
	struct port_key key;
	bool dirty, told; /* told: InterfacesAdded was sent */
	struct vnic_port last; /* plan and history are not kept */
	UT_hash_handle hh;
};

struct bus_seen_nic {
	int ifindex;
	bool there; /* mark and sweep */
	struct bus_nic last;
	UT_hash_handle hh;
};

struct changed {
	char *name[CHANGED_MAX + 1];
	size_t n;
};

static void note(struct changed *c, const char *name, bool differs)
{
	if (differs && c->n < CHANGED_MAX)
		c->name[c->n++] = (char *)name;
}

static bool is_up(const struct bus *bus)
{
	return bus->sd && bus->named;
}

static void mark(struct bus *bus)
{
	bus->any_dirty = true;
	bus_kick(bus);
}

static void compare_port(const struct vnic_port *a, const struct vnic_port *b, struct changed *c)
{
	bool class_differs = strcmp(a->spec.class_name, b->spec.class_name) != 0;
	bool name_differs = strcmp(a->spec.name, b->spec.name) != 0;

	note(c, "Domain", strcmp(a->spec.domain, b->spec.domain) != 0);
	note(c, "Class", class_differs);
	note(c, "Segment", strcmp(a->segment, b->segment) != 0);
	note(c, "Name", name_differs);
	note(c, "Socket", class_differs || name_differs);
	note(c, "State", a->state != b->state);
	note(c, "Reason", strcmp(a->reason, b->reason) != 0);
	note(c, "Path", a->path != b->path);
	note(c, "Vlan", a->vlan != b->vlan);
	note(c, "Rate", a->rate != b->rate);
	note(c, "Weight", a->weight != b->weight);
	note(c, "Queues", a->queues != b->queues);
	note(c, "QueuesActive", a->queues_active != b->queues_active);
	note(c, "Generation", a->generation != b->generation);
	note(c, "PeerPid", a->peer_pid != b->peer_pid);
	note(c, "Logging", a->logging != b->logging);
	note(c, "Restarts", a->restarts != b->restarts);
}

static void compare_nic(const struct bus_nic *seen, const struct bus_nic *now, struct changed *c)
{
	const struct vnic_link *a = &seen->link, *b = &now->link;

	note(c, "Name", strcmp(a->name, b->name) != 0);
	note(c, "Kind", a->kind != b->kind);
	note(c, "Mac", memcmp(a->mac, b->mac, VNIC_MAC_LEN) != 0);
	note(c, "Mtu", a->mtu != b->mtu);
	note(c, "Up", a->up != b->up);
	note(c, "Carrier", a->carrier != b->carrier);
	note(c, "Master", strcmp(seen->master, now->master) != 0);
	note(c, "Segment", strcmp(seen->segment, now->segment) != 0);
	note(c, "Bus", strcmp(a->bus, b->bus) != 0);
	note(c, "Address", strcmp(a->dev_addr, b->dev_addr) != 0);
	note(c, "Driver", strcmp(a->driver, b->driver) != 0);
	note(c, "NumaNode", a->numa_node != b->numa_node);
	note(c, "SriovTotalvfs", a->sriov_totalvfs != b->sriov_totalvfs);
	note(c, "SriovNumvfs", a->sriov_numvfs != b->sriov_numvfs);
}

static struct bus_seen_port *seen_port(struct bus *bus, const struct port_key *key)
{
	struct bus_seen_port *seen;

	HASH_FIND(hh, bus->ports, key, sizeof(*key), seen);
	return seen;
}

static void port_touched(void *data, const struct vnic_port *port)
{
	struct bus *bus = data;
	struct bus_seen_port *seen = seen_port(bus, &port->spec.key);

	if (!seen) {
		seen = calloc(1, sizeof(*seen));
		/* Without memory this port is not told of; it can still be read. */
		if (!seen)
			return;
		seen->key = port->spec.key;
		HASH_ADD(hh, bus->ports, key, sizeof(seen->key), seen);
	}
	seen->dirty = true;
	mark(bus);
}

static void removed(struct bus *bus, const char *path, const char *interface)
{
	if (is_up(bus))
		sd_bus_emit_interfaces_removed(bus->sd, path, "org.freedesktop.DBus.Peer",
					       "org.freedesktop.DBus.Introspectable",
					       "org.freedesktop.DBus.Properties", interface, NULL);
}

static void port_removed(void *data, const struct vnic_port *port)
{
	struct bus *bus = data;
	struct bus_seen_port *seen = seen_port(bus, &port->spec.key);
	char path[BUS_PATH_MAX];

	if (!seen)
		return;
	if (seen->told)
		removed(bus, bus_port_path(&seen->key, path), BUS_I_PORT);
	HASH_DEL(bus->ports, seen);
	free(seen);
	mark(bus);
}

static void flush_port(struct bus *bus, struct bus_seen_port *seen)
{
	const struct vnic_port *port = manager_port(bus->manager, &seen->key);
	struct changed c = { .n = 0 };
	char path[BUS_PATH_MAX];

	seen->dirty = false;
	if (!port)
		return;
	bus_port_path(&seen->key, path);
	compare_port(&seen->last, port, &c);
	if (!seen->told && is_up(bus))
		sd_bus_emit_object_added(bus->sd, path);
	else if (c.n && is_up(bus))
		sd_bus_emit_properties_changed_strv(bus->sd, path, BUS_I_PORT, c.name);
	seen->told = true;
	seen->last = *port;
}

static void flush_nic(struct bus *bus, const struct vnic_link *link)
{
	struct changed c = { .n = 0 };
	struct bus_seen_nic *seen;
	struct bus_nic now;
	char path[BUS_PATH_MAX];
	bool is_new = false;

	HASH_FIND_INT(bus->nics, &link->ifindex, seen);
	if (!seen) {
		seen = calloc(1, sizeof(*seen));
		if (!seen)
			return;
		seen->ifindex = link->ifindex;
		HASH_ADD_INT(bus->nics, ifindex, seen);
		is_new = true;
	}
	seen->there = true;
	bus_nic_path(link->ifindex, path);
	bus_nic_view(bus, link, &now);
	compare_nic(&seen->last, &now, &c);
	if (is_new && is_up(bus))
		sd_bus_emit_object_added(bus->sd, path);
	else if (c.n && is_up(bus))
		sd_bus_emit_properties_changed_strv(bus->sd, path, BUS_I_NIC, c.name);
	seen->last = now;
}

static void flush_nics(struct bus *bus)
{
	struct bus_seen_nic *seen, *next;
	char path[BUS_PATH_MAX];

	bus->nics_dirty = false;
	for (struct vnic_link *l = bus->manager->inv->links; l; l = l->hh.next)
		if (link_is_nic(l))
			flush_nic(bus, l);
	HASH_ITER(hh, bus->nics, seen, next)
	{
		if (!seen->there) {
			removed(bus, bus_nic_path(seen->ifindex, path), BUS_I_NIC);
			HASH_DEL(bus->nics, seen);
			free(seen);
			continue;
		}
		seen->there = false;
	}
}

static bool reasons_differ(const struct bus_reasons *a, const struct bus_reasons *b)
{
	if (a->n != b->n)
		return true;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->text[i], b->text[i]) != 0)
			return true;
	return false;
}

static void flush_manager(struct bus *bus)
{
	bool datapath = bus->manager->dp_state != MANAGER_DP_DOWN;
	struct bus_reasons *spare = bus->seen_reasons;
	struct changed c = { .n = 0 };
	const char *state;

	bus_manager_reasons(bus, bus->scratch);
	state = bus_manager_state_of(bus, bus->scratch);
	note(&c, "State", strcmp(state, bus->seen_state) != 0);
	note(&c, "Reasons", reasons_differ(bus->scratch, bus->seen_reasons));
	note(&c, "DatapathConnected", datapath != bus->seen_datapath);
	bus->seen_state = state;
	bus->seen_datapath = datapath;
	bus->seen_reasons = bus->scratch;
	bus->scratch = spare;
	if (c.n && is_up(bus))
		sd_bus_emit_properties_changed_strv(bus->sd, BUS_ROOT, BUS_I_MANAGER, c.name);
}

void bus_flush(struct bus *bus)
{
	struct bus_seen_port *seen, *next;

	if (!bus->any_dirty)
		return;
	bus->any_dirty = false;
	HASH_ITER(hh, bus->ports, seen, next)
	if (seen->dirty)
		flush_port(bus, seen);
	if (bus->nics_dirty)
		flush_nics(bus);
	flush_manager(bus);
}

static void link_changed(void *data, int ifindex, const struct vnic_link *link)
{
	struct bus *bus = data;

	(void)ifindex;
	(void)link;
	/* A bridge that is renamed changes its nics: all are compared. */
	bus->nics_dirty = true;
	mark(bus);
}

static void segment_changed(void *data, const char *segment)
{
	(void)segment;
	mark(data);
}

static void config_changed(void *data)
{
	struct bus *bus = data;

	bus->nics_dirty = true;
	mark(bus);
}

static void datapath_changed(void *data)
{
	mark(data);
}

int bus_watch_start(struct bus *bus)
{
	bus->seen_state = "starting";
	bus->seen_reasons = calloc(1, sizeof(*bus->seen_reasons));
	bus->scratch = calloc(1, sizeof(*bus->scratch));
	if (!bus->seen_reasons || !bus->scratch)
		return -ENOMEM;
	for (struct vnic_port *p = bus->manager->ports; p; p = p->hh.next)
		port_touched(bus, p);
	bus->nics_dirty = true;
	mark(bus);
	bus->observer = (struct manager_observer){
		.data = bus,
		.port_added = port_touched,
		.port_changed = port_touched,
		.port_removed = port_removed,
		.link_changed = link_changed,
		.segment_changed = segment_changed,
		.config_changed = config_changed,
		.datapath_changed = datapath_changed,
	};
	manager_observe(bus->manager, &bus->observer);
	return 0;
}

void bus_watch_stop(struct bus *bus)
{
	struct bus_seen_port *port, *next_port;
	struct bus_seen_nic *nic, *next_nic;

	if (bus->observer.data)
		manager_unobserve(bus->manager, &bus->observer);
	HASH_ITER(hh, bus->ports, port, next_port)
	{
		HASH_DEL(bus->ports, port);
		free(port);
	}
	HASH_ITER(hh, bus->nics, nic, next_nic)
	{
		HASH_DEL(bus->nics, nic);
		free(nic);
	}
	free(bus->seen_reasons);
	free(bus->scratch);
}
