/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/bus and daemon/core on the real bus, with links, PFs and VFs that are played: a sandbox has no nics. Ports can be
 * made; no step of theirs does anything. Reads words from stdin, one command a line, and ends with it:
 *
 *	link NAME IFINDEX KIND MASTER up|down
 *	unlink IFINDEX
 *	pf IFINDEX|0 ADDR TOTAL NUM	the first NUM of its VFs are whole; IFINDEX becomes its netdev
 *	unpf ADDR
 *	vf ADDR INDEX USER NAME|-	who has that VF; unknown: its PF's driver tells none of its attributes
 *	hostdev ADDR CLASS|-		libvirt lists that VF, and no other, as an interface of class CLASS; -: it lists none
 *	vdpa NAME MGMTDEV PF		a management device of the PF, and a device of it
 *	mdev PARENT TYPE AVAILABLE
 *	port UUID MAC NAME		a port of class gold beside whose interface a VF may be plugged in
 *	started UUID
 *	slow on|off			VFs are plugged in and out only once it is off
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "daemon/bus/bus.h"

struct fake {
	struct event_base *base;
	struct event *wake;
	struct inventory inv;
	struct manager *manager;
	struct bus *bus;
};

static uint64_t clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t fake_now(void *data)
{
	(void)data;
	return clock_us(CLOCK_MONOTONIC);
}

static uint64_t fake_realtime(void *data)
{
	(void)data;
	return clock_us(CLOCK_REALTIME);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct fake *f = arg;

	(void)fd;
	(void)what;
	manager_wake(f->manager);
}

static void fake_wake_at(void *data, uint64_t when)
{
	struct fake *f = data;
	uint64_t now = clock_us(CLOCK_MONOTONIC), us = when > now ? when - now : 0;
	struct timeval tv = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) };

	evtimer_del(f->wake);
	if (when != UINT64_MAX)
		evtimer_add(f->wake, &tv);
}

static void set_link(struct fake *f, const char *name, int ifindex, enum link_kind kind, int master,
		     bool up)
{
	struct vnic_link link = { .ifindex = ifindex,
				  .kind = kind,
				  .master = master,
				  .mtu = 1500,
				  .up = up,
				  .carrier = up,
				  .mac = { 2, 0, 0, 0, 0, (uint8_t)ifindex },
				  .numa_node = -1,
				  .sriov_totalvfs = -1,
				  .sriov_numvfs = -1 };

	snprintf(link.name, sizeof(link.name), "%s", name);
	if (kind == LINK_PHYSICAL)
		snprintf(link.bus, sizeof(link.bus), "pci");
	if (inventory_upsert(&f->inv, &link) > 0 && f->manager)
		manager_link_changed(f->manager, ifindex);
}

static void set_pf(struct fake *f, int ifindex, const char *addr, int total, int num)
{
	const struct vnic_link *old = inventory_find(&f->inv, ifindex);
	struct vnic_pf pf = { .ifindex = ifindex,
			      .bus = "pci",
			      .driver = "igb",
			      .numa_node = 0,
			      .total_vfs = total,
			      .num_vfs = num,
			      .vfs_complete = true,
			      .eswitch = ESWITCH_LEGACY,
			      .fwd_offload = FEATURE_OFF,
			      .ntuple = FEATURE_ON_FIXED,
			      .channels = 2,
			      .channels_max = 8 };

	snprintf(pf.addr, sizeof(pf.addr), "%s", addr);
	if (pf_resize(&pf, num) < 0)
		abort();
	for (int i = 0; i < num; i++) {
		struct vnic_vf *vf = &pf.vf[i];

		snprintf(vf->addr, sizeof(vf->addr), "%.8s%02x.%d", addr, 16 + i / 8, i % 8);
		vf->iommu_group = 20 + i;
		vf->numa_node = 0;
		vf->known = (1U << VF_ATTR_COUNT) - 1;
		vf->value[VF_MAC] = 0x020000001000 + i;
		vf->value[VF_SPOOFCHK] = 1;
	}
	if (inventory_upsert_pf(&f->inv, &pf) < 0)
		abort();
	pf_clear(&pf);
	if (old) {
		struct vnic_link link = *old;

		snprintf(link.dev_addr, sizeof(link.dev_addr), "%s", addr);
		snprintf(link.driver, sizeof(link.driver), "igb");
		link.numa_node = 0;
		inventory_upsert(&f->inv, &link);
		manager_link_changed(f->manager, ifindex);
	}
	manager_pf_changed(f->manager, addr);
}

