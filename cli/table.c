/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/cli.h"

#define TABLE_COLUMNS_MAX 24
#define GAP		  2

const char *table_state_color(const char *cell)
{
	static const char *const good[] = { "running", "up", "ok", "yes" };
	static const char *const bad[] = { "failed", "quarantined", "error", "degraded",
					   "missing" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!strcmp(cell, good[i]))
			return "32";
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!strcmp(cell, bad[i]))
			return "31";
	return "33";
}

void format_bytes(uint64_t bytes, char *buf, size_t size)
{
	static const char units[] = "KMGTPE";
	double v = (double)bytes;
	int u = -1;

	if (bytes < 1024) {
		snprintf(buf, size, "%u", (unsigned int)bytes);
		return;
	}
	while (v >= 1024 && u + 1 < (int)sizeof(units) - 1) {
		v /= 1024;
		u++;
	}
	snprintf(buf, size, v < 10 ? "%.1f%c" : "%.0f%c", v, units[u]);
}

void format_rate(uint64_t bits, char *buf, size_t size)
{
	static const char *const units[] = { "bit", "kbit", "mbit", "gbit" };
	size_t u = 0;

	if (!bits) {
		snprintf(buf, size, "-");
		return;
	}
	while (u + 1 < ARRAY_SIZE(units) && bits % 1000 == 0) {
		bits /= 1000;
		u++;
	}
	snprintf(buf, size, "%llu%s", (unsigned long long)bits, units[u]);
}

void format_list(struct json_object *array, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; array && i < json_object_array_length(array) && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? "," : "",
				      json_object_get_string(json_object_array_get_idx(array, i)));
}

/* Columns that a text takes: UTF-8 continuation bytes take none. */
static int text_width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void cell_text(const struct table_column *c, struct json_object *row, char *buf, size_t size)
{
	struct json_object *v = NULL;

	buf[0] = '\0';
	if (c->format)
		c->format(row, buf, size);
	else if (json_object_object_get_ex(row, c->key, &v) && v) {
		if (json_object_is_type(v, json_type_array))
			format_list(v, buf, size);
		else if (json_object_is_type(v, json_type_boolean))
			snprintf(buf, size, "%s", json_object_get_boolean(v) ? "yes" : "no");
		else
			snprintf(buf, size, "%s", json_object_get_string(v));
	}
	/* Names come from outside: no escape sequence of theirs reaches the terminal. */
	for (char *p = buf; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

struct layout {
	int width[TABLE_COLUMNS_MAX]; /* 0: left out, nothing in it */
	bool dropped[TABLE_COLUMNS_MAX]; /* left out, no room */
};

static void measure(struct layout *l, const struct table_column *columns, size_t n,
		    struct json_object *rows)
{
	for (size_t c = 0; c < n; c++) {
		bool any = false;
		int w = text_width(columns[c].title);

		for (size_t i = 0; i < json_object_array_length(rows); i++) {
			char cell[TABLE_CELL_MAX];

			cell_text(&columns[c], json_object_array_get_idx(rows, i), cell,
				  sizeof(cell));
			any = any || (cell[0] && strcmp(cell, "-") != 0);
			if (text_width(cell) > w)
				w = text_width(cell);
		}
		l->width[c] = any || columns[c].rank == 0 ? w : 0;
	}
}

static int total_width(const struct layout *l, size_t n)
{
	int w = -GAP;

	for (size_t c = 0; c < n; c++)
		if (l->width[c] && !l->dropped[c])
			w += l->width[c] + GAP;
	return w;
}

/* Leave out columns by rank until the table fits; returns whether any had to go. */
static bool fit(struct layout *l, const struct table_column *columns, size_t n, int width)
{
	bool any = false;

	while (width > 0 && total_width(l, n) > width) {
		int worst = -1;

		for (size_t c = 0; c < n; c++)
			if (l->width[c] && !l->dropped[c] && columns[c].rank > 0 &&
			    (worst < 0 || columns[c].rank >= columns[worst].rank))
				worst = (int)c;
		if (worst < 0)
			break;
		l->dropped[worst] = true;
		any = true;
	}
	return any;
}

static void print_line(FILE *f, const struct table_style *style, const struct layout *l,
		       const struct table_column *columns, size_t n, struct json_object *row)
{
	int pending = 0; /* blanks are printed before the next cell, so that no line ends in them */

	for (size_t c = 0; c < n; c++) {
		char cell[TABLE_CELL_MAX];
		const char *color = NULL;
		int pad;

		if (!l->width[c] || l->dropped[c])
			continue;
		if (row)
			cell_text(&columns[c], row, cell, sizeof(cell));
		else
			snprintf(cell, sizeof(cell), "%s", columns[c].title);
		pad = l->width[c] - text_width(cell);
		if (columns[c].right)
			pending += pad;
		if (cell[0])
			fprintf(f, "%*s", pending, "");
		if (style->color)
			color = !row ? "1" : columns[c].color ? columns[c].color(cell) : NULL;
		if (cell[0] && color)
			fprintf(f, "\033[%sm%s\033[0m", color, cell);
		else
			fputs(cell, f);
		if (cell[0])
			pending = 0;
		pending += GAP + (columns[c].right ? 0 : pad);
	}
	fputc('\n', f);
}

void table_print(FILE *f, const struct table_style *style, const struct table_column *columns,
		 size_t n_columns, struct json_object *rows)
{
	struct layout l = { 0 };
	bool short_of_room;

	if (n_columns > TABLE_COLUMNS_MAX)
		n_columns = TABLE_COLUMNS_MAX;
	measure(&l, columns, n_columns, rows);
	short_of_room = fit(&l, columns, n_columns, style->width);
	print_line(f, style, &l, columns, n_columns, NULL);
	for (size_t i = 0; i < json_object_array_length(rows); i++)
		print_line(f, style, &l, columns, n_columns, json_object_array_get_idx(rows, i));
	if (!short_of_room)
		return;
	fputs("(no room for:", f);
	for (size_t c = 0; c < n_columns; c++)
		if (l.dropped[c])
			fprintf(f, " %s", columns[c].title);
	fputs(")\n", f);
}
