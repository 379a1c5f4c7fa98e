/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake host's PFs and VFs: what a kernel with a patient driver would do. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_host_priv.h"

struct fake_pf *fake_add_pf(struct fake_host *h, const char *addr, const char *ifname, int total)
{
	struct fake_pf *f = &h->pf[h->n_pfs++];
	struct fake_link *link = fake_link(h, ifname);

	assert_true(h->n_pfs <= FAKE_PFS);
	memset(f, 0, sizeof(*f));
	strcpy(f->pf.addr, addr);
	strcpy(f->pf.bus, "pci");
	strcpy(f->pf.driver, "ixgbe");
	f->pf.numa_node = -1;
	f->pf.total_vfs = total;
	f->pf.autoprobe = true;
	f->pf.vfs_complete = true;
	f->pf.ifindex = link->link.ifindex;
	strcpy(link->link.dev_addr, addr);
	return f;
}

void fake_switchdev(struct fake_pf *f)
{
	f->pf.eswitch = ESWITCH_SWITCHDEV;
	f->representors = true;
}

void fake_del_pf(struct fake_host *h, const char *addr)
{
	for (size_t i = 0; i < h->n_pfs; i++)
		if (str_eq(h->pf[i].pf.addr, addr)) {
			pf_clear(&h->pf[i].pf);
			FAKE_DROP(h->pf, h->n_pfs, i);
			return;
		}
}

static struct fake_link *netdev_of(struct fake_host *h, const struct vnic_vf *vf)
{
	for (size_t i = 0; vf->ifindex && i < h->n_links; i++)
		if (h->link[i].link.ifindex == vf->ifindex)
			return &h->link[i];
	return NULL;
}

void fake_numvfs(struct fake_host *h, struct fake_pf *f, int n)
{
	/* Those that vanish are torn out of their guests. */
	for (int v = 0; v < f->pf.n_vf; v++)
		for (size_t i = h->n_plugged; n == 0 && i-- > 0;)
			if (str_eq(h->plugged[i].vf_addr, f->pf.vf[v].addr))
				FAKE_DROP(h->plugged, h->n_plugged, i);
	for (int v = 0; v < f->pf.n_vf; v++)
		for (size_t i = 0; n == 0 && i < h->n_links; i++)
			if (h->link[i].link.ifindex == f->pf.vf[v].representor)
				fake_del_link(h, h->link[i].link.name);
	for (int v = 0; n == 0 && v < f->pf.n_vf; v++) {
		if (netdev_of(h, &f->pf.vf[v]))
			fake_del_link(h, netdev_of(h, &f->pf.vf[v])->link.name);
		f->netdev_due[v] = false;
	}
	f->pf.num_vfs = n;
	f->pf.vfs_complete = n == 0;
	if (n == 0)
		assert_int_equal(pf_resize(&f->pf, 0), 0);
}

/* One more VF shows up. */
static void show_vf(struct fake_host *h, struct fake_pf *f)
{
	int i = f->pf.n_vf;
	char name[IFNAMSIZ];
	struct vnic_vf *vf, old[FAKE_MAX];

	if (i)
		memcpy(old, f->pf.vf, (size_t)i * sizeof(*old));
	assert_int_equal(pf_resize(&f->pf, i + 1), 0);
	if (i)
		memcpy(f->pf.vf, old, (size_t)i * sizeof(*old));
	vf = &f->pf.vf[i];
	snprintf(vf->addr, sizeof(vf->addr), "%.8s10.%d", f->pf.addr, i);
	vf->iommu_group = 20 + i;
	vf->known = (1u << VF_ATTR_COUNT) - 1;
	vf->value[VF_SPOOFCHK] = 1;
	f->born_bound[i] = f->pf.autoprobe;
	if (f->pf.autoprobe)
		strcpy(vf->driver, "ixgbevf");
	if (f->representors) {
		struct fake_link *link;

		snprintf(name, sizeof(name), "rep%d", i);
		link = fake_add_link(h, name, LINK_PHYSICAL, NULL);
		link->link.up = false;
		vf->representor = link->link.ifindex;
	}
	f->pf.vfs_complete = f->pf.n_vf == f->pf.num_vfs;
}

static void show_netdev(struct fake_host *h, struct vnic_vf *vf)
{
	char name[IFNAMSIZ];
	struct fake_link *f;

	snprintf(name, sizeof(name), "q%d", h->next_ifindex);
	f = fake_add_link(h, name, LINK_VF, NULL);
	f->link.up = f->link.carrier = false;
	vf_value_mac(vf->value[VF_MAC], f->link.mac);
	vf->ifindex = f->link.ifindex;
}

