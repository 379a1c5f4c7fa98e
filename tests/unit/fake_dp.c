/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake host's datapath: what it was told, and what it tells of its guests. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_host_priv.h"

static ssize_t dp_find_port(struct fake_host *h, const struct port_key *key)
{
	for (size_t i = 0; i < h->n_dp_ports; i++)
		if (port_key_eq(&h->dp_port[i].key, key))
			return (ssize_t)i;
	return -1;
}

static ssize_t dp_find_segment(struct fake_host *h, const char *name)
{
	for (size_t i = 0; i < h->n_dp_segments; i++)
		if (str_eq(h->dp_segment[i].name, name))
			return (ssize_t)i;
	return -1;
}

static void dp_drop_port(struct fake_host *h, size_t i)
{
	memmove(&h->dp_port_segment[i], &h->dp_port_segment[i + 1],
		(h->n_dp_ports - i - 1) * sizeof(h->dp_port_segment[0]));
	memmove(&h->dp_port_socket[i], &h->dp_port_socket[i + 1],
		(h->n_dp_ports - i - 1) * sizeof(h->dp_port_socket[0]));
	FAKE_DROP(h->dp_port, h->n_dp_ports, i);
}

static int dp_port(struct fake_host *h, const struct vnic_port *port, bool on)
{
	ssize_t i = dp_find_port(h, &port->spec.key);
	char segment[VNIC_NAME_MAX];

	if (!h->dp_up)
		return -ENOTCONN;
	if (!on) {
		if (i >= 0)
			dp_drop_port(h, (size_t)i);
		return 0;
	}
	if (dp_find_segment(h, port_dp_segment(port, segment)) < 0)
		return -ENOENT;
	if (i < 0) {
		i = (ssize_t)h->n_dp_ports++;
		memset(&h->dp_port[i], 0, sizeof(h->dp_port[i]));
		h->dp_port[i].key = port->spec.key;
		h->dp_port[i].state = PORT_READY;
		strcpy(h->dp_port_segment[i], segment);
		strcpy(h->dp_port[i].segment, segment);
		port_sock_file(&port->spec, h->dp_port_socket[i]);
	}
	if (h->dp_port[i].generation > port->generation)
		return -ESTALE;
	h->dp_port[i].generation = port->generation;
	h->dp_port[i].has_listener = true;
	h->dp_standby[i] = port->standby;
	return 0;
}

static int dp_segment(struct fake_host *h, const struct step *step,
		      const struct vnic_segment *segment, bool on)
{
	ssize_t i = dp_find_segment(h, step->name);

	if (!h->dp_up)
		return -ENOTCONN;
	if (on) {
		if (!fake_link(h, step->ifname))
			return -ENODEV;
		if (i < 0) {
			i = (ssize_t)h->n_dp_segments++;
			strcpy(h->dp_segment[i].name, step->name);
		}
		h->dp_segment[i].has_tap = true;
		h->dp_segment[i].n_cores = segment->n_cores;
		return 0;
	}
	for (size_t p = 0; p < h->n_dp_ports; p++)
		if (str_eq(h->dp_port_segment[p], step->name))
			return -EBUSY;
	if (i >= 0)
		FAKE_DROP(h->dp_segment, h->n_dp_segments, (size_t)i);
	return 0;
}

/* A segment whose uplink is a netdev that is there, by its ifindex. */
static int dp_queue(struct fake_host *h, const struct step *step, bool on)
{
	static const struct vnic_segment unpinned;

	if (on && (!fake_by_ifindex(h, step->ifindex) || !*step->ifname))
		return -ENODEV;
	return dp_segment(h, step, &unpinned, on);
}

int fake_dp_act(struct fake_host *h, const struct step *step, const struct vnic_segment *segment,
		const struct vnic_port *port, bool undo)
{
	switch (step->kind) {
	case STEP_DP_SEGMENT:
		return dp_segment(h, step, segment, !undo);
	case STEP_DP_QUEUE:
		return dp_queue(h, step, !undo);
	default:
		return dp_port(h, port, !undo);
	}
}

void fake_forget_port(void *data, const struct port_key *key, uint64_t generation,
		      manager_step_done done, void *arg)
{
	struct fake_host *h = data;
	ssize_t i = dp_find_port(h, key);

	h->n_forgets++;
	if (h->forget_fails) {
		h->forget_fails--;
		done(arg, -ETIMEDOUT, NULL);
		return;
	}
	assert_true(i >= 0 && h->dp_port[i].generation == generation);
	dp_drop_port(h, (size_t)i);
	done(arg, 0, NULL);
}

void fake_dp_counters(void *data, const struct port_key *key, manager_step_done done, void *arg)
{
	(void)data;
	(void)key;
	done(arg, 0, NULL);
}

void fake_dp_connect(struct fake_host *h)
{
	h->dp_up = true;
	manager_datapath_hello(h->m);
	for (size_t i = 0; i < h->n_dp_segments; i++) {
		char tap[IFNAMSIZ];

		snprintf(tap, sizeof(tap), "vn0-%.11s", h->dp_segment[i].name);
		manager_datapath_segment(h->m, h->dp_segment[i].name, tap,
					 h->dp_segment[i].has_tap);
	}
	for (size_t i = h->n_dp_ports; i-- > 0;) {
		struct dp_port_status status = h->dp_port[i]; /* it may be told to forget it */

		manager_datapath_port(h->m, &status);
	}
	manager_datapath_hello_end(h->m);
}

void fake_dp_restart(struct fake_host *h)
{
	manager_datapath_lost(h->m, "it hung up");
	h->n_dp_ports = h->n_dp_segments = 0;
	h->dp_up = false;
	fake_run(h, 1000);
	fake_dp_connect(h);
}

void fake_peer(struct fake_host *h, const struct port_key *key, enum port_state state)
{
	ssize_t i = dp_find_port(h, key);

	assert_true(i >= 0);
	h->dp_port[i].state = state;
	h->dp_port[i].peer_pid = state == PORT_READY ? 0 : 4711;
	if (h->m && h->dp_up)
		manager_datapath_port(h->m, &h->dp_port[i]);
}
