/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The records' files: one a port, UUID-MAC.json; one a segment, NAME.json; one a nic whose VFs we made,
 * nic:ADDRESS.json, and one a VF that a domain has by its own XML, vf:ADDRESS.json, beside the segments'. Each is replaced as a whole
 * before the first step of its plan acts and after the last, so that a vnicd that was killed knows what to put
 * back. They describe what a reboot ends, and live where it ends them.
 */
#pragma once

#include "base/cleanup.h"
#include "daemon/model/port.h"

struct records;

struct records_ops {
	/* A port's record; @port is the callee's to free. */
	void (*port)(void *userdata, struct vnic_port *port);
	/* A segment's; the callee clears @plan. */
	void (*shared)(void *userdata, const char *segment, struct plan *plan);
	/* A nic's; the callee clears @plan. NULL: not asked for. */
	void (*nic)(void *userdata, const char *pf, struct plan *plan, bool drained);
	/* A VF's that a domain has by its own XML; the callee clears @plan. NULL: not asked for. */
	void (*hostdev)(void *userdata, const char *addr, struct plan *plan);
	/* @file could not be used; @err says why, and what became of it. For the log. */
	void (*problem)(void *userdata, const char *file, const struct vnic_err *err);
};

/**
 * records_new() - open both folders, making them (0700) where they are missing
 * @boot: this boot's id, or NULL: read from the kernel
 */
int records_new(const char *ports_dir, const char *shared_dir, const char *boot,
		struct records **ret, struct vnic_err *err);
struct records *records_free(struct records *records);
DEFINE_CLEANUP(struct records *, records_free)

/**
 * records_load() - read all, at start-up
 *
 * Segments first. A record of another boot is removed; a damaged one is set aside as FILE.bad; one of a newer
 * version stays as it is, and its name is not written to either. None keeps the others from being read.
 * Return: 0, or a negative errno where a folder cannot be read at all.
 */
int records_load(struct records *records, const struct records_ops *ops, void *userdata,
		 struct vnic_err *err);

/* Write. On failure (a full disk) the old record stands, and the caller must not act. */
int records_write_port(struct records *records, const struct vnic_port *port, struct vnic_err *err);
int records_write_shared(struct records *records, const char *segment, const struct plan *plan,
			 struct vnic_err *err);
int records_write_nic(struct records *records, const char *pf, const struct plan *plan,
		      bool drained, struct vnic_err *err);
int records_write_hostdev(struct records *records, const char *addr, const struct plan *plan,
			  struct vnic_err *err);

/* Remove; 0 where there is none. */
int records_erase_port(struct records *records, const struct port_key *key, struct vnic_err *err);
int records_erase_shared(struct records *records, const char *segment, struct vnic_err *err);
int records_erase_nic(struct records *records, const char *pf, struct vnic_err *err);
int records_erase_hostdev(struct records *records, const char *addr, struct vnic_err *err);
