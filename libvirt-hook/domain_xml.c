/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XML to struct domain; see domain_xml.h for the theory. */
#include "libvirt-hook/domain_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/errors.h"

int reader_fail(struct reader *r, int error, const char *code, const char *fmt, ...)
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

int reader_fail_memory(struct reader *r)
{
	return reader_fail(r, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
}

int reader_keep(struct reader *r, char **dst, const char *what, const char *value)
{
	if (!value)
		return 0;
	if (*dst)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "%s is given twice", what);
	if (strlen(value) > DOMAIN_VALUE_MAX)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "%s is longer than %d bytes",
				   what, DOMAIN_VALUE_MAX);
	*dst = strdup(value);
	return *dst ? 0 : reader_fail_memory(r);
}

/* An element that no row knows: skipped, unless it is ours or stands in ours. */
static int unknown_element(struct reader *r, enum place in, const char *name)
{
	const char *local = strrchr(name, NS_SEP);

	if (in == P_TOP)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "its root is <%.60s>, not <%s>",
				   local ? local + 1 : name, r->what);
	if (in == P_PORTS || in == P_PORT)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML,
				   "<%.60s> within <vnic:ports>, which holds <vnic:port …/> only",
				   local ? local + 1 : name);
	if (local && !strncmp(name, NS, strlen(NS)))
		return reader_fail(
			r, -EBADMSG, VNIC_E_INVALID_XML,
			"<vnic:%.60s> does not belong here; <vnic:ports> goes into <metadata>",
			local + 1);
	if (local && !strncmp(name, "urn:vnicd", strlen("urn:vnicd")))
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML,
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
		reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "elements are nested deeper than %d",
			    DOMAIN_XML_DEPTH_MAX - 1);
		return;
	}
	if (in == P_TOP && e && strcmp(name, r->what))
		e = NULL;
	if (r->skip_metadata && e && e->place == P_METADATA)
		e = NULL;
	if (!e && (in == P_TOP || !r->skip_metadata) && unknown_element(r, in, name) < 0)
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
		reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "a name or UUID longer than %d bytes",
			    DOMAIN_VALUE_MAX);
		return;
	}
	memcpy(r->text + r->text_len, s, (size_t)len);
	r->text_len += (size_t)len;
}

static int take_uuid(struct reader *r)
{
	if (r->domain->has_uuid)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "<uuid> is given twice");
	if (uuid_parse(r->text, r->domain->uuid) < 0)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "<uuid> '%.40s' is not a UUID",
				   r->text);
	r->domain->has_uuid = true;
	return 0;
}

static int take_name(struct reader *r)
{
	if (!*r->text || strchr(r->text, '/') || strlen(r->text) > DOMAIN_NAME_LEN_MAX)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML,
				   "<name> '%.60s' is not 1 to %d bytes without '/'", r->text,
				   DOMAIN_NAME_LEN_MAX);
	return reader_keep(r, &r->domain->name, "<name>", r->text);
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
		reader_keep(r, &r->port->network, "<network><name>", r->text);
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
	reader_fail(data, -EBADMSG, VNIC_E_INVALID_XML,
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
		reader_fail(r, e == XML_ERROR_NO_MEMORY ? -ENOMEM : -EBADMSG, VNIC_E_INVALID_XML,
			    "not well-formed: %s", XML_ErrorString(e));
	}
	XML_ParserFree(r->parser);
	return r->error ? r->error : finish(r);
}

static int parse_domain(const char *xml, size_t size, bool skip_metadata, struct domain **ret,
			struct vnic_err *err)
{
	_cleanup_(domain_freep) struct domain *d = calloc(1, sizeof(*d));
	struct reader r = {
		.what = "domain", .domain = d, .err = err, .skip_metadata = skip_metadata
	};
	int e;

	if (!d)
		return -ENOMEM;
	e = read_xml(&r, xml, size);
	if (e < 0)
		return e;
	*ret = take_ptr(d);
	return 0;
}

int domain_xml_parse(const char *xml, size_t size, struct domain **ret, struct vnic_err *err)
{
	return parse_domain(xml, size, false, ret, err);
}

int domain_xml_parse_devices(const char *xml, size_t size, struct domain **ret,
			     struct vnic_err *err)
{
	return parse_domain(xml, size, true, ret, err);
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
