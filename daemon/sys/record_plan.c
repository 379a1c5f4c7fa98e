/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/record_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"

void record_add_text(struct json_object *o, const char *key, const char *text)
{
	_cleanup_(freep) char *copy = strdup(text);

	if (!copy)
		abort();
	str_make_utf8(copy);
	json_add_str(o, key, copy);
}

int record_get_name(struct json_object *o, const char *key, bool (*valid)(const char *), bool empty,
		    char *dst, size_t size, struct vnic_err *err)
{
	const char *s;
	int r;

	r = json_get_str(o, key, &s, err);
	if (r < 0)
		return r;
	if ((!*s && !empty) || (*s && valid && !valid(s)) || str_copy(dst, size, s) < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
				    "field \"%s\" is '%.80s', which it cannot be", key, s);
	return 0;
}

int record_get_u32(struct json_object *o, const char *key, uint32_t max, uint32_t *ret,
		   struct vnic_err *err)
{
	uint64_t v;
	int r;

	r = json_get_u64(o, key, 0, max, &v, err);
	if (r == 0)
		*ret = (uint32_t)v;
	return r;
}

/* What steps on a nic and its VFs have besides. */
static void function_to_json(const struct step *step, struct json_object *o)
{
	json_add_str(o, "dev", step->dev);
	json_add_u64(o, "vf", (uint64_t)step->vf);
	json_add_str(o, "vf_addr", step->vf_addr);
	json_add_str(o, "attr", vf_attr_str(step->attr));
	json_add_u64(o, "value", (uint64_t)step->value);
	json_add_str(o, "driver", step->driver);
	json_add_str(o, "prev_driver", step->prev_driver);
	json_add_str(o, "prev_override", step->prev_override);
}

static void vdpa_to_json(const struct step *step, struct json_object *o)
{
	json_add_str(o, "mgmtdev", step->mgmtdev);
	json_add_u64(o, "weight", step->weight);
	json_add_u64(o, "allow", step->allow);
}

static struct json_object *step_to_json(const struct step *step)
{
	struct json_object *o = json_object_new_object();
	char mac[VNIC_MAC_STR];

	if (!o)
		abort();
	json_add_str(o, "kind", step_kind_str(step->kind));
	json_add_str(o, "state", step_state_str(step->state));
	json_add_u64(o, "ifindex", (uint64_t)step->ifindex);
	record_add_text(o, "ifname", step->ifname);
	json_add_u64(o, "master", (uint64_t)step->master);
	if (*step->bridge)
		record_add_text(o, "bridge", step->bridge);
	json_add_u64(o, "mtu", step->mtu);
	json_add_u64(o, "vlan", step->vlan);
	json_add_str(o, "mac", mac_format(step->mac, mac));
	record_add_text(o, "class", step->class_name);
	record_add_text(o, "name", step->name);
	if (step->has_prev)
		json_add_u64(o, "prev", (uint64_t)step->prev);
	if (step->has_old)
		json_add_u64(o, "old", (uint64_t)step->old);
	if (*step->dev)
		function_to_json(step, o);
	if (*step->mgmtdev)
		vdpa_to_json(step, o);
	return o;
}

struct json_object *record_plan_to_json(const struct plan *plan)
{
	struct json_object *array = json_object_new_array();

	if (!array)
		abort();
	for (size_t i = 0; i < plan->n; i++)
		if (json_object_array_add(array, step_to_json(&plan->step[i])) < 0)
			abort();
	return array;
}

static int bad(const char *field, const char *value, struct vnic_err *err)
{
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE,
			    "field \"%s\" is '%.80s', which it cannot be", field, value);
}

static int step_words(struct json_object *o, struct step *step, struct vnic_err *err)
{
	const char *s;
	int r;

	r = json_get_str(o, "kind", &s, err);
	if (r < 0)
		return r;
	if (step_kind_parse(s, &step->kind) < 0)
		return bad("kind", s, err);
	r = json_get_str(o, "state", &s, err);
	if (r < 0)
		return r;
	if (step_state_parse(s, &step->state) < 0)
		return bad("state", s, err);
	r = json_get_str(o, "mac", &s, err);
	if (r < 0)
		return r;
	if (mac_parse(s, step->mac) < 0)
		return bad("mac", s, err);
	r = record_get_name(o, "ifname", ifname_valid, true, step->ifname, sizeof(step->ifname),
			    err);
	if (r == 0 && json_has(o, "bridge"))
		r = record_get_name(o, "bridge", ifname_valid, true, step->bridge,
				    sizeof(step->bridge), err);
	if (r == 0)
		r = record_get_name(o, "class", name_valid, true, step->class_name,
				    sizeof(step->class_name), err);
	if (r == 0)
		r = record_get_name(o, "name", name_valid, true, step->name, sizeof(step->name),
				    err);
	return r;
}

