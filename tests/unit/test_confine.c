/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a confined worker can do to other processes. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
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

#define PAGE 4096

/* What a worker that was taken over would want next. */
static void calls_nothing_that_it_does_not_need(void **state)
{
	static char *const none[] = { NULL };
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct {
		const char *name;
		long nr, arg[6];
	} call[] = {
		{ "openat", SYS_openat, { AT_FDCWD, (long)"/dev/null", O_RDONLY } },
		{ "socket", SYS_socket, { AF_UNIX, SOCK_STREAM, 0 } },
		{ "execve", SYS_execve, { (long)"/bin/true", (long)none, (long)none } },
		{ "kill", SYS_kill, { getpid(), 0 } },
		{ "ptrace", SYS_ptrace, { PTRACE_TRACEME } },
		{ "mmap",
		  SYS_mmap,
		  { 0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 } },
		{ "mprotect", SYS_mprotect, { (long)page, PAGE, PROT_READ | PROT_EXEC } },
	};

	(void)state;
	assert_true(page != MAP_FAILED);
	for (size_t i = 0; i < ARRAY_SIZE(call); i++) {
		const long *a = call[i].arg;
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			if (confine() < 0)
				_exit(1);
			syscall(call[i].nr, a[0], a[1], a[2], a[3], a[4], a[5]);
			_exit(2);
		}
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: wait status %#x", call[i].name, (unsigned int)status);
	}
	munmap(page, PAGE);
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
		cmocka_unit_test(calls_nothing_that_it_does_not_need),
		cmocka_unit_test(ends_itself),
	};

	return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}
