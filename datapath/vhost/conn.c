/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/vhost/conn.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "datapath/vhost/discard.h"
#include "datapath/vhost/fdcheck.h"

/* Messages of one front end in a turn of the loop, so that the others have theirs. */
#define MESSAGES_A_TURN 16

/* SCM_MAX_FD: as many come with one sendmsg(2). What finds no room here the kernel would close in our name. */
#define RECEIVED_MAX 253

struct vhost_conn {
	int fd;
	const struct vhost_conn_ops *ops;
	void *userdata;
	struct event *read_ev, *write_ev, *hup_ev;
	bool paused;

	struct vhost_header header;
	union vhost_body body;
	size_t got; /* bytes of header, then body, read so far */
	size_t body_size; /* known once the header is whole */
	int fds[VHOST_FDS_MAX];
	size_t n_fds;
	bool foreign; /* one of them was of a kind that no message has; it is -1 */

	unsigned char out[sizeof(struct vhost_header) + sizeof(union vhost_body)];
	size_t out_size, out_done;
};

static void close_fds(struct vhost_conn *c)
{
	while (c->n_fds > 0)
		close_safe(c->fds[--c->n_fds]);
	c->foreign = false;
}

/* All but the socket. */
static void let_go(struct vhost_conn *c)
{
	if (c->read_ev)
		event_free(c->read_ev);
	if (c->write_ev)
		event_free(c->write_ev);
	if (c->hup_ev)
		event_free(c->hup_ev);
	close_fds(c);
}

struct vhost_conn *vhost_conn_free(struct vhost_conn *c)
{
	if (!c)
		return NULL;
	let_go(c);
	fd_discard_socket(c->userdata, c->fd);
	free(c);
	return NULL;
}

struct vhost_conn *vhost_conn_leave(struct vhost_conn *c)
{
	let_go(c);
	close_safe(c->fd);
	free(c);
	return NULL;
}

bool vhost_conn_free_held(struct vhost_conn *c)
{
	bool held;

	let_go(c);
	held = fd_discard_socket_held(c->userdata, c->fd);
	free(c);
	return held;
}

bool vhost_conn_idle(const struct vhost_conn *c)
{
	return c->got == 0 && c->n_fds == 0 && c->out_done == c->out_size;
}
DEFINE_CLEANUP(struct vhost_conn *, vhost_conn_free)

/*
 * Keep what came with @msg. More than a message may carry is refused, and closed. What could make us wait is
 * gone before anything else is done; who looks at it finds -1, and has the words for what it should have been.
 */
static int take_fds(struct vhost_conn *c, struct msghdr *msg, struct vnic_err *err)
{
	bool too_many = msg->msg_flags & MSG_CTRUNC;
	int foreign[RECEIVED_MAX];
	size_t n_foreign = 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (!fd_harmless(fd) && n_foreign < RECEIVED_MAX) {
				foreign[n_foreign++] = fd;
				fd = -1;
			}
			if (c->n_fds < VHOST_FDS_MAX) {
				c->fds[c->n_fds++] = fd;
			} else {
				close_safe(fd);
				too_many = true;
			}
		}
	}
	fd_discard(c->userdata, foreign, n_foreign);
	c->foreign |= n_foreign > 0;
	if (too_many)
		return vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE,
				    "%s: more than %d descriptors",
				    vhost_request_name(c->header.request), VHOST_FDS_MAX);
	return 0;
}

/* Read up to @size bytes. Return: how many, 0 at the end, -EAGAIN, or another negative errno with @err. */
static ssize_t read_some(struct vhost_conn *c, void *to, size_t size, struct vnic_err *err)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * RECEIVED_MAX)];
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	size_t had = c->n_fds;
	ssize_t n;
	int r;

	do {
		n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		r = -errno;
		return r == -EAGAIN
			       ? r
			       : vnic_err_set(err, r, VNIC_E_INVALID_MESSAGE, "%s", strerror(-r));
	}
	r = take_fds(c, &msg, err);
	if (r < 0)
		return r;
	/* QEMU sends a message in one piece, its descriptors with the first byte. */
	if (c->n_fds > had && c->got >= sizeof(c->header))
		return vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE,
				    "%s: descriptors came with its body, not its header",
				    vhost_request_name(c->header.request));
	return n;
}

