/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/tables/config-inputs.md: what vnicd.conf may hold, and what it says of what it may not. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "daemon/sys/config_file.h"
#include "tests/unit/table.h"

#define SEGMENT "[segment lan]\nbridge=br0\n"
#define CLASS	SEGMENT "[class gold]\nsegment=lan\n"
#define X10	"xxxxxxxxxx"
#define X50	X10 X10 X10 X10 X10
#define X200	X50 X50 X50 X50
#define X1000	X200 X200 X200 X200 X200

/* A text and, in order, what the error must say of it. */
struct bad_text {
	const char *name, *text;
	const char *says[4];
	size_t size;
};

#define BAD(name, text, ...)                                  \
	{                                                     \
		name, text, { __VA_ARGS__ }, sizeof(text) - 1 \
	}

static const struct bad_text bad_texts[] = {
	BAD("key_unknown", SEGMENT "mtuu=9000\n", "f.conf:3: ", "'mtuu'", "did you mean 'mtu'",
	    "cores"),
	BAD("key_unknown_nothing_near", SEGMENT "colour=red\n", "f.conf:3: ", "'colour'",
	    "(its keys: bridge"),
	BAD("key_of_another_section", SEGMENT "rate=1gbit\n",
	    "f.conf:3: ", "'rate' in [segment lan]"),
	BAD("key_before_section", "mtu=1500\n", "f.conf:1: ", "'mtu' before any section"),
	BAD("key_duplicate", SEGMENT "mtu=1500\n\nmtu=9000\n", "f.conf:5: ", "mtu",
	    "twice, first in line 3"),
	BAD("key_duplicate_section_reopened",
	    SEGMENT "[vnicd]\nlog-level=info\n[segment lan]\nbridge=br1\n", "f.conf:6: ", "bridge",
	    "line 2"),
	BAD("key_uppercase", SEGMENT "MTU=1500\n", "f.conf:3: ", "unknown key 'MTU'"),
	BAD("key_without_equals", SEGMENT "mtu\n", "f.conf:3: ", "no '='"),
	BAD("key_without_equals_last_line", SEGMENT "mtu", "f.conf:3: ", "no '='"),
	BAD("key_empty", SEGMENT "=5\n", "f.conf:3: ", "unknown key ''"),
	BAD("value_continuation_line", SEGMENT "uplink=eth0,\n\teth1\n", "f.conf:4: ", "no '='"),
	BAD("section_unknown", "[segmnt lan]\n", "f.conf:1: ", "[segmnt]",
	    "did you mean 'segment'"),
	BAD("section_unknown_nothing_near", "[global]\n", "f.conf:1: ", "[global]", "[class NAME]"),
	BAD("section_empty", "[]\n", "f.conf:1: ", "unknown section []"),
	BAD("section_unnamed", "[segment]\n", "f.conf:1: ", "the name ''"),
	BAD("section_name_extra", "[vnicd x]\n", "f.conf:1: ", "takes no name"),
	BAD("section_name_slash", "[class ../x]\n", "f.conf:1: ", "'../x'"),
	BAD("section_name_two_words", "[class a b]\n", "f.conf:1: ", "'a b'"),
	BAD("section_name_too_long", "[class " X50 X10 "xxxx]\n", "f.conf:1: ", "1 to 63"),
	BAD("section_unclosed", "[class gold\n", "f.conf:1: ", "']'"),
	BAD("section_text_behind", "[class gold] segment=lan\n", "f.conf:1: ", "'segment=lan'"),
	BAD("nul_byte",
	    SEGMENT "mtu=15\0"
		    "00\n",
	    "f.conf:3: ", "NUL"),
	BAD("nul_byte_in_comment", "# a\0b\n", "f.conf:1: ", "NUL"),
	BAD("line_over_1_KiB", "[vnicd]\n# " X1000 X50 "\n", "f.conf:2: ", "1052 bytes", "1024"),
	BAD("line_over_libinih_limit", "[vnicd]\nlog-level=" X200 "\n", "f.conf:2: ", "210 bytes",
	    "198"),
	BAD("binary",
	    "\x7f"
	    "ELF\x02\x01\x01",
	    "f.conf:1: ", "no '='"),
	BAD("log_level_unknown", "[vnicd]\nlog-level=loud\n", "f.conf:2: ", "log-level=loud",
	    "warning"),
	BAD("bridge_too_long", "[segment a]\nbridge=a123456789012345\n",
	    "f.conf:2: ", "at most 15"),
	BAD("bridge_slash", "[segment a]\nbridge=a/b\n", "f.conf:2: ", "bridge=a/b"),
	BAD("bridge_empty", "[segment a]\nbridge=\n", "f.conf:2: ", "bridge= in [segment a]"),
	BAD("bridge_not_utf8", "[segment a]\nbridge=br\xff\n", "f.conf:2: ", "in [segment a]",
	    "in UTF-8"),
	BAD("uplink_not_utf8", SEGMENT "uplink=eth0,e\xc3\n", "f.conf:3: ", "uplink=", "in UTF-8"),
	BAD("bridge_missing", "[segment a]\nmtu=1500\n", "f.conf:1: ", "add bridge=NAME"),
	BAD("uplink_twice", SEGMENT "uplink=eth0,eth1,eth0\n", "f.conf:3: ", "none twice"),
	BAD("uplink_nine", SEGMENT "uplink=a,b,c,d,e,f,g,h,i\n", "f.conf:3: ", "at most 8"),
	BAD("uplink_bad_name", SEGMENT "uplink=eth0,a/b\n", "f.conf:3: ", "uplink=eth0,a/b"),
	BAD("mtu_negative", SEGMENT "mtu=-1\n", "f.conf:3: ", "mtu=-1", "68 to 65521"),
	BAD("mtu_small", SEGMENT "mtu=67\n", "f.conf:3: ", "68 to 65521"),
	BAD("mtu_large", SEGMENT "mtu=65522\n", "f.conf:3: ", "68 to 65521"),
	BAD("mtu_overflow_32", SEGMENT "mtu=4294968796\n", "f.conf:3: ", "68 to 65521"),
	BAD("mtu_overflow_64", SEGMENT "mtu=18446744073709553116\n", "f.conf:3: ", "68 to 65521"),
	BAD("mtu_text", SEGMENT "mtu=jumbo\n", "f.conf:3: ", "mtu=jumbo"),
	BAD("mtu_hex", SEGMENT "mtu=0x5dc\n", "f.conf:3: ", "mtu=0x5dc"),
	BAD("cores_reversed", SEGMENT "cores=7-4\n", "f.conf:3: ", "cores=7-4"),
	BAD("cores_twice", SEGMENT "cores=1,0-3\n", "f.conf:3: ", "none twice"),
	BAD("cores_seventeen", SEGMENT "cores=0-16\n", "f.conf:3: ", "at most 16"),
	BAD("cores_large", SEGMENT "cores=1024\n", "f.conf:3: ", "0 to 1023"),
	BAD("cores_text", SEGMENT "cores=all\n", "f.conf:3: ", "cores=all"),
	BAD("segment_missing", SEGMENT "[class gold]\nvlan=5\n", "f.conf:3: ", "add segment=NAME"),
	BAD("segment_bad_name", "[class gold]\nsegment=a/b\n", "f.conf:2: ", "segment=a/b"),
	BAD("paths_unknown", CLASS "paths=vdpa,magic\n", "f.conf:5: ", "paths=vdpa,magic", "vmdq"),
	BAD("paths_twice", CLASS "paths=vdpa,vdpa\n", "f.conf:5: ", "none twice"),
	BAD("paths_empty", CLASS "paths=\n", "f.conf:5: ", "paths="),
	BAD("vlans_reversed", CLASS "vlans=20-10\n", "f.conf:5: ", "vlans=20-10"),
	BAD("vlans_4095", CLASS "vlans=4095\n", "f.conf:5: ", "4094"),
	BAD("vlan_4095", CLASS "vlan=4095\n", "f.conf:5: ", "4094"),
	BAD("vlan_negative", CLASS "vlan=-5\n", "f.conf:5: ", "vlan=-5"),
	BAD("vlan_overflow_16", CLASS "vlan=65546\n", "f.conf:5: ", "4094"),
	BAD("rate_without_unit", CLASS "rate=1000\n", "f.conf:5: ", "rate=1000", "gbit"),
	BAD("rate_overflow", CLASS "rate=99999999999gbit\n", "f.conf:5: ", "rate="),
	BAD("rate_negative", CLASS "rate=-1gbit\n", "f.conf:5: ", "rate=-1gbit"),
	BAD("weight_zero", CLASS "weight=0\n", "f.conf:5: ", "1 to 1000"),
	BAD("weight_large", CLASS "weight=1001\n", "f.conf:5: ", "1 to 1000"),
	BAD("spoofchk_maybe", CLASS "spoofchk=maybe\n", "f.conf:5: ", "yes or no"),
	BAD("trust_empty", CLASS "trust=\n", "f.conf:5: ", "yes or no"),
	BAD("queues_zero", CLASS "queues=0\n", "f.conf:5: ", "1 to 8"),
	BAD("queues_nine", CLASS "queues=9\n", "f.conf:5: ", "1 to 8"),
	BAD("max_ports_overflow", CLASS "max-ports=4294967296\n", "f.conf:5: ", "65535"),
	BAD("vf_min_rate_no_rate", CLASS "vf-min-rate=some\n", "f.conf:5: ", "vf-min-rate=some",
	    "gbit"),
	BAD("vf_link_up", CLASS "vf-link=up\n", "f.conf:5: ", "vf-link=up",
	    "auto, enable or disable"),
	BAD("vf_link_empty", CLASS "vf-link=\n", "f.conf:5: ", "auto, enable or disable"),
	BAD("hostdev_class_no_name", "[nic eth0]\nhostdev-class=a/b\n",
	    "f.conf:2: ", "hostdev-class=a/b", "name of a class"),
	BAD("vnic_maybe", "[nic eth0]\nvnic=maybe\n", "f.conf:2: ", "vnic=maybe", "yes or no"),
	BAD("mgmtdev_no_name", "[nic eth0]\nmgmtdev=a/b/c\n", "f.conf:2: ", "mgmtdev=a/b/c",
	    "management device"),
	BAD("numa_negative", CLASS "numa=-1\n", "f.conf:5: ", "any, or"),
	BAD("value_control_characters", CLASS "numa=\x1b[31m\n", "f.conf:5: ", "numa=?[31m"),
};

