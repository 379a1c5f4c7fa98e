/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/vdpa.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <linux/vdpa.h>

#include "daemon/sys/mdev.h"
#include "daemon/sys/sysfs.h"
#include "daemon/sys/vdpa_gate.h"

/* A device on a PCI function. */
struct user {
	char addr[DEV_ADDR_MAX];
	char name[VNIC_NAME_MAX];
	UT_hash_handle hh;
};

/* Looks after an event: 0.1, 0.5, 2.1, 8.5 s after it. */
#define LOOK_USEC 100000
#define LOOKS	  4
/* For so long the host's first inventory waits for a family that does not answer. */
#define LATE_USEC 2000000

struct vdpa_watch {
	struct inventory *inv;
	struct genl *genl;
	const struct vdpa_ops *ops;
	void *userdata;
	struct genl_family family;
	struct loop_source *timer, *later;
	unsigned int looks; /* since the last event, by @later */
	bool wanted; /* the timer runs */
	bool asking; /* whether the family answers */
	bool told; /* that it does not */
	struct vdpa_gate *gate;
	struct loop_source *late;
	bool again; /* all is to be asked for once more when the answers are there */
	int under_way; /* dumps */
	/* What the running dumps told so far. */
	struct vdpa_mgmtdev *mgmtdevs;
	struct vdpa_dev *devs;
	struct user *users; /* by addr */
};

/* The three take whole hashes: what @fresh has is put into the inventory, what it lacks leaves it. */
#define TAKE_FUNCTION(name, type, head, key)                                               \
	static bool take_##name(struct inventory *inv, struct type **fresh, bool complete) \
	{                                                                                  \
		struct type *x, *tmp, *there;                                              \
		bool changed = false;                                                      \
                                                                                           \
		for (x = inv->head; complete && x; x = tmp) {                              \
			tmp = x->hh.next;                                                  \
			HASH_FIND_STR(*fresh, x->key, there);                              \
			if (!there)                                                        \
				changed |= inventory_remove_##name(inv, x->key) > 0;       \
		}                                                                          \
		HASH_ITER(hh, *fresh, x, tmp)                                              \
		{                                                                          \
			HASH_DEL(*fresh, x);                                               \
			if (complete)                                                      \
				changed |= inventory_upsert_##name(inv, x) > 0;            \
			free(x);                                                           \
		}                                                                          \
		return changed;                                                            \
	}

TAKE_FUNCTION(mgmtdev, vdpa_mgmtdev, mgmtdevs, name)
TAKE_FUNCTION(vdpa, vdpa_dev, vdpas, name)

/* The PF that management device "BUS/DEV" is, or whose VF it is or stands on. */
static void find_pf(struct vdpa_mgmtdev *m)
{
	_cleanup_(closep) int fd = -1;
	char bus[MGMTDEV_NAME_MAX], addr[DEV_ADDR_MAX], *slash;

	strcpy(bus, m->name);
	slash = strchr(bus, '/');
	if (!slash)
		return;
	*slash = '\0';
	if (!sysfs_function_of(bus, slash + 1, addr, sizeof(addr)))
		return;
	fd = sysfs_open_device("pci", addr);
	if (fd < 0 || !sysfs_link(fd, "physfn", m->pf, sizeof(m->pf)))
		strcpy(m->pf, addr);
}

/*
 * Has vnic.ko's management device @name lost its netdev? It stays while its devices are in use, and makes none: as if it
 * were not there, though the netdev be back.
 */
static bool lost_netdev(const char *name)
{
	_cleanup_(closep) int fd = -1;
	char netdev[IF_NAMESIZE + 1];

	if (!mgmtdev_is_vnic(name))
		return false;
	fd = sysfs_open_device("vnic", name + strlen(VNIC_MGMTDEV));
	return fd >= 0 && sysfs_text(fd, "netdev", netdev, sizeof(netdev)) && !*netdev;
}

static void find_node(int fd, char *ret, size_t size)
{
	_cleanup_(closedirp) DIR *dir = sysfs_dir_at(fd, ".");
	const struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (!strncmp(e->d_name, "vhost-vdpa-", strlen("vhost-vdpa-")) &&
		    str_copy(ret, size, e->d_name) == 0)
			return;
}

static void fill_dev(struct vdpa_dev *dev)
{
	_cleanup_(closep) int fd = sysfs_open_device("vdpa", dev->name);

	if (fd < 0)
		return;
	if (!sysfs_link(fd, "driver", dev->driver, sizeof(dev->driver)))
		memset(dev->driver, 0, sizeof(dev->driver));
	find_node(fd, dev->node, sizeof(dev->node));
}

