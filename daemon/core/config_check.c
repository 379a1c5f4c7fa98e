/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core/config_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/errors.h"
#include "daemon/core/path_software.h"

#define MTU_MIN	   68 /* RFC 791 */
#define MTU_MAX	   65521 /* of a tap: drivers/net/tun.c */
#define WEIGHT_MAX 1000
#define QUEUES_MAX 8

/* "FILE:LINE: [KIND NAME] FIELD: …" */
static int bad(struct vnic_err *err, const struct config_place *place, const char *kind,
	       const char *name, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

static int bad(struct vnic_err *err, const struct config_place *place, const char *kind,
	       const char *name, const char *field, const char *fmt, ...)
{
	char text[VNIC_ERR_MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return vnic_err_set(err, -EINVAL, VNIC_E_INVALID_CONFIG, "%s:%d: [%s %s] %s: %.300s",
			    place->file, place->line, kind, name, field, text);
}

#define bad_segment(err, s, field, ...) \
	bad(err, &(s)->place, "segment", (s)->name, field, __VA_ARGS__)
#define bad_class(err, c, field, ...) bad(err, &(c)->place, "class", (c)->name, field, __VA_ARGS__)

static int check_uplinks(const struct vnic_config *config, const struct vnic_segment *s,
			 struct vnic_err *err)
{
	for (int i = 0; i < s->n_uplinks; i++) {
		if (!ifname_valid(s->uplink[i]))
			return bad_segment(err, s, "uplink", "'%s' is no interface name",
					   s->uplink[i]);
		for (int j = 0; j < i; j++)
			if (str_eq(s->uplink[i], s->uplink[j]))
				return bad_segment(err, s, "uplink",
						   "%s is listed twice: remove one", s->uplink[i]);
		for (const struct vnic_segment *o = config->segments; o; o = o->hh.next) {
			if (str_eq(o->bridge, s->uplink[i]))
				return bad_segment(err, s, "uplink",
						   "%s is the bridge of segment %s: name the nics "
						   "in the bridge here",
						   s->uplink[i], o->name);
			for (int j = 0; o != s && j < o->n_uplinks; j++)
				if (str_eq(o->uplink[j], s->uplink[i]))
					return bad_segment(err, s, "uplink",
							   "%s is an uplink of segment %s too "
							   "(%s:%d): a nic is in one segment",
							   s->uplink[i], o->name, o->place.file,
							   o->place.line);
		}
	}
	return 0;
}

static int check_segment(const struct vnic_config *config, const struct vnic_segment *s,
			 struct vnic_err *err)
{
	char tap[IFNAMSIZ], other[IFNAMSIZ];

	if (!name_valid(s->name))
		return bad_segment(err, s, "name", "use 1 to %d of A-Z a-z 0-9 . _ -",
				   VNIC_NAME_MAX - 1);
	if (!*s->bridge)
		return bad_segment(err, s, "bridge", "missing: name the bridge its ports live in");
	if (!ifname_valid(s->bridge))
		return bad_segment(err, s, "bridge", "'%s' is no interface name", s->bridge);
	if (s->mtu && (s->mtu < MTU_MIN || s->mtu > MTU_MAX))
		return bad_segment(err, s, "mtu",
				   "%u is not between %d and %d; leave it out for the bridge's",
				   s->mtu, MTU_MIN, MTU_MAX);
	path_software_tap(s->name, tap);
	if (str_eq(tap, s->bridge))
		return bad_segment(err, s, "bridge", "%s is the name of the segment's own tap",
				   s->bridge);
	for (const struct vnic_segment *o = config->segments; o; o = o->hh.next) {
		if (o == s)
			continue;
		if (str_eq(o->bridge, s->bridge))
			return bad_segment(err, s, "bridge",
					   "%s is the bridge of segment %s too (%s:%d): put both "
					   "classes into one segment",
					   s->bridge, o->name, o->place.file, o->place.line);
		if (str_eq(path_software_tap(o->name, other), tap))
			return bad_segment(err, s, "name",
					   "its tap would be %s, as that of segment %s: rename one",
					   tap, o->name);
	}
	return check_uplinks(config, s, err);
}

static int check_class(const struct vnic_config *config, const struct vnic_class *c,
		       struct vnic_err *err)
{
	char allowed[128];

	if (!name_valid(c->name))
		return bad_class(err, c, "name", "use 1 to %d of A-Z a-z 0-9 . _ -",
				 VNIC_NAME_MAX - 1);
	if (!*c->segment)
		return bad_class(err, c, "segment", "missing: name a [segment NAME]");
	if (!config_segment(config, c->segment))
		return bad_class(err, c, "segment",
				 "there is no segment '%s': add [segment %s] or correct the name",
				 c->segment, c->segment);
	if (!c->paths.path[0])
		return bad_class(err, c, "paths", "missing: for example paths=software");
	if (!vlan_set_has(&c->vlans, c->vlan))
		return bad_class(err, c, "vlan",
				 "%u is not in vlans=%s: add it there, or change the default",
				 c->vlan, vlan_set_format(&c->vlans, allowed, sizeof(allowed)));
	if (c->weight < 1 || c->weight > WEIGHT_MAX)
		return bad_class(err, c, "weight", "%u is not between 1 and %d", c->weight,
				 WEIGHT_MAX);
	if (c->max_vfs && c->reserved_vfs > c->max_vfs)
		return bad_class(err, c, "reserved-vfs",
				 "%u is more than max-vfs=%u: lower it, or raise that",
				 c->reserved_vfs, c->max_vfs);
	if (c->rate && c->vf.min_rate > c->rate)
		return bad_class(err, c, "vf-min-rate",
				 "it is more than rate=: lower it, or raise that");
	if (c->queues < 1 || c->queues > QUEUES_MAX)
		return bad_class(err, c, "queues", "%u is not between 1 and %d", c->queues,
				 QUEUES_MAX);
	return 0;
}

/* A nic has one section; whether it is there and can have the VFs is for later: it may come. */
static int check_nic(const struct vnic_config *config, const struct vnic_nic_config *n,
		     struct vnic_err *err)
{
	for (const struct vnic_nic_config *o = config->nics; o; o = o->hh.next)
		if (o != n && *n->address && str_eq(o->address, n->address))
			return bad(err, &n->place, "nic", n->name, "address",
				   "%s is the address of [nic %s] too (%s:%d): remove one section",
				   n->address, o->name, o->place.file, o->place.line);
	if (*n->hostdev_class && !config_class(config, n->hostdev_class))
		return bad(err, &n->place, "nic", n->name, "hostdev-class",
			   "there is no class %s: add [class %s]", n->hostdev_class,
			   n->hostdev_class);
	return 0;
}

int config_check(const struct vnic_config *config, struct vnic_err *err)
{
	int r = 0;

	for (const struct vnic_nic_config *n = config->nics; r == 0 && n; n = n->hh.next)
		r = check_nic(config, n, err);
	for (const struct vnic_segment *s = config->segments; r == 0 && s; s = s->hh.next)
		r = check_segment(config, s, err);
	for (const struct vnic_class *c = config->classes; r == 0 && c; c = c->hh.next)
		r = check_class(config, c, err);
	return r;
}
