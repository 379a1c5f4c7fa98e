/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VFs into running domains and out of them. libvirt knows one that vnicd plugged in by its alias, which is
 * made of the alias of its standby: so a domain has one beside each interface, and asking again for what is
 * done is no error.
 */
#include "libvirt-hook/virt_priv.h"

#include <stdio.h>
#include <string.h>

#include <libvirt/virterror.h>

#include "api/errors.h"
#include "libvirt-hook/xml_write.h"

#define OUR_PREFIX "ua-vnic-"

static bool is_ours(const struct domain_hostdev *h)
{
	return h->alias && !strncmp(h->alias, OUR_PREFIX, strlen(OUR_PREFIX));
}

static const struct domain_hostdev *hostdev_by_alias(const struct domain *d, const char *alias)
{
	for (size_t i = 0; i < d->n_hostdevs; i++)
		if (str_eq(d->hostdevs[i].alias, alias))
			return &d->hostdevs[i];
	return NULL;
}

static const struct domain_hostdev *our_hostdev_at(const struct domain *d, const char *address)
{
	for (size_t i = 0; i < d->n_hostdevs; i++)
		if (is_ours(&d->hostdevs[i]) && str_eq(d->hostdevs[i].address, address))
			return &d->hostdevs[i];
	return NULL;
}

/* Has the domain that function by somebody else's doing? */
static bool has_of_its_own(const struct domain *d, const char *address)
{
	for (size_t i = 0; i < d->n_nics; i++)
		if (str_eq(d->nics[i].hostdev, address))
			return true;
	for (size_t i = 0; i < d->n_hostdevs; i++)
		if (!is_ours(&d->hostdevs[i]) && str_eq(d->hostdevs[i].address, address))
			return true;
	return false;
}

static bool has_standby(const struct domain *d, const char *alias)
{
	for (size_t i = 0; i < d->n_nics; i++)
		if (str_eq(d->nics[i].alias, alias))
			return domain_nic_is_ours(&d->nics[i]) &&
			       str_eq(d->nics[i].teaming, "persistent");
	return false;
}

/* Return: 1 where it is there already, 0 where it is to be plugged in. */
static int may_attach(const struct domain *d, const struct helper_request *q, const char *alias,
		      struct vnic_err *err)
{
	const struct domain_hostdev *there = hostdev_by_alias(d, alias);

	if (there && str_eq(there->address, q->address))
		return 1;
	if (there)
		return vnic_err_set(err, -EBUSY, VNIC_E_BUSY,
				    "domain '%.120s' has VF %.40s beside interface %s already",
				    d->name, there->address ? there->address : "of no address",
				    q->standby);
	if (has_of_its_own(d, q->address))
		return vnic_err_set(err, -EBUSY, VNIC_E_BUSY,
				    "domain '%.120s' has %s already, as a device that its own XML "
				    "names: leave it out there, vnicd chooses the VF",
				    d->name, q->address);
	if (!has_standby(d, q->standby))
		return vnic_err_set(err, -ENOENT, VNIC_E_INVALID_XML,
				    "domain '%.120s' runs without an interface of vnicd's that has "
				    "<alias name='%s'/> and <teaming type='persistent'/>: write "
				    "both into its XML and start it anew",
				    d->name, q->standby);
	return 0;
}

static int find_running(struct virt *v, const char *who, virDomainPtr *ret, struct domain **ret_d,
			struct vnic_err *err)
{
	_cleanup_(virDomainFreep) virDomainPtr dom = NULL;
	int r = virt_find_domain(v, who, &dom, err);

	if (r < 0)
		return r;
	r = virt_read_devices(dom, ret_d, err);
	/* What is told of one that is off is what it would have. */
	if (virDomainIsActive(dom) == 0) {
		*ret_d = domain_free(r == 0 ? *ret_d : NULL);
		return vnic_err_set(err, -ENOENT, VNIC_E_UNKNOWN_DOMAIN,
				    "domain '%.120s' does not run", virDomainGetName(dom));
	}
	if (r == 0)
		*ret = take_ptr(dom);
	return r;
}

