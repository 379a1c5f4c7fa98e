/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where things live. Names that other programs rely on; HACKING.md says how tests get a private
 * set of them (a mount namespace of their own), so no program takes another root by an option.
 */
#pragma once

#define VNIC_CONF_FILE	 "/etc/vnicd/vnicd.conf"
#define VNIC_CONF_DIR	 "/etc/vnicd/vnicd.conf.d"
#define VNIC_RUN_DIR	 "/run/vnicd"
#define VNIC_PORTS_DIR	 "/run/vnicd/ports" /* one record a port */
#define VNIC_SHARED_DIR	 "/run/vnicd/shared" /* records of what several ports share */
#define VNIC_SOCK_DIR	 "/run/vnicd/sock" /* CLASS/NAME.sock, where guests connect */
#define VNIC_VDPA_DIR	 "/run/vnicd/vdpa" /* CLASS/NAME, links to the nodes of vDPA devices */
#define VNIC_HOOK_SOCK	 "/run/vnicd/hook.sock" /* libvirt's hooks to vnicd */
#define VNIC_DP_SOCK	 "/run/vnicd/datapath.sock" /* vnicd to the datapath's keeper */
#define VNIC_OVSDB_SOCK	 "/run/openvswitch/db.sock" /* Open vSwitch's database */
#define VNIC_PIDFILE_DIR "/run/libvirt/qemu" /* libvirt's NAME.pid, locked by a living QEMU */
