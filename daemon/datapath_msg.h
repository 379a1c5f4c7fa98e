/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the keeper says (api/datapath-control.md), field by field: hostile until it is in the struct. */
#pragma once

#include <json-c/json.h>

#include "base/err.h"
#include "daemon/core/manager.h"

struct dp_worker_event {
	char segment[VNIC_NAME_MAX];
	pid_t pid;
	uint32_t restarts;
	uint64_t gap_us;
	char reason[PORT_REASON_MAX];
};

/**
 * dp_parse_port() - the fields of event "port" and of port-get's answer
 * Return: 0, or a negative errno with @err naming the field.
 */
int dp_parse_port(struct json_object *o, struct dp_port_status *ret, struct vnic_err *err);
/* The same of event "worker". */
int dp_parse_worker(struct json_object *o, struct dp_worker_event *ret, struct vnic_err *err);

/**
 * dp_parse_error() - the error of an answer
 * @ret: code and message; @ret_error: its errno, as of dp_done_fn
 * Return: 0, or a negative errno where it has no true form.
 */
int dp_parse_error(struct json_object *o, struct vnic_err *ret, int *ret_error,
		   struct vnic_err *err);
/* The generation that is there, of a stale port-del's error; 0: it does not say, or wrongly. */
uint64_t dp_parse_generation(struct json_object *o);
