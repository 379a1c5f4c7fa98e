/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicd-datapath: the keeper's wiring, or, started by a keeper with --worker, a worker. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/paths.h"
#include "base/sock.h"
#include "config.h"
#include "datapath/forward/features.h"
#include "datapath/forward/worker.h"
#include "datapath/keeper/cmdline.h"
#include "datapath/keeper/control.h"
#include "datapath/keeper/fence.h"
#include "datapath/keeper/keeper.h"
#include "datapath/keeper/netdev.h"
#include "datapath/keeper/stats.h"
#include "datapath/keeper/stopped.h"
#include "datapath/keeper/store.h"
#include "datapath/keeper/takeover.h"
#include "datapath/keeper/tap.h"

#define SEGMENT	    "default" /* the stand-alone one */
#define SOCKET_MODE 0666 /* who may connect is the folder's affair; see base/paths.h */

struct program {
	struct keeper keeper;
	struct event *term_ev, *int_ev, *child_ev, *watchdog_ev;
	struct timeval watchdog;
	const struct cmdline *cmdline;
	struct netdev *netdev; /* the uplink, where it is one */
	size_t n_listening; /* of cmdline->ports, whose socket files are ours */
	bool control_file; /* we made VNIC_DP_SOCK */
	bool ending; /* we were told to, maybe before the loop */
};

/* Through the store's queue, which keeps the order and never waits, where there is one. */
static void tell_manager(struct program *pr, const char *text)
{
	struct notify *n = store_notify(pr->keeper.store);

	if (notify_alive(n))
		notify_send(n, text, -1);
	else
		sd_notify(0, text);
}

static void on_end(evutil_socket_t sig, short what, void *userdata)
{
	struct program *pr = userdata;

	(void)sig, (void)what;
	pr->ending = true;
	tell_manager(pr, "STOPPING=1");
	event_base_loopbreak(pr->keeper.base);
}

static void on_child(evutil_socket_t sig, short what, void *userdata)
{
	struct program *pr = userdata;
	struct segment *s;

	(void)sig, (void)what;
	TAILQ_FOREACH(s, &pr->keeper.segments, link)
	worker_check_stopped(s->worker);
}

static void on_watchdog(evutil_socket_t fd, short what, void *userdata)
{
	(void)fd, (void)what;
	tell_manager(userdata, "WATCHDOG=1");
}

