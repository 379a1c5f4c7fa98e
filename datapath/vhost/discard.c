/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/vhost/discard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PATIENCE_MS	 10
#define PATIENCE_FREE_MS 250

struct discard {
	LIST_ENTRY(discard) link;
	const void *owner;
	int pidfd; /* of who closes them; -1: nobody yet */
	bool held; /* until fd_discard_release() */
	size_t n;
	int fds[];
};

static LIST_HEAD(, discard) discards = LIST_HEAD_INITIALIZER(discards);

/*
 * A process with our descriptors, by its pidfd where one is asked for. Like fork(2): 0 in the child. Not
 * clone3(2): seccomp filters that forbid namespaces cannot look at its flags, and refuse it whole.
 */
static pid_t clone_with_files(int *ret_pidfd)
{
	unsigned long flags = CLONE_FILES | (ret_pidfd ? CLONE_PIDFD : 0);

#ifdef __s390__
	return (pid_t)syscall(SYS_clone, 0UL, flags, ret_pidfd, 0UL, 0UL);
#else
	return (pid_t)syscall(SYS_clone, flags, 0UL, ret_pidfd, 0UL, 0UL);
#endif
}

/* Each by a process of its own: one that waits must not keep the others in the table. */
static void __attribute__((noreturn)) close_them(const int *fds, size_t n, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if ((pid_t)syscall(SYS_getppid) != parent)
		_exit(1);
	for (size_t i = 0; i < n; i++) {
		pid_t pid = n > 1 ? clone_with_files(NULL) : -1;

		if (pid > 0)
			continue;
		if (pid == 0)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[i]);
		if (pid == 0)
			_exit(0);
	}
	while (wait4(-1, NULL, __WALL, NULL) >= 0 || errno == EINTR)
		;
	_exit(0);
}

static bool begin(struct discard *d)
{
	pid_t self = (pid_t)syscall(SYS_getpid), pid = clone_with_files(&d->pidfd);

	if (pid == 0)
		close_them(d->fds, d->n, self);
	if (pid < 0)
		d->pidfd = -1;
	return pid > 0;
}

static bool ended(struct discard *d, int timeout_ms)
{
	struct pollfd p = { .fd = d->pidfd, .events = POLLIN };
	siginfo_t si;

	if (d->pidfd < 0 || poll(&p, 1, timeout_ms) <= 0)
		return false;
	waitid(P_PIDFD, (id_t)d->pidfd, &si, WEXITED | WNOHANG | __WALL);
	close(d->pidfd);
	return true;
}

/* A worker that is forked now would inherit those that are not, and wait in its turn. */
static bool all_free(const struct discard *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (fcntl(d->fds[i], F_GETFD) >= 0)
			return false;
	return true;
}

static struct discard *new_discard(const void *owner, const int *fds, size_t n)
{
	struct discard *d = calloc(1, sizeof(*d) + n * sizeof(*fds));

	if (!d)
		abort();
	d->owner = owner;
	d->n = n;
	d->pidfd = -1;
	memcpy(d->fds, fds, n * sizeof(*fds));
	return d;
}

void fd_discard(const void *owner, const int *fds, size_t n)
{
	struct discard *d;

	if (n == 0)
		return;
	d = new_discard(owner, fds, n);
	if (begin(d)) {
		bool over = ended(d, PATIENCE_MS);

		for (int i = 0; i < PATIENCE_FREE_MS && !over && !all_free(d); i++)
			over = ended(d, 1);
		if (over) {
			free(d);
			return;
		}
	}
	LIST_INSERT_HEAD(&discards, d, link);
}

/* Hang up. Return: is it empty, and closed? */
static bool hang_up(int fd)
{
	int unread = 1;

	/* Nothing more comes: who finds it empty finds it empty for good. */
	shutdown(fd, SHUT_RDWR);
	if (ioctl(fd, FIONREAD, &unread) < 0 || unread != 0)
		return false;
	close(fd);
	return true;
}

void fd_discard_socket(const void *owner, int fd)
{
	if (fd >= 0 && !hang_up(fd))
		fd_discard(owner, &fd, 1);
}

bool fd_discard_socket_held(const void *owner, int fd)
{
	struct discard *d;

	if (fd < 0 || hang_up(fd))
		return false;
	d = new_discard(owner, &fd, 1);
	d->held = true;
	LIST_INSERT_HEAD(&discards, d, link);
	return true;
}

void fd_discard_release(const void *owner)
{
	struct discard *d;

	LIST_FOREACH(d, &discards, link)
	if (d->owner == owner)
		d->held = false;
	fd_discarding(owner);
}

bool fd_discarding(const void *owner)
{
	struct discard *d, *next;
	bool found = false;

	for (d = LIST_FIRST(&discards); d; d = next) {
		next = LIST_NEXT(d, link);
		if (d->held || (d->pidfd < 0 && !begin(d))) {
			found |= d->owner == owner;
		} else if (ended(d, 0)) {
			LIST_REMOVE(d, link);
			free(d);
		} else {
			found |= d->owner == owner;
		}
	}
	return found;
}
