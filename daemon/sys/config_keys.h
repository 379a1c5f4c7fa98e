/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys of vnicd.conf: what each takes and where it goes. Private to config_file.c and its tests. */
#pragma once

#include "base/err.h"
#include "daemon/model/config.h"

enum config_section {
	CONFIG_VNICD,
	CONFIG_SEGMENT,
	CONFIG_CLASS,
	CONFIG_NIC,
	CONFIG_SECTION_COUNT,
};

struct config_key {
	const char *name;
	/* @object: struct vnic_config, vnic_segment, vnic_class or vnic_nic_config. Negative where @value is not taken. */
	int (*set)(void *object, const char *value);
	const char *accepts; /* completes "… takes " */
};

extern const char *const config_section_names[CONFIG_SECTION_COUNT];

/* A section's keys; ended by one without name. */
const struct config_key *config_keys(enum config_section section);
const struct config_key *config_key_find(enum config_section section, const char *name);

/* The word of @words (NULL at its end) that @word may have been meant to be, or NULL. */
const char *config_nearest(const char *word, const char *const *words);

/* Fresh objects with the defaults of vnicd.conf(5), or NULL. */
struct vnic_segment *config_segment_new(const char *name);
struct vnic_class *config_class_new(const char *name);
struct vnic_nic_config *config_nic_new(const char *name);