static void set_vf(struct fake *f, const char *pf_addr, int index, const char *user,
		   const char *name)
{
	const struct vnic_pf *pf = inventory_pf(&f->inv, pf_addr);
	struct vnic_vf vf;

	if (!pf || index >= pf->n_vf)
		abort();
	vf = pf->vf[index];
	if (!strcmp(user, "unknown")) {
		vf.known = 0;
		user = "free";
	}
	for (vf.user = VF_FREE; strcmp(vf_user_str(vf.user), user) != 0; vf.user++)
		if (vf.user == VF_USER_DOMAIN)
			abort();
	snprintf(vf.user_name, sizeof(vf.user_name), "%s", strcmp(name, "-") ? name : "");
	if (inventory_update_vf(&f->inv, pf_addr, &vf) > 0)
		manager_pf_changed(f->manager, pf_addr);
}

static void set_hostdev(struct fake *f, const char *addr, const char *class)
{
	struct domain_device d = {
		.uuid = { 7 }, .domain = "own", .has_mac = true, .mac = { 2, 7 }
	};
	bool any = strcmp(class, "-") != 0;

	snprintf(d.addr, sizeof(d.addr), "%s", addr);
	snprintf(d.class_name, sizeof(d.class_name), "%s", class);
	manager_hostdevs_found(f->manager, &d, any ? 1 : 0, false);
}

static void set_vdpa(struct fake *f, const char *name, const char *mgmtdev, const char *pf)
{
	struct vdpa_mgmtdev m;
	struct vdpa_dev d;

	memset(&m, 0, sizeof(m));
	memset(&d, 0, sizeof(d));
	snprintf(m.name, sizeof(m.name), "%s", mgmtdev);
	snprintf(m.pf, sizeof(m.pf), "%s", pf);
	m.net = true;
	m.max_vqp = 4;
	m.features = UINT64_C(1) << 32;
	snprintf(d.name, sizeof(d.name), "%s", name);
	snprintf(d.mgmtdev, sizeof(d.mgmtdev), "%s", mgmtdev);
	d.device_id = 1;
	d.max_vqs = 3;
	snprintf(d.driver, sizeof(d.driver), "vhost_vdpa");
	snprintf(d.node, sizeof(d.node), "vhost-vdpa-0");
	if (inventory_upsert_mgmtdev(&f->inv, &m) < 0 || inventory_upsert_vdpa(&f->inv, &d) < 0)
		abort();
	manager_vdpa_changed(f->manager);
}

static void set_mdev(struct fake *f, const char *parent, const char *type, int available)
{
	struct mdev_type t;

	memset(&t, 0, sizeof(t));
	snprintf(t.id, sizeof(t.id), "%s/%s", parent, type);
	snprintf(t.parent, sizeof(t.parent), "%s", parent);
	snprintf(t.type, sizeof(t.type), "%s", type);
	snprintf(t.device_api, sizeof(t.device_api), "vfio-pci");
	t.available = (uint32_t)available;
	if (inventory_upsert_mdev(&f->inv, &t) < 0)
		abort();
	manager_vdpa_changed(f->manager);
}

static void on_port(void *arg, const struct vnic_err *err, struct vnic_port *const *ports, size_t n)
{
	(void)arg;
	(void)ports;
	(void)n;
	if (err)
		fprintf(stderr, "no port: %s\n", err->message);
}

static void add_port(struct fake *f, const char *uuid, const char *mac, const char *name)
{
	struct port_spec spec;

	memset(&spec, 0, sizeof(spec));
	if (uuid_parse(uuid, spec.key.uuid) < 0 || mac_parse(mac, spec.key.mac) < 0)
		abort();
	snprintf(spec.domain, sizeof(spec.domain), "web");
	snprintf(spec.class_name, sizeof(spec.class_name), "gold");
	snprintf(spec.name, sizeof(spec.name), "%s", name);
	snprintf(spec.standby, sizeof(spec.standby), "ua-%s", name);
	spec.queues = 1;
	if (!manager_port_add(f->manager, &spec, on_port, NULL))
		abort();
}