/* Read on. Return: 1: a message is whole; 0: nothing more to read now; negative: over, see @err. */
static int read_message(struct vhost_conn *c, struct vnic_err *err)
{
	const size_t hs = sizeof(c->header);

	for (;;) {
		bool in_header = c->got < hs;
		size_t want = in_header ? hs - c->got : hs + c->body_size - c->got;
		void *to = in_header ? (char *)&c->header + c->got
				     : (char *)&c->body + (c->got - hs);
		ssize_t n;

		if (want == 0)
			return 1;
		n = read_some(c, to, want, err);
		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return (int)n;
		if (n == 0)
			return vnic_err_set(err, -ECONNRESET, VNIC_E_INVALID_MESSAGE,
					    "the front end hung up%s",
					    c->got ? " in the middle of a message" : "");
		c->got += (size_t)n;
		if (c->got == hs && vhost_header_check(&c->header, &c->body_size, err) < 0)
			return -EPROTO;
	}
}

static int one_message(struct vhost_conn *c, struct vnic_err *err)
{
	struct vhost_msg m;
	int r;

	r = vhost_msg_decode(&c->header, &c->body, c->n_fds, &m, err);
	if (r == 0)
		r = c->ops->message(c->userdata, &m, c->fds, err);
	if (r == 0 && c->foreign)
		r = vnic_err_set(err, -EPROTO, VNIC_E_INVALID_MESSAGE,
				 "%s: a descriptor that is neither memory nor an eventfd",
				 vhost_request_name(m.request));
	close_fds(c);
	c->got = 0;
	return r;
}

static void update_events(struct vhost_conn *c)
{
	bool writing = c->out_done < c->out_size;

	if (c->paused || writing) {
		event_del(c->read_ev);
		event_add(c->hup_ev, NULL);
	} else {
		event_del(c->hup_ev);
		event_add(c->read_ev, NULL);
	}
	if (writing)
		event_add(c->write_ev, NULL);
	else
		event_del(c->write_ev);
}

static bool may_read(const struct vhost_conn *c)
{
	return !c->paused && c->out_done == c->out_size;
}

static void on_readable(evutil_socket_t fd, short what, void *userdata)
{
	struct vhost_conn *c = userdata;
	struct vnic_err err = VNIC_ERR_INIT;
	int r = 0;

	(void)fd, (void)what;
	if (c->ops->reading)
		c->ops->reading(c->userdata);
	for (int i = 0; i < MESSAGES_A_TURN && may_read(c); i++) {
		r = read_message(c, &err);
		if (r <= 0)
			break;
		r = one_message(c, &err);
		if (r < 0)
			break;
	}
	if (r < 0)
		c->ops->closed(c->userdata, err.message, r != -ECONNRESET);
	else if (c->ops->idle)
		c->ops->idle(c->userdata);
}

static int flush_out(struct vhost_conn *c)
{
	while (c->out_done < c->out_size) {
		ssize_t n = send(c->fd, c->out + c->out_done, c->out_size - c->out_done,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->out_done += (size_t)n;
	}
	return 0;
}

static void on_writable(evutil_socket_t fd, short what, void *userdata)
{
	struct vhost_conn *c = userdata;

	(void)fd, (void)what;
	if (flush_out(c) < 0)
		c->ops->closed(c->userdata, "the front end hung up while an answer was owed",
			       false);
	else {
		update_events(c);
		if (c->ops->idle)
			c->ops->idle(c->userdata);
	}
}

static void on_hangup(evutil_socket_t fd, short what, void *userdata)
{
	struct vhost_conn *c = userdata;

	(void)fd, (void)what;
	c->ops->closed(c->userdata, "the front end hung up", false);
}

int vhost_conn_new(struct event_base *base, int fd, const struct vhost_conn_ops *ops,
		   void *userdata, struct vhost_conn **ret)
{
	_cleanup_(vhost_conn_freep) struct vhost_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->fd = -1;
	c->ops = ops;
	c->userdata = userdata;
	c->read_ev = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->write_ev = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->hup_ev = event_new(base, fd, EV_CLOSED | EV_PERSIST, on_hangup, c);
	if (!c->read_ev || !c->write_ev || !c->hup_ev || event_add(c->read_ev, NULL) < 0)
		return -ENOMEM;
	c->fd = fd;
	*ret = take_ptr(c);
	return 0;
}

void vhost_conn_pause(struct vhost_conn *c)
{
	c->paused = true;
	update_events(c);
}

void vhost_conn_resume(struct vhost_conn *c)
{
	c->paused = false;
	update_events(c);
}

void vhost_conn_reply(struct vhost_conn *c, const struct vhost_reply *reply)
{
	struct vhost_header h = { .request = reply->request,
				  .flags = VHOST_VERSION | VHOST_FLAG_REPLY,
				  .size = reply->size };

	memcpy(c->out, &h, sizeof(h));
	memcpy(c->out + sizeof(h), &reply->body, reply->size);
	c->out_size = sizeof(h) + reply->size;
	c->out_done = 0;
	/* An error here is met again by the reader, who has the place to say so. */
	flush_out(c);
	update_events(c);
}

bool vhost_conn_dead(const struct vhost_conn *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}
