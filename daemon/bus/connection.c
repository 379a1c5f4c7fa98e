/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. sd-bus tells which descriptor, which events and which timeout it waits for, anew
 * after whatever it did; rearm() hands them to libevent. The io event processes a few messages and arms
 * itself again, so that a flood of them does not starve the rest of the loop. What others send from
 * outside of that (signals, late answers) goes through bus_kick(), which makes the loop look again.
 *
 * A connection that breaks is dropped as a whole, with the calls whose callers it carried, and a new one is
 * tried every second. Nothing here waits for the bus: name and match are requested asynchronously.
 */
#include "daemon/bus/priv.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BURST	   32
#define RETRY_S	   1
#define PATIENCE_S 5
#define QUEUE_MAX  4096 /* messages */

static void bus_lost(struct bus *bus, const char *reason);

void bus_kick(struct bus *bus)
{
	event_active(bus->kick, EV_TIMEOUT, 0);
}

/* sd-bus' timeout is a time of CLOCK_MONOTONIC, libevent's a duration. */
static struct timeval until(uint64_t usec)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	usec = usec > now ? usec - now : 0;
	return (struct timeval){ (time_t)(usec / 1000000), (suseconds_t)(usec % 1000000) };
}

static void on_io(evutil_socket_t fd, short what, void *arg);

static int rearm(struct bus *bus)
{
	int fd = sd_bus_get_fd(bus->sd), events = sd_bus_get_events(bus->sd);
	struct timeval tv;
	uint64_t usec;
	short what = 0;
	int r;

	if (fd < 0 || events < 0)
		return fd < 0 ? fd : events;
	r = sd_bus_get_timeout(bus->sd, &usec);
	if (r < 0)
		return r;
	if (events & POLLIN)
		what |= EV_READ;
	if (events & POLLOUT)
		what |= EV_WRITE;
	event_del(bus->io);
	event_assign(bus->io, bus->base, fd, what, on_io, bus);
	if (usec == UINT64_MAX)
		return event_add(bus->io, NULL);
	tv = until(usec);
	return event_add(bus->io, &tv);
}

/* A bus that does not read what we send: giving the connection up bounds our memory. */
static bool bus_is_stuck(const struct bus *bus)
{
	uint64_t n;

	return sd_bus_get_n_queued_write(bus->sd, &n) >= 0 && n > QUEUE_MAX;
}

static void process(struct bus *bus)
{
	int r = 1;

	for (int i = 0; bus->sd && i < BURST && r > 0; i++)
		r = sd_bus_process(bus->sd, NULL);
	if (!bus->sd)
		return;
	if (r >= 0 && bus_is_stuck(bus)) {
		bus_lost(bus, "the bus does not take what is sent to it");
		return;
	}
	if (r >= 0)
		r = sd_bus_is_open(bus->sd) > 0 && !bus->broken ? rearm(bus) : -ENOTCONN;
	if (r < 0)
		bus_lost(bus, strerror(-r));
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	process(arg);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct bus *bus = arg;

	(void)fd;
	(void)what;
	bus_flush(bus);
	bus_vf_calls_look(bus);
	if (bus->sd)
		process(bus);
}

static void tell(struct bus *bus, const char *reason)
{
	if (reason && bus->told_lost)
		return;
	bus->told_lost = reason != NULL;
	if (bus->ops.connected)
		bus->ops.connected(bus->ops.data, reason);
}

static void bus_lost(struct bus *bus, const char *reason)
{
	static const struct timeval retry = { RETRY_S, 0 };

	event_del(bus->io);
	bus->named = false;
	bus->broken = false;
	bus_calls_gone(bus, NULL);
	bus->sd = sd_bus_close_unref(bus->sd);
	event_add(bus->retry, &retry);
	tell(bus, reason);
}

/* A client left the bus: what it waits for is not wanted any more. */
static int on_name_lost(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *name;

	(void)error;
	if (sd_bus_message_read(m, "s", &name) >= 0 && name[0] == ':')
		bus_calls_gone(userdata, name);
	return 0;
}

