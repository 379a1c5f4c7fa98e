/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/peer.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/file.h"

/* Field 22 of /proc/PID/stat, proc(5); the name in field 2 may hold anything, so count from its ')'. */
static int start_time(pid_t pid, uint64_t *ret)
{
	_cleanup_(freep) char *data = NULL;
	char name[40], *p;
	int r;

	snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
	r = file_read(AT_FDCWD, name, 4096, &data, NULL);
	if (r < 0)
		return r;
	p = strrchr(data, ')');
	for (int i = 0; p && i < 20; i++)
		p = strchr(p + 1, ' ');
	if (!p || sscanf(p, " %" SCNu64, ret) != 1)
		return -EIO;
	return 0;
}

int peer_check(pid_t pid, const char *pidfile, struct vnic_err *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_(closep) int fd = -1;
	uint64_t before, after;

	if (pid <= 0 || start_time(pid, &before) < 0)
		return vnic_err_set(err, -ESRCH, VNIC_E_ACCESS, "the peer's process is gone");
	fd = open(pidfile, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0)
		return vnic_err_set(err, -errno, VNIC_E_ACCESS,
				    "the pidfile %s cannot be asked: %s", pidfile, strerror(errno));
	if (lock.l_type == F_UNLCK)
		return vnic_err_set(err, -EACCES, VNIC_E_ACCESS,
				    "nobody holds the lock on %s: process %d is not its domain",
				    pidfile, (int)pid);
	if (lock.l_pid != pid)
		return vnic_err_set(err, -EACCES, VNIC_E_ACCESS,
				    "process %d is not the one that holds the lock on %s (%d)",
				    (int)pid, pidfile, (int)lock.l_pid);
	if (start_time(pid, &after) < 0 || after != before)
		return vnic_err_set(err, -ESRCH, VNIC_E_ACCESS,
				    "process %d changed while it was looked at", (int)pid);
	return 0;
}
