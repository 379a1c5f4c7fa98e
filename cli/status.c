/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicctl status, reload */
#include "cli/cli.h"

#include <string.h>

#include "base/str.h"
#include "cli/table.h"

static struct json_object *count_states(struct json_object *ports)
{
	static const char *const states[] = { "preparing",   "ready",	  "connected", "running",
					      "quarantined", "releasing", "failed" };
	struct json_object *o = json_object_new_object();

	for (size_t s = 0; s < ARRAY_SIZE(states); s++) {
		uint64_t n = 0;

		for (size_t i = 0; i < json_object_array_length(ports); i++)
			n += !strcmp(states[s],
				     j_str(json_object_array_get_idx(ports, i), "state"));
		json_add_u64(o, states[s], n);
	}
	return o;
}

/* How it stands with the VFs of each nic that has some, or is to */
static struct json_object *nic_vfs(struct json_object *nics)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(nics); i++) {
		struct json_object *nic = json_object_array_get_idx(nics, i), *o;

		if (j_i64(nic, "sriov_numvfs") <= 0 && j_i64(nic, "vfs_wanted") <= 0)
			continue;
		o = json_object_new_object();
		json_add_str(o, "name", j_str(nic, "name"));
		json_add_str(o, "address", j_str(nic, "address"));
		json_add_u64(o, "vfs", j_u64(nic, "sriov_numvfs"));
		json_add_u64(o, "taken", j_u64(nic, "vfs_taken"));
		json_add_u64(o, "free", j_u64(nic, "vfs_free"));
		json_object_array_add(list, o);
	}
	return list;
}

static int collect(struct cli *cli, struct json_object **ret, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *status = NULL, *objects = NULL, *segments = NULL,
						*classes = NULL;
	struct json_object *ports;
	int r = cli_get_manager(cli, &status, err);

	if (r >= 0)
		r = cli_get_objects(cli, &objects, err);
	if (r >= 0)
		r = cli_get_list(cli, "ListSegments", &segments, err);
	if (r >= 0)
		r = cli_get_list(cli, "ListClasses", &classes, err);
	if (r < 0)
		return r;
	ports = j_array(objects, "ports");
	json_add_u64(status, "nics", json_object_array_length(j_array(objects, "nics")));
	json_add_u64(status, "segments", json_object_array_length(segments));
	json_add_u64(status, "classes", json_object_array_length(classes));
	json_add_u64(status, "ports", json_object_array_length(ports));
	json_object_object_add(status, "port_states", count_states(ports));
	json_object_object_add(status, "nic_vfs", nic_vfs(j_array(objects, "nics")));
	*ret = take_ptr(status);
	return 0;
}

int cmd_status(struct cli *cli, int argc, char **argv)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct table_style style = { cli->width, cli->color };
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *status;

	(void)argc;
	(void)argv;
	if (collect(cli, &status, &err) < 0)
		return cli_fail_err(cli, &err);
	json_object_object_add(o, "status", status);
	if (!cli_print_json(cli, o))
		render_status(stdout, &style, status);
	return CLI_OK;
}

int cmd_reload(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	struct vnic_err err = VNIC_ERR_INIT;

	(void)argc;
	(void)argv;
	if (cli->dry_run) {
		cli_fail(cli, VNIC_E_INVALID_ARGUMENT,
			 "reload has no --dry-run: a configuration with an error changes nothing");
		return CLI_USAGE;
	}
	if (cli_call(cli, "Reload", &reply, &err, "") < 0)
		return cli_fail_err(cli, &err);
	cli_done(cli, "The configuration was read and is in force.");
	return CLI_OK;
}
