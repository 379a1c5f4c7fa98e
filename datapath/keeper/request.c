/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/request.h"

#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "datapath/keeper/report.h"
#include "datapath/keeper/tap.h"

#define STATS_KEYS_MAX 50 /* so that the answer fits in a message, whatever the numbers are */
#define WAITERS_MAX    64

#define JSON_INT_MAX (1ULL << 53)

/* An optional string: absent and null are "". */
static int get_opt_str(struct json_object *o, const char *key, char *to, size_t size,
		       struct vnic_err *err)
{
	const char *s;
	int r;

	*to = '\0';
	if (!json_has(o, key))
		return 0;
	r = json_get_str(o, key, &s, err);
	if (r == 0 && str_copy(to, size, s) < 0)
		r = vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT, "field \"%s\" is too long",
				 key);
	return r;
}

static int get_name(struct json_object *o, const char *key, char *to, size_t size,
		    struct vnic_err *err)
{
	const char *s;
	int r = json_get_str(o, key, &s, err);

	if (r == 0 && (!*s || str_copy(to, size, s) < 0))
		r = vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				 "field \"%s\" is empty or too long", key);
	return r;
}

/* Workers are one a segment for now: it runs on the first of the CPUs. */
static int get_cores(struct json_object *o, int32_t *ret_cpu, struct vnic_err *err)
{
	struct json_object *a, *v;
	int r;

	*ret_cpu = -1;
	if (!json_has(o, "cores"))
		return 0;
	r = json_get_array(o, "cores", 1024, &a, err);
	if (r < 0 || json_object_array_length(a) == 0)
		return r;
	v = json_object_array_get_idx(a, 0);
	if (!json_object_is_type(v, json_type_int) || json_object_get_int64(v) < 0 ||
	    json_object_get_int64(v) > 65535)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "field \"cores\" holds something that is no CPU's number");
	*ret_cpu = (int32_t)json_object_get_int64(v);
	return 0;
}

static int segment_set(struct keeper *k, struct json_object *o, int *fds, size_t n_fds,
		       struct vnic_err *err)
{
	char name[VNIC_NAME_MAX], tap[VNIC_NAME_MAX];
	struct segment *s;
	uint64_t mtu; /* the tap has it; checked, so that it may mean something one day */
	int32_t cpu = -1;
	int r;

	r = get_name(o, "name", name, sizeof(name), err);
	if (r == 0)
		r = get_opt_str(o, "tap", tap, sizeof(tap), err);
	if (r == 0)
		r = json_get_u64(o, "mtu", 68, 65535, &mtu, err);
	if (r == 0)
		r = get_cores(o, &cpu, err);
	if (r == 0 && n_fds > 1)
		r = vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				 "a segment has one uplink, not %zu descriptors", n_fds);
	if (r == 0 && n_fds == 1)
		r = uplink_check(fds[0], err);
	if (r < 0)
		return r;
	s = keeper_find_segment(k, name);
	if (!s) {
		r = segment_new(k, name, &s);
		if (r < 0)
			return vnic_err_set(err, r, VNIC_E_INTERNAL,
					    "segment \"%s\" cannot be made: %s", name,
					    strerror(-r));
	}
	segment_configure(s, tap, n_fds ? take_fd(&fds[0]) : -1, cpu);
	return 0;
}

static int segment_del(struct keeper *k, struct json_object *o, struct vnic_err *err)
{
	char name[VNIC_NAME_MAX];
	struct segment *s;
	int r = get_name(o, "name", name, sizeof(name), err);

	if (r < 0)
		return r;
	s = keeper_find_segment(k, name);
	if (s && s->n_ports > 0)
		return vnic_err_set(err, -EBUSY, VNIC_E_BUSY,
				    "segment \"%s\" has %u ports; delete them first", name,
				    s->n_ports);
	segment_free(s);
	return 0;
}