bool record_sysfs_name(const char *s)
{
	if (*s == '.')
		return false;
	for (; *s; s++)
		if (*s == '/' || *s <= ' ' || *s > '~')
			return false;
	return true;
}

static int step_function(struct json_object *o, struct step *step, struct vnic_err *err)
{
	const struct {
		const char *key;
		char *dst;
		size_t size;
	} names[] = {
		{ "dev", step->dev, sizeof(step->dev) },
		{ "vf_addr", step->vf_addr, sizeof(step->vf_addr) },
		{ "driver", step->driver, sizeof(step->driver) },
		{ "prev_driver", step->prev_driver, sizeof(step->prev_driver) },
		{ "prev_override", step->prev_override, sizeof(step->prev_override) },
	};
	uint32_t vf = 0;
	uint64_t value = 0;
	const char *s;
	int r = 0;

	if (!json_has(o, "dev"))
		return 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++)
		r = record_get_name(o, names[i].key, record_sysfs_name, true, names[i].dst,
				    names[i].size, err);
	if (r == 0)
		r = record_get_u32(o, "vf", PF_VFS_MAX - 1, &vf, err);
	if (r == 0)
		r = json_get_u64(o, "value", 0, INT64_MAX, &value, err);
	if (r == 0)
		r = json_get_str(o, "attr", &s, err);
	if (r < 0)
		return r;
	if (vf_attr_parse(s, &step->attr) < 0)
		return bad("attr", s, err);
	step->vf = (int)vf;
	step->value = (int64_t)value;
	return 0;
}

static int step_vdpa(struct json_object *o, struct step *step, struct vnic_err *err)
{
	int r;

	if (!json_has(o, "mgmtdev"))
		return 0;
	r = record_get_name(o, "mgmtdev", mgmtdev_name_valid, false, step->mgmtdev,
			    sizeof(step->mgmtdev), err);
	if (r == 0)
		r = record_get_u32(o, "weight", UINT32_MAX, &step->weight, err);
	return r < 0 ? r
		     : record_get_u32(o, "allow", (1u << VDPA_ALLOW_COUNT) - 1, &step->allow, err);
}

/* A value of before, which may be missing. */
static int step_before(struct json_object *o, const char *key, bool *ret_has, int64_t *ret,
		       struct vnic_err *err)
{
	uint64_t v;
	int r;

	*ret_has = json_has(o, key);
	if (!*ret_has)
		return 0;
	r = json_get_u64(o, key, 0, INT64_MAX, &v, err);
	if (r == 0)
		*ret = (int64_t)v;
	return r;
}

static int step_numbers(struct json_object *o, struct step *step, struct vnic_err *err)
{
	uint32_t ifindex = 0, master = 0, vlan = 0;
	int r;

	r = record_get_u32(o, "ifindex", INT32_MAX, &ifindex, err);
	if (r == 0)
		r = record_get_u32(o, "master", INT32_MAX, &master, err);
	if (r == 0)
		r = record_get_u32(o, "mtu", UINT32_MAX, &step->mtu, err);
	if (r == 0)
		r = record_get_u32(o, "vlan", VNIC_VLAN_MAX, &vlan, err);
	if (r < 0)
		return r;
	step->ifindex = (int)ifindex;
	step->master = (int)master;
	step->vlan = (uint16_t)vlan;
	r = step_before(o, "prev", &step->has_prev, &step->prev, err);
	return r < 0 ? r : step_before(o, "old", &step->has_old, &step->old, err);
}

int record_plan_from_json(struct json_object *array, struct plan *ret, struct vnic_err *err)
{
	struct plan plan = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_object_array_length(array); i++) {
		struct json_object *o = json_object_array_get_idx(array, i);
		struct step step = { 0 };

		if (!json_object_is_type(o, json_type_object))
			r = vnic_err_set(err, -EINVAL, VNIC_E_INVALID_MESSAGE, "not an object");
		if (r == 0)
			r = step_words(o, &step, err);
		if (r == 0)
			r = step_numbers(o, &step, err);
		if (r == 0)
			r = step_function(o, &step, err);
		if (r == 0)
			r = step_vdpa(o, &step, err);
		if (r == 0)
			r = plan_add(&plan, &step);
		if (r < 0)
			vnic_err_prefix(err, "step %zu: ", i);
	}
	if (r < 0) {
		plan_clear(&plan);
		return r;
	}
	*ret = plan;
	return 0;
}
