/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes whose reading may wait: a pipe with a name, which has nothing to read until it is written to. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "daemon/sys/lockedattr.h"
#include "tests/unit/unit.h"

static char dir[] = "/tmp/vnic-lockedattr-XXXXXX";
static int dirfd_;

static void write_file(const char *name, const char *text)
{
	_cleanup_(closep) int fd =
		openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void numbers(void **state)
{
	const struct {
		const char *text;
		int expect;
	} rows[] = { { "7\n", 7 },    { "0\n", 0 }, { "9", -1 },     { "-1\n", -1 },
		     { "seven", -1 }, { "\n", -1 }, { "0x3\n", -1 }, { "7 7\n", -1 },
		     { "3\n4\n", 3 }, { "", -1 } };
	bool busy;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		busy = true;
		write_file("n", rows[i].text);
		assert_int_equal(locked_number(dirfd_, "n", 0, 8, -1, &busy), rows[i].expect);
		assert_false(busy);
	}
	busy = true;
	assert_int_equal(locked_number(dirfd_, "missing", 0, 8, -1, &busy), -1);
	assert_false(busy);
}

static void waiting(void **state)
{
	_cleanup_(closep) int fd = -1;
	bool busy = false;

	(void)state;
	assert_int_equal(mkfifoat(dirfd_, "fifo", 0600), 0);
	fd = openat(dirfd_, "fifo", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	/* However often it is asked for, one read waits. */
	for (int i = 0; i < 100; i++) {
		assert_int_equal(locked_number(dirfd_, "fifo", 0, 8, -1, &busy), -1);
		assert_true(busy);
	}
	/* Others are not held up. */
	write_file("n", "5\n");
	for (int i = 0; i < 1000 && locked_number(dirfd_, "n", 0, 8, -1, &busy) != 5; i++)
		assert_true(busy); /* a machine with much to do: asking again is worth while */
	assert_false(busy);
	/* That read ends, and the next ones tell what is there then. */
	assert_int_equal(write(fd, "3\n", 2), 2);
	for (int i = 0; i < 10000; i++, usleep(1000)) {
		assert_int_equal(write(fd, "4\n", 2), 2);
		if (locked_number(dirfd_, "fifo", 0, 8, -1, &busy) == 4) {
			assert_false(busy);
			return;
		}
	}
	fail_msg("it stays busy");
}

/* Whoever reads for us may be killed: the next reading has another. */
static void killed(void **state)
{
	bool busy = true;
	siginfo_t info;
	char path[64];
	FILE *f;
	int pid;

	(void)state;
	write_file("n", "6\n");
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	for (int i = 0; i < 3; i++) {
		assert_int_equal(locked_number(dirfd_, "n", 0, 8, -1, &busy), 6);
		f = fopen(path, "re");
		assert_non_null(f);
		while (fscanf(f, "%d", &pid) == 1)
			if (kill(pid, SIGKILL) == 0)
				assert_int_equal(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
		fclose(f);
	}
	assert_false(busy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(killed),
		cmocka_unit_test(waiting),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlinkat(dirfd_, "n", 0);
	unlinkat(dirfd_, "fifo", 0);
	rmdir(dir);
	return r;
}
