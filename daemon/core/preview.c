/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What would be done for a port: for --dry-run. */
#include <string.h>

#include "api/errors.h"
#include "daemon/core/manager_priv.h"
#include "daemon/core/path_software.h"
#include "daemon/core/path_sriov.h"
#include "daemon/core/path_vdpa.h"
#include "daemon/core/path_vmdq.h"

/* The steps of @wanted that the share has not done. */
static int missing(const struct manager *m, const char *segment, const struct plan *wanted,
		   struct plan *ret)
{
	const struct segment_share *share = manager_share(m, segment);
	int r = 0;

	for (size_t i = 0; r == 0 && i < wanted->n; i++) {
		const struct step *w = &wanted->step[i];
		bool done = false;

		for (size_t j = 0; share && j < share->plan.n; j++) {
			const struct step *h = &share->plan.step[j];

			done |= h->kind == w->kind && h->vlan == w->vlan &&
				str_eq(h->ifname, w->ifname) && h->state == STEP_DONE;
		}
		if (!done)
			r = plan_add(ret, w);
	}
	return r;
}

static int preview_device(const struct manager *m, const struct alloc_choice *choice,
			  struct vnic_port *would, struct plan *ret)
{
	const struct vnic_pf *pf = inventory_pf(m->inv, choice->vf.pf);

	if (choice->path != VNIC_PATH_SRIOV || !pf)
		return 0;
	port_choose(would, &would->spec, choice);
	memcpy(would->device.pf, choice->vf.pf, sizeof(would->device.pf));
	memcpy(would->device.vf_addr, choice->vf.vf_addr, sizeof(would->device.vf_addr));
	would->device.vf = choice->vf.vf;
	return path_sriov_device(m->inv, would, pf, config_segment(m->config, choice->segment),
				 ret);
}

static int preview_own(const struct manager *m, const struct alloc_choice *choice,
		       struct vnic_port *would, struct plan *ret)
{
	if (choice->path == VNIC_PATH_VDPA) {
		port_choose(would, &would->spec, choice);
		return path_vdpa_port(m->inv, config_segment(m->config, would->segment), would,
				      choice->mgmtdev, ret);
	}
	if (choice->path != VNIC_PATH_VMDQ)
		return path_software_port(would, ret);
	port_choose(would, &would->spec, choice);
	memcpy(would->device.pf, choice->vf.pf, sizeof(would->device.pf));
	memcpy(would->device.vf_addr, choice->vf.vf_addr, sizeof(would->device.vf_addr));
	would->device.vf = choice->vf.vf;
	return path_vmdq_port(m->inv, config_segment(m->config, would->segment), would, ret);
}

int manager_preview(const struct manager *m, const struct port_spec *spec,
		    struct manager_preview *ret, struct vnic_err *err)
{
	struct vnic_port *port = manager_port(m, &spec->key);
	struct plan wanted = { 0 };
	struct vnic_port would = { .spec = *spec };
	const struct segment_share *share;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (port)
		return vnic_err_set(err, -EBUSY, VNIC_E_BUSY,
				    "port %s of domain '%.64s' is there already", port->spec.name,
				    port->spec.domain);
	r = manager_alloc(m, spec, &ret->choice, err);
	if (r < 0)
		return r;
	memcpy(would.segment, ret->choice.segment, sizeof(would.segment));
	would.vlan = ret->choice.vlan;
	share = manager_share(m, would.segment);
	r = spec->vdpa ? 0
		       : share_wanted(m, config_segment(m->config, would.segment), &would,
				      share ? share->tap_ifindex : 0, &wanted);
	if (r == 0)
		r = missing(m, would.segment, &wanted, &ret->shared);
	if (r == 0)
		r = preview_own(m, &ret->choice, &would, &ret->own);
	if (r == 0)
		r = preview_device(m, &ret->choice, &would, &ret->device);
	plan_clear(&wanted);
	if (r < 0)
		manager_preview_clear(ret);
	return r;
}

void manager_preview_clear(struct manager_preview *preview)
{
	plan_clear(&preview->shared);
	plan_clear(&preview->own);
	plan_clear(&preview->device);
}
