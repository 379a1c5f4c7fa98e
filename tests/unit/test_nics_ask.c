/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What drivers answer about nics, vDPA and mdev; answers that fail, are cut, lost, interrupted or foreign. */
#include "tests/unit/nics_bed.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <libmnl/libmnl.h>
#include <linux/devlink.h>
#include <linux/rtnetlink.h>

#include "tests/fuzz/netlink_parsers.h"

static void switch_and_representors(void **state)
{
	struct fake_port port = { .bus = "pci",
				  .dev = PF,
				  .index = 7,
				  .flavour = DEVLINK_PORT_FLAVOUR_PCI_VF,
				  .vf = 1,
				  .ifindex = 201 };
	struct bed *b = *state;

	add_pf(3);
	fake_link_find(PF_IFINDEX)->eswitch = DEVLINK_ESWITCH_MODE_LEGACY;
	bed_start(b);
	assert_int_equal(pf(b)->eswitch, ESWITCH_LEGACY);
	assert_int_equal(vf(b, 1)->representor, 0);
	/* To switchdev: the only word of it is that ports come. */
	fake_link_find(PF_IFINDEX)->eswitch = DEVLINK_ESWITCH_MODE_SWITCHDEV;
	kernel.port[kernel.n_ports++] = port;
	fake_port_notify(&port, true);
	turn(b);
	assert_int_equal(pf(b)->eswitch, ESWITCH_SWITCHDEV);
	assert_int_equal(vf(b, 1)->representor, 201);
	/* A dump that changes cut into is read again. */
	port.index = 8;
	port.vf = 2;
	port.ifindex = 202;
	kernel.port[kernel.n_ports++] = port;
	kernel.interrupted = 2;
	fake_overrun();
	turn(b);
	assert_int_equal(kernel.interrupted, 0);
	assert_int_equal(vf(b, 2)->representor, 202);
	/* Another card's, a VF that is not there, another function's. */
	strcpy(port.dev, "0000:09:00.0");
	fake_port_notify(&port, true);
	strcpy(port.dev, PF);
	strcpy(port.bus, "auxiliary");
	port.ifindex = 203;
	fake_port_notify(&port, true);
	strcpy(port.bus, "pci");
	port.vf = 40;
	fake_port_notify(&port, true);
	port.vf = 1;
	port.flavour = DEVLINK_PORT_FLAVOUR_PCI_SF;
	fake_port_notify(&port, true);
	turn(b);
	assert_int_equal(vf(b, 1)->representor, 201);
	assert_int_equal(vf(b, 2)->representor, 202);
	port = kernel.port[--kernel.n_ports];
	fake_port_notify(&port, false);
	turn(b);
	assert_int_equal(vf(b, 2)->representor, 0);
	assert_int_equal(vf(b, 1)->representor, 201);
}

static void no_switch(void **state)
{
	struct bed *b = *state;

	add_pf(1);
	fake_link_find(PF_IFINDEX)->eswitch = -2;
	bed_start(b);
	assert_int_equal(pf(b)->eswitch, ESWITCH_NONE);
}

static void features_and_queues(void **state)
{
	static const enum feature_state states[] = { FEATURE_ABSENT, FEATURE_OFF_FIXED, FEATURE_OFF,
						     FEATURE_ON, FEATURE_ON_FIXED };
	struct bed *b = *state;
	struct fake_link *link;

	add_pf(0);
	link = fake_link_find(PF_IFINDEX);
	link->channels_max = 64;
	link->channels = 8;
	bed_start(b);
	assert_int_equal(pf(b)->channels_max, 64);
	assert_int_equal(pf(b)->channels, 8);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		link->fwd_offload = states[i];
		link->ntuple = states[ARRAY_SIZE(states) - 1 - i];
		fake_features_notify(PF_IFINDEX);
		fake_features_notify(999);
		turn(b);
		assert_int_equal(pf(b)->fwd_offload, link->fwd_offload);
		assert_int_equal(pf(b)->ntuple, link->ntuple);
	}
}

