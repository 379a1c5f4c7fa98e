/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KEY VALUE words of the command line → a{sv} of a port. */
#include "cli/cli.h"

#include <string.h>

#include "base/str.h"

enum word_type { WORD_TEXT, WORD_UUID, WORD_MAC, WORD_U32, WORD_U16, WORD_RATE, WORD_LIST };

static const struct word {
	const char *key;
	enum word_type type;
	uint64_t min, max;
} words[] = {
	{ "uuid", WORD_UUID, 0, 0 },   { "mac", WORD_MAC, 0, 0 },
	{ "class", WORD_TEXT, 0, 0 },  { "name", WORD_TEXT, 0, 0 },
	{ "domain", WORD_TEXT, 0, 0 }, { "pidfile", WORD_TEXT, 0, 0 },
	{ "queues", WORD_U32, 1, 8 },  { "vlan", WORD_U16, 0, VNIC_VLAN_MAX },
	{ "rate", WORD_RATE, 0, 0 },   { "weight", WORD_U32, 1, 1000 },
	{ "paths", WORD_LIST, 0, 0 },  { "standby", WORD_TEXT, 0, 0 },
	{ "type", WORD_TEXT, 0, 0 },
};

static int append_list(sd_bus_message *m, const char *text)
{
	char buf[256], *at = buf, *item;
	int r = str_copy(buf, sizeof(buf), text);

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "as");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "s");
	while (r >= 0 && (item = strsep(&at, ",")))
		r = sd_bus_message_append(m, "s", item);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_value(sd_bus_message *m, const struct word *w, const char *text,
			struct vnic_err *err)
{
	uint8_t mac[VNIC_MAC_LEN], uuid[VNIC_UUID_LEN];
	uint64_t v;

	switch (w->type) {
	case WORD_UUID:
		if (uuid_parse(text, uuid) < 0)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
					    "uuid %s: not a UUID like "
					    "12345678-9abc-def0-1234-56789abcdef0",
					    text);
		return sd_bus_message_append(m, "v", "s", text);
	case WORD_MAC:
		if (mac_parse(text, mac) < 0)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MAC,
					    "mac %s: not a MAC address like 52:54:00:12:34:56",
					    text);
		return sd_bus_message_append(m, "v", "s", text);
	case WORD_U32:
	case WORD_U16:
		if (u64_parse(text, w->min, w->max, &v) < 0)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
					    "%s %s: not a number from %llu to %llu", w->key, text,
					    (unsigned long long)w->min, (unsigned long long)w->max);
		if (w->type == WORD_U16)
			return sd_bus_message_append(m, "v", "q", (int)v);
		return sd_bus_message_append(m, "v", "u", (uint32_t)v);
	case WORD_RATE:
		if (rate_parse(text, &v) < 0)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
					    "rate %s: not a number with bit, kbit, mbit or gbit, "
					    "like 2gbit",
					    text);
		return sd_bus_message_append(m, "v", "t", v);
	case WORD_LIST:
		return append_list(m, text);
	default:
		return sd_bus_message_append(m, "v", "s", text);
	}
}

static const struct word *word_find(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i].key, key))
			return &words[i];
	return NULL;
}

int words_require(int argc, char **argv, const char *keys, struct vnic_err *err)
{
	for (const char *key = keys; *key; key += strcspn(key, " "), key += *key == ' ') {
		int n = (int)strcspn(key, " "), i = 0;

		while (i < argc && (strncmp(argv[i], key, (size_t)n) != 0 || argv[i][n]))
			i += 2;
		if (i >= argc)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
					    "%.*s is missing: write '%.*s VALUE'", n, key, n, key);
	}
	return 0;
}

int words_append_spec(sd_bus_message *m, int argc, char **argv, struct vnic_err *err)
{
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	for (int i = 0; r >= 0 && i < argc; i += 2) {
		const struct word *w = word_find(argv[i]);

		if (!w)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
					    "\"%s\" is no property of a port; those are uuid, mac, "
					    "class, name, domain, pidfile, queues, vlan, rate, "
					    "weight, paths, standby and type",
					    argv[i]);
		if (i + 1 == argc)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
					    "\"%s\" needs a value behind it", w->key);
		for (int k = 0; k < i; k += 2)
			if (!strcmp(argv[k], argv[i]))
				return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
						    "%s is given twice", w->key);
		r = sd_bus_message_open_container(m, 'e', "sv");
		if (r >= 0)
			r = sd_bus_message_append(m, "s", w->key);
		if (r >= 0)
			r = append_value(m, w, argv[i + 1], err);
		if (r >= 0)
			r = sd_bus_message_close_container(m);
	}
	if (r < 0)
		return err->code[0]
			       ? r
			       : vnic_err_set(err, r, VNIC_E_INVALID_ARGUMENT,
					      "the arguments cannot be sent: %s", strerror(-r));
	return sd_bus_message_close_container(m);
}
