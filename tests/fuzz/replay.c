/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzz target over files and folders of files instead of under libFuzzer, and prints TAP: so
 * that make check replays every corpus with whatever compiler and sanitizers it was built with.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (8u << 20)

static int replay_file(int dirfd, const char *name)
{
	_cleanup_(freep) char *data = NULL;
	size_t size;
	int r = file_read(dirfd, name, INPUT_MAX, &data, &size);

	if (r < 0) {
		printf("# cannot read %s: %s\n", name, strerror(-r));
		return r;
	}
	LLVMFuzzerTestOneInput((const uint8_t *)data, size);
	return 1;
}

static int replay_dir(const char *dir)
{
	_cleanup_(closedirp) DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	if (!d)
		return -1;
	while ((e = readdir(d))) {
		int r;

		if (e->d_name[0] == '.')
			continue;
		r = replay_file(dirfd(d), e->d_name);
		if (r < 0)
			return r;
		n += r;
	}
	return n;
}

/* Without an argument: the corpus named after the program, fuzz_X -> tests/fuzz/corpus/X. */
int main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir"), *prog = strrchr(argv[0], '/');
	char corpus[PATH_MAX];
	struct stat st;
	int n;

	prog = prog ? prog + 1 : argv[0];
	if (strncmp(prog, "fuzz_", 5) == 0)
		prog += 5;
	snprintf(corpus, sizeof(corpus), "%s/tests/fuzz/corpus/%s", top ? top : ".", prog);
	if (argc > 1)
		snprintf(corpus, sizeof(corpus), "%s", argv[1]);
	n = stat(corpus, &st) == 0 && !S_ISDIR(st.st_mode) ? replay_file(AT_FDCWD, corpus)
							   : replay_dir(corpus);
	printf("1..1\n%s 1 - fuzz corpus %s: %d inputs\n", n > 0 ? "ok" : "not ok", prog, n);
	return n > 0 ? 0 : 1;
}
