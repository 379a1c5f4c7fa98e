/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicctl nic show [NIC] */
#include "cli/cli.h"

#include <ctype.h>
#include <string.h>

#include "cli/table.h"

#define I_NIC "org.vnicd1.Nic"

/* A nic goes by its interface's name or its address. */
static struct json_object *nics_named(struct json_object *nics, const char *word)
{
	struct json_object *some = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(nics); i++) {
		struct json_object *nic = json_object_array_get_idx(nics, i);

		if (!word || !strcmp(word, j_str(nic, "name")) ||
		    !strcmp(word, j_str(nic, "address")))
			json_object_array_add(some, json_object_get(nic));
	}
	return some;
}

/* As api/org.vnicd1.Nic.xml has it */
static void nic_path(struct json_object *nic, char *buf, size_t size)
{
	uint64_t ifindex = j_u64(nic, "ifindex");
	size_t n;

	if (ifindex) {
		snprintf(buf, size, VNIC_BUS_ROOT "/nic/%llu", (unsigned long long)ifindex);
		return;
	}
	n = strlen(VNIC_BUS_ROOT "/nic/pf_");
	snprintf(buf, size, VNIC_BUS_ROOT "/nic/pf_%s", j_str(nic, "address"));
	for (; buf[n]; n++)
		if (!isalnum((unsigned char)buf[n]))
			buf[n] = '_';
}

/* A method of the nic that answers with lists; the first goes into @ret. */
static int call_nic(struct cli *cli, const char *path, const char *member, int first,
		    sd_bus_message **ret_reply, struct json_object **ret, struct vnic_err *err)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = cli_new_call(cli, path, I_NIC, member, &m, err);

	if (r >= 0 && first >= 0)
		r = sd_bus_message_append(m, "u", (uint32_t)first);
	if (r >= 0)
		r = cli_call_message(cli, m, ret_reply, err);
	if (r < 0)
		return r;
	r = value_read(*ret_reply, ret);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_INTERNAL, "vnicd's answer could not be read");
	return 0;
}

/* They come in parts. */
static int add_vfs(struct cli *cli, const char *path, struct json_object *nic, struct vnic_err *err)
{
	struct json_object *vfs = json_object_new_array();
	int next = 0;

	json_object_object_add(nic, "vfs", vfs);
	for (;;) {
		_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
		_cleanup_(json_putp) struct json_object *part = NULL;
		int r = call_nic(cli, path, "ListVfs", next, &reply, &part, err);
		size_t n;

		if (r < 0)
			return r;
		n = json_object_array_length(part);
		for (size_t i = 0; i < n; i++) {
			struct json_object *vf = json_object_array_get_idx(part, i);

			/* An answer that does not go on would have no end. */
			if (j_i64(vf, "index") < next)
				return vnic_err_set(err, -EBADMSG, VNIC_E_INTERNAL,
						    "vnicd's list of VFs is out of order");
			next = (int)j_i64(vf, "index") + 1;
			json_object_array_add(vfs, json_object_get(vf));
		}
		if (n == 0)
			return 0;
	}
}

/* What is listed of one nic beside its properties: "vfs", "vdpa", "mdevs" */
static int add_lists(struct cli *cli, struct json_object *nic, struct vnic_err *err)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *vdpa = NULL, *mdev = NULL;
	struct json_object *mgmtdevs = NULL, *devices = NULL, *types = NULL, *both;
	char path[128];
	int r;

	nic_path(nic, path, sizeof(path));
	r = add_vfs(cli, path, nic, err);
	if (r >= 0)
		r = call_nic(cli, path, "ListVdpa", -1, &vdpa, &mgmtdevs, err);
	if (r < 0)
		return r;
	both = json_object_new_object();
	json_object_object_add(nic, "vdpa", both);
	json_object_object_add(both, "mgmtdevs", mgmtdevs);
	if (value_read(vdpa, &devices) < 0)
		devices = json_object_new_array();
	json_object_object_add(both, "devices", devices);
	r = call_nic(cli, path, "ListMdevTypes", -1, &mdev, &types, err);
	if (r < 0)
		return r;
	json_object_object_add(nic, "mdevs", types);
	return 0;
}

