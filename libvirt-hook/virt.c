/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "libvirt-hook/virt_priv.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libvirt/virterror.h>

#include "api/errors.h"
#include "libvirt-hook/domain_check.h"
#include "libvirt-hook/domain_json.h"
#include "libvirt-hook/hook.h"
#include "libvirt-hook/xml_write.h"

#define URI	    "qemu:///system"
#define KEEPALIVE_S 5
#define KEEPALIVE_N 3

int virt_fail(struct vnic_err *err, const char *what)
{
	virErrorPtr e = virGetLastError();
	const char *text = e && e->message ? e->message : "unknown error";

	if (e && e->code == VIR_ERR_NO_DOMAIN)
		return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_DOMAIN,
				    "%.300s; 'virsh list --all' lists the domains there are", text);
	return vnic_err_set(err, -EIO, VNIC_E_LIBVIRT, "%s: libvirt says: %s", what, text);
}

static void ignore_error(_unused_ void *data, _unused_ virErrorPtr e)
{
	/* or libvirt prints each to stderr */
}

/* What was told of devices no longer holds; said once, until they are asked for again. */
static void devices_changed(struct virt *v)
{
	uint64_t one = 1;

	if (atomic_exchange(&v->watched, false) &&
	    write(v->changed_fd, &one, sizeof(one)) != sizeof(one))
		abort(); /* an eventfd that takes no 1 is not one */
}

bool virt_is_watched(struct virt *v)
{
	return atomic_load(&v->watched);
}

static void on_removal(struct virt *v, virDomainPtr dom, const char *alias, enum removal removal)
{
	char uuid[VIR_UUID_STRING_BUFLEN];

	devices_changed(v);
	if (!alias || virDomainGetUUIDString(dom, uuid) < 0)
		return;
	pthread_mutex_lock(&v->lock);
	if (!strcmp(uuid, v->uuid) && !strcmp(alias, v->alias)) {
		v->removal = removal;
		pthread_cond_signal(&v->changed);
	}
	pthread_mutex_unlock(&v->lock);
}

static void on_removed(_unused_ virConnectPtr conn, virDomainPtr dom, const char *alias, void *data)
{
	on_removal(data, dom, alias, REMOVAL_DONE);
}

static void on_removal_failed(_unused_ virConnectPtr conn, virDomainPtr dom, const char *alias,
			      void *data)
{
	on_removal(data, dom, alias, REMOVAL_REFUSED);
}

/* With the domain its devices go, and nothing is told of them. */
static int on_lifecycle(_unused_ virConnectPtr conn, virDomainPtr dom, int event,
			_unused_ int detail, void *data)
{
	struct virt *v = data;
	char uuid[VIR_UUID_STRING_BUFLEN];

	if (event == VIR_DOMAIN_EVENT_STARTED || event == VIR_DOMAIN_EVENT_STOPPED)
		devices_changed(v);
	if (event != VIR_DOMAIN_EVENT_STOPPED || virDomainGetUUIDString(dom, uuid) < 0)
		return 0;
	pthread_mutex_lock(&v->lock);
	if (!strcmp(uuid, v->uuid) && *v->alias) {
		v->removal = REMOVAL_DONE;
		pthread_cond_signal(&v->changed);
	}
	pthread_mutex_unlock(&v->lock);
	return 0;
}

static void on_added(_unused_ virConnectPtr conn, _unused_ virDomainPtr dom,
		     _unused_ const char *alias, void *data)
{
	devices_changed(data);
}

/* <vnic:ports> says of which class a VF is. */
static void on_metadata(_unused_ virConnectPtr conn, _unused_ virDomainPtr dom, _unused_ int type,
			_unused_ const char *nsuri, void *data)
{
	devices_changed(data);
}

static void on_closed(_unused_ virConnectPtr conn, _unused_ int reason, void *data)
{
	devices_changed(data);
}

static void *event_thread(_unused_ void *data)
{
	for (;;)
		if (virEventRunDefaultImpl() < 0)
			poll(NULL, 0, 100); /* not to spin where it fails each time */
	return NULL;
}

struct virt *virt_new(int changed_fd)
{
	struct virt *v = calloc(1, sizeof(*v));
	pthread_condattr_t attr;
	pthread_t thread;

