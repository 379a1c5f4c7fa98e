/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Methods of org.vnicd1.Manager that make, release and judge: most answer late. */
#include "daemon/bus/manager_object.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int bus_reload(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct bus *bus = userdata;
	int r = bus->ops.reload(bus->ops.data, &err);

	if (r < 0)
		return bus_error(error, r, &err);
	bus_kick(bus);
	return sd_bus_reply_method_return(m, "");
}

static int missing(const char *key, struct vnic_err *err)
{
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
			    "%s is missing: a port needs its %s", key, key);
}

static void on_added(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
		     size_t n_ports)
{
	char path[BUS_PATH_MAX];

	if (err || n_ports == 0)
		bus_call_reply(arg, err ? err : &(struct vnic_err){ .code = VNIC_E_INTERNAL }, "");
	else
		bus_call_reply(arg, NULL, "o", bus_port_path(&ports[0]->spec.key, path));
}

/* The work has begun, as a job of the manager's or an operation of bus_ops; as neither where memory was out. */
static int begun(struct bus_call *call, struct manager_job *job, void *op)
{
	if (!job && !op) {
		bus_call_free(call);
		return -ENOMEM;
	}
	call->job = job;
	call->op = op;
	return 1;
}

int bus_port_add(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct bus *bus = userdata;
	struct bus_call *call;
	struct bus_spec s;
	int r = bus_spec_read(m, &s, &err);

	if (r >= 0 && !s.has_uuid)
		r = missing("uuid", &err);
	if (r >= 0 && !s.has_mac)
		r = missing("mac", &err);
	if (r >= 0 && !s.has_class)
		r = missing("class", &err);
	if (r < 0)
		return bus_error(error, r, &err);
	if (!s.has_name)
		bus_spec_default_name(&s.spec);
	call = bus_call_new(bus, m, BUS_CALL_ADD, error);
	if (!call)
		return -EBUSY;
	return begun(call, manager_port_add(bus->manager, &s.spec, on_added, call), NULL);
}

static void on_released(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
			size_t n_ports)
{
	(void)ports;
	(void)n_ports;
	bus_call_reply(arg, err, "");
}

int bus_read_port(sd_bus_message *m, struct port_key *ret_key, uint64_t *ret_generation,
		  struct vnic_err *err)
{
	uint64_t generation;
	const char *text;
	int r = sd_bus_message_read(m, "st", &text, &generation);

	if (r >= 0)
		r = bus_check_text("key", text, err);
	if (r < 0)
		return r;
	if (port_key_parse(text, ret_key) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "key \"%s\" is not UUID/MAC, like "
				    "12345678-9abc-def0-1234-56789abcdef0/52:54:00:12:34:56",
				    text);
	/* The manager takes 0 for "whatever it is"; a stranger must say what it saw. */
	if (generation == 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "generation is 0: give that of the port you mean");
	*ret_generation = generation;
	return 0;
}

int bus_port_del(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct bus *bus = userdata;
	struct bus_call *call;
	struct port_key key;
	uint64_t generation;
	int r = bus_read_port(m, &key, &generation, &err);

	if (r < 0)
		return bus_error(error, r, &err);
	call = bus_call_new(bus, m, BUS_CALL_KEEP, error);
	if (!call)
		return -EBUSY;
	return begun(call, manager_port_del(bus->manager, &key, generation, on_released, call),
		     NULL);
}

static int check_domain(const char *domain, struct vnic_err *err)
{
	if (bus_check_text("domain", domain, err) < 0)
		return -EINVAL;
	if (!*domain || strchr(domain, '/'))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "domain \"%s\" is not a domain's name or UUID", domain);
	return 0;
}

static int no_libvirt(sd_bus_error *error)
{
	struct vnic_err err = VNIC_ERR_INIT;

	vnic_err_set(&err, -ENOTSUP, VNIC_E_LIBVIRT, "this vnicd has no connection to libvirt");
	return bus_error(error, -ENOTSUP, &err);
}

static void on_attached(void *arg, const struct vnic_err *err, const struct port_key *key,
			struct json_object *findings)
{
	char path[BUS_PATH_MAX], text[PORT_KEY_STR];

	(void)findings;
	if (err)
		bus_call_reply(arg, err, "");
	else
		bus_call_reply(arg, NULL, "os", bus_port_path(key, path),
			       port_key_format(key, text));
}

