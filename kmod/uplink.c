// SPDX-License-Identifier: GPL-2.0
/*
 * Uplinks: netdevs of the initial namespace that carry devices.
 *
 *   echo eth0 > /sys/bus/vnic/new_uplink     # /sys/bus/vnic/devices/eth0, management device vnic/eth0, mdev type vnic-net
 *   echo eth0 > /sys/bus/vnic/del_uplink     # busy while a driver uses one of its devices
 *
 * A netdev that is unregistered, or moves to another namespace, is let go at once: hooks off, its filters taken back, no
 * reference left that its removal would wait for. The uplink stays, without a netdev, and its devices without a link, until
 * no driver uses them; then all of it goes (gone_work). Not earlier: deleting a device waits until its /dev/vhost-vdpa is
 * closed, and holds vDPA's lock meanwhile.
 */
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <net/net_namespace.h>

#include "switch.h"

static DEFINE_MUTEX(vnic_uplink_mutex);
static LIST_HEAD(vnic_uplinks); /* changed under the mutex and rtnl, read under either */
static struct device *vnic_root;
static bool exiting; /* under the mutex: the bus's files outlive the last uplink */

static struct vnic_uplink *to_uplink(struct device *dev)
{
	return container_of(dev, struct vnic_uplink, dev);
}

/* ---- the devices of the bus ---- */

static ssize_t netdev_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct net_device *netdev;
	ssize_t n;

	rcu_read_lock();
	netdev = rcu_dereference(to_uplink(dev)->netdev);
	n = sysfs_emit(buf, "%s\n", netdev ? netdev->name : "");
	rcu_read_unlock();
	return n;
}
static DEVICE_ATTR_RO(netdev);

static ssize_t ndevs_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(to_uplink(dev)->ndevs));
}
static DEVICE_ATTR_RO(ndevs);

static ssize_t stats_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vnic_uplink *up = to_uplink(dev);
	struct vnic_uplink_stats sum = {};
	ssize_t n = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct vnic_uplink_stats *s = per_cpu_ptr(up->stats, cpu);

#define X(name) sum.name += READ_ONCE(s->name);
		VNIC_UPLINK_STATS(X)
#undef X
	}
#define X(name) n += sysfs_emit_at(buf, n, #name " %llu\n", sum.name);
	VNIC_UPLINK_STATS(X)
#undef X
	return n;
}
static DEVICE_ATTR_RO(stats);

static struct attribute *uplink_attrs[] = {
	&dev_attr_netdev.attr,
	&dev_attr_ndevs.attr,
	&dev_attr_stats.attr,
	NULL,
};
ATTRIBUTE_GROUPS(uplink);

static void uplink_release(struct device *dev)
{
	struct vnic_uplink *up = to_uplink(dev);

	vnic_sort_exit(up);
	free_percpu(up->stats);
	kfree(up);
	vnic_object_freed();
}

/* ---- the netdev's side ---- */

/* rtnl or the mutex held. */
static struct vnic_uplink *uplink_of(const struct net_device *netdev)
{
	struct vnic_uplink *up;

	list_for_each_entry(up, &vnic_uplinks, node)
		if (rcu_access_pointer(up->netdev) == netdev)
			return up;
	return NULL;
}

static struct vnic_uplink *uplink_named(const char *name)
{
	struct vnic_uplink *up;

	list_for_each_entry(up, &vnic_uplinks, node)
		if (!strcmp(dev_name(&up->dev), name))
			return up;
	return NULL;
}

static bool uplink_in_use(struct vnic_uplink *up)
{
	struct vnic_dev *d;
	bool used = false;

	spin_lock_bh(&up->lock);
	list_for_each_entry(d, &up->devs, node)
		used |= READ_ONCE(d->module_held);
	spin_unlock_bh(&up->lock);
	return used;
}

/* The devices look at the netdev anew; rtnl held. */
static void uplink_changed(struct vnic_uplink *up)
{
	struct vnic_dev *d;

	ASSERT_RTNL();
	list_for_each_entry(d, &up->devs, node)
		vnic_dev_uplink_changed(d);
}

static int uplink_hook(struct vnic_uplink *up, struct net_device *netdev)
{
	/* Last: what the host's administrator filters on this netdev holds for its devices, too. */
	const struct nf_hook_ops ops = { .dev = netdev, .priv = up, .pf = NFPROTO_NETDEV, .priority = INT_MAX };
	int err;

	ASSERT_RTNL();
	up->ingress = ops;
	up->ingress.hook = vnic_hook_ingress;
	up->ingress.hooknum = NF_NETDEV_INGRESS;
	up->egress = ops;
	up->egress.hook = vnic_hook_egress;
	up->egress.hooknum = NF_NETDEV_EGRESS;
	err = nf_register_net_hook(&init_net, &up->ingress);
	if (err)
		return err;
	err = nf_register_net_hook(&init_net, &up->egress);
	if (err)
		nf_unregister_net_hook(&init_net, &up->ingress);
	up->hooked = !err;
	return err;
}

