/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Both readers of libvirt's XML, and what is made of a domain that they take. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libvirt-hook/domain_check.h"
#include "libvirt-hook/hook.h"
#include "tests/fuzz/fuzz.h"

static void use(const struct domain *d)
{
	static const char *const classes[] = { "gold" };
	_cleanup_(freep) char *message = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct findings f;

	if (domain_check(d, classes, 1, &f) == 0)
		for (size_t i = 0; i < f.n; i++)
			if (!f.list[i].message)
				abort();
	findings_deinit(&f);
	if (hook_check_domain(d, &err) != 0 && (!*err.message || strchr(err.message, '\n')))
		abort();
	hook_message_domain("prepare", d, &message, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(domain_freep) struct domain *d = NULL;
	_cleanup_(network_port_freep) struct network_port *p = NULL;
	_cleanup_(freep) char *message = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	int r;

	r = domain_xml_parse((const char *)data, size, &d, &err);
	/* What is refused has its sentence, and nothing is handed out. */
	if ((r == 0) != (d != NULL) || (r != 0 && r != -ENOMEM && !*err.message))
		abort();
	if (d)
		use(d);
	d = domain_free(d);
	r = domain_xml_parse_devices((const char *)data, size, &d, &err);
	if ((r == 0) != (d != NULL))
		abort();
	r = network_port_parse((const char *)data, size, &p, &err);
	if ((r == 0) != (p != NULL))
		abort();
	if (p && p->nic.hostdev)
		hook_message_port("port-created", p, &message, NULL);
	return 0;
}