/* A step that waits for slow to be off. */
static struct {
	bool on;
	struct {
		manager_step_done done;
		void *arg;
	} waits[16];
	size_t n;
} slow;

static void set_slow(bool on)
{
	slow.on = on;
	while (!on && slow.n) {
		slow.n--;
		slow.waits[slow.n].done(slow.waits[slow.n].arg, 0, NULL);
	}
}

static void fake_step(void *data, struct step *step, const struct vnic_segment *segment,
		      const struct vnic_port *port, manager_step_done done, void *arg)
{
	(void)data;
	(void)segment;
	(void)port;
	if (step->kind == STEP_VF_ATTACH && slow.on && slow.n < ARRAY_SIZE(slow.waits)) {
		slow.waits[slow.n].done = done;
		slow.waits[slow.n++].arg = arg;
		return;
	}
	if (step->kind == STEP_TAP_CREATE)
		step->ifindex = 900;
	done(arg, 0, NULL);
}

static int fake_probe(void *data, struct step *step, struct vnic_err *err)
{
	(void)data;
	(void)step;
	(void)err;
	return 0;
}

static int fake_record_port(void *data, const struct vnic_port *port)
{
	(void)data;
	(void)port;
	return 0;
}

static int fake_erase_port(void *data, const struct port_key *key)
{
	(void)data;
	(void)key;
	return 0;
}

static int fake_record(void *data, const char *name, const struct plan *plan)
{
	(void)data;
	(void)name;
	(void)plan;
	return 0;
}

static int fake_record_nic(void *data, const char *pf, const struct plan *plan, bool drained)
{
	(void)drained;
	return fake_record(data, pf, plan);
}

static int fake_erase(void *data, const char *name)
{
	(void)data;
	(void)name;
	return 0;
}

static void fake_counters(void *data, const struct port_key *key, manager_step_done done, void *arg)
{
	(void)data;
	(void)key;
	done(arg, 0, NULL);
}

static void fake_connected(void *data, const char *reason)
{
	(void)data;
	printf("%s\n", reason ? reason : "connected");
	fflush(stdout);
}

static struct vnic_config *make_config(void)
{
	struct vnic_config *config = config_new();
	struct vnic_segment *s = calloc(1, sizeof(*s));
	struct vnic_class *c = calloc(1, sizeof(*c));
	struct vnic_nic_config *n = calloc(1, sizeof(*n));

	if (!config || !s || !c || !n)
		abort();
	snprintf(s->name, sizeof(s->name), "lan");
	snprintf(s->bridge, sizeof(s->bridge), "br0");
	snprintf(s->uplink[s->n_uplinks++], IFNAMSIZ, "eth0");
	s->place = (struct config_place){ "vnicd.conf", 1 };
	config_add_segment(config, s);
	snprintf(c->name, sizeof(c->name), "gold");
	snprintf(c->segment, sizeof(c->segment), "lan");
	c->paths.path[0] = VNIC_PATH_SRIOV;
	c->paths.path[1] = VNIC_PATH_SOFTWARE;
	if (vlan_set_parse("0", &c->vlans) < 0)
		abort();
	c->spoofchk = true; /* as VFs here have it */
	c->queues = 8;
	c->weight = 100;
	c->numa_node = -1;
	c->place = (struct config_place){ "vnicd.conf", 5 };
	config_add_class(config, c);
	snprintf(n->name, sizeof(n->name), "eth0");
	n->vfs = 7;
	n->place = (struct config_place){ "vnicd.conf", 9 };
	config_add_nic(config, n);
	return config;
}

