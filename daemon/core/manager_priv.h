/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the manager's own files share; nobody else includes it. */
#pragma once

#include <stddef.h>

#include "daemon/core/manager.h"

#define SEC 1000000ull /* in microseconds */

/* How long a request waits for a datapath that is away: its restart takes less. */
#define DP_GRACE (5 * SEC)
/* How long a pidfile must be free before a port without a peer goes; before its domain started, longer. */
#define REAP_STARTED  (10 * SEC)
#define REAP_PREPARED (120 * SEC)
#define REAP_LOOK     (2 * SEC)
/* Thousands of VLANs are thousands of steps: how long one turn of the loop may be at them. */
#define TURN_MAX (SEC / 20)
/* How long notifications may lag behind what was done, and the least time between two repairs. */
#define SETTLE (1 * SEC)
/* A link that goes changes several times: how long to watch before repairing it. */
#define DRIFT_LOOK (SEC / 10)

/*
 * Who has a plan: a port or a segment's share. One of its steps is under way at a time, on a copy, since the
 * plan may move.
 */
struct owner {
	struct manager *m;
	struct plan *plan;
	const struct vnic_segment *segment;
	struct vnic_port *port; /* NULL: a share */
	const struct nic_share *nic; /* of a nic's VFs; then there is no segment */
	const struct vnic_hostdev *hostdev; /* of a VF of libvirt's; nor is there one then */
	bool busy, undoing;
	bool unrecorded; /* the record says "begun" of something that has ended */
	bool redo; /* what the step under way tells has changed meanwhile: once more */
	size_t at;
	struct step cur;
	int error; /* of the last step, until somebody looked at it */
	struct vnic_err err;
	uint64_t retry_at, backoff;
	uint64_t settled_at; /* when its last step ended */
};

/* Somebody takes away what we make: contest.c */
struct contest {
	unsigned int n; /* how often, since it was quiet last */
	uint64_t last, until; /* when, and when it may be put back */
};

struct managed_port {
	struct vnic_port port;
	struct owner own;
	bool gone; /* on its way out */
	bool dp_listed, dp_has_listener; /* on the current connection */
	struct dp_port_status last; /* with dp_listed: what it said last */
	bool complained; /* its reason is a failed step's: forgotten once that is repaired */
	bool unsure, asked; /* libvirt is to be asked of it, is being asked: orphan.c */
	struct contest contest;
	char remark[PORT_REASON_MAX]; /* its reason where the datapath has none to tell */
	uint64_t free_since; /* its domain's pidfile is free and there is no peer; 0: not so */
	uint64_t look_at; /* when to look at the pidfile again */
	int error; /* why it could not be made */
	struct vnic_err err;
	uint64_t vf_gone_since; /* the VF of its queue is not there; 0: it is */
	bool leaving; /* its queue is given up, for the path software */
	uint64_t netdev_until; /* the netdev of its queue is waited for; 0: it is not */
	struct owner device_own;
	bool device_drop; /* its VF is to be put back */
	bool device_lost; /* its VF went while a step was under way */
	struct contest device_contest; /* of its VF's attributes */
	uint64_t device_retry_at; /* not to be given another before; 0: at once */
	bool device_stale; /* its settings have changed */
	uint64_t attached_at;
	bool was_attached; /* before a restart of ours: it is being looked at again */
	bool device_asked; /* it was asked once whether it can have a VF */
	char device_said[PORT_REASON_MAX]; /* the failure that its history tells */
};

struct managed_share {
	struct segment_share share;
	struct owner own;
	bool stale; /* something changed that may concern it */
	bool dp_listed, dp_has_tap;
	uint64_t repaired_at, drifted_at;
	struct contest contest; /* of its VLANs */
};

static inline struct managed_port *managed(struct vnic_port *port)
{
	return (struct managed_port *)((char *)port - offsetof(struct managed_port, port));
}

static inline struct managed_share *managed_share(struct segment_share *share)
{
	return (struct managed_share *)((char *)share - offsetof(struct managed_share, share));
}

struct managed_nic {
	struct nic_share nic;
	struct owner own;
	bool stale; /* something changed that may concern it */
};

static inline struct managed_nic *managed_nic(struct nic_share *nic)
{
	return (struct managed_nic *)((char *)nic - offsetof(struct managed_nic, nic));
}

struct managed_hostdev {
	struct vnic_hostdev dev;
	struct owner own;
	bool listed; /* libvirt said last that a domain has it */
	bool unheard; /* it is from a record, and libvirt has not said anything yet */
	uint32_t refused; /* 1 << enum vf_attr: failed, to be tried again later */
	struct contest contest;
};

static inline struct managed_hostdev *managed_hostdev(struct vnic_hostdev *dev)
{
	return (struct managed_hostdev *)((char *)dev - offsetof(struct managed_hostdev, dev));
}

