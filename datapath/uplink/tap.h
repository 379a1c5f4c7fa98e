/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tap as the uplink: the other end of it is a port of the segment's bridge. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TAP_HDR 12 /* struct virtio_net_hdr_mrg_rxbuf: what the tap reads and writes */

/**
 * tap_prepare() - non-blocking, 12-byte headers, checksum and TCP segmentation left to us on receive
 * @fd: opened with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR
 * Return: 0 or a negative errno with @reason set to a sentence.
 */
int tap_prepare(int fd, const char **reason);

/* One frame with its header. Return: bytes; 0: none is there. */
ssize_t tap_read(int fd, uint8_t *buf, size_t size);
