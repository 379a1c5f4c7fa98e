/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to vnicd-libvirt: what is taken, and what each bad one is told. */
#include "tests/unit/unit.h"

#include <string.h>

#include "api/errors.h"
#include "libvirt-hook/helper_request.h"

#define ATTACH "\"op\":\"attach\",\"domain\":\"web\",\"mac\":\"52:54:00:00:00:01\","
#define SOCK   "\"socket\":\"/run/vnicd/sock/gold/web.sock\""

static struct helper_request taken(const char *text)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct helper_request q;
	uint64_t id;

	if (helper_request_parse(text, strlen(text), &q, &id, &err) < 0)
		print_error("%s\n", err.message), fail();
	assert_int_equal(id, q.id);
	return q;
}

static void good_requests(void **state)
{
	struct helper_request q = taken("{\"id\":1,\"op\":\"ping\"}");

	(void)state;
	assert_int_equal(q.op, HELPER_PING);
	assert_int_equal(q.timeout_ms, 10000);
	helper_request_deinit(&q);

	q = taken("{\"id\":9007199254740992," ATTACH SOCK "}");
	assert_int_equal(q.op, HELPER_ATTACH);
	assert_string_equal(q.domain, "web");
	assert_int_equal(q.mac[5], 1);
	assert_int_equal(q.queues, 1);
	assert_true(q.live);
	assert_false(q.config);
	helper_request_deinit(&q);

	q = taken("{\"id\":2," ATTACH SOCK ",\"queues\":8,\"live\":false,\"config\":true,"
		  "\"timeout_ms\":100}");
	assert_int_equal(q.queues, 8);
	assert_false(q.live);
	assert_true(q.config);
	assert_int_equal(q.timeout_ms, 100);
	helper_request_deinit(&q);

	q = taken("{\"id\":2," ATTACH "\"dev\":\"/run/vnicd/vdpa/gold/web\"}");
	assert_true(q.vdpa);
	assert_string_equal(q.file, "/run/vnicd/vdpa/gold/web");
	helper_request_deinit(&q);

	q = taken("{\"id\":3,\"op\":\"detach\",\"domain\":\"web\",\"mac\":\"52:54:00:00:00:01\"}");
	assert_int_equal(q.timeout_ms, 20000);
	helper_request_deinit(&q);

	q = taken(
		"{\"id\":4,\"op\":\"domains\",\"after\":\"6ECD5F50-1712-4b9b-ba6c-dd77b83b4ab5\"}");
	assert_string_equal(q.after, "6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab5");
	helper_request_deinit(&q);

	q = taken("{\"id\":5,\"op\":\"check\",\"domain\":\"web\",\"classes\":[\"gold\",\"a.b\"]}");
	assert_int_equal(q.n_classes, 2);
	assert_string_equal(q.classes[1], "a.b");
	assert_false(q.live);
	helper_request_deinit(&q);
}

#define WEB "\"domain\":\"6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab5\","

static void hostdev_requests(void **state)
{
	struct helper_request q = taken("{\"id\":1,\"op\":\"attach-hostdev\"," WEB
					"\"address\":\"0000:03:10.6\",\"standby\":\"ua-web\"}");

	(void)state;
	assert_int_equal(q.op, HELPER_ATTACH_HOSTDEV);
	assert_string_equal(q.address, "0000:03:10.6");
	assert_string_equal(q.standby, "ua-web");
	assert_int_equal(q.timeout_ms, 60000);
	helper_request_deinit(&q);

	q = taken("{\"id\":2,\"op\":\"detach-hostdev\"," WEB "\"address\":\"0000:03:10.6\"}");
	assert_int_equal(q.op, HELPER_DETACH_HOSTDEV);
	assert_string_equal(q.domain, "6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab5");
	assert_int_equal(q.timeout_ms, 20000);
	helper_request_deinit(&q);
}

