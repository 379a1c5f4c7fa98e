/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/config_keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define MTU_MIN	     68
#define MTU_MAX	     65521 /* a tap's largest (drivers/net/tun.c) */
#define CPU_MAX	     1023 /* CPU_SETSIZE - 1 */
#define NUMA_MAX     1023
#define WEIGHT_MAX   1000
#define QUEUES_MAX   8
#define PORTS_MAX    65535
#define PRIORITY_MAX 100

const char *const config_section_names[CONFIG_SECTION_COUNT] = {
	[CONFIG_VNICD] = "vnicd",
	[CONFIG_SEGMENT] = "segment",
	[CONFIG_CLASS] = "class",
	[CONFIG_NIC] = "nic",
};

static int set_u32(uint32_t *field, const char *value, uint64_t min, uint64_t max)
{
	uint64_t v;
	int r = u64_parse(value, min, max, &v);

	if (r == 0)
		*field = (uint32_t)v;
	return r;
}

/*
 * The next word of a list with commas or blanks.
 * Return: 1 with a word in @buf, 0 at the end, -EINVAL for one that does not fit.
 */
static int next_word(const char **s, char *buf, size_t size)
{
	size_t n;

	*s += strspn(*s, ", \t");
	n = strcspn(*s, ", \t");
	if (n == 0)
		return 0;
	if (n >= size)
		return -EINVAL;
	memcpy(buf, *s, n);
	buf[n] = '\0';
	*s += n;
	return 1;
}

static int set_log_level(void *object, const char *value)
{
	struct vnic_config *config = object;
	int level = vnic_log_level_parse(value);

	if (level < 0)
		return level;
	config->log_level = level;
	return 0;
}

/* D-Bus carries UTF-8 alone; the kernel takes any bytes. */
static bool link_name_valid(const char *s)
{
	char utf8[IFNAMSIZ];

	if (!ifname_valid(s) || str_copy(utf8, sizeof(utf8), s) < 0)
		return false;
	str_make_utf8(utf8);
	return str_eq(utf8, s);
}

static int set_bridge(void *object, const char *value)
{
	struct vnic_segment *segment = object;

	if (!link_name_valid(value))
		return -EINVAL;
	return str_copy(segment->bridge, sizeof(segment->bridge), value);
}

static int set_uplink(void *object, const char *value)
{
	struct vnic_segment *segment = object;
	char name[IFNAMSIZ];
	int n = 0, r;

	memset(segment->uplink, 0, sizeof(segment->uplink));
	segment->n_uplinks = 0;
	while ((r = next_word(&value, name, sizeof(name))) > 0) {
		if (!link_name_valid(name) || n == SEGMENT_UPLINKS_MAX)
			return -EINVAL;
		for (int i = 0; i < n; i++)
			if (str_eq(segment->uplink[i], name))
				return -EINVAL;
		strcpy(segment->uplink[n++], name);
	}
	segment->n_uplinks = n;
	return r;
}

static int set_mtu(void *object, const char *value)
{
	struct vnic_segment *segment = object;

	if (str_eq(value, "0")) {
		segment->mtu = 0;
		return 0;
	}
	return set_u32(&segment->mtu, value, MTU_MIN, MTU_MAX);
}

static int add_core(struct vnic_segment *segment, int *n, int cpu)
{
	if (*n == ARRAY_SIZE(segment->cores))
		return -EINVAL;
	for (int i = 0; i < *n; i++)
		if (segment->cores[i] == cpu)
			return -EINVAL;
	segment->cores[(*n)++] = cpu;
	return 0;
}

static int set_cores(void *object, const char *value)
{
	struct vnic_segment *segment = object;
	int n = 0, r;
	char word[16];

	memset(segment->cores, 0, sizeof(segment->cores));
	segment->n_cores = 0;
	while ((r = next_word(&value, word, sizeof(word))) > 0) {
		char *dash = strchr(word, '-');
		uint64_t first, last;

		if (dash)
			*dash = '\0';
		r = u64_parse(word, 0, CPU_MAX, &first);
		if (r < 0)
			return r;
		last = first;
		if (dash && (r = u64_parse(dash + 1, first, CPU_MAX, &last)) < 0)
			return r;
		for (uint64_t cpu = first; cpu <= last; cpu++)
			if (add_core(segment, &n, (int)cpu) < 0)
				return -EINVAL;
	}
	segment->n_cores = n;
	return r;
}

static int set_segment(void *object, const char *value)
{
	struct vnic_class *class = object;

	if (!name_valid(value))
		return -EINVAL;
	return str_copy(class->segment, sizeof(class->segment), value);
}

static int set_paths(void *object, const char *value)
{
	struct vnic_class *class = object;

	return path_list_parse(value, &class->paths, NULL);
}

static int set_vlans(void *object, const char *value)
{
	struct vnic_class *class = object;

	return vlan_set_parse(value, &class->vlans);
}

