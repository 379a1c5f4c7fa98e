/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers for people: tables, and under them one line that says what matters. */
#include "cli/table.h"

#include <string.h>
#include <time.h>

#include "base/str.h"
#include "cli/cli.h"

static void port_domain(struct json_object *row, char *buf, size_t size)
{
	const char *domain = j_str(row, "domain");

	/* A port without a domain's name: enough of its UUID to tell it from others */
	if (*domain)
		snprintf(buf, size, "%s", domain);
	else
		snprintf(buf, size, "%.8s...", j_str(row, "uuid"));
}

static void port_vlan(struct json_object *row, char *buf, size_t size)
{
	uint64_t vlan = j_u64(row, "vlan");

	if (vlan)
		snprintf(buf, size, "%llu", (unsigned long long)vlan);
	else
		snprintf(buf, size, "-");
}

static void row_rate(struct json_object *row, char *buf, size_t size)
{
	format_rate(j_u64(row, "rate"), buf, size);
}

static struct json_object *counters(struct json_object *row)
{
	struct json_object *c = NULL;

	json_object_object_get_ex(row, "counters", &c);
	return c;
}

static void port_rx(struct json_object *row, char *buf, size_t size)
{
	format_bytes(j_u64(counters(row), "rx_bytes"), buf, size);
}

static void port_tx(struct json_object *row, char *buf, size_t size)
{
	format_bytes(j_u64(counters(row), "tx_bytes"), buf, size);
}

static void port_drops(struct json_object *row, char *buf, size_t size)
{
	struct json_object *c = counters(row);

	snprintf(buf, size, "%llu",
		 (unsigned long long)(j_u64(c, "rx_dropped") + j_u64(c, "tx_dropped")));
}

static struct json_object *port_device(struct json_object *port)
{
	struct json_object *device = NULL;

	json_object_object_get_ex(port, "device", &device);
	return device;
}

static bool has_vf(struct json_object *port)
{
	return *j_str(port_device(port), "vf_addr") != '\0';
}

/* "eth3/5", and how far it is where the guest does not have it */
static void port_vf(struct json_object *row, char *buf, size_t size)
{
	struct json_object *device = port_device(row);
	const char *nic = j_str(device, "nic"), *state = j_str(device, "state");
	bool attached = !strcmp(state, "attached") || !strcmp(state, "queue");

	if (!has_vf(row))
		snprintf(buf, size, "-");
	else
		snprintf(buf, size, "%s/%llu%s%s", *nic ? nic : j_str(device, "pf"),
			 (unsigned long long)j_u64(device, "vf"), attached ? "" : " ",
			 attached ? "" : state);
}

/* Nothing is said of it where a VF was not asked for. */
static void port_device_line(FILE *f, struct json_object *port)
{
	struct json_object *device = port_device(port);
	const char *nic = j_str(device, "nic"), *reason = j_str(device, "reason");

	if (!strcmp(j_str(device, "state"), "queue"))
		render_line(f, "queue", "VF %llu of %s (%s), %s",
			    (unsigned long long)j_u64(device, "vf"),
			    *nic ? nic : j_str(device, "pf"), j_str(device, "vf_addr"),
			    *j_str(device, "netdev") ? j_str(device, "netdev") : "no netdev");
	else if (has_vf(port))
		render_line(f, "device", "VF %llu of %s (%s), %s%s%s",
			    (unsigned long long)j_u64(device, "vf"),
			    *nic ? nic : j_str(device, "pf"), j_str(device, "vf_addr"),
			    j_str(device, "state"), *reason ? ": " : "", reason);
	else if (*reason)
		render_line(f, "device", "none: %s", reason);
	if (*j_str(device, "asked"))
		render_line(f, "guest's VF", "%s, as its guest asked", j_str(device, "asked"));
}

static const struct table_column port_columns[] = {
	{ "DOMAIN", "domain", port_domain, NULL, false, 0 },
	{ "MAC", "mac", NULL, NULL, false, 0 },
	{ "CLASS", "class", NULL, NULL, false, 1 },
	{ "SEGMENT", "segment", NULL, NULL, false, 3 },
	{ "VLAN", NULL, port_vlan, NULL, true, 2 },
	{ "RATE", NULL, row_rate, NULL, true, 4 },
	{ "PATH", "path", NULL, NULL, false, 2 },
	{ "VF", NULL, port_vf, NULL, false, 2 },
	{ "STATE", "state", NULL, table_state_color, false, 0 },
	{ "RX", NULL, port_rx, NULL, true, 5 },
	{ "TX", NULL, port_tx, NULL, true, 5 },
	{ "DROPS", NULL, port_drops, NULL, true, 4 },
};

