/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bounds that keeper and workers share. Changing one changes the layout: raise DP_LAYOUT_VERSION. */
#pragma once

#define DP_LAYOUT_VERSION  2
#define DP_QUEUE_PAIRS_MAX 8
#define DP_RINGS_MAX	   (2 * DP_QUEUE_PAIRS_MAX) /* even: the guest receives; odd: it sends */
#define DP_RING_SIZE_MAX   4096 /* entries; a power of two; QEMU's largest is 1024 */
#define DP_REGIONS_MAX	   64 /* memory regions of a guest */
#define DP_PORTS_MAX	   1024 /* ports of a worker */
#define DP_REASON_MAX	   160 /* a sentence, with its NUL */
