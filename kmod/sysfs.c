// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/bus/vdpa/devices/NAME/vnic: the host's policy for a device, and what became of it. One value a file; `stats` one
 * counter a line, by direction, summed over the queues (one queue's: vdpa's vendor statistics).
 */
#include <linux/sysfs.h>

#include "vnic.h"

static struct vnic_dev *vnic_dev_of(struct device *dev)
{
	return vnic_of(dev_to_vdpa(dev));
}

static const char *const vnic_allow_words[] = { "mac", "vlan", "promisc", "allmulti", "multicast", "spoof" };
static_assert(VNIC_ALLOW_SPOOF == BIT(ARRAY_SIZE(vnic_allow_words) - 1));

/* Put @policy (and, unless NULL, @vlans) in force, or leave all as it was. */
static int vnic_policy_set(struct vnic_dev *d, const struct vnic_policy *policy, const unsigned long *vlans)
{
	DECLARE_BITMAP(vlans_was, VLAN_N_VID);
	struct vnic_policy was = d->policy;
	int err;

	bitmap_copy(vlans_was, d->allowed_vlans, VLAN_N_VID);
	d->policy = *policy;
	if (vlans)
		bitmap_copy(d->allowed_vlans, vlans, VLAN_N_VID);
	err = vnic_policy_changed(d);
	if (err) {
		d->policy = was;
		bitmap_copy(d->allowed_vlans, vlans_was, VLAN_N_VID);
	}
	return err;
}

/* A number of the policy, from @min to @max. */
#define VNIC_POLICY_NUMBER(name, field, min, max)                                                                      \
	static ssize_t name##_show(struct device *dev, struct device_attribute *attr, char *buf)                       \
	{                                                                                                              \
		return sysfs_emit(buf, "%llu\n", (u64)READ_ONCE(vnic_dev_of(dev)->policy.field));                      \
	}                                                                                                              \
	static ssize_t name##_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)  \
	{                                                                                                              \
		struct vnic_dev *d = vnic_dev_of(dev);                                                                 \
		struct vnic_policy policy;                                                                             \
		u64 value;                                                                                             \
		int err = kstrtou64(buf, 0, &value);                                                                   \
                                                                                                                       \
		if (err)                                                                                               \
			return err;                                                                                    \
		if (value < (min) || value > (max))                                                                    \
			return -ERANGE;                                                                                \
		mutex_lock(&d->lock);                                                                                  \
		policy = d->policy;                                                                                    \
		policy.field = value;                                                                                  \
		err = vnic_policy_set(d, &policy, NULL);                                                               \
		mutex_unlock(&d->lock);                                                                                \
		return err ?: count;                                                                                   \
	}                                                                                                              \
	static DEVICE_ATTR_RW(name)

VNIC_POLICY_NUMBER(vlan, vlan, 0ULL, VLAN_N_VID - 2ULL);
VNIC_POLICY_NUMBER(rate, rate, 0ULL, 1000000000000ULL);
VNIC_POLICY_NUMBER(weight, weight, 1ULL, 1000ULL);
VNIC_POLICY_NUMBER(link, link, 0ULL, 1ULL);

static ssize_t mac_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vnic_dev *d = vnic_dev_of(dev);
	u8 mac[ETH_ALEN];

	mutex_lock(&d->lock);
	ether_addr_copy(mac, rcu_dereference_protected(d->filter, lockdep_is_held(&d->lock))->mac);
	mutex_unlock(&d->lock);
	return sysfs_emit(buf, "%pM\n", mac);
}

static ssize_t mac_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	struct vnic_dev *d = vnic_dev_of(dev);
	u8 mac[ETH_ALEN];
	int err;

	if (!mac_pton(buf, mac))
		return -EINVAL;
	mutex_lock(&d->lock);
	err = vnic_policy_set_mac(d, mac);
	mutex_unlock(&d->lock);
	return err ?: count;
}
static DEVICE_ATTR_RW(mac);

static ssize_t vlans_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vnic_dev *d = vnic_dev_of(dev);
	ssize_t len;

	mutex_lock(&d->lock);
	len = sysfs_emit(buf, "%*pbl\n", VLAN_N_VID, d->allowed_vlans);
	mutex_unlock(&d->lock);
	return len;
}

static ssize_t vlans_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	struct vnic_dev *d = vnic_dev_of(dev);
	DECLARE_BITMAP(vlans, VLAN_N_VID);
	int err = bitmap_parselist(buf, vlans, VLAN_N_VID);

	if (err)
		return err;
	if (test_bit(0, vlans) || test_bit(VLAN_N_VID - 1, vlans))
		return -ERANGE;
	mutex_lock(&d->lock);
	err = vnic_policy_set(d, &d->policy, vlans);
	mutex_unlock(&d->lock);
	return err ?: count;
}
static DEVICE_ATTR_RW(vlans);

