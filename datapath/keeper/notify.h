/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the keeper tells the service manager: sd_notify(3)'s protocol without its waiting.
 *
 * Theory of operation. A datagram to $NOTIFY_SOCKET is the manager's to work off, also after our death: what
 * is in its queue is safe from our end. libsystemd waits where the queue is full, and so would every guest;
 * here a message waits in a list, with a copy of its descriptor. BARRIER=1 carries a pipe's end that the
 * manager closes when it comes to it: all that was sent before is then done. One barrier is under way at a
 * time. A manager that does not come to it within a second (it reloads, the host is loaded) is not waited
 * for any longer: a front end goes before the certainty that this keeper's end would be unseen.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

struct notify;

/* Something has been confirmed, or is waited for no more. */
typedef void (*notify_fn)(void *userdata);

/**
 * notify_new() - connect with the service manager
 * @address: $NOTIFY_SOCKET: a path, or '@' and an abstract name
 *
 * Return: 0 or a negative errno; -EPROTONOSUPPORT: another kind of address.
 */
int notify_new(struct event_base *base, const char *address, notify_fn confirmed, void *userdata,
	       struct notify **ret);
struct notify *notify_free(struct notify *n);

/**
 * notify_send() - one message
 * @n: NULL: nobody is told
 * @text: as for sd_notify(3)
 * @fd: to go with it, borrowed; -1: none
 */
void notify_send(struct notify *n, const char *text, int fd);

/* Ask whether all that was sent so far has been worked off. Return: the number to ask notify_confirmed() about. */
uint64_t notify_barrier(struct notify *n);
/* Is it, or is there nobody to wait for? */
bool notify_confirmed(const struct notify *n, uint64_t barrier);

/* Does the manager take messages? */
bool notify_alive(const struct notify *n);

/* May the manager lack something, though it is not waited for? */
bool notify_behind(const struct notify *n);

/* Before the end: send what waits; @timeout_ms at most. */
void notify_flush(struct notify *n, int timeout_ms);
