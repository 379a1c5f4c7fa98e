/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The manager: the object that everything meets at. Specs come in from hook and D-Bus, the inventory from
 * the kernel, port states from the datapath; plans go out to be done, records to be written, changes to
 * observers. It makes no system call: the outside is struct manager_io, which main.c fills in (and a unit
 * test fakes).
 *
 * It is level-triggered: each input marks work to do and asks to be woken; manager_wake() looks at what is
 * wanted and what is, and begins the next step of each owner (a segment's shared plan, a port's own). One
 * step of an owner is under way at a time. No callback of a caller (done, observers) is ever called from
 * within a request that it made: they come from manager_wake(), an io completion, or a notification.
 */
#pragma once

#include "base/err.h"
#include "daemon/core/alloc.h"
#include "daemon/core/request.h"
#include "daemon/model/bridge_gone.h"
#include "daemon/model/config.h"
#include "daemon/model/hostdev.h"
#include "daemon/model/link.h"
#include "daemon/model/port.h"

/* @error: 0 or a negative errno; @err: more about it, may be NULL. */
typedef void (*manager_step_done)(void *arg, int error, const struct vnic_err *err);

/**
 * struct manager_io - calls to the outside, supplied by the wiring
 *
 * @now, @realtime: CLOCK_MONOTONIC and CLOCK_REALTIME in microseconds
 * @wake_at: call manager_wake() once, from the loop and never from within, at or after @when (of @now's
 *	clock; 0: in the loop's next turn; UINT64_MAX: not at all). Replaces the call asked for before.
 * @step_probe: read the previous value of what @step will change into prev and has_prev, change nothing.
 *	Called only while has_prev is false; for kinds that have none it does nothing and returns 0.
 * @step_do: do @step; @step is the manager's until @done, which is called exactly once, possibly before
 *	this returns. Doing a done step again is harmless (it repairs). Fills in ifindex of STEP_TAP_CREATE.
 *	@segment: of every step; @port: of a port's own, else NULL.
 * @step_undo: put back; also right for a step that was begun and never acted. -ENOENT, -ENODEV and
 *	-ENOTCONN from it count as done: what is gone needs no undoing.
 * @dp_forget_port: tell the datapath to drop a port that no record knows; @done once, possibly before this
 *	returns; -ENOENT and -ENOTCONN from it count as done. Told again later where it fails.
 * @dp_counters: fetch a port's counters; @done once, then the manager updates the port
 * @vdpa_counters: the same of a port of path vdpa: puts them, or why there are none, into the port
 * @record_port, @erase_port, @record_shared, @erase_shared, @record_nic, @erase_nic, @record_hostdev,
 *	@erase_hostdev: write or remove a record, at once; erasing what is not there is 0
 * @domain_alive: 1 while a process holds the lock on @pidfile, 0 where none does or there is no such
 *	file, negative errno where it cannot be told
 * @ask_domains: ask libvirt which domains run; manager_domains() is called once with the answer, later
 * @sweep_sockets: remove the files of sockets that no port of the manager's has and nobody listens on;
 *	may be NULL
 */
struct manager_io {
	void *data;
	uint64_t (*now)(void *data);
	uint64_t (*realtime)(void *data);
	void (*wake_at)(void *data, uint64_t when);
	int (*step_probe)(void *data, struct step *step, struct vnic_err *err);
	void (*step_do)(void *data, struct step *step, const struct vnic_segment *segment,
			const struct vnic_port *port, manager_step_done done, void *arg);
	void (*step_undo)(void *data, struct step *step, const struct vnic_segment *segment,
			  const struct vnic_port *port, manager_step_done done, void *arg);
	void (*dp_forget_port)(void *data, const struct port_key *key, uint64_t generation,
			       manager_step_done done, void *arg);
	void (*dp_counters)(void *data, const struct port_key *key, manager_step_done done,
			    void *arg);
	void (*vdpa_counters)(void *data, const struct port_key *key, manager_step_done done,
			      void *arg);
	int (*record_port)(void *data, const struct vnic_port *port);
	int (*erase_port)(void *data, const struct port_key *key);
	int (*record_shared)(void *data, const char *segment, const struct plan *plan);
	int (*erase_shared)(void *data, const char *segment);
	int (*record_nic)(void *data, const char *pf, const struct plan *plan, bool drained);
	int (*erase_nic)(void *data, const char *pf);
	int (*record_hostdev)(void *data, const char *addr, const struct plan *plan);
	int (*erase_hostdev)(void *data, const char *addr);
	int (*domain_alive)(void *data, const char *pidfile);
	void (*ask_domains)(void *data);
	void (*sweep_sockets)(void *data);
};

