/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

static int make_addr(const char *file, struct sockaddr_un *addr)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return str_copy(addr->sun_path, sizeof(addr->sun_path), file);
}

/*
 * Does anybody accept at @addr? Asked with a connect, which a listener sees as a hang-up.
 * Return: 1, 0, or a negative errno where it cannot be told: then it is not ours to take away.
 */
static int answers(const struct sockaddr_un *addr, int type)
{
	_cleanup_(closep) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	return connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN ||
	       errno == EPROTOTYPE;
}

int sock_answers(const char *file, int type)
{
	struct sockaddr_un addr;
	int r = make_addr(file, &addr);

	return r < 0 ? r : answers(&addr, type);
}

int sock_listen(const char *file, int type, mode_t mode)
{
	_cleanup_(closep) int fd = -1;
	struct sockaddr_un addr;
	struct stat st;
	int r;

	r = make_addr(file, &addr);
	if (r < 0)
		return r;
	if (lstat(file, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		r = answers(&addr, type);
		if (r != 0)
			return r < 0 ? r : -EADDRINUSE;
		if (unlink(file) < 0 && errno != ENOENT)
			return -errno;
	}
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	if (chmod(file, mode) < 0 || listen(fd, SOMAXCONN) < 0) {
		r = -errno;
		unlink(file);
		return r;
	}
	return take_fd(&fd);
}

int sock_connect(const char *file, int type)
{
	_cleanup_(closep) int fd = -1;
	struct sockaddr_un addr;
	int r;

	r = make_addr(file, &addr);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return take_fd(&fd);
}

int sock_send(int fd, const void *data, size_t size, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * VNIC_MSG_FDS_MAX)];
	} control;
	struct iovec iov = { .iov_base = (void *)data, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds > VNIC_MSG_FDS_MAX)
		return -E2BIG;
	if (n_fds > 0) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		memset(control.buf, 0, msg.msg_controllen);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EIO;
}

/* All descriptors of @msg into @fds; those beyond @max are closed. Return: how many came. */
static size_t collect_fds(struct msghdr *msg, int *fds, size_t max)
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++, n++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < max)
				fds[n] = fd;
			else
				close(fd);
		}
	}
	return n;
}

ssize_t sock_recv(int fd, void *data, size_t size, int *ret_fds, size_t max_fds, size_t *ret_n_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * VNIC_MSG_FDS_MAX)];
	} control;
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	size_t n_fds;
	ssize_t n;

	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	n_fds = collect_fds(&msg, ret_fds, max_fds);
	if (n_fds > max_fds || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		for (size_t i = 0; i < n_fds && i < max_fds; i++)
			close(ret_fds[i]);
		return -EMSGSIZE;
	}
	/* A packet without a byte looks like the end, where nobody expects descriptors. */
	if (n == 0) {
		for (size_t i = 0; i < n_fds; i++)
			close(ret_fds[i]);
		n_fds = 0;
	}
	if (ret_n_fds)
		*ret_n_fds = n_fds;
	return n;
}

int sock_peer(int fd, struct sock_peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret = (struct sock_peer){ cred.pid, cred.uid, cred.gid };
	return 0;
}

int fd_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}
