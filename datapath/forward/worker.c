/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/worker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sock.h"
#include "base/str.h"
#include "datapath/forward/engine.h"

#define CONTROL_FD 3
#define STATE_FD   4

struct worker {
	struct engine engine;
	struct worker_state *ws;
	bool hung_up;
};

static void ack(const struct wire_header *h, int error, const char *reason)
{
	struct wire_ack a = { .h = { .type = WIRE_ACK, .port = h->port, .seq = h->seq },
			      .error = error };

	if (error < 0)
		strncat(a.reason, reason ? reason : strerror(-error), sizeof(a.reason) - 1);
	sock_send(CONTROL_FD, &a, sizeof(a), NULL, 0);
}

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close_safe(fds[i]);
}

/* MTU and CPU are taken with the descriptor. */
static int uplink_set(struct worker *w, const int *fds, size_t n_fds, const char **reason)
{
	int r = 0;

	if (n_fds > 1) {
		close_all(fds, n_fds);
		*reason = "an uplink has one descriptor";
		return -EINVAL;
	}
	if (n_fds > 0)
		r = tap_prepare(fds[0], reason);
	if (r < 0)
		close_all(fds, n_fds);
	engine_uplink_set(&w->engine, r < 0 || n_fds == 0 ? -1 : fds[0]);
	return r;
}

static void handle(struct worker *w, const union wire_message *m, size_t size, const int *fds,
		   size_t n_fds)
{
	const char *reason = NULL;
	int r = -EINVAL;

	if (m->h.type == WIRE_PORT_SET && size == sizeof(m->port_set)) {
		r = engine_port_set(&w->engine, &m->port_set, fds, n_fds, &reason);
	} else if (m->h.type == WIRE_UPLINK_SET && size == sizeof(m->uplink_set)) {
		r = uplink_set(w, fds, n_fds, &reason);
	} else {
		close_all(fds, n_fds);
		if (m->h.type == WIRE_PORT_DEL && m->h.port < DP_PORTS_MAX) {
			engine_port_del(&w->engine, m->h.port);
			r = 0;
		} else if (m->h.type == WIRE_GO) {
			r = engine_go(&w->engine);
		} else {
			reason = "a message of unknown type or wrong size";
		}
	}
	ack(&m->h, r, reason);
}

static void control(struct worker *w)
{
	int fds[VNIC_MSG_FDS_MAX];
	union wire_message m;
	size_t n_fds = 0;
	ssize_t n;

	n = sock_recv(CONTROL_FD, &m, sizeof(m), fds, VNIC_MSG_FDS_MAX, &n_fds);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		w->hung_up = true;
		return;
	}
	if ((size_t)n < sizeof(m.h)) {
		close_all(fds, n_fds);
		return;
	}
	handle(w, &m, (size_t)n, fds, n_fds);
}

int worker_main(void)
{
	static struct worker w;
	struct pollfd pfd = { .fd = CONTROL_FD, .events = POLLIN };

	w.ws = mmap(NULL, sizeof(*w.ws), PROT_READ | PROT_WRITE, MAP_SHARED, STATE_FD, 0);
	if (w.ws == MAP_FAILED) {
		log_err("worker: its state cannot be mapped: %m");
		return EXIT_FAILURE;
	}
	close(STATE_FD);
	if (w.ws->magic != DP_WORKER_MAGIC || w.ws->layout != DP_LAYOUT_VERSION ||
	    w.ws->size != sizeof(*w.ws)) {
		log_err("worker: its state has another layout");
		return EXIT_FAILURE;
	}
	engine_init(&w.engine, w.ws);
	while (!w.hung_up) {
		atomic_store(&w.ws->busy, 0);
		if (poll(&pfd, 1, -1) < 0 && errno != EINTR)
			break;
		if (worker_wakes(w.ws)) {
			struct wire_header h = { .type = WIRE_AWAKE };

			sock_send(CONTROL_FD, &h, sizeof(h), NULL, 0);
		}
		atomic_fetch_add(&w.ws->beat, 1);
		control(&w);
	}
	engine_deinit(&w.engine);
	return EXIT_SUCCESS;
}
