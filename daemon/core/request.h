/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libvirt's hook says of a domain (api/hook.md), checked, and the port specs in it. */
#pragma once

#include <json-c/json.h>

#include "base/err.h"
#include "daemon/model/config.h"
#include "daemon/model/port.h"

#define REQUEST_INTERFACES_MAX 64

enum request_op {
	REQUEST_PREPARE,
	REQUEST_START,
	REQUEST_STARTED,
	REQUEST_STOPPED,
	REQUEST_RELEASE,
	REQUEST_MIGRATE,
	REQUEST_RESTORE,
	REQUEST_RECONNECT,
	REQUEST_DEVICE, /* port-created: a network gives a PCI device to a domain */
	REQUEST_NETWORK, /* port-deleted, network-…: nothing to do */
};

/**
 * struct domain_request - a hook's request
 * @device: of REQUEST_DEVICE: its PCI address; empty where it has none
 * @hostdevs: of each VF that libvirt manages and whose class <vnic:port> names: MAC, class and rate
 * @specs: one for each interface of ours, in the XML's order, overrides applied
 */
struct domain_request {
	enum request_op op;
	uint8_t uuid[VNIC_UUID_LEN];
	char name[DOMAIN_NAME_MAX];
	char device[DEV_ADDR_MAX];
	struct port_spec *specs;
	size_t n_specs;
	struct port_spec *hostdevs;
	size_t n_hostdevs;
};

/**
 * request_parse() - check a hook's message and take what is ours out of it
 * @ret: on success the caller calls request_clear()
 *
 * Of `prepare`, `start`, `migrate`, `restore` and `reconnect` the interfaces are checked as a whole; the
 * other operations need the domain's UUID only. Errors: InvalidMessage, InvalidXml, InvalidMac,
 * DuplicateMac, each naming interface or field and what to write instead.
 */
int request_parse(struct json_object *message, struct domain_request *ret, struct vnic_err *err);
void request_clear(struct domain_request *req);

const char *request_op_str(enum request_op op);

/**
 * request_overrides() - the texts of <vnic:port>'s attributes into @spec; NULL for one that is not there
 */
int request_overrides(struct port_spec *spec, const char *vlan, const char *rate,
		      const char *weight, const char *paths, struct vnic_err *err);
