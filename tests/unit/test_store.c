/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keeper/notify, keeper/store and keeper/saved: a service manager is played by this test. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sock.h"
#include "datapath/keeper/saved.h"
#include "datapath/keeper/shm.h"
#include "datapath/keeper/store.h"
#include "tests/unit/fd_limit.h"

struct fixture {
	struct event_base *base;
	int manager; /* its end of NOTIFY_SOCKET */
	struct store *store;
	unsigned int n_confirmed;
	char text[4096];
	int fd; /* that came with the last message, or -1 */
};

static void on_confirmed(void *userdata)
{
	struct fixture *f = userdata;

	f->n_confirmed++;
}

static int set_up(void **state)
{
	static struct fixture f;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char name[64];
	int n;

	memset(&f, 0, sizeof(f));
	f.fd = -1;
	f.base = event_base_new();
	n = snprintf(name, sizeof(name), "@vnicd-test-store-%d", (int)getpid());
	memcpy(addr.sun_path + 1, name + 1, (size_t)n - 1);
	f.manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f.manager, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n)),
			 0);
	assert_int_equal(store_new(f.base, name, on_confirmed, &f, &f.store), 0);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_free(f->store);
	if (f->fd >= 0)
		close(f->fd);
	close(f->manager);
	event_base_free(f->base);
	return 0;
}

/* What the manager was told next, and with which descriptor; NULL: nothing. */
static const char *told(struct fixture *f)
{
	size_t n_fds = 0;
	ssize_t n;

	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	n = sock_recv(f->manager, f->text, sizeof(f->text) - 1, &f->fd, 1, &n_fds);
	if (n < 0)
		return NULL;
	f->text[n] = '\0';
	if (!n_fds)
		f->fd = -1;
	return f->text;
}

