/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces of domains' XML, for tests that read it. */
#pragma once

#include "tests/unit/unit.h"

#include <string.h>

#include "libvirt-hook/domain_xml.h"

#define UUID   "6ecd5f50-1712-4b9b-ba6c-dd77b83b4ab5"
#define HEAD   "<domain type='qemu' id='1'><name>web</name><uuid>" UUID "</uuid>"
#define SHARED "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
#define NOBALL "<memballoon model='none'/>"
#define MAC1   "52:54:00:00:00:01"
#define MAC2   "52:54:00:00:00:02"
#define RECON  "<reconnect enabled='yes' timeout='1'/>"
#define NIC(mac, socket, mode, recon, rest)                                                     \
	"<interface type='vhostuser'><mac address='" mac "'/><source type='unix' path='" socket \
	"' mode='" mode "'>" recon "</source>" rest "</interface>"
#define GOOD(mac, socket) NIC(mac, socket, "client", RECON, "<model type='virtio'/>")
#define SOCK(name)	  "/run/vnicd/sock/gold/" name ".sock"
#define PORTS(x)	  "<metadata><v:ports xmlns:v='urn:vnicd:1'>" x "</v:ports></metadata>"
#define DEVICES(x)	  SHARED "<devices>" x NOBALL "</devices>"
#define PCI(bus, function)                                                                      \
	"<address type='pci' domain='0x0000' bus='0x" bus "' slot='0x10' function='0x" function \
	"'/>"

static inline struct domain *parse(const char *xml)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct domain *d = NULL;

	if (domain_xml_parse(xml, strlen(xml), &d, &err) < 0)
		print_error("%s\n", err.message), fail();
	return d;
}