/* Left out it is "no", as of a vnicd that does not know it. */
static int parse_standby(struct json_object *o, struct port_config *c, struct vnic_err *err)
{
	const char *standby = "no";
	int r = json_has(o, "standby") ? json_get_str(o, "standby", &standby, err) : 0;

	if (r < 0)
		return r;
	c->away = str_eq(standby, "away");
	c->standby = c->away || str_eq(standby, "learn");
	if (!c->standby && !str_eq(standby, "no"))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "field \"standby\": \"%.20s\" is none of no, learn, away",
				    standby);
	return 0;
}

static int parse_port(struct json_object *o, struct port_config *c, struct vnic_err *err)
{
	uint64_t vlan, queues, weight;
	const char *mac;
	int r;

	memset(c, 0, sizeof(*c));
	if ((r = get_name(o, "key", c->key, sizeof(c->key), err)) < 0 ||
	    (r = json_get_u64(o, "generation", 1, JSON_INT_MAX, &c->generation, err)) < 0 ||
	    (r = get_name(o, "name", c->name, sizeof(c->name), err)) < 0 ||
	    (r = get_name(o, "segment", c->segment, sizeof(c->segment), err)) < 0 ||
	    (r = json_get_str(o, "mac", &mac, err)) < 0 ||
	    (r = json_get_u64(o, "vlan", 0, VNIC_VLAN_MAX, &vlan, err)) < 0 ||
	    (r = json_get_bool(o, "spoofchk", &c->spoofchk, err)) < 0 ||
	    (r = json_get_bool(o, "trust", &c->trust, err)) < 0 ||
	    (r = json_get_u64(o, "queues", 1, DP_QUEUE_PAIRS_MAX, &queues, err)) < 0 ||
	    (r = get_opt_str(o, "pidfile", c->pidfile, sizeof(c->pidfile), err)) < 0 ||
	    (r = json_get_u64(o, "weight", 1, 65535, &weight, err)) < 0 ||
	    (r = json_get_u64(o, "rate", 0, JSON_INT_MAX, &c->rate, err)) < 0 ||
	    (r = parse_standby(o, c, err)) < 0)
		return r;
	if (mac_parse(mac, c->mac) < 0 || !mac_valid_guest(c->mac))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MAC,
				    "field \"mac\": \"%s\" is not a guest's address", mac);
	c->vlan = (uint16_t)vlan;
	c->queues = (uint32_t)queues;
	c->weight = (uint32_t)weight;
	return 0;
}

static int stale(const struct kport *p, uint64_t generation, struct vnic_err *err)
{
	return vnic_err_set(err, -ESTALE, VNIC_E_STALE_GENERATION,
			    "port %s is of generation %llu; %llu is over", p->config.key,
			    (unsigned long long)p->config.generation,
			    (unsigned long long)generation);
}

static int await(struct kport *p, uint64_t id)
{
	uint64_t *more;

	if (p->n_waiters == WAITERS_MAX)
		return -EBUSY;
	more = reallocarray(p->waiters, p->n_waiters + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	p->waiters = more;
	p->waiters[p->n_waiters++] = id;
	return 1;
}

static int make_port(struct keeper *k, const struct port_config *c, struct kport **ret,
		     struct vnic_err *err)
{
	struct segment *s = keeper_find_segment(k, c->segment);
	int r;

	if (!s)
		return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_SEGMENT,
				    "port %s: there is no segment \"%s\"", c->key, c->segment);
	r = kport_new(s, c, ret);
	if (r == -ENOSPC)
		return vnic_err_set(err, r, VNIC_E_LIMIT, "segment \"%s\" has its %d ports",
				    c->segment, DP_PORTS_MAX);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_INTERNAL, "port %s cannot be made: %s", c->key,
				    strerror(-r));
	return 0;
}

static int port_set(struct keeper *k, uint64_t id, struct json_object *o, int *fds, size_t n_fds,
		    struct vnic_err *err)
{
	struct port_config c;
	struct kport *p;
	int r = parse_port(o, &c, err);

