/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/unit/fake_host_priv.h"

void fake_init(struct fake_host *h)
{
	memset(h, 0, sizeof(*h));
	h->now = 1000000000;
	h->next_ifindex = 1;
	h->dp_up = true;
	h->wake_at = UINT64_MAX;
	h->shared_records.what = "segment";
	h->nic_records.what = "nic";
	h->hostdev_records.what = "VF";
	fake_add_link(h, "lo", LINK_LOOPBACK, NULL);
	fake_add_link(h, "br0", LINK_BRIDGE, NULL);
	fake_add_link(h, "eth0", LINK_PHYSICAL, "br0");
}

void fake_deinit(struct fake_host *h)
{
	fake_kill(h);
	fake_forget_records(h);
	fake_free_pfs(h);
}

struct fake_link *fake_link(struct fake_host *h, const char *name)
{
	for (size_t i = 0; i < h->n_links; i++)
		if (str_eq(h->link[i].link.name, name))
			return &h->link[i];
	return NULL;
}

struct fake_link *fake_by_ifindex(struct fake_host *h, int ifindex)
{
	for (size_t i = 0; i < h->n_links; i++)
		if (h->link[i].link.ifindex == ifindex)
			return &h->link[i];
	return NULL;
}

/* The kernel notifies; the daemon hears of it in a later turn, as from a netlink socket. */
static bool notify(struct fake_host *h)
{
	struct vnic_link *l, *tmp;

	if (!h->m || h->dead)
		return false;
	for (size_t i = 0; i < h->n_links; i++)
		if (inventory_upsert(&h->inv, &h->link[i].link) == 1)
			manager_link_changed(h->m, h->link[i].link.ifindex);
	HASH_ITER(hh, h->inv.links, l, tmp)
	{
		int ifindex = l->ifindex;

		if (!fake_by_ifindex(h, ifindex)) {
			inventory_remove(&h->inv, ifindex);
			manager_link_changed(h->m, ifindex);
		}
	}
	fake_notify_ovs(h);
	fake_notify_vdpa(h);
	return fake_notify_pfs(h);
}

struct fake_link *fake_add_link(struct fake_host *h, const char *name, enum link_kind kind,
				const char *master)
{
	struct fake_link *f = &h->link[h->n_links++];

	assert_true(h->n_links < FAKE_MAX);
	memset(f, 0, sizeof(*f));
	f->link.ifindex = h->next_ifindex++;
	strcpy(f->link.name, name);
	f->link.kind = kind;
	f->link.mtu = 1500;
	f->link.up = f->link.carrier = kind != LINK_TAP;
	f->link.mac[0] = 2;
	f->link.mac[5] = (uint8_t)f->link.ifindex;
	f->link.numa_node = -1;
	if (master)
		f->link.master = fake_link(h, master)->link.ifindex;
	return f;
}

void fake_del_link(struct fake_host *h, const char *name)
{
	struct fake_link *f = fake_link(h, name);
	int ifindex = f->link.ifindex;

	for (size_t i = 0; i < h->n_links; i++)
		if (h->link[i].link.master == ifindex) {
			h->link[i].link.master = 0;
			h->link[i].n_vlans = 0;
		}
	for (size_t i = h->n_fdb; i-- > 0;)
		if (atoi(h->fdb[i]) == ifindex)
			FAKE_DROP(h->fdb, h->n_fdb, i);
	FAKE_DROP(h->link, h->n_links, (size_t)(f - h->link));
}

static void set_socket(struct fake_host *h, const char *file, bool on)
{
	for (size_t i = 0; i < h->n_sockets; i++)
		if (str_eq(h->socket[i], file)) {
			if (!on)
				FAKE_DROP(h->socket, h->n_sockets, i);
			return;
		}
	if (on)
		strcpy(h->socket[h->n_sockets++], file);
}