static int parse(const char *text, size_t size, struct vnic_config **ret, struct vnic_err *err)
{
	struct vnic_config *config = config_new();
	char *copy = malloc(size + 1); /* without slack: a read beyond the end is seen by ASan */
	int r;

	assert_non_null(config);
	memcpy(copy, text, size);
	r = config_parse(config, "f.conf", copy, size, err);
	free(copy);
	if (r == 0)
		r = config_finish(config, err);
	if (r == 0)
		*ret = config;
	else
		config_free(config);
	return r;
}

static void refused(void **state)
{
	const struct bad_text *c = *state;
	struct vnic_err e = VNIC_ERR_INIT;
	struct vnic_config *config = NULL;
	const char *pos;

	assert_int_equal(parse(c->text, c->size, &config, &e), -EINVAL);
	assert_string_equal(e.code, "InvalidConfig");
	pos = e.message;
	for (size_t i = 0; i < ARRAY_SIZE(c->says) && c->says[i]; i++) {
		pos = strstr(pos, c->says[i]);
		if (!pos)
			fail_msg("'%s' is not in: %s", c->says[i], e.message);
	}
}

static void everything_set(void **state)
{
	static const char text[] =
		"\xef\xbb\xbf# a comment\r\n"
		"[vnicd]\nlog-level = debug ; loud\n"
		"[segment lan]   # the LAN\n"
		"  bridge=br0\nuplink=eth0, eth1\nmtu=9000\ncores=2,4-6\n\n"
		"[segment empty]\nbridge=br1\n"
		"[class gold]\nsegment=lan\npaths=vdpa, software\nvlans=0,10-12\n"
		"vlan=11\nrate=2gbit\nweight=500\nspoofchk=no\ntrust=on\nqueues=4\n"
		"max-ports=10\nnuma=1\nvf-min-rate=1gbit\nvf-link=enable\n"
		"[nic eth3]\nhostdev-class=gold\nvnic=yes\nmgmtdev=pci/0000:03:00.2\n";
	struct vnic_config *config = NULL;
	struct vnic_err e = VNIC_ERR_INIT;
	struct vnic_segment *s;
	struct vnic_class *c;

	(void)state;
	if (parse(text, strlen(text), &config, &e) < 0)
		fail_msg("%s", e.message);
	assert_int_equal(config->log_level, LOG_DEBUG);
	s = config_segment(config, "lan");
	assert_string_equal(s->bridge, "br0");
	assert_int_equal(s->n_uplinks, 2);
	assert_string_equal(s->uplink[1], "eth1");
	assert_int_equal(s->mtu, 9000);
	assert_int_equal(s->n_cores, 4);
	assert_int_equal(s->cores[3], 6);
	assert_string_equal(s->place.file, "f.conf");
	assert_int_equal(s->place.line, 4);
	c = config_class(config, "gold");
	assert_int_equal(c->paths.path[0], VNIC_PATH_VDPA);
	assert_int_equal(c->paths.path[1], VNIC_PATH_SOFTWARE);
	assert_true(vlan_set_has(&c->vlans, 0) && vlan_set_has(&c->vlans, 12));
	assert_false(vlan_set_has(&c->vlans, 13));
	assert_int_equal(c->vlan, 11);
	assert_true(c->rate == 2000000000);
	assert_int_equal(c->weight, 500);
	assert_false(c->spoofchk);
	assert_true(c->trust);
	assert_int_equal(c->queues, 4);
	assert_int_equal(c->max_ports, 10);
	assert_int_equal(c->numa_node, 1);
	assert_true(c->vf.min_rate == 1000000000);
	assert_int_equal(c->vf.link, VF_LINK_ENABLE);
	assert_string_equal(config_nic(config, "eth3")->hostdev_class, "gold");
	assert_true(config_nic(config, "eth3")->vnic);
	assert_string_equal(config_nic(config, "eth3")->mgmtdev, "pci/0000:03:00.2");
	config_free(config);
}

