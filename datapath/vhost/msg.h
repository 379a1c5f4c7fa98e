/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vhost-user message is checked here for its form, without knowing the state it meets. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "datapath/vhost/proto.h"

/* One whole message of a front end. @index is set for all that name a ring. */
struct vhost_msg {
	enum vhost_request request;
	bool need_reply; /* the front end set NEED_REPLY */
	bool nofd; /* KICK, CALL, ERR: the NOFD bit */
	uint32_t index;
	size_t n_fds;
	union vhost_body body;
};

/* What to answer: a header and @size bytes of @body; size 0: nothing. */
struct vhost_reply {
	enum vhost_request request;
	uint32_t size;
	union vhost_body body;
};

/* The specification's name, without VHOST_USER_; "message 77" is "an unknown message". */
const char *vhost_request_name(uint32_t request);

/**
 * vhost_header_check() - may the body of this message be read?
 * @ret_size: how long it is, at most sizeof(union vhost_body)
 *
 * Return: 0 or -EPROTO with @err saying which field of which message is wrong.
 */
int vhost_header_check(const struct vhost_header *h, size_t *ret_size, struct vnic_err *err);

/**
 * vhost_msg_decode() - a message from its parts
 * @h: as accepted by vhost_header_check()
 * @body: h->size bytes
 * @n_fds: descriptors that came with it
 *
 * Checks sizes against counts, number of descriptors, ring indexes against DP_RINGS_MAX, and numbers
 * that are wrong in any state. Return: 0 or -EPROTO.
 */
int vhost_msg_decode(const struct vhost_header *h, const void *body, size_t n_fds,
		     struct vhost_msg *ret, struct vnic_err *err);

/**
 * vhost_region_check() - numbers of one region: not empty, in pages, nothing wraps
 * Return: 0 or -EPROTO.
 */
int vhost_region_check(const struct vhost_wire_region *r, struct vnic_err *err);

/* The protocol feature that must be negotiated before @request is sent; 0: none. */
uint64_t vhost_request_needs(enum vhost_request request);
