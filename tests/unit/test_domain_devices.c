/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libvirt says of its domains' devices: read, asked for again when it changes, and not without VFs. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/json.h"
#include "base/log.h"
#include "daemon/domain_devices.h"

static struct event_base *base;
static struct libvirt_client *client;
static struct inventory inv;
static struct manager manager;
static struct vnic_port port;
static struct domain_devices *devices;
static struct domain_device told[8];
static size_t n_told;
static int times, wanted;

static void on_devices(void *arg, const struct domain_device *device, size_t n)
{
	(void)arg;
	assert_true(n <= ARRAY_SIZE(told));
	for (size_t i = 0; i < n; i++)
		told[i] = device[i];
	n_told = n;
	if (++times >= wanted)
		event_base_loopbreak(base);
}

static void run_until(int n)
{
	wanted = n;
	event_base_dispatch(base);
}

static void add_pf(int n_vf)
{
	struct vnic_pf pf = { .addr = "0000:03:00.0" };

	assert_int_equal(pf_resize(&pf, n_vf), 0);
	assert_true(inventory_upsert_pf(&inv, &pf) >= 0);
	pf_clear(&pf);
	for (struct manager_observer *o = manager.observers; o; o = o->next)
		o->pf_changed(o->data, "0000:03:00.0");
}

static uint64_t now(void *data)
{
	(void)data;
	return 1;
}

static int set_up(void **state)
{
	const char *top = getenv("top_builddir");
	char program[4096];

	(void)state;
	vnic_log_set_level(LOG_ERR);
	unsetenv("FAKE_DEVICES");
	snprintf(program, sizeof(program), "%s/tests/unit/fake_helper", top ? top : ".");
	base = event_base_new();
	inventory_init(&inv);
	manager = (struct manager){ .inv = &inv, .io.now = now };
	memset(&port, 0, sizeof(port));
	times = 0;
	n_told = 99;
	if (libvirt_client_new(base, program, &client) < 0)
		return -1;
	return domain_devices_new(base, &manager, client, on_devices, NULL, &devices);
}

static int tear_down(void **state)
{
	(void)state;
	client = libvirt_client_free(client);
	devices = domain_devices_free(devices);
	HASH_CLEAR(hh, manager.ports);
	inventory_deinit(&inv);
	event_base_free(base);
	return 0;
}

static void without_vfs_nobody_is_asked(void **state)
{
	(void)state;
	add_pf(0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	/* Nothing waits: no timer, no helper. */
	assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
	add_pf(3);
	run_until(1);
	assert_int_equal(n_told, 3);
}

static void pages_are_joined_and_ours_left_out(void **state)
{
	(void)state;
	strcpy(port.device.vf_addr, "0000:03:10.1");
	port.device.state = DEVICE_ATTACHED;
	HASH_ADD(hh, manager.ports, spec.key, sizeof(port.spec.key), &port);
	add_pf(3);
	run_until(1);
	/* The second domain cannot be read, which keeps nobody from hearing of the third. */
	assert_int_equal(n_told, 2);
	assert_string_equal(told[0].addr, "0000:03:10.0");
	assert_string_equal(told[0].domain, "d1");
	assert_string_equal(told[1].addr, "0000:03:10.2");
	assert_string_equal(told[1].domain, "d3");
}

static void on_done(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	(void)arg;
	(void)err;
	(void)answer;
}

static void a_change_is_looked_at(void **state)
{
	(void)state;
	add_pf(3);
	run_until(1);
	libvirt_client_call(client, "event", json_object_new_object(), 1000, on_done, NULL);
	run_until(2);
	assert_int_equal(n_told, 3);
	/* A helper that has ended tells nothing any more. */
	libvirt_client_call(client, "die", json_object_new_object(), 1000, on_done, NULL);
	run_until(3);
	assert_int_equal(times, 3);
	/* A domain may have had what a port gives back now. */
	manager.observers->vf_given_back(manager.observers->data, "0000:03:10.1");
	run_until(4);
	assert_int_equal(times, 4);
}

static void stop_it(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	event_base_loopbreak(base);
}

/* It would be started again and again: each death tells of a change. */
static void a_helper_that_cannot_live_is_left_for_a_while(void **state)
{
	struct timeval soon = { 0, 500000 };
	struct event *timer = evtimer_new(base, stop_it, NULL);

	(void)state;
	setenv("FAKE_DEVICES", "die", 1);
	add_pf(3);
	evtimer_add(timer, &soon);
	run_until(1);
	event_free(timer);
	assert_int_equal(times, 0);
	/* What is left is the time of the next try; no helper, no request. */
	assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 1);
}

