/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which port a destination is: an open-addressing hash of (MAC, VLAN). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "datapath/limits.h"

#define TABLE_SIZE (4 * DP_PORTS_MAX) /* a power of two, never more than a quarter full */
#define TABLE_NONE UINT16_MAX

struct table {
	uint64_t key[TABLE_SIZE];
	uint16_t port[TABLE_SIZE];
};

/* MACs as by mac_number(). */
static inline uint64_t table_key(uint64_t mac, uint16_t vlan)
{
	return UINT64_C(1) << 63 | (uint64_t)vlan << 48 | mac;
}

static inline unsigned int table_slot(uint64_t key)
{
	return (unsigned int)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % TABLE_SIZE;
}

void table_clear(struct table *t);

/* Return: false where the key is there already; the first keeps it. */
bool table_add(struct table *t, uint64_t mac, uint16_t vlan, uint16_t port);

/* Return: the port's index, or TABLE_NONE. */
static inline uint16_t table_find(const struct table *t, uint64_t mac, uint16_t vlan)
{
	uint64_t key = table_key(mac, vlan);
	unsigned int i = table_slot(key);

	while (t->key[i]) {
		if (t->key[i] == key)
			return t->port[i];
		i = (i + 1) % TABLE_SIZE;
	}
	return TABLE_NONE;
}
