/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies between guests' memory. Small frames are what counts: a call of memcpy() and its choice by
 * length cost as much as the copy, so that up to 256 bytes are moved inline, in blocks whose last
 * overlaps the one before.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "datapath/ring/commit.h"

#define COPY_BLOCK 32

typedef uint8_t copy_block __attribute__((vector_size(COPY_BLOCK), aligned(1), may_alias));

static inline void copy_bytes(uint8_t *dst, const uint8_t *src, size_t n)
{
#if defined(__SANITIZE_ADDRESS__)
	memcpy(dst, src, n);
#else
	if (n > 256) {
		memcpy(dst, src, n);
	} else if (n >= COPY_BLOCK) {
		size_t i = 0;

		for (; i + COPY_BLOCK < n; i += COPY_BLOCK)
			*(copy_block *)(dst + i) = *(const copy_block *)(src + i);
		*(copy_block *)(dst + n - COPY_BLOCK) = *(const copy_block *)(src + n - COPY_BLOCK);
	} else {
		for (; n > 0; n--)
			*dst++ = *src++;
	}
#endif
	COMMIT_POINT();
}

/* A place in a list of pieces. */
struct cursor {
	const struct piece *piece;
	unsigned int n; /* pieces left, this one included */
	uint32_t off; /* into this one */
};

static inline uint32_t cursor_left(const struct cursor *c)
{
	return c->piece->len - c->off;
}

static inline void cursor_advance(struct cursor *c, uint32_t n)
{
	c->off += n;
	while (c->n > 0 && c->off >= c->piece->len) {
		c->off -= c->piece->len;
		c->piece++;
		c->n--;
	}
}

/* Copy at most @n bytes out of the pieces; return how many there were. */
static inline size_t cursor_read(struct cursor *c, void *buf, size_t n)
{
	size_t done = 0;

	while (done < n && c->n > 0) {
		size_t part = cursor_left(c) < n - done ? cursor_left(c) : n - done;

		memcpy((uint8_t *)buf + done, c->piece->va + c->off, part);
		done += part;
		cursor_advance(c, (uint32_t)part);
	}
	return done;
}
