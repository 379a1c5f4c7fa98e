/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libinih splits "key = value ; comment". What it would do silently is kept from it: it cuts long lines and
 * section names, takes an indented line for a continuation and forgets empty sections. So its reader, here,
 * counts lines, drops comments, handles "[…]" itself and gives it one key at a time.
 */
#include "daemon/sys/config_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ini.h>
#include <uthash.h>

#include "api/errors.h"
#include "base/cleanup.h"
#include "daemon/sys/config_keys.h"

/* A key that this file has set: twice is a mistake somebody will search for long. */
struct set_key {
	int line;
	UT_hash_handle hh;
	char id[]; /* object and key */
};

struct parser {
	struct vnic_config *config;
	const char *file; /* its name, for messages */
	const char *pos, *end;
	int line; /* the one read last */
	int pending; /* the line given to libinih last, until its handler was called */
	bool in_section;
	enum config_section section;
	char section_text[VNIC_NAME_MAX + 16]; /* "segment lan" */
	void *object; /* struct vnic_config, vnic_segment, vnic_class or vnic_nic_config */
	struct set_key *keys;
	int error;
	struct vnic_err *err;
};

static int __attribute__((format(printf, 2, 3))) fail(struct parser *p, const char *fmt, ...)
{
	char text[VNIC_ERR_MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->error = vnic_err_set(p->err, -EINVAL, VNIC_E_INVALID_CONFIG, "%s:%d: %s", p->file,
				p->line, text);
	return p->error;
}

static int fail_memory(struct parser *p)
{
	p->error = vnic_err_set(p->err, -ENOMEM, VNIC_E_INTERNAL, "%s: out of memory", p->file);
	return p->error;
}

static void set_place(const struct parser *p, struct config_place *place)
{
	snprintf(place->file, sizeof(place->file), "%s", p->file);
	str_make_utf8(place->file);
	place->line = p->line;
}

static int enter_segment(struct parser *p, const char *name)
{
	struct vnic_segment *segment = config_segment(p->config, name);

	if (!segment) {
		segment = config_segment_new(name);
		if (!segment)
			return fail_memory(p);
		set_place(p, &segment->place);
		config_add_segment(p->config, segment);
	}
	p->object = segment;
	return 0;
}

static int enter_class(struct parser *p, const char *name)
{
	struct vnic_class *class = config_class(p->config, name);

	if (!class) {
		class = config_class_new(name);
		if (!class)
			return fail_memory(p);
		set_place(p, &class->place);
		config_add_class(p->config, class);
	}
	p->object = class;
	return 0;
}

static int enter_nic(struct parser *p, const char *name)
{
	struct vnic_nic_config *nic;

	if (!ifname_valid(name))
		return fail(p,
			    "section [nic NAME] has the name '%.80s', which no interface can have",
			    name);
	nic = config_nic(p->config, name);
	if (!nic) {
		nic = config_nic_new(name);
		if (!nic)
			return fail_memory(p);
		set_place(p, &nic->place);
		config_add_nic(p->config, nic);
	}
	p->object = nic;
	return 0;
}

static int unknown_section(struct parser *p, const char *kind)
{
	const char *words[CONFIG_SECTION_COUNT + 1] = { 0 };
	const char *nearest;

	memcpy(words, config_section_names, sizeof(config_section_names));
	nearest = config_nearest(kind, words);
	return fail(p,
		    "unknown section [%.60s]%s%s%s: use [vnicd], [nic NAME], [segment NAME] or "
		    "[class NAME]",
		    kind, nearest ? ", did you mean '" : "", nearest ? nearest : "",
		    nearest ? "'?" : "");
}

/* @kind and @name: the words of "[kind name]"; @name is empty where there is none. */
static int enter_section(struct parser *p, const char *kind, const char *name)
{
	int section = 0;

	while (section < CONFIG_SECTION_COUNT && !str_eq(kind, config_section_names[section]))
		section++;
	if (section == CONFIG_SECTION_COUNT)
		return unknown_section(p, kind);
	p->section = (enum config_section)section;
	p->in_section = true;
	if (section == CONFIG_VNICD) {
		if (*name)
			return fail(p, "section [vnicd] takes no name, got '%.60s': write [vnicd]",
				    name);
		snprintf(p->section_text, sizeof(p->section_text), "vnicd");
		p->object = p->config;
		return 0;
	}
	if (section == CONFIG_NIC) {
		snprintf(p->section_text, sizeof(p->section_text), "nic %.15s", name);
		return enter_nic(p, name);
	}
	if (!name_valid(name))
		return fail(p,
			    "section [%s NAME] has the name '%.80s': NAME takes 1 to %d letters, "
			    "digits, '.', '_' and '-', and starts with neither '.' nor '-'",
			    kind, name, VNIC_NAME_MAX - 1);
	snprintf(p->section_text, sizeof(p->section_text), "%s %s", kind, name);
	return section == CONFIG_SEGMENT ? enter_segment(p, name) : enter_class(p, name);
}

/* "[kind name]" and, behind it, nothing but a comment. @line is NUL-terminated and may be written to. */
static int parse_section(struct parser *p, char *line)
{
	char *end = strchr(line, ']'), *kind = line + 1, *name, *rest;

	if (!end)
		return fail(p, "a section without its ']': write [vnicd], [nic NAME], "
			       "[segment NAME] or [class NAME]");
	*end = '\0';
	rest = end + 1 + strspn(end + 1, " \t");
	if (*rest && *rest != ';' && *rest != '#')
		return fail(p, "text behind the section's ']': '%.60s'", rest);
	kind += strspn(kind, " \t");
	while (end > kind && strchr(" \t", end[-1]))
		*--end = '\0';
	name = kind + strcspn(kind, " \t");
	if (*name) {
		*name++ = '\0';
		name += strspn(name, " \t");
	}
	return enter_section(p, kind, name);
}

/* Note that @key was set in this file. Return: 0, or an error where it was before. */
static int mark_key(struct parser *p, const char *key)
{
	size_t n = strlen(p->section_text) + 1 + strlen(key);
	struct set_key *set = calloc(1, sizeof(*set) + n + 1), *old;

	if (!set)
		return fail_memory(p);
	snprintf(set->id, n + 1, "%s\n%s", p->section_text, key);
	HASH_FIND_STR(p->keys, set->id, old);
	if (old) {
		free(set);
		return fail(p, "%s of [%s] is there twice, first in line %d: remove one", key,
			    p->section_text, old->line);
	}
	set->line = p->line;
	HASH_ADD_KEYPTR(hh, p->keys, set->id, n, set);
	return 0;
}

static void unknown_key(struct parser *p, const char *name)
{
	const struct config_key *key = config_keys(p->section);
	const char *words[24] = { 0 }, *nearest;
	char list[240] = "";
	size_t used = 0;

	for (size_t i = 0; key[i].name && i + 1 < ARRAY_SIZE(words); i++) {
		words[i] = key[i].name;
		if (used < sizeof(list))
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
						 i ? ", " : "", key[i].name);
	}
	nearest = config_nearest(name, words);
	fail(p, "unknown key '%.60s' in [%s]%s%s%s (its keys: %s)", name, p->section_text,
	     nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "", list);
}

