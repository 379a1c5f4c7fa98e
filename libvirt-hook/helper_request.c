/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "libvirt-hook/helper_request.h"

#include <string.h>

#include "api/errors.h"
#include "base/paths.h"
#include "libvirt-hook/domain_check.h"
#include "libvirt-hook/domain_json.h"

#define ID_MAX		   (1ull << 53) /* what a double holds exactly, which is what JSON's numbers are */
#define TIMEOUT_MIN_MS	   100
#define TIMEOUT_MAX_MS	   120000
#define TIMEOUT_DEFAULT_MS 10000
#define TIMEOUT_DETACH_MS  20000
#define TIMEOUT_HOSTDEV_MS 60000 /* QEMU maps the guest's memory for the device */

static const char *const op_names[] = {
	[HELPER_PING] = "ping",
	[HELPER_ATTACH] = "attach",
	[HELPER_DETACH] = "detach",
	[HELPER_DOMAIN_XML] = "domain-xml",
	[HELPER_DOMAINS] = "domains",
	[HELPER_CHECK] = "check",
	[HELPER_ATTACH_HOSTDEV] = "attach-hostdev",
	[HELPER_DETACH_HOSTDEV] = "detach-hostdev",
	[HELPER_DEVICES] = "devices",
};

static int get_op(struct json_object *o, enum helper_op *ret, struct vnic_err *err)
{
	const char *name;
	int r = json_get_str(o, "op", &name, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(op_names); i++)
		if (!strcmp(op_names[i], name)) {
			*ret = (enum helper_op)i;
			return 0;
		}
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE, "field \"op\": unknown '%.40s'",
			    name);
}

/* Leaves *ret where the field is absent. */
static int opt_bool(struct json_object *o, const char *key, bool *ret, struct vnic_err *err)
{
	return json_has(o, key) ? json_get_bool(o, key, ret, err) : 0;
}

static int opt_u32(struct json_object *o, const char *key, uint32_t min, uint32_t max,
		   uint32_t *ret, struct vnic_err *err)
{
	uint64_t v;
	int r;

	if (!json_has(o, key))
		return 0;
	r = json_get_u64(o, key, min, max, &v, err);
	if (r == 0)
		*ret = (uint32_t)v;
	return r;
}

static int get_domain(struct json_object *o, struct helper_request *q, struct vnic_err *err)
{
	const char *s;
	int r = json_get_str(o, "domain", &s, err);

	if (r < 0)
		return r;
	if (!*s || str_copy(q->domain, sizeof(q->domain), s) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "field \"domain\" is not a domain's name or UUID");
	return 0;
}

static int get_mac(struct json_object *o, struct helper_request *q, struct vnic_err *err)
{
	const char *s;
	int r = json_get_str(o, "mac", &s, err);

	if (r < 0)
		return r;
	if (mac_parse(s, q->mac) < 0 || !mac_valid_guest(q->mac))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MAC,
				    "field \"mac\": '%.40s' is not a VM NIC's MAC address", s);
	return 0;
}

static int get_where(struct json_object *o, struct helper_request *q, struct vnic_err *err)
{
	int r;

	q->live = true;
	r = opt_bool(o, "live", &q->live, err);
	if (r == 0)
		r = opt_bool(o, "config", &q->config, err);
	if (r == 0 && !q->live && !q->config)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "\"live\" and \"config\" are both false: nothing to do");
	return r;
}

static int get_attach(struct json_object *o, struct helper_request *q, struct vnic_err *err)
{
	char class_name[VNIC_NAME_MAX], name[VNIC_NAME_MAX];
	const char *s, *field;
	int r;

	q->vdpa = json_has(o, "dev");
	field = q->vdpa ? "dev" : "socket";
	r = json_get_str(o, field, &s, err);
	if (r < 0)
		return r;
	if (q->vdpa && json_has(o, "socket"))
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "\"socket\" and \"dev\" exclude each other");
	if ((q->vdpa ? vdpa_split : socket_split)(s, class_name, name) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "field \"%s\": '%.120s' is not of the form %s", field, s,
				    q->vdpa ? VNIC_VDPA_DIR "/CLASS/NAME"
					    : VNIC_SOCK_DIR "/CLASS/NAME.sock");
	r = str_copy(q->file, sizeof(q->file), s);
	if (r < 0)
		return r;
	q->queues = 1;
	return opt_u32(o, "queues", 1, DOMAIN_QUEUES_MAX, &q->queues, err);
}

static int get_hostdev(struct json_object *o, struct helper_request *q, struct vnic_err *err)
{
	uint8_t uuid[VNIC_UUID_LEN];
	struct pci_address a;
	const char *s;
	int r;

	/* A name may be another domain's by now. */
	if (uuid_parse(q->domain, uuid) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "field \"domain\": '%.40s' is not a UUID", q->domain);
	r = json_get_str(o, "address", &s, err);
	if (r < 0)
		return r;
	if (pci_address_parse(s, &a) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "field \"address\": '%.40s' is not a PCI address like "
				    "0000:03:10.1",
				    s);
	pci_address_format(&a, q->address);
	if (q->op == HELPER_DETACH_HOSTDEV)
		return 0;
	r = json_get_str(o, "standby", &s, err);
	if (r < 0)
		return r;
	if (!domain_alias_is_users(s) || str_copy(q->standby, sizeof(q->standby), s) < 0)
		return vnic_err_set(
			err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
			"field \"standby\": '%.80s' is not an alias of the form ua-NAME, "
			"%d characters at most",
			s, VNIC_NAME_MAX - 1);
	return 0;
}

