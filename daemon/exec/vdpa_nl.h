/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Within daemon/exec: vDPA devices by the kernel's vdpa family, whose lock a call may wait for, and by sysfs. */
#pragma once

#include "daemon/exec/exec_priv.h"

/* The device's folder; -ENODEV where there is none of that name. */
int vdpa_dir_open(const struct exec *exec, const struct step *step, struct vnic_err *err);

/**
 * vdpa_call() - ask the vdpa family
 * @put: adds the attributes of @step; NULL: about all devices
 * Return: as nl_call(); -EOPNOTSUPP also where this kernel has no such family.
 */
int vdpa_call(uint8_t cmd, const struct step *step,
	      void (*put)(struct nlmsghdr *nlh, const struct step *step), nl_answer_fn fn,
	      void *data, struct vnic_err *err);
