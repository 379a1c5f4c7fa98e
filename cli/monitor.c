/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicctl monitor: what changes, as it changes, one line each */
#include "cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct monitor {
	struct cli *cli;
	long left; /* events to print; -1: without end */
	bool lost; /* the bus refused the match */
};

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "port", "nic" or "manager", by an interface of ours; NULL for others */
static const char *object_of(const char *interface)
{
	if (!strcmp(interface, "org.vnicd1.Port"))
		return "port";
	if (!strcmp(interface, "org.vnicd1.Nic"))
		return "nic";
	return !strcmp(interface, VNIC_I_MANAGER) ? "manager" : NULL;
}

/* UUID_MAC of a path as the key that people write; other ids as they are. */
static void id_of(const char *path, char *buf, size_t size)
{
	const char *p = last_part(path);

	if (strlen(p) == 45 && p[32] == '_') {
		const char *m = p + 33;

		snprintf(buf, size, "%.8s-%.4s-%.4s-%.4s-%.12s/%.2s:%.2s:%.2s:%.2s:%.2s:%.2s", p,
			 p + 8, p + 12, p + 16, p + 20, m, m + 2, m + 4, m + 6, m + 8, m + 10);
	} else {
		snprintf(buf, size, "%s", p);
	}
}

static void print_properties(struct json_object *properties)
{
	cli_make_printable(properties);
	json_object_object_foreach(properties, key, v)
	{
		const char *s = json_object_get_string(v);

		if (strcmp(key, "counters") != 0 && strcmp(key, "history") != 0)
			printf(" %s=%s", key, s && *s ? s : "-");
	}
}

static void print_event(struct monitor *mon, const char *what, const char *object, const char *id,
			struct json_object *properties)
{
	struct timespec ts;
	struct tm tm;
	char when[32];

	if (mon->left == 0)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (mon->cli->json) {
		_cleanup_(json_putp) struct json_object *o = json_object_new_object();

		json_add_u64(o, "time_us",
			     (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000);
		json_add_str(o, "event", what);
		json_add_str(o, "object", object);
		json_add_str(o, "id", id);
		if (properties)
			json_object_object_add(o, "properties", json_object_get(properties));
		cli_print_json(mon->cli, o);
	} else {
		localtime_r(&ts.tv_sec, &tm);
		strftime(when, sizeof(when), "%T", &tm);
		printf("%s.%03ld %s %s %s", when, ts.tv_nsec / 1000000, object, id, what);
		if (properties)
			print_properties(properties);
		putchar('\n');
		fflush(stdout);
	}
	if (mon->left > 0)
		mon->left--;
}

static int on_properties(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	const char *interface, *object;
	char id[80];

	(void)error;
	if (sd_bus_message_read(m, "s", &interface) < 0)
		return 0;
	object = object_of(interface);
	if (!object || value_read_properties(m, o) < 0)
		return 0;
	id_of(sd_bus_message_get_path(m), id, sizeof(id));
	print_event(userdata, "changed", object, id, o);
	return 0;
}

/* Which VFs of a nic may have changed; what they are now, 'vnicctl nic show' tells. */
static int on_vfs(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	uint32_t first, last;
	char id[80];

	(void)error;
	if (sd_bus_message_read(m, "uu", &first, &last) < 0)
		return 0;
	json_add_u64(o, "first", first);
	json_add_u64(o, "last", last);
	id_of(sd_bus_message_get_path(m), id, sizeof(id));
	print_event(userdata, "vfs", "nic", id, o);
	return 0;
}

static int on_added(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *path, *interface;
	char id[80];

	(void)error;
	if (sd_bus_message_read(m, "o", &path) < 0 ||
	    sd_bus_message_enter_container(m, 'a', "{sa{sv}}") < 0)
		return 0;
	id_of(path, id, sizeof(id));
	while (sd_bus_message_enter_container(m, 'e', "sa{sv}") > 0) {
		_cleanup_(json_putp) struct json_object *o = json_object_new_object();

		if (sd_bus_message_read(m, "s", &interface) < 0 || value_read_properties(m, o) < 0)
			return 0;
		if (object_of(interface))
			print_event(userdata, "added", object_of(interface), id, o);
		if (sd_bus_message_exit_container(m) < 0)
			return 0;
	}
	return 0;
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *path, *interface;
	char id[80];

	(void)error;
	if (sd_bus_message_read(m, "o", &path) < 0 ||
	    sd_bus_message_enter_container(m, 'a', "s") < 0)
		return 0;
	id_of(path, id, sizeof(id));
	while (sd_bus_message_read(m, "s", &interface) > 0)
		if (object_of(interface))
			print_event(userdata, "removed", object_of(interface), id, NULL);
	return 0;
}

/* vnicd itself came or went. */
static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *name, *before, *after;

