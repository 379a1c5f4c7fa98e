/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/sys and daemon/exec on a command line, for tests/netns/test_sys.py. Prints JSON, an object a line.
 *
 *	systool exec SOCK_DIR [SYSFS]   reads "do|undo|probe KIND FIELD=VALUE…", "slow do|undo KIND FIELD=VALUE…" (in a
 *	                                child, for deadline=MS), "tap-fd NAME", "tap-drop NAME", "listen-fd CLASS NAME",
 *	                                "listen-drop CLASS NAME"
 *	systool records PORTS SHARED    reads "put KEY STEPS", "erase KEY", "load"
 *	systool rtnl RCVBUF             prints what rtnetlink tells, until it is killed
 *	systool watch                   prints changes of the inventory, until it is killed
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "daemon/exec/exec.h"
#include "daemon/sys/records.h"
#include "daemon/sys/rtnetlink.h"
#include "daemon/sys/watch.h"

static void print(struct json_object *o)
{
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	fflush(stdout);
	json_object_put(o);
}

static struct json_object *result(int r, const struct vnic_err *err)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "r", json_object_new_int(r));
	json_add_str(o, "error", r < 0 ? strerrorname_np(-r) : "");
	json_add_str(o, "message", err->message);
	return o;
}

/* How long a step in a child may take. */
static int deadline_ms = 60000;

static void set_field(struct step *step, const char *field, const char *value)
{
	if (str_eq(field, "ifindex"))
		step->ifindex = atoi(value);
	else if (str_eq(field, "ifname"))
		str_copy(step->ifname, sizeof(step->ifname), value);
	else if (str_eq(field, "master"))
		step->master = atoi(value);
	else if (str_eq(field, "mtu"))
		step->mtu = (uint32_t)atoi(value);
	else if (str_eq(field, "vlan"))
		step->vlan = (uint16_t)atoi(value);
	else if (str_eq(field, "mac"))
		mac_parse(value, step->mac);
	else if (str_eq(field, "class"))
		str_copy(step->class_name, sizeof(step->class_name), value);
	else if (str_eq(field, "name"))
		str_copy(step->name, sizeof(step->name), value);
	else if (str_eq(field, "dev"))
		str_copy(step->dev, sizeof(step->dev), value);
	else if (str_eq(field, "vf"))
		step->vf = atoi(value);
	else if (str_eq(field, "vf-addr"))
		str_copy(step->vf_addr, sizeof(step->vf_addr), value);
	else if (str_eq(field, "attr"))
		vf_attr_parse(value, &step->attr);
	else if (str_eq(field, "value"))
		step->value = strtoll(value, NULL, 0);
	else if (str_eq(field, "driver"))
		str_copy(step->driver, sizeof(step->driver), value);
	else if (str_eq(field, "deadline"))
		deadline_ms = atoi(value);
	else if (str_eq(field, "prev-driver")) {
		step->has_prev = true;
		str_copy(step->prev_driver, sizeof(step->prev_driver), value);
	} else if (str_eq(field, "prev-override"))
		str_copy(step->prev_override, sizeof(step->prev_override), value);
	else if (str_eq(field, "old")) {
		step->has_old = true;
		step->old = atoll(value);
	} else if (str_eq(field, "prev")) {
		step->has_prev = true;
		step->prev = atoll(value);
	} else
		exit(2);
}

static int in_child(struct exec *exec, const struct step *step, bool undo, struct vnic_err *err)
{
	struct exec_job *job;
	struct pollfd fd;
	int r = exec_start(exec, step, undo, &job, err);

	if (r < 0)
		return r;
	fd = (struct pollfd){ .fd = exec_job_fd(job), .events = POLLIN };
	poll(&fd, 1, deadline_ms);
	return exec_job_end(exec, job, err);
}

