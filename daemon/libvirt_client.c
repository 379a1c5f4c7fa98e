/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Requests are a list in the order they were made. The helper works them off in that order, so
 * the first one that was sent is the one it is at: a death or a hang is that one's fault, and it alone fails; the
 * others, which were not begun, go to the next helper. So each death uses up a request, and no helper that cannot
 * live is started for ever.
 *
 * The helper keeps its own deadlines; ours, some seconds later, is for a helper that hangs as a whole.
 */
#include "daemon/libvirt_client.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sock.h"

#define HELPER_PROGRAM VNIC_LIBEXECDIR "/vnicd-libvirt"
#define HELPER_FD      3
#ifndef GRACE_MS
#define GRACE_MS 5000
#endif

extern char **environ;

struct libvirt_request {
	struct libvirt_client *client;
	uint64_t id;
	struct json_object *message;
	unsigned int timeout_ms;
	bool sent;
	libvirt_done done;
	void *arg;
	struct libvirt_request *next;
};

struct libvirt_client {
	struct event_base *base;
	char *program;
	struct libvirt_request *first, **last;
	uint64_t last_id;
	pid_t pid; /* 0: no helper */
	int fd, pidfd;
	struct event *io; /* answers; and room to send, while something waits */
	struct event *child; /* the helper has ended */
	struct event *deadline; /* of the first request */
	struct event *kick; /* send, or start a helper, from the loop */
	void (*changed)(void *arg); /* or NULL */
	void *changed_arg;
};

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_child(evutil_socket_t fd, short what, void *arg);

static void request_free(struct libvirt_request *q)
{
	json_object_put(q->message);
	free(q);
}

/* Take the first request off the list and answer it. */
static void finish_first(struct libvirt_client *c, const struct vnic_err *err,
			 struct json_object *answer)
{
	struct libvirt_request *q = c->first;

	c->first = q->next;
	if (!c->first)
		c->last = &c->first;
	evtimer_del(c->deadline);
	/* The next one's turn begins. */
	event_active(c->kick, EV_TIMEOUT, 0);
	q->done(q->arg, err, answer);
	request_free(q);
}

static void fail_first(struct libvirt_client *c, struct vnic_err err)
{
	finish_first(c, &err, NULL);
}

static void set_deadline(struct libvirt_client *c)
{
	struct timeval tv;
	unsigned int ms;

	/* Also of one that was not sent: the helper before it may be one that no signal ends (state D). */
	if (!c->first || evtimer_pending(c->deadline, NULL))
		return;
	ms = c->first->timeout_ms + GRACE_MS;
	tv = (struct timeval){ ms / 1000, (suseconds_t)(ms % 1000) * 1000 };
	evtimer_add(c->deadline, &tv);
}

static void wait_for(struct libvirt_client *c, bool room)
{
	event_del(c->io);
	event_assign(c->io, c->base, c->fd, EV_READ | (room ? EV_WRITE : 0), on_io, c);
	event_add(c->io, NULL);
}

static void drop_socket(struct libvirt_client *c)
{
	if (c->fd < 0)
		return;
	event_del(c->io);
	c->fd = close_safe(c->fd);
}

/* The helper is not wanted any more; its end is told by the pidfd. */
static void kill_helper(struct libvirt_client *c)
{
	drop_socket(c);
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
}