/* What the ports of a segment share. Read-only outside the manager. */
struct segment_share {
	struct vnic_segment segment; /* as configured when last there */
	char tap[IFNAMSIZ];
	int tap_ifindex; /* 0: not made */
	int bridge_ifindex; /* 0: there is none */
	bool ready; /* every step is done */
	char reason[VNIC_ERR_MESSAGE_MAX]; /* why not, or empty */
	struct plan plan;
	UT_hash_handle hh; /* by segment.name */
};

enum manager_dp_state {
	MANAGER_DP_DOWN,
	MANAGER_DP_SYNCING, /* connected, before hello-end */
	MANAGER_DP_UP,
};

/* A port as the datapath reports it. @state: READY (listening), CONNECTED, RUNNING or QUARANTINED. */
struct dp_port_status {
	struct port_key key;
	uint64_t generation;
	char segment[VNIC_NAME_MAX]; /* empty where it is not told */
	bool has_listener;
	enum port_state state;
	pid_t peer_pid;
	uint32_t queues_active;
	bool logging;
	uint32_t restarts;
	char reason[PORT_REASON_MAX];
	struct port_counters_view counters;
};

/**
 * struct manager_observer - who wants to know; any call may be NULL
 * @port_removed: the port is still whole, and gone when this returns
 * @link_changed: @link is NULL where it is gone
 * @segment_changed: its share was made, changed or undone
 * @nic_changed, @nic_removed: what vnicd does about its VFs, or about it as an uplink of vnic.ko
 * @hostdev_changed: a VF that a domain has by its own XML, and what vnicd sets of it
 * @vf_given_back: no port has the VF of that address any more
 * @pf_changed: the inventory's word of it; it may be gone
 * @vdpa_changed: the inventory's vDPA devices or mdev types
 * @port_noted: a line of its history was written, for the log
 * @datapath_changed: see manager->dp_state
 */
struct manager_observer {
	void *data;
	void (*port_added)(void *data, const struct vnic_port *port);
	void (*port_changed)(void *data, const struct vnic_port *port);
	void (*port_removed)(void *data, const struct vnic_port *port);
	void (*port_noted)(void *data, const struct vnic_port *port, const char *text);
	void (*link_changed)(void *data, int ifindex, const struct vnic_link *link);
	void (*segment_changed)(void *data, const char *segment);
	void (*nic_changed)(void *data, const struct nic_share *nic);
	void (*nic_removed)(void *data, const char *pf);
	void (*hostdev_changed)(void *data, const struct vnic_hostdev *hostdev);
	void (*vf_given_back)(void *data, const char *addr);
	void (*pf_changed)(void *data, const char *pf);
	void (*vdpa_changed)(void *data);
	void (*config_changed)(void *data);
	void (*datapath_changed)(void *data);
	struct manager_observer *next; /* the manager's */
};

struct manager_job;

/* Read-only outside the manager; @ports is a uthash by spec.key, iterate with hh.next. */
struct manager {
	struct manager_io io;
	struct inventory *inv; /* daemon/sys owns it */
	struct vnic_config *config;
	struct vnic_port *ports;
	struct alloc_index *index; /* of them; NULL where there was no memory for it */
	struct segment_share *shares;
	struct nic_share *nics; /* uthash by pf */
	struct nic_share *uplinks; /* of vnic.ko; uthash by pf, which uplink.c says */
	struct vnic_hostdev *hostdevs; /* uthash by device.addr */
	struct memory *memory; /* device.c's */
	bool devices_stale; /* a VF may have become free */
	enum manager_dp_state dp_state;
	char dp_reason[VNIC_ERR_MESSAGE_MAX]; /* why it is down */
	char config_refused
		[VNIC_ERR_MESSAGE_MAX]; /* why the files' configuration is not in force; empty: it is */
	uint64_t dp_down_since;
	struct manager_observer *observers;
	struct manager_job *jobs;
	uint64_t last_generation;
	bool started; /* records are restored: work may begin */
	bool in_wake, dirty;
	uint64_t wake_at;
	bool dp_met; /* the datapath has told what it has, once */
	struct dp_stray *strays; /* datapath.c's: ports that it is to forget */
	bool sweep; /* sockets may be left of ports that nobody knows any more */
	bool asking; /* libvirt, for the domains that run */
	uint64_t ask_at, ask_backoff;
};

