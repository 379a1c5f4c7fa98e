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

/* A port's state is its own; what is wrong with all of them is vnicd's to say. */
static void print_reasons(struct cli *cli)
{
	_cleanup_(json_putp) struct json_object *manager = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *reasons;

	if (cli_get_manager(cli, &manager, &err) < 0)
		return;
	cli_make_printable(manager);
	reasons = j_array(manager, "reasons");
	for (size_t i = 0; reasons && i < json_object_array_length(reasons); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(reasons, i));

		/* Those of ports stand with the ports. */
		if (strncmp(text, "port ", strlen("port ")) != 0)
			printf("vnicd is %s: %s\n", j_str(manager, "state"), text);
	}
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
	    (!strcmp(err.code, VNIC_E_DAEMON_DOWN) || !strcmp(err.code, VNIC_E_TIMEOUT)))
		return cli_fail_err(cli, &err);
	if (ports_named(cli, argc ? argv[0] : NULL, &ports, &err) < 0)
		return cli_fail_err(cli, &err);
	json_object_object_add(o, "ports", ports);
	if (cli_print_json(cli, o))
		return CLI_OK;
	if (!argc)
		render_ports(stdout, &style, ports);
	for (size_t i = 0; argc && i < json_object_array_length(ports); i++)
		render_port(stdout, &style, json_object_array_get_idx(ports, i));
	print_reasons(cli);
	return CLI_OK;
}

static struct json_object *read_strings(sd_bus_message *m)
{
	struct json_object *a = NULL;

	return value_read(m, &a) < 0 ? json_object_new_array() : a;
}

static int usage(const struct cli *cli, const struct vnic_err *err)
{
	cli_fail_err(cli, err);
	return CLI_USAGE;
}

/* Ask for what would be done; @domain: NULL for add */
static int ask_preview(struct cli *cli, const char *domain, int argc, char **argv,
		       sd_bus_message **ret_reply, bool *ret_usage, struct vnic_err *err)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = cli_new_call(cli, VNIC_BUS_ROOT, VNIC_I_MANAGER,
			     domain ? "AttachPreview" : "PlanPreview", &m, err);

	if (r >= 0 && domain)
		r = sd_bus_message_append(m, "s", domain);
	if (r < 0)
		return r;
	r = words_append_spec(m, argc, argv, err);
	*ret_usage = r < 0;
	return r < 0 ? r : cli_call_message(cli, m, ret_reply, err);
}

/* --dry-run of add and attach: the path that would be taken, why, and the steps */
static int preview(struct cli *cli, const char *domain, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct json_object *plan = json_object_new_object(), *reasons, *steps;
	struct vnic_err err = VNIC_ERR_INIT;
	const char *path = "";
	bool wrong_usage = false;
	int r = ask_preview(cli, domain, argc, argv, &reply, &wrong_usage, &err);

	json_object_object_add(o, "plan", plan);
	/* Who may only read is told of the port, and nothing of the domain. */
	if (r < 0 && domain && !strcmp(err.code, VNIC_E_ACCESS))
		r = ask_preview(cli, NULL, argc, argv, &reply, &wrong_usage, &err);
	if (wrong_usage)
		return usage(cli, &err);
	if (r < 0)
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
	printf("%s %s: path %s, %s %s\n", text, key, j_str(port, "path"),
	       strcmp(j_str(port, "path"), "vdpa") ? "socket" : "link", j_str(port, "socket"));
	return CLI_OK;
}

