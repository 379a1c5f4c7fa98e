/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicctl port show|add|del|attach|detach */
#include "cli/cli.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "cli/table.h"

/* What a person may call a port by. MACs and UUIDs in any case. */
static bool port_is(struct json_object *port, const char *word)
{
	return !strcasecmp(word, j_str(port, "key")) || !strcasecmp(word, j_str(port, "mac")) ||
	       !strcasecmp(word, j_str(port, "uuid")) || !strcmp(word, j_str(port, "domain")) ||
	       !strcmp(word, j_str(port, "name"));
}

/* The ports that @word (may be NULL: all) names; UnknownPort where there is none. */
static int ports_named(struct cli *cli, const char *word, struct json_object **ret,
		       struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *all = NULL, *some = NULL;
	struct json_object *ports;
	int r = cli_get_objects(cli, &all, err);

	if (r < 0)
		return r;
	ports = j_array(all, "ports");
	some = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(ports); i++) {
		struct json_object *port = json_object_array_get_idx(ports, i);

		if (!word || port_is(port, word))
			json_object_array_add(some, json_object_get(port));
	}
	if (word && json_object_array_length(some) == 0)
		return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_PORT,
				    "no port has the key, MAC, UUID, domain or name \"%s\"; "
				    "'vnicctl port' lists those there are",
				    word);
	*ret = take_ptr(some);
	return 0;
}

int cmd_port_show(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct table_style style = { cli->width, cli->color };
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *ports;

	/* Counters of now, if they come; what else there is to say does not wait for them. */
	if (cli_call(cli, "RefreshCounters", &reply, &err, "") < 0 &&
	    !strcmp(err.code, VNIC_E_DAEMON_DOWN))
		return cli_fail_err(cli, &err);
	if (ports_named(cli, argc ? argv[0] : NULL, &ports, &err) < 0)
		return cli_fail_err(cli, &err);
	json_object_object_add(o, "ports", ports);
	if (cli_print_json(cli, o))
		return CLI_OK;
	if (!argc) {
		render_ports(stdout, &style, ports);
		return CLI_OK;
	}
	for (size_t i = 0; i < json_object_array_length(ports); i++)
		render_port(stdout, &style, json_object_array_get_idx(ports, i));
	return CLI_OK;
}

static struct json_object *read_strings(sd_bus_message *m)
{
	struct json_object *a = NULL;

	return value_read(m, &a) < 0 ? json_object_new_array() : a;
}

/* --dry-run of add and attach: the path that would be taken, why, and the steps */
static int preview(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct json_object *plan = json_object_new_object(), *reasons, *steps;
	struct vnic_err err = VNIC_ERR_INIT;
	const char *path = "";

	json_object_object_add(o, "plan", plan);
	if (cli_new_call(cli, VNIC_BUS_ROOT, VNIC_I_MANAGER, "PlanPreview", &m, &err) < 0)
		return cli_fail_err(cli, &err);
	if (words_append_spec(m, argc, argv, &err) < 0) {
		cli_fail_err(cli, &err);
		return CLI_USAGE;
	}
	if (cli_call_message(cli, m, &reply, &err) < 0)
		return cli_fail_err(cli, &err);
	sd_bus_message_read(reply, "s", &path);
	json_add_str(plan, "path", path);
	json_object_object_add(plan, "reasons", reasons = read_strings(reply));
	json_object_object_add(plan, "steps", steps = read_strings(reply));
	if (cli_print_json(cli, o))
		return CLI_OK;
	printf("Would take the path %s:\n", path);
	for (size_t i = 0; i < json_object_array_length(reasons); i++)
		printf("  %s\n", json_object_get_string(json_object_array_get_idx(reasons, i)));
	printf("and do %zu step%s:\n", json_object_array_length(steps),
	       json_object_array_length(steps) == 1 ? "" : "s");
	for (size_t i = 0; i < json_object_array_length(steps); i++)
		printf("  %zu. %s\n", i + 1,
		       json_object_get_string(json_object_array_get_idx(steps, i)));
	return CLI_OK;
}

