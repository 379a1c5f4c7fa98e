/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the hook says, checked: api/hook.md. Each bad message is refused with words, and nothing is kept of it. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/json.h"
#include "daemon/core/request.h"

#define UUID "\"uuid\":\"11111111-2222-3333-4444-555555555555\""
#define DOMAIN                                                                             \
	"\"domain\":{" UUID ",\"name\":\"web\",\"shared_memory\":true,\"pidfile\":\"/run/" \
	"web.pid\"}"
#define OURS(mac, name)                                                                            \
	"{\"mac\":\"" mac "\",\"type\":\"vhostuser\",\"socket\":\"/run/vnicd/sock/" name           \
	"\",\"mode\":\"client\",\"reconnect\":true,\"model\":\"virtio\",\"queues\":2,\"teaming\":" \
	"null}"
/* Interfaces that say <teaming type='@teaming'/>; all have one MAC. */
#define TEAMED(what, teaming) "{" what ",\"mac\":\"52:54:00:00:00:01\",\"teaming\":\"" teaming "\"}"
#define TEAMED_OURS(name, teaming) \
	TEAMED("\"type\":\"vhostuser\",\"socket\":\"/run/vnicd/sock/" name "\"", teaming)
#define TEAMED_VF(teaming) TEAMED("\"type\":\"hostdev\"", teaming)
#define VDPA(type, dev)                                                             \
	"{\"mac\":\"52:54:00:00:00:02\",\"type\":\"" type "\",\"dev\":\"" dev "\"," \
	"\"mode\":\"\",\"model\":\"virtio\",\"queues\":4,\"teaming\":null}"
#define NIC OURS("52:54:00:00:00:01", "gold/web.sock")
#define PREPARE(domain, nics, overrides)                                     \
	"{\"op\":\"prepare\",\"version\":1," domain ",\"interfaces\":[" nics \
	"],\"overrides\":[" overrides "]}"

static int parse(const char *text, struct domain_request *req, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = NULL;

	assert_int_equal(json_parse(text, strlen(text), &o, err), 0);
	return request_parse(o, req, err);
}

static void good(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain_request req;

	(void)state;
	assert_int_equal(
		parse(PREPARE(DOMAIN,
			      "{\"mac\":\"52:54:00:00:00:09\",\"type\":\"network\"},"
			      "{\"type\":\"hostdev\",\"address\":\"0000:06:10.1\"}," NIC,
			      "{\"mac\":\"52:54:00:00:00:01\",\"vlan\":\"12\",\"rate\":\"2gbit\","
			      "\"weight\":\"7\",\"paths\":\"vdpa,software\"}"),
		      &req, &err),
		0);
	assert_int_equal(req.op, REQUEST_PREPARE);
	assert_string_equal(req.name, "web");
	assert_int_equal(req.n_specs, 1);
	assert_string_equal(req.specs[0].class_name, "gold");
	assert_string_equal(req.specs[0].name, "web");
	assert_string_equal(req.specs[0].pidfile, "/run/web.pid");
	assert_int_equal(req.specs[0].queues, 2);
	assert_true(req.specs[0].has_vlan && req.specs[0].has_rate && req.specs[0].has_paths);
	assert_int_equal(req.specs[0].vlan, 12);
	assert_int_equal(req.specs[0].rate, 2000000000);
	assert_int_equal(req.specs[0].weight, 7);
	assert_int_equal(req.specs[0].paths.path[0], VNIC_PATH_VDPA);
	assert_memory_equal(req.specs[0].key.uuid, req.uuid, VNIC_UUID_LEN);
	request_clear(&req);
}

