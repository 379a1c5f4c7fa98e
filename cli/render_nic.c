/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nics and their VFs for people. */
#include "cli/table.h"

#include <stdarg.h>
#include <string.h>

#include "base/str.h"
#include "cli/cli.h"

void render_line(FILE *f, const char *name, const char *fmt, ...)
{
	va_list ap;

	fprintf(f, "  %-12s", name);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fputc('\n', f);
}

/* A PF whose driver is away has no interface. */
static void nic_name(struct json_object *row, char *buf, size_t size)
{
	const char *name = j_str(row, "name");

	snprintf(buf, size, "%s", *name ? name : "-");
}

static void nic_link(struct json_object *row, char *buf, size_t size)
{
	snprintf(buf, size, "%s",
		 !j_u64(row, "ifindex")	  ? "none"
		 : !j_bool(row, "up")	  ? "down"
		 : j_bool(row, "carrier") ? "up"
					  : "no carrier");
}

static void nic_mac(struct json_object *row, char *buf, size_t size)
{
	snprintf(buf, size, "%s", j_u64(row, "ifindex") ? j_str(row, "mac") : "-");
}

static void nic_mtu(struct json_object *row, char *buf, size_t size)
{
	if (j_u64(row, "ifindex"))
		snprintf(buf, size, "%llu", (unsigned long long)j_u64(row, "mtu"));
	else
		snprintf(buf, size, "-");
}

/* A number that is not there is negative. */
static void number_or_dash(int64_t number, char *buf, size_t size)
{
	if (number >= 0)
		snprintf(buf, size, "%lld", (long long)number);
	else
		snprintf(buf, size, "-");
}

static void nic_numa(struct json_object *row, char *buf, size_t size)
{
	number_or_dash(j_i64(row, "numa_node"), buf, size);
}

static void nic_vfs(struct json_object *row, char *buf, size_t size)
{
	int64_t total = j_i64(row, "sriov_totalvfs");

	if (total >= 0)
		snprintf(buf, size, "%lld/%lld", (long long)j_i64(row, "sriov_numvfs"),
			 (long long)total);
	else
		snprintf(buf, size, "-");
}

static void nic_taken(struct json_object *row, char *buf, size_t size)
{
	if (j_i64(row, "sriov_numvfs") > 0)
		snprintf(buf, size, "%llu", (unsigned long long)j_u64(row, "vfs_taken"));
	else
		snprintf(buf, size, "-");
}

/* What stands below the table: VFs that are not as they are to be */
static void nic_notes(FILE *f, struct json_object *nic)
{
	const char *name = j_str(nic, "name"), *reason = j_str(nic, "vfs_reason");

	if (j_bool(nic, "drained"))
		fprintf(f, "%s is drained: ports get no VF of it until 'vnicctl nic undrain'.\n",
			*name ? name : j_str(nic, "address"));
	if (*reason)
		fprintf(f, "%s: %s\n", *name ? name : j_str(nic, "address"), reason);
}

void render_nics(FILE *f, const struct table_style *style, struct json_object *nics)
{
	static const struct table_column columns[] = {
		{ "NAME", NULL, nic_name, NULL, false, 0 },
		{ "KIND", "kind", NULL, NULL, false, 2 },
		{ "LINK", NULL, nic_link, table_state_color, false, 0 },
		{ "SEGMENT", "segment", NULL, NULL, false, 0 },
		{ "MASTER", "master", NULL, NULL, false, 3 },
		{ "MTU", NULL, nic_mtu, NULL, true, 4 },
		{ "MAC", NULL, nic_mac, NULL, false, 3 },
		{ "DRIVER", "driver", NULL, NULL, false, 4 },
		{ "ADDRESS", "address", NULL, NULL, false, 1 },
		{ "NUMA", NULL, nic_numa, NULL, true, 5 },
		{ "VFS", NULL, nic_vfs, NULL, true, 1 },
		{ "TAKEN", NULL, nic_taken, NULL, true, 1 },
	};
	size_t n = json_object_array_length(nics), used = 0;

	if (n == 0) {
		fputs("No nics: this host has no uplink that vnicd could use.\n", f);
		return;
	}
	table_print(f, style, columns, ARRAY_SIZE(columns), nics);
	for (size_t i = 0; i < n; i++)
		used += *j_str(json_object_array_get_idx(nics, i), "segment") != '\0';
	fprintf(f, "%zu nic%s, %zu in a segment.\n", n, n == 1 ? "" : "s", used);
	for (size_t i = 0; i < n; i++)
		nic_notes(f, json_object_array_get_idx(nics, i));
}