/* What was made: the port as 'port show' has it, or only its key where it is gone again. */
static int print_made(struct cli *cli, const char *key, const char *text)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *ports, *port;

	if (ports_named(cli, key, &ports, &err) < 0)
		return cli_fail_err(cli, &err);
	json_object_object_add(o, "ports", ports);
	if (cli_print_json(cli, o))
		return CLI_OK;
	port = json_object_array_get_idx(ports, 0);
	printf("%s %s: path %s, socket %s\n", text, key, j_str(port, "path"),
	       j_str(port, "socket"));
	return CLI_OK;
}

int cmd_port_add(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL, *get = NULL,
							*got = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	const char *path, *key;

	if (cli->dry_run)
		return preview(cli, argc, argv);
	if (cli_new_call(cli, VNIC_BUS_ROOT, VNIC_I_MANAGER, "PortAdd", &m, &err) < 0)
		return cli_fail_err(cli, &err);
	if (words_append_spec(m, argc, argv, &err) < 0) {
		cli_fail_err(cli, &err);
		return CLI_USAGE;
	}
	if (cli_call_message(cli, m, &reply, &err) < 0)
		return cli_fail_err(cli, &err);
	if (sd_bus_message_read(reply, "o", &path) < 0)
		return cli_fail(cli, VNIC_E_INTERNAL, "vnicd's answer could not be read");
	if (cli_new_call(cli, path, "org.freedesktop.DBus.Properties", "Get", &get, &err) < 0 ||
	    sd_bus_message_append(get, "ss", "org.vnicd1.Port", "Key") < 0 ||
	    cli_call_message(cli, get, &got, &err) < 0)
		return cli_fail_err(cli, &err);
	if (sd_bus_message_read(got, "v", "s", &key) < 0)
		return cli_fail(cli, VNIC_E_INTERNAL, "vnicd's answer could not be read");
	return print_made(cli, key, "Added");
}

int cmd_port_del(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_(json_putp) struct json_object *ports = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *port;

	(void)argc;
	if (ports_named(cli, argv[0], &ports, &err) < 0)
		return cli_fail_err(cli, &err);
	if (json_object_array_length(ports) > 1)
		return cli_fail(cli, VNIC_E_INVALID_ARGUMENT,
				"\"%s\" names %zu ports; give the key of one, UUID/MAC", argv[0],
				json_object_array_length(ports));
	port = json_object_array_get_idx(ports, 0);
	if (cli->dry_run) {
		cli_done(cli, "Would release %s (%s, %s).", j_str(port, "key"),
			 j_str(port, "state"), j_str(port, "socket"));
		return CLI_OK;
	}
	if (cli_call(cli, "PortDel", &reply, &err, "st", j_str(port, "key"),
		     j_u64(port, "generation")) < 0)
		return cli_fail_err(cli, &err);
	cli_done(cli, "Released %s.", j_str(port, "key"));
	return CLI_OK;
}

int cmd_port_attach(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	const char *path, *key;

	if (cli->dry_run)
		return preview(cli, argc - 1, argv + 1);
	if (cli_new_call(cli, VNIC_BUS_ROOT, VNIC_I_MANAGER, "PortAttach", &m, &err) < 0)
		return cli_fail_err(cli, &err);
	if (sd_bus_message_append(m, "s", argv[0]) < 0 ||
	    words_append_spec(m, argc - 1, argv + 1, &err) < 0) {
		cli_fail_err(cli, &err);
		return CLI_USAGE;
	}
	if (cli_call_message(cli, m, &reply, &err) < 0)
		return cli_fail_err(cli, &err);
	if (sd_bus_message_read(reply, "os", &path, &key) < 0)
		return cli_fail(cli, VNIC_E_INTERNAL, "vnicd's answer could not be read");
	return print_made(cli, key, "Attached");
}

int cmd_port_detach(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	uint8_t mac[VNIC_MAC_LEN];

	(void)argc;
	if (mac_parse(argv[1], mac) < 0) {
		cli_fail(cli, VNIC_E_INVALID_MAC, "%s: not a MAC address", argv[1]);
		return CLI_USAGE;
	}
	if (cli->dry_run) {
		cli_done(cli, "Would unplug %s from %s and release its port.", argv[1], argv[0]);
		return CLI_OK;
	}
	if (cli_call(cli, "PortDetach", &reply, &err, "ss", argv[0], argv[1]) < 0)
		return cli_fail_err(cli, &err);
	cli_done(cli, "Detached %s from %s.", argv[1], argv[0]);
	return CLI_OK;
}
