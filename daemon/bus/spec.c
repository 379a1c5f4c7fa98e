/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The a{sv} of PortAdd, PortAttach and PlanPreview. What a class allows is checked by core/alloc. */
#include "daemon/bus/priv.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int bad(struct vnic_err *err, const char *key, const char *what)
{
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT, "%s: %s", key, what);
}

static int read_text(sd_bus_message *m, const char *key, const char **ret, struct vnic_err *err)
{
	if (sd_bus_message_read(m, "v", "s", ret) < 0)
		return bad(err, key, "must be a string (s)");
	return bus_check_text(key, *ret, err);
}

static int read_name(sd_bus_message *m, const char *key, char *dst, struct vnic_err *err)
{
	const char *text;
	int r = read_text(m, key, &text, err);

	if (r < 0)
		return r;
	if (!name_valid(text))
		return vnic_err_set(
			err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
			"%s \"%s\": write 1 to %d of the characters A-Z a-z 0-9 . _ - and "
			"begin with none of . -",
			key, text, VNIC_NAME_MAX - 1);
	return str_copy(dst, VNIC_NAME_MAX, text);
}

static int read_uuid(sd_bus_message *m, struct bus_spec *s, struct vnic_err *err)
{
	static const uint8_t zero[VNIC_UUID_LEN];
	const char *text;
	int r = read_text(m, "uuid", &text, err);

	if (r < 0)
		return r;
	if (uuid_parse(text, s->spec.key.uuid) < 0 || !memcmp(s->spec.key.uuid, zero, sizeof(zero)))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "uuid \"%s\" is not a domain's UUID, like "
				    "12345678-9abc-def0-1234-56789abcdef0",
				    text);
	s->has_uuid = true;
	return 0;
}

static int read_mac(sd_bus_message *m, struct bus_spec *s, struct vnic_err *err)
{
	const char *text;
	int r = read_text(m, "mac", &text, err);

	if (r < 0)
		return r;
	if (mac_parse(text, s->spec.key.mac) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MAC,
				    "mac \"%s\" is not six pairs of hex digits with colons", text);
	if (!mac_valid_guest(s->spec.key.mac))
		return vnic_err_set(
			err, -EINVAL, VNIC_E_INVALID_MAC,
			"mac %s is %s; a NIC needs a unicast address, like "
			"52:54:00:12:34:56",
			text, s->spec.key.mac[0] & 1 ? "a group (multicast) address" : "zero");
	s->has_mac = true;
	return 0;
}

static int read_domain(sd_bus_message *m, struct bus_spec *s, struct vnic_err *err)
{
	const char *text;
	int r = read_text(m, "domain", &text, err);

	if (r < 0)
		return r;
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f || *p == '/')
			return bad(err, "domain", "holds a control character or a slash");
	if (str_copy(s->spec.domain, sizeof(s->spec.domain), text) < 0)
		return bad(err, "domain", "is too long");
	return 0;
}

/* Whoever may call is root; this keeps a typo from watching a file that never tells of a VM's end. */
static int read_pidfile(sd_bus_message *m, struct bus_spec *s, struct vnic_err *err)
{
	const char *text;
	int r = read_text(m, "pidfile", &text, err);

	if (r < 0)
		return r;
	if (strncmp(text, "/run/", 5) != 0 || strstr(text, "/../") || strstr(text, "//") ||
	    str_copy(s->spec.pidfile, sizeof(s->spec.pidfile), text) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "pidfile \"%s\" must be a whole file name below /run, without "
				    "\"..\"",
				    text);
	return 0;
}

static int read_u32(sd_bus_message *m, const char *key, uint32_t min, uint32_t max, uint32_t *ret,
		    struct vnic_err *err)
{
	uint32_t v;

	if (sd_bus_message_read(m, "v", "u", &v) < 0)
		return bad(err, key, "must be a 32 bit number (u)");
	if (v < min || v > max)
		return vnic_err_set(err, -ERANGE, VNIC_E_INVALID_ARGUMENT,
				    "%s is %u, not between %u and %u", key, v, min, max);
	*ret = v;
	return 0;
}

static int read_vlan(sd_bus_message *m, struct bus_spec *s, struct vnic_err *err)
{
	uint16_t v;

	if (sd_bus_message_read(m, "v", "q", &v) < 0)
		return bad(err, "vlan", "must be a 16 bit number (q)");
	if (v > VNIC_VLAN_MAX)
		return vnic_err_set(err, -ERANGE, VNIC_E_INVALID_ARGUMENT,
				    "vlan is %u, not between 0 (untagged) and %d", v,
				    VNIC_VLAN_MAX);
	s->spec.vlan = v;
	s->spec.has_vlan = true;
	return 0;
}

static int read_rate(sd_bus_message *m, struct bus_spec *s, struct vnic_err *err)
{
	if (sd_bus_message_read(m, "v", "t", &s->spec.rate) < 0)
		return bad(err, "rate", "must be a 64 bit number (t) of bits per second");
	s->spec.has_rate = true;
	return 0;
}

