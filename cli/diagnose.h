/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <json-c/json.h>

/* Append {"check","status","message","fix"} to @checks; @status: "ok", "warning", "error", "unknown". */
void check_add(struct json_object *checks, const char *check, const char *status, const char *fix,
	       const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* diagnose_host.c: what can be seen without vnicd */
void check_config_file(struct json_object *checks);
void check_hooks(struct json_object *checks);
void check_libvirt(struct json_object *checks);
/* @sys: where sysfs is; can this host give VFs to guests? */
void check_vfs(struct json_object *checks, const char *sys);
void check_datapath_socket(struct json_object *checks);
/* @dir: of the records; @n_ports: that vnicd knows, or -1 where it does not run */
void check_records(struct json_object *checks, const char *dir, long n_ports);
/* Damaged records in @dir that vnicd has put out of its way; nothing where there is none. */
void check_set_aside(struct json_object *checks, const char *dir);
/* @bridge must exist; @uplink must be in it */
void check_bridge(struct json_object *checks, const char *segment, const char *bridge,
		  const char *place);
void check_uplink(struct json_object *checks, const char *segment, const char *bridge,
		  const char *uplink);
void check_journal(struct json_object *checks);
