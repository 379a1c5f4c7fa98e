/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vnicctl shows to people, against golden files: tests/golden/cli/NAME.in is the JSON that a command got,
 * NAME.ok what it prints. To write the .ok files anew: UPDATE_GOLDEN=1 tests/unit/test_cli, then read the diff.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/diagnose.h"
#include "cli/table.h"

typedef void (*renderer)(FILE *f, const struct table_style *style, struct json_object *o);

static void findings(FILE *f, const struct table_style *style, struct json_object *o)
{
	render_findings(f, style, "web", o);
}

static void first_nic(FILE *f, const struct table_style *style, struct json_object *nics)
{
	render_nic(f, style, json_object_array_get_idx(nics, 0));
}

static void alone_nic(FILE *f, const struct table_style *style, struct json_object *nics)
{
	render_nic(f, style, json_object_array_get_idx(nics, 3));
}

static void second_port(FILE *f, const struct table_style *style, struct json_object *ports)
{
	render_port(f, style, json_object_array_get_idx(ports, 1));
}

static void first_port(FILE *f, const struct table_style *style, struct json_object *ports)
{
	render_port(f, style, json_object_array_get_idx(ports, 0));
}

/* @name: NAME of the files; the input may be shared. @key: what the renderer gets out of the input */
static void golden(const char *name, const char *input, const char *key, renderer render, int width,
		   bool color)
{
	const char *top = getenv("top_srcdir");
	struct table_style style = { width, color };
	_cleanup_(json_putp) struct json_object *o = NULL;
	_cleanup_(freep) char *text = NULL, *want = NULL, *got = NULL;
	struct json_object *part;
	char in[4096], ok[4096];
	size_t size, got_size;
	FILE *f;

	snprintf(in, sizeof(in), "%s/tests/golden/cli/%s.in", top ? top : ".", input);
	snprintf(ok, sizeof(ok), "%s/tests/golden/cli/%s.ok", top ? top : ".", name);
	assert_int_equal(file_read(AT_FDCWD, in, 1 << 20, &text, &size), 0);
	assert_int_equal(json_parse(text, size, &o, NULL), 0);
	assert_true(json_object_object_get_ex(o, key, &part));
	f = open_memstream(&got, &got_size);
	assert_non_null(f);
	render(f, &style, part);
	fclose(f);
	if (getenv("UPDATE_GOLDEN")) {
		f = fopen(ok, "we");
		assert_non_null(f);
		assert_int_equal(fwrite(got, 1, got_size, f), got_size);
		assert_int_equal(fclose(f), 0);
		return;
	}
	assert_int_equal(file_read(AT_FDCWD, ok, 1 << 20, &want, NULL), 0);
	assert_string_equal(got, want);
}

static void ports_whole(void **state)
{
	(void)state;
	golden("ports", "ports", "ports", render_ports, 0, false);
}

static void ports_narrow(void **state)
{
	(void)state;
	golden("ports-narrow", "ports", "ports", render_ports, 60, false);
}

static void ports_color(void **state)
{
	(void)state;
	golden("ports-color", "ports", "ports", render_ports, 0, true);
}

static void ports_none(void **state)
{
	(void)state;
	golden("ports-none", "ports-none", "ports", render_ports, 80, false);
}

static void port_one(void **state)
{
	(void)state;
	golden("port", "ports", "ports", first_port, 80, false);
}

/* It could have a VF, and there is none: the reason is in alloc's words. */
static void port_without_vf(void **state)
{
	(void)state;
	golden("port-without-vf", "ports", "ports", second_port, 80, false);
}

static void port_vdpa(void **state)
{
	(void)state;
	golden("port-vdpa", "port-vdpa", "ports", first_port, 80, false);
	golden("port-vdpa-any", "port-vdpa-any", "ports", first_port, 80, false);
	golden("port-vdpa-card", "port-vdpa-card", "ports", first_port, 80, false);
}

static void nic_vnic(void **state)
{
	(void)state;
	golden("nic-vnic", "nic-vnic", "nics", first_nic, 80, false);
}

