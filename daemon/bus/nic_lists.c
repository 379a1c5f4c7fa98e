/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Methods of org.vnicd1.Nic that list what there may be thousands of: properties of that size would be sent to
 * everybody with each change of one. What they answer is read from the inventory when asked.
 */
#include "daemon/bus/priv.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* So that no call keeps the loop for long. */
#define VFS_PER_CALL 512

/* The nic that a method was called of is the bus' last found. */
static struct bus *bus_of(void *userdata)
{
	return (struct bus *)((char *)userdata - offsetof(struct bus, nic));
}

const struct vnic_port **bus_vf_holders(const struct bus *bus, const struct vnic_pf *pf)
{
	const struct vnic_port **holder = calloc(pf->n_vf ? (size_t)pf->n_vf : 1, sizeof(*holder));

	if (!holder)
		return NULL;
	for (const struct vnic_port *p = bus->manager->ports; p; p = p->hh.next) {
		const struct port_device *d = &p->device;

		if (d->state != DEVICE_NONE && str_eq(d->pf, pf->addr) && d->vf >= 0 &&
		    d->vf < pf->n_vf)
			holder[d->vf] = p;
	}
	return holder;
}

static uint64_t mix(uint64_t h, const void *data, size_t n)
{
	const uint8_t *p = data;

	/* FNV-1a: nothing depends on it but whether a signal is sent. */
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t mix_text(uint64_t h, const char *text)
{
	return mix(h, text, strlen(text) + 1);
}

uint64_t bus_vf_digest(const struct bus *bus, const struct vnic_vf *vf,
		       const struct vnic_port *holder)
{
	const struct vnic_hostdev *hostdev = manager_hostdev(bus->manager, vf->addr);
	const int numbers[] = { vf->iommu_group, vf->group_shared, vf->numa_node, vf->ifindex,
				vf->representor, (int)vf->known,   (int)vf->user };
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	h = mix_text(mix_text(mix_text(h, vf->addr), vf->driver), vf->driver_override);
	h = mix_text(mix(h, numbers, sizeof(numbers)), vf->user_name);
	h = mix(h, vf->value, sizeof(vf->value));
	if (holder) {
		h = mix(h, &holder->spec.key, sizeof(holder->spec.key));
		h = mix(h, &holder->device.state, sizeof(holder->device.state));
	}
	if (hostdev) {
		h = mix(h, &hostdev->state, sizeof(hostdev->state));
		h = mix_text(mix_text(h, hostdev->class_name), hostdev->reason);
	}
	return h;
}

static const char *ifname(const struct inventory *inv, int ifindex)
{
	const struct vnic_link *link = ifindex > 0 ? inventory_find(inv, ifindex) : NULL;

	return link ? link->name : "";
}

static int append_attr(sd_bus_message *m, enum vf_attr attr, int64_t value)
{
	static const char *const states[] = { "auto", "enable", "disable" };
	char text[VNIC_MAC_STR];
	uint8_t mac[VNIC_MAC_LEN];

	switch (attr) {
	case VF_MAC:
		vf_value_mac(value, mac);
		return sd_bus_message_append(m, "{sv}", "mac", "s", mac_format(mac, text));
	case VF_VLAN:
		return sd_bus_message_append(m, "{sv}{sv}{sv}", "vlan", "q", (int)(value & 0xfff),
					     "qos", "q", (int)(value >> 12 & 7), "vlan_proto", "s",
					     value >> 16 == 0x88a8 ? "802.1ad" : "802.1Q");
	case VF_RATE:
		return sd_bus_message_append(m, "{sv}{sv}", "max_tx_rate", "u", (uint32_t)value,
					     "min_tx_rate", "u", (uint32_t)(value >> 32));
	case VF_LINK_STATE:
		return sd_bus_message_append(
			m, "{sv}", "link_state", "s",
			value >= 0 && value < (int64_t)ARRAY_SIZE(states) ? states[value] : "");
	case VF_SPOOFCHK:
	case VF_TRUST:
	case VF_RSS_QUERY:
		return sd_bus_message_append(m, "{sv}", vf_attr_str(attr), "b", value != 0);
	default:
		return 0;
	}
}

/* Who has it: a port of ours before what the kernel makes of that. */
static int append_user(sd_bus_message *m, const struct vnic_vf *vf, const struct vnic_port *holder,
		       const struct vnic_hostdev *hostdev)
{
	/* What is still to be put back is nobody else's yet. */
	bool kept = vf->user == VF_FREE && hostdev && hostdev->plan.n;
	char name[sizeof(holder->spec.domain)], key[PORT_KEY_STR];

	if (holder) {
		snprintf(name, sizeof(name), "%s", holder->spec.domain);
		str_make_utf8(name);
		return sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "user", "s", "port",
					     "user_name", "s", name, "port", "s",
					     port_key_format(&holder->spec.key, key),
					     "device_state", "s",
					     device_state_str(holder->device.state));
	}
	snprintf(name, sizeof(name), "%s", kept ? hostdev->device.domain : vf->user_name);
	str_make_utf8(name);
	return sd_bus_message_append(m, "{sv}{sv}", "user", "s",
				     vf_user_str(kept ? VF_USER_DOMAIN : vf->user), "user_name",
				     "s", name);
}

