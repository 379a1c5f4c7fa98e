/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/json.h"
#include "daemon/sys/record_priv.h"

/* ,"crc":"89abcdef"}\n */
#define TAIL_HEAD ",\"crc\":\""
#define TAIL_SIZE (strlen(TAIL_HEAD) + 8 + strlen("\"}\n"))

/* CRC-32 of Ethernet (IEEE 802.3), bit by bit: records are small and seldom. */
static uint32_t crc32(const char *data, size_t size)
{
	uint32_t crc = UINT32_MAX;

	while (size--) {
		crc ^= (unsigned char)*data++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static struct json_object *new_record(const char *boot)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		abort();
	json_add_u64(o, "version", RECORD_VERSION);
	json_add_str(o, "boot", boot);
	return o;
}

static void add_object(struct json_object *o, const char *key, struct json_object *value)
{
	if (json_object_object_add(o, key, value) < 0)
		abort();
}

/* The text of @o with the CRC in its last field. */
static int seal(struct json_object *o, char **ret, size_t *ret_size)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	size_t n = strlen(text) - 1; /* without its '}' */
	char *data;

	data = malloc(n + TAIL_SIZE + 1);
	if (!data)
		return -ENOMEM;
	memcpy(data, text, n);
	snprintf(data + n, TAIL_SIZE + 1, TAIL_HEAD "%08x\"}\n", crc32(text, n));
	*ret = data;
	*ret_size = n + TAIL_SIZE;
	return 0;
}

static int damaged(struct vnic_err *err, const char *why)
{
	return vnic_err_set(err, -EBADMSG, VNIC_E_INVALID_MESSAGE, "%s", why);
}

/* Check frame, version and boot. Return: 0 with the whole object, or as record_decode_port(). */
static int unseal(const char *data, size_t size, const char *boot, struct json_object **ret,
		  struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *o = NULL;
	char tail[32];
	const char *s;
	uint64_t version;
	size_t n;

	if (size <= TAIL_SIZE)
		return damaged(err, "it is too short: cut off");
	n = size - TAIL_SIZE;
	snprintf(tail, sizeof(tail), TAIL_HEAD "%08x\"}\n", crc32(data, n));
	if (memcmp(data + n, tail, TAIL_SIZE) != 0)
		return damaged(err, "its checksum is wrong or missing: cut off or altered");
	if (json_parse(data, size, &o, err) < 0)
		return -EBADMSG;
	if (json_get_u64(o, "version", 1, UINT32_MAX, &version, err) < 0)
		return -EBADMSG;
	if (version > RECORD_VERSION)
		return vnic_err_set(err, -EPROTONOSUPPORT, VNIC_E_INVALID_MESSAGE,
				    "it is of version %llu, this vnicd knows up to %d: it is left "
				    "alone; run the newer vnicd, or stop its domain and remove it",
				    (unsigned long long)version, RECORD_VERSION);
	if (json_get_str(o, "boot", &s, err) < 0)
		return -EBADMSG;
	if (!str_eq(s, boot))
		return RECORD_OTHER_BOOT;
	*ret = take_ptr(o);
	return 0;
}

static struct json_object *spec_to_json(const struct port_spec *spec)
{
	struct json_object *o = json_object_new_object();
	char key[PORT_KEY_STR], paths[64];

	if (!o)
		abort();
	json_add_str(o, "key", port_key_format(&spec->key, key));
	record_add_text(o, "domain", spec->domain);
	record_add_text(o, "class", spec->class_name);
	record_add_text(o, "name", spec->name);
	record_add_text(o, "pidfile", spec->pidfile);
	json_add_u64(o, "queues", spec->queues);
	if (spec->vdpa)
		json_add_bool(o, "vdpa", true);
	if (*spec->standby)
		record_add_text(o, "standby", spec->standby);
	if (spec->has_vlan)
		json_add_u64(o, "vlan", spec->vlan);
	if (spec->has_rate)
		json_add_u64(o, "rate", spec->rate);
	if (spec->has_weight)
		json_add_u64(o, "weight", spec->weight);
	if (spec->has_paths)
		json_add_str(o, "paths", path_list_format(&spec->paths, paths, sizeof(paths)));
	return o;
}

