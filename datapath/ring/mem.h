/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's memory as a worker sees it: mapped regions, and the log of pages written (dirty log). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "datapath/limits.h"
#include "datapath/wire.h"

#define MEM_LOG_PAGE 4096u /* what a bit of the log stands for (VHOST_LOG_PAGE) */

struct mem_region {
	uint64_t gpa, size, uva;
	uint8_t *va;
	/* what was mapped, and of which file: an unchanged region keeps its mapping */
	void *map;
	size_t map_size;
	uint64_t offset;
	dev_t dev;
	ino_t ino;
};

/**
 * struct mem_log - the dirty log
 * @word: the bitmap, bit n = page n of guest physical memory; NULL: not logging
 * @n_words: its length
 * @pending_word, @pending: bits not yet in the bitmap (see mem_log_flush())
 */
struct mem_log {
	uint64_t *word;
	uint64_t n_words;
	uint64_t pending_word, pending;
	void *map;
	size_t map_size;
};

struct guest_mem {
	unsigned int n;
	unsigned int last; /* region of the last hit */
	bool log_payload; /* what is put into buffers is logged, not only used rings */
	struct mem_region region[DP_REGIONS_MAX]; /* ascending by gpa, none overlaps */
	struct mem_log log;
};

/**
 * mem_map() - map @n regions
 * @fds: one a region; stay the caller's
 * @old: mappings that may be taken over (may be NULL): what is equal moves to @m, and @old keeps the rest
 * @reason: set to a sentence on failure
 * Return: 0 or a negative errno; on failure @m is empty and @old is as it was.
 */
int mem_map(struct guest_mem *m, const struct wire_region *regions, unsigned int n, const int *fds,
	    struct guest_mem *old, const char **reason);

/* Undo what mem_map() took over from @old, since @m comes to nothing. */
void mem_give_back(struct guest_mem *m, struct guest_mem *old);

/* Map @size bytes of log at @offset of @fd. */
int mem_log_map(struct guest_mem *m, int fd, uint64_t size, uint64_t offset, const char **reason);

/* Unmap all, log included. Takes an empty one. */
void mem_unmap(struct guest_mem *m);

/* The mapping of @size bytes at front-end address @uva, within one region; NULL: there is none. */
void *mem_at_uva(const struct guest_mem *m, uint64_t uva, uint64_t size);

const struct mem_region *mem_find(struct guest_mem *m, uint64_t gpa);

/**
 * mem_piece() - translate a guest physical address
 * @len: bytes wanted, not 0
 * @ret_len: bytes that lie in one piece from there on, at most @len
 * Return: where it is mapped, or NULL.
 */
static inline uint8_t *mem_piece(struct guest_mem *m, uint64_t gpa, uint32_t len, uint32_t *ret_len)
{
	const struct mem_region *r = &m->region[m->last];
	uint64_t off = gpa - r->gpa;

	if (__builtin_expect(off >= r->size, 0)) {
		r = mem_find(m, gpa);
		if (!r)
			return NULL;
		off = gpa - r->gpa;
	}
	*ret_len = r->size - off < len ? (uint32_t)(r->size - off) : len;
	return r->va + off;
}

static inline bool mem_logging(const struct guest_mem *m)
{
	return m->log.word;
}

void mem_log_range(struct mem_log *log, uint64_t gpa, uint64_t len);

/* Put the pending bits into the bitmap, with an atomic OR. Before what they stand for is published. */
static inline void mem_log_flush(struct mem_log *log)
{
	if (log->pending) {
		__atomic_fetch_or(&log->word[log->pending_word], log->pending, __ATOMIC_SEQ_CST);
		log->pending = 0;
	}
}

/* Note @len bytes of payload from @gpa on as written. */
static inline void mem_log_write(struct guest_mem *m, uint64_t gpa, uint64_t len)
{
	if (__builtin_expect(m->log_payload, 0))
		mem_log_range(&m->log, gpa, len);
}
