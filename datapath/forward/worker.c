/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process around the engine. It looks at rings as long as frames come, and sleeps when none have for a
 * while; then only kicks, the uplink and the keeper wake it. Events are looked at in between, a few
 * microseconds apart.
 *
 * It works until its control socket hangs up. Of that the service manager may have the keeper's end too: then the worker
 * outlives its keeper, on what it was told last, until the next keeper's worker is ready to go on in its place.
 */
#include "datapath/forward/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sock.h"
#include "base/str.h"
#include "datapath/forward/announce.h"
#include "datapath/forward/confine.h"
#include "datapath/forward/engine.h"
#include "datapath/forward/fault.h"

#define CONTROL_FD    3
#define STATE_FD      4
#define LAST_FD	      STATE_FD
#define EVENT_CONTROL ENGINE_EVENTS
#define EVENT_UPLINK  (ENGINE_EVENTS + 1)
#define EVENTS	      64
#define EVENTS_NS     10000 /* while busy, events are looked at so often */

struct worker {
	struct engine engine;
	struct worker_state *ws;
	int epoll_fd;
	uint64_t last_events;
	int cpu; /* -1: any */
	bool hung_up;
	bool uplink_ready; /* there may be more to read */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The keeper reads its answers; where it has not yet, they wait. */
static void tell(struct worker *w, const void *m, size_t size)
{
	struct pollfd pfd = { .fd = CONTROL_FD, .events = POLLOUT };
	int r;

	while ((r = sock_send(CONTROL_FD, m, size, NULL, 0)) == -EAGAIN)
		poll(&pfd, 1, -1);
	if (r < 0)
		w->hung_up = true;
}

static void ack(struct worker *w, const struct wire_header *h, int error, const char *reason)
{
	struct wire_ack a = { .h = { .type = WIRE_ACK, .port = h->port, .seq = h->seq },
			      .error = error < 0 ? error : 0 };

	if (error < 0)
		strncat(a.reason, reason ? reason : strerror(-error), sizeof(a.reason) - 1);
	tell(w, &a, sizeof(a));
}

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close_safe(fds[i]);
}

static int watch_fd(struct worker *w, int fd, uint64_t event)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = event };

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* Where it cannot be pinned to that CPU it runs on another, which is slower but no error. */
static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int set_uplink(struct worker *w, const struct wire_uplink_set *m, const int *fds,
		      size_t n_fds, const char **reason)
{
	int r = 0;

	if (n_fds > 1) {
		close_all(fds, n_fds);
		*reason = "an uplink has one descriptor";
		return -EINVAL;
	}
	w->cpu = m->cpu;
	/* A predecessor works there until it is relieved. */
	if (w->engine.live)
		pin(w->cpu);
	if (w->engine.uplink.fd >= 0)
		epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->engine.uplink.fd, NULL);
	w->uplink_ready = false;
	engine_uplink_set(&w->engine, UPLINK_TAP, -1);
	if (n_fds == 0)
		return 0;
	r = uplink_prepare(m->kind, fds[0], reason);
	if (r == 0)
		r = watch_fd(w, fds[0], EVENT_UPLINK);
	if (r < 0)
		close_all(fds, n_fds);
	else
		engine_uplink_set(&w->engine, m->kind, fds[0]);
	return r;
}

/*
 * Two workers on the same rings would tear them. A predecessor may live: its keeper is gone and it went on without, or it
 * is caught in the kernel. Wait for its end, here. The lock is a process's own and goes with it, after its memory has
 * gone; and with any descriptor of the file that it closes.
 */
static int lock_state(short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET };
	int r;

	do {
		r = fcntl(STATE_FD, F_SETLKW, &lock);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* From here on the rings are ours. */
static void go(struct worker *w)
{
	if (lock_state(F_WRLCK) < 0)
		_exit(EXIT_FAILURE);
	/* What a predecessor has said of itself meanwhile. */
	atomic_store(&w->ws->busy, 1);
	atomic_store(&w->ws->fault_addr, 0);
	atomic_store(&w->ws->fault_port, 0);
	pin(w->cpu);
	w->engine.now = now_ns();
	/* An intent that could not be one is the keeper's business no more. */
	engine_go(&w->engine);
}

static void handle(struct worker *w, const union wire_message *m, size_t size, const int *fds,
		   size_t n_fds)
{
	const char *reason = NULL;
	int r = -EINVAL;

	w->engine.now = now_ns();
	if (m->h.type == WIRE_PORT_SET && size == sizeof(m->port_set)) {
		atomic_store(&w->ws->at_port, m->h.port + 1);
		r = engine_port_set(&w->engine, &m->port_set, fds, n_fds, &reason);
	} else if (m->h.type == WIRE_UPLINK_SET && size == sizeof(m->uplink_set)) {
		r = set_uplink(w, &m->uplink_set, fds, n_fds, &reason);
	} else {
		close_all(fds, n_fds);
		if (m->h.type == WIRE_PORT_DEL && m->h.port < DP_PORTS_MAX) {
			engine_port_del(&w->engine, m->h.port);
			r = 0;
		} else if (m->h.type == WIRE_GO) {
			go(w);
			r = 0;
		} else {
			reason = "a message of unknown type or wrong size";
		}
	}
	ack(w, &m->h, r, reason);
}

static void control(struct worker *w)
{
	int fds[VNIC_MSG_FDS_MAX];
	union wire_message m;
	size_t n_fds = 0;
	ssize_t n;

	while (!w->hung_up) {
		n = sock_recv(CONTROL_FD, &m, sizeof(m), fds, VNIC_MSG_FDS_MAX, &n_fds);
		if (n == -EAGAIN)
			return;
		if (n < (ssize_t)sizeof(m.h)) {
			if (n > 0)
				close_all(fds, n_fds);
			w->hung_up = true;
			return;
		}
		handle(w, &m, (size_t)n, fds, n_fds);
	}
}

static void kicked(struct worker *w, uint64_t event)
{
	struct ring *r = engine_ring(&w->engine, (unsigned int)(event / DP_RINGS_MAX),
				     (unsigned int)(event % DP_RINGS_MAX));

	if (r)
		engine_kicked(&w->engine, r);
}

/*
 * A tap that was deleted says so for ever, and would wake us for ever. It does not come back: whoever makes
 * another gives us another descriptor. A packet socket's error is gone once it was read.
 */
static void uplink_error(struct worker *w)
{
	if (w->engine.uplink.kind == UPLINK_PACKET) {
		w->uplink_ready = true;
		return;
	}
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->engine.uplink.fd, NULL);
	engine_uplink_set(&w->engine, UPLINK_TAP, -1);
	w->uplink_ready = false;
}

