/* SPDX-License-Identifier: GPL-2.0-or-later */
/* D-Bus values as JSON. */
#include "cli/cli.h"

#include <ctype.h>
#include <string.h>

int value_snake_case(const char *camel, char *buf, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; camel[i]; i++) {
		if (n + 3 > size)
			return -ENAMETOOLONG;
		if (i > 0 && isupper((unsigned char)camel[i]))
			buf[n++] = '_';
		buf[n++] = (char)tolower((unsigned char)camel[i]);
	}
	buf[n] = '\0';
	return 0;
}

static int read_basic(sd_bus_message *m, char type, struct json_object **ret)
{
	union {
		uint8_t u8;
		int b;
		int16_t i16;
		uint16_t u16;
		int32_t i32;
		uint32_t u32;
		int64_t i64;
		uint64_t u64;
		double d;
		const char *s;
	} v;
	int r = sd_bus_message_read_basic(m, type, &v);

	if (r < 0)
		return r;
	switch (type) {
	case SD_BUS_TYPE_BYTE:
		*ret = json_object_new_int64(v.u8);
		break;
	case SD_BUS_TYPE_BOOLEAN:
		*ret = json_object_new_boolean(v.b);
		break;
	case SD_BUS_TYPE_INT16:
		*ret = json_object_new_int64(v.i16);
		break;
	case SD_BUS_TYPE_UINT16:
		*ret = json_object_new_int64(v.u16);
		break;
	case SD_BUS_TYPE_INT32:
		*ret = json_object_new_int64(v.i32);
		break;
	case SD_BUS_TYPE_UINT32:
		*ret = json_object_new_int64(v.u32);
		break;
	case SD_BUS_TYPE_INT64:
		*ret = json_object_new_int64(v.i64);
		break;
	case SD_BUS_TYPE_UINT64:
		*ret = json_object_new_uint64(v.u64);
		break;
	case SD_BUS_TYPE_DOUBLE:
		*ret = json_object_new_double(v.d);
		break;
	case SD_BUS_TYPE_STRING:
	case SD_BUS_TYPE_OBJECT_PATH:
	case SD_BUS_TYPE_SIGNATURE:
		*ret = json_object_new_string(v.s);
		break;
	default:
		return -EOPNOTSUPP;
	}
	return *ret ? 0 : -ENOMEM;
}

/* A dictionary with string keys becomes an object. */
static int read_dict(sd_bus_message *m, const char *contents, struct json_object **ret)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, contents);

	while (r >= 0) {
		struct json_object *v = NULL;
		const char *key;

		r = sd_bus_message_at_end(m, 0);
		if (r != 0)
			break;
		r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, NULL);
		if (r >= 0)
			r = sd_bus_message_read_basic(m, 's', &key);
		if (r >= 0)
			r = value_read(m, &v);
		if (r >= 0)
			r = json_object_object_add(o, key, v);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0)
		return r;
	*ret = take_ptr(o);
	return 0;
}

static int read_sequence(sd_bus_message *m, char type, const char *contents,
			 struct json_object **ret)
{
	_cleanup_(json_putp) struct json_object *a = json_object_new_array();
	int r = sd_bus_message_enter_container(m, type, contents);

	while (r >= 0) {
		struct json_object *v;

		r = sd_bus_message_at_end(m, 0);
		if (r != 0)
			break;
		r = value_read(m, &v);
		if (r >= 0)
			r = json_object_array_add(a, v);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0)
		return r;
	*ret = take_ptr(a);
	return 0;
}

int value_read(sd_bus_message *m, struct json_object **ret)
{
	const char *contents;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents);

	if (r < 0)
		return r;
	if (r == 0)
		return -ENODATA;
	switch (type) {
	case SD_BUS_TYPE_VARIANT:
		r = sd_bus_message_enter_container(m, type, contents);
		if (r >= 0)
			r = value_read(m, ret);
		return r < 0 ? r : sd_bus_message_exit_container(m);
	case SD_BUS_TYPE_ARRAY:
		if (contents[0] == '{' && contents[1] == 's')
			return read_dict(m, contents, ret);
		return read_sequence(m, type, contents, ret);
	case SD_BUS_TYPE_STRUCT:
		return read_sequence(m, type, contents, ret);
	default:
		return read_basic(m, type, ret);
	}
}

/* A port's history, [[time, text], …], with names in place of positions. */
static struct json_object *history(struct json_object *pairs)
{
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(pairs); i++) {
		struct json_object *pair = json_object_array_get_idx(pairs, i);
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "time_us",
				       json_object_get(json_object_array_get_idx(pair, 0)));
		json_object_object_add(o, "text",
				       json_object_get(json_object_array_get_idx(pair, 1)));
		json_object_array_add(a, o);
	}
	json_object_put(pairs);
	return a;
}

int value_read_properties(sd_bus_message *m, struct json_object *into)
{
	_cleanup_(json_putp) struct json_object *o = NULL;
	int r = value_read(m, &o);

	if (r < 0)
		return r;
	json_object_object_foreach(o, camel, v)
	{
		char key[64];

		r = value_snake_case(camel, key, sizeof(key));
		if (r < 0)
			return r;
		json_object_get(v);
		if (!strcmp(key, "history"))
			v = history(v);
		json_object_object_add(into, key, v);
	}
	return 0;
}
