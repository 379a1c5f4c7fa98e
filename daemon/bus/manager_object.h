/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The methods of org.vnicd1.Manager, for its vtable. */
#pragma once

#include "daemon/bus/priv.h"

int bus_reload(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_port_add(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_port_del(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_port_attach(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_port_detach(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_device_attach(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_device_detach(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_domain_check(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_attach_preview(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_plan_preview(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_refresh_counters(sd_bus_message *m, void *userdata, sd_bus_error *error);
