/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inventory of many VFs over a played sysfs (a tree in memory) and netlink, one measurement a run:
 *
 *	inventory_bench NICS VFS
 *
 * From nothing to complete; then one event of a VF (its driver, its netdev), and one change of all attributes of
 * a PF's VFs, each with all the rest there. Prints JSON: times in microseconds of CPU and of the clock, memory in KiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "daemon/sys/watch.h"
#include "tests/unit/fake_netlink.h"
#include "tests/unit/fake_sysfs.h"

#define EVENTS 512
/* Beyond it the kernel's messages cannot tell of all VFs of a PF, and here neither. */
#define TOLD_MAX 256

struct bench {
	struct loop *loop;
	struct inventory inv;
	struct watch *watch;
	bool synced;
	int nics, vfs;
	unsigned int told;
};

static void die(const char *what)
{
	fprintf(stderr, "inventory_bench: %s\n", what);
	exit(1);
}

static void on_link(void *userdata, const struct vnic_link *link)
{
	(void)userdata;
	(void)link;
}

static void on_pf(void *userdata, const struct vnic_pf *pf)
{
	(void)pf;
	((struct bench *)userdata)->told++;
}

static void on_synced(void *userdata)
{
	((struct bench *)userdata)->synced = true;
}

static void on_note(void *userdata, int level, const char *text)
{
	(void)userdata;
	(void)level;
	fprintf(stderr, "# %s\n", text);
}

static const struct watch_ops ops = { .changed = on_link,
				      .removed = on_link,
				      .pf_changed = on_pf,
				      .synced = on_synced,
				      .note = on_note };

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Of this process: what stands in its way is not measured. */
static double cpu_now(void)
{
	return now(CLOCK_PROCESS_CPUTIME_ID);
}

static long rss_kib(const char *what)
{
	_cleanup_(fclosep) FILE *f = fopen("/proc/self/status", "re");
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, what, strlen(what)))
			return strtol(line + strlen(what) + 1, NULL, 10);
	die("no /proc/self/status");
	return 0;
}

static const char *pf_addr(int nic, char *buf)
{
	sprintf(buf, "%04x:01:00.0", nic & 0xffff);
	return buf;
}

static const char *vf_addr(int nic, int vf, char *buf)
{
	sprintf(buf, "%04x:%02x:%02x.%d", nic & 0xffff, 2 + vf / 256 % 64, vf / 8 % 32, vf % 8);
	return buf;
}

static int vf_ifindex(int nic, int vf)
{
	return 1000 + nic * 10000 + vf;
}

static void add_link(int ifindex, const char *dev, int n_vf)
{
	struct fake_link link = { .ifindex = ifindex,
				  .bus = "pci",
				  .eswitch = n_vf ? 0 : -1,
				  .channels_max = 64,
				  .channels = 8,
				  .ntuple = FEATURE_ON };

	snprintf(link.name, sizeof(link.name), "e%d", ifindex);
	strcpy(link.dev, dev);
	link.n_vf = n_vf > TOLD_MAX ? TOLD_MAX : n_vf;
	link.vf = n_vf ? calloc((size_t)link.n_vf, sizeof(*link.vf)) : NULL;
	for (int i = 0; i < link.n_vf; i++)
		link.vf[i].value[VF_MAC] = 0x020000000000 + ifindex * 4096 + i;
	fake_link_set(&link, false);
}

static void make_host(const struct bench *b)
{
	char pf[32], vf[32];

	for (int nic = 0; nic < b->nics; nic++) {
		fake_function(&(struct fake_function){ .addr = pf_addr(nic, pf),
						       .driver = "ice",
						       .ifname = "uplink",
						       .ifindex = 1 + nic,
						       .group = nic,
						       .numa = nic % 2,
						       .total_vfs = b->vfs,
						       .num_vfs = b->vfs });
		add_link(1 + nic, pf, b->vfs);
		for (int i = 0; i < b->vfs; i++) {
			fake_function(&(struct fake_function){ .addr = vf_addr(nic, i, vf),
							       .driver = "iavf",
							       .ifname = "vf",
							       .ifindex = vf_ifindex(nic, i),
							       .group = 100 + nic * 10000 + i,
							       .numa = nic % 2,
							       .physfn = pf,
							       .index = i });
			add_link(vf_ifindex(nic, i), vf, 0);
		}
	}
}