/* A vDPA device needs no shared memory; a socket beside it does. */
static void devices(void **state)
{
	static const char private[] = "\"domain\":{" UUID
				      ",\"name\":\"web\",\"shared_memory\":false}";
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain_request req;
	char text[1200];

	(void)state;
	snprintf(text, sizeof(text), PREPARE("%s", VDPA("vdpa", "/run/vnicd/vdpa/gold/web"), ""),
		 private);
	if (parse(text, &req, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(req.n_specs, 1);
	assert_true(req.specs[0].vdpa);
	assert_string_equal(req.specs[0].class_name, "gold");
	assert_string_equal(req.specs[0].name, "web");
	assert_int_equal(req.specs[0].queues, 4);
	request_clear(&req);
	snprintf(text, sizeof(text),
		 PREPARE("%s", VDPA("vdpa", "/run/vnicd/vdpa/gold/web") "," NIC, ""), private);
	assert_int_equal(parse(text, &req, &err), -EINVAL);
	assert_non_null(strstr(err.message, "not shared"));
	/* Another's. */
	assert_int_equal(parse(PREPARE(DOMAIN, VDPA("vdpa", "/dev/vhost-vdpa-0"), ""), &req, &err),
			 0);
	assert_int_equal(req.n_specs, 0);
	request_clear(&req);
}

/* Of VFs that libvirt manages their class is told, and a rate. */
static void classes_of_hostdevs(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain_request req;

	(void)state;
	assert_int_equal(parse(PREPARE(DOMAIN, NIC,
				       "{\"mac\":\"52:54:00:00:00:09\",\"class\":\"tin\","
				       "\"rate\":\"2gbit\"},"
				       "{\"mac\":\"52:54:00:00:00:08\",\"class\":\"gold\"}"),
			       &req, &err),
			 0);
	assert_int_equal(req.n_specs, 1);
	assert_int_equal(req.n_hostdevs, 2);
	assert_string_equal(req.hostdevs[0].class_name, "tin");
	assert_int_equal(req.hostdevs[0].key.mac[5], 9);
	assert_int_equal(req.hostdevs[0].rate, 2000000000);
	assert_false(req.hostdevs[1].has_rate);
	request_clear(&req);
	assert_int_equal(req.n_hostdevs, 0);
}

/* A VF and the port that stands by for it, in either order, as `domain check` lets them pass. */
static void a_team_has_one_mac(void **state)
{
	static const char *const messages[] = {
		PREPARE(DOMAIN,
			TEAMED_OURS("gold/web.sock", "persistent") "," TEAMED_VF("transient"), ""),
		PREPARE(DOMAIN,
			TEAMED_VF("transient") "," TEAMED_OURS("gold/web.sock", "persistent"), ""),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		struct vnic_err err = VNIC_ERR_INIT;
		struct domain_request req;

		if (parse(messages[i], &req, &err) < 0)
			fail_msg("%s: %s", messages[i], err.message);
		assert_int_equal(req.n_specs, 1);
		assert_string_equal(req.specs[0].name, "web");
		request_clear(&req);
	}
}

/* Who stands by for a VF: both words are needed, and an alias that the next start has, too. */
static void standbys(void **state)
{
	static const struct {
		const char *more, *standby;
	} rows[] = {
		{ "\"teaming\":\"persistent\",\"alias\":\"ua-web\"", "ua-web" },
		{ "\"teaming\":\"persistent\",\"alias\":null", "" },
		{ "\"teaming\":\"persistent\"", "" },
		{ "\"teaming\":\"persistent\",\"alias\":\"net0\"", "" },
		{ "\"teaming\":\"persistent\",\"alias\":\"ua-a b\"", "" },
		{ "\"teaming\":null,\"alias\":\"ua-web\"", "" },
		{ "\"teaming\":\"transient\",\"alias\":\"ua-web\"", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vnic_err err = VNIC_ERR_INIT;
		struct domain_request req;
		char text[1000];

		snprintf(text, sizeof(text),
			 PREPARE(DOMAIN,
				 "{\"type\":\"vhostuser\",\"socket\":\"/run/vnicd/sock/gold/"
				 "web.sock\",\"mac\":\"52:54:00:00:00:01\",%s}",
				 ""),
			 rows[i].more);
		assert_int_equal(parse(text, &req, &err), 0);
		assert_string_equal(req.specs[0].standby, rows[i].standby);
		request_clear(&req);
	}
}

static void others_ops(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain_request req;

	(void)state;
	assert_int_equal(parse("{\"op\":\"release\",\"version\":1," DOMAIN "}", &req, &err), 0);
	assert_int_equal(req.op, REQUEST_RELEASE);
	assert_int_equal(req.n_specs, 0);
	request_clear(&req);
	assert_int_equal(
		parse("{\"op\":\"network-start\",\"version\":1,\"network\":\"n\"}", &req, &err), 0);
	assert_int_equal(req.op, REQUEST_NETWORK);
	request_clear(&req);
}

static const struct {
	const char *message, *code, *words;
} bad[] = {
	{ "{}", VNIC_E_INVALID_MESSAGE, "\"version\"" },
	{ "{\"version\":2,\"op\":\"prepare\"}", VNIC_E_INVALID_MESSAGE, "\"version\"" },
	{ "{\"version\":1,\"op\":\"explode\"}", VNIC_E_INVALID_MESSAGE, "'explode'" },
	{ "{\"version\":1,\"op\":\"prepare\"}", VNIC_E_INVALID_MESSAGE, "\"domain\"" },
	{ PREPARE("\"domain\":{\"uuid\":\"1\",\"name\":\"web\"}", NIC, ""), VNIC_E_INVALID_MESSAGE,
	  "no UUID" },
	{ PREPARE("\"domain\":{" UUID ",\"name\":\"\"}", NIC, ""), VNIC_E_INVALID_MESSAGE,
	  "\"name\"" },
	{ PREPARE("\"domain\":{" UUID ",\"name\":\"web\",\"pidfile\":\"web.pid\"}", NIC, ""),
	  VNIC_E_INVALID_MESSAGE, "absolute" },
	{ PREPARE("\"domain\":{" UUID ",\"name\":\"web\",\"shared_memory\":false}", NIC, ""),
	  VNIC_E_INVALID_XML, "<memoryBacking>" },
	{ "{\"version\":1,\"op\":\"prepare\"," DOMAIN "}", VNIC_E_INVALID_MESSAGE,
	  "\"interfaces\"" },
	{ PREPARE(DOMAIN, "1", ""), VNIC_E_INVALID_MESSAGE, "interfaces[0]" },
	{ PREPARE(DOMAIN, OURS("52:54:00:00:00", "gold/web.sock"), ""), VNIC_E_INVALID_MAC,
	  "52:54:00:00:00" },
	{ PREPARE(DOMAIN, OURS("52:54:00:00:00:01", "web.sock"), ""), VNIC_E_INVALID_XML,
	  "CLASS/NAME.sock" },
	{ PREPARE(DOMAIN, OURS("52:54:00:00:00:01", "../../etc/x.sock"), ""), VNIC_E_INVALID_XML,
	  "CLASS/NAME.sock" },
	{ PREPARE(DOMAIN, OURS("52:54:00:00:00:01", "gold/../x.sock"), ""), VNIC_E_INVALID_XML,
	  "CLASS/NAME.sock" },
	{ PREPARE(DOMAIN, OURS("52:54:00:00:00:01", "gold/.sock"), ""), VNIC_E_INVALID_XML,
	  "CLASS/NAME.sock" },
	{ PREPARE(DOMAIN, OURS("52:54:00:00:00:01", "gold/web"), ""), VNIC_E_INVALID_XML,
	  "CLASS/NAME.sock" },
	{ PREPARE(DOMAIN, OURS("52:54:00:00:00:01", "gold/a\\u0001b.sock"), ""), VNIC_E_INVALID_XML,
	  "CLASS/NAME.sock" },
	{ PREPARE(DOMAIN, VDPA("vdpa", "/run/vnicd/vdpa/gold"), ""), VNIC_E_INVALID_XML,
	  "CLASS/NAME" },
	{ PREPARE(DOMAIN, VDPA("vdpa", "/run/vnicd/vdpa/gold/../../../etc/x"), ""),
	  VNIC_E_INVALID_XML, "CLASS/NAME" },
	{ PREPARE(DOMAIN, VDPA("vdpa", "/run/vnicd/vdpa/gold/.web"), ""), VNIC_E_INVALID_XML,
	  "CLASS/NAME" },
	{ PREPARE(DOMAIN, VDPA("vhostuser", "/run/vnicd/vdpa/gold/web"), ""), VNIC_E_INVALID_XML,
	  "type='vdpa'" },
	{ PREPARE(DOMAIN, "{\"type\":\"vdpa\",\"dev\":\"/run/vnicd/vdpa/gold/web\"}", ""),
	  VNIC_E_INVALID_XML, "no MAC address" },
	{ PREPARE(DOMAIN, NIC "," OURS("52:54:00:00:00:01", "gold/b.sock"), ""),
	  VNIC_E_DUPLICATE_MAC, "52:54:00:00:00:01" },
	{ PREPARE(DOMAIN, "{\"mac\":\"52:54:00:00:00:01\",\"type\":\"network\"}," NIC, ""),
	  VNIC_E_DUPLICATE_MAC, "52:54:00:00:00:01" },
	{ PREPARE(DOMAIN,
		  "{\"mac\":\"52:54:00:00:00:01\",\"type\":\"hostdev\",\"teaming\":"
		  "\"transient\"}," NIC,
		  ""),
	  VNIC_E_DUPLICATE_MAC, "52:54:00:00:00:01" },
	{ PREPARE(DOMAIN, TEAMED_VF("persistent") "," TEAMED_OURS("gold/a.sock", "persistent"), ""),
	  VNIC_E_DUPLICATE_MAC, "52:54:00:00:00:01" },
	{ PREPARE(DOMAIN,
		  TEAMED_OURS("gold/a.sock", "persistent") "," TEAMED_OURS("gold/b.sock",
									   "transient"),
		  ""),
	  VNIC_E_DUPLICATE_MAC, "52:54:00:00:00:01" },
	{ PREPARE(DOMAIN,
		  TEAMED_OURS("gold/a.sock", "persistent") "," TEAMED_VF("transient") "," TEAMED_VF(
			  "transient") "," NIC,
		  ""),
	  VNIC_E_DUPLICATE_MAC, "52:54:00:00:00:01" },
	{ PREPARE(DOMAIN, "{\"mac\":\"52:54:00:00:00:01\",\"type\":\"hostdev\",\"teaming\":1}", ""),
	  VNIC_E_INVALID_MESSAGE, "\"teaming\"" },
	{ PREPARE(DOMAIN, "{\"type\":\"vhostuser\",\"socket\":\"/run/vnicd/sock/gold/a.sock\"}",
		  ""),
	  VNIC_E_INVALID_XML, "no MAC address" },
	{ PREPARE(DOMAIN,
		  "{\"mac\":\"52:54:00:00:00:01\",\"type\":\"vhostuser\",\"mode\":\"server\","
		  "\"socket\":\"/run/vnicd/sock/gold/a.sock\"}",
		  ""),
	  VNIC_E_INVALID_XML, "mode='client'" },
	{ PREPARE(DOMAIN,
		  "{\"mac\":\"52:54:00:00:00:01\",\"type\":\"vhostuser\",\"model\":\"e1000\","
		  "\"socket\":\"/run/vnicd/sock/gold/a.sock\"}",
		  ""),
	  VNIC_E_INVALID_XML, "<model type='virtio'/>" },
	{ PREPARE(DOMAIN,
		  "{\"mac\":\"52:54:00:00:00:01\",\"type\":\"vhostuser\",\"queues\":9,"
		  "\"socket\":\"/run/vnicd/sock/gold/a.sock\"}",
		  ""),
	  VNIC_E_INVALID_XML, "queues='9'" },
	{ PREPARE(DOMAIN, NIC, "{\"mac\":\"52:54:00:00:00:02\",\"vlan\":\"1\"}"),
	  VNIC_E_INVALID_XML, "matches no interface" },
	{ PREPARE(DOMAIN, NIC, "{\"mac\":\"52:54:00:00:00:01\",\"vlan\":\"4095\"}"),
	  VNIC_E_INVALID_XML, "vlan='4095'" },
	{ PREPARE(DOMAIN, NIC, "{\"mac\":\"52:54:00:00:00:01\",\"vlan\":12}"),
	  VNIC_E_INVALID_MESSAGE, "\"vlan\"" },
	{ PREPARE(DOMAIN, NIC, "{\"mac\":\"52:54:00:00:00:01\",\"rate\":\"fast\"}"),
	  VNIC_E_INVALID_XML, "rate='fast'" },
	{ PREPARE(DOMAIN, NIC, "{\"mac\":\"52:54:00:00:00:01\",\"weight\":\"0\"}"),
	  VNIC_E_INVALID_XML, "weight='0'" },
	{ PREPARE(DOMAIN, NIC, "{\"mac\":\"52:54:00:00:00:01\",\"class\":\"gold\"}"),
	  VNIC_E_INVALID_XML, "<vnic:port mac='52:54:00:00:00:01'>: leave class= out" },
	{ PREPARE(DOMAIN, NIC, "{\"mac\":\"52:54:00:00:00:02\",\"class\":\"\"}"),
	  VNIC_E_INVALID_XML, "class=''" },
	{ PREPARE(DOMAIN, NIC,
		  "{\"mac\":\"52:54:00:00:00:02\",\"class\":\"gold\",\"rate\":\"fast\"}"),
	  VNIC_E_INVALID_XML, "rate='fast'" },
	{ PREPARE(DOMAIN, NIC, "{\"mac\":\"52:54:00:00:00:01\",\"paths\":\"magic\"}"),
	  VNIC_E_INVALID_ARGUMENT, "'magic'" },
	{ PREPARE(DOMAIN, NIC,
		  "{\"mac\":\"52:54:00:00:00:01\",\"vlan\":\"1\"},"
		  "{\"mac\":\"52:54:00:00:00:01\",\"vlan\":\"2\"}"),
	  VNIC_E_INVALID_XML, "keep one" },
};

static void bad_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct domain_request req = { .n_specs = 77 };
		struct vnic_err err = VNIC_ERR_INIT;

		if (parse(bad[i].message, &req, &err) >= 0)
			fail_msg("taken: %s", bad[i].message);
		assert_int_equal(req.n_specs, 77);
		if (!str_eq(err.code, bad[i].code) || !strstr(err.message, bad[i].words))
			fail_msg("%s: not %s '%s' but %s: %s", bad[i].message, bad[i].code,
				 bad[i].words, err.code, err.message);
	}
}

/* One too many, and as many as there may be. */
static void many_interfaces(void **state)
{
	static char text[1 << 17];
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain_request req;

	(void)state;
	for (int n = REQUEST_INTERFACES_MAX; n <= REQUEST_INTERFACES_MAX + 1; n++) {
		size_t used = (size_t)snprintf(text, sizeof(text),
					       "{\"op\":\"prepare\",\"version\":1," DOMAIN
					       ",\"interfaces\":[");

		for (int i = 0; i < n; i++)
			used += (size_t)snprintf(text + used, sizeof(text) - used,
						 "%s{\"mac\":\"52:54:00:00:00:%02x\",\"type\":"
						 "\"vhostuser\",\"socket\":"
						 "\"/run/vnicd/sock/gold/n%d.sock\"}",
						 i ? "," : "", i, i);
		snprintf(text + used, sizeof(text) - used, "]}");
		if (n > REQUEST_INTERFACES_MAX) {
			assert_true(parse(text, &req, &err) < 0);
			assert_non_null(strstr(err.message, "interfaces"));
		} else {
			assert_int_equal(parse(text, &req, &err), 0);
			assert_int_equal(req.n_specs, n);
			request_clear(&req);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),
		cmocka_unit_test(devices),
		cmocka_unit_test(classes_of_hostdevs),
		cmocka_unit_test(a_team_has_one_mac),
		cmocka_unit_test(standbys),
		cmocka_unit_test(others_ops),
		cmocka_unit_test(bad_messages),
		cmocka_unit_test(many_interfaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
