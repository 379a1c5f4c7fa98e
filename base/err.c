/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* Also where a quoted name was cut within a character: D-Bus and JSON take UTF-8 only, or nothing at all. */
static void make_printable(char *s)
{
	str_make_utf8(s);
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

int vnic_err_vset(struct vnic_err *err, int error, const char *code, const char *fmt, va_list ap)
{
	char message[VNIC_ERR_MESSAGE_MAX];

	if (!err)
		return error;
	/* By way of a copy: the sentence may quote the one that it replaces. */
	vsnprintf(message, sizeof(message), fmt, ap);
	make_printable(message);
	snprintf(err->code, sizeof(err->code), "%s", code);
	memcpy(err->message, message, sizeof(message));
	return error;
}

int vnic_err_set(struct vnic_err *err, int error, const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vnic_err_vset(err, error, code, fmt, ap);
	va_end(ap);
	return error;
}

struct vnic_err vnic_err_of(const char *code, const char *fmt, ...)
{
	struct vnic_err err = VNIC_ERR_INIT;
	va_list ap;

	va_start(ap, fmt);
	vnic_err_vset(&err, 0, code, fmt, ap);
	va_end(ap);
	return err;
}

void vnic_err_prefix(struct vnic_err *err, const char *fmt, ...)
{
	char old[VNIC_ERR_MESSAGE_MAX];
	va_list ap;
	int n;

	if (!err)
		return;
	memcpy(old, err->message, sizeof(old));
	va_start(ap, fmt);
	n = vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(err->message))
		snprintf(err->message + n, sizeof(err->message) - (size_t)n, "%s", old);
	make_printable(err->message);
}
