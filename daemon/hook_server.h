/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket that libvirt's hooks talk to: api/hook.md. */
#pragma once

#include "base/cleanup.h"
#include "daemon/core/manager.h"
#include "daemon/sys/loop.h"

struct hook_server;

/**
 * hook_server_new() - listen on @file, without answering yet
 * Only root may ask (the file's mode and the peer's uid say so). The manager must outlive the server.
 */
int hook_server_new(struct loop *loop, struct manager *manager, const char *file,
		    struct hook_server **ret);
/* Answer from now on, since the manager knows its ports; those who came before have waited in the queue. */
void hook_server_start(struct hook_server *server);
/* Hangs up on everybody, which cancels nothing: what was asked for stays as far as it came. */
struct hook_server *hook_server_free(struct hook_server *server);
DEFINE_CLEANUP(struct hook_server *, hook_server_free)
