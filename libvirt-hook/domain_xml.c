/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XML to struct domain; see domain_xml.h for the theory. */
#include "libvirt-hook/domain_xml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <expat.h>

#include "api/errors.h"
#include "libvirt-hook/domain_priv.h"

/* expat joins namespace and name by this, and refuses namespaces that hold it. */
#define NS_SEP '\n'
#define NS     VNIC_XML_NS "\n"

enum place {
	P_SKIP, /* of no interest, nor is what is in it */
	P_TOP, /* outside the root element */
	P_DOMAIN,
	P_UUID,
	P_NAME,
	P_METADATA,
	P_PORTS,
	P_PORT,
	P_MEMORY,
	P_MEMORY_LEAF,
	P_CPU,
	P_NUMA,
	P_CELL,
	P_DEVICES,
	P_BALLOON,
	P_NIC,
	P_NIC_SOURCE,
	P_NIC_LEAF,
	P_NIC_VLAN,
	P_HOOK,
	P_NETWORK,
	P_NETWORK_NAME,
	P_NETPORT,
	P_OWNER,
	P_NETPORT_PLUG,
};

struct reader {
	XML_Parser parser;
	const char *what; /* "domain" or "hookData": the root that is wanted */
	struct domain *domain;
	struct domain_nic *nic; /* the one being read */
	struct network_port *port; /* NULL when reading a domain */
	enum place stack[DOMAIN_XML_DEPTH_MAX];
	size_t depth;
	char text[DOMAIN_VALUE_MAX + 1];
	size_t text_len;
	int error;
	struct vnic_err *err;
};

static int fail(struct reader *r, int error, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int fail(struct reader *r, int error, const char *code, const char *fmt, ...)
{
	char text[VNIC_ERR_MESSAGE_MAX];
	va_list ap;

	if (r->error)
		return r->error;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->error = vnic_err_set(r->err, error, code, "%s XML, line %lu: %s", r->what,
				XML_GetCurrentLineNumber(r->parser), text);
	XML_StopParser(r->parser, XML_FALSE);
	return r->error;
}

static int fail_memory(struct reader *r)
{
	return fail(r, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
}

static const char *attr(const char **attrs, const char *name)
{
	for (; *attrs; attrs += 2)
		if (!strcmp(attrs[0], name))
			return attrs[1];
	return NULL;
}

/* Keep a copy of @value, which may be NULL, as @what. */
static int keep(struct reader *r, char **dst, const char *what, const char *value)
{
	if (!value)
		return 0;
	if (*dst)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML, "%s is given twice", what);
	if (strlen(value) > DOMAIN_VALUE_MAX)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML, "%s is longer than %d bytes", what,
			    DOMAIN_VALUE_MAX);
	*dst = strdup(value);
	return *dst ? 0 : fail_memory(r);
}

static int keep_mac(struct reader *r, const char *value, uint8_t mac[VNIC_MAC_LEN],
		    const char *what)
{
	if (mac_parse(value, mac) < 0)
		return fail(r, -EBADMSG, VNIC_E_INVALID_MAC,
			    "%s'%.40s' is not a MAC address like 52:54:00:12:34:56", what, value);
	return 0;
}

static int keep_u32(struct reader *r, const char *value, uint32_t *dst, const char *what)
{
	uint64_t v;

	if (!value)
		return 0;
	if (u64_parse(value, 0, UINT32_MAX, &v) < 0)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML, "%s'%.40s' is not a number", what,
			    value);
	*dst = (uint32_t)v;
	return 0;
}

/* One more of @size bytes at the end of an array, zeroed; NULL after fail(). */
static void *grow(struct reader *r, void **array, size_t *n, size_t size, const char *what)
{
	size_t room = *n & (*n - 1) ? 0 : *n ? *n * 2 : 1; /* at powers of two */
	char *more = *array;

	if (*n >= DOMAIN_NICS_MAX) {
		fail(r, -EBADMSG, VNIC_E_INVALID_XML, "more than %d %s", DOMAIN_NICS_MAX, what);
		return NULL;
	}
	if (room) {
		more = reallocarray(*array, room, size);
		if (!more) {
			fail_memory(r);
			return NULL;
		}
		*array = more;
	}
	memset(more + *n * size, 0, size);
	return more + (*n)++ * size;
}

