/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between domain_xml.c, which walks the XML, and domain_elements.c, which knows what is in it. */
#pragma once

#include <expat.h>

#include "libvirt-hook/domain_xml.h"

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
	P_HOSTDEV,
	P_HOSTDEV_SOURCE,
	P_HOSTDEV_LEAF,
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
	bool skip_metadata;
	struct domain *domain;
	struct domain_nic *nic; /* the one being read */
	struct domain_hostdev *hostdev; /* the same; NULL in one that is no PCI device */
	struct network_port *port; /* NULL when reading a domain */
	enum place stack[DOMAIN_XML_DEPTH_MAX];
	size_t depth;
	char text[DOMAIN_VALUE_MAX + 1];
	size_t text_len;
	int error;
	struct vnic_err *err;
};

/* The first failure is kept, with its line, and ends the reading. Return: @error of the first. */
int reader_fail(struct reader *r, int error, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int reader_fail_memory(struct reader *r);

/* Keep a copy of @value, which may be NULL, as @what. Return: 0, or reader_fail()'s. */
int reader_keep(struct reader *r, char **dst, const char *what, const char *value);

/**
 * struct element - what element means something in which place
 * @place: where we are within it
 * @start: takes its attributes, or NULL
 */
struct element {
	enum place in;
	const char *name;
	enum place place;
	int (*start)(struct reader *r, const char **attrs);
};

/* NULL: of no interest. */
const struct element *element_find(enum place in, const char *name);
