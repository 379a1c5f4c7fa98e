/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whoever asks the kernel's vdpa family waits while a device is being deleted, which waits for the process that has it
 * open: for as long as that lives. A child asks first, so that the loop does not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/sys/loop.h"

struct vdpa_gate;

/* Open at once: for tests, whose kernel is played. */
extern bool vdpa_gate_always;

/* @open: the family answers; from the loop. */
int vdpa_gate_new(struct loop *loop, loop_fn open, void *userdata, struct vdpa_gate **ret);
/* Nobody is called any more. Takes NULL, returns NULL. */
struct vdpa_gate *vdpa_gate_free(struct vdpa_gate *gate);

/**
 * vdpa_gate_ask() - have @open called once the family answers
 * @family: its number
 * Asked again before that, it is called once. Return: 0 or a negative errno: then it is not called.
 */
int vdpa_gate_ask(struct vdpa_gate *gate, uint16_t family);