static int create_tap(struct fake_host *h, struct step *step)
{
	struct fake_link *f = fake_link(h, step->ifname);

	if (f && !f->ours)
		return -EEXIST;
	if (!f) {
		f = fake_add_link(h, step->ifname, LINK_TAP, NULL);
		f->ours = true;
	}
	step->ifindex = f->link.ifindex;
	return 0;
}

/* Steps on links that are the tap's or a representor's. */
static bool of_representor(enum step_kind kind)
{
	return kind == STEP_LINK_MASTER || kind == STEP_LINK_MTU || kind == STEP_LINK_UP ||
	       kind == STEP_BRIDGE_PVID;
}

static int act(struct fake_host *h, struct step *step, const struct vnic_segment *segment,
	       const struct vnic_port *port, bool undo)
{
	struct fake_link *f = step->ifindex ? fake_by_ifindex(h, step->ifindex) : NULL;
	char file[PORT_SOCK_FILE_MAX];

	if (step->kind == STEP_DP_SEGMENT || step->kind == STEP_DP_QUEUE ||
	    step->kind == STEP_DP_PORT)
		return fake_dp_act(h, step, segment, port, undo);
	if (step->kind == STEP_OVS_PORT || step->kind == STEP_OVS_VLAN)
		return fake_ovs_act(h, step, undo);
	if (fake_vdpa_step(step->kind))
		return fake_vdpa_act(h, step, undo);
	if (*step->dev && !of_representor(step->kind))
		return fake_pf_act(h, step, port, undo);
	if (*step->dev && undo && !step->has_prev)
		return 0;
	assert_non_null(segment);
	switch (step->kind) {
	case STEP_TAP_CREATE:
		if (!undo)
			return create_tap(h, step);
		f = fake_link(h, step->ifname);
		if (!f)
			return -ENODEV;
		if (!f->ours)
			return step->ifindex ? -ESTALE : 0; /* as exec's: begun, never made */
		fake_del_link(h, step->ifname);
		return 0;
	case STEP_SOCK_LISTEN:
		set_socket(h, port_sock_file(&port->spec, file), !undo);
		return 0;
	default:
		break;
	}
	if (!f)
		return -ENODEV;
	switch (step->kind) {
	case STEP_LINK_MASTER:
		f->link.master = undo ? (int)step->prev : step->master;
		f->n_vlans = 0;
		f->pvid = f->link.master ? 1 : 0;
		return 0;
	case STEP_BRIDGE_PVID:
		if (!f->link.master)
			return undo ? 0 : -EINVAL;
		f->pvid = undo ? (uint16_t)step->prev : step->vlan ? step->vlan : f->pvid;
		return 0;
	case STEP_LINK_MTU:
		f->link.mtu = undo ? (uint32_t)step->prev : step->mtu;
		return 0;
	case STEP_LINK_UP:
		f->link.up = undo ? step->prev : true;
		return 0;
	case STEP_BRIDGE_VLAN:
		if (!f->link.master)
			return -EINVAL;
		if (!undo || (step->has_prev && !step->prev))
			fake_set_vlan(f, step->vlan, !undo);
		return 0;
	case STEP_FDB:
		fake_set_fdb(h, step, !undo);
		return 0;
	default:
		return -EINVAL;
	}
}

/* Count a call; is it the one that fails? Return: 0, the failure, or 1 where the daemon is killed here. */
int fake_fault(struct fake_host *h, const char *what)
{
	h->calls++;
	if (h->calls <= ARRAY_SIZE(h->call))
		snprintf(h->call[h->calls - 1], sizeof(h->call[0]), "%s", what);
	if (h->calls == h->kill_at)
		return 1;
	if (h->calls == h->fail_at) {
		h->failed = true;
		return h->fail_with;
	}
	return 0;
}