/* Messages last: they may take away what other events of the same batch are about. */
static void events(struct worker *w, int timeout)
{
	struct epoll_event ev[EVENTS];
	bool message = false;
	int n = epoll_wait(w->epoll_fd, ev, EVENTS, timeout);

	w->engine.now = now_ns();

	for (int i = 0; i < n; i++) {
		if (ev[i].data.u64 == EVENT_CONTROL)
			message = true;
		else if (ev[i].data.u64 == EVENT_UPLINK && ev[i].events & EPOLLERR)
			uplink_error(w);
		else if (ev[i].data.u64 == EVENT_UPLINK)
			w->uplink_ready = true;
		else
			kicked(w, ev[i].data.u64);
	}
	if (message)
		control(w);
}

static void wake(struct worker *w)
{
	if (worker_wakes(w->ws)) {
		struct wire_header h = { .type = WIRE_AWAKE };

		tell(w, &h, sizeof(h));
	}
}

static void report_broken(struct worker *w)
{
	struct port *p;

	while ((p = engine_next_broken(&w->engine))) {
		struct wire_port_broken m = { .h = { .type = WIRE_PORT_BROKEN, .port = p->index } };

		strncat(m.reason, p->broken, sizeof(m.reason) - 1);
		tell(w, &m, sizeof(m));
	}
}

static void turn(struct worker *w)
{
	uint64_t now = now_ns();

	engine_turn(&w->engine, now);
	/* Before WIRE_GO nobody has rings: what the tap holds waits there. */
	if (w->uplink_ready && w->engine.live)
		w->uplink_ready = engine_uplink_read(&w->engine) == BURST;
	atomic_store_explicit(&w->ws->at_port, 0, memory_order_relaxed);
	engine_beat(&w->engine);
	if (w->engine.any_broken)
		report_broken(w);
	if (engine_idle(&w->engine) && !w->uplink_ready) {
		atomic_store(&w->ws->busy, 0);
		events(w, announce_timeout(&w->engine, now_ns()));
		wake(w);
		w->last_events = now_ns();
	} else if (now - w->last_events >= EVENTS_NS) {
		events(w, 0);
		w->last_events = now;
	}
}

static const struct worker_state *shared;

/*
 * The keeper has died (prctl(2), PR_SET_PDEATHSIG), and we would go on: unless a connection ended with it. A front end that
 * sees that reckons with rings at rest.
 */
static void on_keeper_gone(int sig)
{
	(void)sig;
	if (atomic_load(&shared->bound))
		_exit(EXIT_FAILURE);
}

static int expect_keepers_end(const struct worker_state *ws)
{
	struct sigaction sa = { .sa_handler = on_keeper_gone, .sa_flags = SA_RESTART };

	shared = ws;
	sigemptyset(&sa.sa_mask);
	return sigaction(SIGHUP, &sa, NULL) < 0 ? -errno : 0;
}

/* All that needs more than confine() leaves. */
static int prepare(struct worker *w)
{
	int r;

	w->cpu = -1;
	if (close_above(LAST_FD) < 0)
		return -errno;
	w->ws = mmap(NULL, sizeof(*w->ws), PROT_READ | PROT_WRITE, MAP_SHARED, STATE_FD, 0);
	if (w->ws == MAP_FAILED)
		return -errno;
	if (w->ws->magic != DP_WORKER_MAGIC || w->ws->layout != DP_LAYOUT_VERSION ||
	    w->ws->size != sizeof(*w->ws))
		return -ESTALE;
	signal(SIGPIPE, SIG_IGN);
	r = expect_keepers_end(w->ws);
	if (r < 0)
		return r;
	r = fd_set_nonblock(CONTROL_FD, true);
	if (r < 0)
		return r;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll_fd < 0)
		return -errno;
	engine_init(&w->engine, w->ws);
	w->engine.epoll_fd = w->epoll_fd;
	r = watch_fd(w, CONTROL_FD, EVENT_CONTROL);
	if (r < 0)
		return r;
	return fault_install(&w->engine);
}

int worker_main(void)
{
	static struct worker w;
	int r;

	r = prepare(&w);
	if (r == 0)
		r = confine();
	if (r < 0) {
		errno = -r;
		log_err("worker: %m");
		return EXIT_FAILURE;
	}
	atomic_store(&w.ws->busy, 1);
	while (!w.hung_up)
		turn(&w);
	/* A successor waits for this, and not for memory to be unmapped. No ring is touched any more. */
	lock_state(F_UNLCK);
	engine_deinit(&w.engine);
	return EXIT_SUCCESS;
}