/**
 * manager_new()
 * @config: taken over
 * @inv: stays the caller's, must outlive the manager; told of changes by manager_link_changed()
 */
struct manager *manager_new(const struct manager_io *io, struct vnic_config *config,
			    struct inventory *inv);
/* Frees memory only: guests live on. No callback is called any more. */
struct manager *manager_free(struct manager *m);

void manager_observe(struct manager *m, struct manager_observer *observer);
void manager_unobserve(struct manager *m, struct manager_observer *observer);

/* Start-up: first the records, then manager_start(). @port and @plan's content are taken over, always. */
int manager_restore_port(struct manager *m, struct vnic_port *port, struct vnic_err *err);
int manager_restore_shared(struct manager *m, const char *segment, struct plan *plan,
			   struct vnic_err *err);
int manager_restore_nic(struct manager *m, const char *pf, struct plan *plan, bool drained,
			struct vnic_err *err);
int manager_restore_hostdev(struct manager *m, const char *addr, struct plan *plan,
			    struct vnic_err *err);
void manager_start(struct manager *m);

/* What wake_at asked for. */
void manager_wake(struct manager *m);

/* Notifications. */
void manager_link_changed(struct manager *m, int ifindex);
/* A bridge has forgotten something, which may be ours: it is put back. */
void manager_bridge_gone(struct manager *m, const struct bridge_gone *what);
/* The PF with that address, or a VF of it, is new, different or gone. */
void manager_pf_changed(struct manager *m, const char *pf);
/* What is known of Open vSwitch's database has changed (inventory.ovs). */
void manager_ovs_changed(struct manager *m);
/* vDPA management devices, devices or mdev types came, changed or went. */
void manager_vdpa_changed(struct manager *m);
/* The first dump of everything is in the inventory. */
void manager_inventory_complete(struct manager *m);
void manager_datapath_hello(struct manager *m);
void manager_datapath_segment(struct manager *m, const char *name, const char *tap, bool has_tap);
void manager_datapath_port(struct manager *m, const struct dp_port_status *status);
void manager_datapath_hello_end(struct manager *m);
void manager_datapath_lost(struct manager *m, const char *reason);

/**
 * manager_domains() - the answer to io.ask_domains
 * @domains: those that run, with what is vnicd's of their interfaces; one whose XML cannot be read has no specs
 * @err: NULL, or why libvirt could not be asked: it is asked again later
 */
void manager_domains(struct manager *m, const struct domain_request *domains, size_t n,
		     const struct vnic_err *err);

/**
 * manager_config_swap() - check @config and put it in the old one's place
 * Takes @config over on success only. Settings that can change under a guest (rate, weight, spoofchk,
 * trust) apply to its ports at once; segment, VLAN and queues from its next start.
 */
int manager_config_swap(struct manager *m, struct vnic_config *config, struct vnic_err *err);

/* The configuration in the files has an error: the one in force stays, and who looks is told. */
void manager_config_refused(struct manager *m, const struct vnic_err *err);

/*
 * Requests. Each returns a handle, or NULL where memory is out, and calls @done once later, unless
 * manager_cancel() was called, which undoes what was made and calls nothing. The handle is void when
 * @done is called. @err is NULL for success. @ports: those asked for, in order, valid during the call.
 */
typedef void (*manager_ports_done)(void *arg, const struct vnic_err *err,
				   struct vnic_port *const *ports, size_t n_ports);

/* All ports of @req or none; @req is copied. Answers once the datapath has every port. */
struct manager_job *manager_prepare(struct manager *m, const struct domain_request *req,
				    manager_ports_done done, void *arg);
