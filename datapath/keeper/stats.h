/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --stats FILE: all ports' states and counters, at most once a second, only while they change. */
#pragma once

#include "datapath/keeper/keeper.h"

/**
 * stats_new() - keep @file, replaced atomically
 * Return: 0, or a negative errno where it cannot be written.
 */
int stats_new(struct keeper *k, const char *file, struct stats **ret);
/* Something may have changed. Takes NULL. */
void stats_changed(struct stats *s);
/* Write a last time. */
struct stats *stats_free(struct stats *s);
