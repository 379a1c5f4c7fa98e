/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/stopped.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#define SYSTEMD	  "org.freedesktop.systemd1"
#define CALL_USEC 500000

static void release_bus(sd_bus **bus)
{
	sd_bus_flush_close_unref(*bus);
}

static void release_message(sd_bus_message **m)
{
	sd_bus_message_unref(*m);
}

/* The kind of the job that our unit has, org.freedesktop.systemd1(5): "stop", "restart", …; to be freed. */
static int job_type(sd_bus *bus, char **ret)
{
	_cleanup_(release_message) sd_bus_message *unit = NULL, *job = NULL;
	const char *path;
	uint32_t id = 0;
	int r;

	r = sd_bus_call_method(bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager",
			       "GetUnitByPID", NULL, &unit, "u", 0);
	if (r >= 0)
		r = sd_bus_message_read(unit, "o", &path);
	if (r >= 0)
		r = sd_bus_get_property(bus, SYSTEMD, path, SYSTEMD ".Unit", "Job", NULL, &job,
					"(uo)");
	if (r >= 0)
		r = sd_bus_message_read(job, "(uo)", &id, &path);
	if (r >= 0 && id == 0)
		return -ENOENT;
	return r < 0 ? r
		     : sd_bus_get_property_string(bus, SYSTEMD, path, SYSTEMD ".Job", "JobType",
						  NULL, ret);
}

bool stopped_for_good(void)
{
	_cleanup_(release_bus) sd_bus *bus = NULL;
	_cleanup_(freep) char *type = NULL;
	int r;

	if (sd_booted() <= 0)
		return false;
	r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, CALL_USEC);
	if (r >= 0)
		r = job_type(bus, &type);
	if (r < 0 && r != -ENOENT)
		log_debug("whether this is a restart cannot be known: %s", strerror(-r));
	return r >= 0 && str_eq(type, "stop");
}