static int set_vlan(void *object, const char *value)
{
	struct vnic_class *class = object;
	uint64_t v;
	int r = u64_parse(value, 0, VNIC_VLAN_MAX, &v);

	if (r == 0)
		class->vlan = (uint16_t)v;
	return r;
}

static int set_rate(void *object, const char *value)
{
	struct vnic_class *class = object;

	if (str_eq(value, "0")) {
		class->rate = 0;
		return 0;
	}
	return rate_parse(value, &class->rate);
}

static int set_weight(void *object, const char *value)
{
	struct vnic_class *class = object;

	return set_u32(&class->weight, value, 1, WEIGHT_MAX);
}

static int set_spoofchk(void *object, const char *value)
{
	struct vnic_class *class = object;

	return bool_parse(value, &class->spoofchk);
}

static int set_trust(void *object, const char *value)
{
	struct vnic_class *class = object;

	return bool_parse(value, &class->trust);
}

static int set_queues(void *object, const char *value)
{
	struct vnic_class *class = object;

	return set_u32(&class->queues, value, 1, QUEUES_MAX);
}

static int set_max_ports(void *object, const char *value)
{
	struct vnic_class *class = object;

	return set_u32(&class->max_ports, value, 0, PORTS_MAX);
}

static int set_max_vfs(void *object, const char *value)
{
	struct vnic_class *class = object;

	return set_u32(&class->max_vfs, value, 0, PORTS_MAX);
}

static int set_reserved_vfs(void *object, const char *value)
{
	struct vnic_class *class = object;

	return set_u32(&class->reserved_vfs, value, 0, PORTS_MAX);
}

static int set_priority(void *object, const char *value)
{
	struct vnic_class *class = object;

	return set_u32(&class->priority, value, 0, PRIORITY_MAX);
}

static int set_numa(void *object, const char *value)
{
	struct vnic_class *class = object;
	uint64_t v;
	int r;

	if (str_eq(value, "any")) {
		class->numa_node = -1;
		return 0;
	}
	r = u64_parse(value, 0, NUMA_MAX, &v);
	if (r == 0)
		class->numa_node = (int)v;
	return r;
}