static void run_step(struct fake_host *h, struct step *step, const struct vnic_segment *segment,
		     const struct vnic_port *port, manager_step_done done, void *arg, bool undo)
{
	char what[160];
	int f, r;

	if (h->dead)
		return;
	step_describe(step, what, sizeof(what));
	f = fake_fault(h, what);
	if (f == 1 && h->kill_when == FAKE_BEFORE) {
		h->dead = true;
		return;
	}
	r = f < 0 ? f : act(h, step, segment, port, undo);
	if (f == 1) {
		h->dead = true;
		return;
	}
	if (h->async) {
		h->pending[h->n_pending].done = done;
		h->pending[h->n_pending].arg = arg;
		h->pending[h->n_pending].kind = step->kind;
		h->pending[h->n_pending++].error = r;
		return;
	}
	done(arg, r, NULL);
}

static void step_do(void *data, struct step *step, const struct vnic_segment *segment,
		    const struct vnic_port *port, manager_step_done done, void *arg)
{
	((struct fake_host *)data)->now += ((struct fake_host *)data)->step_us;
	run_step(data, step, segment, port, done, arg, false);
}

static void step_undo(void *data, struct step *step, const struct vnic_segment *segment,
		      const struct vnic_port *port, manager_step_done done, void *arg)
{
	((struct fake_host *)data)->now += ((struct fake_host *)data)->step_us;
	run_step(data, step, segment, port, done, arg, true);
}

static int step_probe(void *data, struct step *step, struct vnic_err *err)
{
	struct fake_host *h = data;
	struct fake_link *f = step->ifindex ? fake_by_ifindex(h, step->ifindex) : NULL;

	(void)err;
	assert_false(step->has_prev);
	if (step->kind == STEP_OVS_PORT || step->kind == STEP_OVS_VLAN)
		return 0;
	if (fake_vdpa_step(step->kind))
		return fake_vdpa_probe(h, step);
	if (*step->dev && !of_representor(step->kind))
		return fake_pf_probe(h, step);
	if (!f)
		return 0;
	step->has_prev = true;
	if (step->kind == STEP_LINK_MASTER)
		step->prev = f->link.master;
	else if (step->kind == STEP_LINK_MTU)
		step->prev = f->link.mtu;
	else if (step->kind == STEP_LINK_UP)
		step->prev = f->link.up;
	else if (step->kind == STEP_BRIDGE_PVID)
		step->prev = f->pvid;
	else if (step->kind == STEP_BRIDGE_VLAN)
		step->prev = fake_has_vlan(h, f->link.name, step->vlan);
	else
		step->has_prev = false;
	return 0;
}

static int domain_alive(void *data, const char *pidfile)
{
	struct fake_host *h = data;

	for (size_t i = 0; i < h->n_alive; i++)
		if (str_eq(h->alive[i], pidfile))
			return 1;
	return 0;
}

void fake_set_alive(struct fake_host *h, const char *pidfile, bool alive)
{
	for (size_t i = 0; i < h->n_alive; i++)
		if (str_eq(h->alive[i], pidfile)) {
			if (!alive)
				FAKE_DROP(h->alive, h->n_alive, i);
			return;
		}
	if (alive)
		strcpy(h->alive[h->n_alive++], pidfile);
}

void fake_libvirt(struct fake_host *h, const struct port_spec *spec)
{
	struct domain_request *domain = &h->domain[h->n_domains];

	h->libvirt_up = true;
	if (!spec) {
		h->n_domains = 0;
		return;
	}
	h->domain_spec[h->n_domains] = *spec;
	*domain = (struct domain_request){ .specs = &h->domain_spec[h->n_domains++], .n_specs = 1 };
	memcpy(domain->uuid, spec->key.uuid, sizeof(domain->uuid));
	memcpy(domain->name, spec->domain, sizeof(domain->name));
}

static void ask_domains(void *data)
{
	struct fake_host *h = data;

	assert_false(h->asked);
	h->asked = true;
	h->n_asked++;
}

/* In a later turn, as from a helper's process. */
static void answer_domains(struct fake_host *h)
{
	struct vnic_err err = VNIC_ERR_INIT;

	vnic_err_set(&err, -EIO, "LibvirtFailed", "libvirtd does not run");
	h->asked = false;
	manager_domains(h->m, h->domain, h->libvirt_up ? h->n_domains : 0,
			h->libvirt_up ? NULL : &err);
}

