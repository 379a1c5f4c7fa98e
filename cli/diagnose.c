/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vnicctl diagnose: one look at all that must be right, each with its state in a sentence and, where it is not
 * right, what to do. Works when vnicd is down, without the bus, and for a user without privilege (who then reads
 * "unknown" where he may not look).
 */
#include "cli/diagnose.h"

#include <string.h>

#include "base/paths.h"
#include "cli/cli.h"
#include "cli/table.h"

void check_add(struct json_object *checks, const char *check, const char *status, const char *fix,
	       const char *fmt, ...)
{
	struct json_object *o = json_object_new_object();
	char text[VNIC_ERR_MESSAGE_MAX + 64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_add_str(o, "check", check);
	json_add_str(o, "status", status);
	json_add_str(o, "message", text);
	json_add_str(o, "fix", fix);
	json_object_array_add(checks, o);
}

/* Is vnicd there, and what does it say of itself? Returns whether it can be asked more. */
static bool check_daemon(struct cli *cli, struct json_object *checks)
{
	_cleanup_(json_putp) struct json_object *manager = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *reasons;
	const char *state;

	if (cli_get_manager(cli, &manager, &err) < 0) {
		bool denied = !strcmp(err.code, VNIC_E_ACCESS);
		bool hung = !strcmp(err.code, VNIC_E_TIMEOUT);

		/* What to do is said once. */
		if (!strncmp(err.message, "vnicd does not run", strlen("vnicd does not run")))
			err.message[strlen("vnicd does not run")] = '\0';
		check_add(checks, "daemon", denied ? "unknown" : "error",
			  denied ? "Run it as root: sudo vnicctl diagnose"
			  : hung ? NULL
				 : "systemctl start vnicd; if it fails: journalctl -b -u vnicd",
			  "%s", err.message);
		return false;
	}
	state = j_str(manager, "state");
	check_add(checks, "daemon", strcmp(state, "degraded") ? "ok" : "warning", NULL,
		  "vnicd %s is %s", j_str(manager, "version"), state);
	reasons = j_array(manager, "reasons");
	for (size_t i = 0; reasons && i < json_object_array_length(reasons); i++)
		check_add(checks, "daemon", "warning", NULL, "%s",
			  json_object_get_string(json_object_array_get_idx(reasons, i)));
	if (j_bool(manager, "datapath_connected"))
		check_add(checks, "datapath", "ok", NULL, "vnicd is connected to vnicd-datapath");
	else
		check_add(checks, "datapath", "error",
			  "systemctl start vnicd-datapath; if it fails: journalctl -b -u "
			  "vnicd-datapath",
			  "vnicd has no connection to vnicd-datapath: no guest can start");
	return true;
}

static void check_segments(struct cli *cli, struct json_object *checks)
{
	_cleanup_(json_putp) struct json_object *segments = NULL;
	struct vnic_err err = VNIC_ERR_INIT;

	if (cli_get_list(cli, "ListSegments", &segments, &err) < 0) {
		check_add(checks, "segments", "error", NULL, "%s", err.message);
		return;
	}
	if (json_object_array_length(segments) == 0)
		check_add(checks, "segments", "warning",
			  "Add a [segment NAME] section to /etc/vnicd/vnicd.conf (vnicd.conf(5)), "
			  "then: vnicctl reload",
			  "no segment is configured: vnicd has nothing to offer to guests");
	for (size_t i = 0; i < json_object_array_length(segments); i++) {
		struct json_object *s = json_object_array_get_idx(segments, i);
		struct json_object *uplinks = j_array(s, "uplinks");
		const char *name = j_str(s, "name"), *bridge = j_str(s, "bridge");

		check_bridge(checks, name, bridge, j_str(s, "place"));
		for (size_t k = 0; uplinks && k < json_object_array_length(uplinks); k++)
			check_uplink(checks, name, bridge,
				     json_object_get_string(json_object_array_get_idx(uplinks, k)));
	}
}

/* A class that may give VFs to guests? */
static bool has_sriov(struct json_object *classes)
{
	for (size_t i = 0; i < json_object_array_length(classes); i++) {
		struct json_object *paths = j_array(json_object_array_get_idx(classes, i), "paths");

		for (size_t k = 0; paths && k < json_object_array_length(paths); k++)
			if (!strcmp(json_object_get_string(json_object_array_get_idx(paths, k)),
				    "sriov"))
				return true;
	}
	return false;
}

static void check_classes(struct cli *cli, struct json_object *checks)
{
	_cleanup_(json_putp) struct json_object *classes = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	size_t n;

	if (cli_get_list(cli, "ListClasses", &classes, &err) < 0) {
		check_add(checks, "classes", "error", NULL, "%s", err.message);
		return;
	}
	n = json_object_array_length(classes);
	if (n == 0)
		check_add(checks, "classes", "warning",
			  "Add a [class NAME] section to /etc/vnicd/vnicd.conf (vnicd.conf(5)), "
			  "then: vnicctl reload",
			  "no class is configured: no guest can ask for one");
	else
		check_add(checks, "classes", "ok", NULL, "%zu class%s configured", n,
			  n == 1 ? "" : "es");
	if (has_sriov(classes))
		check_vfs(checks, "/sys");
}

/* Nics that are to be uplinks of vnic.ko, and devices that nobody knows any more. */
static void check_vdpa(struct cli *cli, struct json_object *checks, struct json_object *nics)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_(json_putp) struct json_object *mgmtdevs = NULL, *devices = NULL;
	struct vnic_err err = VNIC_ERR_INIT;

	for (size_t i = 0; i < json_object_array_length(nics); i++) {
		struct json_object *n = json_object_array_get_idx(nics, i);
		const char *reason = j_str(n, "vnic_reason");

		if (j_bool(n, "vnic_wanted"))
			check_add(checks, "vnic.ko", j_bool(n, "vnic_ready") ? "ok" : "error", NULL,
				  "%s is %s uplink of vnic.ko%s%s", j_str(n, "name"),
				  j_bool(n, "vnic_ready") ? "an" : "to be an", *reason ? ": " : "",
				  reason);
	}
	if (cli_call(cli, "ListVdpa", &reply, &err, "") < 0 || value_read(reply, &mgmtdevs) < 0 ||
	    value_read(reply, &devices) < 0)
		return;
	for (size_t i = 0; i < json_object_array_length(devices); i++) {
		struct json_object *d = json_object_array_get_idx(devices, i);
		char fix[256];

		snprintf(fix, sizeof(fix), "Once no guest uses it: vdpa dev del %s",
			 j_str(d, "name"));
		if (j_bool(d, "left"))
			check_add(checks, "vDPA", "warning", fix,
				  "device %s of %s was made by vnicd, which has no record of it",
				  j_str(d, "name"), j_str(d, "mgmtdev"));
	}
}

