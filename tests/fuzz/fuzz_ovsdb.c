/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any JSON as what Open vSwitch's database tells, once and then again as an update of that. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "daemon/model/ovsdb.h"
#include "tests/fuzz/fuzz.h"

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Each port is one of a bridge that is told of, and names are such as interfaces have. */
static void check(struct json_object *db)
{
	struct ovs *ovs = ovsdb_read(db);

	must(ovs);
	for (struct ovs_port *p = ovs->ports; p; p = p->hh.next) {
		struct ovs_bridge *b = NULL;

		HASH_FIND_STR(ovs->bridges, p->bridge, b);
		must(b && ifname_valid(p->name) && ifname_valid(p->bridge));
		must(!*p->ours == !p->trunks);
	}
	ovs_free(ovs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(json_putp) struct json_object *db = json_object_new_object(), *updates = NULL;
	struct vnic_err err = VNIC_ERR_INIT;

	if (json_parse((const char *)data, size, &updates, &err) < 0)
		return 0;
	ovsdb_update(db, updates);
	check(db);
	ovsdb_update(db, updates);
	check(db);
	return 0;
}
