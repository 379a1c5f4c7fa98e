/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open vSwitch's part of the inventory: its bridges and their ports, as its database says, followed by updates. A
 * host without Open vSwitch costs a connect() every few seconds.
 */
#pragma once

#include "base/cleanup.h"
#include "daemon/model/link.h"
#include "daemon/sys/loop.h"

struct ovs_watch;

/**
 * ovs_watch_new()
 * @socket: of ovsdb-server
 * @changed: inv->ovs has changed, or what is known of it is known to be of the past
 * @settled: once: it is known whether there is an Open vSwitch and, where there is, how it stands
 */
int ovs_watch_new(struct loop *loop, const char *socket, struct inventory *inv,
		  void (*changed)(void *userdata), void (*settled)(void *userdata), void *userdata,
		  struct ovs_watch **ret);
struct ovs_watch *ovs_watch_free(struct ovs_watch *watch);
DEFINE_CLEANUP(struct ovs_watch *, ovs_watch_free)