static bool is_listened_on(const struct fake_host *h, const char *file)
{
	char buf[PORT_SOCK_FILE_MAX];

	for (size_t i = 0; i < h->n_dp_ports; i++)
		if (str_eq(h->dp_port_socket[i], file))
			return true;
	for (const struct vnic_port *p = h->m->ports; p; p = p->hh.next)
		if (str_eq(port_sock_file(&p->spec, buf), file))
			return true;
	return false;
}

static void sweep_sockets(void *data)
{
	struct fake_host *h = data;

	for (size_t i = h->n_sockets; i-- > 0;)
		if (!is_listened_on(h, h->socket[i]))
			FAKE_DROP(h->socket, h->n_sockets, i);
}

static uint64_t now(void *data)
{
	return ((struct fake_host *)data)->now;
}

static uint64_t realtime(void *data)
{
	return 1700000000000000 + now(data);
}

static void wake_at(void *data, uint64_t when)
{
	((struct fake_host *)data)->wake_at = when;
}

void fake_start(struct fake_host *h, struct vnic_config *config)
{
	const struct manager_io io = {
		.data = h,
		.now = now,
		.realtime = realtime,
		.wake_at = wake_at,
		.step_probe = step_probe,
		.step_do = step_do,
		.step_undo = step_undo,
		.dp_forget_port = fake_forget_port,
		.dp_counters = fake_dp_counters,
		.vdpa_counters = fake_vdpa_counters,
		.record_port = fake_record_port,
		.erase_port = fake_erase_port,
		.record_shared = fake_record_shared,
		.erase_shared = fake_erase_shared,
		.record_nic = fake_record_nic,
		.record_hostdev = fake_record_hostdev,
		.erase_hostdev = fake_erase_hostdev,
		.erase_nic = fake_erase_nic,
		.domain_alive = domain_alive,
		.ask_domains = ask_domains,
		.sweep_sockets = sweep_sockets,
	};
	assert_null(h->m);
	inventory_init(&h->inv);
	h->m = manager_new(&io, config, &h->inv);
	assert_non_null(h->m);
	notify(h);
	/* The inventory's first pass tells of PFs while nobody is there to be woken. */
	manager_pf_changed(h->m, "0000:01:00.0");
	h->wake_at = UINT64_MAX;
	h->inv.complete = true;
	fake_restore(h);
	manager_start(h->m);
	if (h->dp_up)
		fake_dp_connect(h);
}

void fake_kill(struct fake_host *h)
{
	h->m = manager_free(h->m);
	inventory_deinit(&h->inv);
	h->n_pending = 0;
	h->wake_at = UINT64_MAX;
	h->dead = h->failed = false;
	h->hold = 0;
	h->asked = false;
	h->fail_at = h->kill_at = h->calls = 0;
}

void fake_run(struct fake_host *h, uint64_t us)
{
	uint64_t end = h->now + us;

	for (int turns = 0; !h->dead; turns++) {
		assert_true(turns < 20000); /* else it spins */
		if (notify(h))
			continue;
		if (h->n_pending && h->pending[0].kind != h->hold) {
			manager_step_done done = h->pending[0].done;
			void *arg = h->pending[0].arg;
			int error = h->pending[0].error;

			FAKE_DROP(h->pending, h->n_pending, 0);
			done(arg, error, NULL);
		} else if (h->asked) {
			answer_domains(h);
		} else if (h->wake_at <= h->now) {
			uint64_t begun = h->now;

			h->wake_at = UINT64_MAX;
			manager_wake(h->m);
			if (h->longest_turn < h->now - begun)
				h->longest_turn = h->now - begun;
		} else if (h->wake_at <= end) {
			h->now = h->wake_at;
		} else {
			h->now = end;
			return;
		}
	}
}

