/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

int str_copy(char *dst, size_t size, const char *src)
{
	size_t n = strlen(src);

	if (n >= size)
		return -ENAMETOOLONG;
	memcpy(dst, src, n + 1);
	return 0;
}

/* Length of the UTF-8 character at @s (RFC 3629), or 0 where there is none. */
static size_t utf8_char(const unsigned char *s)
{
	size_t n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : *s >= 0xe0 && *s < 0xf0 ? 3 : 4;

	if (*s >= 0xf5 || (*s >= 0x80 && *s < 0xc2))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] >= 0xa0) ||
	    (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] >= 0x90))
		return 0;
	return n;
}

void str_make_utf8(char *s)
{
	while (*s) {
		size_t n = utf8_char((unsigned char *)s);

		if (n == 0)
			*s = '?';
		s += n ? n : 1;
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* One octet of two hex digits at @s; never reads past a NUL. */
static int hex_octet(const char *s)
{
	int hi = hex_digit(s[0]), lo = hi < 0 ? -1 : hex_digit(s[1]);

	return lo < 0 ? -EINVAL : hi << 4 | lo;
}

int mac_parse(const char *s, uint8_t ret_mac[VNIC_MAC_LEN])
{
	uint8_t mac[VNIC_MAC_LEN];

	for (int i = 0; i < VNIC_MAC_LEN; i++) {
		int v = hex_octet(s);

		if (v < 0)
			return -EINVAL;
		mac[i] = (uint8_t)v;
		s += 2;
		if (i < VNIC_MAC_LEN - 1 && *s++ != ':')
			return -EINVAL;
	}
	if (*s)
		return -EINVAL;
	memcpy(ret_mac, mac, sizeof(mac));
	return 0;
}

const char *mac_format(const uint8_t m[VNIC_MAC_LEN], char buf[VNIC_MAC_STR])
{
	snprintf(buf, VNIC_MAC_STR, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	return buf;
}

bool mac_is_zero(const uint8_t mac[VNIC_MAC_LEN])
{
	static const uint8_t zero[VNIC_MAC_LEN];

	return memcmp(mac, zero, sizeof(zero)) == 0;
}

bool mac_valid_guest(const uint8_t mac[VNIC_MAC_LEN])
{
	return !(mac[0] & 1) && !mac_is_zero(mac);
}

int uuid_parse(const char *s, uint8_t ret_uuid[VNIC_UUID_LEN])
{
	uint8_t u[VNIC_UUID_LEN];

	for (int i = 0; i < VNIC_UUID_LEN; i++) {
		int v;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *s++ != '-')
			return -EINVAL;
		v = hex_octet(s);
		if (v < 0)
			return -EINVAL;
		u[i] = (uint8_t)v;
		s += 2;
	}
	if (*s)
		return -EINVAL;
	memcpy(ret_uuid, u, sizeof(u));
	return 0;
}

const char *uuid_format(const uint8_t u[VNIC_UUID_LEN], char buf[VNIC_UUID_STR])
{
	snprintf(buf, VNIC_UUID_STR,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	return buf;
}

int u64_parse(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return -EINVAL;
	for (const char *p = s; *p; p++)
		if (*p < '0' || *p > '9')
			return -EINVAL;
	for (; *s; s++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int bool_parse(const char *s, bool *ret)
{
	static const char *const words[][2] = {
		{ "no", "yes" }, { "false", "true" }, { "off", "on" }, { "0", "1" }
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (int v = 0; v < 2; v++)
			if (!strcasecmp(s, words[i][v])) {
				*ret = v;
				return 0;
			}
	return -EINVAL;
}

int rate_parse(const char *s, uint64_t *ret_bits)
{
	static const struct {
		const char *unit;
		uint64_t factor;
	} units[] = { { "bit", 1 }, { "kbit", 1000 }, { "mbit", 1000000 }, { "gbit", 1000000000 } };
	char digits[24];
	size_t n = strspn(s, "0123456789");
	uint64_t v;
	int r;

	if (n == 0 || n >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, s, n);
	digits[n] = '\0';
	r = u64_parse(digits, 1, UINT64_MAX, &v);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(s + n, units[i].unit)) {
			if (__builtin_mul_overflow(v, units[i].factor, &v))
				return -ERANGE;
			*ret_bits = v;
			return 0;
		}
	return -EINVAL;
}

bool name_valid(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n >= VNIC_NAME_MAX || *s == '.' || *s == '-')
		return false;
	return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

bool ifname_valid(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n >= IFNAMSIZ || str_eq(s, ".") || str_eq(s, ".."))
		return false;
	for (; *s; s++)
		if (*s == '/' || *s == ':' || isspace((unsigned char)*s) ||
		    (unsigned char)*s < 0x20)
			return false;
	return true;
}