static int get_after(struct json_object *o, struct helper_request *q, struct vnic_err *err)
{
	uint8_t uuid[VNIC_UUID_LEN];
	const char *s;
	int r;

	if (!json_has(o, "after"))
		return 0;
	r = json_get_str(o, "after", &s, err);
	if (r < 0)
		return r;
	if (uuid_parse(s, uuid) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "field \"after\": '%.40s' is not a UUID", s);
	uuid_format(uuid, q->after);
	return 0;
}

static int get_classes(struct json_object *o, struct helper_request *q, struct vnic_err *err)
{
	struct json_object *array;
	size_t n;
	int r = json_get_array(o, "classes", HELPER_CLASSES_MAX, &array, err);

	if (r < 0)
		return r;
	n = json_object_array_length(array);
	q->classes = calloc(n ? n : 1, sizeof(*q->classes));
	if (!q->classes)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_object *v = json_object_array_get_idx(array, i);

		if (!json_object_is_type(v, json_type_string) ||
		    !name_valid(json_object_get_string(v)))
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
					    "field \"classes\": element %zu is not a class's name",
					    i);
		q->classes[q->n_classes++] = json_object_get_string(v);
	}
	return 0;
}

static uint32_t default_timeout(enum helper_op op)
{
	switch (op) {
	case HELPER_ATTACH_HOSTDEV:
		return TIMEOUT_HOSTDEV_MS;
	case HELPER_DETACH:
	case HELPER_DETACH_HOSTDEV:
		return TIMEOUT_DETACH_MS;
	default:
		return TIMEOUT_DEFAULT_MS;
	}
}

static int get_fields(struct json_object *o, struct helper_request *q, struct vnic_err *err)
{
	int r = 0;

	q->timeout_ms = default_timeout(q->op);
	r = opt_u32(o, "timeout_ms", TIMEOUT_MIN_MS, TIMEOUT_MAX_MS, &q->timeout_ms, err);
	if (r == 0 && q->op != HELPER_PING && q->op != HELPER_DOMAINS && q->op != HELPER_DEVICES)
		r = get_domain(o, q, err);
	if (r < 0)
		return r;
	switch (q->op) {
	case HELPER_ATTACH:
	case HELPER_DETACH:
		r = get_mac(o, q, err);
		if (r == 0)
			r = get_where(o, q, err);
		if (r == 0 && q->op == HELPER_ATTACH)
			r = get_attach(o, q, err);
		return r;
	case HELPER_DOMAIN_XML:
		return opt_bool(o, "inactive", &q->inactive, err);
	case HELPER_DOMAINS:
	case HELPER_DEVICES:
		return get_after(o, q, err);
	case HELPER_CHECK:
		r = opt_bool(o, "live", &q->live, err);
		return r < 0 ? r : get_classes(o, q, err);
	case HELPER_ATTACH_HOSTDEV:
	case HELPER_DETACH_HOSTDEV:
		return get_hostdev(o, q, err);
	case HELPER_PING:
		break;
	}
	return 0;
}

int helper_request_parse(const char *data, size_t size, struct helper_request *ret,
			 uint64_t *ret_id, struct vnic_err *err)
{
	struct helper_request q = { 0 };
	int r;

	*ret_id = 0;
	r = json_parse(data, size, &q.message, err);
	if (r < 0)
		return r;
	r = json_get_u64(q.message, "id", 1, ID_MAX, &q.id, err);
	if (r == 0) {
		*ret_id = q.id;
		r = get_op(q.message, &q.op, err);
	}
	if (r == 0)
		r = get_fields(q.message, &q, err);
	if (r < 0) {
		helper_request_deinit(&q);
		return r;
	}
	*ret = q;
	return 0;
}

void helper_request_deinit(struct helper_request *r)
{
	free(r->classes);
	json_object_put(r->message);
	*r = (struct helper_request){ 0 };
}

struct json_object *helper_event(void)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "event", "devices");
	return o;
}

struct json_object *helper_answer(uint64_t id)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "id", id);
	json_add_bool(o, "ok", true);
	return o;
}

struct json_object *helper_answer_error(uint64_t id, const struct vnic_err *err)
{
	struct json_object *o = json_object_new_object();
	struct json_object *e = json_object_new_object();

	json_add_u64(o, "id", id);
	json_add_str(e, "code", *err->code ? err->code : VNIC_E_INTERNAL);
	json_add_str(e, "message", *err->message ? err->message : "out of memory");
	json_put_into(o, "error", e);
	return o;
}
