/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker's ports and what moves frames between them, without the process around it: the worker drives
 * it by messages and descriptors, unit tests by calls.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "datapath/limits.h"
#include "datapath/ring/mem.h"
#include "datapath/ring/split.h"
#include "datapath/state.h"
#include "datapath/wire.h"

struct engine;
struct port;

/**
 * struct ring - one ring of a port
 * @running: to be worked
 * @kick_fd: -1: none; the guest's call eventfd is vq.call_fd
 */
struct ring {
	struct vq vq;
	struct port *port;
	bool running;
	int kick_fd;
};

/**
 * struct port - a guest's NIC
 * @cfg: as told by the keeper
 * @state: its shared state, mapped
 * @hdr_len: bytes of virtio-net header before each frame, 10 or 12
 * @n_rx: receive rings that run; a port without one does not claim its MAC
 * @off: broken, or not to be touched
 */
struct port {
	struct engine *engine;
	struct wire_port_set cfg;
	struct port_state *state;
	struct guest_mem mem;
	uint8_t hdr_len;
	bool off;
	uint16_t n_rx;
	struct ring *rx[DP_QUEUE_PAIRS_MAX];
	struct ring ring[DP_RINGS_MAX];
};

struct engine {
	struct worker_state *ws;
	struct port *port[DP_PORTS_MAX];
	bool live; /* WIRE_GO has come */
	int uplink_fd;
};

int engine_init(struct engine *e, struct worker_state *ws);
void engine_deinit(struct engine *e);

/**
 * engine_port_set() - take a port's whole configuration
 * @fds: as wire.h says; they are the engine's from here on, whatever the outcome
 * @reason: a sentence on failure
 * Return: 0; or a negative errno: the port is off then.
 */
int engine_port_set(struct engine *e, const struct wire_port_set *cfg, const int *fds, size_t n_fds,
		    const char **reason);
void engine_port_del(struct engine *e, unsigned int index);

/* Recover what a predecessor left and take up the rings. */
int engine_go(struct engine *e);
