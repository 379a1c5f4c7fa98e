/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/tables/hook-inputs.md: one table, several test programs, one kind of rows each. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "tests/unit/unit.h"

/* The rows of @kind and the tests have the same names: none is missing on either side. */
static inline int hook_table_check(const char *kind, const struct CMUnitTest *tests, size_t n_tests)
{
	const char *top = getenv("top_srcdir");
	_cleanup_(freep) char *table = NULL;
	char file[4096], cell[32];
	size_t rows = 0;
	int bad = 0;

	snprintf(cell, sizeof(cell), " | %s | ", kind);
	snprintf(file, sizeof(file), "%s/tests/tables/hook-inputs.md", top ? top : ".");
	if (file_read(AT_FDCWD, file, 1 << 20, &table, NULL) < 0) {
		fprintf(stderr, "cannot read %s\n", file);
		return 1;
	}
	for (size_t i = 0; i < n_tests; i++) {
		char row[200];

		snprintf(row, sizeof(row), "\n| %s | %s | ", tests[i].name, kind);
		if (!strstr(table, row)) {
			fprintf(stderr, "tests/tables/hook-inputs.md lacks %s\n", tests[i].name);
			bad = 1;
		}
	}
	for (char *p = table; (p = strstr(p, cell)); p++)
		rows++;
	if (rows != n_tests) {
		fprintf(stderr, "tests/tables/hook-inputs.md has %zu rows of %s for %zu tests\n",
			rows, kind, n_tests);
		bad = 1;
	}
	return bad;
}
