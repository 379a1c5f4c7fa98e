// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "tests/bench/watch.h"

static void watch_task(struct watch *w, const char *dir)
{
	char name[128];
	int fd;

	snprintf(name, sizeof(name), "%s/schedstat", dir);
	if (w->n == WATCH_MAX)
		return;
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		w->fd[w->n++] = fd;
}

/* All threads of @pid, and its children's: a backend is a keeper and its workers. */
static void watch_process(struct watch *w, long pid, int depth)
{
	char name[64], task[96], list[128];
	_cleanup_(closedirp) DIR *dir = NULL;
	struct dirent *d;

	snprintf(name, sizeof(name), "/proc/%ld/task", pid);
	dir = opendir(name);
	while (dir && (d = readdir(dir))) {
		_cleanup_(fclosep) FILE *children = NULL;
		long child;

		if (d->d_name[0] == '.')
			continue;
		snprintf(task, sizeof(task), "%s/%.16s", name, d->d_name);
		watch_task(w, task);
		snprintf(list, sizeof(list), "%s/children", task);
		children = depth > 0 ? fopen(list, "re") : NULL;
		while (children && fscanf(children, "%ld", &child) == 1)
			watch_process(w, child, depth - 1);
	}
}

void watch_open(struct watch *w, int sock)
{
	struct sock_peer peer;

	w->n = 0;
	watch_task(w, "/proc/thread-self");
	if (sock_peer(sock, &peer) == 0)
		watch_process(w, peer.pid, 2);
}

void watch_close(struct watch *w)
{
	while (w->n > 0)
		close(w->fd[--w->n]);
}

uint64_t watch_waited(const struct watch *w)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < w->n; i++) {
		char buf[80];
		ssize_t len = pread(w->fd[i], buf, sizeof(buf) - 1, 0);
		unsigned long long waited;

		if (len <= 0)
			continue;
		buf[len] = '\0';
		if (sscanf(buf, "%*u %llu", &waited) == 1)
			sum += waited;
	}
	return sum;
}
