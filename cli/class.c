/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicctl class show [NAME] */
#include "cli/cli.h"

#include "cli/table.h"

int cmd_class_show(struct cli *cli, int argc, char **argv)
{
	struct table_style style = { cli->width, cli->color };
	_cleanup_(json_putp) struct json_object *all = NULL, *o = json_object_new_object();
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *list;
	int r = cli_get_list(cli, "ListClasses", &all, &err);

	if (r < 0)
		return cli_fail_err(cli, &err);
	list = list_named(all, argc ? argv[0] : NULL);
	json_object_object_add(o, "classes", list);
	if (argc && json_object_array_length(list) == 0)
		return cli_fail(cli, VNIC_E_UNKNOWN_CLASS,
				"no class named \"%s\"; 'vnicctl class' lists those there are",
				argv[0]);
	if (!cli_print_json(cli, o))
		render_classes(stdout, &style, list);
	return CLI_OK;
}
