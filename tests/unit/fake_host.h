/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host for the manager's unit tests: links, bridge VLANs, FDB, sockets, the datapath's state and the records,
 * all in memory, with a clock that the test turns. Every call to the outside is counted; the test names one that
 * fails, or at which the daemon "is killed": from there on nothing happens and nothing is answered.
 */
#pragma once

#include "daemon/core/manager.h"

#define FAKE_MAX 64

enum fake_when { FAKE_BEFORE, FAKE_AFTER };

struct fake_link {
	struct vnic_link link;
	bool ours; /* made by a step */
	bool uplink; /* of vnic.ko */
	uint16_t vlan[FAKE_MAX], pvid;
	size_t n_vlans;
};

struct fake_plan_records {
	const char *what;
	struct fake_plan_record {
		char name[DEV_ADDR_MAX];
		struct plan plan;
		bool drained;
	} record[FAKE_MAX];
	size_t n;
};

#define FAKE_PFS 2

struct fake_pf {
	struct vnic_pf pf;
	bool born_bound[FAKE_MAX]; /* VFs that got a driver of the host when they were made */
	bool stuck; /* the kernel shows no further VF */
	bool representors; /* in switchdev mode: each VF gets one */
	bool netdev_due[FAKE_MAX]; /* a driver was bound to the VF by a step: its netdev comes */
	uint8_t fdb[FAKE_MAX][VNIC_MAC_LEN]; /* its own table */
	size_t n_fdb;
};

struct fake_host {
	/* the host */
	struct fake_link link[FAKE_MAX];
	size_t n_links;
	char socket[FAKE_MAX][PORT_SOCK_FILE_MAX];
	size_t n_sockets;
	/* Open vSwitch's database: br0 is its bridge */
	bool ovs, ovs_away;
	struct fake_ovs_port {
		char name[IFNAMSIZ], bridge[IFNAMSIZ];
		uint16_t vlan[FAKE_MAX];
		size_t n_vlans;
	} ovs_port[FAKE_MAX];
	size_t n_ovs_ports;
	bool ovs_changed; /* and the daemon has not been told */
	char fdb[FAKE_MAX][64];
	size_t n_fdb;
	int next_ifindex;
	struct fake_pf pf[FAKE_PFS];
	size_t n_pfs;
	struct {
		char vf_addr[DEV_ADDR_MAX];
		struct port_key key;
	} plugged[FAKE_MAX]; /* libvirt's: VFs in guests */
	size_t n_plugged;
	struct domain_device hostdev[FAKE_MAX]; /* libvirt's: what domains have by their own XML */
	size_t n_hostdevs;
	/* vDPA: devices, and links to their nodes */
	struct fake_vdpa {
		char name[VNIC_NAME_MAX], mgmtdev[MGMTDEV_NAME_MAX], driver[DRIVER_NAME_MAX];
		uint8_t mac[VNIC_MAC_LEN];
		uint16_t vlan;
		uint64_t rate;
		uint32_t weight, allow, pairs;
		bool open; /* somebody has its node */
	} vdpa[FAKE_MAX];
	size_t n_vdpas;
	char node[FAKE_MAX][2 * VNIC_NAME_MAX];
	size_t n_nodes;
	bool no_vnic; /* vnic.ko cannot be loaded */
	char card_mgmtdev[MGMTDEV_NAME_MAX]; /* another's management device; empty: there is none */
	uint32_t refuse_attrs; /* 1 << enum vf_attr: the PFs' driver sets none of these */
	bool no_netdevs; /* drivers that were bound make none */
	enum step_kind refuse; /* steps of this kind fail with -EIO */
	/* the datapath */
	bool dp_up;
	struct {
		char name[VNIC_NAME_MAX];
		bool has_tap;
		int n_cores;
	} dp_segment[FAKE_MAX];
	size_t n_dp_segments;
	struct dp_port_status dp_port[FAKE_MAX];
	char dp_port_segment[FAKE_MAX][VNIC_NAME_MAX];
	char dp_port_socket[FAKE_MAX][PORT_SOCK_FILE_MAX]; /* whose listener it has */
	enum port_standby dp_standby[FAKE_MAX];
	size_t n_dp_ports;
	unsigned int forget_fails; /* so many times yet, to forget a port */
	unsigned int n_forgets;
	/* the records: what survives the daemon */
	struct vnic_port *port_record[FAKE_MAX];
	size_t n_port_records;
	struct fake_plan_records shared_records, nic_records, hostdev_records;
	/* domains that live */
	char alive[FAKE_MAX][512];
	size_t n_alive;
	/* libvirt: what it tells of domains that run, or that it cannot be reached */
	bool libvirt_up, asked;
	unsigned int n_asked;
	struct domain_request domain[FAKE_MAX]; /* one spec each, in domain_spec */
	struct port_spec domain_spec[FAKE_MAX];
	size_t n_domains;
	/* the daemon */
	struct manager *m;
	struct inventory inv;
	uint64_t now, wake_at;
	uint64_t step_us; /* how long a step takes */
	uint64_t longest_turn; /* of manager_wake(), in us */
	bool async; /* steps complete in a later turn */
	enum step_kind hold; /* those of this kind do not, until it is 0 again */
	struct {
		manager_step_done done;
		void *arg;
		int error;
		enum step_kind kind;
	} pending[FAKE_MAX];
	size_t n_pending;
	/* faults: the Nth call (from 1) of step_do, step_undo or a record's writing */
	unsigned int calls;
	unsigned int fail_at, kill_at;
	int fail_with;
	enum fake_when kill_when;
	bool failed, dead;
	char call[256][160]; /* what each was */
};