static void command(struct fake *f, char *line)
{
	uint8_t uuid[VNIC_UUID_LEN];
	char *word[8] = { 0 };
	int n = 0;

	for (char *p = strtok(line, " \n"); p && n < 7; p = strtok(NULL, " \n"))
		word[n++] = p;
	if (n == 6 && !strcmp(word[0], "link"))
		set_link(f, word[1], atoi(word[2]),
			 !strcmp(word[3], "bridge") ? LINK_BRIDGE : LINK_PHYSICAL, atoi(word[4]),
			 !strcmp(word[5], "up"));
	else if (n == 2 && !strcmp(word[0], "unlink")) {
		if (inventory_remove(&f->inv, atoi(word[1])))
			manager_link_changed(f->manager, atoi(word[1]));
	} else if (n == 5 && !strcmp(word[0], "pf"))
		set_pf(f, atoi(word[1]), word[2], atoi(word[3]), atoi(word[4]));
	else if (n == 2 && !strcmp(word[0], "unpf")) {
		if (inventory_remove_pf(&f->inv, word[1]))
			manager_pf_changed(f->manager, word[1]);
	} else if (n == 5 && !strcmp(word[0], "vf"))
		set_vf(f, word[1], atoi(word[2]), word[3], word[4]);
	else if (n == 3 && !strcmp(word[0], "hostdev"))
		set_hostdev(f, word[1], word[2]);
	else if (n == 4 && !strcmp(word[0], "vdpa"))
		set_vdpa(f, word[1], word[2], word[3]);
	else if (n == 4 && !strcmp(word[0], "mdev"))
		set_mdev(f, word[1], word[2], atoi(word[3]));
	else if (n == 4 && !strcmp(word[0], "port"))
		add_port(f, word[1], word[2], word[3]);
	else if (n == 2 && !strcmp(word[0], "started") && uuid_parse(word[1], uuid) == 0)
		manager_domain_started(f->manager, uuid);
	else if (n == 2 && !strcmp(word[0], "slow"))
		set_slow(!strcmp(word[1], "on"));
	else if (n)
		printf("unknown command\n");
	printf("ok\n");
	fflush(stdout);
}

static void on_stdin(evutil_socket_t fd, short what, void *arg)
{
	static char buf[4096];
	static size_t have;
	struct fake *f = arg;
	ssize_t n = read(fd, buf + have, sizeof(buf) - 1 - have);
	char *end;

	(void)what;
	if (n <= 0) {
		event_base_loopbreak(f->base);
		return;
	}
	have += (size_t)n;
	buf[have] = '\0';
	while ((end = strchr(buf, '\n'))) {
		size_t used = (size_t)(end - buf) + 1;

		*end = '\0';
		command(f, buf);
		memmove(buf, buf + used, have - used + 1);
		have -= used;
	}
}

int main(void)
{
	struct fake f = { .base = NULL };
	const struct manager_io io = { .data = &f,
				       .now = fake_now,
				       .realtime = fake_realtime,
				       .wake_at = fake_wake_at,
				       .step_probe = fake_probe,
				       .step_do = fake_step,
				       .step_undo = fake_step,
				       .dp_counters = fake_counters,
				       .record_port = fake_record_port,
				       .erase_port = fake_erase_port,
				       .record_shared = fake_record,
				       .erase_shared = fake_erase,
				       .record_nic = fake_record_nic,
				       .erase_nic = fake_erase,
				       .record_hostdev = fake_record,
				       .erase_hostdev = fake_erase };
	struct bus_ops ops = { .data = &f, .connected = fake_connected };
	struct event *in;

	f.base = event_base_new();
	f.wake = evtimer_new(f.base, on_wake, &f);
	inventory_init(&f.inv);
	set_link(&f, "br0", 3, LINK_BRIDGE, 0, true);
	set_link(&f, "eth0", 2, LINK_PHYSICAL, 3, true);
	f.inv.complete = true;
	f.manager = manager_new(&io, make_config(), &f.inv);
	if (!f.manager || bus_new(f.base, f.manager, &ops, &f.bus) < 0)
		return 1;
	manager_start(f.manager);
	manager_datapath_hello(f.manager);
	manager_datapath_hello_end(f.manager);
	in = event_new(f.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_stdin, &f);
	event_add(in, NULL);
	event_base_dispatch(f.base);
	event_free(in);
	bus_free(f.bus);
	manager_free(f.manager);
	inventory_deinit(&f.inv);
	event_free(f.wake);
	event_base_free(f.base);
	return 0;
}
