/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sock.h"
#include "datapath/keeper/shm.h"

#define HANG_US 500000 /* without a heartbeat, while busy */
#define ACK_US \
	10000000 /* without any answer, while one is owed: mapping a large guest takes time */
static const struct timeval tick_time = { .tv_usec = 100000 };
static const struct timeval retry_time = { .tv_usec = 20000 };

struct worker {
	struct event_base *base;
	const struct worker_ops *ops;
	void *userdata;

	int state_fd;
	struct worker_state *state;

	pid_t pid; /* 0: no process */
	int pidfd, sock;
	struct event *death_ev, *read_ev, *write_ev, *tick_ev;
	struct event *retry_ev; /* the socket has room, the kernel has not */
	bool held_up; /* that was said */
	bool hung; /* killed by us */
	char hang_reason[DP_REASON_MAX];

	bool ticking;
	bool expecting;
	uint64_t expecting_since; /* or since the last answer */
	uint64_t beat; /* as last seen … */
	uint64_t beat_wall, beat_cpu; /* … and when that was first so, µs */
};

static uint64_t now_us(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) < 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t cpu_us(pid_t pid)
{
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) == 0 ? now_us(clock) : 0;
}

/* The state letter of /proc/PID/stat, proc(5); 0 where it cannot be read. */
static char process_state(pid_t pid)
{
	_cleanup_(freep) char *data = NULL;
	char name[40], *p;

	snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
	if (file_read(AT_FDCWD, name, 4096, &data, NULL) < 0)
		return 0;
	p = strrchr(data, ')');
	return p && p[1] ? p[2] : 0;
}

static void start_ticking(struct worker *w)
{
	if (w->ticking || !w->pid)
		return;
	w->ticking = true;
	w->beat = atomic_load(&w->state->beat);
	w->beat_wall = now_us(CLOCK_MONOTONIC);
	w->beat_cpu = cpu_us(w->pid);
	atomic_store(&w->state->watched, 1);
	event_add(w->tick_ev, &tick_time);
}

static void stop_ticking(struct worker *w)
{
	w->ticking = false;
	event_del(w->tick_ev);
}

static void kill_hung(struct worker *w, const char *why)
{
	if (w->hung)
		return;
	w->hung = true;
	snprintf(w->hang_reason, sizeof(w->hang_reason), "%s", why);
	kill(w->pid, SIGKILL);
}

/* Who has the lock that forward/worker.c takes; 0: nobody, or nobody that we could name. */
static pid_t lock_holder(int state_fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(state_fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK || lock.l_pid <= 0)
		return 0;
	return lock.l_pid;
}

/* No heartbeat since w->beat_wall: is that a hang, or does it just not get the CPU? */
static void check_hang(struct worker *w, uint64_t now)
{
	uint64_t silent = now - w->beat_wall;
	pid_t holder = lock_holder(w->state_fd);
	char state = process_state(w->pid);

	/* It waits for another's end; the beat is not its own. */
	if (holder != 0 && holder != w->pid)
		return;
	if (state == 't') /* in a debugger's hands */
		return;
	if (state == 'T') {
		if (silent >= HANG_US)
			kill_hung(w, "it was stopped by a signal");
		return;
	}
	if (!atomic_load(&w->state->busy) || silent < HANG_US)
		return;
	if (state == 'R' && cpu_us(w->pid) - w->beat_cpu < HANG_US / 2)
		return;
	kill_hung(w, state == 'R' ? "it ran without a heartbeat for half a second"
				  : "it waited without a heartbeat for half a second");
}

static void on_tick(evutil_socket_t fd, short what, void *userdata)
{
	struct worker *w = userdata;
	uint64_t now = now_us(CLOCK_MONOTONIC), beat = atomic_load(&w->state->beat);
	bool moved = beat != w->beat;

	(void)fd, (void)what;
	if (moved) {
		w->beat = beat;
		w->beat_wall = now;
		w->beat_cpu = cpu_us(w->pid);
	} else {
		check_hang(w, now);
	}
	if (w->expecting && now - w->expecting_since > ACK_US)
		kill_hung(w, "it answered no message for ten seconds");
	/* Asleep for a whole tick, nothing owed, not stopped: stop looking. */
	if (!moved && !w->expecting && !w->hung && now - w->beat_wall >= HANG_US &&
	    !atomic_load(&w->state->busy) && process_state(w->pid) != 'T' &&
	    worker_unwatch(w->state))
		stop_ticking(w);
	else
		event_add(w->tick_ev, &tick_time);
	w->ops->tick(w->userdata);
}

