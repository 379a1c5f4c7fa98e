/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vnicd-libvirt: libvirt's client for vnicd, as a process of its own. See api/libvirt-helper.md.
 *
 * A call into libvirt can be waited for, not called off. So a worker thread makes it, and this one
 * watches the clock: past the deadline it answers for the worker and executes the program anew,
 * which ends all other threads and closes the connection, whatever state they are in. The socket
 * to vnicd, and requests that wait in it, outlive that.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/log.h"
#include "base/sock.h"
#include "libvirt-hook/domain_json.h"
#include "libvirt-hook/hook.h"
#include "libvirt-hook/virt.h"

#define HELPER_FD 3
/* Started anew: vnicd was promised to hear of changes, which were not seen meanwhile. */
#define WATCHED "--watched"
/* The worker's own waiting ends this much before the deadline, so that it can say how it was. */
#define HELPER_MARGIN_MS 200

struct helper {
	struct virt *virt;
	const struct helper_request *request; /* the worker's while it works */
	uint64_t deadline;
	struct json_object *answer;
	int begin, done, changed; /* eventfds */
};

static void ring(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		abort(); /* an eventfd that takes no 1 is not one */
}

static void rung(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

static void *worker_thread(void *data)
{
	struct helper *h = data;

	for (;;) {
		struct vnic_err err = VNIC_ERR_INIT;
		int r;

		rung(h->begin);
		h->answer = helper_answer(h->request->id);
		r = virt_do(h->virt, h->request, h->deadline - HELPER_MARGIN_MS, h->answer, &err);
		if (r < 0) {
			json_object_put(h->answer);
			h->answer = helper_answer_error(h->request->id, &err);
		}
		ring(h->done);
	}
	return NULL;
}

/* Sends @o and puts it. vnicd reads its end at leisure: blocking here is right. */
static void answer(struct json_object *o, uint64_t id)
{
	const int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
	size_t size;
	const char *text = json_object_to_json_string_length(o, flags, &size);
	int r;

	if (size > VNIC_MSG_MAX) {
		struct vnic_err err;

		vnic_err_set(&err, 0, VNIC_E_LIMIT, "the answer has %zu bytes; a message holds %d",
			     size, VNIC_MSG_MAX);
		json_object_put(o);
		o = helper_answer_error(id, &err);
		text = json_object_to_json_string_length(o, flags, &size);
	}
	r = sock_send(HELPER_FD, text, size, NULL, 0);
	json_object_put(o);
	if (r < 0) {
		log_debug("vnicd is gone: %s", strerror(-r));
		_exit(0);
	}
}

static void start_anew(struct helper *h, char **argv)
{
	static char watched[] = WATCHED;
	char *again[] = { argv[0], virt_is_watched(h->virt) ? watched : NULL, NULL };

	/* The rest of descriptors is libvirt's, some of it another thread's at this very moment. */
	close_range(HELPER_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	execv("/proc/self/exe", again);
	log_err("cannot start anew: %s", strerror(errno));
	_exit(1);
}

/* Return: true when the worker is done, false when the deadline has passed. */
static bool wait_done(struct helper *h)
{
	for (;;) {
		struct pollfd p[] = { { .fd = h->done, .events = POLLIN }, { .fd = HELPER_FD } };
		uint64_t now = hook_now_ms();

		if (poll(p, 2, now < h->deadline ? (int)(h->deadline - now) : 0) < 0 &&
		    errno != EINTR)
			abort();
		if (p[0].revents) {
			rung(h->done);
			return true;
		}
		if (p[1].revents & (POLLHUP | POLLERR))
			_exit(0);
		if (hook_now_ms() >= h->deadline)
			return false;
	}
}

static void serve(struct helper *h, const char *data, size_t size, char **argv)
{
	struct helper_request q;
	struct vnic_err err = VNIC_ERR_INIT;
	uint64_t id;

	if (helper_request_parse(data, size, &q, &id, &err) < 0) {
		answer(helper_answer_error(id, &err), id);
		return;
	}
	h->request = &q;
	h->deadline = hook_now_ms() + q.timeout_ms;
	ring(h->begin);
	if (!wait_done(h)) {
		vnic_err_set(&err, 0, VNIC_E_TIMEOUT,
			     "libvirt did not answer within %g s: is libvirtd stopped or hung?",
			     q.timeout_ms / 1000.0);
		answer(helper_answer_error(id, &err), id);
		start_anew(h, argv);
	}
	answer(h->answer, id);
	helper_request_deinit(&q);
}

static int check_fd(void)
{
	int type;
	socklen_t len = sizeof(type);

	if (getsockopt(HELPER_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET) {
		log_err("descriptor 3 is not a SOCK_SEQPACKET socket: this is a helper that vnicd "
			"starts, see vnicd(8)");
		return -1;
	}
	return 0;
}

/* Until vnicd says something, it is told what happens. */
static void wait_request(struct helper *h)
{
	struct pollfd p[] = { { .fd = HELPER_FD, .events = POLLIN },
			      { .fd = h->changed, .events = POLLIN } };

	for (;;) {
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			abort();
		}
		if (p[1].revents) {
			rung(h->changed);
			answer(helper_event(), 0);
		}
		if (p[0].revents)
			return;
	}
}

int main(int argc, char **argv)
{
	static char buf[VNIC_MSG_MAX];
	struct helper h = { 0 };
	pthread_t thread;

	vnic_log_open("vnicd-libvirt", LOG_INFO);
	if (check_fd() < 0)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	if (fd_set_nonblock(HELPER_FD, false) < 0)
		return 1;
	h.begin = eventfd(0, EFD_CLOEXEC);
	h.done = eventfd(0, EFD_CLOEXEC);
	h.changed = eventfd(argc > 1 && str_eq(argv[1], WATCHED), EFD_CLOEXEC);
	h.virt = virt_new(h.changed);
	if (h.begin < 0 || h.done < 0 || h.changed < 0 || !h.virt ||
	    pthread_create(&thread, NULL, worker_thread, &h) != 0) {
		log_err("cannot start: %s", strerror(errno));
		return 1;
	}
	for (;;) {
		ssize_t n;

		wait_request(&h);
		n = sock_recv(HELPER_FD, buf, sizeof(buf), NULL, 0, NULL);
		if (n == 0 || n == -ECONNRESET)
			return 0; /* vnicd closed it, or has ended */
		if (n == -EMSGSIZE) {
			struct vnic_err err;

			vnic_err_set(&err, 0, VNIC_E_INVALID_MESSAGE,
				     "a message of more than %d bytes, or with descriptors",
				     VNIC_MSG_MAX);
			answer(helper_answer_error(0, &err), 0);
			continue;
		}
		if (n < 0) {
			log_err("reading descriptor 3: %s", strerror((int)-n));
			return 1;
		}
		serve(&h, buf, (size_t)n, argv);
	}
}