static void defaults(void **state)
{
	static const char text[] = CLASS "vlan=7\n";
	struct vnic_config *config = NULL;
	struct vnic_segment *s;
	struct vnic_class *c;

	(void)state;
	assert_int_equal(parse(text, strlen(text), &config, NULL), 0);
	assert_int_equal(config->log_level, LOG_INFO);
	s = config_segment(config, "lan");
	assert_int_equal(s->mtu, 0);
	assert_int_equal(s->n_uplinks, 0);
	assert_int_equal(s->n_cores, 0);
	c = config_class(config, "gold");
	assert_int_equal(c->paths.path[0], VNIC_PATH_SOFTWARE);
	assert_int_equal(c->paths.path[1], VNIC_PATH_NONE);
	assert_true(vlan_set_has(&c->vlans, 7));
	assert_false(vlan_set_has(&c->vlans, 0));
	assert_true(c->rate == 0);
	assert_int_equal(c->weight, 100);
	assert_true(c->spoofchk);
	assert_false(c->trust);
	assert_int_equal(c->queues, 8);
	assert_int_equal(c->max_ports, 0);
	assert_int_equal(c->numa_node, -1);
	config_free(config);
}

static void longest_name(void **state)
{
	static const char text[] = "[segment " X50 X10 "xxx]\nbridge=br0\n";
	struct vnic_config *config = NULL;

	(void)state;
	assert_int_equal(parse(text, strlen(text), &config, NULL), 0);
	assert_non_null(config_segment(config, X50 X10 "xxx"));
	config_free(config);
}

