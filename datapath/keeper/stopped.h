/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

/**
 * stopped_for_good() - does nobody come after us?
 *
 * Asks systemd, over the system's bus, whether our unit is stopped and not restarted: SIGTERM is the same for both.
 * May take a second. Return: false also where it cannot be known.
 */
bool stopped_for_good(void);
