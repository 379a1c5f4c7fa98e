/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decision for many ports, one after the other, each seeing those before it:
 *
 *	alloc_bench PORTS NICS VFS
 *
 * Two segments with half of the nics each, eight classes of sriov and software that compete for their VFs; what is
 * chosen is held. Prints JSON: times in microseconds, for all and for the last tenth.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "daemon/core/alloc.h"

#define SEGMENTS 2
#define CLASSES	 8
#define BRIDGE	 1 /* ifindexes */
#define NIC	 100
#define NETDEV	 1000

static struct inventory inv;

static void die(const char *what)
{
	fprintf(stderr, "alloc_bench: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void add_link(int ifindex, const char *name, enum link_kind kind, int master,
		     const char *dev)
{
	struct vnic_link link = { .ifindex = ifindex,
				  .kind = kind,
				  .master = master,
				  .mtu = 1500,
				  .up = true,
				  .carrier = true,
				  .numa_node = -1 };

	link.mac[0] = 2;
	memcpy(link.mac + 2, &ifindex, sizeof(ifindex));
	if (str_copy(link.name, sizeof(link.name), name) < 0 ||
	    str_copy(link.dev_addr, sizeof(link.dev_addr), dev) < 0 ||
	    inventory_upsert(&inv, &link) < 0)
		die("no link");
}

/* A nic with @vfs VFs, each with a netdev. */
static void add_nic(int nic, int vfs)
{
	struct vnic_pf pf = { .bus = "pci",
			      .driver = "ice",
			      .ifindex = NIC + nic,
			      .numa_node = nic % 2,
			      .total_vfs = vfs,
			      .num_vfs = vfs,
			      .vfs_complete = true,
			      .eswitch = ESWITCH_LEGACY };
	char name[IFNAMSIZ];

	snprintf(pf.addr, sizeof(pf.addr), "0000:%02x:00.0", 16 + nic);
	snprintf(name, sizeof(name), "eth%d", nic);
	add_link(NIC + nic, name, LINK_PHYSICAL, BRIDGE + nic % SEGMENTS, pf.addr);
	if (pf_resize(&pf, vfs) < 0)
		die("no memory");
	for (int i = 0; i < vfs; i++) {
		struct vnic_vf *vf = &pf.vf[i];

		snprintf(vf->addr, sizeof(vf->addr), "%04x:%02x:%02x.%d", nic + 1, i / 256,
			 i / 8 % 32, i % 8);
		vf->iommu_group = nic * vfs + i;
		vf->numa_node = pf.numa_node;
		vf->known = (1u << VF_ATTR_COUNT) - 1;
		vf->ifindex = NETDEV + nic * vfs + i;
		snprintf(name, sizeof(name), "v%d", vf->ifindex);
		add_link(vf->ifindex, name, LINK_VF, 0, vf->addr);
	}
	if (inventory_upsert_pf(&inv, &pf) < 0)
		die("no PF");
	pf_clear(&pf);
}

static struct vnic_config *make_config(int nics)
{
	struct vnic_config *config = config_new();

	for (int i = 0; config && i < SEGMENTS; i++) {
		struct vnic_segment *s = calloc(1, sizeof(*s));

		if (!s)
			die("no memory");
		snprintf(s->name, sizeof(s->name), "segment%d", i);
		snprintf(s->bridge, sizeof(s->bridge), "br%d", i);
		add_link(BRIDGE + i, s->bridge, LINK_BRIDGE, 0, "");
		for (int n = i; n < nics; n += SEGMENTS)
			snprintf(s->uplink[s->n_uplinks++], IFNAMSIZ, "eth%d", n);
		if (config_add_segment(config, s) < 0)
			die("no segment");
	}
	for (int i = 0; config && i < CLASSES; i++) {
		struct vnic_class *c = calloc(1, sizeof(*c));

		if (!c)
			die("no memory");
		snprintf(c->name, sizeof(c->name), "class%d", i);
		snprintf(c->segment, sizeof(c->segment), "segment%d", i % SEGMENTS);
		c->paths.path[0] = VNIC_PATH_SRIOV;
		c->paths.path[1] = VNIC_PATH_SOFTWARE;
		c->vlan = (uint16_t)(10 + i);
		c->vlans.bits[0] = UINT64_MAX;
		c->weight = 100;
		c->queues = 8;
		c->max_ports = 1000000;
		c->reserved_vfs = 16;
		c->numa_node = i % 4 < 2 ? -1 : i % 2;
		if (config_add_class(config, c) < 0)
			die("no class");
	}
	return config;
}

static struct port_spec make_spec(int i)
{
	struct port_spec spec = { .queues = 1, .standby = "ua-standby" };

	memcpy(spec.key.uuid, &i, sizeof(i));
	spec.key.mac[0] = 0x52;
	memcpy(spec.key.mac + 2, &i, sizeof(i));
	snprintf(spec.domain, sizeof(spec.domain), "guest%d", i);
	snprintf(spec.class_name, sizeof(spec.class_name), "class%d", i % CLASSES);
	snprintf(spec.name, sizeof(spec.name), "guest%d", i);
	return spec;
}

/* As the manager: a port of what was chosen, which the next ones see. */
static void hold(struct alloc_host *host, struct alloc_index *index, const struct port_spec *spec,
		 const struct alloc_choice *choice, struct vnic_port **ports)
{
	struct vnic_port *port = port_new(spec);

	if (!port)
		die("no memory");
	port->path = choice->path;
	memcpy(port->segment, choice->segment, sizeof(port->segment));
	port->vlan = choice->vlan;
	if (choice->path == VNIC_PATH_SRIOV) {
		port->device.state = DEVICE_RESERVED;
		memcpy(port->device.pf, choice->vf.pf, sizeof(port->device.pf));
		memcpy(port->device.vf_addr, choice->vf.vf_addr, sizeof(port->device.vf_addr));
		port->device.vf = choice->vf.vf;
	}
	HASH_ADD(hh, *ports, spec.key, sizeof(port->spec.key), port);
	host->ports = *ports;
	if (alloc_index_update(index, port) < 0)
		die("no memory");
}

int main(int argc, char **argv)
{
	struct alloc_host host = { .inv = &inv };
	struct vnic_port *ports = NULL, *port, *tmp;
	uint64_t n_ports, nics, vfs, held = 0;
	double start, last_tenth = 0;
	struct alloc_index *index;
	struct vnic_config *config;

	if (argc != 4 || u64_parse(argv[1], 10, 1000000, &n_ports) < 0 ||
	    u64_parse(argv[2], SEGMENTS, SEGMENTS * SEGMENT_UPLINKS_MAX, &nics) < 0 ||
	    u64_parse(argv[3], 1, PF_VFS_MAX, &vfs) < 0)
		die("usage: alloc_bench PORTS NICS VFS");
	inventory_init(&inv);
	config = make_config((int)nics);
	for (int i = 0; i < (int)nics; i++)
		add_nic(i, (int)vfs);
	if (!config || alloc_index_new(&index) < 0)
		die("no memory");
	host.config = config;
	host.index = index;

	start = now();
	for (int i = 0; i < (int)n_ports; i++) {
		const struct port_spec spec = make_spec(i);
		struct vnic_err err = VNIC_ERR_INIT;
		struct alloc_choice choice;

		if (i == (int)(n_ports - n_ports / 10))
			last_tenth = now();
		if (alloc(&host, &spec, &choice, &err) < 0)
			die(err.message);
		held += choice.path == VNIC_PATH_SRIOV;
		hold(&host, index, &spec, &choice, &ports);
	}
	printf("{\"ports\": %llu, \"vfs\": %llu, \"held\": %llu, \"cpu_us\": %.0f, "
	       "\"last_us\": %.2f}\n",
	       (unsigned long long)n_ports, (unsigned long long)(nics * vfs),
	       (unsigned long long)held, now() - start,
	       (now() - last_tenth) / (double)(n_ports / 10));
	alloc_index_free(index);
	HASH_ITER(hh, ports, port, tmp)
	{
		HASH_DEL(ports, port);
		port_free(port);
	}
	config_free(config);
	inventory_deinit(&inv);
	return held == nics * vfs ? 0 : 1;
}
