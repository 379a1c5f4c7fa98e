/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The datapath's client against a keeper that the test plays, true and hostile. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/sock.h"
#include "daemon/datapath_client.h"

#define KEY   "11111111-2222-3333-4444-555555555555/52:54:00:00:00:01"
#define HELLO "{\"event\":\"hello\",\"version\":1,\"pid\":7,\"segments\":[]}"
#define PORT                                                                              \
	"\"key\":\"" KEY "\",\"generation\":7,\"segment\":\"lan\",\"has_listener\":true," \
	"\"state\":\"running\",\"peer_pid\":42,\"queues_active\":2,\"logging\":true,"     \
	"\"restarts\":1,\"reason\":\"why\",\"rx_packets\":5"

struct fixture {
	char dir[32], file[64];
	int listen_fd, fd; /* the keeper's ends */
	struct loop *loop;
	struct dp_client *client;
	char log[512]; /* events, a word each */
	char lost[VNIC_ERR_MESSAGE_MAX];
	struct dp_port_status port;
	struct dp_worker_event worker;
	int n_done, error;
	struct vnic_err err;
};

static void note(struct fixture *f, const char *word)
{
	size_t n = strlen(f->log);

	snprintf(f->log + n, sizeof(f->log) - n, "%s%s", n ? " " : "", word);
}

static void on_hello(void *userdata, pid_t keeper)
{
	assert_int_equal(keeper, 7);
	note(userdata, "hello");
}

static void on_segment(void *userdata, const char *name, const char *tap, bool has_tap)
{
	note(userdata, name);
	note(userdata, tap);
	note(userdata, has_tap ? "has" : "lacks");
}

static void on_port(void *userdata, const struct dp_port_status *status)
{
	struct fixture *f = userdata;

	f->port = *status;
	note(f, "port");
}

static void on_hello_end(void *userdata)
{
	note(userdata, "end");
}

static void on_worker(void *userdata, const struct dp_worker_event *e)
{
	struct fixture *f = userdata;

	f->worker = *e;
	note(f, "worker");
}

static void on_lost(void *userdata, const char *reason)
{
	struct fixture *f = userdata;

	snprintf(f->lost, sizeof(f->lost), "%s", reason);
	note(f, "lost");
}

static const struct dp_client_ops ops = {
	.hello = on_hello,
	.segment = on_segment,
	.port = on_port,
	.hello_end = on_hello_end,
	.worker = on_worker,
	.lost = on_lost,
};

static void on_done(void *arg, int error, const struct vnic_err *err, struct json_object *answer)
{
	struct fixture *f = arg;

	f->n_done++;
	f->error = error;
	assert_true((error == 0) == (answer != NULL));
	assert_true((error == 0) == (err == NULL));
	f->err = err ? *err : (struct vnic_err)VNIC_ERR_INIT;
}

static bool accepted(struct fixture *f)
{
	f->fd = accept4(f->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return f->fd >= 0;
}

/* Turn the loop until @word is the last thing noted, bounded by the test's own patience. */
static void turn_until(struct fixture *f, const char *word)
{
	for (int i = 0; i < 5000; i++) {
		const char *last = strrchr(f->log, ' ');

		if (str_eq(last ? last + 1 : f->log, word))
			return;
		assert_int_equal(loop_once(f->loop), 0);
		usleep(1000);
	}
	fail_msg("waited for '%s', noted: %s", word, f->log);
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_once(f->loop), 0);
}

static void connect_client(struct fixture *f)
{
	for (int i = 0; i < 5000 && !accepted(f); i++) {
		loop_once(f->loop);
		usleep(1000);
	}
	assert_true(f->fd >= 0);
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(sock_send(f->fd, text, strlen(text), NULL, 0), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/vnic-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->file, sizeof(f->file), "%s/dp.sock", f->dir);
	f->fd = f->listen_fd = -1;
	assert_int_equal(loop_new(&f->loop), 0);
	*state = f;
	return 0;
}

