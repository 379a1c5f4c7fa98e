/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports of an Open vSwitch bridge, by its database (RFC 7047). Done by a child (exec_start()): ovsdb-server may be
 * slow. Each step looks first at what there is; rows that we make say so in external_ids, and only those are
 * changed or removed.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/paths.h"
#include "daemon/exec/exec_priv.h"
#include "daemon/exec/function.h"
#include "daemon/model/ovsdb.h"

#define ANSWER_MSEC 5000
#define ANSWER_MAX  (16u << 20)

/* Not one of the errors that count as "gone already": as long as it is away, nothing is known to be gone. */
static int away(const char *why, struct vnic_err *err)
{
	return vnic_err_set(err, -EHOSTUNREACH, VNIC_E_STEP_FAILED,
			    "ovsdb-server at " VNIC_OVSDB_SOCK
			    ": %s: see 'systemctl status openvswitch-switch'",
			    why);
}

static int open_db(struct vnic_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = VNIC_OVSDB_SOCK };
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return away(strerror(errno), err);
	return take_fd(&fd);
}

static int send_all(int fd, const char *data, size_t n, struct vnic_err *err)
{
	while (n) {
		ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			return away(strerror(errno), err);
		if (sent > 0) {
			data += sent;
			n -= (size_t)sent;
		}
	}
	return 0;
}

/* The answer to the one request under way: nothing else comes so soon on a connection. */
static int receive(int fd, struct json_tokener *tokener, struct json_object **ret,
		   struct vnic_err *err)
{
	size_t total = 0;
	char buf[16384];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		struct json_object *o;
		ssize_t n;

		if (poll(&p, 1, ANSWER_MSEC) <= 0)
			return away("no answer", err);
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			return away(n ? strerror(errno) : "it hung up", err);
		total += (size_t)n;
		o = json_tokener_parse_ex(tokener, buf, (int)n);
		if (json_tokener_get_error(tokener) == json_tokener_continue && total <= ANSWER_MAX)
			continue;
		if (!o)
			return away("its answer is no JSON", err);
		json_tokener_reset(tokener);
		*ret = o;
		return 0;
	}
}

/* What the operations' results say: the first error, in words. */
static int check_results(struct json_object *results, size_t n_ops, struct vnic_err *err)
{
	if (!json_object_is_type(results, json_type_array) ||
	    json_object_array_length(results) < n_ops)
		return away("its answer is not one to what was asked", err);
	for (size_t i = 0; i < json_object_array_length(results); i++) {
		struct json_object *r = json_object_array_get_idx(results, i), *error = NULL,
				   *details = NULL;

		if (!json_object_is_type(r, json_type_object) ||
		    !json_object_object_get_ex(r, "error", &error) || !error)
			continue;
		json_object_object_get_ex(r, "details", &details);
		return vnic_err_set(err, -EREMOTEIO, VNIC_E_STEP_FAILED,
				    "Open vSwitch's database refuses it: %.60s%s%.120s",
				    json_object_get_string(error), details ? ": " : "",
				    details ? json_object_get_string(details) : "");
	}
	return 0;
}

/**
 * transact() - have operations done, all or none
 * @ops: the array of them, which is taken over
 * @ret: the array of results; may be NULL
 */
static int transact(int fd, struct json_object *ops, struct json_object **ret, struct vnic_err *err)
{
	size_t n_ops = json_object_array_length(ops) - 1;
	_cleanup_(json_putp) struct json_object *request = ovsdb_object(
		"id", ovsdb_int(1), "method", ovsdb_str("transact"), "params", ops, NULL);
	const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
	struct json_tokener *tokener = json_tokener_new();
	_cleanup_(json_putp) struct json_object *answer = NULL;
	struct json_object *results = NULL, *error = NULL;
	int r = tokener ? send_all(fd, text, strlen(text), err) : -ENOMEM;

	if (r == 0)
		r = receive(fd, tokener, &answer, err);
	if (tokener)
		json_tokener_free(tokener);
	if (r < 0)
		return r;
	if (!json_object_is_type(answer, json_type_object))
		return away("its answer is no object", err);
	if (json_object_object_get_ex(answer, "error", &error) && error)
		return vnic_err_set(err, -EREMOTEIO, VNIC_E_STEP_FAILED,
				    "Open vSwitch's database refuses it: %.200s",
				    json_object_get_string(error));
	json_object_object_get_ex(answer, "result", &results);
	r = check_results(results, n_ops, err);
	if (r == 0 && ret)
		*ret = json_object_get(results);
	return r;
}

static struct json_object *condition(const char *column, const char *function,
				     struct json_object *value)
{
	return ovsdb_array(ovsdb_array(ovsdb_str(column), ovsdb_str(function), value, NULL), NULL);
}

static struct json_object *set(struct json_object *one)
{
	return ovsdb_array(ovsdb_str("set"), one ? ovsdb_array(one, NULL) : json_object_new_array(),
			   NULL);
}

