/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt, as vnicd-libvirt uses it. Calls block, for as long as libvirtd likes: the caller (the helper's
 * worker thread) is given up on by the main thread when a deadline has passed, see helper_main.c.
 */
#pragma once

#include "libvirt-hook/helper_request.h"

struct virt;

/**
 * virt_new() - one a process: libvirt's event loop is global. It runs in a thread of its own from here on.
 * @changed_fd: an eventfd, to which is added where what HELPER_DEVICES answered does not hold any more
 */
struct virt *virt_new(int changed_fd);

/* Is somebody to be told when it does not hold any more? */
bool virt_is_watched(struct virt *v);

/**
 * virt_do() - work off one request
 * @deadline: CLOCK_MONOTONIC in ms; only waiting for a guest heeds it
 * @answer: helper_answer() of the request, to add to
 *
 * Return: 0, or a negative errno with @err as api/libvirt-helper.md says.
 */
int virt_do(struct virt *v, const struct helper_request *q, uint64_t deadline,
	    struct json_object *answer, struct vnic_err *err);
