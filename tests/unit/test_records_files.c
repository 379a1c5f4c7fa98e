/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files and folders of records: tests/tables/state-inputs.md, with test_records.c. */
#include "tests/unit/records_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "daemon/sys/record.h"
#include "daemon/sys/records.h"

/* Folders of records, and what loading them told. */
struct place {
	char dir[32], ports[64], shared[64];
	int ports_fd, shared_fd;
	struct records *records;
	int n_ports, n_shared, n_problems;
	char file[128];
	struct vnic_err err;
};

static int place_setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct vnic_err e = VNIC_ERR_INIT;

	assert_non_null(p);
	strcpy(p->dir, "/tmp/vnic-unit-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->ports, sizeof(p->ports), "%s/ports", p->dir);
	snprintf(p->shared, sizeof(p->shared), "%s/shared", p->dir);
	if (records_new(p->ports, p->shared, BOOT, &p->records, &e) < 0)
		fail_msg("%s", e.message);
	p->ports_fd = open(p->ports, O_DIRECTORY | O_CLOEXEC);
	p->shared_fd = open(p->shared, O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return 0;
}

static int place_teardown(void **state)
{
	struct place *p = *state;
	char command[64];
	int r;

	snprintf(command, sizeof(command), "rm -rf %s", p->dir);
	r = system(command);
	records_free(p->records);
	close(p->ports_fd);
	close(p->shared_fd);
	free(p);
	return r;
}

static void on_port(void *userdata, struct vnic_port *port)
{
	struct place *p = userdata;

	p->n_ports++;
	port_free(port);
}

static void on_shared(void *userdata, const char *segment, struct plan *plan)
{
	struct place *p = userdata;

	assert_string_equal(segment, "lan");
	p->n_shared++;
	plan_clear(plan);
}

static void on_problem(void *userdata, const char *file, const struct vnic_err *err)
{
	struct place *p = userdata;

	p->n_problems++;
	snprintf(p->file, sizeof(p->file), "%s", file);
	p->err = *err;
}

static void load(struct place *p)
{
	static const struct records_ops ops = { .port = on_port,
						.shared = on_shared,
						.problem = on_problem };

	p->n_ports = p->n_shared = p->n_problems = 0;
	assert_int_equal(records_load(p->records, &ops, p, NULL), 0);
}

static void write_sample(struct place *p)
{
	struct vnic_port *port = sample();

	assert_int_equal(records_write_port(p->records, port, NULL), 0);
	port_free(port);
}

static bool there(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The file beside a true record is set aside with @says, and the true one is read. */
static void is_set_aside(struct place *p, const char *file, const char *says)
{
	char bad[128];

	write_sample(p);
	load(p);
	assert_int_equal(p->n_ports, 1);
	assert_int_equal(p->n_problems, 1);
	assert_string_equal(p->file, file);
	snprintf(bad, sizeof(bad), "%s.bad", file);
	if (!strstr(p->err.message, says) || !strstr(p->err.message, bad))
		fail_msg("'%s' is not in: %s", says, p->err.message);
	assert_true(there(p->ports_fd, bad));
	assert_false(there(p->ports_fd, file));
	/* And it is not looked at again. */
	load(p);
	assert_int_equal(p->n_ports, 1);
	assert_int_equal(p->n_problems, 0);
}

static void put(int dirfd, const char *name, const char *text, size_t size)
{
	assert_int_equal(file_write_atomic(dirfd, name, text, size, 0600), 0);
}

static void file_empty(void **state)
{
	put(((struct place *)*state)->ports_fd, OTHER_FILE, "", 0);
	is_set_aside(*state, OTHER_FILE, "too short");
}

static void file_of_zeros(void **state)
{
	static const char zeros[4096];

	put(((struct place *)*state)->ports_fd, OTHER_FILE, zeros, sizeof(zeros));
	is_set_aside(*state, OTHER_FILE, "checksum");
}

static void file_of_another_port(void **state)
{
	struct place *p = *state;
	size_t size;
	_cleanup_(freep) char *data = sample_text(&size);

	put(p->ports_fd, OTHER_FILE, data, size);
	is_set_aside(p, OTHER_FILE, "another port's");
}

static void file_symlink(void **state)
{
	struct place *p = *state;

	assert_int_equal(symlinkat(PORT_FILE, p->ports_fd, OTHER_FILE), 0);
	is_set_aside(p, OTHER_FILE, "symbolic link");
}

static void file_is_a_folder(void **state)
{
	struct place *p = *state;

	assert_int_equal(mkdirat(p->ports_fd, OTHER_FILE, 0700), 0);
	is_set_aside(p, OTHER_FILE, "no regular file");
}

static void file_is_a_fifo(void **state)
{
	struct place *p = *state;

	assert_int_equal(mkfifoat(p->ports_fd, OTHER_FILE, 0600), 0);
	is_set_aside(p, OTHER_FILE, "no regular file");
}

static void file_huge(void **state)
{
	struct place *p = *state;
	int fd;

	put(p->ports_fd, OTHER_FILE, "", 0);
	fd = openat(p->ports_fd, OTHER_FILE, O_WRONLY);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	close(fd);
	is_set_aside(p, OTHER_FILE, "too large");
}

static void segment_of_another_name(void **state)
{
	struct place *p = *state;
	struct plan plan = { 0 };

	assert_int_equal(records_write_shared(p->records, "lan", &plan, NULL), 0);
	load(p);
	assert_int_equal(p->n_shared, 1);
	assert_int_equal(renameat(p->shared_fd, "lan.json", p->shared_fd, "wan.json"), 0);
	load(p);
	assert_int_equal(p->n_shared, 0);
	assert_non_null(strstr(p->err.message, "another segment's"));
	assert_true(there(p->shared_fd, "wan.json.bad"));
}

static void file_of_another_boot(void **state)
{
	struct place *p = *state;
	struct vnic_port *port = sample();
	_cleanup_(freep) char *data = NULL;
	size_t size;

	assert_int_equal(record_encode_port(port, OTHER_BOOT, &data, &size), 0);
	port_free(port);
	put(p->ports_fd, PORT_FILE, data, size);
	load(p);
	assert_int_equal(p->n_ports, 0);
	assert_int_equal(p->n_problems, 0);
	assert_false(there(p->ports_fd, PORT_FILE));
}

static void file_newer_is_left_alone(void **state)
{
	struct place *p = *state;
	struct json_object *o = sample_object();
	struct vnic_port *port = sample();
	_cleanup_(freep) char *data = NULL, *after = NULL;
	struct vnic_err e = VNIC_ERR_INIT;

	json_object_object_add(o, "version", json_object_new_int(2));
	data = sealed(o);
	json_object_put(o);
	put(p->ports_fd, PORT_FILE, data, strlen(data));
	load(p);
	assert_int_equal(p->n_ports, 0);
	assert_int_equal(p->n_problems, 1);
	assert_non_null(strstr(p->err.message, "left alone"));
	/* Nor is it written over. */
	assert_int_equal(records_write_port(p->records, port, &e), -EEXIST);
	assert_non_null(strstr(e.message, "newer vnicd"));
	assert_int_equal(file_read(p->ports_fd, PORT_FILE, 65536, &after, NULL), 0);
	assert_string_equal(after, data);
	/* Nor removed, when the port that could not be written is given up; but the administrator may. */
	assert_int_equal(records_erase_port(p->records, &port->spec.key, &e), 0);
	assert_true(there(p->ports_fd, PORT_FILE));
	assert_int_equal(unlinkat(p->ports_fd, PORT_FILE, 0), 0);
	assert_int_equal(records_write_port(p->records, port, &e), 0);
	assert_int_equal(records_erase_port(p->records, &port->spec.key, &e), 0);
	assert_false(there(p->ports_fd, PORT_FILE));
	port_free(port);
}

static void file_left_by_a_killed_writer(void **state)
{
	struct place *p = *state;

	put(p->ports_fd, "." PORT_FILE ".tmp", "{\"ver", 5);
	put(p->ports_fd, "README", "people may write here too", 10);
	write_sample(p);
	put(p->ports_fd, "." PORT_FILE ".tmp", "{\"ver", 5);
	load(p);
	assert_int_equal(p->n_ports, 1);
	assert_int_equal(p->n_problems, 0);
	assert_false(there(p->ports_fd, "." PORT_FILE ".tmp"));
	assert_true(there(p->ports_fd, "README"));
}

static void erased_twice(void **state)
{
	struct place *p = *state;
	struct port_key key;

	assert_int_equal(port_key_parse(UUID "/" MAC, &key), 0);
	write_sample(p);
	assert_int_equal(records_erase_port(p->records, &key, NULL), 0);
	assert_int_equal(records_erase_port(p->records, &key, NULL), 0);
	assert_int_equal(records_erase_shared(p->records, "lan", NULL), 0);
	assert_int_equal(records_erase_shared(p->records, "../ports/x", NULL), -EINVAL);
	load(p);
	assert_int_equal(p->n_ports, 0);
}

static void folder_that_others_may_write(void **state)
{
	struct place *p = *state;
	struct records *records = NULL;
	struct vnic_err e = VNIC_ERR_INIT;

	assert_int_equal(chmod(p->ports, 0777), 0);
	assert_int_equal(records_new(p->ports, p->shared, BOOT, &records, &e), -EPERM);
	assert_non_null(strstr(e.message, "chmod 0700"));
	assert_null(records);
}

static void folder_is_a_symlink(void **state)
{
	struct place *p = *state;
	struct records *records = NULL;
	char link[64];

	snprintf(link, sizeof(link), "%s/link", p->dir);
	assert_int_equal(symlink("ports", link), 0);
	assert_true(records_new(link, p->shared, BOOT, &records, NULL) < 0);
	assert_null(records);
}

#define PLACE_TEST(fn) cmocka_unit_test_setup_teardown(fn, place_setup, place_teardown)

const struct CMUnitTest record_file_tests[RECORD_FILE_TESTS] = {
	PLACE_TEST(file_empty),
	PLACE_TEST(file_of_zeros),
	PLACE_TEST(file_of_another_port),
	PLACE_TEST(file_symlink),
	PLACE_TEST(file_is_a_folder),
	PLACE_TEST(file_is_a_fifo),
	PLACE_TEST(file_huge),
	PLACE_TEST(segment_of_another_name),
	PLACE_TEST(file_of_another_boot),
	PLACE_TEST(file_newer_is_left_alone),
	PLACE_TEST(file_left_by_a_killed_writer),
	PLACE_TEST(erased_twice),
	PLACE_TEST(folder_that_others_may_write),
	PLACE_TEST(folder_is_a_symlink),
};
