/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper's objects as JSON: keys are API (api/datapath-control.md, vnicd-datapath(8)). */
#pragma once

#include "base/json.h"
#include "datapath/keeper/keeper.h"

/* A port with its counters; the caller puts it. */
struct json_object *report_port(const struct kport *p);
/* {"ports":[…],"segments":[…]}: what --stats writes. */
struct json_object *report_all(const struct keeper *k);
struct json_object *report_segment(const struct segment *s);