	if (!v)
		return NULL;
	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->changed, &attr);
	virSetErrorFunc(NULL, ignore_error);
	v->changed_fd = changed_fd;
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0 ||
	    pthread_create(&thread, NULL, event_thread, NULL) != 0) {
		free(v);
		return NULL;
	}
	pthread_detach(thread);
	return v;
}

static bool listen(struct virt *v)
{
	const struct {
		int id;
		virConnectDomainEventGenericCallback call;
	} events[] = {
		{ VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_removed) },
		{ VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
		  VIR_DOMAIN_EVENT_CALLBACK(on_removal_failed) },
		{ VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_added) },
		{ VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata) },
		{ VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (virConnectDomainEventRegisterAny(v->conn, NULL, events[i].id, events[i].call, v,
						     NULL) < 0)
			return false;
	return virConnectRegisterCloseCallback(v->conn, on_closed, v, NULL) == 0;
}

/* The connection, opened anew where libvirtd has gone away since. */
static int need_connection(struct virt *v, struct vnic_err *err)
{
	if (v->conn && virConnectIsAlive(v->conn) == 1)
		return 0;
	if (v->conn) {
		virConnectUnregisterCloseCallback(v->conn, on_closed);
		virConnectClose(v->conn);
		/* What it would have told is lost. */
		devices_changed(v);
	}
	v->conn = virConnectOpen(URI);
	if (!v->conn)
		return virt_fail(err, "libvirt cannot be reached at " URI
				      " (systemctl start libvirtd, or virtqemud.socket)");
	virConnectSetKeepAlive(v->conn, KEEPALIVE_S, KEEPALIVE_N);
	if (!listen(v)) {
		int r = virt_fail(err, "asking libvirt for its events");

		virConnectClose(v->conn);
		v->conn = NULL;
		return r;
	}
	return 0;
}

int virt_find_domain(struct virt *v, const char *who, virDomainPtr *ret, struct vnic_err *err)
{
	uint8_t uuid[VNIC_UUID_LEN];
	virDomainPtr dom;

	dom = uuid_parse(who, uuid) == 0 ? virDomainLookupByUUID(v->conn, uuid)
					 : virDomainLookupByName(v->conn, who);
	if (!dom)
		return virt_fail(err, "looking for the domain");
	*ret = dom;
	return 0;
}

int virt_read_domain(virDomainPtr dom, unsigned flags, struct domain **ret, struct vnic_err *err)
{
	_cleanup_(freep) char *xml = virDomainGetXMLDesc(dom, flags);

	if (!xml)
		return virt_fail(err, "reading the domain's XML");
	return domain_xml_parse(xml, strlen(xml), ret, err);
}

int virt_read_devices(virDomainPtr dom, struct domain **ret, struct vnic_err *err)
{
	_cleanup_(freep) char *xml = virDomainGetXMLDesc(dom, 0);

	if (!xml)
		return virt_fail(err, "reading the domain's XML");
	return domain_xml_parse_devices(xml, strlen(xml), ret, err);
}

static const struct domain_nic *nic_by_mac(const struct domain *d, const uint8_t mac[VNIC_MAC_LEN])
{
	for (size_t i = 0; i < d->n_nics; i++)
		if (d->nics[i].has_mac && !memcmp(d->nics[i].mac, mac, VNIC_MAC_LEN))
			return &d->nics[i];
	return NULL;
}

static unsigned affect_flags(const struct helper_request *q)
{
	return (q->live ? VIR_DOMAIN_AFFECT_LIVE : 0) | (q->config ? VIR_DOMAIN_AFFECT_CONFIG : 0);
}

/* May the NIC be added to this definition (running or persistent) of the domain? */
static int may_attach(const struct domain *d, const struct helper_request *q, struct vnic_err *err)
{
	char mac[VNIC_MAC_STR];

	if (nic_by_mac(d, q->mac))
		return vnic_err_set(err, -EEXIST, VNIC_E_DUPLICATE_MAC,
				    "domain '%s' has an interface with MAC address %s already",
				    d->name, mac_format(q->mac, mac));
	if (!q->vdpa && !domain_has_shared_memory(d))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
				    "the memory of domain '%s' is not shared: give it "
				    "<memoryBacking><source type='memfd'/><access mode='shared'/>"
				    "</memoryBacking> and start it anew",
				    d->name);
	return 0;
}

