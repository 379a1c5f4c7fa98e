/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every error code that leaves a vnicd program. Over D-Bus it is "org.vnicd1.Error." + code, in
 * JSON {"error":{"code":…,"message":…}}, and vnicctl turns it into an exit code. Codes are API.
 */
#pragma once

#define VNIC_DBUS_ERROR_PREFIX "org.vnicd1.Error."

#define VNIC_E_INVALID_MESSAGE	"InvalidMessage" /* not of the protocol's form */
#define VNIC_E_INVALID_CONFIG	"InvalidConfig" /* a configuration file; nothing was applied */
#define VNIC_E_INVALID_XML	"InvalidXml" /* a domain's XML */
#define VNIC_E_INVALID_ARGUMENT "InvalidArgument"
#define VNIC_E_INVALID_MAC	"InvalidMac"
#define VNIC_E_UNKNOWN_CLASS	"UnknownClass"
#define VNIC_E_UNKNOWN_SEGMENT	"UnknownSegment"
#define VNIC_E_UNKNOWN_NIC	"UnknownNic"
#define VNIC_E_UNKNOWN_PORT	"UnknownPort"
#define VNIC_E_UNKNOWN_DOMAIN	"UnknownDomain"
#define VNIC_E_VLAN_NOT_ALLOWED "VlanNotAllowed"
#define VNIC_E_DUPLICATE_MAC	"DuplicateMac"
#define VNIC_E_SOCKET_IN_USE	"SocketInUse" /* bound to another (domain, MAC) */
#define VNIC_E_STALE_GENERATION "StaleGeneration" /* somebody else's port by now */
#define VNIC_E_NO_PATH		"NoPath" /* no path of the class is eligible; says why */
#define VNIC_E_LIMIT		"LimitReached"
#define VNIC_E_BUSY		"Busy"
#define VNIC_E_STEP_FAILED	"StepFailed" /* the kernel refused; everything was undone */
#define VNIC_E_DATAPATH_DOWN	"DatapathDown"
#define VNIC_E_DAEMON_DOWN	"DaemonDown"
#define VNIC_E_LIBVIRT		"LibvirtFailed"
#define VNIC_E_TIMEOUT		"Timeout"
#define VNIC_E_ACCESS		"AccessDenied"
#define VNIC_E_INTERNAL		"Internal"
