/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client asks once, is answered once, and is gone: one struct client a connection. While its request is
 * being worked on, its descriptor is watched for the hang-up that cancels it.
 */
#include "daemon/hook_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sock.h"

/* More wait in the listening socket's queue: each costs a descriptor here. */
#define CLIENTS_MAX 256
/* A client that connects and says nothing holds a place: not for long. */
#define SILENCE_MAX 5000000
/* How long to leave the queue alone when descriptors are out. */
#define ACCEPT_PAUSE 200000

struct client {
	struct hook_server *server;
	int fd;
	struct loop_source *io, *silence;
	struct domain_request req;
	bool asked;
	struct manager_job *job;
	struct client *prev, *next;
};

struct hook_server {
	struct loop *loop;
	struct manager *manager;
	int fd;
	struct loop_source *io, *resume;
	struct client *clients;
	size_t n_clients;
};

static void accepting(struct hook_server *s, bool on)
{
	loop_io_events(s->io, on ? LOOP_READ : 0);
}

static void client_free(struct client *c)
{
	struct hook_server *s = c->server;

	if (c->prev)
		c->prev->next = c->next;
	else
		s->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n_clients--;
	loop_source_free(c->io);
	loop_source_free(c->silence);
	close_safe(c->fd);
	request_clear(&c->req);
	free(c);
	accepting(s, true);
}

/* Return: 0, or a negative errno where the hook has gone. */
static int send_json(struct client *c, struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	int r = sock_send(c->fd, text, strlen(text), NULL, 0);

	if (r < 0)
		log_debug("a hook did not take its answer: %s", strerror(-r));
	return r;
}

static void answer_error(struct client *c, const struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct json_object *e = json_object_new_object();

	json_add_str(e, "code", *err->code ? err->code : VNIC_E_INTERNAL);
	json_add_str(e, "message", err->message);
	json_object_object_add(o, "error", e);
	send_json(c, o);
	vnic_log(LOG_WARNING, &(struct vnic_log_fields){ .domain = c->req.name },
		 "%s of domain %s is refused: %s (%s)", request_op_str(c->req.op),
		 *c->req.name ? c->req.name : "?", err->message, err->code);
}

static int answer_ports(struct client *c, struct vnic_port *const *ports, size_t n)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	struct json_object *list = json_object_new_array();

	json_add_bool(o, "ok", true);
	for (size_t i = 0; i < n; i++) {
		struct json_object *p = json_object_new_object();
		char mac[VNIC_MAC_STR], file[PORT_SOCK_FILE_MAX];

		json_add_str(p, "mac", mac_format(ports[i]->spec.key.mac, mac));
		json_add_str(p, "socket", port_sock_file(&ports[i]->spec, file));
		json_add_str(p, "path", vnic_path_str(ports[i]->path));
		json_object_array_add(list, p);
	}
	json_object_object_add(o, "ports", list);
	return send_json(c, o);
}

static void given_back(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
		       size_t n_ports)
{
	(void)arg;
	(void)ports;
	(void)n_ports;
	if (err)
		log_warning("ports that no hook waits for stay: %s", err->message);
}

/* The hook hung up while its ports were being finished: as if that had been seen before. */
static void give_back(struct client *c)
{
	log_notice("prepare of domain %s: the hook hung up; what it asked for is undone",
		   c->req.name);
	manager_domain_release(c->server->manager, c->req.uuid, given_back, NULL);
}

static void prepared(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
		     size_t n_ports)
{
	struct client *c = arg;

	c->job = NULL;
	if (err) {
		answer_error(c, err);
	} else {
		vnic_log(LOG_INFO, &(struct vnic_log_fields){ .domain = c->req.name },
			 "%s of domain %s: %zu ports are ready", request_op_str(c->req.op),
			 c->req.name, n_ports);
		if (answer_ports(c, ports, n_ports) < 0 && c->req.op == REQUEST_PREPARE)
			give_back(c);
	}
	client_free(c);
}

static void released(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
		     size_t n_ports)
{
	struct client *c = arg;

	(void)ports;
	(void)n_ports;
	c->job = NULL;
	if (err)
		answer_error(c, err);
	else
		answer_ports(c, NULL, 0);
	client_free(c);
}

