/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/bus and daemon/core on the real bus, with links that are played: a sandbox has no nics. There are no ports.
 * Reads words from stdin, one command a line, and ends with it:
 *
 *	link NAME IFINDEX KIND MASTER up|down
 *	unlink IFINDEX
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "daemon/bus/bus.h"

struct fake {
	struct event_base *base;
	struct event *wake;
	struct inventory inv;
	struct manager *manager;
	struct bus *bus;
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

	if (!config || !s)
		abort();
	snprintf(s->name, sizeof(s->name), "lan");
	snprintf(s->bridge, sizeof(s->bridge), "br0");
	s->place = (struct config_place){ "vnicd.conf", 1 };
	config_add_segment(config, s);
	return config;
}

static void command(struct fake *f, char *line)
{
	char *word[8] = { 0 };
	int n = 0;

	for (char *p = strtok(line, " \n"); p && n < 7; p = strtok(NULL, " \n"))
		word[n++] = p;
	if (n == 6 && !strcmp(word[0], "link"))
		set_link(f, word[1], atoi(word[2]),
			 !strcmp(word[3], "bridge") ? LINK_BRIDGE : LINK_PHYSICAL, atoi(word[4]),
			 !strcmp(word[5], "up"));
	else if (n == 2 && !strcmp(word[0], "unlink")) {
		if (inventory_remove(&f->inv, atoi(word[1])))
			manager_link_changed(f->manager, atoi(word[1]));
	} else if (n)
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
	struct fake f = { .base = NULL };
	const struct manager_io io = {
		.data = &f, .now = fake_now, .realtime = fake_realtime, .wake_at = fake_wake_at
	};
	struct bus_ops ops = { .data = &f, .connected = fake_connected };
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
