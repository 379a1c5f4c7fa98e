/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/table.h"

#include <string.h>

void table_clear(struct table *t)
{
	memset(t->key, 0, sizeof(t->key));
}

bool table_add(struct table *t, uint64_t mac, uint16_t vlan, uint16_t port)
{
	uint64_t key = table_key(mac, vlan);
	unsigned int i = table_slot(key);

	while (t->key[i]) {
		if (t->key[i] == key)
			return false;
		i = (i + 1) % TABLE_SIZE;
	}
	t->key[i] = key;
	t->port[i] = port;
	return true;
}
