/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsers of the field's small notations. All are total: any input is either parsed whole or -EINVAL. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define VNIC_MAC_LEN  6
#define VNIC_MAC_STR  18 /* "52:54:00:12:34:56" and its NUL */
#define VNIC_UUID_LEN 16
#define VNIC_UUID_STR 37
#define VNIC_NAME_MAX 64 /* classes, segments, ports' socket names; with NUL */
#define VNIC_VLAN_MAX 4094

bool str_eq(const char *a, const char *b);

/* Copy with truncation reported: 0, or -ENAMETOOLONG with @dst untouched. */
int str_copy(char *dst, size_t size, const char *src);

/* Replace what is no UTF-8 by '?', byte by byte: a name of the kernel's, a sentence cut within a character. */
void str_make_utf8(char *s);

/**
 * mac_parse() - six pairs of hex digits with colons, nothing around them
 * Accepts any address; see mac_valid_guest() for the policy.
 */
int mac_parse(const char *s, uint8_t ret_mac[VNIC_MAC_LEN]);
const char *mac_format(const uint8_t mac[VNIC_MAC_LEN], char buf[VNIC_MAC_STR]);
/* A VM NIC's address: unicast and not zero (IEEE 802-2014 8.2: bit 0 of octet 0 is the group bit). */
bool mac_valid_guest(const uint8_t mac[VNIC_MAC_LEN]);
bool mac_is_zero(const uint8_t mac[VNIC_MAC_LEN]);

int uuid_parse(const char *s, uint8_t ret_uuid[VNIC_UUID_LEN]);
const char *uuid_format(const uint8_t uuid[VNIC_UUID_LEN], char buf[VNIC_UUID_STR]);

/* Decimal, no sign, no blanks, min ≤ value ≤ max; else -EINVAL, or -ERANGE where it is a number. */
int u64_parse(const char *s, uint64_t min, uint64_t max, uint64_t *ret);

/* yes/no, true/false, on/off, 1/0 */
int bool_parse(const char *s, bool *ret);

/* tc's notation of rates: digits, then bit, kbit, mbit, gbit (powers of 1000); result in bits/s. */
int rate_parse(const char *s, uint64_t *ret_bits);

/* 1 to VNIC_NAME_MAX - 1 characters of [A-Za-z0-9._-], not starting with '.' or '-'. */
bool name_valid(const char *s);

/* A network interface's name as the kernel takes it (dev_valid_name(), net/core/dev.c). */
bool ifname_valid(const char *s);
