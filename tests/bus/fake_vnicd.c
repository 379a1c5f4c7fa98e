/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/bus and daemon/core on the real bus, over an outside that is played: for what the real daemon does not
 * do on demand, like steps that take long or fail. Reads words from stdin, one command a line, and ends with it:
 *
 *	step-ms N	each step takes that long from now on
 *	fail KIND	steps of this kind fail from now on ("-": none)
 *	link NAME IFINDEX KIND MASTER up|down
 *	unlink IFINDEX
 *	datapath up|down
 *	state KEY STATE	the datapath tells this of a port
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "daemon/bus/bus.h"
#include "daemon/core/path_software.h"

#define TAP 1000 /* the tap's ifindex */

struct fake {
	struct event_base *base;
	struct event *wake;
	struct inventory inv;
	struct manager *manager;
	struct bus *bus;
	int step_ms;
	char fail[32];
	uint64_t rx_packets;
};

/* A step, an undo or a fetch of counters under way */
struct later {
	struct event *event;
	struct fake *fake;
	manager_step_done done;
	void *arg;
	int error;
	struct port_key key;
	bool counters;
	bool undo;
	struct step step; /* kind 0: none */
};

static uint64_t clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t fake_now(void *data)
{
	(void)data;
	return clock_us(CLOCK_MONOTONIC);
}

static uint64_t fake_realtime(void *data)
{
	(void)data;
	return clock_us(CLOCK_REALTIME);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct fake *f = arg;

	(void)fd;
	(void)what;
	manager_wake(f->manager);
}

static void fake_wake_at(void *data, uint64_t when)
{
	struct fake *f = data;
	uint64_t now = clock_us(CLOCK_MONOTONIC), us = when > now ? when - now : 0;
	struct timeval tv = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) };

	evtimer_del(f->wake);
	if (when != UINT64_MAX)
		evtimer_add(f->wake, &tv);
}

static void set_link(struct fake *f, const char *name, int ifindex, enum link_kind kind, int master,
		     bool up)
{
	struct vnic_link link = { .ifindex = ifindex,
				  .kind = kind,
				  .master = master,
				  .mtu = 1500,
				  .up = up,
				  .carrier = up,
				  .mac = { 2, 0, 0, 0, 0, (uint8_t)ifindex },
				  .numa_node = -1,
				  .sriov_totalvfs = -1,
				  .sriov_numvfs = -1 };

	snprintf(link.name, sizeof(link.name), "%s", name);
	if (kind == LINK_PHYSICAL)
		snprintf(link.bus, sizeof(link.bus), "pci");
	if (inventory_upsert(&f->inv, &link) > 0 && f->manager)
		manager_link_changed(f->manager, ifindex);
}

/* The kernel's part: what a step on the tap does shows in the inventory. */
static void play_kernel(struct fake *f, const struct step *step, bool undo)
{
	const struct vnic_link *old = inventory_find(&f->inv, TAP);
	struct vnic_link link = { 0 };

	if (undo && step->kind == STEP_TAP_CREATE) {
		inventory_remove(&f->inv, TAP);
		manager_link_changed(f->manager, TAP);
		return;
	}
	if (step->kind == STEP_TAP_CREATE)
		set_link(f, step->ifname, TAP, LINK_TAP, 0, false);
	if (!old || undo || step->ifindex != TAP)
		return;
	link = *old;
	if (step->kind == STEP_LINK_MASTER)
		link.master = step->master;
	else if (step->kind == STEP_LINK_MTU)
		link.mtu = step->mtu;
	else if (step->kind == STEP_LINK_UP)
		link.up = link.carrier = true;
	if (inventory_upsert(&f->inv, &link) > 0)
		manager_link_changed(f->manager, TAP);
}

