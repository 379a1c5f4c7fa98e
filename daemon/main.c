/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vnicd: the wiring. Configuration, the kernel's picture of the host, records, datapath, hooks, bus, and then
 * READY. It ends without undoing anything: guests live on, and their ports with them.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/paths.h"
#include "config.h"
#include "daemon/bus/bus.h"
#include "daemon/core/config_check.h"
#include "daemon/core/manager.h"
#include "daemon/domain_devices.h"
#include "daemon/domain_list.h"
#include "daemon/domain_ops.h"
#include "daemon/exec/exec.h"
#include "daemon/hook_server.h"
#include "daemon/libvirt_client.h"
#include "daemon/manager_io.h"
#include "daemon/sys/bridge_watch.h"
#include "daemon/sys/config_file.h"
#include "daemon/sys/loop.h"
#include "daemon/sys/ovs.h"
#include "daemon/sys/records.h"
#include "daemon/vf_plug.h"
#include "daemon/sys/watch.h"

struct daemon {
	struct loop *loop;
	struct inventory inv;
	struct watch *watch;
	struct bridge_watch *bridge_watch;
	struct ovs_watch *ovs_watch;
	struct exec *exec;
	struct records *records;
	struct vf_plug *plug;
	struct domain_devices *domain_devices;
	struct outside *outside;
	struct manager *manager;
	struct manager_observer observer;
	struct hook_server *hooks;
	struct libvirt_client *libvirt, *libvirt_vfs;
	struct domain_ops *domain_ops;
	struct domain_list *domain_list;
	struct bus *bus;
	struct loop_source *hup, *term, *intr;
	int log_level; /* of the command line, or -1 */
	bool synced, ovs_settled; /* the kernel's part of the inventory, Open vSwitch's */
	bool ready, told_ready;
};

static void apply_log_level(struct daemon *d)
{
	vnic_log_set_level(d->log_level >= 0 ? d->log_level : d->manager->config->log_level);
}

/* Read and check as a whole. Return: the configuration, or NULL with @err. */
static struct vnic_config *read_config(struct vnic_err *err)
{
	struct vnic_config *config = NULL;

	if (config_read(VNIC_CONF_FILE, VNIC_CONF_DIR, &config, err) < 0)
		return NULL;
	if (config_check(config, err) < 0)
		return config_free(config);
	return config;
}

static int reload(struct daemon *d, struct vnic_err *err)
{
	struct vnic_config *config;
	int r;

	sd_notify(0, "RELOADING=1");
	config = read_config(err);
	r = config ? manager_config_swap(d->manager, config, err) : -EINVAL;
	if (r < 0) {
		config_free(config);
		log_err("the configuration is as before: %s", err->message);
		manager_config_refused(d->manager, err);
		sd_notify(0, "READY=1\nSTATUS=The last reload was refused: see the log");
		return r;
	}
	apply_log_level(d);
	watch_resync(d->watch);
	log_notice("configuration read: %u segments, %u classes", HASH_COUNT(config->segments),
		   HASH_COUNT(config->classes));
	sd_notify(0, "READY=1\nSTATUS=");
	return 0;
}

static void on_hup(void *userdata, int signo)
{
	struct vnic_err err = VNIC_ERR_INIT;

	(void)signo;
	reload(userdata, &err);
}

static void on_end(void *userdata, int signo)
{
	struct daemon *d = userdata;

	sd_notify(0, "STOPPING=1");
	log_notice("ending (%s): %u ports stay as they are", strsignal(signo),
		   HASH_COUNT(d->manager->ports));
	loop_exit(d->loop, 0);
}

static void on_port_noted(void *data, const struct vnic_port *port, const char *text)
{
	char key[PORT_KEY_STR];

	(void)data;
	port_key_format(&port->spec.key, key);
	vnic_log(LOG_INFO,
		 (&(struct vnic_log_fields){
			 .port = key, .domain = port->spec.domain, .segment = port->segment }),
		 "port %s/%s of domain %s: %s", port->spec.class_name, port->spec.name,
		 port->spec.domain, text);
}