/* Returns how many ports there are, -1 where that cannot be told. */
static long check_ports(struct cli *cli, struct json_object *checks)
{
	_cleanup_(json_putp) struct json_object *objects = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *ports;
	size_t n, bad = 0;

	if (cli_get_objects(cli, &objects, &err) < 0) {
		check_add(checks, "ports", "error", NULL, "%s", err.message);
		return -1;
	}
	check_vdpa(cli, checks, j_array(objects, "nics"));
	ports = j_array(objects, "ports");
	n = json_object_array_length(ports);
	for (size_t i = 0; i < n; i++) {
		struct json_object *p = json_object_array_get_idx(ports, i);
		const char *state = j_str(p, "state");

		if (strcmp(state, "failed") != 0 && strcmp(state, "quarantined") != 0)
			continue;
		bad++;
		check_add(
			checks, "ports", "error",
			!strcmp(state, "quarantined")
				? "Its guest's rings stopped workers of the datapath. Shut the "
				  "domain "
				  "down and start it again; see 'vnicctl port show' for its history"
				: "Correct what the reason names; the next start of the domain "
				  "tries "
				  "again",
			"%s (%s) is %s: %s", j_str(p, "key"), j_str(p, "domain"), state,
			j_str(p, "reason"));
	}
	if (!bad)
		check_add(checks, "ports", "ok", NULL, "%zu port%s, none failed", n,
			  n == 1 ? "" : "s");
	return (long)n;
}

int cmd_diagnose(struct cli *cli, int argc, char **argv)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct table_style style = { cli->width, cli->color };
	struct json_object *checks = json_object_new_array();
	int status = CLI_OK;
	long n_ports = -1;

	(void)argc;
	(void)argv;
	json_object_object_add(o, "checks", checks);
	if (check_daemon(cli, checks)) {
		check_segments(cli, checks);
		check_classes(cli, checks);
		n_ports = check_ports(cli, checks);
	} else {
		check_datapath_socket(checks);
	}
	check_config_file(checks);
	check_hooks(checks);
	check_libvirt(checks);
	check_records(checks, VNIC_PORTS_DIR, n_ports);
	check_set_aside(checks, VNIC_PORTS_DIR);
	check_set_aside(checks, VNIC_SHARED_DIR);
	check_journal(checks);
	if (!cli_print_json(cli, o))
		render_diagnose(stdout, &style, checks);
	for (size_t i = 0; i < json_object_array_length(checks); i++)
		if (!strcmp(j_str(json_object_array_get_idx(checks, i), "status"), "error"))
			status = CLI_FAILED;
	return status;
}
