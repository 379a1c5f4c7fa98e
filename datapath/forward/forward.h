/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where frames go. By destination MAC and VLAN to a port of this worker; what it doesn't know to the uplink.
 *
 * VLANs. A port with VLAN N sends and receives untagged and is on VLAN N: a frame that its guest tagged is
 * dropped; to the uplink its frames carry the 802.1Q tag N; from the uplink the tag N is taken off for it.
 * A port with VLAN 0 is on the untagged network, where tags are payload: what it has passes as it is, to other
 * ports with VLAN 0 and to the uplink, and tagged frames from the uplink that no port with that VLAN claims
 * reach it by its MAC, or as multicast. It never reaches a port with a VLAN directly: that takes a
 * bridge outside that lets it.
 *
 * Broadcast and multicast go to all ports of the VLAN and to the uplink, unknown unicast to the uplink only.
 * Nothing goes back to its sender, from the uplink to the uplink, or to a port whose rings don't run.
 */
#pragma once

#include "datapath/forward/engine.h"

/* Take and forward the next burst of a polled ring. Return: how many frames. */
unsigned int forward_burst(struct engine *e, struct ring *src);

/**
 * forward_waiting() - try again to deliver frame @pos of @src to @dst
 * It is looked at anew: its sender may have rewritten it.
 * Return: false where it must go on waiting; else it is delivered or dropped.
 */
bool forward_waiting(struct engine *e, struct ring *src, uint16_t pos, struct ring *dst);

/* Forward all taken frames of @src that are neither done nor waiting (after a restart). */
void forward_pending(struct engine *e, struct ring *src);

/* A frame of the uplink. */
void forward_from_uplink(struct engine *e, struct frame *f);

/* Frame @pos of @src goes nowhere. */
void forward_drop(struct engine *e, struct ring *src, uint16_t pos);

/* Commit what has been built, send what is for the uplink, give frames back, call guests. */
void forward_flush(struct engine *e);
