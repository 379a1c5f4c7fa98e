/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of cases (tests/tables/X.md): a test program proves that each row has its test and each test its row. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/unit.h"

#define TABLE_TESTS_MAX 256

/* The first cell of "| name | … |" into @ret; false for other lines, the head and its rule. */
static inline bool table_row(const char *line, char *ret, size_t size)
{
	size_t n;

	if (strncmp(line, "| ", 2) != 0)
		return false;
	line += 2;
	n = strcspn(line, " |");
	/* A name of several words is a scenario's, which tests/lib/table-check looks for. */
	if (n == 0 || n >= size || strncmp(line + n, " |", 2) != 0 || !strncmp(line, "---", 3) ||
	    !strncmp(line, "test |", 6))
		return false;
	memcpy(ret, line, n);
	ret[n] = '\0';
	return true;
}

/* Compare @file below tests/tables with the names of @tests, those not of the table (in @others) apart. */
static inline void table_check(const char *file, const struct CMUnitTest *tests, size_t n_tests,
			       const char *const *others)
{
	const char *top = getenv("top_srcdir");
	_cleanup_(fclosep) FILE *f = NULL;
	bool seen[TABLE_TESTS_MAX] = { false };
	char name[512], line[1024];

	snprintf(name, sizeof(name), "%s/tests/tables/%s", top ? top : ".", file);
	f = fopen(name, "re");
	if (!f)
		fail_msg("cannot read %s", name);
	assert_true(n_tests <= TABLE_TESTS_MAX);
	while (fgets(line, sizeof(line), f)) {
		char row[128];
		size_t i;

		if (!table_row(line, row, sizeof(row)))
			continue;
		for (i = 0; i < n_tests && !str_eq(tests[i].name, row); i++)
			;
		if (i == n_tests)
			fail_msg("%s: row '%s' has no test", file, row);
		seen[i] = true;
	}
	for (size_t i = 0; i < n_tests; i++) {
		bool other = false;

		for (size_t j = 0; others[j]; j++)
			other |= str_eq(others[j], tests[i].name);
		if (!seen[i] && !other)
			fail_msg("%s: test '%s' has no row", file, tests[i].name);
	}
}
