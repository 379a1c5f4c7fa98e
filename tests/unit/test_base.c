/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sock.h"
#include "base/str.h"

static void mac_notation(void **state)
{
	static const char *const bad[] = { "",
					   "52:54:00:00:00",
					   "52:54:00:00:00:0",
					   "52:54:00:00:00:011",
					   "52-54-00-00-00-01",
					   "52:54:00:00:00:0g",
					   " 52:54:00:00:00:01",
					   "52:54:00:00:00:01 " };
	char buf[VNIC_MAC_STR];
	uint8_t mac[6] = { 9 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(mac_parse(bad[i], mac), -EINVAL);
		assert_int_equal(mac[0], 9);
	}
	assert_int_equal(mac_parse("52:54:00:aB:cD:ef", mac), 0);
	assert_string_equal(mac_format(mac, buf), "52:54:00:ab:cd:ef");
	assert_true(mac_valid_guest(mac));
	assert_int_equal(mac_parse("00:00:00:00:00:00", mac), 0);
	assert_false(mac_valid_guest(mac));
	assert_int_equal(mac_parse("01:00:5e:00:00:01", mac), 0);
	assert_false(mac_valid_guest(mac));
}

static void uuid_notation(void **state)
{
	char buf[VNIC_UUID_STR];
	uint8_t u[16];

	(void)state;
	assert_int_equal(uuid_parse("12345678-9abc-DEF0-1234-56789abcdef0", u), 0);
	assert_string_equal(uuid_format(u, buf), "12345678-9abc-def0-1234-56789abcdef0");
	assert_int_equal(uuid_parse("12345678-9abc-DEF0-1234-56789abcdef", u), -EINVAL);
	assert_int_equal(uuid_parse("123456789abc-DEF0-1234-56789abcdef00", u), -EINVAL);
	assert_int_equal(uuid_parse("", u), -EINVAL);
}