static inline uint64_t manager_now(const struct manager *m)
{
	return m->io.now(m->io.data);
}

/* manager.c */
void manager_kick(struct manager *m); /* there is work */
void manager_wake_before(struct manager *m,
			 uint64_t when); /* look again at that time at the latest */
void manager_tell_port(struct manager *m, const struct vnic_port *port);
void manager_tell_segment(struct manager *m, const char *segment);
bool manager_dp_away(const struct manager *m); /* down for longer than requests wait */
int manager_alloc(const struct manager *m, const struct port_spec *spec, struct alloc_choice *ret,
		  struct vnic_err *err);
/* The port of that key and, unless it is 0, generation; else UnknownPort, StaleGeneration. */
int manager_find_port(const struct manager *m, const struct port_key *key, uint64_t generation,
		      struct vnic_port **ret, struct vnic_err *err);
int manager_dp_error(const struct manager *m, struct vnic_err *err);
/* It is not known yet what the datapath serves: nothing may be taken from it. Looks again in time. */
bool manager_dp_unmet(struct manager *m);

/* datapath.c */
/* The datapath is to forget the port of that status, which is none of ours: told until it has, or is gone itself. */
void stray_forget(struct manager *m, const struct dp_port_status *status);
void strays_pump(struct manager *m);
void strays_free(struct manager *m);

/* owner.c */
/* How long to wait after another failure, where @before was waited after the last one (0: it was the first). */
uint64_t backoff_next(uint64_t before);
void owner_init(struct owner *o, struct manager *m, struct plan *plan,
		const struct vnic_segment *segment, struct vnic_port *port);
/* Begin step @i: do it (recorded as begun first), or undo it. */
void owner_begin(struct owner *o, size_t i, bool undo);
/* The last step that is not undone: its index, or -1. */
ssize_t owner_last(const struct owner *o);
int owner_record(struct owner *o);
/* Wait longer after each failure: now is not the time for another try. */
void owner_back_off(struct owner *o);
/* Somebody waits for it: no longer than after the first failure. */
void owner_hurry(struct owner *o);
/* What steps of @kind tell has changed: they are done again, also the one that is under way. */
void owner_redo(struct owner *o, enum step_kind kind);
/* The datapath lists what counted as undone because it was away: that is to be undone again. */
void owner_not_undone(struct owner *o, enum step_kind kind);
/*
 * Has somebody else changed what @step did? @shown: its effect is in the inventory, which lags behind what we do: it is
 * missed only once it had been shown, or has had time to be. Looks again in time.
 */
bool owner_drifted(struct owner *o, struct step *step, bool shown);
static inline bool owner_waits(struct owner *o)
{
	return o->busy || o->retry_at > manager_now(o->m);
}

/* share.c */
struct managed_share *share_get(struct manager *m, const struct vnic_segment *segment);
void share_pump(struct managed_share *s);
void shares_stale(struct manager *m);
/* What alloc sorts @port by (alloc_index_update()) is another now. */
void manager_index_port(struct manager *m, const struct vnic_port *port);
/* Has the datapath got the segment, so that it takes ports of it? */
bool share_told(const struct segment_share *share);
bool share_settled(struct manager *m, const char *segment);
bool share_used(const struct manager *m, const char *segment);
int share_wanted(const struct manager *m, const struct vnic_segment *segment,
		 const struct vnic_port *and_this, int tap_ifindex, struct plan *ret);
struct managed_share *share_free(struct managed_share *s);

/* port.c */
struct managed_port *port_make(struct manager *m, const struct port_spec *spec,
			       const struct alloc_choice *choice);
void port_adopt(struct manager *m, struct managed_port *p);
void port_release(struct managed_port *p);
void port_fail(struct managed_port *p, int error, const struct vnic_err *err);
void port_pump(struct managed_port *p);
void port_reap(struct managed_port *p);
void port_status(struct managed_port *p, const struct dp_port_status *status);
void port_datapath_back(struct managed_port *p);
void port_datapath_lost(struct managed_port *p);
void port_settings(struct managed_port *p);

