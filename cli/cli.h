/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vnicctl: one file per object. Each command fetches JSON (from vnicd over D-Bus), and either prints it
 * (-j, -p) or renders it for people. So what people and programs see cannot differ in substance.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"

#define VNIC_BUS_NAME  "org.vnicd1"
#define VNIC_BUS_ROOT  "/org/vnicd1"
#define VNIC_I_MANAGER "org.vnicd1.Manager"

/* Exit statuses; they are API, and vnicctl(1) lists them. */
enum cli_exit {
	CLI_OK,
	CLI_FAILED, /* vnicd reported a failure, or a check found errors */
	CLI_USAGE,
	CLI_DAEMON_DOWN,
	CLI_NOT_FOUND,
	CLI_DENIED,
	CLI_CONFLICT, /* it is in use, busy, a limit, or changed meanwhile */
	CLI_TIMEOUT,
};

struct cli {
	bool json, pretty;
	bool dry_run;
	bool color;
	int width; /* of the terminal; 0: as wide as it gets */
	long count, seconds; /* monitor's -n and -t; 0: without end */
	sd_bus *bus;
};

/* A command; words behind the verb. Returns an enum cli_exit, having printed its result or error. */
struct cli_command {
	const char *object, *verb;
	int (*run)(struct cli *cli, int argc, char **argv);
	int min_args, max_args; /* max_args -1: any */
	const char *args; /* for the usage */
};

int cmd_status(struct cli *cli, int argc, char **argv);
int cmd_reload(struct cli *cli, int argc, char **argv);
int cmd_nic_show(struct cli *cli, int argc, char **argv);
int cmd_nic_drain(struct cli *cli, int argc, char **argv);
int cmd_nic_undrain(struct cli *cli, int argc, char **argv);
int cmd_segment_show(struct cli *cli, int argc, char **argv);
int cmd_class_show(struct cli *cli, int argc, char **argv);
int cmd_port_show(struct cli *cli, int argc, char **argv);
int cmd_port_add(struct cli *cli, int argc, char **argv);
int cmd_port_del(struct cli *cli, int argc, char **argv);
int cmd_port_attach(struct cli *cli, int argc, char **argv);
int cmd_port_detach(struct cli *cli, int argc, char **argv);
int cmd_domain_check(struct cli *cli, int argc, char **argv);
int cmd_monitor(struct cli *cli, int argc, char **argv);
int cmd_diagnose(struct cli *cli, int argc, char **argv);

/* output.c */

/* Names come from outside: no escape sequence of theirs reaches a terminal. Newlines stay. */
void cli_make_printable(struct json_object *o);

/* Print @o whole on stdout where -j or -p was given; false: it was made printable, the caller renders it. */
bool cli_print_json(const struct cli *cli, struct json_object *o);

/* Print an error in the chosen form, and return the exit status that belongs to its code. */
int cli_fail(const struct cli *cli, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int cli_fail_err(const struct cli *cli, const struct vnic_err *err);
enum cli_exit cli_exit_of(const char *code);

/* "did it" for people, {"result":…} for programs; both where the verb has nothing else to say */
void cli_done(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* client.c: all fill @err with a code of api/errors.h, and return a negative errno */
int cli_connect(struct cli *cli, struct vnic_err *err);
int cli_call_message(struct cli *cli, sd_bus_message *m, sd_bus_message **ret_reply,
		     struct vnic_err *err);
int cli_new_call(struct cli *cli, const char *path, const char *interface, const char *member,
		 sd_bus_message **ret, struct vnic_err *err);
/* A method of the manager with arguments @types, as sd_bus_message_append() takes them */
int cli_call(struct cli *cli, const char *member, sd_bus_message **ret_reply, struct vnic_err *err,
	     const char *types, ...);
/* The manager's properties as one object */
int cli_get_manager(struct cli *cli, struct json_object **ret, struct vnic_err *err);
/* {"nics":[…],"ports":[…]} of all objects */
int cli_get_objects(struct cli *cli, struct json_object **ret, struct vnic_err *err);
/* The result of a method that returns aa{sv} */
int cli_get_list(struct cli *cli, const char *member, struct json_object **ret,
		 struct vnic_err *err);

/* value.c */

/* Reads the next complete value of @m, whatever its type. Dictionary keys keep their spelling. */
int value_read(sd_bus_message *m, struct json_object **ret);
/* Reads a{sv}; keys in D-Bus' CamelCase become snake_case. */
int value_read_properties(sd_bus_message *m, struct json_object *into);
/* "QueuesActive" → "queues_active"; 0 or -ENAMETOOLONG */
int value_snake_case(const char *camel, char *buf, size_t size);

/* words.c */

/**
 * words_append_spec() - KEY VALUE pairs of the command line as an a{sv} of a port
 * Each value is parsed here, so that a typo is a usage error (CLI_USAGE in the end).
 */
int words_append_spec(sd_bus_message *m, int argc, char **argv, struct vnic_err *err);
/* Are all of @keys ("uuid mac") among the KEY VALUE pairs? */
int words_require(int argc, char **argv, const char *keys, struct vnic_err *err);

/* Accessors for rendering; absent is "", 0, false. */
const char *j_str(struct json_object *o, const char *key);
uint64_t j_u64(struct json_object *o, const char *key);
int64_t j_i64(struct json_object *o, const char *key);
bool j_bool(struct json_object *o, const char *key);
/* The array at @key (not owned by the caller); NULL where there is none */
struct json_object *j_array(struct json_object *o, const char *key);

/* The elements of @list with this name, or all where it is NULL; a new array, the caller puts it */
struct json_object *list_named(struct json_object *list, const char *name);