/* Descriptors are what we keep: several a ring, and regions, for hundreds of guests. */
static void raise_limits(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static int set_up_loop(struct program *pr)
{
	struct keeper *k = &pr->keeper;
	uint64_t usec;

	TAILQ_INIT(&k->ports);
	TAILQ_INIT(&k->segments);
	k->features = worker_features();
	k->base = event_base_new();
	if (!k->base)
		return -ENOMEM;
	pr->term_ev = evsignal_new(k->base, SIGTERM, on_end, pr);
	pr->int_ev = evsignal_new(k->base, SIGINT, on_end, pr);
	pr->child_ev = evsignal_new(k->base, SIGCHLD, on_child, pr);
	if (!pr->term_ev || !pr->int_ev || !pr->child_ev || event_add(pr->term_ev, NULL) < 0 ||
	    event_add(pr->int_ev, NULL) < 0 || event_add(pr->child_ev, NULL) < 0)
		return -ENOMEM;
	if (sd_watchdog_enabled(0, &usec) > 0) {
		pr->watchdog.tv_sec = (time_t)(usec / 2 / 1000000);
		pr->watchdog.tv_usec = (suseconds_t)(usec / 2 % 1000000);
		pr->watchdog_ev = event_new(k->base, -1, EV_PERSIST, on_watchdog, pr);
		if (!pr->watchdog_ev || event_add(pr->watchdog_ev, &pr->watchdog) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int start_port(struct program *pr, struct segment *s, const struct cmdline_port *c)
{
	_cleanup_(closep) int fd = -1;
	struct kport *p;
	int r = kport_new(s, &c->config, &p);

	if (r == 0 && c->client) {
		r = kport_connect(p, c->socket);
	} else if (r == 0) {
		fd = sock_listen(c->socket, SOCK_STREAM, SOCKET_MODE);
		r = fd < 0 ? fd : kport_listen(p, fd);
		if (r == 0)
			take_fd(&fd);
	}
	if (r < 0)
		log_err("port %s: %s: %s", c->config.name, c->socket,
			r == -EADDRINUSE ? "another process listens there"
			: r == -EEXIST	 ? "there is a file that is not a socket"
					 : strerror(-r));
	else
		pr->n_listening++;
	return r;
}

static int start_alone(struct program *pr)
{
	const struct cmdline *c = pr->cmdline;
	struct vnic_err err = VNIC_ERR_INIT;
	struct segment *s;
	int tap = -1, r;

	if (c->tap) {
		tap = tap_open(c->tap, &err);
		if (tap < 0) {
			log_err("%s", err.message);
			return tap;
		}
	}
	r = segment_new(&pr->keeper, SEGMENT, &s);
	if (r < 0) {
		close_safe(tap);
		log_err("the worker cannot be started: %s", strerror(-r));
		return r;
	}
	segment_configure(s, c->tap ? c->tap : "", tap, c->n_cores ? c->cores[0] : -1);
	if (c->packet) {
		r = netdev_new(s, c->packet, s->cpu, &pr->netdev, &err);
		if (r < 0) {
			log_err("%s", err.message);
			return r;
		}
	}
	for (size_t i = 0; i < c->n_ports; i++) {
		r = start_port(pr, s, &c->ports[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Where there is a service manager it keeps what we hold, too. */
static void open_store(struct program *pr)
{
	struct keeper *k = &pr->keeper;
	const char *address = getenv("NOTIFY_SOCKET");
	int r = address ? store_new(k->base, address, keeper_stored, k, &k->store) : 0;

	if (r < 0)
		log_warning("nothing is kept for a restart: NOTIFY_SOCKET=%s: %s", address,
			    strerror(-r));
}

/* The control socket: passed by the service manager, or made here. */
static int start_managed(struct program *pr)
{
	_cleanup_(closep) int fd = -1;
	int r;

	r = fence_up(pr->cmdline->stats);
	if (r < 0)
		log_err("the files to be touched cannot be limited: %s", strerror(-r));
	if (r < 0)
		return r;
	if (r > 0)
		log_notice("this kernel has no Landlock: what files may be touched is not limited");
	open_store(pr);
	r = takeover_adopt(&pr->keeper, &fd);
	if (r == 0 && fd < 0) {
		fd = sock_listen(VNIC_DP_SOCK, SOCK_SEQPACKET, 0600);
		r = fd < 0 ? fd : 0;
		pr->control_file = r == 0;
		if (r == 0)
			store_put(pr->keeper.store, STORE_CONTROL, fd);
	}
	if (r == 0)
		takeover_restore(&pr->keeper);
	if (r == 0)
		r = control_new(&pr->keeper, fd, &pr->keeper.control);
	if (r < 0) {
		log_err("%s: %s", VNIC_DP_SOCK, strerror(-r));
		return r;
	}
	take_fd(&fd);
	return 0;
}

static void tear_down(struct program *pr)
{
	struct keeper *k = &pr->keeper;
	struct segment *s;
	struct kport *p;

	/* What the manager does not keep, or not any more, ends with us: that is to be seen. */
	notify_flush(store_notify(k->store), 50);
	takeover_end(k);
	/* Workers first: nobody touches a guest's memory once its front end sees the hang-up. */
	TAILQ_FOREACH(s, &k->segments, link)
	if (!k->handing_over)
		segment_relieve(s, true);
	TAILQ_FOREACH(s, &k->segments, link)
	s->worker = k->handing_over ? worker_leave(s->worker) : worker_free(s->worker);
	pr->netdev = netdev_free(pr->netdev);
	k->stats = stats_free(k->stats);
	k->control = control_free(k->control);
	while ((p = TAILQ_FIRST(&k->ports)))
		kport_free(p);
	while ((s = TAILQ_FIRST(&k->segments)))
		segment_free(s);
	for (size_t i = 0; i < pr->n_listening; i++)
		if (!pr->cmdline->ports[i].client)
			unlink(pr->cmdline->ports[i].socket);
	if (pr->control_file && !k->handing_over)
		unlink(VNIC_DP_SOCK);
	store_free(k->store);
	if (pr->watchdog_ev)
		event_free(pr->watchdog_ev);
	if (pr->term_ev)
		event_free(pr->term_ev);
	if (pr->int_ev)
		event_free(pr->int_ev);
	if (pr->child_ev)
		event_free(pr->child_ev);
	if (k->base)
		event_base_free(k->base);
}

static int keep(const struct cmdline *c)
{
	struct program pr = { .cmdline = c };
	int r;

	signal(SIGPIPE, SIG_IGN);
	raise_limits();
	r = set_up_loop(&pr);
	if (r == 0)
		r = c->mode == CMDLINE_MANAGED ? start_managed(&pr) : start_alone(&pr);
	if (r == 0 && c->stats) {
		r = stats_new(&pr.keeper, c->stats, &pr.keeper.stats);
		if (r < 0)
			log_err("--stats %s: %s", c->stats, strerror(-r));
	}
	if (r == 0) {
		if (!pr.ending)
			tell_manager(&pr, "READY=1");
		if (!pr.ending)
			r = event_base_dispatch(pr.keeper.base) < 0 ? -EIO : 0;
		pr.keeper.handing_over = notify_alive(store_notify(pr.keeper.store)) &&
					 !stopped_for_good();
		/* A successor goes on where the workers are; draining rings would drop what waits in them. */
		if (!pr.keeper.handing_over)
			keeper_drain(&pr.keeper);
	}
	tear_down(&pr);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct cmdline c;
	int r = cmdline_parse(argc, argv, &c, &err);

	if (r < 0) {
		fprintf(stderr, "vnicd-datapath: %s\n", err.message);
		return 2;
	}
	vnic_log_open("vnicd-datapath", c.log_level);
	switch (c.mode) {
	case CMDLINE_HELP:
		fputs(cmdline_help, stdout);
		r = EXIT_SUCCESS;
		break;
	case CMDLINE_VERSION:
		printf("vnicd-datapath %s\n", PACKAGE_VERSION);
		r = EXIT_SUCCESS;
		break;
	case CMDLINE_WORKER:
		r = worker_main();
		break;
	default:
		r = keep(&c);
	}
	cmdline_clear(&c);
	return r;
}
