/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files that work off a request: virt.c, virt_list.c, virt_hostdev.c. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <libvirt/libvirt.h>

#include "libvirt-hook/virt.h"

#define ALIAS_MAX 128

enum removal { REMOVAL_PENDING, REMOVAL_DONE, REMOVAL_REFUSED };

/*
 * Two threads: the worker calls virt_do(), the event thread runs libvirt's loop, with its keepalive
 * and the callbacks of virt.c. They share what @lock guards.
 */
struct virt {
	virConnectPtr conn;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* The device whose removal is being waited for. */
	char uuid[VIR_UUID_STRING_BUFLEN];
	char alias[ALIAS_MAX];
	enum removal removal;
	/* What was told of devices still holds, as far as is known. */
	atomic_bool watched;
	int changed_fd;
};

DEFINE_CLEANUP(virDomainPtr, virDomainFree)

/* libvirt's last error in @err. Return: -ENOENT where there is no such domain, else -EIO. */
int virt_fail(struct vnic_err *err, const char *what);
int virt_find_domain(struct virt *v, const char *who, virDomainPtr *ret, struct vnic_err *err);
int virt_read_domain(virDomainPtr dom, unsigned flags, struct domain **ret, struct vnic_err *err);
/* What the running domain has, whatever its metadata say. */
int virt_read_devices(virDomainPtr dom, struct domain **ret, struct vnic_err *err);

/* Before the device is asked for: its removal, or the domain's end, may be told at once. */
void virt_expect_removal(struct virt *v, virDomainPtr dom, const char *alias);
/* Return: how it went by @deadline, as far as libvirt has told. */
enum removal virt_wait_removal(struct virt *v, uint64_t deadline);

/* virt_list.c: as virt_do() */
int virt_domains(struct virt *v, const struct helper_request *q, struct json_object *answer,
		 struct vnic_err *err);
int virt_devices(struct virt *v, const struct helper_request *q, struct json_object *answer,
		 struct vnic_err *err);

/* virt_hostdev.c: as virt_do() */
int virt_attach_hostdev(struct virt *v, const struct helper_request *q, struct json_object *answer,
			struct vnic_err *err);
int virt_detach_hostdev(struct virt *v, const struct helper_request *q, uint64_t deadline,
			struct json_object *answer, struct vnic_err *err);
