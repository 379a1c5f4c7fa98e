/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/**
 * file_read() - a whole small file into memory
 * @dirfd: folder that @name is relative to, or AT_FDCWD
 * @max: largest size taken; more is -EFBIG, so that a hostile file costs nothing
 * @ret_data: malloc()ed, with a NUL behind the last byte; the caller frees it
 * @ret_size: its size without that NUL; may be NULL
 *
 * Does not follow a symbolic link in the last component (-ELOOP) and takes regular files only
 * (-EINVAL), except below /proc and /sys, whose files report no size.
 */
int file_read(int dirfd, const char *name, size_t max, char **ret_data, size_t *ret_size);

/**
 * file_write_atomic() - replace a file by rename, so that a reader sees the old or the new whole
 *
 * No fsync: what vnicd writes lives on a tmpfs and has no meaning after a boot. On failure the old
 * file stands and no temporary one is left.
 */
int file_write_atomic(int dirfd, const char *name, const void *data, size_t size, mode_t mode);

/* Write @data in one write(2), as sysfs attributes want it; a short write is -EIO. */
int file_write_attr(int dirfd, const char *name, const char *data);
