/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How it is: status, findings, diagnose. For a person who was woken by it. */
#include "cli/table.h"

#include <string.h>

#include "base/str.h"
#include "cli/cli.h"

static void paint(FILE *f, const struct table_style *style, const char *color, const char *text)
{
	if (style->color)
		fprintf(f, "\033[%sm%s\033[0m", color, text);
	else
		fputs(text, f);
}

/* "eth3: 3 of 7 VFs taken, 4 free." */
static void status_vfs(FILE *f, struct json_object *list)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *nic = json_object_array_get_idx(list, i);
		uint64_t n = j_u64(nic, "vfs");
		const char *name = j_str(nic, "name");

		fprintf(f, "%s: ", *name ? name : j_str(nic, "address"));
		if (n)
			fprintf(f, "%llu of %llu VF%s taken, %llu free.\n",
				(unsigned long long)j_u64(nic, "taken"), (unsigned long long)n,
				n == 1 ? "" : "s", (unsigned long long)j_u64(nic, "free"));
		else
			fputs("no VFs yet.\n", f);
	}
}

void render_status(FILE *f, const struct table_style *style, struct json_object *status)
{
	struct json_object *reasons = j_array(status, "reasons"), *states = NULL;
	const char *state = j_str(status, "state"), *sep = ": ";
	uint64_t nics = j_u64(status, "nics"), segments = j_u64(status, "segments"),
		 classes = j_u64(status, "classes"), ports = j_u64(status, "ports");

	fprintf(f, "vnicd %s is ", j_str(status, "version"));
	paint(f, style, table_state_color(state), state);
	fprintf(f, "; the datapath is %s.\n",
		j_bool(status, "datapath_connected") ? "connected" : "not connected");
	for (size_t i = 0; reasons && i < json_object_array_length(reasons); i++)
		fprintf(f, "  %s\n", json_object_get_string(json_object_array_get_idx(reasons, i)));
	fprintf(f, "%llu nic%s, %llu segment%s, %llu class%s, %llu port%s",
		(unsigned long long)nics, nics == 1 ? "" : "s", (unsigned long long)segments,
		segments == 1 ? "" : "s", (unsigned long long)classes, classes == 1 ? "" : "es",
		(unsigned long long)ports, ports == 1 ? "" : "s");
	if (json_object_object_get_ex(status, "port_states", &states)) {
		json_object_object_foreach(states, name, count)
		{
			if (json_object_get_uint64(count) == 0)
				continue;
			fprintf(f, "%s%llu %s", sep,
				(unsigned long long)json_object_get_uint64(count), name);
			sep = ", ";
		}
	}
	fputs(".\n", f);
	status_vfs(f, j_array(status, "nic_vfs"));
	if (strcmp(state, "running") != 0)
		fputs("'vnicctl diagnose' says more.\n", f);
}

static const char *severity_color(const char *severity)
{
	if (!strcmp(severity, "error"))
		return "31";
	return !strcmp(severity, "warning") ? "33" : "36";
}

/* Print a text of several lines, each behind the same blanks. */
static void indented(FILE *f, int blanks, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		fprintf(f, "%*s%.*s\n", blanks, "", (int)n, text);
		text += n + (text[n] == '\n');
	}
}

void render_findings(FILE *f, const struct table_style *style, const char *domain,
		     struct json_object *findings)
{
	size_t n = json_object_array_length(findings), errors = 0;
	bool none = false;

	for (size_t i = 0; i < n; i++) {
		struct json_object *x = json_object_array_get_idx(findings, i);
		const char *severity = j_str(x, "severity"), *mac = j_str(x, "mac");

		errors += !strcmp(severity, "error");
		paint(f, style, severity_color(severity), severity);
		/* Which interface, where the sentence does not say it itself. */
		if (!*mac || strstr(j_str(x, "message"), mac))
			fprintf(f, ": %s\n", j_str(x, "message"));
		else
			fprintf(f, ": interface %s: %s\n", mac, j_str(x, "message"));
		none |= !strcmp(j_str(x, "code"), "NoInterface");
		if (*j_str(x, "fix")) {
			fputs("  write:\n", f);
			indented(f, 4, j_str(x, "fix"));
		}
	}
	if (errors)
		fprintf(f, "%s will not work with vnicd: %zu error%s.\n", domain, errors,
			errors == 1 ? "" : "s");
	else if (none)
		fprintf(f, "%s does not use vnicd.\n", domain);
	else
		fprintf(f, "%s is fine for vnicd.\n", domain);
}

static const char *check_color(const char *status)
{
	if (!strcmp(status, "ok"))
		return "32";
	return !strcmp(status, "unknown") ? "36" : severity_color(status);
}

void render_diagnose(FILE *f, const struct table_style *style, struct json_object *checks)
{
	size_t n = json_object_array_length(checks), errors = 0, warnings = 0, unknown = 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *x = json_object_array_get_idx(checks, i);
		const char *status = j_str(x, "status");

		errors += !strcmp(status, "error");
		warnings += !strcmp(status, "warning");
		unknown += !strcmp(status, "unknown");
		paint(f, style, check_color(status), status);
		fprintf(f, "%*s%-14s%s\n", (int)(9 - strlen(status)), "", j_str(x, "check"),
			j_str(x, "message"));
		if (*j_str(x, "fix"))
			indented(f, 23, j_str(x, "fix"));
	}
	if (errors || warnings)
		fprintf(f, "%zu error%s, %zu warning%s", errors, errors == 1 ? "" : "s", warnings,
			warnings == 1 ? "" : "s");
	else if (unknown)
		fputs("Nothing that could be looked at is wrong", f);
	if (unknown)
		fprintf(f, ", %zu unknown", unknown);
	if (errors || warnings || unknown)
		fputs(".\n", f);
	else
		fputs("Nothing is wrong.\n", f);
}