/* What libvirt does not set of its own. */
static int append_settings(sd_bus_message *m, const struct vnic_hostdev *hostdev)
{
	return sd_bus_message_append(m, "{sv}{sv}{sv}", "class", "s", hostdev->class_name,
				     "settings", "s", hostdev_state_str(hostdev->state),
				     "settings_reason", "s", hostdev->reason);
}

static int append_vf(sd_bus_message *m, const struct manager *manager, const struct vnic_vf *vf,
		     const struct vnic_port *holder)
{
	const struct vnic_hostdev *hostdev = manager_hostdev(manager, vf->addr);
	const struct inventory *inv = manager->inv;
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	if (r >= 0)
		r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "index", "u", (uint32_t)vf->index,
					  "address", "s", vf->addr, "driver", "s", vf->driver,
					  "driver_override", "s", vf->driver_override);
	if (r >= 0)
		r = sd_bus_message_append(m, "{sv}{sv}{sv}", "iommu_group", "i", vf->iommu_group,
					  "group_shared", "b", vf->group_shared, "numa_node", "i",
					  vf->numa_node);
	if (r >= 0)
		r = sd_bus_message_append(m, "{sv}{sv}", "netdev", "s", ifname(inv, vf->ifindex),
					  "representor", "s", ifname(inv, vf->representor));
	for (int i = 0; r >= 0 && i < VF_ATTR_COUNT; i++)
		if (vf->known & 1U << i)
			r = append_attr(m, (enum vf_attr)i, vf->value[i]);
	if (r >= 0)
		r = append_user(m, vf, holder, hostdev);
	if (r >= 0 && hostdev && (*hostdev->class_name || *hostdev->reason))
		r = append_settings(m, hostdev);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_vfs(sd_bus_message *m, const struct bus *bus, const struct vnic_pf *pf,
		      uint32_t first)
{
	_cleanup_(freep) const struct vnic_port **holder = NULL;
	int r = 0;

	holder = bus_vf_holders(bus, pf);
	if (!holder)
		return -ENOMEM;
	for (uint32_t i = first; r >= 0 && i < (uint32_t)pf->n_vf && i - first < VFS_PER_CALL; i++)
		r = append_vf(m, bus->manager, &pf->vf[i], holder[i]);
	return r;
}

