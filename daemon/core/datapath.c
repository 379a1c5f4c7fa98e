/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The datapath as the manager knows it: whether it is there, and what it says on a new connection that it has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/manager_priv.h"

bool manager_dp_away(const struct manager *m)
{
	return m->dp_state == MANAGER_DP_DOWN && manager_now(m) >= m->dp_down_since + DP_GRACE;
}

bool manager_dp_unmet(struct manager *m)
{
	if (m->dp_met || manager_dp_away(m))
		return false;
	if (m->dp_state == MANAGER_DP_DOWN)
		manager_wake_before(m, m->dp_down_since + DP_GRACE);
	return true;
}

int manager_dp_error(const struct manager *m, struct vnic_err *err)
{
	return vnic_err_set(err, -ENOTCONN, VNIC_E_DATAPATH_DOWN,
			    "vnicd-datapath does not answer (%.200s): see 'systemctl status "
			    "vnicd-datapath', start it with 'systemctl start vnicd-datapath'",
			    m->dp_reason);
}

static void tell_datapath(struct manager *m)
{
	for (struct manager_observer *o = m->observers; o; o = o->next)
		if (o->datapath_changed)
			o->datapath_changed(o->data);
}

void manager_datapath_hello(struct manager *m)
{
	m->dp_state = MANAGER_DP_SYNCING;
	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		managed(p)->dp_listed = managed(p)->dp_has_listener = false;
	for (struct segment_share *s = m->shares; s; s = s->hh.next)
		managed_share(s)->dp_listed = managed_share(s)->dp_has_tap = false;
}

/*
 * The datapath holds a segment with a tap that no record of ours tells of: the record is lost. What it
 * consists of is taken up again, to be undone where no port needs it.
 */
static void adopt_stray(struct managed_share *s, const char *tap)
{
	const struct vnic_link *link = inventory_find_name(s->own.m->inv, tap);
	struct step step = { .state = STEP_DONE };

	for (size_t i = 0; i < s->share.plan.n; i++)
		if (s->share.plan.step[i].state != STEP_PLANNED)
			return;
	if (s->own.busy)
		return;
	plan_clear(&s->share.plan);
	memcpy(step.name, s->share.segment.name, sizeof(step.name));
	memcpy(step.ifname, s->share.tap, sizeof(step.ifname));
	step.kind = STEP_TAP_CREATE;
	if (str_eq(tap, s->share.tap) && link) {
		step.ifindex = link->ifindex;
		plan_add(&s->share.plan, &step);
	}
	step.kind = STEP_DP_SEGMENT;
	plan_add(&s->share.plan, &step);
}

void manager_datapath_segment(struct manager *m, const char *name, const char *tap, bool has_tap)
{
	struct segment_share *share = manager_share(m, name);
	struct vnic_segment *segment = config_segment(m->config, name), unknown = { 0 };
	struct managed_share *s;
	struct vnic_port *port;
	struct port_key key;

	if (m->dp_state != MANAGER_DP_SYNCING || !name_valid(name))
		return;
	/* A port's own, and that port's affair. */
	port = port_dp_segment_key(name, &key) == 0 ? manager_port(m, &key) : NULL;
	if (port && port->path == VNIC_PATH_VMDQ) {
		if (managed(port)->gone)
			owner_not_undone(&managed(port)->own, STEP_DP_QUEUE);
		return;
	}
	if (share) {
		s = managed_share(share);
	} else {
		str_copy(unknown.name, sizeof(unknown.name), name);
		s = share_get(m, segment ? segment : &unknown);
		if (!s)
			return;
	}
	owner_not_undone(&s->own, STEP_DP_SEGMENT);
	adopt_stray(s, tap);
	s->dp_listed = true;
	s->dp_has_tap = has_tap;
}

void manager_datapath_port(struct manager *m, const struct dp_port_status *status)
{
	struct vnic_port *port = manager_port(m, &status->key);

	if (m->dp_state == MANAGER_DP_DOWN)
		return;
	if (port)
		port_status(managed(port), status);
	else if (m->dp_state == MANAGER_DP_SYNCING && !m->dp_met)
		orphan_take(m, status);
	else if (m->dp_state == MANAGER_DP_SYNCING)
		stray_forget(m, status);
}