static void on_hostdev(void *data, const struct vnic_hostdev *hostdev)
{
	const struct domain_device *dev = &hostdev->device;
	const struct vnic_log_fields fields = { .domain = dev->domain };

	(void)data;
	if (*hostdev->reason)
		vnic_log(LOG_WARNING, &fields, "VF %s of domain %s: %s", dev->addr, dev->domain,
			 hostdev->reason);
	else if (hostdev->state == HOSTDEV_SET)
		vnic_log(LOG_INFO, &fields,
			 "VF %s of domain %s, which libvirt manages: set as class %s says",
			 dev->addr, dev->domain, hostdev->class_name);
	else if (hostdev->state == HOSTDEV_NONE)
		vnic_log(LOG_INFO, &fields, "VF %s, which libvirt manages: as it was before",
			 dev->addr);
}

static void on_segment(void *data, const char *name)
{
	struct daemon *d = data;
	const struct segment_share *share = manager_share(d->manager, name);
	const struct vnic_log_fields fields = { .segment = name };

	if (!share)
		vnic_log(LOG_INFO, &fields, "segment %s: its last port is gone, all is put back",
			 name);
	else if (*share->reason)
		vnic_log(LOG_WARNING, &fields, "segment %s: %s", name, share->reason);
	else if (share->ready)
		vnic_log(LOG_INFO, &fields, "segment %s is ready: tap %s in bridge %s", name,
			 share->tap, share->segment.bridge);
}

/* What the bus asks of the rest. */
static int bus_reload(void *data, struct vnic_err *err)
{
	return reload(data, err);
}

static void *bus_attach(void *data, const char *domain, const struct port_spec *spec,
			bool look_only, bus_op_done done, void *arg)
{
	return domain_attach(((struct daemon *)data)->domain_ops, domain, spec, look_only, done,
			     arg);
}

static void *bus_detach(void *data, const char *domain, const uint8_t mac[VNIC_MAC_LEN],
			bus_op_done done, void *arg)
{
	return domain_detach(((struct daemon *)data)->domain_ops, domain, mac, done, arg);
}

static void *bus_check(void *data, const char *domain, bus_op_done done, void *arg)
{
	return domain_check(((struct daemon *)data)->domain_ops, domain, done, arg);
}

static void bus_forget(void *data, void *op)
{
	domain_forget(((struct daemon *)data)->domain_ops, op);
}

static void on_bus(void *data, const char *reason)
{
	struct daemon *d = data;

	if (reason)
		log_warning("not on the system bus: %s; vnicctl cannot reach this daemon", reason);
	else
		log_info("on the system bus");
	/* Ready with the bus, so that what is started after us can ask us; or without, if there is none. */
	if (!d->told_ready)
		sd_notify(0, "READY=1");
	d->told_ready = true;
}

static void on_domain_devices(void *data, const struct domain_device *device, size_t n)
{
	struct daemon *d = data;

	if (watch_domain_devices(d->watch, device, n) < 0)
		log_err("out of memory: which VFs domains have by their own XML is not known");
}

/* Everything that needs the inventory complete. */
static int start(struct daemon *d)
{
	const struct bus_ops bus_ops = { .data = d,
					 .reload = bus_reload,
					 .port_attach = bus_attach,
					 .port_detach = bus_detach,
					 .domain_check = bus_check,
					 .forget = bus_forget,
					 .connected = on_bus };
	struct vnic_err err = VNIC_ERR_INIT;
	struct outside_plug plug;
	int r;

	r = libvirt_client_new(loop_base(d->loop), NULL, &d->libvirt);
	/* Another helper for VFs, which waits for guests: questions are not to wait behind them. */
	if (r == 0)
		r = libvirt_client_new(loop_base(d->loop), NULL, &d->libvirt_vfs);
	if (r == 0)
		r = domain_ops_new(d->manager, d->libvirt, &d->domain_ops);
	if (r == 0)
		r = domain_list_new(d->manager, d->libvirt, &d->domain_list);
	if (r == 0)
		r = outside_start(d->outside, d->manager, VNIC_DP_SOCK, domain_list_ask,
				  d->domain_list, &err);
	if (r < 0) {
		log_err("the records cannot be read: %s",
			*err.message ? err.message : strerror(-r));
		return r;
	}
	d->observer = (struct manager_observer){ .data = d,
						 .port_noted = on_port_noted,
						 .hostdev_changed = on_hostdev,
						 .segment_changed = on_segment };
	manager_observe(d->manager, &d->observer);
	manager_start(d->manager);
	r = vf_plug_new(d->libvirt_vfs, &d->plug);
	if (r == 0)
		r = domain_devices_new(loop_base(d->loop), d->manager, d->libvirt,
				       on_domain_devices, d, &d->domain_devices);
	if (r == 0)
		r = bus_new(loop_base(d->loop), d->manager, &bus_ops, &d->bus);
	if (r < 0) {
		log_err("out of memory");
		return r;
	}
	plug = vf_plug_ops(d->plug);
	outside_set_plug(d->outside, &plug);
	d->ready = true;
	hook_server_start(d->hooks);
	log_notice("vnicd " PACKAGE_VERSION " is ready: %u links, %u ports from before",
		   HASH_COUNT(d->inv.links), HASH_COUNT(d->manager->ports));
	return 0;
}