/* libinih's handler; it takes 0 for an error, which is ours to remember. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
	struct parser *p = user;
	const struct config_key *key;

	(void)section;
	p->pending = 0;
	if (p->error)
		return 0;
	if (!p->in_section) {
		fail(p,
		     "'%.60s' before any section: put [vnicd], [nic NAME], [segment NAME] or "
		     "[class NAME] above it",
		     name);
		return 0;
	}
	key = config_key_find(p->section, name);
	if (!key)
		unknown_key(p, name);
	else if (mark_key(p, key->name) == 0 && key->set(p->object, value) < 0)
		fail(p, "%s=%.100s in [%s]: %s takes %s", name, value, p->section_text, name,
		     key->accepts);
	return !p->error;
}

/* The next line without its end and the blanks around it. Return: its length, or -1 at the end. */
static ssize_t next_line(struct parser *p, const char **ret)
{
	const char *line = p->pos, *nl;
	size_t n;

	if (p->pos == p->end)
		return -1;
	nl = memchr(line, '\n', (size_t)(p->end - line));
	n = (size_t)((nl ? nl : p->end) - line);
	p->pos = nl ? nl + 1 : p->end;
	p->line++;
	if (memchr(line, '\0', n))
		return fail(p, "a NUL byte: this is not a text file");
	if (n > CONFIG_LINE_MAX)
		return fail(p, "the line has %zu bytes, at most %d are read", n, CONFIG_LINE_MAX);
	while (n > 0 && strchr(" \t\r", line[n - 1]))
		n--;
	for (; n > 0 && strchr(" \t", *line); n--)
		line++;
	*ret = line;
	return (ssize_t)n;
}

