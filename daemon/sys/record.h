/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A record as bytes: one JSON object that says what a port (or a segment, of what its ports share) is, which
 * steps were done for it and what they replaced. It ends in a CRC-32 of everything before it, so that a
 * damaged record is never taken for another true one:
 *
 *	{"version":1,"boot":"…","port":{…},"crc":"89abcdef"}
 *
 * This frame stays when the version grows.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "daemon/model/port.h"

#define RECORD_VERSION	  1
#define RECORD_BOOT_STR	  VNIC_UUID_STR
#define RECORD_OTHER_BOOT 1

/**
 * record_encode_port() - @port with its plan as bytes
 * @boot: id of this boot
 * @ret: malloc()ed; the caller frees it
 * Text that is not UTF-8 (a sentence cut in a character) is written with '?' in its place.
 */
int record_encode_port(const struct vnic_port *port, const char *boot, char **ret,
		       size_t *ret_size);

/**
 * record_decode_port()
 * @data: any bytes
 * Return: 0 with a new port; RECORD_OTHER_BOOT where it describes what a reboot has ended; -EBADMSG for a
 * damaged one; -EPROTONOSUPPORT for one of a newer version, which must be left alone.
 */
int record_decode_port(const char *data, size_t size, const char *boot, struct vnic_port **ret,
		       struct vnic_err *err);

enum record_kind { RECORD_SEGMENT, RECORD_NIC, RECORD_VF };

/* Whose plan a record holds: a segment's by its name, a nic's by its PF's address, or a VF's by its own. */
struct record_owner {
	enum record_kind kind;
	bool drained; /* a nic */
	char name[DEV_ADDR_MAX > VNIC_NAME_MAX ? DEV_ADDR_MAX : VNIC_NAME_MAX];
};

int record_encode_shared(const struct record_owner *owner, const struct plan *plan,
			 const char *boot, char **ret, size_t *ret_size);
/* As record_decode_port(); the caller clears @ret_plan. */
int record_decode_shared(const char *data, size_t size, const char *boot,
			 struct record_owner *ret_owner, struct plan *ret_plan,
			 struct vnic_err *err);
