/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/tables/state-inputs.md: what the records' files may hold, and what becomes of those that are not true. */
#include "tests/unit/records_bed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "daemon/sys/record.h"
#include "tests/unit/table.h"

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
	assert_int_equal(a->has_old, b->has_old);
	assert_int_equal(a->old, b->old);
	assert_string_equal(a->dev, b->dev);
	assert_string_equal(a->driver, b->driver);
	assert_string_equal(a->mgmtdev, b->mgmtdev);
	assert_int_equal(a->value, b->value);
	assert_int_equal(a->weight, b->weight);
	assert_int_equal(a->allow, b->allow);
}

static void same_spec(const struct port_spec *a, const struct port_spec *b)
{
	assert_true(port_key_eq(&a->key, &b->key));
	assert_string_equal(a->domain, b->domain);
	assert_string_equal(a->class_name, b->class_name);
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->pidfile, b->pidfile);
	assert_int_equal(a->vdpa, b->vdpa);
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
	assert_true(a->vf.min_rate == b->vf.min_rate);
	assert_int_equal(a->vf.link, b->vf.link);
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

static void vdpa_round_trip(void **state)
{
	struct step policy = { .kind = STEP_VDPA_POLICY,
			       .state = STEP_DONE,
			       .vlan = 12,
			       .value = 2000000000,
			       .weight = 7,
			       .allow = (1u << VDPA_ALLOW_COUNT) - 1,
			       .dev = "vnic-1",
			       .mgmtdev = "vnic/eth0" };
	struct vnic_port *a = sample(), *b = NULL;
	_cleanup_(freep) char *data = NULL;
	struct vnic_err e = VNIC_ERR_INIT;
	size_t size;

	(void)state;
	a->spec.vdpa = true;
	a->path = VNIC_PATH_VDPA;
	assert_int_equal(plan_add(&a->plan, &policy), 0);
	assert_int_equal(record_encode_port(a, BOOT, &data, &size), 0);
	if (record_decode_port(data, size, BOOT, &b, &e) != 0)
		fail_msg("%s", e.message);
	same_spec(&a->spec, &b->spec);
	same_step(&policy, &b->plan.step[2]);
	port_free(b);
	port_free(a);
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
	port->plan.step[1].has_old = true;
	port->plan.step[1].old = INT64_MAX;
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
	{ "vf_link_unknown", "port.vf_link", "\"up\"", "vf_link" },
	{ "vf_min_rate_text", "port.vf_min_rate", "\"1gbit\"", "vf_min_rate" },
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
	{ "step_old_negative", "port.plan.1.old", "-1", "old" },
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

/* Every field there is: taken out, and of the wrong type. Overrides, what a class says of VFs and a previous value may be missing. */
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
				(i == 0 && !strncmp(key, "vf_", 3)) ||
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

static const struct CMUnitTest others[] = {
	cmocka_unit_test(port_round_trip),
	cmocka_unit_test(vdpa_round_trip),
	cmocka_unit_test(shared_round_trip),
	cmocka_unit_test(text_that_is_not_utf8),
	cmocka_unit_test(truncated_at_each_byte),
	cmocka_unit_test(each_bit_flipped),
	cmocka_unit_test(fields_missing_or_of_wrong_type),
	cmocka_unit_test(field_that_is_not_known),
	cmocka_unit_test(plan_of_65537_steps),
	cmocka_unit_test(version_newer),
};

static struct CMUnitTest tests[ARRAY_SIZE(bad_fields) + ARRAY_SIZE(others) + RECORD_FILE_TESTS + 1];

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
	memcpy(tests + n, record_file_tests, sizeof(record_file_tests));
	n += RECORD_FILE_TESTS;
	tests[n] = (struct CMUnitTest)cmocka_unit_test(table_is_complete);
	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