const char *vdpa_on(const struct vdpa_watch *v, const char *addr)
{
	struct user *u;

	HASH_FIND_STR(v->users, addr, u);
	return u ? u->name : NULL;
}

/* Which functions have devices now; tells of those where that changed. */
static void take_users(struct vdpa_watch *v)
{
	struct user *old = take_ptr(v->users), *u, *tmp;

	for (const struct vdpa_dev *dev = v->inv->vdpas; dev; dev = dev->hh.next) {
		char addr[DEV_ADDR_MAX];

		if (!sysfs_function_of("vdpa", dev->name, addr, sizeof(addr)) || vdpa_on(v, addr))
			continue;
		u = calloc(1, sizeof(*u));
		if (!u)
			break;
		strcpy(u->addr, addr);
		strcpy(u->name, dev->name);
		HASH_ADD_STR(v->users, addr, u);
	}
	for (u = v->users; u; u = u->hh.next) {
		HASH_FIND_STR(old, u->addr, tmp);
		if (!tmp || !str_eq(tmp->name, u->name))
			v->ops->function(v->userdata, u->addr);
	}
	HASH_ITER(hh, old, u, tmp)
	{
		HASH_DEL(old, u);
		if (!vdpa_on(v, u->addr))
			v->ops->function(v->userdata, u->addr);
		free(u);
	}
}

static void on_mgmtdev(void *userdata, const struct nlcall_about *about, const struct nlmsghdr *nlh)
{
	struct vdpa_watch *v = userdata;
	struct vdpa_mgmtdev *m = malloc(sizeof(*m)), *old;

	(void)about;
	if (!m || vdpa_parse_mgmtdev(nlh, m) < 0 || lost_netdev(m->name)) {
		free(m);
		return;
	}
	find_pf(m);
	HASH_FIND_STR(v->mgmtdevs, m->name, old);
	if (old)
		free(m);
	else
		HASH_ADD_STR(v->mgmtdevs, name, m);
}

static void on_dev(void *userdata, const struct nlcall_about *about, const struct nlmsghdr *nlh)
{
	struct vdpa_watch *v = userdata;
	struct vdpa_dev *dev = malloc(sizeof(*dev)), *old;

	(void)about;
	if (!dev || vdpa_parse_dev(nlh, dev) < 0) {
		free(dev);
		return;
	}
	fill_dev(dev);
	HASH_FIND_STR(v->devs, dev->name, old);
	if (old)
		free(dev);
	else
		HASH_ADD_STR(v->devs, name, dev);
}

static void want(struct vdpa_watch *v)
{
	if (v->wanted)
		return;
	v->wanted = true;
	loop_timer_set(v->timer, 0);
}

static void dump_done(struct vdpa_watch *v, int error)
{
	/* Asked when the module went: nothing is there, and the family's user has been told. */
	if (error < 0 && error != -ENOENT && error != -EOPNOTSUPP)
		v->again = true;
	if (--v->under_way > 0)
		return;
	if (v->again)
		want(v);
	else
		v->ops->idle(v->userdata);
}

static void on_mgmtdevs_done(void *userdata, const struct nlcall_about *about, int error)
{
	struct vdpa_watch *v = userdata;

	(void)about;
	if (take_mgmtdev(v->inv, &v->mgmtdevs, error == 0))
		v->ops->changed(v->userdata);
	dump_done(v, error);
}

static void on_devs_done(void *userdata, const struct nlcall_about *about, int error)
{
	struct vdpa_watch *v = userdata;

	(void)about;
	if (take_vdpa(v->inv, &v->devs, error == 0))
		v->ops->changed(v->userdata);
	if (error == 0)
		take_users(v);
	dump_done(v, error);
}

static void ask(struct vdpa_watch *v, uint8_t cmd, const struct nlcall_ops *ops)
{
	static const struct nlcall_about about;
	char buf[GENL_REQUEST_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));

	if (genl_call(v->genl, genl_request(buf, &v->family, cmd, true), &about, ops, v) == 0)
		v->under_way++;
}

/* What is known stays, and nobody waits for more. */
static void without_answer(struct vdpa_watch *v, int level, const char *why)
{
	if (!v->told)
		v->ops->note(v->userdata, level, why);
	v->told = true;
	v->ops->idle(v->userdata);
}

static void on_timer(void *userdata)
{
	struct vdpa_watch *v = userdata;
	char why[160];
	int r;

	v->wanted = false;
	r = mdev_read(v->inv);
	if (r > 0)
		v->ops->changed(v->userdata);
	else if (r < 0)
		v->ops->note(v->userdata, LOG_ERR,
			     "out of memory: mdev types in the inventory are old");
	if (!v->family.id) {
		v->ops->idle(v->userdata);
		return;
	}
	if (v->under_way) {
		v->again = true;
		return;
	}
	r = vdpa_gate_ask(v->gate, v->family.id);
	if (r < 0) {
		snprintf(why, sizeof(why),
			 "no process can be made to ask for vDPA devices (%s): they are read anew "
			 "with "
			 "the next event",
			 strerror(-r));
		without_answer(v, LOG_ERR, why);
		return;
	}
	v->asking = true;
	loop_timer_set(v->late, LATE_USEC);
}

