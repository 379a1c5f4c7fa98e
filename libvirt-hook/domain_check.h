/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What in a domain's XML would not work with vnicd, and what to write instead. */
#pragma once

#include "libvirt-hook/domain_xml.h"

#define DOMAIN_QUEUES_MAX 8

enum finding_severity {
	FINDING_ERROR, /* it will not work */
	FINDING_WARNING, /* it works with a drawback */
	FINDING_INFO,
};

const char *finding_severity_str(enum finding_severity severity);

/**
 * struct finding - one thing to say about a domain
 * @code: CamelCase name, listed in api/libvirt-helper.md; static
 * @has_mac: it concerns the interface (or override) with @mac
 * @message: one sentence: what is wrong
 * @fix: XML to write instead; NULL where none can be said
 */
struct finding {
	enum finding_severity severity;
	const char *code;
	bool has_mac;
	uint8_t mac[VNIC_MAC_LEN];
	char *message;
	char *fix;
};

struct findings {
	struct finding *list;
	size_t n;
};

/**
 * domain_check() - look at a domain
 * @classes: names of the configured classes; NULL where they are not known, then no class is unknown
 * @ret: emptied first; the caller calls findings_deinit(), whatever is returned
 *
 * What is an error here keeps a guest from starting: the hook refuses it by the same rules. What depends
 * on this host (VLANs of a class, MACs of other guests) vnicd judges, for both in one way.
 * Pure: the same domain and classes give the same findings, in the order of the XML.
 * Return: 0 or -ENOMEM.
 */
int domain_check(const struct domain *d, const char *const *classes, size_t n_classes,
		 struct findings *ret);
void findings_deinit(struct findings *f);