/* A keeper that listens, and a client connected to it that has heard nothing yet. */
static int setup_connected(void **state)
{
	struct fixture *f;

	setup(state);
	f = *state;
	f->listen_fd = sock_listen(f->file, SOCK_SEQPACKET, 0600);
	assert_true(f->listen_fd >= 0);
	assert_int_equal(dp_client_new(f->loop, f->file, &ops, f, &f->client), 0);
	connect_client(f);
	return 0;
}

static int setup_up(void **state)
{
	setup_connected(state);
	say(*state, HELLO);
	say(*state, "{\"event\":\"hello-end\"}");
	turn_until(*state, "end");
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dp_client_free(f->client);
	loop_free(f->loop);
	close_safe(f->fd);
	close_safe(f->listen_fd);
	unlink(f->file);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void greeting(void **state)
{
	struct fixture *f = *state;

	say(f, "{\"event\":\"hello\",\"version\":1,\"pid\":7,\"segments\":["
	       "{\"name\":\"lan\",\"tap\":\"vn0-lan\",\"has_tap\":true},"
	       "{\"name\":\"b\",\"tap\":null,\"has_tap\":false}]}");
	/* More than fit. */
	say(f, "{\"event\":\"segment\",\"name\":\"c\",\"tap\":\"e0\",\"has_tap\":true}");
	say(f, "{\"event\":\"port\"," PORT "}");
	turn_until(f, "port");
	assert_false(dp_client_connected(f->client));
	say(f, "{\"event\":\"hello-end\"}");
	turn_until(f, "end");
	assert_true(dp_client_connected(f->client));
	assert_string_equal(f->log, "hello lan vn0-lan has b  lacks c e0 has port end");
	assert_int_equal(f->port.generation, 7);
	assert_true(f->port.has_listener && f->port.logging);
	assert_int_equal(f->port.state, PORT_RUNNING);
	assert_int_equal(f->port.peer_pid, 42);
	assert_int_equal(f->port.queues_active, 2);
	assert_int_equal(f->port.restarts, 1);
	assert_string_equal(f->port.reason, "why");
	assert_int_equal(f->port.counters.rx_packets, 5);
	say(f, "{\"event\":\"something-new\",\"a\":1}");
	say(f, "{\"event\":\"worker\",\"segment\":\"lan\",\"pid\":8,\"restarts\":2,"
	       "\"reason\":\"fault\",\"gap_us\":900}");
	turn_until(f, "worker");
	assert_int_equal(f->worker.gap_us, 900);
	assert_string_equal(f->worker.reason, "fault");
}

static void nobody_listens(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dp_client_new(f->loop, f->file, &ops, f, &f->client), 0);
	turn_until(f, "lost");
	assert_non_null(strstr(f->lost, f->file));
	dp_client_call(f->client, "stats", json_object_new_object(), -1, on_done, f);
	assert_int_equal(f->n_done, 1);
	assert_int_equal(f->error, -ENOTCONN);
	assert_string_equal(f->err.code, "DatapathDown");
	/* It comes later: found without being told, and lost was told once. */
	f->listen_fd = sock_listen(f->file, SOCK_SEQPACKET, 0600);
	connect_client(f);
	say(f, HELLO);
	turn_until(f, "hello");
	assert_string_equal(f->log, "lost hello");
}

/* The request that the client sent, with the descriptor of one that has. */
static struct json_object *hear(struct fixture *f, int *ret_fd)
{
	struct json_object *o;
	char buf[4096];
	int fds[4];
	size_t n_fds = 0;
	ssize_t n;

	turn(f);
	n = sock_recv(f->fd, buf, sizeof(buf), fds, 4, &n_fds);
	assert_true(n > 0);
	assert_int_equal(n_fds, ret_fd ? 1 : 0);
	if (ret_fd)
		*ret_fd = fds[0];
	assert_int_equal(json_parse(buf, (size_t)n, &o, NULL), 0);
	return o;
}

static uint64_t hear_id(struct fixture *f)
{
	_cleanup_(json_putp) struct json_object *o = hear(f, NULL);
	uint64_t id;

	assert_int_equal(json_get_u64(o, "id", 1, UINT64_MAX, &id, NULL), 0);
	return id;
}

