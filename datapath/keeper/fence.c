/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datapath/keeper/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/paths.h"
#include "base/str.h"

/* All of the first version, which every kernel with Landlock has; later ones restrict more. */
#define EVERYTHING ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define TRUNCATE   (1ULL << 14) /* version 3 */
#define READ	   (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RUN	   (READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define ONE_FILE   (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE)

static const struct {
	const char *path;
	uint64_t access;
} rules[] = {
	{ "/usr", RUN },
	{ "/lib", RUN },
	{ "/lib64", RUN },
	{ "/etc", READ }, /* the linker's cache */
	{ "/proc", READ },
	{ "/sys", READ },
	{ "/dev", READ | LANDLOCK_ACCESS_FS_WRITE_FILE },
	{ "/run", READ }, /* peers' pidfiles */
	{ "/proc/self/exe", ONE_FILE }, /* workers are the same file, wherever it lies */
	{ VNIC_RUN_DIR, EVERYTHING | TRUNCATE },
};

static int allow(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	_cleanup_(closep) int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	rule.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return -errno;
	return 0;
}

int fence_up(const char *more)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = EVERYTHING };
	_cleanup_(freep) char *file = more ? strdup(more) : NULL;
	_cleanup_(closep) int ruleset = -1;
	long version;
	int r = 0;

	version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 1)
		return 1;
	if (version >= 3)
		attr.handled_access_fs |= TRUNCATE;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(rules) && r == 0; i++)
		r = allow(ruleset, rules[i].path, rules[i].access & attr.handled_access_fs);
	if (r == 0 && file)
		r = allow(ruleset, dirname(file), (EVERYTHING | TRUNCATE) & attr.handled_access_fs);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return -errno;
	return 0;
}
