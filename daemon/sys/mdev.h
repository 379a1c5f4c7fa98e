/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mdev types as sysfs shows them. */
#pragma once

#include "daemon/model/link.h"

/* Read all types into @inv. Return: 1 where something changed, 0 where not, or -ENOMEM. */
int mdev_read(struct inventory *inv);
