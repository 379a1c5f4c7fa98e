/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What alloc() looks up among the ports there are, kept beside them so that the ten-thousandth port costs no more
 * than the first. It holds copies of what it sorts by: a port that changes is told by alloc_index_update().
 */
#pragma once

#include "daemon/model/port.h"

struct alloc_index;

int alloc_index_new(struct alloc_index **ret);
/* Takes NULL; returns NULL. The ports are not its own. */
struct alloc_index *alloc_index_free(struct alloc_index *ix);

/**
 * alloc_index_update() - a port is new, or its class, name, segment, VLAN or device is another now
 * @port: must stay where it is until alloc_index_remove()
 * Return: 0, or -ENOMEM: then the port is not in it.
 */
int alloc_index_update(struct alloc_index *ix, const struct vnic_port *port);
void alloc_index_remove(struct alloc_index *ix, const struct port_key *key);

/* In all of these the port of key @but is not there. */

/* A port with that MAC on @segment and @vlan, or NULL. */
const struct vnic_port *alloc_index_mac(const struct alloc_index *ix, const char *segment,
					uint16_t vlan, const uint8_t mac[VNIC_MAC_LEN],
					const struct port_key *but);
/* A port with that socket, or NULL. */
const struct vnic_port *alloc_index_socket(const struct alloc_index *ix, const char *class_name,
					   const char *name, const struct port_key *but);
/* How many ports @class_name has, and how many of them hold a VF. */
void alloc_index_class(const struct alloc_index *ix, const char *class_name,
		       const struct port_key *but, uint32_t *ret_ports, uint32_t *ret_vfs);

/* Who holds the VFs of PF @pf, for alloc_index_holder(). NULL: nobody does. */
const struct alloc_index_pf *alloc_index_pf(const struct alloc_index *ix, const char *pf);
/* The port that holds VF @vf, or NULL; @pf may be NULL. */
const struct vnic_port *alloc_index_holder(const struct alloc_index_pf *pf, int vf);