static int on_name(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const sd_bus_error *e = sd_bus_message_get_error(m);
	struct bus *bus = userdata;
	uint32_t code = 0;

	(void)error;
	if (!e)
		sd_bus_message_read(m, "u", &code);
	/* 1: primary owner, 4: already it */
	bus->named = code == 1 || code == 4;
	if (bus->named) {
		tell(bus, NULL);
		return 0;
	}
	/* The retry asks again. sd-bus ignores what is returned here. */
	tell(bus, e ? e->message : "the name org.vnicd1 is taken by another process");
	bus->broken = true;
	return 0;
}

static int add_objects(struct bus *bus)
{
	int r = sd_bus_add_object_manager(bus->sd, NULL, BUS_ROOT);

	if (r >= 0)
		r = sd_bus_add_object_vtable(bus->sd, NULL, BUS_ROOT, BUS_I_MANAGER,
					     bus_manager_vtable, bus);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(bus->sd, NULL, BUS_NICS, BUS_I_NIC, bus_nic_vtable,
					       bus_nic_find, bus);
	if (r >= 0)
		r = sd_bus_add_node_enumerator(bus->sd, NULL, BUS_NICS, bus_nic_list, bus);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(bus->sd, NULL, BUS_PORTS, BUS_I_PORT,
					       bus_port_vtable, bus_port_find, bus);
	if (r >= 0)
		r = sd_bus_add_node_enumerator(bus->sd, NULL, BUS_PORTS, bus_port_list, bus);
	return r;
}

static int connect_bus(struct bus *bus)
{
	static const char gone[] = "type='signal',sender='org.freedesktop.DBus',"
				   "path='/org/freedesktop/DBus',"
				   "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
				   "arg2=''";
	int r = sd_bus_open_system_with_description(&bus->sd, "vnicd");

	if (r < 0)
		return r;
	r = add_objects(bus);
	if (r >= 0)
		r = sd_bus_add_match_async(bus->sd, NULL, gone, on_name_lost, NULL, bus);
	if (r >= 0)
		r = sd_bus_request_name_async(bus->sd, NULL, BUS_NAME, 0, on_name, bus);
	return r;
}

/* A bus that takes the connection and then says nothing: whoever waits for us is told to go on without. */
static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	struct bus *bus = arg;

	(void)fd;
	(void)what;
	if (!bus->named)
		tell(bus, "the bus does not answer");
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval patience = { PATIENCE_S, 0 };
	struct bus *bus = arg;
	int r = connect_bus(bus);

	(void)fd;
	(void)what;
	event_add(bus->patience, &patience);
	if (r < 0)
		bus_lost(bus, strerror(-r));
	else
		process(bus);
}

int bus_new(struct event_base *base, struct manager *manager, const struct bus_ops *ops,
	    struct bus **ret)
{
	static const struct timeval now = { 0, 0 };
	struct bus *bus = calloc(1, sizeof(*bus));
	int r = -ENOMEM;

	if (!bus)
		return -ENOMEM;
	bus->base = base;
	bus->manager = manager;
	bus->ops = *ops;
	bus->io = event_new(base, -1, 0, on_io, bus);
	bus->retry = evtimer_new(base, on_retry, bus);
	bus->patience = evtimer_new(base, on_patience, bus);
	bus->kick = event_new(base, -1, 0, on_kick, bus);
	if (bus->io && bus->retry && bus->patience && bus->kick)
		r = bus_watch_start(bus);
	if (r < 0) {
		bus_free(bus);
		return r;
	}
	event_add(bus->retry, &now);
	*ret = bus;
	return 0;
}

struct bus *bus_free(struct bus *bus)
{
	if (!bus)
		return NULL;
	bus_calls_gone(bus, NULL);
	while (bus->calls)
		bus_call_free(bus->calls);
	bus_watch_stop(bus);
	sd_bus_close_unref(bus->sd); /* without a flush, which could block */
	if (bus->io)
		event_free(bus->io);
	if (bus->retry)
		event_free(bus->retry);
	if (bus->patience)
		event_free(bus->patience);
	if (bus->kick)
		event_free(bus->kick);
	free(bus);
	return NULL;
}
