/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One step at a time, with its record: read the previous value, write the step down as begun, act, keep the
 * result. Whoever is killed in between leaves a record from which all that may have acted can be undone.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/manager_priv.h"

#define BACKOFF_MIN (1 * SEC)
#define BACKOFF_MAX (30 * SEC)

void owner_init(struct owner *o, struct manager *m, struct plan *plan,
		const struct vnic_segment *segment, struct vnic_port *port)
{
	*o = (struct owner){ .m = m, .plan = plan, .segment = segment, .port = port };
}

int owner_record(struct owner *o)
{
	const struct manager_io *io = &o->m->io;
	int r;

	if (o->port && o->port->orphan)
		return 0; /* there is nothing true to write */
	r = o->port	 ? io->record_port(io->data, o->port)
	    : o->nic	 ? io->record_nic(io->data, o->nic->pf, o->plan, o->nic->drained)
	    : o->hostdev ? io->record_hostdev(io->data, o->hostdev->device.addr, o->plan)
			 : io->record_shared(io->data, o->segment->name, o->plan);

	if (r >= 0)
		o->unrecorded = false;
	return r;
}

ssize_t owner_last(const struct owner *o)
{
	for (size_t i = o->plan->n; i-- > 0;)
		if (o->plan->step[i].state == STEP_BEGUN || o->plan->step[i].state == STEP_DONE)
			return (ssize_t)i;
	return -1;
}

uint64_t backoff_next(uint64_t before)
{
	uint64_t next = before ? before * 2 : BACKOFF_MIN;

	return next < BACKOFF_MAX ? next : BACKOFF_MAX;
}

void owner_back_off(struct owner *o)
{
	o->backoff = backoff_next(o->backoff);
	o->retry_at = manager_now(o->m) + o->backoff;
	manager_wake_before(o->m, o->retry_at);
}

void owner_hurry(struct owner *o)
{
	uint64_t soon = manager_now(o->m) + BACKOFF_MIN;

	o->backoff = 0;
	if (o->retry_at > soon)
		o->retry_at = soon;
	if (o->retry_at)
		manager_wake_before(o->m, o->retry_at);
}

bool owner_drifted(struct owner *o, struct step *step, bool shown)
{
	uint64_t when = o->settled_at + SETTLE;

	if (shown) {
		step->seen = true;
		return false;
	}
	if (step->seen || manager_now(o->m) >= when)
		return true;
	manager_wake_before(o->m, when);
	return false;
}

void owner_redo(struct owner *o, enum step_kind kind)
{
	for (size_t i = 0; i < o->plan->n; i++) {
		struct step *step = &o->plan->step[i];

		if (step->kind != kind)
			continue;
		if (o->busy && !o->undoing && o->at == i)
			o->redo = true;
		else if (step->state == STEP_DONE)
			step->state = STEP_BEGUN;
	}
}

void owner_not_undone(struct owner *o, enum step_kind kind)
{
	for (size_t i = 0; i < o->plan->n; i++) {
		struct step *step = &o->plan->step[i];

		if (step->kind == kind && step->state == STEP_UNDONE)
			step->state = STEP_BEGUN;
	}
}

/* What an administrator can do about it; empty where the error says it all. */
static const char *hint(const struct step *step, int error)
{
	switch (-error) {
	case EPERM:
	case EACCES:
		return "; vnicd lacks a capability: compare its unit with the one installed";
	case ENOENT:
	case ENXIO:
		if (step->kind == STEP_TAP_CREATE)
			return "; is the tun module there? 'modprobe tun'";
		if (step->kind == STEP_SOCK_LISTEN)
			return "; is /run/vnicd/sock there? 'systemd-tmpfiles --create vnicd.conf'";
		return "";
	case EBUSY:
		if (step->kind == STEP_LINK_MASTER)
			return "; another program holds the interface: see 'ip -d link show'";
		return "";
	case ENODEV:
		return "; the interface has gone: see 'ip link show'";
	case EADDRINUSE:
		return "; another program listens there: see 'ss -xlp'";
	case ENOSPC:
		return "; a limit or /run is full: see 'df /run'";
	case EMFILE:
	case ENFILE:
		return "; raise LimitNOFILE= of vnicd.service";
	case ETIMEDOUT:
		if (step->kind == STEP_DP_PORT || step->kind == STEP_DP_SEGMENT)
			return "; it did not answer: see 'journalctl -u vnicd-datapath'";
		return "";
	case EOPNOTSUPP:
		return "; this kernel or driver cannot do that";
	default:
		return "";
	}
}