static void bad_requests(void **state)
{
	static const struct {
		const char *text, *code, *word;
		uint64_t id;
	} rows[] = {
		{ "", VNIC_E_INVALID_MESSAGE, "too early", 0 },
		{ "[]", VNIC_E_INVALID_MESSAGE, "object", 0 },
		{ "{\"op\":\"ping\"}", VNIC_E_INVALID_MESSAGE, "\"id\"", 0 },
		{ "{\"id\":0,\"op\":\"ping\"}", VNIC_E_INVALID_MESSAGE, "\"id\"", 0 },
		{ "{\"id\":-1,\"op\":\"ping\"}", VNIC_E_INVALID_MESSAGE, "\"id\"", 0 },
		{ "{\"id\":9007199254740993,\"op\":\"ping\"}", VNIC_E_INVALID_MESSAGE, "\"id\"",
		  0 },
		{ "{\"id\":7}", VNIC_E_INVALID_MESSAGE, "\"op\"", 7 },
		{ "{\"id\":7,\"op\":\"destroy\"}", VNIC_E_INVALID_MESSAGE, "'destroy'", 7 },
		{ "{\"id\":7,\"op\":\"ping\",\"timeout_ms\":99}", VNIC_E_INVALID_MESSAGE,
		  "\"timeout_ms\"", 7 },
		{ "{\"id\":7,\"op\":\"ping\",\"timeout_ms\":120001}", VNIC_E_INVALID_MESSAGE,
		  "\"timeout_ms\"", 7 },
		{ "{\"id\":7,\"op\":\"domain-xml\"}", VNIC_E_INVALID_MESSAGE, "\"domain\"", 7 },
		{ "{\"id\":7,\"op\":\"domain-xml\",\"domain\":\"\"}", VNIC_E_INVALID_ARGUMENT,
		  "\"domain\"", 7 },
		{ "{\"id\":7,\"op\":\"attach\",\"domain\":\"web\"," SOCK "}",
		  VNIC_E_INVALID_MESSAGE, "\"mac\"", 7 },
		{ "{\"id\":7,\"op\":\"attach\",\"domain\":\"web\",\"mac\":\"01:00:5e:00:00:"
		  "01\"," SOCK "}",
		  VNIC_E_INVALID_MAC, "01:00:5e", 7 },
		{ "{\"id\":7,\"op\":\"attach\",\"domain\":\"web\",\"mac\":\"x'/>\"," SOCK "}",
		  VNIC_E_INVALID_MAC, "\"mac\"", 7 },
		{ "{\"id\":7," ATTACH "\"socket\":\"/etc/shadow\"}", VNIC_E_INVALID_ARGUMENT,
		  "'/etc/shadow'", 7 },
		{ "{\"id\":7," ATTACH "\"socket\":\"/run/vnicd/sock/gold/a'/><x y='.sock\"}",
		  VNIC_E_INVALID_ARGUMENT, "\"socket\"", 7 },
		{ "{\"id\":7," ATTACH "\"dev\":\"/dev/vhost-vdpa-0\"}", VNIC_E_INVALID_ARGUMENT,
		  "\"dev\"", 7 },
		{ "{\"id\":7," ATTACH SOCK ",\"dev\":\"/run/vnicd/vdpa/gold/web\"}",
		  VNIC_E_INVALID_ARGUMENT, "exclude", 7 },
		{ "{\"id\":7," ATTACH SOCK ",\"queues\":9}", VNIC_E_INVALID_MESSAGE, "\"queues\"",
		  7 },
		{ "{\"id\":7," ATTACH SOCK ",\"live\":1}", VNIC_E_INVALID_MESSAGE, "\"live\"", 7 },
		{ "{\"id\":7," ATTACH SOCK ",\"live\":false}", VNIC_E_INVALID_ARGUMENT,
		  "nothing to do", 7 },
		{ "{\"id\":7,\"op\":\"domains\",\"after\":\"x\"}", VNIC_E_INVALID_ARGUMENT,
		  "\"after\"", 7 },
		{ "{\"id\":7,\"op\":\"attach-hostdev\",\"domain\":\"web\",\"address\":\"0000:03:10."
		  "6\","
		  "\"standby\":\"ua-web\"}",
		  VNIC_E_INVALID_ARGUMENT, "\"domain\"", 7 },
		{ "{\"id\":7,\"op\":\"detach-hostdev\",\"domain\":\"web\",\"address\":\"0000:03:10."
		  "6\"}",
		  VNIC_E_INVALID_ARGUMENT, "\"domain\"", 7 },
		{ "{\"id\":7,\"op\":\"detach-hostdev\"," WEB "\"address\":6}",
		  VNIC_E_INVALID_MESSAGE, "\"address\"", 7 },
		{ "{\"id\":7,\"op\":\"detach-hostdev\"," WEB "\"mac\":\"52:54:00:00:00:01\"}",
		  VNIC_E_INVALID_MESSAGE, "\"address\"", 7 },
		{ "{\"id\":7,\"op\":\"detach-hostdev\"," WEB "\"address\":\"0000:03:10.6'/>\"}",
		  VNIC_E_INVALID_ARGUMENT, "\"address\"", 7 },
		{ "{\"id\":7,\"op\":\"attach-hostdev\"," WEB "\"address\":\"../../x\","
		  "\"standby\":\"ua-web\"}",
		  VNIC_E_INVALID_ARGUMENT, "\"address\"", 7 },
		{ "{\"id\":7,\"op\":\"attach-hostdev\"," WEB "\"address\":\"0000:03:10.6\"}",
		  VNIC_E_INVALID_MESSAGE, "\"standby\"", 7 },
		{ "{\"id\":7,\"op\":\"attach-hostdev\"," WEB "\"address\":\"0000:03:10.6\","
		  "\"standby\":\"net0\"}",
		  VNIC_E_INVALID_ARGUMENT, "'net0'", 7 },
		{ "{\"id\":7,\"op\":\"attach-hostdev\"," WEB "\"address\":\"0000:03:10.6\","
		  "\"standby\":\"ua-a'/>\"}",
		  VNIC_E_INVALID_ARGUMENT, "\"standby\"", 7 },
		{ "{\"id\":7,\"op\":\"attach-hostdev\"," WEB "\"address\":\"0000:03:10.6\","
		  "\"standby\":\"ua-"
		  "x123456789x123456789x123456789x123456789x123456789x123456789x\"}",
		  VNIC_E_INVALID_ARGUMENT, "63 characters", 7 },
		{ "{\"id\":7,\"op\":\"check\",\"domain\":\"web\"}", VNIC_E_INVALID_MESSAGE,
		  "\"classes\"", 7 },
		{ "{\"id\":7,\"op\":\"check\",\"domain\":\"web\",\"classes\":[\"a\",\"../b\"]}",
		  VNIC_E_INVALID_ARGUMENT, "element 1", 7 },
		{ "{\"id\":7,\"op\":\"check\",\"domain\":\"web\",\"classes\":[7]}",
		  VNIC_E_INVALID_ARGUMENT, "element 0", 7 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vnic_err err = VNIC_ERR_INIT;
		struct helper_request q;
		uint64_t id = 99;

		if (helper_request_parse(rows[i].text, strlen(rows[i].text), &q, &id, &err) >= 0 ||
		    strcmp(err.code, rows[i].code) || !strstr(err.message, rows[i].word) ||
		    id != rows[i].id)
			print_error("%s: %s: %s\n", rows[i].text, err.code, err.message), fail();
	}
}

static void answers(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct json_object *o = helper_answer(7);

	(void)state;
	assert_string_equal(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
			    "{\"id\":7,\"ok\":true}");
	json_object_put(o);
	vnic_err_set(&err, 0, VNIC_E_BUSY, "no");
	o = helper_answer_error(7, &err);
	assert_string_equal(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
			    "{\"id\":7,\"error\":{\"code\":\"Busy\",\"message\":\"no\"}}");
	json_object_put(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests),
		cmocka_unit_test(hostdev_requests),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(answers),
	};

	return cmocka_run_group_tests_name("helper", tests, NULL, NULL);
}