static void numbers(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_int_equal(u64_parse("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(u64_parse("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(u64_parse("-1", 0, 9, &v), -EINVAL);
	assert_int_equal(u64_parse("+1", 0, 9, &v), -EINVAL);
	assert_int_equal(u64_parse("0x1", 0, 9, &v), -EINVAL);
	assert_int_equal(u64_parse("", 0, 9, &v), -EINVAL);
	assert_int_equal(u64_parse("10", 0, 9, &v), -ERANGE);
	assert_int_equal(rate_parse("2gbit", &v), 0);
	assert_true(v == 2000000000);
	assert_int_equal(rate_parse("20000000000gbit", &v), -ERANGE);
	assert_int_equal(rate_parse("2gb", &v), -EINVAL);
	assert_int_equal(rate_parse("gbit", &v), -EINVAL);
	assert_int_equal(rate_parse("0bit", &v), -ERANGE);
}

static void names(void **state)
{
	char longname[VNIC_NAME_MAX + 1];

	(void)state;
	assert_true(name_valid("gold-1.a_B"));
	assert_false(name_valid(""));
	assert_false(name_valid(".."));
	assert_false(name_valid("-x"));
	assert_false(name_valid("a/b"));
	assert_false(name_valid("a b"));
	memset(longname, 'a', sizeof(longname) - 1);
	longname[sizeof(longname) - 1] = '\0';
	assert_false(name_valid(longname));
	longname[sizeof(longname) - 2] = '\0';
	assert_true(name_valid(longname));
	assert_true(ifname_valid("eth0.12"));
	assert_false(ifname_valid("a/b"));
	assert_false(ifname_valid("0123456789abcdef"));
}

static void errors_are_one_printable_sentence(void **state)
{
	struct vnic_err e = VNIC_ERR_INIT;

	(void)state;
	assert_int_equal(vnic_err_set(&e, -EINVAL, "X", "class \"%s\"", "a\nb\x1b"), -EINVAL);
	assert_string_equal(e.message, "class \"a?b?\"");
	vnic_err_prefix(&e, "%s:%d: ", "f.conf", 3);
	assert_string_equal(e.message, "f.conf:3: class \"a?b?\"");
	assert_string_equal(e.code, "X");
}

/* "%.3s" and a full buffer cut within a character: what is left of it is no UTF-8, and goes. */
static void errors_are_whole_characters(void **state)
{
	struct vnic_err e = VNIC_ERR_INIT;
	char text[] = "\xc3\xa9 \xff \xed\xa0\x80 \xf0\x9f\x98\x80 \xe2\x80", filler[510];

	(void)state;
	vnic_err_set(&e, -EINVAL, "X", "'%.3s'", "ab\xc3\xa9");
	assert_string_equal(e.message, "'ab?'");
	memset(filler, 'a', sizeof(filler));
	filler[sizeof(filler) - 1] = '\0';
	vnic_err_set(&e, -EINVAL, "X", "\xc3\xa9");
	vnic_err_prefix(&e, "%s", filler + 1);
	assert_int_equal(strlen(e.message), 510);
	vnic_err_set(&e, -EINVAL, "X", "\xc3\xa9");
	vnic_err_prefix(&e, "%s.", filler + 1);
	assert_string_equal(e.message + 508, ".\xc3\xa9");
	vnic_err_prefix(&e, "1");
	assert_string_equal(e.message + 509, ".?");
	str_make_utf8(text);
	assert_string_equal(text, "\xc3\xa9 ? ??? \xf0\x9f\x98\x80 ??");
}

static void json_fields_are_checked(void **state)
{
	static const char text[] = "{\"s\":\"x\",\"n\":5,\"neg\":-1,\"b\":true,\"z\":null}";
	_cleanup_(json_putp) struct json_object *o = NULL;
	struct vnic_err e = VNIC_ERR_INIT;
	const char *s;
	uint64_t n;

	(void)state;
	assert_int_equal(json_parse(text, strlen(text), &o, &e), 0);
	assert_int_equal(json_get_str(o, "s", &s, &e), 0);
	assert_string_equal(s, "x");
	assert_int_equal(json_get_str(o, "n", &s, &e), -EINVAL);
	assert_non_null(strstr(e.message, "\"n\""));
	assert_int_equal(json_get_u64(o, "n", 0, 5, &n, &e), 0);
	assert_int_equal(json_get_u64(o, "n", 0, 4, &n, &e), -ERANGE);
	assert_int_equal(json_get_u64(o, "neg", 0, 4, &n, &e), -ERANGE);
	assert_int_equal(json_get_u64(o, "z", 0, 4, &n, &e), -ENOENT);
	assert_false(json_has(o, "z"));
}

static void json_hostile(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "1", "{}x", "{\"a\":1 2}", "nul", "{a:1}", "{\"a\":\"\xff\"}", "{}{}"
	};
	struct json_object *o = (void *)1;
	char deep[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(json_parse(bad[i], strlen(bad[i]), &o, NULL) < 0);
	memset(deep, '[', sizeof(deep));
	assert_true(json_parse(deep, sizeof(deep), &o, NULL) < 0);
	assert_true(json_parse("{}\0", 3, &o, NULL) < 0);
	assert_ptr_equal(o, (void *)1);
}

static int tmpdir(char *name)
{
	strcpy(name, "/tmp/vnic-unit-XXXXXX");
	assert_non_null(mkdtemp(name));
	return open(name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
}

static void files(void **state)
{
	char dir[32];
	_cleanup_(closep) int d = tmpdir(dir);
	_cleanup_(freep) char *data = NULL;
	size_t size;

	(void)state;
	assert_int_equal(file_write_atomic(d, "a", "hello", 5, 0600), 0);
	assert_int_equal(file_write_atomic(d, "a", "hello!", 6, 0600), 0);
	assert_int_equal(file_read(d, "a", 6, &data, &size), 0);
	assert_int_equal(size, 6);
	assert_string_equal(data, "hello!");
	freep(&data);
	data = NULL;
	assert_int_equal(file_read(d, "a", 5, &data, NULL), -EFBIG);
	assert_int_equal(symlinkat("a", d, "l"), 0);
	assert_int_equal(file_read(d, "l", 6, &data, NULL), -ELOOP);
	assert_int_equal(file_read(d, "none", 6, &data, NULL), -ENOENT);
	assert_int_equal(file_read(AT_FDCWD, dir, 6, &data, NULL), -EINVAL);
	assert_null(data);
	assert_int_equal(file_read(AT_FDCWD, "/proc/self/status", 65536, &data, NULL), 0);
	assert_non_null(strstr(data, "Pid:"));
	unlinkat(d, "a", 0);
	unlinkat(d, "l", 0);
	rmdir(dir);
}

static void packets_carry_descriptors(void **state)
{
	int pair[2], in[2], out[2], got[1];
	char buf[8];
	size_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe(in), 0);
	assert_int_equal(sock_send(pair[0], "hi", 2, in, 2), 0);
	assert_int_equal(sock_recv(pair[1], buf, sizeof(buf), out, 2, &n), 2);
	assert_int_equal(n, 2);
	assert_int_equal(write(out[1], "x", 1), 1);
	assert_int_equal(read(in[0], buf, 1), 1);
	close(out[0]);
	close(out[1]);
	/* More descriptors, or more bytes, than were made room for: refused, nothing leaks. */
	assert_int_equal(sock_send(pair[0], "hi", 2, in, 2), 0);
	assert_int_equal(sock_recv(pair[1], buf, sizeof(buf), got, 1, &n), -EMSGSIZE);
	assert_int_equal(sock_send(pair[0], "123456789", 9, NULL, 0), 0);
	assert_int_equal(sock_recv(pair[1], buf, sizeof(buf), got, 1, &n), -EMSGSIZE);
	/* A packet without bytes is like the end: what came with it is closed. */
	assert_int_equal(sock_send(pair[0], "", 0, in, 1), 0);
	n = 9;
	assert_int_equal(sock_recv(pair[1], buf, sizeof(buf), got, 1, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(fcntl(got[0], F_GETFD), -1);
	close(pair[0]);
	assert_int_equal(sock_recv(pair[1], buf, sizeof(buf), got, 1, &n), 0);
	close(pair[1]);
	close(in[0]);
	close(in[1]);
}

static void listener_replaces_only_the_dead(void **state)
{
	char dir[32], file[64];
	_cleanup_(closep) int d = tmpdir(dir);
	struct rlimit before, none;
	int a, b;

	(void)state;
	snprintf(file, sizeof(file), "%s/s", dir);
	a = sock_listen(file, SOCK_SEQPACKET, 0666);
	assert_true(a >= 0);
	assert_int_equal(sock_listen(file, SOCK_SEQPACKET, 0666), -EADDRINUSE);
	/* Without a descriptor to ask with it is left alone. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(sock_listen(file, SOCK_SEQPACKET, 0666), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(access(file, F_OK), 0);
	close(a);
	b = sock_listen(file, SOCK_SEQPACKET, 0666);
	assert_true(b >= 0);
	close(b);
	unlink(file);
	assert_int_equal(mkdir(file, 0700), 0);
	assert_int_equal(sock_listen(file, SOCK_SEQPACKET, 0666), -EEXIST);
	rmdir(file);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mac_notation),
		cmocka_unit_test(uuid_notation),
		cmocka_unit_test(numbers),
		cmocka_unit_test(names),
		cmocka_unit_test(errors_are_one_printable_sentence),
		cmocka_unit_test(errors_are_whole_characters),
		cmocka_unit_test(json_fields_are_checked),
		cmocka_unit_test(json_hostile),
		cmocka_unit_test(files),
		cmocka_unit_test(packets_carry_descriptors),
		cmocka_unit_test(listener_replaces_only_the_dead),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
