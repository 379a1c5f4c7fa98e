/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/tables/state-inputs.md: what the records' files may hold, and what becomes of those that are not true. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "daemon/sys/record.h"
#include "daemon/sys/records.h"
#include "tests/unit/table.h"

#define BOOT	   "00000000-1111-2222-3333-444444444444"
#define OTHER_BOOT "99999999-1111-2222-3333-444444444444"
#define UUID	   "11111111-2222-3333-4444-555555555555"
#define MAC	   "52:54:00:00:00:01"
#define PORT_FILE  UUID "-" MAC ".json"
#define OTHER_FILE UUID "-52:54:00:00:00:02.json"

/* Every field of it differs from what a zeroed one holds. */
static struct vnic_port *sample(void)
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

static char *sample_text(size_t *ret_size)
{
	struct vnic_port *port = sample();
	char *data;

	assert_int_equal(record_encode_port(port, BOOT, &data, ret_size), 0);
	port_free(port);
	return data;
}

static void same_step(const struct step *a, const struct step *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->ifindex, b->ifindex);
	assert_string_equal(a->ifname, b->ifname);
	assert_int_equal(a->master, b->master);
	assert_int_equal(a->mtu, b->mtu);
	assert_int_equal(a->vlan, b->vlan);
	assert_memory_equal(a->mac, b->mac, sizeof(a->mac));
	assert_string_equal(a->class_name, b->class_name);
	assert_string_equal(a->name, b->name);
	assert_int_equal(a->has_prev, b->has_prev);
	assert_int_equal(a->prev, b->prev);
}

static void same_spec(const struct port_spec *a, const struct port_spec *b)
{
	assert_true(port_key_eq(&a->key, &b->key));
	assert_string_equal(a->domain, b->domain);
	assert_string_equal(a->class_name, b->class_name);
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->pidfile, b->pidfile);
	assert_int_equal(a->queues, b->queues);
	assert_int_equal(a->has_vlan, b->has_vlan);
	assert_int_equal(a->has_rate, b->has_rate);
	assert_int_equal(a->has_weight, b->has_weight);
	assert_int_equal(a->has_paths, b->has_paths);
	assert_int_equal(a->vlan, b->vlan);
	assert_true(a->rate == b->rate);
	assert_int_equal(a->weight, b->weight);
	assert_memory_equal(&a->paths, &b->paths, sizeof(a->paths));
}

static void port_round_trip(void **state)
{
	struct vnic_port *a = sample(), *b = NULL;
	struct vnic_err e = VNIC_ERR_INIT;
	_cleanup_(freep) char *data = sample_text(&(size_t){ 0 });

	(void)state;
	if (record_decode_port(data, strlen(data), BOOT, &b, &e) != 0)
		fail_msg("%s", e.message);
	same_spec(&a->spec, &b->spec);
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->path, b->path);
	assert_true(a->generation == b->generation);
	assert_string_equal(a->segment, b->segment);
	assert_int_equal(a->vlan, b->vlan);
	assert_true(a->rate == b->rate);
	assert_int_equal(a->weight, b->weight);
	assert_true(b->spoofchk && b->trust && b->started);
	assert_int_equal(a->queues, b->queues);
	assert_int_equal(a->restarts, b->restarts);
	assert_string_equal(a->reason, b->reason);
	/* The ring's last events, in order. */
	assert_int_equal(b->history_n, PORT_HISTORY);
	assert_string_equal(b->history[0].text, "event 3");
	assert_string_equal(b->history[PORT_HISTORY - 1].text, "event 18");
	assert_true(b->history[0].realtime_us == 1003);
	assert_int_equal(b->plan.n, 2);
	for (size_t i = 0; i < 2; i++)
		same_step(&a->plan.step[i], &b->plan.step[i]);
	port_free(a);
	port_free(b);
}

