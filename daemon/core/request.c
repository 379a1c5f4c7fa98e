/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "base/json.h"
#include "base/paths.h"

#define QUEUES_MAX 8

static const struct {
	const char *word;
	enum request_op op;
	bool interfaces; /* says the domain's interfaces */
} ops[] = {
	{ "prepare", REQUEST_PREPARE, true },	   { "start", REQUEST_START, true },
	{ "started", REQUEST_STARTED, false },	   { "stopped", REQUEST_STOPPED, false },
	{ "release", REQUEST_RELEASE, false },	   { "migrate", REQUEST_MIGRATE, true },
	{ "restore", REQUEST_RESTORE, true },	   { "reconnect", REQUEST_RECONNECT, true },
	{ "port-created", REQUEST_DEVICE, false }, { "port-deleted", REQUEST_NETWORK, false },
};

const char *request_op_str(enum request_op op)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (ops[i].op == op)
			return op == REQUEST_NETWORK ? "network" : ops[i].word;
	return "unknown";
}

static int op_parse(const char *s, enum request_op *ret, bool *ret_interfaces)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (str_eq(s, ops[i].word)) {
			*ret = ops[i].op;
			*ret_interfaces = ops[i].interfaces;
			return 0;
		}
	if (!strncmp(s, "network-", strlen("network-"))) {
		*ret = REQUEST_NETWORK;
		*ret_interfaces = false;
		return 0;
	}
	return -EINVAL;
}

/*
 * CLASS and NAME of @file, which is @dir, with its slash, CLASS/NAME and @suffix. 1 where it is not below @dir; -EINVAL with
 * @err where it is but is malformed.
 */
static int split_file(const char *file, const char *dir, const char *suffix, const char *what,
		      char ret_class[VNIC_NAME_MAX], char ret_name[VNIC_NAME_MAX],
		      struct vnic_err *err)
{
	char class[VNIC_NAME_MAX], name[VNIC_NAME_MAX];
	size_t skip = strlen(dir), n_suffix = strlen(suffix), n_class, n_name;
	const char *slash;

	if (strncmp(file, dir, skip) != 0)
		return 1;
	file += skip;
	slash = strchr(file, '/');
	if (!slash)
		goto malformed;
	n_class = (size_t)(slash - file);
	n_name = strlen(slash + 1);
	if (n_class >= sizeof(class) || n_name <= n_suffix || n_name - n_suffix >= sizeof(name) ||
	    !str_eq(slash + 1 + n_name - n_suffix, suffix))
		goto malformed;
	n_name -= n_suffix;
	memcpy(class, file, n_class);
	class[n_class] = '\0';
	memcpy(name, slash + 1, n_name);
	name[n_name] = '\0';
	if (!name_valid(class) || !name_valid(name))
		goto malformed;
	memcpy(ret_class, class, sizeof(class));
	memcpy(ret_name, name, sizeof(name));
	return 0;
malformed:
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
			    "%s '%.120s' is not of the form %sCLASS/NAME%s, "
			    "CLASS and NAME of A-Z a-z 0-9 . _ - and at most %d long",
			    what, file - skip, dir, suffix, VNIC_NAME_MAX - 1);
}

int request_overrides(struct port_spec *spec, const char *vlan, const char *rate,
		      const char *weight, const char *paths, struct vnic_err *err)
{
	struct port_spec new = *spec;
	uint64_t v;

	if (vlan) {
		if (u64_parse(vlan, 0, VNIC_VLAN_MAX, &v) < 0)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
					    "vlan='%.40s' is not a number from 0 to %d", vlan,
					    VNIC_VLAN_MAX);
		new.has_vlan = true;
		new.vlan = (uint16_t)v;
	}
	if (rate) {
		if (rate_parse(rate, &v) < 0)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
					    "rate='%.40s' is no rate: write it as in '500mbit' or "
					    "'2gbit'",
					    rate);
		new.has_rate = true;
		new.rate = v;
	}
	if (weight) {
		if (u64_parse(weight, 1, 1000, &v) < 0)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
					    "weight='%.40s' is not a number from 1 to 1000",
					    weight);
		new.has_weight = true;
		new.weight = (uint32_t)v;
	}
	if (paths) {
		int r = path_list_parse(paths, &new.paths, err);

		if (r < 0) {
			vnic_err_prefix(err, "paths: ");
			return r;
		}
		new.has_paths = true;
	}
	*spec = new;
	return 0;
}

/* A string that may be absent or null: NULL then. */
static int get_opt_str(struct json_object *o, const char *key, const char **ret,
		       struct vnic_err *err)
{
	*ret = NULL;
	return json_has(o, key) ? json_get_str(o, key, ret, err) : 0;
}

