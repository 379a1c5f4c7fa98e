/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables for people out of JSON rows. Pure but for the FILE they print to. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>

#define TABLE_CELL_MAX 256

struct table_style {
	int width; /* columns of the terminal; 0: no bound */
	bool color;
};

struct table_column {
	const char *title;
	const char *key; /* of the row; arrays of strings are joined with commas */
	/* Optional: the cell's text out of the whole row */
	void (*format)(struct json_object *row, char *buf, size_t size);
	/* Optional: its colour as an SGR parameter ("31"), or NULL */
	const char *(*color)(const char *cell);
	bool right; /* numbers */
	int rank; /* where the width is short, the highest go first; 0 always stays */
};

/**
 * table_print() - the rows as a table, with what does not fit left out
 *
 * Columns that are empty in every row are left out. Where the terminal is too narrow, columns go by
 * rank, and a last line says which ones.
 */
void table_print(FILE *f, const struct table_style *style, const struct table_column *columns,
		 size_t n_columns, struct json_object *rows);

/* Cell formats that several tables share */
const char *table_state_color(const char *cell);
void format_bytes(uint64_t bytes, char *buf, size_t size); /* "3.4G" */
void format_rate(uint64_t bits, char *buf, size_t size); /* tc's: "2gbit"; 0: "-" */
void format_list(struct json_object *array, char *buf, size_t size);

/* render.h's: whole answers for people; unit tests compare them with golden files */
void render_ports(FILE *f, const struct table_style *style, struct json_object *ports);
void render_port(FILE *f, const struct table_style *style, struct json_object *port);
/* "  NAME        text": a line of what is said of one object */
void render_line(FILE *f, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void render_nic(FILE *f, const struct table_style *style, struct json_object *nic);
void render_nics(FILE *f, const struct table_style *style, struct json_object *nics);
void render_segments(FILE *f, const struct table_style *style, struct json_object *segments);
void render_classes(FILE *f, const struct table_style *style, struct json_object *classes);
void render_status(FILE *f, const struct table_style *style, struct json_object *status);
void render_findings(FILE *f, const struct table_style *style, const char *domain,
		     struct json_object *findings);
void render_diagnose(FILE *f, const struct table_style *style, struct json_object *checks);
