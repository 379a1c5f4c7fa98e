/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "datapath/keeper/report.h"

static const struct timeval second = { .tv_sec = 1 };

struct stats {
	struct keeper *keeper;
	int dirfd;
	char name[NAME_MAX + 1];
	struct event *timer;
	bool pending;
	bool failing; /* said so already */
};

static int write_stats(struct stats *s)
{
	_cleanup_(json_putp) struct json_object *o = report_all(s->keeper);
	_cleanup_(freep) char *text = NULL;
	size_t size;
	const char *json = json_object_to_json_string_length(o, JSON_C_TO_STRING_PRETTY, &size);

	if (!json)
		return -ENOMEM;
	text = malloc(size + 1);
	if (!text)
		return -ENOMEM;
	memcpy(text, json, size);
	text[size] = '\n';
	return file_write_atomic(s->dirfd, s->name, text, size + 1, 0644);
}

static void write_or_complain(struct stats *s)
{
	int r = write_stats(s);

	if (r < 0 && !s->failing)
		log_warning("the statistics file %s cannot be written: %s", s->name, strerror(-r));
	s->failing = r < 0;
}

static void on_second(evutil_socket_t fd, short what, void *userdata)
{
	struct stats *s = userdata;

	(void)fd, (void)what;
	s->pending = false;
	write_or_complain(s);
}

void stats_changed(struct stats *s)
{
	if (!s || s->pending)
		return;
	s->pending = true;
	event_add(s->timer, &second);
}

static struct stats *stats_drop(struct stats *s)
{
	if (!s)
		return NULL;
	if (s->timer)
		event_free(s->timer);
	close_safe(s->dirfd);
	free(s);
	return NULL;
}
DEFINE_CLEANUP(struct stats *, stats_drop)

struct stats *stats_free(struct stats *s)
{
	if (s)
		write_or_complain(s);
	return stats_drop(s);
}

int stats_new(struct keeper *k, const char *file, struct stats **ret)
{
	_cleanup_(stats_dropp) struct stats *s = calloc(1, sizeof(*s));
	char a[PATH_MAX], b[PATH_MAX];
	int r;

	if (!s)
		return -ENOMEM;
	s->keeper = k;
	s->dirfd = -1;
	if (str_copy(a, sizeof(a), file) < 0 || str_copy(b, sizeof(b), file) < 0 ||
	    str_copy(s->name, sizeof(s->name), basename(b)) < 0)
		return -ENAMETOOLONG;
	s->dirfd = open(dirname(a), O_DIRECTORY | O_PATH | O_CLOEXEC);
	if (s->dirfd < 0)
		return -errno;
	s->timer = evtimer_new(k->base, on_second, s);
	if (!s->timer)
		return -ENOMEM;
	r = write_stats(s);
	if (r < 0)
		return r;
	*ret = take_ptr(s);
	return 0;
}