	(void)error;
	if (sd_bus_message_read(m, "sss", &name, &before, &after) >= 0)
		print_event(userdata, *after ? "started" : "stopped", "manager", "vnicd", NULL);
	return 0;
}

static int add_matches(struct monitor *mon)
{
	sd_bus *bus = mon->cli->bus;
	int r = sd_bus_match_signal(bus, NULL, VNIC_BUS_NAME, NULL,
				    "org.freedesktop.DBus.Properties", "PropertiesChanged",
				    on_properties, mon);

	if (r >= 0)
		r = sd_bus_match_signal(bus, NULL, VNIC_BUS_NAME, NULL, "org.vnicd1.Nic",
					"VfsChanged", on_vfs, mon);
	if (r >= 0)
		r = sd_bus_match_signal(bus, NULL, VNIC_BUS_NAME, VNIC_BUS_ROOT,
					"org.freedesktop.DBus.ObjectManager", "InterfacesAdded",
					on_added, mon);
	if (r >= 0)
		r = sd_bus_match_signal(bus, NULL, VNIC_BUS_NAME, VNIC_BUS_ROOT,
					"org.freedesktop.DBus.ObjectManager", "InterfacesRemoved",
					on_removed, mon);
	if (r >= 0)
		r = sd_bus_add_match(bus, NULL,
				     "type='signal',sender='org.freedesktop.DBus',"
				     "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
				     "arg0='" VNIC_BUS_NAME "'",
				     on_owner, mon);
	return r;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* Print until interrupted, the count is reached, the time is up, or the bus is gone (negative). */
static int watch(struct monitor *mon, uint64_t end)
{
	int r = 0;

	while (r >= 0 && !interrupted && mon->left != 0) {
		uint64_t now = now_us();

		if (end && now >= end)
			return 0;
		r = sd_bus_process(mon->cli->bus, NULL);
		if (r == 0)
			r = sd_bus_wait(mon->cli->bus, end ? end - now : UINT64_MAX);
		if (r == -EINTR)
			r = 0;
	}
	return r;
}

int cmd_monitor(struct cli *cli, int argc, char **argv)
{
	struct monitor mon = { .cli = cli, .left = cli->count ? cli->count : -1 };
	struct sigaction sa = { .sa_handler = on_signal };
	struct vnic_err err = VNIC_ERR_INIT;
	_cleanup_(json_putp) struct json_object *manager = NULL;
	uint64_t end = cli->seconds ? now_us() + (uint64_t)cli->seconds * 1000000 : 0;
	int r = cli_connect(cli, &err);

	(void)argc;
	(void)argv;
	if (r < 0)
		return cli_fail_err(cli, &err);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	r = add_matches(&mon);
	if (r < 0)
		return cli_fail(cli, VNIC_E_ACCESS, "the bus does not let you listen: %s",
				strerror(-r));
	/* A vnicd that is not there may come: waiting for it is what a monitor is for. But say so. */
	r = cli_get_manager(cli, &manager, &err);
	if (r < 0 && strcmp(err.code, VNIC_E_DAEMON_DOWN) != 0)
		return cli_fail_err(cli, &err);
	if (!cli->json && r < 0)
		fprintf(stderr, "vnicctl: vnicd does not run; waiting for it\n");
	else if (!cli->json)
		fprintf(stderr, "vnicctl: watching vnicd %s, which is %s; end with Ctrl-C\n",
			j_str(manager, "version"), j_str(manager, "state"));
	r = watch(&mon, end);
	if (r < 0)
		return cli_fail(cli, VNIC_E_DAEMON_DOWN, "the system bus went away: %s",
				strerror(-r));
	return CLI_OK;
}
