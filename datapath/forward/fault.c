/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>

#define FAULT_STACK 16384

static struct engine *engine;
static uint8_t stack[FAULT_STACK];

static bool within(const void *start, size_t size, uintptr_t addr)
{
	return start && addr - (uintptr_t)start < size;
}

static bool owns(const struct port *p, uintptr_t addr)
{
	const struct guest_mem *m = &p->mem;

	if (within(p->state, sizeof(*p->state), addr) || within(m->log.map, m->log.map_size, addr))
		return true;
	for (unsigned int i = 0; i < m->n; i++)
		if (within(m->region[i].map, m->region[i].map_size, addr))
			return true;
	return false;
}

/* SA_RESETHAND is set: the instruction runs again on return, and the signal is fatal this time. */
static void on_fault(int sig, siginfo_t *si, void *context)
{
	uintptr_t addr = (uintptr_t)si->si_addr;

	(void)context;
	atomic_store(&engine->ws->fault_addr, addr);
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++)
		if (engine->port[i] && owns(engine->port[i], addr))
			atomic_store(&engine->ws->fault_port, i + 1);
	/* Back at the fault it strikes again, and ends us. One that somebody sent would not. */
	if (si->si_code <= 0)
		raise(sig);
}

int fault_install(struct engine *e)
{
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND };
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };

	engine = e;
	sigemptyset(&sa.sa_mask);
	if (sigaltstack(&ss, NULL) < 0 || sigaction(SIGBUS, &sa, NULL) < 0 ||
	    sigaction(SIGSEGV, &sa, NULL) < 0)
		return -errno;
	return 0;
}
