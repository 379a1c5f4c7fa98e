/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/child.h: what a child has of its parent, and that it does not outlive it. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "tests/unit/unit.h"

#define FD_MAX 200

/* How many descriptors behind the standard ones are open. */
static int n_open(void)
{
	int n = 0;

	for (int fd = CHILD_FD; fd <= FD_MAX; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int status_of(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void descriptors(void **state)
{
	int a[2], b[2], high;
	char byte = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	assert_int_equal(pipe2(b, O_CLOEXEC), 0);
	high = fcntl(a[0], F_DUPFD_CLOEXEC, FD_MAX);
	assert_int_equal(high, FD_MAX);
	pid = child_fork(-1);
	if (pid == 0)
		_exit(n_open());
	assert_int_equal(status_of(pid), 0);
	/* CHILD_FD is another one in the parent. */
	pid = child_fork(b[1]);
	if (pid == 0)
		_exit(write(CHILD_FD, "x", 1) == 1 ? n_open() : 99);
	assert_int_equal(status_of(pid), 1);
	assert_int_equal(read(b[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
	close(high);
}

/* Its pipe, which it holds open, ends with its parent. */
static void parents_death(void **state)
{
	struct pollfd p = { .events = POLLIN };
	pid_t parent, pid;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	parent = fork();
	if (parent == 0) {
		if (child_fork(fds[1]) == 0) {
			pid = getpid();
			if (write(CHILD_FD, &pid, sizeof(pid)) != sizeof(pid))
				_exit(1);
		}
		for (;;)
			pause();
	}
	assert_true(parent > 0);
	close(fds[1]);
	assert_int_equal(read(fds[0], &pid, sizeof(pid)), sizeof(pid));
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	p.fd = fds[0];
	if (poll(&p, 1, 20000) != 1) {
		kill(pid, SIGKILL);
		fail_msg("it lives on");
	}
	assert_int_equal(read(fds[0], &pid, 1), 0);
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors),
		cmocka_unit_test(parents_death),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