static bool port_is_bad(struct json_object *port)
{
	const char *state = j_str(port, "state");

	return !strcmp(state, "failed") || !strcmp(state, "quarantined");
}

/* "3 ports: 2 running, 1 failed." in the order in which states are first met. */
static void port_summary(FILE *f, struct json_object *ports)
{
	size_t n = json_object_array_length(ports);
	const char *sep = ": ";

	fprintf(f, "%zu port%s", n, n == 1 ? "" : "s");
	for (size_t i = 0; i < n; i++) {
		const char *state = j_str(json_object_array_get_idx(ports, i), "state");
		size_t same = 0, first = i;

		for (size_t k = 0; k < n; k++) {
			if (strcmp(state, j_str(json_object_array_get_idx(ports, k), "state")) != 0)
				continue;
			same++;
			if (k < first)
				first = k;
		}
		if (first != i)
			continue;
		fprintf(f, "%s%zu %s", sep, same, state);
		sep = ", ";
	}
	fputs(".\n", f);
}

void render_ports(FILE *f, const struct table_style *style, struct json_object *ports)
{
	size_t n = json_object_array_length(ports);

	if (n == 0) {
		fputs("No ports. One is made when a domain with an interface of a class starts "
		      "(vnicd-hook(8)).\n",
		      f);
		return;
	}
	table_print(f, style, port_columns, ARRAY_SIZE(port_columns), ports);
	port_summary(f, ports);
	for (size_t i = 0; i < n; i++) {
		struct json_object *port = json_object_array_get_idx(ports, i);
		char domain[TABLE_CELL_MAX];

		if (!port_is_bad(port))
			continue;
		port_domain(port, domain, sizeof(domain));
		fprintf(f, "%s %s %s: %s\n", domain, j_str(port, "mac"), j_str(port, "state"),
			j_str(port, "reason"));
	}
}

/* What a card's driver counts of a vDPA device that counts no frames, a line for each queue. */
static void port_vdpa_stats(FILE *f, struct json_object *vdpa)
{
	struct json_object *stats = j_array(vdpa, "stats");
	size_t n = stats ? json_object_array_length(stats) : 0;

	render_line(f, "counters", "none: %s", j_str(vdpa, "no_counters"));
	for (size_t i = 0; i < n;) {
		uint64_t queue = j_u64(json_object_array_get_idx(stats, i), "queue");
		char text[TABLE_CELL_MAX] = "";
		size_t used = 0;

		for (; i < n && used < sizeof(text); i++) {
			struct json_object *s = json_object_array_get_idx(stats, i);

			if (j_u64(s, "queue") != queue)
				break;
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %llu",
						 used ? ", " : "", j_str(s, "name"),
						 (unsigned long long)j_u64(s, "value"));
		}
		render_line(f, "", "queue %llu: %s", (unsigned long long)queue, text);
	}
}

static void port_counters(FILE *f, struct json_object *port)
{
	struct json_object *c = counters(port), *vdpa = NULL;
	char rx[32], tx[32];

	json_object_object_get_ex(port, "vdpa", &vdpa);
	if (*j_str(vdpa, "no_counters")) {
		port_vdpa_stats(f, vdpa);
		return;
	}
	port_rx(port, rx, sizeof(rx));
	port_tx(port, tx, sizeof(tx));
	render_line(f, "received", "%llu packets, %s bytes, %llu dropped",
		    (unsigned long long)j_u64(c, "rx_packets"), rx,
		    (unsigned long long)j_u64(c, "rx_dropped"));
	render_line(f, "sent", "%llu packets, %s bytes, %llu dropped, %llu with a MAC not its own",
		    (unsigned long long)j_u64(c, "tx_packets"), tx,
		    (unsigned long long)j_u64(c, "tx_dropped"),
		    (unsigned long long)j_u64(c, "tx_spoofed"));
}

