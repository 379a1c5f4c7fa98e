/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /org/vnicd1/port/UUID_MAC */
#include "daemon/bus/getter.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *bus_port_path(const struct port_key *key, char buf[BUS_PATH_MAX])
{
	size_t n = (size_t)snprintf(buf, BUS_PATH_MAX, "%s/", BUS_PORTS);

	for (size_t i = 0; i < VNIC_UUID_LEN; i++)
		n += (size_t)snprintf(buf + n, BUS_PATH_MAX - n, "%02x", key->uuid[i]);
	n += (size_t)snprintf(buf + n, BUS_PATH_MAX - n, "_");
	for (size_t i = 0; i < VNIC_MAC_LEN; i++)
		n += (size_t)snprintf(buf + n, BUS_PATH_MAX - n, "%02x", key->mac[i]);
	return buf;
}

static int hex(const char *s, size_t n, uint8_t *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 2 * n; i++) {
		const char *d = s[i] ? strchr(digits, s[i]) : NULL;

		if (!d)
			return -EINVAL;
		ret[i / 2] = (uint8_t)(ret[i / 2] << 4 | (d - digits));
	}
	return 0;
}

static int path_parse(const char *path, struct port_key *ret)
{
	const char *s = path + strlen(BUS_PORTS);

	if (strncmp(path, BUS_PORTS, strlen(BUS_PORTS)) != 0 || *s != '/' ||
	    strlen(++s) != 2 * VNIC_UUID_LEN + 1 + 2 * VNIC_MAC_LEN ||
	    hex(s, VNIC_UUID_LEN, ret->uuid) < 0 || s[2 * VNIC_UUID_LEN] != '_')
		return -EINVAL;
	return hex(s + 2 * VNIC_UUID_LEN + 1, VNIC_MAC_LEN, ret->mac);
}

int bus_port_find(sd_bus *sd, const char *path, const char *interface, void *userdata, void **found,
		  sd_bus_error *error)
{
	struct bus *bus = userdata;
	struct port_key key;
	struct vnic_port *port;

	(void)sd;
	(void)interface;
	(void)error;
	memset(&key, 0, sizeof(key));
	if (path_parse(path, &key) < 0)
		return 0;
	port = manager_port(bus->manager, &key);
	if (!port)
		return 0;
	*found = port;
	return 1;
}

int bus_port_list(sd_bus *sd, const char *prefix, void *userdata, char ***ret, sd_bus_error *error)
{
	struct bus *bus = userdata;
	size_t n = HASH_COUNT(bus->manager->ports), i = 0;
	char **paths = calloc(n + 1, sizeof(*paths)), buf[BUS_PATH_MAX];

	(void)sd;
	(void)prefix;
	(void)error;
	if (!paths)
		return -ENOMEM;
	for (struct vnic_port *p = bus->manager->ports; p && i < n; p = p->hh.next) {
		paths[i] = strdup(bus_port_path(&p->spec.key, buf));
		if (!paths[i++])
			break;
	}
	*ret = paths;
	return 0;
}

BUS_GETTER(get_key, struct port_key, "s", port_key_format(v, (char[PORT_KEY_STR]){ 0 }));
BUS_GETTER(get_uuid, uint8_t, "s", uuid_format(v, (char[VNIC_UUID_STR]){ 0 }));
BUS_GETTER(get_socket, struct port_spec, "s", port_sock_file(v, (char[PORT_SOCK_FILE_MAX]){ 0 }));
BUS_GETTER(get_state, enum port_state, "s", port_state_str(*v));
BUS_GETTER(get_path, enum vnic_path, "s", vnic_path_str(*v));
BUS_GETTER(get_counters, struct port_counters_view, "a{st}", 7, "rx_packets", v->rx_packets,
	   "rx_bytes", v->rx_bytes, "rx_dropped", v->rx_dropped, "tx_packets", v->tx_packets,
	   "tx_bytes", v->tx_bytes, "tx_dropped", v->tx_dropped, "tx_spoofed", v->tx_spoofed);

