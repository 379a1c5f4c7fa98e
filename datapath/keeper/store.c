/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define N_BUCKETS 4096U

/* What makes two descriptors the same file. */
struct identity {
	uint64_t dev, ino;
	bool event;
};

struct entry {
	char letter; /* 0: free */
	uint32_t users;
	int fd; /* adopted, until the sweep; else -1 */
	struct identity what; /* of STORE_SHARED */
	uint32_t next; /* in its bucket, 0: the last */
};

struct store {
	struct notify *notify;
	uint32_t n; /* entries in use */
	uint32_t last; /* number given last */
	uint64_t puts;
	bool full_said;
	uint32_t bucket[N_BUCKETS];
	struct entry entry[STORE_MAX]; /* [0] is none */
};

/* The kernel's number of an eventfd, proc(5): unique as long as it lives. All have one inode. */
static int event_number(int fd, uint64_t *ret)
{
	static const char key[] = "eventfd-id:";
	_cleanup_(freep) char *data = NULL;
	char name[40], *p;
	int r;

	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	r = file_read(AT_FDCWD, name, 4096, &data, NULL);
	if (r < 0)
		return r;
	p = strstr(data, key);
	if (!p || sscanf(p + sizeof(key) - 1, "%" SCNu64, ret) != 1)
		return -ENOENT;
	return 0;
}

/* @fd is memory of the kernel's own or an eventfd (fd_harmless()): neither makes us wait. */
static int identify(int fd, struct identity *ret)
{
	struct identity what = { 0 };
	struct stat st;

	if (fcntl(fd, F_GET_SEALS) >= 0) {
		if (fstat(fd, &st) < 0)
			return -errno;
		what.dev = st.st_dev;
		what.ino = st.st_ino;
	} else {
		int r = event_number(fd, &what.ino);

		if (r < 0)
			return r;
		what.event = true;
	}
	*ret = what;
	return 0;
}

static uint32_t bucket_of(const struct identity *what)
{
	uint64_t h =
		(what->ino ^ what->dev << 20 ^ (uint64_t)what->event << 40) * 0x9e3779b97f4a7c15ULL;

	return (uint32_t)(h >> 40) % N_BUCKETS;
}

static uint32_t find(const struct store *s, const struct identity *what)
{
	uint32_t id = s->bucket[bucket_of(what)];

	while (id && (s->entry[id].what.dev != what->dev || s->entry[id].what.ino != what->ino ||
		      s->entry[id].what.event != what->event))
		id = s->entry[id].next;
	return id;
}

static void hash(struct store *s, uint32_t id, const struct identity *what)
{
	uint32_t *head = &s->bucket[bucket_of(what)];

	s->entry[id].what = *what;
	s->entry[id].next = *head;
	*head = id;
}

static void unhash(struct store *s, uint32_t id)
{
	uint32_t *p = &s->bucket[bucket_of(&s->entry[id].what)];

	while (*p && *p != id)
		p = &s->entry[*p].next;
	if (*p)
		*p = s->entry[id].next;
}

static void format_name(char letter, uint32_t id, char *to, size_t size)
{
	snprintf(to, size, "%c%" PRIx32, letter, id);
}

/* A name of ours, exactly as format_name() writes it. */
static bool parse_name(const char *name, char *ret_letter, uint32_t *ret_id)
{
	static const char letters[] = { STORE_SHARED, STORE_PRIVATE, STORE_PORT,  STORE_SEGMENT,
					STORE_KEEPER, STORE_CONTROL, STORE_WORKER };
	char again[16];
	uint32_t id;

	if (!name[0] || !memchr(letters, name[0], sizeof(letters)) ||
	    sscanf(name + 1, "%5" SCNx32, &id) != 1 || id == 0 || id >= STORE_MAX)
		return false;
	format_name(name[0], id, again, sizeof(again));
	if (strcmp(again, name) != 0)
		return false;
	*ret_letter = name[0];
	*ret_id = id;
	return true;
}

static uint32_t free_number(struct store *s)
{
	for (uint32_t i = 1; i < STORE_MAX; i++) {
		uint32_t id = 1 + (s->last + i - 1) % (STORE_MAX - 1);

		if (!s->entry[id].letter) {
			s->last = id;
			return id;
		}
	}
	if (!s->full_said)
		log_warning("the service manager's store is full with %u descriptors: a restart "
			    "of the datapath is not unseen by all guests",
			    s->n);
	s->full_said = true;
	return 0;
}

