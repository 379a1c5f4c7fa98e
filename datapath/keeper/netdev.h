/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stand-alone: a netdev as the uplink, followed by name. It may go down, be renamed or deleted: the ports go on among
 * themselves, --stats says what it is, and a netdev of the name that comes back is the uplink again. Managed, vnicd
 * knows the netdev, and passes another socket.
 */
#pragma once

#include "datapath/keeper/keeper.h"

struct netdev;

/**
 * netdev_new() - make @name the uplink of @s
 * Return: 0 or a negative errno with @err set to a sentence: there is no such netdev, or no right to it.
 */
int netdev_new(struct segment *s, const char *name, int32_t cpu, struct netdev **ret,
	       struct vnic_err *err);
struct netdev *netdev_free(struct netdev *n);