static void set_user(struct fake_host *h, struct vnic_vf *vf)
{
	const struct fake_link *f = netdev_of(h, vf);
	bool domains = false;

	for (size_t i = 0; i < h->n_hostdevs; i++)
		domains |= str_eq(h->hostdev[i].addr, vf->addr);
	if (domains || vf->user == VF_USER_DOMAIN)
		vf->user = domains ? VF_USER_DOMAIN : VF_FREE;
	else if (f && f->link.up)
		vf->user = VF_USER_NETDEV;
	else if (vf->user == VF_USER_NETDEV)
		vf->user = VF_FREE;
}

bool fake_notify_pfs(struct fake_host *h)
{
	struct vnic_pf *pf, *tmp;
	bool more = false;

	for (size_t i = 0; i < h->n_pfs; i++) {
		struct fake_pf *f = &h->pf[i];

		if (f->pf.n_vf < f->pf.num_vfs && !f->stuck)
			show_vf(h, f);
		more |= f->pf.n_vf < f->pf.num_vfs && !f->stuck;
		for (int v = 0; v < f->pf.n_vf; v++) {
			struct vnic_vf *vf = &f->pf.vf[v];

			if (f->netdev_due[v] && !h->no_netdevs) {
				show_netdev(h, vf);
				f->netdev_due[v] = false;
			}
			set_user(h, vf);
			if (vf->user == VF_FREE && str_eq(vf->driver, "vfio-pci"))
				vf->user = VF_USER_DRIVER;
			else if (vf->user == VF_USER_DRIVER && !str_eq(vf->driver, "vfio-pci"))
				vf->user = VF_FREE;
		}
		if (inventory_upsert_pf(&h->inv, &f->pf) == 1)
			manager_pf_changed(h->m, f->pf.addr);
	}
	HASH_ITER(hh, h->inv.pfs, pf, tmp)
	{
		bool there = false;
		char addr[DEV_ADDR_MAX];

		for (size_t i = 0; i < h->n_pfs; i++)
			there |= str_eq(h->pf[i].pf.addr, pf->addr);
		if (there)
			continue;
		memcpy(addr, pf->addr, sizeof(addr));
		inventory_remove_pf(&h->inv, addr);
		manager_pf_changed(h->m, addr);
	}
	return more;
}

static struct fake_pf *find(struct fake_host *h, const char *addr)
{
	for (size_t i = 0; i < h->n_pfs; i++)
		if (str_eq(h->pf[i].pf.addr, addr))
			return &h->pf[i];
	return NULL;
}

static struct vnic_vf *find_vf(struct fake_pf *f, const struct step *step)
{
	if (!*step->vf_addr || step->vf >= f->pf.n_vf ||
	    !str_eq(f->pf.vf[step->vf].addr, step->vf_addr))
		return NULL;
	return &f->pf.vf[step->vf];
}

static bool has_fdb(const struct fake_pf *f, const uint8_t *mac, size_t *ret)
{
	for (size_t i = 0; i < f->n_fdb; i++)
		if (!memcmp(f->fdb[i], mac, VNIC_MAC_LEN)) {
			*ret = i;
			return true;
		}
	return false;
}

int fake_pf_probe(struct fake_host *h, struct step *step)
{
	struct fake_pf *f = find(h, step->dev);
	struct vnic_vf *vf = f ? find_vf(f, step) : NULL;
	size_t i;

	if (!f || (*step->vf_addr && !vf))
		return -ENODEV;
	step->has_prev = true;
	switch (step->kind) {
	case STEP_NIC_AUTOPROBE:
		step->prev = f->pf.autoprobe;
		break;
	case STEP_NIC_NUMVFS:
		step->prev = f->pf.num_vfs;
		break;
	case STEP_NIC_FDB:
		step->prev = has_fdb(f, step->mac, &i);
		break;
	case STEP_VF_ATTR:
		step->prev = vf->value[step->attr];
		break;
	case STEP_VF_DRIVER:
		strcpy(step->prev_driver, vf->driver);
		strcpy(step->prev_override, vf->driver_override);
		break;
	default:
		step->has_prev = false;
	}
	return 0;
}

