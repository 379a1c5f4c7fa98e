/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The little XML that vnicd writes itself. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/str.h"
#include "libvirt-hook/domain_xml.h"

/**
 * xml_nic() - an <interface> as vnicd wants it
 * @mac: or NULL: libvirt chooses
 * @queues: queue pairs; 0 and 1 need no <driver>
 *
 * Return: the text without a final newline, which the caller frees; NULL when memory is out.
 */
char *xml_nic(const uint8_t *mac, const char *socket, uint32_t queues);

/* The same of a vDPA device, which libvirt opens by @dev. */
char *xml_vdpa(const uint8_t *mac, const char *dev, uint32_t queues);

/**
 * xml_hostdev() - a VF as it is plugged in beside its standby
 *
 * Not managed, and no <interface>: driver, MAC and VLAN are vnicd's to set and to put back.
 * Return: as xml_nic().
 */
char *xml_hostdev(const struct pci_address *address, const char *alias, const char *standby);