/* libinih's reader, as fgets(): @num bytes at @buf, NULL at the end. */
static char *read_line(char *buf, int num, void *stream)
{
	struct parser *p = stream;

	if (p->pending && !p->error)
		fail(p, "no '=' in this line: a line is KEY=VALUE, [SECTION] or # COMMENT");
	while (!p->error) {
		char section[CONFIG_LINE_MAX + 1];
		const char *line = NULL;
		ssize_t n = next_line(p, &line);

		if (n < 0)
			return NULL;
		if (n == 0 || *line == '#' || *line == ';')
			continue;
		if (*line == '[') {
			memcpy(section, line, (size_t)n);
			section[n] = '\0';
			parse_section(p, section);
			continue;
		}
		if (n > num - 2) {
			fail(p, "the line has %zd bytes, at most %d are read", n, num - 2);
			return NULL;
		}
		memcpy(buf, line, (size_t)n);
		buf[n] = '\0';
		p->pending = p->line;
		return buf;
	}
	return NULL;
}

int config_parse(struct vnic_config *config, const char *name, const char *data, size_t size,
		 struct vnic_err *err)
{
	struct parser p = {
		.config = config, .file = name, .pos = data, .end = data + size, .err = err
	};
	struct set_key *key, *tmp;

	/* A byte order mark, which some editors write. */
	if (size >= 3 && !memcmp(data, "\xef\xbb\xbf", 3))
		p.pos += 3;
	if (ini_parse_stream(read_line, &p, on_key, &p) != 0 && !p.error)
		fail(&p, "cannot be parsed");
	HASH_ITER(hh, p.keys, key, tmp)
	{
		HASH_DEL(p.keys, key);
		free(key);
	}
	return p.error;
}

int config_finish(struct vnic_config *config, struct vnic_err *err)
{
	static const struct vlan_set none;

	for (struct vnic_segment *s = config->segments; s; s = s->hh.next)
		if (!*s->bridge)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_CONFIG,
					    "%s:%d: [segment %s] has no bridge: add bridge=NAME",
					    s->place.file, s->place.line, s->name);
	for (struct vnic_class *c = config->classes; c; c = c->hh.next) {
		if (!*c->segment)
			return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_CONFIG,
					    "%s:%d: [class %s] has no segment: add segment=NAME",
					    c->place.file, c->place.line, c->name);
		/* Where no VLANs are listed, the class's own is the one allowed. */
		if (!memcmp(&c->vlans, &none, sizeof(none)))
			vlan_set_add(&c->vlans, c->vlan);
	}
	return 0;
}

static int bad_file(struct vnic_err *err, int error, const char *file, const char *why)
{
	return vnic_err_set(err, error, VNIC_E_INVALID_CONFIG, "%s: %s", file, why);
}

/* Only root (or whoever we run as) may be able to change what configures the host. */
static int check_owner(const struct stat *st, const char *file, struct vnic_err *err)
{
	const char *flag = S_ISDIR(st->st_mode) ? "folder" : "file";

	if (st->st_uid != 0 && st->st_uid != geteuid())
		return vnic_err_set(err, -EPERM, VNIC_E_INVALID_CONFIG,
				    "%s: the %s belongs to user %u, not to root: chown root %s",
				    file, flag, (unsigned int)st->st_uid, file);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return vnic_err_set(err, -EPERM, VNIC_E_INVALID_CONFIG,
				    "%s: others than root may write the %s (mode %04o): "
				    "chmod go-w %s",
				    file, flag, (unsigned int)(st->st_mode & 07777), file);
	return 0;
}

