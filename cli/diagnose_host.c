/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks of the host itself, without vnicd's help */
#include "cli/diagnose.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/file.h"
#include "base/paths.h"
#include "base/sock.h"
#include "base/str.h"

#define HOOK_DIR     VNIC_SYSCONFDIR "/libvirt/hooks"
#define JOURNAL_LAST 5

void check_config_file(struct json_object *checks)
{
	struct stat st;

	if (stat(VNIC_CONF_FILE, &st) < 0) {
		check_add(checks, "configuration", errno == ENOENT ? "warning" : "unknown",
			  "Write it as vnicd.conf(5) says, or put drop-ins into " VNIC_CONF_DIR,
			  VNIC_CONF_FILE ": %s", strerror(errno));
		return;
	}
	if (st.st_mode & (S_IWOTH | S_IWGRP) || st.st_uid != 0)
		check_add(checks, "configuration", "error",
			  "chown root " VNIC_CONF_FILE " && chmod go-w " VNIC_CONF_FILE,
			  VNIC_CONF_FILE " can be written by others than root");
	else
		check_add(checks, "configuration", "ok", NULL, VNIC_CONF_FILE " is there");
}

static void check_hook(struct json_object *checks, const char *file)
{
	static const char fix[] = "Install vnicd again (make install, or your package), then: "
				  "systemctl reload libvirtd";
	struct stat st;

	if (lstat(file, &st) < 0)
		check_add(checks, "hooks",
			  errno == ENOENT || errno == ENOTDIR ? "error" : "unknown", fix,
			  "%s: %s: libvirt does not tell vnicd of guests", file, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		check_add(checks, "hooks", "error", fix,
			  "%s is no regular file: AppArmor may keep libvirt from running it", file);
	else if (!(st.st_mode & S_IXUSR))
		check_add(checks, "hooks", "error", "chmod 755 it, then: systemctl reload libvirtd",
			  "%s is not executable: libvirt passes it over", file);
	else
		check_add(checks, "hooks", "ok", NULL, "%s is in place", file);
}

void check_hooks(struct json_object *checks)
{
	check_hook(checks, HOOK_DIR "/qemu.d/vnicd");
	check_hook(checks, HOOK_DIR "/network.d/vnicd");
}

static bool any_in(const char *sys, const char *folder)
{
	_cleanup_(freep) char *path = NULL;
	const struct dirent *e;
	bool any = false;
	DIR *d;

	if (asprintf(&path, "%s/%s", sys, folder) < 0)
		return false;
	d = opendir(path);
	while (d && !any && (e = readdir(d)))
		any = e->d_name[0] != '.';
	if (d)
		closedir(d);
	return any;
}

void check_vfs(struct json_object *checks, const char *sys)
{
	if (any_in(sys, "kernel/iommu_groups"))
		check_add(checks, "VFs", "ok", NULL, "there is an IOMMU");
	else
		check_add(checks, "VFs", "error",
			  "Switch VT-d or AMD-Vi on in the firmware, and boot with intel_iommu=on",
			  "there is no IOMMU, so no guest can have a VF");
	if (any_in(sys, "bus/pci/drivers/vfio-pci"))
		check_add(checks, "VFs", "ok", NULL, "the driver vfio-pci is there");
	else
		check_add(checks, "VFs", "error",
			  "modprobe vfio-pci; and for each boot: "
			  "echo vfio-pci >/etc/modules-load.d/vfio-pci.conf",
			  "the driver vfio-pci is not loaded, so no guest can have a VF");
}

void check_libvirt(struct json_object *checks)
{
	/* One daemon for all (libvirtd), or one a driver (virtqemud). */
	static const char *const sockets[] = { "/run/libvirt/libvirt-sock",
					       "/run/libvirt/virtqemud-sock" };
	int error = ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++) {
		_cleanup_(closep) int fd = sock_connect(sockets[i], SOCK_STREAM);

		if (fd >= 0) {
			check_add(checks, "libvirt", "ok", NULL, "libvirt answers at %s",
				  sockets[i]);
			return;
		}
		if (fd != -ENOENT)
			error = -fd;
	}
	check_add(checks, "libvirt", error == EACCES ? "unknown" : "warning",
		  error == EACCES ? "Run it as root: sudo vnicctl diagnose"
				  : "systemctl start libvirtd (or virtqemud.socket)",
		  "libvirt cannot be reached: %s", strerror(error));
}