/* Let go of the netdev. rtnl held. */
static void uplink_detach(struct vnic_uplink *up)
{
	struct net_device *netdev = rtnl_dereference(up->netdev);

	if (!netdev)
		return;
	if (up->hooked) {
		nf_unregister_net_hook(&init_net, &up->egress);
		nf_unregister_net_hook(&init_net, &up->ingress);
		up->hooked = false;
	}
	vnic_nic_forget(up, netdev);
	RCU_INIT_POINTER(up->netdev, NULL);
	/* Hooks and the scheduler look at it under RCU, also while they are in its transmit function. */
	synchronize_net();
	netdev_put(netdev, &up->tracker);
}

static int uplink_attach(struct vnic_uplink *up, const char *name)
{
	struct net_device *netdev;
	int err;

	ASSERT_RTNL();
	netdev = __dev_get_by_name(&init_net, name);
	if (!netdev || netdev->reg_state != NETREG_REGISTERED)
		return -ENODEV;
	if (netdev->type != ARPHRD_ETHER || netdev->addr_len != ETH_ALEN || netdev->flags & IFF_LOOPBACK)
		return -EINVAL;
	if (uplink_of(netdev))
		return -EEXIST;
	/* One whose netdev is gone and whose devices are still in use: they are found by its name. */
	if (uplink_named(netdev->name))
		return -EBUSY;
	err = dev_set_name(&up->dev, "%s", netdev->name);
	if (err)
		return err;
	netdev_hold(netdev, &up->tracker, GFP_KERNEL);
	rcu_assign_pointer(up->netdev, netdev);
	/* Frames put together by the NIC have lost what would tell how to take them apart. */
	dev_disable_lro(netdev);
	err = uplink_hook(up, netdev);
	if (err)
		goto detach;
	err = device_add(&up->dev);
	if (err)
		goto detach;
	up->added = true;
	list_add_tail(&up->node, &vnic_uplinks);
	return 0;

detach:
	uplink_detach(up);
	return err;
}

/* ---- life ---- */

/* All but its memory, which goes with the last reference; what was never made is left out. The mutex held. */
static void uplink_take_down(struct vnic_uplink *up)
{
	up->closing = true;
	if (up->mdev_up)
		vnic_mdev_unregister(up);
	if (up->mgmt_up)
		vnic_mgmt_unregister(up);
	/* No device is left. */
	rtnl_lock();
	uplink_detach(up);
	if (up->added) {
		list_del(&up->node);
		device_del(&up->dev);
	}
	rtnl_unlock();
	vnic_nic_exit(up);
	vnic_tx_exit(up);
	vnic_rx_exit(up);
}

static void gone_work(struct work_struct *work)
{
	struct vnic_uplink *up = container_of(to_delayed_work(work), struct vnic_uplink, gone_work);

	mutex_lock(&vnic_uplink_mutex);
	if (up->closing) {
		mutex_unlock(&vnic_uplink_mutex); /* whoever closes it waits for us, then lets go of it */
		return;
	}
	if (uplink_in_use(up)) {
		mutex_unlock(&vnic_uplink_mutex);
		queue_delayed_work(vnic_wq, &up->gone_work, HZ);
		return;
	}
	uplink_take_down(up);
	mutex_unlock(&vnic_uplink_mutex);
	put_device(&up->dev);
}

static struct vnic_uplink *uplink_alloc(void)
{
	struct vnic_uplink *up = kzalloc(sizeof(*up), GFP_KERNEL);

	if (!up)
		return NULL;
	up->stats = alloc_percpu(struct vnic_uplink_stats);
	if (!up->stats || vnic_sort_init(up)) {
		free_percpu(up->stats);
		kfree(up);
		return NULL;
	}
	INIT_LIST_HEAD(&up->devs);
	spin_lock_init(&up->lock);
	INIT_DELAYED_WORK(&up->gone_work, gone_work);
	device_initialize(&up->dev);
	vnic_object_new();
	return up;
}

static int uplink_set_up(struct vnic_uplink *up, const char *name)
{
	int err = vnic_nic_init(up);

	if (!err)
		err = vnic_rx_init(up);
	if (!err)
		err = vnic_tx_init(up);
	if (err)
		return err;
	rtnl_lock();
	err = uplink_attach(up, name);
	rtnl_unlock();
	if (err)
		return err;
	err = vnic_mgmt_register(up);
	if (err)
		return err;
	up->mgmt_up = true;
	err = vnic_mdev_register(up);
	up->mdev_up = !err;
	return err;
}