	if (r == 0 && n_fds > 1)
		r = vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				 "a port has one listening socket, not %zu descriptors", n_fds);
	if (r == 0 && n_fds == 1)
		r = listener_check(fds[0], err);
	if (r < 0)
		return r;
	p = keeper_find_port(k, c.key);
	if (p && c.generation < p->config.generation)
		return stale(p, c.generation, err);
	if (p && !str_eq(p->config.segment, c.segment))
		return vnic_err_set(
			err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
			"port %s is in segment \"%s\"; delete it before it moves to \"%s\"", c.key,
			p->config.segment, c.segment);
	if (!p)
		r = make_port(k, &c, &p, err);
	else
		kport_configure(p, &c);
	if (r == 0 && n_fds == 1) {
		r = kport_listen(p, fds[0]);
		if (r == 0)
			fds[0] = -1;
	}
	if (r < 0)
		return r;
	return kport_quiet(p) ? 0 : await(p, id);
}

static int port_del(struct keeper *k, uint64_t id, struct json_object *o, struct vnic_err *err)
{
	char key[PORT_KEY_MAX];
	uint64_t generation;
	struct kport *p;
	int r = get_name(o, "key", key, sizeof(key), err);

	if (r == 0)
		r = json_get_u64(o, "generation", 1, JSON_INT_MAX, &generation, err);
	if (r < 0)
		return r;
	p = keeper_find_port(k, key);
	if (!p)
		return 0;
	if (generation < p->config.generation)
		return stale(p, generation, err);
	r = await(p, id);
	if (r == 1)
		kport_delete(p);
	return r;
}

static int port_get(struct keeper *k, struct json_object *o, struct json_object **ret,
		    struct vnic_err *err)
{
	char key[PORT_KEY_MAX];
	struct kport *p;
	int r = get_name(o, "key", key, sizeof(key), err);

	if (r < 0)
		return r;
	p = keeper_find_port(k, key);
	if (!p)
		return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_PORT, "there is no port \"%s\"",
				    key);
	*ret = report_port(p);
	return 0;
}

static int stats(struct keeper *k, struct json_object *o, struct json_object **ret,
		 struct vnic_err *err)
{
	struct json_object *keys, *ports, *all;
	int r = json_get_array(o, "keys", STATS_KEYS_MAX, &keys, err);

	if (r < 0)
		return r;
	all = json_object_new_object();
	ports = json_object_new_array();
	if (!all || !ports)
		abort();
	for (size_t i = 0; i < json_object_array_length(keys); i++) {
		struct json_object *v = json_object_array_get_idx(keys, i);
		struct kport *p = json_object_is_type(v, json_type_string)
					  ? keeper_find_port(k, json_object_get_string(v))
					  : NULL;

		if (p)
			json_object_array_add(ports, report_port(p));
	}
	json_object_object_add(all, "ports", ports);
	*ret = all;
	return 0;
}

int request_handle(struct keeper *k, uint64_t id, struct json_object *o, int *fds, size_t n_fds,
		   struct json_object **ret_answer, struct vnic_err *err)
{
	const char *op;
	int r = json_get_str(o, "op", &op, err);

	*ret_answer = NULL;
	if (r < 0)
		return -EBADMSG;
	if (str_eq(op, "segment-set"))
		return segment_set(k, o, fds, n_fds, err);
	if (str_eq(op, "segment-del"))
		return segment_del(k, o, err);
	if (str_eq(op, "port-set"))
		return port_set(k, id, o, fds, n_fds, err);
	if (str_eq(op, "port-del"))
		return port_del(k, id, o, err);
	if (str_eq(op, "port-get"))
		return port_get(k, o, ret_answer, err);
	if (str_eq(op, "stats"))
		return stats(k, o, ret_answer, err);
	return vnic_err_set(err, -ENOSYS, VNIC_E_INVALID_MESSAGE, "there is no request \"%s\"", op);
}
