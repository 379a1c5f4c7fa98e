/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/json.h"
#include "base/log.h"
#include "daemon/core/request.h"

#define LIST_MS	    10000
#define DOMAINS_MAX 100000

struct domain_list {
	struct manager *manager;
	struct libvirt_client *client;
	struct domain_request *domain; /* n, so far */
	size_t n;
};

struct json_object *domain_message(struct json_object *answer, const char *op)
{
	static const char *const identity[] = { "uuid", "name", "shared_memory", "pidfile" };
	static const char *const lists[] = { "interfaces", "overrides" };
	struct json_object *o = json_object_new_object(), *domain = json_object_new_object(), *v;

	json_add_str(o, "op", op);
	json_add_u64(o, "version", 1);
	for (size_t i = 0; i < ARRAY_SIZE(identity); i++)
		if (json_object_object_get_ex(answer, identity[i], &v))
			json_object_object_add(domain, identity[i], json_object_get(v));
	json_object_object_add(o, "domain", domain);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (json_object_object_get_ex(answer, lists[i], &v))
			json_object_object_add(o, lists[i], json_object_get(v));
	return o;
}

static void forget(struct domain_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		request_clear(&l->domain[i]);
	free(l->domain);
	l->domain = NULL;
	l->n = 0;
}

static void give(struct domain_list *l, const struct vnic_err *err)
{
	struct domain_list got = *l;

	/* It may be asked again from within. */
	l->domain = NULL;
	l->n = 0;
	if (err)
		log_info("libvirt does not tell which domains run: %s", err->message);
	manager_domains(l->manager, got.domain, err ? 0 : got.n, err);
	forget(&got);
}

/* Into @ret, with UUID and name at least. */
static int parse_domain(struct json_object *o, struct domain_request *ret, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *message = domain_message(o, "reconnect");
	uint8_t uuid[VNIC_UUID_LEN];
	const char *name;
	int r = libvirt_domain_id(o, uuid, &name, err);

	if (r < 0)
		return r;
	if (json_has(o, "interfaces") && request_parse(message, ret, err) == 0)
		return 0;
	/* It runs, whatever else there is to say of it. */
	*ret = (struct domain_request){ 0 };
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	memcpy(ret->uuid, uuid, sizeof(ret->uuid));
	return 0;
}

static int take_page(struct domain_list *l, struct json_object *answer, struct vnic_err *err)
{
	struct domain_request *more;
	struct json_object *page;
	size_t n;
	int r;

	r = json_get_array(answer, "domains", DOMAINS_MAX - l->n, &page, err);
	if (r < 0)
		return r;
	n = json_object_array_length(page);
	more = reallocarray(l->domain, l->n + n + 1, sizeof(*more));
	if (!more)
		return vnic_err_set(err, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
	l->domain = more;
	for (size_t i = 0; r == 0 && i < n; i++) {
		memset(&more[l->n], 0, sizeof(*more));
		r = parse_domain(json_object_array_get_idx(page, i), &more[l->n], err);
		if (r == 0)
			l->n++;
	}
	return r;
}

static void ask_page(struct domain_list *l);

static void on_page(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct domain_list *l = arg;
	struct vnic_err local = VNIC_ERR_INIT;
	size_t before = l->n;
	bool more = false;

	if (!err &&
	    (take_page(l, answer, &local) < 0 || json_get_bool(answer, "more", &more, &local) < 0))
		err = &local;
	if (!err && more && l->n > before)
		ask_page(l);
	else
		give(l, err);
}

static void ask_page(struct domain_list *l)
{
	struct json_object *o = json_object_new_object();
	char uuid[VNIC_UUID_STR];

	if (l->n)
		json_add_str(o, "after", uuid_format(l->domain[l->n - 1].uuid, uuid));
	if (!libvirt_client_call(l->client, "domains", o, LIST_MS, on_page, l))
		abort();
}

void domain_list_ask(void *data)
{
	struct domain_list *l = data;

	forget(l);
	ask_page(l);
}

int domain_list_new(struct manager *manager, struct libvirt_client *client,
		    struct domain_list **ret)
{
	struct domain_list *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->manager = manager;
	l->client = client;
	*ret = l;
	return 0;
}

struct domain_list *domain_list_free(struct domain_list *l)
{
	if (!l)
		return NULL;
	forget(l);
	free(l);
	return NULL;
}
