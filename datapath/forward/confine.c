/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/close_range.h>
#include <linux/if_tun.h>
#include <seccomp.h>

#include "base/cleanup.h"
#include "base/str.h"

int close_above(int last_fd)
{
	return close_range((unsigned int)last_fd + 1, ~0U, 0) < 0 ? -errno : 0;
}

#ifdef __SANITIZE_ADDRESS__
/* The sanitizers' run-time makes system calls of its own, when it reports among others. */
int confine(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}
#else

/* Whatever the arguments. Each with its use. */
static const int plain[] = {
	/* frames: the tap and calls to guests */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	/* sleep: worker.c */
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(clock_gettime), /* where the vDSO has no clock to read */
	/* the keeper's messages: base/sock.c; frames: uplink/packet.c */
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(close),
	/* their descriptors: ring/mem.c, forward/port.c */
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), /* fstat() of glibc 2.33 and later */
	SCMP_SYS(munmap),
	SCMP_SYS(madvise),
	SCMP_SYS(getrandom), /* ring/commit.c, malloc */
	/* malloc, which takes and gives back memory as ports come and go */
	SCMP_SYS(brk),
	SCMP_SYS(mremap),
	/* the end, and what comes before it: fault.c, abort() */
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* One argument of a call that must have a given value (under a mask). */
static const struct {
	int call;
	unsigned int arg;
	uint64_t mask, value;
} bound[] = {
	/* uplink/tap.c */
	{ SCMP_SYS(ioctl), 1, 0xffffffff, TUNGETIFF },
	{ SCMP_SYS(ioctl), 1, 0xffffffff, TUNSETVNETHDRSZ },
	{ SCMP_SYS(ioctl), 1, 0xffffffff, TUNSETOFFLOAD },
	/* base/sock.c: non-blocking */
	{ SCMP_SYS(fcntl), 1, 0xffffffff, F_GETFL },
	{ SCMP_SYS(fcntl), 1, 0xffffffff, F_SETFL },
	/* worker.c: the lock that tells workers of the same rings apart */
	{ SCMP_SYS(fcntl), 1, 0xffffffff, F_SETLKW },
	/* no memory that can be executed */
	{ SCMP_SYS(mmap), 2, PROT_EXEC, 0 },
	{ SCMP_SYS(mprotect), 2, PROT_EXEC, 0 },
	/* pinning: itself, and nobody else */
	{ SCMP_SYS(sched_setaffinity), 0, 0xffffffff, 0 },
};

static void filter_release(scmp_filter_ctx *f)
{
	if (*f)
		seccomp_release(*f);
}

int confine(void)
{
	_cleanup_(filter_release) scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = 0;

	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(plain) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, plain[i], 0);
	for (size_t i = 0; i < ARRAY_SIZE(bound) && r == 0; i++) {
		struct scmp_arg_cmp c = { .arg = bound[i].arg,
					  .op = SCMP_CMP_MASKED_EQ,
					  .datum_a = bound[i].mask,
					  .datum_b = bound[i].value };

		r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, bound[i].call, 1, &c);
	}
	/* raise() and abort(): itself. The keeper and other workers have the same user. */
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	return r < 0 ? r : seccomp_load(f);
}
#endif