static void one_step(struct exec *exec, const char *verb, char *rest)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct step step = { 0 };
	struct json_object *o;
	bool slow = str_eq(verb, "slow");
	char *word;
	int r;

	if (slow)
		verb = strsep(&rest, " ");
	word = strsep(&rest, " ");
	if (step_kind_parse(word, &step.kind) < 0)
		exit(2);
	while ((word = strsep(&rest, " "))) {
		char *value = strchr(word, '=');

		if (!value)
			exit(2);
		*value++ = '\0';
		set_field(&step, word, value);
	}
	r = slow		   ? in_child(exec, &step, str_eq(verb, "undo"), &err)
	    : str_eq(verb, "do")   ? exec_do(exec, &step, &err)
	    : str_eq(verb, "undo") ? exec_undo(exec, &step, &err)
				   : exec_probe(exec, &step, &err);
	o = result(r, &err);
	json_add_u64(o, "ifindex", (uint64_t)step.ifindex);
	if (step.has_prev)
		json_add_u64(o, "prev", (uint64_t)step.prev);
	if (*step.dev) {
		json_add_str(o, "prev-driver", step.prev_driver);
		json_add_str(o, "prev-override", step.prev_override);
	}
	print(o);
}

static void fd_command(struct exec *exec, const char *verb, char *rest)
{
	const struct vnic_err none = VNIC_ERR_INIT;
	char *a = strsep(&rest, " "), *b = rest;
	int r = 0;

	if (str_eq(verb, "tap-fd"))
		r = exec_tap_fd(exec, a);
	else if (str_eq(verb, "tap-drop"))
		exec_tap_drop(exec, a);
	else if (b && str_eq(verb, "listen-fd"))
		r = exec_listen_fd(exec, a, b);
	else if (b && str_eq(verb, "listen-drop"))
		exec_listen_drop(exec, a, b);
	else
		exit(2);
	print(result(r, &none));
}

static int exec_mode(const char *sock_dir, const char *sysfs)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct exec *exec;
	char line[512];

	if (exec_new(sock_dir, &exec, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	if (sysfs)
		exec_set_sysfs(exec, sysfs);
	while (fgets(line, sizeof(line), stdin)) {
		char *rest = line, *verb;

		line[strcspn(line, "\n")] = '\0';
		verb = strsep(&rest, " ");
		if (!rest)
			return 2;
		if (strstr(verb, "-"))
			fd_command(exec, verb, rest);
		else
			one_step(exec, verb, rest);
	}
	exec_free(exec);
	return 0;
}

static void on_port(void *userdata, struct vnic_port *port)
{
	struct json_object *o = json_object_new_object();
	char key[PORT_KEY_STR];

	(void)userdata;
	json_add_str(o, "port", port_key_format(&port->spec.key, key));
	json_add_u64(o, "steps", port->plan.n);
	print(o);
	port_free(port);
}

static void on_shared(void *userdata, const char *segment, struct plan *plan)
{
	(void)userdata;
	(void)segment;
	plan_clear(plan);
}

static void on_problem(void *userdata, const char *file, const struct vnic_err *err)
{
	struct json_object *o = json_object_new_object();

	(void)userdata;
	json_add_str(o, "problem", file);
	json_add_str(o, "message", err->message);
	print(o);
}

static int put_port(struct records *records, char *rest, struct vnic_err *err)
{
	struct port_spec spec = { .class_name = "gold", .name = "web" };
	const char *key = strsep(&rest, " ");
	struct vnic_port *port;
	int r;

	if (!rest || port_key_parse(key, &spec.key) < 0)
		exit(2);
	port = port_new(&spec);
	str_copy(port->segment, sizeof(port->segment), "lan");
	port->generation = 1;
	for (int i = atoi(rest); i > 0; i--) {
		struct step step = { .kind = STEP_FDB };

		plan_add(&port->plan, &step);
	}
	r = records_write_port(records, port, err);
	port_free(port);
	return r;
}

static int records_mode(const char *ports, const char *shared)
{
	static const struct records_ops ops = { .port = on_port,
						.shared = on_shared,
						.problem = on_problem };
	struct vnic_err err = VNIC_ERR_INIT;
	struct records *records;
	struct port_key key;
	char line[512];

	if (records_new(ports, shared, NULL, &records, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		char *rest = line, *verb;
		int r = -EINVAL;

		err = (struct vnic_err)VNIC_ERR_INIT;
		line[strcspn(line, "\n")] = '\0';
		verb = strsep(&rest, " ");
		if (str_eq(verb, "load"))
			r = records_load(records, &ops, NULL, &err);
		else if (rest && str_eq(verb, "put"))
			r = put_port(records, rest, &err);
		else if (rest && str_eq(verb, "erase") && port_key_parse(rest, &key) == 0)
			r = records_erase_port(records, &key, &err);
		print(result(r, &err));
	}
	records_free(records);
	return 0;
}

static struct json_object *event(const char *what)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "event", what);
	return o;
}