static void port_vdpa_line(FILE *f, struct json_object *port)
{
	struct json_object *v = NULL;
	const char *node, *queue;

	json_object_object_get_ex(port, "vdpa", &v);
	if (!*j_str(v, "name"))
		return;
	node = j_str(v, "node");
	queue = j_str(v, "nic_queue");
	render_line(f, "vDPA", "device %s of %s%s%s", j_str(v, "name"), j_str(v, "mgmtdev"),
		    *node ? ", /dev/" : ", which is not there", node);
	if (!strncmp(queue, "any", 3))
		render_line(f, "", "received by any of the NIC's queues%s", queue + 3);
	else if (*queue)
		render_line(f, "", "received by the NIC's queue %s", queue);
	if (j_u64(v, "denied"))
		render_line(f, "",
			    "%llu request%s of its guest denied%s%s: trust=yes in its class allows "
			    "more",
			    (unsigned long long)j_u64(v, "denied"),
			    j_u64(v, "denied") == 1 ? "" : "s",
			    *j_str(v, "mac_asked") ? ", the last for MAC " : "",
			    j_str(v, "mac_asked"));
}

static void port_vdpa_queues(FILE *f, struct json_object *port)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(port, "vdpa", &v);
	if (j_u64(v, "pairs"))
		render_line(f, "queues", "%llu of %llu in use",
			    (unsigned long long)j_u64(v, "pairs"),
			    (unsigned long long)j_u64(port, "queues"));
	else
		render_line(f, "queues", "%llu", (unsigned long long)j_u64(port, "queues"));
}

static void port_front_end(FILE *f, struct json_object *port)
{
	render_line(f, "queues", "%llu of %llu in use",
		    (unsigned long long)j_u64(port, "queues_active"),
		    (unsigned long long)j_u64(port, "queues"));
	if (j_u64(port, "peer_pid"))
		render_line(f, "front end", "process %llu%s",
			    (unsigned long long)j_u64(port, "peer_pid"),
			    j_bool(port, "logging") ? ", being migrated" : "");
	else
		render_line(f, "front end", "none");
}

static void port_history(FILE *f, struct json_object *port)
{
	struct json_object *history = j_array(port, "history");

	for (size_t i = 0; history && i < json_object_array_length(history); i++) {
		struct json_object *event = json_object_array_get_idx(history, i);
		time_t t = (time_t)(j_u64(event, "time_us") / 1000000);
		struct tm tm;
		char when[32];

		localtime_r(&t, &tm);
		strftime(when, sizeof(when), "%F %T", &tm);
		render_line(f, i ? "" : "history", "%s  %s", when, j_str(event, "text"));
	}
}

void render_port(FILE *f, const struct table_style *style, struct json_object *port)
{
	const char *state = j_str(port, "state"), *reason = j_str(port, "reason");
	bool vdpa = !strcmp(j_str(port, "path"), "vdpa");
	char vlan[32], rate[64];

	port_vlan(port, vlan, sizeof(vlan));
	row_rate(port, rate, sizeof(rate));
	/* What a person must not believe to be so: the software path has no limiter yet. */
	if (j_u64(port, "rate") && strcmp(j_str(port, "path"), "sriov") != 0 &&
	    strcmp(j_str(port, "path"), "vdpa") != 0)
		strncat(rate, " (not in force yet)", sizeof(rate) - strlen(rate) - 1);
	fprintf(f, "%s\n", j_str(port, "key"));
	if (style->color)
		render_line(f, "state", "\033[%sm%s\033[0m%s%s", table_state_color(state), state,
			    *reason ? ": " : "", reason);
	else
		render_line(f, "state", "%s%s%s", state, *reason ? ": " : "", reason);
	render_line(f, "domain", "%s", *j_str(port, "domain") ? j_str(port, "domain") : "-");
	render_line(f, "class", "%s, segment %s", j_str(port, "class"), j_str(port, "segment"));
	render_line(f, "path", "%s, generation %llu", j_str(port, "path"),
		    (unsigned long long)j_u64(port, "generation"));
	port_device_line(f, port);
	port_vdpa_line(f, port);
	render_line(f, vdpa ? "link" : "socket", "%s", j_str(port, "socket"));
	render_line(f, "vlan", "%s, rate %s, weight %llu", j_u64(port, "vlan") ? vlan : "untagged",
		    j_u64(port, "rate") ? rate : "unlimited",
		    (unsigned long long)j_u64(port, "weight"));
	if (vdpa)
		port_vdpa_queues(f, port);
	else
		port_front_end(f, port);
	if (j_u64(port, "restarts"))
		render_line(f, "restarts", "%llu worker%s lost to this port",
			    (unsigned long long)j_u64(port, "restarts"),
			    j_u64(port, "restarts") == 1 ? "" : "s");
	port_counters(f, port);
	port_history(f, port);
}

