/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The elements of libvirt's XML, and of our own in it, that mean something to vnicd. */
#include "libvirt-hook/domain_reader.h"

#include <stdio.h>
#include <string.h>

#include "api/errors.h"

static const char *attr(const char **attrs, const char *name)
{
	for (; *attrs; attrs += 2)
		if (!strcmp(attrs[0], name))
			return attrs[1];
	return NULL;
}

static int keep_mac(struct reader *r, const char *value, uint8_t mac[VNIC_MAC_LEN],
		    const char *what)
{
	if (mac_parse(value, mac) < 0)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_MAC,
				   "%s'%.40s' is not a MAC address like 52:54:00:12:34:56", what,
				   value);
	return 0;
}

static int keep_u32(struct reader *r, const char *value, uint32_t *dst, const char *what)
{
	uint64_t v;

	if (!value)
		return 0;
	if (u64_parse(value, 0, UINT32_MAX, &v) < 0)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "%s'%.40s' is not a number",
				   what, value);
	*dst = (uint32_t)v;
	return 0;
}

/* One more of @size bytes at the end of an array, zeroed; NULL after reader_fail(). */
static void *grow(struct reader *r, void **array, size_t *n, size_t size, const char *what)
{
	size_t room = *n & (*n - 1) ? 0 : *n ? *n * 2 : 1; /* at powers of two */
	char *more = *array;

	if (*n >= DOMAIN_NICS_MAX) {
		reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "more than %d %s", DOMAIN_NICS_MAX,
			    what);
		return NULL;
	}
	if (room) {
		more = reallocarray(*array, room, size);
		if (!more) {
			reader_fail_memory(r);
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
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML,
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
		return reader_keep(r, &o->vlan, "vlan", value);
	if (!strcmp(name, "rate"))
		return reader_keep(r, &o->rate, "rate", value);
	if (!strcmp(name, "weight"))
		return reader_keep(r, &o->weight, "weight", value);
	if (!strcmp(name, "paths"))
		return reader_keep(r, &o->paths, "paths", value);
	if (!strcmp(name, "class") && !name_valid(value))
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML,
				   "<vnic:port class='%.40s'> is not of A-Z a-z 0-9 . _ - and at "
				   "most %d long",
				   value, VNIC_NAME_MAX - 1);
	if (!strcmp(name, "class"))
		return reader_keep(r, &o->class_name, "class", value);
	return reader_fail(
		r, -EBADMSG, VNIC_E_INVALID_XML,
		"<vnic:port> has an unknown attribute '%.60s'; known are mac, class, vlan, rate, "
		"weight, paths",
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
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML,
				   "<vnic:port> lacks mac=, which says whose it is");
	return 0;
}

static int on_memory_source(struct reader *r, const char **attrs)
{
	return reader_keep(r, &r->domain->memory_source,
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
	return reader_keep(r, &r->domain->memballoon, "<memballoon model=", attr(attrs, "model"));
}

static int on_nic(struct reader *r, const char **attrs)
{
	struct domain *d = r->domain;

	r->nic = grow(r, (void **)&d->nics, &d->n_nics, sizeof(*r->nic), "interfaces");
	if (!r->nic)
		return r->error;
	r->nic->line = XML_GetCurrentLineNumber(r->parser);
	return reader_keep(r, &r->nic->type, "<interface type=", attr(attrs, "type"));
}

static int on_nic_mac(struct reader *r, const char **attrs)
{
	const char *mac = attr(attrs, "address");

	if (!mac)
		return 0;
	if (r->nic->has_mac)
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML, "<mac address= is given twice");
	r->nic->has_mac = true;
	return keep_mac(r, mac, r->nic->mac, "<mac address=");
}

static int on_nic_source(struct reader *r, const char **attrs)
{
	struct domain_nic *n = r->nic;

	if (reader_keep(r, &n->source_type, "<source type=", attr(attrs, "type")) < 0 ||
	    reader_keep(r, &n->source_path, "<source path=", attr(attrs, "path")) < 0 ||
	    reader_keep(r, &n->source_dev, "<source dev=", attr(attrs, "dev")) < 0 ||
	    reader_keep(r, &n->source_mode, "<source mode=", attr(attrs, "mode")) < 0)
		return r->error;
	return reader_keep(r, &n->network, "<source network=", attr(attrs, "network"));
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
		return reader_fail(r, -EBADMSG, VNIC_E_INVALID_XML,
				   "%s='%.20s' is no part of a PCI address", name, s ? s : "");
	*ret = (unsigned)v;
	return 0;
}

