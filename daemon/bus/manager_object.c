/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /org/vnicd1: org.vnicd1.Manager. Methods that read; manager_ports.c has those that make and release. */
#include "config.h"

#include "daemon/bus/getter.h"
#include "daemon/bus/manager_object.h"

#include <string.h>

static void reason(struct bus_reasons *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void reason(struct bus_reasons *r, const char *fmt, ...)
{
	va_list ap;

	if (r->n >= BUS_REASONS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(r->text[r->n], sizeof(r->text[0]), fmt, ap);
	va_end(ap);
	str_make_utf8(r->text[r->n++]);
}

static void segment_reasons(const struct bus *bus, struct bus_reasons *ret)
{
	const struct manager *m = bus->manager;

	for (struct vnic_segment *s = m->config->segments; s; s = s->hh.next) {
		const struct segment_share *share = manager_share(m, s->name);

		if (!inventory_find_name(m->inv, s->bridge))
			reason(ret,
			       "segment %s: its bridge %s does not exist; make it with 'ip link "
			       "add "
			       "%s type bridge' or correct %s:%d",
			       s->name, s->bridge, s->bridge, s->place.file, s->place.line);
		else if (share && share->reason[0])
			reason(ret, "segment %s: %s", s->name, share->reason);
	}
}

static void nic_reasons(const struct bus *bus, struct bus_reasons *ret)
{
	const struct manager *m = bus->manager;

	for (const struct nic_share *nic = m->nics; nic; nic = nic->hh.next) {
		const struct vnic_pf *pf = inventory_pf(m->inv, nic->pf);
		const struct vnic_link *link = pf ? inventory_find(m->inv, pf->ifindex) : NULL;

		if (!nic->ready && *nic->reason)
			reason(ret, "nic %s: %s", link ? link->name : nic->pf, nic->reason);
	}
}

void bus_manager_reasons(const struct bus *bus, struct bus_reasons *ret)
{
	const struct manager *m = bus->manager;
	char key[PORT_KEY_STR];

	ret->n = 0;
	if (m->dp_state == MANAGER_DP_DOWN)
		reason(ret,
		       "vnicd-datapath is not connected%s%s; guests cannot start, and running "
		       "ones have no network if it has ended. See 'systemctl status "
		       "vnicd-datapath'",
		       m->dp_reason[0] ? ": " : "", m->dp_reason);
	if (m->config_refused[0])
		reason(ret,
		       "the configuration in the files has an error, and the one from before is in "
		       "force: correct it before vnicd restarts: %s",
		       m->config_refused);
	if (m->inv->complete)
		segment_reasons(bus, ret);
	nic_reasons(bus, ret);
	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		if (p->state == PORT_FAILED || p->state == PORT_QUARANTINED || p->orphan)
			reason(ret, "port %s (%s) is %s: %s", port_key_format(&p->spec.key, key),
			       *p->spec.domain ? p->spec.domain : "domain unknown",
			       port_state_str(p->state), p->reason);
}

const char *bus_manager_state_of(const struct bus *bus, const struct bus_reasons *reasons)
{
	const struct manager *m = bus->manager;

	if (!m->started || !m->inv->complete || m->dp_state == MANAGER_DP_SYNCING)
		return "starting";
	return reasons->n ? "degraded" : "running";
}

static size_t count_ports(const struct manager *m, const char *segment, const char *class_name)
{
	size_t n = 0;

	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		n += (segment && !strcmp(p->segment, segment)) ||
		     (class_name && !strcmp(p->spec.class_name, class_name));
	return n;
}

static size_t count_vfs(const struct manager *m, const char *class_name)
{
	size_t n = 0;

	for (struct vnic_port *p = m->ports; p; p = p->hh.next)
		n += p->device.state != DEVICE_NONE && !strcmp(p->spec.class_name, class_name);
	return n;
}

/* Append "key: array" to an a{sv}: @type is "as" with @items a NULL-terminated char **, or "ai" with @n of them. */
static int array_entry(sd_bus_message *m, const char *key, const char *type, const void *items,
		       int n)
{
	int r = sd_bus_message_open_container(m, 'e', "sv");

	if (r >= 0)
		r = sd_bus_message_append(m, "s", key);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', type);
	if (r >= 0)
		r = type[1] == 's'
			    ? sd_bus_message_append_strv(m, (char **)items)
			    : sd_bus_message_append_array(m, 'i', items, (size_t)n * sizeof(int));
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* What segments and classes end with, and the end of their a{sv}. */
static int close_item(sd_bus_message *m, size_t ports, const struct config_place *place)
{
	char text[sizeof(place->file) + 16];
	int r;

	snprintf(text, sizeof(text), "%s:%d", place->file, place->line);
	r = sd_bus_message_append(m, "{sv}{sv}", "ports", "u", (uint32_t)ports, "place", "s", text);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_segment(sd_bus_message *m, const struct manager *mgr,
			  const struct vnic_segment *s)
{
	const char *uplinks[SEGMENT_UPLINKS_MAX + 1] = { NULL };
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	for (int i = 0; i < s->n_uplinks; i++)
		uplinks[i] = s->uplink[i];
	if (r >= 0)
		r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "name", "s", s->name, "bridge",
					  "s", s->bridge, "bridge_present", "b",
					  !!inventory_find_name(mgr->inv, s->bridge), "mtu", "u",
					  s->mtu);
	if (r >= 0)
		r = array_entry(m, "uplinks", "as", uplinks, s->n_uplinks);
	if (r >= 0)
		r = array_entry(m, "cores", "ai", s->cores, s->n_cores);
	return r < 0 ? r : close_item(m, count_ports(mgr, s->name, NULL), &s->place);
}

static int append_class(sd_bus_message *m, const struct manager *mgr, const struct vnic_class *c)
{
	const char *paths[VNIC_PATH_COUNT + 1] = { NULL };
	char vlans[1024];
	int r = sd_bus_message_open_container(m, 'a', "{sv}"), n = 0;

	while (n < VNIC_PATH_COUNT && c->paths.path[n]) {
		paths[n] = vnic_path_str(c->paths.path[n]);
		n++;
	}
	if (r >= 0)
		r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "name", "s", c->name, "segment",
					  "s", c->segment, "vlan", "q", c->vlan, "vlans", "s",
					  vlan_set_format(&c->vlans, vlans, sizeof(vlans)));
	if (r >= 0)
		r = sd_bus_message_append(m, "{sv}{sv}", "vf_min_rate", "t", c->vf.min_rate,
					  "vf_link", "s", vf_link_str(c->vf.link));
	if (r >= 0)
		r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "rate", "t", c->rate,
					  "weight", "u", c->weight, "spoofchk", "b", c->spoofchk,
					  "trust", "b", c->trust, "queues", "u", c->queues,
					  "max_ports", "u", c->max_ports, "numa_node", "i",
					  c->numa_node);
	if (r >= 0)
		r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "max_vfs", "u", c->max_vfs,
					  "reserved_vfs", "u", c->reserved_vfs, "priority", "u",
					  c->priority, "vfs", "u",
					  (uint32_t)count_vfs(mgr, c->name));
	if (r >= 0)
		r = array_entry(m, "paths", "as", paths, n);
	return r < 0 ? r : close_item(m, count_ports(mgr, NULL, c->name), &c->place);
}

