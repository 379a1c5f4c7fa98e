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
	[DEVICE_DETACHING] = "detaching",
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

struct vnic_port *port_free(struct vnic_port *port)
{
	if (port) {
		plan_clear(&port->plan);
		plan_clear(&port->device.plan);
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
	else
		snprintf(buf, PORT_SOCK_FILE_MAX, "%s/%s/%s.sock", VNIC_SOCK_DIR, spec->class_name,
			 spec->name);
	return buf;
}
