/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/json.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void json_tokener_freep(struct json_tokener **t)
{
	if (*t)
		json_tokener_free(*t);
}

int json_parse(const char *data, size_t size, struct json_object **ret, struct vnic_err *err)
{
	_cleanup_(json_tokener_freep) struct json_tokener *tok = NULL;
	_cleanup_(json_putp) struct json_object *o = NULL;
	enum json_tokener_error e;

	if (size > INT_MAX)
		return vnic_err_set(err, -EFBIG, "InvalidMessage", "the message is too large");
	tok = json_tokener_new_ex(VNIC_JSON_DEPTH_MAX);
	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, data, (int)size);
	e = json_tokener_get_error(tok);
	if (e != json_tokener_success)
		return vnic_err_set(err, -EBADMSG, "InvalidMessage",
				    "not valid JSON at byte %zu: %s",
				    json_tokener_get_parse_end(tok),
				    e == json_tokener_continue ? "it ends too early"
							       : json_tokener_error_desc(e));
	for (size_t i = json_tokener_get_parse_end(tok); i < size; i++)
		if (data[i] == '\0' || !strchr(" \t\r\n", data[i]))
			return vnic_err_set(err, -EBADMSG, "InvalidMessage",
					    "text behind the JSON object at byte %zu", i);
	if (!json_object_is_type(o, json_type_object))
		return vnic_err_set(err, -EBADMSG, "InvalidMessage", "not a JSON object");
	*ret = take_ptr(o);
	return 0;
}

static int get(struct json_object *o, const char *key, enum json_type type,
	       struct json_object **ret, struct vnic_err *err)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !v)
		return vnic_err_set(err, -ENOENT, "InvalidMessage", "missing field \"%s\"", key);
	if (!json_object_is_type(v, type))
		return vnic_err_set(err, -EINVAL, "InvalidMessage",
				    "field \"%s\" is of type %s, not %s", key,
				    json_type_to_name(json_object_get_type(v)),
				    json_type_to_name(type));
	*ret = v;
	return 0;
}

int json_get_str(struct json_object *o, const char *key, const char **ret, struct vnic_err *err)
{
	struct json_object *v;
	int r = get(o, key, json_type_string, &v, err);

	if (r < 0)
		return r;
	if (strlen(json_object_get_string(v)) != (size_t)json_object_get_string_len(v))
		return vnic_err_set(err, -EINVAL, "InvalidMessage", "field \"%s\" holds a NUL",
				    key);
	*ret = json_object_get_string(v);
	return 0;
}

int json_get_u64(struct json_object *o, const char *key, uint64_t min, uint64_t max, uint64_t *ret,
		 struct vnic_err *err)
{
	struct json_object *v;
	uint64_t u;
	int r = get(o, key, json_type_int, &v, err);

	if (r < 0)
		return r;
	/* json-c clamps a negative number to 0 as uint64 and a huge one to INT64_MAX as int64. */
	u = json_object_get_uint64(v);
	if (json_object_get_int64(v) < 0 || u < min || u > max)
		return vnic_err_set(err, -ERANGE, "InvalidMessage",
				    "field \"%s\" is %s, not between %llu and %llu", key,
				    json_object_to_json_string(v), (unsigned long long)min,
				    (unsigned long long)max);
	*ret = u;
	return 0;
}

int json_get_bool(struct json_object *o, const char *key, bool *ret, struct vnic_err *err)
{
	struct json_object *v;
	int r = get(o, key, json_type_boolean, &v, err);

	if (r < 0)
		return r;
	*ret = json_object_get_boolean(v);
	return 0;
}

int json_get_obj(struct json_object *o, const char *key, struct json_object **ret,
		 struct vnic_err *err)
{
	return get(o, key, json_type_object, ret, err);
}

int json_get_array(struct json_object *o, const char *key, size_t max, struct json_object **ret,
		   struct vnic_err *err)
{
	struct json_object *v;
	int r = get(o, key, json_type_array, &v, err);

	if (r < 0)
		return r;
	if (json_object_array_length(v) > max)
		return vnic_err_set(err, -ERANGE, "InvalidMessage",
				    "field \"%s\" has %zu elements, at most %zu are taken", key,
				    json_object_array_length(v), max);
	*ret = v;
	return 0;
}

bool json_has(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && v;
}

static void add(struct json_object *o, const char *key, struct json_object *v)
{
	if (!v || json_object_object_add(o, key, v) < 0)
		abort();
}

void json_add_str(struct json_object *o, const char *key, const char *value)
{
	if (!value && json_object_object_add(o, key, NULL) == 0)
		return;
	add(o, key, json_object_new_string(value ? value : ""));
}

void json_add_u64(struct json_object *o, const char *key, uint64_t value)
{
	add(o, key, json_object_new_uint64(value));
}

void json_add_bool(struct json_object *o, const char *key, bool value)
{
	add(o, key, json_object_new_boolean(value));
}