static const struct bus_type vnic_bus;

static int uplink_new(const char *name)
{
	struct vnic_uplink *up = uplink_alloc();
	int err;

	if (!up)
		return -ENOMEM;
	up->dev.bus = &vnic_bus;
	up->dev.parent = vnic_root;
	up->dev.release = uplink_release;
	up->dev.groups = uplink_groups;
	mutex_lock(&vnic_uplink_mutex);
	err = exiting ? -ENODEV : uplink_set_up(up, name);
	if (err)
		uplink_take_down(up);
	mutex_unlock(&vnic_uplink_mutex);
	if (err) {
		cancel_delayed_work_sync(&up->gone_work);
		put_device(&up->dev);
	}
	return err;
}

/* Take the first uplink of @name, or any where @name is NULL, down. @force: whether it is in use or not. */
static int uplink_del(const char *name, bool force)
{
	struct vnic_uplink *up, *found = NULL;

	mutex_lock(&vnic_uplink_mutex);
	list_for_each_entry(up, &vnic_uplinks, node)
		if (!name || !strcmp(dev_name(&up->dev), name)) {
			found = up;
			break;
		}
	if (!found) {
		mutex_unlock(&vnic_uplink_mutex);
		return -ENODEV;
	}
	if (!force && uplink_in_use(found)) {
		mutex_unlock(&vnic_uplink_mutex);
		return -EBUSY;
	}
	uplink_take_down(found);
	mutex_unlock(&vnic_uplink_mutex);
	cancel_delayed_work_sync(&found->gone_work);
	put_device(&found->dev);
	return 0;
}

/* ---- the bus ---- */

static int name_of(const char *buf, char *name)
{
	if (strscpy(name, buf, IFNAMSIZ + 1) < 0)
		return -EINVAL;
	strim(name);
	return dev_valid_name(name) ? 0 : -EINVAL;
}

static ssize_t new_uplink_store(const struct bus_type *bus, const char *buf, size_t count)
{
	char name[IFNAMSIZ + 1];
	int err = name_of(buf, name);

	if (!err)
		err = uplink_new(name);
	return err ?: count;
}
static BUS_ATTR_WO(new_uplink);

static ssize_t del_uplink_store(const struct bus_type *bus, const char *buf, size_t count)
{
	char name[IFNAMSIZ + 1];
	int err = name_of(buf, name);

	if (!err)
		err = uplink_del(name, false);
	return err ?: count;
}
static BUS_ATTR_WO(del_uplink);

static struct attribute *vnic_bus_attrs[] = {
	&bus_attr_new_uplink.attr,
	&bus_attr_del_uplink.attr,
	NULL,
};
ATTRIBUTE_GROUPS(vnic_bus);

static const struct bus_type vnic_bus = {
	.name = "vnic",
	.bus_groups = vnic_bus_groups,
};

/* ---- events ---- */

/* The link to @up in @folder below @dir of sysfs, that was called @was, by its new name. -ENOENT: there is none. */
static int rename_link(struct vnic_uplink *up, struct kernfs_node *dir, const char *folder, const char *was)
{
	struct kernfs_node *found = dir ? kernfs_find_and_get(dir, folder) : NULL;
	int err = found ? sysfs_rename_link(found->priv, &up->dev.kobj, was, dev_name(&up->dev)) : -ENOENT;

	kernfs_put(found);
	return err;
}

/*
 * device_rename() leaves links to the device as they were: nobody but network devices, which have a class, is renamed in the
 * kernel itself. Left so, those in /sys/bus/vnic/devices and /sys/class/mdev_bus would stay for good, and the old name would be
 * taken for the next one. Their folders are known to nobody but the driver and the mdev core; sysfs finds them.
 */
static int uplink_rename(struct vnic_uplink *up, const char *name)
{
	struct kset *bus = bus_get_kset(&vnic_bus); /* not counted */
	char *was = kstrdup(dev_name(&up->dev), GFP_KERNEL);
	struct kernfs_node *class;
	int err = bus && was ? device_rename(&up->dev, name) : -ENOMEM;

	if (!err)
		err = rename_link(up, bus->kobj.sd, "devices", was);
	if (!err) {
		/* /sys/bus/vnic, /sys/bus, /sys: none of them ever moves. */
		class = kernfs_find_and_get(bus->kobj.sd->parent->parent, "class");
		rename_link(up, class, "mdev_bus", was);
		kernfs_put(class);
	}
	kfree(was);
	return err;
}