static void nics(void **state)
{
	(void)state;
	golden("nics", "nics", "nics", render_nics, 0, false);
}

static void nic_one(void **state)
{
	(void)state;
	golden("nic", "nic", "nics", first_nic, 0, false);
}

static void nic_narrow(void **state)
{
	(void)state;
	golden("nic-narrow", "nic", "nics", first_nic, 80, true);
}

/* A PF without a driver, and so without an interface. */
static void nic_alone(void **state)
{
	(void)state;
	golden("nic-alone", "nics", "nics", alone_nic, 80, false);
}

static void segments(void **state)
{
	(void)state;
	golden("segments", "segments", "segments", render_segments, 0, false);
}

static void classes(void **state)
{
	(void)state;
	golden("classes", "classes", "classes", render_classes, 80, false);
}

static void status_running(void **state)
{
	(void)state;
	golden("status", "status", "status", render_status, 80, false);
}

static void status_degraded(void **state)
{
	(void)state;
	golden("status-degraded", "status-degraded", "status", render_status, 80, false);
}

static void domain_findings(void **state)
{
	(void)state;
	golden("findings", "findings", "findings", findings, 80, false);
}

static void diagnose(void **state)
{
	(void)state;
	golden("diagnose", "diagnose", "checks", render_diagnose, 80, false);
}

static void put_file(const char *dir, const char *name)
{
	_cleanup_(freep) char *file = NULL;
	FILE *f;

	assert_true(asprintf(&file, "%s/%s", dir, name) > 0);
	f = fopen(file, "we");
	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
}

static const char *check_field(struct json_object *checks, size_t i, const char *key)
{
	return j_str(json_object_array_get_idx(checks, i), key);
}

/* A damaged record that was set aside is none of a port's, and is told of until somebody removes it. */
static void diagnose_records(void **state)
{
	char dir[] = "/tmp/vnicd-test-XXXXXX";
	static const char *const files[] = { "a.json", "b.json.bad", ".c.json.tmp", "d.json.bad" };
	_cleanup_(json_putp) struct json_object *checks = json_object_new_array();
	_cleanup_(freep) char *bad = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		put_file(dir, files[i]);
	check_records(checks, dir, 1);
	assert_string_equal(check_field(checks, 0, "status"), "ok");
	check_records(checks, dir, 2);
	assert_string_equal(check_field(checks, 1, "status"), "warning");
	assert_non_null(strstr(check_field(checks, 1, "message"), "1 record in "));
	check_set_aside(checks, dir);
	assert_int_equal(json_object_array_length(checks), 3);
	assert_string_equal(check_field(checks, 2, "status"), "warning");
	assert_non_null(strstr(check_field(checks, 2, "message"), "2 damaged records"));
	assert_true(asprintf(&bad, "rm %s/*.json.bad", dir) > 0);
	assert_non_null(strstr(check_field(checks, 2, "fix"), bad));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(freep) char *file = NULL;

		assert_true(asprintf(&file, "%s/%s", dir, files[i]) > 0);
		assert_int_equal(unlink(file), 0);
	}
	check_set_aside(checks, dir);
	assert_int_equal(json_object_array_length(checks), 3);
	assert_int_equal(rmdir(dir), 0);
}