static struct json_object *history_to_json(const struct vnic_port *port)
{
	struct json_object *array = json_object_new_array();
	uint64_t first = port->history_n > PORT_HISTORY ? port->history_n - PORT_HISTORY : 0;

	if (!array)
		abort();
	for (uint64_t i = first; i < port->history_n; i++) {
		const struct port_event *event = &port->history[i % PORT_HISTORY];
		struct json_object *o = json_object_new_object();

		if (!o)
			abort();
		json_add_u64(o, "at", event->realtime_us);
		record_add_text(o, "text", event->text);
		if (json_object_array_add(array, o) < 0)
			abort();
	}
	return array;
}

static struct json_object *device_to_json(const struct port_device *device)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		abort();
	json_add_str(o, "state", device_state_str(device->state));
	json_add_str(o, "pf", device->pf);
	json_add_u64(o, "vf", (uint64_t)device->vf);
	json_add_str(o, "vf_addr", device->vf_addr);
	add_object(o, "plan", record_plan_to_json(&device->plan));
	return o;
}

int record_encode_port(const struct vnic_port *port, const char *boot, char **ret, size_t *ret_size)
{
	_cleanup_(json_putp) struct json_object *o = new_record(boot);
	struct json_object *p = json_object_new_object();

	if (!p)
		abort();
	add_object(o, "port", p);
	add_object(p, "spec", spec_to_json(&port->spec));
	json_add_str(p, "state", port_state_str(port->state));
	json_add_str(p, "path", vnic_path_str(port->path));
	json_add_u64(p, "generation", port->generation);
	record_add_text(p, "segment", port->segment);
	json_add_u64(p, "vlan", port->vlan);
	json_add_u64(p, "rate", port->rate);
	json_add_u64(p, "weight", port->weight);
	json_add_bool(p, "spoofchk", port->spoofchk);
	json_add_bool(p, "trust", port->trust);
	if (port->vf.min_rate)
		json_add_u64(p, "vf_min_rate", port->vf.min_rate);
	if (port->vf.link)
		json_add_str(p, "vf_link", vf_link_str(port->vf.link));
	json_add_u64(p, "queues", port->queues);
	json_add_bool(p, "started", port->started);
	json_add_u64(p, "restarts", port->restarts);
	record_add_text(p, "reason", port->reason);
	add_object(p, "history", history_to_json(port));
	add_object(p, "plan", record_plan_to_json(&port->plan));
	if (port->device.hold)
		json_add_bool(p, "device_hold", true);
	if (port->device.state != DEVICE_NONE)
		add_object(p, "device", device_to_json(&port->device));
	return seal(o, ret, ret_size);
}

static int spec_overrides(struct json_object *o, struct port_spec *spec, struct vnic_err *err)
{
	uint32_t vlan = 0;
	const char *s;
	int r = 0;

	spec->has_vlan = json_has(o, "vlan");
	spec->has_rate = json_has(o, "rate");
	spec->has_weight = json_has(o, "weight");
	spec->has_paths = json_has(o, "paths");
	if (spec->has_vlan) {
		r = record_get_u32(o, "vlan", VNIC_VLAN_MAX, &vlan, err);
		if (r < 0)
			return r;
		spec->vlan = (uint16_t)vlan;
	}
	if (spec->has_rate)
		r = json_get_u64(o, "rate", 0, UINT64_MAX, &spec->rate, err);
	if (r == 0 && spec->has_weight)
		r = record_get_u32(o, "weight", RECORD_U32_MAX, &spec->weight, err);
	if (r < 0 || !spec->has_paths)
		return r;
	r = json_get_str(o, "paths", &s, err);
	return r < 0 ? r : path_list_parse(s, &spec->paths, err);
}