static void on_open(void *userdata)
{
	static const struct nlcall_ops mgmtdevs = { on_mgmtdev, on_mgmtdevs_done },
				       devs = { on_dev, on_devs_done };
	struct vdpa_watch *v = userdata;

	v->asking = v->again = v->told = false;
	loop_timer_stop(v->late);
	if (!v->family.id)
		v->ops->idle(v->userdata);
	if (!v->family.id || v->under_way)
		return;
	ask(v, VDPA_CMD_MGMTDEV_GET, &mgmtdevs);
	ask(v, VDPA_CMD_DEV_GET, &devs);
}

/* Somebody deletes a device that is in use. What is not known is found out once that is over. */
static void on_late(void *userdata)
{
	struct vdpa_watch *v = userdata;

	v->asking = false;
	without_answer(v, LOG_NOTICE,
		       "the kernel does not answer about vDPA devices: somebody deletes one that "
		       "is in use ('vdpa dev del'); "
		       "they are read anew once it answers");
}

static void on_later(void *userdata)
{
	struct vdpa_watch *v = userdata;

	want(v);
	if (++v->looks < LOOKS)
		loop_timer_set(v->later, (uint64_t)LOOK_USEC << 2 * v->looks);
}

/*
 * A management device comes without an event of its own, and so may mdev types: some time after what their driver's
 * module, or its binding, was told of.
 */
void vdpa_resync(struct vdpa_watch *v)
{
	want(v);
	v->looks = 0;
	loop_timer_set(v->later, LOOK_USEC);
}

void vdpa_link_gone(struct vdpa_watch *v, const char *ifname)
{
	char name[MGMTDEV_NAME_MAX];
	struct vdpa_mgmtdev *m;

	snprintf(name, sizeof(name), VNIC_MGMTDEV "%s", ifname);
	HASH_FIND_STR(v->inv->mgmtdevs, name, m);
	if (m)
		want(v);
}

bool vdpa_idle(const struct vdpa_watch *v)
{
	return !v->wanted && !v->under_way && !v->asking;
}

static void on_appeared(void *userdata)
{
	vdpa_resync(userdata);
}

/* The module went, and what it made with it. */
static void on_vanished(void *userdata)
{
	struct vdpa_watch *v = userdata;
	struct vdpa_mgmtdev *no_mgmtdevs = NULL;
	struct vdpa_dev *no_devs = NULL;
	bool changed = take_mgmtdev(v->inv, &no_mgmtdevs, true);

	changed |= take_vdpa(v->inv, &no_devs, true);
	take_users(v);
	if (changed)
		v->ops->changed(v->userdata);
}

int vdpa_new(struct loop *loop, struct inventory *inv, struct genl *genl,
	     const struct vdpa_ops *ops, void *userdata, struct vdpa_watch **ret)
{
	_cleanup_(vdpa_freep) struct vdpa_watch *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	v->inv = inv;
	v->genl = genl;
	v->ops = ops;
	v->userdata = userdata;
	v->family = (struct genl_family){ .name = VDPA_GENL_NAME,
					  .version = VDPA_GENL_VERSION,
					  .appeared = on_appeared,
					  .vanished = on_vanished,
					  .userdata = v };
	r = loop_add_timer(loop, on_timer, v, &v->timer);
	if (r == 0)
		r = loop_add_timer(loop, on_later, v, &v->later);
	if (r == 0)
		r = loop_add_timer(loop, on_late, v, &v->late);
	if (r == 0)
		r = vdpa_gate_new(loop, on_open, v, &v->gate);
	if (r == 0)
		r = genl_follow(genl, &v->family);
	if (r < 0)
		return r;
	vdpa_resync(v);
	*ret = take_ptr(v);
	return 0;
}

struct vdpa_watch *vdpa_free(struct vdpa_watch *v)
{
	struct user *u, *tmp;

	if (!v)
		return NULL;
	loop_source_free(v->timer);
	loop_source_free(v->later);
	loop_source_free(v->late);
	vdpa_gate_free(v->gate);
	take_mgmtdev(v->inv, &v->mgmtdevs, false);
	take_vdpa(v->inv, &v->devs, false);
	HASH_ITER(hh, v->users, u, tmp)
	{
		HASH_DEL(v->users, u);
		free(u);
	}
	free(v);
	return NULL;
}
