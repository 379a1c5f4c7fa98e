// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Times programs the way libvirt runs a hook: XML on stdin, stdout and stderr read to their end, waited
 * for. Commands run in turn, so that the machine's other users meet all alike.
 *
 *   spawn ROUNDS XML COMMAND [ARG…] [-- COMMAND [ARG…]]…
 *
 * Prints a line a call: command's number, exit status, microseconds.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"

#define COMMANDS_MAX 16
#define XML_MAX	     65536 /* fits a pipe */

extern char **environ;

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "spawn: %s: %m\n", what);
	exit(2);
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* Run @argv once: its exit status; *ret_us from before the spawn to after the wait. */
static int call(char **argv, const char *xml, size_t size, double *ret_us)
{
	posix_spawn_file_actions_t actions;
	char buf[4096];
	double start = now_us();
	int in[2], out[2], status, r;
	pid_t pid;
	ssize_t n;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		fail("pipe");
	if (write(in[1], xml, size) != (ssize_t)size)
		fail("writing the XML");
	close(in[1]);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	posix_spawn_file_actions_adddup2(&actions, out[1], 2);
	r = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r != 0) {
		errno = r;
		fail(argv[0]);
	}
	close(in[0]);
	close(out[1]);
	while ((n = read(out[0], buf, sizeof(buf))) > 0)
		if (write(STDERR_FILENO, buf, (size_t)n) < 0)
			fail("stderr");
	close(out[0]);
	if (waitpid(pid, &status, 0) < 0)
		fail("waitpid");
	*ret_us = now_us() - start;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	char **command[COMMANDS_MAX], xml[XML_MAX];
	unsigned int n = 0;
	unsigned long rounds;
	ssize_t size;
	int fd;

	if (argc < 4) {
		fputs("usage: spawn ROUNDS XML COMMAND [ARG…] [-- COMMAND [ARG…]]…\n", stderr);
		return 2;
	}
	rounds = strtoul(argv[1], NULL, 10);
	fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, xml, sizeof(xml));
	if (size <= 0 || (size_t)size == sizeof(xml))
		fail(argv[2]);
	command[n++] = argv + 3;
	for (int i = 3; i < argc && n < COMMANDS_MAX; i++) {
		if (!str_eq(argv[i], "--"))
			continue;
		argv[i] = NULL;
		command[n++] = argv + i + 1;
	}
	for (unsigned int i = 0; i < n; i++)
		if (!command[i][0])
			fail("an empty command");
	for (unsigned long k = 0; k < rounds; k++) {
		for (unsigned int i = 0; i < n; i++) {
			double us = 0;
			int status = call(command[i], xml, (size_t)size, &us);

			printf("%u %d %.1f\n", i, status, us);
		}
	}
	return 0;
}