static void comment_longer_than_a_key_line(void **state)
{
	static const char text[] = "[vnicd]\n# " X1000 "\nlog-level=err\n";
	struct vnic_config *config = NULL;

	(void)state;
	assert_int_equal(parse(text, strlen(text), &config, NULL), 0);
	assert_int_equal(config->log_level, LOG_ERR);
	config_free(config);
}

/* A folder with vnicd.conf and vnicd.conf.d, as config_read() finds them. */
struct place {
	char dir[32], file[64], dropins[64];
	int fd, dropins_fd;
};

static int place_setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->dir, "/tmp/vnic-unit-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->file, sizeof(p->file), "%s/vnicd.conf", p->dir);
	snprintf(p->dropins, sizeof(p->dropins), "%s/vnicd.conf.d", p->dir);
	assert_int_equal(mkdir(p->dropins, 0755), 0);
	p->fd = open(p->dir, O_DIRECTORY | O_CLOEXEC);
	p->dropins_fd = open(p->dropins, O_DIRECTORY | O_CLOEXEC);
	assert_true(p->fd >= 0 && p->dropins_fd >= 0);
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
	close(p->fd);
	close(p->dropins_fd);
	free(p);
	return r;
}

static void put(int dirfd, const char *name, const char *text)
{
	assert_int_equal(file_write_atomic(dirfd, name, text, strlen(text), 0644), 0);
	assert_int_equal(fchmodat(dirfd, name, 0644, 0), 0);
}