static struct json_object *uuid(const char *tag, const char *id)
{
	return ovsdb_array(ovsdb_str(tag), ovsdb_str(id), NULL);
}

static struct json_object *select_rows(const char *table, struct json_object *where,
				       struct json_object *columns)
{
	return ovsdb_object("op", ovsdb_str("select"), "table", ovsdb_str(table), "where", where,
			    "columns", columns, NULL);
}

static struct json_object *mutate(const char *table, struct json_object *where, const char *column,
				  const char *mutator, struct json_object *value)
{
	return ovsdb_object(
		"op", ovsdb_str("mutate"), "table", ovsdb_str(table), "where", where, "mutations",
		ovsdb_array(ovsdb_array(ovsdb_str(column), ovsdb_str(mutator), value, NULL), NULL),
		NULL);
}

/* What we make a port for, as its external_ids say. */
static const char *purpose(const struct step *step, char buf[64])
{
	if (*step->dev)
		snprintf(buf, 64, "VF %d of %.40s", step->vf, step->dev);
	else
		snprintf(buf, 64, "segment %.50s", step->name);
	return buf;
}

struct found {
	bool bridge; /* the bridge that the step means */
	char port[64]; /* UUID of the port by the step's name; empty: there is none */
	bool ours;
	char in[64]; /* the name of the bridge that it is in; empty: in none */
};

static struct json_object *rows_of(struct json_object *results, size_t i)
{
	struct json_object *rows = NULL, *o = json_object_array_get_idx(results, i);

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, "rows", &rows);
	return json_object_is_type(rows, json_type_array) ? rows : NULL;
}

static struct json_object *column(struct json_object *row, const char *name)
{
	struct json_object *v = NULL;

	if (json_object_is_type(row, json_type_object))
		json_object_object_get_ex(row, name, &v);
	return v;
}

static const char *row_text(struct json_object *row, const char *name)
{
	struct json_object *v = column(row, name);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

static void look_at_bridge(struct json_object *row, const struct step *step, struct found *found)
{
	struct json_object *ports = column(row, "ports");
	const char *name = row_text(row, "name");

	if (str_eq(name, step->bridge))
		found->bridge = true;
	for (size_t i = 0; i < ovsdb_set_len(ports); i++) {
		const char *id = ovsdb_uuid(ovsdb_set_at(ports, i));

		if (id && *found->port && str_eq(id, found->port))
			snprintf(found->in, sizeof(found->in), "%s", name);
	}
}

static int look(int fd, const struct step *step, struct found *ret, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *results = NULL;
	struct found found = { 0 };
	struct json_object *rows;
	char why[64];
	int r;

	r = transact(
		fd,
		ovsdb_array(ovsdb_str(OVSDB_NAME),
			    select_rows("Port", condition("name", "==", ovsdb_str(step->ifname)),
					ovsdb_array(ovsdb_str("_uuid"), ovsdb_str("external_ids"),
						    NULL)),
			    select_rows("Bridge", json_object_new_array(),
					ovsdb_array(ovsdb_str("name"), ovsdb_str("ports"), NULL)),
			    NULL),
		&results, err);
	if (r < 0)
		return r;
	rows = rows_of(results, 0);
	if (rows && json_object_array_length(rows) > 0) {
		struct json_object *row = json_object_array_get_idx(rows, 0);
		const char *id = ovsdb_uuid(column(row, "_uuid"));
		const char *ours = ovsdb_map_get(column(row, "external_ids"), OVSDB_OURS);

		snprintf(found.port, sizeof(found.port), "%s", id ? id : "");
		found.ours = ours && str_eq(ours, purpose(step, why));
	}
	rows = rows_of(results, 1);
	for (size_t i = 0; rows && i < json_object_array_length(rows); i++)
		look_at_bridge(json_object_array_get_idx(rows, i), step, &found);
	*ret = found;
	return 0;
}

static int check_step(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	if (!ifname_valid(step->ifname) || !ifname_valid(step->bridge))
		return vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED,
				    "the step names no interface or no bridge");
	return *step->dev ? representor_check(exec, step, err) : 0;
}

/* Of a tap a trunk of untagged frames, to which STEP_OVS_VLAN adds; of a representor an access port. */
static struct json_object *port_columns(const struct step *step)
{
	char why[64];
	struct json_object *ids = ovsdb_array(
		ovsdb_str("map"),
		ovsdb_array(ovsdb_array(ovsdb_str(OVSDB_OURS), ovsdb_str(purpose(step, why)), NULL),
			    NULL),
		NULL);

	if (*step->dev)
		return ovsdb_object("external_ids", ids, "vlan_mode", ovsdb_str("access"), "tag",
				    ovsdb_int(step->vlan), NULL);
	return ovsdb_object("external_ids", ids, "vlan_mode", ovsdb_str("trunk"), "trunks",
			    set(ovsdb_int(0)), NULL);
}