static int on_ports(struct reader *r, const char **attrs)
{
	if (attrs[0])
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML,
			    "<vnic:ports> takes no attribute '%.60s'", attrs[0]);
	r->domain->has_ports = true;
	return 0;
}

static int on_port_attr(struct reader *r, struct domain_override *o, const char *name,
			const char *value, bool *has_mac)
{
	const char *local = strrchr(name, NS_SEP);

	if (!strcmp(name, "mac")) {
		*has_mac = true;
		return keep_mac(r, value, o->mac, "<vnic:port mac=");
	}
	if (!strcmp(name, "vlan"))
		return keep(r, &o->vlan, "vlan", value);
	if (!strcmp(name, "rate"))
		return keep(r, &o->rate, "rate", value);
	if (!strcmp(name, "weight"))
		return keep(r, &o->weight, "weight", value);
	if (!strcmp(name, "paths"))
		return keep(r, &o->paths, "paths", value);
	if (!strcmp(name, "class"))
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML,
			    "<vnic:port> takes no attribute 'class': the class is the folder of "
			    "the interface's socket, /run/vnicd/sock/CLASS/NAME.sock");
	return fail(
		r, -EBADMSG, VNIC_E_INVALID_XML,
		"<vnic:port> has an unknown attribute '%.60s'; known are mac, vlan, rate, weight, "
		"paths",
		local ? local + 1 : name);
}

static int on_port(struct reader *r, const char **attrs)
{
	struct domain *d = r->domain;
	struct domain_override *o;
	bool has_mac = false;

	o = grow(r, (void **)&d->overrides, &d->n_overrides, sizeof(*o), "<vnic:port>");
	if (!o)
		return r->error;
	o->line = XML_GetCurrentLineNumber(r->parser);
	for (; *attrs; attrs += 2)
		if (on_port_attr(r, o, attrs[0], attrs[1], &has_mac) < 0)
			return r->error;
	if (!has_mac)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML,
			    "<vnic:port> lacks mac=, which says whose it is");
	return 0;
}

static int on_memory_source(struct reader *r, const char **attrs)
{
	return keep(r, &r->domain->memory_source,
		    "<memoryBacking><source type=", attr(attrs, "type"));
}

static int on_memory_access(struct reader *r, const char **attrs)
{
	r->domain->shared_access = str_eq(attr(attrs, "mode"), "shared");
	return 0;
}

static int on_hugepages(struct reader *r, _unused_ const char **attrs)
{
	r->domain->hugepages = true;
	return 0;
}

static int on_cell(struct reader *r, const char **attrs)
{
	const char *access = attr(attrs, "memAccess");

	r->domain->n_cells++;
	if (str_eq(access, "shared"))
		r->domain->n_cells_shared++;
	else if (access)
		r->domain->n_cells_private++;
	return 0;
}

static int on_balloon(struct reader *r, const char **attrs)
{
	return keep(r, &r->domain->memballoon, "<memballoon model=", attr(attrs, "model"));
}

static int on_nic(struct reader *r, const char **attrs)
{
	struct domain *d = r->domain;

	r->nic = grow(r, (void **)&d->nics, &d->n_nics, sizeof(*r->nic), "interfaces");
	if (!r->nic)
		return r->error;
	r->nic->line = XML_GetCurrentLineNumber(r->parser);
	return keep(r, &r->nic->type, "<interface type=", attr(attrs, "type"));
}

static int on_nic_mac(struct reader *r, const char **attrs)
{
	const char *mac = attr(attrs, "address");

	if (!mac)
		return 0;
	if (r->nic->has_mac)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML, "<mac address= is given twice");
	r->nic->has_mac = true;
	return keep_mac(r, mac, r->nic->mac, "<mac address=");
}

static int on_nic_source(struct reader *r, const char **attrs)
{
	struct domain_nic *n = r->nic;

	if (keep(r, &n->source_type, "<source type=", attr(attrs, "type")) < 0 ||
	    keep(r, &n->source_path, "<source path=", attr(attrs, "path")) < 0 ||
	    keep(r, &n->source_mode, "<source mode=", attr(attrs, "mode")) < 0)
		return r->error;
	return keep(r, &n->network, "<source network=", attr(attrs, "network"));
}

static int on_nic_reconnect(struct reader *r, const char **attrs)
{
	r->nic->has_reconnect = true;
	r->nic->reconnect = str_eq(attr(attrs, "enabled"), "yes");
	return keep_u32(r, attr(attrs, "timeout"), &r->nic->reconnect_timeout,
			"<reconnect timeout=");
}