static void queues_that_vfs_take(void **state)
{
	struct bed *b = *state;
	struct fake_link *link;

	add_pf(0);
	link = fake_link_find(PF_IFINDEX);
	link->channels_max = 8;
	bed_start(b);
	assert_int_equal(pf(b)->channels_max, 8);
	add_vf(0);
	fake_num_vfs(PF, 1);
	tell_vfs(1);
	link = fake_link_find(PF_IFINDEX);
	link->channels_max = 2;
	fake_udev("pci", vf_addr(0), "add");
	turn(b);
	assert_int_equal(pf(b)->channels_max, 2);
}

/* Made anew between two looks, as many as before: what is heard of a VF is all that there is to hear. */
static void queues_for_vfs_made_again(void **state)
{
	struct bed *b = *state;
	struct fake_link *link;

	add_pf(1);
	link = fake_link_find(PF_IFINDEX);
	link->channels_max = link->channels = 2;
	bed_start(b);
	assert_int_equal(pf(b)->channels, 2);
	link->channels = 1;
	fake_udev("pci", vf_addr(0), "add");
	turn_until(b, pf(b)->channels == 1);
}

/* Whoever asks about a netdev that sysfs has already, and the list of all links not yet, hears that it is none. */
static void queues_of_a_netdev_that_comes(void **state)
{
	struct bed *b = *state;
	struct fake_link link;

	add_pf(0);
	link = *fake_link_find(PF_IFINDEX);
	link.n_vf = 0;
	link.vf = NULL;
	link.channels_max = link.channels = 2;
	fake_link_del(PF_IFINDEX);
	bed_start(b);
	assert_int_equal(pf(b)->ifindex, PF_IFINDEX);
	assert_int_equal(pf(b)->channels, 0);
	change_link(b, &link);
	assert_int_equal(pf(b)->channels, 2);
}

static void families_that_are_absent(void **state)
{
	struct bed *b = *state;

	kernel.devlink = kernel.ethtool = false;
	add_pf(1);
	fake_link_find(PF_IFINDEX)->eswitch = DEVLINK_ESWITCH_MODE_LEGACY;
	fake_link_find(PF_IFINDEX)->ntuple = FEATURE_ON;
	bed_start(b);
	assert_true(b->inv.complete);
	assert_true(pf(b)->vfs_complete);
	assert_string_equal(b->note, "");
	assert_int_equal(pf(b)->eswitch, ESWITCH_NONE);
	/* Their module comes later. */
	kernel.devlink = kernel.ethtool = true;
	fake_family_notify("devlink", true);
	fake_family_notify("ethtool", true);
	turn(b);
	assert_int_equal(pf(b)->eswitch, ESWITCH_LEGACY);
	assert_int_equal(pf(b)->ntuple, FEATURE_ON);
	kernel.devlink = false;
	fake_family_notify("devlink", false);
	turn(b);
	assert_int_equal(pf(b)->eswitch, ESWITCH_NONE);
}

static void put_vdpa(const char *vdpa, const char *mgmtdev, const char *addr)
{
	char target[128];

	kernel.dev[kernel.n_devs] =
		(struct vdpa_dev){ .device_id = 1, .vendor_id = 0x1af4, .max_vqs = 3 };
	strcpy(kernel.dev[kernel.n_devs].name, vdpa);
	strcpy(kernel.dev[kernel.n_devs++].mgmtdev, mgmtdev);
	snprintf(target, sizeof(target), "../../../devices/pci0000:00/%s/%s", addr, vdpa);
	fake_symlink(target, "bus/vdpa/devices/%s", vdpa);
	fake_symlink("../../../../bus/vdpa/drivers/vhost_vdpa", "devices/pci0000:00/%s/%s/driver",
		     addr, vdpa);
	fake_file("", "devices/pci0000:00/%s/%s/vhost-vdpa-0/dev", addr, vdpa);
}

