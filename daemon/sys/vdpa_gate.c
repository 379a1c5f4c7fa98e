/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/vdpa_gate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/vdpa.h>

#include "base/child.h"
#include "base/cleanup.h"

bool vdpa_gate_always;

struct vdpa_gate {
	struct loop *loop;
	struct loop_source *end, *now;
	loop_fn open;
	void *userdata;
	pid_t pid; /* 0: nobody asks */
	int fd; /* the child holds its other end: the end of file is the child's */
	bool asked;
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

static void on_open(void *userdata)
{
	struct vdpa_gate *gate = userdata;

	gate->asked = false;
	gate->open(gate->userdata);
}

static void forget(struct vdpa_gate *gate)
{
	loop_source_free(gate->end);
	gate->end = NULL;
	gate->fd = close_safe(gate->fd);
	gate->pid = 0;
}

static void on_end(void *userdata, int fd, unsigned int events)
{
	struct vdpa_gate *gate = userdata;

	(void)fd;
	(void)events;
	waitpid(gate->pid, NULL, 0); /* it is past all that may hang */
	forget(gate);
	on_open(gate);
}

static int start(struct vdpa_gate *gate, uint16_t family)
{
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	gate->fd = fds[0];
	r = loop_add_io(gate->loop, gate->fd, LOOP_READ, on_end, gate, &gate->end);
	if (r == 0) {
		/* Last: whatever failed after it would leave a child that may hang, and that nobody waits for. */
		r = child_fork(fds[1]);
		if (r == 0) {
			ask_kernel(family);
			_exit(0);
		}
	}
	close(fds[1]);
	if (r < 0) {
		forget(gate);
		return r;
	}
	gate->pid = r;
	return 0;
}

int vdpa_gate_ask(struct vdpa_gate *gate, uint16_t family)
{
	int r;

	if (gate->asked)
		return 0;
	if (vdpa_gate_always) {
		gate->asked = true;
		return loop_timer_set(gate->now, 0);
	}
	r = start(gate, family);
	gate->asked = r == 0;
	return r;
}

int vdpa_gate_new(struct loop *loop, loop_fn open, void *userdata, struct vdpa_gate **ret)
{
	struct vdpa_gate *gate = calloc(1, sizeof(*gate));
	int r;

	if (!gate)
		return -ENOMEM;
	gate->loop = loop;
	gate->open = open;
	gate->userdata = userdata;
	gate->fd = -1;
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
	if (gate->pid) {
		/* It ends once the kernel lets it, as an orphan. */
		kill(gate->pid, SIGKILL);
		waitpid(gate->pid, NULL, WNOHANG);
		forget(gate);
	}
	loop_source_free(gate->now);
	free(gate);
	return NULL;
}