/* What VFs need of the host, over a sysfs of files. */
static void diagnose_vfs(void **state)
{
	char dir[] = "/tmp/vnicd-test-XXXXXX";
	static const char *const folders[] = {
		"kernel",  "kernel/iommu_groups", "kernel/iommu_groups/0",   "bus",
		"bus/pci", "bus/pci/drivers",	  "bus/pci/drivers/vfio-pci"
	};
	_cleanup_(json_putp) struct json_object *checks = json_object_new_array();
	_cleanup_(freep) char *file = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	check_vfs(checks, dir);
	assert_string_equal(check_field(checks, 0, "status"), "error");
	assert_non_null(strstr(check_field(checks, 0, "message"), "IOMMU"));
	assert_string_equal(check_field(checks, 1, "status"), "error");
	assert_non_null(strstr(check_field(checks, 1, "fix"), "modprobe vfio-pci"));
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		_cleanup_(freep) char *path = NULL;

		assert_true(asprintf(&path, "%s/%s", dir, folders[i]) > 0);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	check_vfs(checks, dir);
	/* A driver that is loaded has files there. */
	assert_string_equal(check_field(checks, 2, "status"), "ok");
	assert_string_equal(check_field(checks, 3, "status"), "error");
	assert_true(asprintf(&file, "%s/%s/bind", dir, folders[6]) > 0);
	put_file(dir, "bus/pci/drivers/vfio-pci/bind");
	check_vfs(checks, dir);
	assert_string_equal(check_field(checks, 5, "status"), "ok");
	assert_int_equal(unlink(file), 0);
	for (size_t i = ARRAY_SIZE(folders); i-- > 0;) {
		_cleanup_(freep) char *path = NULL;

		assert_true(asprintf(&path, "%s/%s", dir, folders[i]) > 0);
		assert_int_equal(rmdir(path), 0);
	}
	assert_int_equal(rmdir(dir), 0);
}

static void units(void **state)
{
	static const struct {
		uint64_t n;
		const char *bytes, *rate;
	} rows[] = {
		{ 0, "0", "-" },
		{ 1023, "1023", "1023bit" },
		{ 1024, "1.0K", "1024bit" },
		{ 10240, "10K", "10240bit" },
		{ 2000000000, "1.9G", "2gbit" },
		{ 1500000, "1.4M", "1500kbit" },
		{ UINT64_MAX, "16E", "18446744073709551615bit" },
	};
	char buf[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		format_bytes(rows[i].n, buf, sizeof(buf));
		assert_string_equal(buf, rows[i].bytes);
		format_rate(rows[i].n, buf, sizeof(buf));
		assert_string_equal(buf, rows[i].rate);
	}
}

static void keys_of_json(void **state)
{
	char buf[16];

	(void)state;
	assert_int_equal(value_snake_case("QueuesActive", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "queues_active");
	assert_int_equal(value_snake_case("Mac", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "mac");
	assert_int_equal(value_snake_case("ANameThatIsMuchTooLong", buf, sizeof(buf)),
			 -ENAMETOOLONG);
}

static void exit_statuses(void **state)
{
	(void)state;
	assert_int_equal(cli_exit_of("DaemonDown"), 3);
	assert_int_equal(cli_exit_of("UnknownPort"), 4);
	assert_int_equal(cli_exit_of("UnknownDomain"), 4);
	assert_int_equal(cli_exit_of("AccessDenied"), 5);
	assert_int_equal(cli_exit_of("Busy"), 6);
	assert_int_equal(cli_exit_of("StaleGeneration"), 6);
	assert_int_equal(cli_exit_of("Timeout"), 7);
	assert_int_equal(cli_exit_of("StepFailed"), 1);
	assert_int_equal(cli_exit_of("SomethingNew"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_whole),
		cmocka_unit_test(ports_narrow),
		cmocka_unit_test(ports_color),
		cmocka_unit_test(ports_none),
		cmocka_unit_test(port_one),
		cmocka_unit_test(nics),
		cmocka_unit_test(nic_one),
		cmocka_unit_test(nic_narrow),
		cmocka_unit_test(nic_alone),
		cmocka_unit_test(port_without_vf),
		cmocka_unit_test(port_vdpa),
		cmocka_unit_test(nic_vnic),
		cmocka_unit_test(segments),
		cmocka_unit_test(classes),
		cmocka_unit_test(status_running),
		cmocka_unit_test(status_degraded),
		cmocka_unit_test(domain_findings),
		cmocka_unit_test(diagnose),
		cmocka_unit_test(diagnose_records),
		cmocka_unit_test(diagnose_vfs),
		cmocka_unit_test(units),
		cmocka_unit_test(keys_of_json),
		cmocka_unit_test(exit_statuses),
	};

	/* Histories are shown in local time. */
	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
