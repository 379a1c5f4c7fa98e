/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sys/udev.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <libudev.h>

#include "base/str.h"

#define UDEV_RCVBUF (1 << 20)
#define EVENT_BURST 64

static const char *const subsystems[] = { "net",  "pci",  "netdevsim", "vdpa",	"vhost-vdpa",
					  "vnic", "mdev", "auxiliary", "module" };

struct udev_watch {
	const struct udev_watch_ops *ops;
	void *userdata;
	struct udev *udev;
	struct udev_monitor *monitor;
	struct loop_source *io;
};

static void on_event(struct udev_watch *w, struct udev_device *device)
{
	const char *subsystem = udev_device_get_subsystem(device);
	const char *action = udev_device_get_action(device);
	const char *sysname = udev_device_get_sysname(device);
	const char *value;
	uint64_t ifindex = 0;

	if (!subsystem || !action || !sysname)
		return;
	if (!str_eq(subsystem, "net")) {
		w->ops->device(w->userdata, subsystem, sysname, action);
		return;
	}
	value = udev_device_get_property_value(device, "IFINDEX");
	if (!value || u64_parse(value, 1, INT32_MAX, &ifindex) < 0)
		ifindex = 0;
	w->ops->link(w->userdata, (int)ifindex, action);
}

static void on_readable(void *userdata, int fd, unsigned int events)
{
	struct udev_watch *w = userdata;

	(void)fd;
	(void)events;
	for (int i = 0; i < EVENT_BURST; i++) {
		struct udev_device *device;

		errno = 0;
		device = udev_monitor_receive_device(w->monitor);
		if (device) {
			on_event(w, device);
			udev_device_unref(device);
		} else if (errno == ENOBUFS) {
			w->ops->lost(w->userdata);
		} else if (errno == EAGAIN || errno == 0) {
			/* 0: a message that libudev itself did not believe; more may follow it. */
			return;
		}
	}
}

/* udevd's own sign of life; without it nobody sends what udev_monitor listens to. */
static bool udevd_runs(void)
{
	return access("/run/udev/control", F_OK) == 0;
}

int udev_watch_new(struct loop *loop, const struct udev_watch_ops *ops, void *userdata,
		   struct udev_watch **ret)
{
	_cleanup_(udev_watch_freep) struct udev_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->ops = ops;
	w->userdata = userdata;
	w->udev = udev_new();
	if (!w->udev)
		return -ENOMEM;
	w->monitor = udev_monitor_new_from_netlink(w->udev, "udev");
	if (!w->monitor)
		return errno ? -errno : -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(subsystems); i++) {
		r = udev_monitor_filter_add_match_subsystem_devtype(w->monitor, subsystems[i],
								    NULL);
		if (r < 0)
			return r;
	}
	/* Not allowed without privilege: the default size serves then. */
	udev_monitor_set_receive_buffer_size(w->monitor, UDEV_RCVBUF);
	r = udev_monitor_enable_receiving(w->monitor);
	if (r < 0)
		return r;
	r = loop_add_io(loop, udev_monitor_get_fd(w->monitor), LOOP_READ, on_readable, w, &w->io);
	if (r < 0)
		return r;
	*ret = take_ptr(w);
	return udevd_runs() ? 0 : 1;
}

struct udev_watch *udev_watch_free(struct udev_watch *w)
{
	if (!w)
		return NULL;
	loop_source_free(w->io);
	if (w->monitor)
		udev_monitor_unref(w->monitor);
	if (w->udev)
		udev_unref(w->udev);
	free(w);
	return NULL;
}
