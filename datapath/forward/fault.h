/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Last words of a worker whose guest took its memory away. */
#pragma once

#include "datapath/forward/engine.h"

/**
 * fault_install() - note in worker_state whose memory a SIGBUS or SIGSEGV came from, then die of it
 * A memfd that was shrunk after it was mapped is a SIGBUS at the next touch (mmap(2)).
 * @e: must stay valid
 */
int fault_install(struct engine *e);
