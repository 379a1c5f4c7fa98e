/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors as all of vnicd uses them.
 *
 * A function returns 0, or a negative errno for a failure. Positive values are outcomes that the
 * caller must handle, documented where they are returned. ret_ parameters are untouched on failure.
 *
 * Where a person will read it, a failure also carries a struct vnic_err: which rule was broken, in
 * which field, and what to do about it.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>

#define VNIC_ERR_CODE_MAX    48
#define VNIC_ERR_MESSAGE_MAX 512

/**
 * struct vnic_err - one failure, for people and for programs
 * @code: CamelCase name from api/errors.h ("UnknownClass"); empty where there was no error
 * @message: one sentence: what is wrong and where, then what to do. No final newline.
 */
struct vnic_err {
	char code[VNIC_ERR_CODE_MAX];
	char message[VNIC_ERR_MESSAGE_MAX];
};

#define VNIC_ERR_INIT     \
	{                 \
		{ 0 },    \
		{         \
			0 \
		}         \
	}

/**
 * vnic_err_set() - fill @err (may be NULL) and return @error
 * @err: filled in; an error that is already there is replaced
 * @error: negative errno, returned as is, so that "return vnic_err_set(...)" reads well
 * @code: a code from api/errors.h
 * @fmt: the sentence, printf-like; control characters and what is no UTF-8 are replaced by '?', since
 *	 it may quote hostile input, or a part of it
 */
int vnic_err_set(struct vnic_err *err, int error, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The same as a value, to hand on. */
struct vnic_err vnic_err_of(const char *code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The same with a va_list, for functions that wrap it. */
int vnic_err_vset(struct vnic_err *err, int error, const char *code, const char *fmt, va_list ap)
	__attribute__((format(printf, 4, 0)));

/**
 * vnic_err_prefix() - put a place ("vnicd.conf:12: ") before the message that is there
 */
void vnic_err_prefix(struct vnic_err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