static void vdpa_devices(void **state)
{
	struct vdpa_mgmtdev mgmtdev = {
		.name = "pci/0000:04:00.0", .net = true, .max_vqp = 4, .features = 0x300000000
	};
	struct bed *b = *state;
	struct vdpa_mgmtdev *m;
	struct vdpa_dev *d;

	add_pf(2);
	bed_start(b);
	assert_null(b->inv.mgmtdevs);
	/* The module comes, a driver for VF 0 with it. */
	kernel.vdpa = true;
	kernel.mgmtdev[kernel.n_mgmtdevs++] = mgmtdev;
	strcpy(mgmtdev.name, "vdpasim_net");
	kernel.mgmtdev[kernel.n_mgmtdevs++] = mgmtdev;
	put_vdpa("vdpa0", "pci/0000:04:00.0", vf_addr(0));
	fake_family_notify("vdpa", true);
	turn(b);
	m = b->inv.mgmtdevs;
	assert_non_null(m);
	HASH_FIND_STR(b->inv.mgmtdevs, "pci/0000:04:00.0", m);
	assert_non_null(m);
	assert_string_equal(m->pf, PF);
	assert_true(m->net);
	assert_int_equal(m->max_vqp, 4);
	assert_int_equal(m->features, 0x300000000);
	HASH_FIND_STR(b->inv.mgmtdevs, "vdpasim_net", m);
	assert_non_null(m);
	assert_string_equal(m->pf, "");
	d = b->inv.vdpas;
	assert_non_null(d);
	assert_string_equal(d->name, "vdpa0");
	assert_string_equal(d->mgmtdev, "pci/0000:04:00.0");
	assert_string_equal(d->driver, "vhost_vdpa");
	assert_string_equal(d->node, "vhost-vdpa-0");
	assert_int_equal(d->device_id, 1);
	assert_int_equal(d->vendor_id, 0x1af4);
	assert_int_equal(d->max_vqs, 3);
	assert_int_equal(vf(b, 0)->user, VF_USER_VDPA);
	assert_string_equal(vf(b, 0)->user_name, "vdpa0");
	assert_int_equal(vf(b, 1)->user, VF_FREE);
	assert_true(b->vdpa > 0);
	/* Without notifications of its own: udev's. */
	kernel.n_devs = 0;
	fake_udev("vdpa", "vdpa0", "remove");
	turn(b);
	assert_null(b->inv.vdpas);
	assert_int_equal(vf(b, 0)->user, VF_FREE);
	put_vdpa("vdpa1", "pci/0000:04:00.0", vf_addr(1));
	fake_udev("vhost-vdpa", "vhost-vdpa-0", "add");
	turn(b);
	assert_int_equal(vf(b, 1)->user, VF_USER_VDPA);
	kernel.vdpa = false;
	fake_family_notify("vdpa", false);
	turn(b);
	assert_null(b->inv.vdpas);
	assert_null(b->inv.mgmtdevs);
	assert_int_equal(vf(b, 1)->user, VF_FREE);
}

/* The family comes with its module, and its event; what a second module brings has none. */
static void mgmtdevs_without_an_event(void **state)
{
	struct bed *b = *state;

	kernel.vdpa = true;
	bed_start(b);
	fake_udev("module", "vdpa_sim_net", "add");
	turn(b);
	assert_null(b->inv.mgmtdevs);
	strcpy(kernel.mgmtdev[kernel.n_mgmtdevs++].name, "vdpasim_net");
	fake_file("24\n", "class/mdev_bus/mtty/mdev_supported_types/mtty-1/available_instances");
	turn_until(b, b->inv.mgmtdevs && b->inv.mdevs);
}