static int new_memfd(size_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void each_has_a_name_of_its_own(void **state)
{
	struct fixture *f = *state;
	int fd = new_memfd(1);
	uint32_t a = store_put(f->store, STORE_PRIVATE, fd),
		 b = store_put(f->store, STORE_PORT, fd);

	assert_int_equal(a, 1);
	assert_int_equal(b, 2);
	assert_string_equal(told(f), "FDSTORE=1\nFDNAME=f1\nFDPOLL=0");
	assert_true(f->fd >= 0);
	assert_string_equal(told(f), "FDSTORE=1\nFDNAME=p2\nFDPOLL=0");
	store_drop(f->store, a);
	assert_string_equal(told(f), "FDSTOREREMOVE=1\nFDNAME=f1");
	assert_int_equal(f->fd, -1);
	assert_null(told(f));
	assert_int_equal(store_count(f->store), 1);
	store_drop(f->store, a);
	store_drop(f->store, 0);
	store_drop(f->store, STORE_MAX);
	assert_null(told(f));
	close(fd);
}

/* systemd would drop the second one silently, and the first one's removal would take it away. */
static void what_is_shared_is_stored_once(void **state)
{
	struct fixture *f = *state;
	int mem = new_memfd(1), again = dup(mem), ev = eventfd(0, EFD_CLOEXEC), ev_again = dup(ev),
	    other = eventfd(0, EFD_CLOEXEC);
	uint32_t m = store_share(f->store, mem), e = store_share(f->store, ev),
		 o = store_share(f->store, other);

	assert_true(m && e && o && m != e && e != o);
	for (int i = 0; i < 3; i++)
		assert_non_null(told(f));
	assert_int_equal(store_share(f->store, again), m);
	assert_int_equal(store_share(f->store, ev_again), e);
	assert_null(told(f));
	store_drop(f->store, m);
	store_drop(f->store, e);
	assert_null(told(f));
	store_drop(f->store, m);
	assert_string_equal(told(f), "FDSTOREREMOVE=1\nFDNAME=m1");
	/* It is a new one to the manager then. */
	assert_true(store_share(f->store, mem) != 0);
	assert_non_null(told(f));
	close(mem);
	close(again);
	close(ev);
	close(ev_again);
	close(other);
}

static void what_cannot_be_told_apart_is_not_shared(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(store_share(f->store, fds[0]), 0);
	assert_int_equal(store_share(f->store, -1), 0);
	assert_null(told(f));
	close(fds[0]);
	close(fds[1]);
}

/* One more than STORE_MAX - 1 is refused by us, not dropped by the manager; names fit in 128 KiB. */
static void it_ends_before_the_manager_does(void **state)
{
	struct fixture *f = *state;
	int fd = new_memfd(1);
	size_t names = sizeof("LISTEN_FDNAMES=vnicd-datapath.socket");
	uint32_t first = 0;

	for (uint32_t i = 1; i < STORE_MAX; i++) {
		uint32_t id = store_put(f->store, STORE_PRIVATE, fd);
		char *at;

		first = first ? first : id;
		assert_int_not_equal(id, 0);
		assert_non_null(told(f));
		at = strstr(f->text, "FDNAME=");
		names += strcspn(at, "\n") - strlen("FDNAME=") + 1;
	}
	assert_true(names < 128 * 1024);
	assert_int_equal(store_put(f->store, STORE_PRIVATE, fd), 0);
	assert_int_equal(store_share(f->store, fd), 0);
	store_drop(f->store, first);
	assert_non_null(told(f));
	assert_int_equal(store_put(f->store, STORE_PRIVATE, fd), first);
	close(fd);
}

static void turn(struct fixture *f)
{
	event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void a_barrier_is_answered_by_closing(void **state)
{
	struct fixture *f = *state;
	struct notify *n = store_notify(f->store);
	uint64_t one = notify_barrier(n), two = notify_barrier(n);

	assert_string_equal(told(f), "BARRIER=1");
	assert_true(f->fd >= 0);
	turn(f);
	assert_false(notify_confirmed(n, one));
	assert_null(told(f)); /* closes it */
	turn(f);
	assert_true(notify_confirmed(n, one));
	assert_false(notify_confirmed(n, two));
	assert_int_equal(f->n_confirmed, 1);
	assert_string_equal(told(f), "BARRIER=1");
	assert_null(told(f));
	turn(f);
	assert_true(notify_confirmed(n, two));
	assert_int_equal(f->n_confirmed, 2);
}

/* Nobody waits for a manager that does not answer; one that does it later is waited for again. */
static void a_late_manager_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	struct notify *n = store_notify(f->store);
	uint64_t one = notify_barrier(n);

	assert_non_null(told(f));
	event_base_loop(f->base, EVLOOP_ONCE); /* its patience */
	assert_true(notify_confirmed(n, one));
	assert_true(notify_confirmed(n, notify_barrier(n)));
	assert_null(told(f));
	turn(f);
	assert_false(notify_confirmed(n, notify_barrier(n)));
}

/* The manager's queue is full: nothing is lost, nothing waits, the order stays. */
static void a_full_queue_is_waited_out(void **state)
{
	struct fixture *f = *state;
	int fd = new_memfd(1);
	char want[64];
	uint64_t barrier;

	for (int i = 1; i <= 2000; i++)
		assert_int_equal(store_put(f->store, STORE_PRIVATE, fd), i);
	close(fd);
	barrier = notify_barrier(store_notify(f->store));
	for (int i = 1; i <= 2000; i++) {
		while (!told(f))
			turn(f);
		snprintf(want, sizeof(want), "FDSTORE=1\nFDNAME=f%x\nFDPOLL=0", i);
		assert_string_equal(f->text, want);
		assert_true(f->fd >= 0);
	}
	while (!told(f))
		turn(f);
	assert_string_equal(f->text, "BARRIER=1");
	assert_null(told(f));
	turn(f);
	assert_true(notify_confirmed(store_notify(f->store), barrier));
}

/* Neither is it the manager's fault when a user's descriptors on their way are limited: what was to be stored waits. */
static void a_limit_of_descriptors_on_their_way_is_waited_out(void **state)
{
	struct fixture *f = *state;
	struct fd_limit others;
	int fd = new_memfd(1);

	fd_limit_reach(&others);
	assert_int_equal(store_put(f->store, STORE_PRIVATE, fd), 1);
	turn(f);
	assert_null(told(f));
	assert_true(notify_alive(store_notify(f->store)));
	fd_limit_leave(&others);
	close(fd); /* it has a copy */
	while (!told(f))
		event_base_loop(f->base, EVLOOP_ONCE);
	assert_string_equal(f->text, "FDSTORE=1\nFDNAME=f1\nFDPOLL=0");
	assert_true(f->fd >= 0);
}

static void a_manager_that_is_gone_is_told_nothing(void **state)
{
	struct fixture *f = *state;
	int fd = new_memfd(1);

	close(f->manager);
	f->manager = open("/dev/null", O_RDONLY);
	assert_true(notify_alive(store_notify(f->store)));
	store_put(f->store, STORE_PRIVATE, fd);
	assert_false(notify_alive(store_notify(f->store)));
	assert_int_equal(store_put(f->store, STORE_PRIVATE, fd), 0);
	assert_true(notify_confirmed(store_notify(f->store), 7));
	close(fd);
}

static void what_was_passed_is_adopted(void **state)
{
	static const char *const strangers[] = { "",	  "m",	 "stored",     "x1",  "m0",  "m01",
						 "m4000", "m-1", "mffffffff1", "f1 ", "f 1", "F1" };
	struct fixture *f = *state;
	int mem = new_memfd(1), state_fd = new_memfd(1), orphan = new_memfd(1);

	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++)
		assert_false(store_adopt(f->store, mem, strangers[i]));
	assert_true(store_adopt(f->store, dup(mem), "m1"));
	assert_true(store_adopt(f->store, state_fd, "p2"));
	assert_false(store_adopt(f->store, orphan, "f2"));
	assert_true(store_adopt(f->store, orphan, "f3"));
	assert_int_equal(store_next(f->store, STORE_PORT, 0), 2);
	assert_int_equal(store_next(f->store, STORE_PORT, 2), 0);
	assert_int_equal(store_adopted(f->store, STORE_PORT, 2), state_fd);
	assert_int_equal(store_adopted(f->store, STORE_SHARED, 2), -1);
	assert_int_equal(store_adopted(f->store, STORE_PORT, STORE_MAX), -1);
	assert_true(store_claim(f->store, 2));
	assert_false(store_claim(f->store, 2));
	assert_false(store_claim(f->store, 4));
	assert_int_equal(store_share(f->store, mem), 1);
	assert_null(told(f));
	assert_int_equal(store_sweep(f->store), 1);
	assert_string_equal(told(f), "FDSTOREREMOVE=1\nFDNAME=f3");
	assert_int_equal(fcntl(state_fd, F_GETFD), -1);
	assert_int_equal(store_count(f->store), 2);
	assert_int_equal(store_put(f->store, STORE_PRIVATE, mem), 3);
	close(mem);
}