/*
 * Does a process listen at @file? Told by /proc/net/unix and not by connecting: a new connection would replace
 * vnicd's. A negative errno where it cannot be told.
 */
static int listens(const char *file)
{
	_cleanup_(freep) char *text = NULL;
	int r = file_read(AT_FDCWD, "/proc/net/unix", 16 << 20, &text, NULL);

	if (r < 0)
		return r;
	for (char *at = text, *line; (line = strsep(&at, "\n"));) {
		unsigned int flags;
		char name[128];

		/* Num RefCount Protocol Flags Type St Inode Path; SO_ACCEPTCON is 1 << 16 */
		if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %127s", &flags, name) == 2 &&
		    flags & 1U << 16 && !strcmp(name, file))
			return 1;
	}
	return 0;
}

void check_datapath_socket(struct json_object *checks)
{
	int r = listens(VNIC_DP_SOCK);

	if (r > 0)
		check_add(checks, "datapath", "ok", NULL,
			  "vnicd-datapath runs: guests that are connected keep their network");
	else
		check_add(checks, "datapath", r < 0 ? "unknown" : "error",
			  "systemctl start vnicd-datapath; if it fails: journalctl -b -u "
			  "vnicd-datapath",
			  r < 0 ? "it cannot be told whether vnicd-datapath runs"
				: "vnicd-datapath does not run: no guest has its network");
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), skip = strlen(end);

	return n > skip && !strcmp(s + n - skip, end);
}

/* True records of @dir, and damaged ones that vnicd set aside; a negative errno where they cannot be read. */
static int count_records(const char *dir, long *ret_n, long *ret_aside)
{
	_cleanup_(closedirp) DIR *d = opendir(dir);
	struct dirent *e;
	long n = 0, aside = 0;

	if (!d && errno != ENOENT)
		return -errno;
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n += ends_with(e->d_name, ".json");
		aside += ends_with(e->d_name, ".json.bad");
	}
	*ret_n = n;
	*ret_aside = aside;
	return 0;
}

void check_set_aside(struct json_object *checks, const char *dir)
{
	long n, aside;
	char fix[256];

	if (count_records(dir, &n, &aside) < 0 || aside == 0)
		return;
	snprintf(fix, sizeof(fix),
		 "See what was wrong: journalctl -b -u vnicd | grep 'set aside'. Nothing reads %s "
		 "any more; then: rm %s/*.json.bad",
		 aside == 1 ? "it" : "them", dir);
	check_add(checks, "records", "warning", fix, "%ld damaged record%s set aside in %s", aside,
		  aside == 1 ? " was" : "s were", dir);
}

void check_records(struct json_object *checks, const char *dir, long n_ports)
{
	long n, aside;
	int r = count_records(dir, &n, &aside);

	if (r < 0)
		check_add(checks, "records", "unknown", "Run it as root: sudo vnicctl diagnose",
			  "%s: %s", dir, strerror(-r));
	else if (n_ports < 0 && n > 0)
		check_add(checks, "records", "warning",
			  "Start vnicd: it takes these ports over again, or puts back what they "
			  "changed",
			  "%ld port%s on record in %s, and no vnicd to look after %s", n,
			  n == 1 ? "" : "s", dir, n == 1 ? "it" : "them");
	else if (n_ports >= 0 && n != n_ports)
		check_add(checks, "records", "warning",
			  "Look again in a moment: they differ while a port is being made or "
			  "released. If it stays, see journalctl -b -u vnicd",
			  "%ld record%s in %s, but %ld port%s", n, n == 1 ? "" : "s", dir, n_ports,
			  n_ports == 1 ? "" : "s");
	else
		check_add(checks, "records", "ok", NULL, "%ld record%s of ports", n,
			  n == 1 ? "" : "s");
}