int cmd_port_add(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL, *get = NULL,
							*got = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	const char *path, *key;

	if (words_require(argc, argv, cli->dry_run ? "class" : "uuid mac class", &err) < 0)
		return usage(cli, &err);
	if (cli->dry_run)
		return preview(cli, NULL, argc, argv);
	if (cli_new_call(cli, VNIC_BUS_ROOT, VNIC_I_MANAGER, "PortAdd", &m, &err) < 0)
		return cli_fail_err(cli, &err);
	if (words_append_spec(m, argc, argv, &err) < 0)
		return usage(cli, &err);
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

/* Which one? Says those that there are, as far as a message goes. */
static int several(const struct cli *cli, const char *word, struct json_object *ports)
{
	size_t n = json_object_array_length(ports);
	char keys[300] = "";

	for (size_t i = 0, used = 0; i < n && used < sizeof(keys) - 64; i++)
		used += (size_t)snprintf(keys + used, sizeof(keys) - used, "%s%s", i ? ", " : "",
					 j_str(json_object_array_get_idx(ports, i), "key"));
	cli_fail(cli, VNIC_E_INVALID_ARGUMENT,
		 "\"%.60s\" names %zu ports; give the key of one: %s%s", word, n, keys,
		 n > 4 ? ", ..." : "");
	return CLI_USAGE;
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
		return several(cli, argv[0], ports);
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

/* "VF 3 of eth3 (0000:03:10.6)" */
static const char *vf_words(struct json_object *port, char *buf, size_t size)
{
	struct json_object *device = NULL;
	const char *nic;

	json_object_object_get_ex(port, "device", &device);
	nic = j_str(device, "nic");
	if (*j_str(device, "vf_addr"))
		snprintf(buf, size, "VF %llu of %s (%s)", (unsigned long long)j_u64(device, "vf"),
			 *nic ? nic : j_str(device, "pf"), j_str(device, "vf_addr"));
	else
		snprintf(buf, size, "no VF");
	return buf;
}

/* Attach or detach of one word: the VF of a port, which stays. */
static int port_device(struct cli *cli, const char *word, bool attach)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_(json_putp) struct json_object *ports = NULL, *after = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *port;
	char vf[160];
	const char *key;

	if (ports_named(cli, word, &ports, &err) < 0)
		return cli_fail_err(cli, &err);
	if (json_object_array_length(ports) > 1)
		return several(cli, word, ports);
	port = json_object_array_get_idx(ports, 0);
	key = j_str(port, "key");
	vf_words(port, vf, sizeof(vf));
	if (cli->dry_run && attach) {
		cli_done(cli, "Would let %s, which has %s, have one.", key, vf);
		return CLI_OK;
	}
	if (cli->dry_run) {
		cli_done(cli, "Would keep %s, which has %s, without one.", key, vf);
		return CLI_OK;
	}
	if (cli_call(cli, attach ? "DeviceAttach" : "DeviceDetach", &reply, &err, "st", key,
		     j_u64(port, "generation")) < 0)
		return cli_fail_err(cli, &err);
	if (!attach) {
		cli_done(cli,
			 "%s has no VF and goes on in software, until 'vnicctl port attach %s'.",
			 key, word);
		return CLI_OK;
	}
	if (ports_named(cli, key, &after, &err) < 0)
		return cli_fail_err(cli, &err);
	port = json_object_array_get_idx(after, 0);
	cli_done(cli, "%s has %s.", key, vf_words(port, vf, sizeof(vf)));
	return CLI_OK;
}

int cmd_port_attach(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	const char *path, *key;

	if (argc == 1)
		return port_device(cli, argv[0], true);
	if (words_require(argc - 1, argv + 1, "class", &err) < 0)
		return usage(cli, &err);
	if (cli->dry_run)
		return preview(cli, argv[0], argc - 1, argv + 1);
	if (cli_new_call(cli, VNIC_BUS_ROOT, VNIC_I_MANAGER, "PortAttach", &m, &err) < 0)
		return cli_fail_err(cli, &err);
	if (sd_bus_message_append(m, "s", argv[0]) < 0 ||
	    words_append_spec(m, argc - 1, argv + 1, &err) < 0)
		return usage(cli, &err);
	if (cli_call_message(cli, m, &reply, &err) < 0)
		return cli_fail_err(cli, &err);
	if (sd_bus_message_read(reply, "os", &path, &key) < 0)
		return cli_fail(cli, VNIC_E_INTERNAL, "vnicd's answer could not be read");
	return print_made(cli, key, "Attached");
}

/* Has @domain, a name or UUID, a port with this MAC? */
static int find_of_domain(struct cli *cli, const char *domain, const char *mac,
			  struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *ports = NULL;
	int r = ports_named(cli, mac, &ports, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < json_object_array_length(ports); i++) {
		struct json_object *port = json_object_array_get_idx(ports, i);

		if (!strcmp(domain, j_str(port, "domain")) ||
		    !strcasecmp(domain, j_str(port, "uuid")))
			return 0;
	}
	return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_PORT,
			    "domain %.120s has no port with the MAC %s; 'vnicctl port' lists those "
			    "there are",
			    domain, mac);
}

int cmd_port_detach(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	uint8_t mac[VNIC_MAC_LEN];

	if (argc == 1)
		return port_device(cli, argv[0], false);
	if (mac_parse(argv[1], mac) < 0) {
		cli_fail(cli, VNIC_E_INVALID_MAC, "%s: not a MAC address like 52:54:00:12:34:56",
			 argv[1]);
		return CLI_USAGE;
	}
	if (cli->dry_run && find_of_domain(cli, argv[0], argv[1], &err) < 0)
		return cli_fail_err(cli, &err);
	if (cli->dry_run) {
		cli_done(cli, "Would unplug %s from %s and release its port.", argv[1], argv[0]);
		return CLI_OK;
	}
	if (cli_call(cli, "PortDetach", &reply, &err, "ss", argv[0], argv[1]) < 0)
		return cli_fail_err(cli, &err);
	cli_done(cli, "Detached %s from %s.", argv[1], argv[0]);
	return CLI_OK;
}
