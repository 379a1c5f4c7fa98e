/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

int shm_new(const char *name, size_t size, int *ret_fd, void **ret_map)
{
	_cleanup_(closep) int fd = -1;
	void *map;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret_fd = take_fd(&fd);
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
