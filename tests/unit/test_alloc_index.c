/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What alloc looks up among ports says the same as looking at each of them. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/alloc_index.h"

#define PORTS 40
#define VFS   6

static struct vnic_port port[PORTS];
static bool there[PORTS];
static unsigned int seed = 1;

static unsigned int any(unsigned int n)
{
	return (unsigned int)rand_r(&seed) / 7 % n;
}

/* Few of each, so that many ports have the same. */
static void choose(struct vnic_port *p)
{
	snprintf(p->spec.class_name, VNIC_NAME_MAX, "class%u", any(3));
	snprintf(p->spec.name, VNIC_NAME_MAX, "n%u", any(8));
	snprintf(p->segment, VNIC_NAME_MAX, "segment%u", any(2));
	p->vlan = (uint16_t)any(2);
	p->device.state = any(2) ? DEVICE_NONE : DEVICE_ATTACHED;
	snprintf(p->device.pf, DEV_ADDR_MAX, "0000:0%u:00.0", any(2));
	p->device.vf = (int)any(VFS);
}

static bool counts(int i, const struct port_key *but)
{
	return there[i] && !port_key_eq(&port[i].spec.key, but);
}

static void compare_macs(const struct alloc_index *ix, const struct vnic_port *ask)
{
	const struct vnic_port *found =
		alloc_index_mac(ix, ask->segment, ask->vlan, ask->spec.key.mac, &ask->spec.key);
	bool any_there = false;

	for (int i = 0; i < PORTS; i++)
		any_there |= counts(i, &ask->spec.key) && port[i].vlan == ask->vlan &&
			     str_eq(port[i].segment, ask->segment) &&
			     !memcmp(port[i].spec.key.mac, ask->spec.key.mac, VNIC_MAC_LEN);
	assert_int_equal(found != NULL, any_there);
	if (!found)
		return;
	assert_true(counts((int)(found - port), &ask->spec.key));
	assert_string_equal(found->segment, ask->segment);
	assert_int_equal(found->vlan, ask->vlan);
	assert_memory_equal(found->spec.key.mac, ask->spec.key.mac, VNIC_MAC_LEN);
}

static void compare_sockets(const struct alloc_index *ix, const struct vnic_port *ask)
{
	const struct vnic_port *found =
		alloc_index_socket(ix, ask->spec.class_name, ask->spec.name, &ask->spec.key);
	bool any_there = false;

	for (int i = 0; i < PORTS; i++)
		any_there |= counts(i, &ask->spec.key) &&
			     str_eq(port[i].spec.class_name, ask->spec.class_name) &&
			     str_eq(port[i].spec.name, ask->spec.name);
	assert_int_equal(found != NULL, any_there);
	if (!found)
		return;
	assert_true(counts((int)(found - port), &ask->spec.key));
	assert_string_equal(found->spec.class_name, ask->spec.class_name);
	assert_string_equal(found->spec.name, ask->spec.name);
}

static bool claims(int i, const char *pf, int vf)
{
	return there[i] && port[i].device.state != DEVICE_NONE && port[i].device.vf == vf &&
	       str_eq(port[i].device.pf, pf);
}

/* Who claims a VF that another has, has none. */
static const struct vnic_port *holder(const struct alloc_index *ix, int i)
{
	return alloc_index_holder(alloc_index_pf(ix, port[i].device.pf), port[i].device.vf);
}

static void compare_classes(const struct alloc_index *ix, const struct vnic_port *ask)
{
	uint32_t ports, vfs, n_ports = 0, n_vfs = 0;

	alloc_index_class(ix, ask->spec.class_name, &ask->spec.key, &ports, &vfs);
	for (int i = 0; i < PORTS; i++) {
		if (!counts(i, &ask->spec.key) ||
		    !str_eq(port[i].spec.class_name, ask->spec.class_name))
			continue;
		n_ports++;
		n_vfs += port[i].device.state != DEVICE_NONE && holder(ix, i) == &port[i];
	}
	assert_int_equal(ports, n_ports);
	assert_int_equal(vfs, n_vfs);
}

static void compare_holders(const struct alloc_index *ix)
{
	for (unsigned int pf = 0; pf < 3; pf++)
		for (int vf = 0; vf <= VFS; vf++) {
			const struct vnic_port *found;
			bool claimed = false;
			char addr[DEV_ADDR_MAX];

			snprintf(addr, sizeof(addr), "0000:0%u:00.0", pf);
			for (int i = 0; i < PORTS; i++)
				claimed |= claims(i, addr, vf);
			found = alloc_index_holder(alloc_index_pf(ix, addr), vf);
			assert_int_equal(found != NULL, claimed);
			if (found)
				assert_true(claims((int)(found - port), addr, vf));
		}
}

static void as_looking_at_each(void **state)
{
	struct alloc_index *ix;

	(void)state;
	assert_int_equal(alloc_index_new(&ix), 0);
	for (int i = 0; i < PORTS; i++) {
		port[i].spec.key.uuid[0] = (uint8_t)i;
		port[i].spec.key.mac[5] = (uint8_t)(i % 5);
	}
	for (int round = 0; round < 4000; round++) {
		int i = (int)any(PORTS);

		if (any(3)) {
			choose(&port[i]);
			assert_int_equal(alloc_index_update(ix, &port[i]), 0);
			there[i] = true;
		} else {
			alloc_index_remove(ix, &port[i].spec.key);
			there[i] = false;
		}
		for (i = 0; i < PORTS; i++) {
			compare_macs(ix, &port[i]);
			compare_sockets(ix, &port[i]);
			compare_classes(ix, &port[i]);
		}
		compare_holders(ix);
	}
	/* With ports in it: what it holds is its own. */
	assert_null(alloc_index_free(ix));
}

static void devices_out_of_bounds(void **state)
{
	struct vnic_port p = { .device = { .state = DEVICE_RESERVED, .pf = "0000:01:00.0" } };
	struct alloc_index *ix;

	(void)state;
	assert_int_equal(alloc_index_new(&ix), 0);
	p.device.vf = -1;
	assert_int_equal(alloc_index_update(ix, &p), 0);
	assert_null(alloc_index_pf(ix, p.device.pf));
	p.device.vf = PF_VFS_MAX;
	assert_int_equal(alloc_index_update(ix, &p), 0);
	assert_null(alloc_index_pf(ix, p.device.pf));
	p.device.vf = PF_VFS_MAX - 1;
	assert_int_equal(alloc_index_update(ix, &p), 0);
	assert_ptr_equal(alloc_index_holder(alloc_index_pf(ix, p.device.pf), PF_VFS_MAX - 1), &p);
	assert_null(alloc_index_holder(alloc_index_pf(ix, p.device.pf), PF_VFS_MAX));
	assert_null(alloc_index_free(ix));
	assert_null(alloc_index_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_looking_at_each),
		cmocka_unit_test(devices_out_of_bounds),
	};

	return cmocka_run_group_tests_name("alloc_index", tests, NULL, NULL);
}
