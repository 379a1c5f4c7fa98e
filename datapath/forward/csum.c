/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/csum.h"

#include <string.h>

/*
 * 32 bits at a time into 64: carries gather in the upper half and are folded at the end. The order of
 * bytes does not matter to a one's complement sum (RFC 1071 section 2B), so that nothing is swapped.
 */
uint64_t csum_add(uint64_t sum, const uint8_t *data, uint32_t n)
{
	uint32_t word;
	uint16_t half;

	for (; n >= 4; n -= 4, data += 4) {
		memcpy(&word, data, 4);
		sum += word;
	}
	if (n >= 2) {
		memcpy(&half, data, 2);
		sum += half;
		n -= 2;
		data += 2;
	}
	if (n > 0) {
		uint8_t last[2] = { *data, 0 };

		memcpy(&half, last, 2);
		sum += half;
	}
	return sum;
}

uint16_t csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void csum_complete(uint8_t *frame, uint32_t len, uint16_t start, uint16_t offset)
{
	uint16_t sum = csum_fold(csum_add(0, frame + start, len - start));

	/* A UDP checksum of 0 means none; its other zero says 0 (RFC 768). TCP's is right either way. */
	if (sum == 0)
		sum = 0xffff;
	memcpy(frame + start + offset, &sum, sizeof(sum));
}