static void on_bridge_gone(void *userdata, const struct bridge_gone *what)
{
	struct daemon *d = userdata;

	manager_bridge_gone(d->manager, what);
}

static void on_link(void *userdata, const struct vnic_link *link)
{
	struct daemon *d = userdata;

	manager_link_changed(d->manager, link->ifindex);
}

static void on_synced(void *userdata)
{
	struct daemon *d = userdata;

	d->synced = true;
	if (d->ready)
		manager_inventory_complete(d->manager);
	else if (d->ovs_settled && start(d) < 0)
		loop_exit(d->loop, EXIT_FAILURE);
}

static void on_ovs(void *userdata)
{
	struct daemon *d = userdata;

	if (d->ready)
		manager_ovs_changed(d->manager);
}

static void on_ovs_settled(void *userdata)
{
	struct daemon *d = userdata;

	d->ovs_settled = true;
	if (d->synced && !d->ready && start(d) < 0)
		loop_exit(d->loop, EXIT_FAILURE);
}

static void on_watch_note(void *userdata, int level, const char *text)
{
	(void)userdata;
	vnic_log(level, NULL, "%s", text);
}

static void on_pf(void *userdata, const struct vnic_pf *pf)
{
	struct daemon *d = userdata;

	manager_pf_changed(d->manager, pf->addr);
}

static void on_pf_removed(void *userdata, const char *addr)
{
	struct daemon *d = userdata;

	manager_pf_changed(d->manager, addr);
}

static void on_vdpa(void *userdata)
{
	struct daemon *d = userdata;

	manager_vdpa_changed(d->manager);
}

static const struct watch_ops watch_ops = {
	.changed = on_link,
	.removed = on_link,
	.pf_changed = on_pf,
	.pf_removed = on_pf_removed,
	.vdpa_changed = on_vdpa,
	.synced = on_synced,
	.note = on_watch_note,
};

static int make_dirs(void)
{
	/* As in tmpfiles.d/vnicd.conf, for hosts without systemd-tmpfiles. */
	if (mkdir(VNIC_RUN_DIR, 0711) < 0 && errno != EEXIST) {
		log_err("%s: %s", VNIC_RUN_DIR, strerror(errno));
		return -errno;
	}
	return 0;
}

static void on_written(void *data, const struct step *step)
{
	struct daemon *d = data;

	if (*step->mgmtdev || step->kind == STEP_NIC_UPLINK)
		watch_refresh_vdpa(d->watch);
	else if (*step->vf_addr)
		watch_refresh_vf(d->watch, step->vf_addr);
	else
		watch_refresh_pf(d->watch, step->dev);
}

