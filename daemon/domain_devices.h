/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which PCI devices running domains have by their own XML, as libvirt says: nobody else knows, and a hostdev
 * network may give a VF to a domain as well as we. Asked for where the host has VFs, and again whenever the
 * helper hears of a change; what libvirt said last holds while it does not answer.
 */
#pragma once

#include "base/cleanup.h"
#include "daemon/core/manager.h"
#include "daemon/libvirt_client.h"

struct domain_devices;

/* All of them; those that vnicd plugged in itself are left out. */
typedef void (*domain_devices_fn)(void *arg, const struct domain_device *device, size_t n);

int domain_devices_new(struct event_base *base, struct manager *manager,
		       struct libvirt_client *client, domain_devices_fn tell, void *arg,
		       struct domain_devices **ret);
/* After the client and before the manager. */
struct domain_devices *domain_devices_free(struct domain_devices *d);
DEFINE_CLEANUP(struct domain_devices *, domain_devices_free)

/* VFs of ours that domains have; @addr malloc()ed, @partial where a domain's are not known. */
struct found_devices {
	char (*addr)[DEV_ADDR_MAX];
	size_t n;
	bool partial;
};

/**
 * domain_devices_take() - one page of libvirt's answer to "devices" behind what is there
 * @array: @n of them, malloc()ed
 * @found: what of ours is in it, behind what is there
 * @ret_last: the UUID of the last domain, or unchanged
 *
 * Return: 0; -EINVAL where it has not the form of api/libvirt-helper.md; -ENOMEM.
 */
int domain_devices_take(struct json_object *answer, const struct vnic_port *ports,
			struct domain_device **array, size_t *n, struct found_devices *found,
			char ret_last[VNIC_UUID_STR], struct vnic_err *err);