static void answer_at_once(struct client *c, const struct vnic_err *err)
{
	if (err)
		answer_error(c, err);
	else
		answer_ports(c, NULL, 0);
	client_free(c);
}

/* The ports were made in `prepare`; has somebody released them since? */
static int check_ports(struct client *c, struct vnic_err *err)
{
	for (size_t i = 0; i < c->req.n_specs; i++) {
		const struct vnic_port *port =
			manager_port(c->server->manager, &c->req.specs[i].key);

		if (!port || port->state == PORT_RELEASING)
			return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_PORT,
					    "port %s was released while the domain was starting: "
					    "start it again",
					    c->req.specs[i].name);
	}
	return 0;
}

/* A hostdev network takes the first VF of its list that libvirt knows to be free. */
static int check_device(struct client *c, struct vnic_err *err)
{
	const struct vnic_port *ports = c->server->manager->ports;

	for (const struct vnic_port *p = ports; p; p = p->hh.next)
		if (p->device.state != DEVICE_NONE && str_eq(p->device.vf_addr, c->req.device))
			return vnic_err_set(err, -EBUSY, VNIC_E_BUSY,
					    "VF %s is that of port %s/%s of domain '%.64s': name "
					    "other VFs in the network than in nics of vnicd's",
					    c->req.device, p->spec.class_name, p->spec.name,
					    p->spec.domain);
	return 0;
}

/* What libvirt manages gets the rest from its class, once it runs: there is to be one. */
static int check_hostdevs(struct client *c, struct vnic_err *err)
{
	for (size_t i = 0; i < c->req.n_hostdevs; i++) {
		const struct port_spec *spec = &c->req.hostdevs[i];
		char mac[VNIC_MAC_STR];

		if (!config_class(c->server->manager->config, spec->class_name))
			return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_CLASS,
					    "<vnic:port mac='%s'>: there is no class '%s': vnicctl "
					    "class show lists those there are",
					    mac_format(spec->key.mac, mac), spec->class_name);
	}
	return 0;
}

static void work_on(struct client *c)
{
	struct manager *m = c->server->manager;
	struct vnic_err err = VNIC_ERR_INIT;

	switch (c->req.op) {
	case REQUEST_PREPARE:
		if (check_hostdevs(c, &err) < 0) {
			answer_at_once(c, &err);
			return;
		}
		/* fall through */
	case REQUEST_RECONNECT:
		if (!c->req.n_specs) {
			answer_at_once(c, NULL);
			return;
		}
		c->job = manager_prepare(m, &c->req, prepared, c);
		break;
	case REQUEST_STOPPED:
	case REQUEST_RELEASE:
		c->job = manager_domain_release(m, c->req.uuid, released, c);
		break;
	case REQUEST_START:
		answer_at_once(c, check_ports(c, &err) < 0 ? &err : NULL);
		return;
	case REQUEST_DEVICE:
		answer_at_once(c, check_device(c, &err) < 0 ? &err : NULL);
		return;
	case REQUEST_STARTED:
		manager_domain_started(m, c->req.uuid);
		/* fall through */
	default:
		/* migrate, restore: `prepare` comes next. Networks: their end. */
		answer_at_once(c, NULL);
		return;
	}
	if (!c->job) {
		vnic_err_set(&err, -ENOMEM, VNIC_E_INTERNAL, "out of memory");
		answer_at_once(c, &err);
	}
}