/* DOMAIN and spec of PortAttach and AttachPreview */
static int read_attach(sd_bus_message *m, const char **ret_domain, struct bus_spec *ret,
		       struct vnic_err *err)
{
	int r = sd_bus_message_read(m, "s", ret_domain);

	if (r >= 0)
		r = check_domain(*ret_domain, err);
	if (r >= 0)
		r = bus_spec_read(m, ret, err);
	if (r < 0)
		return r;
	if (!ret->has_class)
		return missing("class", err);
	if (ret->has_uuid || ret->spec.domain[0] || ret->spec.pidfile[0])
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "uuid, domain and pidfile come from libvirt: leave them out");
	if (ret->spec.standby[0])
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "standby: a NIC that is plugged in stands by for none; write "
				    "<teaming type='persistent'/> into the domain's XML");
	return 0;
}

static int attach(sd_bus_message *m, struct bus *bus, bool look_only, bus_op_done done,
		  sd_bus_error *error)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct bus_call *call;
	struct bus_spec s;
	const char *domain;
	int r = read_attach(m, &domain, &s, &err);

	if (r < 0)
		return bus_error(error, r, &err);
	if (!bus->ops.port_attach)
		return no_libvirt(error);
	call = bus_call_new(bus, m, BUS_CALL_KEEP, error);
	if (!call)
		return -EBUSY;
	if (look_only) {
		call->spec = malloc(sizeof(*call->spec));
		if (!call->spec) {
			bus_call_free(call);
			return -ENOMEM;
		}
		*call->spec = s.spec;
	}
	return begun(call, NULL,
		     bus->ops.port_attach(bus->ops.data, domain, &s.spec, look_only, done, call));
}

int bus_port_attach(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return attach(m, userdata, false, on_attached, error);
}

static void on_done(void *arg, const struct vnic_err *err, const struct port_key *key,
		    struct json_object *findings)
{
	(void)key;
	(void)findings;
	bus_call_reply(arg, err, "");
}

int bus_port_detach(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct bus *bus = userdata;
	struct bus_call *call;
	const char *domain, *text;
	uint8_t mac[VNIC_MAC_LEN];
	int r = sd_bus_message_read(m, "ss", &domain, &text);

	if (r >= 0)
		r = check_domain(domain, &err);
	if (r >= 0)
		r = bus_check_text("mac", text, &err);
	if (r >= 0 && mac_parse(text, mac) < 0)
		r = vnic_err_set(&err, -EINVAL, VNIC_E_INVALID_MAC,
				 "mac \"%s\" is not six pairs of hex digits with colons", text);
	if (r < 0)
		return bus_error(error, r, &err);
	if (!bus->ops.port_detach)
		return no_libvirt(error);
	call = bus_call_new(bus, m, BUS_CALL_KEEP, error);
	if (!call)
		return -EBUSY;
	return begun(call, NULL, bus->ops.port_detach(bus->ops.data, domain, mac, on_done, call));
}

static int append_finding(sd_bus_message *m, struct json_object *finding)
{
	static const char *const fields[] = { "severity", "code", "mac", "message", "fix" };
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(fields); i++) {
		struct json_object *v = NULL;

		json_object_object_get_ex(finding, fields[i], &v);
		r = sd_bus_message_append(m, "{sv}", fields[i], "s",
					  v ? json_object_get_string(v) : "");
	}
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* The answer is of variable length, so it is built here and not by bus_call_reply(). */
static void on_checked(void *arg, const struct vnic_err *err, const struct port_key *key,
		       struct json_object *findings)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	struct bus_call *call = arg;
	int r = 0;

	(void)key;
	if (err || !call->message) {
		bus_call_reply(call, err, "");
		return;
	}
	r = sd_bus_message_new_method_return(call->message, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "a{sv}");
	for (size_t i = 0; r >= 0 && i < json_object_array_length(findings); i++)
		r = append_finding(reply, json_object_array_get_idx(findings, i));
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	if (r >= 0)
		r = sd_bus_send(NULL, reply, NULL);
	call->op = NULL;
	if (r >= 0)
		call->message = sd_bus_message_unref(call->message);
	bus_call_reply(call, &(struct vnic_err){ .code = VNIC_E_INTERNAL }, "");
}

