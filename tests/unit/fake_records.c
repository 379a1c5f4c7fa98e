/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake host's records: each write is atomic. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host_priv.h"

static void copy_port(struct vnic_port *dst, const struct vnic_port *src)
{
	struct plan plan = { 0 }, device = { 0 };

	assert_int_equal(plan_copy(&plan, &src->plan), 0);
	assert_int_equal(plan_copy(&device, &src->device.plan), 0);
	*dst = *src;
	dst->plan = plan;
	dst->device.plan = device;
}

/* Record @port, or erase it. The write is atomic: killed before it, the old one stands; after, the new. */
static int record_port(struct fake_host *h, const struct port_key *key,
		       const struct vnic_port *port)
{
	size_t i = 0;
	int f;

	if (h->dead)
		return 0;
	f = fake_fault(h, port ? "write the port's record" : "erase the port's record");
	if (f == 1 && h->kill_when == FAKE_BEFORE)
		h->dead = true;
	if (f < 0 || h->dead)
		return f < 0 ? f : 0;
	while (i < h->n_port_records && !port_key_eq(&h->port_record[i]->spec.key, key))
		i++;
	if (i < h->n_port_records) {
		port_free(h->port_record[i]);
		FAKE_DROP(h->port_record, h->n_port_records, i);
	}
	if (port) {
		struct vnic_port *copy = port_new(&port->spec);

		copy_port(copy, port);
		h->port_record[h->n_port_records++] = copy;
	}
	h->dead = f == 1;
	return 0;
}

int fake_record_port(void *data, const struct vnic_port *port)
{
	return record_port(data, &port->spec.key, port);
}

int fake_erase_port(void *data, const struct port_key *key)
{
	return record_port(data, key, NULL);
}

/* The plan of segment or nic @name, whichever @records are of. */
static int record_plan(struct fake_host *h, struct fake_plan_records *records, const char *name,
		       const struct plan *plan)
{
	char what[160];
	size_t i = 0;
	int f;

	if (h->dead)
		return 0;
	snprintf(what, sizeof(what), "%s the %s's record", plan ? "write" : "erase", records->what);
	f = fake_fault(h, what);
	if (f == 1 && h->kill_when == FAKE_BEFORE)
		h->dead = true;
	if (f < 0 || h->dead)
		return f < 0 ? f : 0;
	while (i < records->n && !str_eq(records->record[i].name, name))
		i++;
	if (i < records->n && !plan) {
		plan_clear(&records->record[i].plan);
		FAKE_DROP(records->record, records->n, i);
	} else if (plan) {
		if (i == records->n) {
			memset(&records->record[i], 0, sizeof(records->record[i]));
			records->n++;
		}
		strcpy(records->record[i].name, name);
		assert_int_equal(plan_copy(&records->record[i].plan, plan), 0);
	}
	h->dead = f == 1;
	return 0;
}

int fake_record_shared(void *data, const char *segment, const struct plan *plan)
{
	struct fake_host *h = data;

	return record_plan(h, &h->shared_records, segment, plan);
}

int fake_erase_shared(void *data, const char *segment)
{
	return fake_record_shared(data, segment, NULL);
}

int fake_record_nic(void *data, const char *pf, const struct plan *plan, bool drained)
{
	struct fake_host *h = data;
	int r = record_plan(h, &h->nic_records, pf, plan);

	for (size_t i = 0; r == 0 && !h->dead && i < h->nic_records.n; i++)
		if (str_eq(h->nic_records.record[i].name, pf))
			h->nic_records.record[i].drained = drained;
	return r;
}

int fake_erase_nic(void *data, const char *pf)
{
	return fake_record_nic(data, pf, NULL, false);
}

int fake_record_hostdev(void *data, const char *addr, const struct plan *plan)
{
	struct fake_host *h = data;

	return record_plan(h, &h->hostdev_records, addr, plan);
}

int fake_erase_hostdev(void *data, const char *addr)
{
	return fake_record_hostdev(data, addr, NULL);
}

void fake_restore(struct fake_host *h)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct plan plan = { 0 };

	for (size_t i = 0; i < h->shared_records.n; i++) {
		struct fake_plan_record *r = &h->shared_records.record[i];

		assert_int_equal(plan_copy(&plan, &r->plan), 0);
		assert_int_equal(manager_restore_shared(h->m, r->name, &plan, &err), 0);
	}
	for (size_t i = 0; i < h->nic_records.n; i++) {
		struct fake_plan_record *r = &h->nic_records.record[i];

		assert_int_equal(plan_copy(&plan, &r->plan), 0);
		assert_int_equal(manager_restore_nic(h->m, r->name, &plan, r->drained, &err), 0);
	}
	for (size_t i = 0; i < h->hostdev_records.n; i++) {
		struct fake_plan_record *r = &h->hostdev_records.record[i];

		assert_int_equal(plan_copy(&plan, &r->plan), 0);
		assert_int_equal(manager_restore_hostdev(h->m, r->name, &plan, &err), 0);
	}
	for (size_t i = 0; i < h->n_port_records; i++) {
		struct vnic_port *copy = port_new(&h->port_record[i]->spec);

		copy_port(copy, h->port_record[i]);
		assert_int_equal(manager_restore_port(h->m, copy, &err), 0);
	}
}

void fake_forget_records(struct fake_host *h)
{
	while (h->n_port_records)
		port_free(h->port_record[--h->n_port_records]);
	while (h->shared_records.n)
		plan_clear(&h->shared_records.record[--h->shared_records.n].plan);
	while (h->nic_records.n)
		plan_clear(&h->nic_records.record[--h->nic_records.n].plan);
	while (h->hostdev_records.n)
		plan_clear(&h->hostdev_records.record[--h->hostdev_records.n].plan);
}