void worker_expect(struct worker *w, bool answers)
{
	w->expecting = answers;
	w->expecting_since = now_us(CLOCK_MONOTONIC);
	if (answers)
		start_ticking(w);
}

void worker_check_stopped(struct worker *w)
{
	if (w->pid && process_state(w->pid) == 'T')
		start_ticking(w);
}

static void drop_process(struct worker *w)
{
	struct event **evs[] = { &w->death_ev, &w->read_ev, &w->write_ev };

	for (size_t i = 0; i < sizeof(evs) / sizeof(evs[0]); i++) {
		if (*evs[i])
			event_free(*evs[i]);
		*evs[i] = NULL;
	}
	if (w->ticking)
		stop_ticking(w);
	event_del(w->retry_ev);
	w->held_up = false;
	w->pidfd = close_safe(w->pidfd);
	w->sock = close_safe(w->sock);
	w->pid = 0;
	w->expecting = false;
}

/* Crash, hang, or killed from outside: the latter is nobody's fault here. */
static void judge(struct worker *w, const siginfo_t *si, struct worker_death *d)
{
	uint32_t at = atomic_load(&w->state->at_port), fault = atomic_load(&w->state->fault_port);

	d->pid = w->pid;
	/* It may have been dead already when it was found to be deaf, and of something else. */
	if (w->hung && si->si_code != CLD_EXITED && si->si_status == SIGKILL) {
		d->guilty = strstr(w->hang_reason, "heartbeat") != NULL;
		snprintf(d->reason, sizeof(d->reason), "%s", w->hang_reason);
	} else if (si->si_code == CLD_EXITED) {
		d->guilty = true;
		snprintf(d->reason, sizeof(d->reason), "it exited with status %d", si->si_status);
	} else {
		switch (si->si_status) {
		case SIGSEGV:
		case SIGBUS:
		case SIGILL:
		case SIGFPE:
		case SIGABRT:
		case SIGSYS:
		case SIGTRAP:
			d->guilty = true;
		}
		snprintf(d->reason, sizeof(d->reason), "it was ended by signal %d (%s)",
			 si->si_status, strsignal(si->si_status));
	}
	if (d->guilty)
		d->port = fault ? fault : at;
}

static void on_death(evutil_socket_t fd, short what, void *userdata)
{
	struct worker *w = userdata;
	struct worker_death d = { 0 };
	siginfo_t si = { 0 };

	(void)fd, (void)what;
	if (waitid(P_PID, (id_t)w->pid, &si, WEXITED | WNOHANG) < 0 || si.si_pid == 0)
		return;
	judge(w, &si, &d);
	drop_process(w);
	w->ops->died(w->userdata, &d);
}

/* The keeper believes nothing of a worker's message but its length. */
static bool well_formed(const union wire_message *m, size_t size)
{
	switch (m->h.type) {
	case WIRE_ACK:
		return size == sizeof(m->ack);
	case WIRE_PORT_BROKEN:
		return size == sizeof(m->broken);
	case WIRE_AWAKE:
		return size == sizeof(m->h);
	default:
		return false;
	}
}

