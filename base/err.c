/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void make_printable(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

int vnic_err_set(struct vnic_err *err, int error, const char *code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return error;
	snprintf(err->code, sizeof(err->code), "%s", code);
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	make_printable(err->message);
	return error;
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
