/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vhost/save: what a front end negotiated goes to a successor whole, and nothing that is impossible is taken. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "datapath/vhost/save.h"

#define MEM	 (4U << 20)
#define UVA	 0x7f0000000000ULL
#define FEATURES (1ULL << 32 | 1ULL << 15)

/* Numbers of descriptors. */
enum { NONE, MEMORY, KICK, CALL, ERR, LOG, SMALL, PIPE, N_IDS };

struct fixture {
	struct port_state state;
	struct vhost_dev dev, next;
	struct vhost_saved saved;
	int fd[N_IDS];
};

static uint32_t id_of(void *ctx, int fd)
{
	struct fixture *f = ctx;

	for (uint32_t i = 1; i < N_IDS; i++)
		if (f->fd[i] == fd)
			return i;
	return 0;
}

static int fd_of(void *ctx, uint32_t id)
{
	struct fixture *f = ctx;

	return id < N_IDS && id ? fcntl(f->fd[id], F_DUPFD_CLOEXEC, 3) : -1;
}

static void set_ring(struct fixture *f, uint32_t i)
{
	struct vhost_ring *r = &f->dev.ring[i];

	r->size = r->live_size = 256;
	r->base = 7;
	r->has_addr = r->has_kick = r->started = true;
	r->enabled = 1;
	r->addr = (struct vhost_vring_addr){ i,
					     VHOST_VRING_LOG,
					     UVA + 0x10000 * (i + 1),
					     UVA + 0x10000 * (i + 1) + 0x8000,
					     UVA + 0x10000 * (i + 1) + 0x4000,
					     0x10000 * (i + 1) + 0x8000 };
	r->kick = f->fd[KICK];
	r->call = f->fd[CALL];
	r->err = f->fd[ERR];
	ring_state_start(&f->state.ring[i], 256, 7);
	f->state.ring[i].avail_pos += 3;
}

static int new_memfd(size_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pipe_fds[2];

	assert_non_null(f);
	assert_int_equal(pipe(pipe_fds), 0);
	close(pipe_fds[1]);
	f->fd[MEMORY] = new_memfd(MEM);
	f->fd[LOG] = new_memfd(4096);
	f->fd[SMALL] = new_memfd(4096);
	f->fd[PIPE] = pipe_fds[0];
	for (int i = KICK; i <= ERR; i++)
		f->fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vhost_dev_init(&f->dev, FEATURES, 1, &f->state);
	f->dev.features = FEATURES | VHOST_FEATURE_LOG_ALL | VHOST_FEATURE_PROTOCOL;
	f->dev.proto = VHOST_PROTO_REPLY_ACK | VHOST_PROTO_LOG_SHMFD;
	f->dev.status = 0xf;
	f->dev.mem.n = 2;
	f->dev.mem.region[0] = (struct vhost_region){ { 0, MEM / 2, UVA, 0 }, f->fd[MEMORY] };
	f->dev.mem.region[1] =
		(struct vhost_region){ { MEM, MEM / 2, UVA + MEM, MEM / 2 }, f->fd[MEMORY] };
	f->dev.log_fd = f->fd[LOG];
	f->dev.log_size = 4096;
	set_ring(f, 0);
	set_ring(f, 1);
	vhost_dev_save(&f->dev, &f->saved);
	vhost_dev_save_ids(&f->dev, &f->saved, id_of, f);
	vhost_dev_init(&f->next, FEATURES, 1, &f->state);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 1; i < N_IDS; i++)
		close(f->fd[i]);
	free(f);
	return 0;
}

static unsigned int open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int restore(struct fixture *f, struct vnic_err *err)
{
	return vhost_dev_restore(&f->next, &f->saved, fd_of, f, err);
}