static void shared_round_trip(void **state)
{
	struct vnic_port *port = sample();
	_cleanup_(freep) char *data = NULL;
	const struct record_owner lan = { .name = "lan" },
				  nic = { .kind = RECORD_NIC,
					  .drained = true,
					  .name = "0000:03:00.0" },
				  vf = { .kind = RECORD_VF, .name = "0000:03:10.0" };
	struct record_owner owner;
	struct plan plan = { 0 };
	size_t size;

	(void)state;
	assert_int_equal(record_encode_shared(&lan, &port->plan, BOOT, &data, &size), 0);
	assert_int_equal(record_decode_shared(data, size, OTHER_BOOT, &owner, &plan, NULL),
			 RECORD_OTHER_BOOT);
	assert_int_equal(record_decode_shared(data, size, BOOT, &owner, &plan, NULL), 0);
	assert_string_equal(owner.name, "lan");
	assert_int_equal(owner.kind, RECORD_SEGMENT);
	assert_false(owner.drained);
	assert_int_equal(plan.n, 2);
	same_step(&plan.step[1], &port->plan.step[1]);
	plan_clear(&plan);
	freep(&data);
	assert_int_equal(record_encode_shared(&nic, &port->plan, BOOT, &data, &size), 0);
	assert_int_equal(record_decode_shared(data, size, BOOT, &owner, &plan, NULL), 0);
	assert_int_equal(owner.kind, RECORD_NIC);
	assert_true(owner.drained);
	assert_string_equal(owner.name, nic.name);
	plan_clear(&plan);
	freep(&data);
	assert_int_equal(record_encode_shared(&vf, &port->plan, BOOT, &data, &size), 0);
	assert_int_equal(record_decode_shared(data, size, BOOT, &owner, &plan, NULL), 0);
	assert_int_equal(owner.kind, RECORD_VF);
	assert_false(owner.drained);
	assert_string_equal(owner.name, vf.name);
	plan_clear(&plan);
	/* A port's is no segment's. */
	freep(&data);
	data = sample_text(&size);
	assert_int_equal(record_decode_shared(data, size, BOOT, &owner, &plan, NULL), -EBADMSG);
	port_free(port);
}

static void text_that_is_not_utf8(void **state)
{
	struct vnic_port *port = sample(), *back = NULL;
	_cleanup_(freep) char *data = NULL;
	size_t size;

	(void)state;
	strcpy(port->reason, "cut in \xe2\x82");
	strcpy(port->spec.domain, "\xff\xc0\xafok\xed\xa0\x80\xf4\x90\x80\x80");
	assert_int_equal(record_encode_port(port, BOOT, &data, &size), 0);
	assert_int_equal(record_decode_port(data, size, BOOT, &back, NULL), 0);
	assert_string_equal(back->reason, "cut in ??");
	assert_string_equal(back->spec.domain, "???ok???????");
	port_free(back);
	port_free(port);
}

static void truncated_at_each_byte(void **state)
{
	size_t size;
	_cleanup_(freep) char *data = sample_text(&size);

	(void)state;
	for (size_t n = 0; n < size; n++) {
		struct vnic_err e = VNIC_ERR_INIT;
		struct vnic_port *port = NULL;
		char *copy = malloc(n + 1);

		memcpy(copy, data, n);
		copy = realloc(copy, n ? n : 1); /* no slack: ASan sees a read beyond */
		assert_int_equal(record_decode_port(copy, n, BOOT, &port, &e), -EBADMSG);
		assert_null(port);
		assert_true(*e.message);
		free(copy);
	}
}