static ssize_t allow_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	u32 allow = READ_ONCE(vnic_dev_of(dev)->policy.allow);
	unsigned int i;
	int len = 0;

	for (i = 0; i < ARRAY_SIZE(vnic_allow_words); i++)
		if (allow & BIT(i))
			len += sysfs_emit_at(buf, len, "%s%s", len ? " " : "", vnic_allow_words[i]);
	return len + sysfs_emit_at(buf, len, "\n");
}

static ssize_t allow_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	struct vnic_dev *d = vnic_dev_of(dev);
	char *words = kstrndup(buf, count, GFP_KERNEL), *next = words, *word;
	struct vnic_policy policy;
	u32 allow = 0;
	int err = 0, i;

	if (!words)
		return -ENOMEM;
	while ((word = strsep(&next, " ,\n"))) {
		if (!*word)
			continue;
		i = match_string(vnic_allow_words, ARRAY_SIZE(vnic_allow_words), word);
		if (i < 0) {
			err = i;
			break;
		}
		allow |= BIT(i);
	}
	kfree(words);
	if (err)
		return err;
	mutex_lock(&d->lock);
	policy = d->policy;
	policy.allow = allow;
	err = vnic_policy_set(d, &policy, NULL);
	mutex_unlock(&d->lock);
	return err ?: count;
}
static DEVICE_ATTR_RW(allow);

static ssize_t denied_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(vnic_dev_of(dev)->denied));
}
static DEVICE_ATTR_RO(denied);

/* Empty: none was denied so far. */
static ssize_t mac_asked_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vnic_dev *d = vnic_dev_of(dev);
	u8 mac[ETH_ALEN];

	mutex_lock(&d->lock);
	ether_addr_copy(mac, d->mac_asked);
	mutex_unlock(&d->lock);
	return is_zero_ether_addr(mac) ? sysfs_emit(buf, "\n") : sysfs_emit(buf, "%pM\n", mac);
}
static DEVICE_ATTR_RO(mac_asked);

static ssize_t uplink_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct net_device *netdev;
	ssize_t len;

	/* Empty: it is gone. */
	rcu_read_lock();
	netdev = rcu_dereference(vnic_dev_of(dev)->up->netdev);
	len = sysfs_emit(buf, "%s\n", netdev ? netdev->name : "");
	rcu_read_unlock();
	return len;
}
static DEVICE_ATTR_RO(uplink);

/* Of the NIC: which one receives its frames, or "any" and why. */
static ssize_t queue_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vnic_steer_show(vnic_dev_of(dev), buf);
}
static DEVICE_ATTR_RO(queue);

/* Queue pairs in use, as the guest set them. */
static ssize_t pairs_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(vnic_dev_of(dev)->pairs));
}
static DEVICE_ATTR_RO(pairs);

/* virtio's device status, 0: nobody uses it; with "suspended" where it is. */
static ssize_t status_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vnic_dev *d = vnic_dev_of(dev);

	return sysfs_emit(buf, "0x%02x%s\n", READ_ONCE(d->status), READ_ONCE(d->suspended) ? " suspended" : "");
}
static DEVICE_ATTR_RO(status);

static ssize_t stats_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct vnic_dev *d = vnic_dev_of(dev);
	unsigned int n, i, dir;
	const char *name;
	u64 value, sum;
	int len = 0;

	for (dir = 0; dir < 2; dir++)
		for (n = 0; (name = vnic_vq_stat(&d->vq[0], n, &value)); n++) {
			for (sum = 0, i = dir; i < 2 * d->pairs_max; i += 2) {
				vnic_vq_stat(&d->vq[i], n, &value);
				sum += value;
			}
			len += sysfs_emit_at(buf, len, "%s_%s %llu\n", dir ? "tx" : "rx", name, sum);
		}
	return len;
}
static DEVICE_ATTR_RO(stats);

static struct attribute *vnic_attrs[] = {
	&dev_attr_mac.attr,	  &dev_attr_vlan.attr,	 &dev_attr_vlans.attr,	&dev_attr_allow.attr,
	&dev_attr_rate.attr,	  &dev_attr_weight.attr, &dev_attr_link.attr,	&dev_attr_stats.attr,
	&dev_attr_denied.attr,	  &dev_attr_mac_asked.attr, &dev_attr_uplink.attr, &dev_attr_pairs.attr,
	&dev_attr_status.attr,	  &dev_attr_queue.attr,	 NULL,
};

static const struct attribute_group vnic_group = {
	.name = "vnic",
	.attrs = vnic_attrs,
};

const struct attribute_group *vnic_dev_groups[] = { &vnic_group, NULL };
