/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attach: look the domain up -> make the port -> have libvirt plug the NIC; if that fails, release the port.
 * detach: look the domain up -> have libvirt pull the NIC, which waits for the guest -> release the port.
 * check: libvirt's XML against the rules (vnicd-libvirt), then its interfaces against this host's classes and ports.
 *
 * Where libvirt ran out of time, what was asked may still happen: attach looks again before it gives the port up.
 */
#include "daemon/domain_ops.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "api/errors.h"
#include "base/json.h"
#include "base/log.h"
#include "base/paths.h"
#include "daemon/core/path_sriov.h"
#include "daemon/core/request.h"
#include "daemon/domain_list.h"

#define LOOK_MS	  10000
#define ATTACH_MS 15000
/* QEMU has the guest's memory locked for the device. */
#define ATTACH_VDPA_MS 60000
#define DETACH_MS      25000

struct domain_op {
	struct domain_ops *ops;
	bus_op_done done; /* NULL: forgotten */
	void *arg;
	char *domain; /* as the caller named it */
	struct port_spec spec;
	bool look_only; /* attach: would it be possible? */
	uint64_t generation; /* of the port that attach made */
	struct vnic_err err; /* why the port is being released again */
	struct domain_op *next;
};

struct domain_ops {
	struct manager *manager;
	struct libvirt_client *client;
	struct domain_op *list;
};

static struct domain_op *op_new(struct domain_ops *ops, const char *domain, bus_op_done done,
				void *arg)
{
	struct domain_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->domain = strdup(domain);
	if (!op->domain) {
		free(op);
		return NULL;
	}
	op->ops = ops;
	op->done = done;
	op->arg = arg;
	op->next = ops->list;
	ops->list = op;
	return op;
}

static void op_free(struct domain_op *op)
{
	struct domain_op **p = &op->ops->list;

	while (*p != op)
		p = &(*p)->next;
	*p = op->next;
	free(op->domain);
	free(op);
}

static void op_end(struct domain_op *op, const struct vnic_err *err, struct json_object *findings)
{
	if (op->done)
		op->done(op->arg, err, &op->spec.key, findings);
	op_free(op);
}

static void op_fail(struct domain_op *op, struct vnic_err err)
{
	op_end(op, &err, NULL);
}

/* The next request to libvirt of this operation; without memory it ends here. */
static void ask(struct domain_op *op, const char *what, struct json_object *fields,
		unsigned int timeout_ms, libvirt_done done)
{
	if (!libvirt_client_call(op->ops->client, what, fields, timeout_ms, done, op))
		op_fail(op, vnic_err_of(VNIC_E_INTERNAL, "out of memory"));
}

static struct json_object *fields_of(const struct domain_op *op)
{
	struct json_object *o = json_object_new_object();
	char uuid[VNIC_UUID_STR], mac[VNIC_MAC_STR];

	json_add_str(o, "domain", uuid_format(op->spec.key.uuid, uuid));
	json_add_str(o, "mac", mac_format(op->spec.key.mac, mac));
	return o;
}

/* "check" is also how a domain is looked up: UUID, name, active, shared memory, interfaces. */
static struct libvirt_request *look_up(struct domain_op *op, bool live, libvirt_done done)
{
	struct json_object *o = json_object_new_object(), *classes = json_object_new_array();
	const struct vnic_config *config = op->ops->manager->config;

	for (struct vnic_class *c = config->classes; c; c = c->hh.next)
		json_object_array_add(classes, json_object_new_string(c->name));
	json_add_str(o, "domain", op->domain);
	json_object_object_add(o, "classes", classes);
	json_add_bool(o, "live", live);
	return libvirt_client_call(op->ops->client, "check", o, LOOK_MS, done, op);
}

/* UUID and name of the answer into the spec. Ends the operation with false where they are not there. */
static bool take_identity(struct domain_op *op, struct json_object *answer)
{
	const char *name;

	if (libvirt_domain_id(answer, op->spec.key.uuid, &name, NULL) < 0 ||
	    str_copy(op->spec.domain, sizeof(op->spec.domain), name) < 0) {
		op_fail(op, vnic_err_of(VNIC_E_LIBVIRT, "libvirt's answer names no domain"));
		return false;
	}
	return true;
}

static bool is_true(struct json_object *answer, const char *key)
{
	bool v;

	return json_get_bool(answer, key, &v, NULL) == 0 && v;
}