/* libvirt writes domain='0x0000' bus='0x06' slot='0x10' function='0x1'. */
static int pci_part(struct reader *r, const char **attrs, const char *name, unsigned long max,
		    unsigned *ret)
{
	const char *s = attr(attrs, name);
	unsigned long v;
	char *end;

	errno = 0;
	v = s && *s >= '0' && *s <= '9' ? strtoul(s, &end, 0) : 0;
	if (!s && !strcmp(name, "domain"))
		end = (char *)"";
	else if (!s || *s < '0' || *s > '9' || *end || errno || v > max)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML,
			    "%s='%.20s' is no part of a PCI address", name, s ? s : "");
	*ret = (unsigned)v;
	return 0;
}

static int on_nic_address(struct reader *r, const char **attrs)
{
	unsigned domain, bus, slot, function;
	const char *type = attr(attrs, "type");
	char address[40];

	if (type && strcmp(type, "pci"))
		return 0;
	if (pci_part(r, attrs, "domain", 0xffffffff, &domain) < 0 ||
	    pci_part(r, attrs, "bus", 0xff, &bus) < 0 ||
	    pci_part(r, attrs, "slot", 0x1f, &slot) < 0 ||
	    pci_part(r, attrs, "function", 7, &function) < 0)
		return r->error;
	snprintf(address, sizeof(address), "%04x:%02x:%02x.%x", domain, bus, slot, function);
	return keep(r, &r->nic->hostdev, "the source's PCI address", address);
}

static int on_nic_model(struct reader *r, const char **attrs)
{
	return keep(r, &r->nic->model, "<model type=", attr(attrs, "type"));
}

static int on_nic_driver(struct reader *r, const char **attrs)
{
	return keep_u32(r, attr(attrs, "queues"), &r->nic->queues, "<driver queues=");
}

static int on_nic_teaming(struct reader *r, const char **attrs)
{
	return keep(r, &r->nic->teaming, "<teaming type=", attr(attrs, "type"));
}

static int on_nic_alias(struct reader *r, const char **attrs)
{
	return keep(r, &r->nic->alias, "<alias name=", attr(attrs, "name"));
}

static int on_nic_tag(struct reader *r, const char **attrs)
{
	if (r->nic->n_vlans++)
		return 0;
	return keep_u32(r, attr(attrs, "id"), &r->nic->vlan, "<tag id=");
}

static int on_netport(struct reader *r, _unused_ const char **attrs)
{
	r->nic = &r->port->nic;
	return 0;
}

static int on_plug(struct reader *r, const char **attrs)
{
	return keep(r, &r->port->plug, "<plug type=", attr(attrs, "type"));
}

/* Which element means what, by the place it is in. */
static const struct element {
	enum place in;
	const char *name;
	enum place place;
	int (*start)(struct reader *r, const char **attrs);
} elements[] = {
	{ P_TOP, "domain", P_DOMAIN, NULL },
	{ P_DOMAIN, "uuid", P_UUID, NULL },
	{ P_DOMAIN, "name", P_NAME, NULL },
	{ P_DOMAIN, "metadata", P_METADATA, NULL },
	{ P_METADATA, NS "ports", P_PORTS, on_ports },
	{ P_PORTS, NS "port", P_PORT, on_port },
	{ P_DOMAIN, "memoryBacking", P_MEMORY, NULL },
	{ P_MEMORY, "source", P_MEMORY_LEAF, on_memory_source },
	{ P_MEMORY, "access", P_MEMORY_LEAF, on_memory_access },
	{ P_MEMORY, "hugepages", P_MEMORY_LEAF, on_hugepages },
	{ P_DOMAIN, "cpu", P_CPU, NULL },
	{ P_CPU, "numa", P_NUMA, NULL },
	{ P_NUMA, "cell", P_CELL, on_cell },
	{ P_DOMAIN, "devices", P_DEVICES, NULL },
	{ P_DEVICES, "memballoon", P_BALLOON, on_balloon },
	{ P_DEVICES, "interface", P_NIC, on_nic },
	{ P_NIC, "mac", P_NIC_LEAF, on_nic_mac },
	{ P_NIC, "source", P_NIC_SOURCE, on_nic_source },
	{ P_NIC_SOURCE, "reconnect", P_NIC_LEAF, on_nic_reconnect },
	{ P_NIC_SOURCE, "address", P_NIC_LEAF, on_nic_address },
	{ P_NIC, "model", P_NIC_LEAF, on_nic_model },
	{ P_NIC, "driver", P_NIC_LEAF, on_nic_driver },
	{ P_NIC, "teaming", P_NIC_LEAF, on_nic_teaming },
	{ P_NIC, "alias", P_NIC_LEAF, on_nic_alias },
	{ P_NIC, "vlan", P_NIC_VLAN, NULL },
	{ P_NIC_VLAN, "tag", P_NIC_LEAF, on_nic_tag },
	{ P_TOP, "hookData", P_HOOK, NULL },
	{ P_HOOK, "network", P_NETWORK, NULL },
	{ P_NETWORK, "name", P_NETWORK_NAME, NULL },
	{ P_HOOK, "networkport", P_NETPORT, on_netport },
	{ P_NETPORT, "mac", P_NIC_LEAF, on_nic_mac },
	{ P_NETPORT, "owner", P_OWNER, NULL },
	{ P_OWNER, "uuid", P_UUID, NULL },
	{ P_OWNER, "name", P_NAME, NULL },
	{ P_NETPORT, "plug", P_NETPORT_PLUG, on_plug },
	{ P_NETPORT_PLUG, "address", P_NIC_LEAF, on_nic_address },
};

