// SPDX-License-Identifier: GPL-2.0
/*
 * What the NIC is told: MAC and multicast filters, VLANs, promiscuity, so that it lets the devices' frames in and its
 * classifier can sort them by queue. Brought up to date by a work item, since that needs rtnl, which comes before dev->lock:
 * what the sorting table wants is compared with what the NIC was given, and the difference told. Guests have it done, so all that
 * they want in a tenth of a second is done at once.
 */
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "switch.h"

#define NIC_PAUSE (HZ / 10)
/*
 * Of one device: NICs take their time for each, with rtnl held. A driver that cannot choose, as firmware's, has all that it may
 * have, which may be all there are.
 */
#define NIC_VLANS 256

struct macs {
	u64 *mac; /* ascending, each once */
	u32 n, max;
};

struct vnic_nic {
	struct macs uni, multi;
	bool allmulti, promisc;
	DECLARE_BITMAP(vlans, VLAN_N_VID);
};

static int by_value(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static void add_mac(struct macs *m, u64 mac)
{
	if (m->n < m->max)
		m->mac[m->n++] = mac;
}

static void make_set(struct macs *m)
{
	u32 n = 0;

	sort(m->mac, m->n, sizeof(*m->mac), by_value, NULL);
	for (u32 i = 0; i < m->n; i++)
		if (!n || m->mac[n - 1] != m->mac[i])
			m->mac[n++] = m->mac[i];
	m->n = n;
}

static void nic_free(struct vnic_nic *nic)
{
	if (!nic)
		return;
	kvfree(nic->uni.mac);
	kvfree(nic->multi.mac);
	kfree(nic);
}

static struct vnic_nic *nic_alloc(u32 uni, u32 multi)
{
	struct vnic_nic *nic = kzalloc(sizeof(*nic), GFP_KERNEL);

	if (!nic)
		return NULL;
	nic->uni.max = uni;
	nic->multi.max = multi;
	nic->uni.mac = kvmalloc_array(uni + 1, sizeof(u64), GFP_KERNEL);
	nic->multi.mac = kvmalloc_array(multi + 1, sizeof(u64), GFP_KERNEL);
	if (nic->uni.mac && nic->multi.mac)
		return nic;
	nic_free(nic);
	return NULL;
}

static void want_port(struct vnic_nic *nic, const struct vnic_port *port)
{
	add_mac(&nic->uni, port->mac);
	for (u16 i = 0; i < port->n_uni; i++)
		add_mac(&nic->uni, port->uni[i]);
	for (u16 i = 0; i < port->n_multi; i++)
		add_mac(&nic->multi, port->multi[i]);
	nic->allmulti |= port->allmulti;
	nic->promisc |= port->promisc || port->alluni;
	if (port->vlan)
		set_bit(port->vlan, nic->vlans);
	if (port->trunk && bitmap_weight(port->vlans, VLAN_N_VID) > NIC_VLANS)
		nic->promisc = true; /* no VLAN is filtered out then */
	else if (port->trunk)
		bitmap_or(nic->vlans, nic->vlans, port->vlans, VLAN_N_VID);
}

/* What the table wants by now. A change after the look at it queues the work again. */
static struct vnic_nic *nic_wanted(struct vnic_uplink *up)
{
	const struct vnic_sort *s;
	struct vnic_nic *nic;
	u32 uni = 0, multi = 0;

	rcu_read_lock();
	s = rcu_dereference(up->sort);
	for (u32 i = 0; i < s->n; i++) {
		uni += 1 + s->port[i]->n_uni;
		multi += s->port[i]->n_multi;
	}
	rcu_read_unlock();
	nic = nic_alloc(uni, multi);
	if (!nic)
		return NULL;
	rcu_read_lock();
	s = rcu_dereference(up->sort);
	for (u32 i = 0; i < s->n; i++)
		want_port(nic, s->port[i]);
	rcu_read_unlock();
	make_set(&nic->uni);
	make_set(&nic->multi);
	return nic;
}

static int tell_mac(struct net_device *netdev, u64 mac, bool add)
{
	u8 addr[MAX_ADDR_LEN] = {};

	vnic_mac_bytes(mac, addr);
	if (vnic_mac_is_multicast(mac))
		return add ? dev_mc_add(netdev, addr) : dev_mc_del(netdev, addr);
	return add ? dev_uc_add(netdev, addr) : dev_uc_del(netdev, addr);
}

/* What could not be added is struck from @new: it must not be taken back later. */
static void tell_macs(struct net_device *netdev, struct macs *new, const struct macs *old)
{
	u32 i = 0, j = 0, kept = 0;

	while (i < new->n || j < old->n) {
		if (j == old->n || (i < new->n && new->mac[i] < old->mac[j])) {
			int err = tell_mac(netdev, new->mac[i], true);

			if (err)
				netdev_warn(netdev, "vnic: the NIC takes no more filters: %d\n", err);
			else
				new->mac[kept++] = new->mac[i];
			i++;
		} else if (i == new->n || old->mac[j] < new->mac[i]) {
			tell_mac(netdev, old->mac[j++], false);
		} else {
			new->mac[kept++] = new->mac[i++];
			j++;
		}
	}
	new->n = kept;
}

static void tell_vlans(struct net_device *netdev, struct vnic_nic *new, const struct vnic_nic *old)
{
	int vid;

	for_each_set_bit(vid, new->vlans, VLAN_N_VID)
		if (!test_bit(vid, old->vlans) && vlan_vid_add(netdev, htons(ETH_P_8021Q), vid))
			clear_bit(vid, new->vlans);
	for_each_set_bit(vid, old->vlans, VLAN_N_VID)
		if (!test_bit(vid, new->vlans))
			vlan_vid_del(netdev, htons(ETH_P_8021Q), vid);
}

static void tell(struct net_device *netdev, struct vnic_nic *new, const struct vnic_nic *old)
{
	tell_macs(netdev, &new->uni, &old->uni);
	tell_macs(netdev, &new->multi, &old->multi);
	tell_vlans(netdev, new, old);
	if (new->allmulti != old->allmulti && dev_set_allmulti(netdev, new->allmulti ? 1 : -1))
		new->allmulti = old->allmulti;
	if (new->promisc != old->promisc && dev_set_promiscuity(netdev, new->promisc ? 1 : -1))
		new->promisc = old->promisc;
}

/* What a guest's filters want: it has time, and may ask without end. */
void vnic_nic_update(struct vnic_uplink *up)
{
	const long wait = READ_ONCE(up->nic_next) - jiffies;

	queue_delayed_work(vnic_wq, &up->nic_work, clamp(wait, 0L, (long)NIC_PAUSE));
}

/*
 * A device that starts is deaf until the NIC knows its MAC. A start costs its driver grace periods, so that it cannot ask without
 * end.
 */
void vnic_nic_update_now(struct vnic_uplink *up)
{
	mod_delayed_work(vnic_wq, &up->nic_work, 0);
}

static void announce_due(struct vnic_uplink *up)
{
	struct vnic_dev *d;

	list_for_each_entry(d, &up->devs, node)
		if (READ_ONCE(d->announce_due)) {
			/* Before: who sets it again meanwhile has us run again. */
			WRITE_ONCE(d->announce_due, false);
			vnic_port_announce(d);
		}
}

static void nic_work(struct work_struct *work)
{
	struct vnic_uplink *up = container_of(to_delayed_work(work), struct vnic_uplink, nic_work);
	struct vnic_nic *wanted;
	struct net_device *netdev;

	WRITE_ONCE(up->nic_next, jiffies + NIC_PAUSE);

	rtnl_lock();
	netdev = rtnl_dereference(up->netdev);
	wanted = netdev ? nic_wanted(up) : NULL;
	if (wanted) {
		tell(netdev, wanted, up->nic);
		swap(up->nic, wanted);
		vnic_count(up, told);
	}
	if (netdev) {
		vnic_steer(up, netdev);
		announce_due(up);
	}
	rtnl_unlock();
	nic_free(wanted);
}

void vnic_nic_forget(struct vnic_uplink *up, struct net_device *netdev)
{
	struct vnic_nic none = {};

	ASSERT_RTNL();
	/* Of a netdev that is being unregistered the driver frees them; and it may be without a card. */
	vnic_steer_forget(up, netdev->reg_state == NETREG_REGISTERED ? netdev : NULL, NULL, -ENODEV);
	tell(netdev, &none, up->nic);
	up->nic->uni.n = up->nic->multi.n = 0;
	up->nic->allmulti = up->nic->promisc = false;
	bitmap_zero(up->nic->vlans, VLAN_N_VID);
}

int vnic_nic_init(struct vnic_uplink *up)
{
	INIT_DELAYED_WORK(&up->nic_work, nic_work);
	up->nic_next = jiffies;
	up->nic = nic_alloc(0, 0);
	return up->nic ? 0 : -ENOMEM;
}

void vnic_nic_exit(struct vnic_uplink *up)
{
	if (!up->nic)
		return;
	cancel_delayed_work_sync(&up->nic_work);
	nic_free(up->nic);
	up->nic = NULL;
}
