/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain as the JSON of api/hook.md and api/libvirt-helper.md. */
#pragma once

#include "base/json.h"
#include "libvirt-hook/domain_check.h"

/* {"uuid":…,"name":…,"shared_memory":…,"pidfile":…} into @o */
void domain_json_identity(const struct domain *d, struct json_object *o);

/* [{"mac":…,…}], all interfaces or vnicd's only; the caller puts it */
struct json_object *domain_json_nics(const struct domain *d, bool ours_only);
struct json_object *domain_json_nic(const struct domain_nic *n);

/* [{"mac":…,"vlan":…}] */
struct json_object *domain_json_overrides(const struct domain *d);

/*
 * [{"address":…,"alias":…,"mac":…,"class":…}]: its PCI devices of this host, with what vnicd is to set of those that
 * are interfaces. @unread: what <vnic:ports> says is not known
 */
struct json_object *domain_json_devices(const struct domain *d, bool unread);

/* [{"severity":…,…}] */
struct json_object *domain_json_findings(const struct findings *f);

/* Add @value, which is taken over, to @o or @array. As base/json.h: abort when memory is out. */
void json_put_into(struct json_object *o, const char *key, struct json_object *value);
void json_append(struct json_object *array, struct json_object *value);