static int set_up(struct daemon *d, struct vnic_config *config)
{
	struct vnic_err err = VNIC_ERR_INIT;
	struct manager_io io;
	int r;

	r = loop_new(&d->loop);
	if (r == 0)
		r = exec_new(VNIC_SOCK_DIR, &d->exec, &err);
	if (r == 0)
		r = records_new(VNIC_PORTS_DIR, VNIC_SHARED_DIR, NULL, &d->records, &err);
	if (r == 0)
		r = outside_new(d->loop, d->exec, d->records, &d->outside);
	if (r < 0) {
		config_free(config);
		log_err("%s", *err.message ? err.message : strerror(-r));
		return r;
	}
	io = outside_io(d->outside);
	d->manager = manager_new(&io, config, &d->inv);
	if (!d->manager) {
		config_free(config);
		return -ENOMEM;
	}
	apply_log_level(d);
	/* Early: a hook that comes now waits, and a second vnicd ends here. */
	r = hook_server_new(d->loop, d->manager, VNIC_HOOK_SOCK, &d->hooks);
	if (r < 0) {
		log_err("%s: %s", VNIC_HOOK_SOCK,
			r == -EADDRINUSE ? "another vnicd runs" : strerror(-r));
		return r;
	}
	r = loop_add_signal(d->loop, SIGHUP, on_hup, d, &d->hup);
	if (r == 0)
		r = loop_add_signal(d->loop, SIGTERM, on_end, d, &d->term);
	if (r == 0)
		r = loop_add_signal(d->loop, SIGINT, on_end, d, &d->intr);
	if (r == 0)
		r = watch_new(d->loop, &d->inv, &watch_ops, d, &d->watch);
	if (r == 0)
		outside_set_written(d->outside, on_written, d);
	if (r == 0)
		r = bridge_watch_new(d->loop, on_bridge_gone, d, &d->bridge_watch);
	if (r == 0)
		r = ovs_watch_new(d->loop, VNIC_OVSDB_SOCK, &d->inv, on_ovs, on_ovs_settled, d,
				  &d->ovs_watch);
	if (r == 0)
		r = loop_watchdog(d->loop);
	if (r < 0)
		log_err("cannot set up: %s", strerror(-r));
	return r < 0 ? r : 0;
}

static void tear_down(struct daemon *d)
{
	bus_free(d->bus);
	libvirt_client_free(d->libvirt);
	libvirt_client_free(d->libvirt_vfs);
	vf_plug_free(d->plug);
	domain_ops_free(d->domain_ops);
	domain_list_free(d->domain_list);
	domain_devices_free(d->domain_devices);
	hook_server_free(d->hooks);
	outside_free(d->outside);
	manager_free(d->manager);
	watch_free(d->watch);
	bridge_watch_free(d->bridge_watch);
	ovs_watch_free(d->ovs_watch);
	inventory_deinit(&d->inv);
	records_free(d->records);
	exec_free(d->exec);
	loop_source_free(d->hup);
	loop_source_free(d->term);
	loop_source_free(d->intr);
	loop_free(d->loop);
}

static void usage(FILE *f)
{
	fprintf(f,
		"Usage: vnicd [OPTION]…\n"
		"The daemon that gives virtual machines their network interfaces; see vnicd(8).\n\n"
		"  -l, --log-level=LEVEL  err, warning, notice, info or debug, over the "
		"configuration's\n"
		"  -h, --help             this text\n"
		"  -V, --version          the version\n");
}

/* Return: -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct daemon *d)
{
	static const struct option options[] = { { "log-level", required_argument, NULL, 'l' },
						 { "help", no_argument, NULL, 'h' },
						 { "version", no_argument, NULL, 'V' },
						 { NULL, 0, NULL, 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "l:hV", options, NULL)) >= 0)
		switch (c) {
		case 'l':
			d->log_level = vnic_log_level_parse(optarg);
			if (d->log_level >= 0)
				break;
			fprintf(stderr,
				"vnicd: '%s' is no log level: use err, warning, notice, "
				"info or debug\n",
				optarg);
			return EX_USAGE;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			puts("vnicd " PACKAGE_VERSION);
			return 0;
		default:
			usage(stderr);
			return EX_USAGE;
		}
	if (optind < argc) {
		fprintf(stderr, "vnicd: '%s': it takes no arguments\n", argv[optind]);
		return EX_USAGE;
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct daemon d = { .log_level = -1 };
	struct vnic_err err = VNIC_ERR_INIT;
	struct vnic_config *config;
	int r;

	r = parse_options(argc, argv, &d);
	if (r >= 0)
		return r;
	vnic_log_open("vnicd", d.log_level >= 0 ? d.log_level : LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	umask(0022); /* modes below are meant as they are written */
	inventory_init(&d.inv);
	config = read_config(&err);
	if (!config) {
		log_err("%s", err.message);
		return EX_CONFIG;
	}
	r = make_dirs();
	if (r < 0)
		config_free(config);
	else
		r = set_up(&d, config);
	if (r == 0)
		r = loop_run(d.loop);
	tear_down(&d);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
