/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log lines: to the journal with fields where stderr is a journal stream, else to stderr with
 * syslog's priority prefix where NOTIFY_SOCKET says that a service manager reads it, else plain.
 *
 * Only the glue logs above debug: a function that returns an error does not log it as well.
 */
#pragma once

#include <syslog.h>

/* Fields of a line, each may be NULL. Journal names: VNIC_PORT, VNIC_DOMAIN, VNIC_NIC, VNIC_SEGMENT. */
struct vnic_log_fields {
	const char *port;
	const char *domain;
	const char *nic;
	const char *segment;
};

/**
 * vnic_log_open() - name this program in its lines and set the level
 * @ident: SYSLOG_IDENTIFIER; must stay valid
 * @max_level: LOG_ERR … LOG_DEBUG, as in syslog.h
 */
void vnic_log_open(const char *ident, int max_level);
int vnic_log_level(void);
void vnic_log_set_level(int max_level);

/* Parse "err", "warning", "notice", "info", "debug"; -EINVAL for others. */
int vnic_log_level_parse(const char *s);

void vnic_log_full(int level, const struct vnic_log_fields *fields, const char *file, int line,
		   const char *func, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#define vnic_log(level, fields, ...)                                                             \
	do {                                                                                     \
		if ((level) <= vnic_log_level())                                                 \
			vnic_log_full(level, fields, __FILE__, __LINE__, __func__, __VA_ARGS__); \
	} while (0)

#define log_err(...)	 vnic_log(LOG_ERR, NULL, __VA_ARGS__)
#define log_warning(...) vnic_log(LOG_WARNING, NULL, __VA_ARGS__)
#define log_notice(...)	 vnic_log(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_info(...)	 vnic_log(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...)	 vnic_log(LOG_DEBUG, NULL, __VA_ARGS__)