static void all_comes_back(void **state)
{
	struct fixture *f = *state;
	struct vhost_saved again;
	struct wire_port_set was, is;
	struct vnic_err err = VNIC_ERR_INIT;
	int fds[VHOST_WIRE_FDS_MAX];
	unsigned int before = open_files();

	assert_int_equal(restore(f, &err), 0);
	memset(&again, 0, sizeof(again));
	vhost_dev_save(&f->next, &again);
	vhost_saved_copy_ids(&again, &f->saved);
	assert_memory_equal(&again, &f->saved, sizeof(again));
	memset(&was, 0, sizeof(was));
	memset(&is, 0, sizeof(is));
	assert_int_equal(vhost_dev_wire(&f->dev, &was, fds, false),
			 vhost_dev_wire(&f->next, &is, fds, false));
	assert_memory_equal(&was, &is, sizeof(was));
	assert_true(vhost_dev_running(&f->next));
	/* Where the worker was is where it goes on. */
	assert_int_equal(f->state.ring[1].avail_pos, 10);
	assert_int_equal(f->state.ring[1].used_pos, 7);
	vhost_dev_clear(&f->next);
	assert_int_equal(open_files(), before);
}

static void a_fresh_connection_comes_back(void **state)
{
	struct fixture *f = *state;
	struct vnic_err err = VNIC_ERR_INIT;

	memset(&f->saved, 0, sizeof(f->saved));
	vhost_dev_save(&f->next, &f->saved);
	vhost_dev_save_ids(&f->next, &f->saved, id_of, f);
	assert_int_equal(restore(f, &err), 0);
	assert_false(vhost_dev_started(&f->next));
	vhost_dev_clear(&f->next);
}

static void what_has_no_number_is_lacking(void **state)
{
	struct fixture *f = *state;
	struct vnic_err err = VNIC_ERR_INIT;

	f->dev.ring[1].err = 0;
	vhost_dev_save_ids(&f->dev, &f->saved, id_of, f);
	assert_int_equal(f->saved.lacking, 1);
	assert_true(restore(f, &err) < 0);
	vhost_dev_clear(&f->next);
}

static void count_ids(void *ctx, uint32_t id)
{
	unsigned int *n = ctx;

	*n += id != 0;
}

static void each_number_is_told(void **state)
{
	struct fixture *f = *state;
	unsigned int n = 0;

	vhost_saved_each_id(&f->saved, count_ids, &n);
	assert_int_equal(n, 2 + 1 + 6);
}

#define BAD(what, ...)                             \
	static void bad_##what(struct fixture *f)  \
	{                                          \
		struct vhost_saved *s = &f->saved; \
		(void)s;                           \
		__VA_ARGS__;                       \
	}

BAD(no_rings, s->n_rings = 0)
BAD(odd_rings, s->n_rings = 1)
BAD(many_rings, s->n_rings = DP_RINGS_MAX + 2)
BAD(many_regions, s->n_regions = DP_REGIONS_MAX + 1)
BAD(all_regions, s->n_regions = UINT32_MAX)
BAD(announce, s->announce = 2)
BAD(features, s->features |= 1ULL << 40)
BAD(proto, s->proto |= 1ULL << 63)
BAD(no_memory, s->n_regions = 0)
BAD(less_memory, s->region[0].size = 4096)
BAD(memory_not_there, s->region[1].id = 99)
BAD(memory_none, s->region[0].id = 0)
BAD(memory_number_wraps, s->region[0].id |= 1ULL << 32)
BAD(memory_is_an_eventfd, s->region[0].id = KICK)
BAD(memory_is_a_pipe, s->region[0].id = PIPE)
BAD(memory_too_small, s->region[0].id = SMALL)
BAD(memory_empty, s->region[0].size = 0)
BAD(memory_wraps, s->region[1].gpa = UINT64_MAX - 4095)
BAD(memory_overlaps, s->region[1].gpa = 4096)
BAD(memory_twice, s->region[1] = s->region[0])
BAD(memory_offset, s->region[1].offset = MEM)
BAD(log_not_there, s->log = 77)
BAD(log_is_an_eventfd, s->log = CALL)
BAD(log_small, s->log_size = 8)
BAD(log_empty, s->log_size = 0)
BAD(log_wraps, s->log_offset = UINT64_MAX - 4095)
BAD(log_larger_than_file, s->log_size = 8192)
BAD(log_misses_used_ring, s->ring[0].log = 1ULL << 40)
BAD(ring_size_odd, s->ring[0].size = s->ring[0].live_size = 255)
BAD(ring_size_large, s->ring[0].size = s->ring[0].live_size = 8192)
BAD(ring_size_none, s->ring[0].size = s->ring[0].live_size = 0)
BAD(ring_sizes_differ, s->ring[0].live_size = 128)
BAD(ring_without_addr, s->ring[0].has_addr = 0)
BAD(ring_without_kick, s->ring[0].has_kick = 0)
BAD(ring_bool, s->ring[1].has_addr = 7)
BAD(ring_started, s->ring[1].started = 0xff)
BAD(ring_enabled, s->ring[1].enabled = -2)
BAD(ring_outside, s->ring[0].desc = UVA + MEM / 2)
BAD(ring_unaligned, s->ring[0].avail += 1)
BAD(ring_wraps, s->ring[0].used = UINT64_MAX - 7)
BAD(ring_flags, s->ring[0].addr_flags = 0x80000000)
BAD(kick_not_there, s->ring[1].kick = 77)
BAD(kick_is_memory, s->ring[1].kick = MEMORY)
BAD(call_is_a_pipe, s->ring[1].call = PIPE)
BAD(err_is_memory, s->ring[0].err = LOG)
BAD(shared_size, f->state.ring[0].size = 128)
BAD(shared_position, f->state.ring[1].avail_pos = f->state.ring[1].used_pos + 257)