void check_bridge(struct json_object *checks, const char *segment, const char *bridge,
		  const char *place)
{
	char file[64 + IFNAMSIZ], fix[256];
	struct stat st;

	snprintf(file, sizeof(file), "/sys/class/net/%s/bridge", bridge);
	snprintf(fix, sizeof(fix), "ip link add %s type bridge && ip link set %s up, or correct %s",
		 bridge, bridge, place);
	if (!ifname_valid(bridge) || if_nametoindex(bridge) == 0)
		check_add(checks, "bridge", "error", fix, "segment %s: bridge %s does not exist",
			  segment, bridge);
	else if (stat(file, &st) < 0)
		check_add(checks, "bridge", "error", fix, "segment %s: %s is no bridge", segment,
			  bridge);
	else
		check_add(checks, "bridge", "ok", NULL, "segment %s: bridge %s is there", segment,
			  bridge);
}

void check_uplink(struct json_object *checks, const char *segment, const char *bridge,
		  const char *uplink)
{
	char file[64 + IFNAMSIZ], target[PATH_MAX], fix[256];
	const char *master;
	ssize_t n;

	snprintf(fix, sizeof(fix), "ip link set %s master %s", uplink, bridge);
	if (!ifname_valid(uplink) || if_nametoindex(uplink) == 0) {
		check_add(checks, "uplink", "warning",
			  "Correct the segment's uplinks, or see why the driver has not made it",
			  "segment %s: uplink %s does not exist", segment, uplink);
		return;
	}
	snprintf(file, sizeof(file), "/sys/class/net/%s/master", uplink);
	n = readlink(file, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	master = strrchr(target, '/') ? strrchr(target, '/') + 1 : "";
	if (strcmp(master, bridge) != 0)
		check_add(checks, "uplink", "warning", fix,
			  "segment %s: uplink %s is not in bridge %s: its guests do not reach the "
			  "outside through it",
			  segment, uplink, bridge);
	else
		check_add(checks, "uplink", "ok", NULL, "segment %s: uplink %s is in bridge %s",
			  segment, uplink, bridge);
}

static void journal_text(sd_journal *j, const char *field, char *buf, size_t size)
{
	size_t n, skip = strlen(field) + 1;
	const void *data;

	buf[0] = '\0';
	if (sd_journal_get_data(j, field, &data, &n) < 0 || n < skip)
		return;
	snprintf(buf, size, "%.*s", (int)(n - skip), (const char *)data + skip);
	for (char *p = buf; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

/* The last errors that vnicd's programs logged since the last boot. */
void check_journal(struct json_object *checks)
{
	_cleanup_(sd_journal_closep) sd_journal *j = NULL;
	int n = 0, r = sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
	char boot[64] = "_BOOT_ID=";
	sd_id128_t id;

	if (r >= 0)
		r = sd_id128_get_boot(&id);
	if (r < 0) {
		check_add(checks, "journal", "unknown", NULL, "the journal cannot be read: %s",
			  strerror(-r));
		return;
	}
	sd_id128_to_string(id, boot + strlen(boot));
	sd_journal_add_match(j, boot, 0);
	/* Anybody may log under any identifier. */
	sd_journal_add_match(j, "_UID=0", 0);
	sd_journal_add_match(j, "SYSLOG_IDENTIFIER=vnicd", 0);
	sd_journal_add_match(j, "SYSLOG_IDENTIFIER=vnicd-datapath", 0);
	sd_journal_add_match(j, "SYSLOG_IDENTIFIER=vnicd-libvirt", 0);
	for (char priority[] = "PRIORITY=0"; priority[9] <= '3'; priority[9]++)
		sd_journal_add_match(j, priority, 0);
	sd_journal_seek_tail(j);
	while (n < JOURNAL_LAST && sd_journal_previous(j) > 0) {
		char who[64], what[VNIC_ERR_MESSAGE_MAX];

		journal_text(j, "SYSLOG_IDENTIFIER", who, sizeof(who));
		journal_text(j, "MESSAGE", what, sizeof(what));
		check_add(checks, "journal", "warning", NULL, "%s: %s", who, what);
		n++;
	}
	if (n == 0)
		check_add(checks, "journal", "ok", NULL, "no error of vnicd since boot");
}
