/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of all running domains, page by page: as many as a message holds, in the order of their UUIDs. */
#include "libvirt-hook/virt_priv.h"

#include <string.h>

#include "base/sock.h"
#include "libvirt-hook/domain_json.h"

/* Of a message, what else is in it aside. */
#define ROOM (VNIC_MSG_MAX - 1024)

/* One element of a list; NULL where there is nothing to say, or the domain has ended meanwhile. */
typedef struct json_object *(*describe_fn)(virDomainPtr dom, const char *uuid);

static struct json_object *unreadable(virDomainPtr dom, const char *uuid,
				      const struct vnic_err *err)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "uuid", uuid);
	json_add_str(o, "name", virDomainGetName(dom));
	json_add_str(o, "error", err->message);
	return o;
}

static struct json_object *describe_domain(virDomainPtr dom, const char *uuid)
{
	_cleanup_(domain_freep) struct domain *d = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *o;
	int r = virt_read_domain(dom, 0, &d, &err);

	if (r < 0 && virDomainIsActive(dom) != 1)
		return NULL;
	if (r < 0) {
		o = unreadable(dom, uuid, &err);
	} else {
		o = json_object_new_object();
		domain_json_identity(d, o);
		json_put_into(o, "interfaces", domain_json_nics(d, true));
		json_put_into(o, "overrides", domain_json_overrides(d));
	}
	json_add_u64(o, "id", virDomainGetID(dom));
	return o;
}

static struct json_object *describe_devices(virDomainPtr dom, const char *uuid)
{
	_cleanup_(domain_freep) struct domain *d = NULL;
	_cleanup_(json_putp) struct json_object *list = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	/* What it has it has, whatever stands in its metadata. */
	bool unread = virt_read_domain(dom, 0, &d, &err) < 0;
	struct json_object *o;

	if (unread && virt_read_devices(dom, &d, &err) < 0)
		return virDomainIsActive(dom) == 1 ? unreadable(dom, uuid, &err) : NULL;
	list = domain_json_devices(d, unread);
	if (!json_object_array_length(list))
		return NULL;
	o = json_object_new_object();
	json_add_str(o, "uuid", uuid);
	json_add_str(o, "name", d->name);
	json_put_into(o, "devices", take_ptr(list));
	return o;
}

static int by_uuid(const void *a, const void *b)
{
	char x[VIR_UUID_STRING_BUFLEN] = "", y[VIR_UUID_STRING_BUFLEN] = "";

	virDomainGetUUIDString(*(const virDomainPtr *)a, x);
	virDomainGetUUIDString(*(const virDomainPtr *)b, y);
	return strcmp(x, y);
}

static size_t json_size(struct json_object *o)
{
	size_t size;

	json_object_to_json_string_length(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
	return size;
}

/* As many as a message holds. Return: whether there are more. */
static bool list_some(const virDomainPtr *doms, int n, describe_fn describe, const char *after,
		      struct json_object *list)
{
	size_t used = 0;

	for (int i = 0; i < n; i++) {
		char uuid[VIR_UUID_STRING_BUFLEN];
		struct json_object *o;

		if (virDomainGetUUIDString(doms[i], uuid) < 0 || strcmp(uuid, after) <= 0)
			continue;
		o = describe(doms[i], uuid);
		if (!o)
			continue;
		used += json_size(o) + 1;
		/* The first one goes alone if it must: the answer then says LimitReached. */
		if (used > ROOM && json_object_array_length(list) > 0) {
			json_object_put(o);
			return true;
		}
		json_append(list, o);
	}
	return false;
}

static int list_domains(struct virt *v, const struct helper_request *q, describe_fn describe,
			struct json_object *answer, struct vnic_err *err)
{
	struct json_object *list;
	virDomainPtr *doms = NULL;
	bool more;
	int n = virConnectListAllDomains(v->conn, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

	if (n < 0)
		return virt_fail(err, "listing the domains");
	qsort(doms, (size_t)n, sizeof(doms[0]), by_uuid);
	list = json_object_new_array();
	more = list_some(doms, n, describe, q->after, list);
	json_put_into(answer, "domains", list);
	json_add_bool(answer, "more", more);
	for (int i = 0; i < n; i++)
		virDomainFree(doms[i]);
	free(doms);
	return 0;
}

int virt_domains(struct virt *v, const struct helper_request *q, struct json_object *answer,
		 struct vnic_err *err)
{
	return list_domains(v, q, describe_domain, answer, err);
}

int virt_devices(struct virt *v, const struct helper_request *q, struct json_object *answer,
		 struct vnic_err *err)
{
	/* Before the first look, so that nothing happens unseen between the two. */
	if (!*q->after)
		atomic_store(&v->watched, true);
	return list_domains(v, q, describe_devices, answer, err);
}
