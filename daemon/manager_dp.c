/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The datapath for the manager: its steps as requests, and what it tells. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/json.h"
#include "base/log.h"
#include "base/packet.h"
#include "daemon/manager_io_priv.h"

/* JSON's integers are exact up to here, and no nic is faster. */
#define RATE_MAX (UINT64_C(1) << 53)
/* A tap takes MTUs from here on. */
#define MTU_MIN 68

/* Segments whose tap the datapath holds, as it last said or took one. */
struct dp_tap {
	char segment[VNIC_NAME_MAX];
	UT_hash_handle hh;
};

/* A request to the datapath and what its end means to us. */
struct dp_call {
	struct outside *outside;
	manager_step_done done;
	void *arg;
	char segment[VNIC_NAME_MAX]; /* of a segment's */
	char tap[IFNAMSIZ];
	char class_name[VNIC_NAME_MAX], name[VNIC_NAME_MAX]; /* of a port's */
	LIST_ENTRY(dp_call) link;
};

static bool tap_known(struct outside *o, const char *segment)
{
	struct dp_tap *t;

	HASH_FIND_STR(o->taps, segment, t);
	return t;
}

static void tap_set(struct outside *o, const char *segment, bool has)
{
	struct dp_tap *t;

	HASH_FIND_STR(o->taps, segment, t);
	if (t && !has) {
		HASH_DEL(o->taps, t);
		free(t);
	} else if (!t && has && (t = calloc(1, sizeof(*t)))) {
		str_copy(t->segment, sizeof(t->segment), segment);
		HASH_ADD_STR(o->taps, segment, t);
	}
}

static void taps_clear(struct outside *o)
{
	while (o->taps)
		tap_set(o, o->taps->segment, false);
}

static struct dp_call *call_new(struct outside *o, manager_step_done done, void *arg)
{
	struct dp_call *call = calloc(1, sizeof(*call));

	if (!call)
		abort();
	call->outside = o;
	call->done = done;
	call->arg = arg;
	LIST_INSERT_HEAD(&o->calls, call, link);
	return call;
}

static void call_free(struct dp_call *call)
{
	LIST_REMOVE(call, link);
	free(call);
}

static struct json_object *new_object(void)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		abort();
	return o;
}

static void on_segment_set(void *arg, int error, const struct vnic_err *err,
			   struct json_object *answer)
{
	struct dp_call *call = arg;

	(void)answer;
	if (error == 0) {
		/* It has its own descriptor now, or had one. */
		tap_set(call->outside, call->segment, true);
		exec_tap_drop(call->outside->exec, call->tap);
	}
	call->done(call->arg, error, err);
	call_free(call);
}

/* The tap's descriptor for the datapath: -ENOENT where it has it, -EBUSY where nobody can get it. */
static int tap_for_datapath(struct outside *o, const struct step *step, struct vnic_err *err)
{
	struct step again = *step;
	int fd = exec_tap_fd(o->exec, step->ifname), r;

	if (fd >= 0 || tap_known(o, step->name))
		return fd;
	again.kind = STEP_TAP_CREATE;
	r = exec_do(o->exec, &again, err);
	if (r < 0)
		return r;
	fd = exec_tap_fd(o->exec, step->ifname);
	if (fd >= 0)
		return fd;
	return vnic_err_set(err, -EBUSY, VNIC_E_BUSY,
			    "another program has the tap %s open, and the datapath has not",
			    step->ifname);
}

static void send_segment(struct outside *o, const struct step *step, int fd, const int *cores,
			 int n_cores, manager_step_done done, void *arg)
{
	struct json_object *req = new_object(), *array = json_object_new_array();
	struct dp_call *call;

	json_add_str(req, "name", step->name);
	json_add_str(req, "tap", step->ifname);
	json_add_u64(req, "mtu", step->mtu < MTU_MIN ? MTU_MIN : step->mtu);
	for (int i = 0; i < n_cores; i++)
		if (json_object_array_add(array, json_object_new_int(cores[i])) < 0)
			abort();
	if (json_object_object_add(req, "cores", array) < 0)
		abort();
	call = call_new(o, done, arg);
	str_copy(call->segment, sizeof(call->segment), step->name);
	str_copy(call->tap, sizeof(call->tap), step->ifname);
	dp_client_call(o->dp, "segment-set", req, fd >= 0 ? fd : -1, on_segment_set, call);
}

