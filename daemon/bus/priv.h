/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of daemon/bus share. */
#pragma once

#include <systemd/sd-bus.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "daemon/bus/bus.h"

#define BUS_NAME      "org.vnicd1"
#define BUS_ROOT      "/org/vnicd1"
#define BUS_NICS      BUS_ROOT "/nic"
#define BUS_PORTS     BUS_ROOT "/port"
#define BUS_I_MANAGER "org.vnicd1.Manager"
#define BUS_I_NIC     "org.vnicd1.Nic"
#define BUS_I_PORT    "org.vnicd1.Port"
#define BUS_PATH_MAX  96

/* Long-running calls at a time; one more is LimitReached. */
#define BUS_CALLS_PER_SENDER 32
#define BUS_CALLS_TOTAL	     256
/* Longest text taken as an argument: a message quotes it, and nothing of ours is longer. */
#define BUS_TEXT_MAX	512
#define BUS_REASONS_MAX 32

struct bus_call;
struct bus_seen_port;
struct bus_seen_nic;

struct bus_reasons {
	size_t n;
	char text[BUS_REASONS_MAX][VNIC_ERR_MESSAGE_MAX];
};

/*
 * What org.vnicd1.Nic tells, but for its VFs: of a link and, where it is one, its PF, also of the bridge it is in and
 * that one's segment, "" for none.
 */
struct bus_nic {
	struct vnic_link link; /* without an ifindex: a PF that has no netdev here */
	struct vnic_pf pf; /* without an address: it is none. Its VFs are not here */
	char master[IFNAMSIZ];
	char segment[VNIC_NAME_MAX];
	uint32_t taken, free; /* VFs */
	uint32_t mgmtdevs, vdpas, mdevs;
	int wanted; /* VFs that the configuration wants; -1: it does not say */
	bool ready, drained;
	char reason[VNIC_ERR_MESSAGE_MAX];
	bool vnic, vnic_ready; /* is to be an uplink of vnic.ko, is one */
	char vnic_reason[VNIC_ERR_MESSAGE_MAX];
	char mgmtdev[MGMTDEV_NAME_MAX]; /* that its section names */
};

/* Is @mgmtdev of that nic: its PF's, one of its VFs', vnic.ko's on it, or the one its section names? */
bool bus_mgmtdev_is_of(const struct vdpa_mgmtdev *mgmtdev, const struct bus_nic *nic);

struct bus {
	struct event_base *base;
	struct manager *manager;
	struct bus_ops ops;
	struct manager_observer observer;
	sd_bus *sd; /* NULL: not connected */
	bool named; /* the name is ours */
	bool broken; /* drop the connection when sd-bus has returned */
	bool told_lost; /* ops.connected() knows */
	struct event *io; /* sd's descriptor and timeout */
	struct event *retry;
	struct event *patience; /* the name should be ours by then */
	struct event *kick; /* something is to be sent: flush and look at sd's wishes again */
	struct event
		*lazy; /* VFs are compared: seldom, since one change has thousands of company */
	struct bus_call *calls;
	size_t n_calls;
	size_t counters_due; /* ports whose counters this round of RefreshCounters waits for */
	/* What was last told; watch.c. */
	struct bus_seen_port *ports;
	struct bus_seen_nic *nics;
	struct bus_nic nic; /* bus_nic_find()'s last, for its getters */
	bool nics_dirty, vfs_dirty, any_dirty;
	const char *seen_state;
	struct bus_reasons *seen_reasons, *scratch;
	bool seen_datapath;
};

/* connection.c */

/* Have what was sent or marked dirty go out in this turn of the loop. */
void bus_kick(struct bus *bus);

/* watch.c */
int bus_watch_start(struct bus *bus);
void bus_watch_stop(struct bus *bus);
/* Tell what has changed since it was last told; without a connection it only takes note. */
void bus_flush(struct bus *bus);

/* call.c: a method that answers late */

enum bus_call_kind {
	BUS_CALL_ADD, /* cancelled and undone with its caller */
	BUS_CALL_KEEP, /* goes on without its caller; only the answer is lost */
	BUS_CALL_COUNTERS, /* RefreshCounters */
	BUS_CALL_DEVICE, /* as BUS_CALL_KEEP: DeviceAttach, DeviceDetach */
	BUS_CALL_DRAIN, /* as BUS_CALL_KEEP: Drain */
};