/* One port, as of vnicctl port add. */
struct manager_job *manager_port_add(struct manager *m, const struct port_spec *spec,
				     manager_ports_done done, void *arg);
/* @generation: what the caller saw (StaleGeneration where it is another by now), 0: whatever it is. */
struct manager_job *manager_port_del(struct manager *m, const struct port_key *key,
				     uint64_t generation, manager_ports_done done, void *arg);
/* All ports of a domain; answers once they are gone. A domain that still runs keeps them (Busy). */
struct manager_job *manager_domain_release(struct manager *m, const uint8_t uuid[VNIC_UUID_LEN],
					   manager_ports_done done, void *arg);
void manager_cancel(struct manager *m, struct manager_job *job);

/* The domain's vCPUs run. */
void manager_domain_started(struct manager *m, const uint8_t uuid[VNIC_UUID_LEN]);

/**
 * manager_nic_drain() - let no port have a VF of PF @pf, or let them again
 *
 * Ports that have one go on with another nic's, or in software, as soon as their guests let go; the caller watches
 * them. It lasts until it is taken back, or the PF goes, or the host ends.
 * Errors: UnknownNic; StepFailed where the record cannot be written.
 */
int manager_nic_drain(struct manager *m, const char *pf, bool drain, struct vnic_err *err);

/**
 * manager_devices_found() - which of the VFs that vnicd plugged in domains have, says libvirt
 * @asked_at: when it was asked, by io.now's clock
 *
 * One that was there before and is missing was taken out by somebody: its port is held back, as by vnicctl port
 * detach.
 */
void manager_devices_found(struct manager *m, uint64_t asked_at, const char (*addr)[DEV_ADDR_MAX],
			   size_t n);

/**
 * manager_hostdevs_found() - which devices domains have by their own XML, says libvirt
 * @device: all of them; those that vnicd plugged in itself are left out
 * @partial: of some domain it is not known: who is not listed may have its device still
 *
 * Of those that are VFs what libvirt does not set is set as their class says, and put back when they are listed no more.
 */
void manager_hostdevs_found(struct manager *m, const struct domain_device *device, size_t n,
			    bool partial);

/**
 * manager_device_hold() - take the VF of a port out of its guest and give it none, or let it have one again
 * @generation: as in manager_port_del()
 *
 * It lasts until it is taken back, or the port goes. The caller watches what comes of it in the port's device.
 * Errors: UnknownPort, StaleGeneration, Busy; NoPath for a port that cannot have a VF; StepFailed.
 */
int manager_device_hold(struct manager *m, const struct port_key *key, uint64_t generation,
			bool hold, struct vnic_err *err);

/* Fetch fresh counters of a port; @done once, with the port's counters updated. */
void manager_port_counters(struct manager *m, const struct port_key *key, manager_step_done done,
			   void *arg);

struct vnic_port *manager_port(const struct manager *m, const struct port_key *key);
/* Is the vDPA device one that vnicd made, for a port that there is none of any more? */
bool manager_vdpa_left(const struct manager *m, const struct vdpa_dev *dev);
struct segment_share *manager_share(const struct manager *m, const char *segment);
struct nic_share *manager_nic(const struct manager *m, const char *pf);
/* What vnicd does about the nic as an uplink of vnic.ko; NULL: nothing. */
const struct nic_share *manager_uplink(const struct manager *m, int ifindex);
/* The VF of that address, where a domain has it by its own XML or it is still to be put back; else NULL. */
struct vnic_hostdev *manager_hostdev(const struct manager *m, const char *addr);
/* The section of the configuration that means @pf, or NULL. */
const struct vnic_nic_config *manager_nic_config(const struct manager *m, const struct vnic_pf *pf);

/**
 * struct manager_preview - what manager_port_add() would do
 * @shared: steps of the segment that are not done yet
 * @own: the port's steps
 * @device: those of its VF, once the domain runs
 */
struct manager_preview {
	struct alloc_choice choice;
	struct plan shared, own, device;
};

/* For --dry-run: changes nothing. @ret is filled in (its choice.reason) where no path is eligible too. */
int manager_preview(const struct manager *m, const struct port_spec *spec,
		    struct manager_preview *ret, struct vnic_err *err);
void manager_preview_clear(struct manager_preview *preview);
