/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/vhost/mem.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "datapath/vhost/fdcheck.h"
#include "datapath/vhost/msg.h"

#define REFUSE(err, ...) vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE, __VA_ARGS__)

/* Neither wraps: vhost_region_check() has seen to it. */
static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return fd_harmless(b) && fstat(a, &sa) == 0 && fstat(b, &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

int vhost_mem_add(struct vhost_mem *mem, const struct vhost_wire_region *r, int fd,
		  const char *what, struct vnic_err *err)
{
	int e = vhost_region_check(r, err);

	if (e < 0)
		return e;
	for (size_t i = 0; i < mem->n; i++)
		if (!memcmp(&mem->region[i].r, r, sizeof(*r)) && same_file(mem->region[i].fd, fd))
			return 1;
	if (mem->n == DP_REGIONS_MAX)
		return REFUSE(err, "%s: more than %d memory regions", what, DP_REGIONS_MAX);
	for (size_t i = 0; i < mem->n; i++) {
		const struct vhost_wire_region *o = &mem->region[i].r;

		if (overlap(o->gpa, o->size, r->gpa, r->size) ||
		    overlap(o->uva, o->size, r->uva, r->size))
			return REFUSE(err,
				      "%s: the region at guest address 0x%" PRIx64
				      " overlaps the one at 0x%" PRIx64,
				      what, r->gpa, o->gpa);
	}
	e = fd_check_memory(fd, r->offset + r->size, what, err);
	if (e < 0)
		return e;
	mem->region[mem->n++] = (struct vhost_region){ .r = *r, .fd = fd };
	return 0;
}

bool vhost_mem_remove(struct vhost_mem *mem, const struct vhost_wire_region *r)
{
	for (size_t i = 0; i < mem->n; i++) {
		const struct vhost_wire_region *o = &mem->region[i].r;

		if (o->gpa != r->gpa || o->uva != r->uva || o->size != r->size)
			continue;
		close_safe(mem->region[i].fd);
		mem->n--;
		memmove(&mem->region[i], &mem->region[i + 1],
			(mem->n - i) * sizeof(mem->region[0]));
		return true;
	}
	return false;
}

void vhost_mem_clear(struct vhost_mem *mem)
{
	while (mem->n > 0)
		close_safe(mem->region[--mem->n].fd);
}

bool vhost_mem_covers(const struct vhost_mem *mem, uint64_t uva, uint64_t size)
{
	for (size_t i = 0; i < mem->n; i++) {
		const struct vhost_wire_region *r = &mem->region[i].r;

		if (uva >= r->uva && uva - r->uva <= r->size && r->size - (uva - r->uva) >= size)
			return true;
	}
	return false;
}

uint64_t vhost_mem_end(const struct vhost_mem *mem)
{
	uint64_t end = 0;

	for (size_t i = 0; i < mem->n; i++)
		if (mem->region[i].r.gpa + mem->region[i].r.size > end)
			end = mem->region[i].r.gpa + mem->region[i].r.size;
	return end;
}
