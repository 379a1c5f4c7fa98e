/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sysfs tree of nics in a folder of its own, laid out as the kernel's: for unit tests and benchmarks of what
 * reads it. Files below are named relative to its root; a failure to make one ends the program.
 */
#pragma once

#include <stddef.h>

void fake_sysfs_new(void);
/* The tree and all in it is removed. */
void fake_sysfs_free(void);

/* Write a file, with the folders that it needs. */
void fake_file(const char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Make or replace a symbolic link, with the folders that it needs. */
void fake_symlink(const char *target, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void fake_remove(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A function. NULL, 0 and -1: what it stands for is not there. */
struct fake_function {
	const char *addr, *driver, *ifname;
	int ifindex;
	int group; /* -1: no IOMMU */
	int numa;
	const char *class; /* NULL: a network controller */
	int total_vfs, num_vfs; /* of a PF; total 0: it is none */
	const char *physfn; /* of a VF: its PF, and which it is there */
	int index;
};

void fake_function(const struct fake_function *fn);
void fake_function_gone(const struct fake_function *fn);
void fake_driver(const char *addr, const char *driver);
/* @ifindex 0: the netdev is in another network namespace; -1: there is none */
void fake_netdev(const char *addr, const char *ifname, int ifindex);
void fake_num_vfs(const char *addr, int n);