static void segment_bridge(struct json_object *row, char *buf, size_t size)
{
	snprintf(buf, size, "%s", j_bool(row, "bridge_present") ? "ok" : "missing");
}

static void segment_cores(struct json_object *row, char *buf, size_t size)
{
	format_list(j_array(row, "cores"), buf, size);
}

void render_segments(FILE *f, const struct table_style *style, struct json_object *segments)
{
	static const struct table_column columns[] = {
		{ "NAME", "name", NULL, NULL, false, 0 },
		{ "BRIDGE", "bridge", NULL, NULL, false, 0 },
		{ "STATE", NULL, segment_bridge, table_state_color, false, 0 },
		{ "UPLINKS", "uplinks", NULL, NULL, false, 2 },
		{ "CORES", NULL, segment_cores, NULL, false, 4 },
		{ "PORTS", "ports", NULL, NULL, true, 1 },
		{ "CONFIGURED", "place", NULL, NULL, false, 3 },
	};
	size_t n = json_object_array_length(segments);

	if (n == 0) {
		fputs("No segments: add a [segment NAME] section to /etc/vnicd/vnicd.conf "
		      "(vnicd.conf(5)), then 'vnicctl reload'.\n",
		      f);
		return;
	}
	table_print(f, style, columns, ARRAY_SIZE(columns), segments);
	for (size_t i = 0; i < n; i++) {
		struct json_object *s = json_object_array_get_idx(segments, i);

		if (!j_bool(s, "bridge_present"))
			fprintf(f,
				"Segment %s has no bridge: make it with 'ip link add %s type "
				"bridge' "
				"or correct %s.\n",
				j_str(s, "name"), j_str(s, "bridge"), j_str(s, "place"));
	}
}

static void class_vlan(struct json_object *row, char *buf, size_t size)
{
	port_vlan(row, buf, size);
}

static void class_flags(struct json_object *row, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s", j_bool(row, "spoofchk") ? "spoofchk" : "no spoofchk",
		 j_bool(row, "trust") ? ",trust" : "");
}

/* "3/8", or "3" where there is no limit */
static void of_at_most(uint64_t n, uint64_t max, char *buf, size_t size)
{
	if (max)
		snprintf(buf, size, "%llu/%llu", (unsigned long long)n, (unsigned long long)max);
	else
		snprintf(buf, size, "%llu", (unsigned long long)n);
}

static void class_ports(struct json_object *row, char *buf, size_t size)
{
	of_at_most(j_u64(row, "ports"), j_u64(row, "max_ports"), buf, size);
}

static void class_vfs(struct json_object *row, char *buf, size_t size)
{
	of_at_most(j_u64(row, "vfs"), j_u64(row, "max_vfs"), buf, size);
}

void render_classes(FILE *f, const struct table_style *style, struct json_object *classes)
{
	static const struct table_column columns[] = {
		{ "NAME", "name", NULL, NULL, false, 0 },
		{ "SEGMENT", "segment", NULL, NULL, false, 0 },
		{ "PATHS", "paths", NULL, NULL, false, 0 },
		{ "VLAN", NULL, class_vlan, NULL, true, 2 },
		{ "VLANS", "vlans", NULL, NULL, false, 3 },
		{ "RATE", NULL, row_rate, NULL, true, 2 },
		{ "WEIGHT", "weight", NULL, NULL, true, 4 },
		{ "QUEUES", "queues", NULL, NULL, true, 4 },
		{ "CHECKS", NULL, class_flags, NULL, false, 5 },
		{ "PORTS", NULL, class_ports, NULL, true, 1 },
		{ "VFS", NULL, class_vfs, NULL, true, 2 },
		{ "CONFIGURED", "place", NULL, NULL, false, 3 },
	};

	if (json_object_array_length(classes) == 0) {
		fputs("No classes: add a [class NAME] section to /etc/vnicd/vnicd.conf "
		      "(vnicd.conf(5)), then 'vnicctl reload'.\n",
		      f);
		return;
	}
	table_print(f, style, columns, ARRAY_SIZE(columns), classes);
}
