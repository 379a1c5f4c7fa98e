/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Steps on vDPA devices, on a sysfs of files. What only the kernel can do is tried in the rig (test_path_vdpa.py). */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "daemon/exec/exec.h"

struct bed {
	char dir[64];
	struct exec *exec;
};

static char *at(const struct bed *b, const char *file)
{
	static char path[4][256];
	static unsigned int n;
	char *p = path[n++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", b->dir, file);
	return p;
}

static void folder(const struct bed *b, const char *dir)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", b->dir, dir);
	for (char *p = path + strlen(b->dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		mkdir(path, 0755);
	}
	mkdir(path, 0755);
}

static void put(const struct bed *b, const char *file, const char *text)
{
	FILE *f = fopen(at(b, file), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void holds(const struct bed *b, const char *file, const char *text)
{
	_cleanup_(freep) char *got = NULL;

	assert_int_equal(file_read(AT_FDCWD, at(b, file), 4096, &got, NULL), 0);
	assert_string_equal(got, text);
}

#define DEV "sys/bus/vdpa/devices/vnic-1"

/* A device of vnic.ko's, bound to vhost_vdpa, whose node is as /dev/null. */
static int set_up(void **state)
{
	static const char *const files[] = { "vlan", "vlans", "rate", "weight", "allow" };
	struct bed *b = calloc(1, sizeof(*b));
	char file[80];

	strcpy(b->dir, "/tmp/vnicd-vdpa-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	assert_int_equal(exec_new(at(b, "sock"), &b->exec, NULL), 0);
	exec_set_sysfs(b->exec, at(b, "sys"));
	exec_set_vdpa_dir(b->exec, at(b, "vdpa"), at(b, "dev"));
	folder(b, DEV "/vnic");
	folder(b, DEV "/vhost-vdpa-3");
	folder(b, "sys/bus/vdpa/drivers/vhost_vdpa");
	folder(b, "dev");
	put(b, DEV "/vhost-vdpa-3/dev", "1:3\n");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(file, sizeof(file), DEV "/vnic/%s", files[i]);
		put(b, file, "");
	}
	put(b, DEV "/driver_override", "");
	put(b, "sys/bus/vdpa/drivers_probe", "");
	assert_int_equal(symlink("../../drivers/vhost_vdpa", at(b, DEV "/driver")), 0);
	assert_int_equal(symlink("/dev/null", at(b, "dev/vhost-vdpa-3")), 0);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *b = *state;
	char command[100];

	exec_free(b->exec);
	snprintf(command, sizeof(command), "rm -rf %s", b->dir);
	assert_int_equal(system(command), 0);
	free(b);
	return 0;
}

static struct step step_of(enum step_kind kind)
{
	struct step step = { .kind = kind, .dev = "vnic-1", .mgmtdev = "vnic/eth0" };

	strcpy(step.class_name, "gold");
	strcpy(step.name, "web");
	strcpy(step.driver, "vhost_vdpa");
	return step;
}

static void fails(const struct bed *b, struct step *step, int error, const char *words)
{
	struct vnic_err err = VNIC_ERR_INIT;

	assert_int_equal(exec_do(b->exec, step, &err), error);
	if (!strstr(err.message, words))
		fail_msg("'%s' is not in: %s", words, err.message);
}

static void policy(void **state)
{
	struct step step = step_of(STEP_VDPA_POLICY);
	struct bed *b = *state;

	step.vlan = 12;
	step.value = 2000000000;
	step.weight = 7;
	step.allow = 1u << VDPA_ALLOW_MULTICAST | 1u << VDPA_ALLOW_SPOOF;
	assert_int_equal(exec_do(b->exec, &step, NULL), 0);
	holds(b, DEV "/vnic/vlan", "12");
	holds(b, DEV "/vnic/rate", "2000000000");
	holds(b, DEV "/vnic/weight", "7");
	holds(b, DEV "/vnic/allow", "multicast spoof ");
	holds(b, DEV "/vnic/vlans", ",");
	put(b, DEV "/vnic/allow", "");
	step.vlan = 0;
	step.allow = 1u << VDPA_ALLOW_MULTICAST | 1u << VDPA_ALLOW_VLAN;
	assert_int_equal(exec_do(b->exec, &step, NULL), 0);
	holds(b, DEV "/vnic/vlans", "1-4094");
	holds(b, DEV "/vnic/allow", "multicast vlan ");
	unlink(at(b, DEV "/vnic/weight"));
	fails(b, &step, -ENOENT, "vnic/weight=7");
	strcpy(step.dev, "vnic-2");
	fails(b, &step, -ENODEV, "vnic-2 is not there");
	strcpy(step.dev, "../vnic-1");
	fails(b, &step, -EINVAL, "names no vDPA device");
}

static void driver(void **state)
{
	struct step step = step_of(STEP_VDPA_DRIVER);
	struct bed *b = *state;

	/* Bound: nothing to do but to look for its node. */
	assert_int_equal(exec_do(b->exec, &step, NULL), 0);
	holds(b, DEV "/driver_override", "");
	/* The node of that name is another device's. */
	put(b, DEV "/vhost-vdpa-3/dev", "1:5\n");
	fails(b, &step, -ENXIO, "does not appear");
	put(b, DEV "/vhost-vdpa-3/dev", "1:3\n");
	/* Not bound, and this kernel binds nothing. */
	unlink(at(b, DEV "/driver"));
	fails(b, &step, -ENXIO, "did not take it");
	holds(b, DEV "/driver_override", "vhost_vdpa");
	holds(b, "sys/bus/vdpa/drivers_probe", "vnic-1");
}

static void leads_to(const struct bed *b, const char *file, const char *target)
{
	char got[100];
	ssize_t n = readlink(at(b, file), got, sizeof(got) - 1);

	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, target);
}

static void node(void **state)
{
	struct step step = step_of(STEP_VDPA_NODE);
	struct bed *b = *state;
	struct stat st;

	for (int i = 0; i < 2; i++)
		assert_int_equal(exec_do(b->exec, &step, NULL), 0);
	leads_to(b, "vdpa/gold/web", "/dev/vhost-vdpa-3");
	/* What an earlier start left. */
	unlink(at(b, "vdpa/gold/web"));
	assert_int_equal(symlink("/dev/vhost-vdpa-77", at(b, "vdpa/gold/web")), 0);
	assert_int_equal(exec_do(b->exec, &step, NULL), 0);
	leads_to(b, "vdpa/gold/web", "/dev/vhost-vdpa-3");
	/* Another vnicd was killed before its link took its place. */
	assert_int_equal(symlink("/dev/vhost-vdpa-3", at(b, "vdpa/gold/.web")), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(exec_undo(b->exec, &step, NULL), 0);
	assert_int_equal(lstat(at(b, "vdpa/gold"), &st), -1);
	assert_int_equal(lstat(at(b, "vdpa"), &st), 0);
}

static void node_of_others(void **state)
{
	struct step step = step_of(STEP_VDPA_NODE);
	struct bed *b = *state;
	struct stat st;

	folder(b, "vdpa/gold");
	put(b, "vdpa/gold/web", "a file");
	fails(b, &step, -EEXIST, "no link of vnicd's");
	assert_int_equal(exec_undo(b->exec, &step, NULL), 0);
	holds(b, "vdpa/gold/web", "a file");
	unlink(at(b, "vdpa/gold/web"));
	assert_int_equal(symlink("/etc/passwd", at(b, "vdpa/gold/web")), 0);
	fails(b, &step, -EEXIST, "no link of vnicd's");
	assert_int_equal(exec_undo(b->exec, &step, NULL), 0);
	assert_int_equal(lstat(at(b, "vdpa/gold/web"), &st), 0);
	strcpy(step.name, "../web");
	fails(b, &step, -EINVAL, "do not name a port");
	assert_int_equal(exec_undo(b->exec, &step, NULL), -EINVAL);
	strcpy(step.name, "other");
	rmdir(at(b, DEV "/vhost-vdpa-3"));
	unlink(at(b, DEV "/vhost-vdpa-3/dev"));
	rmdir(at(b, DEV "/vhost-vdpa-3"));
	fails(b, &step, -ENXIO, "no node");
}

static bool known(void *data, const char *class_name, const char *name)
{
	(void)data;
	return str_eq(class_name, "gold") && str_eq(name, "web");
}

/* Links that no port has any more go; what is no link of vnicd's stays. */
static void swept(void **state)
{
	struct step step = step_of(STEP_VDPA_NODE);
	struct bed *b = *state;
	struct stat st;

	assert_int_equal(exec_do(b->exec, &step, NULL), 0);
	strcpy(step.name, "left");
	assert_int_equal(exec_do(b->exec, &step, NULL), 0);
	strcpy(step.class_name, "silver");
	assert_int_equal(exec_do(b->exec, &step, NULL), 0);
	put(b, "vdpa/gold/file", "a file");
	exec_sweep_sockets(b->exec, known, NULL);
	leads_to(b, "vdpa/gold/web", "/dev/vhost-vdpa-3");
	holds(b, "vdpa/gold/file", "a file");
	assert_int_equal(lstat(at(b, "vdpa/gold/left"), &st), -1);
	assert_int_equal(lstat(at(b, "vdpa/silver"), &st), -1);
}

static void who_made_it(void **state)
{
	struct step step = step_of(STEP_VDPA_ADD);
	struct vnic_err err = VNIC_ERR_INIT;
	struct bed *b = *state;

	/* One of that name that was there before is not ours, and is not deleted. */
	assert_int_equal(exec_probe(b->exec, &step, &err), -EEXIST);
	assert_non_null(strstr(err.message, "vdpa dev del vnic-1"));
	assert_false(step.has_prev);
	assert_int_equal(exec_undo(b->exec, &step, NULL), 0);
	strcpy(step.dev, "vnic-2");
	assert_int_equal(exec_probe(b->exec, &step, &err), 0);
	assert_true(step.has_prev);
	/* Begun, and never made. */
	assert_int_equal(exec_undo(b->exec, &step, NULL), 0);
}

static void counters(void **state)
{
	struct step step = step_of(STEP_VDPA_ADD);
	struct port_counters_view c = { .rx_packets = 99 };
	struct vdpa_stats s;
	struct bed *b = *state;

	/* A card's has none. */
	assert_int_equal(exec_vdpa_counters(b->exec, &step, &c, &s), -ENOENT);
	assert_int_equal(c.rx_packets, 99);
	put(b, DEV "/vnic/stats",
	    "rx_frames 5\nrx_bytes 500\nrx_drop_no_buffer 1\nrx_drop_backlog 2\nrx_new 7\n"
	    "tx_frames 6\ntx_bytes 18446744073709551615\ntx_drop_spoof 3\ntx_drop_uplink 4\n"
	    "tx_odd -1\nodd\n 3\n");
	assert_int_equal(exec_vdpa_counters(b->exec, &step, &c, &s), 0);
	assert_int_equal(c.rx_packets, 5);
	assert_int_equal(c.rx_bytes, 500);
	assert_int_equal(c.rx_dropped, 3);
	assert_int_equal(c.tx_packets, 6);
	assert_true(c.tx_bytes == UINT64_MAX);
	assert_int_equal(c.tx_spoofed, 3);
	assert_int_equal(c.tx_dropped, 4);
	assert_int_equal(s.pairs, 0);
	assert_string_equal(s.nic_queue, "");
	put(b, DEV "/vnic/pairs", "2\n");
	put(b, DEV "/vnic/denied", "0\n");
	put(b, DEV "/vnic/mac_asked", "52:54:00:00:00:09\n");
	put(b, DEV "/vnic/queue", "any: the NIC has one receive queue\n");
	assert_int_equal(exec_vdpa_counters(b->exec, &step, &c, &s), 0);
	assert_int_equal(s.pairs, 2);
	assert_string_equal(s.mac_asked, "");
	assert_string_equal(s.nic_queue, "any: the NIC has one receive queue");
	put(b, DEV "/vnic/denied", "3\n");
	put(b, DEV "/vnic/queue", "5\n");
	assert_int_equal(exec_vdpa_counters(b->exec, &step, &c, &s), 0);
	assert_int_equal(s.denied, 3);
	assert_string_equal(s.mac_asked, "52:54:00:00:00:09");
	assert_string_equal(s.nic_queue, "5");
	strcpy(step.dev, "vnic-2");
	assert_int_equal(exec_vdpa_counters(b->exec, &step, &c, &s), -ENODEV);
}

static void stat_is(struct vdpa_stats *s, uint32_t queue, const char *name, uint64_t value)
{
	struct vdpa_stat *stat = &s->stat[s->n++];

	stat->queue = queue;
	strcpy(stat->name, name);
	stat->value = value;
}

static void counters_of_cards(void **state)
{
	struct port_counters_view c = { .rx_packets = 99 };
	struct vdpa_stats s = { .n = 0 };

	(void)state;
	assert_false(vdpa_stats_frames(&s, &c));
	stat_is(&s, 0, "received_desc", 5);
	stat_is(&s, 0, "rx bytes", 5);
	assert_false(vdpa_stats_frames(&s, &c));
	assert_int_equal(c.rx_packets, 99);
	s.n = 0;
	for (uint32_t queue = 0; queue < 4; queue += 2) {
		stat_is(&s, queue, "rx packets", 5);
		stat_is(&s, queue, "rx bytes", 500);
		stat_is(&s, queue, "rx drops", 1);
		stat_is(&s, queue, "rx errors", 2);
		stat_is(&s, queue, "rx overruns", 4);
		stat_is(&s, queue + 1, "tx packets", 6);
		stat_is(&s, queue + 1, "tx bytes", 600);
		stat_is(&s, queue + 1, "tx drops", 1);
		stat_is(&s, queue + 1, "tx errors", 2);
	}
	stat_is(&s, 4, "cvq requests", 77);
	assert_true(vdpa_stats_frames(&s, &c));
	assert_int_equal(c.rx_packets, 10);
	assert_int_equal(c.rx_bytes, 1000);
	assert_int_equal(c.rx_dropped, 14);
	assert_int_equal(c.tx_packets, 12);
	assert_int_equal(c.tx_bytes, 1200);
	assert_int_equal(c.tx_dropped, 6);
	assert_int_equal(c.tx_spoofed, 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(policy), TEST(driver),	 TEST(node),	 TEST(node_of_others),
		TEST(swept),  TEST(who_made_it), TEST(counters), TEST(counters_of_cards),
	};

	return cmocka_run_group_tests_name("exec_vdpa", tests, NULL, NULL);
}