static void describe_failure(struct owner *o, int error, const struct vnic_err *err)
{
	struct vnic_err why = VNIC_ERR_INIT;
	char step[160], what[170];

	if (err)
		why = *err;
	step_describe(&o->cur, step, sizeof(step));
	snprintf(what, sizeof(what), "%s%s", o->undoing ? "undo: " : "", step);
	if (error == -ENOTCONN || error == -ECONNRESET || error == -EPIPE)
		vnic_err_set(
			&o->err, error, VNIC_E_DATAPATH_DOWN,
			"the connection to vnicd-datapath was lost while it was asked to %s: see "
			"'systemctl status vnicd-datapath'",
			what);
	else if (*why.message)
		vnic_err_set(&o->err, error, VNIC_E_STEP_FAILED, "could not %s: %.200s%s", what,
			     why.message, hint(&o->cur, error));
	else
		vnic_err_set(&o->err, error, VNIC_E_STEP_FAILED, "could not %s: %s (%s)%s", what,
			     strerror(-error), strerrorname_np(-error), hint(&o->cur, error));
}

static bool gone_already(int error)
{
	return error == -ENOENT || error == -ENODEV || error == -ENOTCONN;
}

static void step_ended(void *arg, int error, const struct vnic_err *err)
{
	struct owner *o = arg;
	struct step *step = &o->plan->step[o->at];

	o->busy = false;
	o->unrecorded = true;
	o->settled_at = manager_now(o->m);
	if (o->undoing && (error >= 0 || gone_already(error))) {
		step->state = STEP_UNDONE;
		step->has_prev = step->has_old = step->seen = false;
		o->error = 0;
		o->backoff = 0;
	} else if (error >= 0) {
		o->cur.state = o->redo ? STEP_BEGUN : STEP_DONE;
		o->cur.has_old = o->cur.seen = false;
		*step = o->cur;
		o->error = 0;
		o->backoff = 0;
	} else {
		/* It stays begun: part of it may have happened. */
		o->error = error;
		describe_failure(o, error, err);
	}
	manager_kick(o->m);
}

static void refuse(struct owner *o, int error, const char *what)
{
	o->error = error;
	vnic_err_set(&o->err, error, VNIC_E_STEP_FAILED, "%s: %s (%s)%s", what, strerror(-error),
		     strerrorname_np(-error), hint(&o->cur, error));
	manager_kick(o->m);
}

void owner_begin(struct owner *o, size_t i, bool undo)
{
	const struct manager_io *io = &o->m->io;
	struct step *step = &o->plan->step[i];
	enum step_state before = step->state;
	struct vnic_err err = VNIC_ERR_INIT;
	int r = 0;

	o->cur = *step;
	o->at = i;
	o->undoing = undo;
	o->redo = false;
	if (!undo) {
		if (!o->cur.has_prev)
			r = io->step_probe(io->data, &o->cur, &err);
		if (r < 0) {
			describe_failure(o, r, &err);
			o->error = r;
			manager_kick(o->m);
			return;
		}
		o->cur.state = STEP_BEGUN;
		*step = o->cur;
		r = owner_record(o);
		if (r < 0) {
			step->state = before;
			refuse(o, r, "could not write the record, so nothing was done");
			return;
		}
	}
	o->busy = true;
	(undo ? io->step_undo : io->step_do)(io->data, &o->cur, o->segment, o->port, step_ended, o);
}
