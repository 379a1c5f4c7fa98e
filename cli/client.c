/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicd's client on the system bus. It may block: a person waits for it, with a bound. */
#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>

/* Longer than any operation of vnicd's own deadlines, detaching from a slow guest included. */
#define CALL_TIMEOUT_S 90
/* To look takes vnicd no time: one that does not answer is hung, and somebody waits who was woken by it. */
#define LOOK_TIMEOUT_S 10

static int daemon_down(struct vnic_err *err)
{
	return vnic_err_set(err, -EHOSTDOWN, VNIC_E_DAEMON_DOWN,
			    "vnicd does not run. Start it with 'systemctl start vnicd'; "
			    "'vnicctl diagnose' says what else is wrong");
}

int cli_connect(struct cli *cli, struct vnic_err *err)
{
	int r;

	if (cli->bus)
		return 0;
	r = sd_bus_open_system(&cli->bus);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_DAEMON_DOWN,
				    "cannot reach the system bus (%s). Is dbus running?",
				    strerror(-r));
	return 0;
}

static unsigned timeout_of(const char *member)
{
	static const char *const slow[] = { "Reload",	  "PortAdd",	"PortDel",
					    "PortAttach", "PortDetach", "DomainCheck" };

	for (size_t i = 0; i < sizeof(slow) / sizeof(slow[0]); i++)
		if (!strcmp(member, slow[i]))
			return CALL_TIMEOUT_S;
	return LOOK_TIMEOUT_S;
}

static int timed_out(int r, unsigned seconds, struct vnic_err *err)
{
	return vnic_err_set(
		err, r, VNIC_E_TIMEOUT,
		"vnicd did not answer within %u s: it is stopped, hung or overloaded%s. See "
		"'journalctl -b -u vnicd', then 'systemctl restart vnicd'; guests keep their "
		"network",
		seconds,
		seconds == CALL_TIMEOUT_S ? ", and what was asked for may still happen" : "");
}

/* What the bus or vnicd answered, as one of our codes. */
static int call_failed(int r, const sd_bus_error *e, unsigned seconds, struct vnic_err *err)
{
	static const char *const down[] = {
		SD_BUS_ERROR_SERVICE_UNKNOWN,
		SD_BUS_ERROR_NAME_HAS_NO_OWNER,
		SD_BUS_ERROR_NO_REPLY,
		SD_BUS_ERROR_DISCONNECTED,
	};

	if (e->name && !strncmp(e->name, VNIC_DBUS_ERROR_PREFIX, strlen(VNIC_DBUS_ERROR_PREFIX)))
		return vnic_err_set(err, r, e->name + strlen(VNIC_DBUS_ERROR_PREFIX), "%s",
				    e->message ? e->message : "");
	if (sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED))
		return vnic_err_set(
			err, r, VNIC_E_ACCESS,
			"the bus refuses this call to you. Run it as root; members of the "
			"group vnicd may only read");
	if (r == -ETIMEDOUT || sd_bus_error_has_name(e, SD_BUS_ERROR_TIMEOUT))
		return timed_out(r, seconds, err);
	for (size_t i = 0; i < sizeof(down) / sizeof(down[0]); i++)
		if (sd_bus_error_has_name(e, down[i]))
			return daemon_down(err);
	if (r == -ECONNRESET || r == -ENOTCONN)
		return vnic_err_set(err, r, VNIC_E_DAEMON_DOWN, "the system bus went away");
	return vnic_err_set(err, r, VNIC_E_INTERNAL, "%s", e->message ? e->message : strerror(-r));
}

static int bad_answer(int r, struct vnic_err *err)
{
	return vnic_err_set(err, r, VNIC_E_INTERNAL,
			    "vnicd's answer could not be read (%s). Are vnicd and vnicctl of one "
			    "version?",
			    strerror(-r));
}

int cli_call_message(struct cli *cli, sd_bus_message *m, sd_bus_message **ret_reply,
		     struct vnic_err *err)
{
	unsigned seconds = timeout_of(sd_bus_message_get_member(m));
	sd_bus_error e = SD_BUS_ERROR_NULL;
	int r = sd_bus_call(cli->bus, m, seconds * 1000000ULL, &e, ret_reply);

	if (r < 0)
		r = call_failed(r, &e, seconds, err);
	sd_bus_error_free(&e);
	return r < 0 ? r : 0;
}