/* config_read() refuses with @error and says each of @a and @b. */
static void read_refused(const struct place *p, int error, const char *a, const char *b)
{
	struct vnic_config *config = NULL;
	struct vnic_err e = VNIC_ERR_INIT;

	assert_int_equal(config_read(p->file, p->dropins, &config, &e), error);
	assert_null(config);
	assert_string_equal(e.code, "InvalidConfig");
	if (!strstr(e.message, a) || !strstr(e.message, b))
		fail_msg("'%s' or '%s' is not in: %s", a, b, e.message);
}

static void files_missing(void **state)
{
	struct vnic_config *config = NULL;

	(void)state;
	assert_int_equal(config_read("/nonexistent/a", "/nonexistent/b", &config, NULL), 0);
	assert_null(config->segments);
	config_free(config);
}

static void dropins_override_key_by_key(void **state)
{
	struct place *p = *state;
	struct vnic_config *config = NULL;
	struct vnic_err e = VNIC_ERR_INIT;

	put(p->fd, "vnicd.conf", "[segment lan]\nbridge=br0\nmtu=1500\nuplink=eth0\n");
	put(p->dropins_fd, "20-b.conf", "[segment lan]\nmtu=9000\n");
	put(p->dropins_fd, "10-a.conf",
	    "[segment lan]\nmtu=4000\nuplink=\n[segment b]\nbridge=b\n");
	put(p->dropins_fd, "30-c.conf.bak", "not a drop-in");
	put(p->dropins_fd, ".hidden.conf", "not a drop-in");
	if (config_read(p->file, p->dropins, &config, &e) < 0)
		fail_msg("%s", e.message);
	assert_int_equal(config_segment(config, "lan")->mtu, 9000);
	assert_int_equal(config_segment(config, "lan")->n_uplinks, 0);
	assert_string_equal(config_segment(config, "lan")->bridge, "br0");
	assert_string_equal(config_segment(config, "lan")->place.file, "vnicd.conf");
	assert_string_equal(config_segment(config, "b")->place.file, "vnicd.conf.d/10-a.conf");
	config_free(config);
}

static void dropin_error_names_its_file(void **state)
{
	struct place *p = *state;

	put(p->dropins_fd, "10-a.conf", "[segment lan]\n\nmtu=1\n");
	read_refused(p, -EINVAL, "vnicd.conf.d/10-a.conf:3: ", "mtu=1");
}

static void file_symlink(void **state)
{
	struct place *p = *state;

	put(p->fd, "real", "");
	assert_int_equal(symlinkat("real", p->fd, "vnicd.conf"), 0);
	read_refused(p, -ELOOP, p->file, "symbolic link");
}

static void dropin_symlink(void **state)
{
	struct place *p = *state;

	assert_int_equal(symlinkat("/dev/null", p->dropins_fd, "a.conf"), 0);
	read_refused(p, -ELOOP, "vnicd.conf.d/a.conf", "symbolic link");
}

static void file_world_writable(void **state)
{
	struct place *p = *state;
	char fix[96];

	put(p->fd, "vnicd.conf", "");
	assert_int_equal(chmod(p->file, 0646), 0);
	snprintf(fix, sizeof(fix), "chmod go-w %s", p->file);
	read_refused(p, -EPERM, "mode 0646", fix);
}

static void dropin_group_writable(void **state)
{
	struct place *p = *state;

	put(p->dropins_fd, "a.conf", "");
	assert_int_equal(fchmodat(p->dropins_fd, "a.conf", 0664, 0), 0);
	read_refused(p, -EPERM, "mode 0664", "vnicd.conf.d/a.conf");
}

static void folder_world_writable(void **state)
{
	struct place *p = *state;

	assert_int_equal(chmod(p->dropins, 0777), 0);
	read_refused(p, -EPERM, "the folder", "chmod go-w");
}

static void file_of_another_user(void **state)
{
	struct place *p = *state;

	/* cmocka's TAP calls a skipped test "not ok", so this one says it in a comment. */
	if (geteuid() != 0) {
		puts("# not tested without root: a file of another user");
		return;
	}
	put(p->fd, "vnicd.conf", "");
	assert_int_equal(chown(p->file, 65534, 0), 0);
	read_refused(p, -EPERM, "user 65534", "chown root ");
}