/* A port that the datapath has and we have not: who asks it to forget that, on this connection. */
struct dp_stray {
	struct manager *m;
	struct port_key key;
	uint64_t generation;
	bool asking;
	uint64_t retry_at, backoff;
	struct dp_stray *next;
};

static void stray_drop(struct dp_stray *stray)
{
	struct dp_stray **at = &stray->m->strays;

	while (*at != stray)
		at = &(*at)->next;
	*at = stray->next;
	free(stray);
}

static void stray_answered(void *arg, int error, const struct vnic_err *err)
{
	struct dp_stray *stray = arg;
	struct manager *m = stray->m;

	(void)err;
	stray->asking = false;
	if (error >= 0 || error == -ENOENT || error == -ENOTCONN) {
		stray_drop(stray);
		return;
	}
	stray->backoff = backoff_next(stray->backoff);
	stray->retry_at = manager_now(m) + stray->backoff;
	manager_wake_before(m, stray->retry_at);
}

/* A port that was made of its key since has taken its place in the datapath. */
static void stray_pump(struct dp_stray *stray)
{
	struct manager *m = stray->m;

	if (stray->asking)
		return;
	if (manager_port(m, &stray->key)) {
		stray_drop(stray);
		return;
	}
	if (manager_now(m) < stray->retry_at) {
		manager_wake_before(m, stray->retry_at);
		return;
	}
	stray->asking = true;
	m->io.dp_forget_port(m->io.data, &stray->key, stray->generation, stray_answered, stray);
}

void strays_pump(struct manager *m)
{
	struct dp_stray *next;

	for (struct dp_stray *stray = m->strays; stray; stray = next) {
		next = stray->next;
		stray_pump(stray);
	}
}

/* The next connection lists them anew. Who asks has its answer, that the connection is lost, after this. */
static void strays_lost(struct manager *m)
{
	struct dp_stray *next;

	for (struct dp_stray *stray = m->strays; stray; stray = next) {
		next = stray->next;
		if (!stray->asking)
			stray_drop(stray);
	}
}

void strays_free(struct manager *m)
{
	while (m->strays)
		stray_drop(m->strays);
}

void stray_forget(struct manager *m, const struct dp_port_status *status)
{
	struct dp_stray *stray = calloc(1, sizeof(*stray));

	if (!stray)
		return; /* the next connection tells of it again */
	stray->m = m;
	stray->key = status->key;
	stray->generation = status->generation;
	stray->next = m->strays;
	m->strays = stray;
	manager_kick(m);
}

static void share_datapath_back(struct managed_share *s)
{
	for (size_t i = 0; i < s->share.plan.n; i++) {
		struct step *step = &s->share.plan.step[i];

		if (step->state != STEP_DONE)
			continue;
		if (step->kind == STEP_DP_SEGMENT ||
		    (step->kind == STEP_TAP_CREATE && !(s->dp_listed && s->dp_has_tap)))
			step->state = STEP_BEGUN;
	}
	s->own.retry_at = s->own.backoff = 0;
	s->stale = true;
}

void manager_datapath_hello_end(struct manager *m)
{
	if (m->dp_state != MANAGER_DP_SYNCING)
		return;
	m->dp_state = MANAGER_DP_UP;
	m->sweep |= !m->dp_met;
	m->dp_met = true;
	m->dp_reason[0] = '\0';
	for (struct segment_share *s = m->shares; s; s = s->hh.next) {
		/* Where nobody needs it, it is to be undone, not made again. */
		if (share_used(m, s->segment.name))
			share_datapath_back(managed_share(s));
		managed_share(s)->stale = true;
	}
	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		port_datapath_back(managed(p));
	tell_datapath(m);
	manager_kick(m);
}

void manager_datapath_lost(struct manager *m, const char *reason)
{
	snprintf(m->dp_reason, sizeof(m->dp_reason), "%.400s", reason);
	if (m->dp_state == MANAGER_DP_DOWN)
		return;
	m->dp_state = MANAGER_DP_DOWN;
	m->dp_down_since = manager_now(m);
	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		port_datapath_lost(managed(p));
	strays_lost(m);
	tell_datapath(m);
	manager_wake_before(m, m->dp_down_since + DP_GRACE);
}