static void request_with_descriptor(void **state)
{
	struct fixture *f = *state;
	_cleanup_(json_putp) struct json_object *heard = NULL;
	struct json_object *o = json_object_new_object();
	const char *op;
	char text[96], c;
	int pair[2], got;
	uint64_t id;

	assert_int_equal(pipe(pair), 0);
	json_add_str(o, "name", "lan");
	dp_client_call(f->client, "segment-set", o, pair[1], on_done, f);
	close(pair[1]); /* the client has its own */
	heard = hear(f, &got);
	assert_int_equal(json_get_str(heard, "op", &op, NULL), 0);
	assert_string_equal(op, "segment-set");
	assert_int_equal(json_get_u64(heard, "id", 1, UINT64_MAX, &id, NULL), 0);
	assert_int_equal(write(got, "x", 1), 1);
	close(got);
	/* The only writers left would be descriptors that leaked. */
	assert_int_equal(read(pair[0], &c, 1), 1);
	assert_int_equal(read(pair[0], &c, 1), 0);
	close(pair[0]);
	assert_int_equal(f->n_done, 0);
	snprintf(text, sizeof(text), "{\"id\":%d,\"ok\":true}", (int)id);
	say(f, text);
	turn(f);
	assert_int_equal(f->n_done, 1);
	assert_int_equal(f->error, 0);
}

static void errors_have_numbers(void **state)
{
	static const struct {
		const char *code;
		int error;
	} cases[] = { { "StaleGeneration", -ESTALE }, { "Busy", -EBUSY },
		      { "UnknownPort", -ENOENT },     { "LimitReached", -ENOSPC },
		      { "InvalidArgument", -EINVAL }, { "SomethingNew", -EIO } };
	struct fixture *f = *state;
	char text[160];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		dp_client_call(f->client, "port-del", json_object_new_object(), -1, on_done, f);
		snprintf(text, sizeof(text),
			 "{\"id\":%d,\"error\":{\"code\":\"%s\",\"message\":\"no\\u001b\"}}",
			 (int)hear_id(f), cases[i].code);
		say(f, text);
		turn(f);
		assert_int_equal(f->n_done, i + 1);
		assert_int_equal(f->error, cases[i].error);
		assert_string_equal(f->err.code, cases[i].code);
		assert_string_equal(f->err.message, "no?");
	}
}

/* A port that a vnicd with other records made: asked for once more, as what it is, and not for ever. */
static void a_newer_port_is_deleted_as_what_it_is(void **state)
{
	static const char *const answers[] = {
		"\"ok\":true",
		"\"error\":{\"code\":\"StaleGeneration\",\"message\":\"x\",\"generation\":99}",
		"\"error\":{\"code\":\"StaleGeneration\",\"message\":\"x\",\"generation\":\"y\"}",
	};
	struct fixture *f = *state;
	char text[160];

	for (int i = 0; i < 3; i++) {
		dp_client_port_del(f->client, "key", 7, on_done, f);
		if (i < 2) {
			snprintf(text, sizeof(text),
				 "{\"id\":%d,\"error\":{\"code\":\"StaleGeneration\","
				 "\"message\":\"x\",\"generation\":9}}",
				 (int)hear_id(f));
			say(f, text);
			turn(f);
			assert_int_equal(f->n_done, i);
		}
		snprintf(text, sizeof(text), "{\"id\":%d,%s}", (int)hear_id(f), answers[i]);
		say(f, text);
		turn(f);
		assert_int_equal(f->n_done, i + 1);
		assert_int_equal(f->error, i == 0 ? 0 : -ESTALE);
	}
}