/* Two names for one file: one of them is found, the other swept out. */
static void a_double_is_swept_out(void **state)
{
	struct fixture *f = *state;
	int mem = new_memfd(1);

	assert_true(store_adopt(f->store, dup(mem), "m1"));
	assert_true(store_adopt(f->store, dup(mem), "m2"));
	assert_int_equal(store_share(f->store, mem), 1);
	assert_int_equal(store_sweep(f->store), 1);
	assert_string_equal(told(f), "FDSTOREREMOVE=1\nFDNAME=m2");
	assert_int_equal(store_share(f->store, mem), 1);
	close(mem);
}

#define MAGIC 0x1234567890abcdefULL

struct body {
	char text[1000];
};

static void saved_state_is_read_back(void **state)
{
	struct body in = { "one" }, out;
	struct vnic_err err = VNIC_ERR_INIT;
	struct saved *s, *again;
	int fd;

	(void)state;
	assert_int_equal(saved_new("test", MAGIC, 3, sizeof(in), &s, &fd), 0);
	assert_int_equal(saved_open(fd, MAGIC, 3, &out, sizeof(out), &again, &err), -EBADMSG);
	for (int i = 0; i < 3; i++) {
		snprintf(in.text, sizeof(in.text), "number %d", i);
		saved_write(s, &in);
		assert_int_equal(saved_open(fd, MAGIC, 3, &out, sizeof(out), &again, &err), 0);
		assert_memory_equal(&in, &out, sizeof(in));
		saved_close(again);
	}
	assert_false(saved_marked(s));
	saved_mark(s, true);
	assert_int_equal(saved_open(fd, MAGIC, 3, &out, sizeof(out), &again, &err), 0);
	assert_true(saved_marked(again));
	saved_close(again);
	assert_int_equal(saved_open(fd, MAGIC, 4, &out, sizeof(out), &again, &err), -ESTALE);
	assert_non_null(strstr(err.message, "version 3"));
	assert_int_equal(saved_open(fd, MAGIC, 3, &out, sizeof(out) - 200, &again, &err), -ESTALE);
	assert_int_equal(saved_open(fd, MAGIC + 1, 3, &out, sizeof(out), &again, &err), -EBADMSG);
	saved_close(s);
	close(fd);
}

