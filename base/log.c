/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#define LINE_MAX_LEN 2048

static const char *log_ident = "vnicd";
static int log_max = LOG_INFO;
static enum { TO_PLAIN, TO_PREFIXED, TO_JOURNAL } log_target;

/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream that stderr was connected to. */
static bool stderr_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!env || sscanf(env, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void vnic_log_open(const char *ident, int max_level)
{
	log_ident = ident;
	log_max = max_level;
	if (stderr_is_journal())
		log_target = TO_JOURNAL;
	else if (getenv("NOTIFY_SOCKET"))
		log_target = TO_PREFIXED;
	else
		log_target = TO_PLAIN;
}

int vnic_log_level(void)
{
	return log_max;
}

void vnic_log_set_level(int max_level)
{
	log_max = max_level;
}

int vnic_log_level_parse(const char *s)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{ "err", LOG_ERR },   { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
		{ "info", LOG_INFO }, { "debug", LOG_DEBUG },
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (!strcmp(s, levels[i].name))
			return levels[i].level;
	return -EINVAL;
}

#define MAX_FIELDS 10

struct fields {
	struct iovec iov[MAX_FIELDS];
	char buf[MAX_FIELDS][LINE_MAX_LEN + 32];
	int n;
};

static void field(struct fields *f, const char *name, const char *value)
{
	int n;

	if (!value || f->n == MAX_FIELDS)
		return;
	n = snprintf(f->buf[f->n], sizeof(f->buf[0]), "%s=%s", name, value);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(f->buf[0]))
		n = sizeof(f->buf[0]) - 1;
	f->iov[f->n] = (struct iovec){ f->buf[f->n], (size_t)n };
	f->n++;
}

static void to_journal(int level, const struct vnic_log_fields *extra, const char *file, int line,
		       const char *func, const char *text)
{
	struct fields f;
	char num[16];

	f.n = 0;
	snprintf(num, sizeof(num), "%d", level);
	field(&f, "PRIORITY", num);
	field(&f, "SYSLOG_IDENTIFIER", log_ident);
	field(&f, "MESSAGE", text);
	field(&f, "CODE_FILE", file);
	snprintf(num, sizeof(num), "%d", line);
	field(&f, "CODE_LINE", num);
	field(&f, "CODE_FUNC", func);
	if (extra) {
		field(&f, "VNIC_PORT", extra->port);
		field(&f, "VNIC_DOMAIN", extra->domain);
		field(&f, "VNIC_NIC", extra->nic);
		field(&f, "VNIC_SEGMENT", extra->segment);
	}
	sd_journal_sendv(f.iov, f.n);
}

void vnic_log_full(int level, const struct vnic_log_fields *fields, const char *file, int line,
		   const char *func, const char *fmt, ...)
{
	int saved = errno;
	char text[LINE_MAX_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* One message is one line, whatever it quotes. */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';

	if (log_target == TO_JOURNAL)
		to_journal(level, fields, file, line, func, text);
	else if (log_target == TO_PREFIXED)
		fprintf(stderr, "<%d>%s%s%s\n", level, text, fields && fields->port ? " port=" : "",
			fields && fields->port ? fields->port : "");
	else
		fprintf(stderr, "%s: %s%s%s\n", log_ident, text,
			fields && fields->port ? " port=" : "",
			fields && fields->port ? fields->port : "");
	errno = saved;
}
