/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who holds a pidfile's lock, asked as vnicd asks for QEMU's. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/sys/pidlock.h"

struct place {
	char dir[32], file[64];
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/vnic-unit-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->file, sizeof(p->file), "%s/web.pid", p->dir);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	unlink(p->file);
	rmdir(p->file);
	rmdir(p->dir);
	free(p);
	return 0;
}

/* A process that locks @file and lives until it is killed; it is ready when this returns. */
static pid_t holder(const char *file, int command)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(file, O_RDWR | O_CREAT, 0600);

		if (fd < 0 || fcntl(fd, command, &lock) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void held_and_free(void **state)
{
	struct place *p = *state;
	pid_t pid = holder(p->file, F_SETLK), who = -1;

	assert_int_equal(pidlock_holder(p->file, &who), 1);
	assert_int_equal(who, pid);
	assert_int_equal(pidlock_holder(p->file, NULL), 1);
	end(pid);
	who = -1;
	assert_int_equal(pidlock_holder(p->file, &who), 0);
	assert_int_equal(who, -1);
}

/* Asking takes no lock, so that it does not take one away from a QEMU that starts. */
static void asking_does_not_lock(void **state)
{
	struct place *p = *state;
	pid_t pid;

	end(holder(p->file, F_SETLK));
	assert_int_equal(pidlock_holder(p->file, NULL), 0);
	pid = holder(p->file, F_SETLK);
	assert_int_equal(pidlock_holder(p->file, NULL), 1);
	end(pid);
}

static void holder_without_a_pid(void **state)
{
	struct place *p = *state;
	pid_t pid = holder(p->file, F_OFD_SETLK), who = -1;

	assert_int_equal(pidlock_holder(p->file, &who), 1);
	assert_int_equal(who, 0);
	end(pid);
}

static void no_such_file(void **state)
{
	struct place *p = *state;

	assert_int_equal(pidlock_holder(p->file, NULL), 0);
	assert_int_equal(pidlock_holder("", NULL), 0);
}

static void no_regular_file(void **state)
{
	struct place *p = *state;

	assert_int_equal(symlink("/etc/passwd", p->file), 0);
	assert_int_equal(pidlock_holder(p->file, NULL), -ELOOP);
	unlink(p->file);
	assert_int_equal(mkfifo(p->file, 0600), 0);
	assert_int_equal(pidlock_holder(p->file, NULL), -EINVAL);
	unlink(p->file);
	assert_int_equal(mkdir(p->file, 0700), 0);
	assert_int_equal(pidlock_holder(p->file, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(held_and_free, setup, teardown),
		cmocka_unit_test_setup_teardown(asking_does_not_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(holder_without_a_pid, setup, teardown),
		cmocka_unit_test_setup_teardown(no_such_file, setup, teardown),
		cmocka_unit_test_setup_teardown(no_regular_file, setup, teardown),
	};

	return cmocka_run_group_tests_name("pidlock", tests, NULL, NULL);
}
