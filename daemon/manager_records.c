/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records for the manager: written when it says so, given to it once at the start. */
#include "api/errors.h"
#include "base/log.h"
#include "daemon/manager_io_priv.h"

/* A record's failure stops the step that it was for; the disk's own words go to the log. */
static int logged(int r, const struct vnic_err *err)
{
	if (r < 0)
		log_err("%s", err->message);
	return r;
}

static int io_record_port(void *data, const struct vnic_port *port)
{
	struct outside *o = data;
	struct vnic_err err = VNIC_ERR_INIT;

	return logged(records_write_port(o->records, port, &err), &err);
}

static int io_erase_port(void *data, const struct port_key *key)
{
	struct outside *o = data;
	struct vnic_err err = VNIC_ERR_INIT;

	return logged(records_erase_port(o->records, key, &err), &err);
}

static int io_record_shared(void *data, const char *segment, const struct plan *plan)
{
	struct outside *o = data;
	struct vnic_err err = VNIC_ERR_INIT;

	return logged(records_write_shared(o->records, segment, plan, &err), &err);
}

static int io_erase_shared(void *data, const char *segment)
{
	struct outside *o = data;
	struct vnic_err err = VNIC_ERR_INIT;

	return logged(records_erase_shared(o->records, segment, &err), &err);
}

static int io_record_nic(void *data, const char *pf, const struct plan *plan, bool drained)
{
	struct outside *o = data;
	struct vnic_err err = VNIC_ERR_INIT;

	return logged(records_write_nic(o->records, pf, plan, drained, &err), &err);
}

static int io_erase_nic(void *data, const char *pf)
{
	struct outside *o = data;
	struct vnic_err err = VNIC_ERR_INIT;

	return logged(records_erase_nic(o->records, pf, &err), &err);
}

static int io_record_hostdev(void *data, const char *addr, const struct plan *plan)
{
	struct outside *o = data;
	struct vnic_err err = VNIC_ERR_INIT;

	return logged(records_write_hostdev(o->records, addr, plan, &err), &err);
}

static int io_erase_hostdev(void *data, const char *addr)
{
	struct outside *o = data;
	struct vnic_err err = VNIC_ERR_INIT;

	return logged(records_erase_hostdev(o->records, addr, &err), &err);
}

void outside_records_io(struct manager_io *io)
{
	io->record_port = io_record_port;
	io->erase_port = io_erase_port;
	io->record_shared = io_record_shared;
	io->erase_shared = io_erase_shared;
	io->record_nic = io_record_nic;
	io->erase_nic = io_erase_nic;
	io->record_hostdev = io_record_hostdev;
	io->erase_hostdev = io_erase_hostdev;
}

static void on_record_port(void *userdata, struct vnic_port *port)
{
	struct outside *o = userdata;
	struct vnic_err err = VNIC_ERR_INIT;
	char key[PORT_KEY_STR];

	port_key_format(&port->spec.key, key);
	if (manager_restore_port(o->manager, port, &err) < 0)
		log_err("the record of port %s cannot be taken up: %s", key, err.message);
}

static void on_record_shared(void *userdata, const char *segment, struct plan *plan)
{
	struct outside *o = userdata;
	struct vnic_err err = VNIC_ERR_INIT;

	if (manager_restore_shared(o->manager, segment, plan, &err) < 0)
		log_err("the record of segment %s cannot be taken up: %s", segment, err.message);
}

static void on_record_nic(void *userdata, const char *pf, struct plan *plan, bool drained)
{
	struct outside *o = userdata;
	struct vnic_err err = VNIC_ERR_INIT;

	if (manager_restore_nic(o->manager, pf, plan, drained, &err) < 0)
		log_err("the record of nic %s cannot be taken up: %s", pf, err.message);
}

static void on_record_hostdev(void *userdata, const char *addr, struct plan *plan)
{
	struct outside *o = userdata;
	struct vnic_err err = VNIC_ERR_INIT;

	if (manager_restore_hostdev(o->manager, addr, plan, &err) < 0)
		log_err("the record of VF %s cannot be taken up: %s", addr, err.message);
}

static void on_record_problem(void *userdata, const char *file, const struct vnic_err *err)
{
	(void)userdata;
	log_err("record %s: %s", file, err->message);
}

static const struct records_ops record_ops = {
	.port = on_record_port,
	.shared = on_record_shared,
	.nic = on_record_nic,
	.hostdev = on_record_hostdev,
	.problem = on_record_problem,
};

int outside_records_load(struct outside *o, struct vnic_err *err)
{
	return records_load(o->records, &record_ops, o, err);
}