static void do_dp_segment(struct outside *o, const struct step *step,
			  const struct vnic_segment *segment, manager_step_done done, void *arg)
{
	struct vnic_err err = VNIC_ERR_INIT;
	int fd = -1;

	/* Without a connection the call below fails, and the tap's state means nothing. */
	if (dp_client_connected(o->dp)) {
		fd = tap_for_datapath(o, step, &err);
		if (fd < 0 && fd != -ENOENT) {
			done(arg, fd, &err);
			return;
		}
	}
	send_segment(o, step, fd, segment->cores, segment->n_cores, done, arg);
}

/* A socket each time: where the keeper has one of that netdev, it keeps its own. */
static void do_dp_queue(struct outside *o, const struct step *step, manager_step_done done,
			void *arg)
{
	_cleanup_(closep) int fd = -1;
	struct vnic_err err = VNIC_ERR_INIT;
	const char *what = "";

	fd = packet_open(step->ifindex, false, &what);
	if (fd < 0) {
		vnic_err_set(&err, fd, VNIC_E_STEP_FAILED, "%s: %s", what, strerror(-fd));
		done(arg, fd, &err);
		return;
	}
	send_segment(o, step, fd, NULL, 0, done, arg);
}

static void on_port_set(void *arg, int error, const struct vnic_err *err,
			struct json_object *answer)
{
	struct dp_call *call = arg;

	(void)answer;
	if (error == 0)
		exec_listen_drop(call->outside->exec, call->class_name, call->name);
	call->done(call->arg, error, err);
	call_free(call);
}

static const char *standby_str(enum port_standby standby)
{
	static const char *const words[] = {
		[STANDBY_NO] = "no",
		[STANDBY_LEARN] = "learn",
		[STANDBY_AWAY] = "away",
	};

	return words[standby];
}

static void do_dp_port(struct outside *o, const struct vnic_port *port, manager_step_done done,
		       void *arg)
{
	struct json_object *req = new_object();
	char key[PORT_KEY_STR], mac[VNIC_MAC_STR], segment[VNIC_NAME_MAX];
	struct dp_call *call;
	int fd;

	json_add_str(req, "key", port_key_format(&port->spec.key, key));
	json_add_u64(req, "generation", port->generation);
	json_add_str(req, "name", port->spec.name);
	json_add_str(req, "segment", port_dp_segment(port, segment));
	json_add_str(req, "mac", mac_format(port->spec.key.mac, mac));
	/* Behind a queue of its own the card puts the tag on and takes it off. */
	json_add_u64(req, "vlan", port->path == VNIC_PATH_VMDQ ? 0 : port->vlan);
	json_add_bool(req, "spoofchk", port->spoofchk);
	json_add_bool(req, "trust", port->trust);
	json_add_str(req, "standby", standby_str(port->standby));
	json_add_u64(req, "queues", port->queues);
	json_add_str(req, "pidfile", *port->spec.pidfile ? port->spec.pidfile : NULL);
	json_add_u64(req, "weight", port->weight);
	json_add_u64(req, "rate", port->rate < RATE_MAX ? port->rate : RATE_MAX);
	call = call_new(o, done, arg);
	str_copy(call->class_name, sizeof(call->class_name), port->spec.class_name);
	str_copy(call->name, sizeof(call->name), port->spec.name);
	fd = exec_listen_fd(o->exec, port->spec.class_name, port->spec.name);
	dp_client_call(o->dp, "port-set", req, fd >= 0 ? fd : -1, on_port_set, call);
}

static void on_undone(void *arg, int error, const struct vnic_err *err, struct json_object *answer)
{
	struct dp_call *call = arg;

	(void)answer;
	if (error == 0 && *call->segment)
		tap_set(call->outside, call->segment, false);
	call->done(call->arg, error, err);
	call_free(call);
}

static void port_del(struct outside *o, const struct port_key *key, uint64_t generation,
		     dp_done_fn done, void *arg)
{
	char text[PORT_KEY_STR];

	dp_client_port_del(o->dp, port_key_format(key, text), generation, done, arg);
}

static void undo_segment(struct outside *o, const struct step *step, manager_step_done done,
			 void *arg)
{
	struct dp_call *call = call_new(o, done, arg);
	struct json_object *req = new_object();

	json_add_str(req, "name", step->name);
	str_copy(call->segment, sizeof(call->segment), step->name);
	dp_client_call(o->dp, "segment-del", req, -1, on_undone, call);
}