static void on_worker_message(evutil_socket_t fd, short what, void *userdata)
{
	struct worker *w = userdata;
	union wire_message m;

	(void)what;
	for (int i = 0; i < 32 && w->pid; i++) {
		size_t n_fds = 0;
		ssize_t n = sock_recv(fd, &m, sizeof(m), NULL, 0, &n_fds);

		if (n == -EAGAIN)
			return;
		if (n < (ssize_t)sizeof(m.h) || !well_formed(&m, (size_t)n)) {
			event_del(w->read_ev);
			/*
			 * At its end the socket closes just before the process is seen dead, with the
			 * status that it has by then. One that lives on could not be told anything.
			 */
			if (n > 0)
				kill_hung(w, "it sent a message that is none");
			else
				kill(w->pid, SIGKILL);
			return;
		}
		if (m.h.type == WIRE_ACK)
			w->expecting_since = now_us(CLOCK_MONOTONIC);
		if (m.h.type == WIRE_AWAKE)
			start_ticking(w);
		else
			w->ops->message(w->userdata, &m);
	}
}

static void on_worker_writable(evutil_socket_t fd, short what, void *userdata)
{
	struct worker *w = userdata;

	(void)fd, (void)what;
	w->ops->writable(w->userdata);
}

static void on_retry(evutil_socket_t fd, short what, void *userdata)
{
	struct worker *w = userdata;

	(void)fd, (void)what;
	w->ops->writable(w->userdata);
}

/*
 * Descriptors on their way are limited for all processes of a user, and kernel memory for all. Neither is
 * about this socket, which goes on being writable: to wait for that would be to spin.
 */
static void hold_up(struct worker *w, int error)
{
	if (!w->held_up)
		log_warning(
			"worker %d cannot be told anything at the moment, which is tried again: %s",
			(int)w->pid, strerror(-error));
	w->held_up = true;
	event_add(w->retry_ev, &retry_time);
}

int worker_send(struct worker *w, const void *msg, size_t size, const int *fds, size_t n_fds)
{
	char why[DP_REASON_MAX];
	int r;

	if (!w->pid)
		return -ESRCH;
	r = sock_send(w->sock, msg, size, fds, n_fds);
	switch (r) {
	case 0:
		w->held_up = false;
		break;
	case -EAGAIN:
		event_add(w->write_ev, NULL);
		break;
	case -ETOOMANYREFS:
	case -ENOBUFS:
	case -ENOMEM:
		hold_up(w, r);
		break;
	default:
		snprintf(why, sizeof(why), "it cannot be told anything: %s", strerror(-r));
		kill_hung(w, why);
	}
	return r;
}

/* In the child, between fork and exec: only what signal-safety(7) allows. */
static void __attribute__((noreturn))
become_worker(int sock, int state_fd, pid_t keeper, bool outlives)
{
	static char arg0[] = "vnicd-datapath", arg1[] = "--worker", arg2[] = "--log-level";
	static char levels[][8] = {
		"err", "err", "err", "err", "warning", "notice", "info", "debug"
	};
	char *argv[] = { arg0, arg1, arg2, levels[vnic_log_level() & 7], NULL };

	/* Above both targets first, so that neither overwrites the other. */
	sock = fcntl(sock, F_DUPFD, 10);
	state_fd = fcntl(state_fd, F_DUPFD, 10);
	if (sock < 0 || state_fd < 0 || dup2(sock, 3) < 0 || dup2(state_fd, 4) < 0 ||
	    syscall(SYS_close_range, 5U, ~0U, 0U) < 0)
		_exit(126);
	/* Where nobody goes on in its place a keeper that is killed takes its workers with it; else they are told. */
	if (prctl(PR_SET_PDEATHSIG, outlives ? SIGHUP : SIGKILL) < 0 || getppid() != keeper)
		_exit(126);
	execv("/proc/self/exe", argv);
	_exit(127);
}