int cmd_nic_show(struct cli *cli, int argc, char **argv)
{
	struct table_style style = { cli->width, cli->color };
	_cleanup_(json_putp) struct json_object *all = NULL, *o = json_object_new_object();
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *list;
	int r = cli_get_objects(cli, &all, &err);

	if (r < 0)
		return cli_fail_err(cli, &err);
	list = nics_named(j_array(all, "nics"), argc ? argv[0] : NULL);
	json_object_object_add(o, "nics", list);
	if (argc && json_object_array_length(list) == 0)
		return cli_fail(cli, VNIC_E_UNKNOWN_NIC,
				"no nic has the name or address \"%s\"; 'vnicctl nic' lists those "
				"there are",
				argv[0]);
	for (size_t i = 0; argc && i < json_object_array_length(list); i++)
		if (add_lists(cli, json_object_array_get_idx(list, i), &err) < 0)
			return cli_fail_err(cli, &err);
	if (cli_print_json(cli, o))
		return CLI_OK;
	if (!argc)
		render_nics(stdout, &style, list);
	for (size_t i = 0; argc && i < json_object_array_length(list); i++)
		render_nic(stdout, &style, json_object_array_get_idx(list, i));
	return CLI_OK;
}

/* "2 ports give back their VFs: web 52:54:00:00:00:01, …" */
static void say_holders(const struct cli *cli, struct json_object *nic, const char *name)
{
	struct json_object *vfs = j_array(nic, "vfs");
	char list[300] = "";
	size_t n = 0, used = 0;

	for (size_t i = 0; vfs && i < json_object_array_length(vfs); i++) {
		struct json_object *vf = json_object_array_get_idx(vfs, i);
		const char *mac = strchr(j_str(vf, "port"), '/');

		/* The queue of a guest's virtio NIC stays with it. */
		if (!mac || !strcmp(j_str(vf, "device_state"), "queue"))
			continue;
		if (used < sizeof(list) - 80)
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%.50s%s%s",
						 n ? ", " : ": ", j_str(vf, "user_name"),
						 *j_str(vf, "user_name") ? " " : "", mac + 1);
		n++;
	}
	cli_done(cli, "Would give no VF of %s any more; %zu port%s %s one back%s%s.", name, n,
		 n == 1 ? "" : "s", n == 1 ? "gives" : "give", list, n > 5 ? ", ..." : "");
}

/* The one nic that @word names, with its lists; NULL: the error is printed, *ret_status is it. */
static struct json_object *one_nic(struct cli *cli, const char *word, struct json_object **ret_all,
				   int *ret_status)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *all, *nic;

	if (cli_get_objects(cli, &all, &err) < 0) {
		*ret_status = cli_fail_err(cli, &err);
		return NULL;
	}
	*ret_all = nics_named(j_array(all, "nics"), word);
	json_object_put(all);
	nic = json_object_array_get_idx(*ret_all, 0);
	if (!nic) {
		*ret_status = cli_fail(cli, VNIC_E_UNKNOWN_NIC,
				       "no nic has the name or address \"%s\"; 'vnicctl nic' lists "
				       "those there are",
				       word);
		return NULL;
	}
	if (cli->dry_run && add_lists(cli, nic, &err) < 0) {
		*ret_status = cli_fail_err(cli, &err);
		return NULL;
	}
	return nic;
}

static int drain(struct cli *cli, const char *word, bool on)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
	_cleanup_(json_putp) struct json_object *all = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *nic;
	char path[128];
	int status = CLI_FAILED;

	nic = one_nic(cli, word, &all, &status);
	if (!nic)
		return status;
	if (cli->dry_run && j_i64(nic, "sriov_totalvfs") < 0)
		return cli_fail(cli, VNIC_E_UNKNOWN_NIC, "%s has no SR-IOV, and so no VFs", word);
	if (cli->dry_run && on) {
		say_holders(cli, nic, word);
		return CLI_OK;
	}
	if (cli->dry_run) {
		cli_done(cli, "Would let ports have VFs of %s again%s.", word,
			 j_bool(nic, "drained") ? "" : ", which they may already");
		return CLI_OK;
	}
	nic_path(nic, path, sizeof(path));
	if (cli_new_call(cli, path, I_NIC, on ? "Drain" : "Undrain", &m, &err) < 0 ||
	    cli_call_message(cli, m, &reply, &err) < 0)
		return cli_fail_err(cli, &err);
	cli_done(cli,
		 on ? "Drained %s: no port has a VF of it, or gets one until 'vnicctl nic undrain'."
		    : "Ports may have VFs of %s again.",
		 word);
	return CLI_OK;
}

int cmd_nic_drain(struct cli *cli, int argc, char **argv)
{
	(void)argc;
	return drain(cli, argv[0], true);
}

int cmd_nic_undrain(struct cli *cli, int argc, char **argv)
{
	(void)argc;
	return drain(cli, argv[0], false);
}
