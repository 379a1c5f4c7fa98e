/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/port.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/paths.h"

static const char *const states[] = {
	[PORT_PREPARING] = "preparing",	    [PORT_READY] = "ready",
	[PORT_CONNECTED] = "connected",	    [PORT_RUNNING] = "running",
	[PORT_QUARANTINED] = "quarantined", [PORT_RELEASING] = "releasing",
	[PORT_FAILED] = "failed",
};

const char *port_state_str(enum port_state state)
{
	return state < ARRAY_SIZE(states) ? states[state] : "unknown";
}

int port_state_parse(const char *s, enum port_state *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (str_eq(s, states[i])) {
			*ret = (enum port_state)i;
			return 0;
		}
	return -EINVAL;
}

static const char *const device_states[] = {
	[DEVICE_NONE] = "none",		  [DEVICE_RESERVED] = "reserved",
	[DEVICE_ATTACHING] = "attaching", [DEVICE_ATTACHED] = "attached",
	[DEVICE_DETACHING] = "detaching", [DEVICE_QUEUE] = "queue",
};

const char *device_state_str(enum device_state state)
{
	return state < ARRAY_SIZE(device_states) ? device_states[state] : "unknown";
}

int device_state_parse(const char *s, enum device_state *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(device_states); i++)
		if (str_eq(s, device_states[i])) {
			*ret = (enum device_state)i;
			return 0;
		}
	return -EINVAL;
}

const char *port_key_format(const struct port_key *key, char buf[PORT_KEY_STR])
{
	char uuid[VNIC_UUID_STR], mac[VNIC_MAC_STR];

	snprintf(buf, PORT_KEY_STR, "%s/%s", uuid_format(key->uuid, uuid),
		 mac_format(key->mac, mac));
	return buf;
}

int port_key_parse(const char *s, struct port_key *ret)
{
	char uuid[VNIC_UUID_STR];
	struct port_key key;

	if (strnlen(s, VNIC_UUID_STR) != VNIC_UUID_STR || s[VNIC_UUID_STR - 1] != '/')
		return -EINVAL;
	memcpy(uuid, s, VNIC_UUID_STR - 1);
	uuid[VNIC_UUID_STR - 1] = '\0';
	if (uuid_parse(uuid, key.uuid) < 0 || mac_parse(s + VNIC_UUID_STR, key.mac) < 0)
		return -EINVAL;
	*ret = key;
	return 0;
}

bool port_key_eq(const struct port_key *a, const struct port_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

struct vnic_port *port_new(const struct port_spec *spec)
{
	struct vnic_port *port = calloc(1, sizeof(*port));

	if (port)
		port->spec = *spec;
	return port;
}

void port_clear(struct vnic_port *port)
{
	plan_clear(&port->plan);
	plan_clear(&port->device.plan);
	free(port->vdpa_stats);
}

struct vnic_port *port_free(struct vnic_port *port)
{
	if (port) {
		port_clear(port);
		free(port);
	}
	return NULL;
}

void port_note(struct vnic_port *port, uint64_t realtime_us, const char *fmt, ...)
{
	struct port_event *e = &port->history[port->history_n++ % PORT_HISTORY];
	va_list ap;

	e->realtime_us = realtime_us;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	str_make_utf8(e->text);
}

const char *port_sock_file(const struct port_spec *spec, char buf[PORT_SOCK_FILE_MAX])
{
	if (!*spec->class_name)
		*buf = '\0';
	else if (spec->vdpa)
		snprintf(buf, PORT_SOCK_FILE_MAX, "%s/%s/%s", VNIC_VDPA_DIR, spec->class_name,
			 spec->name);
	else
		snprintf(buf, PORT_SOCK_FILE_MAX, "%s/%s/%s.sock", VNIC_SOCK_DIR, spec->class_name,
			 spec->name);
	return buf;
}

#define PRIVATE "vmdq."

static_assert(sizeof(PRIVATE) + 2 * (VNIC_UUID_LEN + VNIC_MAC_LEN) <= VNIC_NAME_MAX,
	      "room for a private segment's name");

const char *port_dp_segment(const struct vnic_port *port, char buf[VNIC_NAME_MAX])
{
	const struct port_key *key = &port->spec.key;
	char *p;

	if (port->path != VNIC_PATH_VMDQ) {
		memcpy(buf, port->segment, sizeof(port->segment));
		return buf;
	}
	p = stpcpy(buf, PRIVATE);
	for (size_t i = 0; i < sizeof(key->uuid); i++)
		p += sprintf(p, "%02x", key->uuid[i]);
	for (size_t i = 0; i < sizeof(key->mac); i++)
		p += sprintf(p, "%02x", key->mac[i]);
	return buf;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int port_dp_segment_key(const char *name, struct port_key *ret)
{
	uint8_t bytes[VNIC_UUID_LEN + VNIC_MAC_LEN];

	if (strncmp(name, PRIVATE, strlen(PRIVATE)) ||
	    strlen(name) != strlen(PRIVATE) + 2 * sizeof(bytes))
		return -EINVAL;
	name += strlen(PRIVATE);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		int high = hex(name[2 * i]), low = hex(name[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret->uuid, bytes, sizeof(ret->uuid));
	memcpy(ret->mac, bytes + sizeof(ret->uuid), sizeof(ret->mac));
	return 0;
}
