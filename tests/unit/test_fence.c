/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keeper/fence: in a child each, since there is no way back. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/keeper/fence.h"

static char folder[] = "/tmp/vnicd-fence-XXXXXX";
static char file[64];

/* What open(2) says behind the fence: 0 or an errno; 200: no Landlock here. */
static int behind(const char *more, const char *path, int flags)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int r = fence_up(more);

		if (r != 0)
			_exit(r == 1 ? 200 : 201);
		_exit(open(path, flags, 0600) < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 200)
		skip();
	return WEXITSTATUS(status);
}

static void what_is_needed_can_be_read(void **state)
{
	(void)state;
	assert_int_equal(behind(NULL, "/proc/self/stat", O_RDONLY), 0);
	assert_int_equal(behind(NULL, "/etc/passwd", O_RDONLY), 0);
	assert_int_equal(behind(NULL, "/dev/null", O_RDWR), 0);
	assert_int_equal(behind(NULL, "/proc/self/exe", O_RDONLY), 0);
}

static void nothing_else_is_touched(void **state)
{
	(void)state;
	assert_int_equal(behind(NULL, file, O_RDONLY), EACCES);
	assert_int_equal(behind(NULL, file, O_WRONLY), EACCES);
	assert_int_equal(behind(NULL, "/proc/self/comm", O_WRONLY), EACCES);
	assert_int_equal(behind(NULL, "/", O_RDONLY | O_DIRECTORY), EACCES);
}

static void statistics_are_written_where_they_are_asked_for(void **state)
{
	char other[80];

	(void)state;
	snprintf(other, sizeof(other), "%s.new", file);
	assert_int_equal(behind(file, file, O_WRONLY | O_TRUNC), 0);
	assert_int_equal(behind(file, other, O_WRONLY | O_CREAT), 0);
	unlink(other);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/stats", folder);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(file);
	rmdir(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_needed_can_be_read),
		cmocka_unit_test(nothing_else_is_touched),
		cmocka_unit_test(statistics_are_written_where_they_are_asked_for),
	};

	return cmocka_run_group_tests_name("fence", tests, set_up, tear_down);
}
