/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading JSON from strangers with json-c: every field is fetched with its type and bounds, and a
 * failure names the field. Objects stay json-c's; this is the checking around it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#include "base/cleanup.h"
#include "base/err.h"

#define VNIC_JSON_DEPTH_MAX 12

static inline void json_putp(struct json_object **o)
{
	json_object_put(*o);
}

/**
 * json_parse() - one JSON object, whole
 * @size: bytes at @data, need not be NUL-terminated; NUL, trailing text or invalid UTF-8 are errors
 * @ret: an object (not an array or scalar); the caller puts it
 */
int json_parse(const char *data, size_t size, struct json_object **ret, struct vnic_err *err);

/*
 * Typed fields of @o. Absent and JSON null are the same: -ENOENT with "missing field" in @err.
 * Strings stay owned by @o. Wrong type is -EINVAL, out of bounds -ERANGE.
 */
int json_get_str(struct json_object *o, const char *key, const char **ret, struct vnic_err *err);
int json_get_u64(struct json_object *o, const char *key, uint64_t min, uint64_t max, uint64_t *ret,
		 struct vnic_err *err);
int json_get_bool(struct json_object *o, const char *key, bool *ret, struct vnic_err *err);
int json_get_obj(struct json_object *o, const char *key, struct json_object **ret,
		 struct vnic_err *err);
int json_get_array(struct json_object *o, const char *key, size_t max, struct json_object **ret,
		   struct vnic_err *err);

/* Is the field there at all (and not null)? */
bool json_has(struct json_object *o, const char *key);

/* Adders; they abort the program when memory is out, as json-c's own users do. */
void json_add_str(struct json_object *o, const char *key, const char *value);
void json_add_u64(struct json_object *o, const char *key, uint64_t value);
void json_add_bool(struct json_object *o, const char *key, bool value);
