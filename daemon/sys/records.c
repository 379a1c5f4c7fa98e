/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/records.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uthash.h>

#include "api/errors.h"
#include "base/file.h"
#include "daemon/sys/record.h"

#define RECORD_FILE_STR (VNIC_NAME_MAX + 64)
/* A plan of PLAN_STEPS_LIMIT steps stays below it. */
#define RECORD_SIZE_MAX (32u << 20)

/* A record that must not be overwritten. */
struct kept {
	char id[RECORD_FILE_STR + 2]; /* "p/FILE" or "s/FILE" */
	UT_hash_handle hh;
};

struct records {
	int ports_fd, shared_fd;
	char boot[RECORD_BOOT_STR];
	struct kept *kept;
};

static int fail_file(struct vnic_err *err, int error, const char *file)
{
	return vnic_err_set(err, error, VNIC_E_INTERNAL, "record %s: %s", file, strerror(-error));
}

static int open_folder(const char *dir, int *ret, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return fail_file(err, -errno, dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_file(err, -errno, dir);
	/* Who may write here tells vnicd what to undo as root. */
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || st.st_mode & (S_IWGRP | S_IWOTH))
		return vnic_err_set(err, -EPERM, VNIC_E_INTERNAL,
				    "%s: others than root may write there: chown root %s; "
				    "chmod 0700 %s",
				    dir, dir, dir);
	*ret = take_fd(&fd);
	return 0;
}

static int read_boot(char boot[RECORD_BOOT_STR])
{
	_cleanup_(freep) char *data = NULL;
	int r;

	r = file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &data, NULL);
	if (r < 0)
		return r;
	data[strcspn(data, "\n")] = '\0';
	return str_copy(boot, RECORD_BOOT_STR, data);
}

int records_new(const char *ports_dir, const char *shared_dir, const char *boot,
		struct records **ret, struct vnic_err *err)
{
	_cleanup_(records_freep) struct records *records = calloc(1, sizeof(*records));
	int r;

	if (!records)
		return -ENOMEM;
	records->ports_fd = records->shared_fd = -1;
	r = boot ? str_copy(records->boot, sizeof(records->boot), boot) : read_boot(records->boot);
	if (r < 0)
		return fail_file(err, r, "(the boot's id)");
	r = open_folder(ports_dir, &records->ports_fd, err);
	if (r == 0)
		r = open_folder(shared_dir, &records->shared_fd, err);
	if (r < 0)
		return r;
	*ret = take_ptr(records);
	return 0;
}

struct records *records_free(struct records *records)
{
	struct kept *kept, *tmp;

	if (!records)
		return NULL;
	close_safe(records->ports_fd);
	close_safe(records->shared_fd);
	HASH_ITER(hh, records->kept, kept, tmp)
	{
		HASH_DEL(records->kept, kept);
		free(kept);
	}
	free(records);
	return NULL;
}

static void port_file(const struct port_key *key, char file[RECORD_FILE_STR])
{
	char uuid[VNIC_UUID_STR], mac[VNIC_MAC_STR];

	snprintf(file, RECORD_FILE_STR, "%s-%s.json", uuid_format(key->uuid, uuid),
		 mac_format(key->mac, mac));
}

/* A segment's name has no ':', so that no other record is ever mistaken for one. */
static void shared_file(const struct record_owner *owner, char file[RECORD_FILE_STR])
{
	static const char *const prefix[] = {
		[RECORD_SEGMENT] = "",
		[RECORD_NIC] = "nic:",
		[RECORD_VF] = "vf:",
	};

	snprintf(file, RECORD_FILE_STR, "%s%s.json", prefix[owner->kind], owner->name);
}

/* Return: 0, or -EINVAL for what names none. */
static int make_owner(const char *name, enum record_kind kind, struct record_owner *ret,
		      struct vnic_err *err)
{
	if (kind ? !*name || strchr(name, '/') : !name_valid(name))
		return fail_file(err, -EINVAL, name);
	ret->kind = kind;
	return str_copy(ret->name, kind ? DEV_ADDR_MAX : VNIC_NAME_MAX, name);
}

static void kept_id(const struct records *records, int dirfd, const char *file, char *id,
		    size_t size)
{
	snprintf(id, size, "%c/%s", dirfd == records->ports_fd ? 'p' : 's', file);
}