static int spec_from_json(struct json_object *o, struct port_spec *spec, struct vnic_err *err)
{
	const char *s;
	int r;

	r = json_get_str(o, "key", &s, err);
	if (r < 0)
		return r;
	r = port_key_parse(s, &spec->key);
	if (r < 0)
		return vnic_err_set(err, r, VNIC_E_INVALID_MESSAGE, "'%.80s' is no port's key", s);
	r = record_get_name(o, "domain", NULL, true, spec->domain, sizeof(spec->domain), err);
	if (r == 0)
		r = record_get_name(o, "class", name_valid, false, spec->class_name,
				    sizeof(spec->class_name), err);
	if (r == 0)
		r = record_get_name(o, "name", name_valid, false, spec->name, sizeof(spec->name),
				    err);
	if (r == 0)
		r = record_get_name(o, "pidfile", NULL, true, spec->pidfile, sizeof(spec->pidfile),
				    err);
	if (r == 0)
		r = record_get_u32(o, "queues", RECORD_U32_MAX, &spec->queues, err);
	if (r == 0 && json_has(o, "standby"))
		r = record_get_name(o, "standby", NULL, false, spec->standby, sizeof(spec->standby),
				    err);
	if (r == 0 && json_has(o, "vdpa"))
		r = json_get_bool(o, "vdpa", &spec->vdpa, err);
	return r < 0 ? r : spec_overrides(o, spec, err);
}

static int history_from_json(struct json_object *array, struct vnic_port *port,
			     struct vnic_err *err)
{
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *o = json_object_array_get_idx(array, i);
		struct port_event *event = &port->history[i];
		int r;

		if (!json_object_is_type(o, json_type_object))
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
					    "field \"history\" holds what is no object");
		r = json_get_u64(o, "at", 0, UINT64_MAX, &event->realtime_us, err);
		if (r == 0)
			r = record_get_name(o, "text", NULL, true, event->text, sizeof(event->text),
					    err);
		if (r < 0)
			return r;
		port->history_n++;
	}
	return 0;
}

static int port_words(struct json_object *o, struct vnic_port *port, struct vnic_err *err)
{
	const char *s;
	int r;

	r = json_get_str(o, "state", &s, err);
	if (r < 0)
		return r;
	if (port_state_parse(s, &port->state) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE, "unknown state '%.40s'",
				    s);
	r = json_get_str(o, "path", &s, err);
	if (r < 0)
		return r;
	if (!str_eq(s, "none") && vnic_path_parse(s, &port->path) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE, "unknown path '%.40s'",
				    s);
	r = record_get_name(o, "segment", name_valid, false, port->segment, sizeof(port->segment),
			    err);
	if (r == 0)
		r = record_get_name(o, "reason", NULL, true, port->reason, sizeof(port->reason),
				    err);
	return r;
}

/* Both may be missing. */
static int vf_extra(struct json_object *o, struct vf_extra *vf, struct vnic_err *err)
{
	const char *s;
	int r = 0;

	if (json_has(o, "vf_min_rate"))
		r = json_get_u64(o, "vf_min_rate", 0, UINT64_MAX, &vf->min_rate, err);
	if (r < 0 || !json_has(o, "vf_link"))
		return r;
	r = json_get_str(o, "vf_link", &s, err);
	if (r == 0 && vf_link_parse(s, &vf->link) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"vf_link\": '%.40s' is no state of a link", s);
	return r;
}

static int port_numbers(struct json_object *o, struct vnic_port *port, struct vnic_err *err)
{
	uint32_t vlan = 0;
	int r;

	r = json_get_u64(o, "generation", 1, PORT_GENERATION_MAX, &port->generation, err);
	if (r == 0)
		r = record_get_u32(o, "vlan", VNIC_VLAN_MAX, &vlan, err);
	if (r < 0)
		return r;
	port->vlan = (uint16_t)vlan;
	r = json_get_u64(o, "rate", 0, UINT64_MAX, &port->rate, err);
	if (r == 0)
		r = record_get_u32(o, "weight", RECORD_U32_MAX, &port->weight, err);
	if (r == 0)
		r = json_get_bool(o, "spoofchk", &port->spoofchk, err);
	if (r == 0)
		r = json_get_bool(o, "trust", &port->trust, err);
	if (r == 0)
		r = vf_extra(o, &port->vf, err);
	if (r == 0)
		r = record_get_u32(o, "queues", RECORD_U32_MAX, &port->queues, err);
	if (r == 0)
		r = json_get_bool(o, "started", &port->started, err);
	if (r == 0)
		r = record_get_u32(o, "restarts", RECORD_U32_MAX, &port->restarts, err);
	return r;
}

