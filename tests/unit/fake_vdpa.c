/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake host's vDPA: vnic.ko on its uplinks, a card's management device, devices and the links to their nodes. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_host_priv.h"

static struct fake_vdpa *find(struct fake_host *h, const char *name)
{
	for (size_t i = 0; i < h->n_vdpas; i++)
		if (str_eq(h->vdpa[i].name, name))
			return &h->vdpa[i];
	return NULL;
}

struct fake_vdpa *fake_add_vdpa(struct fake_host *h, const char *name, const char *mgmtdev)
{
	struct fake_vdpa *v = &h->vdpa[h->n_vdpas++];

	assert_true(h->n_vdpas < FAKE_MAX);
	*v = (struct fake_vdpa){ .open = false };
	snprintf(v->name, sizeof(v->name), "%s", name);
	snprintf(v->mgmtdev, sizeof(v->mgmtdev), "%s", mgmtdev);
	return v;
}

void fake_del_vdpa(struct fake_host *h, const char *name)
{
	struct fake_vdpa *v = find(h, name);

	assert_non_null(v);
	FAKE_DROP(h->vdpa, h->n_vdpas, (size_t)(v - h->vdpa));
}

struct fake_vdpa *fake_vdpa(struct fake_host *h, const char *name)
{
	return find(h, name);
}

static bool *uplink_flag(struct fake_host *h, const struct step *step)
{
	struct fake_link *f = fake_by_ifindex(h, step->ifindex);

	return f ? &f->uplink : NULL;
}

int fake_vdpa_probe(struct fake_host *h, struct step *step)
{
	if (step->kind == STEP_NIC_UPLINK) {
		bool *uplink = uplink_flag(h, step);

		if (!uplink)
			return -ENODEV;
		step->prev = *uplink;
		step->has_prev = true;
	} else if (step->kind == STEP_VDPA_ADD) {
		if (find(h, step->dev))
			return -EEXIST;
		step->has_prev = true;
	}
	return 0;
}

static int act_uplink(struct fake_host *h, const struct step *step, bool undo)
{
	bool *uplink = uplink_flag(h, step);

	if (!uplink)
		return -ENODEV;
	if (h->no_vnic && !undo)
		return -EOPNOTSUPP;
	if (!undo)
		*uplink = true;
	else if (step->has_prev && !step->prev)
		*uplink = false;
	return 0;
}

static bool mgmtdev_there(struct fake_host *h, const char *name)
{
	struct fake_link *f;

	if (!mgmtdev_is_vnic(name))
		return str_eq(name, h->card_mgmtdev);
	f = fake_link(h, name + strlen(VNIC_MGMTDEV));
	return f && f->uplink;
}

static int act_add(struct fake_host *h, const struct step *step, bool undo)
{
	struct fake_vdpa *v = find(h, step->dev);

	if (undo && (!v || !step->has_prev))
		return 0;
	if (undo && v->open)
		return -EBUSY;
	if (undo) {
		fake_del_vdpa(h, step->dev);
		return 0;
	}
	assert_true(step->has_prev);
	if (v)
		return 0;
	if (!mgmtdev_there(h, step->mgmtdev))
		return -ENODEV;
	v = fake_add_vdpa(h, step->dev, step->mgmtdev);
	memcpy(v->mac, step->mac, sizeof(v->mac));
	v->pairs = (uint32_t)step->value;
	return 0;
}

static void set_node(struct fake_host *h, const struct step *step, bool on)
{
	char file[sizeof(h->node[0])];

	snprintf(file, sizeof(file), "%s/%s", step->class_name, step->name);
	for (size_t i = 0; i < h->n_nodes; i++)
		if (str_eq(h->node[i], file)) {
			if (!on)
				FAKE_DROP(h->node, h->n_nodes, i);
			return;
		}
	if (on)
		strcpy(h->node[h->n_nodes++], file);
}

