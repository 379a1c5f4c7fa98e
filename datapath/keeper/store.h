/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager's descriptor store: what is in it outlives this process, and its successor finds it.
 *
 * Theory of operation. Each descriptor is stored under a name of its own, a letter and a number, so that it
 * can be taken out alone (FDSTOREREMOVE= takes all of a name). The manager drops what it has already without
 * a word, and would then know it under its first name only: memory is told by device and inode, an eventfd by
 * the kernel's number for it, and both are stored once and counted. The manager watches nothing in there
 * (FDPOLL=0): an eventfd that is watched costs with every kick, and this keeper alone decides what is kept.
 *
 * Numbers end at STORE_MAX, so that the manager's FileDescriptorStoreMax= is never met unawares, and all
 * names fit in LISTEN_FDNAMES, one environment string of 128 KiB at most: past it no successor could start.
 *
 * What the descriptors are for is in saved state (preserve.h), itself in here. At the start everything that
 * came is adopted; what nobody refers to once the state has been gone through is swept out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "datapath/keeper/notify.h"

/* Also FileDescriptorStoreMax= of data/vnicd-datapath.service. */
#define STORE_MAX 16384

enum store_letter {
	STORE_SHARED = 'm', /* guests' memory, logs, eventfds: told by what they are, counted */
	STORE_PRIVATE = 'f', /* one user: sockets, taps, shared state */
	STORE_PORT = 'p', /* a port's saved state */
	STORE_SEGMENT = 's', /* a segment's */
	STORE_KEEPER = 'k', /* the keeper's own */
	STORE_CONTROL = 'c', /* vnicd's listening socket */
	STORE_WORKER =
		'w', /* the keeper's end of a worker's control socket: who has it keeps the worker */
};

struct store;

/**
 * store_new() - a store with the service manager
 * @address: $NOTIFY_SOCKET; @confirmed is called as notify_new() says
 */
int store_new(struct event_base *base, const char *address, notify_fn confirmed, void *userdata,
	      struct store **ret);
struct store *store_free(struct store *s);

/* To send other messages through. */
struct notify *store_notify(struct store *s);

/**
 * store_put() - keep a descriptor that nobody else keeps
 * @fd: borrowed
 * Return: its number, or 0: there is no room, or no manager.
 */
uint32_t store_put(struct store *s, enum store_letter letter, int fd);

/* The same for STORE_SHARED: one that is there already is counted. 0 also: it cannot be told what it is. */
uint32_t store_share(struct store *s, int fd);

/* One user less; the last one's takes it out. 0 is nothing. */
void store_drop(struct store *s, uint32_t id);

/* How many are kept; how often one was put in. */
uint32_t store_count(const struct store *s);
uint64_t store_puts(const struct store *s);

/* The start */

/**
 * store_adopt() - take in what the manager has passed
 * @fd: belongs to the store from now
 * @name: as the manager gave it
 * Return: false: this name is none of the store's, or the second one; @fd stays the caller's.
 */
bool store_adopt(struct store *s, int fd, const char *name);

/* The next number after @id with this letter, 0: none. */
uint32_t store_next(const struct store *s, enum store_letter letter, uint32_t id);

/* An adopted descriptor, borrowed; -1: no such, or of another letter. */
int store_adopted(const struct store *s, enum store_letter letter, uint32_t id);

/* Count a user of an adopted descriptor of one user. Return: false: it has one. */
bool store_claim(struct store *s, uint32_t id);

/* Has an adopted descriptor no user yet? */
bool store_unclaimed(const struct store *s, uint32_t id);

/* Take out what has no user, close our own copies. Return: how many were taken out. */
uint32_t store_sweep(struct store *s);