static int do_attach(struct virt *v, const struct helper_request *q, struct json_object *answer,
		     struct vnic_err *err)
{
	_cleanup_(virDomainFreep) virDomainPtr dom = NULL;
	_cleanup_(freep) char *xml = (q->vdpa ? xml_vdpa : xml_nic)(q->mac, q->file, q->queues);
	_cleanup_(domain_freep) struct domain *live = NULL;
	const struct domain_nic *nic = NULL;
	int r;

	if (!xml)
		return -ENOMEM;
	r = virt_find_domain(v, q->domain, &dom, err);
	for (int config = 0; r == 0 && config < 2; config++) {
		_cleanup_(domain_freep) struct domain *d = NULL;

		if (!(config ? q->config : q->live))
			continue;
		r = virt_read_domain(dom, config ? VIR_DOMAIN_XML_INACTIVE : 0, &d, err);
		if (r == 0)
			r = may_attach(d, q, err);
	}
	if (r < 0)
		return r;
	if (virDomainAttachDeviceFlags(dom, xml, affect_flags(q)) < 0)
		return virt_fail(err, "attaching the interface");
	/* It is attached; that its name cannot be told is no failure. */
	if (q->live && virt_read_domain(dom, 0, &live, NULL) == 0)
		nic = nic_by_mac(live, q->mac);
	json_add_str(answer, "alias", nic ? nic->alias : NULL);
	return 0;
}

static int no_such_nic(const char *domain, const struct helper_request *q, struct vnic_err *err)
{
	char mac[VNIC_MAC_STR];

	return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_PORT,
			    "domain '%.120s' has no interface of vnicd's with MAC address %s; "
			    "'vnicctl port show' lists those there are",
			    domain, mac_format(q->mac, mac));
}

enum removal virt_wait_removal(struct virt *v, uint64_t deadline)
{
	struct timespec until = { (time_t)(deadline / 1000), (long)(deadline % 1000) * 1000000 };
	enum removal removal;

	pthread_mutex_lock(&v->lock);
	while (v->removal == REMOVAL_PENDING &&
	       pthread_cond_timedwait(&v->changed, &v->lock, &until) == 0)
		;
	removal = v->removal;
	*v->alias = '\0';
	pthread_mutex_unlock(&v->lock);
	return removal;
}

void virt_expect_removal(struct virt *v, virDomainPtr dom, const char *alias)
{
	pthread_mutex_lock(&v->lock);
	v->removal = REMOVAL_PENDING;
	if (virDomainGetUUIDString(dom, v->uuid) < 0)
		*v->uuid = '\0';
	snprintf(v->alias, sizeof(v->alias), "%s", alias ? alias : "");
	pthread_mutex_unlock(&v->lock);
}

/* An event may have been lost with a connection: the XML has the last word. */
static bool is_gone(virDomainPtr dom, const struct helper_request *q)
{
	_cleanup_(domain_freep) struct domain *d = NULL;

	if (virDomainIsActive(dom) == 0)
		return true;
	return virt_read_domain(dom, 0, &d, NULL) == 0 && !nic_by_mac(d, q->mac);
}

static int removal_result(virDomainPtr dom, const struct helper_request *q, enum removal removal,
			  struct vnic_err *err)
{
	char mac[VNIC_MAC_STR];

	mac_format(q->mac, mac);
	if (removal == REMOVAL_DONE || is_gone(dom, q))
		return 0;
	if (removal == REMOVAL_REFUSED)
		return vnic_err_set(
			err, -EBUSY, VNIC_E_BUSY,
			"the guest of domain '%.120s' refused to give up the interface %s",
			q->domain, mac);
	return vnic_err_set(err, -ETIMEDOUT, VNIC_E_TIMEOUT,
			    "the guest of domain '%.120s' did not give up the interface %s within "
			    "%g s: it may still do so (it is booting, paused, or has no hotplug)",
			    q->domain, mac, q->timeout_ms / 1000.0);
}

static int do_detach(struct virt *v, const struct helper_request *q, uint64_t deadline,
		     struct json_object *answer, struct vnic_err *err)
{
	_cleanup_(virDomainFreep) virDomainPtr dom = NULL;
	_cleanup_(domain_freep) struct domain *d = NULL;
	_cleanup_(freep) char *xml = NULL;
	const struct domain_nic *nic;
	int r;

