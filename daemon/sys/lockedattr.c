/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Readers are children: one that waits for a device's lock cannot be killed, and a thread that did would keep vnicd from
 * ending, also when it is to be started anew because of it. One is kept for the next reading, since a host has thousands.
 */
#include "daemon/sys/lockedattr.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/sock.h"
#include "base/str.h"

/* A read that waits for nobody is done in no time, but for a machine that has much to do. */
unsigned int locked_wait_ms = 100;
/* While others hang, and so perhaps this one: their waits are not to add up to a loop that stands still. */
#define WAIT_MORE_MS 5
/* More devices that hang at a time are told of as busy without a try. */
#define READERS_MAX 32

struct answer {
	ssize_t n; /* of data; or a negative errno */
	char data[32];
};

struct reader {
	pid_t pid; /* 0: none */
	int sock;
	bool reads; /* the file: */
	dev_t dev;
	ino_t ino;
};

static struct reader readers[READERS_MAX];

static void __attribute__((noreturn)) child(void)
{
	struct answer a;
	size_t n_fds;
	char byte;
	int fd;

	while (sock_recv(CHILD_FD, &byte, 1, &fd, 1, &n_fds) == 1 && n_fds == 1) {
		a.n = read(fd, a.data, sizeof(a.data) - 1);
		if (a.n < 0)
			a.n = -errno;
		close(fd);
		if (sock_send(CHILD_FD, &a, sizeof(a), NULL, 0) < 0)
			break;
	}
	_exit(0);
}

static int reader_new(struct reader *r)
{
	int socks[2], ret = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		return -errno;
	*r = (struct reader){ .pid = child_fork(socks[1]), .sock = socks[0] };
	if (r->pid == 0)
		child();
	close(socks[1]);
	if (r->pid < 0) {
		ret = r->pid;
		close(socks[0]);
		*r = (struct reader){ 0 };
	}
	return ret;
}

/* Of one that does not read: it ends at once. */
static void reader_free(struct reader *r)
{
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	close(r->sock);
	*r = (struct reader){ 0 };
}

/* What it read, within @ms. -EBUSY: it reads still; else it is done, with -EIO as a reader that died. */
static int take_answer(struct reader *r, unsigned int ms, struct answer *a)
{
	struct pollfd p = { .fd = r->sock, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, (int)ms); /* anew after a signal: these are few */
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -EBUSY;
	r->reads = false;
	if (n > 0 && sock_recv(r->sock, a, sizeof(*a), NULL, 0, NULL) == sizeof(*a))
		return 0;
	reader_free(r);
	return -EIO;
}

/* Who may read the file; NULL where it is being read, or too many are. One that is free at least is kept. */
static struct reader *choose(const struct stat *st, bool *ret_others)
{
	struct reader *idle = NULL, *none = NULL;
	struct answer late;

	*ret_others = false;
	for (size_t i = 0; i < READERS_MAX; i++) {
		struct reader *r = &readers[i];

		if (r->pid && r->reads)
			take_answer(r, 0, &late);
		if (!r->pid) {
			none = none ?: r;
		} else if (r->reads) {
			if (r->dev == st->st_dev && r->ino == st->st_ino)
				return NULL;
			*ret_others = true;
		} else if (idle) {
			reader_free(r);
		} else {
			idle = r;
		}
	}
	return idle ?: none;
}

static int ask(struct reader *r, int fd, const struct stat *st)
{
	const char byte = 0;
	int ret = r->pid ? sock_send(r->sock, &byte, 1, &fd, 1) : -EPIPE;

	if (ret == -EPIPE || ret == -ECONNRESET) {
		/* None yet, or somebody killed it. */
		if (r->pid)
			reader_free(r);
		ret = reader_new(r);
		if (ret == 0)
			ret = sock_send(r->sock, &byte, 1, &fd, 1);
	}
	if (ret < 0)
		return ret;
	r->reads = true;
	r->dev = st->st_dev;
	r->ino = st->st_ino;
	return 0;
}

int locked_text(int dirfd, const char *attr, char *buf, size_t size)
{
	_cleanup_(closep) int fd = openat(dirfd, attr, O_RDONLY | O_CLOEXEC);
	struct answer a = { 0 };
	struct reader *r;
	struct stat st;
	bool others;
	int ret;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	r = choose(&st, &others);
	if (!r)
		return -EBUSY;
	ret = ask(r, fd, &st);
	if (ret < 0)
		return ret;
	ret = take_answer(r, others ? WAIT_MORE_MS : locked_wait_ms, &a);
	if (ret < 0)
		return ret;
	if (a.n <= 0 || (size_t)a.n >= sizeof(a.data))
		return -EIO;
	a.data[a.n] = '\0';
	a.data[strcspn(a.data, "\n")] = '\0';
	return str_copy(buf, size, a.data);
}

int locked_number(int dirfd, const char *attr, int min, int max, int otherwise, bool *ret_busy)
{
	char text[32];
	uint64_t v;
	int r = locked_text(dirfd, attr, text, sizeof(text));

	*ret_busy = r == -EBUSY;
	if (r < 0 || u64_parse(text, 0, INT_MAX, &v) < 0)
		return otherwise;
	return (int)v >= min && (int)v <= max ? (int)v : otherwise;
}