static int append_segments(sd_bus_message *m, const struct manager *mgr)
{
	int r = 0;

	for (struct vnic_segment *s = mgr->config->segments; r >= 0 && s; s = s->hh.next)
		r = append_segment(m, mgr, s);
	return r;
}

static int append_classes(sd_bus_message *m, const struct manager *mgr)
{
	int r = 0;

	for (struct vnic_class *c = mgr->config->classes; r >= 0 && c; c = c->hh.next)
		r = append_class(m, mgr, c);
	return r;
}

/* Answer with an aa{sv}. */
static int reply_list(sd_bus_message *m, const struct bus *bus,
		      int (*append)(sd_bus_message *m, const struct manager *mgr))
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r = sd_bus_message_new_method_return(m, &reply);

	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "a{sv}");
	if (r >= 0)
		r = append(reply, bus->manager);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int list_segments(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	(void)error;
	return reply_list(m, userdata, append_segments);
}

static int list_classes(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	(void)error;
	return reply_list(m, userdata, append_classes);
}

BUS_GETTER(get_version, void, "s", PACKAGE_VERSION);
BUS_GETTER(get_datapath, struct bus, "b", v->manager->dp_state != MANAGER_DP_DOWN);

static int get_state(sd_bus *sd, const char *path, const char *interface, const char *property,
		     sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	int r;

	(void)sd;
	(void)path;
	(void)interface;
	(void)error;
	bus_manager_reasons(bus, bus->scratch);
	if (!strcmp(property, "State"))
		return sd_bus_message_append(reply, "s", bus_manager_state_of(bus, bus->scratch));
	r = sd_bus_message_open_container(reply, 'a', "s");
	for (size_t i = 0; r >= 0 && i < bus->scratch->n; i++)
		r = sd_bus_message_append(reply, "s", bus->scratch->text[i]);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* Every method may be called by whom the bus policy lets through; see bus.h. */
#define ANY SD_BUS_VTABLE_UNPRIVILEGED

const sd_bus_vtable bus_manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, bus_reload, ANY),
	SD_BUS_METHOD_WITH_ARGS("ListSegments", SD_BUS_NO_ARGS, SD_BUS_RESULT("aa{sv}", segments),
				list_segments, ANY),
	SD_BUS_METHOD_WITH_ARGS("ListClasses", SD_BUS_NO_ARGS, SD_BUS_RESULT("aa{sv}", classes),
				list_classes, ANY),
	SD_BUS_METHOD_WITH_ARGS("ListVdpa", SD_BUS_NO_ARGS,
				SD_BUS_RESULT("aa{sv}", mgmtdevs, "aa{sv}", devices),
				bus_list_host_vdpa, ANY),
	SD_BUS_METHOD_WITH_ARGS("ListMdevTypes", SD_BUS_NO_ARGS, SD_BUS_RESULT("aa{sv}", types),
				bus_list_host_mdev_types, ANY),
	SD_BUS_METHOD_WITH_ARGS("PortAdd", SD_BUS_ARGS("a{sv}", spec), SD_BUS_RESULT("o", port),
				bus_port_add, ANY),
	SD_BUS_METHOD_WITH_ARGS("PortDel", SD_BUS_ARGS("s", key, "t", generation), SD_BUS_NO_RESULT,
				bus_port_del, ANY),
	SD_BUS_METHOD_WITH_ARGS("PortAttach", SD_BUS_ARGS("s", domain, "a{sv}", spec),
				SD_BUS_RESULT("o", port, "s", key), bus_port_attach, ANY),
	SD_BUS_METHOD_WITH_ARGS("PortDetach", SD_BUS_ARGS("s", domain, "s", mac), SD_BUS_NO_RESULT,
				bus_port_detach, ANY),
	SD_BUS_METHOD_WITH_ARGS("DeviceAttach", SD_BUS_ARGS("s", key, "t", generation),
				SD_BUS_NO_RESULT, bus_device_attach, ANY),
	SD_BUS_METHOD_WITH_ARGS("DeviceDetach", SD_BUS_ARGS("s", key, "t", generation),
				SD_BUS_NO_RESULT, bus_device_detach, ANY),
	SD_BUS_METHOD_WITH_ARGS("DomainCheck", SD_BUS_ARGS("s", domain),
				SD_BUS_RESULT("aa{sv}", findings), bus_domain_check, ANY),
	SD_BUS_METHOD_WITH_ARGS("PlanPreview", SD_BUS_ARGS("a{sv}", spec),
				SD_BUS_RESULT("s", path, "as", reasons, "as", steps),
				bus_plan_preview, ANY),
	SD_BUS_METHOD_WITH_ARGS("AttachPreview", SD_BUS_ARGS("s", domain, "a{sv}", spec),
				SD_BUS_RESULT("s", path, "as", reasons, "as", steps),
				bus_attach_preview, ANY),
	SD_BUS_METHOD_WITH_ARGS("RefreshCounters", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT,
				bus_refresh_counters, ANY),
	SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Reasons", "as", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("DatapathConnected", "b", get_datapath, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};
