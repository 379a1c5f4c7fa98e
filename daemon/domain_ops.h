/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What takes libvirt and the manager: plugging a NIC into a running domain and pulling it, and judging a
 * domain's XML. Each is a chain of steps that wait for one of the two.
 */
#pragma once

#include "daemon/bus/bus.h"
#include "daemon/core/manager.h"
#include "daemon/libvirt_client.h"

struct domain_ops;

int domain_ops_new(struct manager *manager, struct libvirt_client *client, struct domain_ops **ret);
/* After the client and before the manager is freed: nobody is called back any more. */
struct domain_ops *domain_ops_free(struct domain_ops *ops);

/* As struct bus_ops has them; @data is the struct domain_ops. */
void *domain_attach(void *data, const char *domain, const struct port_spec *spec, bool look_only,
		    bus_op_done done, void *arg);
void *domain_detach(void *data, const char *domain, const uint8_t mac[VNIC_MAC_LEN],
		    bus_op_done done, void *arg);
void *domain_check(void *data, const char *domain, bus_op_done done, void *arg);
void domain_forget(void *data, void *op);
