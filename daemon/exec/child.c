/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps that run drivers' code, which may take seconds or hang: a child does them, and the loop goes on. The
 * child writes its result into a pipe; a child that dies without a word has failed.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/child.h"
#include "base/str.h"
#include "daemon/exec/exec_priv.h"

struct exec_job {
	struct lost_child child; /* as it will be where it is given up */
	int fd;
};

/* Less than PIPE_BUF: written whole. */
struct result {
	int r;
	struct vnic_err err;
	struct vdpa_stats stats; /* of WORK_STATS */
};

static_assert(sizeof(struct result) <= PIPE_BUF, "a result is written whole");

enum work { WORK_DO, WORK_UNDO, WORK_STATS };

static void __attribute__((noreturn))
child(struct exec *exec, const struct step *step, enum work work)
{
	struct result result = { .err = VNIC_ERR_INIT };
	struct step copy = *step;

	result.r = nl_new(NETLINK_ROUTE, &exec->nl);
	if (result.r < 0)
		vnic_err_set(&result.err, result.r, VNIC_E_STEP_FAILED, "rtnetlink socket: %s",
			     strerror(-result.r));
	else if (work == WORK_STATS)
		vdpa_stats_read(&copy, &result.stats);
	else
		result.r = work == WORK_UNDO ? exec_undo(exec, &copy, &result.err)
					     : exec_do(exec, &copy, &result.err);
	if (write(CHILD_FD, &result, sizeof(result)) != sizeof(result))
		_exit(1);
	_exit(0);
}

/* Children that were given up and have ended since. */
static void reap(struct exec *exec)
{
	size_t n = 0;

	for (size_t i = 0; i < exec->n_lost; i++)
		if (waitpid(exec->lost[i].pid, NULL, WNOHANG) == 0)
			exec->lost[n++] = exec->lost[i];
	exec->n_lost = n;
}

static void give_up(struct exec *exec, struct lost_child child)
{
	kill(child.pid, SIGKILL);
	if (exec->n_lost == ARRAY_SIZE(exec->lost))
		return; /* as many hanging drivers: a zombie more matters little */
	exec->lost[exec->n_lost++] = child;
	reap(exec);
}

static int start(struct exec *exec, const struct step *step, enum work work, struct exec_job **ret,
		 struct vnic_err *err)
{
	struct exec_job *job = calloc(1, sizeof(*job));
	int fds[2], r;

	reap(exec);
	if (!job)
		return -ENOMEM;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		r = -errno;
		free(job);
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "pipe: %s", strerror(-r));
	}
	job->fd = fds[0];
	/* It ends with us: what it made after our successor has looked nobody would know of. */
	job->child.pid = child_fork(fds[1]);
	if (job->child.pid == 0)
		child(exec, step, work);
	job->child.vdpa = work == WORK_STATS || step->kind == STEP_VDPA_ADD;
	r = job->child.pid < 0 ? job->child.pid : 0;
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		free(job);
		return vnic_err_set(err, r, VNIC_E_STEP_FAILED, "fork: %s", strerror(-r));
	}
	*ret = job;
	return 0;
}

int exec_start(struct exec *exec, const struct step *step, bool undo, struct exec_job **ret,
	       struct vnic_err *err)
{
	return start(exec, step, undo ? WORK_UNDO : WORK_DO, ret, err);
}

int exec_start_stats(struct exec *exec, const char *dev, uint32_t queues, struct exec_job **ret)
{
	struct step step = { .value = queues };
	int r = str_copy(step.dev, sizeof(step.dev), dev);

	reap(exec);
	for (size_t i = 0; i < exec->n_lost; i++)
		if (exec->lost[i].vdpa)
			return -EBUSY;
	return r < 0 ? r : start(exec, &step, WORK_STATS, ret, NULL);
}

int exec_job_fd(const struct exec_job *job)
{
	return job->fd;
}

static int end(struct exec *exec, struct exec_job *job, struct vdpa_stats *ret_stats,
	       struct vnic_err *err)
{
	struct result result;
	ssize_t n = read(job->fd, &result, sizeof(result));
	struct lost_child child = job->child;

	close(job->fd);
	free(job);
	if (n < 0) {
		/* Nothing yet. It ends when the driver lets it. */
		give_up(exec, child);
		return vnic_err_set(err, -ETIMEDOUT, VNIC_E_STEP_FAILED,
				    "the driver did not answer in time: see 'journalctl -k'");
	}
	waitpid(child.pid, NULL, 0);
	if (n != sizeof(result))
		return vnic_err_set(err, -EIO, VNIC_E_STEP_FAILED,
				    "the process doing it died: see 'journalctl -k'");
	if (result.r < 0 && err)
		*err = result.err;
	if (result.r == 0 && ret_stats)
		*ret_stats = result.stats;
	return result.r;
}

int exec_job_end(struct exec *exec, struct exec_job *job, struct vnic_err *err)
{
	return end(exec, job, NULL, err);
}

int exec_stats_end(struct exec *exec, struct exec_job *job, struct vdpa_stats *ret)
{
	return end(exec, job, ret, NULL);
}
