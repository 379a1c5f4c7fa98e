/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sriov path: a VF is plugged into the running guest beside its virtio NIC, which stands by on the software
 * path. Judges and builds plans; does nothing.
 */
#pragma once

#include "daemon/core/alloc.h"

/* What a path is asked; @segment and @class are those of @spec. */
struct path_ask {
	const struct alloc_host *host;
	const struct port_spec *spec;
	const struct vnic_class *class;
	const struct vnic_segment *segment;
	enum vnic_path path;
};

/* May a VF be plugged in beside the port's interface? @why: what to write into the domain's XML, where not. */
bool path_sriov_standby(const struct port_spec *spec, char *why, size_t size);

/**
 * path_sriov_eligible() - is there a VF for the port, and which?
 * @choice: VLAN, rate, spoofchk and trust in; vf out, where there is one
 * @ret_reason: the VF chosen, or for each nic of the segment why it has none to give
 */
bool path_sriov_eligible(const struct path_ask *ask, struct alloc_choice *choice,
			 struct path_reason *ret_reason);

/* What all steps on the VF of @port's device have in common. -ENODEV: it is not there any more; @pf may be NULL. */
int path_sriov_base(const struct vnic_port *port, const struct vnic_pf *pf, struct step *ret);

/**
 * path_sriov_device() - the steps from a free VF to one in the guest
 * @port: with its device set; the plan goes by its VLAN, rate, spoofchk and trust
 * @pf: the PF of its device
 * @segment: the port's
 * @ret: a new plan, all STEP_PLANNED; the caller clears it
 * Return: 0, -ENODEV where the VF, its representor or the bridge for that is missing, -ENOMEM.
 */
int path_sriov_device(const struct inventory *inv, const struct vnic_port *port,
		      const struct vnic_pf *pf, const struct vnic_segment *segment,
		      struct plan *ret);

/**
 * path_sriov_pick() - the VF to take, for path sriov or vmdq
 * Free is the same for both, and so are load, quotas, NUMA and what the VF is to be told; the one wants a function
 * that can be given to a guest, the other one that a driver of the host can have.
 */
bool path_sriov_pick(const struct path_ask *ask, struct alloc_choice *choice,
		     struct path_reason *ret_reason);

/* The steps that set the VF's attributes as @port wants them, and its representor; @base: which VF. 0 or -ENOMEM */
int path_sriov_attrs(const struct inventory *inv, const struct vnic_segment *segment,
		     const struct vnic_port *port, const struct vnic_pf *pf,
		     const struct step *base, struct plan *plan);

/* Why what needs @attr of a VF cannot be: its PF's driver does not set that. */
void path_sriov_cannot(const struct vnic_pf *pf, enum vf_attr attr, char *why, size_t size);

/* Could this function be given to a guest, were it free? */
bool path_sriov_fit(const struct vnic_vf *vf);

/* Both as VF_RATE's value; 0: none. */
int64_t path_sriov_rates(uint64_t rate, uint64_t min_rate);
