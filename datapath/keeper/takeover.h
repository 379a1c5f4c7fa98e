/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Going on where a predecessor of this keeper ended, from what it left in the service manager's store.
 *
 * Theory of operation. What was passed is as good as a stranger's until it is checked: descriptors by what the kernel
 * says they are, saved state by size, version and sum, and what it says as a front end's messages are. What does
 * not fit costs as little as it can: a connection (its front end comes again), a port or segment (vnicd tells them
 * anew). What nobody refers to then is swept out of the store.
 *
 * State that ends its keeper again and again would take the host's guests with it: who finds that several
 * predecessors in a row lived for a moment only starts from nothing.
 */
#pragma once

#include "datapath/keeper/keeper.h"

/**
 * takeover_adopt() - sort what the service manager has passed
 * @ret_control: vnicd's listening socket, or -1: none came
 * Return: 0 or a negative errno.
 */
int takeover_adopt(struct keeper *k, int *ret_control);

/* Restore segments and ports, start their workers, sweep the store. */
void takeover_restore(struct keeper *k);

/* An orderly end. */
void takeover_end(struct keeper *k);
