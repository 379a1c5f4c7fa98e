/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which domains run, as libvirt says: asked for the manager, a page at a time. */
#pragma once

#include "daemon/core/manager.h"
#include "daemon/libvirt_client.h"

struct domain_list;

int domain_list_new(struct manager *manager, struct libvirt_client *client,
		    struct domain_list **ret);
/* After the client: nobody is called back any more. */
struct domain_list *domain_list_free(struct domain_list *list);

/* Ask; manager_domains() has the answer. One at a time. @data: the struct domain_list */
void domain_list_ask(void *data);

/**
 * domain_message() - the hook's message of @op (api/hook.md) that a domain would send
 * @domain: of an answer of vnicd-libvirt's, to "check" or in the list of "domains"
 * Return: the message, the caller's to put.
 */
struct json_object *domain_message(struct json_object *domain, const char *op);
