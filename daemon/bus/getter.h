/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Getters of properties that need but one look at a member. */
#pragma once

#include <assert.h>
#include <stdbool.h>

#include "base/str.h"
#include "daemon/bus/priv.h"

/*
 * A function @name for SD_BUS_PROPERTY(): appends @types with the values that follow, in which v is the member, of
 * type @type, at the offset that the vtable gives. What sd-bus can write by itself (numbers of the bus' own sizes)
 * needs no getter at all.
 */
#define BUS_GETTER(name, type, types, ...)                                                  \
	static inline int name(sd_bus *sd, const char *path, const char *interface,         \
			       const char *property, sd_bus_message *reply, void *userdata, \
			       sd_bus_error *error)                                         \
	{                                                                                   \
		const type *v = userdata;                                                   \
                                                                                            \
		(void)sd;                                                                   \
		(void)path;                                                                 \
		(void)interface;                                                            \
		(void)property;                                                             \
		(void)error;                                                                \
		(void)v;                                                                    \
		return sd_bus_message_append(reply, types, __VA_ARGS__);                    \
	}                                                                                   \
	static_assert(true, "the semicolon of BUS_GETTER()")

BUS_GETTER(bus_get_text, char, "s", v);
BUS_GETTER(bus_get_bool, bool, "b", *v);
BUS_GETTER(bus_get_mac, uint8_t, "s", mac_format(v, (char[VNIC_MAC_STR]){ 0 }));
