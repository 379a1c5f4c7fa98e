/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/child.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

pid_t child_fork(int keep)
{
	const pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid < 0 ? -errno : pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1); /* that was too late */
	if (keep >= 0 && dup2(keep, CHILD_FD) < 0)
		_exit(1);
	close_range(keep < 0 ? CHILD_FD : CHILD_FD + 1, ~0u, 0);
	return 0;
}
