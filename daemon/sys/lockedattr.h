/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attributes in sysfs whose reading waits for a device's lock (sriov_numvfs, driver_override): as long as somebody's
 * write to it runs in the driver, which is for ever where that waits for a process that has a VF open. A child
 * waits, the loop does not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* How long is waited for a reading where no other one hangs. Changed by tests only. */
extern unsigned int locked_wait_ms;

/**
 * locked_text() - the first line of @dirfd/@attr
 * Return: 0, -EBUSY where its reading did not end within some milliseconds, or another negative errno. A file that
 * is waited for is not read a second time; asking again is worth while.
 */
int locked_text(int dirfd, const char *attr, char *buf, size_t size);

/**
 * locked_number() - a number from @dirfd/@attr, as sysfs_number()
 * @ret_busy: as -EBUSY of locked_text(); @otherwise is returned
 */
int locked_number(int dirfd, const char *attr, int min, int max, int otherwise, bool *ret_busy);
