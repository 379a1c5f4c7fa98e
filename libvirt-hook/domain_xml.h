/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vnicd wants to know of libvirt's XML, as plain data.
 *
 * Theory of operation: expat hands us elements; a table says which element in which place means
 * something (domain_elements.c), and everything else is skipped with its children. So an unknown
 * element never hurts, wherever a later libvirt puts it; only <vnic:ports>, whose owner we are, is
 * strict. There is no DTD and no entity of its own in libvirt's XML: a DOCTYPE is refused when it
 * begins, which is the end of entity expansion and of external entities. Size, depth and counts
 * have bounds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#define DOMAIN_XML_MAX	     (4u << 20) /* bytes; libvirt's own messages hold no more */
#define DOMAIN_XML_DEPTH_MAX 256
#define DOMAIN_NICS_MAX	     1024
#define DOMAIN_NAME_LEN_MAX  251 /* libvirt keeps NAME.xml and NAME.pid */
#define DOMAIN_SOCKET_MAX    107 /* of sockaddr_un.sun_path, without its NUL */
#define DOMAIN_VALUE_MAX     1024 /* one attribute or text that we keep */

#define VNIC_XML_NS "urn:vnicd:1" /* of <vnic:ports> in <metadata> */

/**
 * struct domain_nic - one <interface>
 *
 * Strings are NULL where the XML does not say.
 */
struct domain_nic {
	unsigned long line;
	bool has_mac;
	uint8_t mac[VNIC_MAC_LEN];
	char *type; /* vhostuser, network, bridge, hostdev, … */
	char *source_type; /* "unix" */
	char *source_path; /* a vhostuser's socket */
	char *source_dev; /* a vdpa interface's device node, or what leads to it */
	char *source_mode; /* "client": QEMU connects */
	char *network; /* source network= */
	bool has_reconnect, reconnect;
	uint32_t reconnect_timeout; /* s; 0 where not said */
	char *model;
	uint32_t queues; /* queue pairs; 0 where not said, which means 1 */
	char *teaming; /* persistent, transient */
	uint32_t vlan; /* the first tag */
	uint32_t n_vlans;
	char *hostdev; /* PCI address "0000:06:10.1" of a hostdev interface */
	char *alias; /* of the running domain: net0 */
};

/**
 * struct domain_hostdev - one <hostdev mode='subsystem' type='pci'>
 *
 * Strings are NULL where the XML does not say.
 */
struct domain_hostdev {
	char *address; /* on the host: "0000:06:10.1" */
	char *alias;
	char *standby; /* alias of the interface that stands by for it: <teaming type='transient' persistent=…> */
};

/**
 * struct domain_override - one <vnic:port>: what its NIC wants other than its class says
 *
 * Values are the XML's text, for vnicd to check.
 */
struct domain_override {
	unsigned long line;
	uint8_t mac[VNIC_MAC_LEN];
	char *class_name; /* a valid name; of a VF that libvirt manages */
	char *vlan, *rate, *weight, *paths;
};

/**
 * struct domain - what a <domain> says
 * @shared_access: <memoryBacking><access mode='shared'/>
 * @memory_source: <memoryBacking><source type=…/>: memfd, file, anonymous; NULL where not said
 * @n_cells: NUMA cells; @n_cells_shared and @n_cells_private of them have memAccess= of their own
 */
struct domain {
	bool has_uuid;
	uint8_t uuid[VNIC_UUID_LEN];
	char *name;
	char *memory_source;
	bool shared_access, hugepages;
	unsigned n_cells, n_cells_shared, n_cells_private;
	char *memballoon;
	struct domain_nic *nics;
	size_t n_nics;
	struct domain_hostdev *hostdevs;
	size_t n_hostdevs;
	struct domain_override *overrides;
	size_t n_overrides;
	bool has_ports; /* a <vnic:ports> was there, be it empty */
};

/**
 * struct network_port - a network hook's <hookData>: the network, and the port where one is told
 * @plug: <plug type=…>: bridge, network, direct, hostdev-pci; NULL without a port
 * @owner: the port's domain, name and UUID only
 * @nic: its MAC, and PCI address where it has one
 */
struct network_port {
	char *network;
	char *plug;
	struct domain owner;
	struct domain_nic nic;
};

/**
 * domain_xml_parse() - read a <domain>
 * @ret: the caller frees it with domain_free()
 *
 * Return: 0; -E2BIG for more than DOMAIN_XML_MAX bytes; -EBADMSG for anything that is not well-formed or
 * breaks a bound or rule of ours, -ENOMEM. @err says which and the line.
 */
int domain_xml_parse(const char *xml, size_t size, struct domain **ret, struct vnic_err *err);
struct domain *domain_free(struct domain *d);
DEFINE_CLEANUP(struct domain *, domain_free)

/* The same without <metadata>, which is skipped: what the domain has does not depend on what we make of it. */
int domain_xml_parse_devices(const char *xml, size_t size, struct domain **ret,
			     struct vnic_err *err);

/* The same for a network hook's <hookData>. */
int network_port_parse(const char *xml, size_t size, struct network_port **ret,
		       struct vnic_err *err);
struct network_port *network_port_free(struct network_port *p);
DEFINE_CLEANUP(struct network_port *, network_port_free)

/* A function's address as libvirt and the kernel write it, "0000:06:10.1", and no other spelling of it. */
struct pci_address {
	unsigned domain, bus, slot, function;
};

int pci_address_parse(const char *s, struct pci_address *ret);
#define PCI_ADDRESS_STR 20
const char *pci_address_format(const struct pci_address *a, char buf[PCI_ADDRESS_STR]);

/* Is it vnicd's: a vhost-user socket below /run/vnicd/sock/, or a vDPA device below /run/vnicd/vdpa/? */
bool domain_nic_is_ours(const struct domain_nic *nic);

/*
 * The socket aims at vnicd's folder, but by another spelling (/var/run/…, //run/…, /run/vnicd/x):
 * a slip, for vnicd would not make it and QEMU wait for it for ever.
 */
bool domain_nic_is_misspelt(const struct domain_nic *nic);

/* Is it vnicd's and of type='vdpa'? */
bool domain_nic_is_vdpa(const struct domain_nic *nic);

/* The interface with @mac that is vnicd's, and the one that is libvirt's to give a VF; NULL: there is none. */
const struct domain_nic *domain_nic_ours(const struct domain *d, const uint8_t mac[VNIC_MAC_LEN]);
const struct domain_nic *domain_nic_hostdev(const struct domain *d,
					    const uint8_t mac[VNIC_MAC_LEN]);

/* The <vnic:port> of that MAC, or NULL. */
const struct domain_override *domain_override_of(const struct domain *d,
						 const uint8_t mac[VNIC_MAC_LEN]);

/* Is it an alias that the XML's author chose, which libvirt keeps: ua-NAME? Others change with each start. */
bool domain_alias_is_users(const char *alias);

/* Has the domain anything to do with vnicd? */
bool domain_is_ours(const struct domain *d);

/* Can another process map all of the guest's memory? */
bool domain_has_shared_memory(const struct domain *d);

/**
 * socket_split() - /run/vnicd/sock/CLASS/NAME.sock → CLASS, NAME
 * Return: 0, or -EINVAL where it is of any other form or longer than a socket's path can be.
 */
int socket_split(const char *socket, char ret_class[VNIC_NAME_MAX], char ret_name[VNIC_NAME_MAX]);
/* The same of /run/vnicd/vdpa/CLASS/NAME. */
int vdpa_split(const char *dev, char ret_class[VNIC_NAME_MAX], char ret_name[VNIC_NAME_MAX]);