static const struct {
	const char *name;
	void (*fn)(struct fixture *f);
} bad[] = {
#define ROW(what)                 \
	{                         \
#what, bad_##what \
	}
	ROW(no_rings),
	ROW(odd_rings),
	ROW(many_rings),
	ROW(many_regions),
	ROW(all_regions),
	ROW(announce),
	ROW(features),
	ROW(proto),
	ROW(no_memory),
	ROW(less_memory),
	ROW(memory_not_there),
	ROW(memory_none),
	ROW(memory_number_wraps),
	ROW(memory_is_an_eventfd),
	ROW(memory_is_a_pipe),
	ROW(memory_too_small),
	ROW(memory_empty),
	ROW(memory_wraps),
	ROW(memory_overlaps),
	ROW(memory_twice),
	ROW(memory_offset),
	ROW(log_not_there),
	ROW(log_is_an_eventfd),
	ROW(log_small),
	ROW(log_empty),
	ROW(log_wraps),
	ROW(log_larger_than_file),
	ROW(log_misses_used_ring),
	ROW(ring_size_odd),
	ROW(ring_size_large),
	ROW(ring_size_none),
	ROW(ring_sizes_differ),
	ROW(ring_without_addr),
	ROW(ring_without_kick),
	ROW(ring_bool),
	ROW(ring_started),
	ROW(ring_enabled),
	ROW(ring_outside),
	ROW(ring_unaligned),
	ROW(ring_wraps),
	ROW(ring_flags),
	ROW(kick_not_there),
	ROW(kick_is_memory),
	ROW(call_is_a_pipe),
	ROW(err_is_memory),
	ROW(shared_size),
	ROW(shared_position),
};

#define N_BAD (sizeof(bad) / sizeof(bad[0]))

static size_t row;

/* Refused with a reason; nothing stays open. */
static void impossible_state_is_refused(void **state)
{
	struct fixture *f = *state;
	struct vnic_err err = VNIC_ERR_INIT;
	unsigned int before = open_files();

	bad[row++].fn(f);
	assert_true(restore(f, &err) < 0);
	assert_true(err.message[0]);
	vhost_dev_clear(&f->next);
	assert_int_equal(open_files(), before);
}

int main(void)
{
	static struct CMUnitTest tests[4 + N_BAD] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
		TEST(all_comes_back),
		TEST(a_fresh_connection_comes_back),
		TEST(what_has_no_number_is_lacking),
		TEST(each_number_is_told),
	};

	for (size_t i = 0; i < N_BAD; i++)
		tests[4 + i] = (struct CMUnitTest){ bad[i].name, impossible_state_is_refused,
						    set_up, tear_down, NULL };
	return cmocka_run_group_tests_name("vhost-save", tests, NULL, NULL);
}
