/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/ovsdb.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

struct ovs *ovs_new(void)
{
	return calloc(1, sizeof(struct ovs));
}

struct ovs *ovs_free(struct ovs *ovs)
{
	struct ovs_bridge *b, *b_next;
	struct ovs_port *p, *p_next;

	if (!ovs)
		return NULL;
	HASH_ITER(hh, ovs->bridges, b, b_next)
	{
		HASH_DEL(ovs->bridges, b);
		free(b);
	}
	HASH_ITER(hh, ovs->ports, p, p_next)
	{
		HASH_DEL(ovs->ports, p);
		free(p->trunks);
		free(p);
	}
	free(ovs);
	return NULL;
}

static struct json_object *must(struct json_object *o)
{
	if (!o)
		abort();
	return o;
}

struct json_object *ovsdb_str(const char *s)
{
	return must(json_object_new_string(s));
}

struct json_object *ovsdb_int(int i)
{
	return must(json_object_new_int(i));
}

struct json_object *ovsdb_array(struct json_object *first, ...)
{
	struct json_object *a = must(json_object_new_array());
	va_list ap;

	va_start(ap, first);
	for (struct json_object *o = first; o; o = va_arg(ap, struct json_object *))
		if (json_object_array_add(a, o) < 0)
			abort();
	va_end(ap);
	return a;
}

struct json_object *ovsdb_object(const char *key, ...)
{
	struct json_object *o = must(json_object_new_object());
	va_list ap;

	va_start(ap, key);
	for (const char *k = key; k; k = va_arg(ap, const char *))
		if (json_object_object_add(o, k, va_arg(ap, struct json_object *)) < 0)
			abort();
	va_end(ap);
	return o;
}

/* ["set", […]], ["map", […]] or ["uuid", …]: the second one. */
static struct json_object *tagged(struct json_object *value, const char *tag)
{
	struct json_object *first;

	if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) != 2)
		return NULL;
	first = json_object_array_get_idx(value, 0);
	if (!json_object_is_type(first, json_type_string) ||
	    !str_eq(json_object_get_string(first), tag))
		return NULL;
	return json_object_array_get_idx(value, 1);
}

static struct json_object *elements(struct json_object *value, const char *tag)
{
	struct json_object *list = tagged(value, tag);

	return json_object_is_type(list, json_type_array) ? list : NULL;
}

size_t ovsdb_set_len(struct json_object *value)
{
	struct json_object *list = elements(value, "set");

	return list ? json_object_array_length(list) : value ? 1 : 0;
}

struct json_object *ovsdb_set_at(struct json_object *value, size_t i)
{
	struct json_object *list = elements(value, "set");

	return list ? json_object_array_get_idx(list, i) : value;
}

static const char *text(struct json_object *o)
{
	return json_object_is_type(o, json_type_string) ? json_object_get_string(o) : NULL;
}

const char *ovsdb_uuid(struct json_object *value)
{
	return text(tagged(value, "uuid"));
}

const char *ovsdb_map_get(struct json_object *value, const char *key)
{
	struct json_object *list = elements(value, "map");

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *pair = json_object_array_get_idx(list, i);
		const char *k;

		if (!json_object_is_type(pair, json_type_array) ||
		    json_object_array_length(pair) != 2)
			continue;
		k = text(json_object_array_get_idx(pair, 0));
		if (k && str_eq(k, key))
			return text(json_object_array_get_idx(pair, 1));
	}
	return NULL;
}

static struct json_object *columns(const char *a, const char *b, const char *c, const char *d)
{
	struct json_object *list = ovsdb_array(ovsdb_str(a), ovsdb_str(b), NULL);

	if (c && json_object_array_add(list, ovsdb_str(c)) < 0)
		abort();
	if (d && json_object_array_add(list, ovsdb_str(d)) < 0)
		abort();
	return ovsdb_array(ovsdb_object("columns", list, NULL), NULL);
}

struct json_object *ovsdb_monitor(void)
{
	struct json_object *tables =
		ovsdb_object("Bridge", columns("name", "ports", NULL, NULL), "Port",
			     columns("name", "interfaces", "external_ids", "trunks"), "Interface",
			     columns("name", "error", NULL, NULL), NULL);
	struct json_object *params =
		ovsdb_array(ovsdb_str(OVSDB_NAME), ovsdb_str("vnicd"), tables, NULL);

	return ovsdb_object("id", ovsdb_str("monitor"), "method", ovsdb_str("monitor"), "params",
			    params, NULL);
}