/* Who would ask cannot be made: that is told, and nobody waits for it. */
static void nobody_to_ask_for_vdpa(void **state)
{
	struct bed *b = *state;
	struct rlimit limit, none;

	kernel.vdpa = true;
	vdpa_gate_always = false;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(watch_new(b->loop, &b->inv, &bed_ops, b, &b->watch), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int i = 0; i < 1000 && !b->synced; i++)
		assert_int_equal(loop_once(b->loop), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(b->synced, 1);
	assert_non_null(strstr(b->note, "to ask for vDPA devices (Too many open files)"));
	assert_true(waitpid(-1, NULL, WNOHANG) <= 0); /* nor was one made and left */
	vdpa_gate_always = true;
	strcpy(kernel.mgmtdev[kernel.n_mgmtdevs++].name, "vdpasim_net");
	fake_udev("vdpa", "vdpa0", "add");
	turn(b);
	assert_non_null(b->inv.mgmtdevs);
}

/* vnic.ko keeps a management device whose netdev has gone as long as its devices are in use. */
static void mgmtdev_that_lost_its_netdev(void **state)
{
	struct bed *b = *state;
	struct vdpa_mgmtdev *m;

	kernel.vdpa = true;
	add_pf(0);
	strcpy(kernel.mgmtdev[kernel.n_mgmtdevs++].name, "vnic/eth3");
	strcpy(kernel.mgmtdev[kernel.n_mgmtdevs++].name, "vnic/eth1");
	fake_file("eth3\n", "bus/vnic/devices/eth3/netdev");
	fake_file("\n", "bus/vnic/devices/eth1/netdev");
	bed_start(b);
	HASH_FIND_STR(b->inv.mgmtdevs, "vnic/eth1", m);
	assert_null(m);
	HASH_FIND_STR(b->inv.mgmtdevs, "vnic/eth3", m);
	assert_non_null(m);
	/* udev has no word on that. */
	fake_file("\n", "bus/vnic/devices/eth3/netdev");
	fake_link_del(PF_IFINDEX);
	turn(b);
	assert_null(b->inv.mgmtdevs);
}

static void mdev_types(void **state)
{
	struct bed *b = *state;
	struct mdev_type *t;

	fake_file("vfio-pci\n", "class/mdev_bus/mtty/mdev_supported_types/mtty-1/device_api");
	fake_file("24\n", "class/mdev_bus/mtty/mdev_supported_types/mtty-1/available_instances");
	fake_file("lots\n", "class/mdev_bus/mtty/mdev_supported_types/mtty-2/available_instances");
	bed_start(b);
	HASH_FIND_STR(b->inv.mdevs, "mtty/mtty-1", t);
	assert_non_null(t);
	assert_string_equal(t->parent, "mtty");
	assert_string_equal(t->device_api, "vfio-pci");
	assert_int_equal(t->available, 24);
	HASH_FIND_STR(b->inv.mdevs, "mtty/mtty-2", t);
	assert_non_null(t);
	assert_int_equal(t->available, 0);
	fake_file("23\n", "class/mdev_bus/mtty/mdev_supported_types/mtty-1/available_instances");
	fake_remove("class/mdev_bus/mtty/mdev_supported_types/mtty-2");
	fake_udev("mdev", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "add");
	turn(b);
	assert_int_equal(HASH_COUNT(b->inv.mdevs), 1);
	assert_int_equal(b->inv.mdevs->available, 23);
}

static void netdevsim(void **state)
{
	struct fake_link link = { .ifindex = 9,
				  .name = "eni1np1",
				  .bus = "netdevsim",
				  .dev = "netdevsim1",
				  .eswitch = DEVLINK_ESWITCH_MODE_LEGACY,
				  .n_vf = 2,
				  .vf = calloc(2, sizeof(*link.vf)) };
	struct fake_port port = { .bus = "netdevsim",
				  .dev = "netdevsim1",
				  .flavour = DEVLINK_PORT_FLAVOUR_PCI_VF,
				  .vf = 1,
				  .ifindex = 31 };
	struct bed *b = *state;
	const struct vnic_pf *p;

	assert_non_null(link.vf);
	link.vf[1].value[VF_VLAN] = 12;
	fake_link_set(&link, false);
	fake_file("2\n", "devices/netdevsim1/sriov_numvfs");
	fake_file("9\n", "devices/netdevsim1/net/eni1np1/ifindex");
	fake_symlink("../../../devices/netdevsim1", "bus/netdevsim/devices/netdevsim1");
	bed_start(b);
	p = inventory_pf(&b->inv, "netdevsim1");
	assert_non_null(p);
	assert_string_equal(p->bus, "netdevsim");
	assert_int_equal(p->ifindex, 9);
	assert_int_equal(p->total_vfs, 4);
	assert_int_equal(p->n_vf, 2);
	assert_true(p->vfs_complete);
	assert_string_equal(p->vf[1].addr, "");
	assert_int_equal(p->vf[1].value[VF_VLAN], 12);
	fake_link_find(9)->eswitch = DEVLINK_ESWITCH_MODE_SWITCHDEV;
	fake_port_notify(&port, true);
	turn(b);
	assert_int_equal(p->eswitch, ESWITCH_SWITCHDEV);
	fake_file("1\n", "devices/netdevsim1/sriov_numvfs");
	fake_link_find(9)->n_vf = 1;
	watch_refresh_pf(b->watch, "netdevsim1");
	turn(b);
	assert_int_equal(p->n_vf, 1);
	assert_true(p->vfs_complete);
}

static void more_vfs_than_fit_in_a_message(void **state)
{
	struct bed *b = *state;

	kernel.emsgsize = true;
	add_pf(8);
	bed_start(b);
	assert_true(pf(b)->vfs_complete);
	assert_int_equal(vf(b, 0)->known, 0);
	assert_non_null(strstr(b->note, "0 of its 8 VFs"));
	/* Told once, and forgotten when it fits. */
	b->note[0] = '\0';
	fake_link_notify(PF_IFINDEX);
	turn(b);
	assert_string_equal(b->note, "");
	kernel.emsgsize = false;
	fake_link_notify(PF_IFINDEX);
	turn(b);
	assert_true(vf(b, 0)->known);
}

static void list_of_vfs_that_is_cut(void **state)
{
	struct bed *b = *state;

	kernel.cut = true;
	add_pf(8);
	bed_start(b);
	assert_true(pf(b)->vfs_complete);
	assert_true(vf(b, 3)->known);
	assert_int_equal(vf(b, 4)->known, 0);
	assert_non_null(strstr(b->note, "4 of its 8 VFs"));
}

static void notifications_lost(void **state)
{
	struct fake_link *link;
	struct bed *b = *state;
	int synced;

	add_pf(2);
	bed_start(b);
	synced = b->synced;
	/* All of this in silence. */
	link = fake_link_find(PF_IFINDEX);
	link->vf[0].value[VF_MAC] = 0x525400000009;
	link->eswitch = DEVLINK_ESWITCH_MODE_SWITCHDEV;
	link->ntuple = FEATURE_ON;
	fake_link_find(VF_IFINDEX + 1)->up = true;
	fake_overrun();
	turn_until(b, b->synced > synced);
	turn(b);
	assert_int_equal(vf(b, 0)->value[VF_MAC], 0x525400000009);
	assert_int_equal(pf(b)->eswitch, ESWITCH_SWITCHDEV);
	assert_int_equal(pf(b)->ntuple, FEATURE_ON);
	assert_int_equal(vf(b, 1)->user, VF_USER_NETDEV);
	/* And udev's: devices that changed. */
	fake_driver(vf_addr(0), "vfio-pci");
	fake_udev_lost();
	turn(b);
	assert_int_equal(vf(b, 0)->user, VF_USER_DRIVER);
}

static void answers_that_do_not_come(void **state)
{
	struct bed *b = *state;

	add_pf(1);
	kernel.silent = true;
	assert_int_equal(watch_new(b->loop, &b->inv, &bed_ops, b, &b->watch), 0);
	turn(b);
	assert_int_equal(kernel.info_requests, 1);
	assert_false(b->inv.complete);
	assert_false(pf(b)->vfs_complete);
	/* Its answer was lost: asked again, and all goes on. */
	kernel.silent = false;
	fake_overrun();
	turn_until(b, b->synced);
	assert_true(pf(b)->vfs_complete);
}

/* A process may send to our sockets; so may the kernel, of things that we did not ask. */
static void datagrams_of_strangers(void **state)
{
	char buf[256] __attribute__((aligned(4))) = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	struct bed *b = *state;
	uint64_t generation;

	add_pf(1);
	bed_start(b);
	generation = b->inv.generation;
	nlh->nlmsg_type = RTM_DELLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = PF_IFINDEX;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "eth3");
	fake_datagram(NETLINK_ROUTE, buf, nlh->nlmsg_len, false);
	/* Cut within its header, of a length that is not there, of an unknown family. */
	for (size_t i = 1; i < sizeof(*nlh) + 4; i++)
		fake_datagram(NETLINK_GENERIC, buf, i, true);
	nlh->nlmsg_len = 2000;
	fake_datagram(NETLINK_GENERIC, buf, 200, true);
	nlh->nlmsg_len = 20;
	for (uint16_t type = 0; type < 64; type++) {
		nlh->nlmsg_type = type == NLMSG_OVERRUN ? 0 : type;
		fake_datagram(NETLINK_GENERIC, buf, 20, true);
	}
	turn(b);
	assert_int_equal(b->inv.generation, generation);
	assert_int_equal(pf(b)->ifindex, PF_IFINDEX);
}

