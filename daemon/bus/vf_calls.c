/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Methods that take VFs away from ports, or let ports have them again. The manager takes note at once; what comes of
 * it is seen in the ports' devices, and the calls are answered then.
 */
#include "daemon/bus/manager_object.h"

#include <stddef.h>
#include <string.h>

/* A guest has to let go of its VF, or its driver to find it. Shorter than vnicctl waits. */
#define DEADLINE_S 80

/* Is what the call waits for so? 1: yes; 0: not yet; else -errno with @err. */
static int look_at_port(const struct bus_call *call, struct vnic_err *err)
{
	const struct vnic_port *port = manager_port(call->bus->manager, &call->key);
	const struct port_device *d;

	if (!port || port->generation != call->generation)
		return vnic_err_set(err, -ECANCELED, VNIC_E_BUSY,
				    "the port was released meanwhile");
	d = &port->device;
	if (d->hold != call->takes_away)
		return vnic_err_set(err, -ECANCELED, VNIC_E_BUSY,
				    "somebody else asked for the opposite meanwhile");
	if (call->takes_away)
		return d->state == DEVICE_NONE;
	/* A domain that does not run gets it when it does. */
	if (d->state == DEVICE_ATTACHED || (d->state == DEVICE_RESERVED && !port->started))
		return 1;
	if (d->state == DEVICE_NONE && *d->reason)
		return vnic_err_set(err, -ENOTSUP, VNIC_E_NO_PATH,
				    "it gets a VF as soon as it can, but not now: %s", d->reason);
	return 0;
}

/* A port that still has to give a VF back; what is the queue of a guest's virtio NIC stays until its domain ends. */
static const struct vnic_port *holder_of(const struct bus *bus, const char *pf)
{
	for (const struct vnic_port *p = bus->manager->ports; p; p = p->hh.next)
		if (p->device.state != DEVICE_NONE && p->device.state != DEVICE_QUEUE &&
		    str_eq(p->device.pf, pf))
			return p;
	return NULL;
}

static int look_at_nic(const struct bus_call *call, struct vnic_err *err)
{
	const struct nic_share *nic = manager_nic(call->bus->manager, call->pf);

	if (!nic || !nic->drained)
		return vnic_err_set(err, -ECANCELED, VNIC_E_BUSY,
				    "somebody else asked for the opposite meanwhile");
	return !holder_of(call->bus, call->pf);
}

static int look_at(const struct bus_call *call, struct vnic_err *err)
{
	return call->kind == BUS_CALL_DRAIN ? look_at_nic(call, err) : look_at_port(call, err);
}

static bool waits(const struct bus_call *call)
{
	return call->kind == BUS_CALL_DEVICE || call->kind == BUS_CALL_DRAIN;
}

void bus_vf_calls_look(struct bus *bus)
{
	struct bus_call *call = bus->calls;

	while (call) {
		struct vnic_err err = VNIC_ERR_INIT;
		int r = waits(call) ? look_at(call, &err) : 0;

		if (r == 0) {
			call = call->next;
			continue;
		}
		bus_call_reply(call, r < 0 ? &err : NULL, "");
		/* An answer may have freed others. */
		call = bus->calls;
	}
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct bus_call *call = arg;
	struct manager *m = call->bus->manager;
	const struct vnic_port *port = call->kind == BUS_CALL_DRAIN ? holder_of(call->bus, call->pf)
								    : manager_port(m, &call->key);
	struct vnic_err err = VNIC_ERR_INIT;
	char key[PORT_KEY_STR] = "";

	(void)fd;
	(void)what;
	if (port)
		port_key_format(&port->spec.key, key);
	vnic_err_set(&err, -ETIMEDOUT, VNIC_E_TIMEOUT,
		     "not done after %d s, and vnicd goes on trying: the VF of port %s is %s%s%s",
		     DEADLINE_S, key, port ? device_state_str(port->device.state) : "none",
		     port && *port->device.reason ? ": " : "", port ? port->device.reason : "");
	bus_call_reply(call, &err, "");
}

/* Answer now or once it is so. */
static int wait_for_it(struct bus_call *call)
{
	static const struct timeval deadline = { DEADLINE_S, 0 };
	struct bus *bus = call->bus;

	call->deadline = evtimer_new(bus->base, on_deadline, call);
	if (!call->deadline) {
		bus_call_free(call);
		return -ENOMEM;
	}
	event_add(call->deadline, &deadline);
	bus_kick(bus);
	return 1;
}

static int device(sd_bus_message *m, struct bus *bus, bool takes_away, sd_bus_error *error)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct bus_call *call;
	struct port_key key;
	uint64_t generation;
	int r = bus_read_port(m, &key, &generation, &err);

	if (r < 0)
		return bus_error(error, r, &err);
	call = bus_call_new(bus, m, BUS_CALL_DEVICE, error);
	if (!call)
		return -EBUSY;
	call->key = key;
	call->generation = generation;
	call->takes_away = takes_away;
	r = manager_device_hold(bus->manager, &key, generation, takes_away, &err);
	if (r < 0) {
		bus_call_free(call);
		return bus_error(error, r, &err);
	}
	return wait_for_it(call);
}

int bus_device_detach(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return device(m, userdata, true, error);
}

int bus_device_attach(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return device(m, userdata, false, error);
}

/* Of the nic that was found last, which is the one the method was called of. */
static int drain(sd_bus_message *m, void *userdata, bool on, sd_bus_error *error)
{
	struct bus *bus = (struct bus *)((char *)userdata - offsetof(struct bus, nic));
	struct vnic_err err = VNIC_ERR_INIT;
	char pf[DEV_ADDR_MAX];
	struct bus_call *call;
	int r;

	memcpy(pf, bus->nic.pf.addr, sizeof(pf));
	if (!*pf) {
		vnic_err_set(&err, -ENOTSUP, VNIC_E_UNKNOWN_NIC, "%s has no SR-IOV, and so no VFs",
			     bus->nic.link.name);
		return bus_error(error, -ENOTSUP, &err);
	}
	if (!on) {
		r = manager_nic_drain(bus->manager, pf, false, &err);
		return r < 0 ? bus_error(error, r, &err) : sd_bus_reply_method_return(m, "");
	}
	call = bus_call_new(bus, m, BUS_CALL_DRAIN, error);
	if (!call)
		return -EBUSY;
	memcpy(call->pf, pf, sizeof(call->pf));
	r = manager_nic_drain(bus->manager, pf, true, &err);
	if (r < 0) {
		bus_call_free(call);
		return bus_error(error, r, &err);
	}
	return wait_for_it(call);
}

int bus_nic_drain(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return drain(m, userdata, true, error);
}

int bus_nic_undrain(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return drain(m, userdata, false, error);
}
