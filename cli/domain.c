/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicctl domain check DOMAIN */
#include "cli/cli.h"

#include <string.h>

#include "cli/table.h"

int cmd_domain_check(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct table_style style = { cli->width, cli->color };
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *findings;
	int status = CLI_OK;

	(void)argc;
	if (cli_call(cli, "DomainCheck", &reply, &err, "s", argv[0]) < 0)
		return cli_fail_err(cli, &err);
	if (value_read(reply, &findings) < 0)
		return cli_fail(cli, VNIC_E_INTERNAL, "vnicd's answer could not be read");
	json_object_object_add(o, "findings", findings);
	if (!cli_print_json(cli, o))
		render_findings(stdout, &style, argv[0], findings);
	for (size_t i = 0; i < json_object_array_length(findings); i++)
		if (!strcmp(j_str(json_object_array_get_idx(findings, i), "severity"), "error"))
			status = CLI_FAILED;
	return status;
}
