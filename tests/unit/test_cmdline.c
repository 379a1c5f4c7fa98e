/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicd-datapath's command line: what is taken, and that a refusal names the option and the fix. */
#include "tests/unit/unit.h"

#include <string.h>

#include "base/str.h"
#include "datapath/keeper/cmdline.h"

#define ARGS_MAX 8
#define PORT_A	 "name=a,socket=/run/a,mac=52:54:00:00:00:01"

static int parse(const char *const *args, struct cmdline *c, struct vnic_err *err)
{
	static char copy[ARGS_MAX][256];
	char *argv[ARGS_MAX + 2] = { copy[0] };
	int argc = 1;

	strcpy(copy[0], "vnicd-datapath");
	for (; *args; args++, argc++) {
		argv[argc] = strcpy(copy[argc], *args);
	}
	memset(err, 0, sizeof(*err));
	return cmdline_parse(argc, argv, c, err);
}

static void everything(void **state)
{
	const char *const args[] = {
		"--port",
		PORT_A ",vlan=12,weight=3,rate=2gbit,mode=client,queues=2,spoofchk=off",
		"--uplink=tap=t0",
		"--cores",
		"3,0-1",
		"--stats=/tmp/x",
		NULL
	};
	struct vnic_err err;
	struct cmdline c;

	(void)state;
	assert_int_equal(parse(args, &c, &err), 0);
	assert_int_equal(c.mode, CMDLINE_RUN);
	assert_int_equal(c.n_ports, 1);
	assert_string_equal(c.ports[0].config.key, "a");
	assert_string_equal(c.ports[0].config.name, "a");
	assert_string_equal(c.ports[0].socket, "/run/a");
	assert_int_equal(c.ports[0].config.mac[5], 1);
	assert_int_equal(c.ports[0].config.vlan, 12);
	assert_int_equal(c.ports[0].config.weight, 3);
	assert_true(c.ports[0].config.rate == 2000000000ULL);
	assert_int_equal(c.ports[0].config.queues, 2);
	assert_true(c.ports[0].client);
	assert_false(c.ports[0].config.spoofchk);
	assert_string_equal(c.tap, "t0");
	assert_int_equal(c.n_cores, 3);
	assert_int_equal(c.cores[0], 3);
	assert_int_equal(c.cores[2], 1);
	assert_string_equal(c.stats, "/tmp/x");
	cmdline_clear(&c);
}

static void defaults(void **state)
{
	const char *const args[] = { "--port", PORT_A ",rate=1000000", NULL };
	struct vnic_err err;
	struct cmdline c;

	(void)state;
	assert_int_equal(parse(args, &c, &err), 0);
	assert_int_equal(c.ports[0].config.vlan, 0);
	assert_int_equal(c.ports[0].config.weight, 1);
	assert_true(c.ports[0].config.rate == 1000000);
	assert_int_equal(c.ports[0].config.queues, DP_QUEUE_PAIRS_MAX);
	assert_false(c.ports[0].client);
	assert_true(c.ports[0].config.spoofchk);
	assert_null(c.tap);
	assert_null(c.stats);
	cmdline_clear(&c);
}

static void modes(void **state)
{
	static const struct {
		const char *arg;
		int mode;
	} rows[] = { { "--managed", CMDLINE_MANAGED },
		     { "--worker", CMDLINE_WORKER },
		     { "--help", CMDLINE_HELP },
		     { "--version", CMDLINE_VERSION } };
	struct vnic_err err;
	struct cmdline c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const args[] = { rows[i].arg, NULL };

		assert_int_equal(parse(args, &c, &err), 0);
		assert_int_equal(c.mode, rows[i].mode);
		cmdline_clear(&c);
	}
}

static void refusals(void **state)
{
	static const struct {
		const char *args[ARGS_MAX];
		const char *says;
	} rows[] = {
		{ { NULL }, "there is no --port" },
		{ { "--port", "name=a", NULL }, "name=, socket= and mac= are all needed" },
		{ { "--port", "a", NULL }, "\"a\" is not KEY=VALUE" },
		{ { "--port", "name=a/b", NULL }, "name=a/b: use letters" },
		{ { "--port", "socket=", NULL }, "1 to 107 bytes" },
		{ { "--port", "mac=01:00:5e:00:00:01", NULL }, "not a unicast address" },
		{ { "--port", "mac=x", NULL }, "mac=x" },
		{ { "--port", "vlan=0", NULL }, "vlan=0: 1 to 4094" },
		{ { "--port", "vlan=4095", NULL }, "1 to 4094" },
		{ { "--port", "weight=0", NULL }, "weight=0" },
		{ { "--port", "rate=fast", NULL }, "rate=fast" },
		{ { "--port", "mode=both", NULL }, "server or client" },
		{ { "--port", "queues=9", NULL }, "queues=9: 1 to 8" },
		{ { "--port", "spoofchk=maybe", NULL }, "on or off" },
		{ { "--port", "colour=red", NULL }, "unknown key \"colour\"" },
		{ { "--port", PORT_A, "--port", PORT_A, NULL }, "two ports of name a" },
		{ { "--port", PORT_A, "--port", "name=b,socket=/run/a,mac=52:54:00:00:00:02",
		    NULL },
		  "socket of port a" },
		{ { "--port", PORT_A, "--port", "name=b,socket=/run/b,mac=52:54:00:00:00:01",
		    NULL },
		  "MAC and VLAN of port a" },
		{ { "--port", PORT_A, "--uplink", "xdp=eth0:1", NULL }, "not in this version" },
		{ { "--port", PORT_A, "--uplink", "packet=a/b", NULL },
		  "packet=NETDEV with an interface" },
		{ { "--port", PORT_A, "--uplink", "packet=e0", "--uplink", "tap=t0", NULL },
		  "there is one uplink, and it is e0" },
		{ { "--port", PORT_A, "--uplink", "eth0", NULL }, "give tap=NAME" },
		{ { "--port", PORT_A, "--uplink", "tap=a/b", NULL }, "give tap=NAME" },
		{ { "--port", PORT_A, "--cores", "3-1", NULL }, "--cores 3-1" },
		{ { "--port", PORT_A, "--cores", "", NULL }, "give CPUs' numbers" },
		{ { "--port", PORT_A, "--cores", "0-99", NULL }, "more than 64" },
		{ { "--managed", "--port", PORT_A, NULL }, "--managed takes no --port" },
		{ { "--port", PORT_A, "--log-level", "loud", NULL }, "--log-level loud" },
		{ { "--frobnicate", NULL }, "--frobnicate: unknown" },
		{ { "--port", NULL }, "--port: unknown, or without" },
		{ { "--port", PORT_A, "more", NULL }, "\"more\" is not an option" },
	};
	struct vnic_err err;
	struct cmdline c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(parse(rows[i].args, &c, &err), -EINVAL);
		assert_null(c.ports);
		if (!strstr(err.message, rows[i].says))
			fail_msg("row %zu: \"%s\" does not say \"%s\"", i, err.message,
				 rows[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything),
		cmocka_unit_test(defaults),
		cmocka_unit_test(modes),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests_name("cmdline", tests, NULL, NULL);
}
