/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Within daemon/exec: PCI functions in sysfs, looked up by their addresses each time, and checked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "daemon/exec/exec.h"

/**
 * pf_open() - the folder of @step->dev
 * Return: a descriptor of it, or -ENODEV where there is no such device any more.
 */
int pf_open(const struct exec *exec, const struct step *step, struct vnic_err *err);

/* The PF's netdev, or -ENODEV. Representors of its VFs hang below the same device: they are not meant. */
int pf_ifindex(const struct exec *exec, const struct step *step, struct vnic_err *err);

/**
 * representor_check() - is link @step->ifindex the representor of VF @step->vf of PF @step->dev?
 * Return: 0, -ENODEV where the PF has none for that VF, -ESTALE where it is another link.
 */
int representor_check(const struct exec *exec, const struct step *step, struct vnic_err *err);

/**
 * vf_open() - the folder of VF @step->vf of PF @step->dev, which must be at @step->vf_addr
 * Return: a descriptor, -ENODEV where the VF is gone, -ESTALE where another function is there by now.
 */
int vf_open(const struct exec *exec, const struct step *step, struct vnic_err *err);

/* The netdev of the device whose folder is @dirfd, or 0. */
int function_ifindex(int dirfd);

/* The driver bound to the device at @dirfd, empty where there is none; false where it cannot be told. */
bool function_driver(int dirfd, char *ret, size_t size);

/* An attribute's one line without its end. 0 or a negative errno. */
int function_attr(int dirfd, const char *name, char *ret, size_t size);
/* The same as a number; negative errno where it is none. */
int function_number(int dirfd, const char *name);