static const struct element *element_find(enum place in, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(elements); i++)
		if (elements[i].in == in && !strcmp(elements[i].name, name))
			return &elements[i];
	return NULL;
}

/* An element that no row knows: skipped, unless it is ours or stands in ours. */
static int unknown_element(struct reader *r, enum place in, const char *name)
{
	const char *local = strrchr(name, NS_SEP);

	if (in == P_TOP)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML, "its root is <%.60s>, not <%s>",
			    local ? local + 1 : name, r->what);
	if (in == P_PORTS || in == P_PORT)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML,
			    "<%.60s> within <vnic:ports>, which holds <vnic:port …/> only",
			    local ? local + 1 : name);
	if (local && !strncmp(name, NS, strlen(NS)))
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML,
			    "<vnic:%.60s> does not belong here; <vnic:ports> goes into <metadata>",
			    local + 1);
	if (local && !strncmp(name, "urn:vnicd", strlen("urn:vnicd")))
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML,
			    "namespace '%.*s' is not known; this vnicd knows '%s'",
			    (int)(local - name > 60 ? 60 : local - name), name, VNIC_XML_NS);
	return 0;
}

static void on_start(void *data, const char *name, const char **attrs)
{
	struct reader *r = data;
	enum place in = r->stack[r->depth];
	const struct element *e = element_find(in, name);

	if (r->error)
		return;
	if (r->depth + 1 >= DOMAIN_XML_DEPTH_MAX) {
		fail(r, -EBADMSG, VNIC_E_INVALID_XML, "elements are nested deeper than %d",
		     DOMAIN_XML_DEPTH_MAX - 1);
		return;
	}
	if (in == P_TOP && e && strcmp(name, r->what))
		e = NULL;
	if (!e && unknown_element(r, in, name) < 0)
		return;
	r->stack[++r->depth] = e ? e->place : P_SKIP;
	r->text_len = 0;
	if (e && e->start)
		e->start(r, attrs);
}

static bool is_text(enum place p)
{
	return p == P_UUID || p == P_NAME || p == P_NETWORK_NAME;
}

static void on_text(void *data, const char *s, int len)
{
	struct reader *r = data;

	if (r->error || !is_text(r->stack[r->depth]))
		return;
	if ((size_t)len > DOMAIN_VALUE_MAX - r->text_len) {
		fail(r, -EBADMSG, VNIC_E_INVALID_XML, "a name or UUID longer than %d bytes",
		     DOMAIN_VALUE_MAX);
		return;
	}
	memcpy(r->text + r->text_len, s, (size_t)len);
	r->text_len += (size_t)len;
}

static int take_uuid(struct reader *r)
{
	if (r->domain->has_uuid)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML, "<uuid> is given twice");
	if (uuid_parse(r->text, r->domain->uuid) < 0)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML, "<uuid> '%.40s' is not a UUID",
			    r->text);
	r->domain->has_uuid = true;
	return 0;
}