void ovsdb_update(struct json_object *db, struct json_object *updates)
{
	if (!json_object_is_type(updates, json_type_object))
		return;
	json_object_object_foreach(updates, name, rows)
	{
		struct json_object *table;

		if (!json_object_is_type(rows, json_type_object))
			continue;
		if (!json_object_object_get_ex(db, name, &table)) {
			table = must(json_object_new_object());
			json_object_object_add(db, name, table);
		}
		json_object_object_foreach(rows, uuid, row)
		{
			struct json_object *now = NULL;

			if (json_object_is_type(row, json_type_object) &&
			    json_object_object_get_ex(row, "new", &now) &&
			    json_object_is_type(now, json_type_object))
				json_object_object_add(table, uuid, json_object_get(now));
			else
				json_object_object_del(table, uuid);
		}
	}
}

static struct json_object *get(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, key, &v);
	return v;
}

/* A row's name as one of an interface of this host; NULL: it cannot be one. */
static const char *row_name(struct json_object *row)
{
	const char *name = text(get(row, "name"));

	return name && ifname_valid(name) ? name : NULL;
}

static int read_trunks(struct ovs_port *p, struct json_object *set)
{
	p->trunks = calloc(1, sizeof(*p->trunks));
	if (!p->trunks)
		return -1;
	for (size_t i = 0; i < ovsdb_set_len(set); i++) {
		struct json_object *v = ovsdb_set_at(set, i);
		int64_t vlan = json_object_is_type(v, json_type_int) ? json_object_get_int64(v)
								     : -1;

		if (vlan >= 0 && vlan <= VNIC_VLAN_MAX)
			vlan_set_add(p->trunks, (unsigned int)vlan);
	}
	return 0;
}

/* The interfaces of a port of @bridge. */
static int read_port(struct ovs *ovs, struct json_object *db, const char *bridge,
		     struct json_object *row)
{
	const char *ours = ovsdb_map_get(get(row, "external_ids"), OVSDB_OURS);
	struct json_object *interfaces = get(row, "interfaces");

	for (size_t i = 0; i < ovsdb_set_len(interfaces); i++) {
		const char *uuid = ovsdb_uuid(ovsdb_set_at(interfaces, i));
		struct json_object *iface = uuid ? get(get(db, "Interface"), uuid) : NULL;
		const char *name = row_name(iface), *error = text(get(iface, "error"));
		struct ovs_port *p = NULL;

		if (name)
			HASH_FIND_STR(ovs->ports, name, p);
		if (!name || p)
			continue;
		p = calloc(1, sizeof(*p));
		if (!p)
			return -1;
		str_copy(p->name, sizeof(p->name), name);
		str_copy(p->bridge, sizeof(p->bridge), bridge);
		snprintf(p->ours, sizeof(p->ours), "%s", ours ? ours : "");
		snprintf(p->error, sizeof(p->error), "%s", error ? error : "");
		str_make_utf8(p->error);
		HASH_ADD_STR(ovs->ports, name, p);
		if (*p->ours && read_trunks(p, get(row, "trunks")) < 0)
			return -1;
	}
	return 0;
}

static int read_bridge(struct ovs *ovs, struct json_object *db, struct json_object *row)
{
	struct json_object *ports = get(row, "ports");
	const char *name = row_name(row);
	struct ovs_bridge *b = NULL;
	int r = 0;

	if (name)
		HASH_FIND_STR(ovs->bridges, name, b);
	if (!name || b)
		return 0;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -1;
	str_copy(b->name, sizeof(b->name), name);
	HASH_ADD_STR(ovs->bridges, name, b);
	for (size_t i = 0; r == 0 && i < ovsdb_set_len(ports); i++) {
		const char *uuid = ovsdb_uuid(ovsdb_set_at(ports, i));

		if (uuid)
			r = read_port(ovs, db, b->name, get(get(db, "Port"), uuid));
	}
	return r;
}

struct ovs *ovsdb_read(struct json_object *db)
{
	struct json_object *bridges = get(db, "Bridge");
	struct ovs *ovs = ovs_new();
	int r = ovs ? 0 : -1;

	if (ovs && json_object_is_type(bridges, json_type_object)) {
		json_object_object_foreach(bridges, uuid, row)
		{
			(void)uuid;
			if (r == 0)
				r = read_bridge(ovs, db, row);
		}
	}
	if (r < 0)
		return ovs_free(ovs);
	ovs->synced = true;
	return ovs;
}