struct bus_call {
	struct bus *bus;
	sd_bus_message *message; /* NULL: the caller has gone */
	char sender[64]; /* its unique name */
	enum bus_call_kind kind;
	struct manager_job *job; /* of the manager, */
	void *op; /* or of bus_ops */
	bool in_round; /* RefreshCounters: asked before this round of fetching began */
	struct event *deadline; /* RefreshCounters, and what vf_calls.c waits for */
	struct port_spec *spec; /* of AttachPreview */
	/* Of BUS_CALL_DEVICE and BUS_CALL_DRAIN: */
	struct port_key key;
	uint64_t generation;
	bool takes_away;
	char pf[DEV_ADDR_MAX];
	struct bus_call *next;
};

/* A new call for @m, or NULL with @error set to what its handler must return (LimitReached). */
struct bus_call *bus_call_new(struct bus *bus, sd_bus_message *m, enum bus_call_kind kind,
			      sd_bus_error *error);
/* Drop it without an answer. */
void bus_call_free(struct bus_call *call);
/* Send @err or a reply of @types and drop the call; changes are told first, so that they precede it. */
void bus_call_reply(struct bus_call *call, const struct vnic_err *err, const char *types, ...);
/* The caller with this unique name (NULL: every one) is gone. */
void bus_calls_gone(struct bus *bus, const char *sender);
/* Fill @error from ours; returns what a handler returns. */
int bus_error(sd_bus_error *error, int r, const struct vnic_err *err);
/* RefreshCounters: begin a round of fetching for those who wait, unless one is under way. */
void bus_counters_begin(struct bus *bus);
/* Is this text of a stranger short enough? Else InvalidArgument naming @field. */
int bus_check_text(const char *field, const char *text, struct vnic_err *err);

/* spec.c */

/* What a{sv} of a port held, beside its port_spec. */
struct bus_spec {
	struct port_spec spec;
	bool has_uuid, has_mac, has_class, has_name;
};

/* Read and check the a{sv} that comes next in @m. */
int bus_spec_read(sd_bus_message *m, struct bus_spec *ret, struct vnic_err *err);
void bus_spec_default_name(struct port_spec *spec);

/* vf_calls.c: VFs taken away, or let ports have again */

int bus_nic_drain(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_nic_undrain(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* Answer the calls whose wish is fulfilled. */
void bus_vf_calls_look(struct bus *bus);
/* KEY and generation of a port, as PortDel() takes them. */
int bus_read_port(sd_bus_message *m, struct port_key *ret_key, uint64_t *ret_generation,
		  struct vnic_err *err);

/* nic_lists.c: what of a nic may be long */

int bus_list_vfs(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_list_vdpa(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_list_mdev_types(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* The manager's: those of the whole host. */
int bus_list_host_vdpa(sd_bus_message *m, void *userdata, sd_bus_error *error);
int bus_list_host_mdev_types(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* The ports that hold VFs of @pf, by VF index; NULL where memory is out. The caller frees it. */
const struct vnic_port **bus_vf_holders(const struct bus *bus, const struct vnic_pf *pf);
/* What differs where anything differs that ListVfs tells of @vf; @holder: its port or NULL. */
uint64_t bus_vf_digest(const struct bus *bus, const struct vnic_vf *vf,
		       const struct vnic_port *holder);

/* The objects: their vtables */
extern const sd_bus_vtable bus_manager_vtable[], bus_nic_vtable[], bus_port_vtable[];
int bus_nic_find(sd_bus *sd, const char *path, const char *interface, void *userdata, void **found,
		 sd_bus_error *error);
int bus_nic_list(sd_bus *sd, const char *prefix, void *userdata, char ***ret, sd_bus_error *error);
int bus_port_find(sd_bus *sd, const char *path, const char *interface, void *userdata, void **found,
		  sd_bus_error *error);
int bus_port_list(sd_bus *sd, const char *prefix, void *userdata, char ***ret, sd_bus_error *error);
const char *bus_port_path(const struct port_key *key, char buf[BUS_PATH_MAX]);
const char *bus_nic_path(const struct bus_nic *nic, char buf[BUS_PATH_MAX]);
/* Of a link, or of a PF that has none. */
void bus_nic_view(const struct bus *bus, const struct vnic_link *link, const struct vnic_pf *pf,
		  struct bus_nic *ret);
/* Has this PF an object of its own, since no nic is its netdev? */
bool bus_pf_is_alone(const struct bus *bus, const struct vnic_pf *pf);
void bus_manager_reasons(const struct bus *bus, struct bus_reasons *ret);
/* "running" where there is nothing in @reasons, else "degraded"; or "starting" */
const char *bus_manager_state_of(const struct bus *bus, const struct bus_reasons *reasons);
