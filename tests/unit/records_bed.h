/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A record to begin with, and what tests of records do with it. */
#pragma once

#include "tests/unit/unit.h"

#include <json-c/json.h>

#include "daemon/model/port.h"

#define BOOT	   "00000000-1111-2222-3333-444444444444"
#define OTHER_BOOT "99999999-1111-2222-3333-444444444444"
#define UUID	   "11111111-2222-3333-4444-555555555555"
#define MAC	   "52:54:00:00:00:01"
#define PORT_FILE  UUID "-" MAC ".json"
#define OTHER_FILE UUID "-52:54:00:00:00:02.json"

/* Every field of it differs from what a zeroed one holds. */
struct vnic_port *sample(void);
char *sample_text(size_t *ret_size);
struct json_object *sample_object(void);
/* @o as a record's text with a true checksum, whatever it says. */
char *sealed(struct json_object *o);

/* test_records_files.c */
#define RECORD_FILE_TESTS 14
extern const struct CMUnitTest record_file_tests[RECORD_FILE_TESTS];
