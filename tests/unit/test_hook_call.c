/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the hook waits for: standard input, and vnicd or who says to be it. Also the rows "call" of
 * tests/tables/hook-inputs.md.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/sock.h"
#include "libvirt-hook/hook.h"
#include "tests/unit/hook_table.h"

#define HEAD "<domain type='qemu'><name>web</name>"

/* Standard input */

struct feed {
	int fd;
	size_t bytes;
};

static void *feed_thread(void *arg)
{
	struct feed *f = arg;
	char block[65536];

	memset(block, ' ', sizeof(block));
	for (size_t done = 0; done < f->bytes;) {
		ssize_t n = write(f->fd, block, sizeof(block));

		if (n < 0)
			break; /* the reader has had enough */
		done += (size_t)n;
	}
	return NULL;
}

static void hundred_megabytes_without_end(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct feed feed = { .bytes = 100u << 20 };
	char *data = NULL;
	pthread_t thread;
	int fds[2];
	size_t size;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	feed.fd = fds[1];
	assert_int_equal(pthread_create(&thread, NULL, feed_thread, &feed), 0);
	assert_int_equal(hook_read_all(fds[0], DOMAIN_XML_MAX, 60000, hook_now_ms() + 60000, &data,
				       &size, &err),
			 -E2BIG);
	assert_string_equal(err.code, VNIC_E_INVALID_XML);
	assert_non_null(strstr(err.message, "larger than 4 MiB"));
	close(fds[0]);
	pthread_join(thread, NULL);
	close(fds[1]);
}

static void no_end_of_file(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	char *data = NULL;
	size_t size;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], HEAD, strlen(HEAD)), strlen(HEAD));
	assert_int_equal(hook_read_all(fds[0], DOMAIN_XML_MAX, 30, hook_now_ms() + 60000, &data,
				       &size, &err),
			 -ETIMEDOUT);
	assert_non_null(strstr(err.message, "neither goes on nor ends"));
	/* The whole run's deadline ends it too. */
	assert_int_equal(hook_read_all(fds[0], DOMAIN_XML_MAX, 60000, hook_now_ms() + 30, &data,
				       &size, &err),
			 -ETIMEDOUT);
	assert_null(data);
	close(fds[0]);
	close(fds[1]);
}

/* vnicd, or who says to be it */

static void refused_answer(const char *answer, size_t size, const char *word)
{
	struct vnic_err err = VNIC_ERR_INIT;

	assert_true(hook_answer(answer, size, &err) < 0);
	assert_string_equal(err.code, VNIC_E_INVALID_MESSAGE);
	assert_non_null(strstr(err.message, "vnicd's answer is not understood"));
	if (!strstr(err.message, word))
		print_error("'%s' is not in: %s\n", word, err.message), fail();
}

