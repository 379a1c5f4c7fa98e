/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared memory with a worker that may be hijacked: it can write into it, but not shrink it under us. */
#pragma once

#include <stddef.h>

#include "base/err.h"

/**
 * shm_new() - a zeroed memfd of @size bytes, sealed at that size and mapped
 * Return: 0 or a negative errno.
 */
int shm_new(const char *name, size_t size, int *ret_fd, void **ret_map);

/**
 * shm_map() - map what shm_new() of a predecessor made
 * @fd: borrowed; may be anything
 * Return: 0, -ESTALE: it has another size, or -EBADMSG: it is no such memory; @err says what is wrong.
 */
int shm_map(int fd, size_t size, void **ret_map, struct vnic_err *err);

/* Unmap and close; takes NULL and -1. */
void shm_drop(size_t size, int *fd, void **map);
