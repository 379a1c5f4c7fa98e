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
/* vnicd is away for a moment where it is restarted or upgraded: that is no failure of a start. */
#ifndef HOOK_PATIENCE_MS
#define HOOK_PATIENCE_MS 5000
#endif
/* libvirt writes the XML at once; who writes nothing for this long is not libvirt. */
#ifndef HOOK_STDIN_IDLE_MS
#define HOOK_STDIN_IDLE_MS 2000
#endif

enum hook_kind { HOOK_QEMU, HOOK_NETWORK };

/**
 * struct hook_op - an operation that vnicd hears of
 * @fail_on_error: exit 1 where vnicd says error
 * @fail_on_silence: exit 1 where vnicd is not there, too late or not understood; so it is waited for
 *	where it is restarting
 * @checked: the domain's XML must be as domain_check() wants it, or the guest does not start
 */
struct hook_op {
	enum hook_kind kind;
	const char *name;
	bool fail_on_error, fail_on_silence, checked;
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

/**
 * hook_check_domain() - the rules of `vnicctl domain check` that need nothing but the XML
 *
 * Return: 0, or 1 with the first error that it found in @err, in one line with what to write instead;
 * -ENOMEM.
 */
int hook_check_domain(const struct domain *d, struct vnic_err *err);

/* Messages as in api/hook.md; -EMSGSIZE where one packet cannot hold it. The caller frees *ret. */
int hook_message_domain(const char *op, const struct domain *d, char **ret, struct vnic_err *err);
int hook_message_port(const char *op, const struct network_port *p, char **ret,
		      struct vnic_err *err);

/**
 * struct hook_target - whom to ask, and for how long
 * @socket: VNIC_HOOK_SOCK, but for tests
 * @deadline_ms: the whole time, for messages; @deadline: its end by hook_now_ms()
 * @patience_ms: how long to try again where nobody listens, or who did has gone before it answered
 */
struct hook_target {
	const char *socket;
	uint32_t deadline_ms;
	uint64_t deadline;
	uint32_t patience_ms;
};

/**
 * hook_call() - one message to vnicd, one answer, by a deadline
 * @op: for messages
 *
 * A message may be sent twice, to a vnicd and to its successor: vnicd takes both as one.
 * Return: 0 where vnicd said ok; 1 where it said error, which is in @err; a negative errno where it
 * was not there, too late or not understood, @err says so and what to do.
 */
int hook_call(const struct hook_target *to, const char *op, const char *message,
	      struct vnic_err *err);

/* vnicd's answer: as hook_call(). */
int hook_answer(const char *data, size_t size, struct vnic_err *err);