static int get_history(sd_bus *sd, const char *path, const char *interface, const char *property,
		       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct vnic_port *port = userdata;
	uint64_t first = port->history_n > PORT_HISTORY ? port->history_n - PORT_HISTORY : 0;
	int r = sd_bus_message_open_container(reply, 'a', "(ts)");

	(void)sd;
	(void)path;
	(void)interface;
	(void)property;
	(void)error;
	for (uint64_t i = first; r >= 0 && i < port->history_n; i++) {
		const struct port_event *e = &port->history[i % PORT_HISTORY];

		r = sd_bus_message_append(reply, "(ts)", e->realtime_us, e->text);
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* The vtable's userdata is the port; the bus is its slot's. */
static struct bus *bus_of(sd_bus *sd)
{
	return sd_bus_slot_get_userdata(sd_bus_get_current_slot(sd));
}

static int get_device(sd_bus *sd, const char *path, const char *interface, const char *property,
		      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct inventory *inv = bus_of(sd)->manager->inv;
	const struct port_device *d = userdata;
	const struct vnic_pf *pf = *d->pf ? inventory_pf(inv, d->pf) : NULL;
	const struct vnic_link *link = pf ? inventory_find(inv, pf->ifindex) : NULL;
	const struct vnic_link *netdev = NULL;

	(void)path;
	(void)interface;
	(void)property;
	(void)error;
	if (pf && d->state == DEVICE_QUEUE && d->vf < pf->n_vf)
		netdev = inventory_find(inv, pf->vf[d->vf].ifindex);
	if (d->state == DEVICE_NONE)
		return sd_bus_message_append(reply, "a{sv}", 3, "state", "s",
					     device_state_str(d->state), "reason", "s", d->reason,
					     "held", "b", d->hold);
	return sd_bus_message_append(reply, "a{sv}", 9, "held", "b", d->hold, "asked", "s",
				     d->asked, "state", "s", device_state_str(d->state), "reason",
				     "s", d->reason, "pf", "s", d->pf, "nic", "s",
				     link ? link->name : "", "vf", "u", (uint32_t)d->vf, "vf_addr",
				     "s", d->vf_addr, "netdev", "s", netdev ? netdev->name : "");
}

static int append_stats(sd_bus_message *m, const struct vdpa_stats *stats)
{
	static const struct vdpa_stats never;
	int r;

	if (!stats)
		stats = &never;
	r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}", "pairs", "u", stats->pairs, "denied",
				  "t", stats->denied, "mac_asked", "s", stats->mac_asked,
				  "nic_queue", "s", stats->nic_queue, "no_counters", "s",
				  stats->none);

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'e', "sv");
	if (r >= 0)
		r = sd_bus_message_append(m, "s", "stats");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "aa{sv}");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "a{sv}");
	for (size_t i = 0; r >= 0 && i < stats->n; i++)
		r = sd_bus_message_append(m, "a{sv}", 3, "queue", "u", stats->stat[i].queue, "name",
					  "s", stats->stat[i].name, "value", "t",
					  stats->stat[i].value);
	for (int i = 0; r >= 0 && i < 3; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

/* Of a port whose device it is: the rest of what there is to say of it the inventory knows. */
static int get_vdpa(sd_bus *sd, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct inventory *inv = bus_of(sd)->manager->inv;
	const struct vnic_port *port = userdata;
	const struct step *add = port->spec.vdpa ? plan_find(&port->plan, STEP_VDPA_ADD) : NULL;
	const struct vdpa_dev *dev = NULL;
	int r;

	(void)path;
	(void)interface;
	(void)property;
	(void)error;
	if (!add)
		return sd_bus_message_append(reply, "a{sv}", 0);
	HASH_FIND_STR(inv->vdpas, add->dev, dev);
	r = sd_bus_message_open_container(reply, 'a', "{sv}");
	if (r >= 0)
		r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}", "name", "s", add->dev,
					  "mgmtdev", "s", add->mgmtdev, "driver", "s",
					  dev ? dev->driver : "", "node", "s",
					  dev ? dev->node : "");
	if (r >= 0)
		r = append_stats(reply, port->vdpa_stats);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

#define CONSTANT   SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES	   SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define AT(member) offsetof(struct vnic_port, member)

/* What the bus knows how to write (numbers of its own sizes) has no getter. */
const sd_bus_vtable bus_port_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Key", "s", get_key, AT(spec.key), CONSTANT),
	SD_BUS_PROPERTY("Uuid", "s", get_uuid, AT(spec.key.uuid), CONSTANT),
	SD_BUS_PROPERTY("Mac", "s", bus_get_mac, AT(spec.key.mac), CONSTANT),
	SD_BUS_PROPERTY("Domain", "s", bus_get_text, AT(spec.domain), CHANGES),
	SD_BUS_PROPERTY("Class", "s", bus_get_text, AT(spec.class_name), CHANGES),
	SD_BUS_PROPERTY("Segment", "s", bus_get_text, AT(segment), CHANGES),
	SD_BUS_PROPERTY("Name", "s", bus_get_text, AT(spec.name), CHANGES),
	SD_BUS_PROPERTY("Socket", "s", get_socket, AT(spec), CHANGES),
	SD_BUS_PROPERTY("State", "s", get_state, AT(state), CHANGES),
	SD_BUS_PROPERTY("Reason", "s", bus_get_text, AT(reason), CHANGES),
	SD_BUS_PROPERTY("Path", "s", get_path, AT(path), CHANGES),
	SD_BUS_PROPERTY("Vlan", "q", NULL, AT(vlan), CHANGES),
	SD_BUS_PROPERTY("Rate", "t", NULL, AT(rate), CHANGES),
	SD_BUS_PROPERTY("Weight", "u", NULL, AT(weight), CHANGES),
	SD_BUS_PROPERTY("Queues", "u", NULL, AT(queues), CHANGES),
	SD_BUS_PROPERTY("QueuesActive", "u", NULL, AT(queues_active), CHANGES),
	SD_BUS_PROPERTY("Generation", "t", NULL, AT(generation), CHANGES),
	SD_BUS_PROPERTY("PeerPid", "u", NULL, AT(peer_pid), CHANGES),
	SD_BUS_PROPERTY("Logging", "b", bus_get_bool, AT(logging), CHANGES),
	SD_BUS_PROPERTY("Restarts", "u", NULL, AT(restarts), CHANGES),
	SD_BUS_PROPERTY("Device", "a{sv}", get_device, AT(device), CHANGES),
	SD_BUS_PROPERTY("Vdpa", "a{sv}", get_vdpa, 0, 0),
	SD_BUS_PROPERTY("Counters", "a{st}", get_counters, AT(counters), 0),
	SD_BUS_PROPERTY("History", "a(ts)", get_history, 0, 0),
	SD_BUS_VTABLE_END,
};
