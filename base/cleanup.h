/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scope-bound release: _cleanup_(fn) on a variable calls fn(&variable) at the end of its scope. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _unused_      __attribute__((unused))

/* Make "T *p" usable with _cleanup_: DEFINE_CLEANUP(struct x *, x_free) defines x_freep(). */
#define DEFINE_CLEANUP(type, fn)                   \
	static inline _unused_ void fn##p(type *p) \
	{                                          \
		if (*p)                            \
			fn(*p);                    \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
}

/* Close @fd and return -1; keeps errno, takes negative numbers. */
static inline int close_safe(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		close(fd);
		errno = saved;
	}
	return -1;
}

static inline void closep(int *fd)
{
	close_safe(*fd);
}

DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(DIR *, closedir)

/* Hand over what @p owns: returns it and leaves the empty value, so that _cleanup_ does nothing. */
#define take_ptr(p)                     \
	({                              \
		__typeof__(p) _p = (p); \
		(p) = NULL;             \
		_p;                     \
	})

static inline int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}
