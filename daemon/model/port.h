/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A port: one VM NIC. Its spec is what was asked, its status what is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <uthash.h>

#include "base/str.h"
#include "daemon/model/config.h"
#include "daemon/model/step.h"

#define PORT_KEY_STR	(VNIC_UUID_STR + VNIC_MAC_STR) /* "UUID/MAC" and its NUL */
#define DOMAIN_NAME_MAX 256
#define PORT_REASON_MAX 256
#define PORT_HISTORY	16
/* JSON's integers are exact up to here; and one more can always be counted. */
#define PORT_GENERATION_MAX (UINT64_C(1) << 53)

struct port_key {
	uint8_t uuid[VNIC_UUID_LEN];
	uint8_t mac[VNIC_MAC_LEN];
};

const char *port_key_format(const struct port_key *key, char buf[PORT_KEY_STR]);
int port_key_parse(const char *s, struct port_key *ret);

struct port_spec {
	struct port_key key;
	char domain[DOMAIN_NAME_MAX];
	char class_name[VNIC_NAME_MAX];
	char name[VNIC_NAME_MAX]; /* NAME of /run/vnicd/sock/CLASS/NAME.sock, or, with @vdpa, of
				     /run/vnicd/vdpa/CLASS/NAME */
	bool vdpa; /* its interface is of type='vdpa': QEMU has the device itself, and no socket */
	char pidfile[512]; /* whose lock says that the domain lives; empty: none is checked */
	char standby[VNIC_NAME_MAX]; /* alias of its interface, where that says <teaming
					type='persistent'/>: a VF may be plugged in beside it */
	uint32_t queues; /* queue pairs asked for, 1 … 8 */
	/* Overrides of the class; the flag says whether there is one. */
	bool has_vlan, has_rate, has_weight, has_paths;
	uint16_t vlan;
	uint64_t rate;
	uint32_t weight;
	struct path_list paths;
};

enum port_state {
	PORT_PREPARING, /* steps are being done */
	PORT_READY, /* its socket listens, no front end yet */
	PORT_CONNECTED, /* a front end is there, its rings do not run */
	PORT_RUNNING,
	PORT_QUARANTINED, /* its guest's rings cost workers; off until the domain restarts */
	PORT_RELEASING,
	PORT_FAILED, /* could not be made or put back; reason says what to do */
};

const char *port_state_str(enum port_state state);
int port_state_parse(const char *s, enum port_state *ret);

struct port_counters_view {
	uint64_t rx_packets, rx_bytes, rx_dropped;
	uint64_t tx_packets, tx_bytes, tx_dropped, tx_spoofed;
};

struct port_event {
	uint64_t realtime_us; /* CLOCK_REALTIME, for people */
	char text[128];
};

/* Where a port's VF is on its way into the guest. */
enum device_state {
	DEVICE_NONE, /* it has none */
	DEVICE_RESERVED, /* chosen: nobody else gets it; the domain does not run yet */
	DEVICE_ATTACHING,
	DEVICE_ATTACHED, /* the guest has it: it carries the frames */
	DEVICE_DETACHING,
	DEVICE_QUEUE, /* of a port of path vmdq: not for the guest, but the queue of its virtio NIC. The
			 port's own plan has its steps */
};

const char *device_state_str(enum device_state state);
int device_state_parse(const char *s, enum device_state *ret);

/* Where the datapath is to look for a guest that may have a VF: api/datapath-control.md. */
enum port_standby { STANDBY_NO, STANDBY_LEARN, STANDBY_AWAY };

/* The VF of a port: of path sriov, beside the guest's virtio NIC; of path vmdq, behind it. */
struct port_device {
	enum device_state state;
	char pf[DEV_ADDR_MAX];
	int vf;
	char vf_addr[DEV_ADDR_MAX];
	bool hold; /* the administrator wants it to have none */
	char reason[PORT_REASON_MAX]; /* why it has none, or not yet */
	char asked
		[64]; /* what the guest had the card change about its VF: "mac 52:54:…"; empty: nothing */
	struct plan plan;
};

struct vnic_port {
	struct port_spec spec;
	enum port_state state;
	enum vnic_path path;
	uint64_t
		generation; /* 1 … PORT_GENERATION_MAX, of what it holds; release is compare-and-swap on it */
	char segment[VNIC_NAME_MAX];
	/* In force, from class and overrides: what the datapath is told. */
	uint16_t vlan; /* 0: untagged */
	uint64_t rate; /* bits/s, 0: none */
	uint32_t weight;
	bool spoofchk, trust;
	struct vf_extra vf;
	uint32_t queues; /* most queue pairs the guest may use */
	bool started; /* its domain's vCPUs have run; with a free pidfile it may be released */
	bool orphan; /* the datapath serves it and no record tells of it: its spec is empty but for the key */
	pid_t peer_pid; /* 0: none */
	bool logging;
	uint32_t queues_active;
	uint32_t restarts;
	char reason[PORT_REASON_MAX];
	struct port_counters_view counters;
	struct vdpa_stats *vdpa_stats; /* of path vdpa; its own; NULL: never asked */
	struct port_event history[PORT_HISTORY]; /* a ring; history_n grows */
	uint64_t history_n;
	struct plan plan; /* its own steps, with what they found before */
	struct port_device device;
	enum port_standby standby; /* follows from it */
	UT_hash_handle hh; /* by spec.key */
};

struct vnic_port *port_new(const struct port_spec *spec);
/* Release what is its own; not itself. */
void port_clear(struct vnic_port *port);
/* Takes NULL; returns NULL. The port must not be in a hash any more. */
struct vnic_port *port_free(struct vnic_port *port);
bool port_key_eq(const struct port_key *a, const struct port_key *b);

/* Write a line of history; @realtime_us as in struct port_event. */
void port_note(struct vnic_port *port, uint64_t realtime_us, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The datapath's segment that the port is in: the segment's own, or, of path vmdq, one of the port's alone. */
const char *port_dp_segment(const struct vnic_port *port, char buf[VNIC_NAME_MAX]);
/* Whose such a private one is. -EINVAL: it is no private one. */
int port_dp_segment_key(const char *name, struct port_key *ret);

/* The file that the interface names: /run/vnicd/sock/CLASS/NAME.sock, /run/vnicd/vdpa/CLASS/NAME, or empty: not known */
#define PORT_SOCK_FILE_MAX (32 + 2 * VNIC_NAME_MAX)
const char *port_sock_file(const struct port_spec *spec, char buf[PORT_SOCK_FILE_MAX]);