static bool has_interface(struct json_object *answer, const uint8_t mac[VNIC_MAC_LEN])
{
	struct json_object *list;
	const char *text;
	uint8_t m[VNIC_MAC_LEN];

	if (json_get_array(answer, "interfaces", REQUEST_INTERFACES_MAX, &list, NULL) < 0)
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (json_get_str(json_object_array_get_idx(list, i), "mac", &text, NULL) == 0 &&
		    mac_parse(text, m) == 0 && !memcmp(m, mac, VNIC_MAC_LEN))
			return true;
	return false;
}

/* attach */

static void on_port_given_up(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
			     size_t n_ports)
{
	struct domain_op *op = arg;

	(void)ports;
	(void)n_ports;
	if (err)
		log_warning("a port whose NIC could not be attached stays: %s", err->message);
	op_end(op, &op->err, NULL);
}

static void give_port_up(struct domain_op *op, const struct vnic_err *err)
{
	op->err = *err;
	if (!manager_port_del(op->ops->manager, &op->spec.key, op->generation, on_port_given_up,
			      op))
		op_end(op, err, NULL);
}

static void attached(struct domain_op *op)
{
	/* The domain runs: from now its end releases the port. */
	manager_domain_started(op->ops->manager, op->spec.key.uuid);
	op_end(op, NULL, NULL);
}

static void on_looked_again(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct domain_op *op = arg;
	struct vnic_err why = op->err;

	if (!err && has_interface(answer, op->spec.key.mac))
		attached(op);
	else
		give_port_up(op, &why);
}

static void on_attached(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct domain_op *op = arg;

	(void)answer;
	if (!err) {
		attached(op);
		return;
	}
	op->err = *err;
	if (strcmp(err->code, VNIC_E_TIMEOUT) != 0 || !look_up(op, true, on_looked_again))
		give_port_up(op, err);
}

static void on_port_made(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
			 size_t n_ports)
{
	struct domain_op *op = arg;
	char file[PORT_SOCK_FILE_MAX];
	struct json_object *o;

	if (err || n_ports == 0) {
		op_end(op, err ? err : &(struct vnic_err){ .code = VNIC_E_INTERNAL }, NULL);
		return;
	}
	op->generation = ports[0]->generation;
	o = fields_of(op);
	json_add_str(o, op->spec.vdpa ? "dev" : "socket", port_sock_file(&op->spec, file));
	json_add_u64(o, "queues", op->spec.queues);
	ask(op, "attach", o, op->spec.vdpa ? ATTACH_VDPA_MS : ATTACH_MS, on_attached);
}

static void complete_spec(struct port_spec *spec)
{
	static const uint8_t none[VNIC_MAC_LEN];
	uint8_t *mac = spec->key.mac;

	if (!memcmp(mac, none, sizeof(none))) {
		/* QEMU's and libvirt's prefix; the manager refuses one that is taken. */
		memcpy(mac, "\x52\x54\x00", 3);
		if (getrandom(mac + 3, 3, GRND_NONBLOCK) != 3)
			memcpy(mac + 3, spec->key.uuid, 3);
	}
	if (!spec->name[0])
		snprintf(spec->name, sizeof(spec->name), "%02x%02x%02x%02x%02x%02x", mac[0], mac[1],
			 mac[2], mac[3], mac[4], mac[5]);
}

/* Is there already a NIC with that MAC? libvirt would refuse it only after the port was made. */
static bool mac_taken(struct domain_op *op, struct json_object *answer)
{
	static const uint8_t none[VNIC_MAC_LEN];
	char mac[VNIC_MAC_STR];

	if (!memcmp(op->spec.key.mac, none, sizeof(none)) ||
	    !has_interface(answer, op->spec.key.mac))
		return false;
	op_fail(op, vnic_err_of(VNIC_E_DUPLICATE_MAC, "domain %s has a NIC with MAC %s already",
				op->spec.domain, mac_format(op->spec.key.mac, mac)));
	return true;
}