void fake_init(struct fake_host *h);
/* br0 is a bridge of Open vSwitch's from now on, with eth0 in it. */
void fake_ovs(struct fake_host *h);
void fake_deinit(struct fake_host *h);

struct fake_link *fake_add_link(struct fake_host *h, const char *name, enum link_kind kind,
				const char *master);
void fake_del_link(struct fake_host *h, const char *name);
struct fake_link *fake_link(struct fake_host *h, const char *name);
bool fake_has_vlan(struct fake_host *h, const char *name, uint16_t vlan);

/* Make @ifname a PF that can have @total VFs. */
struct fake_pf *fake_add_pf(struct fake_host *h, const char *addr, const char *ifname, int total);
void fake_switchdev(struct fake_pf *pf); /* its VFs will have representors "rep0" … */
void fake_del_pf(struct fake_host *h, const char *addr);
/* As somebody else would, by vdpa(8). */
struct fake_vdpa *fake_add_vdpa(struct fake_host *h, const char *name, const char *mgmtdev);
void fake_del_vdpa(struct fake_host *h, const char *name);
struct fake_vdpa *fake_vdpa(struct fake_host *h, const char *name);
/* As somebody else would: echo N > sriov_numvfs. */
void fake_numvfs(struct fake_host *h, struct fake_pf *pf, int n);
/*
 * Domain number @domain gets, by its own XML, VF @vf of @pf as an interface of @class_name ("": names none), or gives
 * back what it has (NULL); libvirt's list tells, whole.
 */
struct domain_device *fake_hostdev(struct fake_host *h, unsigned int domain,
				   const struct fake_pf *pf, int vf, const char *class_name);
void fake_tell_hostdevs(struct fake_host *h);
/* The VF that the guest of @key has; NULL: none. */
struct vnic_vf *fake_plugged(struct fake_host *h, const struct port_key *key);

/* Begin a daemon: configuration, inventory, records, datapath (where it is up). */
void fake_start(struct fake_host *h, struct vnic_config *config);
/* The daemon ends as by kill -9: only host, datapath and records stay. Faults are forgotten. */
void fake_kill(struct fake_host *h);

void fake_dp_connect(struct fake_host *h);
void fake_dp_restart(struct fake_host *h); /* it forgets all, and is there again */
void fake_peer(struct fake_host *h, const struct port_key *key, enum port_state state);

/* Turn the loop until nothing is due within @us of the clock. */
void fake_run(struct fake_host *h, uint64_t us);

/* The host in words, without what is the daemon's alone: to compare before and after. malloc()ed. */
char *fake_snapshot(const struct fake_host *h);

/* Somebody takes every FDB entry, or a VLAN from a link, and the kernel tells. */
void fake_take_fdb(struct fake_host *h);
void fake_take_vlan(struct fake_host *h, const char *name, uint16_t vlan);

/* libvirt knows the domain of @spec, which runs; NULL: it knows none. */
void fake_libvirt(struct fake_host *h, const struct port_spec *spec);

void fake_set_alive(struct fake_host *h, const char *pidfile, bool alive);

/* [segment lan] on br0 with uplink eth0, class gold: VLANs 0-100, software */
struct vnic_config *fake_config(void);
/* [nic IFNAME] vfs=N, and class gold prefers VFs */
void fake_want_vfs(struct vnic_config *config, const char *ifname, int vfs);
/* [nic IFNAME] vnic=yes or no */
void fake_want_uplink(struct vnic_config *config, const char *ifname, bool vnic);
struct port_spec fake_spec(unsigned int domain, unsigned int nic);
