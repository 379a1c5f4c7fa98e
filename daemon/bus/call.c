/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that answer late, bounded in number, and dropped when their callers leave the bus. The bus delivers a
 * caller's message before the news of its end, so none is missed.
 */
#include "daemon/bus/priv.h"

#include <stdlib.h>
#include <string.h>

int bus_error(sd_bus_error *error, int r, const struct vnic_err *err)
{
	char name[sizeof(VNIC_DBUS_ERROR_PREFIX) + VNIC_ERR_CODE_MAX];

	if (r == -ENOMEM && !err->code[0])
		return sd_bus_error_set(error, SD_BUS_ERROR_NO_MEMORY, "vnicd is out of memory");
	snprintf(name, sizeof(name), "%s%s", VNIC_DBUS_ERROR_PREFIX,
		 err->code[0] ? err->code : VNIC_E_INTERNAL);
	return sd_bus_error_set(error, name, err->message[0] ? err->message : strerror(-r));
}

int bus_check_text(const char *field, const char *text, struct vnic_err *err)
{
	size_t n = strlen(text);

	if (n <= BUS_TEXT_MAX)
		return 0;
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
			    "%s has %zu characters; at most %d are taken", field, n, BUS_TEXT_MAX);
}

struct bus_call *bus_call_new(struct bus *bus, sd_bus_message *m, enum bus_call_kind kind,
			      sd_bus_error *error)
{
	const char *sender = sd_bus_message_get_sender(m);
	struct vnic_err err = VNIC_ERR_INIT;
	struct bus_call *call;
	size_t own = 0;

	if (!sender)
		sender = "";
	for (call = bus->calls; call; call = call->next)
		own += !strcmp(call->sender, sender);
	if (own >= BUS_CALLS_PER_SENDER || bus->n_calls >= BUS_CALLS_TOTAL) {
		vnic_err_set(&err, -EBUSY, VNIC_E_LIMIT,
			     "%zu calls wait for an answer, %zu of them of this caller; at most %d "
			     "and %d may. Wait for some of them first",
			     bus->n_calls, own, BUS_CALLS_TOTAL, BUS_CALLS_PER_SENDER);
		bus_error(error, -EBUSY, &err);
		return NULL;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		bus_error(error, -ENOMEM, &err);
		return NULL;
	}
	call->bus = bus;
	call->message = sd_bus_message_ref(m);
	snprintf(call->sender, sizeof(call->sender), "%s", sender);
	call->kind = kind;
	call->next = bus->calls;
	bus->calls = call;
	bus->n_calls++;
	return call;
}

void bus_call_free(struct bus_call *call)
{
	struct bus_call **p = &call->bus->calls;

	while (*p && *p != call)
		p = &(*p)->next;
	if (*p) {
		*p = call->next;
		call->bus->n_calls--;
	}
	if (call->job)
		manager_cancel(call->bus->manager, call->job);
	if (call->op && call->bus->ops.forget)
		call->bus->ops.forget(call->bus->ops.data, call->op);
	if (call->deadline)
		event_free(call->deadline);
	sd_bus_message_unref(call->message);
	free(call->spec);
	free(call);
}

void bus_call_reply(struct bus_call *call, const struct vnic_err *err, const char *types, ...)
{
	struct bus *bus = call->bus;
	va_list ap;

	/* Whoever called us back has ended the operation itself. */
	call->job = NULL;
	call->op = NULL;
	bus_flush(bus);
	if (call->message && err) {
		sd_bus_error e = SD_BUS_ERROR_NULL;

		bus_error(&e, -EIO, err);
		sd_bus_reply_method_error(call->message, &e);
		sd_bus_error_free(&e);
	} else if (call->message) {
		va_start(ap, types);
		sd_bus_reply_method_returnv(call->message, types, ap);
		va_end(ap);
	}
	bus_kick(bus);
	bus_call_free(call);
}

void bus_calls_gone(struct bus *bus, const char *sender)
{
	struct bus_call *next;

	for (struct bus_call *call = bus->calls; call; call = next) {
		next = call->next;
		if (!call->message || (sender && strcmp(call->sender, sender) != 0))
			continue;
		call->message = sd_bus_message_unref(call->message);
		if (call->kind == BUS_CALL_ADD || call->kind == BUS_CALL_COUNTERS)
			bus_call_free(call);
	}
}

static void counters_end(struct bus *bus)
{
	struct bus_call *next;

	for (struct bus_call *call = bus->calls; call; call = next) {
		next = call->next;
		if (call->kind == BUS_CALL_COUNTERS && call->in_round)
			bus_call_reply(call, NULL, "");
	}
	/* Those who asked while that round was under way want younger ones. */
	for (struct bus_call *call = bus->calls; call; call = call->next)
		if (call->kind == BUS_CALL_COUNTERS) {
			bus_counters_begin(bus);
			return;
		}
}

static void on_counters(void *arg, int error, const struct vnic_err *err)
{
	struct bus *bus = arg;

	(void)error;
	(void)err;
	if (--bus->counters_due == 0)
		counters_end(bus);
}

void bus_counters_begin(struct bus *bus)
{
	struct vnic_port *port, *next;

	if (bus->counters_due)
		return;
	for (struct bus_call *call = bus->calls; call; call = call->next)
		call->in_round = call->in_round || call->kind == BUS_CALL_COUNTERS;
	/* One more than there are ports, so that the round ends once, and after all were asked. */
	bus->counters_due = 1;
	for (port = bus->manager->ports; port; port = next) {
		next = port->hh.next;
		bus->counters_due++;
		manager_port_counters(bus->manager, &port->spec.key, on_counters, bus);
	}
	on_counters(bus, 0, NULL);
}