int bus_list_vfs(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const struct bus *bus = bus_of(userdata);
	const struct vnic_pf *pf = inventory_pf(bus->manager->inv, bus->nic.pf.addr);
	uint32_t first;
	int r = sd_bus_message_read(m, "u", &first);

	(void)error;
	if (r >= 0)
		r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "a{sv}");
	if (r >= 0 && pf)
		r = append_vfs(reply, bus, pf, first);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int append_mgmtdev(sd_bus_message *m, const struct vdpa_mgmtdev *dev)
{
	return sd_bus_message_append(m, "a{sv}", 4, "name", "s", dev->name, "net", "b", dev->net,
				     "max_vqp", "u", dev->max_vqp, "features", "t", dev->features);
}

static int append_vdpa(sd_bus_message *m, const struct manager *manager, const struct vdpa_dev *dev)
{
	return sd_bus_message_append(m, "a{sv}", 8, "left", "b", manager_vdpa_left(manager, dev),
				     "name", "s", dev->name, "mgmtdev", "s", dev->mgmtdev,
				     "device_id", "u", dev->device_id, "vendor_id", "u",
				     dev->vendor_id, "max_vqs", "u", dev->max_vqs, "driver", "s",
				     dev->driver, "node", "s", dev->node);
}

/* @nic: NULL: all are asked for. */
static bool mgmtdev_is_of(const struct vdpa_mgmtdev *mgmtdev, const struct bus_nic *nic)
{
	return !nic || (mgmtdev && bus_mgmtdev_is_of(mgmtdev, nic));
}

static int append_vdpas(sd_bus_message *m, const struct manager *manager, const struct bus_nic *nic)
{
	const struct inventory *inv = manager->inv;
	const struct vdpa_mgmtdev *mgmtdev;
	int r = sd_bus_message_open_container(m, 'a', "a{sv}");

	for (mgmtdev = inv->mgmtdevs; r >= 0 && mgmtdev; mgmtdev = mgmtdev->hh.next)
		if (mgmtdev_is_of(mgmtdev, nic))
			r = append_mgmtdev(m, mgmtdev);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "a{sv}");
	for (const struct vdpa_dev *d = inv->vdpas; r >= 0 && d; d = d->hh.next) {
		HASH_FIND_STR(inv->mgmtdevs, d->mgmtdev, mgmtdev);
		if (mgmtdev_is_of(mgmtdev, nic))
			r = append_vdpa(m, manager, d);
	}
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int reply_vdpas(sd_bus_message *m, const struct manager *manager, const struct bus_nic *nic)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r = sd_bus_message_new_method_return(m, &reply);

	if (r >= 0)
		r = append_vdpas(reply, manager, nic);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

int bus_list_vdpa(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const struct bus *bus = bus_of(userdata);

	(void)error;
	return reply_vdpas(m, bus->manager, &bus->nic);
}

int bus_list_host_vdpa(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const struct bus *bus = userdata;

	(void)error;
	return reply_vdpas(m, bus->manager, NULL);
}

static int append_mdev_type(sd_bus_message *m, const struct mdev_type *t, bool parent)
{
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	if (r >= 0)
		r = sd_bus_message_append(m, "{sv}{sv}{sv}", "type", "s", t->type, "device_api",
					  "s", t->device_api, "available", "u", t->available);
	if (r >= 0 && parent)
		r = sd_bus_message_append(m, "{sv}", "parent", "s", t->parent);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* @parent: NULL: all, each with its parent. */
static int reply_mdev_types(sd_bus_message *m, const struct inventory *inv, const char *parent)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	int r = sd_bus_message_new_method_return(m, &reply);

	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "a{sv}");
	for (const struct mdev_type *t = inv->mdevs; r >= 0 && t; t = t->hh.next)
		if (!parent || (*parent && str_eq(t->parent, parent)))
			r = append_mdev_type(reply, t, !parent);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

int bus_list_mdev_types(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const struct bus *bus = bus_of(userdata);

	(void)error;
	return reply_mdev_types(m, bus->manager->inv, bus->nic.link.dev_addr);
}

int bus_list_host_mdev_types(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const struct bus *bus = userdata;

	(void)error;
	return reply_mdev_types(m, bus->manager->inv, NULL);
}