static int read_paths(sd_bus_message *m, struct bus_spec *s, struct vnic_err *err)
{
	char list[BUS_TEXT_MAX] = "";
	const char *item;
	size_t n = 0;
	int r = sd_bus_message_enter_container(m, 'v', "as");

	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "s");
	if (r < 0)
		return bad(err, "paths", "must be an array of strings (as)");
	while ((r = sd_bus_message_read(m, "s", &item)) > 0) {
		if (n + strlen(item) + 2 > sizeof(list))
			return bad(err, "paths",
				   "is too long; the paths are sriov, vdpa, vmdq and "
				   "software");
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", n ? "," : "", item);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0)
		return bad(err, "paths", "cannot be read");
	r = path_list_parse(list, &s->spec.paths, err);
	if (r < 0) {
		char message[VNIC_ERR_MESSAGE_MAX];

		snprintf(message, sizeof(message), "%s", err->message);
		return vnic_err_set(err, r, VNIC_E_INVALID_ARGUMENT, "paths: %s",
				    message[0] ? message : "not a list of paths");
	}
	s->spec.has_paths = true;
	return 0;
}

/* libvirt's type of its interface. */
static int read_type(sd_bus_message *m, struct bus_spec *s, struct vnic_err *err)
{
	const char *text;
	int r = read_text(m, "type", &text, err);

	if (r < 0)
		return r;
	s->spec.vdpa = str_eq(text, "vdpa");
	if (!s->spec.vdpa && !str_eq(text, "vhostuser"))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "type \"%s\" is neither vhostuser nor vdpa", text);
	return 0;
}

enum key {
	KEY_UUID,
	KEY_MAC,
	KEY_CLASS,
	KEY_NAME,
	KEY_DOMAIN,
	KEY_PIDFILE,
	KEY_QUEUES,
	KEY_VLAN,
	KEY_RATE,
	KEY_WEIGHT,
	KEY_PATHS,
	KEY_STANDBY,
	KEY_TYPE,
	KEY_COUNT,
};

static const char *const keys[] = { "uuid",    "mac",	  "class", "name", "domain",
				    "pidfile", "queues",  "vlan",  "rate", "weight",
				    "paths",   "standby", "type" };

_Static_assert(ARRAY_SIZE(keys) == KEY_COUNT, "a name for each key");

static int read_value(sd_bus_message *m, enum key key, struct bus_spec *s, struct vnic_err *err)
{
	int r;

	switch (key) {
	case KEY_UUID:
		return read_uuid(m, s, err);
	case KEY_MAC:
		return read_mac(m, s, err);
	case KEY_CLASS:
		r = read_name(m, "class", s->spec.class_name, err);
		s->has_class = r >= 0;
		return r;
	case KEY_NAME:
		r = read_name(m, "name", s->spec.name, err);
		s->has_name = r >= 0;
		return r;
	case KEY_DOMAIN:
		return read_domain(m, s, err);
	case KEY_PIDFILE:
		return read_pidfile(m, s, err);
	case KEY_QUEUES:
		return read_u32(m, "queues", 1, 8, &s->spec.queues, err);
	case KEY_VLAN:
		return read_vlan(m, s, err);
	case KEY_RATE:
		return read_rate(m, s, err);
	case KEY_WEIGHT:
		r = read_u32(m, "weight", 1, 1000, &s->spec.weight, err);
		s->spec.has_weight = r >= 0;
		return r;
	case KEY_STANDBY:
		return read_name(m, "standby", s->spec.standby, err);
	case KEY_PATHS:
		return read_paths(m, s, err);
	case KEY_TYPE:
		return read_type(m, s, err);
	default:
		return -EINVAL;
	}
}

static int read_entry(sd_bus_message *m, struct bus_spec *s, uint32_t *seen, struct vnic_err *err)
{
	const char *name;
	int r = sd_bus_message_read(m, "s", &name);

	if (r >= 0)
		r = bus_check_text("a key of the spec", name, err);
	if (r < 0)
		return r;
	for (unsigned int k = 0; k < KEY_COUNT; k++) {
		if (strcmp(name, keys[k]) != 0)
			continue;
		if (*seen & 1U << k)
			return bad(err, name, "is there twice");
		*seen |= 1U << k;
		return read_value(m, k, s, err);
	}
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
			    "\"%s\" is no key of a port's spec; those are uuid, mac, class, name, "
			    "domain, pidfile, queues, vlan, rate, weight, paths, standby and type",
			    name);
}

int bus_spec_read(sd_bus_message *m, struct bus_spec *ret, struct vnic_err *err)
{
	struct bus_spec s = { .spec.queues = 1 };
	uint32_t seen = 0;
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0) {
		r = sd_bus_message_enter_container(m, 'e', "sv");
		if (r <= 0)
			break;
		r = read_entry(m, &s, &seen, err);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0)
		return err->code[0] ? r : bad(err, "spec", "cannot be read");
	*ret = s;
	return 0;
}

void bus_spec_default_name(struct port_spec *spec)
{
	const uint8_t *m = spec->key.mac;

	snprintf(spec->name, sizeof(spec->name), "%02x%02x%02x%02x%02x%02x", m[0], m[1], m[2], m[3],
		 m[4], m[5]);
}
