/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain_devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/json.h"
#include "base/log.h"

#define LIST_MS	    10000
#define PAGE_MAX    4096
#define DEVICES_MAX 65536
#define RETRY_S	    30
/* A start of a domain is told in several words. */
#define SETTLE_MS 100

struct domain_devices {
	struct manager *manager;
	struct libvirt_client *client;
	domain_devices_fn tell;
	void *arg;
	struct manager_observer observer;
	struct event *timer; /* ask */
	bool wanted; /* this host has VFs */
	bool asking, stale; /* a change was told since it was asked */
	uint64_t asked_at;
	bool silent; /* libvirt did not answer the last time */
	struct domain_device *device; /* so far */
	size_t n;
	struct found_devices found; /* ours, that domains have */
	char after[VNIC_UUID_STR];
};

static void ask_at(struct domain_devices *d, time_t sec, suseconds_t usec)
{
	struct timeval tv = { sec, usec };

	evtimer_add(d->timer, &tv);
}

static void forget(struct domain_devices *d)
{
	free(d->device);
	d->device = NULL;
	d->n = 0;
	free(d->found.addr);
	d->found = (struct found_devices){ 0 };
	*d->after = '\0';
}

/* Plugged in by us, for a port that still has it? What no port of ours knows of is taken all the same. */
static bool is_ours(const struct vnic_port *ports, const char *address)
{
	for (const struct vnic_port *p = ports; p; p = p->hh.next)
		if (p->device.state != DEVICE_NONE && str_eq(p->device.vf_addr, address))
			return true;
	return false;
}

/* Makes room for one more element of @size bytes in @array of @n. */
static int grow(void **array, size_t n, size_t size, struct vnic_err *err)
{
	void *more;

	if (n >= DEVICES_MAX)
		return vnic_err_set(err, -EINVAL, VNIC_E_LIBVIRT, "more than %d devices",
				    DEVICES_MAX);
	if ((n & (n - 1)) != 0)
		return 0;
	more = reallocarray(*array, n ? n * 2 : 1, size);
	if (!more)
		return vnic_err_set(err, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
	*array = more;
	return 0;
}

static int opt_str(struct json_object *o, const char *key, const char **ret, struct vnic_err *err)
{
	*ret = NULL;
	return json_has(o, key) ? json_get_str(o, key, ret, err) : 0;
}

/* Of an interface: its MAC, and what <vnic:ports> says of it. */
static int take_wishes(struct json_object *o, struct domain_device *device, struct vnic_err *err)
{
	const char *mac, *class, *rate;
	int r;

	r = opt_str(o, "mac", &mac, err);
	if (r == 0)
		r = opt_str(o, "class", &class, err);
	if (r == 0)
		r = opt_str(o, "rate", &rate, err);
	if (r == 0 && json_has(o, "unread"))
		r = json_get_bool(o, "unread", &device->unread, err);
	if (r < 0)
		return r;
	device->has_mac = mac;
	device->has_rate = rate;
	if (mac && mac_parse(mac, device->mac) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_LIBVIRT, "'%.40s' is no MAC", mac);
	if (class && (!name_valid(class) ||
		      str_copy(device->class_name, sizeof(device->class_name), class) < 0))
		return vnic_err_set(err, -EINVAL, VNIC_E_LIBVIRT, "'%.40s' is no class' name",
				    class);
	if (rate && rate_parse(rate, &device->rate) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_LIBVIRT, "'%.40s' is no rate", rate);
	return 0;
}

static int take_device(struct json_object *o, const char *name, const uint8_t *uuid,
		       const struct vnic_port *ports, struct domain_device **array, size_t *n,
		       struct found_devices *found, struct vnic_err *err)
{
	struct domain_device *device;
	const char *address;
	int r = json_get_str(o, "address", &address, err);

	if (r < 0)
		return r;
	if (is_ours(ports, address)) {
		r = grow((void **)&found->addr, found->n, sizeof(*found->addr), err);
		if (r == 0)
			str_copy(found->addr[found->n++], sizeof(*found->addr), address);
		return r;
	}
	r = grow((void **)array, *n, sizeof(**array), err);
	if (r < 0)
		return r;
	device = &(*array)[*n];
	memset(device, 0, sizeof(*device));
	memcpy(device->uuid, uuid, sizeof(device->uuid));
	if (str_copy(device->addr, sizeof(device->addr), address) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_LIBVIRT,
				    "field \"address\" is longer than %zu characters",
				    sizeof(device->addr) - 1);
	snprintf(device->domain, sizeof(device->domain), "%s", name);
	str_make_utf8(device->domain);
	r = take_wishes(o, device, err);
	if (r == 0)
		(*n)++;
	return r;
}

static int take_domain(struct json_object *o, const struct vnic_port *ports,
		       struct domain_device **array, size_t *n, struct found_devices *found,
		       char ret_last[VNIC_UUID_STR], struct vnic_err *err)
{
	const char *name, *error;
	uint8_t uuid[VNIC_UUID_LEN];
	struct json_object *list;
	int r = libvirt_domain_id(o, uuid, &name, err);

	if (r < 0)
		return r;
	uuid_format(uuid, ret_last);
	if (json_has(o, "error")) {
		if (json_get_str(o, "error", &error, NULL) == 0)
			log_warning("which devices domain %s has cannot be told: %s", name, error);
		found->partial = true;
		return 0;
	}
	r = json_get_array(o, "devices", PAGE_MAX, &list, err);
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++)
		r = take_device(json_object_array_get_idx(list, i), name, uuid, ports, array, n,
				found, err);
	return r;
}

