/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open vSwitch's database as far as we need it: what sys reads of it and exec writes to it in JSON (RFC 7047,
 * ovs-vswitchd.conf.db(5)), and what the inventory keeps of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <json-c/json.h>
#include <net/if.h>
#include <uthash.h>

#include "daemon/model/config.h"

#define OVSDB_NAME "Open_vSwitch"

/* The key in external_ids of the Port rows that we make; its value says what for. */
#define OVSDB_OURS "vnicd"

/* An interface of Open vSwitch's, and the bridge that it is a port of, alone or with others as a bond. */
struct ovs_port {
	char name[IFNAMSIZ]; /* the key */
	char bridge[IFNAMSIZ];
	char ours[64]; /* what we made it for; empty: we did not */
	struct vlan_set *trunks; /* of ours: the VLANs let through; malloc()ed */
	char error[128]; /* why Open vSwitch does not move its frames; empty: it does */
	UT_hash_handle hh;
};

struct ovs_bridge {
	char name[IFNAMSIZ]; /* the key */
	UT_hash_handle hh;
};

struct ovs {
	bool synced; /* ovsdb-server is there: this is how things are, else how they were last */
	struct ovs_bridge *bridges;
	struct ovs_port *ports;
};

struct ovs *ovs_new(void);
struct ovs *ovs_free(struct ovs *ovs);

/**
 * ovsdb_read() - what monitored rows say
 * @db: an object of tables (Bridge, Port, Interface), each an object of rows by UUID, as of ovsdb_monitor();
 *	hostile until checked: what is malformed is left out
 * Return: a new one, synced, or NULL where memory is out.
 */
struct ovs *ovsdb_read(struct json_object *db);

/* The monitor request for what ovsdb_read() reads. */
struct json_object *ovsdb_monitor(void);

/* Put <table-updates> into @db. */
void ovsdb_update(struct json_object *db, struct json_object *updates);

/* A set's elements: an atom is a set of one. */
size_t ovsdb_set_len(struct json_object *value);
struct json_object *ovsdb_set_at(struct json_object *value, size_t i);
/* The UUID of ["uuid", UUID], or NULL. */
const char *ovsdb_uuid(struct json_object *value);
/* The string at @key of a map, or NULL. */
const char *ovsdb_map_get(struct json_object *value, const char *key);

/* Arrays and objects from their parts, which they take over; the list ends with NULL. Abort without memory. */
struct json_object *ovsdb_array(struct json_object *first, ...) __attribute__((sentinel));
struct json_object *ovsdb_object(const char *key, ...) __attribute__((sentinel));
struct json_object *ovsdb_str(const char *s);
struct json_object *ovsdb_int(int i);