int bus_domain_check(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct bus *bus = userdata;
	struct bus_call *call;
	const char *domain;
	int r = sd_bus_message_read(m, "s", &domain);

	if (r >= 0)
		r = check_domain(domain, &err);
	if (r < 0)
		return bus_error(error, r, &err);
	if (!bus->ops.domain_check)
		return no_libvirt(error);
	call = bus_call_new(bus, m, BUS_CALL_KEEP, error);
	if (!call)
		return -EBUSY;
	return begun(call, NULL, bus->ops.domain_check(bus->ops.data, domain, on_checked, call));
}

static int append_steps(sd_bus_message *m, const struct plan *plan)
{
	char text[256];
	int r = 0;

	for (size_t i = 0; r >= 0 && i < plan->n; i++)
		r = sd_bus_message_append(m, "s",
					  step_describe(&plan->step[i], text, sizeof(text)));
	return r;
}

static int append_preview(sd_bus_message *m, const struct manager_preview *p)
{
	int r = sd_bus_message_append(m, "s", vnic_path_str(p->choice.path));

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "s");
	for (size_t i = 0; r >= 0 && i < p->choice.n_reasons; i++) {
		const struct path_reason *why = &p->choice.reason[i];
		char text[sizeof(why->text) + 32];

		snprintf(text, sizeof(text), "%s: %s", vnic_path_str(why->path), why->text);
		r = sd_bus_message_append(m, "s", text);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "s");
	if (r >= 0)
		r = append_steps(m, &p->shared);
	if (r >= 0)
		r = append_steps(m, &p->own);
	if (r >= 0)
		r = append_steps(m, &p->device);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* Answer @m with what manager_port_add() of @spec would do. */
static int reply_preview(sd_bus_message *m, const struct manager *manager,
			 const struct port_spec *spec, struct vnic_err *err)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	struct manager_preview preview;
	int r;

	memset(&preview, 0, sizeof(preview));
	r = manager_preview(manager, spec, &preview, err);
	if (r >= 0)
		r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = append_preview(reply, &preview);
	manager_preview_clear(&preview);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

int bus_plan_preview(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct bus *bus = userdata;
	struct bus_spec s;
	int r = bus_spec_read(m, &s, &err);

	if (r >= 0 && !s.has_class)
		r = missing("class", &err);
	if (r < 0)
		return bus_error(error, r, &err);
	/* What is left out gets a value that no port has: the preview is of a new one. */
	if (!s.has_uuid && getrandom(s.spec.key.uuid, VNIC_UUID_LEN, 0) != VNIC_UUID_LEN)
		return -EIO;
	if (!s.has_mac) {
		memcpy(s.spec.key.mac, "\x52\x54\x00", 3);
		memcpy(s.spec.key.mac + 3, s.spec.key.uuid, 3);
	}
	if (!s.has_name)
		bus_spec_default_name(&s.spec);
	/* Beside which interface a VF would be plugged in is for the domain's XML to say. */
	if (!*s.spec.standby)
		str_copy(s.spec.standby, sizeof(s.spec.standby), "ua-vnic");
	r = reply_preview(m, bus->manager, &s.spec, &err);
	return r < 0 ? bus_error(error, r, &err) : r;
}

static void on_looked(void *arg, const struct vnic_err *err, const struct port_key *key,
		      struct json_object *findings)
{
	struct vnic_err failed = VNIC_ERR_INIT;
	struct bus_call *call = arg;

	(void)findings;
	if (!err && call->message) {
		call->spec->key = *key;
		if (!*call->spec->name)
			bus_spec_default_name(call->spec);
		if (reply_preview(call->message, call->bus->manager, call->spec, &failed) >= 0)
			call->message = sd_bus_message_unref(call->message);
		err = &failed;
	}
	bus_call_reply(call, err, "");
}

int bus_attach_preview(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	return attach(m, userdata, true, on_looked, error);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	bus_call_reply(arg, NULL, "");
}

int bus_refresh_counters(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	static const struct timeval deadline = { 1, 0 };
	struct bus *bus = userdata;
	struct bus_call *call = bus_call_new(bus, m, BUS_CALL_COUNTERS, error);

	if (!call)
		return -EBUSY;
	call->deadline = evtimer_new(bus->base, on_deadline, call);
	if (!call->deadline) {
		bus_call_free(call);
		return -ENOMEM;
	}
	event_add(call->deadline, &deadline);
	bus_counters_begin(bus);
	return 1;
}
