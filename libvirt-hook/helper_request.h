/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A request of vnicd to vnicd-libvirt, as in api/libvirt-helper.md. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "libvirt-hook/domain_xml.h"

enum helper_op {
	HELPER_PING,
	HELPER_ATTACH,
	HELPER_DETACH,
	HELPER_DOMAIN_XML,
	HELPER_DOMAINS,
	HELPER_CHECK,
	HELPER_ATTACH_HOSTDEV,
	HELPER_DETACH_HOSTDEV,
	HELPER_DEVICES,
};

#define HELPER_CLASSES_MAX 1024

/**
 * struct helper_request - checked; a field that its operation does not have is zero
 * @domain: name or UUID; empty for operations that are of none
 * @file: the socket to attach, or where @vdpa the device's link
 * @address: a VF's PCI address; @standby: alias of the interface that stands by for it
 * @classes: @n_classes names; owned by @message
 * @message: the JSON it came as; keeps the strings
 */
struct helper_request {
	uint64_t id;
	enum helper_op op;
	uint32_t timeout_ms;
	char domain[DOMAIN_NAME_LEN_MAX + 1];
	uint8_t mac[VNIC_MAC_LEN];
	char file[DOMAIN_SOCKET_MAX + 1];
	bool vdpa;
	uint32_t queues;
	bool live, config, inactive;
	char address[PCI_ADDRESS_STR], standby[VNIC_NAME_MAX];
	char after[VNIC_UUID_STR];
	const char **classes;
	size_t n_classes;
	struct json_object *message;
};

/**
 * helper_request_parse()
 * @ret: on success helper_request_deinit() it
 * @ret_id: the request's id where it can be read even from a bad message, else 0; always set
 */
int helper_request_parse(const char *data, size_t size, struct helper_request *ret,
			 uint64_t *ret_id, struct vnic_err *err);
void helper_request_deinit(struct helper_request *r);

/* {"event":"devices"}: what the last answer to HELPER_DEVICES said does not hold any more. */
struct json_object *helper_event(void);

/* {"id":N,"ok":true} to be added to; {"id":N,"error":…}. The caller puts them. */
struct json_object *helper_answer(uint64_t id);
struct json_object *helper_answer_error(uint64_t id, const struct vnic_err *err);
