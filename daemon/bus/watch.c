/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals. The manager tells what may have changed; the turn of the loop after that compares it with what
 * was last told, and names exactly the properties that differ. Many changes in one turn are one signal.
 */
#include "daemon/bus/priv.h"

#include <stdlib.h>
#include <string.h>

#define CHANGED_MAX 40
/* How long changes of VFs are gathered before they are told. */
#define LAZY_US 100000

/* What was last told of a port. */
struct bus_seen_port {
	struct port_key key;
	bool dirty, told; /* told: InterfacesAdded was sent */
	struct vnic_port last; /* plan and history are not kept */
	UT_hash_handle hh;
};

struct bus_seen_nic {
	char path[BUS_PATH_MAX];
	bool there; /* mark and sweep */
	struct bus_nic last;
	uint64_t *vf; /* digests of n_vf VFs */
	int n_vf;
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

/* In what is told of it; it concerns the nic too. */
static bool device_differs(const struct port_device *a, const struct port_device *b)
{
	return a->state != b->state || a->hold != b->hold || !str_eq(a->asked, b->asked) ||
	       !str_eq(a->pf, b->pf) || a->vf != b->vf || !str_eq(a->vf_addr, b->vf_addr) ||
	       !str_eq(a->reason, b->reason);
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
	note(c, "Device", device_differs(&a->device, &b->device));
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
	note(c, "Autoprobe", seen->pf.autoprobe != now->pf.autoprobe);
	note(c, "EswitchMode", seen->pf.eswitch != now->pf.eswitch);
	note(c, "L2FwdOffload", seen->pf.fwd_offload != now->pf.fwd_offload);
	note(c, "Ntuple", seen->pf.ntuple != now->pf.ntuple);
	note(c, "Channels", seen->pf.channels != now->pf.channels);
	note(c, "ChannelsMax", seen->pf.channels_max != now->pf.channels_max);
	note(c, "VfsTaken", seen->taken != now->taken);
	note(c, "VfsFree", seen->free != now->free);
	note(c, "VfsWanted", seen->wanted != now->wanted);
	note(c, "VfsReady", seen->ready != now->ready);
	note(c, "VfsReason", !str_eq(seen->reason, now->reason));
	note(c, "Drained", seen->drained != now->drained);
	note(c, "VnicWanted", seen->vnic != now->vnic);
	note(c, "VnicReady", seen->vnic_ready != now->vnic_ready);
	note(c, "VnicReason", !str_eq(seen->vnic_reason, now->vnic_reason));
	note(c, "VdpaMgmtdevs", seen->mgmtdevs != now->mgmtdevs);
	note(c, "VdpaDevices", seen->vdpas != now->vdpas);
	note(c, "MdevTypes", seen->mdevs != now->mdevs);
}

/* VFs changed, or who has them. */
static void vfs_changed(struct bus *bus)
{
	static const struct timeval lazy = { 0, LAZY_US };

	if (!evtimer_pending(bus->lazy, NULL))
		evtimer_add(bus->lazy, &lazy);
}

static void on_lazy(evutil_socket_t fd, short what, void *arg)
{
	struct bus *bus = arg;

	(void)fd;
	(void)what;
	bus->nics_dirty = bus->vfs_dirty = true;
	mark(bus);
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
	if (seen->last.device.state != DEVICE_NONE)
		vfs_changed(bus);
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
	if (device_differs(&seen->last.device, &port->device))
		vfs_changed(bus);
	if (!seen->told && is_up(bus))
		sd_bus_emit_object_added(bus->sd, path);
	else if (c.n && is_up(bus))
		sd_bus_emit_properties_changed_strv(bus->sd, path, BUS_I_PORT, c.name);
	seen->told = true;
	seen->last = *port;
}

/* Which VFs differ from what was last told? One signal spans them all: of a change of many there are no thousands. */
static void flush_vfs(struct bus *bus, struct bus_seen_nic *seen, const struct vnic_pf *pf,
		      bool is_new)
{
	_cleanup_(freep) const struct vnic_port **holder = NULL;
	int n = pf ? pf->n_vf : 0, first = -1, last = -1;
	uint64_t *vf = NULL;

	if (n) {
		vf = calloc((size_t)n, sizeof(*vf));
		holder = bus_vf_holders(bus, pf);
		if (!vf || !holder) {
			free(vf);
			return;
		}
	}
	for (int i = 0; i < n || i < seen->n_vf; i++) {
		if (i < n)
			vf[i] = bus_vf_digest(bus, &pf->vf[i], holder[i]);
		if (i < n && i < seen->n_vf && vf[i] == seen->vf[i])
			continue;
		if (first < 0)
			first = i;
		last = i;
	}
	free(seen->vf);
	seen->vf = vf;
	seen->n_vf = n;
	if (last >= 0 && !is_new && is_up(bus))
		sd_bus_emit_signal(bus->sd, seen->path, BUS_I_NIC, "VfsChanged", "uu",
				   (uint32_t)first, (uint32_t)last);
}

static struct bus_seen_nic *seen_nic(struct bus *bus, const char *path, bool *ret_new)
{
	struct bus_seen_nic *seen;

