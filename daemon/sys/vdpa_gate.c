/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/vdpa_gate.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/vdpa.h>

#include "base/cleanup.h"

bool vdpa_gate_always;

struct vdpa_gate {
	struct loop_source *io, *now;
	loop_fn open;
	void *userdata;
	int fd; /* an eventfd: the thread has its own descriptor of it */
	bool asked;
};

/* The thread's; it may outlive the gate. */
struct question {
	uint16_t family;
	int fd;
};

/* A device of no name: what is wanted is the kernel's time, not its answer. */
static void ask_kernel(uint16_t family)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	_cleanup_(closep) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	struct genlmsghdr *genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	genl->cmd = VDPA_CMD_DEV_GET;
	genl->version = VDPA_GENL_VERSION;
	mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, ".");
	if (fd >= 0 && sendto(fd, nlh, nlh->nlmsg_len, MSG_NOSIGNAL, (struct sockaddr *)&kernel,
			      sizeof(kernel)) < 0)
		return; /* then it does not wait, either */
}

static void *asker(void *arg)
{
	struct question *q = arg;

	ask_kernel(q->family);
	eventfd_write(q->fd, 1);
	close(q->fd);
	free(q);
	return NULL;
}

static int start(struct question *q)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int r;

	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, asker, q);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int vdpa_gate_ask(struct vdpa_gate *gate, uint16_t family)
{
	struct question *q;
	int r;

	if (gate->asked)
		return 0;
	if (vdpa_gate_always) {
		gate->asked = true;
		return loop_timer_set(gate->now, 0);
	}
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->family = family;
	q->fd = dup(gate->fd);
	r = q->fd < 0 ? -errno : start(q);
	if (r < 0) {
		close_safe(q->fd);
		free(q);
		return r;
	}
	gate->asked = true;
	return 0;
}

static void on_open(void *userdata)
{
	struct vdpa_gate *gate = userdata;

	gate->asked = false;
	gate->open(gate->userdata);
}

static void on_readable(void *userdata, int fd, unsigned int events)
{
	eventfd_t n;

	(void)events;
	if (eventfd_read(fd, &n) == 0)
		on_open(userdata);
}

int vdpa_gate_new(struct loop *loop, loop_fn open, void *userdata, struct vdpa_gate **ret)
{
	struct vdpa_gate *gate = calloc(1, sizeof(*gate));
	int r;

	if (!gate)
		return -ENOMEM;
	gate->open = open;
	gate->userdata = userdata;
	gate->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = gate->fd < 0 ? -errno
			 : loop_add_io(loop, gate->fd, LOOP_READ, on_readable, gate, &gate->io);
	if (r == 0)
		r = loop_add_timer(loop, on_open, gate, &gate->now);
	if (r < 0) {
		vdpa_gate_free(gate);
		return r;
	}
	*ret = gate;
	return 0;
}

struct vdpa_gate *vdpa_gate_free(struct vdpa_gate *gate)
{
	if (!gate)
		return NULL;
	loop_source_free(gate->io);
	loop_source_free(gate->now);
	close_safe(gate->fd);
	free(gate);
	return NULL;
}
