/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/model/config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "api/errors.h"

static const char *const paths[] = {
	[VNIC_PATH_NONE] = "none", [VNIC_PATH_SRIOV] = "sriov",	      [VNIC_PATH_VDPA] = "vdpa",
	[VNIC_PATH_VMDQ] = "vmdq", [VNIC_PATH_SOFTWARE] = "software",
};
static_assert(ARRAY_SIZE(paths) == VNIC_PATH_COUNT, "a word for each path");

const char *vnic_path_str(enum vnic_path path)
{
	return path < VNIC_PATH_COUNT ? paths[path] : "unknown";
}

int vnic_path_parse(const char *s, enum vnic_path *ret)
{
	for (size_t i = VNIC_PATH_NONE + 1; i < ARRAY_SIZE(paths); i++)
		if (str_eq(s, paths[i])) {
			*ret = (enum vnic_path)i;
			return 0;
		}
	return -EINVAL;
}

/*
 * The next word of a list with commas; blanks around it are cut off.
 * Return: 1 with a word in @buf, 0 at the end, -EINVAL for an empty or overlong one.
 */
static int next_word(const char **s, char *buf, size_t size)
{
	size_t n, end;

	if (!*s)
		return 0;
	*s += strspn(*s, " \t");
	n = end = strcspn(*s, ",");
	while (n > 0 && strchr(" \t", (*s)[n - 1]))
		n--;
	if (n == 0 || n >= size)
		return -EINVAL;
	memcpy(buf, *s, n);
	buf[n] = '\0';
	*s = (*s)[end] == ',' ? *s + end + 1 : NULL;
	return 1;
}

int path_list_parse(const char *s, struct path_list *ret, struct vnic_err *err)
{
	struct path_list list = { 0 };
	size_t n = 0;
	char word[16];
	int r;

	while ((r = next_word(&s, word, sizeof(word))) > 0) {
		enum vnic_path path;

		if (vnic_path_parse(word, &path) < 0)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
					    "'%s' is no path: use sriov, vdpa, vmdq or software",
					    word);
		for (size_t i = 0; i < n; i++)
			if (list.path[i] == path)
				return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
						    "path '%s' is listed twice: remove one", word);
		list.path[n++] = path;
	}
	if (r < 0)
		return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_ARGUMENT,
				    "a list of paths is words with commas between, as in "
				    "\"vdpa,software\"");
	*ret = list;
	return 0;
}

const char *path_list_format(const struct path_list *list, char *buf, size_t size)
{
	size_t used = 0;

	if (size)
		*buf = '\0';
	for (int i = 0; i < VNIC_PATH_COUNT && list->path[i] && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? "," : "",
					 vnic_path_str(list->path[i]));
	return buf;
}

void vlan_set_add(struct vlan_set *set, unsigned int vlan)
{
	set->bits[vlan / 64] |= UINT64_C(1) << vlan % 64;
}

bool vlan_set_has(const struct vlan_set *set, uint16_t vlan)
{
	return vlan <= VNIC_VLAN_MAX && set->bits[vlan / 64] >> vlan % 64 & 1;
}

int vlan_set_parse(const char *s, struct vlan_set *ret)
{
	struct vlan_set set = { 0 };
	char word[16];
	int r;

	while ((r = next_word(&s, word, sizeof(word))) > 0) {
		char *dash = strchr(word, '-');
		uint64_t first, last;

		if (dash)
			*dash = '\0';
		r = u64_parse(word, 0, VNIC_VLAN_MAX, &first);
		if (r < 0)
			return r;
		last = first;
		if (dash) {
			r = u64_parse(dash + 1, first, VNIC_VLAN_MAX, &last);
			if (r < 0)
				return r;
		}
		for (uint64_t v = first; v <= last; v++)
			vlan_set_add(&set, (unsigned int)v);
	}
	if (r < 0)
		return r;
	*ret = set;
	return 0;
}

const char *vlan_set_format(const struct vlan_set *set, char *buf, size_t size)
{
	size_t used = 0;

	if (size)
		*buf = '\0';
	for (int v = 0; v <= VNIC_VLAN_MAX; v++) {
		int first = v, n;

		if (!vlan_set_has(set, (uint16_t)v))
			continue;
		while (v < VNIC_VLAN_MAX && vlan_set_has(set, (uint16_t)(v + 1)))
			v++;
		n = first == v ? snprintf(buf + used, size - used, "%s%d", used ? "," : "", v)
			       : snprintf(buf + used, size - used, "%s%d-%d", used ? "," : "",
					  first, v);
		if (n < 0 || (size_t)n >= size - used) {
			if (size > 4)
				memcpy(buf + (used < size - 4 ? used : size - 4), "…", 4);
			break;
		}
		used += (size_t)n;
	}
	return buf;
}

struct vnic_config *config_new(void)
{
	struct vnic_config *config = calloc(1, sizeof(*config));

	if (config)
		config->log_level = LOG_INFO;
	return config;
}

struct vnic_config *config_free(struct vnic_config *config)
{
	struct vnic_segment *segment, *stmp;
	struct vnic_class *class, *ctmp;
	struct vnic_nic_config *nic, *ntmp;

	if (!config)
		return NULL;
	HASH_ITER(hh, config->nics, nic, ntmp)
	{
		HASH_DEL(config->nics, nic);
		free(nic);
	}
	HASH_ITER(hh, config->segments, segment, stmp)
	{
		HASH_DEL(config->segments, segment);
		free(segment);
	}
	HASH_ITER(hh, config->classes, class, ctmp)
	{
		HASH_DEL(config->classes, class);
		free(class);
	}
	free(config);
	return NULL;
}

struct vnic_segment *config_segment(const struct vnic_config *config, const char *name)
{
	struct vnic_segment *segment;

	HASH_FIND_STR(config->segments, name, segment);
	return segment;
}

struct vnic_class *config_class(const struct vnic_config *config, const char *name)
{
	struct vnic_class *class;

	HASH_FIND_STR(config->classes, name, class);
	return class;
}

struct vnic_nic_config *config_nic(const struct vnic_config *config, const char *name)
{
	struct vnic_nic_config *nic;

	HASH_FIND_STR(config->nics, name, nic);
	return nic;
}

int config_add_nic(struct vnic_config *config, struct vnic_nic_config *nic)
{
	if (config_nic(config, nic->name))
		return -EEXIST;
	HASH_ADD_STR(config->nics, name, nic);
	return 0;
}

int config_add_segment(struct vnic_config *config, struct vnic_segment *segment)
{
	if (config_segment(config, segment->name))
		return -EEXIST;
	HASH_ADD_STR(config->segments, name, segment);
	return 0;
}

int config_add_class(struct vnic_config *config, struct vnic_class *class)
{
	if (config_class(config, class->name))
		return -EEXIST;
	HASH_ADD_STR(config->classes, name, class);
	return 0;
}

static const char *const vf_links[] = {
	[VF_LINK_KEEP] = "",
	[VF_LINK_AUTO] = "auto",
	[VF_LINK_ENABLE] = "enable",
	[VF_LINK_DISABLE] = "disable",
};

const char *vf_link_str(enum vf_link link)
{
	return vf_links[link];
}

int vf_link_parse(const char *s, enum vf_link *ret)
{
	for (size_t i = VF_LINK_AUTO; i < ARRAY_SIZE(vf_links); i++)
		if (str_eq(s, vf_links[i])) {
			*ret = (enum vf_link)i;
			return 0;
		}
	return -EINVAL;
}
