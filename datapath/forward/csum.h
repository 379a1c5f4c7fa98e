/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Internet checksum (RFC 1071). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Add @n bytes to @sum, in the machine's byte order; see csum_fold(). */
uint64_t csum_add(uint64_t sum, const uint8_t *data, uint32_t n);

/* The checksum as it is stored (memcpy) into a header. */
uint16_t csum_fold(uint64_t sum);

/**
 * csum_complete() - finish a checksum that the sender left to the device
 * The pseudo-header's sum is in the field, @offset behind @start; virtio 1.2, 5.1.6.2. Both must have been
 * checked: @start + @offset + 2 <= @len.
 */
void csum_complete(uint8_t *frame, uint32_t len, uint16_t start, uint16_t offset);
