/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker process as its keeper sees it. keeper/worker starts its own program anew with --worker: here that
 * is this test, as a process that reads nothing and waits.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/keeper/worker.h"
#include "tests/unit/fd_limit.h"

struct fixture {
	struct event_base *base;
	struct worker *w;
	unsigned int n_died, n_writable;
	struct worker_death death;
};

static void on_message(void *userdata, const union wire_message *m)
{
	(void)userdata, (void)m;
}

static void on_writable(void *userdata)
{
	struct fixture *f = userdata;

	f->n_writable++;
}

static void on_died(void *userdata, const struct worker_death *d)
{
	struct fixture *f = userdata;

	f->n_died++;
	f->death = *d;
	event_base_loopbreak(f->base);
}

static const struct worker_ops ops = { on_message, on_writable, on_died, on_writable };

static int set_up(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.base = event_base_new();
	assert_int_equal(worker_new(f.base, &ops, &f, -1, &f.w), 0);
	assert_int_equal(worker_start(f.w, false), 0);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	worker_free(f->w);
	event_base_free(f->base);
	return 0;
}

/* Run the loop until it died; long enough for a machine under load. */
static void await_death(struct fixture *f)
{
	const struct timeval patience = { .tv_sec = 20 };

	event_base_loopexit(f->base, &patience);
	event_base_dispatch(f->base);
	assert_int_equal(f->n_died, 1);
}

/* It would never know what it was not told: another one is told everything. */
static void who_cannot_be_told_is_replaced(void **state)
{
	static const struct wire_header h = { .type = WIRE_GO };
	const int no_descriptor = 1 << 20;
	struct fixture *f = *state;

	assert_int_equal(worker_send(f->w, &h, sizeof(h), &no_descriptor, 1), -EBADF);
	await_death(f);
	assert_non_null(strstr(f->death.reason, "cannot be told anything: Bad file descriptor"));
	assert_false(f->death.guilty);
	assert_int_equal(worker_send(f->w, &h, sizeof(h), NULL, 0), -ESRCH);
	assert_int_equal(worker_start(f->w, false), 0);
	assert_int_equal(worker_send(f->w, &h, sizeof(h), NULL, 0), 0);
}

/* What it died of is what counts, not that it could not be told anything any more. */
static void who_crashed_is_guilty_though_it_was_found_deaf(void **state)
{
	static const struct wire_header h = { .type = WIRE_GO };
	struct fixture *f = *state;
	siginfo_t si;

	kill(worker_pid(f->w), SIGABRT);
	assert_int_equal(waitid(P_PID, (id_t)worker_pid(f->w), &si, WEXITED | WNOWAIT), 0);
	assert_int_equal(worker_send(f->w, &h, sizeof(h), NULL, 0), -EPIPE);
	await_death(f);
	assert_non_null(strstr(f->death.reason, "signal 6 "));
	assert_true(f->death.guilty);
}

/* A full socket is waited for, and nobody is replaced for it. */
static void a_full_socket_is_waited_for(void **state)
{
	static const struct wire_header h = { .type = WIRE_GO };
	const struct timeval a_moment = { .tv_usec = 100000 };
	struct fixture *f = *state;
	int r = 0;

	for (int i = 0; i < 100000 && r == 0; i++)
		r = worker_send(f->w, &h, sizeof(h), NULL, 0);
	assert_int_equal(r, -EAGAIN);
	event_base_loopexit(f->base, &a_moment);
	event_base_dispatch(f->base);
	assert_int_equal(f->n_died, 0);
	assert_int_equal(f->n_writable, 0);
}

/* The limit is about all processes of a user: nobody is replaced for it, and it is tried again without the socket's word. */
static void a_limit_of_descriptors_on_their_way_is_waited_for(void **state)
{
	static const struct wire_header h = { .type = WIRE_GO };
	struct fixture *f = *state;
	struct fd_limit others;
	int fd = STDERR_FILENO;

	fd_limit_reach(&others);
	assert_int_equal(worker_send(f->w, &h, sizeof(h), &fd, 1), -ETOOMANYREFS);
	while (!f->n_writable)
		assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 0);
	assert_int_equal(worker_send(f->w, &h, sizeof(h), &fd, 1), -ETOOMANYREFS);
	fd_limit_leave(&others);
	while (f->n_writable < 2)
		assert_int_equal(event_base_loop(f->base, EVLOOP_ONCE), 0);
	assert_int_equal(worker_send(f->w, &h, sizeof(h), &fd, 1), 0);
	assert_int_equal(f->n_died, 0);
}

int main(int argc, char **argv)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(who_cannot_be_told_is_replaced),
		TEST(who_crashed_is_guilty_though_it_was_found_deaf),
		TEST(a_full_socket_is_waited_for),
		TEST(a_limit_of_descriptors_on_their_way_is_waited_for),
	};

	while (argc > 1 && !strcmp(argv[1], "--worker"))
		pause();
	return cmocka_run_group_tests_name("keeper_worker", tests, NULL, NULL);
}