static void tell_datapath_port(struct fake *f, const struct port_key *key, enum port_state state)
{
	struct vnic_port *port = manager_port(f->manager, key);
	struct dp_port_status s = { .key = *key, .state = state, .has_listener = true };

	if (!port)
		return;
	s.generation = port->generation;
	s.peer_pid = state == PORT_READY ? 0 : 4711;
	s.queues_active = state == PORT_RUNNING ? port->queues : 0;
	s.counters.rx_packets = f->rx_packets;
	manager_datapath_port(f->manager, &s);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct later *l = arg;
	struct vnic_err err = VNIC_ERR_INIT;
	struct vnic_port *port;

	(void)fd;
	(void)what;
	if (l->counters) {
		port = manager_port(l->fake->manager, &l->key);
		l->fake->rx_packets++;
		if (port)
			tell_datapath_port(l->fake, &l->key, port->state);
	}
	if (l->error)
		vnic_err_set(&err, l->error, VNIC_E_STEP_FAILED, "the step was told to fail");
	else if (l->step.kind)
		play_kernel(l->fake, &l->step, l->undo);
	l->done(l->arg, l->error, l->error ? &err : NULL);
	event_free(l->event);
	free(l);
}

static struct later *later(struct fake *f, int ms, manager_step_done done, void *arg)
{
	struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };
	struct later *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->fake = f;
	l->done = done;
	l->arg = arg;
	l->event = evtimer_new(f->base, on_later, l);
	evtimer_add(l->event, &tv);
	return l;
}

static int fake_probe(void *data, struct step *step, struct vnic_err *err)
{
	(void)data;
	(void)err;
	step->has_prev = true;
	return 0;
}

static void fake_do(void *data, struct step *step, const struct vnic_segment *segment,
		    const struct vnic_port *port, manager_step_done done, void *arg)
{
	struct fake *f = data;
	struct later *l = later(f, f->step_ms, done, arg);

	(void)segment;
	(void)port;
	if (!strcmp(step_kind_str(step->kind), f->fail))
		l->error = -EIO;
	else if (step->kind == STEP_TAP_CREATE)
		step->ifindex = TAP;
	l->step = *step;
}

static void fake_undo(void *data, struct step *step, const struct vnic_segment *segment,
		      const struct vnic_port *port, manager_step_done done, void *arg)
{
	struct later *l = later(data, 0, done, arg);

	(void)segment;
	(void)port;
	l->undo = true;
	l->step = *step;
}

static void fake_forget(void *data, const struct port_key *key, uint64_t generation)
{
	(void)data;
	(void)key;
	(void)generation;
}

static void fake_counters(void *data, const struct port_key *key, manager_step_done done, void *arg)
{
	struct later *l = later(data, 0, done, arg);

	l->counters = true;
	l->key = *key;
}

static int fake_record_port(void *data, const struct vnic_port *port)
{
	(void)data;
	(void)port;
	return 0;
}

static int fake_erase_port(void *data, const struct port_key *key)
{
	(void)data;
	(void)key;
	return 0;
}

static int fake_record_shared(void *data, const char *segment, const struct plan *plan)
{
	(void)data;
	(void)segment;
	(void)plan;
	return 0;
}

static int fake_erase_shared(void *data, const char *segment)
{
	(void)data;
	(void)segment;
	return 0;
}

static int fake_alive(void *data, const char *pidfile)
{
	(void)data;
	(void)pidfile;
	return 1;
}

static int fake_reload(void *data, struct vnic_err *err)
{
	(void)data;
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_CONFIG, "vnicd.conf:3: played error");
}

static void fake_connected(void *data, const char *reason)
{
	(void)data;
	printf("%s\n", reason ? reason : "connected");
	fflush(stdout);
}

static struct vnic_config *make_config(void)
{
	struct vnic_config *config = config_new();
	struct vnic_segment *s = calloc(1, sizeof(*s));
	struct vnic_class *c = calloc(1, sizeof(*c));

	if (!config || !s || !c)
		abort();
	snprintf(s->name, sizeof(s->name), "lan");
	snprintf(s->bridge, sizeof(s->bridge), "br0");
	snprintf(s->uplink[s->n_uplinks++], IFNAMSIZ, "eth0");
	s->cores[s->n_cores++] = 1;
	s->place = (struct config_place){ "vnicd.conf", 1 };
	config_add_segment(config, s);
	snprintf(c->name, sizeof(c->name), "gold");
	snprintf(c->segment, sizeof(c->segment), "lan");
	c->paths.path[0] = VNIC_PATH_SOFTWARE;
	vlan_set_parse("0,10-20", &c->vlans);
	c->weight = 100;
	c->queues = 4;
	c->spoofchk = true;
	c->numa_node = -1;
	c->place = (struct config_place){ "vnicd.conf", 4 };
	config_add_class(config, c);
	return config;
}