/* One interface whose socket is ours. libvirt's words, since its XML is what the administrator wrote. */
static int parse_ours(struct json_object *o, struct port_spec *spec, struct vnic_err *err)
{
	const char *type, *mode, *model, *teaming, *alias;
	uint64_t queues = 1;
	int r;

	r = json_get_str(o, "type", &type, err);
	if (r == 0)
		r = get_opt_str(o, "mode", &mode, err);
	if (r == 0)
		r = get_opt_str(o, "model", &model, err);
	if (r < 0)
		return r;
	if (spec->vdpa && !str_eq(type, "vdpa"))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
				    "<interface type='%.20s'> has a device of vnicd's: write "
				    "type='vdpa'",
				    type);
	if (!spec->vdpa && !str_eq(type, "vhostuser"))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
				    "<interface type='%.20s'> has a socket of vnicd's: write "
				    "type='vhostuser'",
				    type);
	if (!spec->vdpa && mode && !str_eq(mode, "client"))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
				    "<source mode='%.20s'>: vnicd listens, so QEMU must connect: "
				    "write mode='client'",
				    mode);
	if (model && strncmp(model, "virtio", strlen("virtio")) != 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
				    "<model type='%.20s'/>: vnicd's NICs are virtio: write "
				    "<model type='virtio'/>",
				    model);
	if (json_has(o, "queues")) {
		r = json_get_u64(o, "queues", 0, UINT32_MAX, &queues, err);
		if (r < 0)
			return r;
		if (queues > QUEUES_MAX)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
					    "<driver queues='%llu'/>: at most %d are possible",
					    (unsigned long long)queues, QUEUES_MAX);
	}
	spec->queues = queues ? (uint32_t)queues : 1;
	r = get_opt_str(o, "teaming", &teaming, err);
	if (r == 0)
		r = get_opt_str(o, "alias", &alias, err);
	/* Without an alias libvirt could not be told which NIC stands by: then there is none. */
	if (r == 0 && teaming && alias && str_eq(teaming, "persistent") &&
	    !strncmp(alias, "ua-", 3) && name_valid(alias))
		r = str_copy(spec->standby, sizeof(spec->standby), alias);
	return r;
}

static bool has_dir(const char *file, const char *dir)
{
	return file && !strncmp(file, dir, strlen(dir));
}

/* Return: 1 where it is ours and @spec is filled in, 0 where it is somebody else's. */
static int parse_interface(struct json_object *o, struct port_spec *spec, struct vnic_err *err)
{
	const char *mac, *socket, *dev = NULL;
	int r;

	r = get_opt_str(o, "socket", &socket, err);
	if (r == 0)
		r = get_opt_str(o, "dev", &dev, err);
	if (r == 0)
		r = get_opt_str(o, "mac", &mac, err);
	if (r < 0)
		return r;
	if (!mac) {
		const char *file = has_dir(socket, VNIC_SOCK_DIR "/") ? socket
				   : has_dir(dev, VNIC_VDPA_DIR "/")  ? dev
								      : NULL;

		/* libvirt gives every interface one before its hooks run. */
		if (file)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
					    "the interface with '%.120s' has no MAC address: "
					    "write <mac address='52:54:00:…'/>",
					    file);
		return 0;
	}
	if (mac_parse(mac, spec->key.mac) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MAC,
				    "'%.40s' is no MAC address: write it as in 52:54:00:12:34:56",
				    mac);
	r = socket ? split_file(socket, VNIC_SOCK_DIR "/", ".sock", "socket", spec->class_name,
				spec->name, err)
		   : 1;
	if (r == 1 && dev) {
		r = split_file(dev, VNIC_VDPA_DIR "/", "", "device", spec->class_name, spec->name,
			       err);
		spec->vdpa = r == 0;
	}
	if (r == 0)
		r = parse_ours(o, spec, err);
	if (r < 0)
		vnic_err_prefix(err, "interface %s: ", mac);
	return r < 0 ? r : r == 0;
}

/* Of a VF that libvirt manages: its interface has no socket that would say of which class it is. */
static int parse_hostdev(const uint8_t mac[VNIC_MAC_LEN], const char *class, const char *rate,
			 struct domain_request *req, struct vnic_err *err)
{
	struct port_spec spec = { .key = { { 0 } } }, *more;
	int r;