static uint32_t add(struct store *s, char letter, int fd)
{
	char name[16], text[64];
	uint32_t id;

	if (!notify_alive(s->notify))
		return 0;
	id = free_number(s);
	if (!id)
		return 0;
	s->entry[id] = (struct entry){ .letter = letter, .users = 1, .fd = -1 };
	s->n++;
	format_name(letter, id, name, sizeof(name));
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	notify_send(s->notify, text, fd);
	s->puts++;
	return id;
}

uint32_t store_put(struct store *s, enum store_letter letter, int fd)
{
	return s ? add(s, (char)letter, fd) : 0;
}

uint32_t store_share(struct store *s, int fd)
{
	struct identity what;
	uint32_t id;

	if (!s || fd < 0 || identify(fd, &what) < 0)
		return 0;
	id = find(s, &what);
	if (id) {
		s->entry[id].users++;
		return id;
	}
	id = add(s, STORE_SHARED, fd);
	if (id)
		hash(s, id, &what);
	return id;
}

static void take_out(struct store *s, uint32_t id)
{
	struct entry *e = &s->entry[id];
	char name[16], text[64];

	format_name(e->letter, id, name, sizeof(name));
	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	notify_send(s->notify, text, -1);
	if (e->letter == STORE_SHARED)
		unhash(s, id);
	close_safe(e->fd);
	*e = (struct entry){ .fd = -1 };
	s->n--;
	s->full_said = false;
}

void store_drop(struct store *s, uint32_t id)
{
	if (!s || id == 0 || id >= STORE_MAX || !s->entry[id].letter)
		return;
	if (s->entry[id].users > 0)
		s->entry[id].users--;
	if (s->entry[id].users == 0)
		take_out(s, id);
}

uint32_t store_count(const struct store *s)
{
	return s->n;
}

uint64_t store_puts(const struct store *s)
{
	return s->puts;
}

bool store_adopt(struct store *s, int fd, const char *name)
{
	struct identity what;
	char letter;
	uint32_t id;

	if (!parse_name(name, &letter, &id) || s->entry[id].letter)
		return false;
	s->entry[id] = (struct entry){ .letter = letter, .fd = fd };
	s->n++;
	if (letter != STORE_SHARED)
		return true;
	/* Nobody finds it where it is not what it should be, or there twice: it is swept out. */
	if (identify(fd, &what) < 0 || find(s, &what))
		what = (struct identity){ .dev = UINT64_MAX, .ino = id };
	hash(s, id, &what);
	return true;
}

uint32_t store_next(const struct store *s, enum store_letter letter, uint32_t id)
{
	while (++id < STORE_MAX)
		if (s->entry[id].letter == (char)letter && s->entry[id].fd >= 0)
			return id;
	return 0;
}

int store_adopted(const struct store *s, enum store_letter letter, uint32_t id)
{
	if (id == 0 || id >= STORE_MAX || s->entry[id].letter != (char)letter)
		return -1;
	return s->entry[id].fd;
}

bool store_unclaimed(const struct store *s, uint32_t id)
{
	return id > 0 && id < STORE_MAX && s->entry[id].letter && s->entry[id].fd >= 0 &&
	       s->entry[id].users == 0;
}

bool store_claim(struct store *s, uint32_t id)
{
	if (!store_unclaimed(s, id))
		return false;
	s->entry[id].users = 1;
	return true;
}

uint32_t store_sweep(struct store *s)
{
	uint32_t n = 0;

	for (uint32_t id = 1; id < STORE_MAX; id++) {
		struct entry *e = &s->entry[id];

		if (!e->letter)
			continue;
		if (e->users == 0) {
			take_out(s, id);
			n++;
		} else {
			e->fd = close_safe(e->fd);
		}
	}
	return n;
}

struct notify *store_notify(struct store *s)
{
	return s ? s->notify : NULL;
}

struct store *store_free(struct store *s)
{
	if (!s)
		return NULL;
	for (uint32_t id = 1; id < STORE_MAX; id++)
		if (s->entry[id].letter)
			close_safe(s->entry[id].fd);
	notify_free(s->notify);
	free(s);
	return NULL;
}

int store_new(struct event_base *base, const char *address, notify_fn confirmed, void *userdata,
	      struct store **ret)
{
	struct store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = notify_new(base, address, confirmed, userdata, &s->notify);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}