static bool is_kept(struct records *records, int dirfd, const char *file)
{
	char id[RECORD_FILE_STR + 2];
	struct kept *kept;

	kept_id(records, dirfd, file, id, sizeof(id));
	HASH_FIND_STR(records->kept, id, kept);
	if (!kept || faccessat(dirfd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return kept;
	/* Somebody has removed it, as its message asks for. */
	HASH_DEL(records->kept, kept);
	free(kept);
	return false;
}

static int write_file(struct records *records, int dirfd, const char *file, const char *data,
		      size_t size, struct vnic_err *err)
{
	int r;

	if (is_kept(records, dirfd, file))
		return vnic_err_set(err, -EEXIST, VNIC_E_INTERNAL,
				    "record %s: there is one of a newer vnicd, which is left alone",
				    file);
	r = file_write_atomic(dirfd, file, data, size, 0600);
	return r < 0 ? fail_file(err, r, file) : 0;
}

int records_write_port(struct records *records, const struct vnic_port *port, struct vnic_err *err)
{
	_cleanup_(freep) char *data = NULL;
	char file[RECORD_FILE_STR];
	size_t size;
	int r;

	port_file(&port->spec.key, file);
	r = record_encode_port(port, records->boot, &data, &size);
	if (r < 0)
		return fail_file(err, r, file);
	return write_file(records, records->ports_fd, file, data, size, err);
}

static int write_shared(struct records *records, const char *name, enum record_kind kind,
			bool drained, const struct plan *plan, struct vnic_err *err)
{
	_cleanup_(freep) char *data = NULL;
	struct record_owner owner = { .drained = drained };
	char file[RECORD_FILE_STR];
	size_t size;
	int r;

	r = make_owner(name, kind, &owner, err);
	if (r < 0)
		return r;
	shared_file(&owner, file);
	r = record_encode_shared(&owner, plan, records->boot, &data, &size);
	if (r < 0)
		return fail_file(err, r, file);
	return write_file(records, records->shared_fd, file, data, size, err);
}

int records_write_shared(struct records *records, const char *segment, const struct plan *plan,
			 struct vnic_err *err)
{
	return write_shared(records, segment, RECORD_SEGMENT, false, plan, err);
}

int records_write_nic(struct records *records, const char *pf, const struct plan *plan,
		      bool drained, struct vnic_err *err)
{
	return write_shared(records, pf, RECORD_NIC, drained, plan, err);
}

int records_write_hostdev(struct records *records, const char *addr, const struct plan *plan,
			  struct vnic_err *err)
{
	return write_shared(records, addr, RECORD_VF, false, plan, err);
}

static int erase_file(struct records *records, int dirfd, const char *file, struct vnic_err *err)
{
	/* What was never written in its place is not there: the newer vnicd's stays. */
	if (is_kept(records, dirfd, file))
		return 0;
	if (unlinkat(dirfd, file, 0) < 0 && errno != ENOENT)
		return fail_file(err, -errno, file);
	return 0;
}

int records_erase_port(struct records *records, const struct port_key *key, struct vnic_err *err)
{
	char file[RECORD_FILE_STR];

	port_file(key, file);
	return erase_file(records, records->ports_fd, file, err);
}

static int erase_shared(struct records *records, const char *name, enum record_kind kind,
			struct vnic_err *err)
{
	struct record_owner owner;
	char file[RECORD_FILE_STR];
	int r;

	r = make_owner(name, kind, &owner, err);
	if (r < 0)
		return r;
	shared_file(&owner, file);
	return erase_file(records, records->shared_fd, file, err);
}

int records_erase_shared(struct records *records, const char *segment, struct vnic_err *err)
{
	return erase_shared(records, segment, RECORD_SEGMENT, err);
}

int records_erase_nic(struct records *records, const char *pf, struct vnic_err *err)
{
	return erase_shared(records, pf, RECORD_NIC, err);
}

int records_erase_hostdev(struct records *records, const char *addr, struct vnic_err *err)
{
	return erase_shared(records, addr, RECORD_VF, err);
}

/* One record's content to @ops. Return: as record_decode_port(). */
static int take_port(struct records *records, const char *file, const char *data, size_t size,
		     const struct records_ops *ops, void *userdata, struct vnic_err *err)
{
	struct vnic_port *port;
	char expected[RECORD_FILE_STR];
	int r;

	r = record_decode_port(data, size, records->boot, &port, err);
	if (r != 0)
		return r;
	port_file(&port->spec.key, expected);
	if (!str_eq(expected, file)) {
		port_free(port);
		return vnic_err_set(err, -EBADMSG, VNIC_E_INVALID_MESSAGE,
				    "it is another port's, %s", expected);
	}
	ops->port(userdata, port);
	return 0;
}

static int take_shared(struct records *records, const char *file, const char *data, size_t size,
		       const struct records_ops *ops, void *userdata, struct vnic_err *err)
{
	struct record_owner owner;
	char expected[RECORD_FILE_STR];
	struct plan plan = { 0 };
	int r;

	r = record_decode_shared(data, size, records->boot, &owner, &plan, err);
	if (r != 0)
		return r;
	shared_file(&owner, expected);
	if (!str_eq(expected, file)) {
		plan_clear(&plan);
		return vnic_err_set(err, -EBADMSG, VNIC_E_INVALID_MESSAGE,
				    "it is another segment's, nic's or VF's, %s", expected);
	}
	if (owner.kind == RECORD_SEGMENT)
		ops->shared(userdata, owner.name, &plan);
	else if (owner.kind == RECORD_NIC && ops->nic)
		ops->nic(userdata, owner.name, &plan, owner.drained);
	else if (owner.kind == RECORD_VF && ops->hostdev)
		ops->hostdev(userdata, owner.name, &plan);
	else
		plan_clear(&plan);
	return 0;
}

static void keep(struct records *records, int dirfd, const char *file)
{
	struct kept *kept = calloc(1, sizeof(*kept)), *old;

	if (!kept)
		return;
	kept_id(records, dirfd, file, kept->id, sizeof(kept->id));
	HASH_FIND_STR(records->kept, kept->id, old);
	if (old)
		free(kept);
	else
		HASH_ADD_STR(records->kept, id, kept);
}

/* Out of the way, for people to look at; the next damaged one of this name replaces it. */
static void set_aside(int dirfd, const char *file, struct vnic_err *err)
{
	char bad[NAME_MAX + 8];

	snprintf(bad, sizeof(bad), "%s.bad", file);
	if (renameat(dirfd, file, dirfd, bad) == 0)
		vnic_err_prefix(err, "set aside as %s: ", bad);
	else
		vnic_err_prefix(err, "ignored, and cannot be set aside (%s): ", strerror(errno));
}

static void load_file(struct records *records, int dirfd, const char *file,
		      const struct records_ops *ops, void *userdata)
{
	struct vnic_err err = VNIC_ERR_INIT;
	_cleanup_(freep) char *data = NULL;
	size_t size;
	int r;

	r = file_read(dirfd, file, RECORD_SIZE_MAX, &data, &size);
	if (r < 0)
		vnic_err_set(&err, r, VNIC_E_INVALID_MESSAGE, "%s",
			     r == -ELOOP    ? "it is a symbolic link"
			     : r == -EINVAL ? "it is no regular file"
					    : strerror(-r));
	else if (dirfd == records->ports_fd)
		r = take_port(records, file, data, size, ops, userdata, &err);
	else
		r = take_shared(records, file, data, size, ops, userdata, &err);
	if (r == 0)
		return;
	if (r == RECORD_OTHER_BOOT) {
		unlinkat(dirfd, file, 0);
		return;
	}
	if (r == -EPROTONOSUPPORT)
		keep(records, dirfd, file);
	else if (r != -ENOMEM)
		set_aside(dirfd, file, &err);
	ops->problem(userdata, file, &err);
}

static int is_record(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && n > 5 && str_eq(e->d_name + n - 5, ".json");
}

/* What a vnicd that was killed while writing left: ".FILE.json.tmp". */
static int is_leftover(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] == '.' && n > 10 && str_eq(e->d_name + n - 9, ".json.tmp");
}

static int load_folder(struct records *records, int dirfd, const struct records_ops *ops,
		       void *userdata)
{
	struct dirent **list;
	int n;

	n = scandirat(dirfd, ".", &list, is_leftover, NULL);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		unlinkat(dirfd, list[i]->d_name, 0);
		free(list[i]);
	}
	free(list);
	n = scandirat(dirfd, ".", &list, is_record, alphasort);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		load_file(records, dirfd, list[i]->d_name, ops, userdata);
		free(list[i]);
	}
	free(list);
	return 0;
}

int records_load(struct records *records, const struct records_ops *ops, void *userdata,
		 struct vnic_err *err)
{
	int r;

	r = load_folder(records, records->shared_fd, ops, userdata);
	if (r == 0)
		r = load_folder(records, records->ports_fd, ops, userdata);
	return r < 0 ? fail_file(err, r, "folder") : 0;
}