static void add_link(struct json_object *o, const struct vnic_link *link)
{
	char mac[VNIC_MAC_STR];

	json_add_u64(o, "ifindex", (uint64_t)link->ifindex);
	json_add_str(o, "name", link->name);
	json_add_str(o, "kind", link_kind_str(link->kind));
	json_add_str(o, "mac", mac_format(link->mac, mac));
	json_add_u64(o, "master", (uint64_t)link->master);
	json_add_u64(o, "lower", (uint64_t)link->lower);
	json_add_u64(o, "mtu", link->mtu);
	json_add_bool(o, "up", link->up);
	json_add_bool(o, "carrier", link->carrier);
}

static void on_link(void *userdata, const struct vnic_link *link)
{
	struct json_object *o = event(userdata);

	add_link(o, link);
	print(o);
}

static void on_gone(void *userdata, int ifindex)
{
	struct json_object *o = event("gone");

	(void)userdata;
	json_add_u64(o, "ifindex", (uint64_t)ifindex);
	print(o);
}

static void on_synced(void *userdata)
{
	(void)userdata;
	print(event("synced"));
}

static void on_lost(void *userdata, const char *why)
{
	struct json_object *o = event("lost");

	(void)userdata;
	json_add_str(o, "why", why);
	print(o);
}

static int rtnl_mode(int rcvbuf)
{
	static const struct rtnl_ops ops = {
		.link = on_link, .gone = on_gone, .synced = on_synced, .lost = on_lost
	};
	struct loop *loop;
	struct rtnl *rtnl;

	if (loop_new(&loop) < 0 || rtnl_new(loop, rcvbuf, &ops, (void *)"link", &rtnl) < 0)
		return 1;
	return loop_run(loop);
}

static void on_removed(void *userdata, const struct vnic_link *link)
{
	struct json_object *o = event("removed");

	(void)userdata;
	add_link(o, link);
	print(o);
}

static void on_note(void *userdata, int level, const char *text)
{
	struct json_object *o = event("note");

	(void)userdata;
	json_add_u64(o, "level", (uint64_t)level);
	json_add_str(o, "text", text);
	print(o);
}

static int watch_mode(void)
{
	static const struct watch_ops ops = {
		.changed = on_link, .removed = on_removed, .synced = on_synced, .note = on_note
	};
	struct inventory inv;
	struct loop *loop;
	struct watch *watch;

	inventory_init(&inv);
	if (loop_new(&loop) < 0 || watch_new(loop, &inv, &ops, (void *)"changed", &watch) < 0)
		return 1;
	return loop_run(loop);
}

int main(int argc, char **argv)
{
	if ((argc == 3 || argc == 4) && str_eq(argv[1], "exec"))
		return exec_mode(argv[2], argv[3]);
	if (argc == 4 && str_eq(argv[1], "records"))
		return records_mode(argv[2], argv[3]);
	if (argc == 3 && str_eq(argv[1], "rtnl"))
		return rtnl_mode(atoi(argv[2]));
	if (argc == 2 && str_eq(argv[1], "watch"))
		return watch_mode();
	fprintf(stderr, "see the head of tests/unit/systool.c\n");
	return 2;
}
