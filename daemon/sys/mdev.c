/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/mdev.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/sys/sysfs.h"

/* The type in folder @name of @types. False where it makes no sense. */
static bool read_type(int types, const char *parent, const char *name, struct mdev_type *ret)
{
	_cleanup_(closep) int fd = sysfs_open_at(types, name);

	memset(ret, 0, sizeof(*ret));
	if (fd < 0 || str_copy(ret->parent, sizeof(ret->parent), parent) < 0 ||
	    str_copy(ret->type, sizeof(ret->type), name) < 0)
		return false;
	snprintf(ret->id, sizeof(ret->id), "%s/%s", ret->parent, ret->type);
	if (!sysfs_text(fd, "device_api", ret->device_api, sizeof(ret->device_api)))
		memset(ret->device_api, 0, sizeof(ret->device_api));
	ret->available = (uint32_t)sysfs_number(fd, "available_instances", 0, INT_MAX, 0);
	return true;
}

/* @fresh takes what is there. Return: 0 or -ENOMEM. */
static int read_parent(int class_fd, const char *parent, struct mdev_type **fresh)
{
	char types[NAME_MAX + 32];
	_cleanup_(closedirp) DIR *dir = NULL;
	const struct dirent *e;

	snprintf(types, sizeof(types), "%s/mdev_supported_types", parent);
	dir = sysfs_dir_at(class_fd, types);
	while (dir && (e = readdir(dir))) {
		struct mdev_type *t, *old;

		if (!sysfs_component_valid(e->d_name))
			continue;
		t = malloc(sizeof(*t));
		if (!t)
			return -ENOMEM;
		if (!read_type(dirfd(dir), parent, e->d_name, t)) {
			free(t);
			continue;
		}
		HASH_FIND_STR(*fresh, t->id, old);
		if (old)
			free(t);
		else
			HASH_ADD_STR(*fresh, id, t);
	}
	return 0;
}

static int read_all(struct mdev_type **fresh)
{
	_cleanup_(closedirp) DIR *dir = sysfs_dir("class/mdev_bus");
	const struct dirent *e;
	int r = 0;

	while (dir && r == 0 && (e = readdir(dir)))
		if (sysfs_component_valid(e->d_name))
			r = read_parent(dirfd(dir), e->d_name, fresh);
	return r;
}

int mdev_read(struct inventory *inv)
{
	struct mdev_type *fresh = NULL, *t, *tmp;
	int changed = 0, r = read_all(&fresh);

	for (t = inv->mdevs; t && r == 0; t = tmp) {
		struct mdev_type *there;

		tmp = t->hh.next;
		HASH_FIND_STR(fresh, t->id, there);
		if (!there)
			changed |= inventory_remove_mdev(inv, t->id);
	}
	HASH_ITER(hh, fresh, t, tmp)
	{
		HASH_DEL(fresh, t);
		if (r == 0 && inventory_upsert_mdev(inv, t) > 0)
			changed = 1;
		free(t);
	}
	return r < 0 ? r : changed;
}