int domain_devices_take(struct json_object *answer, const struct vnic_port *ports,
			struct domain_device **array, size_t *n, struct found_devices *found,
			char ret_last[VNIC_UUID_STR], struct vnic_err *err)
{
	struct json_object *page;
	int r = json_get_array(answer, "domains", PAGE_MAX, &page, err);

	for (size_t i = 0; r == 0 && i < json_object_array_length(page); i++)
		r = take_domain(json_object_array_get_idx(page, i), ports, array, n, found,
				ret_last, err);
	return r;
}

static void failed(struct domain_devices *d, const struct vnic_err *err)
{
	if (!d->silent)
		log_info("libvirt does not tell which devices its domains have: %s", err->message);
	d->silent = true;
	d->asking = false;
	forget(d);
	ask_at(d, RETRY_S, 0);
}

static void ask_page(struct domain_devices *d);

static void on_page(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct domain_devices *d = arg;
	struct vnic_err local = VNIC_ERR_INIT;
	char before[VNIC_UUID_STR];
	bool more = false;

	memcpy(before, d->after, sizeof(before));
	if (!err && (domain_devices_take(answer, d->manager->ports, &d->device, &d->n, &d->found,
					 d->after, &local) < 0 ||
		     json_get_bool(answer, "more", &more, &local) < 0))
		err = &local;
	if (err) {
		failed(d, err);
		return;
	}
	/* A page that brings us no further is the last one. */
	if (more && strcmp(d->after, before) > 0) {
		ask_page(d);
		return;
	}
	d->asking = d->silent = false;
	d->tell(d->arg, d->device, d->n);
	manager_hostdevs_found(d->manager, d->device, d->n, d->found.partial);
	if (!d->found.partial)
		manager_devices_found(d->manager, d->asked_at, d->found.addr, d->found.n);
	forget(d);
	if (d->stale)
		ask_at(d, 0, SETTLE_MS * 1000);
}

static void ask_page(struct domain_devices *d)
{
	struct json_object *o = json_object_new_object();

	if (*d->after)
		json_add_str(o, "after", d->after);
	if (!libvirt_client_call(d->client, "devices", o, LIST_MS, on_page, d))
		abort();
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct domain_devices *d = arg;

	(void)fd;
	(void)what;
	if (d->asking)
		return;
	d->asking = true;
	d->stale = false;
	d->asked_at = d->manager->io.now(d->manager->io.data);
	forget(d);
	ask_page(d);
}

/* A helper that does not live to answer is asked again after a while only. */
static void on_changed(void *arg)
{
	struct domain_devices *d = arg;

	d->stale = true;
	if (d->wanted && !d->asking && !d->silent)
		ask_at(d, 0, SETTLE_MS * 1000);
}

/* While it was a port's it was not looked at who else has it. */
static void on_vf_given_back(void *arg, const char *addr)
{
	(void)addr;
	on_changed(arg);
}

/* Without VFs libvirt is left alone: asking would start it, and keep it from ending. */
static void on_pf(void *arg, const char *addr)
{
	struct domain_devices *d = arg;
	const struct vnic_pf *pf = inventory_pf(d->manager->inv, addr);

	if (d->wanted || !pf || pf->n_vf == 0)
		return;
	d->wanted = true;
	ask_at(d, 0, 0);
}

int domain_devices_new(struct event_base *base, struct manager *manager,
		       struct libvirt_client *client, domain_devices_fn tell, void *arg,
		       struct domain_devices **ret)
{
	struct domain_devices *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->timer = evtimer_new(base, on_timer, d);
	if (!d->timer) {
		free(d);
		return -ENOMEM;
	}
	d->manager = manager;
	d->client = client;
	d->tell = tell;
	d->arg = arg;
	d->observer = (struct manager_observer){ .data = d,
						 .pf_changed = on_pf,
						 .vf_given_back = on_vf_given_back };
	manager_observe(manager, &d->observer);
	libvirt_client_watch(client, on_changed, d);
	for (struct vnic_pf *pf = manager->inv->pfs; pf; pf = pf->hh.next)
		on_pf(d, pf->addr);
	*ret = d;
	return 0;
}

struct domain_devices *domain_devices_free(struct domain_devices *d)
{
	if (!d)
		return NULL;
	manager_unobserve(d->manager, &d->observer);
	event_free(d->timer);
	forget(d);
	free(d);
	return NULL;
}