char *fake_snapshot(const struct fake_host *h)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	for (size_t i = 0; i < h->n_links; i++) {
		const struct fake_link *l = &h->link[i];

		fprintf(f, "link %s master %d mtu %u %s vlans", l->link.name, l->link.master,
			l->link.mtu, l->link.up ? "up" : "down");
		for (size_t v = 0; v < l->n_vlans; v++)
			fprintf(f, " %u", l->vlan[v]);
		if (l->pvid)
			fprintf(f, " pvid %u", l->pvid);
		fprintf(f, "\n");
	}
	for (size_t i = 0; i < h->n_sockets; i++)
		fprintf(f, "socket %s\n", h->socket[i]);
	for (size_t i = 0; i < h->n_fdb; i++)
		fprintf(f, "fdb %s\n", h->fdb[i]);
	for (size_t i = 0; i < h->n_dp_segments; i++)
		fprintf(f, "datapath segment %s\n", h->dp_segment[i].name);
	for (size_t i = 0; i < h->n_dp_ports; i++)
		fprintf(f, "datapath port of %s\n", h->dp_port_segment[i]);
	for (size_t i = 0; i < h->n_port_records; i++)
		fprintf(f, "record of port %s\n", h->port_record[i]->spec.name);
	for (size_t i = 0; i < h->shared_records.n; i++)
		fprintf(f, "record of segment %s\n", h->shared_records.record[i].name);
	for (size_t i = 0; i < h->nic_records.n; i++)
		fprintf(f, "record of nic %s\n", h->nic_records.record[i].name);
	for (size_t i = 0; i < h->hostdev_records.n; i++)
		fprintf(f, "record of VF %s\n", h->hostdev_records.record[i].name);
	fake_print_pfs(h, f);
	fake_print_ovs(h, f);
	fake_print_vdpa(h, f);
	fclose(f);
	return text;
}

struct vnic_config *fake_config(void)
{
	struct vnic_config *config = config_new();
	struct vnic_segment *s = calloc(1, sizeof(*s));
	struct vnic_class *c = calloc(1, sizeof(*c));

	strcpy(s->name, "lan");
	strcpy(s->bridge, "br0");
	strcpy(s->uplink[s->n_uplinks++], "eth0");
	strcpy(s->place.file, "vnicd.conf");
	s->place.line = 1;
	strcpy(c->name, "gold");
	strcpy(c->segment, "lan");
	strcpy(c->place.file, "vnicd.conf");
	c->place.line = 5;
	c->paths.path[0] = VNIC_PATH_SOFTWARE;
	assert_int_equal(vlan_set_parse("0-100", &c->vlans), 0);
	c->weight = 100;
	c->queues = 4;
	c->spoofchk = true;
	c->numa_node = -1;
	assert_int_equal(config_add_segment(config, s), 0);
	assert_int_equal(config_add_class(config, c), 0);
	return config;
}

void fake_want_uplink(struct vnic_config *config, const char *ifname, bool vnic)
{
	struct vnic_nic_config *nic = config_nic(config, ifname);

	if (!nic) {
		nic = calloc(1, sizeof(*nic));
		strcpy(nic->name, ifname);
		nic->vfs = -1;
		assert_int_equal(config_add_nic(config, nic), 0);
	}
	nic->vnic = vnic;
}

struct port_spec fake_spec(unsigned int domain, unsigned int nic)
{
	struct port_spec spec = { .queues = 1 };

	spec.key.uuid[15] = (uint8_t)domain;
	memcpy(spec.key.mac, (uint8_t[]){ 0x52, 0x54, 0, 0, (uint8_t)domain, (uint8_t)nic }, 6);
	snprintf(spec.domain, sizeof(spec.domain), "vm%u", domain);
	snprintf(spec.name, sizeof(spec.name), "vm%u-%u", domain, nic);
	snprintf(spec.pidfile, sizeof(spec.pidfile), "/run/libvirt/qemu/vm%u.pid", domain);
	strcpy(spec.class_name, "gold");
	return spec;
}
