/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One vhost-user connection on the loop: bytes to messages, replies to bytes.
 *
 * Nothing here blocks, and nothing grows: a front end has one message read at a time, and while an answer
 * to it is owed or cannot be written no further one is read. One that stalls or never reads costs a
 * descriptor and this struct.
 */
#pragma once

#include <stdbool.h>

#include <event2/event.h>

#include "base/err.h"
#include "datapath/vhost/msg.h"

struct vhost_conn;

struct vhost_conn_ops {
	/* Bytes are going to be read; may be NULL. */
	void (*reading)(void *userdata);
	/* vhost_conn_idle() may have become true; may be NULL. */
	void (*idle)(void *userdata);
	/*
	 * A message. Descriptors that are kept are replaced by -1, the others closed afterwards. Must
	 * not free the connection. Negative: it is closed, for the reason in @err.
	 */
	int (*message)(void *userdata, const struct vhost_msg *m, int *fds, struct vnic_err *err);
	/* The connection is over; @fault: the front end broke the protocol. The owner frees it in here. */
	void (*closed)(void *userdata, const char *reason, bool fault);
};

/**
 * vhost_conn_new() - serve a connected socket
 * @fd: non-blocking; belongs to the connection on success
 * Return: 0 or a negative errno.
 */
int vhost_conn_new(struct event_base *base, int fd, const struct vhost_conn_ops *ops,
		   void *userdata, struct vhost_conn **ret);
struct vhost_conn *vhost_conn_free(struct vhost_conn *c);
/* Free it, but do not hang up: somebody else has the socket too. */
struct vhost_conn *vhost_conn_leave(struct vhost_conn *c);
/* Free it, and hang up on the front end; somebody else has the socket too: fd_discard_socket_held(). */
bool vhost_conn_free_held(struct vhost_conn *c);

/* No message is half read, no answer half written. */
bool vhost_conn_idle(const struct vhost_conn *c);

/* Stop reading until vhost_conn_resume(); a hang-up is still seen at once. */
void vhost_conn_pause(struct vhost_conn *c);
void vhost_conn_resume(struct vhost_conn *c);

/* Queue the answer to the last message; at most one is ever owed. */
void vhost_conn_reply(struct vhost_conn *c, const struct vhost_reply *reply);

/* Has the peer closed its end? Asked when somebody else wants the port. */
bool vhost_conn_dead(const struct vhost_conn *c);