static void check_whole(const struct bench *b)
{
	char addr[32];

	for (int nic = 0; nic < b->nics; nic++) {
		const struct vnic_pf *pf = inventory_pf(&b->inv, pf_addr(nic, addr));

		if (!pf || pf->n_vf != b->vfs || !pf->vfs_complete ||
		    !pf->vf[pf->n_vf - 1].ifindex || !pf->vf[0].known || pf->channels != 8)
			die("the inventory is not complete");
	}
}

static void turn(struct bench *b)
{
	for (int i = 0; i < 8; i++)
		if (loop_once(b->loop) < 0)
			die("the loop failed");
}

/* One VF after the other is bound elsewhere, each with an event and a turn of the loop of its own. */
static double bind_events(struct bench *b)
{
	double cpu = 0;
	char addr[32];

	for (int i = 0; i < EVENTS; i++) {
		double start;
		int vf = (int)((long)i * b->vfs / EVENTS);

		vf_addr(i % b->nics, vf, addr);
		fake_driver(addr, i / b->nics % 2 ? "iavf" : "vfio-pci");
		start = cpu_now();
		fake_udev("pci", addr, "bind");
		turn(b);
		cpu += cpu_now() - start;
	}
	return cpu / EVENTS;
}

static double link_events(struct bench *b)
{
	double cpu = 0;

	for (int i = 0; i < EVENTS; i++) {
		int ifindex = vf_ifindex(i % b->nics, (int)((long)i * b->vfs / EVENTS));
		struct fake_link *link = fake_link_find(ifindex);
		double start;

		link->up = !link->up;
		fake_link_notify(ifindex);
		start = cpu_now();
		turn(b);
		cpu += cpu_now() - start;
	}
	return cpu / EVENTS;
}

int main(int argc, char **argv)
{
	double cpu, wall, bind_cpu, link_cpu;
	struct bench b = { 0 };
	uint64_t nics, vfs;
	long before;

	if (argc != 3 || u64_parse(argv[1], 1, 64, &nics) < 0 ||
	    u64_parse(argv[2], 1, PF_VFS_MAX, &vfs) < 0)
		die("usage: inventory_bench NICS VFS");
	b.nics = (int)nics;
	b.vfs = (int)vfs;
	fake_sysfs_new();
	kernel.devlink = kernel.ethtool = true;
	make_host(&b);
	before = rss_kib("VmRSS:");

	inventory_init(&b.inv);
	if (loop_new(&b.loop) < 0)
		die("no loop");
	cpu = cpu_now();
	wall = now(CLOCK_MONOTONIC);
	if (watch_new(b.loop, &b.inv, &ops, &b, &b.watch) < 0)
		die("no watch");
	for (int i = 0; i < 100000 && !b.synced; i++)
		if (loop_once(b.loop) < 0)
			die("the loop failed");
	cpu = cpu_now() - cpu;
	wall = now(CLOCK_MONOTONIC) - wall;
	check_whole(&b);
	turn(&b);
	bind_cpu = bind_events(&b);
	link_cpu = link_events(&b);
	/*
	 * The played kernel's own links and messages stand in memory before as well; all that came is
	 * counted as the inventory's.
	 */
	printf("{\"nics\": %d, \"vfs\": %d, \"wall_us\": %.0f, \"cpu_us\": %.0f, "
	       "\"bind_us\": %.2f, \"link_us\": %.2f, \"rss_kib\": %ld, \"grown_kib\": %ld, "
	       "\"told\": %u}\n",
	       b.nics, b.vfs, wall, cpu, bind_cpu, link_cpu, rss_kib("VmRSS:"),
	       rss_kib("VmHWM:") - before, b.told);
	watch_free(b.watch);
	loop_free(b.loop);
	inventory_deinit(&b.inv);
	fake_kernel_reset();
	fake_sysfs_free();
	return 0;
}
