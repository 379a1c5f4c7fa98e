/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Golden tests of the decision: tests/golden/alloc/N.in describes a host, its configuration, its ports and what
 * is asked for; N.ok is what alloc answers. "VNIC_UPDATE=1 make check" writes the .ok files anew: read the
 * difference before it is committed.
 *
 *	link NAME KIND [master=NAME] [down] [mac=MAC] [filtering]
 *	pf NAME ADDRESS DRIVER vfs=N [total=N] [numa=N] [shared] [nogroup] [making] [switchdev] [nofn]
 *	vf ADDRESS-OF-PF INDEX [user=WORD[:NAME]] [representor=NAME-OF-LINK]
 *	ovs BRIDGE [PORT]… (a bridge of Open vSwitch's, and who is in it)
 *	no-sriov (nobody can plug VFs into guests)
 *	segment NAME bridge=NAME [uplink=NAME]…
 *	class NAME segment=NAME [paths=…] [vlans=…] [vlan=N] [rate=…] [weight=N] [queues=N] [max-ports=N] [trust]
 *		[max-vfs=N] [reserved-vfs=N] [numa=N]
 *	port DOMAIN MAC CLASS/NAME [vlan=N] [vf=ADDRESS]
 *	ask DOMAIN MAC CLASS/NAME [vlan=N] [rate=…] [weight=N] [queues=N] [paths=…] [standby] [before=ADDRESS]
 *	plan (the steps of the device, or the queue, of what was asked last)
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "daemon/core/alloc.h"
#include "daemon/core/config_check.h"
#include "daemon/core/path_sriov.h"
#include "daemon/core/path_vdpa.h"
#include "daemon/core/path_vmdq.h"
#include "daemon/core/request.h"
#include "daemon/model/ovsdb.h"

struct world {
	struct inventory inv;
	struct vnic_config *config;
	struct vnic_port *ports;
	FILE *out;
	struct alloc_choice last;
	struct port_spec last_spec;
};

struct words {
	char *word[24];
	size_t n;
};

/* "key=value" of a line; NULL where it is not there. A bare "key" gives "". */
static const char *option(const struct words *w, const char *key)
{
	size_t n = strlen(key);

	for (size_t i = 1; i < w->n; i++)
		if (!strncmp(w->word[i], key, n)) {
			if (w->word[i][n] == '=')
				return w->word[i] + n + 1;
			if (!w->word[i][n])
				return "";
		}
	return NULL;
}

static uint64_t number(const struct words *w, const char *key, uint64_t otherwise)
{
	uint64_t v = otherwise;

	if (option(w, key))
		assert_int_equal(u64_parse(option(w, key), 0, UINT64_MAX, &v), 0);
	return v;
}

static void add_link(struct world *world, const struct words *w)
{
	struct vnic_link link = { .ifindex = (int)world->inv.generation + 1, .mtu = 1500 };

	assert_int_equal(str_copy(link.name, sizeof(link.name), w->word[1]), 0);
	while (!str_eq(link_kind_str(link.kind), w->word[2])) {
		assert_true(link.kind < LINK_LOOPBACK);
		link.kind++;
	}
	link.up = link.carrier = !option(w, "down");
	link.vlan_filtering = option(w, "filtering");
	if (option(w, "master"))
		link.master = inventory_find_name(&world->inv, option(w, "master"))->ifindex;
	if (option(w, "mac"))
		assert_int_equal(mac_parse(option(w, "mac"), link.mac), 0);
	assert_int_equal(inventory_upsert(&world->inv, &link), 1);
}

/* The netdev is a link of that name already; VF N of PF B:S.0 is at B:10.N. */
static void add_pf(struct world *world, const struct words *w)
{
	const struct vnic_link *old = inventory_find_name(&world->inv, w->word[1]);
	struct vnic_link link = *old;
	struct vnic_pf pf = { .eswitch = ESWITCH_LEGACY };

	strcpy(link.dev_addr, w->word[2]);
	strcpy(link.driver, w->word[3]);
	assert_int_equal(inventory_upsert(&world->inv, &link), 1);
	strcpy(pf.addr, w->word[2]);
	strcpy(pf.driver, w->word[3]);
	pf.ifindex = link.ifindex;
	pf.numa_node = option(w, "numa") ? (int)number(w, "numa", 0) : -1;
	pf.num_vfs = (int)number(w, "vfs", 0);
	pf.total_vfs = (int)number(w, "total", 7);
	pf.vfs_complete = !option(w, "making");
	if (option(w, "switchdev"))
		pf.eswitch = ESWITCH_SWITCHDEV;
	assert_int_equal(pf_resize(&pf, pf.num_vfs), 0);
	for (int i = 0; i < pf.n_vf; i++) {
		struct vnic_vf *vf = &pf.vf[i];

		if (!option(w, "nofn"))
			snprintf(vf->addr, sizeof(vf->addr), "%.8s10.%d", pf.addr, i);
		vf->iommu_group = option(w, "nogroup") ? -1 : 20 + i;
		vf->group_shared = option(w, "shared");
		vf->numa_node = pf.numa_node;
		vf->known = (1u << VF_ATTR_COUNT) - 1;
	}
	assert_int_equal(inventory_upsert_pf(&world->inv, &pf), 1);
	pf_clear(&pf);
}

static void add_ovs(struct world *world, const struct words *w)
{
	struct ovs_bridge *b = calloc(1, sizeof(*b));

	if (!world->inv.ovs)
		world->inv.ovs = ovs_new();
	world->inv.ovs->synced = true;
	strcpy(b->name, w->word[1]);
	HASH_ADD_STR(world->inv.ovs->bridges, name, b);
	for (size_t i = 2; i < w->n; i++) {
		struct ovs_port *p = calloc(1, sizeof(*p));

		strcpy(p->name, w->word[i]);
		strcpy(p->bridge, w->word[1]);
		HASH_ADD_STR(world->inv.ovs->ports, name, p);
	}
}

static void set_vf(struct world *world, const struct words *w)
{
	struct vnic_pf pf = { 0 };
	struct vnic_vf *vf;
	char *name;

	assert_int_equal(pf_copy(&pf, inventory_pf(&world->inv, w->word[1])), 0);
	vf = &pf.vf[atoi(w->word[2])];
	if (option(w, "representor"))
		vf->representor =
			inventory_find_name(&world->inv, option(w, "representor"))->ifindex;
	name = option(w, "user") ? strchr(option(w, "user"), ':') : NULL;
	if (name) {
		*name++ = '\0';
		strcpy(vf->user_name, name);
	}
	while (option(w, "user") && !str_eq(vf_user_str(vf->user), option(w, "user"))) {
		assert_true(vf->user < VF_USER_DOMAIN);
		vf->user++;
	}
	assert_int_equal(inventory_upsert_pf(&world->inv, &pf), 1);
	pf_clear(&pf);
}

static void add_mgmtdev(struct world *world, const struct words *w)
{
	struct vdpa_mgmtdev m = { .net = !option(w, "block") };

	strcpy(m.name, w->word[1]);
	m.max_vqp = (uint32_t)number(w, "pairs", 8);
	m.features = option(w, "mtu") ? 1u << 3 : 0; /* VIRTIO_NET_F_MTU */
	if (option(w, "pf"))
		strcpy(m.pf, option(w, "pf"));
	assert_int_equal(inventory_upsert_mgmtdev(&world->inv, &m), 1);
}

static void add_vdpa(struct world *world, const struct words *w)
{
	struct vdpa_dev d = { .device_id = 1 };

	strcpy(d.name, w->word[1]);
	strcpy(d.mgmtdev, w->word[2]);
	assert_int_equal(inventory_upsert_vdpa(&world->inv, &d), 1);
}

static void add_nic(struct world *world, const struct words *w)
{
	struct vnic_nic_config *nic = calloc(1, sizeof(*nic));

	strcpy(nic->name, w->word[1]);
	nic->vfs = -1;
	nic->vnic = option(w, "vnic");
	if (option(w, "address"))
		strcpy(nic->address, option(w, "address"));
	if (option(w, "mgmtdev"))
		strcpy(nic->mgmtdev, option(w, "mgmtdev"));
	assert_int_equal(config_add_nic(world->config, nic), 0);
}

static void add_segment(struct world *world, const struct words *w)
{
	struct vnic_segment *s = calloc(1, sizeof(*s));

	strcpy(s->name, w->word[1]);
	strcpy(s->bridge, option(w, "bridge"));
	for (size_t i = 2; i < w->n; i++)
		if (!strncmp(w->word[i], "uplink=", 7))
			strcpy(s->uplink[s->n_uplinks++], w->word[i] + 7);
	assert_int_equal(config_add_segment(world->config, s), 0);
}

static void add_class(struct world *world, const struct words *w)
{
	struct vnic_class *c = calloc(1, sizeof(*c));
	struct vnic_err err = VNIC_ERR_INIT;

	strcpy(c->name, w->word[1]);
	strcpy(c->segment, option(w, "segment"));
	assert_int_equal(path_list_parse(option(w, "paths") ? option(w, "paths") : "software",
					 &c->paths, &err),
			 0);
	assert_int_equal(vlan_set_parse(option(w, "vlans") ? option(w, "vlans") : "0", &c->vlans),
			 0);
	c->vlan = (uint16_t)number(w, "vlan", 0);
	if (option(w, "rate"))
		assert_int_equal(rate_parse(option(w, "rate"), &c->rate), 0);
	if (option(w, "vf-min-rate"))
		assert_int_equal(rate_parse(option(w, "vf-min-rate"), &c->vf.min_rate), 0);
	if (option(w, "vf-link"))
		assert_int_equal(vf_link_parse(option(w, "vf-link"), &c->vf.link), 0);
	c->weight = (uint32_t)number(w, "weight", 100);
	c->queues = (uint32_t)number(w, "queues", 8);
	c->max_ports = (uint32_t)number(w, "max-ports", 0);
	c->max_vfs = (uint32_t)number(w, "max-vfs", 0);
	c->reserved_vfs = (uint32_t)number(w, "reserved-vfs", 0);
	c->numa_node = option(w, "numa") ? (int)number(w, "numa", 0) : -1;
	c->trust = option(w, "trust");
	c->spoofchk = !c->trust;
	assert_int_equal(config_add_class(world->config, c), 0);
}

static struct port_spec make_spec(const struct words *w)
{
	struct port_spec spec = { 0 };
	struct vnic_err err = VNIC_ERR_INIT;
	char *slash = strchr(w->word[3], '/');

	strcpy(spec.domain, w->word[1]);
	memcpy(spec.key.uuid, w->word[1], strnlen(w->word[1], VNIC_UUID_LEN));
	assert_int_equal(mac_parse(w->word[2], spec.key.mac), 0);
	memcpy(spec.class_name, w->word[3], (size_t)(slash - w->word[3]));
	strcpy(spec.name, slash + 1);
	if (option(w, "standby"))
		strcpy(spec.standby, "ua-standby");
	spec.vdpa = option(w, "vdpa");
	spec.queues = (uint32_t)number(w, "queues", 0);
	assert_int_equal(request_overrides(&spec, option(w, "vlan"), option(w, "rate"),
					   option(w, "weight"), option(w, "paths"), &err),
			 0);
	return spec;
}

static void add_port(struct world *world, const struct words *w)
{
	struct port_spec spec = make_spec(w);
	struct vnic_port *port = port_new(&spec);

	strcpy(port->segment, config_class(world->config, spec.class_name)->segment);
	port->vlan = spec.has_vlan ? spec.vlan : config_class(world->config, spec.class_name)->vlan;
	if (option(w, "mgmtdev")) {
		struct step step = { .kind = STEP_VDPA_ADD };

		strcpy(step.mgmtdev, option(w, "mgmtdev"));
		path_vdpa_name(&spec.key, step.dev);
		assert_int_equal(plan_add(&port->plan, &step), 0);
	}
	if (option(w, "vf")) {
		const struct vnic_vf *vf;
		const struct vnic_pf *pf;

		vf = inventory_vf(&world->inv, option(w, "vf"), &pf);
		assert_non_null(vf);
		port->device.state = DEVICE_ATTACHED;
		strcpy(port->device.pf, pf->addr);
		port->device.vf = vf->index;
		strcpy(port->device.vf_addr, option(w, "vf"));
	}
	HASH_ADD(hh, world->ports, spec.key, sizeof(port->spec.key), port);
}

/* What a port of that choice would have done to its VF. */
static void print_plan(struct world *world, const struct words *w)
{
	const struct alloc_choice *c = &world->last;
	struct vnic_port *port = port_new(&world->last_spec);
	struct plan plan = { 0 };
	char text[160];

	(void)w;
	port->vlan = c->vlan;
	port->rate = c->rate;
	port->spoofchk = c->spoofchk;
	port->trust = c->trust;
	port->vf = c->extra;
	port->device.vf = c->vf.vf;
	strcpy(port->device.pf, c->vf.pf);
	strcpy(port->device.vf_addr, c->vf.vf_addr);
	port->path = c->path;
	port->weight = c->weight;
	port->queues = c->queues;
	if (c->path == VNIC_PATH_VDPA)
		assert_int_equal(path_vdpa_port(&world->inv,
						config_segment(world->config, c->segment), port,
						c->mgmtdev, &plan),
				 0);
	else if (c->path == VNIC_PATH_VMDQ)
		assert_int_equal(path_vmdq_port(&world->inv,
						config_segment(world->config, c->segment), port,
						&plan),
				 0);
	else
		assert_int_equal(
			path_sriov_device(&world->inv, port, inventory_pf(&world->inv, c->vf.pf),
					  config_segment(world->config, c->segment), &plan),
			0);
	for (size_t i = 0; i < plan.n; i++)
		fprintf(world->out, "\t%zu. %s\n", i + 1,
			step_describe(&plan.step[i], text, sizeof(text)));
	plan_clear(&plan);
	port_free(port);
}

static void ask(struct world *world, const struct words *w)
{
	struct port_spec spec = make_spec(w);
	struct alloc_choice c = { 0 };
	struct vnic_err err = VNIC_ERR_INIT;
	struct alloc_host host = { .inv = &world->inv,
				   .config = world->config,
				   .ports = world->ports,
				   .before = option(w, "before") };
	int r = alloc(&host, &spec, &c, &err);

	fprintf(world->out, "%s %s:", w->word[1], w->word[3]);
	if (r < 0) {
		fprintf(world->out, " %s\n\t%s\n", err.code, err.message);
	} else {
		fprintf(world->out,
			" %s segment=%s vlan=%u rate=%llu weight=%u queues=%u spoofchk=%s "
			"trust=%s\n",
			vnic_path_str(c.path), c.segment, c.vlan, (unsigned long long)c.rate,
			c.weight, c.queues, c.spoofchk ? "on" : "off", c.trust ? "on" : "off");
	}
	for (size_t i = 0; i < c.n_reasons; i++)
		fprintf(world->out, "\t%s %s: %s\n", c.reason[i].eligible ? "+" : "-",
			vnic_path_str(c.reason[i].path), c.reason[i].text);
	world->last = c;
	world->last_spec = spec;
}

static void one_line(struct world *world, char *line)
{
	static const struct {
		const char *word;
		void (*fn)(struct world *world, const struct words *w);
	} lines[] = {
		{ "link", add_link },	{ "pf", add_pf },	    { "vf", set_vf },
		{ "ovs", add_ovs },	{ "plan", print_plan },	    { "segment", add_segment },
		{ "class", add_class }, { "port", add_port },	    { "ask", ask },
		{ "nic", add_nic },	{ "mgmtdev", add_mgmtdev }, { "vdpa", add_vdpa }
	};
	struct words w = { .n = 0 };
	char *save = NULL;

	for (char *t = strtok_r(line, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
		assert_true(w.n < ARRAY_SIZE(w.word));
		w.word[w.n++] = t;
	}
	if (!w.n || *w.word[0] == '#')
		return;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (str_eq(lines[i].word, w.word[0])) {
			lines[i].fn(world, &w);
			return;
		}
	fail_msg("unknown line: %s", w.word[0]);
}

static char *run(char *text)
{
	struct world world = { .config = config_new() };
	struct vnic_port *port, *tmp;
	char *out = NULL, *save = NULL;
	size_t size;

	inventory_init(&world.inv);
	world.out = open_memstream(&out, &size);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		one_line(&world, line);
	fclose(world.out);
	HASH_ITER(hh, world.ports, port, tmp)
	{
		HASH_DEL(world.ports, port);
		port_free(port);
	}
	inventory_deinit(&world.inv);
	config_free(world.config);
	return out;
}

static void golden(void **state)
{
	const char *in = *state;
	_cleanup_(freep) char *text = NULL, *got = NULL, *want = NULL;
	char ok[512];

	snprintf(ok, sizeof(ok), "%.*s.ok", (int)(strlen(in) - 3), in);
	assert_int_equal(file_read(AT_FDCWD, in, 1 << 20, &text, NULL), 0);
	got = run(text);
	if (getenv("VNIC_UPDATE")) {
		FILE *f = fopen(ok, "w");

		assert_non_null(f);
		fputs(got, f);
		fclose(f);
		return;
	}
	assert_int_equal(file_read(AT_FDCWD, ok, 1 << 20, &want, NULL), 0);
	assert_string_equal(got, want);
}

int main(void)
{
	char pattern[512];
	struct CMUnitTest *tests;
	glob_t found;
	int failed;

	snprintf(pattern, sizeof(pattern), "%s/tests/golden/alloc/*.in", getenv("top_srcdir"));
	if (glob(pattern, 0, NULL, &found) != 0) {
		fprintf(stderr, "no file %s\n", pattern);
		return 1;
	}
	tests = calloc(found.gl_pathc, sizeof(*tests));
	for (size_t i = 0; i < found.gl_pathc; i++) {
		tests[i].name = strrchr(found.gl_pathv[i], '/') + 1;
		tests[i].test_func = golden;
		tests[i].initial_state = found.gl_pathv[i];
	}
	failed = _cmocka_run_group_tests("alloc", tests, found.gl_pathc, NULL, NULL);
	free(tests);
	globfree(&found);
	return failed;
}
