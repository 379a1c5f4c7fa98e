/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's end of api/libvirt-helper.md. vnicd never waits for libvirt: requests go to vnicd-libvirt, which is
 * started by the first of them and replaced when it dies or hangs.
 */
#pragma once

#include <event2/event.h>
#include <json-c/json.h>

#include "base/err.h"
#include "base/str.h"

struct libvirt_client;
struct libvirt_request;

/* @err NULL: success, @answer is the helper's object, valid during the call. */
typedef void (*libvirt_done)(void *arg, const struct vnic_err *err, struct json_object *answer);

/**
 * libvirt_client_new() - starts nothing yet
 * @program: the helper; NULL for the installed one
 */
int libvirt_client_new(struct event_base *base, const char *program, struct libvirt_client **ret);
/* Ends the helper; requests are dropped without an answer. */
struct libvirt_client *libvirt_client_free(struct libvirt_client *c);

/**
 * libvirt_client_call() - send a request, or queue it behind those under way
 * @fields: of the request; taken over, also on failure. id, op and timeout_ms are added.
 * @timeout_ms: from when its turn comes in the helper, 100 to 120000
 *
 * @done is called once, from the loop and never from within; the handle is void then. Errors are the helper's, or
 * LibvirtFailed (it died over this request, or cannot be started), Timeout.
 * Return: NULL where memory is out.
 */
struct libvirt_request *libvirt_client_call(struct libvirt_client *c, const char *op,
					    struct json_object *fields, unsigned int timeout_ms,
					    libvirt_done done, void *arg);
/**
 * libvirt_client_watch() - hear of it when an answer to "devices" does not hold any more
 * @changed: called from the loop, also where the helper has ended and would not tell
 */
void libvirt_client_watch(struct libvirt_client *c, void (*changed)(void *arg), void *arg);
/**
 * libvirt_domain_id() - which domain an answer, or an element of one, is about
 * @ret_name: belongs to @domain
 * Return: 0, or a negative errno with @err naming the field.
 */
int libvirt_domain_id(struct json_object *domain, uint8_t ret_uuid[VNIC_UUID_LEN],
		      const char **ret_name, struct vnic_err *err);
