/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A frame into a receiver's buffers: copied once, from guest to guest. */
#pragma once

#include "datapath/forward/engine.h"

enum delivery {
	DELIVERY_DONE, /* in the transaction being built */
	DELIVERY_FULL, /* not buffers enough now */
	DELIVERY_NEVER, /* this receiver can never take it; counted there */
};

/**
 * deliver() - put @f into the buffers of @dst, as part of the transaction being built
 * Nothing, or all of it: a frame that is segmented for a receiver that cannot take it whole too.
 * The caller has seen to room in the transaction.
 */
enum delivery deliver(struct engine *e, struct ring *dst, const struct frame *f);

/**
 * deliver_run() - the short way for a run of @n frames (at most BURST) for one receiver
 * Return: how many of the first were delivered; the next is one for deliver().
 */
unsigned int deliver_run(struct engine *e, struct ring *dst, const struct frame *f, unsigned int n);

/* Give up a port whose rings cannot be; vq->broken says why. */
void port_break(struct engine *e, struct port *p, const char *why);
