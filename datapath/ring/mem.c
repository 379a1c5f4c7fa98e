/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/ring/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/str.h"

/* st_blksize is the huge page's size on hugetlbfs, where offsets must be its multiples. */
#define BLOCK_MIN 4096u
#define BLOCK_MAX (1u << 30)

static int fail(const char **reason, int error, const char *text)
{
	*reason = text;
	return error;
}

static void *map_file(int fd, uint64_t offset, uint64_t size, const struct stat *st,
		      size_t *ret_size, uint64_t *ret_skip)
{
	uint64_t block = BLOCK_MIN, start, end;
	void *p;

	if (st->st_blksize > BLOCK_MIN && st->st_blksize <= BLOCK_MAX &&
	    (st->st_blksize & (st->st_blksize - 1)) == 0)
		block = (uint64_t)st->st_blksize;
	start = offset & ~(block - 1);
	end = (offset + size + block - 1) & ~(block - 1);
	p = mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		 (off_t)start);
	if (p == MAP_FAILED)
		return NULL;
	*ret_size = end - start;
	*ret_skip = offset - start;
	return p;
}

static bool range_ok(uint64_t offset, uint64_t size, off_t file_size)
{
	return size > 0 && file_size >= 0 && offset <= (uint64_t)file_size &&
	       size <= (uint64_t)file_size - offset;
}

static bool same_region(const struct mem_region *r, const struct wire_region *w,
			const struct stat *st)
{
	return r->map && r->gpa == w->gpa && r->uva == w->uva && r->size == w->size &&
	       r->offset == w->offset && r->dev == st->st_dev && r->ino == st->st_ino;
}

/* Returns 1 where the mapping was taken over from @old. */
static int map_region(struct mem_region *r, const struct wire_region *w, int fd,
		      struct guest_mem *old, const char **reason)
{
	struct stat st;
	uint64_t skip;

	if (fstat(fd, &st) < 0)
		return fail(reason, -errno, "a memory region's descriptor cannot be examined");
	if (w->gpa + w->size < w->gpa || w->uva + w->size < w->uva)
		return fail(reason, -EINVAL, "a memory region wraps around");
	if (!range_ok(w->offset, w->size, st.st_size))
		return fail(reason, -EINVAL, "a memory region reaches past the end of its file");
	for (unsigned int i = 0; old && i < old->n; i++) {
		if (same_region(&old->region[i], w, &st)) {
			*r = old->region[i];
			return 1;
		}
	}
	*r = (struct mem_region){ .gpa = w->gpa,
				  .size = w->size,
				  .uva = w->uva,
				  .offset = w->offset,
				  .dev = st.st_dev,
				  .ino = st.st_ino };
	r->map = map_file(fd, w->offset, w->size, &st, &r->map_size, &skip);
	if (!r->map)
		return fail(reason, -errno, "a memory region cannot be mapped");
	r->va = (uint8_t *)r->map + skip;
	/* Gigabytes of guest memory have no place in a core dump. */
	madvise(r->map, r->map_size, MADV_DONTDUMP);
	return 0;
}

static int insert(struct guest_mem *m, const struct mem_region *r)
{
	unsigned int i = m->n;

	while (i > 0 && m->region[i - 1].gpa > r->gpa)
		i--;
	if (i > 0 && m->region[i - 1].gpa + m->region[i - 1].size > r->gpa)
		return -EINVAL;
	if (i < m->n && r->gpa + r->size > m->region[i].gpa)
		return -EINVAL;
	memmove(&m->region[i + 1], &m->region[i], (m->n - i) * sizeof(*r));
	m->region[i] = *r;
	m->n++;
	return 0;
}

static bool shares(const struct guest_mem *m, const struct mem_region *r)
{
	for (unsigned int i = 0; m && i < m->n; i++)
		if (m->region[i].map == r->map)
			return true;
	return false;
}

int mem_map(struct guest_mem *m, const struct wire_region *regions, unsigned int n, const int *fds,
	    struct guest_mem *old, const char **reason)
{
	struct mem_region r;
	int error = 0;