/* Has the client gone already? A request that waited in our queue for longer than its sender did is void. */
static bool hung_up(const struct client *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void on_request(struct client *c)
{
	static char data[VNIC_MSG_MAX]; /* one thread, one message at a time */
	_cleanup_(json_putp) struct json_object *o = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	ssize_t n;
	int r;

	n = sock_recv(c->fd, data, sizeof(data), NULL, 0, NULL);
	if (n == -EAGAIN)
		return;
	if (n == -EMSGSIZE) {
		vnic_err_set(&err, -EMSGSIZE, VNIC_E_INVALID_MESSAGE,
			     "the message is over %d bytes or carries descriptors", VNIC_MSG_MAX);
		answer_at_once(c, &err);
		return;
	}
	if (n <= 0) {
		client_free(c);
		return;
	}
	c->asked = true;
	loop_timer_stop(c->silence);
	r = json_parse(data, (size_t)n, &o, &err);
	if (r == 0)
		r = request_parse(o, &c->req, &err);
	if (r < 0) {
		if (!*err.message)
			vnic_err_set(&err, r, VNIC_E_INTERNAL, "%s", strerror(-r));
		answer_at_once(c, &err);
		return;
	}
	if (hung_up(c)) {
		log_notice("%s of domain %s: the hook did not wait for it; nothing was done",
			   request_op_str(c->req.op), c->req.name);
		client_free(c);
		return;
	}
	work_on(c);
}

static void on_client(void *userdata, int fd, unsigned int events)
{
	struct client *c = userdata;
	bool release;

	(void)fd;
	(void)events;
	if (!c->asked) {
		on_request(c);
		return;
	}
	release = c->req.op == REQUEST_STOPPED || c->req.op == REQUEST_RELEASE;
	/* It has hung up, or says more than the protocol allows. */
	log_notice("%s of domain %s: the hook hung up; %s", request_op_str(c->req.op), c->req.name,
		   release ? "its ports are released without it" : "what it asked for is undone");
	if (c->job)
		manager_cancel(c->server->manager, c->job);
	/* A job that had not begun is gone with its hook: the domain has ended all the same. */
	if (c->job && release)
		manager_domain_release(c->server->manager, c->req.uuid, given_back, NULL);
	client_free(c);
}

static void on_silence(void *userdata)
{
	client_free(userdata);
}

static int client_new(struct hook_server *s, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->server = s;
	c->fd = -1;
	r = loop_add_timer(s->loop, on_silence, c, &c->silence);
	if (r == 0)
		r = loop_timer_set(c->silence, SILENCE_MAX);
	if (r == 0)
		r = loop_add_io(s->loop, fd, LOOP_READ, on_client, c, &c->io);
	if (r < 0) {
		loop_source_free(c->silence);
		free(c);
		return r;
	}
	c->fd = fd;
	c->next = s->clients;
	if (s->clients)
		s->clients->prev = c;
	s->clients = c;
	s->n_clients++;
	return 0;
}

/* Return: 0 to go on, or a negative errno where there is nothing more for now. */
static int accept_one(struct hook_server *s)
{
	_cleanup_(closep) int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct sock_peer peer;
	int r;

	if (fd < 0)
		return errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
	r = sock_peer(fd, &peer);
	if (r < 0 || peer.uid != 0) {
		log_warning("somebody who is not root (uid %d) spoke to the hook's socket",
			    r < 0 ? -1 : (int)peer.uid);
		return 0;
	}
	r = client_new(s, fd);
	if (r == 0)
		fd = -1;
	return r;
}

static void on_connection(void *userdata, int fd, unsigned int events)
{
	struct hook_server *s = userdata;
	int r = 0;

	(void)fd;
	(void)events;
	while (r == 0 && s->n_clients < CLIENTS_MAX)
		r = accept_one(s);
	if (r == -EAGAIN)
		return;
	/* Full, or out of descriptors: the others wait in the socket's queue. */
	accepting(s, false);
	if (r < 0)
		loop_timer_set(s->resume, ACCEPT_PAUSE);
}

static void on_resume(void *userdata)
{
	accepting(userdata, true);
}

int hook_server_new(struct loop *loop, struct manager *manager, const char *file,
		    struct hook_server **ret)
{
	struct hook_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->manager = manager;
	s->fd = r = sock_listen(file, SOCK_SEQPACKET, 0600);
	if (r >= 0)
		r = loop_add_timer(loop, on_resume, s, &s->resume);
	if (r >= 0)
		r = loop_add_io(loop, s->fd, 0, on_connection, s, &s->io);
	if (r < 0) {
		hook_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void hook_server_start(struct hook_server *s)
{
	accepting(s, true);
}

struct hook_server *hook_server_free(struct hook_server *s)
{
	if (!s)
		return NULL;
	while (s->clients)
		client_free(s->clients);
	loop_source_free(s->io);
	loop_source_free(s->resume);
	close_safe(s->fd);
	free(s);
	return NULL;
}