bool outside_dp_step(struct outside *o, const struct step *step, const struct vnic_segment *segment,
		     const struct vnic_port *port, bool undo, manager_step_done done, void *arg)
{
	switch (step->kind) {
	case STEP_DP_SEGMENT:
		if (undo)
			undo_segment(o, step, done, arg);
		else
			do_dp_segment(o, step, segment, done, arg);
		return true;
	case STEP_DP_QUEUE:
		if (undo)
			undo_segment(o, step, done, arg);
		else
			do_dp_queue(o, step, done, arg);
		return true;
	case STEP_DP_PORT:
		if (undo)
			port_del(o, &port->spec.key, port->generation, on_undone,
				 call_new(o, done, arg));
		else
			do_dp_port(o, port, done, arg);
		return true;
	default:
		return false;
	}
}

static void on_forgotten(void *arg, int error, const struct vnic_err *err,
			 struct json_object *answer)
{
	struct dp_call *call = arg;

	(void)answer;
	if (error < 0 && error != -ENOTCONN && error != -ENOENT)
		log_warning("the datapath did not forget a port that is not ours, and is asked "
			    "again: %s",
			    err->message);
	call->done(call->arg, error, err);
	call_free(call);
}

static void io_dp_forget_port(void *data, const struct port_key *key, uint64_t generation,
			      manager_step_done done, void *arg)
{
	struct outside *o = data;

	port_del(o, key, generation, on_forgotten, call_new(o, done, arg));
}

static void on_counters(void *arg, int error, const struct vnic_err *err,
			struct json_object *answer)
{
	struct dp_call *call = arg;
	struct vnic_err local = VNIC_ERR_INIT;
	struct dp_port_status status;

	if (error == 0) {
		error = dp_parse_port(answer, &status, &local);
		err = &local;
	}
	if (error == 0)
		manager_datapath_port(call->outside->manager, &status);
	call->done(call->arg, error, error ? err : NULL);
	call_free(call);
}

static void io_dp_counters(void *data, const struct port_key *key, manager_step_done done,
			   void *arg)
{
	struct outside *o = data;
	struct json_object *req = new_object();
	char text[PORT_KEY_STR];

	json_add_str(req, "key", port_key_format(key, text));
	dp_client_call(o->dp, "port-get", req, -1, on_counters, call_new(o, done, arg));
}

static void on_dp_hello(void *userdata, pid_t keeper)
{
	struct outside *o = userdata;

	log_info("connected to vnicd-datapath, pid %d", (int)keeper);
	taps_clear(o);
	manager_datapath_hello(o->manager);
}

static void on_dp_segment(void *userdata, const char *name, const char *tap, bool has_tap)
{
	struct outside *o = userdata;

	if (has_tap && name_valid(name))
		tap_set(o, name, true);
	manager_datapath_segment(o->manager, name, tap, has_tap);
}

static void on_dp_port(void *userdata, const struct dp_port_status *status)
{
	struct outside *o = userdata;

	manager_datapath_port(o->manager, status);
}

static void on_dp_hello_end(void *userdata)
{
	struct outside *o = userdata;

	manager_datapath_hello_end(o->manager);
}

static void on_dp_worker(void *userdata, const struct dp_worker_event *e)
{
	const struct vnic_log_fields fields = { .segment = e->segment };

	(void)userdata;
	vnic_log(LOG_WARNING, &fields,
		 "segment %s: its datapath worker was replaced (the %u. time) after %llu us: %s",
		 e->segment, e->restarts, (unsigned long long)e->gap_us, e->reason);
}

static void on_dp_lost(void *userdata, const char *reason)
{
	struct outside *o = userdata;

	log_warning("no connection to vnicd-datapath: %s", reason);
	taps_clear(o);
	manager_datapath_lost(o->manager, reason);
}

static const struct dp_client_ops dp_ops = {
	.hello = on_dp_hello,
	.segment = on_dp_segment,
	.port = on_dp_port,
	.hello_end = on_dp_hello_end,
	.worker = on_dp_worker,
	.lost = on_dp_lost,
};

void outside_dp_io(struct manager_io *io)
{
	io->dp_forget_port = io_dp_forget_port;
	io->dp_counters = io_dp_counters;
}

int outside_dp_start(struct outside *o, const char *dp_sock, struct vnic_err *err)
{
	int r = dp_client_new(o->loop, dp_sock, &dp_ops, o, &o->dp);

	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_INTERNAL, "%s: %s", dp_sock, strerror(-r));
	return 0;
}

void outside_dp_free(struct outside *o)
{
	dp_client_free(o->dp);
	/* Answers to these are not waited for: their callers are gone. */
	while (!LIST_EMPTY(&o->calls))
		call_free(LIST_FIRST(&o->calls));
	taps_clear(o);
}
