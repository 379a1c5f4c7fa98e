/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmocka's header wants these four first, in this order. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
