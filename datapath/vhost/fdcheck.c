/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/vhost/fdcheck.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <unistd.h>

#include "api/errors.h"

#define REFUSE(err, ...) vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE, __VA_ARGS__)

/* A memfd, or a file of tmpfs or hugetlbfs. O_PATH descriptors are not. */
static bool is_memory(int fd)
{
	return fcntl(fd, F_GET_SEALS) >= 0;
}

static bool is_event(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char link[32], to[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, to, sizeof(to));
	return n == sizeof(want) - 1 && !memcmp(to, want, sizeof(want) - 1);
}

bool fd_harmless(int fd)
{
	return is_memory(fd) || is_event(fd);
}

int fd_check_memory(int fd, uint64_t end, const char *what, struct vnic_err *err)
{
	struct statfs fs;
	struct stat st;
	int flags;

	if (!is_memory(fd) || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0 || !S_ISREG(st.st_mode) ||
	    (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC))
		return REFUSE(
			err,
			"%s: the descriptor is not a memfd, tmpfs or hugetlbfs file; give the VM "
			"memory of type memfd with share=on",
			what);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) != O_RDWR)
		return REFUSE(err, "%s: the descriptor is not open for reading and writing", what);
	if (st.st_size < 0 || (uint64_t)st.st_size < end)
		return REFUSE(err,
			      "%s: the file has %" PRIu64
			      " bytes, less than offset and size ask for "
			      "(%" PRIu64 ")",
			      what, (uint64_t)st.st_size, end);
	return 0;
}

int fd_check_event(int fd, const char *what, struct vnic_err *err)
{
	int flags;

	if (!is_event(fd))
		return REFUSE(err, "%s: the descriptor is not an eventfd", what);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return REFUSE(err, "%s: the eventfd cannot be made non-blocking", what);
	return 0;
}

static void on_alarm(int sig)
{
	(void)sig; /* it interrupts write(2) by being there */
}

/* There is no write(2) to an eventfd that takes RWF_NOWAIT, so a timer ends one that has to wait. */
bool fd_event_signal(int fd)
{
	static const struct itimerval limit = { { .tv_usec = 10000 }, { .tv_usec = 10000 } };
	static const struct itimerval off = { 0 };
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct sigaction alarm = { .sa_handler = on_alarm }, before;
	const uint64_t one = 1;
	bool waited = false;

	if (fd < 0 || poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT))
		return true; /* a full one says it already */
	sigemptyset(&alarm.sa_mask);
	if (sigaction(SIGALRM, &alarm, &before) < 0)
		return true;
	if (setitimer(ITIMER_REAL, &limit, NULL) == 0) {
		waited = write(fd, &one, sizeof(one)) < 0 && errno == EINTR;
		setitimer(ITIMER_REAL, &off, NULL);
	}
	sigaction(SIGALRM, &before, NULL);
	return !waited;
}
