/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a port's and as a segment's record. Since a checksum lets next to nothing pass, the bytes are also
 * given one; what is read then is written and read again, and must be the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/sys/record.h"
#include "tests/fuzz/fuzz.h"

#define BOOT "00000000-1111-2222-3333-444444444444"
#define TAIL ",\"crc\":\"%08x\"}\n"

static uint32_t crc32(const uint8_t *data, size_t size)
{
	uint32_t crc = UINT32_MAX;

	while (size--) {
		crc ^= *data++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void port_again(const struct vnic_port *port)
{
	_cleanup_(freep) char *first = NULL, *second = NULL;
	struct vnic_port *back = NULL;
	size_t n, m;

	if (record_encode_port(port, BOOT, &first, &n) < 0 ||
	    record_decode_port(first, n, BOOT, &back, NULL) != 0 ||
	    record_encode_port(back, BOOT, &second, &m) < 0 || n != m ||
	    memcmp(first, second, n) != 0)
		abort();
	port_free(back);
}

static void decode(const char *data, size_t size)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct record_owner owner;
	struct vnic_port *port;
	struct plan plan = { 0 };
	int r;

	r = record_decode_port(data, size, BOOT, &port, &err);
	if (r == 0) {
		port_again(port);
		port_free(port);
	} else if (r < 0 && !*err.message) {
		abort();
	}
	if (record_decode_shared(data, size, BOOT, &owner, &plan, NULL) == 0)
		plan_clear(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *copy = calloc(1, size + 32);
	const uint8_t *end = size ? memchr(data, '\0', size) : NULL;
	size_t n = size;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	decode(copy, size);
	/* The corpus holds whole records: take their tail off and put a true one there. */
	if (end)
		n = (size_t)(end - data);
	for (size_t i = n; i >= 8; i--)
		if (!memcmp(data + i - 8, ",\"crc\":\"", 8)) {
			n = i - 8;
			break;
		}
	n += (size_t)sprintf(copy + n, TAIL, crc32(data, n));
	decode(copy, n);
	return 0;
}
