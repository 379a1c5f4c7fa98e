/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vDPA devices count: vnic.ko's by sysfs, in frames; others by the kernel's vdpa family, queue by queue and in words of
 * their driver's. Kernel: vdpa_fill_stats_rec() in drivers/vdpa/vdpa.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/genetlink.h>
#include <linux/vdpa.h>

#include "base/file.h"
#include "daemon/exec/function.h"
#include "daemon/exec/vdpa_nl.h"

#define QUEUES_MAX 64

/* Lines as "rx_frames 12". */
static void take_counter(const char *name, uint64_t v, struct port_counters_view *ret)
{
	if (str_eq(name, "rx_frames"))
		ret->rx_packets = v;
	else if (str_eq(name, "rx_bytes"))
		ret->rx_bytes = v;
	else if (str_eq(name, "tx_frames"))
		ret->tx_packets = v;
	else if (str_eq(name, "tx_bytes"))
		ret->tx_bytes = v;
	else if (str_eq(name, "tx_drop_spoof"))
		ret->tx_spoofed = v;
	else if (!strncmp(name, "rx_drop_", strlen("rx_drop_")))
		ret->rx_dropped += v;
	else if (!strncmp(name, "tx_drop_", strlen("tx_drop_")))
		ret->tx_dropped += v;
}

static void read_words(int fd, struct vdpa_stats *ret)
{
	char text[32];
	uint64_t v;

	*ret = (struct vdpa_stats){ .n = 0 };
	if (function_attr(fd, "vnic/pairs", text, sizeof(text)) == 0 &&
	    u64_parse(text, 0, UINT16_MAX, &v) == 0)
		ret->pairs = (uint32_t)v;
	if (function_attr(fd, "vnic/denied", text, sizeof(text)) == 0 &&
	    u64_parse(text, 0, UINT64_MAX, &v) == 0)
		ret->denied = v;
	if (ret->denied && function_attr(fd, "vnic/mac_asked", text, sizeof(text)) == 0)
		str_copy(ret->mac_asked, sizeof(ret->mac_asked), text);
	if (function_attr(fd, "vnic/queue", ret->nic_queue, sizeof(ret->nic_queue)) < 0)
		*ret->nic_queue = '\0';
	str_make_utf8(ret->nic_queue);
}

int exec_vdpa_counters(struct exec *exec, const struct step *step, struct port_counters_view *ret,
		       struct vdpa_stats *ret_stats)
{
	_cleanup_(closep) int fd = vdpa_dir_open(exec, step, NULL);
	struct port_counters_view counters = { 0 };
	_cleanup_(freep) char *text = NULL;
	char *line, *save = NULL;
	int r = fd < 0 ? fd : file_read(fd, "vnic/stats", 8192, &text, NULL);

	if (r < 0)
		return r;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, ' ');
		uint64_t v;

		if (!value)
			continue;
		*value++ = '\0';
		if (u64_parse(value, 0, UINT64_MAX, &v) == 0)
			take_counter(line, v, &counters);
	}
	*ret = counters;
	read_words(fd, ret_stats);
	return 0;
}

/* ---- by netlink ---- */

static void put_queue(struct nlmsghdr *nlh, const struct step *step)
{
	mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, step->dev);
	mnl_attr_put_u32(nlh, VDPA_ATTR_DEV_QUEUE_INDEX, (uint32_t)step->value);
}

struct answer {
	struct vdpa_stats *stats;
	uint32_t queue;
};

/* A name and then its value, once for each counter. */
static void on_stats(const struct nlmsghdr *nlh, void *data)
{
	const struct answer *answer = data;
	struct vdpa_stats *s = answer->stats;
	const struct nlattr *a;
	const char *name = NULL;

	mnl_attr_for_each(a, nlh, sizeof(struct genlmsghdr))
	{
		struct vdpa_stat *stat = &s->stat[s->n];

		if (mnl_attr_get_type(a) == VDPA_ATTR_DEV_VENDOR_ATTR_NAME)
			name = mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0 ? NULL
									     : mnl_attr_get_str(a);
		if (mnl_attr_get_type(a) != VDPA_ATTR_DEV_VENDOR_ATTR_VALUE || !name ||
		    mnl_attr_validate(a, MNL_TYPE_U64) < 0 || s->n == VDPA_STATS_MAX)
			continue;
		snprintf(stat->name, sizeof(stat->name), "%s", name);
		str_make_utf8(stat->name);
		stat->queue = answer->queue;
		stat->value = mnl_attr_get_u64(a);
		s->n++;
		name = NULL;
	}
}

static void say_why(struct vdpa_stats *s, int error, const struct vnic_err *err)
{
	if (error == -EOPNOTSUPP)
		snprintf(s->none, sizeof(s->none), "its driver counts nothing");
	else if (error == -EAGAIN)
		snprintf(s->none, sizeof(s->none), "no guest's driver has set it up");
	else
		snprintf(s->none, sizeof(s->none), "%.110s",
			 err->message[0] ? err->message : strerror(-error));
}

bool vdpa_stats_frames(const struct vdpa_stats *stats, struct port_counters_view *ret)
{
	struct port_counters_view c = { 0 };
	bool any = false;

	for (size_t i = 0; i < stats->n; i++) {
		const char *name = stats->stat[i].name;
		uint64_t v = stats->stat[i].value, *to = NULL;

		if (str_eq(name, "rx packets"))
			to = &c.rx_packets;
		else if (str_eq(name, "tx packets"))
			to = &c.tx_packets;
		any |= to != NULL;
		if (str_eq(name, "rx bytes"))
			to = &c.rx_bytes;
		else if (str_eq(name, "tx bytes"))
			to = &c.tx_bytes;
		else if (str_eq(name, "rx drops") || str_eq(name, "rx errors") ||
			 str_eq(name, "rx overruns"))
			to = &c.rx_dropped;
		else if (str_eq(name, "tx drops") || str_eq(name, "tx errors"))
			to = &c.tx_dropped;
		if (to)
			*to += v;
	}
	if (any)
		*ret = c;
	return any;
}

void vdpa_stats_read(const struct step *step, struct vdpa_stats *ret)
{
	uint32_t queues = step->value > QUEUES_MAX ? QUEUES_MAX : (uint32_t)step->value;
	struct vnic_err err = VNIC_ERR_INIT;
	struct port_counters_view c;
	struct step ask = *step;
	int r = -EOPNOTSUPP;

	memset(ret, 0, sizeof(*ret));
	for (uint32_t i = 0; i < queues; i++) {
		struct answer answer = { ret, i };

		ask.value = i;
		r = vdpa_call(VDPA_CMD_DEV_VSTATS_GET, &ask, put_queue, on_stats, &answer, &err);
		/* One that the guest does not use may be none. */
		if (r < 0 && r != -EINVAL)
			break;
	}
	if (ret->n == 0)
		say_why(ret, r, &err);
	else if (!vdpa_stats_frames(ret, &c))
		snprintf(ret->none, sizeof(ret->none), "its driver counts no frames");
}
