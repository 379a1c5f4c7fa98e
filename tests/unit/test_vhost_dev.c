/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device makes of message sequences: when rings run, what may change, what is refused. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "datapath/vhost/dev.h"

#define V1_ONLY (1ULL << 32)
#define UVA	0x7f0000000000ULL
#define MEM	(1ULL << 20)

struct fixture {
	struct vhost_dev dev;
	struct port_state *state;
	struct vnic_err err;
	struct vhost_reply reply;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->state = calloc(1, sizeof(*f->state));
	vhost_dev_init(&f->dev, V1_ONLY, 1, f->state);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	vhost_dev_clear(&f->dev);
	free(f->state);
	free(f);
	return 0;
}

static int new_memfd(uint64_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

/* Decode and handle; @fd < 0: none. */
static int send_unsettled(struct fixture *f, uint32_t request, const void *body, uint32_t size,
			  int fd)
{
	const struct vhost_header h = { request, VHOST_VERSION | VHOST_FLAG_NEED_REPLY, size };
	int fds[VHOST_FDS_MAX] = { fd, -1, -1, -1, -1, -1, -1, -1 };
	struct vhost_msg m;
	int r;

	memset(&f->reply, 0, sizeof(f->reply));
	memset(&f->err, 0, sizeof(f->err));
	r = vhost_msg_decode(&h, body, fd >= 0, &m, &f->err);
	if (r == 0)
		r = vhost_dev_handle(&f->dev, &m, fds, &f->reply, &f->err);
	close_safe(fds[0]);
	return r;
}

/* Settles at once, as with a worker that acknowledges. */
static int send_body(struct fixture *f, uint32_t request, const void *body, uint32_t size, int fd)
{
	int r = send_unsettled(f, request, body, size, fd);

	if (r == 0)
		vhost_dev_settle(&f->dev, &f->reply);
	return r;
}

static int send_u64(struct fixture *f, uint32_t request, uint64_t v)
{
	return send_body(f, request, &v, sizeof(v), -1);
}

static int send_state(struct fixture *f, uint32_t request, uint32_t index, uint32_t num)
{
	const struct vhost_vring_state s = { index, num };

	return send_body(f, request, &s, sizeof(s), -1);
}

static int send_kick(struct fixture *f, uint64_t index)
{
	return send_body(f, VHOST_SET_VRING_KICK, &index, sizeof(index), eventfd(0, EFD_CLOEXEC));
}

static int send_memory(struct fixture *f, uint64_t size)
{
	union vhost_body b = { .table = { .n = 1, .region = { { 0, size, UVA, 0 } } } };

	return send_body(f, VHOST_SET_MEM_TABLE, &b, 40, new_memfd(size));
}

static int send_addr(struct fixture *f, uint32_t index, uint64_t at, uint32_t flags)
{
	const struct vhost_vring_addr a = { .index = index,
					    .flags = flags,
					    .desc = UVA + at,
					    .avail = UVA + at + 0x1000,
					    .used = UVA + at + 0x2000,
					    .log = at + 0x2000 };

	return send_body(f, VHOST_SET_VRING_ADDR, &a, sizeof(a), -1);
}

static int send_log(struct fixture *f, uint64_t size)
{
	union vhost_body b = { .log = { size, 0 } };

	return send_body(f, VHOST_SET_LOG_BASE, &b, 16, new_memfd((size + 0xfff) & ~0xfffULL));
}

static void negotiate(struct fixture *f, uint64_t more)
{
	assert_int_equal(send_u64(f, VHOST_SET_PROTOCOL_FEATURES,
				  VHOST_PROTO_REPLY_ACK | VHOST_PROTO_LOG_SHMFD |
					  VHOST_PROTO_MEM_SLOTS | VHOST_PROTO_RESET_DEVICE |
					  VHOST_PROTO_RARP),
			 0);
	assert_int_equal(send_u64(f, VHOST_SET_FEATURES, V1_ONLY | more), 0);
}

/* Ring @index as QEMU starts it, but for its kick. */
static void prepare(struct fixture *f, uint32_t index, uint32_t base)
{
	assert_int_equal(send_state(f, VHOST_SET_VRING_NUM, index, 256), 0);
	assert_int_equal(send_state(f, VHOST_SET_VRING_BASE, index, base), 0);
	assert_int_equal(send_addr(f, index, 0x10000ULL * (index + 1), 0), 0);
}

static uint32_t ring_flags(struct fixture *f, uint32_t index)
{
	int fds[VHOST_WIRE_FDS_MAX];
	struct wire_port_set w;

	memset(&w, 0, sizeof(w));
	vhost_dev_wire(&f->dev, &w, fds, false);
	return w.ring[index].flags;
}

static void refused(struct fixture *f, int r, const char *reason)
{
	assert_int_equal(r, -EPROTO);
	if (!strstr(f->err.message, reason))
		fail_msg("\"%s\" does not say \"%s\"", f->err.message, reason);
}

static void offers(void **state)
{
	struct fixture *f = *state;
	struct vhost_dev d;

	vhost_dev_init(&d, UINT64_MAX, 1, f->state);
	assert_int_equal(d.offered & (1ULL << 33 | 1ULL << 40 | 1ULL << 17 | 1ULL << 22), 0);
	vhost_dev_init(&d, 0, 2, f->state);
	assert_true(d.offered == (1ULL << 22 | VHOST_FEATURE_LOG_ALL | VHOST_FEATURE_PROTOCOL));
	assert_int_equal(send_u64(f, VHOST_GET_FEATURES, 0), 0);
	assert_true(f->reply.body.u64 ==
		    (V1_ONLY | VHOST_FEATURE_LOG_ALL | VHOST_FEATURE_PROTOCOL));
	refused(f, send_u64(f, VHOST_SET_FEATURES, V1_ONLY | 1), "0x1 was not offered");
	refused(f, send_u64(f, VHOST_SET_PROTOCOL_FEATURES, 1ULL << 12), "was not offered");
	refused(f, send_u64(f, VHOST_SEND_RARP, 0), "was not negotiated");
}

static void starts_enabled_without_protocol_features(void **state)
{
	struct fixture *f = *state;

	negotiate(f, 0);
	assert_int_equal(send_memory(f, MEM), 0);
	prepare(f, 0, 7);
	assert_int_equal(ring_flags(f, 0), 0);
	assert_int_equal(send_kick(f, 0), 0);
	assert_int_equal(ring_flags(f, 0), WIRE_RING_RUNNING);
	assert_int_equal(f->state->ring[0].avail_pos, 7);
	assert_int_equal(f->state->ring[0].used_pos, 7);
	assert_int_equal(f->state->ring[0].size, 256);
	assert_true(vhost_dev_running(&f->dev));
	assert_true(f->dev.announce); /* it goes on in its middle */
}

static void starts_disabled_with_protocol_features(void **state)
{
	struct fixture *f = *state;

	negotiate(f, VHOST_FEATURE_PROTOCOL);
	assert_int_equal(send_memory(f, MEM), 0);
	prepare(f, 0, 0);
	prepare(f, 1, 0);
	assert_int_equal(send_kick(f, 0), 0);
	assert_int_equal(send_kick(f, 1), 0);
	assert_int_equal(ring_flags(f, 0), 0);
	assert_int_equal(send_state(f, VHOST_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(vhost_dev_queues_active(&f->dev), 0);
	assert_int_equal(send_state(f, VHOST_SET_VRING_ENABLE, 1, 1), 0);
	assert_int_equal(ring_flags(f, 0), WIRE_RING_RUNNING);
	assert_int_equal(vhost_dev_queues_active(&f->dev), 1);
	assert_false(f->dev.announce);
	/* Disabled and enabled again it goes on where it was. */
	assert_int_equal(send_state(f, VHOST_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(ring_flags(f, 0), 0);
	f->state->ring[0].used_pos = 5;
	assert_int_equal(send_state(f, VHOST_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(f->state->ring[0].used_pos, 5);
}

static void kick_may_come_before_the_rest(void **state)
{
	struct fixture *f = *state;

	negotiate(f, 0);
	assert_int_equal(send_memory(f, MEM), 0);
	assert_int_equal(send_kick(f, 0), 0);
	assert_false(vhost_dev_started(&f->dev));
	prepare(f, 0, 0);
	assert_int_equal(ring_flags(f, 0), WIRE_RING_RUNNING);
}

static void stop_tells_the_position(void **state)
{
	struct fixture *f = *state;

	negotiate(f, 0);
	assert_int_equal(send_memory(f, MEM), 0);
	prepare(f, 0, 7);
	assert_int_equal(send_state(f, VHOST_GET_VRING_BASE, 0, 0), 0);
	assert_int_equal(f->reply.body.state.num, 7); /* never started */
	assert_int_equal(send_kick(f, 0), 0);
	f->state->ring[0].used_pos = 1234;
	assert_int_equal(send_state(f, VHOST_GET_VRING_BASE, 0, 0), 0);
	assert_int_equal(f->reply.size, 8);
	assert_int_equal(f->reply.body.state.index, 0);
	assert_int_equal(f->reply.body.state.num, 1234);
	assert_false(vhost_dev_started(&f->dev));
	/* A kick alone starts it there. */
	assert_int_equal(send_kick(f, 0), 0);
	assert_int_equal(f->state->ring[0].avail_pos, 1234);
}

static void running_rings_stay_as_they_are(void **state)
{
	struct fixture *f = *state;

	negotiate(f, 0);
	assert_int_equal(send_memory(f, MEM), 0);
	prepare(f, 0, 0);
	assert_int_equal(send_kick(f, 0), 0);
	refused(f, send_state(f, VHOST_SET_VRING_NUM, 0, 128), "ring 0 is running");
	assert_int_equal(send_state(f, VHOST_SET_VRING_NUM, 0, 256), 0);
	refused(f, send_state(f, VHOST_SET_VRING_BASE, 0, 0), "ring 0 is running");
	refused(f, send_addr(f, 0, 0x40000, 0), "only its log flag may change");
	assert_int_equal(send_addr(f, 0, 0x10000, VHOST_VRING_LOG), 0);
	assert_int_equal(ring_flags(f, 0), WIRE_RING_RUNNING | WIRE_RING_LOG);
	refused(f, send_u64(f, VHOST_SET_FEATURES, 0), "only LOG_ALL may");
	refused(f, send_memory(f, 0x4000), "takes away the memory of running ring 0");
	assert_int_equal(f->dev.mem.region[0].r.size, MEM);
	assert_int_equal(send_memory(f, 2 * MEM), 0);
	refused(f, send_state(f, VHOST_SET_VRING_NUM, 2, 256), "there is no ring 2");
}

static void rings_lie_in_memory(void **state)
{
	struct fixture *f = *state;

	negotiate(f, 0);
	refused(f, send_kick(f, 0), "before memory is told");
	assert_int_equal(send_memory(f, MEM), 0);
	assert_int_equal(send_state(f, VHOST_SET_VRING_NUM, 0, 256), 0);
	assert_int_equal(send_kick(f, 0), 0);
	refused(f, send_addr(f, 0, MEM - 0x2000, 0), "outside of the memory");
}

static void logging(void **state)
{
	struct fixture *f = *state;

	negotiate(f, 0);
	assert_int_equal(send_memory(f, MEM), 0); /* 256 pages: 32 bytes of log */
	prepare(f, 0, 0);
	assert_int_equal(send_kick(f, 0), 0);
	refused(f, send_log(f, 31), "the log covers 0xf8000 bytes");
	assert_int_equal(send_log(f, 32), 0);
	assert_int_equal(f->reply.size, 8);
	assert_int_equal(send_u64(f, VHOST_SET_FEATURES, V1_ONLY | VHOST_FEATURE_LOG_ALL), 0);
	assert_int_equal(send_addr(f, 0, 0x10000, VHOST_VRING_LOG), 0);
	refused(f, send_memory(f, 2 * MEM), "the log covers");
	assert_int_equal(send_u64(f, VHOST_SET_FEATURES, V1_ONLY), 0);
	assert_int_equal(f->dev.log_fd, -1);
}

/* QEMU starts a migrating guest's rings before it tells the log: nothing may be written until then. */
static void logged_rings_wait_for_the_log(void **state)
{
	struct fixture *f = *state;

	negotiate(f, VHOST_FEATURE_LOG_ALL);
	assert_int_equal(send_memory(f, MEM), 0);
	prepare(f, 0, 0);
	assert_int_equal(send_kick(f, 0), 0);
	assert_int_equal(ring_flags(f, 0), 0);
	assert_int_equal(send_log(f, 32), 0);
	assert_int_equal(ring_flags(f, 0), WIRE_RING_RUNNING);
}

static void memory_slots(void **state)
{
	struct fixture *f = *state;
	union vhost_body b = { .slot = { 0, { 0, MEM, UVA, 0 } } };
	int fd;

	negotiate(f, 0);
	/* QEMU 7.2 says the same for each queue pair. */
	fd = new_memfd(MEM);
	assert_int_equal(send_body(f, VHOST_ADD_MEM_REG, &b, 40, dup(fd)), 0);
	assert_int_equal(send_body(f, VHOST_ADD_MEM_REG, &b, 40, fd), 0);
	assert_int_equal(f->dev.mem.n, 1);
	refused(f, send_body(f, VHOST_ADD_MEM_REG, &b, 40, new_memfd(MEM)), "overlaps");
	b.slot.region.gpa = 16 * MEM;
	refused(f, send_body(f, VHOST_ADD_MEM_REG, &b, 40, new_memfd(MEM)), "overlaps");
	assert_int_equal(send_body(f, VHOST_REM_MEM_REG, &b, 40, -1), 0);
	assert_int_equal(f->dev.mem.n, 1);
	for (uint64_t i = 1; i < DP_REGIONS_MAX; i++) {
		b.slot.region = (struct vhost_wire_region){ i * MEM, MEM, UVA + i * MEM, 0 };
		assert_int_equal(send_body(f, VHOST_ADD_MEM_REG, &b, 40, new_memfd(MEM)), 0);
	}
	b.slot.region = (struct vhost_wire_region){ 99 * MEM, MEM, UVA + 99 * MEM, 0 };
	refused(f, send_body(f, VHOST_ADD_MEM_REG, &b, 40, new_memfd(MEM)), "more than 64");
	prepare(f, 0, 0);
	assert_int_equal(send_kick(f, 0), 0);
	b.slot.region = (struct vhost_wire_region){ 5 * MEM, MEM, UVA + 5 * MEM, 0 };
	assert_int_equal(send_body(f, VHOST_REM_MEM_REG, &b, 40, eventfd(0, EFD_CLOEXEC)), 0);
	b.slot.region = (struct vhost_wire_region){ 0, MEM, UVA, 0 };
	refused(f, send_body(f, VHOST_REM_MEM_REG, &b, 40, -1), "running ring 0");
}

static void descriptors_of_the_wrong_kind(void **state)
{
	struct fixture *f = *state;
	union vhost_body b = { .table = { .n = 1, .region = { { 0, MEM, UVA, 0 } } } };
	int pipe_fds[2], file;
	uint64_t zero = 0;
	char name[] = "/proc/self/maps";

	negotiate(f, 0);
	assert_int_equal(pipe(pipe_fds), 0);
	refused(f, send_body(f, VHOST_SET_MEM_TABLE, &b, 40, pipe_fds[0]), "not a memfd");
	refused(f, send_body(f, VHOST_SET_MEM_TABLE, &b, 40, eventfd(0, 0)), "not a memfd");
	file = open(name, O_RDONLY | O_CLOEXEC);
	refused(f, send_body(f, VHOST_SET_MEM_TABLE, &b, 40, file), "not a memfd");
	refused(f, send_body(f, VHOST_SET_MEM_TABLE, &b, 40, new_memfd(MEM - 1)), "less than");
	assert_int_equal(send_memory(f, MEM), 0);
	refused(f, send_body(f, VHOST_SET_VRING_KICK, &zero, 8, pipe_fds[1]), "not an eventfd");
	refused(f, send_body(f, VHOST_SET_VRING_CALL, &zero, 8, new_memfd(8)), "not an eventfd");
}

static void reset_keeps_memory(void **state)
{
	struct fixture *f = *state;

	negotiate(f, 0);
	assert_int_equal(send_memory(f, MEM), 0);
	prepare(f, 0, 3);
	assert_int_equal(send_kick(f, 0), 0);
	assert_int_equal(send_body(f, VHOST_RESET_DEVICE, NULL, 0, -1), 0);
	assert_false(vhost_dev_started(&f->dev));
	assert_int_equal(f->dev.features, 0);
	assert_int_equal(f->dev.mem.n, 1);
	assert_int_equal(send_u64(f, VHOST_SET_FEATURES, V1_ONLY), 0);
	prepare(f, 0, 0);
	assert_int_equal(send_kick(f, 0), 0);
	assert_int_equal(ring_flags(f, 0), WIRE_RING_RUNNING);
}

/* A successor that drains them must see them as the guest filled them, and log what it writes. */
static void rings_are_drained_under_the_features_before_the_reset(void **state)
{
	struct fixture *f = *state;
	int fds[VHOST_WIRE_FDS_MAX];
	struct wire_port_set w = { 0 };

	negotiate(f, VHOST_FEATURE_LOG_ALL);
	assert_int_equal(send_memory(f, MEM), 0);
	prepare(f, 0, 0);
	assert_int_equal(send_addr(f, 0, 0x10000, VHOST_VRING_LOG), 0);
	assert_int_equal(send_kick(f, 0), 0);
	assert_int_equal(send_log(f, 32), 0);
	assert_int_equal(send_unsettled(f, VHOST_RESET_DEVICE, NULL, 0, -1), 0);
	assert_int_equal(vhost_dev_wire(&f->dev, &w, fds, false), 2);
	assert_int_equal(w.ring[0].size, 256);
	assert_int_equal(w.ring[0].flags, WIRE_RING_LOG);
	assert_true(w.features == (V1_ONLY | VHOST_FEATURE_LOG_ALL));
	assert_int_equal(w.flags & WIRE_PORT_LOG, WIRE_PORT_LOG);
	assert_int_equal(w.log_size, 32);
	assert_int_equal(fds[1], f->dev.log_fd);
	vhost_dev_settle(&f->dev, &f->reply);
	memset(&w, 0, sizeof(w));
	assert_int_equal(vhost_dev_wire(&f->dev, &w, fds, false), 1);
	assert_int_equal(w.features | w.flags | w.log_size | w.n_rings, 0);
	assert_int_equal(f->dev.ring[0].size | f->dev.ring[0].base, 0);
}

static void a_full_error_eventfd_stops_nobody(void **state)
{
	struct fixture *f = *state;
	const uint64_t most = UINT64_MAX - 1;
	uint64_t index = 0;
	int fd = eventfd(0, EFD_CLOEXEC), status = -1;
	pid_t pid;

	negotiate(f, 0);
	assert_int_equal(send_body(f, VHOST_SET_VRING_ERR, &index, sizeof(index), dup(fd)), 0);
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	pid = fork();
	if (pid == 0) {
		vhost_dev_signal_err(&f->dev);
		_exit(0);
	}
	assert_true(pid > 0);
	for (int i = 0; i < 1000 && waitpid(pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	if (status != 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		fail_msg("it waited for the front end");
	}
	assert_int_equal(read(fd, &index, sizeof(index)), sizeof(index));
	vhost_dev_signal_err(&f->dev);
	assert_int_equal(read(fd, &index, sizeof(index)), sizeof(index));
	assert_int_equal(index, 1);
	close(fd);
}

static int fill_fd = -1;

/* In place of the C library's: the front end fills its eventfd just after it was looked at. */
int poll(struct pollfd *p, nfds_t n, int timeout)
{
	const struct timespec t = { .tv_nsec = timeout * 1000000L };
	const uint64_t most = UINT64_MAX - 1;
	int r = ppoll(p, n, &t, NULL);

	if (fill_fd >= 0)
		assert_int_equal(write(fill_fd, &most, sizeof(most)), sizeof(most));
	fill_fd = -1;
	return r;
}

/* It is waited for once, not once a ring. */
static void the_first_that_makes_us_wait_is_the_last(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC), other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t v = 0;

	negotiate(f, 0);
	assert_int_equal(send_body(f, VHOST_SET_VRING_ERR, &v, sizeof(v), dup(fd)), 0);
	v = 1;
	assert_int_equal(send_body(f, VHOST_SET_VRING_ERR, &v, sizeof(v), dup(other)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	fill_fd = fd;
	assert_false(vhost_dev_signal_err(&f->dev));
	assert_int_equal(read(other, &v, sizeof(v)), -1);
	assert_int_equal(read(fd, &v, sizeof(v)), sizeof(v));
	assert_true(vhost_dev_signal_err(&f->dev));
	assert_int_equal(read(other, &v, sizeof(v)), sizeof(v));
	close(fd);
	close(other);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(offers),
		TEST(starts_enabled_without_protocol_features),
		TEST(starts_disabled_with_protocol_features),
		TEST(kick_may_come_before_the_rest),
		TEST(stop_tells_the_position),
		TEST(running_rings_stay_as_they_are),
		TEST(rings_lie_in_memory),
		TEST(logging),
		TEST(logged_rings_wait_for_the_log),
		TEST(memory_slots),
		TEST(descriptors_of_the_wrong_kind),
		TEST(reset_keeps_memory),
		TEST(rings_are_drained_under_the_features_before_the_reset),
		TEST(a_full_error_eventfd_stops_nobody),
		TEST(the_first_that_makes_us_wait_is_the_last),
	};

	return cmocka_run_group_tests_name("vhost_dev", tests, NULL, NULL);
}