/* "DOMAIN:BUS:SLOT.FUNCTION", hexadecimal, with or without the domain: as lspci -D has it. */
static int set_address(void *object, const char *value)
{
	struct vnic_nic_config *nic = object;
	unsigned int domain = 0, bus, slot, function;
	int end = 0;

	if (sscanf(value, "%8x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &end) != 4 ||
	    value[end]) {
		domain = 0;
		end = 0;
		if (sscanf(value, "%2x:%2x.%1x%n", &bus, &slot, &function, &end) != 3 || value[end])
			return -EINVAL;
	}
	if (slot > 0x1f || function > 7 ||
	    strspn(value, "0123456789abcdefABCDEF:.") != strlen(value))
		return -EINVAL;
	snprintf(nic->address, sizeof(nic->address), "%04x:%02x:%02x.%x", domain, bus, slot,
		 function);
	return 0;
}

static int set_vfs(void *object, const char *value)
{
	struct vnic_nic_config *nic = object;
	uint64_t v;
	int r = u64_parse(value, 0, PF_VFS_MAX, &v);

	if (r == 0)
		nic->vfs = (int)v;
	return r;
}

static int set_autoprobe(void *object, const char *value)
{
	struct vnic_nic_config *nic = object;

	return bool_parse(value, &nic->autoprobe);
}

static int set_hostdev_class(void *object, const char *value)
{
	struct vnic_nic_config *nic = object;

	if (!name_valid(value))
		return -EINVAL;
	return str_copy(nic->hostdev_class, sizeof(nic->hostdev_class), value);
}

static int set_vnic(void *object, const char *value)
{
	struct vnic_nic_config *nic = object;

	return bool_parse(value, &nic->vnic);
}

/* As vdpa(8) shows it: BUS/DEV, or DEV alone. */
static int set_mgmtdev(void *object, const char *value)
{
	struct vnic_nic_config *nic = object;

	if (!mgmtdev_name_valid(value))
		return -EINVAL;
	return str_copy(nic->mgmtdev, sizeof(nic->mgmtdev), value);
}

static int set_vf_min_rate(void *object, const char *value)
{
	struct vnic_class *class = object;

	if (str_eq(value, "0")) {
		class->vf.min_rate = 0;
		return 0;
	}
	return rate_parse(value, &class->vf.min_rate);
}

static int set_vf_link(void *object, const char *value)
{
	struct vnic_class *class = object;

	return vf_link_parse(value, &class->vf.link);
}

static const struct config_key vnicd_keys[] = {
	{ "log-level", set_log_level, "err, warning, notice, info or debug" },
	{ 0 },
};

static const struct config_key segment_keys[] = {
	{ "bridge", set_bridge, "the name of a bridge, in UTF-8, at most 15 characters" },
	{ "uplink", set_uplink,
	  "names of at most 8 nics with commas between, in UTF-8, none twice" },
	{ "mtu", set_mtu, "a number from 68 to 65521, or 0 for the bridge's" },
	{ "cores", set_cores, "at most 16 CPU numbers from 0 to 1023 as in 2,4-7, none twice" },
	{ 0 },
};

static const struct config_key class_keys[] = {
	{ "segment", set_segment, "the name of a segment" },
	{ "paths", set_paths, "sriov, vdpa, vmdq and software with commas between, none twice" },
	{ "vlans", set_vlans, "VLAN ids from 0 (untagged) to 4094 as in 0,10-20" },
	{ "vlan", set_vlan, "a VLAN id from 0 (untagged) to 4094" },
	{ "rate", set_rate,
	  "a number with bit, kbit, mbit or gbit as in 2gbit, or 0 for no limit" },
	{ "weight", set_weight, "a number from 1 to 1000" },
	{ "spoofchk", set_spoofchk, "yes or no" },
	{ "trust", set_trust, "yes or no" },
	{ "vf-min-rate", set_vf_min_rate,
	  "a number with bit, kbit, mbit or gbit as in 100mbit, or 0 for none" },
	{ "vf-link", set_vf_link, "auto, enable or disable" },
	{ "queues", set_queues, "a number from 1 to 8" },
	{ "max-ports", set_max_ports, "a number from 0 (no limit) to 65535" },
	{ "max-vfs", set_max_vfs, "a number from 0 (no limit) to 65535" },
	{ "reserved-vfs", set_reserved_vfs, "a number from 0 to 65535" },
	{ "priority", set_priority, "a number from 0 to 100" },
	{ "numa", set_numa, "any, or the number of a NUMA node from 0 to 1023" },
	{ 0 },
};

static const struct config_key nic_keys[] = {
	{ "address", set_address, "a PCI address as in 0000:03:00.0" },
	{ "vfs", set_vfs, "a number from 0 to 4096" },
	{ "drivers-autoprobe", set_autoprobe, "yes or no" },
	{ "hostdev-class", set_hostdev_class, "the name of a class" },
	{ "vnic", set_vnic, "yes or no" },
	{ "mgmtdev", set_mgmtdev,
	  "a vDPA management device as 'vdpa mgmtdev show' has it, such as pci/0000:03:00.2" },
	{ 0 },
};

const struct config_key *config_keys(enum config_section section)
{
	static const struct config_key *const keys[CONFIG_SECTION_COUNT] = {
		[CONFIG_VNICD] = vnicd_keys,
		[CONFIG_SEGMENT] = segment_keys,
		[CONFIG_CLASS] = class_keys,
		[CONFIG_NIC] = nic_keys,
	};

	return keys[section];
}

const struct config_key *config_key_find(enum config_section section, const char *name)
{
	for (const struct config_key *key = config_keys(section); key->name; key++)
		if (str_eq(key->name, name))
			return key;
	return NULL;
}

#define WORD_MAX 24

/* Edits that turn @a into @b (Levenshtein); words longer than WORD_MAX are infinitely far. */
static size_t distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b), row[WORD_MAX + 1];

	if (na > WORD_MAX || nb > WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[nb];
}

const char *config_nearest(const char *word, const char *const *words)
{
	/* More than half a word wrong is no typing error any more. */
	size_t best = strlen(word) / 2 + 1;
	const char *found = NULL;

	for (; *words; words++) {
		size_t d = distance(word, *words);

		if (d < best) {
			best = d;
			found = *words;
		}
	}
	return found;
}

struct vnic_segment *config_segment_new(const char *name)
{
	struct vnic_segment *segment = calloc(1, sizeof(*segment));

	if (segment && str_copy(segment->name, sizeof(segment->name), name) < 0) {
		free(segment);
		return NULL;
	}
	return segment;
}

struct vnic_class *config_class_new(const char *name)
{
	struct vnic_class *class = calloc(1, sizeof(*class));

	if (!class)
		return NULL;
	if (str_copy(class->name, sizeof(class->name), name) < 0) {
		free(class);
		return NULL;
	}
	class->paths.path[0] = VNIC_PATH_SOFTWARE;
	class->weight = 100;
	class->priority = 50;
	class->spoofchk = true;
	class->queues = QUEUES_MAX;
	class->numa_node = -1;
	return class;
}

struct vnic_nic_config *config_nic_new(const char *name)
{
	struct vnic_nic_config *nic = calloc(1, sizeof(*nic));

	if (!nic)
		return NULL;
	if (str_copy(nic->name, sizeof(nic->name), name) < 0) {
		free(nic);
		return NULL;
	}
	nic->vfs = -1;
	return nic;
}