static void command(struct fake *f, char *line)
{
	char *word[8] = { 0 };
	int n = 0;
	struct port_key key;
	enum port_state state;

	for (char *p = strtok(line, " \n"); p && n < 7; p = strtok(NULL, " \n"))
		word[n++] = p;
	if (n == 2 && !strcmp(word[0], "step-ms"))
		f->step_ms = atoi(word[1]);
	else if (n == 2 && !strcmp(word[0], "fail"))
		snprintf(f->fail, sizeof(f->fail), "%s", word[1]);
	else if (n == 6 && !strcmp(word[0], "link"))
		set_link(f, word[1], atoi(word[2]),
			 !strcmp(word[3], "bridge") ? LINK_BRIDGE : LINK_PHYSICAL, atoi(word[4]),
			 !strcmp(word[5], "up"));
	else if (n == 2 && !strcmp(word[0], "unlink")) {
		if (inventory_remove(&f->inv, atoi(word[1])))
			manager_link_changed(f->manager, atoi(word[1]));
	} else if (n == 2 && !strcmp(word[0], "datapath")) {
		if (!strcmp(word[1], "down")) {
			manager_datapath_lost(f->manager, "played loss");
		} else {
			manager_datapath_hello(f->manager);
			manager_datapath_hello_end(f->manager);
		}
	} else if (n == 3 && !strcmp(word[0], "state") && port_key_parse(word[1], &key) == 0 &&
		   port_state_parse(word[2], &state) == 0)
		tell_datapath_port(f, &key, state);
	else if (n)
		printf("unknown command\n");
	printf("ok\n");
	fflush(stdout);
}

static void on_stdin(evutil_socket_t fd, short what, void *arg)
{
	static char buf[4096];
	static size_t have;
	struct fake *f = arg;
	ssize_t n = read(fd, buf + have, sizeof(buf) - 1 - have);
	char *end;

	(void)what;
	if (n <= 0) {
		event_base_loopbreak(f->base);
		return;
	}
	have += (size_t)n;
	buf[have] = '\0';
	while ((end = strchr(buf, '\n'))) {
		size_t used = (size_t)(end - buf) + 1;

		*end = '\0';
		command(f, buf);
		memmove(buf, buf + used, have - used + 1);
		have -= used;
	}
}

int main(void)
{
	struct fake f = { .step_ms = 0 };
	struct manager_io io = { &f,
				 fake_now,
				 fake_realtime,
				 fake_wake_at,
				 fake_probe,
				 fake_do,
				 fake_undo,
				 fake_forget,
				 fake_counters,
				 fake_record_port,
				 fake_erase_port,
				 fake_record_shared,
				 fake_erase_shared,
				 fake_alive };
	struct bus_ops ops = { .data = &f, .reload = fake_reload, .connected = fake_connected };
	struct event *in;

	f.base = event_base_new();
	f.wake = evtimer_new(f.base, on_wake, &f);
	inventory_init(&f.inv);
	set_link(&f, "br0", 3, LINK_BRIDGE, 0, true);
	set_link(&f, "eth0", 2, LINK_PHYSICAL, 3, true);
	f.inv.complete = true;
	f.manager = manager_new(&io, make_config(), &f.inv);
	if (!f.manager || bus_new(f.base, f.manager, &ops, &f.bus) < 0)
		return 1;
	manager_start(f.manager);
	manager_datapath_hello(f.manager);
	manager_datapath_hello_end(f.manager);
	in = event_new(f.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_stdin, &f);
	event_add(in, NULL);
	event_base_dispatch(f.base);
	event_free(in);
	bus_free(f.bus);
	manager_free(f.manager);
	inventory_deinit(&f.inv);
	event_free(f.wake);
	event_base_free(f.base);
	return 0;
}