static void on_found_for_attach(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct domain_op *op = arg;

	if (err) {
		op_end(op, err, NULL);
		return;
	}
	if (!take_identity(op, answer))
		return;
	if (!is_true(answer, "active")) {
		op_fail(op, vnic_err_of(VNIC_E_INVALID_ARGUMENT,
					"domain %s does not run: start it first, or put the "
					"interface into its XML "
					"with 'virsh edit'",
					op->spec.domain));
		return;
	}
	if (!op->spec.vdpa && !is_true(answer, "shared_memory")) {
		op_fail(op,
			vnic_err_of(
				VNIC_E_INVALID_XML,
				"domain %s runs without shared memory, which a port needs; write "
				"<memoryBacking><source type='memfd'/><access mode='shared'/>"
				"</memoryBacking> into its XML and start it again",
				op->spec.domain));
		return;
	}
	if (mac_taken(op, answer))
		return;
	complete_spec(&op->spec);
	if (op->look_only) {
		op_end(op, NULL, NULL);
		return;
	}
	if (snprintf(op->spec.pidfile, sizeof(op->spec.pidfile), VNIC_PIDFILE_DIR "/%s.pid",
		     op->spec.domain) >= (int)sizeof(op->spec.pidfile) ||
	    !manager_port_add(op->ops->manager, &op->spec, on_port_made, op))
		op_fail(op, vnic_err_of(VNIC_E_INTERNAL, "out of memory"));
}

void *domain_attach(void *data, const char *domain, const struct port_spec *spec, bool look_only,
		    bus_op_done done, void *arg)
{
	struct domain_op *op = op_new(data, domain, done, arg);

	if (!op)
		return NULL;
	op->spec = *spec;
	op->look_only = look_only;
	if (look_up(op, true, on_found_for_attach))
		return op;
	op_free(op);
	return NULL;
}

/* detach */

static void on_released(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
			size_t n_ports)
{
	(void)ports;
	(void)n_ports;
	op_end(arg, err, NULL);
}

static void on_detached(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct domain_op *op = arg;
	const struct vnic_port *port = manager_port(op->ops->manager, &op->spec.key);

	(void)answer;
	/* A NIC that is not there any more leaves its port to be released. */
	if (err && (strcmp(err->code, VNIC_E_UNKNOWN_PORT) != 0 || !port)) {
		op_end(op, err, NULL);
		return;
	}
	if (!port)
		op_end(op, NULL, NULL);
	else if (!manager_port_del(op->ops->manager, &op->spec.key, port->generation, on_released,
				   op))
		op_fail(op, vnic_err_of(VNIC_E_INTERNAL, "out of memory"));
}

static void on_found_for_detach(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct domain_op *op = arg;

	if (err)
		op_end(op, err, NULL);
	else if (take_identity(op, answer))
		ask(op, "detach", fields_of(op), DETACH_MS, on_detached);
}

void *domain_detach(void *data, const char *domain, const uint8_t mac[VNIC_MAC_LEN],
		    bus_op_done done, void *arg)
{
	struct domain_op *op = op_new(data, domain, done, arg);

	if (!op)
		return NULL;
	memcpy(op->spec.key.mac, mac, VNIC_MAC_LEN);
	if (look_up(op, true, on_found_for_detach))
		return op;
	op_free(op);
	return NULL;
}

/* check */

static bool any_error(struct json_object *findings)
{
	const char *severity;

	for (size_t i = 0; i < json_object_array_length(findings); i++)
		if (json_get_str(json_object_array_get_idx(findings, i), "severity", &severity,
				 NULL) == 0 &&
		    !strcmp(severity, "error"))
			return true;
	return false;
}

static void add(struct json_object *findings, const char *severity, const char *code,
		const uint8_t *mac, const char *message, const char *fix)
{
	struct json_object *o = json_object_new_object();
	char text[VNIC_MAC_STR];

	json_add_str(o, "severity", severity);
	json_add_str(o, "code", code);
	json_add_str(o, "mac", mac ? mac_format(mac, text) : NULL);
	json_add_str(o, "message", message);
	json_add_str(o, "fix", fix);
	json_object_array_add(findings, o);
}

static void add_finding(struct json_object *findings, const struct vnic_err *err,
			const uint8_t *mac)
{
	add(findings, "error", err->code[0] ? err->code : VNIC_E_INTERNAL, mac, err->message, NULL);
}

static bool has_path(const struct path_list *paths, enum vnic_path path)
{
	for (int i = 0; i < VNIC_PATH_COUNT; i++)
		if (paths->path[i] == path)
			return true;
	return false;
}

/* A class that gives VFs wants a standby. Return: false where the port cannot be made without. */
static bool check_standby(const struct vnic_config *config, const struct port_spec *spec,
			  struct json_object *findings)
{
	const struct vnic_class *class = config_class(config, spec->class_name);
	const struct path_list *paths = spec->has_paths ? &spec->paths
					: class		? &class->paths
							: NULL;
	char why[400], message[500], fix[VNIC_NAME_MAX + 80];
	bool other;

