/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/path_vmdq.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/driver_quirks.h"
#include "daemon/core/path_software.h"

bool path_vmdq_eligible(const struct path_ask *ask, struct alloc_choice *choice,
			struct path_reason *ret)
{
	/* The host is reached through the bridge behind the PF, and the port's socket needs a segment. */
	if (!path_software_eligible(ask->host->inv, ask->segment, ret))
		return false;
	return path_sriov_pick(ask, choice, ret);
}

static int add(struct plan *plan, const struct step *base, enum step_kind kind)
{
	struct step step = *base;

	step.kind = kind;
	return plan_add(plan, &step);
}

static int add_driver(struct plan *plan, const struct step *base, const char *driver)
{
	struct step step = *base;

	step.kind = STEP_VF_DRIVER;
	str_copy(step.driver, sizeof(step.driver), driver);
	return plan_add(plan, &step);
}

/*
 * In reverse: the datapath forgets, the host's driver lets go, attributes as they were, a reset, the driver that it
 * had, which takes the MAC that the PF now says, and last what the netdev was called by.
 */
static int build(const struct inventory *inv, const struct vnic_segment *segment,
		 const struct vnic_port *port, const struct vnic_pf *pf, const char *driver,
		 const struct step *base, struct plan *plan)
{
	struct step last;
	int r;

	r = add(plan, base, STEP_VF_NETDEV_MAC);
	/* Nobody's while its attributes change: a driver takes the MAC when it is bound. */
	if (r == 0)
		r = add_driver(plan, base, "");
	if (r == 0)
		r = add(plan, base, STEP_VF_RESET);
	if (r == 0)
		r = path_sriov_attrs(inv, segment, port, pf, base, plan);
	if (r == 0)
		r = add_driver(plan, base, driver);
	if (r == 0)
		r = add(plan, base, STEP_QUEUE_NETDEV);
	if (r == 0)
		r = add(plan, base, STEP_DP_QUEUE);
	return r == 0 ? path_software_socket(port, &last, plan) : r;
}

int path_vmdq_port(const struct inventory *inv, const struct vnic_segment *segment,
		   const struct vnic_port *port, struct plan *ret)
{
	const struct vnic_link *bridge = inventory_find_name(inv, segment->bridge);
	const struct vnic_pf *pf = inventory_pf(inv, port->device.pf);
	struct plan plan = { 0 };
	const char *driver;
	struct step base;
	int r;

	r = path_sriov_base(port, pf, &base);
	if (r < 0)
		return r;
	driver = driver_quirks(pf->driver)->vf_driver;
	if (!driver)
		return -ENOTSUP;
	base.mtu = path_software_mtu(segment, bridge);
	port_dp_segment(port, base.name);
	r = build(inv, segment, port, pf, driver, &base, &plan);
	if (r < 0) {
		plan_clear(&plan);
		return r;
	}
	*ret = plan;
	return 0;
}
