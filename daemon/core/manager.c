/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/config_check.h"
#include "daemon/core/manager_priv.h"

struct manager *manager_new(const struct manager_io *io, struct vnic_config *config,
			    struct inventory *inv)
{
	struct manager *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	if (alloc_index_new(&m->index) < 0) {
		free(m);
		return NULL;
	}
	m->io = *io;
	m->config = config;
	m->inv = inv;
	m->wake_at = UINT64_MAX;
	m->dp_down_since = manager_now(m);
	snprintf(m->dp_reason, sizeof(m->dp_reason), "not connected yet");
	/* Above all that an earlier daemon gave out, also where its records are lost. */
	m->last_generation = io->realtime(io->data) / SEC;
	return m;
}

struct manager *manager_free(struct manager *m)
{
	struct segment_share *share, *stmp;
	struct vnic_port *port, *ptmp;

	if (!m)
		return NULL;
	jobs_free(m);
	strays_free(m);
	HASH_ITER(hh, m->ports, port, ptmp)
	{
		HASH_DEL(m->ports, port);
		port_clear(port);
		free(managed(port));
	}
	HASH_ITER(hh, m->shares, share, stmp)
	{
		HASH_DEL(m->shares, share);
		share_free(managed_share(share));
	}
	while (m->nics) {
		struct managed_nic *nic = managed_nic(m->nics);

		HASH_DEL(m->nics, m->nics);
		nic_free(nic);
	}
	while (m->uplinks) {
		struct managed_nic *nic = managed_nic(m->uplinks);

		HASH_DEL(m->uplinks, m->uplinks);
		nic_free(nic);
	}
	while (m->hostdevs) {
		struct managed_hostdev *hostdev = managed_hostdev(m->hostdevs);

		HASH_DEL(m->hostdevs, m->hostdevs);
		hostdev_free(hostdev);
	}
	device_forget_all(m);
	alloc_index_free(m->index);
	config_free(m->config);
	free(m);
	return NULL;
}

void manager_index_port(struct manager *m, const struct vnic_port *port)
{
	/* A port that is not in it would be overlooked: then each alloc looks at all. */
	if (m->index && alloc_index_update(m->index, port) < 0)
		m->index = alloc_index_free(m->index);
}

void manager_observe(struct manager *m, struct manager_observer *observer)
{
	observer->next = m->observers;
	m->observers = observer;
}

void manager_unobserve(struct manager *m, struct manager_observer *observer)
{
	struct manager_observer **at = &m->observers;

	while (*at && *at != observer)
		at = &(*at)->next;
	if (*at)
		*at = observer->next;
}

void manager_kick(struct manager *m)
{
	m->dirty = true;
	if (!m->in_wake)
		manager_wake_before(m, 0);
}

void manager_wake_before(struct manager *m, uint64_t when)
{
	/* Before the start nobody may be there to be woken, and the start looks at everything. */
	if (!m->started || when >= m->wake_at)
		return;
	m->wake_at = when;
	if (!m->in_wake)
		m->io.wake_at(m->io.data, when);
}

void manager_tell_port(struct manager *m, const struct vnic_port *port)
{
	for (struct manager_observer *o = m->started ? m->observers : NULL; o; o = o->next)
		if (o->port_changed)
			o->port_changed(o->data, port);
}

void manager_tell_segment(struct manager *m, const char *segment)
{
	for (struct manager_observer *o = m->started ? m->observers : NULL; o; o = o->next)
		if (o->segment_changed)
			o->segment_changed(o->data, segment);
}

struct vnic_port *manager_port(const struct manager *m, const struct port_key *key)
{
	struct vnic_port *port;

	HASH_FIND(hh, m->ports, key, sizeof(*key), port);
	return port;
}

int manager_find_port(const struct manager *m, const struct port_key *key, uint64_t generation,
		      struct vnic_port **ret, struct vnic_err *err)
{
	struct vnic_port *port = manager_port(m, key);
	char text[PORT_KEY_STR];

	port_key_format(key, text);
	if (!port)
		return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_PORT,
				    "there is no port %s: vnicctl port show lists those there are",
				    text);
	if (generation && port->generation != generation)
		return vnic_err_set(
			err, -ESTALE, VNIC_E_STALE_GENERATION,
			"port %s has generation %llu, not %llu: it was made anew since; "
			"look at it again",
			text, (unsigned long long)port->generation, (unsigned long long)generation);
	*ret = port;
	return 0;
}

struct segment_share *manager_share(const struct manager *m, const char *segment)
{
	struct segment_share *share;

	HASH_FIND_STR(m->shares, segment, share);
	return share;
}

static void pump(struct manager *m)
{
	struct segment_share *share, *stmp;
	struct nic_share *nic, *ntmp;
	struct vnic_hostdev *hostdev, *dtmp;
	struct vnic_port *port, *ptmp;

	m->dirty = false;
	strays_pump(m); /* first: their segments can't go before them */
	jobs_pump(m);
	HASH_ITER(hh, m->ports, port, ptmp)
	{
		port_pump(managed(port));
	}
	HASH_ITER(hh, m->shares, share, stmp)
	{
		share_pump(managed_share(share));
	}
	HASH_ITER(hh, m->nics, nic, ntmp)
	{
		nic_pump(managed_nic(nic));
	}
	HASH_ITER(hh, m->uplinks, nic, ntmp)
	{
		uplink_pump(managed_nic(nic));
	}
	HASH_ITER(hh, m->hostdevs, hostdev, dtmp)
	{
		hostdev_pump(managed_hostdev(hostdev));
	}
	devices_promote(m);
}

