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