int cli_new_call(struct cli *cli, const char *path, const char *interface, const char *member,
		 sd_bus_message **ret, struct vnic_err *err)
{
	int r = cli_connect(cli, err);

	if (r < 0)
		return r;
	r = sd_bus_message_new_method_call(cli->bus, ret, VNIC_BUS_NAME, path, interface, member);
	/* Looking must not change what is seen: asking does not start vnicd. */
	if (r >= 0)
		r = sd_bus_message_set_auto_start(*ret, 0);
	return r < 0 ? bad_answer(r, err) : 0;
}

int cli_call(struct cli *cli, const char *member, sd_bus_message **ret_reply, struct vnic_err *err,
	     const char *types, ...)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	va_list ap;
	int r = cli_new_call(cli, VNIC_BUS_ROOT, VNIC_I_MANAGER, member, &m, err);

	if (r < 0)
		return r;
	va_start(ap, types);
	r = sd_bus_message_appendv(m, types, ap);
	va_end(ap);
	if (r < 0)
		return bad_answer(r, err);
	return cli_call_message(cli, m, ret_reply, err);
}

int cli_get_manager(struct cli *cli, struct json_object **ret, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
	int r = cli_new_call(cli, VNIC_BUS_ROOT, "org.freedesktop.DBus.Properties", "GetAll", &m,
			     err);

	if (r < 0)
		return r;
	r = sd_bus_message_append(m, "s", VNIC_I_MANAGER);
	if (r < 0)
		return bad_answer(r, err);
	r = cli_call_message(cli, m, &reply, err);
	if (r < 0)
		return r;
	r = value_read_properties(reply, o);
	if (r < 0)
		return bad_answer(r, err);
	*ret = take_ptr(o);
	return 0;
}

/* The interfaces of one object; ours become an element of "nics" or "ports". */
static int read_interfaces(sd_bus_message *m, struct json_object *nics, struct json_object *ports)
{
	int r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");

	while (r >= 0) {
		struct json_object *o;
		const char *interface;

		r = sd_bus_message_enter_container(m, 'e', "sa{sv}");
		if (r <= 0)
			break;
		r = sd_bus_message_read(m, "s", &interface);
		if (r < 0)
			break;
		o = json_object_new_object();
		r = value_read_properties(m, o);
		if (!strcmp(interface, "org.vnicd1.Nic"))
			json_object_array_add(nics, o);
		else if (!strcmp(interface, "org.vnicd1.Port"))
			json_object_array_add(ports, o);
		else
			json_object_put(o);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int by_text(struct json_object *a, struct json_object *b, const char *key)
{
	return strcmp(j_str(a, key), j_str(b, key));
}

static int port_order(const void *a, const void *b)
{
	struct json_object *x = *(struct json_object *const *)a;
	struct json_object *y = *(struct json_object *const *)b;
	int r = by_text(x, y, "domain");

	return r ? r : by_text(x, y, "key");
}

static int nic_order(const void *a, const void *b)
{
	return by_text(*(struct json_object *const *)a, *(struct json_object *const *)b, "name");
}

int cli_get_objects(struct cli *cli, struct json_object **ret, struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = json_object_new_object();
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
	struct json_object *nics = json_object_new_array(), *ports = json_object_new_array();
	int r;

	json_object_object_add(o, "nics", nics);
	json_object_object_add(o, "ports", ports);
	r = cli_new_call(cli, VNIC_BUS_ROOT, "org.freedesktop.DBus.ObjectManager",
			 "GetManagedObjects", &m, err);
	if (r < 0)
		return r;
	r = cli_call_message(cli, m, &reply, err);
	if (r < 0)
		return r;
	r = sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}");
	while (r >= 0) {
		const char *path;

		r = sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}");
		if (r <= 0)
			break;
		r = sd_bus_message_read(reply, "o", &path);
		if (r >= 0)
			r = read_interfaces(reply, nics, ports);
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	if (r < 0)
		return bad_answer(r, err);
	json_object_array_sort(nics, nic_order);
	json_object_array_sort(ports, port_order);
	*ret = take_ptr(o);
	return 0;
}

int cli_get_list(struct cli *cli, const char *member, struct json_object **ret,
		 struct vnic_err *err)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r = cli_call(cli, member, &reply, err, "");

	if (r < 0)
		return r;
	r = value_read(reply, ret);
	return r < 0 ? bad_answer(r, err) : 0;
}