static int device_from_json(struct json_object *o, struct port_device *device, struct vnic_err *err)
{
	struct json_object *array;
	uint32_t vf = 0;
	const char *s;
	int r;

	r = json_get_str(o, "state", &s, err);
	if (r < 0)
		return r;
	if (device_state_parse(s, &device->state) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "unknown state '%.40s' of a device", s);
	r = record_get_name(o, "pf", record_sysfs_name, false, device->pf, sizeof(device->pf), err);
	if (r == 0)
		r = record_get_name(o, "vf_addr", record_sysfs_name, false, device->vf_addr,
				    sizeof(device->vf_addr), err);
	if (r == 0)
		r = record_get_u32(o, "vf", PF_VFS_MAX - 1, &vf, err);
	if (r == 0)
		r = json_get_array(o, "plan", PLAN_STEPS_LIMIT, &array, err);
	if (r < 0)
		return r;
	device->vf = (int)vf;
	return record_plan_from_json(array, &device->plan, err);
}

static int port_from_json(struct json_object *o, struct vnic_port *port, struct vnic_err *err)
{
	struct json_object *array, *device;
	int r;

	r = port_words(o, port, err);
	if (r == 0)
		r = port_numbers(o, port, err);
	if (r == 0)
		r = json_get_array(o, "history", PORT_HISTORY, &array, err);
	if (r == 0)
		r = history_from_json(array, port, err);
	if (r == 0)
		r = json_get_array(o, "plan", PLAN_STEPS_LIMIT, &array, err);
	if (r == 0)
		r = record_plan_from_json(array, &port->plan, err);
	if (r == 0 && json_has(o, "device_hold"))
		r = json_get_bool(o, "device_hold", &port->device.hold, err);
	if (r < 0 || !json_has(o, "device"))
		return r;
	r = json_get_obj(o, "device", &device, err);
	return r < 0 ? r : device_from_json(device, &port->device, err);
}

static void port_freep(struct vnic_port **port)
{
	port_free(*port);
}

int record_decode_port(const char *data, size_t size, const char *boot, struct vnic_port **ret,
		       struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *record = NULL;
	_cleanup_(port_freep) struct vnic_port *port = NULL;
	struct port_spec spec = { 0 };
	struct json_object *o, *s;
	int r;

	r = unseal(data, size, boot, &record, err);
	if (r != 0)
		return r;
	if (json_get_obj(record, "port", &o, err) < 0 || json_get_obj(o, "spec", &s, err) < 0 ||
	    spec_from_json(s, &spec, err) < 0)
		return -EBADMSG;
	port = port_new(&spec);
	if (!port)
		return -ENOMEM;
	if (port_from_json(o, port, err) < 0)
		return -EBADMSG;
	*ret = take_ptr(port);
	return 0;
}

static const char *const kinds[] = {
	[RECORD_SEGMENT] = "segment",
	[RECORD_NIC] = "nic",
	[RECORD_VF] = "vf",
};

int record_encode_shared(const struct record_owner *owner, const struct plan *plan,
			 const char *boot, char **ret, size_t *ret_size)
{
	_cleanup_(json_putp) struct json_object *o = new_record(boot);

	record_add_text(o, kinds[owner->kind], owner->name);
	if (owner->drained)
		json_add_bool(o, "drained", true);
	add_object(o, "plan", record_plan_to_json(plan));
	return seal(o, ret, ret_size);
}

int record_decode_shared(const char *data, size_t size, const char *boot,
			 struct record_owner *ret_owner, struct plan *ret_plan,
			 struct vnic_err *err)
{
	_cleanup_(json_putp) struct json_object *record = NULL;
	struct json_object *array;
	struct record_owner owner;
	int r;

	r = unseal(data, size, boot, &record, err);
	if (r != 0)
		return r;
	owner.kind = json_has(record, "nic")  ? RECORD_NIC
		     : json_has(record, "vf") ? RECORD_VF
					      : RECORD_SEGMENT;
	owner.drained = false;
	if (owner.kind == RECORD_NIC && json_has(record, "drained") &&
	    json_get_bool(record, "drained", &owner.drained, err) < 0)
		return -EBADMSG;
	if (record_get_name(record, kinds[owner.kind], owner.kind ? record_sysfs_name : name_valid,
			    false, owner.name, owner.kind ? DEV_ADDR_MAX : VNIC_NAME_MAX,
			    err) < 0 ||
	    json_get_array(record, "plan", PLAN_STEPS_LIMIT, &array, err) < 0 ||
	    record_plan_from_json(array, ret_plan, err) < 0)
		return -EBADMSG;
	*ret_owner = owner;
	return 0;
}
