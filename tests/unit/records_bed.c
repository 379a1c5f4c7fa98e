/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/records_bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "daemon/sys/record.h"

struct vnic_port *sample(void)
{
	struct port_spec spec = { .domain = "käfig", .class_name = "gold", .name = "web" };
	struct step tap = { .kind = STEP_TAP_CREATE, .state = STEP_DONE, .ifindex = 12 };
	struct step master = { .kind = STEP_LINK_MASTER, .state = STEP_BEGUN, .ifindex = 12 };
	struct vnic_port *port;

	assert_int_equal(port_key_parse(UUID "/" MAC, &spec.key), 0);
	strcpy(spec.pidfile, "/run/libvirt/qemu/a b.pid");
	spec.queues = 4;
	spec.has_vlan = spec.has_rate = spec.has_weight = spec.has_paths = true;
	spec.vlan = 12;
	spec.rate = UINT64_MAX;
	spec.weight = 7;
	assert_int_equal(path_list_parse("vdpa,software", &spec.paths, NULL), 0);
	port = port_new(&spec);
	assert_non_null(port);
	port->state = PORT_RUNNING;
	port->path = VNIC_PATH_SOFTWARE;
	port->generation = 1763717485;
	strcpy(port->segment, "lan");
	port->vlan = 12;
	port->rate = 2000000000;
	port->weight = 500;
	port->spoofchk = port->trust = port->started = true;
	port->vf = (struct vf_extra){ .min_rate = 100000000, .link = VF_LINK_DISABLE };
	port->queues = 2;
	port->restarts = 3;
	strcpy(port->reason, "a \"reason\"\n");
	for (int i = 0; i < PORT_HISTORY + 3; i++)
		port_note(port, 1000 + (uint64_t)i, "event %d", i);
	strcpy(tap.ifname, "vn0-lan");
	strcpy(tap.name, "lan");
	assert_int_equal(plan_add(&port->plan, &tap), 0);
	master.master = 4;
	master.has_prev = true;
	master.prev = 0;
	master.mtu = 9000;
	master.vlan = 12;
	strcpy(master.class_name, "gold");
	memcpy(master.mac, spec.key.mac, sizeof(master.mac));
	assert_int_equal(plan_add(&port->plan, &master), 0);
	return port;
}

char *sample_text(size_t *ret_size)
{
	struct vnic_port *port = sample();
	char *data;

	assert_int_equal(record_encode_port(port, BOOT, &data, ret_size), 0);
	port_free(port);
	return data;
}

/* CRC-32 with a table, unlike record.c's: two that agree are right. */
static uint32_t crc32(const char *data, size_t size)
{
	static uint32_t table[256];
	uint32_t crc = UINT32_MAX;

	for (uint32_t i = 0; i < 256 && !table[255]; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320 : table[i] >> 1;
	}
	for (size_t i = 0; i < size; i++)
		crc = table[(crc ^ (uint8_t)data[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

char *sealed(struct json_object *o)
{
	const char *text;
	char *data;

	json_object_object_del(o, "crc");
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	data = malloc(strlen(text) + 32);
	assert_non_null(data);
	sprintf(data, "%.*s,\"crc\":\"%08x\"}\n", (int)strlen(text) - 1, text,
		crc32(text, strlen(text) - 1));
	return data;
}

struct json_object *sample_object(void)
{
	size_t size;
	_cleanup_(freep) char *data = sample_text(&size);
	struct json_object *o;

	assert_int_equal(json_parse(data, size, &o, NULL), 0);
	return o;
}
