/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "libvirt-hook/domain_json.h"

#include <stdio.h>

#include "base/paths.h"

void json_put_into(struct json_object *o, const char *key, struct json_object *value)
{
	if (!value || json_object_object_add(o, key, value) < 0)
		abort();
}

void json_append(struct json_object *array, struct json_object *value)
{
	if (!value || json_object_array_add(array, value) < 0)
		abort();
}

static void add_mac(struct json_object *o, const uint8_t mac[VNIC_MAC_LEN])
{
	char text[VNIC_MAC_STR];

	json_add_str(o, "mac", mac_format(mac, text));
}

void domain_json_identity(const struct domain *d, struct json_object *o)
{
	char uuid[VNIC_UUID_STR];
	char pidfile[sizeof(VNIC_PIDFILE_DIR) + DOMAIN_NAME_LEN_MAX + 8];

	json_add_str(o, "uuid", uuid_format(d->uuid, uuid));
	json_add_str(o, "name", d->name);
	json_add_bool(o, "shared_memory", domain_has_shared_memory(d));
	snprintf(pidfile, sizeof(pidfile), "%s/%s.pid", VNIC_PIDFILE_DIR, d->name);
	json_add_str(o, "pidfile", pidfile);
}

struct json_object *domain_json_nic(const struct domain_nic *n)
{
	struct json_object *o = json_object_new_object();

	if (n->has_mac)
		add_mac(o, n->mac);
	json_add_str(o, "type", n->type ? n->type : "");
	if (n->hostdev)
		json_add_str(o, "address", n->hostdev);
	if (n->source_path)
		json_add_str(o, "socket", n->source_path);
	if (str_eq(n->type, "vdpa") && n->source_dev)
		json_add_str(o, "dev", n->source_dev);
	if (!domain_nic_is_ours(n)) {
		/* Its partner may be ours, and they have one MAC. */
		if (n->teaming)
			json_add_str(o, "teaming", n->teaming);
		return o;
	}
	json_add_str(o, "mode", n->source_mode ? n->source_mode : "");
	json_add_bool(o, "reconnect", n->reconnect && n->reconnect_timeout > 0);
	json_add_str(o, "model", n->model ? n->model : "");
	json_add_u64(o, "queues", n->queues ? n->queues : 1);
	json_add_str(o, "teaming", n->teaming);
	/* One that libvirt made up says nothing about the next start. */
	json_add_str(o, "alias", domain_alias_is_users(n->alias) ? n->alias : NULL);
	return o;
}

struct json_object *domain_json_nics(const struct domain *d, bool ours_only)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < d->n_nics; i++)
		if (!ours_only || domain_nic_is_ours(&d->nics[i]))
			json_append(array, domain_json_nic(&d->nics[i]));
	return array;
}

struct json_object *domain_json_overrides(const struct domain *d)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < d->n_overrides; i++) {
		const struct domain_override *ov = &d->overrides[i];
		struct json_object *o = json_object_new_object();

		add_mac(o, ov->mac);
		if (ov->class_name)
			json_add_str(o, "class", ov->class_name);
		if (ov->vlan)
			json_add_str(o, "vlan", ov->vlan);
		if (ov->rate)
			json_add_str(o, "rate", ov->rate);
		if (ov->weight)
			json_add_str(o, "weight", ov->weight);
		if (ov->paths)
			json_add_str(o, "paths", ov->paths);
		json_append(array, o);
	}
	return array;
}

static struct json_object *add_device(struct json_object *list, const char *address,
				      const char *alias)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "address", address);
	json_add_str(o, "alias", alias);
	json_append(list, o);
	return o;
}

/* Of which class it is, says <vnic:port>; or its standby, where that is vnicd's. */
static void add_wishes(struct json_object *o, const struct domain *d, const struct domain_nic *n)
{
	const struct domain_override *wish = domain_override_of(d, n->mac);
	const struct domain_nic *standby = domain_nic_ours(d, n->mac);
	char class[VNIC_NAME_MAX], name[VNIC_NAME_MAX];
	uint64_t rate;

	if (standby && !domain_nic_is_vdpa(standby) &&
	    socket_split(standby->source_path, class, name) == 0)
		json_add_str(o, "class", class);
	else if (wish && wish->class_name)
		json_add_str(o, "class", wish->class_name);
	else
		return;
	if (wish && wish->rate && rate_parse(wish->rate, &rate) == 0)
		json_add_str(o, "rate", wish->rate);
	else if (wish && wish->rate)
		json_add_bool(o, "unread", true);
}

static void add_nics(struct json_object *list, const struct domain *d, bool unread)
{
	for (size_t i = 0; i < d->n_nics; i++) {
		const struct domain_nic *n = &d->nics[i];
		char mac[VNIC_MAC_STR];
		struct json_object *o;

		if (!n->hostdev)
			continue;
		/* One of a hostdev network says which it was given, too. */
		o = add_device(list, n->hostdev, n->alias);
		if (!n->has_mac)
			continue;
		json_add_str(o, "mac", mac_format(n->mac, mac));
		add_wishes(o, d, n);
		if (unread)
			json_add_bool(o, "unread", true);
	}
}

struct json_object *domain_json_devices(const struct domain *d, bool unread)
{
	struct json_object *list = json_object_new_array();

	add_nics(list, d, unread);
	for (size_t i = 0; i < d->n_hostdevs; i++)
		if (d->hostdevs[i].address)
			add_device(list, d->hostdevs[i].address, d->hostdevs[i].alias);
	return list;
}

struct json_object *domain_json_findings(const struct findings *f)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < f->n; i++) {
		const struct finding *x = &f->list[i];
		struct json_object *o = json_object_new_object();

		json_add_str(o, "severity", finding_severity_str(x->severity));
		json_add_str(o, "code", x->code);
		if (x->has_mac)
			add_mac(o, x->mac);
		else
			json_add_str(o, "mac", NULL);
		json_add_str(o, "message", x->message);
		json_add_str(o, "fix", x->fix);
		json_append(array, o);
	}
	return array;
}
