/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/sys/loop.h"

struct fixture {
	struct loop *loop;
	struct loop_source *source;
	int pair[2];
	int n;
	unsigned int events;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, f->pair), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_source_free(f->source);
	loop_free(f->loop);
	close_safe(f->pair[0]);
	close_safe(f->pair[1]);
	free(f);
	return 0;
}

static void count(void *userdata)
{
	struct fixture *f = userdata;

	f->n++;
	loop_exit(f->loop, 7);
}

static void timer_fires_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_add_timer(f->loop, count, f, &f->source), 0);
	assert_int_equal(loop_once(f->loop), 0);
	assert_int_equal(f->n, 0);
	assert_int_equal(loop_timer_set(f->source, 100), 0);
	assert_int_equal(loop_run(f->loop), 7);
	assert_int_equal(f->n, 1);
	usleep(500);
	assert_int_equal(loop_once(f->loop), 0);
	assert_int_equal(f->n, 1);
	/* Set anew it replaces the earlier time; stopped it does not come. */
	assert_int_equal(loop_timer_set(f->source, 60000000), 0);
	assert_int_equal(loop_timer_set(f->source, 0), 0);
	assert_int_equal(loop_run(f->loop), 7);
	assert_int_equal(loop_timer_set(f->source, 0), 0);
	loop_timer_stop(f->source);
	assert_int_equal(loop_once(f->loop), 0);
	assert_int_equal(f->n, 2);
}

static void answer_or_its_time(void **state)
{
	struct fixture *f = *state;

	/* Its time. */
	assert_int_equal(loop_add_answer(f->loop, f->pair[0], 100, count, f, &f->source), 0);
	assert_int_equal(loop_run(f->loop), 7);
	assert_int_equal(f->n, 1);
	/* That was it: nothing comes of what can be read later. */
	assert_int_equal(write(f->pair[1], "x", 1), 1);
	assert_int_equal(loop_once(f->loop), 0);
	assert_int_equal(f->n, 1);
	f->source = loop_source_free(f->source);
	/* An answer, long before its time; once, though it is not read. */
	assert_int_equal(loop_add_answer(f->loop, f->pair[0], 60000000, count, f, &f->source), 0);
	assert_int_equal(loop_run(f->loop), 7);
	assert_int_equal(loop_once(f->loop), 0);
	assert_int_equal(f->n, 2);
}

static void on_io(void *userdata, int fd, unsigned int events)
{
	struct fixture *f = userdata;

	assert_int_equal(fd, f->pair[0]);
	f->n++;
	f->events = events;
}

static void io_as_asked_for(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_add_io(f->loop, f->pair[0], LOOP_READ, on_io, f, &f->source), 0);
	loop_once(f->loop);
	assert_int_equal(f->n, 0);
	assert_int_equal(write(f->pair[1], "x", 1), 1);
	/* Not read, it is told again. */
	loop_once(f->loop);
	loop_once(f->loop);
	assert_int_equal(f->n, 2);
	assert_int_equal(f->events, LOOP_READ);
	assert_int_equal(loop_io_events(f->source, LOOP_READ | LOOP_WRITE), 0);
	loop_once(f->loop);
	assert_int_equal(f->events, LOOP_READ | LOOP_WRITE);
	assert_int_equal(loop_io_events(f->source, 0), 0);
	loop_once(f->loop);
	assert_int_equal(f->n, 3);
	assert_int_equal(loop_io_events(f->source, LOOP_WRITE), 0);
	loop_once(f->loop);
	assert_int_equal(f->events, LOOP_WRITE);
}

static void hang_up_reads(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_add_io(f->loop, f->pair[0], LOOP_READ, on_io, f, &f->source), 0);
	f->pair[1] = close_safe(f->pair[1]);
	loop_once(f->loop);
	assert_int_equal(f->events, LOOP_READ);
}

static void free_self(void *userdata, int fd, unsigned int events)
{
	struct fixture *f = userdata;

	(void)fd;
	(void)events;
	f->n++;
	f->source = loop_source_free(f->source);
}

static void freed_from_its_own_callback(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_add_io(f->loop, f->pair[0], LOOP_WRITE, free_self, f, &f->source), 0);
	loop_once(f->loop);
	loop_once(f->loop);
	assert_int_equal(f->n, 1);
}

static void on_signal(void *userdata, int signo)
{
	struct fixture *f = userdata;

	f->n = signo;
	loop_exit(f->loop, 0);
}

static void signals_come_from_the_loop(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_add_signal(f->loop, SIGHUP, on_signal, f, &f->source), 0);
	raise(SIGHUP);
	assert_int_equal(f->n, 0);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->n, SIGHUP);
}

static void watchdog_is_fed_by_a_turning_loop(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char pid[16], buf[32];
	int fed = 0;

	unsetenv("WATCHDOG_USEC");
	assert_int_equal(loop_watchdog(f->loop), 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/vnic-unit-notify-%d", (int)getpid());
	unlink(addr.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	setenv("WATCHDOG_USEC", "3000", 1);
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(loop_watchdog(f->loop), 1);
	for (int i = 0; i < 5000 && fed < 3; i++) {
		ssize_t n;

		loop_once(f->loop);
		n = recv(fd, buf, sizeof(buf) - 1, 0);
		if (n > 0) {
			buf[n] = '\0';
			assert_string_equal(buf, "WATCHDOG=1");
			fed++;
		}
		usleep(1000);
	}
	assert_int_equal(fed, 3);
	/* Between turns nobody feeds it. */
	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
	usleep(5000);
	assert_int_equal(recv(fd, buf, sizeof(buf), 0), -1);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unlink(addr.sun_path);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timer_fires_once, setup, teardown),
		cmocka_unit_test_setup_teardown(answer_or_its_time, setup, teardown),
		cmocka_unit_test_setup_teardown(io_as_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(hang_up_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(freed_from_its_own_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(signals_come_from_the_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(watchdog_is_fed_by_a_turning_loop, setup, teardown),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