static int plug(struct fake_host *h, struct vnic_vf *vf, const struct vnic_port *port, bool undo)
{
	for (size_t i = 0; i < h->n_plugged; i++)
		if (str_eq(h->plugged[i].vf_addr, vf->addr)) {
			assert_true(port_key_eq(&h->plugged[i].key, &port->spec.key));
			if (undo)
				FAKE_DROP(h->plugged, h->n_plugged, i);
			return 0;
		}
	if (undo)
		return 0;
	assert_string_equal(vf->driver, "vfio-pci");
	assert_int_equal(vf->value[VF_MAC], vf_mac_value(port->spec.key.mac));
	strcpy(h->plugged[h->n_plugged].vf_addr, vf->addr);
	h->plugged[h->n_plugged++].key = port->spec.key;
	return 0;
}

static void take(struct fake_host *h, struct fake_pf *f, struct vnic_vf *vf, const char *driver,
		 const char *override)
{
	const struct fake_link *netdev = netdev_of(h, vf);

	if (str_eq(vf->driver, driver)) {
		snprintf(vf->driver_override, sizeof(vf->driver_override), "%s", override);
		return;
	}
	if (netdev)
		fake_del_link(h, netdev->link.name);
	vf->ifindex = 0;
	f->netdev_due[vf->index] = false;
	snprintf(vf->driver, sizeof(vf->driver), "%s", driver);
	snprintf(vf->driver_override, sizeof(vf->driver_override), "%s", override);
}

/* The netdevs that VFs are born with are not played: only those that steps are about. */
static void bind_step(struct fake_host *h, struct fake_pf *f, struct vnic_vf *vf,
		      const char *driver)
{
	bool another = !str_eq(vf->driver, driver);

	take(h, f, vf, driver, driver);
	if (another)
		f->netdev_due[vf->index] = *driver && !str_eq(driver, "vfio-pci");
}

/* As exec's: what is neither ours nor on the way back is somebody else's. */
static void give_back(struct fake_host *h, struct fake_pf *f, struct vnic_vf *vf,
		      const struct step *step)
{
	const char *is = *vf->driver ? vf->driver : vf->driver_override;

	if (str_eq(is, step->driver) || str_eq(is, step->prev_driver))
		take(h, f, vf, step->prev_driver, step->prev_override);
}

/* What a datapath then has as its uplink has the guest's MAC, and is up. */
static int queue_netdev(struct fake_host *h, struct vnic_vf *vf, struct step *step,
			const struct vnic_port *port, bool undo)
{
	struct fake_link *netdev = netdev_of(h, vf);

	if (undo) {
		if (netdev)
			netdev->link.up = false;
		return 0;
	}
	if (!netdev)
		return -EAGAIN;
	assert_string_equal(vf->driver, "ixgbevf");
	assert_memory_equal(netdev->link.mac, port->spec.key.mac, VNIC_MAC_LEN);
	netdev->link.up = true;
	netdev->link.mtu = step->mtu;
	step->ifindex = netdev->link.ifindex;
	memcpy(step->ifname, netdev->link.name, IFNAMSIZ);
	return 0;
}

int fake_pf_act(struct fake_host *h, struct step *step, const struct vnic_port *port, bool undo)
{
	struct fake_pf *f = find(h, step->dev);
	struct vnic_vf *vf = f ? find_vf(f, step) : NULL;
	int64_t value = undo ? step->prev : step->value;
	size_t i;

	if (step->kind == h->refuse && !undo)
		return -EIO;
	if (step->kind == STEP_VF_ATTR && h->refuse_attrs & 1u << step->attr && !undo)
		return -EINVAL;
	if (!f || (*step->vf_addr && !vf))
		return undo ? 0 : -ENODEV;
	if (undo && !step->has_prev && step->kind != STEP_VF_ATTACH &&
	    step->kind != STEP_QUEUE_NETDEV)
		return 0;
	switch (step->kind) {
	case STEP_NIC_AUTOPROBE:
		f->pf.autoprobe = value;
		return 0;
	case STEP_NIC_NUMVFS:
		if (undo ? f->pf.num_vfs != step->value : f->pf.num_vfs == value)
			return 0;
		if (f->pf.num_vfs && value)
			return -EBUSY;
		fake_numvfs(h, f, (int)value);
		return 0;
	case STEP_NIC_FDB:
		if (has_fdb(f, step->mac, &i) && undo && !step->prev)
			FAKE_DROP(f->fdb, f->n_fdb, i);
		else if (!has_fdb(f, step->mac, &i) && !undo)
			memcpy(f->fdb[f->n_fdb++], step->mac, VNIC_MAC_LEN);
		return 0;
	case STEP_VF_ATTR:
		if (!undo || vf->value[step->attr] == step->value ||
		    (step->has_old && vf->value[step->attr] == step->old))
			vf->value[step->attr] = value;
		return 0;
	case STEP_VF_DRIVER:
		if (undo)
			give_back(h, f, vf, step);
		else
			bind_step(h, f, vf, step->driver);
		return 0;
	case STEP_VF_ATTACH:
		return plug(h, vf, port, undo);
	case STEP_QUEUE_NETDEV:
		return queue_netdev(h, vf, step, port, undo);
	case STEP_VF_NETDEV_MAC:
	case STEP_VF_RESET:
		for (size_t g = 0; g < h->n_plugged; g++)
			assert_string_not_equal(h->plugged[g].vf_addr, vf->addr);
		return 0;
	default:
		return -EINVAL;
	}
}