static void file_over_1_MiB(void **state)
{
	struct place *p = *state;

	put(p->fd, "vnicd.conf", "");
	assert_int_equal(truncate(p->file, CONFIG_FILE_MAX + 1), 0);
	read_refused(p, -EFBIG, p->file, "1 MiB");
}

static void file_is_a_fifo(void **state)
{
	struct place *p = *state;

	assert_int_equal(mkfifo(p->file, 0600), 0);
	read_refused(p, -EINVAL, p->file, "not a regular file");
}

static void file_is_a_folder(void **state)
{
	struct place *p = *state;

	assert_int_equal(mkdir(p->file, 0755), 0);
	read_refused(p, -EINVAL, p->file, "not a regular file");
}

static void folder_is_a_file(void **state)
{
	struct place *p = *state;

	assert_int_equal(rmdir(p->dropins), 0);
	put(p->fd, "vnicd.conf.d", "");
	read_refused(p, -ENOTDIR, p->dropins, "not a folder");
}

static void dropins_over_256(void **state)
{
	struct place *p = *state;

	for (int i = 0; i < CONFIG_DROPINS_MAX + 1; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%d.conf", i);
		put(p->dropins_fd, name, "");
	}
	read_refused(p, -E2BIG, p->dropins, "256");
}

static void example_is_valid(void **state)
{
	const char *top = getenv("top_srcdir");
	_cleanup_(freep) char *data = NULL;
	struct vnic_err e = VNIC_ERR_INIT;
	struct vnic_config *config = NULL;
	char name[512];
	size_t size;

	(void)state;
	snprintf(name, sizeof(name), "%s/data/vnicd.conf", top ? top : ".");
	assert_int_equal(file_read(AT_FDCWD, name, CONFIG_FILE_MAX, &data, &size), 0);
	if (parse(data, size, &config, &e) < 0)
		fail_msg("%s", e.message);
	config_free(config);
	config = NULL;
	/* The example's settings are commented out with '#' alone: they are valid as well. */
	for (char *p = data; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (p[0] == '#' && p[1] != ' ')
			p[0] = ' ';
	if (parse(data, size, &config, &e) < 0)
		fail_msg("%s", e.message);
	assert_non_null(config->classes);
	config_free(config);
}

#define PLACE_TEST(fn) cmocka_unit_test_setup_teardown(fn, place_setup, place_teardown)

static const struct CMUnitTest others[] = {
	cmocka_unit_test(everything_set),
	cmocka_unit_test(defaults),
	cmocka_unit_test(longest_name),
	cmocka_unit_test(comment_longer_than_a_key_line),
	cmocka_unit_test(files_missing),
	cmocka_unit_test(example_is_valid),
	PLACE_TEST(dropins_override_key_by_key),
	PLACE_TEST(dropin_error_names_its_file),
	PLACE_TEST(file_symlink),
	PLACE_TEST(dropin_symlink),
	PLACE_TEST(file_world_writable),
	PLACE_TEST(dropin_group_writable),
	PLACE_TEST(folder_world_writable),
	PLACE_TEST(file_of_another_user),
	PLACE_TEST(file_over_1_MiB),
	PLACE_TEST(file_is_a_fifo),
	PLACE_TEST(file_is_a_folder),
	PLACE_TEST(folder_is_a_file),
	PLACE_TEST(dropins_over_256),
};

static struct CMUnitTest tests[ARRAY_SIZE(bad_texts) + ARRAY_SIZE(others) + 1];

static void table_is_complete(void **state)
{
	static const char *const no_row[] = { "table_is_complete", NULL };

	(void)state;
	table_check("config-inputs.md", tests, ARRAY_SIZE(tests), no_row);
}

int main(void)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bad_texts); i++)
		tests[n++] = (struct CMUnitTest){ .name = bad_texts[i].name,
						  .test_func = refused,
						  .initial_state = (void *)&bad_texts[i] };
	memcpy(tests + n, others, sizeof(others));
	n += ARRAY_SIZE(others);
	tests[n] = (struct CMUnitTest)cmocka_unit_test(table_is_complete);
	return cmocka_run_group_tests_name("config_file", tests, NULL, NULL);
}