/* A device that has @mac, on an uplink that is @netdev or a port of it. */
static struct vnic_dev *dev_with_mac(const struct net_device *netdev, const u8 *mac)
{
	struct vnic_uplink *up;
	struct vnic_dev *d;

	list_for_each_entry(up, &vnic_uplinks, node) {
		struct net_device *own = rtnl_dereference(up->netdev);

		if (!own || (own != netdev && netdev_master_upper_dev_get(own) != netdev))
			continue;
		list_for_each_entry(d, &up->devs, node)
			if (vnic_dev_has_mac(d, mac))
				return d;
	}
	return NULL;
}

/*
 * The host's MAC is to become @mac. One of a device is refused: its frames would be the host's or the host's its, and who
 * has it may be running. The device has to be given another one first, or its guest denied it.
 */
static int refuse_mac(const struct net_device *netdev, const u8 *mac, struct netlink_ext_ack *extack)
{
	struct vnic_dev *d = ether_addr_equal(mac, netdev->dev_addr) ? NULL : dev_with_mac(netdev, mac);

	if (!d)
		return NOTIFY_DONE;
	NL_SET_ERR_MSG_FMT_MOD(extack, "vDPA device %s has that MAC", d->name);
	return notifier_from_errno(-EADDRINUSE);
}

/* It has become one unasked, as a bridge takes its ports'. The device keeps its frames. */
static void warn_of_mac(const struct net_device *netdev)
{
	struct vnic_dev *d = dev_with_mac(netdev, netdev->dev_addr);

	if (d)
		netdev_warn(netdev, "vDPA device %s has its MAC, too: it takes the frames that the uplink receives for it\n", d->name);
}

static int netdev_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct net_device *netdev = netdev_notifier_info_to_dev(ptr);
	struct vnic_uplink *up = uplink_of(netdev);

	switch (event) {
	case NETDEV_PRE_CHANGEADDR:
		return refuse_mac(netdev, ((struct netdev_notifier_pre_changeaddr_info *)ptr)->dev_addr,
				  netdev_notifier_info_to_extack(ptr));
	case NETDEV_CHANGEADDR:
		warn_of_mac(netdev);
		return NOTIFY_DONE;
	case NETDEV_CHANGEUPPER:
		if (up && netdev_master_upper_dev_get(netdev))
			warn_of_mac(netdev_master_upper_dev_get(netdev));
		return NOTIFY_DONE;
	}
	if (!up)
		return NOTIFY_DONE;
	switch (event) {
	case NETDEV_UNREGISTER: /* also on the way into another namespace */
		uplink_detach(up);
		uplink_changed(up);
		queue_delayed_work(vnic_wq, &up->gone_work, 0);
		break;
	case NETDEV_CHANGENAME:
		if (uplink_rename(up, netdev->name))
			dev_warn(&up->dev, "cannot be renamed as %s was\n", netdev->name);
		uplink_changed(up);
		break;
	case NETDEV_FEAT_CHANGE:
		/* With the feature goes the NIC's table. */
		up->steer_anew = true;
		vnic_nic_update(up);
		break;
	case NETDEV_UP:
		/* Some lose it as they close, and some take rules while they are open only. */
		up->steer_anew = true;
		vnic_nic_update(up);
		fallthrough;
	case NETDEV_DOWN:
	case NETDEV_CHANGE:
	case NETDEV_CHANGEMTU:
		uplink_changed(up);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block netdev_notifier = {
	.notifier_call = netdev_event,
};

int vnic_uplinks_init(void)
{
	int err;

	vnic_root = root_device_register("vnic");
	if (IS_ERR(vnic_root))
		return PTR_ERR(vnic_root);
	err = register_netdevice_notifier(&netdev_notifier);
	if (err)
		goto root;
	err = bus_register(&vnic_bus);
	if (err)
		goto notifier;
	return 0;

notifier:
	unregister_netdevice_notifier(&netdev_notifier);
root:
	root_device_unregister(vnic_root);
	return err;
}

/* No device is in use: one that is holds a reference on the module. */
void vnic_uplinks_exit(void)
{
	mutex_lock(&vnic_uplink_mutex);
	exiting = true;
	mutex_unlock(&vnic_uplink_mutex);
	while (!uplink_del(NULL, true))
		;
	unregister_netdevice_notifier(&netdev_notifier);
	bus_unregister(&vnic_bus);
	root_device_unregister(vnic_root);
	/*
	 * Tables and ports are freed by RCU callbacks of the kernel's own: nothing of ours is called. But a completion that let
	 * go of the module a moment ago (zc.c) may not have returned yet.
	 */
	synchronize_rcu();
}
