/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "datapath/keeper/shm.h"

#define REFUSE(err, error, ...) vnic_err_set(err, error, VNIC_E_INTERNAL, __VA_ARGS__)

struct saved_copy {
	uint64_t sum;
	unsigned char body[];
};

/* What lies in the memfd. */
struct saved_head {
	uint64_t magic;
	uint32_t version;
	uint32_t size; /* of a body */
	_Atomic uint32_t current; /* 0 or 1 */
	_Atomic uint32_t marked;
} __attribute__((aligned(64)));

struct saved {
	struct saved_head *head;
	size_t size; /* ours; not read back */
};

static size_t copy_size(size_t size)
{
	return (sizeof(struct saved_copy) + size + 63) & ~(size_t)63;
}

static size_t map_size(size_t size)
{
	return sizeof(struct saved_head) + 2 * copy_size(size);
}

static struct saved_copy *copy_of(const struct saved *s, uint32_t which)
{
	return (struct saved_copy *)((char *)(s->head + 1) + which * copy_size(s->size));
}

/* FNV-1a. Against accidents; who may write here may write a sum as well. */
static uint64_t sum_of(const void *data, size_t size)
{
	const unsigned char *p = data;
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < size; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

void saved_write(struct saved *s, const void *body)
{
	uint32_t other = !atomic_load(&s->head->current);
	struct saved_copy *c = copy_of(s, other);

	memcpy(c->body, body, s->size);
	c->sum = sum_of(body, s->size);
	atomic_store(&s->head->current, other);
}

void saved_mark(struct saved *s, bool reading)
{
	atomic_store(&s->head->marked, reading);
}

bool saved_marked(const struct saved *s)
{
	return atomic_load(&s->head->marked) != 0;
}

struct saved *saved_close(struct saved *s)
{
	if (!s)
		return NULL;
	if (s->head)
		munmap(s->head, map_size(s->size));
	free(s);
	return NULL;
}
DEFINE_CLEANUP(struct saved *, saved_close)

int saved_new(const char *name, uint64_t magic, uint32_t version, size_t size, struct saved **ret,
	      int *ret_fd)
{
	_cleanup_(saved_closep) struct saved *s = calloc(1, sizeof(*s));
	void *map;
	int r;

	if (!s)
		return -ENOMEM;
	s->size = size;
	r = shm_new(name, map_size(size), ret_fd, &map);
	if (r < 0)
		return r;
	s->head = map;
	s->head->magic = magic;
	s->head->version = version;
	s->head->size = (uint32_t)size;
	*ret = take_ptr(s);
	return 0;
}

static int read_body(const struct saved *s, uint64_t magic, uint32_t version, void *body,
		     struct vnic_err *err)
{
	uint32_t which = atomic_load(&s->head->current);
	_cleanup_(freep) void *copy = NULL;
	uint64_t sum;

	if (s->head->magic != magic)
		return REFUSE(err, -EBADMSG, "it is something else");
	if (s->head->version != version || s->head->size != s->size)
		return REFUSE(err, -ESTALE,
			      "it is of version %u with %u bytes, ours is %u with %zu",
			      s->head->version, s->head->size, version, s->size);
	if (which > 1)
		return REFUSE(err, -EBADMSG, "it has no copy %u", which);
	copy = malloc(s->size);
	if (!copy)
		return -ENOMEM;
	sum = copy_of(s, which)->sum;
	memcpy(copy, copy_of(s, which)->body, s->size);
	if (sum_of(copy, s->size) != sum)
		return REFUSE(err, -EBADMSG, "its sum is wrong");
	memcpy(body, copy, s->size);
	return 0;
}

int saved_open(int fd, uint64_t magic, uint32_t version, void *body, size_t size,
	       struct saved **ret, struct vnic_err *err)
{
	_cleanup_(saved_closep) struct saved *s = calloc(1, sizeof(*s));
	void *map;
	int r;

	if (!s)
		return -ENOMEM;
	s->size = size;
	r = shm_map(fd, map_size(size), &map, err);
	if (r < 0)
		return r;
	s->head = map;
	r = read_body(s, magic, version, body, err);
	if (r < 0)
		return r;
	*ret = take_ptr(s);
	return 0;
}