#define RECORDS_MAX 64

static struct nlmsghdr *records[RECORDS_MAX];
static size_t n_records;

static void record(const struct nlmsghdr *nlh)
{
	if (n_records == RECORDS_MAX)
		return;
	records[n_records] = malloc(nlh->nlmsg_len);
	assert_non_null(records[n_records]);
	memcpy(records[n_records++], nlh, nlh->nlmsg_len);
}

/* With a folder named in VNIC_CORPUS, the fuzzer's corpus is written anew from what was played. */
static void write_corpus(const char *dir)
{
	for (size_t i = 0; i < n_records; i++) {
		char name[256];
		FILE *f;

		snprintf(name, sizeof(name), "%s/%02zu-type%u", dir, i, records[i]->nlmsg_type);
		f = fopen(name, "we");
		assert_non_null(f);
		fwrite(records[i], records[i]->nlmsg_len, 1, f);
		fclose(f);
	}
}

/* A true message cut at each length, and with each length field within it wrong. */
static void cut_and_bend(const struct nlmsghdr *nlh)
{
	static const uint16_t lengths[] = { 0, 1, 3, 4, 5, 0x7fff, 0xfffe, 0xffff };
	char *copy = malloc(nlh->nlmsg_len);

	assert_non_null(copy);
	memcpy(copy, nlh, nlh->nlmsg_len);
	for (uint32_t cut = sizeof(*nlh); cut <= nlh->nlmsg_len; cut++)
		parse_all(copy, cut);
	for (uint32_t at = sizeof(*nlh) + 4; at + 2 <= nlh->nlmsg_len; at += 4) {
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			memcpy(copy + at, &lengths[i], 2);
			parse_all(copy, nlh->nlmsg_len);
		}
		memcpy(copy + at, (const char *)nlh + at, 2);
	}
	free(copy);
}

