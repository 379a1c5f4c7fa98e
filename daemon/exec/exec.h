/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A step (daemon/model/step.h) → system calls, and its undo.
 *
 * Each is idempotent: done twice it repairs, undone twice it finds nothing to do, and undone after it was
 * begun and never acted it changes nothing. Before it acts it looks whether the identity in the step still
 * means what it meant (-ESTALE otherwise), and undo puts a previous value back only where ours is still in
 * force: what somebody else set since is theirs.
 */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"
#include "daemon/model/port.h"
#include "daemon/model/step.h"

struct exec;

/**
 * exec_new()
 * @sock_dir: where CLASS/NAME.sock go; made (0711) where it is missing
 */
int exec_new(const char *sock_dir, struct exec **ret, struct vnic_err *err);
/* Other folders than VNIC_VDPA_DIR and /dev, another sysfs than /sys: for tests. */
void exec_set_vdpa_dir(struct exec *exec, const char *dir, const char *dev_dir);
void exec_set_sysfs(struct exec *exec, const char *dir);
/* Closes the descriptors held; taps and socket files stay. */
struct exec *exec_free(struct exec *exec);
DEFINE_CLEANUP(struct exec *, exec_free)

/**
 * exec_probe() - read the value that @step will replace into prev and has_prev
 * Kinds without one are left as they are. Changes nothing on the host.
 * Return: 0, or a negative errno with StepFailed and the reason, in the kernel's words where it has some;
 * the caller puts the step's description before it.
 */
int exec_probe(struct exec *exec, struct step *step, struct vnic_err *err);

/* Do @step; of STEP_TAP_CREATE ifindex is filled in, of STEP_QUEUE_NETDEV also ifname (-EAGAIN: it is not there yet). Errors as of exec_probe(). */
int exec_do(struct exec *exec, struct step *step, struct vnic_err *err);

/* Put back. What is gone already needs no undoing: 0. */
int exec_undo(struct exec *exec, const struct step *step, struct vnic_err *err);

/* The counters of the vDPA device of @step and what it says, where it is vnic.ko's; -ENOENT where it is not. */
int exec_vdpa_counters(struct exec *exec, const struct step *step, struct port_counters_view *ret,
		       struct vdpa_stats *ret_stats);
/* What of @stats counts frames, in words that drivers are known to use; false: none does. */
bool vdpa_stats_frames(const struct vdpa_stats *stats, struct port_counters_view *ret);

/* May @kind take long, so that exec_start() is to be used? */
bool exec_slow(enum step_kind kind);

/**
 * exec_start() - do or undo a step in a child process
 * @ret: the job, for exec_job_end(); @step is copied
 */
struct exec_job;
int exec_start(struct exec *exec, const struct step *step, bool undo, struct exec_job **ret,
	       struct vnic_err *err);
/**
 * exec_start_stats() - read the counters of a vDPA device in a child process
 * @queues: that it has
 * @ret: the job, for exec_stats_end()
 * Return: 0, or a negative errno; -EBUSY while an earlier child that asked for vDPA devices, made or deleted one
 * waits in the kernel still.
 */
int exec_start_stats(struct exec *exec, const char *dev, uint32_t queues, struct exec_job **ret);
/* The counters, or -ETIMEDOUT where it has not ended, which gives it up. Frees @job. */
int exec_stats_end(struct exec *exec, struct exec_job *job, struct vdpa_stats *ret);
/* Readable once the job has ended. */
int exec_job_fd(const struct exec_job *job);
/* The result, as of exec_do() and exec_undo(); -ETIMEDOUT where it has not ended, which gives it up. Frees @job. */
int exec_job_end(struct exec *exec, struct exec_job *job, struct vnic_err *err);

/*
 * Descriptors that steps opened and that the datapath needs: exec holds them until they are dropped, which is
 * when the datapath has its own. Return: the descriptor (still exec's), or -ENOENT.
 */
int exec_tap_fd(const struct exec *exec, const char *ifname);
int exec_listen_fd(const struct exec *exec, const char *class_name, const char *name);
/*
 * Remove the files of sockets (and their folders) that nobody listens on and that @known says nobody has, and such links to
 * vDPA devices.
 */
void exec_sweep_sockets(struct exec *exec,
			bool (*known)(void *data, const char *class_name, const char *name),
			void *data);

void exec_tap_drop(struct exec *exec, const char *ifname);
void exec_listen_drop(struct exec *exec, const char *class_name, const char *name);
