/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a port's front ends come from: a listening socket, or one that we connect to again and again. */
#pragma once

#include <stdbool.h>

#include <event2/event.h>

#include "base/err.h"

struct listener;

/**
 * typedef listener_fn - somebody came
 * @fd: non-blocking, close-on-exec; belongs to the callee
 * Return: false where it was turned away; the next one is then looked at after a pause.
 */
typedef bool (*listener_fn)(void *userdata, int fd);

/**
 * listener_new_server() - accept on @fd, which then belongs to the listener
 */
int listener_new_server(struct event_base *base, int fd, listener_fn fn, void *userdata,
			struct listener **ret);

/**
 * listener_new_client() - connect to the socket @file, once a second until it works
 *
 * listener_again() begins anew after a hang-up.
 */
int listener_new_client(struct event_base *base, const char *file, listener_fn fn, void *userdata,
			struct listener **ret);
void listener_again(struct listener *l);

/* Look at the next one after a pause: whoever was here last misbehaved, and may do so again and again. */
void listener_pause(struct listener *l);

/* The listening socket, borrowed; -1 in client mode. */
int listener_fd(const struct listener *l);
struct listener *listener_free(struct listener *l);
/* Free it, but leave those who wait to somebody else who has the socket. */
struct listener *listener_leave(struct listener *l);

/**
 * listener_check() - may listener_new_server() have this descriptor?
 * Return: 0 or -EINVAL with @err.
 */
int listener_check(int fd, struct vnic_err *err);
