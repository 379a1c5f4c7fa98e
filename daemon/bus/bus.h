/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vnicd on the system bus (api/org.vnicd1.*.xml). Objects are not kept here: they are read from manager and
 * inventory when somebody asks. What is kept is what was last told, so that a signal names what changed.
 *
 * Who may call is the bus policy's matter (data/org.vnicd1.conf): without that file the bus lets nobody own
 * the name either, so there is no way to run without it. Asking the bus for a caller's credentials would
 * block the loop.
 */
#pragma once

#include <stdbool.h>

#include <event2/event.h>
#include <json-c/json.h>

#include "base/err.h"
#include "daemon/core/manager.h"

struct bus;

/* @err NULL: success. @key: of attach; @findings: of check, an array in the form of api/libvirt-helper.md. */
typedef void (*bus_op_done)(void *arg, const struct vnic_err *err, const struct port_key *key,
			    struct json_object *findings);

/**
 * struct bus_ops - what the objects need from the wiring
 *
 * The operations on domains return a handle and call @done once, later, never from within; NULL where
 * memory is out. bus_ops may leave them NULL: the methods then answer LibvirtFailed.
 *
 * @reload: read the configuration again; at once
 * @port_attach: @spec has no UUID yet, nor a name or MAC where the caller gave none (zero); @look_only: is the domain
 *	fit for it? Then @key has what it would be, and nothing is done
 * @forget: do not call @done of this operation any more; it goes on if it cannot be taken back
 * @connected: the connection came up (reason NULL), or went or could not be made (why); for the log
 */
struct bus_ops {
	void *data;
	int (*reload)(void *data, struct vnic_err *err);
	void *(*port_attach)(void *data, const char *domain, const struct port_spec *spec,
			     bool look_only, bus_op_done done, void *arg);
	void *(*port_detach)(void *data, const char *domain, const uint8_t mac[VNIC_MAC_LEN],
			     bus_op_done done, void *arg);
	void *(*domain_check)(void *data, const char *domain, bus_op_done done, void *arg);
	void (*forget)(void *data, void *op);
	void (*connected)(void *data, const char *reason);
};

/**
 * bus_new() - connect to the system bus, now and whenever it comes back
 * @ops: copied
 *
 * Never fails for want of a bus: it is retried every second.
 * Return: 0 or -ENOMEM.
 */
int bus_new(struct event_base *base, struct manager *manager, const struct bus_ops *ops,
	    struct bus **ret);
/* Leaves the bus; pending calls are cancelled as if their callers had gone. Before manager_free(). */
struct bus *bus_free(struct bus *bus);