/* <address> of a PCI function of this host; one of another type is left out. */
static int keep_pci(struct reader *r, const char **attrs, char **dst)
{
	const char *type = attr(attrs, "type");
	char text[PCI_ADDRESS_STR];
	struct pci_address a;

	if (type && strcmp(type, "pci"))
		return 0;
	if (pci_part(r, attrs, "domain", 0xffffffff, &a.domain) < 0 ||
	    pci_part(r, attrs, "bus", 0xff, &a.bus) < 0 ||
	    pci_part(r, attrs, "slot", 0x1f, &a.slot) < 0 ||
	    pci_part(r, attrs, "function", 7, &a.function) < 0)
		return r->error;
	return reader_keep(r, dst, "the source's PCI address", pci_address_format(&a, text));
}

static int on_nic_address(struct reader *r, const char **attrs)
{
	return keep_pci(r, attrs, &r->nic->hostdev);
}

static int on_nic_model(struct reader *r, const char **attrs)
{
	return reader_keep(r, &r->nic->model, "<model type=", attr(attrs, "type"));
}

static int on_nic_driver(struct reader *r, const char **attrs)
{
	return keep_u32(r, attr(attrs, "queues"), &r->nic->queues, "<driver queues=");
}

static int on_nic_teaming(struct reader *r, const char **attrs)
{
	return reader_keep(r, &r->nic->teaming, "<teaming type=", attr(attrs, "type"));
}

static int on_nic_alias(struct reader *r, const char **attrs)
{
	return reader_keep(r, &r->nic->alias, "<alias name=", attr(attrs, "name"));
}

static int on_nic_tag(struct reader *r, const char **attrs)
{
	if (r->nic->n_vlans++)
		return 0;
	return keep_u32(r, attr(attrs, "id"), &r->nic->vlan, "<tag id=");
}

static int on_hostdev(struct reader *r, const char **attrs)
{
	struct domain *d = r->domain;

	r->hostdev = NULL;
	if (!str_eq(attr(attrs, "mode"), "subsystem") || !str_eq(attr(attrs, "type"), "pci"))
		return 0;
	r->hostdev =
		grow(r, (void **)&d->hostdevs, &d->n_hostdevs, sizeof(*r->hostdev), "PCI devices");
	return r->error;
}

static int on_hostdev_address(struct reader *r, const char **attrs)
{
	return r->hostdev ? keep_pci(r, attrs, &r->hostdev->address) : 0;
}

static int on_hostdev_alias(struct reader *r, const char **attrs)
{
	if (!r->hostdev)
		return 0;
	return reader_keep(r, &r->hostdev->alias, "<alias name=", attr(attrs, "name"));
}

static int on_hostdev_teaming(struct reader *r, const char **attrs)
{
	if (!r->hostdev)
		return 0;
	return reader_keep(r, &r->hostdev->standby,
			   "<teaming persistent=", attr(attrs, "persistent"));
}

static int on_netport(struct reader *r, _unused_ const char **attrs)
{
	r->nic = &r->port->nic;
	return 0;
}

static int on_plug(struct reader *r, const char **attrs)
{
	return reader_keep(r, &r->port->plug, "<plug type=", attr(attrs, "type"));
}

/* Which element means what, by the place it is in. */
static const struct element elements[] = {
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
	{ P_DEVICES, "hostdev", P_HOSTDEV, on_hostdev },
	{ P_HOSTDEV, "source", P_HOSTDEV_SOURCE, NULL },
	{ P_HOSTDEV_SOURCE, "address", P_HOSTDEV_LEAF, on_hostdev_address },
	{ P_HOSTDEV, "alias", P_HOSTDEV_LEAF, on_hostdev_alias },
	{ P_HOSTDEV, "teaming", P_HOSTDEV_LEAF, on_hostdev_teaming },
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

const struct element *element_find(enum place in, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(elements); i++)
		if (elements[i].in == in && !strcmp(elements[i].name, name))
			return &elements[i];
	return NULL;
}