static int take_name(struct reader *r)
{
	if (!*r->text || strchr(r->text, '/') || strlen(r->text) > DOMAIN_NAME_LEN_MAX)
		return fail(r, -EBADMSG, VNIC_E_INVALID_XML,
			    "<name> '%.60s' is not 1 to %d bytes without '/'", r->text,
			    DOMAIN_NAME_LEN_MAX);
	return keep(r, &r->domain->name, "<name>", r->text);
}

static void on_end(void *data, _unused_ const char *name)
{
	struct reader *r = data;

	if (r->error)
		return;
	r->text[r->text_len] = '\0';
	switch (r->stack[r->depth]) {
	case P_UUID:
		take_uuid(r);
		break;
	case P_NAME:
		take_name(r);
		break;
	case P_NETWORK_NAME:
		keep(r, &r->port->network, "<network><name>", r->text);
		break;
	default:
		break;
	}
	r->text_len = 0;
	r->depth--;
}

static void on_doctype(void *data, _unused_ const char *name, _unused_ const char *sysid,
		       _unused_ const char *pubid, _unused_ int has_internal)
{
	fail(data, -EBADMSG, VNIC_E_INVALID_XML,
	     "it holds a DOCTYPE; libvirt's XML has none, and none is read");
}

static int finish(struct reader *r)
{
	if (!r->domain->has_uuid || !r->domain->name) {
		if (r->port && !r->port->plug)
			return 0; /* a network's own event has no port, so no owner */
		return vnic_err_set(r->err, -EBADMSG, VNIC_E_INVALID_XML, "%s XML: it lacks <%s>%s",
				    r->what, r->domain->has_uuid ? "name" : "uuid",
				    r->port ? " in <owner>" : "");
	}
	return 0;
}

static int read_xml(struct reader *r, const char *xml, size_t size)
{
	enum XML_Status status;
	enum XML_Error e;

	if (size > DOMAIN_XML_MAX)
		return vnic_err_set(r->err, -E2BIG, VNIC_E_INVALID_XML,
				    "%s XML is larger than %u MiB", r->what, DOMAIN_XML_MAX >> 20);
	if (size && memchr(xml, '\0', size)) /* UTF-16 too, which expat would take */
		return vnic_err_set(r->err, -EBADMSG, VNIC_E_INVALID_XML,
				    "%s XML holds a NUL byte; libvirt writes UTF-8", r->what);
	r->parser = XML_ParserCreateNS("UTF-8", NS_SEP);
	if (!r->parser)
		return -ENOMEM;
	r->stack[0] = P_TOP;
	XML_SetUserData(r->parser, r);
	XML_SetElementHandler(r->parser, on_start, on_end);
	XML_SetCharacterDataHandler(r->parser, on_text);
	XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
	status = XML_Parse(r->parser, xml, (int)size, XML_TRUE);
	if (status != XML_STATUS_OK && !r->error) {
		e = XML_GetErrorCode(r->parser);
		fail(r, e == XML_ERROR_NO_MEMORY ? -ENOMEM : -EBADMSG, VNIC_E_INVALID_XML,
		     "not well-formed: %s", XML_ErrorString(e));
	}
	XML_ParserFree(r->parser);
	return r->error ? r->error : finish(r);
}

int domain_xml_parse(const char *xml, size_t size, struct domain **ret, struct vnic_err *err)
{
	_cleanup_(domain_freep) struct domain *d = calloc(1, sizeof(*d));
	struct reader r = { .what = "domain", .domain = d, .err = err };
	int e;

	if (!d)
		return -ENOMEM;
	e = read_xml(&r, xml, size);
	if (e < 0)
		return e;
	*ret = take_ptr(d);
	return 0;
}

int network_port_parse(const char *xml, size_t size, struct network_port **ret,
		       struct vnic_err *err)
{
	_cleanup_(network_port_freep) struct network_port *p = calloc(1, sizeof(*p));
	struct reader r = {
		.what = "hookData", .domain = p ? &p->owner : NULL, .port = p, .err = err
	};
	int e;

	if (!p)
		return -ENOMEM;
	e = read_xml(&r, xml, size);
	if (e < 0)
		return e;
	if (!p->network)
		return vnic_err_set(err, -EBADMSG, VNIC_E_INVALID_XML,
				    "hookData XML: it lacks <network><name>");
	*ret = take_ptr(p);
	return 0;
}