#define ONE(more)                                                                          \
	"{\"domains\":[{\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"name\":\"a\"," \
	"\"devices\":[{\"address\":\"0000:03:10.2\"," more "}]}]}"

static struct domain_device take_one(const char *text)
{
	_cleanup_(json_putp) struct json_object *o = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain_device *array = NULL, one;
	struct found_devices found = { 0 };
	char last[VNIC_UUID_STR] = "";
	size_t n = 0;

	assert_int_equal(json_parse(text, strlen(text), &o, NULL), 0);
	if (domain_devices_take(o, NULL, &array, &n, &found, last, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(n, 1);
	one = *array;
	free(array);
	return one;
}

static void what_an_interface_wants(void **state)
{
	struct domain_device d =
		take_one(ONE("\"alias\":\"hostdev0\",\"mac\":\"52:54:00:00:00:09\","
			     "\"class\":\"gold\",\"rate\":\"2gbit\""));

	(void)state;
	assert_true(d.has_mac);
	assert_int_equal(d.mac[5], 9);
	assert_int_equal(d.uuid[15], 1);
	assert_string_equal(d.class_name, "gold");
	assert_true(d.has_rate);
	assert_int_equal(d.rate, UINT64_C(2000000000));
	assert_false(d.unread);
	d = take_one(
		ONE("\"mac\":\"52:54:00:00:00:09\",\"class\":null,\"rate\":null,\"unread\":true"));
	assert_true(d.has_mac && d.unread);
	assert_string_equal(d.class_name, "");
	assert_false(d.has_rate);
	d = take_one(ONE("\"alias\":null"));
	assert_false(d.has_mac || d.has_rate || d.unread);
}

static void bad_answers(void **state)
{
	static const char *const rows[] = {
		"{}",
		"{\"domains\":{}}",
		"{\"domains\":[7]}",
		"{\"domains\":[{\"uuid\":\"x\",\"name\":\"a\",\"devices\":[]}]}",
		"{\"domains\":[{\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"devices\":[]}]"
		"}",
		"{\"domains\":[{\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"name\":\"a\"}]"
		"}",
		"{\"domains\":[{\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"name\":\"a\","
		"\"devices\":[1]}]}",
		"{\"domains\":[{\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"name\":\"a\","
		"\"devices\":[{\"alias\":\"x\"}]}]}",
		"{\"domains\":[{\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"name\":\"a\","
		"\"devices\":[{\"address\":\"x123456789x123456789x123456789x123456789x123456789x12"
		"3456789x123456789\"}]}]}",
		ONE("\"mac\":\"52:54:00\""),
		ONE("\"mac\":7"),
		ONE("\"class\":\"a/b\""),
		ONE("\"class\":\"\""),
		ONE("\"rate\":\"fast\""),
		ONE("\"rate\":1000"),
		ONE("\"unread\":1"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(json_putp) struct json_object *o = NULL;
		struct vnic_err err = VNIC_ERR_INIT;
		struct domain_device *array = NULL;
		struct found_devices found = { 0 };
		char last[VNIC_UUID_STR] = "";
		size_t n = 0;

		assert_int_equal(json_parse(rows[i], strlen(rows[i]), &o, NULL), 0);
		if (domain_devices_take(o, NULL, &array, &n, &found, last, &err) >= 0 ||
		    !*err.message)
			print_error("%s is taken\n", rows[i]), fail();
		assert_int_equal(n, 0);
		assert_int_equal(found.n, 0);
		free(array);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_vfs_nobody_is_asked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_are_joined_and_ours_left_out, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_change_is_looked_at, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_helper_that_cannot_live_is_left_for_a_while,
						set_up, tear_down),
		cmocka_unit_test(what_an_interface_wants),
		cmocka_unit_test(bad_answers),
	};

	return cmocka_run_group_tests_name("domain_devices", tests, NULL, NULL);
}
