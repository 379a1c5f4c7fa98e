/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /etc/vnicd/vnicd.conf and its drop-ins into struct vnic_config: vnicd.conf(5). Each value is checked here by
 * itself; core/config_check looks at the whole.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "daemon/model/config.h"

#define CONFIG_FILE_MAX (1u << 20) /* bytes of a file */
#define CONFIG_LINE_MAX \
	1024 /* bytes of a line; a line with a key is shorter still, see config_parse() */
#define CONFIG_DROPINS_MAX 256

/**
 * config_read() - read @file, then the .conf files of @dir in the order of their names
 * @file, @dir: missing ones count as empty
 * @ret: a new configuration, complete with defaults; the caller frees it
 *
 * Later files override earlier ones key by key. Refused, so that nobody but root configures the host: a
 * symbolic link, a file or folder of somebody else than root or us, or one that group or others may write.
 * Return: 0, or a negative errno with InvalidConfig ("FILE:LINE: …"); then nothing is in @ret.
 */
int config_read(const char *file, const char *dir, struct vnic_config **ret, struct vnic_err *err);

/**
 * config_parse() - the text of one file into @config, over what is there
 * @name: the file, for messages and struct config_place
 *
 * Takes any bytes. Stops at the first error, with @config half written: the caller drops it. A line with a
 * key is limited by how libinih was built (198 bytes in Debian); a longer one is an error, never cut.
 */
int config_parse(struct vnic_config *config, const char *name, const char *data, size_t size,
		 struct vnic_err *err);

/* After the last file: what each section must say, and defaults that depend on other keys. */
int config_finish(struct vnic_config *config, struct vnic_err *err);
