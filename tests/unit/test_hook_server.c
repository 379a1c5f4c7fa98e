/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hook's socket, over a manager whose outside is played. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sock.h"
#include "daemon/hook_server.h"
#include "fake_host.h"
#include "unit.h"

#define SECOND 1000000ull
#define UUID   "11111111-2222-3333-4444-555555555555"
#define HOOK(op)                                                                                \
	"{\"op\":\"" op "\",\"version\":1,\"domain\":{\"uuid\":\"" UUID "\",\"name\":\"web\"}," \
	"\"interfaces\":[{\"mac\":\"52:54:00:00:00:01\",\"type\":\"vhostuser\",\"socket\":"     \
	"\"/run/vnicd/sock/gold/web.sock\"}]}"

struct fixture {
	struct fake_host h;
	struct loop *loop;
	struct hook_server *server;
	char dir[32], file[64];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_init(&f->h);
	fake_start(&f->h, fake_config());
	fake_run(&f->h, 1000);
	strcpy(f->dir, "/tmp/vnicd-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->file, sizeof(f->file), "%s/hook.sock", f->dir);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(hook_server_new(f->loop, f->h.m, f->file, &f->server), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	hook_server_free(f->server);
	loop_free(f->loop);
	fake_deinit(&f->h);
	unlink(f->file);
	rmdir(f->dir);
	free(f);
	return 0;
}

/* A hook that asks. */
static int ask(struct fixture *f, const char *text)
{
	int fd = sock_connect(f->file, SOCK_SEQPACKET | SOCK_NONBLOCK);

	assert_true(fd >= 0);
	assert_int_equal(sock_send(fd, text, strlen(text), NULL, 0), 0);
	return fd;
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 10; i++) {
		loop_once(f->loop);
		fake_run(&f->h, 1000);
	}
}

/* Its answer by now, or "" where there is none; @fd is closed after one. */
static const char *answer(int *fd)
{
	static char text[4096];
	ssize_t n = sock_recv(*fd, text, sizeof(text) - 1, NULL, 0, NULL);

	if (n == -EAGAIN)
		return "";
	assert_true(n > 0);
	text[n] = '\0';
	*fd = close_safe(*fd);
	return text;
}

static void who_comes_before_the_ports_are_known_waits(void **state)
{
	struct fixture *f = *state;
	int start = ask(f, HOOK("start")), started = ask(f, HOOK("started"));

	turn(f);
	assert_string_equal(answer(&start), "");
	assert_string_equal(answer(&started), "");
	hook_server_start(f->server);
	turn(f);
	assert_non_null(strstr(answer(&start), "UnknownPort"));
	assert_non_null(strstr(answer(&started), "\"ok\":true"));
}

#define CREATED(address)                                                                   \
	"{\"op\":\"port-created\",\"version\":1,\"network\":\"vfs\",\"domain\":{\"uuid\":" \
	"\"" UUID "\",\"name\":\"other\"},\"interfaces\":[{\"mac\":\"52:54:00:00:00:02\"," \
	"\"type\":\"hostdev\"" address "}],\"overrides\":[]}"

/* libvirt's network and vnicd have the same VFs to give: who comes second must look further. */
static void a_networks_device_is_not_a_ports(void **state)
{
	static const struct {
		const char *text, *word;
	} rows[] = {
		{ CREATED(",\"address\":\"0000:03:10.1\""), "of domain 'web': name other VFs" },
		{ CREATED(",\"address\":\"0000:03:10.2\""), "\"ok\":true" },
		{ CREATED(""), "\"ok\":true" },
		{ CREATED(",\"address\":\"\""), "\"ok\":true" },
		{ CREATED(",\"address\":7"), "\\\"address\\\"" },
	};
	struct fixture *f = *state;
	int fd;

	hook_server_start(f->server);
	fd = ask(f, HOOK("prepare"));
	turn(f);
	assert_non_null(strstr(answer(&fd), "\"ok\":true"));
	f->h.m->ports->device.state = DEVICE_RESERVED;
	strcpy(f->h.m->ports->device.vf_addr, "0000:03:10.1");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *said;

		fd = ask(f, rows[i].text);
		turn(f);
		said = answer(&fd);
		if (!strstr(said, rows[i].word))
			print_error("%s: %s\n", rows[i].text, said), fail();
	}
	f->h.m->ports->device.state = DEVICE_NONE;
	f->h.m->ports->device.vf_addr[0] = '\0';
}

