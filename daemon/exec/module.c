/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Modules, for steps that a child process does: it waits. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/exec/exec_priv.h"

static bool run(char *const argv[])
{
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;
	int status = -1, r;

	sigemptyset(&none);
	if (posix_spawnattr_init(&attr) != 0)
		return false;
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawnp(&pid, argv[0], NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	if (r != 0)
		return false;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0;
}

/* Its unit keeps vnicd from loading modules: then systemd does it, where it is the init. */
void load_module(const char *name)
{
	char unit[80];
	char *const modprobe[] = { (char *)"modprobe", (char *)"-q", (char *)name, NULL };
	char *const systemctl[] = { (char *)"systemctl", (char *)"-q", (char *)"start", unit,
				    NULL };

	snprintf(unit, sizeof(unit), "modprobe@%s.service", name);
	if (!run(modprobe))
		run(systemctl);
}
