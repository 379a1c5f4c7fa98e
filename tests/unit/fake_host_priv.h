/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fake host's own files share. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_host.h"

/* Take element @i out of array @a of @n. */
#define FAKE_DROP(a, n, i)                                                     \
	do {                                                                   \
		memmove(&(a)[i], &(a)[(i) + 1], ((n) - (i)-1) * sizeof(*(a))); \
		(n)--;                                                         \
	} while (0)

/* Count a call; is it the one that fails? Return: 0, the failure, or 1 where the daemon is killed here. */
int fake_fault(struct fake_host *h, const char *what);

struct fake_link *fake_by_ifindex(struct fake_host *h, int ifindex);

/* fake_bridge.c */
void fake_set_vlan(struct fake_link *f, uint16_t vlan, bool on);
void fake_set_fdb(struct fake_host *h, const struct step *step, bool on);

/* fake_dp.c */
int fake_dp_act(struct fake_host *h, const struct step *step, const struct vnic_segment *segment,
		const struct vnic_port *port, bool undo);
void fake_forget_port(void *data, const struct port_key *key, uint64_t generation,
		      manager_step_done done, void *arg);
void fake_dp_counters(void *data, const struct port_key *key, manager_step_done done, void *arg);

/* fake_records.c */
int fake_record_port(void *data, const struct vnic_port *port);
int fake_erase_port(void *data, const struct port_key *key);
int fake_record_shared(void *data, const char *segment, const struct plan *plan);
int fake_erase_shared(void *data, const char *segment);
int fake_record_nic(void *data, const char *pf, const struct plan *plan, bool drained);
int fake_erase_nic(void *data, const char *pf);
int fake_record_hostdev(void *data, const char *addr, const struct plan *plan);
int fake_erase_hostdev(void *data, const char *addr);
void fake_restore(struct fake_host *h);
void fake_forget_records(struct fake_host *h);

/* fake_ovs.c */
int fake_ovs_act(struct fake_host *h, const struct step *step, bool undo);
void fake_notify_ovs(struct fake_host *h);
void fake_print_ovs(const struct fake_host *h, FILE *f);

/* fake_vdpa.c */
bool fake_vdpa_step(enum step_kind kind);
int fake_vdpa_probe(struct fake_host *h, struct step *step);
int fake_vdpa_act(struct fake_host *h, const struct step *step, bool undo);
void fake_notify_vdpa(struct fake_host *h);
void fake_print_vdpa(const struct fake_host *h, FILE *f);
void fake_vdpa_counters(void *data, const struct port_key *key, manager_step_done done, void *arg);

/* fake_pf.c */
int fake_pf_probe(struct fake_host *h, struct step *step);
int fake_pf_act(struct fake_host *h, struct step *step, const struct vnic_port *port, bool undo);
/* Return: true where the kernel is not done yet. */
bool fake_notify_pfs(struct fake_host *h);
void fake_print_pfs(const struct fake_host *h, FILE *f);
void fake_free_pfs(struct fake_host *h);
