/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State in a memfd that is whole at any instant: a keeper that is killed while it writes leaves the state before.
 *
 * Two copies with a sum each, and a number that says which holds. The other one is written, then the number. Its
 * reader trusts nothing: size and seals first, so that no access faults, then version and sum; what the body says
 * is the caller's to check. Beside them a mark: a request has been read whose effect is not in the state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct saved;

/**
 * saved_new() - a memfd of fixed size for bodies of @size bytes
 * @magic: what it is
 * @version: of the body's layout
 */
int saved_new(const char *name, uint64_t magic, uint32_t version, size_t size, struct saved **ret,
	      int *ret_fd);

/**
 * saved_open() - map what a predecessor wrote
 * @fd: borrowed
 * @body: the current copy, where 0 is returned
 * Return: 0, -ESTALE: of another version, or -EBADMSG; @err says what is wrong.
 */
int saved_open(int fd, uint64_t magic, uint32_t version, void *body, size_t size,
	       struct saved **ret, struct vnic_err *err);
struct saved *saved_close(struct saved *s);

/* Replace the body. */
void saved_write(struct saved *s, const void *body);

void saved_mark(struct saved *s, bool reading);
bool saved_marked(const struct saved *s);
