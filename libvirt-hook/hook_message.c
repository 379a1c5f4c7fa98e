/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "libvirt-hook/hook.h"

#include <string.h>

#include "api/errors.h"
#include "base/sock.h"
#include "libvirt-hook/domain_json.h"

#define HOOK_VERSION 1

static const struct hook_op ops[] = {
	{ HOOK_QEMU, "prepare", true, true, true, HOOK_DEADLINE_MS },
	{ HOOK_QEMU, "start", true, true, false, HOOK_DEADLINE_MS },
	/* The guest runs and has its port: vnicd's absence is no reason to kill it. */
	{ HOOK_QEMU, "started", true, false, false, HOOK_DEADLINE_MS },
	{ HOOK_QEMU, "stopped", false, false, false, HOOK_DEADLINE_LATE_MS },
	{ HOOK_QEMU, "release", false, false, false, HOOK_DEADLINE_LATE_MS },
	{ HOOK_QEMU, "migrate", true, true, true, HOOK_DEADLINE_MS },
	{ HOOK_QEMU, "restore", true, true, true, HOOK_DEADLINE_MS },
	/* libvirt kills the running guest where this one fails. */
	{ HOOK_QEMU, "reconnect", false, false, false, HOOK_DEADLINE_LATE_MS },
	{ HOOK_NETWORK, "port-created", true, false, false, HOOK_DEADLINE_LATE_MS },
	{ HOOK_NETWORK, "port-deleted", false, false, false, HOOK_DEADLINE_LATE_MS },
};

const struct hook_op *hook_op_find(enum hook_kind kind, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (ops[i].kind == kind && !strcmp(ops[i].name, name))
			return &ops[i];
	return NULL;
}

enum hook_kind hook_kind_of(const char *argv0)
{
	static const char dir[] = "network.d";
	const char *slash = strrchr(argv0, '/');
	size_t n = slash ? (size_t)(slash - argv0) : 0;

	if (n < sizeof(dir) - 1 || strncmp(slash - (sizeof(dir) - 1), dir, sizeof(dir) - 1))
		return HOOK_QEMU;
	return n == sizeof(dir) - 1 || slash[-(long)sizeof(dir)] == '/' ? HOOK_NETWORK : HOOK_QEMU;
}

static struct json_object *message_new(const char *op, const struct domain *d)
{
	struct json_object *o = json_object_new_object();
	struct json_object *domain = json_object_new_object();

	json_add_str(o, "op", op);
	json_add_u64(o, "version", HOOK_VERSION);
	domain_json_identity(d, domain);
	json_put_into(o, "domain", domain);
	return o;
}

static int message_text(struct json_object *o, char **ret, struct vnic_err *err)
{
	size_t size;
	const char *text = json_object_to_json_string_length(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
	char *copy;

	if (size > VNIC_MSG_MAX)
		return vnic_err_set(err, -EMSGSIZE, VNIC_E_LIMIT,
				    "the domain's interfaces and overrides make a message of %zu "
				    "bytes; vnicd takes %d",
				    size, VNIC_MSG_MAX);
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

int hook_message_domain(const char *op, const struct domain *d, char **ret, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = message_new(op, d);

	json_put_into(o, "interfaces", domain_json_nics(d, false));
	json_put_into(o, "overrides", domain_json_overrides(d));
	return message_text(o, ret, err);
}

int hook_message_port(const char *op, const struct network_port *p, char **ret,
		      struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = message_new(op, &p->owner);
	struct json_object *nics = json_object_new_array();
	struct json_object *nic = domain_json_nic(&p->nic);

	json_add_str(o, "network", p->network);
	json_add_str(nic, "type", "hostdev");
	json_append(nics, nic);
	json_put_into(o, "interfaces", nics);
	json_put_into(o, "overrides", json_object_new_array());
	return message_text(o, ret, err);
}

int hook_answer(const char *data, size_t size, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = NULL;
	struct json_object *error;
	const char *code, *message;
	bool ok;
	int r;

	r = json_parse(data, size, &o, err);
	if (r == 0 && json_has(o, "error")) {
		r = json_get_obj(o, "error", &error, err);
		if (r == 0)
			r = json_get_str(error, "code", &code, err);
		if (r == 0)
			r = json_get_str(error, "message", &message, err);
		if (r == 0) {
			vnic_err_set(err, 0, code, "%s", message);
			return 1;
		}
	} else if (r == 0) {
		r = json_get_bool(o, "ok", &ok, err);
		if (r == 0 && ok)
			return 0;
		if (r == 0)
			r = vnic_err_set(err, -EBADMSG, VNIC_E_INVALID_MESSAGE, "\"ok\" is false");
	}
	vnic_err_prefix(err,
			"vnicd's answer is not understood (are hook and daemon of one version?): ");
	return r;
}
