/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/errors.h"
#include "base/cleanup.h"

#define SEALS			(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define REFUSE(err, error, ...) vnic_err_set(err, error, VNIC_E_INTERNAL, __VA_ARGS__)

int shm_new(const char *name, size_t size, int *ret_fd, void **ret_map)
{
	_cleanup_(closep) int fd = -1;
	void *map;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret_fd = take_fd(&fd);
	*ret_map = map;
	return 0;
}

int shm_map(int fd, size_t size, void **ret_map, struct vnic_err *err)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *map;

	/* Asked first: who has none is no memory of the kernel's own, and not to be asked anything. */
	if (seals < 0 || (seals & SEALS) != SEALS || seals & F_SEAL_WRITE)
		return REFUSE(err, -EBADMSG, "it is not a memfd sealed at its size");
	if (fstat(fd, &st) < 0)
		return REFUSE(err, -errno, "its size cannot be told: %s", strerror(errno));
	if (st.st_size != (off_t)size)
		return REFUSE(err, -ESTALE, "it has %lld bytes, ours has %zu",
			      (long long)st.st_size, size);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return REFUSE(err, -EBADMSG, "it cannot be mapped: %s", strerror(errno));
	*ret_map = map;
	return 0;
}

void shm_drop(size_t size, int *fd, void **map)
{
	if (*map)
		munmap(*map, size);
	*map = NULL;
	*fd = close_safe(*fd);
}