/* Read what is open at @fd, at most CONFIG_FILE_MAX bytes. */
static int read_fd(int fd, const char *file, char **ret, size_t *ret_size, struct vnic_err *err)
{
	_cleanup_(freep) char *data = malloc(CONFIG_FILE_MAX + 1);
	size_t used = 0;

	if (!data)
		return bad_file(err, -ENOMEM, file, "out of memory");
	while (used <= CONFIG_FILE_MAX) {
		ssize_t n = read(fd, data + used, CONFIG_FILE_MAX + 1 - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return bad_file(err, -errno, file, strerror(errno));
		if (n == 0)
			break;
		used += (size_t)n;
	}
	if (used > CONFIG_FILE_MAX)
		return bad_file(err, -EFBIG, file,
				"the file is larger than 1 MiB, which no configuration is");
	*ret = take_ptr(data);
	*ret_size = used;
	return 0;
}

/* @full: the file's whole name, for messages; @place: the short one. */
static int read_one(struct vnic_config *config, int dirfd, const char *name, const char *full,
		    const char *place, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;
	_cleanup_(freep) char *data = NULL;
	struct stat st;
	size_t size = 0;
	int r;

	/* O_NONBLOCK: a FIFO put there must not hold up the daemon. */
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ELOOP)
		return bad_file(err, -ELOOP, full,
				"a symbolic link, which is not followed: put the file itself "
				"there, or remove the link");
	if (fd < 0)
		return bad_file(err, -errno, full, strerror(errno));
	if (fstat(fd, &st) < 0)
		return bad_file(err, -errno, full, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return bad_file(err, -EINVAL, full, "not a regular file: remove it");
	r = check_owner(&st, full, err);
	if (r < 0)
		return r;
	r = read_fd(fd, full, &data, &size, err);
	if (r < 0)
		return r;
	return config_parse(config, place, data, size, err);
}

static int is_dropin(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && n > 5 && str_eq(e->d_name + n - 5, ".conf");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_dropins(struct vnic_config *config, int dirfd, const char *dir,
			struct dirent **list, int n, struct vnic_err *err)
{
	const char *base = strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir;

	if (n > CONFIG_DROPINS_MAX)
		return bad_file(err, -E2BIG, dir, "more than 256 drop-ins");
	for (int i = 0; i < n; i++) {
		char full[PATH_MAX], place[PATH_MAX];
		int r;

		snprintf(full, sizeof(full), "%s/%s", dir, list[i]->d_name);
		snprintf(place, sizeof(place), "%s/%s", base, list[i]->d_name);
		r = read_one(config, dirfd, list[i]->d_name, full, place, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_dir(struct vnic_config *config, const char *dir, struct vnic_err *err)
{
	_cleanup_(closep) int fd = -1;
	struct dirent **list = NULL;
	struct stat st;
	int n, r;

	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return bad_file(err, -errno, dir,
				errno == ELOOP || errno == ENOTDIR ? "not a folder: remove it"
								   : strerror(errno));
	if (fstat(fd, &st) < 0)
		return bad_file(err, -errno, dir, strerror(errno));
	r = check_owner(&st, dir, err);
	if (r < 0)
		return r;
	n = scandirat(fd, ".", &list, is_dropin, by_name);
	if (n < 0)
		return bad_file(err, -errno, dir, strerror(errno));
	r = read_dropins(config, fd, dir, list, n, err);
	while (n > 0)
		free(list[--n]);
	free(list);
	return r;
}

static void config_freep(struct vnic_config **config)
{
	config_free(*config);
}

int config_read(const char *file, const char *dir, struct vnic_config **ret, struct vnic_err *err)
{
	_cleanup_(config_freep) struct vnic_config *config = config_new();
	const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
	struct stat st;
	int r;

	if (!config)
		return bad_file(err, -ENOMEM, file, "out of memory");
	if (lstat(file, &st) == 0 || errno != ENOENT) {
		r = read_one(config, AT_FDCWD, file, file, base, err);
		if (r < 0)
			return r;
	}
	r = read_dir(config, dir, err);
	if (r < 0)
		return r;
	r = config_finish(config, err);
	if (r < 0)
		return r;
	*ret = take_ptr(config);
	return 0;
}