/* A bit that flips anywhere is seen, or lies where nobody looks. */
static void damaged_state_is_refused(void **state)
{
	struct body in = { "one" }, out;
	struct vnic_err err = VNIC_ERR_INIT;
	unsigned int refused = 0;
	struct saved *s, *again;
	unsigned char *map;
	off_t size;
	int fd;

	(void)state;
	assert_int_equal(saved_new("test", MAGIC, 3, sizeof(in), &s, &fd), 0);
	saved_write(s, &in);
	size = lseek(fd, 0, SEEK_END);
	map = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (off_t i = 0; i < size; i++) {
		map[i] ^= 1 << (i % 8);
		memset(&out, 'x', sizeof(out));
		if (saved_open(fd, MAGIC, 3, &out, sizeof(out), &again, &err) == 0) {
			assert_memory_equal(&in, &out, sizeof(in));
			saved_close(again);
		} else {
			refused++;
		}
		map[i] ^= 1 << (i % 8);
	}
	assert_in_range(refused, sizeof(in), sizeof(in) + 64);
	munmap(map, (size_t)size);
	saved_close(s);
	close(fd);
}

static void only_sealed_memory_is_mapped(void **state)
{
	struct vnic_err err = VNIC_ERR_INIT;
	int fd = new_memfd(4096), null = open("/dev/null", O_RDWR), sealed;
	void *map;

	(void)state;
	assert_int_equal(shm_map(fd, 4096, &map, &err), -EBADMSG);
	assert_int_equal(shm_map(null, 4096, &map, &err), -EBADMSG);
	assert_int_equal(shm_map(-1, 4096, &map, &err), -EBADMSG);
	assert_int_equal(shm_new("test", 4096, &sealed, &map), 0);
	munmap(map, 4096);
	assert_int_equal(shm_map(sealed, 8192, &map, &err), -ESTALE);
	assert_int_equal(shm_map(sealed, 4096, &map, &err), 0);
	munmap(map, 4096);
	close(fd);
	close(null);
	close(sealed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
		TEST(each_has_a_name_of_its_own),
		TEST(what_is_shared_is_stored_once),
		TEST(what_cannot_be_told_apart_is_not_shared),
		TEST(it_ends_before_the_manager_does),
		TEST(a_barrier_is_answered_by_closing),
		TEST(a_late_manager_is_not_waited_for),
		TEST(a_full_queue_is_waited_out),
		TEST(a_limit_of_descriptors_on_their_way_is_waited_out),
		TEST(a_manager_that_is_gone_is_told_nothing),
		TEST(what_was_passed_is_adopted),
		TEST(a_double_is_swept_out),
		cmocka_unit_test(saved_state_is_read_back),
		cmocka_unit_test(damaged_state_is_refused),
		cmocka_unit_test(only_sealed_memory_is_mapped),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
