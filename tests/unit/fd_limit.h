/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors on their way, as many as the kernel allows a user: the next one that is sent is refused with
 * ETOOMANYREFS (net/core/scm.c). The limit is this process' RLIMIT_NOFILE, and two capabilities lift it.
 */
#pragma once

#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include "base/sock.h"

/* More than the test has open. */
#define FD_LIMIT 64

struct fd_limit {
	int pair[2];
	struct rlimit limit;
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
};

static inline void fd_limit_caps(struct __user_cap_data_struct *caps, int call)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	assert_int_equal(syscall(call, &head, caps), 0);
}

static inline void fd_limit_reach(struct fd_limit *f)
{
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
	struct rlimit limit;
	int fds[VNIC_MSG_FDS_MAX], r = 0;

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, f->pair), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &f->limit), 0);
	limit = f->limit;
	limit.rlim_cur = FD_LIMIT;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	fd_limit_caps(f->caps, SYS_capget);
	memcpy(caps, f->caps, sizeof(caps));
	caps[0].effective &= ~(1u << CAP_SYS_ADMIN | 1u << CAP_SYS_RESOURCE);
	fd_limit_caps(caps, SYS_capset);
	for (int i = 0; i < VNIC_MSG_FDS_MAX; i++)
		fds[i] = f->pair[0];
	for (int i = 0; i < 10 && r == 0; i++)
		r = sock_send(f->pair[0], "", 1, fds, VNIC_MSG_FDS_MAX);
	assert_int_equal(r, -ETOOMANYREFS);
}

/* They are not on their way any more. */
static inline void fd_limit_leave(struct fd_limit *f)
{
	close(f->pair[0]);
	close(f->pair[1]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &f->limit), 0);
	fd_limit_caps(f->caps, SYS_capset);
}