void manager_wake(struct manager *m)
{
	uint64_t end = manager_now(m) + TURN_MAX;
	struct vnic_port *port, *tmp;

	m->wake_at = UINT64_MAX;
	if (!m->started || m->in_wake)
		return;
	m->in_wake = true;
	do {
		pump(m);
		if (m->dirty)
			continue;
		HASH_ITER(hh, m->ports, port, tmp)
		{
			port_reap(managed(port));
		}
		if (!m->dirty)
			orphans_look(m);
	} while (m->dirty && manager_now(m) < end);
	if (m->dirty)
		manager_wake_before(m, 0); /* the rest of the loop has its turn first */
	if (m->dp_state == MANAGER_DP_DOWN && m->jobs && !manager_dp_away(m))
		manager_wake_before(m, m->dp_down_since + DP_GRACE);
	m->in_wake = false;
	m->io.wake_at(m->io.data, m->wake_at);
}

int manager_restore_port(struct manager *m, struct vnic_port *port, struct vnic_err *err)
{
	struct segment_share *share = manager_share(m, port->segment);
	struct managed_port *p;
	char key[PORT_KEY_STR];

	port_key_format(&port->spec.key, key);
	if (manager_port(m, &port->spec.key)) {
		port_free(port);
		return vnic_err_set(err, -EEXIST, VNIC_E_INTERNAL, "two records of port %s", key);
	}
	if (!share && !port->spec.vdpa) {
		/* The segment's own record is lost; what the port needs of it is made again. */
		struct vnic_segment *segment = config_segment(m->config, port->segment);
		struct vnic_segment unknown = { 0 };

		memcpy(unknown.name, port->segment, sizeof(unknown.name));
		if (!share_get(m, segment ? segment : &unknown)) {
			port_free(port);
			return vnic_err_set(err, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
		}
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		port_free(port);
		return vnic_err_set(err, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
	}
	p->port = *port;
	memset(&p->port.hh, 0, sizeof(p->port.hh));
	free(port); /* its plan has moved */
	if (m->last_generation < p->port.generation)
		m->last_generation = p->port.generation;
	/* What was half done when we were killed is undone; what was there stays, as the datapath has it. */
	p->gone = p->port.state == PORT_PREPARING || p->port.state == PORT_RELEASING;
	p->port.state = p->gone ? PORT_RELEASING : PORT_READY;
	p->port.peer_pid = 0;
	p->unsure = !p->gone && *p->port.spec.pidfile;
	port_adopt(m, p);
	return 0;
}

int manager_restore_shared(struct manager *m, const char *name, struct plan *plan,
			   struct vnic_err *err)
{
	struct vnic_segment *segment = config_segment(m->config, name);
	struct vnic_segment unknown = { 0 };
	struct managed_share *s;

	if (manager_share(m, name) || !name_valid(name)) {
		plan_clear(plan);
		return vnic_err_set(err, -EINVAL, VNIC_E_INTERNAL,
				    "segment '%.64s' is recorded twice or no name of a segment",
				    name);
	}
	str_copy(unknown.name, sizeof(unknown.name), name);
	s = share_get(m, segment ? segment : &unknown);
	if (!s) {
		plan_clear(plan);
		return vnic_err_set(err, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
	}
	s->share.plan = *plan;
	*plan = (struct plan){ 0 };
	for (size_t i = 0; i < s->share.plan.n; i++) {
		const struct step *step = &s->share.plan.step[i];

		if (step->kind == STEP_TAP_CREATE && step->state != STEP_UNDONE)
			s->share.tap_ifindex = step->ifindex;
		/* A segment that is not configured any more: where its ports live says its record. */
		if (step->kind == STEP_OVS_PORT && !segment)
			memcpy(s->share.segment.bridge, step->bridge, IFNAMSIZ);
		if (step->kind == STEP_LINK_MASTER && !segment) {
			const struct vnic_link *bridge = inventory_find(m->inv, step->master);

			if (bridge)
				memcpy(s->share.segment.bridge, bridge->name, IFNAMSIZ);
		}
	}
	return 0;
}

int manager_restore_nic(struct manager *m, const char *pf, struct plan *plan, bool drained,
			struct vnic_err *err)
{
	if ((uplink_is_key(pf) ? uplink_restore(m, pf, plan) : nic_restore(m, pf, plan, drained)) ==
	    0)
		return 0;
	plan_clear(plan);
	return vnic_err_set(err, -EINVAL, VNIC_E_INTERNAL, "nic '%.64s' is recorded twice", pf);
}

int manager_restore_hostdev(struct manager *m, const char *addr, struct plan *plan,
			    struct vnic_err *err)
{
	if (hostdev_restore(m, addr, plan) == 0)
		return 0;
	plan_clear(plan);
	return vnic_err_set(err, -EINVAL, VNIC_E_INTERNAL,
			    "VF '%.64s' is recorded twice, or with steps that are none of its",
			    addr);
}

void manager_start(struct manager *m)
{
	m->started = true;
	shares_stale(m);
	nics_stale(m);
	uplinks_stale(m);
	m->devices_stale = true;
	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		for (struct manager_observer *o = m->observers; o; o = o->next)
			if (o->port_added)
				o->port_added(o->data, p);
	vdpas_look(m);
	manager_kick(m);
}

void manager_link_changed(struct manager *m, int ifindex)
{
	const struct vnic_link *link = inventory_find(m->inv, ifindex);

	for (struct manager_observer *o = m->observers; o; o = o->next)
		if (o->link_changed)
			o->link_changed(o->data, ifindex, link);
	for (struct segment_share *s = m->shares; s; s = s->hh.next)
		managed_share(s)->stale = true;
	if (link)
		nics_named(m, link);
	uplinks_stale(m);
	if (m->shares || m->hostdevs)
		manager_kick(m);
}

void manager_ovs_changed(struct manager *m)
{
	m->devices_stale = true;
	shares_stale(m);
	for (struct segment_share *s = m->shares; s; s = s->hh.next)
		manager_tell_segment(m, s->segment.name);
}

void manager_pf_changed(struct manager *m, const char *pf)
{
	for (struct manager_observer *o = m->started ? m->observers : NULL; o; o = o->next)
		if (o->pf_changed)
			o->pf_changed(o->data, pf);
	m->devices_stale = true;
	nics_stale(m);
	shares_stale(m);
}

void manager_vdpa_changed(struct manager *m)
{
	for (struct manager_observer *o = m->observers; o; o = o->next)
		if (o->vdpa_changed)
			o->vdpa_changed(o->data);
	uplinks_stale(m);
	vdpas_look(m);
	if (m->started)
		manager_kick(m);
}

void manager_inventory_complete(struct manager *m)
{
	if (!m->started)
		return;
	m->devices_stale = true;
	nics_stale(m);
	uplinks_stale(m);
	vdpas_look(m);
}

static void config_changed(struct manager *m)
{
	for (struct manager_observer *o = m->observers; o; o = o->next)
		if (o->config_changed)
			o->config_changed(o->data);
}

void manager_config_refused(struct manager *m, const struct vnic_err *err)
{
	memcpy(m->config_refused, err->message, sizeof(m->config_refused));
	config_changed(m);
}

int manager_config_swap(struct manager *m, struct vnic_config *config, struct vnic_err *err)
{
	int r = config_check(config, err);

	if (r < 0)
		return r;
	config_free(m->config);
	m->config = config;
	for (struct segment_share *s = m->shares; s; s = s->hh.next) {
		const struct vnic_segment *new = config_segment(config, s->segment.name);
		UT_hash_handle hh = s->segment.hh;

		/* Ports of a segment that is not configured any more keep what they have. */
		if (!new)
			continue;
		s->segment = *new;
		s->segment.hh = hh;
		owner_redo(&managed_share(s)->own, STEP_DP_SEGMENT); /* its cores may differ */
	}
	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		port_settings(managed(p));
	/* What had no place in the old one may have one now. */
	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		managed(p)->unsure |= p->orphan;
	shares_stale(m);
	nics_stale(m);
	uplinks_stale(m);
	hostdevs_config(m);
	vdpas_look(m);
	m->devices_stale = true;
	m->config_refused[0] = '\0';
	config_changed(m);
	return 0;
}

void manager_domain_started(struct manager *m, const uint8_t uuid[VNIC_UUID_LEN])
{
	for (struct vnic_port *p = m->ports; p; p = p->hh.next) {
		if (memcmp(p->spec.key.uuid, uuid, VNIC_UUID_LEN) != 0 || p->started)
			continue;
		p->started = true;
		if (!managed(p)->gone && p->state != PORT_PREPARING)
			owner_record(&managed(p)->own);
		manager_tell_port(m, p);
	}
	manager_kick(m);
}

void manager_port_counters(struct manager *m, const struct port_key *key, manager_step_done done,
			   void *arg)
{
	struct vnic_port *port = manager_port(m, key);
	struct vnic_err err = VNIC_ERR_INIT;

	if (port && port->spec.vdpa) {
		m->io.vdpa_counters(m->io.data, key, done, arg);
		return;
	}
	if (m->dp_state != MANAGER_DP_UP) {
		int r = manager_dp_error(m, &err);

		done(arg, r, &err);
		return;
	}
	m->io.dp_counters(m->io.data, key, done, arg);
}

int manager_alloc(const struct manager *m, const struct port_spec *spec, struct alloc_choice *ret,
		  struct vnic_err *err)
{
	struct alloc_host host = { .inv = m->inv,
				   .config = m->config,
				   .ports = m->ports,
				   .index = m->index,
				   .before = device_before(m, &spec->key),
				   .nics = m->nics,
				   .hostdevs = m->hostdevs };

	return alloc(&host, spec, ret, err);
}
