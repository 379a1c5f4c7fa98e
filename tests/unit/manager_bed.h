/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A manager on a fake host, and what its tests do with it again and again. */
#pragma once

#include "tests/unit/fake_host.h"

#define SECOND 1000000u
#define PF0    "0000:03:00.0"

struct outcome {
	bool answered;
	struct vnic_err err;
	size_t n_ports;
	uint64_t generation;
};

struct fixture {
	struct fake_host h;
	char *before;
	struct outcome o;
};

int bed_set_up(void **state);
int bed_tear_down(void **state);
#define TEST(t) cmocka_unit_test_setup_teardown(t, bed_set_up, bed_tear_down)

/* A request's answer into a struct outcome */
void answered(void *arg, const struct vnic_err *err, struct vnic_port *const *ports,
	      size_t n_ports);
void refused(struct fixture *f, const char *code, const char *words);
/* The host reads as in @before. */
void same_as(struct fixture *f, const char *before);

/* @words are in @text. */
void says(const char *text, const char *words);
/* Another configuration, and time for what comes of it. */
void swap(struct fixture *f, struct vnic_config *config);
/* eth0 becomes a PF, which gets what @config wants: @vfs VFs; that is the host to come back to, without them. */
void give_vfs(struct fixture *f, struct vnic_config *config, int vfs);
/* Of an interface that stands by for a VF */
struct port_spec standby_spec(unsigned int domain);
struct vnic_port *port_of(struct fixture *f, const struct port_spec *spec);

struct manager_job *prepare(struct fixture *f, struct port_spec *specs, size_t n);
/* A port that was prepared, started and runs. */
void run_port(struct fixture *f, struct port_spec *spec);
void end_domain(struct fixture *f, struct port_spec *spec);
