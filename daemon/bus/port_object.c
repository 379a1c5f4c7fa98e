/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /org/vnicd1/port/UUID_MAC */
#include "daemon/bus/priv.h"

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

static int get_string(sd_bus *sd, const char *path, const char *interface, const char *property,
		      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct vnic_port *port = userdata;
	char buf[PORT_SOCK_FILE_MAX + PORT_KEY_STR];
	const char *s = "";

	(void)sd;
	(void)path;
	(void)interface;
	(void)error;
	if (!strcmp(property, "Key"))
		s = port_key_format(&port->spec.key, buf);
	else if (!strcmp(property, "Uuid"))
		s = uuid_format(port->spec.key.uuid, buf);
	else if (!strcmp(property, "Mac"))
		s = mac_format(port->spec.key.mac, buf);
	else if (!strcmp(property, "Domain"))
		s = port->spec.domain;
	else if (!strcmp(property, "Class"))
		s = port->spec.class_name;
	else if (!strcmp(property, "Segment"))
		s = port->segment;
	else if (!strcmp(property, "Name"))
		s = port->spec.name;
	else if (!strcmp(property, "Socket"))
		s = port_sock_file(&port->spec, buf);
	else if (!strcmp(property, "State"))
		s = port_state_str(port->state);
	else if (!strcmp(property, "Reason"))
		s = port->reason;
	else if (!strcmp(property, "Path"))
		s = vnic_path_str(port->path);
	return sd_bus_message_append(reply, "s", s);
}

static int get_number(sd_bus *sd, const char *path, const char *interface, const char *property,
		      sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct vnic_port *port = userdata;
	uint32_t v = 0;

	(void)sd;
	(void)path;
	(void)interface;
	(void)error;
	if (!strcmp(property, "Weight"))
		v = port->weight;
	else if (!strcmp(property, "Queues"))
		v = port->queues;
	else if (!strcmp(property, "QueuesActive"))
		v = port->queues_active;
	else if (!strcmp(property, "PeerPid"))
		v = (uint32_t)port->peer_pid;
	else if (!strcmp(property, "Restarts"))
		v = port->restarts;
	return sd_bus_message_append(reply, "u", v);
}

static int get_u64(sd_bus *sd, const char *path, const char *interface, const char *property,
		   sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct vnic_port *port = userdata;

	(void)sd;
	(void)path;
	(void)interface;
	(void)error;
	return sd_bus_message_append(reply, "t",
				     !strcmp(property, "Rate") ? port->rate : port->generation);
}

static int get_vlan(sd_bus *sd, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct vnic_port *port = userdata;

	(void)sd;
	(void)path;
	(void)interface;
	(void)property;
	(void)error;
	return sd_bus_message_append(reply, "q", port->vlan);
}

static int get_logging(sd_bus *sd, const char *path, const char *interface, const char *property,
		       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct vnic_port *port = userdata;

	(void)sd;
	(void)path;
	(void)interface;
	(void)property;
	(void)error;
	return sd_bus_message_append(reply, "b", port->logging);
}

static int get_counters(sd_bus *sd, const char *path, const char *interface, const char *property,
			sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct port_counters_view *c = &((const struct vnic_port *)userdata)->counters;

	(void)sd;
	(void)path;
	(void)interface;
	(void)property;
	(void)error;
	return sd_bus_message_append(reply, "a{st}", 7, "rx_packets", c->rx_packets, "rx_bytes",
				     c->rx_bytes, "rx_dropped", c->rx_dropped, "tx_packets",
				     c->tx_packets, "tx_bytes", c->tx_bytes, "tx_dropped",
				     c->tx_dropped, "tx_spoofed", c->tx_spoofed);
}

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

#define CONSTANT SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES	 SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

const sd_bus_vtable bus_port_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Key", "s", get_string, 0, CONSTANT),
	SD_BUS_PROPERTY("Uuid", "s", get_string, 0, CONSTANT),
	SD_BUS_PROPERTY("Mac", "s", get_string, 0, CONSTANT),
	SD_BUS_PROPERTY("Domain", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Class", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Segment", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Name", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Socket", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("State", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Reason", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Path", "s", get_string, 0, CHANGES),
	SD_BUS_PROPERTY("Vlan", "q", get_vlan, 0, CHANGES),
	SD_BUS_PROPERTY("Rate", "t", get_u64, 0, CHANGES),
	SD_BUS_PROPERTY("Weight", "u", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("Queues", "u", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("QueuesActive", "u", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("Generation", "t", get_u64, 0, CHANGES),
	SD_BUS_PROPERTY("PeerPid", "u", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("Logging", "b", get_logging, 0, CHANGES),
	SD_BUS_PROPERTY("Restarts", "u", get_number, 0, CHANGES),
	SD_BUS_PROPERTY("Counters", "a{st}", get_counters, 0, 0),
	SD_BUS_PROPERTY("History", "a(ts)", get_history, 0, 0),
	SD_BUS_VTABLE_END,
};