static void vf_group(struct json_object *row, char *buf, size_t size)
{
	number_or_dash(j_i64(row, "iommu_group"), buf, size);
}

/* Drivers say zero where nobody gave it one. */
static void vf_mac(struct json_object *row, char *buf, size_t size)
{
	const char *mac = j_str(row, "mac");

	snprintf(buf, size, "%s", !strcmp(mac, "00:00:00:00:00:00") ? "-" : mac);
}

static void vf_vlan(struct json_object *row, char *buf, size_t size)
{
	uint64_t vlan = j_u64(row, "vlan"), qos = j_u64(row, "qos");
	size_t n;

	if (!vlan && !qos) {
		snprintf(buf, size, "-");
		return;
	}
	n = (size_t)snprintf(buf, size, "%llu", (unsigned long long)vlan);
	if (qos && n < size)
		n += (size_t)snprintf(buf + n, size - n, " qos %llu", (unsigned long long)qos);
	if (!strcmp(j_str(row, "vlan_proto"), "802.1ad") && n < size)
		snprintf(buf + n, size - n, " 802.1ad");
}

static void vf_rate(struct json_object *row, char *buf, size_t size)
{
	uint64_t max = j_u64(row, "max_tx_rate"), min = j_u64(row, "min_tx_rate");
	char text[2][32];

	format_rate(max * 1000000, text[0], sizeof(text[0]));
	format_rate(min * 1000000, text[1], sizeof(text[1]));
	if (min)
		snprintf(buf, size, "%s (min %s)", text[0], text[1]);
	else
		snprintf(buf, size, "%s", text[0]);
}

static void vf_flags(struct json_object *row, char *buf, size_t size)
{
	static const char *const flags[] = { "spoofchk", "trust", "query_rss" };
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(flags) && n < size; i++)
		if (j_bool(row, flags[i]))
			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? "," : "", flags[i]);
	if (!n)
		snprintf(buf, size, "-");
}

/* Where it is no use to a guest, why */
static void vf_free(struct json_object *row, char *buf, size_t size)
{
	snprintf(buf, size, "free%s",
		 !*j_str(row, "address")	 ? ", no PCI function"
		 : j_i64(row, "iommu_group") < 0 ? ", no IOMMU group"
		 : j_bool(row, "group_shared")	 ? ", IOMMU group shared"
						 : "");
}

/* "web 52:54:00:00:00:01, attached": the port of ours that has it */
static void vf_port(struct json_object *row, char *buf, size_t size)
{
	const char *domain = j_str(row, "user_name"), *mac = strchr(j_str(row, "port"), '/');

	snprintf(buf, size, "port %s%s%s, %s", domain, *domain ? " " : "", mac ? mac + 1 : "",
		 j_str(row, "device_state"));
}

/* "domain own, class gold": what of its class is not in force yet, or any more, is said */
static void vf_domain(struct json_object *row, char *buf, size_t size)
{
	const char *class = j_str(row, "class"), *settings = j_str(row, "settings");
	bool settled = !*settings || !strcmp(settings, "set") || !strcmp(settings, "none");

	snprintf(buf, size, "domain %s%s%s%s%s", j_str(row, "user_name"), *class ? ", class " : "",
		 class, settled ? "" : ", ", settled ? "" : settings);
}

