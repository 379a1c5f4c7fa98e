/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>

void cli_make_printable(struct json_object *o)
{
	const char *s;
	char *copy;

	if (json_object_is_type(o, json_type_array))
		for (size_t i = 0; i < json_object_array_length(o); i++)
			cli_make_printable(json_object_array_get_idx(o, i));
	if (json_object_is_type(o, json_type_object)) {
		json_object_object_foreach(o, key, v)
		{
			(void)key;
			cli_make_printable(v);
		}
	}
	if (!json_object_is_type(o, json_type_string))
		return;
	s = json_object_get_string(o);
	copy = strdup(s);
	for (char *p = copy; p && *p; p++)
		if (((unsigned char)*p < ' ' && *p != '\n') || *p == 0x7f)
			*p = '?';
	if (copy && strcmp(copy, s) != 0)
		json_object_set_string(o, copy);
	free(copy);
}

bool cli_print_json(const struct cli *cli, struct json_object *o)
{
	int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;

	if (!cli->json) {
		cli_make_printable(o);
		return false;
	}
	if (cli->pretty)
		flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
	puts(json_object_to_json_string_ext(o, flags));
	fflush(stdout);
	return true;
}

enum cli_exit cli_exit_of(const char *code)
{
	static const struct {
		const char *code;
		enum cli_exit status;
	} map[] = {
		{ VNIC_E_DAEMON_DOWN, CLI_DAEMON_DOWN },
		{ VNIC_E_UNKNOWN_CLASS, CLI_NOT_FOUND },
		{ VNIC_E_UNKNOWN_SEGMENT, CLI_NOT_FOUND },
		{ VNIC_E_UNKNOWN_NIC, CLI_NOT_FOUND },
		{ VNIC_E_UNKNOWN_PORT, CLI_NOT_FOUND },
		{ VNIC_E_UNKNOWN_DOMAIN, CLI_NOT_FOUND },
		{ VNIC_E_ACCESS, CLI_DENIED },
		{ VNIC_E_DUPLICATE_MAC, CLI_CONFLICT },
		{ VNIC_E_SOCKET_IN_USE, CLI_CONFLICT },
		{ VNIC_E_STALE_GENERATION, CLI_CONFLICT },
		{ VNIC_E_LIMIT, CLI_CONFLICT },
		{ VNIC_E_BUSY, CLI_CONFLICT },
		{ VNIC_E_TIMEOUT, CLI_TIMEOUT },
	};

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (!strcmp(code, map[i].code))
			return map[i].status;
	return CLI_FAILED;
}

int cli_fail_err(const struct cli *cli, const struct vnic_err *err)
{
	const char *code = err->code[0] ? err->code : VNIC_E_INTERNAL;

	if (cli->json) {
		_cleanup_(json_putp) struct json_object *o = json_object_new_object();
		struct json_object *e = json_object_new_object();

		json_add_str(e, "code", code);
		json_add_str(e, "message", err->message);
		json_object_object_add(o, "error", e);
		cli_print_json(cli, o);
	} else {
		fprintf(stderr, "vnicctl: %s\n", err->message);
	}
	return cli_exit_of(code);
}

int cli_fail(const struct cli *cli, const char *code, const char *fmt, ...)
{
	struct vnic_err err = VNIC_ERR_INIT;
	va_list ap;

	va_start(ap, fmt);
	vnic_err_vset(&err, -EINVAL, code, fmt, ap);
	va_end(ap);
	return cli_fail_err(cli, &err);
}

void cli_done(const struct cli *cli, const char *fmt, ...)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	char text[VNIC_ERR_MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_add_str(o, "result", text);
	if (!cli_print_json(cli, o))
		puts(text);
}

static struct json_object *field(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (o)
		json_object_object_get_ex(o, key, &v);
	return v;
}

const char *j_str(struct json_object *o, const char *key)
{
	struct json_object *v = field(o, key);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

uint64_t j_u64(struct json_object *o, const char *key)
{
	return json_object_get_uint64(field(o, key));
}

int64_t j_i64(struct json_object *o, const char *key)
{
	return json_object_get_int64(field(o, key));
}

bool j_bool(struct json_object *o, const char *key)
{
	return json_object_get_boolean(field(o, key));
}

struct json_object *j_array(struct json_object *o, const char *key)
{
	struct json_object *v = field(o, key);

	return json_object_is_type(v, json_type_array) ? v : NULL;
}

struct json_object *list_named(struct json_object *list, const char *name)
{
	struct json_object *some = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (!name || !strcmp(name, j_str(o, "name")))
			json_object_array_add(some, json_object_get(o));
	}
	return some;
}
