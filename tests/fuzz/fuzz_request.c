/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a hook's message. What is taken obeys the rules that the rest of the daemon relies on. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "daemon/core/request.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct domain_request *req)
{
	if (req->n_specs > REQUEST_INTERFACES_MAX)
		abort();
	for (size_t i = 0; i < req->n_specs; i++) {
		const struct port_spec *s = &req->specs[i];

		if (!name_valid(s->class_name) || !name_valid(s->name) || !s->queues ||
		    s->queues > 8 || (s->has_vlan && s->vlan > VNIC_VLAN_MAX) ||
		    (*s->pidfile && *s->pidfile != '/'))
			abort();
		for (size_t j = 0; j < i; j++)
			if (mac_valid_guest(s->key.mac) && port_key_eq(&s->key, &req->specs[j].key))
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(json_putp) struct json_object *o = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain_request req;

	if (json_parse((const char *)data, size, &o, &err) < 0)
		return 0;
	if (request_parse(o, &req, &err) < 0) {
		if (!*err.code || !*err.message)
			abort();
		return 0;
	}
	check(&req);
	request_clear(&req);
	return 0;
}