int virt_attach_hostdev(struct virt *v, const struct helper_request *q, struct json_object *answer,
			struct vnic_err *err)
{
	_cleanup_(virDomainFreep) virDomainPtr dom = NULL;
	_cleanup_(domain_freep) struct domain *d = NULL;
	_cleanup_(freep) char *xml = NULL;
	struct pci_address address;
	char alias[ALIAS_MAX], what[200];
	int r;

	r = find_running(v, q->domain, &dom, &d, err);
	if (r < 0)
		return r;
	snprintf(alias, sizeof(alias), OUR_PREFIX "%s", q->standby + strlen("ua-"));
	r = may_attach(d, q, alias, err);
	if (r < 0)
		return r;
	if (r == 0) {
		if (pci_address_parse(q->address, &address) < 0)
			return -EINVAL;
		xml = xml_hostdev(&address, alias, q->standby);
		if (!xml)
			return -ENOMEM;
		snprintf(what, sizeof(what), "plugging VF %s into domain '%.120s'", q->address,
			 d->name);
		if (virDomainAttachDeviceFlags(dom, xml, VIR_DOMAIN_AFFECT_LIVE) < 0)
			return virt_fail(err, what);
	}
	json_add_str(answer, "alias", alias);
	return 0;
}

/* Does the guest still have it? One that was started anew since is another guest. */
static bool is_gone(struct virt *v, virDomainPtr dom, const struct helper_request *q)
{
	_cleanup_(virDomainFreep) virDomainPtr now = NULL;
	_cleanup_(domain_freep) struct domain *d = NULL;
	struct vnic_err err = VNIC_ERR_INIT;
	int r = find_running(v, q->domain, &now, &d, &err);

	if (r < 0)
		return r == -ENOENT;
	return virDomainGetID(now) != virDomainGetID(dom) || !our_hostdev_at(d, q->address);
}

/* QEMU is asked once and remembers: the answer to the first time is waited for. */
static bool is_under_way(void)
{
	virErrorPtr e = virGetLastError();

	return e && e->message && strstr(e->message, "already in the process of unplug");
}

static int still_there(const struct domain *d, const struct helper_request *q, enum removal removal,
		       struct vnic_err *err)
{
	if (removal == REMOVAL_REFUSED)
		return vnic_err_set(err, -EBUSY, VNIC_E_BUSY,
				    "the guest of domain '%.120s' refused to give VF %s back",
				    d->name, q->address);
	return vnic_err_set(err, -ETIMEDOUT, VNIC_E_TIMEOUT,
			    "the guest of domain '%.120s' did not give VF %s back within %g s: it "
			    "may still do so (it is booting, paused, or has no PCI hotplug)",
			    d->name, q->address, q->timeout_ms / 1000.0);
}

int virt_detach_hostdev(struct virt *v, const struct helper_request *q, uint64_t deadline,
			struct json_object *answer, struct vnic_err *err)
{
	_cleanup_(virDomainFreep) virDomainPtr dom = NULL;
	_cleanup_(domain_freep) struct domain *d = NULL;
	const struct domain_hostdev *there;
	enum removal removal;
	char what[200];
	int r;

	json_add_str(answer, "outcome", "removed");
	r = find_running(v, q->domain, &dom, &d, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	there = our_hostdev_at(d, q->address);
	if (!there && has_of_its_own(d, q->address))
		return vnic_err_set(err, -EPERM, VNIC_E_INVALID_ARGUMENT,
				    "domain '%.120s' has %s by its own XML: vnicd did not plug it "
				    "in and does not pull it",
				    d->name, q->address);
	if (!there)
		return 0;
	virt_expect_removal(v, dom, there->alias);
	if (virDomainDetachDeviceAlias(dom, there->alias, VIR_DOMAIN_AFFECT_LIVE) < 0 &&
	    !is_under_way()) {
		snprintf(what, sizeof(what), "pulling VF %s out of domain '%.120s'", q->address,
			 d->name);
		virt_fail(err, what);
		return is_gone(v, dom, q) ? 0 : -EIO;
	}
	removal = virt_wait_removal(v, deadline);
	if (removal == REMOVAL_DONE || is_gone(v, dom, q))
		return 0;
	return still_there(d, q, removal, err);
}