/* A VF of libvirt's gets the rest from its class: where there is none, that is said before the domain starts. */
static void a_hostdevs_class_is_to_be_there(void **state)
{
#define WITH_CLASS(class)                                                                        \
	"{\"op\":\"prepare\",\"version\":1,\"domain\":{\"uuid\":\"" UUID "\",\"name\":\"web\"}," \
	"\"interfaces\":[{\"mac\":\"52:54:00:00:00:02\",\"type\":\"hostdev\"}],\"overrides\":["  \
	"{\"mac\":\"52:54:00:00:00:02\",\"class\":\"" class "\"}]}"
	static const struct {
		const char *text, *word;
	} rows[] = {
		{ WITH_CLASS("gold"), "\"ok\":true" },
		{ WITH_CLASS("tin"), "there is no class 'tin'" },
		{ WITH_CLASS("a b"), "A-Z a-z" },
	};
	struct fixture *f = *state;

	hook_server_start(f->server);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd = ask(f, rows[i].text);
		const char *said;

		turn(f);
		said = answer(&fd);
		if (!strstr(said, rows[i].word))
			print_error("%s: %s\n", rows[i].text, said), fail();
	}
}

static void made_asked_for_and_released(void **state)
{
	struct fixture *f = *state;
	int fd;

	hook_server_start(f->server);
	fd = ask(f, HOOK("prepare"));
	turn(f);
	assert_non_null(strstr(answer(&fd), "\"path\":\"software\""));
	fd = ask(f, HOOK("start"));
	turn(f);
	assert_non_null(strstr(answer(&fd), "\"ok\":true"));
	fd = ask(f, HOOK("release"));
	turn(f);
	assert_non_null(strstr(answer(&fd), "\"ok\":true"));
	assert_int_equal(f->h.n_port_records, 0);
}

static void hanging_up_undoes_what_was_asked_for(void **state)
{
	struct fixture *f = *state;
	int fd;

	hook_server_start(f->server);
	f->h.async = true;
	fd = ask(f, HOOK("prepare"));
	loop_once(f->loop);
	loop_once(f->loop);
	manager_wake(f->h.m);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 1);
	close(fd);
	turn(f);
	fake_run(&f->h, 2 * SECOND);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 0);
	assert_int_equal(f->h.n_port_records, 0);
	assert_int_equal(f->h.n_sockets, 0);
}

static void hanging_up_as_the_answer_comes_undoes_it_too(void **state)
{
	struct fixture *f = *state;
	int fd;

	hook_server_start(f->server);
	fd = ask(f, HOOK("prepare"));
	loop_once(f->loop);
	loop_once(f->loop);
	close(fd);
	/* The ports are made before the loop looks at the descriptor again. */
	fake_run(&f->h, SECOND);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 0);
	assert_int_equal(f->h.n_port_records, 0);
	assert_int_equal(f->h.n_sockets, 0);
}

/* Before the manager has begun with it: the domain has ended, whoever waits to hear of it. */
static void hanging_up_stops_no_release(void **state)
{
	struct fixture *f = *state;
	int fd;

	hook_server_start(f->server);
	fd = ask(f, HOOK("prepare"));
	turn(f);
	assert_non_null(strstr(answer(&fd), "\"ok\":true"));
	fd = ask(f, HOOK("release"));
	loop_once(f->loop);
	loop_once(f->loop);
	assert_non_null(f->h.m->jobs);
	assert_int_equal(f->h.n_port_records, 1);
	close(fd);
	loop_once(f->loop);
	fake_run(&f->h, SECOND);
	assert_int_equal(HASH_COUNT(f->h.m->ports), 0);
	assert_int_equal(f->h.n_port_records, 0);
	assert_null(f->h.m->jobs);
}

static void a_second_server_is_refused(void **state)
{
	struct fixture *f = *state;
	struct hook_server *other;

	assert_int_equal(hook_server_new(f->loop, f->h.m, f->file, &other), -EADDRINUSE);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_comes_before_the_ports_are_known_waits),
		TEST(a_networks_device_is_not_a_ports),
		TEST(a_hostdevs_class_is_to_be_there),
		TEST(made_asked_for_and_released),
		TEST(hanging_up_undoes_what_was_asked_for),
		TEST(hanging_up_as_the_answer_comes_undoes_it_too),
		TEST(hanging_up_stops_no_release),
		TEST(a_second_server_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
