/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attributes in sysfs whose reading waits for a device's lock (sriov_numvfs, driver_override): as long as somebody's
 * write to it runs in the driver, which is for ever where that waits for a process that has a VF open. A thread
 * waits, the loop does not.
 */
#pragma once

#include <stdbool.h>

/**
 * locked_number() - a number from @dirfd/@attr, as sysfs_number()
 * @ret_busy: its reading did not end within some milliseconds; @otherwise is returned, and asking again is worth
 * while. A file that is waited for is not read a second time.
 */
int locked_number(int dirfd, const char *attr, int min, int max, int otherwise, bool *ret_busy);