static struct json_object *insert_port(const struct step *step)
{
	struct json_object *port = port_columns(step);
	struct json_object *iface =
		ovsdb_object("op", ovsdb_str("insert"), "table", ovsdb_str("Interface"), "row",
			     ovsdb_object("name", ovsdb_str(step->ifname), NULL), "uuid-name",
			     ovsdb_str("interface"), NULL);

	json_object_object_add(port, "name", ovsdb_str(step->ifname));
	json_object_object_add(port, "interfaces", set(uuid("named-uuid", "interface")));
	return ovsdb_array(ovsdb_str(OVSDB_NAME), iface,
			   ovsdb_object("op", ovsdb_str("insert"), "table", ovsdb_str("Port"),
					"row", port, "uuid-name", ovsdb_str("port"), NULL),
			   mutate("Bridge", condition("name", "==", ovsdb_str(step->bridge)),
				  "ports", "insert", set(uuid("named-uuid", "port"))),
			   NULL);
}

static struct json_object *take_out(const struct found *found)
{
	return mutate("Bridge", condition("ports", "includes", set(uuid("uuid", found->port))),
		      "ports", "delete", set(uuid("uuid", found->port)));
}

static struct json_object *move_port(const struct step *step, const struct found *found)
{
	return ovsdb_array(ovsdb_str(OVSDB_NAME), take_out(found),
			   mutate("Bridge", condition("name", "==", ovsdb_str(step->bridge)),
				  "ports", "insert", set(uuid("uuid", found->port))),
			   NULL);
}

/* What of our port may not be as we made it: the VLAN of a representor. */
static struct json_object *update_port(const struct step *step, const struct found *found)
{
	return ovsdb_array(
		ovsdb_str(OVSDB_NAME),
		ovsdb_object("op", ovsdb_str("update"), "table", ovsdb_str("Port"), "where",
			     condition("_uuid", "==", uuid("uuid", found->port)), "row",
			     *step->dev ? ovsdb_object("vlan_mode", ovsdb_str("access"), "tag",
						       ovsdb_int(step->vlan), NULL)
					: ovsdb_object("vlan_mode", ovsdb_str("trunk"), NULL),
			     NULL),
		NULL);
}

int ovs_port_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;
	struct found found;
	int r = check_step(exec, step, err);

	if (r < 0)
		return r;
	fd = open_db(err);
	r = fd < 0 ? fd : look(fd, step, &found, err);
	if (r < 0)
		return r;
	if (!found.bridge)
		return vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED,
				    "Open vSwitch has no bridge %s: 'ovs-vsctl add-br %s'",
				    step->bridge, step->bridge);
	if (*found.port && !found.ours)
		return vnic_err_set(
			err, -EEXIST, VNIC_E_STEP_FAILED,
			"there is a port %s in Open vSwitch's bridge %s which vnicd did "
			"not make for this: 'ovs-vsctl del-port %s'",
			step->ifname, found.in, step->ifname);
	if (!*found.port)
		return transact(fd, insert_port(step), NULL, err);
	if (!str_eq(found.in, step->bridge))
		return transact(fd, move_port(step, &found), NULL, err);
	return transact(fd, update_port(step, &found), NULL, err);
}

int ovs_port_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;
	struct found found;
	int r;

	(void)exec;
	fd = open_db(err);
	r = fd < 0 ? fd : look(fd, step, &found, err);
	/* Never made, taken out by somebody, or somebody else's by that name. */
	if (r < 0 || !*found.port || !found.ours)
		return r;
	return transact(fd, ovsdb_array(ovsdb_str(OVSDB_NAME), take_out(&found), NULL), NULL, err);
}

static int set_vlan(const struct step *step, bool in, struct vnic_err *err)
{
	_cleanup_(closep) int fd = open_db(err);
	struct found found;
	int r = fd < 0 ? fd : look(fd, step, &found, err);

	if (r < 0)
		return r;
	if (!*found.port || !found.ours)
		return in ? vnic_err_set(err, -ESTALE, VNIC_E_STEP_FAILED,
					 "Open vSwitch has no port %s of vnicd's any more",
					 step->ifname)
			  : 0;
	return transact(
		fd,
		ovsdb_array(ovsdb_str(OVSDB_NAME),
			    mutate("Port", condition("_uuid", "==", uuid("uuid", found.port)),
				   "trunks", in ? "insert" : "delete", set(ovsdb_int(step->vlan))),
			    NULL),
		NULL, err);
}

int ovs_vlan_do(struct exec *exec, struct step *step, struct vnic_err *err)
{
	int r = check_step(exec, step, err);

	/* Without 0 among them the set could become empty, which means all VLANs. */
	if (r == 0 && (step->vlan < 1 || step->vlan > VNIC_VLAN_MAX))
		r = vnic_err_set(err, -EINVAL, VNIC_E_STEP_FAILED, "there is no VLAN %u",
				 step->vlan);
	return r < 0 ? r : set_vlan(step, true, err);
}

int ovs_vlan_undo(struct exec *exec, const struct step *step, struct vnic_err *err)
{
	(void)exec;
	return step->vlan ? set_vlan(step, false, err) : 0;
}
