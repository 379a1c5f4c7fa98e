/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decision: which path carries a port, and why not another. A pure function of the inventory, the
 * configuration and the ports there are: no side effects, so that --dry-run and tests ask it freely.
 */
#pragma once

#include "base/err.h"
#include "daemon/core/alloc_index.h"
#include "daemon/model/config.h"
#include "daemon/core/nic_share.h"
#include "daemon/model/hostdev.h"
#include "daemon/model/link.h"
#include "daemon/model/port.h"

struct path_reason {
	enum vnic_path path;
	bool eligible;
	char text
		[400]; /* an administrator's words: "bridge br0 of segment lan does not exist: …" */
};

/* A VF by its PF, index and address. */
struct vf_choice {
	char pf[DEV_ADDR_MAX];
	int vf;
	char vf_addr[DEV_ADDR_MAX];
};

/**
 * struct alloc_choice - what a port gets, from its class and its overrides
 * @path: the first eligible path in order of preference
 * @reason: a line for each path of the list, in its order, also for those behind the chosen one
 */
struct alloc_choice {
	enum vnic_path path;
	struct vf_choice vf; /* of paths sriov and vmdq; no address where it has none */
	char mgmtdev[MGMTDEV_NAME_MAX]; /* of path vdpa: who makes its device */
	char segment[VNIC_NAME_MAX];
	uint16_t vlan;
	uint64_t rate;
	uint32_t weight;
	bool spoofchk, trust;
	struct vf_extra extra; /* of its VF */
	uint32_t queues;
	struct path_reason reason[VNIC_PATH_COUNT];
	size_t n_reasons;
};

/**
 * struct alloc_host - what there is to choose from
 * @ports: the ports there are (uthash by key); one of the same key is not counted against what is asked
 * @index: of @ports, as its owner keeps it; NULL: it is made for this call
 * @before: the PCI address of the VF that this key had last, or NULL: it gets the same where it can
 * @hostdevs: VFs that are domains' by their own XML, or are being put back after that (uthash by address)
 * @nics: what vnicd does about nics' VFs (uthash by PF): a drained one gives none
 */
struct alloc_host {
	const struct inventory *inv;
	const struct vnic_config *config;
	const struct vnic_port *ports;
	const struct alloc_index *index;
	const char *before;
	const struct nic_share *nics;
	const struct vnic_hostdev *hostdevs;
};

/* Is there something of the VF at @addr that vnicd still has to put back? @all: as in struct alloc_host */
bool hostdev_holds(const struct vnic_hostdev *all, const char *addr);

/**
 * alloc() - choose a path for @spec
 * @ret: also filled in where no path is eligible (-ENOTSUP, NoPath), for its reasons
 *
 * Errors, each with @err: UnknownClass, InvalidMac, InvalidArgument, VlanNotAllowed, DuplicateMac,
 * SocketInUse, LimitReached, NoPath; -ENOMEM.
 */
int alloc(const struct alloc_host *host, const struct port_spec *spec, struct alloc_choice *ret,
	  struct vnic_err *err);