	if (!name_valid(class))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
				    "class='%.40s' is not of A-Z a-z 0-9 . _ - and at most %d long",
				    class, VNIC_NAME_MAX - 1);
	for (size_t i = 0; i < req->n_specs; i++)
		if (memcmp(req->specs[i].key.mac, mac, VNIC_MAC_LEN) == 0)
			return vnic_err_set(
				err, -EINVAL, VNIC_E_INVALID_XML,
				"leave class= out: the class of a NIC of vnicd's is the "
				"folder of its socket");
	r = request_overrides(&spec, NULL, rate, NULL, NULL, err);
	if (r < 0)
		return r;
	memcpy(spec.key.mac, mac, VNIC_MAC_LEN);
	str_copy(spec.class_name, sizeof(spec.class_name), class);
	more = reallocarray(req->hostdevs, req->n_hostdevs + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	req->hostdevs = more;
	req->hostdevs[req->n_hostdevs++] = spec;
	return 0;
}

static int parse_override(struct json_object *o, struct domain_request *req, uint64_t *seen,
			  struct vnic_err *err)
{
	const char *mac, *class, *vlan, *rate, *weight, *paths;
	uint8_t m[VNIC_MAC_LEN];
	int r;

	r = json_get_str(o, "mac", &mac, err);
	if (r < 0)
		return r;
	if (mac_parse(mac, m) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
				    "<vnic:port mac='%.40s'>: this is no MAC address", mac);
	r = get_opt_str(o, "class", &class, err);
	if (r == 0)
		r = get_opt_str(o, "vlan", &vlan, err);
	if (r == 0)
		r = get_opt_str(o, "rate", &rate, err);
	if (r == 0)
		r = get_opt_str(o, "weight", &weight, err);
	if (r == 0)
		r = get_opt_str(o, "paths", &paths, err);
	if (r < 0)
		return r;
	if (class) {
		r = parse_hostdev(m, class, rate, req, err);
		if (r < 0)
			vnic_err_prefix(err, "<vnic:port mac='%s'>: ", mac);
		return r;
	}
	for (size_t i = 0; i < req->n_specs; i++) {
		if (memcmp(req->specs[i].key.mac, m, sizeof(m)) != 0)
			continue;
		if (*seen >> i & 1)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
					    "two <vnic:port> elements have mac='%s': keep one",
					    mac);
		*seen |= UINT64_C(1) << i;
		r = request_overrides(&req->specs[i], vlan, rate, weight, paths, err);
		if (r < 0)
			vnic_err_prefix(err, "<vnic:port mac='%s'>: ", mac);
		return r;
	}
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
			    "<vnic:port mac='%s'> matches no interface with a socket "
			    "below " VNIC_SOCK_DIR "/ nor a device below " VNIC_VDPA_DIR
			    "/: correct the address, or remove the element",
			    mac);
}

struct seen {
	const struct port_spec *spec; /* of another's interface: the MAC alone */
	const char *teaming; /* the message's; NULL: none */
};

/* <teaming>: a VF and the virtio NIC that stands by for it have one MAC by design. One of them is a port. */
static bool teamed(const struct seen *a, const struct seen *b)
{
	if (*a->spec->class_name && *b->spec->class_name)
		return false;
	return (str_eq(a->teaming, "persistent") && str_eq(b->teaming, "transient")) ||
	       (str_eq(a->teaming, "transient") && str_eq(b->teaming, "persistent"));
}

/* @s against the @n interfaces before it. */
static int check_mac(const struct seen *s, const struct seen *before, size_t n,
		     struct vnic_err *err)
{
	char mac[VNIC_MAC_STR];

	if (!mac_valid_guest(s->spec->key.mac))
		return 0;
	for (size_t i = 0; i < n; i++) {
		const struct seen *o = &before[i];

		if (memcmp(s->spec->key.mac, o->spec->key.mac, VNIC_MAC_LEN) != 0 ||
		    (!*s->spec->class_name && !*o->spec->class_name) || teamed(s, o))
			continue;
		return vnic_err_set(err, -EINVAL, VNIC_E_DUPLICATE_MAC,
				    "two interfaces of this domain have MAC %s: give each its own",
				    mac_format(s->spec->key.mac, mac));
	}
	return 0;
}

static int parse_interfaces(struct json_object *message, struct domain_request *req,
			    const char *pidfile, struct vnic_err *err)
{
	struct port_spec all[REQUEST_INTERFACES_MAX]; /* every MAC, also of others' interfaces */
	struct seen seen[REQUEST_INTERFACES_MAX];
	struct json_object *list;
	size_t n;
	int r;

	r = json_get_array(message, "interfaces", REQUEST_INTERFACES_MAX, &list, err);
	if (r < 0)
		return r;
	n = json_object_array_length(list);
	req->specs = calloc(n ? n : 1, sizeof(*req->specs));
	if (!req->specs)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		int ours;

		if (!json_object_is_type(o, json_type_object))
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
					    "interfaces[%zu] is no object", i);
		memset(&all[i], 0, sizeof(all[i]));
		ours = parse_interface(o, &all[i], err);
		if (ours < 0)
			return ours;
		seen[i].spec = &all[i];
		r = get_opt_str(o, "teaming", &seen[i].teaming, err);
		if (r == 0)
			r = check_mac(&seen[i], seen, i, err);
		if (r < 0)
			return r;
		if (!ours)
			continue;
		memcpy(all[i].key.uuid, req->uuid, sizeof(req->uuid));
		memcpy(all[i].domain, req->name, sizeof(req->name));
		r = str_copy(all[i].pidfile, sizeof(all[i].pidfile), pidfile);
		if (r < 0)
			return vnic_err_set(err, r, VNIC_E_INVALID_MESSAGE,
					    "field \"pidfile\" is too long");
		req->specs[req->n_specs++] = all[i];
	}
	return 0;
}

