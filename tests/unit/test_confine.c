/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a confined worker can do to other processes. */
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/forward/confine.h"

/* Signal @to, or itself where that is 0, from a confined process. Return: what it ended with. */
static int signal_from_within(pid_t to, int sig)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (confine() < 0)
			_exit(1);
		if (to)
			syscall(SYS_tgkill, to, to, sig);
		else
			raise(sig);
		_exit(2);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void signals_nobody_else(void **state)
{
	int status = signal_from_within(getpid(), 0);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void ends_itself(void **state)
{
	int status = signal_from_within(0, SIGTERM);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

int main(void)
{
#ifdef __SANITIZE_ADDRESS__
	puts("1..0 # SKIP AddressSanitizer needs system calls of its own, confine() sets no "
	     "filter");
	return 0;
#endif
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_nobody_else),
		cmocka_unit_test(ends_itself),
	};

	return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}