bool fake_vdpa_step(enum step_kind kind)
{
	return kind >= STEP_NIC_UPLINK && kind <= STEP_VDPA_NODE;
}

int fake_vdpa_act(struct fake_host *h, const struct step *step, bool undo)
{
	struct fake_vdpa *v = find(h, step->dev);

	if (step->kind == STEP_NIC_UPLINK)
		return act_uplink(h, step, undo);
	if (step->kind == STEP_VDPA_ADD)
		return act_add(h, step, undo);
	if (!v && !undo)
		return -ENODEV;
	if (step->kind == STEP_VDPA_NODE) {
		if (!undo && !str_eq(v->driver, "vhost_vdpa"))
			return -ENXIO;
		set_node(h, step, !undo);
	} else if (step->kind == STEP_VDPA_DRIVER && !undo) {
		strcpy(v->driver, step->driver);
	} else if (step->kind == STEP_VDPA_POLICY && !undo) {
		v->vlan = step->vlan;
		v->rate = (uint64_t)step->value;
		v->weight = step->weight;
		v->allow = step->allow;
	}
	return 0;
}

static bool notify_mgmtdev(struct fake_host *h, const char *name, bool there)
{
	struct vdpa_mgmtdev m = { .net = true, .max_vqp = 8 };

	snprintf(m.name, sizeof(m.name), "%s", name);
	return (there ? inventory_upsert_mgmtdev(&h->inv, &m)
		      : inventory_remove_mgmtdev(&h->inv, name)) > 0;
}

void fake_notify_vdpa(struct fake_host *h)
{
	struct vdpa_mgmtdev *m, *mtmp;
	struct vdpa_dev *d, *tmp;
	bool changed = false;
	char name[MGMTDEV_NAME_MAX];

	for (size_t i = 0; i < h->n_links; i++) {
		snprintf(name, sizeof(name), VNIC_MGMTDEV "%s", h->link[i].link.name);
		changed |= notify_mgmtdev(h, name, h->link[i].uplink);
	}
	HASH_ITER(hh, h->inv.mgmtdevs, m, mtmp)
	{
		if (mgmtdev_is_vnic(m->name) && !fake_link(h, m->name + strlen(VNIC_MGMTDEV)))
			changed |= notify_mgmtdev(h, m->name, false);
	}
	if (*h->card_mgmtdev)
		changed |= notify_mgmtdev(h, h->card_mgmtdev, true);
	for (size_t i = 0; i < h->n_vdpas; i++) {
		struct vdpa_dev dev = { .device_id = 1 };

		strcpy(dev.name, h->vdpa[i].name);
		strcpy(dev.mgmtdev, h->vdpa[i].mgmtdev);
		strcpy(dev.driver, h->vdpa[i].driver);
		changed |= inventory_upsert_vdpa(&h->inv, &dev) > 0;
	}
	HASH_ITER(hh, h->inv.vdpas, d, tmp)
	{
		if (!find(h, d->name))
			changed |= inventory_remove_vdpa(&h->inv, d->name) > 0;
	}
	if (changed)
		manager_vdpa_changed(h->m);
}

void fake_print_vdpa(const struct fake_host *h, FILE *f)
{
	for (size_t i = 0; i < h->n_links; i++)
		if (h->link[i].uplink)
			fprintf(f, "uplink of vnic.ko %s\n", h->link[i].link.name);
	for (size_t i = 0; i < h->n_vdpas; i++)
		fprintf(f, "vDPA device %s of %s, driver %s\n", h->vdpa[i].name, h->vdpa[i].mgmtdev,
			h->vdpa[i].driver);
	for (size_t i = 0; i < h->n_nodes; i++)
		fprintf(f, "node %s\n", h->node[i]);
}

void fake_vdpa_counters(void *data, const struct port_key *key, manager_step_done done, void *arg)
{
	struct fake_host *h = data;

	manager_port(h->m, key)->counters.rx_packets++;
	done(arg, 0, NULL);
}
