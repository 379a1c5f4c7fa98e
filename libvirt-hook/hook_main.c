/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt's hook: HOOK NAME OPERATION SUB-OPERATION EXTRA, XML on standard input.
 *
 * One program for qemu.d and network.d; each start of each guest of the host runs it a few times,
 * so it is small, and what is not vnicd's leaves without a word. It never calls libvirt, which
 * waits for it. Nothing goes to standard output: libvirt takes that for the XML to use on migrate
 * and restore, and none for "as it is" (virHookCall(), src/util/virhook.c).
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/errors.h"
#include "base/paths.h"
#include "libvirt-hook/hook.h"

/* Each returns as hook_call(); 0 also where it is none of vnicd's business. */

static int ask(const struct hook_op *op, const char *message, uint64_t deadline,
	       struct vnic_err *err)
{
	const struct hook_target vnicd = { .socket = VNIC_HOOK_SOCK,
					   .deadline_ms = op->deadline_ms,
					   .deadline = deadline,
					   .patience_ms = op->fail_on_silence ? HOOK_PATIENCE_MS
									      : 0 };

	return hook_call(&vnicd, op->name, message, err);
}

static int qemu_hook(const struct hook_op *op, const char *xml, size_t size, uint64_t deadline,
		     struct vnic_err *err)
{
	_cleanup_(domain_freep) struct domain *d = NULL;
	_cleanup_(freep) char *message = NULL;
	int r;

	r = domain_xml_parse(xml, size, &d, err);
	if (r < 0)
		return r;
	if (!domain_is_ours(d))
		return 0;
	r = op->checked ? hook_check_domain(d, err) : 0;
	if (r)
		return r;
	r = hook_message_domain(op->name, d, &message, err);
	if (r < 0)
		return r;
	return ask(op, message, deadline, err);
}

static int network_hook(const struct hook_op *op, const char *xml, size_t size, uint64_t deadline,
			struct vnic_err *err)
{
	_cleanup_(network_port_freep) struct network_port *p = NULL;
	_cleanup_(freep) char *message = NULL;
	int r;

	r = network_port_parse(xml, size, &p, err);
	if (r < 0)
		return r;
	if (!p->nic.hostdev)
		return 0;
	r = hook_message_port(op->name, p, &message, err);
	if (r < 0)
		return r;
	return ask(op, message, deadline, err);
}

static int exit_status(const struct hook_op *op, int outcome, const struct vnic_err *err)
{
	bool abort_it = outcome > 0 ? op->fail_on_error : op->fail_on_silence;

	if (outcome == 0)
		return 0;
	fprintf(stderr, "vnicd: %s\n", *err->message ? err->message : strerror(-outcome));
	return abort_it ? 1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t start = hook_now_ms();
	_cleanup_(freep) char *xml = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	const struct hook_op *op;
	enum hook_kind kind;
	size_t size;
	int r;

	if (argc < 3) {
		fprintf(stderr,
			"vnicd: this is libvirt's hook, which libvirt runs: see vnicd-hook(8)\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	kind = hook_kind_of(argv[0]);
	op = hook_op_find(kind, argv[2]);
	if (!op)
		return 0;
	r = hook_read_all(STDIN_FILENO, DOMAIN_XML_MAX, HOOK_STDIN_IDLE_MS, start + op->deadline_ms,
			  &xml, &size, &err);
	if (r == 0)
		r = (kind == HOOK_QEMU ? qemu_hook : network_hook)(op, xml, size,
								   start + op->deadline_ms, &err);
	return exit_status(op, r, &err);
}
