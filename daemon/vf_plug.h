/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VFs into running domains and out of them, by the libvirt helper (api/libvirt-helper.md). */
#pragma once

#include "base/cleanup.h"
#include "daemon/libvirt_client.h"
#include "daemon/manager_io.h"

struct vf_plug;

int vf_plug_new(struct libvirt_client *client, struct vf_plug **ret);
/* After the client and before the manager: nobody is called back any more. */
struct vf_plug *vf_plug_free(struct vf_plug *plug);
DEFINE_CLEANUP(struct vf_plug *, vf_plug_free)

/* What outside_set_plug() takes. */
struct outside_plug vf_plug_ops(struct vf_plug *plug);
