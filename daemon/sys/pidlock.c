/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/pidlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int pidlock_holder(const char *file, pid_t *ret_pid)
{
	/* QEMU locks the whole file for writing; any overlapping lock answers. */
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_(closep) int fd = -1;
	struct stat st;

	fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (fcntl(fd, F_GETLK, &lock) < 0)
		return -errno;
	if (lock.l_type == F_UNLCK)
		return 0;
	/* -1 for an open file description's lock, 0 for a process that our namespace does not show. */
	if (ret_pid)
		*ret_pid = lock.l_pid > 0 ? lock.l_pid : 0;
	return 1;
}
