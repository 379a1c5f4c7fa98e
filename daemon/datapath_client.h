/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vnicd's end of api/datapath-control.md: one connection to the keeper, kept up for ever, on the loop and
 * without ever waiting. What the keeper says is checked; what makes no sense costs it the connection.
 */
#pragma once

#include <json-c/json.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "daemon/datapath_msg.h"
#include "daemon/sys/loop.h"

struct dp_client;

/* In the order in which they come: hello, segment and port for each, hello_end, then port and worker. */
struct dp_client_ops {
	void (*hello)(void *userdata, pid_t keeper);
	void (*segment)(void *userdata, const char *name, const char *tap, bool has_tap);
	void (*port)(void *userdata, const struct dp_port_status *status);
	void (*hello_end)(void *userdata);
	void (*worker)(void *userdata, const struct dp_worker_event *event);
	/* The connection is gone, or there was none to begin with (told once); it is tried again. */
	void (*lost)(void *userdata, const char *reason);
};

/**
 * dp_client_new() - connect to @file, now and whenever the connection is lost
 * Callbacks come from the loop, or from within dp_client_call().
 */
int dp_client_new(struct loop *loop, const char *file, const struct dp_client_ops *ops,
		  void *userdata, struct dp_client **ret);
/* Requests under way are forgotten: nothing is called any more. */
struct dp_client *dp_client_free(struct dp_client *client);
DEFINE_CLEANUP(struct dp_client *, dp_client_free)

/**
 * dp_done_fn - a request's end
 * @error: 0; -ENOTCONN (DatapathDown) where the connection was lost or is not there; -ETIMEDOUT after 10 s;
 *	-ESTALE, -EBUSY, -ENOENT, -ENOSPC, -EINVAL as the keeper's code says, -EIO for others
 * @err: the keeper's words; NULL for success
 * @answer: the whole answer of a success, else NULL
 */
typedef void (*dp_done_fn)(void *arg, int error, const struct vnic_err *err,
			   struct json_object *answer);

/**
 * dp_client_call() - send a request
 * @request: with its "op" and fields; id is added. Taken over.
 * @fd: a descriptor to go with it, or -1; stays the caller's, who may close it at once
 * @done: called exactly once, possibly before this returns; NULL where nobody wants to know
 */
void dp_client_call(struct dp_client *client, const char *op, struct json_object *request, int fd,
		    dp_done_fn done, void *arg);

/**
 * dp_client_port_del() - the datapath is to have no port of this key
 * @generation: as vnicd knows it. Where the keeper's is newer, another vnicd made it whose records are lost, and
 *	ours say that it is not to be: it is deleted as what it is. The caller has no other port of this key.
 * @done: as for dp_client_call(); never with -ESTALE where the keeper says which generation it has
 */
void dp_client_port_del(struct dp_client *client, const char *key, uint64_t generation,
			dp_done_fn done, void *arg);

bool dp_client_connected(const struct dp_client *client);
