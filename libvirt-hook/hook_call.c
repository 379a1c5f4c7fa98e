/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting, always by a deadline: for stdin, and for vnicd. */
#include "libvirt-hook/hook.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "api/errors.h"
#include "base/sock.h"

/* connect(2) to a unix socket with a full backlog cannot be polled for, only tried again. */
#define CONNECT_RETRY_MS 20
/* Nor can one that nobody listens on. */
#define AWAY_RETRY_MS 50

uint64_t hook_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Return: 0 when @events are there, -ETIMEDOUT, or another negative errno. */
static int wait_fd(int fd, short events, uint64_t until)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = hook_now_ms();
		int n = poll(&p, 1, now < until ? (int)(until - now) : 0);

		if (n > 0)
			return 0;
		if (n == 0 && hook_now_ms() >= until)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int hook_read_all(int fd, size_t max, uint32_t idle_ms, uint64_t deadline, char **ret,
		  size_t *ret_size, struct vnic_err *err)
{
	_cleanup_(freep) char *data = NULL;
	size_t used = 0, room = 0;

	for (;;) {
		ssize_t n;
		int r;

		if (used == room) {
			char *more;

			room = room ? room * 2 : 16384;
			more = realloc(data, room);
			if (!more)
				return vnic_err_set(err, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
			data = more;
		}
		r = wait_fd(fd, POLLIN, earlier(hook_now_ms() + idle_ms, deadline));
		if (r < 0)
			return vnic_err_set(
				err, r, VNIC_E_INVALID_XML,
				"reading the XML from standard input: %s after %zu bytes",
				r == -ETIMEDOUT ? "it neither goes on nor ends" : strerror(-r),
				used);
		n = read(fd, data + used, room - used);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return vnic_err_set(err, -errno, VNIC_E_INVALID_XML,
					    "reading the XML from standard input: %s",
					    strerror(errno));
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max)
			return vnic_err_set(err, -E2BIG, VNIC_E_INVALID_XML,
					    "the XML on standard input is larger than %zu MiB",
					    max >> 20);
	}
	*ret = take_ptr(data);
	*ret_size = used;
	return 0;
}

static int late(const char *op, uint32_t deadline_ms, struct vnic_err *err)
{
	return vnic_err_set(
		err, -ETIMEDOUT, VNIC_E_TIMEOUT,
		"vnicd did not answer '%s' within %g s: it is stopped, hung or overloaded; "
		"see 'journalctl -u vnicd', then 'systemctl restart vnicd'",
		op, deadline_ms / 1000.0);
}

/* Nobody listens, or who did has gone: another vnicd may be on its way. */
static bool away(int error)
{
	return error == -ENOENT || error == -ECONNREFUSED || error == -ECONNRESET;
}

static int unreachable(const char *socket, int error, struct vnic_err *err)
{
	return vnic_err_set(err, error, VNIC_E_DAEMON_DOWN, "cannot reach vnicd at %s: %s", socket,
			    strerror(-error));
}

static int down(const char *socket, int error, uint32_t patience_ms, struct vnic_err *err)
{
	char waited[40] = "";

	if (patience_ms)
		snprintf(waited, sizeof(waited), ", for %g s", patience_ms / 1000.0);
	return vnic_err_set(err, error, VNIC_E_DAEMON_DOWN,
			    "vnicd is not running (%s: %s%s): systemctl start vnicd", socket,
			    strerror(-error), waited);
}

static int went_away(const char *op, struct vnic_err *err)
{
	return vnic_err_set(err, -ECONNRESET, VNIC_E_DAEMON_DOWN,
			    "vnicd went away before it answered '%s'; see 'journalctl -u vnicd'",
			    op);
}

static int connect_by(int fd, const struct sockaddr_un *addr, uint64_t deadline)
{
	while (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		if (hook_now_ms() + CONNECT_RETRY_MS >= deadline)
			return -ETIMEDOUT;
		poll(NULL, 0, CONNECT_RETRY_MS);
	}
	return 0;
}

static int send_by(int fd, const char *message, uint64_t deadline)
{
	int r;

	while ((r = sock_send(fd, message, strlen(message), NULL, 0)) == -EAGAIN) {
		r = wait_fd(fd, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
	return r;
}

static ssize_t recv_by(int fd, char *buf, size_t size, uint64_t deadline)
{
	for (;;) {
		ssize_t n;
		int r = wait_fd(fd, POLLIN, deadline);

		if (r < 0)
			return r;
		n = sock_recv(fd, buf, size, NULL, 0, NULL);
		if (n != -EAGAIN)
			return n;
	}
}

/* Return: as hook_call(); where away() is true of it, @err is the caller's to fill in. */
static int call_once(const struct hook_target *to, const char *op, const char *message,
		     struct vnic_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_(closep) int fd = -1;
	_cleanup_(freep) char *buf = malloc(VNIC_MSG_MAX);
	ssize_t n;
	int r;

	if (!buf)
		return vnic_err_set(err, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
	r = str_copy(addr.sun_path, sizeof(addr.sun_path), to->socket);
	if (r < 0)
		return unreachable(to->socket, r, err);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return unreachable(to->socket, -errno, err);
	n = connect_by(fd, &addr, to->deadline);
	if (n == 0)
		n = send_by(fd, message, to->deadline);
	if (n == 0)
		n = recv_by(fd, buf, VNIC_MSG_MAX, to->deadline);
	if (n > 0)
		return hook_answer(buf, (size_t)n, err);
	if (n == 0 || n == -EPIPE)
		return -ECONNRESET;
	if (n == -ETIMEDOUT)
		return late(op, to->deadline_ms, err);
	return away((int)n) ? (int)n : unreachable(to->socket, (int)n, err);
}

int hook_call(const struct hook_target *to, const char *op, const char *message,
	      struct vnic_err *err)
{
	uint64_t until = earlier(hook_now_ms() + to->patience_ms, to->deadline);
	bool asked = false;

	for (;;) {
		int r = call_once(to, op, message, err);

		if (!away(r))
			return r;
		/*
		 * A vnicd that was stopped in the middle of a request keeps what it has done of it,
		 * and its successor takes the same request again. Once: it may be what kills it.
		 */
		if (r == -ECONNRESET) {
			if (asked || !to->patience_ms)
				return went_away(op, err);
			asked = true;
			until = earlier(hook_now_ms() + to->patience_ms, to->deadline);
		}
		if (hook_now_ms() + AWAY_RETRY_MS >= until)
			return asked ? went_away(op, err)
				     : down(to->socket, r, to->patience_ms, err);
		poll(NULL, 0, AWAY_RETRY_MS);
	}
}
