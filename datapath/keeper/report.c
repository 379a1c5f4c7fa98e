/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/packet.h"

static void add_counters(struct json_object *o, const struct port_counters *c)
{
	const struct {
		const char *key;
		const uint64_t *value;
	} fields[] = {
		{ "rx_packets", &c->rx_packets }, { "rx_bytes", &c->rx_bytes },
		{ "rx_dropped", &c->rx_dropped }, { "rx_errors", &c->rx_errors },
		{ "tx_packets", &c->tx_packets }, { "tx_bytes", &c->tx_bytes },
		{ "tx_dropped", &c->tx_dropped }, { "tx_errors", &c->tx_errors },
		{ "tx_spoofed", &c->tx_spoofed },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		json_add_u64(o, fields[i].key, __atomic_load_n(fields[i].value, __ATOMIC_RELAXED));
}

struct json_object *report_port(const struct kport *p)
{
	struct json_object *o = json_object_new_object();
	struct port_summary s;
	char text[32];

	if (!o)
		abort();
	kport_summarize(p, &s);
	json_add_str(o, "key", p->config.key);
	json_add_u64(o, "generation", p->config.generation);
	json_add_str(o, "name", p->config.name);
	json_add_str(o, "segment", p->segment->name);
	json_add_str(o, "mac", mac_format(p->config.mac, text));
	json_add_u64(o, "vlan", p->config.vlan);
	json_add_bool(o, "has_listener", s.has_listener);
	json_add_str(o, "state", s.state);
	if (s.peer_pid)
		json_add_u64(o, "peer_pid", (uint64_t)s.peer_pid);
	else
		json_add_str(o, "peer_pid", NULL);
	snprintf(text, sizeof(text), "0x%" PRIx64, s.features);
	json_add_str(o, "features", text);
	json_add_u64(o, "queues_active", s.queues_active);
	json_add_bool(o, "logging", s.logging);
	json_add_u64(o, "restarts", s.restarts);
	json_add_str(o, "reason", s.reason[0] ? s.reason : NULL);
	add_counters(o, &p->state->counters);
	return o;
}

struct json_object *report_segment(const struct segment *s)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		abort();
	json_add_str(o, "name", s->name);
	json_add_str(o, "tap", s->tap[0] ? s->tap : NULL);
	/* A packet socket whose netdev was deleted is none any more. */
	json_add_bool(o, "has_tap", s->tap_fd >= 0 && packet_check(s->tap_fd) != -ENODEV);
	json_add_str(o, "uplink",
		     s->tap_fd < 0		? NULL
		     : s->kind == UPLINK_PACKET ? "packet"
						: "tap");
	if (s->kind == UPLINK_PACKET)
		json_add_str(o, "uplink_state", s->uplink_state);
	json_add_u64(o, "pid", (uint64_t)worker_pid(s->worker));
	json_add_u64(o, "restarts", s->restarts);
	json_add_str(o, "reason", s->reason[0] ? s->reason : NULL);
	return o;
}

struct json_object *report_all(const struct keeper *k)
{
	struct json_object *o = json_object_new_object();
	struct json_object *ports = json_object_new_array();
	struct json_object *segments = json_object_new_array();
	const struct segment *s;
	const struct kport *p;

	if (!o || !ports || !segments)
		abort();
	TAILQ_FOREACH(p, &k->ports, link)
	json_object_array_add(ports, report_port(p));
	TAILQ_FOREACH(s, &k->segments, link)
	json_object_array_add(segments, report_segment(s));
	json_object_object_add(o, "ports", ports);
	json_object_object_add(o, "segments", segments);
	return o;
}
