/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A netdev of the host as the uplink, through a packet socket bound to it (base/packet.h): a VF's, or a macvlan with
 * a queue of its own. Frames come and go with the same virtio-net header as a tap's, so that checksums and
 * segmentation are left to whom they were left to: the card, or the guest's peer.
 *
 * Theory of operation. The kernel takes the VLAN tag out of what it has received, and tells it beside the frame; it
 * is put in again, so that the worker sees of an uplink what the wire has. A netdev that is set down tells so once
 * (ENETDOWN) and the socket goes on when it is up again; one that is deleted leaves the socket dead.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PACKET_HDR 10 /* struct virtio_net_hdr; larger ones only since Linux 6.4 */

/* Non-blocking. Return: 0 or a negative errno with @reason set to a sentence. */
int packet_prepare(int fd, const char **reason);

/**
 * packet_read() - one frame with its header, and with its tag
 * @ret_start: where in @buf it begins
 * Return: bytes; 0: none is there; -EBADMSG: one that cannot be passed on (skipped).
 */
ssize_t packet_read(int fd, uint8_t *buf, size_t size, uint8_t **ret_start);

/**
 * packet_put_tag() - put a VLAN tag into a frame
 * @start: its virtio-net header; there is room for a tag before it, and addresses are behind it
 * Return: where it begins now, VLAN_TAG bytes before @start.
 */
uint8_t *packet_put_tag(uint8_t *start, uint16_t type, uint16_t tci);
