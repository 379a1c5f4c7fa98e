/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon/sys/watch.h's inventory over a played sysfs, netlink and udev: what its tests share. */
#pragma once

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/sys/lockedattr.h"
#include "daemon/sys/vdpa_gate.h"
#include "daemon/sys/watch.h"
#include "tests/unit/fake_netlink.h"
#include "tests/unit/fake_sysfs.h"

#define PF	   "0000:03:00.0"
#define PF_IFINDEX 3
#define VF_IFINDEX 100
#define PF_GROUP   10
#define VF_GROUP   20

struct bed {
	struct loop *loop;
	struct inventory inv;
	struct watch *watch;
	int synced, told, removed, vdpa;
	char note[256];
};

static inline void bed_link(void *userdata, const struct vnic_link *link)
{
	(void)userdata;
	(void)link;
}

static inline void bed_pf(void *userdata, const struct vnic_pf *pf)
{
	struct bed *b = userdata;

	assert_ptr_equal(inventory_pf(&b->inv, pf->addr), pf);
	b->told++;
}

static inline void bed_pf_removed(void *userdata, const char *addr)
{
	struct bed *b = userdata;

	assert_null(inventory_pf(&b->inv, addr));
	b->removed++;
}

static inline void bed_vdpa(void *userdata)
{
	((struct bed *)userdata)->vdpa++;
}

static inline void bed_synced(void *userdata)
{
	((struct bed *)userdata)->synced++;
}

static inline void bed_note(void *userdata, int level, const char *text)
{
	struct bed *b = userdata;

	(void)level;
	snprintf(b->note, sizeof(b->note), "%s", text);
}

static const struct watch_ops bed_ops = { .changed = bed_link,
					  .removed = bed_link,
					  .pf_changed = bed_pf,
					  .pf_removed = bed_pf_removed,
					  .vdpa_changed = bed_vdpa,
					  .synced = bed_synced,
					  .note = bed_note };

static inline int bed_setup(void **state)
{
	static struct bed bed;

	bed = (struct bed){ 0 };
	fake_sysfs_new();
	fake_kernel_reset();
	kernel.devlink = kernel.ethtool = true;
	/* Nothing hangs here, however much the machine has to do. */
	locked_wait_ms = 10000;
	vdpa_gate_always = true;
	inventory_init(&bed.inv);
	*state = &bed;
	return loop_new(&bed.loop);
}

static inline int bed_teardown(void **state)
{
	struct bed *b = *state;

	watch_free(b->watch);
	loop_free(b->loop);
	inventory_deinit(&b->inv);
	fake_kernel_reset();
	fake_sysfs_free();
	return 0;
}

/* Turn the loop until @condition holds: five seconds are for ever. */
#define turn_until(b, condition)                                    \
	do {                                                        \
		for (int i_ = 0; i_ < 5000 && !(condition); i_++) { \
			assert_int_equal(loop_once((b)->loop), 0);  \
			if (i_ > 200)                               \
				usleep(1000);                       \
		}                                                   \
		assert_true(condition);                             \
	} while (0)

/* All that is ready is worked on; what waits for a timer is not. */
static inline void turn(struct bed *b)
{
	for (int i = 0; i < 100; i++)
		assert_int_equal(loop_once(b->loop), 0);
}

static inline void bed_start(struct bed *b)
{
	assert_int_equal(watch_new(b->loop, &b->inv, &bed_ops, b, &b->watch), 0);
	turn_until(b, b->synced == 1);
	turn(b);
}

static inline const char *vf_addr(int i)
{
	static char addr[4][48];
	static unsigned int next;
	char *s = addr[next++ % 4];

	snprintf(s, 48, "0000:%02x:%02x.%d", 4 + i / 256, i / 8 % 32, i % 8);
	return s;
}

static inline struct fake_link nic_link(int ifindex, const char *name, const char *dev)
{
	struct fake_link link = { .ifindex = ifindex, .eswitch = -1 };

	assert_int_equal(str_copy(link.name, sizeof(link.name), name), 0);
	if (dev) {
		strcpy(link.bus, "pci");
		strcpy(link.dev, dev);
	}
	return link;
}

static inline struct fake_link vf_link(int i)
{
	char name[32];

	snprintf(name, sizeof(name), "eth3v%d", i);
	return nic_link(VF_IFINDEX + i, name, vf_addr(i));
}

static inline struct fake_function vf_function(int i)
{
	return (struct fake_function){ .addr = vf_addr(i),
				       .driver = "igbvf",
				       .ifname = "eth3v",
				       .ifindex = VF_IFINDEX + i,
				       .group = VF_GROUP + i,
				       .numa = 1,
				       .physfn = PF,
				       .index = i };
}

/* A VF as the kernel makes it, with its netdev, and no word of it. */
static inline void add_vf(int i)
{
	const struct fake_function fn = vf_function(i);
	const struct fake_link link = vf_link(i);

	fake_function(&fn);
	fake_link_set(&link, false);
}

static inline void remove_vf(int i)
{
	const struct fake_function fn = vf_function(i);

	fake_function_gone(&fn);
	fake_link_del(VF_IFINDEX + i);
}

/* The PF's driver tells of @n VFs, each with a MAC of its number. */
static inline void tell_vfs(int n)
{
	struct fake_link *link = fake_link_find(PF_IFINDEX);

	free(link->vf);
	link->vf = calloc(n ? (size_t)n : 1, sizeof(*link->vf));
	assert_non_null(link->vf);
	link->n_vf = n;
	for (int i = 0; i < n; i++)
		link->vf[i] =
			(struct vf_info){ .known = 0, .value = { [VF_MAC] = 0x020000000000 + i } };
}

static inline void add_pf(int n)
{
	const struct fake_function fn = { .addr = PF,
					  .driver = "igb",
					  .ifname = "eth3",
					  .ifindex = PF_IFINDEX,
					  .group = PF_GROUP,
					  .numa = 1,
					  .total_vfs = 64,
					  .num_vfs = n };
	const struct fake_link link = nic_link(PF_IFINDEX, "eth3", PF);

	fake_function(&fn);
	fake_link_set(&link, false);
	tell_vfs(n);
	for (int i = 0; i < n; i++)
		add_vf(i);
}

static inline const struct vnic_pf *pf(const struct bed *b)
{
	const struct vnic_pf *p = inventory_pf(&b->inv, PF);

	assert_non_null(p);
	return p;
}

static inline const struct vnic_vf *vf(const struct bed *b, int i)
{
	assert_in_range(i, 0, pf(b)->n_vf - 1);
	return &pf(b)->vf[i];
}

/* Change a link and say so. */
static inline void change_link(struct bed *b, const struct fake_link *link)
{
	fake_link_set(link, true);
	turn(b);
}

#define bed_test(fn) cmocka_unit_test_setup_teardown(fn, bed_setup, bed_teardown)
