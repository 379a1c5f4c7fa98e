/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/**
 * worker_main() - be a worker: "vnicd-datapath --worker"
 * Descriptor 3 is the control socket (wire.h), 4 the worker_state memfd. Returns when the keeper hangs up.
 * Return: the process's exit status.
 */
int worker_main(void);
