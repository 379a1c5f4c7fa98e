/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vnicd's requests do, apart from how they arrive: see api/datapath-control.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "datapath/keeper/keeper.h"

/**
 * request_handle() - one request
 * @fds: those that are kept are replaced by -1
 * @ret_answer: on success an object to put further fields into the answer, or NULL; the caller puts it
 *
 * Return: 0: done; 1: to be answered later by control_answer(@id); a negative errno with @err. -EBADMSG: not
 * of the protocol's form, the connection is to be closed.
 */
int request_handle(struct keeper *k, uint64_t id, struct json_object *o, int *fds, size_t n_fds,
		   struct json_object **ret_answer, struct vnic_err *err);