static void each_bit_flipped(void **state)
{
	size_t size;
	_cleanup_(freep) char *data = sample_text(&size);

	(void)state;
	for (size_t i = 0; i < size * 8; i++) {
		struct vnic_port *port = NULL;

		data[i / 8] ^= (char)(1 << i % 8);
		assert_int_equal(record_decode_port(data, size, BOOT, &port, NULL), -EBADMSG);
		assert_null(port);
		data[i / 8] ^= (char)(1 << i % 8);
	}
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

/* @o as a record's text with a true checksum, whatever it says. */
static char *sealed(struct json_object *o)
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

static struct json_object *sample_object(void)
{
	size_t size;
	_cleanup_(freep) char *data = sample_text(&size);
	struct json_object *o;

	assert_int_equal(json_parse(data, size, &o, NULL), 0);
	return o;
}

/* The member of @o at "port.plan.0.mac"; @ret_last: the last name, its holder returned. */
static struct json_object *holder(struct json_object *o, const char *where, char *ret_last)
{
	char copy[64], *rest = copy, *name;

	strcpy(copy, where);
	for (name = strsep(&rest, "."); rest; name = strsep(&rest, ".")) {
		struct json_object *next =
			json_object_is_type(o, json_type_array)
				? json_object_array_get_idx(o, (size_t)atoi(name))
				: json_object_object_get(o, name);

		assert_non_null(next);
		o = next;
	}
	strcpy(ret_last, name);
	return o;
}

/* Decode the sample with the field at @where replaced by the JSON @value (NULL: taken out). */
static int decode_with(const char *where, const char *value, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = sample_object();
	_cleanup_(freep) char *data = NULL;
	struct vnic_port *port = NULL;
	struct json_object *at;
	char last[64];
	int r;

	at = holder(o, where, last);
	if (!value)
		json_object_object_del(at, last);
	else if (json_object_is_type(at, json_type_array))
		json_object_array_put_idx(at, (size_t)atoi(last), json_tokener_parse(value));
	else
		json_object_object_add(at, last, json_tokener_parse(value));
	data = sealed(o);
	r = record_decode_port(data, strlen(data), BOOT, &port, err);
	port_free(port);
	return r;
}

struct bad_field {
	const char *name, *where, *value, *says;
};

#define LONG_TEXT_50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG_TEXT_300 LONG_TEXT_50 LONG_TEXT_50 LONG_TEXT_50 LONG_TEXT_50 LONG_TEXT_50 LONG_TEXT_50

static const struct bad_field bad_fields[] = {
	{ "version_zero", "version", "0", "version" },
	{ "version_text", "version", "\"1\"", "version" },
	{ "boot_missing", "boot", NULL, "boot" },
	{ "port_is_a_list", "port", "[]", "port" },
	{ "key_of_nobody", "port.spec.key", "\"x\"", "key" },
	{ "key_with_path", "port.spec.key", "\"../../etc/passwd\"", "key" },
	{ "class_with_path", "port.spec.class", "\"../x\"", "class" },
	{ "class_empty", "port.spec.class", "\"\"", "class" },
	{ "name_with_slash", "port.spec.name", "\"a/b\"", "name" },
	{ "name_with_nul", "port.spec.name", "\"a\\u0000b\"", "NUL" },
	{ "domain_too_long", "port.spec.domain", "\"" LONG_TEXT_300 "\"", "domain" },
	{ "queues_negative", "port.spec.queues", "-1", "queues" },
	{ "override_vlan_4095", "port.spec.vlan", "4095", "vlan" },
	{ "override_paths_unknown", "port.spec.paths", "\"magic\"", "magic" },
	{ "state_unknown", "port.state", "\"flying\"", "flying" },
	{ "path_unknown", "port.path", "\"magic\"", "magic" },
	{ "generation_negative", "port.generation", "-5", "generation" },
	{ "generation_real", "port.generation", "1.5", "generation" },
	{ "vlan_65548", "port.vlan", "65548", "vlan" },
	{ "segment_with_path", "port.segment", "\"..\"", "segment" },
	{ "spoofchk_number", "port.spoofchk", "1", "spoofchk" },
	{ "restarts_overflow", "port.restarts", "4294967296", "restarts" },
	{ "reason_too_long", "port.reason", "\"" LONG_TEXT_300 "\"", "reason" },
	{ "history_is_text", "port.history", "\"x\"", "history" },
	{ "history_of_numbers", "port.history", "[1]", "history" },
	{ "history_of_17", "port.history", "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "history" },
	{ "plan_is_an_object", "port.plan", "{}", "plan" },
	{ "plan_of_null", "port.plan", "[null]", "step 0" },
	{ "plan_nested", "port.plan", "[[[[[[[[[[[[[1]]]]]]]]]]]]]", "" },
	{ "step_kind_unknown", "port.plan.1.kind", "\"format-disk\"", "format-disk" },
	{ "step_kind_number", "port.plan.1.kind", "1", "kind" },
	{ "step_state_unknown", "port.plan.1.state", "\"maybe\"", "step 1" },
	{ "step_ifindex_2_31", "port.plan.1.ifindex", "2147483648", "ifindex" },
	{ "step_master_negative", "port.plan.1.master", "-1", "master" },
	{ "step_mac_short", "port.plan.1.mac", "\"52:54\"", "mac" },
	{ "step_ifname_slash", "port.plan.0.ifname", "\"a/b\"", "ifname" },
	{ "step_ifname_16", "port.plan.0.ifname", "\"0123456789abcdef\"", "ifname" },
	{ "step_name_with_path", "port.plan.0.name", "\"../x\"", "name" },
	{ "step_vlan_4095", "port.plan.1.vlan", "4095", "vlan" },
	{ "step_prev_2_63", "port.plan.1.prev", "9223372036854775808", "prev" },
	{ "step_prev_text", "port.plan.1.prev", "\"0\"", "prev" },
};

static void field_refused(void **state)
{
	const struct bad_field *f = *state;
	struct vnic_err e = VNIC_ERR_INIT;

	assert_int_equal(decode_with(f->where, f->value, &e), -EBADMSG);
	if (!strstr(e.message, f->says))
		fail_msg("'%s' is not in: %s", f->says, e.message);
}

/* Every field there is: taken out, and of the wrong type. Overrides and a previous value may be missing. */
static void fields_missing_or_of_wrong_type(void **state)
{
	static const char *const places[] = { "port", "port.spec", "port.plan.1",
					      "port.history.0" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_(json_putp) struct json_object *o = sample_object();
		char where[96], last[64];
		struct json_object *at;

		snprintf(where, sizeof(where), "%s.x", places[i]);
		at = holder(o, where, last);
		json_object_object_foreach(at, key, value)
		{
			bool optional =
				(i == 1 && (str_eq(key, "vlan") || str_eq(key, "rate") ||
					    str_eq(key, "weight") || str_eq(key, "paths"))) ||
				(i == 2 && str_eq(key, "prev"));
			bool is_number = json_object_is_type(value, json_type_int);

			snprintf(where, sizeof(where), "%s.%s", places[i], key);
			assert_int_equal(decode_with(where, NULL, NULL), optional ? 0 : -EBADMSG);
			assert_int_equal(decode_with(where, is_number ? "\"1\"" : "1", NULL),
					 -EBADMSG);
			assert_int_equal(decode_with(where, "{\"a\":1}", NULL), -EBADMSG);
		}
	}
}

static void field_that_is_not_known(void **state)
{
	(void)state;
	assert_int_equal(decode_with("port.colour", "\"red\"", NULL), 0);
}

static void plan_of_65537_steps(void **state)
{
	_cleanup_(json_putp) struct json_object *o = sample_object();
	struct json_object *plan, *step;
	struct vnic_err e = VNIC_ERR_INIT;
	_cleanup_(freep) char *data = NULL;
	struct vnic_port *port = NULL;
	char last[64];

	(void)state;
	plan = json_object_object_get(holder(o, "port.plan", last), "plan");
	step = json_object_array_get_idx(plan, 0);
	while (json_object_array_length(plan) <= PLAN_STEPS_LIMIT)
		json_object_array_add(plan, json_object_get(step));
	data = sealed(o);
	assert_int_equal(record_decode_port(data, strlen(data), BOOT, &port, &e), -EBADMSG);
	assert_non_null(strstr(e.message, "plan"));
}

static void version_newer(void **state)
{
	struct vnic_err e = VNIC_ERR_INIT;

	(void)state;
	assert_int_equal(decode_with("version", "2", &e), -EPROTONOSUPPORT);
	assert_non_null(strstr(e.message, "version 2"));
	assert_non_null(strstr(e.message, "left alone"));
}

/* Folders of records, and what loading them told. */
struct place {
	char dir[32], ports[64], shared[64];
	int ports_fd, shared_fd;
	struct records *records;
	int n_ports, n_shared, n_problems;
	char file[128];
	struct vnic_err err;
};

static int place_setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct vnic_err e = VNIC_ERR_INIT;

	assert_non_null(p);
	strcpy(p->dir, "/tmp/vnic-unit-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->ports, sizeof(p->ports), "%s/ports", p->dir);
	snprintf(p->shared, sizeof(p->shared), "%s/shared", p->dir);
	if (records_new(p->ports, p->shared, BOOT, &p->records, &e) < 0)
		fail_msg("%s", e.message);
	p->ports_fd = open(p->ports, O_DIRECTORY | O_CLOEXEC);
	p->shared_fd = open(p->shared, O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return 0;
}

static int place_teardown(void **state)
{
	struct place *p = *state;
	char command[64];
	int r;

	snprintf(command, sizeof(command), "rm -rf %s", p->dir);
	r = system(command);
	records_free(p->records);
	close(p->ports_fd);
	close(p->shared_fd);
	free(p);
	return r;
}

static void on_port(void *userdata, struct vnic_port *port)
{
	struct place *p = userdata;

	p->n_ports++;
	port_free(port);
}

static void on_shared(void *userdata, const char *segment, struct plan *plan)
{
	struct place *p = userdata;

	assert_string_equal(segment, "lan");
	p->n_shared++;
	plan_clear(plan);
}

static void on_problem(void *userdata, const char *file, const struct vnic_err *err)
{
	struct place *p = userdata;

	p->n_problems++;
	snprintf(p->file, sizeof(p->file), "%s", file);
	p->err = *err;
}

static void load(struct place *p)
{
	static const struct records_ops ops = { .port = on_port,
						.shared = on_shared,
						.problem = on_problem };

	p->n_ports = p->n_shared = p->n_problems = 0;
	assert_int_equal(records_load(p->records, &ops, p, NULL), 0);
}

static void write_sample(struct place *p)
{
	struct vnic_port *port = sample();

	assert_int_equal(records_write_port(p->records, port, NULL), 0);
	port_free(port);
}

static bool there(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The file beside a true record is set aside with @says, and the true one is read. */
static void is_set_aside(struct place *p, const char *file, const char *says)
{
	char bad[128];

	write_sample(p);
	load(p);
	assert_int_equal(p->n_ports, 1);
	assert_int_equal(p->n_problems, 1);
	assert_string_equal(p->file, file);
	snprintf(bad, sizeof(bad), "%s.bad", file);
	if (!strstr(p->err.message, says) || !strstr(p->err.message, bad))
		fail_msg("'%s' is not in: %s", says, p->err.message);
	assert_true(there(p->ports_fd, bad));
	assert_false(there(p->ports_fd, file));
	/* And it is not looked at again. */
	load(p);
	assert_int_equal(p->n_ports, 1);
	assert_int_equal(p->n_problems, 0);
}

static void put(int dirfd, const char *name, const char *text, size_t size)
{
	assert_int_equal(file_write_atomic(dirfd, name, text, size, 0600), 0);
}

static void file_empty(void **state)
{
	put(((struct place *)*state)->ports_fd, OTHER_FILE, "", 0);
	is_set_aside(*state, OTHER_FILE, "too short");
}

static void file_of_zeros(void **state)
{
	static const char zeros[4096];

	put(((struct place *)*state)->ports_fd, OTHER_FILE, zeros, sizeof(zeros));
	is_set_aside(*state, OTHER_FILE, "checksum");
}

static void file_of_another_port(void **state)
{
	struct place *p = *state;
	size_t size;
	_cleanup_(freep) char *data = sample_text(&size);

	put(p->ports_fd, OTHER_FILE, data, size);
	is_set_aside(p, OTHER_FILE, "another port's");
}

static void file_symlink(void **state)
{
	struct place *p = *state;

	assert_int_equal(symlinkat(PORT_FILE, p->ports_fd, OTHER_FILE), 0);
	is_set_aside(p, OTHER_FILE, "symbolic link");
}

static void file_is_a_folder(void **state)
{
	struct place *p = *state;

	assert_int_equal(mkdirat(p->ports_fd, OTHER_FILE, 0700), 0);
	is_set_aside(p, OTHER_FILE, "no regular file");
}

static void file_is_a_fifo(void **state)
{
	struct place *p = *state;

	assert_int_equal(mkfifoat(p->ports_fd, OTHER_FILE, 0600), 0);
	is_set_aside(p, OTHER_FILE, "no regular file");
}

static void file_huge(void **state)
{
	struct place *p = *state;
	int fd;

	put(p->ports_fd, OTHER_FILE, "", 0);
	fd = openat(p->ports_fd, OTHER_FILE, O_WRONLY);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	close(fd);
	is_set_aside(p, OTHER_FILE, "too large");
}

static void segment_of_another_name(void **state)
{
	struct place *p = *state;
	struct plan plan = { 0 };

	assert_int_equal(records_write_shared(p->records, "lan", &plan, NULL), 0);
	load(p);
	assert_int_equal(p->n_shared, 1);
	assert_int_equal(renameat(p->shared_fd, "lan.json", p->shared_fd, "wan.json"), 0);
	load(p);
	assert_int_equal(p->n_shared, 0);
	assert_non_null(strstr(p->err.message, "another segment's"));
	assert_true(there(p->shared_fd, "wan.json.bad"));
}

static void file_of_another_boot(void **state)
{
	struct place *p = *state;
	struct vnic_port *port = sample();
	_cleanup_(freep) char *data = NULL;
	size_t size;

	assert_int_equal(record_encode_port(port, OTHER_BOOT, &data, &size), 0);
	port_free(port);
	put(p->ports_fd, PORT_FILE, data, size);
	load(p);
	assert_int_equal(p->n_ports, 0);
	assert_int_equal(p->n_problems, 0);
	assert_false(there(p->ports_fd, PORT_FILE));
}

static void file_newer_is_left_alone(void **state)
{
	struct place *p = *state;
	struct json_object *o = sample_object();
	struct vnic_port *port = sample();
	_cleanup_(freep) char *data = NULL, *after = NULL;
	struct vnic_err e = VNIC_ERR_INIT;

	json_object_object_add(o, "version", json_object_new_int(2));
	data = sealed(o);
	json_object_put(o);
	put(p->ports_fd, PORT_FILE, data, strlen(data));
	load(p);
	assert_int_equal(p->n_ports, 0);
	assert_int_equal(p->n_problems, 1);
	assert_non_null(strstr(p->err.message, "left alone"));
	/* Nor is it written over. */
	assert_int_equal(records_write_port(p->records, port, &e), -EEXIST);
	assert_non_null(strstr(e.message, "newer vnicd"));
	assert_int_equal(file_read(p->ports_fd, PORT_FILE, 65536, &after, NULL), 0);
	assert_string_equal(after, data);
	/* Nor removed, when the port that could not be written is given up; but the administrator may. */
	assert_int_equal(records_erase_port(p->records, &port->spec.key, &e), 0);
	assert_true(there(p->ports_fd, PORT_FILE));
	assert_int_equal(unlinkat(p->ports_fd, PORT_FILE, 0), 0);
	assert_int_equal(records_write_port(p->records, port, &e), 0);
	assert_int_equal(records_erase_port(p->records, &port->spec.key, &e), 0);
	assert_false(there(p->ports_fd, PORT_FILE));
	port_free(port);
}

static void file_left_by_a_killed_writer(void **state)
{
	struct place *p = *state;

	put(p->ports_fd, "." PORT_FILE ".tmp", "{\"ver", 5);
	put(p->ports_fd, "README", "people may write here too", 10);
	write_sample(p);
	put(p->ports_fd, "." PORT_FILE ".tmp", "{\"ver", 5);
	load(p);
	assert_int_equal(p->n_ports, 1);
	assert_int_equal(p->n_problems, 0);
	assert_false(there(p->ports_fd, "." PORT_FILE ".tmp"));
	assert_true(there(p->ports_fd, "README"));
}

static void erased_twice(void **state)
{
	struct place *p = *state;
	struct port_key key;

	assert_int_equal(port_key_parse(UUID "/" MAC, &key), 0);
	write_sample(p);
	assert_int_equal(records_erase_port(p->records, &key, NULL), 0);
	assert_int_equal(records_erase_port(p->records, &key, NULL), 0);
	assert_int_equal(records_erase_shared(p->records, "lan", NULL), 0);
	assert_int_equal(records_erase_shared(p->records, "../ports/x", NULL), -EINVAL);
	load(p);
	assert_int_equal(p->n_ports, 0);
}

static void folder_that_others_may_write(void **state)
{
	struct place *p = *state;
	struct records *records = NULL;
	struct vnic_err e = VNIC_ERR_INIT;

	assert_int_equal(chmod(p->ports, 0777), 0);
	assert_int_equal(records_new(p->ports, p->shared, BOOT, &records, &e), -EPERM);
	assert_non_null(strstr(e.message, "chmod 0700"));
	assert_null(records);
}

static void folder_is_a_symlink(void **state)
{
	struct place *p = *state;
	struct records *records = NULL;
	char link[64];

	snprintf(link, sizeof(link), "%s/link", p->dir);
	assert_int_equal(symlink("ports", link), 0);
	assert_true(records_new(link, p->shared, BOOT, &records, NULL) < 0);
	assert_null(records);
}

#define PLACE_TEST(fn) cmocka_unit_test_setup_teardown(fn, place_setup, place_teardown)

static const struct CMUnitTest others[] = {
	cmocka_unit_test(port_round_trip),
	cmocka_unit_test(shared_round_trip),
	cmocka_unit_test(text_that_is_not_utf8),
	cmocka_unit_test(truncated_at_each_byte),
	cmocka_unit_test(each_bit_flipped),
	cmocka_unit_test(fields_missing_or_of_wrong_type),
	cmocka_unit_test(field_that_is_not_known),
	cmocka_unit_test(plan_of_65537_steps),
	cmocka_unit_test(version_newer),
	PLACE_TEST(file_empty),
	PLACE_TEST(file_of_zeros),
	PLACE_TEST(file_of_another_port),
	PLACE_TEST(file_symlink),
	PLACE_TEST(file_is_a_folder),
	PLACE_TEST(file_is_a_fifo),
	PLACE_TEST(file_huge),
	PLACE_TEST(segment_of_another_name),
	PLACE_TEST(file_of_another_boot),
	PLACE_TEST(file_newer_is_left_alone),
	PLACE_TEST(file_left_by_a_killed_writer),
	PLACE_TEST(erased_twice),
	PLACE_TEST(folder_that_others_may_write),
	PLACE_TEST(folder_is_a_symlink),
};

static struct CMUnitTest tests[ARRAY_SIZE(bad_fields) + ARRAY_SIZE(others) + 1];

static void table_is_complete(void **state)
{
	static const char *const no_row[] = { "table_is_complete", NULL };

	(void)state;
	table_check("state-inputs.md", tests, ARRAY_SIZE(tests), no_row);
}

int main(void)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bad_fields); i++)
		tests[n++] = (struct CMUnitTest){ .name = bad_fields[i].name,
						  .test_func = field_refused,
						  .initial_state = (void *)&bad_fields[i] };
	memcpy(tests + n, others, sizeof(others));
	n += ARRAY_SIZE(others);
	tests[n] = (struct CMUnitTest)cmocka_unit_test(table_is_complete);
	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