static int watch_process(struct worker *w)
{
	w->pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	if (w->pidfd < 0)
		return -errno;
	w->death_ev = event_new(w->base, w->pidfd, EV_READ | EV_PERSIST, on_death, w);
	w->read_ev = event_new(w->base, w->sock, EV_READ | EV_PERSIST, on_worker_message, w);
	w->write_ev = event_new(w->base, w->sock, EV_WRITE, on_worker_writable, w);
	if (!w->death_ev || !w->read_ev || !w->write_ev || event_add(w->death_ev, NULL) < 0 ||
	    event_add(w->read_ev, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int worker_start(struct worker *w, bool outlives)
{
	_cleanup_(closep) int theirs = -1;
	pid_t keeper = getpid();
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	w->sock = pair[0];
	theirs = pair[1];
	r = fd_set_nonblock(w->sock, true);
	if (r < 0) {
		w->sock = close_safe(w->sock);
		return r;
	}
	/* All but the intent, which is the successor's to finish. */
	w->state->magic = DP_WORKER_MAGIC;
	w->state->layout = DP_LAYOUT_VERSION;
	w->state->size = sizeof(*w->state);
	atomic_store(&w->state->busy, 0);
	atomic_store(&w->state->watched, 0);
	atomic_store(&w->state->at_port, 0);
	atomic_store(&w->state->fault_addr, 0);
	atomic_store(&w->state->fault_port, 0);
	w->hung = false;
	w->pid = fork();
	if (w->pid == 0)
		become_worker(theirs, w->state_fd, keeper, outlives);
	if (w->pid < 0) {
		r = -errno;
		w->pid = 0;
		w->sock = close_safe(w->sock);
		return r;
	}
	r = watch_process(w);
	if (r < 0) {
		kill(w->pid, SIGKILL);
		waitpid(w->pid, NULL, 0);
		drop_process(w);
	}
	return r;
}

pid_t worker_pid(const struct worker *w)
{
	return w ? w->pid : 0;
}

struct worker *worker_leave(struct worker *w)
{
	void *map;

	if (!w)
		return NULL;
	if (w->pid)
		drop_process(w);
	if (w->tick_ev)
		event_free(w->tick_ev);
	if (w->retry_ev)
		event_free(w->retry_ev);
	map = w->state;
	shm_drop(sizeof(*w->state), &w->state_fd, &map);
	free(w);
	return NULL;
}

struct worker *worker_free(struct worker *w)
{
	if (w && w->pid) {
		kill(w->pid, SIGKILL);
		waitpid(w->pid, NULL, 0);
	}
	return worker_leave(w);
}
DEFINE_CLEANUP(struct worker *, worker_free)

int worker_state_fd(const struct worker *w)
{
	return w->state_fd;
}

void worker_bind(struct worker *w, bool bound)
{
	atomic_store(&w->state->bound, bound);
}

int worker_socket(const struct worker *w)
{
	return w->sock;
}

void worker_end_others(int state_fd, pid_t own, int wait_ms)
{
	pid_t pid = lock_holder(state_fd);
	_cleanup_(closep) int pidfd = -1;
	struct pollfd end;

	if (pid == 0 || pid == own || pid == getpid())
		return;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* Still the same process: its number may have become another's before we had hold of it. */
	if (pidfd < 0 || lock_holder(state_fd) != pid)
		return;
	log_warning("worker %d of a keeper that is gone does not make way, and is killed",
		    (int)pid);
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0U);
	end = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	poll(&end, 1, wait_ms);
}

static int get_state(struct worker *w, int state_fd)
{
	struct vnic_err ignored = VNIC_ERR_INIT;
	void *map;
	int r;

	if (state_fd < 0) {
		r = shm_new("vnicd-worker", sizeof(*w->state), &w->state_fd, &map);
	} else {
		r = shm_map(state_fd, sizeof(*w->state), &map, &ignored);
		if (r == 0) {
			w->state = map;
			w->state_fd = fcntl(state_fd, F_DUPFD_CLOEXEC, 3);
			if (w->state_fd < 0)
				r = -errno;
		}
	}
	if (r == 0)
		w->state = map;
	return r;
}

int worker_new(struct event_base *base, const struct worker_ops *ops, void *userdata, int state_fd,
	       struct worker **ret)
{
	_cleanup_(worker_freep) struct worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->base = base;
	w->ops = ops;
	w->userdata = userdata;
	w->state_fd = w->pidfd = w->sock = -1;
	r = get_state(w, state_fd);
	if (r < 0)
		return r;
	w->tick_ev = evtimer_new(base, on_tick, w);
	w->retry_ev = evtimer_new(base, on_retry, w);
	if (!w->tick_ev || !w->retry_ev)
		return -ENOMEM;
	*ret = take_ptr(w);
	return 0;
}
