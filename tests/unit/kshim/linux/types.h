/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libc wants the real one, too. */
#include_next <linux/types.h>
#include "tests/unit/kshim/kshim.h"