static void answers_in_any_order(void **state)
{
	struct fixture *f = *state;
	uint64_t first, second;
	char text[64];

	dp_client_call(f->client, "port-get", json_object_new_object(), -1, on_done, f);
	dp_client_call(f->client, "port-get", json_object_new_object(), -1, NULL, NULL);
	first = hear_id(f);
	second = hear_id(f);
	assert_int_not_equal(first, second);
	snprintf(text, sizeof(text), "{\"id\":%d,\"ok\":true}", (int)second);
	say(f, text);
	turn(f);
	assert_int_equal(f->n_done, 0);
	snprintf(text, sizeof(text), "{\"id\":%d,\"ok\":true}", (int)first);
	say(f, text);
	turn(f);
	assert_int_equal(f->n_done, 1);
	/* Once more for the same: it has had its answer. */
	say(f, text);
	turn(f);
	assert_int_equal(f->n_done, 1);
	assert_true(dp_client_connected(f->client));
}

/* A keeper that does not read: requests wait, in order, and each is answered in the end. */
static void keeper_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	char filler[1024];
	int n = 600;

	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	for (int i = 0; i < n; i++) {
		struct json_object *o = json_object_new_object();

		json_add_str(o, "filler", filler);
		dp_client_call(f->client, "stats", o, -1, on_done, f);
	}
	assert_int_equal(f->n_done, 0);
	for (int i = 1; i <= n; i++) {
		char text[64];

		assert_int_equal(hear_id(f), i);
		snprintf(text, sizeof(text), "{\"id\":%d,\"ok\":true}", i);
		say(f, text);
	}
	turn(f);
	turn(f);
	assert_int_equal(f->n_done, n);
}

static void connection_lost_under_requests(void **state)
{
	struct fixture *f = *state;

	dp_client_call(f->client, "port-get", json_object_new_object(), -1, on_done, f);
	dp_client_call(f->client, "port-get", json_object_new_object(), -1, on_done, f);
	turn(f);
	f->fd = close_safe(f->fd);
	turn_until(f, "lost");
	assert_int_equal(f->n_done, 2);
	assert_int_equal(f->error, -ENOTCONN);
	assert_string_equal(f->err.code, "DatapathDown");
	connect_client(f);
	say(f, HELLO);
	turn_until(f, "hello");
}

static void freed_under_requests(void **state)
{
	struct fixture *f = *state;

	dp_client_call(f->client, "port-get", json_object_new_object(), -1, on_done, f);
	f->client = dp_client_free(f->client);
	turn(f);
	assert_int_equal(f->n_done, 0);
}

struct bad_message {
	const char *name, *text;
	bool greeted;
	const char *says;
};

#define EVENT(fields) "{\"event\":\"port\"," fields "}"

/* What costs the keeper its connection, as a word in the reason. */
static const struct bad_message bad_messages[] = {
	{ "not_json", "hello", false, "JSON" },
	{ "not_an_object", "[1]", false, "object" },
	{ "cut_off", "{\"event\":\"he", false, "JSON" },
	{ "event_before_hello", "{\"event\":\"hello-end\"}", false, "out of turn" },
	{ "event_of_wrong_type", "{\"event\":5}", false, "event" },
	{ "hello_of_another_version",
	  "{\"event\":\"hello\",\"version\":2,\"pid\":7,\"segments\":[]}", false, "version 2" },
	{ "hello_without_pid", "{\"event\":\"hello\",\"version\":1,\"segments\":[]}", false,
	  "pid" },
	{ "hello_with_bad_segments",
	  "{\"event\":\"hello\",\"version\":1,\"pid\":7,\"segments\":[null]}", false, "segments" },
	{ "second_hello", HELLO, true, "out of turn" },
	{ "second_hello_end", "{\"event\":\"hello-end\"}", true, "second" },
	{ "answer_to_nobody", "{\"id\":99,\"ok\":true}", true, "never made" },
	{ "answer_without_id", "{\"ok\":true}", true, "id" },
	{ "port_without_key", "{\"event\":\"port\"}", true, "key" },
	{ "port_with_bad_key", EVENT("\"key\":\"x\""), true, "key" },
	{ "port_in_no_state", EVENT("\"key\":\"" KEY "\",\"state\":\"flying\""), true, "flying" },
	{ "port_without_generation", EVENT("\"key\":\"" KEY "\",\"state\":\"running\""), true,
	  "generation" },
	{ "port_with_a_generation_past_counting",
	  EVENT("\"key\":\"" KEY "\",\"state\":\"running\",\"generation\":18446744073709551615"),
	  true, "generation" },
	{ "port_with_a_negative_pid", EVENT(PORT ",\"peer_pid\":-1"), true, "peer_pid" },
	{ "port_with_a_huge_pid", EVENT(PORT ",\"peer_pid\":4294967338"), true, "peer_pid" },
	{ "port_with_text_as_counter", EVENT(PORT ",\"tx_bytes\":\"1\""), true, "tx_bytes" },
	{ "worker_of_no_segment",
	  "{\"event\":\"worker\",\"segment\":\"../x\",\"pid\":8,\"restarts\":2}", true, "segment" },
};