	r = virt_find_domain(v, q->domain, &dom, err);
	if (r == 0)
		r = virt_read_domain(dom, q->live ? 0 : VIR_DOMAIN_XML_INACTIVE, &d, err);
	if (r < 0)
		return r;
	nic = nic_by_mac(d, q->mac);
	if (!nic || !domain_nic_is_ours(nic))
		return no_such_nic(d->name, q, err);
	xml = domain_nic_is_vdpa(nic) ? xml_vdpa(q->mac, nic->source_dev, nic->queues)
				      : xml_nic(q->mac, nic->source_path, nic->queues);
	if (!xml)
		return -ENOMEM;
	virt_expect_removal(v, dom, nic->alias);
	if (virDomainDetachDeviceFlags(dom, xml, affect_flags(q)) < 0)
		return virt_fail(err, "detaching the interface");
	if (q->live) {
		r = removal_result(dom, q, virt_wait_removal(v, deadline), err);
		if (r < 0)
			return r;
	}
	json_add_str(answer, "outcome", "removed");
	return 0;
}

static int do_domain_xml(struct virt *v, const struct helper_request *q, struct json_object *answer,
			 struct vnic_err *err)
{
	_cleanup_(virDomainFreep) virDomainPtr dom = NULL;
	_cleanup_(freep) char *xml = NULL;
	char uuid[VIR_UUID_STRING_BUFLEN];
	int r;

	r = virt_find_domain(v, q->domain, &dom, err);
	if (r < 0)
		return r;
	xml = virDomainGetXMLDesc(dom, q->inactive ? VIR_DOMAIN_XML_INACTIVE : 0);
	if (!xml || virDomainGetUUIDString(dom, uuid) < 0)
		return virt_fail(err, "reading the domain's XML");
	json_add_str(answer, "uuid", uuid);
	json_add_str(answer, "name", virDomainGetName(dom));
	json_add_str(answer, "xml", xml);
	return 0;
}

static int do_check(struct virt *v, const struct helper_request *q, struct json_object *answer,
		    struct vnic_err *err)
{
	_cleanup_(virDomainFreep) virDomainPtr dom = NULL;
	_cleanup_(domain_freep) struct domain *d = NULL;
	struct findings f;
	int r;

	r = virt_find_domain(v, q->domain, &dom, err);
	if (r == 0)
		r = virt_read_domain(dom, q->live ? 0 : VIR_DOMAIN_XML_INACTIVE, &d, err);
	if (r < 0)
		return r;
	r = domain_check(d, q->classes, q->n_classes, &f);
	if (r == 0) {
		domain_json_identity(d, answer);
		json_add_bool(answer, "active", virDomainIsActive(dom) == 1);
		json_put_into(answer, "interfaces", domain_json_nics(d, true));
		json_put_into(answer, "overrides", domain_json_overrides(d));
		json_put_into(answer, "findings", domain_json_findings(&f));
	}
	findings_deinit(&f);
	return r;
}

int virt_do(struct virt *v, const struct helper_request *q, uint64_t deadline,
	    struct json_object *answer, struct vnic_err *err)
{
	int r;

	if (q->op == HELPER_PING)
		return 0;
	r = need_connection(v, err);
	if (r < 0)
		return r;
	switch (q->op) {
	case HELPER_ATTACH:
		return do_attach(v, q, answer, err);
	case HELPER_DETACH:
		return do_detach(v, q, deadline, answer, err);
	case HELPER_DOMAIN_XML:
		return do_domain_xml(v, q, answer, err);
	case HELPER_DOMAINS:
		return virt_domains(v, q, answer, err);
	case HELPER_DEVICES:
		return virt_devices(v, q, answer, err);
	case HELPER_CHECK:
		return do_check(v, q, answer, err);
	case HELPER_ATTACH_HOSTDEV:
		return virt_attach_hostdev(v, q, answer, err);
	case HELPER_DETACH_HOSTDEV:
		return virt_detach_hostdev(v, q, deadline, answer, err);
	case HELPER_PING:
		break;
	}
	return 0;
}