static int spawn(struct libvirt_client *c, int helper_fd, pid_t *ret)
{
	char *argv[] = { c->program, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawn_file_actions_init(&actions);
	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r) {
		posix_spawn_file_actions_destroy(&actions);
		return -r;
	}
	/* dup2 onto itself clears close-on-exec here, too (glibc 2.29). */
	r = posix_spawn_file_actions_adddup2(&actions, helper_fd, HELPER_FD);
	if (r == 0)
		r = posix_spawnattr_setsigmask(&attr, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(&attr, &all);
	if (r == 0)
		r = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (r == 0)
		r = posix_spawn(ret, c->program, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int start_helper(struct libvirt_client *c)
{
	_cleanup_(closep) int ours = -1, theirs = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = fd_set_nonblock(ours, true);
	if (r < 0)
		return r;
	r = spawn(c, theirs, &c->pid);
	if (r < 0) {
		c->pid = 0;
		return r;
	}
	c->pidfd = pidfd_open(c->pid, 0);
	if (c->pidfd < 0) {
		r = -errno;
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		c->pid = 0;
		return r;
	}
	event_assign(c->child, c->base, c->pidfd, EV_READ, on_child, c);
	event_add(c->child, NULL);
	c->fd = take_fd(&ours);
	log_debug("started %s as process %d", c->program, (int)c->pid);
	return 0;
}

static void send_queued(struct libvirt_client *c)
{
	for (struct libvirt_request *q = c->first; q; q = q->next) {
		const char *text;
		int r;

		if (q->sent)
			continue;
		text = json_object_to_json_string_ext(q->message, JSON_C_TO_STRING_PLAIN);
		r = sock_send(c->fd, text, strlen(text), NULL, 0);
		if (r == -EAGAIN) {
			wait_for(c, true);
			return;
		}
		if (r < 0) {
			/* It has ended, and what it answered before may still be unread: its end tells all. */
			q->sent = q == c->first;
			break;
		}
		q->sent = true;
	}
	wait_for(c, false);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct libvirt_client *c = arg;
	int r;

	(void)fd;
	(void)what;
	if (!c->first)
		return;
	if (c->pid == 0) {
		r = start_helper(c);
		if (r < 0) {
			fail_first(c, vnic_err_of(VNIC_E_LIBVIRT, "%s cannot be started: %s",
						  c->program, strerror(-r)));
			return;
		}
	}
	/* Without a socket the helper is on its way out; on_child() goes on. */
	if (c->fd >= 0)
		send_queued(c);
	set_deadline(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct libvirt_client *c = arg;

	(void)fd;
	(void)what;
	if (c->pid > 0 && c->fd < 0) {
		log_warning("vnicd-libvirt (process %d) was killed and does not end", (int)c->pid);
		fail_first(c, vnic_err_of(VNIC_E_TIMEOUT,
					  "vnicd-libvirt (process %d) hangs in the kernel; "
					  "'cat /proc/%d/stack' tells where",
					  (int)c->pid, (int)c->pid));
		return;
	}
	log_warning("vnicd-libvirt (process %d) hangs: it is replaced", (int)c->pid);
	kill_helper(c);
	/* Others that were sent go to the next helper; only now, so that no answer of this one counts for them. */
	for (struct libvirt_request *q = c->first->next; q; q = q->next)
		q->sent = false;
	fail_first(c, vnic_err_of(VNIC_E_TIMEOUT,
				  "libvirt did not answer in time; see whether libvirtd hangs"));
}

static void describe_end(int status, char *buf, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(buf, size, "was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(buf, size, "ended with status %d", WEXITSTATUS(status));
}

static void answered(struct libvirt_client *c, struct json_object *answer)
{
	struct json_object *error = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	const char *code, *message;
	uint64_t id;

	/* The helper is ours, but it reads what guests' owners wrote: an answer out of turn ends it. */
	if (!c->first || !c->first->sent || json_get_u64(answer, "id", 0, UINT64_MAX, &id, NULL) ||
	    id != c->first->id) {
		log_warning("vnicd-libvirt gave an answer to no request: it is replaced");
		kill_helper(c);
		return;
	}
	if (json_get_obj(answer, "error", &error, NULL) < 0) {
		finish_first(c, NULL, answer);
		return;
	}
	if (json_get_str(error, "code", &code, NULL) < 0)
		code = VNIC_E_LIBVIRT;
	if (json_get_str(error, "message", &message, NULL) < 0)
		message = "vnicd-libvirt gave no reason";
	vnic_err_set(&err, -EIO, code, "%s", message);
	finish_first(c, &err, NULL);
}

/* Something happened to what libvirt told, or nobody is there any more to tell if it did. */
static void tell_changed(struct libvirt_client *c)
{
	if (c->changed)
		c->changed(c->changed_arg);
}

/* Read one message. Returns false where there is none, or the socket is gone. */
static bool read_one(struct libvirt_client *c)
{
	_cleanup_(freep) char *buf = malloc(VNIC_MSG_MAX);
	_cleanup_(json_putp) struct json_object *answer = NULL;
	size_t n_fds;
	ssize_t n;

	if (!buf)
		return false;
	n = sock_recv(c->fd, buf, VNIC_MSG_MAX, NULL, 0, &n_fds);
	/* A peer that ends with requests unread is told once, ahead of the answers it had sent. */
	if (n == -ECONNRESET)
		n = sock_recv(c->fd, buf, VNIC_MSG_MAX, NULL, 0, &n_fds);
	if (n == -EAGAIN)
		return false;
	if (n <= 0 || json_parse(buf, (size_t)n, &answer, NULL) < 0) {
		kill_helper(c);
		return false;
	}
	if (json_has(answer, "event"))
		tell_changed(c);
	else
		answered(c, answer);
	return c->fd >= 0;
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	struct libvirt_client *c = arg;
	char how[96];
	int status = 0;
	bool at_work;

	(void)fd;
	(void)what;
	/* What it answered before it ended counts. */
	while (c->fd >= 0 && read_one(c))
		;
	at_work = c->first && c->first->sent;
	waitpid(c->pid, &status, 0);
	drop_socket(c);
	c->pidfd = close_safe(c->pidfd);
	c->pid = 0;
	describe_end(status, how, sizeof(how));
	log_info("vnicd-libvirt %s", how);
	tell_changed(c);
	for (struct libvirt_request *q = c->first; q; q = q->next)
		q->sent = false;
	if (at_work) {
		fail_first(c,
			   vnic_err_of(VNIC_E_LIBVIRT,
				       "vnicd-libvirt %s while it worked on this; try again", how));
		return;
	}
	/* What was waited for was its end: the next one has all its time. */
	evtimer_del(c->deadline);
	event_active(c->kick, EV_TIMEOUT, 0);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct libvirt_client *c = arg;

	(void)fd;
	if (what & EV_READ)
		while (read_one(c))
			;
	if (c->fd >= 0)
		send_queued(c);
	set_deadline(c);
}

int libvirt_client_new(struct event_base *base, const char *program, struct libvirt_client **ret)
{
	struct libvirt_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->base = base;
	c->fd = c->pidfd = -1;
	c->last = &c->first;
	c->program = strdup(program ? program : HELPER_PROGRAM);
	c->io = event_new(base, -1, 0, on_io, c);
	c->child = event_new(base, -1, 0, on_child, c);
	c->deadline = evtimer_new(base, on_deadline, c);
	c->kick = event_new(base, -1, 0, on_kick, c);
	if (!c->program || !c->io || !c->child || !c->deadline || !c->kick) {
		libvirt_client_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

struct libvirt_client *libvirt_client_free(struct libvirt_client *c)
{
	if (!c)
		return NULL;
	for (struct libvirt_request *q = c->first, *next; q; q = next) {
		next = q->next;
		request_free(q);
	}
	kill_helper(c);
	if (c->pid > 0)
		waitpid(c->pid, NULL, 0);
	if (c->io)
		event_free(c->io);
	if (c->child)
		event_free(c->child);
	if (c->deadline)
		event_free(c->deadline);
	if (c->kick)
		event_free(c->kick);
	close_safe(c->pidfd);
	free(c->program);
	free(c);
	return NULL;
}

struct libvirt_request *libvirt_client_call(struct libvirt_client *c, const char *op,
					    struct json_object *fields, unsigned int timeout_ms,
					    libvirt_done done, void *arg)
{
	struct libvirt_request *q = calloc(1, sizeof(*q));

	if (!q) {
		json_object_put(fields);
		return NULL;
	}
	q->client = c;
	q->id = ++c->last_id;
	q->message = fields;
	q->timeout_ms = timeout_ms;
	q->done = done;
	q->arg = arg;
	json_add_u64(fields, "id", q->id);
	json_add_str(fields, "op", op);
	json_add_u64(fields, "timeout_ms", timeout_ms);
	*c->last = q;
	c->last = &q->next;
	event_active(c->kick, EV_TIMEOUT, 0);
	return q;
}

void libvirt_client_watch(struct libvirt_client *c, void (*changed)(void *arg), void *arg)
{
	c->changed = changed;
	c->changed_arg = arg;
}

int libvirt_domain_id(struct json_object *domain, uint8_t ret_uuid[VNIC_UUID_LEN],
		      const char **ret_name, struct vnic_err *err)
{
	uint8_t bytes[VNIC_UUID_LEN];
	const char *uuid, *name;
	int r;

	r = json_get_str(domain, "uuid", &uuid, err);
	if (r == 0)
		r = json_get_str(domain, "name", &name, err);
	if (r < 0)
		return r;
	if (uuid_parse(uuid, bytes) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_LIBVIRT,
				    "field \"uuid\" is '%.40s', no UUID", uuid);
	memcpy(ret_uuid, bytes, sizeof(bytes));
	*ret_name = name;
	return 0;
}
