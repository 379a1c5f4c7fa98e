/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vnicd-datapath's command line, as data. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "datapath/keeper/keeper.h"

#define CMDLINE_CORES_MAX 64

struct cmdline_port {
	struct port_config config;
	char socket[108]; /* sun_path's size */
	bool client; /* connect to it, do not listen */
};

struct cmdline {
	enum {
		CMDLINE_RUN, /* stand-alone */
		CMDLINE_MANAGED,
		CMDLINE_WORKER, /* internal */
		CMDLINE_HELP,
		CMDLINE_VERSION,
	} mode;
	int log_level;
	const char *tap; /* NULL: it is no tap */
	const char *packet; /* NULL: it is no netdev */
	const char *stats; /* NULL: none */
	int cores[CMDLINE_CORES_MAX];
	size_t n_cores;
	struct cmdline_port *ports;
	size_t n_ports;
};

/**
 * cmdline_parse() - read argv
 * @ret: strings stay argv's; give it to cmdline_clear()
 * Return: 0 or -EINVAL with @err naming the option and the fix; @ret is then as after cmdline_clear().
 */
int cmdline_parse(int argc, char **argv, struct cmdline *ret, struct vnic_err *err);
void cmdline_clear(struct cmdline *c);
extern const char cmdline_help[];