static void vf_user(struct json_object *row, char *buf, size_t size)
{
	const char *user = j_str(row, "user"), *name = j_str(row, "user_name");

	if (!strcmp(user, "free"))
		vf_free(row, buf, size);
	else if (!strcmp(user, "port"))
		vf_port(row, buf, size);
	else if (!strcmp(user, "domain"))
		vf_domain(row, buf, size);
	else if (!strcmp(user, "netdev"))
		snprintf(buf, size, "this host%s%s", *name ? ": " : "", name);
	else if (!strcmp(user, "netns"))
		snprintf(buf, size, "another network namespace");
	else
		snprintf(buf, size, "%s%s%s", !strcmp(user, "vdpa") ? "vDPA" : user,
			 *name ? " " : "", name);
}

static const char *vf_user_color(const char *cell)
{
	if (!strcmp(cell, "free"))
		return "32";
	return strncmp(cell, "free", strlen("free")) == 0 ? "33" : NULL;
}

static void render_vfs(FILE *f, const struct table_style *style, struct json_object *vfs)
{
	static const struct table_column columns[] = {
		{ "VF", "index", NULL, NULL, true, 0 },
		{ "ADDRESS", "address", NULL, NULL, false, 1 },
		{ "DRIVER", "driver", NULL, NULL, false, 3 },
		{ "GROUP", NULL, vf_group, NULL, true, 6 },
		{ "NETDEV", "netdev", NULL, NULL, false, 4 },
		{ "MAC", NULL, vf_mac, NULL, false, 1 },
		{ "VLAN", NULL, vf_vlan, NULL, true, 2 },
		{ "RATE", NULL, vf_rate, NULL, true, 5 },
		{ "FLAGS", NULL, vf_flags, NULL, false, 4 },
		{ "LINK", "link_state", NULL, NULL, false, 7 },
		{ "REPRESENTOR", "representor", NULL, NULL, false, 5 },
		{ "USER", NULL, vf_user, vf_user_color, false, 0 },
	};

	if (json_object_array_length(vfs) > 0)
		table_print(f, style, columns, ARRAY_SIZE(columns), vfs);
	for (size_t i = 0; i < json_object_array_length(vfs); i++) {
		struct json_object *vf = json_object_array_get_idx(vfs, i);
		const char *reason = j_str(vf, "settings_reason");

		if (*reason)
			fprintf(f, "VF %llu: %s\n", (unsigned long long)j_u64(vf, "index"), reason);
	}
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void nic_lines_vfs(FILE *f, struct json_object *nic)
{
	uint64_t n = j_u64(nic, "sriov_numvfs"), total = j_u64(nic, "sriov_totalvfs");
	int64_t wanted = j_i64(nic, "vfs_wanted");
	const char *reason = j_str(nic, "vfs_reason");

	if (j_i64(nic, "sriov_totalvfs") <= 0) {
		render_line(f, "VFs", "none: it has no SR-IOV");
		return;
	}
	render_line(f, "VFs", "%llu of %llu made, %llu taken, %llu free; autoprobe %s, eswitch %s",
		    (unsigned long long)n, (unsigned long long)total,
		    (unsigned long long)j_u64(nic, "vfs_taken"),
		    (unsigned long long)j_u64(nic, "vfs_free"),
		    j_bool(nic, "autoprobe") ? "on" : "off", j_str(nic, "eswitch_mode"));
	if (j_bool(nic, "drained"))
		render_line(f, "drained", "ports get no VF of it until 'vnicctl nic undrain'");
	if (wanted >= 0)
		render_line(f, "wanted", "%lld VF%s: %s%s%s", (long long)wanted,
			    plural((uint64_t)wanted),
			    j_bool(nic, "vfs_ready") ? "ready" : "not ready", *reason ? "; " : "",
			    reason);
	else if (*reason)
		render_line(f, "wanted", "not said; %s", reason);
}

static void nic_lines_vnic(FILE *f, struct json_object *nic)
{
	const char *reason = j_str(nic, "vnic_reason");

	if (!j_bool(nic, "vnic_wanted") && !*reason)
		return;
	render_line(f, "vnic.ko", "%s%s%s",
		    j_bool(nic, "vnic_ready")	 ? "its uplink"
		    : j_bool(nic, "vnic_wanted") ? "not its uplink yet"
						 : "not its uplink",
		    *reason ? ": " : "", reason);
}

static void nic_lines_vdpa(FILE *f, struct json_object *nic)
{
	struct json_object *vdpa = NULL, *devices, *mdevs = j_array(nic, "mdevs");
	uint64_t n = j_u64(nic, "vdpa_mgmtdevs");

	json_object_object_get_ex(nic, "vdpa", &vdpa);
	devices = j_array(vdpa, "devices");
	if (n)
		render_line(f, "vDPA", "%llu management device%s", (unsigned long long)n,
			    plural(n));
	for (size_t i = 0; devices && i < json_object_array_length(devices); i++) {
		struct json_object *d = json_object_array_get_idx(devices, i);
		const char *driver = j_str(d, "driver"), *node = j_str(d, "node");

		render_line(f, "", "device %s of %s%s%s%s%s", j_str(d, "name"), j_str(d, "mgmtdev"),
			    *driver ? ", driver " : "", driver, *node ? ", /dev/" : "", node);
		if (j_bool(d, "left"))
			render_line(f, "",
				    "  left behind by vnicd, which knows no port of it: 'vdpa dev "
				    "del %s'",
				    j_str(d, "name"));
	}
	for (size_t i = 0; mdevs && i < json_object_array_length(mdevs); i++) {
		struct json_object *t = json_object_array_get_idx(mdevs, i);

		render_line(f, i ? "" : "mdev", "%s: %llu available", j_str(t, "type"),
			    (unsigned long long)j_u64(t, "available"));
	}
}

void render_nic(FILE *f, const struct table_style *style, struct json_object *nic)
{
	const char *master = j_str(nic, "master"), *segment = j_str(nic, "segment");
	const char *driver = j_str(nic, "driver");
	struct json_object *vfs = j_array(nic, "vfs");
	char name[TABLE_CELL_MAX], state[TABLE_CELL_MAX], numa[32];

	nic_name(nic, name, sizeof(name));
	nic_link(nic, state, sizeof(state));
	nic_numa(nic, numa, sizeof(numa));
	fprintf(f, "%s\n", j_u64(nic, "ifindex") ? name : j_str(nic, "address"));
	if (j_u64(nic, "ifindex"))
		render_line(f, "link", "%s, %s, MAC %s, MTU %llu", state, j_str(nic, "kind"),
			    j_str(nic, "mac"), (unsigned long long)j_u64(nic, "mtu"));
	else
		render_line(f, "link", "none: it has no network interface here");
	if (*j_str(nic, "bus"))
		render_line(f, "device", "%s %s, driver %s, NUMA node %s", j_str(nic, "bus"),
			    j_str(nic, "address"), *driver ? driver : "none", numa);
	render_line(f, "segment", "%s%s%s", *segment ? segment : "none", *master ? ", in " : "",
		    master);
	nic_lines_vfs(f, nic);
	if (j_u64(nic, "channels_max"))
		render_line(f, "queues", "%llu of %llu; l2-fwd-offload %s, ntuple %s",
			    (unsigned long long)j_u64(nic, "channels"),
			    (unsigned long long)j_u64(nic, "channels_max"),
			    j_str(nic, "l2_fwd_offload"), j_str(nic, "ntuple"));
	nic_lines_vnic(f, nic);
	nic_lines_vdpa(f, nic);
	if (vfs)
		render_vfs(f, style, vfs);
}
