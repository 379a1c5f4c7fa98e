/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/vdpa_counters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Less than whoever asks by the bus waits. */
#define LATE_USEC 700000

struct asked {
	struct port_key key;
	manager_step_done done;
	void *arg;
	STAILQ_ENTRY(asked) link;
};

struct vdpa_counters {
	struct loop *loop;
	struct exec *exec;
	struct manager *manager;
	struct exec_job *job; /* of the first that is asked for */
	struct loop_source *wait; /* for the job */
	STAILQ_HEAD(, asked) asked;
};

static void next(struct vdpa_counters *c);

static struct vnic_port *port_of(const struct vdpa_counters *c, const struct asked *a)
{
	return manager_port(c->manager, &a->key);
}

/* The first one has its answer. */
static void answer(struct vdpa_counters *c, int error)
{
	struct asked *a = STAILQ_FIRST(&c->asked);
	manager_step_done done = a->done;
	void *arg = a->arg;

	STAILQ_REMOVE_HEAD(&c->asked, link);
	free(a);
	done(arg, error, NULL);
}

/* NULL: released meanwhile, or no memory */
static struct vdpa_stats *room(struct vnic_port *port)
{
	if (!port || !port->spec.vdpa)
		return NULL;
	if (!port->vdpa_stats)
		port->vdpa_stats = calloc(1, sizeof(*port->vdpa_stats));
	return port->vdpa_stats;
}

static void take(struct vnic_port *port, const struct vdpa_stats *stats)
{
	struct vdpa_stats *to = room(port);

	if (!to)
		return;
	*to = *stats;
	vdpa_stats_frames(stats, &port->counters);
}

static void no_answer(struct vnic_port *port)
{
	const struct vdpa_stats none = {
		.none = "the kernel does not answer: a vDPA device is being made or deleted, "
			"which waits for its driver or its user"
	};

	take(port, &none);
}

static void end(void *userdata)
{
	struct vdpa_counters *c = userdata;
	struct vdpa_stats stats;
	int r;

	/* Its descriptor is closed by the job's end: the loop must have let go of it. */
	c->wait = loop_source_free(c->wait);
	r = exec_stats_end(c->exec, take_ptr(c->job), &stats);
	if (r == 0)
		take(port_of(c, STAILQ_FIRST(&c->asked)), &stats);
	else if (r == -ETIMEDOUT)
		no_answer(port_of(c, STAILQ_FIRST(&c->asked)));
	answer(c, r);
	next(c);
}

/* Return: 1: it is done, 0: its child runs, or a negative errno. */
static int begin(struct vdpa_counters *c, struct vnic_port *port)
{
	const struct step *add = port ? plan_find(&port->plan, STEP_VDPA_ADD) : NULL;
	const struct vdpa_dev *dev;
	int r;

	if (!add)
		return -ENODEV;
	if (!room(port))
		return -ENOMEM;
	r = exec_vdpa_counters(c->exec, add, &port->counters, port->vdpa_stats);
	if (r != -ENOENT)
		return r < 0 ? r : 1;
	HASH_FIND_STR(c->manager->inv->vdpas, add->dev, dev);
	if (!dev)
		return -ENODEV;
	r = exec_start_stats(c->exec, add->dev, dev->max_vqs, &c->job);
	if (r == -EBUSY)
		no_answer(port);
	if (r < 0)
		return r;
	r = loop_add_answer(c->loop, exec_job_fd(c->job), LATE_USEC, end, c, &c->wait);
	if (r < 0)
		exec_stats_end(c->exec, take_ptr(c->job), NULL);
	return r;
}

static void next(struct vdpa_counters *c)
{
	while (!c->job && !STAILQ_EMPTY(&c->asked)) {
		int r = begin(c, port_of(c, STAILQ_FIRST(&c->asked)));

		if (r != 0)
			answer(c, r < 0 ? r : 0);
	}
}

void vdpa_counters_ask(struct vdpa_counters *c, const struct port_key *key, manager_step_done done,
		       void *arg)
{
	struct asked *a = calloc(1, sizeof(*a));

	if (!a) {
		done(arg, -ENOMEM, NULL);
		return;
	}
	a->key = *key;
	a->done = done;
	a->arg = arg;
	STAILQ_INSERT_TAIL(&c->asked, a, link);
	next(c);
}

int vdpa_counters_new(struct loop *loop, struct exec *exec, struct manager *manager,
		      struct vdpa_counters **ret)
{
	struct vdpa_counters *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->exec = exec;
	c->manager = manager;
	STAILQ_INIT(&c->asked);
	*ret = c;
	return 0;
}

struct vdpa_counters *vdpa_counters_free(struct vdpa_counters *c)
{
	struct asked *a;

	if (!c)
		return NULL;
	c->wait = loop_source_free(c->wait);
	if (c->job)
		exec_stats_end(c->exec, c->job, NULL);
	while ((a = STAILQ_FIRST(&c->asked))) {
		STAILQ_REMOVE_HEAD(&c->asked, link);
		free(a);
	}
	free(c);
	return NULL;
}