	HASH_FIND_STR(bus->nics, path, seen);
	*ret_new = !seen;
	if (!seen) {
		seen = calloc(1, sizeof(*seen));
		if (!seen)
			return NULL;
		str_copy(seen->path, sizeof(seen->path), path);
		HASH_ADD_STR(bus->nics, path, seen);
	}
	return seen;
}

/* Of a link that is a nic, or of a PF that has none. */
static void flush_nic(struct bus *bus, const struct vnic_link *link, const struct vnic_pf *pf)
{
	struct changed c = { .n = 0 };
	struct bus_seen_nic *seen;
	struct bus_nic now;
	char path[BUS_PATH_MAX];
	bool is_new;

	bus_nic_view(bus, link, pf, &now);
	seen = seen_nic(bus, bus_nic_path(&now, path), &is_new);
	if (!seen)
		return;
	seen->there = true;
	compare_nic(&seen->last, &now, &c);
	if (is_new && is_up(bus))
		sd_bus_emit_object_added(bus->sd, path);
	else if (c.n && is_up(bus))
		sd_bus_emit_properties_changed_strv(bus->sd, path, BUS_I_NIC, c.name);
	seen->last = now;
	if (bus->vfs_dirty || is_new)
		flush_vfs(bus, seen, inventory_pf(bus->manager->inv, now.pf.addr), is_new);
}

static void seen_nic_free(struct bus *bus, struct bus_seen_nic *seen)
{
	HASH_DEL(bus->nics, seen);
	free(seen->vf);
	free(seen);
}

static void flush_nics(struct bus *bus)
{
	const struct inventory *inv = bus->manager->inv;
	struct bus_seen_nic *seen, *next;

	for (struct vnic_link *l = inv->links; l; l = l->hh.next)
		if (link_is_nic(l))
			flush_nic(bus, l, NULL);
	for (struct vnic_pf *pf = inv->pfs; pf; pf = pf->hh.next)
		if (bus_pf_is_alone(bus, pf))
			flush_nic(bus, NULL, pf);
	bus->nics_dirty = bus->vfs_dirty = false;
	HASH_ITER(hh, bus->nics, seen, next)
	{
		if (!seen->there) {
			removed(bus, seen->path, BUS_I_NIC);
			seen_nic_free(bus, seen);
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
	/* Guests come and go with these, and no nic is in one. */
	if (link && (link->kind == LINK_TAP || link->kind == LINK_VETH || link->kind == LINK_VF ||
		     link->kind == LINK_REPRESENTOR))
		return;
	/* A bridge that is renamed changes its nics: all are compared. */
	bus->nics_dirty = true;
	mark(bus);
}

static void pf_changed(void *data, const char *pf)
{
	(void)pf;
	vfs_changed(data);
}

static void hostdev_changed(void *data, const struct vnic_hostdev *hostdev)
{
	(void)hostdev;
	vfs_changed(data);
}

static void vdpa_changed(void *data)
{
	vfs_changed(data);
}

static void nic_changed(void *data, const struct nic_share *nic)
{
	struct bus *bus = data;

	(void)nic;
	bus->nics_dirty = true;
	mark(bus);
}

static void nic_removed(void *data, const char *pf)
{
	(void)pf;
	nic_changed(data, NULL);
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
	bus->lazy = evtimer_new(bus->base, on_lazy, bus);
	bus->seen_reasons = calloc(1, sizeof(*bus->seen_reasons));
	bus->scratch = calloc(1, sizeof(*bus->scratch));
	if (!bus->lazy || !bus->seen_reasons || !bus->scratch)
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
		.nic_changed = nic_changed,
		.nic_removed = nic_removed,
		.hostdev_changed = hostdev_changed,
		.pf_changed = pf_changed,
		.vdpa_changed = vdpa_changed,
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
	seen_nic_free(bus, nic);
	if (bus->lazy)
		event_free(bus->lazy);
	free(bus->seen_reasons);
	free(bus->scratch);
}