/* One of each kind that the kernel answers with. */
static void messages_cut_and_bent(void **state)
{
	struct bed *b = *state;
	struct fake_link *link;

	n_records = 0;
	kernel.record = record;
	kernel.vdpa = true;
	add_pf(2);
	link = fake_link_find(PF_IFINDEX);
	link->vf[1].value[VF_VLAN] = 0x88a8LL << 16 | 12;
	link->vf[1].known = 1 << VF_SPOOFCHK | 1 << VF_TRUST | 1 << VF_RSS_QUERY;
	link->vf[1].value[VF_SPOOFCHK] = 1;
	link->eswitch = DEVLINK_ESWITCH_MODE_SWITCHDEV;
	link->ntuple = FEATURE_ON;
	link->fwd_offload = FEATURE_OFF_FIXED;
	link->channels_max = link->channels = 8;
	kernel.port[kernel.n_ports++] = (struct fake_port){ .bus = "pci",
							    .dev = PF,
							    .index = 1,
							    .flavour = DEVLINK_PORT_FLAVOUR_PCI_VF,
							    .vf = 1,
							    .ifindex = 7 };
	strcpy(kernel.mgmtdev[kernel.n_mgmtdevs++].name, "pci/0000:04:00.0");
	put_vdpa("vdpa0", "pci/0000:04:00.0", vf_addr(0));
	bed_start(b);
	kernel.record = NULL;
	assert_true(n_records >= 9);
	if (getenv("VNIC_CORPUS"))
		write_corpus(getenv("VNIC_CORPUS"));
	for (size_t i = 0; i < n_records; i++) {
		cut_and_bend(records[i]);
		free(records[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bed_test(switch_and_representors),
		bed_test(no_switch),
		bed_test(features_and_queues),
		bed_test(queues_that_vfs_take),
		bed_test(queues_for_vfs_made_again),
		bed_test(queues_of_a_netdev_that_comes),
		bed_test(families_that_are_absent),
		bed_test(vdpa_devices),
		bed_test(mgmtdevs_without_an_event),
		bed_test(nobody_to_ask_for_vdpa),
		bed_test(mgmtdev_that_lost_its_netdev),
		bed_test(mdev_types),
		bed_test(netdevsim),
		bed_test(more_vfs_than_fit_in_a_message),
		bed_test(list_of_vfs_that_is_cut),
		bed_test(notifications_lost),
		bed_test(answers_that_do_not_come),
		bed_test(datagrams_of_strangers),
		bed_test(messages_cut_and_bent),
	};

	return cmocka_run_group_tests_name("nics_ask", tests, NULL, NULL);
}