	if (!paths || spec->vdpa || !has_path(paths, VNIC_PATH_SRIOV) ||
	    path_sriov_standby(spec, why, sizeof(why)))
		return true;
	other = has_path(paths, VNIC_PATH_SOFTWARE);
	snprintf(message, sizeof(message), "path sriov: %s%s", why,
		 other ? "; until then it is carried in software" : "");
	snprintf(fix, sizeof(fix), "<alias name='ua-%s'/>\n<teaming type='persistent'/>",
		 spec->name);
	add(findings, other ? "warning" : "error", "NoStandby", spec->key.mac, message, fix);
	return other;
}

/* What the next start of a port that could have a VF would give it, and why nothing better. */
static void tell_path(struct json_object *findings, const struct alloc_choice *choice,
		      const uint8_t *mac)
{
	char text[VNIC_ERR_MESSAGE_MAX];

	for (size_t i = 0; i < choice->n_reasons; i++) {
		const struct path_reason *why = &choice->reason[i];

		if (choice->path == VNIC_PATH_VDPA || why->path == VNIC_PATH_VDPA
			    ? choice->path != why->path
			    : why->path != VNIC_PATH_SRIOV && why->path != VNIC_PATH_VMDQ)
			continue;
		if (choice->path == why->path)
			snprintf(text, sizeof(text), "started now, it would be on path %s: %s",
				 vnic_path_str(why->path), why->text);
		else
			snprintf(text, sizeof(text),
				 "started now, it would be on path %s, not %s: %s",
				 vnic_path_str(choice->path), vnic_path_str(why->path),
				 why->eligible ? "its class prefers that" : why->text);
		add(findings, "info", "Path", mac, text, NULL);
	}
}

/* Would each of its ports be made here, now? As the hook would have it. */
static void check_ports(struct manager *m, struct json_object *answer, struct json_object *findings)
{
	_cleanup_(json_putp) struct json_object *message = domain_message(answer, "prepare");
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain_request req;

	memset(&req, 0, sizeof(req));
	if (request_parse(message, &req, &err) < 0) {
		add_finding(findings, &err, NULL);
		return;
	}
	for (size_t i = 0; i < req.n_specs; i++) {
		struct manager_preview preview;

		if (!check_standby(m->config, &req.specs[i], findings) ||
		    manager_port(m, &req.specs[i].key))
			continue; /* the domain runs: this one is made */
		memset(&preview, 0, sizeof(preview));
		memset(&err, 0, sizeof(err));
		if (manager_preview(m, &req.specs[i], &preview, &err) < 0)
			add_finding(findings, &err, req.specs[i].key.mac);
		else
			tell_path(findings, &preview.choice, req.specs[i].key.mac);
		manager_preview_clear(&preview);
	}
	request_clear(&req);
}

static void on_checked(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct domain_op *op = arg;
	struct json_object *findings;

	if (err) {
		op_end(op, err, NULL);
		return;
	}
	if (json_get_array(answer, "findings", 1000, &findings, NULL) < 0) {
		op_fail(op, vnic_err_of(VNIC_E_LIBVIRT, "vnicd-libvirt's answer has no findings"));
		return;
	}
	if (!any_error(findings))
		check_ports(op->ops->manager, answer, findings);
	op_end(op, NULL, findings);
}

void *domain_check(void *data, const char *domain, bus_op_done done, void *arg)
{
	struct domain_op *op = op_new(data, domain, done, arg);

	if (!op)
		return NULL;
	/* What the next start will use. */
	if (look_up(op, false, on_checked))
		return op;
	op_free(op);
	return NULL;
}

void domain_forget(void *data, void *handle)
{
	struct domain_op *op = handle;

	(void)data;
	op->done = NULL;
}

int domain_ops_new(struct manager *manager, struct libvirt_client *client, struct domain_ops **ret)
{
	struct domain_ops *ops = calloc(1, sizeof(*ops));

	if (!ops)
		return -ENOMEM;
	ops->manager = manager;
	ops->client = client;
	*ret = ops;
	return 0;
}

struct domain_ops *domain_ops_free(struct domain_ops *ops)
{
	if (!ops)
		return NULL;
	while (ops->list)
		op_free(ops->list);
	free(ops);
	return NULL;
}
