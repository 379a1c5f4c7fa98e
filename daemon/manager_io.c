/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "api/errors.h"
#include "daemon/manager_io_priv.h"
#include "daemon/sys/pidlock.h"

static uint64_t clock_usec(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t io_now(void *data)
{
	(void)data;
	return clock_usec(CLOCK_MONOTONIC);
}

static uint64_t io_realtime(void *data)
{
	(void)data;
	return clock_usec(CLOCK_REALTIME);
}

static void on_wake(void *userdata)
{
	struct outside *o = userdata;

	if (o->manager)
		manager_wake(o->manager);
}

static void io_wake_at(void *data, uint64_t when)
{
	struct outside *o = data;
	uint64_t now = io_now(NULL);

	if (when == UINT64_MAX)
		loop_timer_stop(o->wake);
	else
		loop_timer_set(o->wake, when > now ? when - now : 0);
}

static int io_step_probe(void *data, struct step *step, struct vnic_err *err)
{
	struct outside *o = data;

	return exec_probe(o->exec, step, err);
}

static void plug(struct outside *o, const struct step *step, const struct vnic_port *port,
		 bool undo, manager_step_done done, void *arg)
{
	struct vnic_err err = VNIC_ERR_INIT;

	/* A dead domain has let go of it; and while its end is being told, libvirt must not be asked. */
	if (undo && *port->spec.pidfile && pidlock_holder(port->spec.pidfile, NULL) == 0) {
		done(arg, 0, NULL);
		return;
	}
	if (o->plug.plug) {
		o->plug.plug(o->plug.data, step, port, undo, done, arg);
		return;
	}
	vnic_err_set(&err, -ENOSYS, VNIC_E_INTERNAL, "vnicd has no way to libvirt");
	done(arg, -ENOSYS, &err);
}

void outside_set_plug(struct outside *o, const struct outside_plug *plug)
{
	o->plug = *plug;
}

void outside_set_written(struct outside *o, void (*written)(void *data, const struct step *step),
			 void *data)
{
	o->written = written;
	o->written_data = data;
	slow_steps_tell(o->slow, written, data);
}

static void tell_written(const struct outside *o, const struct step *step)
{
	if (o->written && *step->dev)
		o->written(o->written_data, step);
}

static void one_step(struct outside *o, struct step *step, const struct vnic_segment *segment,
		     const struct vnic_port *port, bool undo, manager_step_done done, void *arg)
{
	struct vnic_err err = VNIC_ERR_INIT;
	int r;

	if (outside_dp_step(o, step, segment, port, undo, done, arg))
		return;
	if (step->kind == STEP_VF_ATTACH) {
		plug(o, step, port, undo, done, arg);
		return;
	}
	if (exec_slow(step->kind)) {
		slow_step(o->slow, step, undo, done, arg);
		return;
	}
	r = undo ? exec_undo(o->exec, step, &err) : exec_do(o->exec, step, &err);
	tell_written(o, step);
	done(arg, r, r < 0 ? &err : NULL);
}

static void io_step_do(void *data, struct step *step, const struct vnic_segment *segment,
		       const struct vnic_port *port, manager_step_done done, void *arg)
{
	one_step(data, step, segment, port, false, done, arg);
}

static void io_step_undo(void *data, struct step *step, const struct vnic_segment *segment,
			 const struct vnic_port *port, manager_step_done done, void *arg)
{
	one_step(data, step, segment, port, true, done, arg);
}

static int io_domain_alive(void *data, const char *pidfile)
{
	(void)data;
	return pidlock_holder(pidfile, NULL);
}

static void io_vdpa_counters(void *data, const struct port_key *key, manager_step_done done,
			     void *arg)
{
	const struct outside *o = data;

	vdpa_counters_ask(o->vdpa_counters, key, done, arg);
}

static void io_ask_domains(void *data)
{
	struct outside *o = data;

	o->ask_domains(o->ask_data);
}

static bool is_a_ports(void *data, const char *class_name, const char *name)
{
	const struct outside *o = data;

	for (const struct vnic_port *p = o->manager->ports; p; p = p->hh.next)
		if (str_eq(p->spec.class_name, class_name) && str_eq(p->spec.name, name))
			return true;
	return false;
}

static void io_sweep_sockets(void *data)
{
	struct outside *o = data;

	exec_sweep_sockets(o->exec, is_a_ports, o);
}

struct manager_io outside_io(struct outside *o)
{
	struct manager_io io = {
		.data = o,
		.now = io_now,
		.realtime = io_realtime,
		.wake_at = io_wake_at,
		.step_probe = io_step_probe,
		.step_do = io_step_do,
		.step_undo = io_step_undo,
		.vdpa_counters = io_vdpa_counters,
		.domain_alive = io_domain_alive,
		.ask_domains = io_ask_domains,
		.sweep_sockets = io_sweep_sockets,
	};

	outside_dp_io(&io);
	outside_records_io(&io);
	return io;
}

int outside_new(struct loop *loop, struct exec *exec, struct records *records, struct outside **ret)
{
	_cleanup_(outside_freep) struct outside *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->loop = loop;
	o->exec = exec;
	o->records = records;
	r = loop_add_timer(loop, on_wake, o, &o->wake);
	if (r == 0)
		r = slow_steps_new(loop, exec, &o->slow);
	if (r < 0)
		return r;
	*ret = take_ptr(o);
	return 0;
}

int outside_start(struct outside *o, struct manager *manager, const char *dp_sock,
		  void (*ask_domains)(void *data), void *ask_data, struct vnic_err *err)
{
	int r;

	o->ask_domains = ask_domains;
	o->ask_data = ask_data;
	o->manager = manager;
	r = vdpa_counters_new(o->loop, o->exec, manager, &o->vdpa_counters);
	if (r == 0)
		r = outside_records_load(o, err);
	return r < 0 ? r : outside_dp_start(o, dp_sock, err);
}

struct outside *outside_free(struct outside *o)
{
	if (!o)
		return NULL;
	outside_dp_free(o);
	vdpa_counters_free(o->vdpa_counters);
	slow_steps_free(o->slow);
	loop_source_free(o->wake);
	free(o);
	return NULL;
}