static int setup_bad(void **state)
{
	const struct bad_message *bad = *state;
	struct fixture *f;

	if (bad->greeted)
		setup_up(state);
	else
		setup_connected(state);
	f = *state;
	f->log[0] = '\0';
	say(f, bad->text);
	turn_until(f, "lost");
	if (!strstr(f->lost, bad->says))
		fail_msg("'%s' is not in: %s", bad->says, f->lost);
	return 0;
}

static void comes_back_after_nonsense(void **state)
{
	struct fixture *f = *state;
	char c;

	assert_int_equal(recv(f->fd, &c, 1, 0), 0);
	close(f->fd);
	connect_client(f);
	say(f, HELLO);
	turn_until(f, "hello");
}

static void uninvited_descriptors(void **state)
{
	struct fixture *f = *state;
	int pair[2];
	char c;

	assert_int_equal(pipe(pair), 0);
	assert_int_equal(sock_send(f->fd, HELLO, strlen(HELLO), &pair[1], 1), 0);
	close(pair[1]);
	turn_until(f, "lost");
	/* Closed, not kept. */
	assert_int_equal(read(pair[0], &c, 1), 0);
	close(pair[0]);
}

static void message_over_64_KiB(void **state)
{
	struct fixture *f = *state;
	char *big = malloc(VNIC_MSG_MAX + 1);

	memset(big, ' ', VNIC_MSG_MAX + 1);
	assert_int_equal(sock_send(f->fd, big, VNIC_MSG_MAX + 1, NULL, 0), 0);
	free(big);
	turn_until(f, "lost");
}

int main(void)
{
	static struct CMUnitTest tests[ARRAY_SIZE(bad_messages) + 16];
	const struct CMUnitTest others[] = {
		cmocka_unit_test_setup_teardown(greeting, setup_connected, teardown),
		cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
		cmocka_unit_test_setup_teardown(request_with_descriptor, setup_up, teardown),
		cmocka_unit_test_setup_teardown(errors_have_numbers, setup_up, teardown),
		cmocka_unit_test_setup_teardown(a_newer_port_is_deleted_as_what_it_is, setup_up,
						teardown),
		cmocka_unit_test_setup_teardown(answers_in_any_order, setup_up, teardown),
		cmocka_unit_test_setup_teardown(keeper_that_does_not_read, setup_up, teardown),
		cmocka_unit_test_setup_teardown(connection_lost_under_requests, setup_up, teardown),
		cmocka_unit_test_setup_teardown(freed_under_requests, setup_up, teardown),
		cmocka_unit_test_setup_teardown(uninvited_descriptors, setup_connected, teardown),
		cmocka_unit_test_setup_teardown(message_over_64_KiB, setup_connected, teardown),
	};
	size_t n = 0;

	for (; n < ARRAY_SIZE(bad_messages); n++)
		tests[n] = (struct CMUnitTest){ .name = bad_messages[n].name,
						.test_func = comes_back_after_nonsense,
						.setup_func = setup_bad,
						.teardown_func = teardown,
						.initial_state = (void *)&bad_messages[n] };
	memcpy(tests + n, others, sizeof(others));
	n += ARRAY_SIZE(others);
	return _cmocka_run_group_tests("datapath_client", tests, n, NULL, NULL);
}
