/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "libvirt-hook/domain_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libvirt-hook/xml_write.h"

#define FIX_MEMORY                    \
	"<memoryBacking>\n"           \
	"  <source type='memfd'/>\n"  \
	"  <access mode='shared'/>\n" \
	"</memoryBacking>"
#define FIX_BALLOON "<memballoon model='none'/>"

struct check {
	const struct domain *d;
	const char *const *classes;
	size_t n_classes;
	struct findings *out;
	int error;
};

const char *finding_severity_str(enum finding_severity severity)
{
	static const char *const names[] = {
		[FINDING_ERROR] = "error", [FINDING_WARNING] = "warning", [FINDING_INFO] = "info"
	};

	return names[severity];
}

void findings_deinit(struct findings *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->list[i].message);
		free(f->list[i].fix);
	}
	free(f->list);
	*f = (struct findings){ 0 };
}

/* @fix is taken over, NULL or not. */
static void add(struct check *c, enum finding_severity severity, const char *code,
		const uint8_t *mac, char *fix, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

static void add(struct check *c, enum finding_severity severity, const char *code,
		const uint8_t *mac, char *fix, const char *fmt, ...)
{
	struct finding *more = reallocarray(c->out->list, c->out->n + 1, sizeof(*more));
	struct finding *f;
	va_list ap;

	if (!more) {
		free(fix);
		c->error = -ENOMEM;
		return;
	}
	c->out->list = more;
	f = &more[c->out->n];
	*f = (struct finding){ .severity = severity, .code = code, .fix = fix };
	if (mac) {
		f->has_mac = true;
		memcpy(f->mac, mac, VNIC_MAC_LEN);
	}
	va_start(ap, fmt);
	if (vasprintf(&f->message, fmt, ap) < 0) {
		f->message = NULL;
		c->error = -ENOMEM;
	}
	va_end(ap);
	c->out->n++;
}

/* An interface as a person would name it: "interface 2 (52:54:00:…)". */
static const char *nic_name(const struct check *c, const struct domain_nic *n, char buf[64])
{
	char mac[VNIC_MAC_STR];

	snprintf(buf, 64, "interface %zu (%s)", (size_t)(n - c->d->nics) + 1,
		 n->has_mac ? mac_format(n->mac, mac) : "no MAC");
	return buf;
}

static const uint8_t *nic_mac(const struct domain_nic *n)
{
	return n->has_mac ? n->mac : NULL;
}

static char *nic_fix(const struct domain_nic *n, const char *socket)
{
	uint32_t queues = n->queues > DOMAIN_QUEUES_MAX ? DOMAIN_QUEUES_MAX : n->queues;
	bool usable = n->has_mac && mac_valid_guest(n->mac);

	if (str_eq(n->type, "vdpa"))
		return xml_vdpa(usable ? n->mac : NULL, socket ? socket : n->source_dev, queues);
	return xml_nic(usable ? n->mac : NULL, socket ? socket : n->source_path, queues);
}

static bool class_known(const struct check *c, const char *name)
{
	for (size_t i = 0; i < c->n_classes; i++)
		if (!strcmp(c->classes[i], name))
			return true;
	return !c->classes;
}

/* The classes there are, for a message; cut off where there are many. */
static void class_list(const struct check *c, char *buf, size_t size)
{
	size_t used = 0;

	snprintf(buf, size, "none is configured");
	for (size_t i = 0; i < c->n_classes && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
					 c->classes[i]);
	if (used >= size)
		memcpy(buf + size - 4, "...", 4);
}

static void check_memory(struct check *c)
{
	const struct domain *d = c->d;
	size_t ours = 0;

	for (size_t i = 0; i < d->n_nics; i++)
		ours += !str_eq(d->nics[i].type, "vdpa") &&
			(domain_nic_is_ours(&d->nics[i]) || domain_nic_is_misspelt(&d->nics[i]));
	if (!ours) /* <vnic:ports> alone wants no memory */
		return;
	if (!domain_has_shared_memory(d)) {
		add(c, FINDING_ERROR, "NoSharedMemory", NULL, strdup(FIX_MEMORY),
		    d->n_cells_private ? "a NUMA cell has memAccess='private': the datapath "
					 "cannot reach the guest's memory"
				       : "the guest's memory is not shared: the datapath cannot "
					 "reach it");
		return;
	}
	if (!d->hugepages && !str_eq(d->memory_source, "memfd"))
		add(c, FINDING_INFO, "FileBackedMemory", NULL, strdup(FIX_MEMORY),
		    "the guest's memory is shared through a file: a hardware path takes memfd or "
		    "huge pages only");
}

/* A vDPA device writes to all of the guest's memory, which is locked for that; a balloon would take pages from under it. */
static bool has_vdpa(const struct check *c)
{
	for (size_t i = 0; i < c->d->n_nics; i++)
		if (domain_nic_is_vdpa(&c->d->nics[i]))
			return true;
	return false;
}

static void check_vdpa_memory(struct check *c)
{
	if (!has_vdpa(c))
		return;
	add(c, FINDING_INFO, "LockedMemory", NULL, NULL,
	    "the guest's memory is locked whole while it runs, for its vDPA device: libvirt raises "
	    "the limit by itself; a <hard_limit> in <memtune> must leave 1 GiB beside it");
}

static void check_class(struct check *c, const uint8_t *mac, const char *who, const char *name)
{
	char list[160];

	if (class_known(c, name))
		return;
	class_list(c, list, sizeof(list));
	add(c, FINDING_ERROR, "UnknownClass", mac, NULL, "%s: there is no class '%s'; known: %s",
	    who, name, list);
}

static void check_socket(struct check *c, const struct domain_nic *n, const char *name)
{
	char class_name[VNIC_NAME_MAX], port[VNIC_NAME_MAX];

	if (socket_split(n->source_path, class_name, port) < 0) {
		add(c, FINDING_ERROR, "BadSocketPath", nic_mac(n),
		    nic_fix(n, "/run/vnicd/sock/CLASS/NAME.sock"),
		    "%s: its socket '%s' is not of the form /run/vnicd/sock/CLASS/NAME.sock, %d "
		    "bytes "
		    "at most",
		    name, n->source_path, DOMAIN_SOCKET_MAX);
		return;
	}
	check_class(c, nic_mac(n), name, class_name);
}

static void check_vdpa(struct check *c, const struct domain_nic *n, const char *name)
{
	char class_name[VNIC_NAME_MAX], port[VNIC_NAME_MAX];

	if (vdpa_split(n->source_dev, class_name, port) < 0)
		add(c, FINDING_ERROR, "BadDevicePath", nic_mac(n),
		    nic_fix(n, "/run/vnicd/vdpa/CLASS/NAME"),
		    "%s: its device '%s' is not of the form /run/vnicd/vdpa/CLASS/NAME, %d bytes "
		    "at most",
		    name, n->source_dev, DOMAIN_SOCKET_MAX);
	else
		check_class(c, nic_mac(n), name, class_name);
	if (n->model && strncmp(n->model, "virtio", strlen("virtio")))
		add(c, FINDING_ERROR, "NotVirtio", nic_mac(n), nic_fix(n, NULL),
		    "%s: its model is '%s'; a vDPA device is a virtio NIC only", name, n->model);
	if (n->queues > DOMAIN_QUEUES_MAX)
		add(c, FINDING_ERROR, "TooManyQueues", nic_mac(n), nic_fix(n, NULL),
		    "%s: %u queue pairs; vnicd has %d at most", name, n->queues, DOMAIN_QUEUES_MAX);
}

static void check_shape(struct check *c, const struct domain_nic *n, const char *name)
{
	if (!str_eq(n->source_mode, "client"))
		add(c, FINDING_ERROR, "NotClientMode", nic_mac(n), nic_fix(n, NULL),
		    "%s: mode is '%s': vnicd listens and QEMU connects, which is mode='client'",
		    name, n->source_mode ? n->source_mode : "");
	else if (!n->reconnect || n->reconnect_timeout == 0)
		add(c, FINDING_ERROR, "NoReconnect", nic_mac(n), nic_fix(n, NULL),
		    "%s: %s: a restart of the datapath would cut the guest off", name,
		    !n->has_reconnect ? "it has no <reconnect>"
		    : !n->reconnect   ? "its <reconnect> is not enabled"
				      : "its <reconnect> has no timeout above 0");
	if (!n->model || strncmp(n->model, "virtio", strlen("virtio")))
		add(c, FINDING_ERROR, "NotVirtio", nic_mac(n), nic_fix(n, NULL),
		    "%s: its model is '%s'; vhost-user carries virtio only", name,
		    n->model ? n->model : "not given");
	if (n->queues > DOMAIN_QUEUES_MAX)
		add(c, FINDING_ERROR, "TooManyQueues", nic_mac(n), nic_fix(n, NULL),
		    "%s: %u queue pairs; vnicd has %d at most", name, n->queues, DOMAIN_QUEUES_MAX);
}

/* <teaming>: the standby and its transient partner have one MAC by design. One of them is vnicd's port. */
static bool teamed(const struct domain_nic *a, const struct domain_nic *b)
{
	if (domain_nic_is_ours(a) && domain_nic_is_ours(b))
		return false;
	return (str_eq(a->teaming, "persistent") && str_eq(b->teaming, "transient")) ||
	       (str_eq(a->teaming, "transient") && str_eq(b->teaming, "persistent"));
}

static void check_mac(struct check *c, const struct domain_nic *n, const char *name)
{
	if (!n->has_mac)
		add(c, FINDING_ERROR, "MissingMac", NULL, nic_fix(n, NULL),
		    "%s: it has no <mac>, by which its port is known", name);
	else if (!mac_valid_guest(n->mac))
		add(c, FINDING_ERROR, "InvalidMac", n->mac, nic_fix(n, NULL),
		    "%s: a VM's NIC cannot have this MAC address: %s", name,
		    n->mac[0] & 1 ? "it is a group address" : "it is zero");
}

/* The file by which it is vnicd's. */
static const char *place_of(const struct domain_nic *n)
{
	return domain_nic_is_vdpa(n) ? n->source_dev : n->source_path;
}

/* @n against the interfaces before it, so that a pair is told once. */
static void check_twins(struct check *c, const struct domain_nic *n, const char *name)
{
	const struct domain_nic *mac_twin = NULL, *socket_twin = NULL;
	bool ours = domain_nic_is_ours(n);
	char other[64];

	for (const struct domain_nic *o = c->d->nics; o < n; o++) {
		bool concerns_us = ours || domain_nic_is_ours(o);

		if (!mac_twin && concerns_us && n->has_mac && o->has_mac &&
		    !memcmp(n->mac, o->mac, VNIC_MAC_LEN) && !teamed(n, o))
			mac_twin = o;
		if (!socket_twin && ours && domain_nic_is_ours(o) &&
		    str_eq(place_of(n), place_of(o)))
			socket_twin = o;
	}
	if (mac_twin)
		add(c, FINDING_ERROR, "DuplicateMac", n->mac, NULL,
		    "%s has the MAC address of %s: give it another", name,
		    nic_name(c, mac_twin, other));
	if (socket_twin)
		add(c, FINDING_ERROR, "DuplicateSocket", nic_mac(n), NULL,
		    "%s has the %s of %s: '%s' carries one NIC", name,
		    domain_nic_is_vdpa(n) ? "device" : "socket", nic_name(c, socket_twin, other),
		    place_of(n));
}

static void check_nic(struct check *c, const struct domain_nic *n)
{
	char name[64];

	nic_name(c, n, name);
	if (domain_nic_is_ours(n) || domain_nic_is_misspelt(n)) {
		check_mac(c, n, name);
		if (str_eq(n->type, "vdpa")) {
			check_vdpa(c, n, name);
		} else {
			check_socket(c, n, name);
			check_shape(c, n, name);
		}
	}
	check_twins(c, n, name);
}

/* Of a VF that libvirt manages: its class, and a rate. */
static void check_hostdev(struct check *c, const struct domain_override *o, const char *who)
{
	check_class(c, o->mac, who, o->class_name);
	if (o->vlan || o->weight || o->paths)
		add(c, FINDING_ERROR, "MisplacedOverride", o->mac, NULL,
		    "%s takes class and rate only: the VF of this interface is libvirt's, which "
		    "sets its "
		    "VLAN by <vlan> in the interface",
		    who);
}

static void check_match(struct check *c, const struct domain_override *o, const char *who)
{
	const struct domain_nic *ours = domain_nic_ours(c->d, o->mac);
	const struct domain_nic *hostdev = domain_nic_hostdev(c->d, o->mac);

	if (ours && o->class_name)
		add(c, FINDING_ERROR, "MisplacedClass", o->mac, NULL,
		    "%s: leave class= out: the class of a NIC of vnicd's is the folder of its "
		    "socket, "
		    "/run/vnicd/sock/CLASS/NAME.sock",
		    who);
	else if (!ours && hostdev && o->class_name)
		check_hostdev(c, o, who);
	else if (!ours && hostdev)
		add(c, FINDING_ERROR, "MissingClass", o->mac, NULL,
		    "%s: the interface with this MAC address has no socket of vnicd's; where it "
		    "has a VF "
		    "that libvirt manages, say of which class it is: class='NAME'",
		    who);
	else if (!ours)
		add(c, FINDING_ERROR, "UnmatchedOverride", o->mac, NULL,
		    "%s: no interface of vnicd's has this MAC address", who);
}

static void check_override(struct check *c, const struct domain_override *o)
{
	char mac[VNIC_MAC_STR], who[80];

	snprintf(who, sizeof(who), "<vnic:port mac='%s'> in <metadata>", mac_format(o->mac, mac));
	check_match(c, o, who);
	for (const struct domain_override *p = c->d->overrides; p < o; p++)
		if (!memcmp(p->mac, o->mac, VNIC_MAC_LEN)) {
			add(c, FINDING_ERROR, "DuplicateOverride", o->mac, NULL,
			    "<vnic:port mac='%s'> stands in <metadata> twice: write all its "
			    "attributes in one",
			    mac);
			return;
		}
}

static void check_balloon(struct check *c)
{
	/* libvirt adds one where the XML does not say. */
	if (has_vdpa(c) && !str_eq(c->d->memballoon, "none"))
		add(c, FINDING_WARNING, "Memballoon", NULL, strdup(FIX_BALLOON),
		    "the domain has a memory balloon: it cannot give back any memory while a vDPA "
		    "device has it");
	else if (!str_eq(c->d->memballoon, "none"))
		add(c, FINDING_INFO, "Memballoon", NULL, strdup(FIX_BALLOON),
		    "the domain has a memory balloon: fine in software, but it keeps the ports off "
		    "hardware paths");
}

int domain_check(const struct domain *d, const char *const *classes, size_t n_classes,
		 struct findings *ret)
{
	struct check c = { .d = d, .classes = classes, .n_classes = n_classes, .out = ret };

	*ret = (struct findings){ 0 };
	if (!domain_is_ours(d)) {
		add(&c, FINDING_INFO, "NoInterface", NULL,
		    xml_nic(NULL, "/run/vnicd/sock/CLASS/NAME.sock", 1),
		    "no interface of this domain is vnicd's");
		return c.error;
	}
	check_memory(&c);
	check_vdpa_memory(&c);
	for (size_t i = 0; i < d->n_nics; i++)
		check_nic(&c, &d->nics[i]);
	for (size_t i = 0; i < d->n_overrides; i++)
		check_override(&c, &d->overrides[i]);
	check_balloon(&c);
	return c.error;
}