static int parse_domain(struct json_object *message, bool interfaces, struct domain_request *req,
			struct vnic_err *err)
{
	const char *uuid, *name, *pidfile = NULL;
	struct json_object *domain;
	bool shared = true, sockets = false;
	int r;

	r = json_get_obj(message, "domain", &domain, err);
	if (r == 0)
		r = json_get_str(domain, "uuid", &uuid, err);
	if (r == 0)
		r = json_get_str(domain, "name", &name, err);
	if (r == 0)
		r = get_opt_str(domain, "pidfile", &pidfile, err);
	if (r == 0 && json_has(domain, "shared_memory"))
		r = json_get_bool(domain, "shared_memory", &shared, err);
	if (r < 0)
		return r;
	if (uuid_parse(uuid, req->uuid) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"uuid\": '%.40s' is no UUID", uuid);
	if (!*name || str_copy(req->name, sizeof(req->name), name) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"name\" has not 1 to %d characters",
				    DOMAIN_NAME_MAX - 1);
	if (pidfile && *pidfile && *pidfile != '/')
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"pidfile\" is not absolute");
	if (!interfaces)
		return 0;
	r = parse_interfaces(message, req, pidfile ? pidfile : "", err);
	for (size_t i = 0; r == 0 && i < req->n_specs; i++)
		sockets |= !req->specs[i].vdpa;
	if (r == 0 && sockets && !shared)
		r = vnic_err_set(err, -EINVAL, VNIC_E_INVALID_XML,
				 "the domain's memory is not shared, so the datapath cannot reach "
				 "it: add <memoryBacking><source type='memfd'/><access "
				 "mode='shared'/></memoryBacking>");
	return r;
}

static int parse_overrides(struct json_object *message, struct domain_request *req,
			   struct vnic_err *err)
{
	struct json_object *list;
	uint64_t seen = 0;
	int r;

	if (!json_has(message, "overrides"))
		return 0;
	r = json_get_array(message, "overrides", REQUEST_INTERFACES_MAX, &list, err);
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (!json_object_is_type(o, json_type_object))
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
					    "overrides[%zu] is no object", i);
		r = parse_override(o, req, &seen, err);
	}
	return r;
}

/* The interface that a network gives a device to. */
static int parse_device(struct json_object *message, struct domain_request *req,
			struct vnic_err *err)
{
	struct json_object *list, *o;
	const char *address = NULL;
	int r = json_get_array(message, "interfaces", REQUEST_INTERFACES_MAX, &list, err);

	if (r < 0 || !json_object_array_length(list))
		return r;
	o = json_object_array_get_idx(list, 0);
	if (!json_object_is_type(o, json_type_object))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "interfaces[0] is no object");
	r = get_opt_str(o, "address", &address, err);
	if (r == 0 && address && str_copy(req->device, sizeof(req->device), address) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"address\" is longer than %zu characters",
				    sizeof(req->device) - 1);
	return r;
}

int request_parse(struct json_object *message, struct domain_request *ret, struct vnic_err *err)
{
	struct domain_request req = { 0 };
	bool interfaces = false;
	uint64_t version;
	const char *op;
	int r;

	r = json_get_u64(message, "version", 1, 1, &version, err);
	if (r == 0)
		r = json_get_str(message, "op", &op, err);
	if (r < 0)
		return r;
	if (op_parse(op, &req.op, &interfaces) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"op\": '%.40s' is no operation of a hook", op);
	if (req.op == REQUEST_NETWORK) {
		*ret = req;
		return 0;
	}
	r = parse_domain(message, interfaces, &req, err);
	if (r == 0 && req.op == REQUEST_DEVICE)
		r = parse_device(message, &req, err);
	if (r == 0 && interfaces)
		r = parse_overrides(message, &req, err);
	if (r < 0) {
		request_clear(&req);
		return r;
	}
	*ret = req;
	return 0;
}

void request_clear(struct domain_request *req)
{
	free(req->specs);
	free(req->hostdevs);
	*req = (struct domain_request){ 0 };
}
