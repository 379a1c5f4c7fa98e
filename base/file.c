/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int file_read(int dirfd, const char *name, size_t max, char **ret_data, size_t *ret_size)
{
	_cleanup_(closep) int fd = -1;
	_cleanup_(freep) char *data = NULL;
	struct stat st;
	size_t used = 0, room;

	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > 0 && (uint64_t)st.st_size > max)
		return -EFBIG;

	/* procfs says size 0, sysfs says a page: read to the end, whatever was said. */
	room = st.st_size > 0 ? (size_t)st.st_size + 1 : 4096;
	if (room > max + 1)
		room = max + 1;
	data = malloc(room + 1);
	if (!data)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, data + used, room - used);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max)
			return -EFBIG;
		if (used == room) {
			char *more;

			room = room * 2 > max + 1 ? max + 1 : room * 2;
			more = realloc(data, room + 1);
			if (!more)
				return -ENOMEM;
			data = more;
		}
	}
	data[used] = '\0';
	*ret_data = take_ptr(data);
	if (ret_size)
		*ret_size = used;
	return 0;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

int file_write_atomic(int dirfd, const char *name, const void *data, size_t size, mode_t mode)
{
	_cleanup_(closep) int fd = -1;
	char tmp[300];
	int r;

	r = snprintf(tmp, sizeof(tmp), ".%s.tmp", name);
	if (r < 0 || (size_t)r >= sizeof(tmp))
		return -ENAMETOOLONG;
	if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = write_all(fd, data, size);
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dirfd, tmp, 0);
	return r;
}

int file_write_attr(int dirfd, const char *name, const char *data)
{
	_cleanup_(closep) int fd = -1;
	size_t size = strlen(data);
	ssize_t n;

	fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	n = write(fd, data, size);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EIO;
}