/* A line of its history */
void port_event(struct managed_port *p, const char *text);
/* What is to be said of it for as long as the datapath says nothing; empty: nothing any more */
void port_remark(struct managed_port *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* What was asked for and what is in force by that. */
void port_choose(struct vnic_port *port, const struct port_spec *spec,
		 const struct alloc_choice *choice);

/* promote.c */
void devices_promote(struct manager *m);

/* reach.c */
/* Is it one of the steps that reach_pump() looks after? */
bool reach_step(const struct step *step);
/* Return: true where a step was begun. */
bool reach_pump(struct managed_port *p);
void port_fdb_lost(struct managed_port *p);

/* orphan.c */
void orphan_take(struct manager *m, const struct dp_port_status *status);
/* It is one: says so, and that libvirt is asked. */
void orphan_found(struct managed_port *p, const char *text);
/* 0 where it is a port like others now (or is none, or goes). */
int orphan_identify(struct managed_port *p, const struct port_spec *spec);
void orphan_let_go(struct managed_port *p);
/* Is there one in @segment (NULL: at all)? */
bool orphans_in(const struct manager *m, const char *segment);
void orphans_look(struct manager *m);

/* contest.c */
/* Is it too early to put back what was taken? Looks again in time. */
bool contest_waits(struct manager *m, struct contest *c);
/* It was taken, once more: the next waiting is longer. */
void contest_lose(struct manager *m, struct contest *c);
/* From the third time on somebody means it, and the administrator is told. */
#define CONTEST_TOLD_FROM 3
/* Has it been quiet for long enough? Looks again in time where not. */
bool contest_over(struct manager *m, struct contest *c);
/* The port's own: says so once it is over. */
void contest_look(struct managed_port *p);

/* nic.c */
void nic_pump(struct managed_nic *n);
/* What follows nics that are uplinks of vnic.ko have, too. The one of @table with that key, new or not; NULL: no memory. */
struct managed_nic *nic_get(struct manager *m, struct nic_share **table, const char *key);
/* @fmt: a sentence for people; empty: all is well. */
void nic_tell(struct managed_nic *n, bool ready, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Is it to be looked at now? What failed is told and waits first. After the look, nic_looked(). */
bool nic_due(struct managed_nic *n);
void nic_looked(struct managed_nic *n);
/* What happens after step @i is looked at in another turn. */
void nic_begin(struct managed_nic *n, size_t i, bool undo);
/* Its record could not be removed: again, later. */
void nic_stays(struct managed_nic *n);
void nics_stale(struct manager *m);
void nics_named(struct manager *m, const struct vnic_link *link);
int nic_restore(struct manager *m, const char *pf, struct plan *plan, bool drained);
bool nic_is_drained(const struct manager *m, const char *pf);
struct managed_nic *nic_free(struct managed_nic *n);

/* uplink.c */
void uplink_pump(struct managed_nic *n);
void uplinks_stale(struct manager *m);
/* Is it what the record of one is called? */
bool uplink_is_key(const char *key);
/* Takes @plan's content over on success only. */
int uplink_restore(struct manager *m, const char *key, struct plan *plan);

/* vdpa.c: ports of path vdpa */
/* Is its device still there, and does its guest run? */
void vdpa_look(struct managed_port *p);
/* Its class may say something else by now. */
void vdpa_settings(struct managed_port *p);
/* Devices of vnicd's whose records are lost: those on its own uplinks become orphans (orphan.c). */
void vdpas_look(struct manager *m);

/* hostdev.c */
void hostdev_pump(struct managed_hostdev *h);
int hostdev_restore(struct manager *m, const char *addr, struct plan *plan);
struct managed_hostdev *hostdev_free(struct managed_hostdev *h);
/* Classes and sections of nics may be others. */
void hostdevs_config(struct manager *m);

/* device.c */
/* Why it has no VF, or what is wrong with it; empty: nothing */
void device_reason(struct managed_port *p, const char *text);
/* A line of the port's history */
void device_say(struct managed_port *p, const char *what);
void device_adopt(struct managed_port *p);
/* The VF that a port has, of path sriov or vmdq; and none any more: others may take it. */
void device_take(struct port_device *d, const struct vf_choice *choice, enum device_state state);
void device_let_go(struct managed_port *p);
void device_reserve(struct managed_port *p, const struct vf_choice *choice);
void device_pump(struct managed_port *p);
/* Do the guest's frames go by its VF, so that nobody needs to look for its MAC behind the tap? */
bool device_carries(struct managed_port *p);
/* The port's VLAN, rate, spoofchk or trust may have changed: its VF's follow, be it in its guest or its queue. */
void device_settings(struct managed_port *p);
/*
 * Attributes are set as in @wanted, new ones in their place there; a rate that is not wanted is no limit, and the link is
 * as it was. 0 or -ENOMEM
 */
int plan_follow_attrs(struct plan *held, const struct plan *wanted);
/* The PCI address of the VF that @key had last, or NULL. */
const char *device_before(const struct manager *m, const struct port_key *key);
void device_forget_all(struct manager *m);

/* queue.c: ports of path vmdq */
/* Is the failure of its step none yet, since its netdev may still come? Tries again in time. */
bool queue_retry(struct managed_port *p);
/* Is its next step to wait? Fills in what the steps before it have found. */
bool queue_waits(struct managed_port *p, struct step *step);
void queue_datapath_back(struct managed_port *p);
/* Is its netdev still there? */
void queue_look(struct managed_port *p);
/* Is its VF gone for good, and the port on its way to the path software? Then there is nothing else to do for it. */
bool queue_leaves(struct managed_port *p);

/* job.c */
void jobs_pump(struct manager *m);
void jobs_free(struct manager *m);