	*m = (struct guest_mem){ 0 };
	if (n > DP_REGIONS_MAX)
		return fail(reason, -EINVAL, "too many memory regions");
	for (unsigned int i = 0; i < n && error >= 0; i++) {
		error = map_region(&r, &regions[i], fds[i], old, reason);
		if (error < 0)
			break;
		if (insert(m, &r) < 0) {
			if (!error)
				munmap(r.map, r.map_size);
			error = fail(reason, -EINVAL, "memory regions overlap");
		}
	}
	if (error < 0) {
		for (unsigned int i = 0; i < m->n; i++)
			if (!shares(old, &m->region[i]))
				munmap(m->region[i].map, m->region[i].map_size);
		*m = (struct guest_mem){ 0 };
		return error;
	}
	for (unsigned int i = 0; old && i < old->n; i++)
		if (shares(m, &old->region[i]))
			old->region[i].map = NULL;
	return 0;
}

void mem_give_back(struct guest_mem *m, struct guest_mem *old)
{
	for (unsigned int i = 0; i < old->n; i++) {
		for (unsigned int k = 0; k < m->n && !old->region[i].map; k++) {
			if (m->region[k].va != old->region[i].va)
				continue;
			old->region[i].map = m->region[k].map;
			m->region[k].map = NULL;
		}
	}
}

int mem_log_map(struct guest_mem *m, int fd, uint64_t size, uint64_t offset, const char **reason)
{
	struct stat st;
	uint64_t skip;
	size_t map_size;
	void *map;

	if (fstat(fd, &st) < 0)
		return fail(reason, -errno, "the dirty log's descriptor cannot be examined");
	if (size % sizeof(uint64_t) || offset % sizeof(uint64_t) ||
	    !range_ok(offset, size, st.st_size))
		return fail(reason, -EINVAL,
			    "the dirty log's size or offset does not fit its file");
	map = map_file(fd, offset, size, &st, &map_size, &skip);
	if (!map)
		return fail(reason, -errno, "the dirty log cannot be mapped");
	m->log = (struct mem_log){ .word = (uint64_t *)((uint8_t *)map + skip),
				   .n_words = size / sizeof(uint64_t),
				   .map = map,
				   .map_size = map_size };
	return 0;
}

void mem_unmap(struct guest_mem *m)
{
	for (unsigned int i = 0; i < m->n; i++)
		if (m->region[i].map)
			munmap(m->region[i].map, m->region[i].map_size);
	if (m->log.map)
		munmap(m->log.map, m->log.map_size);
	*m = (struct guest_mem){ 0 };
}

void *mem_at_uva(const struct guest_mem *m, uint64_t uva, uint64_t size)
{
	for (unsigned int i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->region[i];
		uint64_t off = uva - r->uva;

		if (uva >= r->uva && off < r->size && size <= r->size - off)
			return r->va + off;
	}
	return NULL;
}

const struct mem_region *mem_find(struct guest_mem *m, uint64_t gpa)
{
	unsigned int low = 0, high = m->n;

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		if (gpa < m->region[mid].gpa) {
			high = mid;
		} else if (gpa - m->region[mid].gpa >= m->region[mid].size) {
			low = mid + 1;
		} else {
			m->last = mid;
			return &m->region[mid];
		}
	}
	return NULL;
}

/*
 * Pages of one word are gathered and go in with one atomic OR. What the log has no bit for is left out:
 * that the log covers the memory is checked where the log is taken (the keeper), and the bound is kept here.
 */
void mem_log_range(struct mem_log *log, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa / MEM_LOG_PAGE, last;

	if (len == 0)
		return;
	last = (gpa + len - 1) / MEM_LOG_PAGE;
	for (; page <= last; page++) {
		uint64_t word = page / 64;

		if (word >= log->n_words)
			return;
		if (word != log->pending_word)
			mem_log_flush(log);
		log->pending_word = word;
		log->pending |= UINT64_C(1) << (page % 64);
	}
}
