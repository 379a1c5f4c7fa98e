/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A port's parts: made from its configuration, mapped, given back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "datapath/forward/engine.h"

/**
 * port_new() - map what @cfg says
 * @fds: as wire.h says; consumed in any case
 * @old: the port's former self (may be NULL); on success mappings of unchanged regions move from it
 * Return: 0, or a negative errno with @reason set to a sentence.
 */
int port_new(struct engine *e, const struct wire_port_set *cfg, const int *fds, size_t n_fds,
	     struct port *old, struct port **ret, const char **reason);
struct port *port_free(struct port *p);

/* Do its rings' states fit their sizes? Asked with WIRE_GO: until then a predecessor may change them. */
bool port_sound(const struct port *p);