struct vnic_vf *fake_plugged(struct fake_host *h, const struct port_key *key)
{
	for (size_t i = 0; i < h->n_plugged; i++)
		for (size_t p = 0; p < h->n_pfs && port_key_eq(&h->plugged[i].key, key); p++)
			for (int v = 0; v < h->pf[p].pf.n_vf; v++)
				if (str_eq(h->pf[p].pf.vf[v].addr, h->plugged[i].vf_addr))
					return &h->pf[p].pf.vf[v];
	return NULL;
}

struct domain_device *fake_hostdev(struct fake_host *h, unsigned int domain,
				   const struct fake_pf *pf, int vf, const char *class_name)
{
	const struct port_spec spec = fake_spec(domain, 9);
	struct domain_device *d = NULL;
	size_t i = 0;

	while (i < h->n_hostdevs && memcmp(h->hostdev[i].uuid, spec.key.uuid, VNIC_UUID_LEN) != 0)
		i++;
	if (i < h->n_hostdevs)
		FAKE_DROP(h->hostdev, h->n_hostdevs, i);
	if (pf) {
		d = &h->hostdev[h->n_hostdevs++];
		memset(d, 0, sizeof(*d));
		strcpy(d->addr, pf->pf.vf[vf].addr);
		snprintf(d->domain, sizeof(d->domain), "own%u", domain);
		memcpy(d->uuid, spec.key.uuid, sizeof(d->uuid));
		memcpy(d->mac, spec.key.mac, sizeof(d->mac));
		d->has_mac = true;
		strcpy(d->class_name, class_name);
	}
	return d;
}

void fake_tell_hostdevs(struct fake_host *h)
{
	manager_hostdevs_found(h->m, h->hostdev, h->n_hostdevs, false);
}

void fake_print_pfs(const struct fake_host *h, FILE *f)
{
	char text[64];

	for (size_t i = 0; i < h->n_pfs; i++) {
		const struct vnic_pf *pf = &h->pf[i].pf;

		fprintf(f, "pf %s autoprobe %d vfs %d fdb %zu\n", pf->addr, pf->autoprobe,
			pf->num_vfs, h->pf[i].n_fdb);
		for (int v = 0; v < pf->n_vf; v++) {
			const struct vnic_vf *vf = &pf->vf[v];

			fprintf(f, "vf %s %s override '%s' %s", vf->addr, vf->driver,
				vf->driver_override, vf_user_str(vf->user));
			for (int a = 0; a < VF_ATTR_COUNT; a++)
				fprintf(f, " %s",
					vf_attr_format((enum vf_attr)a, vf->value[a], text,
						       sizeof(text)));
			fprintf(f, "\n");
		}
	}
	for (size_t i = 0; i < h->n_plugged; i++)
		fprintf(f, "plugged %s\n", h->plugged[i].vf_addr);
}

void fake_free_pfs(struct fake_host *h)
{
	while (h->n_pfs)
		pf_clear(&h->pf[--h->n_pfs].pf);
}

void fake_want_vfs(struct vnic_config *config, const char *ifname, int vfs)
{
	struct vnic_nic_config *nic = calloc(1, sizeof(*nic));
	struct vnic_class *class = config_class(config, "gold");

	strcpy(nic->name, ifname);
	nic->vfs = vfs;
	assert_int_equal(config_add_nic(config, nic), 0);
	class->paths.path[0] = VNIC_PATH_SRIOV;
	class->paths.path[1] = VNIC_PATH_SOFTWARE;
	class->paths.path[2] = 0;
}
