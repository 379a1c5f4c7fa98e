/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper's side of api/datapath-control.md. Functions take a NULL control: stand-alone, nothing to tell. */
#pragma once

#include <stdint.h>

#include "datapath/keeper/keeper.h"

/**
 * control_new() - serve vnicd
 * @listen_fd: a listening SOCK_SEQPACKET socket; belongs to the control on success
 */
int control_new(struct keeper *k, int listen_fd, struct control **ret);
struct control *control_free(struct control *c);

/* Request @id is done: {"id":…,"ok":true}. Ids of a former client are dropped. */
void control_answer(struct control *c, uint64_t id);
/* Request @id has failed: {"id":…,"error":{…}}. */
void control_answer_error(struct control *c, uint64_t id, const struct vnic_err *err);
void control_port_event(struct control *c, const struct kport *p);
void control_worker_event(struct control *c, const struct segment *s, uint64_t gap_us);
