/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's one loop: thin helpers on libevent. Sources are objects that their owner frees; none
 * is ever freed behind its owner's back, and freeing one from its own callback is fine.
 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

struct event_base;
struct loop;
struct loop_source;

#define LOOP_READ  1u
#define LOOP_WRITE 2u

/* @events: LOOP_READ and LOOP_WRITE as they apply; a hang-up reads as LOOP_READ. */
typedef void (*loop_io_fn)(void *userdata, int fd, unsigned int events);
typedef void (*loop_fn)(void *userdata);
typedef void (*loop_signal_fn)(void *userdata, int signo);

int loop_new(struct loop **ret);
/* Frees the loop; its sources must be gone. Takes NULL, returns NULL. */
struct loop *loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop *, loop_free)

/* For libraries that bring their own events, as sd-bus does. */
struct event_base *loop_base(struct loop *loop);

/**
 * loop_run() - dispatch until loop_exit()
 * Return: the code given to loop_exit(), or -EIO where libevent gave up.
 */
int loop_run(struct loop *loop);
void loop_exit(struct loop *loop, int code);

/* Dispatch what is ready now, without waiting: for tests. */
int loop_once(struct loop *loop);

/**
 * loop_add_io() - call @fn whenever @fd is ready
 * @events: LOOP_READ, LOOP_WRITE or both
 * The descriptor stays the caller's, who frees the source before closing it.
 */
int loop_add_io(struct loop *loop, int fd, unsigned int events, loop_io_fn fn, void *userdata,
		struct loop_source **ret);
/* Change what an io source waits for; 0 pauses it. */
int loop_io_events(struct loop_source *source, unsigned int events);

/**
 * loop_add_answer() - call @fn once: when @fd is readable, or when @usec have passed
 * The caller sees which by reading. The descriptor is as loop_add_io()'s.
 */
int loop_add_answer(struct loop *loop, int fd, uint64_t usec, loop_fn fn, void *userdata,
		    struct loop_source **ret);

/* A timer, not running until loop_timer_set(). One shot; setting it again restarts it. */
int loop_add_timer(struct loop *loop, loop_fn fn, void *userdata, struct loop_source **ret);
int loop_timer_set(struct loop_source *source, uint64_t usec);
void loop_timer_stop(struct loop_source *source);

int loop_add_signal(struct loop *loop, int signo, loop_signal_fn fn, void *userdata,
		    struct loop_source **ret);

/* Takes NULL, returns NULL. */
struct loop_source *loop_source_free(struct loop_source *source);
DEFINE_CLEANUP(struct loop_source *, loop_source_free)

/**
 * loop_watchdog() - feed the service manager's watchdog from the loop, where it asks for that
 *
 * Since only a turning loop feeds it, a callback that hangs gets the daemon killed and restarted.
 * Return: 1 where there is one, 0 where the service manager asked for none, or a negative errno.
 */
int loop_watchdog(struct loop *loop);

/* CLOCK_MONOTONIC in microseconds. */
uint64_t loop_now(void);