static void answer_not_understood(void **state)
{
	static const struct {
		const char *answer, *word;
	} rows[] = {
		{ "ok", "not valid JSON" },
		{ "{\"ok\":true", "ends too early" },
		{ "{}", "\"ok\"" },
		{ "[]", "not a JSON object" },
		{ "{\"ok\":\"yes\"}", "type string" },
		{ "{\"ok\":false}", "is false" },
		{ "{\"error\":\"no\"}", "\"error\"" },
		{ "{\"error\":{\"code\":\"Busy\"}}", "\"message\"" },
		{ "{\"error\":{\"message\":\"x\"}}", "\"code\"" },
		{ "{\"ok\":true}{\"ok\":true}", "at byte 11" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		refused_answer(rows[i].answer, strlen(rows[i].answer), rows[i].word);
	refused_answer("{\"ok\":true}\0", 12, "at byte 11");
}

struct fake {
	char dir[32], file[64];
};

static void fake_init(struct fake *f)
{
	strcpy(f->dir, "/tmp/vnic-hook-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->file, sizeof(f->file), "%s/hook.sock", f->dir);
}

static void fake_end(struct fake *f)
{
	unlink(f->file);
	assert_int_equal(rmdir(f->dir), 0);
}

static struct hook_target target(const char *file, uint64_t ms, uint32_t patience_ms)
{
	return (struct hook_target){ .socket = file,
				     .deadline_ms = 20000,
				     .deadline = hook_now_ms() + ms,
				     .patience_ms = patience_ms };
}

static void expect_error(const struct vnic_err *err, const char *code, const char *word)
{
	assert_string_equal(err->code, code);
	if (!strstr(err->message, word))
		print_error("'%s' is not in: %s\n", word, err->message), fail();
}

static void call_fails(const char *file, int error, const char *code, const char *word)
{
	struct hook_target to = target(file, 50, 0);
	struct vnic_err err = VNIC_ERR_INIT;

	assert_int_equal(hook_call(&to, "prepare", "{}", &err), error);
	expect_error(&err, code, word);
}

static void vnicd_not_started(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	call_fails(f.file, -ENOENT, VNIC_E_DAEMON_DOWN, "vnicd is not running");
	call_fails(f.file, -ENOENT, VNIC_E_DAEMON_DOWN, "systemctl start vnicd");
	fake_end(&f);
}

static void vnicd_killed(void **state)
{
	struct fake f;
	int fd;

	(void)state;
	fake_init(&f);
	fd = sock_listen(f.file, SOCK_SEQPACKET, 0600);
	assert_true(fd >= 0);
	close(fd); /* leaves the file, as kill -9 does */
	call_fails(f.file, -ECONNREFUSED, VNIC_E_DAEMON_DOWN, "vnicd is not running");
	fake_end(&f);
}

static void vnicd_hung(void **state)
{
	struct fake f;
	int fd;

	(void)state;
	fake_init(&f);
	fd = sock_listen(f.file, SOCK_SEQPACKET, 0600);
	assert_true(fd >= 0);
	call_fails(f.file, -ETIMEDOUT, VNIC_E_TIMEOUT, "did not answer 'prepare' within 20 s");
	close(fd);
	fake_end(&f);
}

static void vnicd_hung_with_full_backlog(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct fake f;
	int fd, peers[8], n = 0;

	(void)state;
	fake_init(&f);
	fd = sock_listen(f.file, SOCK_SEQPACKET, 0600);
	assert_true(fd >= 0);
	assert_int_equal(listen(fd, 1), 0);
	strcpy(addr.sun_path, f.file);
	for (; n < 8; n++) {
		peers[n] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
		if (connect(peers[n], (struct sockaddr *)&addr, sizeof(addr)) < 0)
			break;
	}
	assert_true(n < 8 && errno == EAGAIN);
	call_fails(f.file, -ETIMEDOUT, VNIC_E_TIMEOUT, "did not answer");
	for (int i = 0; i <= n; i++)
		close(peers[i]);
	close(fd);
	fake_end(&f);
}

/* One vnicd after the other on one socket's file, each with one client. */
struct vnicds {
	const char *file;
	const char *say[4]; /* what each answers: "" hangs up, NULL ends the list */
	unsigned asked;
};

static void *vnicds_thread(void *arg)
{
	struct vnicds *v = arg;

	for (; v->say[v->asked]; v->asked++) {
		const char *answer = v->say[v->asked];
		char buf[100];
		int fd, listener;

		poll(NULL, 0, 100); /* away for a while */
		listener = sock_listen(v->file, SOCK_SEQPACKET, 0600);
		fd_set_nonblock(listener, false);
		fd = accept(listener, NULL, NULL);
		if (read(fd, buf, sizeof(buf)) > 0 && *answer)
			sock_send(fd, answer, strlen(answer), NULL, 0);
		close(listener);
		close(fd);
	}
	return NULL;
}

/* Return: what hook_call() does, with these vnicds behind the socket. */
static int call_vnicds(struct vnicds *v, uint32_t patience_ms, struct vnic_err *err)
{
	struct hook_target to;
	pthread_t thread;
	struct fake f;
	int r;

	fake_init(&f);
	v->file = f.file;
	to = target(f.file, 60000, patience_ms);
	assert_int_equal(pthread_create(&thread, NULL, vnicds_thread, v), 0);
	r = hook_call(&to, "prepare", "{}", err);
	pthread_join(thread, NULL);
	fake_end(&f);
	return r;
}

static void vnicd_dies_before_its_answer(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct hook_target to;
	pthread_t thread;
	struct fake f;
	struct vnicds v = { .say = { "" } };

	(void)state;
	fake_init(&f);
	v.file = f.file;
	/* Without patience, and with, where no other follows. */
	for (uint32_t patience = 0; patience <= 300; patience += 300) {
		v.asked = 0;
		assert_int_equal(pthread_create(&thread, NULL, vnicds_thread, &v), 0);
		while (access(f.file, F_OK) != 0)
			poll(NULL, 0, 10);
		to = target(f.file, 60000, patience);
		assert_int_equal(hook_call(&to, "prepare", "{}", &err), -ECONNRESET);
		expect_error(&err, VNIC_E_DAEMON_DOWN, "went away before it answered 'prepare'");
		pthread_join(thread, NULL);
		unlink(f.file);
	}
	fake_end(&f);
}

static void vnicd_dies_of_the_request_each_time(void **state)
{
	struct vnicds v = { .say = { "", "" } };
	struct vnic_err err = VNIC_ERR_INIT;

	(void)state;
	assert_int_equal(call_vnicds(&v, 30000, &err), -ECONNRESET);
	expect_error(&err, VNIC_E_DAEMON_DOWN, "went away before it answered 'prepare'");
	assert_int_equal(v.asked, 2);
}

static void vnicd_away_beyond_patience(void **state)
{
	struct hook_target to;
	struct vnic_err err = VNIC_ERR_INIT;
	uint64_t start = hook_now_ms();
	struct fake f;

	(void)state;
	fake_init(&f);
	to = target(f.file, 60000, 200);
	assert_int_equal(hook_call(&to, "prepare", "{}", &err), -ENOENT);
	expect_error(&err, VNIC_E_DAEMON_DOWN, ", for 0.2 s): systemctl start vnicd");
	assert_true(hook_now_ms() - start >= 100);
	/* The deadline wins. */
	to = target(f.file, 60, 600000);
	assert_int_equal(hook_call(&to, "prepare", "{}", &err), -ENOENT);
	expect_error(&err, VNIC_E_DAEMON_DOWN, "systemctl start vnicd");
	fake_end(&f);
}

/* An upgrade, of which a guest's start sees nothing */

static void vnicd_comes_back(void **state)
{
	struct vnicds v = { .say = { "{\"ok\":true}" } };
	struct vnic_err err = VNIC_ERR_INIT;

	(void)state;
	assert_int_equal(call_vnicds(&v, 30000, &err), 0);
	assert_int_equal(v.asked, 1);
}

static void vnicd_is_replaced_while_it_works(void **state)
{
	struct vnicds v = { .say = { "", "{\"ok\":true}" } };
	struct vnic_err err = VNIC_ERR_INIT;

	(void)state;
	assert_int_equal(call_vnicds(&v, 30000, &err), 0);
	assert_int_equal(v.asked, 2);
}

static void socket_of_another_kind(void **state)
{
	struct fake f;
	int fd;

	(void)state;
	fake_init(&f);
	fd = sock_listen(f.file, SOCK_STREAM, 0600);
	assert_true(fd >= 0);
	call_fails(f.file, -EPROTOTYPE, VNIC_E_DAEMON_DOWN, "cannot reach vnicd");
	close(fd);
	fake_end(&f);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(hundred_megabytes_without_end),
	cmocka_unit_test(no_end_of_file),
	cmocka_unit_test(answer_not_understood),
	cmocka_unit_test(vnicd_not_started),
	cmocka_unit_test(vnicd_killed),
	cmocka_unit_test(vnicd_hung),
	cmocka_unit_test(vnicd_hung_with_full_backlog),
	cmocka_unit_test(vnicd_dies_before_its_answer),
	cmocka_unit_test(vnicd_dies_of_the_request_each_time),
	cmocka_unit_test(vnicd_away_beyond_patience),
	cmocka_unit_test(vnicd_comes_back),
	cmocka_unit_test(vnicd_is_replaced_while_it_works),
	cmocka_unit_test(socket_of_another_kind),
};

int main(void)
{
	int bad = hook_table_check("call", tests, ARRAY_SIZE(tests));

	return cmocka_run_group_tests_name("hook calls", tests, NULL, NULL) || bad;
}
