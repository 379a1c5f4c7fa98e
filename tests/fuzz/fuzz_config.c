/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as vnicd.conf: parsed or refused with a message, and the same again. */
#include <stdlib.h>

#include "daemon/sys/config_file.h"
#include "tests/fuzz/fuzz.h"

static int parse(const uint8_t *data, size_t size, struct vnic_err *err)
{
	struct vnic_config *config = config_new();
	int r;

	if (!config)
		abort();
	r = config_parse(config, "fuzz.conf", (const char *)data, size, err);
	if (r == 0)
		r = config_finish(config, err);
	config_free(config);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vnic_err err = VNIC_ERR_INIT;
	int r = parse(data, size, &err);

	if ((r < 0) != (err.message[0] != '\0') || (r < 0) != (err.code[0] != '\0'))
		abort();
	if (parse(data, size, NULL) != r)
		abort();
	return 0;
}
