/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hook's parts: which operation it is, the message to vnicd, the call with a deadline, and what
 * each outcome means for libvirt. hook_main.c puts them together. See api/hook.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "libvirt-hook/domain_xml.h"

/* All of a hook's run that libvirt waits for, in ms. Not to be configured: libvirt knows none. */
#ifndef HOOK_DEADLINE_MS
#define HOOK_DEADLINE_MS 20000
#endif
#ifndef HOOK_DEADLINE_LATE_MS
#define HOOK_DEADLINE_LATE_MS 5000 /* where the outcome changes nothing */
#endif
/* libvirt writes the XML at once; who writes nothing for this long is not libvirt. */
#ifndef HOOK_STDIN_IDLE_MS
#define HOOK_STDIN_IDLE_MS 2000
#endif

enum hook_kind { HOOK_QEMU, HOOK_NETWORK };

/**
 * struct hook_op - an operation that vnicd hears of
 * @fail_on_error: exit 1 where vnicd says error
 * @fail_on_silence: exit 1 where vnicd is not there, too late or not understood
 */
struct hook_op {
	enum hook_kind kind;
	const char *name;
	bool fail_on_error, fail_on_silence;
	uint32_t deadline_ms;
};

/* NULL for an operation that is none of vnicd's business. */
const struct hook_op *hook_op_find(enum hook_kind kind, const char *name);

/* From the path that libvirt calls: …/network.d/vnicd is a network hook, all else is qemu's. */
enum hook_kind hook_kind_of(const char *argv0);

/* CLOCK_MONOTONIC in ms */
uint64_t hook_now_ms(void);

/**
 * hook_read_all() - a stream to its end
 * @deadline: by hook_now_ms()
 * @max: largest size taken
 *
 * Return: 0, -E2BIG, -ETIMEDOUT or another negative errno; @err says it in a sentence.
 */
int hook_read_all(int fd, size_t max, uint32_t idle_ms, uint64_t deadline, char **ret,
		  size_t *ret_size, struct vnic_err *err);

/* Messages as in api/hook.md; -EMSGSIZE where one packet cannot hold it. The caller frees *ret. */
int hook_message_domain(const char *op, const struct domain *d, char **ret, struct vnic_err *err);
int hook_message_port(const char *op, const struct network_port *p, char **ret,
		      struct vnic_err *err);

/**
 * hook_call() - one message to vnicd, one answer, by a deadline
 * @socket: VNIC_HOOK_SOCK, but for tests
 * @op: for messages
 *
 * Return: 0 where vnicd said ok; 1 where it said error, which is in @err; a negative errno where it
 * was not there, too late or not understood, @err says so and what to do.
 */
int hook_call(const char *socket, const char *op, const char *message, uint32_t deadline_ms,
	      uint64_t deadline, struct vnic_err *err);

/* vnicd's answer: as hook_call(). */
int hook_answer(const char *data, size_t size, struct vnic_err *err);
