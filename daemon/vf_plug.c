/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/vf_plug.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "api/errors.h"
#include "base/json.h"

/* QEMU maps the guest's memory for the device: seconds for large guests. */
#define ATTACH_MSEC 60000
/* The guest's driver lets go in its own time. */
#define DETACH_MSEC 20000

struct plug_call {
	manager_step_done done;
	void *arg;
	LIST_ENTRY(plug_call) link;
};

struct vf_plug {
	struct libvirt_client *client;
	LIST_HEAD(, plug_call) calls;
};

static void call_free(struct plug_call *call)
{
	LIST_REMOVE(call, link);
	free(call);
}

static void finish(struct plug_call *call, int error, const struct vnic_err *err)
{
	manager_step_done done = call->done;
	void *arg = call->arg;

	call_free(call);
	done(arg, error, err);
}

static void on_attached(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	(void)answer;
	finish(arg, err ? -EIO : 0, err);
}

static void on_detached(void *arg, const struct vnic_err *err, struct json_object *answer)
{
	struct vnic_err local = VNIC_ERR_INIT;
	const char *outcome;

	/* No such domain, or it does not run: it has no device of ours. */
	if (err && str_eq(err->code, VNIC_E_UNKNOWN_DOMAIN)) {
		finish(arg, 0, NULL);
		return;
	}
	if (err) {
		finish(arg, -EIO, err);
		return;
	}
	if (json_get_str(answer, "outcome", &outcome, &local) < 0) {
		finish(arg, -EBADMSG, &local);
		return;
	}
	if (str_eq(outcome, "removed")) {
		finish(arg, 0, NULL);
		return;
	}
	vnic_err_set(&local, -EBUSY, VNIC_E_BUSY,
		     str_eq(outcome, VNIC_E_BUSY) ? "the guest refused to let go of it"
						  : "the guest did not let go of it in time");
	finish(arg, -EBUSY, &local);
}

static void on_plug(void *data, const struct step *step, const struct vnic_port *port, bool undo,
		    manager_step_done done, void *arg)
{
	struct vf_plug *plug = data;
	struct plug_call *call = calloc(1, sizeof(*call));
	struct json_object *fields = json_object_new_object();
	char uuid[VNIC_UUID_STR];

	if (!call || !fields) {
		free(call);
		json_object_put(fields);
		done(arg, -ENOMEM, NULL);
		return;
	}
	call->done = done;
	call->arg = arg;
	LIST_INSERT_HEAD(&plug->calls, call, link);
	json_add_str(fields, "domain", uuid_format(port->spec.key.uuid, uuid));
	json_add_str(fields, "address", step->vf_addr);
	if (!undo)
		json_add_str(fields, "standby", port->spec.standby);
	if (!libvirt_client_call(plug->client, undo ? "detach-hostdev" : "attach-hostdev", fields,
				 undo ? DETACH_MSEC : ATTACH_MSEC, undo ? on_detached : on_attached,
				 call))
		finish(call, -ENOMEM, NULL);
}

struct outside_plug vf_plug_ops(struct vf_plug *plug)
{
	return (struct outside_plug){ .data = plug, .plug = on_plug };
}

int vf_plug_new(struct libvirt_client *client, struct vf_plug **ret)
{
	struct vf_plug *plug = calloc(1, sizeof(*plug));

	if (!plug)
		return -ENOMEM;
	plug->client = client;
	LIST_INIT(&plug->calls);
	*ret = plug;
	return 0;
}

struct vf_plug *vf_plug_free(struct vf_plug *plug)
{
	if (!plug)
		return NULL;
	while (!LIST_EMPTY(&plug->calls))
		call_free(LIST_FIRST(&plug->calls));
	free(plug);
	return NULL;
}
