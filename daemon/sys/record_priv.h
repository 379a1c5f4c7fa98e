/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Within the records' code: plans as JSON. */
#pragma once

#include "base/json.h"
#include "daemon/model/step.h"

/* Longest decimal number that JSON and we agree on. */
#define RECORD_U32_MAX UINT32_MAX

/* An array of steps; aborts where memory is out, as the adders of base/json.h do. */
struct json_object *record_plan_to_json(const struct plan *plan);
/* @ret is untouched on failure; @err names step and field. */
int record_plan_from_json(struct json_object *array, struct plan *ret, struct vnic_err *err);

/* A string field into @dst: too long or not @valid (NULL: anything) is -EINVAL; "" is valid where @empty. */
int record_get_name(struct json_object *o, const char *key, bool (*valid)(const char *), bool empty,
		    char *dst, size_t size, struct vnic_err *err);
int record_get_u32(struct json_object *o, const char *key, uint32_t max, uint32_t *ret,
		   struct vnic_err *err);
/* Add @text with each byte that is no part of valid UTF-8 replaced by '?'. */
void record_add_text(struct json_object *o, const char *key, const char *text);

/* A name in sysfs: of a device or a driver. */
bool record_sysfs_name(const char *s);
