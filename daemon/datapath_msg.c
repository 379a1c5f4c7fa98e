/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/datapath_msg.h"

#include <errno.h>
#include <stdio.h>

#include "api/errors.h"
#include "base/json.h"

static int parse_state(const char *s, enum port_state *ret)
{
	static const struct {
		const char *word;
		enum port_state state;
	} words[] = { { "listening", PORT_READY },
		      { "connected", PORT_CONNECTED },
		      { "running", PORT_RUNNING },
		      { "quarantined", PORT_QUARANTINED } };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (str_eq(s, words[i].word)) {
			*ret = words[i].state;
			return 0;
		}
	return -EINVAL;
}

/* A number that may be missing or null: @otherwise then. */
static int get_number(struct json_object *o, const char *key, uint64_t max, uint64_t otherwise,
		      uint64_t *ret, struct vnic_err *err)
{
	if (!json_has(o, key)) {
		*ret = otherwise;
		return 0;
	}
	return json_get_u64(o, key, 0, max, ret, err);
}

/* A sentence that may be missing or null, cut where it is longer than it should be. */
static int get_sentence(struct json_object *o, const char *key, char *buf, size_t size,
			struct vnic_err *err)
{
	const char *s;
	int r;

	*buf = '\0';
	if (!json_has(o, key))
		return 0;
	r = json_get_str(o, key, &s, err);
	if (r == 0)
		snprintf(buf, size, "%s", s);
	for (char *p = buf; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return r;
}

static int parse_counters(struct json_object *o, struct port_counters_view *ret,
			  struct vnic_err *err)
{
	struct {
		const char *key;
		uint64_t *field;
	} fields[] = {
		{ "rx_packets", &ret->rx_packets }, { "rx_bytes", &ret->rx_bytes },
		{ "rx_dropped", &ret->rx_dropped }, { "tx_packets", &ret->tx_packets },
		{ "tx_bytes", &ret->tx_bytes },	    { "tx_dropped", &ret->tx_dropped },
		{ "tx_spoofed", &ret->tx_spoofed },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		int r = get_number(o, fields[i].key, UINT64_MAX, 0, fields[i].field, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int dp_parse_port(struct json_object *o, struct dp_port_status *ret, struct vnic_err *err)
{
	struct dp_port_status s = { 0 };
	uint64_t pid = 0, queues = 0, restarts = 0;
	const char *word;
	int r;

	r = json_get_str(o, "key", &word, err);
	if (r < 0)
		return r;
	if (port_key_parse(word, &s.key) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"key\" is '%.80s', no port's key", word);
	r = json_get_str(o, "state", &word, err);
	if (r < 0)
		return r;
	if (parse_state(word, &s.state) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"state\" is '%.40s', no port's state", word);
	if ((r = json_get_u64(o, "generation", 0, PORT_GENERATION_MAX, &s.generation, err)) < 0 ||
	    (r = json_get_bool(o, "has_listener", &s.has_listener, err)) < 0 ||
	    (r = get_number(o, "peer_pid", INT32_MAX, 0, &pid, err)) < 0 ||
	    (r = get_number(o, "queues_active", UINT32_MAX, 0, &queues, err)) < 0 ||
	    (r = json_get_bool(o, "logging", &s.logging, err)) < 0 ||
	    (r = get_number(o, "restarts", UINT32_MAX, 0, &restarts, err)) < 0 ||
	    (r = get_sentence(o, "reason", s.reason, sizeof(s.reason), err)) < 0 ||
	    (r = get_sentence(o, "segment", s.segment, sizeof(s.segment), err)) < 0 ||
	    (r = parse_counters(o, &s.counters, err)) < 0)
		return r;
	s.peer_pid = (pid_t)pid;
	s.queues_active = (uint32_t)queues;
	s.restarts = (uint32_t)restarts;
	*ret = s;
	return 0;
}

int dp_parse_worker(struct json_object *o, struct dp_worker_event *ret, struct vnic_err *err)
{
	struct dp_worker_event e = { 0 };
	uint64_t pid, restarts;
	const char *segment;
	int r;

	if ((r = json_get_str(o, "segment", &segment, err)) < 0 ||
	    (r = get_number(o, "pid", INT32_MAX, 0, &pid, err)) < 0 ||
	    (r = get_number(o, "restarts", UINT32_MAX, 0, &restarts, err)) < 0 ||
	    (r = get_number(o, "gap_us", UINT64_MAX, 0, &e.gap_us, err)) < 0 ||
	    (r = get_sentence(o, "reason", e.reason, sizeof(e.reason), err)) < 0)
		return r;
	if (!name_valid(segment) || str_copy(e.segment, sizeof(e.segment), segment) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"segment\" is no segment's name");
	e.pid = (pid_t)pid;
	e.restarts = (uint32_t)restarts;
	*ret = e;
	return 0;
}

static int code_to_errno(const char *code)
{
	static const struct {
		const char *code;
		int error;
	} codes[] = {
		{ VNIC_E_STALE_GENERATION, -ESTALE },
		{ VNIC_E_BUSY, -EBUSY },
		{ VNIC_E_UNKNOWN_PORT, -ENOENT },
		{ VNIC_E_UNKNOWN_SEGMENT, -ENOENT },
		{ VNIC_E_LIMIT, -ENOSPC },
		{ VNIC_E_TIMEOUT, -ETIMEDOUT },
		{ VNIC_E_INVALID_ARGUMENT, -EINVAL },
		{ VNIC_E_INVALID_MESSAGE, -EINVAL },
		{ VNIC_E_INVALID_MAC, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (str_eq(code, codes[i].code))
			return codes[i].error;
	return -EIO;
}

int dp_parse_error(struct json_object *o, struct vnic_err *ret, int *ret_error,
		   struct vnic_err *err)
{
	struct json_object *e;
	const char *code, *message;
	int r;

	r = json_get_obj(o, "error", &e, err);
	if (r == 0)
		r = json_get_str(e, "code", &code, err);
	if (r == 0)
		r = json_get_str(e, "message", &message, err);
	if (r < 0)
		return r;
	*ret_error = code_to_errno(code);
	vnic_err_set(ret, *ret_error, code, "%s", message);
	return 0;
}

uint64_t dp_parse_generation(struct json_object *o)
{
	struct vnic_err ignored = VNIC_ERR_INIT;
	struct json_object *e;
	uint64_t generation;

	if (json_get_obj(o, "error", &e, &ignored) < 0 ||
	    json_get_u64(e, "generation", 1, PORT_GENERATION_MAX, &generation, &ignored) < 0)
		return 0;
	return generation;
}
