/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/forward/engine.h"

#include <errno.h>

#include "base/cleanup.h"
#include "datapath/forward/port.h"

int engine_init(struct engine *e, struct worker_state *ws)
{
	*e = (struct engine){ .ws = ws, .uplink_fd = -1 };
	return 0;
}

void engine_deinit(struct engine *e)
{
	for (unsigned int i = 0; i < DP_PORTS_MAX; i++)
		engine_port_del(e, i);
	e->uplink_fd = close_safe(e->uplink_fd);
}

void engine_port_del(struct engine *e, unsigned int index)
{
	e->port[index] = port_free(e->port[index]);
}

int engine_port_set(struct engine *e, const struct wire_port_set *cfg, const int *fds, size_t n_fds,
		    const char **reason)
{
	unsigned int index = cfg->h.port;
	struct port *p;
	int r;

	r = port_new(e, cfg, fds, n_fds, index < DP_PORTS_MAX ? e->port[index] : NULL, &p, reason);
	if (r < 0) {
		if (index < DP_PORTS_MAX)
			engine_port_del(e, index);
		return r;
	}
	port_free(e->port[index]);
	e->port[index] = p;
	return 0;
}

int engine_go(struct engine *e)
{
	e->live = true;
	return 0;
}
