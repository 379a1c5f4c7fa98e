/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/lockedattr.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

/* A read that waits for nobody is done in no time, but for a machine that has much to do. */
unsigned int locked_wait_ms = 100;
/* While others hang, and so perhaps this one: their waits are not to add up to a loop that stands still. */
#define WAIT_MORE_MS 5
/* Each is a thread; more devices that hang at a time are told of as busy without a try. */
#define READS_MAX 32

struct locked_read {
	dev_t dev;
	ino_t ino;
	int fd;
	sem_t done; /* after it the thread touches nothing of this */
	ssize_t n;
	char data[32];
};

static struct locked_read *reads[READS_MAX]; /* those that were not waited for to their end */

static void *reader(void *arg)
{
	struct locked_read *r = arg;

	r->n = read(r->fd, r->data, sizeof(r->data) - 1);
	sem_post(&r->done);
	return NULL;
}

static void read_free(struct locked_read *r)
{
	close(r->fd);
	sem_destroy(&r->done);
	free(r);
}

static int start(struct locked_read *r)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int ret;

	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ret = pthread_create(&thread, &attr, reader, r);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -ret;
}

/* Did it end in time? */
static bool waited(struct locked_read *r, unsigned int ms)
{
	struct timespec until;
	int ret;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	do
		ret = sem_clockwait(&r->done, CLOCK_MONOTONIC, &until);
	while (ret < 0 && errno == EINTR);
	return ret == 0;
}

/* Where a read of the file may be kept; NULL where one is under way, or too many are. */
static struct locked_read **place(const struct stat *st, bool *ret_others)
{
	struct locked_read **room = NULL;

	*ret_others = false;
	for (size_t i = 0; i < READS_MAX; i++) {
		struct locked_read *r = reads[i];

		if (r && sem_trywait(&r->done) == 0) {
			read_free(r);
			r = reads[i] = NULL;
		}
		if (r && r->dev == st->st_dev && r->ino == st->st_ino)
			return NULL;
		if (r)
			*ret_others = true;
		if (!r && !room)
			room = &reads[i];
	}
	return room;
}

int locked_text(int dirfd, const char *attr, char *buf, size_t size)
{
	int fd = openat(dirfd, attr, O_RDONLY | O_CLOEXEC), ret;
	struct locked_read *r, **room;
	struct stat st;
	bool others;

	if (fd < 0)
		return -errno;
	ret = fstat(fd, &st) < 0 ? -errno : 0;
	room = ret == 0 ? place(&st, &others) : NULL;
	r = room ? calloc(1, sizeof(*r)) : NULL;
	if (!r) {
		close(fd);
		return ret < 0 ? ret : room ? -ENOMEM : -EBUSY;
	}
	r->fd = fd;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	sem_init(&r->done, 0, 0);
	ret = start(r);
	if (ret == 0 && !waited(r, others ? WAIT_MORE_MS : locked_wait_ms)) {
		*room = r;
		return -EBUSY;
	}
	if (ret == 0 && r->n <= 0)
		ret = -EIO;
	if (ret == 0) {
		r->data[r->n] = '\0';
		r->data[strcspn(r->data, "\n")] = '\0';
		ret = str_copy(buf, size, r->data);
	}
	read_free(r);
	return ret;
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
